/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output files with their checkpoints, so that over any crash each byte is in them once: one file
 * with a state of its own (ds_export_open), or the files of a directory with one state for all of
 * them (exports.h).
 *
 *   open     takes the locks, reads the state, compares the file with it. Changes nothing.
 *   confirm  the stream was found to be the one that the state speaks of, and where it is read from
 *            is known: a file longer than its state is cut; a new one is made, after a first state
 *            that says so.
 *   write, commit, write, commit ...
 *
 * Locks: the directory (shared, or exclusively by who writes all of it), a lock file beside the
 * output's name, one beside the state's name, the output itself. Commit: output synced, and its
 * directory where a name in it was made -> new state written and synced -> renamed -> its directory
 * synced.
 *
 * Rotation: the output is NAME.partial. To seal it, a commit records the name that it is to have,
 * one that was never used before -> renamed to that, which never replaces a file -> a line in the
 * manifest -> manifest and directory synced -> the state of the next segment. What a crash left
 * undone of that is done by the next run, and a file that is neither there as NAME.partial nor
 * under its new name was renamed, and taken away by who wanted it.
 *
 * It knows bytes and positions, not what they mean: whoever keeps output of another kind under
 * the same rules, a recording say, uses open, confirm, write, undo and commit just as exports do,
 * with a checkpoint whose `format` says what it is.
 */
#ifndef DS_STORE_EXPORT_H
#define DS_STORE_EXPORT_H

#include "store/pack.h"
#include "store/state.h"

struct ds_export_options {
    const struct ds_fileops *ops; /* NULL: the system's own */
    const char *path;
    const char *url;   /* what a state that is gone on from has to be of; NULL, and of a directory:
                          of any */
    const char *state; /* NULL: PATH.dstate; of a directory PATH/export.dstate */
    /* What to do with a file that has no state. Where there is a state they do nothing. */
    bool overwrite, append;
    bool reset; /* forget the position of the state, not the file */
    enum ds_pack_kind pack;
    const char *rotate; /* how finished segments are called (segment.h), lent; NULL: no segments */
};

struct ds_export;

/* Publishes *out on success only. ERR_LOCKED (nothing was written), ERR_EXISTS for a file without a
 * state, ERR_STATE_CORRUPT, ERR_STATE_MISMATCH where file and state differ, ERR_ARGUMENT, ERR_IO.
 */
enum dstream_code ds_export_open(struct ds_export **out, const struct ds_export_options *o,
                                 struct dstream_error *err);
/* Closes everything and lets go of the locks. Commits nothing. One of a directory goes with that.
 */
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
 * the first state where there is none. Nothing can be written before. In a directory `c` is lent
 * until the end: what it says is committed whenever the directory is; and a first state comes with
 * the next commit, until which the file is not ready. */
enum dstream_code ds_export_confirm(struct ds_export *x, const struct ds_checkpoint *c,
                                    struct dstream_error *err);
bool ds_export_ready(const struct ds_export *x);
/* Puts `n` bytes at the file's end. After a failure (the disk full, say) nothing more is taken, but
 * what was written before can still be committed. */
enum dstream_code ds_export_write(struct ds_export *x, const void *p, size_t n,
                                  struct dstream_error *err);
/* Takes back what was written since the length was `length`, so that a commit does not speak of it:
 * for what was written in pieces and then failed. */
void ds_export_undo(struct ds_export *x, uint64_t length);
/* Makes all that was written durable, together with `c`, whose length, tail and time are filled in
 * here. After a failed sync it fails for good. In a directory all of its files are committed. */
enum dstream_code ds_export_commit(struct ds_export *x, const struct ds_checkpoint *c,
                                   struct dstream_error *err);
/* Gives the current segment its name, and begins the next, together with a commit as of
 * ds_export_commit(). Nothing where it is empty. In a directory it comes with the next commits,
 * until which the file is not ready. */
enum dstream_code ds_export_seal(struct ds_export *x, const struct ds_checkpoint *c,
                                 struct dstream_error *err);
/* The stream was taken to its closed end, and its last segment has no name yet: confirm, then seal
 * is all that is left to do. */
bool ds_export_unsealed(const struct ds_export *x);
/* When the first data of the current segment came: ms of the calendar's clock; 0: it is empty. */
int64_t ds_export_since(const struct ds_export *x);
/* A commit would say something new, though nothing was written. */
void ds_export_touch(struct ds_export *x);
/* What was written or touched is not committed. */
bool ds_export_changed(const struct ds_export *x);
/* Bytes in the file, committed or not, and as of the last commit. */
uint64_t ds_export_length(const struct ds_export *x);
uint64_t ds_export_committed(const struct ds_export *x);

#endif
