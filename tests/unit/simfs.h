/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system in memory for store/, which forgets what was not synced.
 *
 * It holds a few directories. Beside what a process sees, it keeps what is durable and the changes
 * since: a crash keeps any choice of these. A failed sync loses the changes it was to make durable,
 * though they can still be read: the next one then succeeds without them.
 */
#ifndef DS_TESTS_SIMFS_H
#define DS_TESTS_SIMFS_H

#include "store/fileops.h"

enum {
    SIM_FILES = 128,
    SIM_SIZE = 2048,
    SIM_DIRS = 2,
    SIM_NAMES = 16,
    SIM_CHANGES = 48,
    SIM_FDS = 16
};

struct sim_bytes {
    unsigned char data[SIM_SIZE];
    size_t len;
};
struct sim_change { /* a write, or a truncation where `data` is NULL */
    bool write;
    size_t at, len;
    unsigned char data[SIM_SIZE];
};
struct sim_file {
    struct sim_bytes now, disk;
    struct sim_change *changes; /* SIM_CHANGES of them */
    size_t nchanges;
};
struct sim_name {
    char name[24]; /* "" : none */
    int file;
};
struct sim_rename { /* name `from` goes to `to`; made where from is "", removed where to is "" */
    char from[24], to[24];
    int file;
};
struct sim_dir {
    char path[24];
    struct sim_name now[SIM_NAMES], disk[SIM_NAMES];
    struct sim_rename changes[SIM_CHANGES];
    size_t nchanges;
};
struct sim_fs {
    struct ds_fileops ops;
    struct sim_file files[SIM_FILES];
    size_t nfiles;
    struct sim_dir dirs[SIM_DIRS];
    struct {
        bool open, lock;
        int dir, file; /* one of them, the other -1 */
    } fds[SIM_FDS];
    long calls;    /* made so far */
    long fail_at;  /* this one fails; -1: none */
    int fail_with; /* with this errno; a write then has written half */
    bool dies;     /* and so does every one after it, without any effect */
    char last[32]; /* the operation that failed */
};

/* `paths` are the directories it has. Free it with sim_free(). */
struct sim_fs *sim_new(const char *const paths[SIM_DIRS]);
struct sim_fs *sim_copy(const struct sim_fs *fs);
void sim_free(struct sim_fs *fs);
/* Power fails. `choice` picks what of the unsynced changes survives; 0 is nothing, 1 everything;
 * sim_choices() is how many there are. */
void sim_crash(struct sim_fs *fs, unsigned long choice);
unsigned long sim_choices(const struct sim_fs *fs);
/* Whether something has a name, or lost one, that is not durable yet; temporary files and lock
 * files do not count. */
bool sim_names_unsynced(const struct sim_fs *fs);
/* The process ends: descriptors are closed, nothing is lost. */
void sim_exit(struct sim_fs *fs);

/* By how much to go on where there are too many cases for each run of the tests: `n`, or 1 with
 * DSTREAM_SOAK, as script/soak sets it. */
unsigned long sim_by(unsigned long n);

/* Puts a file there. */
void sim_put(struct sim_fs *fs, int dir, const char *name, const void *p, size_t n, bool synced);
/* The bytes of a file as a process sees them, or NULL. */
const struct sim_bytes *sim_get(const struct sim_fs *fs, int dir, const char *name);

#endif
