/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/state.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"

/* --- reading ---------------------------------------------------------------------------------- */

/* All of the file, and no more than `b` takes. */
static enum dstream_code read_all(const struct ds_fileops *ops, int fd, struct ds_buf *b,
                                  const char *path, struct dstream_error *err)
{
    struct ds_file_info info;
    int rc = ops->info(ops->ctx, fd, &info);
    if (rc == 0 && info.kind != DS_FILE_REGULAR)
        rc = info.kind == DS_FILE_DIRECTORY ? -EISDIR : -ENXIO;
    if (rc < 0)
        return ds_file_error(err, path, "read the state file", rc);
    size_t size = info.size < b->max ? (size_t)info.size : b->max;
    if (ds_buf_reserve(b, size) != DSTREAM_OK)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory to read a state file");
    int64_t n = ds_file_read(ops, fd, b->data, size, 0);
    if (n < 0)
        return ds_file_error(err, path, "read the state file", (int)n);
    b->len = (size_t)n;
    return DSTREAM_OK;
}

enum dstream_code ds_state_read(const struct ds_fileops *ops, int dir, const char *name,
                                const char *path, struct ds_buf *out, bool *missing,
                                struct dstream_error *err)
{
    int fd = ops->open(ops->ctx, dir, name, DS_OPEN_READ);
    *missing = fd == -ENOENT || fd == -ENOTDIR;
    if (fd < 0)
        return ds_file_error(err, path, "open the state file", fd);
    enum dstream_code rc = read_all(ops, fd, out, path, err);
    ds_file_close(ops, &fd);
    return rc;
}

/* A file that is longer than any checkpoint can be is none. */
static enum dstream_code load(const struct ds_fileops *ops, int dir, const char *name,
                              const char *path, struct ds_checkpoint *out, bool *missing,
                              struct dstream_error *err)
{
    struct ds_buf b;
    ds_buf_init(&b, DS_CHECKPOINT_LINE_MAX + 1);
    enum dstream_code rc = ds_state_read(ops, dir, name, path, &b, missing, err);
    if (rc == DSTREAM_OK && ds_checkpoint_is_head(b.data, b.len))
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: the state goes with a directory: name that with export "
                          "--directory, or give another state file",
                          path);
    if (rc == DSTREAM_OK)
        rc = ds_checkpoint_read(out, b.data, b.len, path, err);
    ds_buf_free(&b);
    return rc;
}

enum dstream_code ds_state_show(const struct ds_fileops *ops, const char *path,
                                struct ds_checkpoint *out, bool *missing, struct dstream_error *err)
{
    return load(ops ? ops : &ds_fileops_system, DS_DIR_CWD, path, path, out, missing, err);
}

enum dstream_code ds_state_load(struct ds_state *s, struct dstream_error *err)
{
    bool missing;
    enum dstream_code rc =
        load(s->at.ops, s->at.dir, s->at.name, s->at.path, &s->last, &missing, err);
    s->exists = rc == DSTREAM_OK;
    if (!missing)
        return rc;
    ds_error_clear(err);
    return DSTREAM_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

enum dstream_code ds_state_begin(struct ds_state *s, const struct ds_fileops *ops, const char *path,
                                 struct dstream_error *err)
{
    *s = (struct ds_state){0};
    enum dstream_code rc = ds_place_open(&s->at, ops, path, err);
    if (rc != DSTREAM_OK)
        return rc;
    struct ds_buf b;
    ds_buf_init(&b, DS_CHECKPOINT_LINE_MAX);
    if (ds_buf_addf(&b, "%s.tmp", s->at.name) == DSTREAM_OK && ds_buf_str(&b)) {
        s->temporary = b.data;
        return DSTREAM_OK;
    }
    ds_buf_free(&b);
    ds_place_close(&s->at);
    return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
}

void ds_state_end(struct ds_state *s)
{
    ds_place_close(&s->at);
    ds_free(s->temporary);
    s->temporary = NULL;
}

static enum dstream_code open_steps(struct ds_state *s, struct dstream_error *err)
{
    enum dstream_code rc = ds_place_lock_dir(&s->at, DS_LOCK_SHARED, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&s->at, err);
    if (rc == DSTREAM_OK)
        rc = ds_state_load(s, err);
    if (rc == DSTREAM_OK && s->exists && s->last.has_output)
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: the state goes with an output file: name that with export -o, or "
                          "give another state file",
                          s->at.path);
    if (rc == DSTREAM_OK)
        rc = ds_place_sync(&s->at, err);
    return rc;
}

enum dstream_code ds_state_open(struct ds_state **out, const struct ds_fileops *ops,
                                const char *path, struct dstream_error *err)
{
    *out = NULL;
    struct ds_state *s = ds_calloc(1, sizeof *s);
    if (!s)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a state file");
    enum dstream_code rc = ds_state_begin(s, ops ? ops : &ds_fileops_system, path, err);
    if (rc == DSTREAM_OK)
        rc = open_steps(s, err);
    if (rc == DSTREAM_OK)
        *out = s;
    else
        ds_state_free(s);
    return rc;
}

void ds_state_free(struct ds_state *s)
{
    if (!s)
        return;
    ds_state_end(s);
    ds_free(s);
}

/* --- committing ------------------------------------------------------------------------------- */

/* The new state under its temporary name, durable. */
static enum dstream_code write_temporary(struct ds_state *s, const struct ds_buf *line,
                                         struct dstream_error *err)
{
    const struct ds_fileops *ops = s->at.ops;
    int fd = ops->open(ops->ctx, s->at.dir, s->temporary, DS_OPEN_TEMPORARY);
    if (fd < 0)
        return ds_file_error(err, s->at.path, "make a new state file beside it", fd);
    int rc = ds_file_write(ops, fd, line->data, line->len, 0);
    const char *what = "write the new state";
    if (rc == 0) {
        what = "sync the new state";
        rc = ops->sync(ops->ctx, fd);
        s->sync_failed = rc < 0;
    }
    ds_file_close(ops, &fd);
    if (rc == 0)
        return DSTREAM_OK;
    ops->unlink(ops->ctx, s->at.dir, s->temporary);
    return ds_file_error(err, s->at.path, what, rc);
}

static enum dstream_code replace(struct ds_state *s, struct dstream_error *err)
{
    const struct ds_fileops *ops = s->at.ops;
    int rc = ops->rename(ops->ctx, s->at.dir, s->temporary, s->at.name);
    if (rc < 0)
        return ds_file_error(err, s->at.path, "rename the new state to it", rc);
    enum dstream_code code = ds_place_sync(&s->at, err);
    s->sync_failed = code != DSTREAM_OK;
    return code;
}

enum dstream_code ds_state_replace(struct ds_state *s, const struct ds_buf *bytes,
                                   struct dstream_error *err)
{
    if (s->sync_failed)
        return ds_error_set(err, DSTREAM_ERR_IO,
                            "%s: not written, since an earlier sync failed: start again, which "
                            "goes on from the last good state",
                            s->at.path);
    enum dstream_code rc = write_temporary(s, bytes, err);
    if (rc == DSTREAM_OK)
        rc = replace(s, err);
    s->exists = s->exists || rc == DSTREAM_OK;
    return rc;
}

enum dstream_code ds_state_commit(struct ds_state *s, const struct ds_checkpoint *c,
                                  struct dstream_error *err)
{
    if (&s->last != c)
        s->last = *c;
    ds_checkpoint_stamp(&s->last);
    struct ds_buf line;
    ds_buf_init(&line, DS_CHECKPOINT_LINE_MAX);
    enum dstream_code rc = ds_checkpoint_write(&line, &s->last);
    if (rc != DSTREAM_OK)
        ds_error_set(err, rc, "%s: cannot write the state: %s", s->at.path, dstream_code_text(rc));
    else
        rc = ds_state_replace(s, &line, err);
    ds_buf_free(&line);
    return rc;
}

/* --- by hand ---------------------------------------------------------------------------------- */

enum dstream_code ds_state_begin_locked(struct ds_state *s, const struct ds_fileops *ops,
                                        const char *path, struct dstream_error *err)
{
    enum dstream_code rc = ds_state_begin(s, ops ? ops : &ds_fileops_system, path, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&s->at, err);
    return rc;
}

enum dstream_code ds_state_remove(const struct ds_fileops *ops, const char *path,
                                  struct dstream_error *err)
{
    struct ds_state *s = ds_calloc(1, sizeof *s);
    if (!s)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a state file");
    enum dstream_code rc = ds_state_begin_locked(s, ops, path, err);
    int removed = rc == DSTREAM_OK ? s->at.ops->unlink(s->at.ops->ctx, s->at.dir, s->at.name) : 0;
    if (removed < 0)
        rc = ds_file_error(err, path, "remove it", removed);
    if (rc == DSTREAM_OK)
        rc = ds_place_sync(&s->at, err);
    ds_state_free(s);
    return rc;
}

enum dstream_code ds_state_move(struct ds_checkpoint *c, const char *path, const char *offset,
                                uint64_t skip, struct dstream_error *err)
{
    if (c->segment.sealing[0])
        return ds_error_set(err, DSTREAM_ERR_STATE,
                            "%s: a segment is being sealed: let an export finish that first", path);
    strcpy(c->offset, offset);
    c->skip = skip;
    c->closed = false;
    c->handed = 0;
    memset(&c->witness, 0, sizeof c->witness);
    return DSTREAM_OK;
}

enum dstream_code ds_state_set(const struct ds_fileops *ops, const char *path, const char *offset,
                               uint64_t skip, struct dstream_error *err)
{
    struct ds_state *s = ds_calloc(1, sizeof *s);
    if (!s)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a state file");
    enum dstream_code rc = ds_state_begin_locked(s, ops, path, err);
    if (rc == DSTREAM_OK)
        rc = ds_state_load(s, err);
    if (rc == DSTREAM_OK && !s->exists)
        rc = ds_error_set(err, DSTREAM_ERR_IO, "%s: no such state file", path);
    if (rc == DSTREAM_OK)
        rc = ds_state_move(&s->last, s->at.path, offset, skip, err);
    if (rc == DSTREAM_OK)
        rc = ds_state_commit(s, &s->last, err);
    ds_state_free(s);
    return rc;
}
