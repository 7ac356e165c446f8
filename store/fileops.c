/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/fileops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int flags_of(enum ds_open how)
{
    switch (how) {
    case DS_OPEN_DIR:
        return O_RDONLY | O_DIRECTORY;
    case DS_OPEN_READ:
        return O_RDONLY | O_NOFOLLOW;
    case DS_OPEN_UPDATE:
        return O_RDWR | O_NOFOLLOW;
    case DS_OPEN_CREATE:
        return O_RDWR | O_NOFOLLOW | O_CREAT | O_EXCL;
    case DS_OPEN_LOCK:
        return O_RDWR | O_NOFOLLOW | O_CREAT;
    case DS_OPEN_TEMPORARY:
        break;
    }
    return O_RDWR | O_NOFOLLOW | O_CREAT | O_TRUNC;
}

static int sys_open(void *ctx, int dir, const char *name, enum ds_open how)
{
    (void)ctx;
    int at = dir == DS_DIR_CWD ? AT_FDCWD : dir;
    for (;;) {
        int fd = openat(at, name, flags_of(how) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
        if (fd >= 0)
            return fd;
        if (errno != EINTR)
            return -errno;
    }
}

/* After EINTR the descriptor is gone on Linux: never closed twice. */
static int sys_close(void *ctx, int fd)
{
    (void)ctx;
    return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

static int64_t sys_read(void *ctx, int fd, void *p, size_t n, uint64_t at)
{
    (void)ctx;
    ssize_t got = pread(fd, p, n, (off_t)at);
    return got < 0 ? -errno : got;
}

static int64_t sys_write(void *ctx, int fd, const void *p, size_t n, uint64_t at)
{
    (void)ctx;
    ssize_t put = pwrite(fd, p, n, (off_t)at);
    return put < 0 ? -errno : put;
}

static int sys_truncate(void *ctx, int fd, uint64_t size)
{
    (void)ctx;
    int rc;
    do
        rc = ftruncate(fd, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

/* EINTR of a sync is not taken for a failure, and it is the one case where asking again is right:
 * nothing was reported as written or lost yet. */
static int sys_sync_data(void *ctx, int fd)
{
    (void)ctx;
    int rc;
    do
        rc = fdatasync(fd);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int sys_sync(void *ctx, int fd)
{
    (void)ctx;
    int rc;
    do
        rc = fsync(fd);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int sys_rename(void *ctx, int dir, const char *from, const char *to)
{
    (void)ctx;
    return renameat(dir, from, dir, to) < 0 ? -errno : 0;
}

/* A file system that cannot do it in one step gets it in two: a crash in between leaves the file
 * with both names. */
static int sys_rename_new(void *ctx, int dir, const char *from, const char *to)
{
    (void)ctx;
    if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (linkat(dir, from, dir, to, 0) < 0 || unlinkat(dir, from, 0) < 0)
        return -errno;
    return 0;
}

static int sys_mkdir(void *ctx, int dir, const char *name)
{
    (void)ctx;
    return mkdirat(dir == DS_DIR_CWD ? AT_FDCWD : dir, name, 0777) < 0 ? -errno : 0;
}

static int sys_unlink(void *ctx, int dir, const char *name)
{
    (void)ctx;
    return unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

static int sys_info(void *ctx, int fd, struct ds_file_info *out)
{
    (void)ctx;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *out = (struct ds_file_info){
        .kind = S_ISREG(st.st_mode)   ? DS_FILE_REGULAR
                : S_ISDIR(st.st_mode) ? DS_FILE_DIRECTORY
                                      : DS_FILE_OTHER,
        .size = (uint64_t)st.st_size,
        .device = (uint64_t)st.st_dev,
        .inode = (uint64_t)st.st_ino,
    };
    return 0;
}

static int sys_lock(void *ctx, int fd, enum ds_lock kind)
{
    (void)ctx;
    int rc;
    do
        rc = flock(fd, (kind == DS_LOCK_SHARED ? LOCK_SH : LOCK_EX) | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

const struct ds_fileops ds_fileops_system = {
    .open = sys_open,
    .close = sys_close,
    .read = sys_read,
    .write = sys_write,
    .truncate = sys_truncate,
    .sync_data = sys_sync_data,
    .sync = sys_sync,
    .rename = sys_rename,
    .unlink = sys_unlink,
    .info = sys_info,
    .lock = sys_lock,
    .rename_new = sys_rename_new,
    .mkdir = sys_mkdir,
};

int ds_file_write(const struct ds_fileops *ops, int fd, const void *p, size_t n, uint64_t at)
{
    const char *from = p;
    while (n > 0) {
        int64_t put = ops->write(ops->ctx, fd, from, n, at);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? (int)put : -EIO; /* 0 would go on for ever */
        from += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return 0;
}

int64_t ds_file_read(const struct ds_fileops *ops, int fd, void *p, size_t n, uint64_t at)
{
    char *to = p;
    size_t done = 0;
    while (done < n) {
        int64_t got = ops->read(ops->ctx, fd, to + done, n - done, at + done);
        if (got == -EINTR)
            continue;
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

void ds_file_close(const struct ds_fileops *ops, int *fd)
{
    if (*fd >= 0)
        ops->close(ops->ctx, *fd);
    *fd = -1;
}

const char *ds_errno_text(int err)
{
    switch (err) {
    case ENOSPC:
        return "the disk is full";
    case EDQUOT:
        return "the disk quota is used up";
    case EFBIG:
        return "the file would be larger than the limit (ulimit -f) or the file system allows";
    case EROFS:
        return "the file system is read-only";
    case ELOOP:
        return "it is a symbolic link (name the file that it points to)";
    case EISDIR:
        return "it is a directory";
    case EIO:
        return "the disk reported an error";
    case ENXIO:
        return "it is not a regular file";
    default:
        return strerror(err);
    }
}

enum dstream_code ds_file_error(struct dstream_error *e, const char *path, const char *what, int rc)
{
    return ds_error_set(e, DSTREAM_ERR_IO, "%s: cannot %s: %s", path, what, ds_errno_text(-rc));
}
