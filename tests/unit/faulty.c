/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "faulty.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), len = strlen(end);
    return n >= len && strcmp(name + n - len, end) == 0;
}

/* What a file is to an export. */
static const char *kind_of(const char *name)
{
    if (ends_in(name, ".lock"))
        return "a lock";
    if (ends_in(name, ".dstate") || ends_in(name, ".dstate.tmp"))
        return "the state";
    return ends_in(name, "manifest.ndjson") || ends_in(name, "MANIFEST.ndjson") ? "the manifest"
                                                                                : "data";
}

static const char *kind_of_fd(const struct ds_faulty *f, int fd)
{
    return fd >= 0 && fd < DS_FAULTY_FDS && f->kinds[fd] ? f->kinds[fd] : "data";
}

static void die(const struct ds_faulty *f, const char *when, const char *name)
{
    if (f->tell)
        dprintf(STDERR_FILENO, "killed %s %s of %s\n", when, name, f->of);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Counts the call; a negative errno where it is to fail. */
static int before(struct ds_faulty *f, const char *name, const char *of)
{
    if (f->only && strcmp(f->only, name) != 0)
        return 0;
    f->of = of;
    snprintf(f->last, sizeof f->last, "%s", name);
    if (f->calls++ != f->at)
        return 0;
    if (f->fault == DS_FAULT_KILL_BEFORE)
        die(f, "before", name);
    return f->fault == DS_FAULT_FAIL ? -f->error : 0;
}

static void after(const struct ds_faulty *f, const char *name)
{
    if (f->fault == DS_FAULT_KILL_AFTER && f->calls - 1 == f->at && strcmp(f->last, name) == 0)
        die(f, "after", name);
}

static int faulty_open(void *ctx, int dir, const char *name, enum ds_open how)
{
    struct ds_faulty *f = ctx;
    const char *kind = how == DS_OPEN_DIR ? "a directory" : kind_of(name);
    int rc = before(f, "open", kind);
    if (rc == 0)
        rc = ds_fileops_system.open(NULL, dir, name, how);
    if (rc >= 0 && rc < DS_FAULTY_FDS)
        f->kinds[rc] = kind;
    after(f, "open");
    return rc;
}

static int faulty_close(void *ctx, int fd)
{
    (void)ctx;
    return ds_fileops_system.close(NULL, fd);
}

static int64_t faulty_read(void *ctx, int fd, void *p, size_t n, uint64_t at)
{
    (void)ctx;
    return ds_fileops_system.read(NULL, fd, p, n, at);
}

static int64_t faulty_write(void *ctx, int fd, const void *p, size_t n, uint64_t at)
{
    int rc = before(ctx, "write", kind_of_fd(ctx, fd));
    int64_t put = rc ? rc : ds_fileops_system.write(NULL, fd, p, n > 1 ? n - n / 2 : n, at);
    after(ctx, "write");
    return put;
}

static int faulty_truncate(void *ctx, int fd, uint64_t size)
{
    int rc = before(ctx, "truncate", kind_of_fd(ctx, fd));
    if (rc == 0)
        rc = ds_fileops_system.truncate(NULL, fd, size);
    after(ctx, "truncate");
    return rc;
}

static void take_time(const struct ds_faulty *f)
{
    if (f->sync_ms > 0)
        nanosleep(&(struct timespec){.tv_nsec = f->sync_ms * 1000000L}, NULL);
}

static int faulty_sync_data(void *ctx, int fd)
{
    take_time(ctx);
    int rc = before(ctx, "sync_data", kind_of_fd(ctx, fd));
    if (rc == 0)
        rc = ds_fileops_system.sync_data(NULL, fd);
    after(ctx, "sync_data");
    return rc;
}

static int faulty_sync(void *ctx, int fd)
{
    take_time(ctx);
    int rc = before(ctx, "sync", kind_of_fd(ctx, fd));
    if (rc == 0)
        rc = ds_fileops_system.sync(NULL, fd);
    after(ctx, "sync");
    return rc;
}

static int faulty_rename(void *ctx, int dir, const char *from, const char *to)
{
    int rc = before(ctx, "rename", kind_of(from));
    if (rc == 0)
        rc = ds_fileops_system.rename(NULL, dir, from, to);
    after(ctx, "rename");
    return rc;
}

static int faulty_rename_new(void *ctx, int dir, const char *from, const char *to)
{
    int rc = before(ctx, "rename_new", kind_of(from));
    if (rc == 0)
        rc = ds_fileops_system.rename_new(NULL, dir, from, to);
    after(ctx, "rename_new");
    return rc;
}

static int faulty_mkdir(void *ctx, int dir, const char *name)
{
    int rc = before(ctx, "mkdir", "a directory");
    if (rc == 0)
        rc = ds_fileops_system.mkdir(NULL, dir, name);
    after(ctx, "mkdir");
    return rc;
}

static int faulty_unlink(void *ctx, int dir, const char *name)
{
    int rc = before(ctx, "unlink", kind_of(name));
    if (rc == 0)
        rc = ds_fileops_system.unlink(NULL, dir, name);
    after(ctx, "unlink");
    return rc;
}

static int faulty_info(void *ctx, int fd, struct ds_file_info *out)
{
    (void)ctx;
    return ds_fileops_system.info(NULL, fd, out);
}

static int faulty_lock(void *ctx, int fd, enum ds_lock kind)
{
    (void)ctx;
    return ds_fileops_system.lock(NULL, fd, kind);
}

void ds_faulty_init(struct ds_faulty *f, enum ds_fault fault, long at)
{
    *f = (struct ds_faulty){
        .ops = {.open = faulty_open,
                .close = faulty_close,
                .read = faulty_read,
                .write = faulty_write,
                .truncate = faulty_truncate,
                .sync_data = faulty_sync_data,
                .sync = faulty_sync,
                .rename = faulty_rename,
                .rename_new = faulty_rename_new,
                .unlink = faulty_unlink,
                .info = faulty_info,
                .lock = faulty_lock,
                .mkdir = faulty_mkdir,
                .ctx = f},
        .fault = fault,
        .at = at,
    };
}
