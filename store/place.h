/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file's name inside its opened directory, and the lock beside that name.
 *
 * The path is looked at once. From then on the file is reached through the directory's descriptor,
 * so that a directory moved aside takes along who writes in it.
 */
#ifndef DS_STORE_PLACE_H
#define DS_STORE_PLACE_H

#include "store/fileops.h"

struct ds_place {
    const struct ds_fileops *ops;
    char *path; /* as given, for messages */
    char *name; /* its last part */
    int dir;    /* the directory, -1: not open */
    int lock;   /* NAME.lock, -1: not locked */
};

/* Opens the directory of `path`. On failure nothing is left open. */
enum dstream_code ds_place_open(struct ds_place *p, const struct ds_fileops *ops, const char *path,
                                struct dstream_error *err);
/* The directory `path` itself, made where it is not there, and then synced in its parent. Its name
 * is "". */
enum dstream_code ds_place_open_dir(struct ds_place *p, const struct ds_fileops *ops,
                                    const char *path, struct dstream_error *err);
void ds_place_close(struct ds_place *p);
/* Locks the directory: shared for a file in it, exclusively by who takes it as a whole. */
enum dstream_code ds_place_lock_dir(struct ds_place *p, enum ds_lock kind,
                                    struct dstream_error *err);
/* ERR_LOCKED where somebody has NAME.lock locked. Makes no file, and keeps no lock: for who is to
 * take other locks first, so that being refused leaves nothing behind. Of several that ask at once
 * at least one gets the lock. */
enum dstream_code ds_place_probe(const struct ds_place *p, struct dstream_error *err);
/* Locks NAME.lock beside the name, made where it is not there, never renamed or removed: neither
 * the file itself, which may be replaced, nor its directory could stand for the name. */
enum dstream_code ds_place_lock(struct ds_place *p, struct dstream_error *err);
/* Makes the directory's names durable. */
enum dstream_code ds_place_sync(struct ds_place *p, struct dstream_error *err);
/* Whether `a`, followed by `suffix`, is the name of `b` in the same directory. */
bool ds_place_is(const struct ds_place *a, const char *suffix, const struct ds_place *b);

/* NAME followed by `suffix`; free it with ds_free(). NULL without memory. */
char *ds_name_with(const char *name, const char *suffix);
/* Locks an open file exclusively. ERR_LOCKED names `path`. */
enum dstream_code ds_lock_file(const struct ds_fileops *ops, int fd, const char *path,
                               struct dstream_error *err);

#endif
