/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of output files, each of a stream of its own, with one state that has a line for each
 * of them (those that nobody has named this time are kept), and a manifest that says which is
 * which.
 *
 * A commit syncs the files that were changed, one after another, then replaces the state once. It
 * can be done in steps, with writing in between: a file's line speaks of what it was when it was
 * synced. A file that fails keeps its last line, and the others go on; where the state or the
 * manifest fails, everything does.
 */
#ifndef DS_STORE_EXPORTS_H
#define DS_STORE_EXPORTS_H

#include "store/export.h"

#define DS_EXPORTS_STATE    "export.dstate"
#define DS_EXPORTS_MANIFEST "MANIFEST.ndjson"
#define DS_EXPORT_MANIFEST  ".manifest.ndjson" /* behind the name of a single output */

struct ds_exports;

/* `o->path` is the directory, which is made where it is not there. Codes as of ds_export_open(). */
enum dstream_code ds_exports_open(struct ds_exports **out, const struct ds_export_options *o,
                                  struct dstream_error *err);
/* Frees its files as well. */
void ds_exports_free(struct ds_exports *s);
/* One more file in it, to be called `file`: a name without slashes. *out lives as long as the
 * directory. Codes as of ds_export_open(), ERR_ARGUMENT also for a name that is taken. */
enum dstream_code ds_exports_add(struct ds_exports *s, const char *file, struct ds_export **out,
                                 struct dstream_error *err);

/* What the state says of a file, whether or not that was added; false: nothing. */
bool ds_exports_find(const struct ds_exports *s, const char *file, struct ds_checkpoint *out);
/* The state's path, for messages. */
const char *ds_exports_path(const struct ds_exports *s);

/* The next step of a commit, or the first one: no more than one file is synced. False where the
 * commit is done, or has failed. */
bool ds_exports_step(struct ds_exports *s);
/* Some file was changed, or waits for its first state, and has not failed. */
bool ds_exports_due(const struct ds_exports *s);
/* A whole commit; one that is under way is ended first. */
enum dstream_code ds_exports_commit(struct ds_exports *s, struct dstream_error *err);
/* Why the last commit failed as a whole, and why this file has; code DSTREAM_OK: it has not. */
const struct dstream_error *ds_exports_error(const struct ds_exports *s);
const struct dstream_error *ds_export_error(const struct ds_export *x);

/* Makes the line of `file` in the state at `path` go on elsewhere, as ds_state_set() does, or,
 * where `offset` is NULL, removes it; nobody may have that locked. ERR_NOT_FOUND where there is
 * none, and codes as of ds_state_set(). */
enum dstream_code ds_exports_change(const struct ds_fileops *ops, const char *path,
                                    const char *file, const char *offset, uint64_t skip,
                                    struct dstream_error *err);

/* Reads a directory's state and takes no lock: calls `take` for each line. *missing and codes as of
 * ds_state_show(); ERR_STATE_MISMATCH for a state that is not a directory's. */
typedef void (*ds_exports_take)(void *ctx, const struct ds_checkpoint *c);
enum dstream_code ds_exports_show(const struct ds_fileops *ops, const char *path,
                                  struct ds_checkpoint_head *head, ds_exports_take take, void *ctx,
                                  bool *missing, struct dstream_error *err);

#endif
