/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state file that holds one checkpoint, replaced whole at each commit: written beside under a
 * temporary name, synced, renamed, its directory synced. What a crash leaves is the old one or the
 * new one.
 *
 * By itself it serves output that goes to a pipe: commit after the write, so at least once. With a
 * file, see export.h.
 */
#ifndef DS_STORE_STATE_H
#define DS_STORE_STATE_H

#include "store/checkpoint.h"
#include "store/place.h"

struct ds_state {
    struct ds_place at;
    char *temporary;           /* the name that the next one is written under */
    bool exists;               /* there is one: */
    struct ds_checkpoint last; /* as read, or as last committed */
    bool sync_failed;          /* what is on the disk is not known: nothing may be committed */
};

/* Reads a state file and takes no lock. ERR_IO, with *missing set where there is none;
 * ERR_STATE_CORRUPT. */
enum dstream_code ds_state_show(const struct ds_fileops *ops, const char *path,
                                struct ds_checkpoint *out, bool *missing,
                                struct dstream_error *err);

/* Opens, locks and reads the state file at `path`; one that is not there is no error. `ops` NULL:
 * the system's own. ERR_LOCKED, ERR_STATE_CORRUPT, ERR_STATE_MISMATCH for one that goes with an
 * output file, ERR_IO. On failure *out is NULL. */
enum dstream_code ds_state_open(struct ds_state **out, const struct ds_fileops *ops,
                                const char *path, struct dstream_error *err);
/* Makes `c`, with its time set to now, the state. After a failed sync it fails for good, since the
 * next sync may tell lies. */
enum dstream_code ds_state_commit(struct ds_state *s, const struct ds_checkpoint *c,
                                  struct dstream_error *err);
void ds_state_free(struct ds_state *s);

/* Removes a state, which nobody may have locked. ERR_LOCKED, ERR_IO. */
enum dstream_code ds_state_remove(const struct ds_fileops *ops, const char *path,
                                  struct dstream_error *err);
/* Makes the state of one output go on elsewhere: its length stays, its witness goes, and what was
 * handed out. ERR_LOCKED, ERR_STATE where a segment is being sealed, codes of reading it. */
enum dstream_code ds_state_set(const struct ds_fileops *ops, const char *path, const char *offset,
                               uint64_t skip, struct dstream_error *err);

/* That change to a checkpoint alone; `path` is for messages. ERR_STATE. */
enum dstream_code ds_state_move(struct ds_checkpoint *c, const char *path, const char *offset,
                                uint64_t skip, struct dstream_error *err);
/* Opens and locks a state file, before any other lock. */
enum dstream_code ds_state_begin_locked(struct ds_state *s, const struct ds_fileops *ops,
                                        const char *path, struct dstream_error *err);

/* The steps of ds_state_open() and ds_state_commit(), for exports.h, which has other locks to take
 * in between, and whose states may have many lines. */
enum dstream_code ds_state_begin(struct ds_state *s, const struct ds_fileops *ops, const char *path,
                                 struct dstream_error *err);
enum dstream_code ds_state_load(struct ds_state *s, struct dstream_error *err);
void ds_state_end(struct ds_state *s);
/* All of the file at `name`, into `out`, which has its cap. *missing as of ds_state_show(). */
enum dstream_code ds_state_read(const struct ds_fileops *ops, int dir, const char *name,
                                const char *path, struct ds_buf *out, bool *missing,
                                struct dstream_error *err);
/* `bytes` become the state. */
enum dstream_code ds_state_replace(struct ds_state *s, const struct ds_buf *bytes,
                                   struct dstream_error *err);

#endif
