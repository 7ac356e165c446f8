/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest: a line of JSON for each file of a directory, and for each finished segment of one
 * that is rotated. Lines are only added; the state says how long it is, and what is behind that
 * was not finished before a crash.
 */
#ifndef DS_STORE_MANIFEST_H
#define DS_STORE_MANIFEST_H

#include "store/checkpoint.h"
#include "store/data.h"

struct ds_manifest {
    struct ds_data file;
    bool named; /* it was made since the last sync of its directory */
};

/* `known`: a state speaks of it, and says that it is `length` long. Else one that is there is
 * refused without `keep` or `empty`. Changes nothing. Strings as of ds_data_begin(). */
struct ds_manifest_options {
    const struct ds_fileops *ops;
    int dir;
    char *name, *path;
    const char *state;
    bool known, keep, empty;
    uint64_t length;
};
enum dstream_code ds_manifest_open(struct ds_manifest *m, const struct ds_manifest_options *o,
                                   struct dstream_error *err);
void ds_manifest_close(struct ds_manifest *m);

/* Cuts off what is not spoken of. Before anything is added. */
enum dstream_code ds_manifest_settle(struct ds_manifest *m, struct dstream_error *err);
/* A line that says which stream is in which file. */
enum dstream_code ds_manifest_add_file(struct ds_manifest *m, const char *file,
                                       const struct ds_checkpoint *c, struct dstream_error *err);
/* A line for the segment that `c` says is being sealed: from where to where it goes. */
enum dstream_code ds_manifest_add_segment(struct ds_manifest *m, const char *file,
                                          const struct ds_checkpoint *c, struct dstream_error *err);
enum dstream_code ds_manifest_sync(struct ds_manifest *m, struct dstream_error *err);
uint64_t ds_manifest_length(const struct ds_manifest *m);

#endif
