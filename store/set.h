/* SPDX-License-Identifier: Apache-2.0 */
/* What export.c and exports.c have between them: files that share a state. */
#ifndef DS_STORE_SET_H
#define DS_STORE_SET_H

#include "store/data.h"
#include "store/exports.h"
#include "store/manifest.h"

/* A line of a directory's state, as it is on the disk. */
struct ds_line {
    char *file;
    struct ds_buf text;
    struct ds_export *member; /* NULL: nobody has named it */
};

enum ds_commit_phase { DS_COMMIT_IDLE, DS_COMMIT_SYNC };

struct ds_exports {
    const struct ds_fileops *ops;
    bool directory; /* else it has one file, whose state is `state.last` */
    bool overwrite, append, reset;
    struct ds_place at;
    struct ds_state state;
    enum ds_pack_kind pack;
    const char *rotate;          /* pattern of names; NULL: no segments */
    struct ds_manifest manifest; /* of a directory, or of segments */
    struct ds_line **lines;      /* in the order of the state */
    size_t nlines;
    struct ds_export **members;
    size_t n;
    bool named;       /* names in the data's directory changed since it was last synced */
    bool sync_failed; /* final */
    bool broken;      /* the manifest is not as it should be: final */
    enum ds_commit_phase phase;
    bool only_new;              /* it is of files that have no state yet */
    size_t next;                /* the member that is looked at next */
    struct dstream_error error; /* of the last commit */
};

struct ds_export {
    struct ds_exports *set;
    bool alone;           /* it owns its set */
    struct ds_line *line; /* of a directory, once there is one */
    char *file;           /* its name in the state */
    struct ds_data data;
    const struct ds_checkpoint *now;      /* what a commit would say. Lent */
    struct ds_checkpoint last;            /* what the last one has said */
    bool exists;                          /* the state has it */
    bool resume;                          /* it goes on from there */
    bool empty_first;                     /* what is there is to be overwritten */
    struct ds_checkpoint_segment segment; /* the current one; number 0: there are none */
    uint64_t before;                      /* bytes that were there before the stream */
    bool seal;                            /* it is to be sealed */
    bool finish; /* what `last` says of it is to be sealed, and nothing else */
    bool first;  /* waits for its first state */
    bool listed; /* the manifest has it */
    bool confirmed;
    bool ready;
    bool changed;
    bool prepared; /* synced in the commit under way */
    struct dstream_error error;
};

/* A set without anything opened; NULL, with the error set, for options that exclude each other. */
struct ds_exports *ds_set_new(const struct ds_export_options *o, struct dstream_error *err);
/* Syncs the directories: what a crash left in the caches must be settled before anything is built
 * on it. */
enum dstream_code ds_set_settle(struct ds_exports *s, struct dstream_error *err);
/* Adds a member; `file` is NULL for the only one of a set without a directory. */
enum dstream_code ds_set_add(struct ds_exports *s, const char *file, struct ds_export **out,
                             struct dstream_error *err);
void ds_member_free(struct ds_export *x);
/* Syncs it and makes `last` what the new state is to say. */
enum dstream_code ds_member_prepare(struct ds_export *x);
/* That state is durable: what had to wait for it. *more: the state has to be written once more. */
enum dstream_code ds_member_recorded(struct ds_export *x, bool *more);
/* Waits for something that a commit does. */
bool ds_member_waits(const struct ds_export *x);

#endif
