/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file operation that store/ makes, in one table: so that a test can fail, stop or kill at
 * the n-th step of a commit, and can put a file system of its own below it.
 */
#ifndef DS_STORE_FILEOPS_H
#define DS_STORE_FILEOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum ds_file_kind { DS_FILE_REGULAR, DS_FILE_DIRECTORY, DS_FILE_OTHER };

struct ds_file_info {
    enum ds_file_kind kind;
    uint64_t size;
    uint64_t device, inode; /* together they name the file */
};

/* How open() opens. All are close-on-exec, never follow a symbolic link in the last part of the
 * name (except DS_OPEN_DIR) and never wait for the other end of a FIFO. */
enum ds_open {
    DS_OPEN_DIR,      /* a directory, for syncing, locking and as the base of names */
    DS_OPEN_READ,     /* what is there, for reading */
    DS_OPEN_UPDATE,   /* what is there, for reading and writing */
    DS_OPEN_CREATE,   /* new, for reading and writing; fails where the name is taken */
    DS_OPEN_LOCK,     /* made if it is not there; contents stay */
    DS_OPEN_TEMPORARY /* made or emptied, for reading and writing */
};
enum ds_lock { DS_LOCK_SHARED, DS_LOCK_EXCLUSIVE };

/* Each returns 0 (open: the descriptor; read and write: the count, which may be short), or a
 * negative errno. `dir` is a descriptor of open(DS_OPEN_DIR), or DS_DIR_CWD. */
#define DS_DIR_CWD (-1)
struct ds_fileops {
    int (*open)(void *ctx, int dir, const char *name, enum ds_open how);
    int (*close)(void *ctx, int fd);
    int64_t (*read)(void *ctx, int fd, void *p, size_t n, uint64_t at);
    int64_t (*write)(void *ctx, int fd, const void *p, size_t n, uint64_t at);
    int (*truncate)(void *ctx, int fd, uint64_t size);
    int (*sync_data)(void *ctx, int fd); /* contents and length */
    int (*sync)(void *ctx, int fd);      /* the same and the rest; a directory: its names */
    int (*rename)(void *ctx, int dir, const char *from, const char *to);
    /* The same, but never in place of what is there: -EEXIST. */
    int (*rename_new)(void *ctx, int dir, const char *from, const char *to);
    int (*unlink)(void *ctx, int dir, const char *name);
    int (*info)(void *ctx, int fd, struct ds_file_info *out);
    int (*lock)(void *ctx, int fd, enum ds_lock kind); /* flock without waiting: -EWOULDBLOCK */
    int (*mkdir)(void *ctx, int dir, const char *name);
    void *ctx;
};

/* The system's own. */
extern const struct ds_fileops ds_fileops_system;

/* Writes all of it, however often it takes. 0 or a negative errno. */
int ds_file_write(const struct ds_fileops *ops, int fd, const void *p, size_t n, uint64_t at);
/* Reads until `n` bytes are there or the file ends. The count, or a negative errno. */
int64_t ds_file_read(const struct ds_fileops *ops, int fd, void *p, size_t n, uint64_t at);
/* Closes it if it is open (not negative), and marks it as closed. */
void ds_file_close(const struct ds_fileops *ops, int *fd);

/* An errno in words, as "the disk is full". Static. */
const char *ds_errno_text(int err);
/* Sets "PATH: cannot WHAT: reason" for a negative errno `rc`. Returns DSTREAM_ERR_IO. */
enum dstream_code ds_file_error(struct dstream_error *e, const char *path, const char *what,
                                int rc);

#endif
