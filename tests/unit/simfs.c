/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "simfs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names ------------------------------------------------------------------------------------ */

static struct sim_name *find(struct sim_name *names, const char *name)
{
    for (size_t i = 0; i < SIM_NAMES; i++) {
        if (strcmp(names[i].name, name) == 0)
            return &names[i];
    }
    return NULL;
}

static void apply_name(struct sim_name *names, const struct sim_rename *c)
{
    struct sim_name *old = c->from[0] ? find(names, c->from) : NULL;
    if (old)
        old->name[0] = '\0';
    if (!c->to[0])
        return;
    struct sim_name *n = find(names, c->to);
    if (!n)
        n = find(names, "");
    cr_assert_not_null(n);
    snprintf(n->name, sizeof n->name, "%s", c->to);
    n->file = c->file;
}

static void change_name(struct sim_dir *d, const char *from, const char *to, int file)
{
    cr_assert_lt(d->nchanges, SIM_CHANGES);
    struct sim_rename *c = &d->changes[d->nchanges++];
    snprintf(c->from, sizeof c->from, "%s", from);
    snprintf(c->to, sizeof c->to, "%s", to);
    c->file = file;
    apply_name(d->now, c);
}

/* --- contents --------------------------------------------------------------------------------- */

static void apply_bytes(struct sim_bytes *b, const struct sim_change *c)
{
    size_t end = c->at + (c->write ? c->len : 0);
    cr_assert_leq(end, SIM_SIZE);
    if (end > b->len)
        memset(b->data + b->len, 0, end - b->len);
    if (c->write)
        memcpy(b->data + c->at, c->data, c->len);
    if (end > b->len || !c->write)
        b->len = end;
}

static void change_bytes(struct sim_file *f, bool write, size_t at, const void *p, size_t n)
{
    cr_assert_lt(f->nchanges, SIM_CHANGES);
    if (!f->changes)
        f->changes = calloc(SIM_CHANGES, sizeof *f->changes);
    struct sim_change *c = &f->changes[f->nchanges++];
    cr_assert_leq(n, SIM_SIZE);
    c->write = write;
    c->at = at;
    c->len = n;
    if (n > 0)
        memcpy(c->data, p, n);
    apply_bytes(&f->now, c);
}

static int new_file(struct sim_fs *fs)
{
    cr_assert_lt(fs->nfiles, SIM_FILES);
    return (int)fs->nfiles++;
}

/* --- operations ------------------------------------------------------------------------------- */

/* Whether this call is to fail, and with what. */
static int due(struct sim_fs *fs, const char *what)
{
    long n = fs->calls++;
    if (fs->fail_at < 0 || n < fs->fail_at || (n > fs->fail_at && !fs->dies))
        return 0;
    if (n == fs->fail_at)
        snprintf(fs->last, sizeof fs->last, "%s", what);
    return fs->dies ? -EIO : -fs->fail_with;
}

static int take_fd(struct sim_fs *fs, int dir, int file)
{
    for (int i = 0; i < SIM_FDS; i++) {
        if (!fs->fds[i].open) {
            fs->fds[i].open = true;
            fs->fds[i].dir = dir;
            fs->fds[i].file = file;
            return i;
        }
    }
    return -EMFILE;
}

static int open_dir(struct sim_fs *fs, const char *path)
{
    for (int i = 0; i < SIM_DIRS; i++) {
        if (strcmp(fs->dirs[i].path, path) == 0)
            return take_fd(fs, i, -1);
    }
    return -ENOENT;
}

static int op_open(void *ctx, int dir, const char *name, enum ds_open how)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "open");
    if (rc < 0)
        return rc;
    if (how == DS_OPEN_DIR)
        return open_dir(fs, name);
    struct sim_dir *d = &fs->dirs[fs->fds[dir].dir];
    struct sim_name *n = find(d->now, name);
    if (n && how == DS_OPEN_CREATE)
        return -EEXIST;
    if (!n && (how == DS_OPEN_READ || how == DS_OPEN_UPDATE))
        return -ENOENT;
    int file = n ? n->file : new_file(fs);
    if (!n)
        change_name(d, "", name, file);
    else if (how == DS_OPEN_TEMPORARY)
        change_bytes(&fs->files[file], false, 0, NULL, 0);
    return take_fd(fs, -1, file);
}

static int op_close(void *ctx, int fd)
{
    struct sim_fs *fs = ctx;
    cr_assert(fs->fds[fd].open);
    int rc = due(fs, "close");
    fs->fds[fd].open = fs->fds[fd].lock = false;
    return rc;
}

static int64_t op_read(void *ctx, int fd, void *p, size_t n, uint64_t at)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "read");
    if (rc < 0)
        return rc;
    const struct sim_bytes *b = &fs->files[fs->fds[fd].file].now;
    size_t left = at < b->len ? b->len - (size_t)at : 0;
    if (n > left)
        n = left;
    if (n > 333)
        n = 333; /* reads are short */
    memcpy(p, b->data + at, n);
    return (int64_t)n;
}

static int64_t op_write(void *ctx, int fd, const void *p, size_t n, uint64_t at)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "write");
    if (rc < 0 && fs->dies && fs->calls - 1 > fs->fail_at)
        return rc;
    /* One that fails or is died in has written a part; others are short now and then. */
    size_t part = rc < 0 ? n / 2 : n > 8 ? n - n / 4 : n;
    change_bytes(&fs->files[fs->fds[fd].file], true, (size_t)at, p, part);
    return rc < 0 ? rc : (int64_t)part;
}

static int op_truncate(void *ctx, int fd, uint64_t size)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "truncate");
    if (rc == 0)
        change_bytes(&fs->files[fs->fds[fd].file], false, (size_t)size, NULL, 0);
    return rc;
}

static int sync_fd(struct sim_fs *fs, int fd, const char *what)
{
    int rc = due(fs, what);
    if (rc < 0 && fs->dies)
        return rc;
    if (fs->fds[fd].dir >= 0) {
        struct sim_dir *d = &fs->dirs[fs->fds[fd].dir];
        if (rc == 0)
            for (size_t i = 0; i < d->nchanges; i++)
                apply_name(d->disk, &d->changes[i]);
        d->nchanges = 0;
    } else {
        struct sim_file *f = &fs->files[fs->fds[fd].file];
        if (rc == 0)
            for (size_t i = 0; i < f->nchanges; i++)
                apply_bytes(&f->disk, &f->changes[i]);
        f->nchanges = 0;
    }
    return rc;
}

static int op_sync(void *ctx, int fd)
{
    return sync_fd(ctx, fd, "sync");
}

static int op_sync_data(void *ctx, int fd)
{
    return sync_fd(ctx, fd, "sync_data");
}

static int op_rename(void *ctx, int dir, const char *from, const char *to)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "rename");
    if (rc < 0)
        return rc;
    struct sim_dir *d = &fs->dirs[fs->fds[dir].dir];
    struct sim_name *n = find(d->now, from);
    if (!n)
        return -ENOENT;
    change_name(d, from, to, n->file);
    return 0;
}

static int op_rename_new(void *ctx, int dir, const char *from, const char *to)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "rename_new");
    if (rc < 0)
        return rc;
    struct sim_dir *d = &fs->dirs[fs->fds[dir].dir];
    struct sim_name *n = find(d->now, from);
    if (!n || find(d->now, to))
        return n ? -EEXIST : -ENOENT;
    change_name(d, from, to, n->file);
    return 0;
}

/* All directories that there can be are there. */
static int op_mkdir(void *ctx, int dir, const char *name)
{
    (void)dir;
    (void)name;
    int rc = due(ctx, "mkdir");
    return rc < 0 ? rc : -EEXIST;
}

static int op_unlink(void *ctx, int dir, const char *name)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "unlink");
    if (rc == 0)
        change_name(&fs->dirs[fs->fds[dir].dir], name, "", -1);
    return rc;
}

static int op_info(void *ctx, int fd, struct ds_file_info *out)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "info");
    int dir = fs->fds[fd].dir, file = fs->fds[fd].file;
    *out = (struct ds_file_info){.kind = dir >= 0 ? DS_FILE_DIRECTORY : DS_FILE_REGULAR,
                                 .size = dir >= 0 ? 0 : fs->files[file].now.len,
                                 .device = 1,
                                 .inode = (uint64_t)(dir >= 0 ? 1000 + dir : file)};
    return rc;
}

static int op_lock(void *ctx, int fd, enum ds_lock kind)
{
    struct sim_fs *fs = ctx;
    int rc = due(fs, "lock");
    fs->fds[fd].lock = rc == 0;
    (void)kind;
    return rc;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* A million times the same size: memory that went back to the system each time would cost more than
 * all the rest. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
}

struct sim_fs *sim_new(const char *const paths[SIM_DIRS])
{
    keep_memory();
    struct sim_fs *fs = calloc(1, sizeof *fs);
    cr_assert_not_null(fs);
    fs->ops = (struct ds_fileops){.open = op_open,
                                  .close = op_close,
                                  .read = op_read,
                                  .write = op_write,
                                  .truncate = op_truncate,
                                  .sync_data = op_sync_data,
                                  .sync = op_sync,
                                  .rename = op_rename,
                                  .rename_new = op_rename_new,
                                  .unlink = op_unlink,
                                  .info = op_info,
                                  .lock = op_lock,
                                  .mkdir = op_mkdir,
                                  .ctx = fs};
    fs->fail_at = -1;
    for (size_t i = 0; i < SIM_DIRS; i++)
        snprintf(fs->dirs[i].path, sizeof fs->dirs[i].path, "%s", paths[i]);
    return fs;
}

bool sim_names_unsynced(const struct sim_fs *fs)
{
    for (size_t d = 0; d < SIM_DIRS; d++) {
        for (size_t i = 0; i < fs->dirs[d].nchanges; i++) {
            const char *to = fs->dirs[d].changes[i].to;
            if (!strstr(to, ".tmp") && !strstr(to, ".lock"))
                return true;
        }
    }
    return false;
}

struct sim_fs *sim_copy(const struct sim_fs *fs)
{
    struct sim_fs *c = calloc(1, sizeof *c);
    cr_assert_not_null(c);
    size_t head = offsetof(struct sim_fs, files);
    memcpy((char *)c + head, (const char *)fs + head, fs->nfiles * sizeof *fs->files);
    size_t rest = offsetof(struct sim_fs, nfiles);
    memcpy((char *)c + rest, (const char *)fs + rest, sizeof *c - rest);
    c->ops = fs->ops;
    c->ops.ctx = c;
    for (size_t i = 0; i < c->nfiles; i++) {
        c->files[i].changes = NULL;
        if (fs->files[i].nchanges == 0)
            continue;
        c->files[i].changes = calloc(SIM_CHANGES, sizeof *c->files[i].changes);
        memcpy(c->files[i].changes, fs->files[i].changes,
               fs->files[i].nchanges * sizeof *c->files[i].changes);
    }
    return c;
}

void sim_free(struct sim_fs *fs)
{
    for (size_t i = 0; i < fs->nfiles; i++)
        free(fs->files[i].changes);
    free(fs);
}

void sim_exit(struct sim_fs *fs)
{
    memset(fs->fds, 0, sizeof fs->fds);
    fs->fail_at = -1;
    fs->dies = false;
    fs->calls = 0;
}

/* What may be left of a file's changes: none, all, the first half of them, or the new length with
 * zeros in it. A file without changes has one outcome only. */
enum { OUTCOMES = 4 };

static void crash_file(struct sim_file *f, unsigned long outcome)
{
    size_t n = outcome == 1 ? f->nchanges : outcome == 2 ? f->nchanges / 2 : 0;
    for (size_t i = 0; i < n; i++)
        apply_bytes(&f->disk, &f->changes[i]);
    if (outcome == 3) {
        if (f->now.len > f->disk.len)
            memset(f->disk.data + f->disk.len, 0, f->now.len - f->disk.len);
        f->disk.len = f->now.len;
    }
    f->now = f->disk;
    f->nchanges = 0;
}

/* Any subset of the changes to names may have got through. */
static void crash_dir(struct sim_dir *d, unsigned long subset)
{
    for (size_t i = 0; i < d->nchanges; i++) {
        if (subset >> i & 1)
            apply_name(d->disk, &d->changes[i]);
    }
    memcpy(d->now, d->disk, sizeof d->now);
    d->nchanges = 0;
}

unsigned long sim_choices(const struct sim_fs *fs)
{
    unsigned long n = 2;
    for (size_t i = 0; i < fs->nfiles; i++)
        n *= fs->files[i].nchanges > 0 ? OUTCOMES : 1;
    for (size_t i = 0; i < SIM_DIRS; i++)
        n <<= fs->dirs[i].nchanges;
    return n;
}

void sim_crash(struct sim_fs *fs, unsigned long choice)
{
    bool extreme = choice < 2;
    unsigned long rest = choice / 2;
    for (size_t i = 0; i < fs->nfiles; i++) {
        struct sim_file *f = &fs->files[i];
        bool changed = f->nchanges > 0;
        crash_file(f, extreme ? choice : rest % OUTCOMES);
        rest /= changed ? OUTCOMES : 1;
    }
    for (size_t i = 0; i < SIM_DIRS; i++) {
        struct sim_dir *d = &fs->dirs[i];
        size_t n = d->nchanges;
        crash_dir(d, extreme ? (choice ? ~0UL : 0) : rest);
        rest >>= n;
    }
    sim_exit(fs);
}

unsigned long sim_by(unsigned long n)
{
    const char *soak = getenv("DSTREAM_SOAK");
    return soak && strtoul(soak, NULL, 10) > 1 ? 1 : n;
}

void sim_put(struct sim_fs *fs, int dir, const char *name, const void *p, size_t n, bool synced)
{
    int file = new_file(fs);
    struct sim_file *f = &fs->files[file];
    change_bytes(f, true, 0, p, n);
    change_name(&fs->dirs[dir], "", name, file);
    if (!synced)
        return;
    f->disk = f->now;
    f->nchanges = 0;
    memcpy(fs->dirs[dir].disk, fs->dirs[dir].now, sizeof fs->dirs[dir].disk);
    fs->dirs[dir].nchanges = 0;
}

const struct sim_bytes *sim_get(const struct sim_fs *fs, int dir, const char *name)
{
    for (size_t i = 0; i < SIM_NAMES; i++) {
        const struct sim_name *n = &fs->dirs[dir].now[i];
        if (n->name[0] && strcmp(n->name, name) == 0)
            return &fs->files[n->file].now;
    }
    return NULL;
}
