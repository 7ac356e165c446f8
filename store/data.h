/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data file of an export, reached through its directory's descriptor: how long it is as far as it
 * is good, and what its end is. Knows no state; what is to be synced when is export.h's.
 */
#ifndef DS_STORE_DATA_H
#define DS_STORE_DATA_H

#include "store/checkpoint.h"
#include "store/fileops.h"
#include "store/pack.h"

struct ds_data {
    const struct ds_fileops *ops;
    int dir;          /* lent */
    char *name;       /* in it */
    char *path;       /* for messages */
    int fd;           /* -1: not open, or not there yet */
    uint64_t length;  /* as far as it is good */
    bool longer;      /* there is more behind `length`, to be cut off */
    bool dirty;       /* changed since its last sync */
    bool sync_failed; /* final */
    int write_failed; /* the negative errno of it, final */
    struct ds_hash *hash;
    struct ds_pack *pack; /* NULL: written as it comes */
    uint64_t whole;       /* length at the end of the last member */
    bool spoiled;         /* what came since could not be written, or not all of it */
};

/* Takes the strings, which are freed with ds_free(); NULL ones are ERR_NOMEM. */
enum dstream_code ds_data_begin(struct ds_data *d, const struct ds_fileops *ops, int dir,
                                char *name, char *path, struct dstream_error *err);
void ds_data_end(struct ds_data *d);

/* From now on what is written is packed: in members that end with each sync, or earlier.
 * ERR_NOMEM.
 */
enum dstream_code ds_data_pack(struct ds_data *d, enum ds_pack_kind kind,
                               struct dstream_error *err);
/* It has nothing, written or packed. */
bool ds_data_is_empty(const struct ds_data *d);
/* It is good up to here. */
void ds_data_set_length(struct ds_data *d, uint64_t length);

/* Opens and locks it where it is there, and says how long it is. ERR_LOCKED, ERR_IO. */
enum dstream_code ds_data_open(struct ds_data *d, uint64_t *size, struct dstream_error *err);
/* Makes and locks it. *why is the negative errno where it cannot be made. */
enum dstream_code ds_data_create(struct ds_data *d, int *why, struct dstream_error *err);
/* Lets go of it: what is written next goes to another file. */
void ds_data_close(struct ds_data *d);

/* The hash of the last bytes before `length`. ERR_STATE_MISMATCH where they are not all there. */
enum dstream_code ds_data_tail(struct ds_data *d, uint64_t length, char out[DS_HASH_HEX],
                               struct dstream_error *err);
/* Whether a file of `size` bytes begins with what the checkpoint says of it, and goes on from
 * there. `state` is the state's name. ERR_STATE_MISMATCH. */
enum dstream_code ds_data_compare(struct ds_data *d, const struct ds_checkpoint *c, uint64_t size,
                                  const char *state, struct dstream_error *err);
enum dstream_code ds_data_cut(struct ds_data *d, uint64_t length, struct dstream_error *err);
/* At its end. After a failure nothing more is taken. */
enum dstream_code ds_data_write(struct ds_data *d, const void *p, size_t n,
                                struct dstream_error *err);
/* Takes back what was written since it was `length` long; packed, since the last sync: then it is
 * spoiled, and of what came since nothing can be committed. */
void ds_data_undo(struct ds_data *d, uint64_t length);
/* Makes it durable, but for its name. A failure is final. */
enum dstream_code ds_data_sync(struct ds_data *d, struct dstream_error *err);

#endif
