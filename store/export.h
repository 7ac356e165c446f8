/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One output file with its checkpoint, so that over any crash each byte is in the file once.
 *
 *   open     takes the locks, reads the state, compares the file with it. Changes nothing.
 *   confirm  the stream was found to be the one that the state speaks of, and where it is read from
 *            is known: a file longer than its state is cut; a new one is made, after a first state
 *            that says so.
 *   write, commit, write, commit ...
 *
 * Locks: the directory (shared), a lock file beside the output's name, one beside the state's name,
 * the output itself. Commit: output synced, and its directory where it was made -> new state
 * written and synced -> renamed -> its directory synced.
 */
#ifndef DS_STORE_EXPORT_H
#define DS_STORE_EXPORT_H

#include "store/state.h"

struct ds_export_options {
    const struct ds_fileops *ops; /* NULL: the system's own */
    const char *path;
    const char *state; /* NULL: PATH.dstate */
    /* What to do with a file that has no state. Where there is a state they do nothing. */
    bool overwrite, append;
    bool reset; /* forget the position of the state, not the file */
};

struct ds_export;

/* Publishes *out on success only. ERR_LOCKED (nothing was written), ERR_EXISTS for a file without a
 * state, ERR_STATE_CORRUPT, ERR_STATE_MISMATCH where file and state differ, ERR_ARGUMENT, ERR_IO.
 */
enum dstream_code ds_export_open(struct ds_export **out, const struct ds_export_options *o,
                                 struct dstream_error *err);
/* Closes everything and lets go of the locks. Commits nothing. */
void ds_export_free(struct ds_export *x);

/* What to go on from; NULL where it begins anew. Valid until the next commit. */
const struct ds_checkpoint *ds_export_state(const struct ds_export *x);
const char *ds_export_path(const struct ds_export *x);
const char *ds_export_state_path(const struct ds_export *x);
/* What lies at `at` of the bytes that the state speaks of. ERR_IO. */
enum dstream_code ds_export_read(struct ds_export *x, uint64_t at, void *p, size_t n,
                                 struct dstream_error *err);
/* The state says that the stream was taken to its closed end, and the file is just that: nothing is
 * left to do. */
bool ds_export_complete(const struct ds_export *x);

/* Makes the file ready. `c` holds what is known of the stream and where it is read from; it becomes
 * the first state where there is none. Nothing can be written before. */
enum dstream_code ds_export_confirm(struct ds_export *x, const struct ds_checkpoint *c,
                                    struct dstream_error *err);
/* Puts `n` bytes at the file's end. After a failure (the disk full, say) nothing more is taken, but
 * what was written before can still be committed. */
enum dstream_code ds_export_write(struct ds_export *x, const void *p, size_t n,
                                  struct dstream_error *err);
/* Takes back what was written since the length was `length`, so that a commit does not speak of it:
 * for what was written in pieces and then failed. */
void ds_export_undo(struct ds_export *x, uint64_t length);
/* Makes all that was written durable, together with `c`, whose length, tail and time are filled in
 * here. After a failed sync it fails for good. */
enum dstream_code ds_export_commit(struct ds_export *x, const struct ds_checkpoint *c,
                                   struct dstream_error *err);
/* Bytes in the file, committed or not. */
uint64_t ds_export_length(const struct ds_export *x);

#endif
