/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/place.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

#define DS_PATH_MAX 65536

static enum dstream_code no_memory(struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
}

/* The directory part of `path`: "." where there is none, "/" for a file in the root. */
static char *directory_of(const char *path, const char *name)
{
    size_t n = (size_t)(name - path);
    if (n == 0)
        return ds_strdup(".");
    return ds_strndup(path, n > 1 ? n - 1 : n);
}

enum dstream_code ds_place_open(struct ds_place *p, const struct ds_fileops *ops, const char *path,
                                struct dstream_error *err)
{
    *p = (struct ds_place){.ops = ops, .dir = -1, .lock = -1};
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "\"%s\" names no file: give a file name",
                            path);
    p->path = ds_strdup(path);
    p->name = ds_strdup(name);
    char *dir = directory_of(path, name);
    enum dstream_code rc = DSTREAM_OK;
    if (!p->path || !p->name || !dir) {
        rc = no_memory(err);
    } else {
        p->dir = ops->open(ops->ctx, DS_DIR_CWD, dir, DS_OPEN_DIR);
        if (p->dir < 0)
            rc = ds_file_error(err, path, "open its directory", p->dir);
    }
    ds_free(dir);
    if (rc != DSTREAM_OK)
        ds_place_close(p);
    return rc;
}

/* Made in its parent, and durable there: a state in it must not be lost with its name. */
static enum dstream_code make_dir(const struct ds_fileops *ops, const char *path,
                                  struct dstream_error *err)
{
    struct ds_place parent;
    char *trimmed = ds_strdup(path);
    if (!trimmed)
        return no_memory(err);
    for (size_t n = strlen(trimmed); n > 1 && trimmed[n - 1] == '/'; n--)
        trimmed[n - 1] = '\0';
    enum dstream_code rc = ds_place_open(&parent, ops, trimmed, err);
    ds_free(trimmed);
    if (rc != DSTREAM_OK)
        return rc;
    int made = ops->mkdir(ops->ctx, parent.dir, parent.name);
    if (made < 0 && made != -EEXIST)
        rc = ds_file_error(err, path, "make the directory", made);
    else
        rc = ds_place_sync(&parent, err);
    ds_place_close(&parent);
    return rc;
}

enum dstream_code ds_place_open_dir(struct ds_place *p, const struct ds_fileops *ops,
                                    const char *path, struct dstream_error *err)
{
    *p = (struct ds_place){.ops = ops, .dir = -1, .lock = -1};
    p->path = ds_strdup(path);
    p->name = ds_strdup("");
    enum dstream_code rc = p->path && p->name ? DSTREAM_OK : no_memory(err);
    if (rc == DSTREAM_OK)
        p->dir = ops->open(ops->ctx, DS_DIR_CWD, path, DS_OPEN_DIR);
    if (p->dir == -ENOENT && rc == DSTREAM_OK) {
        rc = make_dir(ops, path, err);
        if (rc == DSTREAM_OK)
            p->dir = ops->open(ops->ctx, DS_DIR_CWD, path, DS_OPEN_DIR);
    }
    if (rc == DSTREAM_OK && p->dir < 0)
        rc = ds_file_error(err, path, "open the directory", p->dir);
    if (rc != DSTREAM_OK)
        ds_place_close(p);
    return rc;
}

void ds_place_close(struct ds_place *p)
{
    if (p->lock >= 0)
        ds_file_close(p->ops, &p->lock);
    if (p->dir >= 0)
        ds_file_close(p->ops, &p->dir);
    ds_free(p->path);
    ds_free(p->name);
    *p = (struct ds_place){.dir = -1, .lock = -1};
}

static enum dstream_code lock_failed(struct dstream_error *err, const char *path, int rc,
                                     const char *who)
{
    if (rc == -EWOULDBLOCK)
        return ds_error_set(err, DSTREAM_ERR_LOCKED,
                            "%s: %s has it locked: wait for it to end, or stop it", path, who);
    return ds_file_error(err, path, "lock it", rc);
}

enum dstream_code ds_lock_file(const struct ds_fileops *ops, int fd, const char *path,
                               struct dstream_error *err)
{
    int rc = ops->lock(ops->ctx, fd, DS_LOCK_EXCLUSIVE);
    return rc == 0 ? DSTREAM_OK : lock_failed(err, path, rc, "another process");
}

enum dstream_code ds_place_lock_dir(struct ds_place *p, enum ds_lock kind,
                                    struct dstream_error *err)
{
    int rc = p->ops->lock(p->ops->ctx, p->dir, kind);
    if (rc == 0)
        return DSTREAM_OK;
    return lock_failed(err, p->path, rc, "another process that exports into the directory");
}

char *ds_name_with(const char *name, const char *suffix)
{
    struct ds_buf b;
    ds_buf_init(&b, DS_PATH_MAX);
    if (ds_buf_addf(&b, "%s%s", name, suffix) == DSTREAM_OK && ds_buf_str(&b))
        return b.data;
    ds_buf_free(&b);
    return NULL;
}

enum dstream_code ds_place_lock(struct ds_place *p, struct dstream_error *err)
{
    char *name = ds_name_with(p->name, ".lock");
    if (!name)
        return no_memory(err);
    int fd = p->ops->open(p->ops->ctx, p->dir, name, DS_OPEN_LOCK);
    ds_free(name);
    if (fd < 0)
        return ds_file_error(err, p->path, "make the lock file beside it", fd);
    enum dstream_code rc = ds_lock_file(p->ops, fd, p->path, err);
    if (rc == DSTREAM_OK)
        p->lock = fd;
    else
        ds_file_close(p->ops, &fd);
    return rc;
}

enum dstream_code ds_place_probe(const struct ds_place *p, struct dstream_error *err)
{
    const struct ds_fileops *ops = p->ops;
    char *name = ds_name_with(p->name, ".lock");
    if (!name)
        return no_memory(err);
    int fd = ops->open(ops->ctx, p->dir, name, DS_OPEN_READ);
    ds_free(name);
    if (fd == -ENOENT)
        return DSTREAM_OK;
    if (fd < 0)
        return ds_file_error(err, p->path, "open the lock file beside it", fd);
    int rc = ops->lock(ops->ctx, fd, DS_LOCK_SHARED);
    ds_file_close(ops, &fd);
    return rc == 0 ? DSTREAM_OK : lock_failed(err, p->path, rc, "another process");
}

enum dstream_code ds_place_sync(struct ds_place *p, struct dstream_error *err)
{
    int rc = p->ops->sync(p->ops->ctx, p->dir);
    return rc == 0 ? DSTREAM_OK : ds_file_error(err, p->path, "sync its directory", rc);
}

bool ds_place_is(const struct ds_place *a, const char *suffix, const struct ds_place *b)
{
    size_t n = strlen(a->name);
    if (strncmp(a->name, b->name, n) != 0 || strcmp(b->name + n, suffix) != 0)
        return false;
    struct ds_file_info x, y;
    return a->ops->info(a->ops->ctx, a->dir, &x) == 0 &&
           a->ops->info(a->ops->ctx, b->dir, &y) == 0 && x.device == y.device && x.inode == y.inode;
}
