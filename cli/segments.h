/* SPDX-License-Identifier: Apache-2.0 */
/* The finished segments of an output that is rotated, as its manifest has them. */
#ifndef DS_CLI_SEGMENTS_H
#define DS_CLI_SEGMENTS_H

#include "store/checkpoint.h"

/* `c` is what a state would say of the segment were it an output that is not rotated; lent. */
typedef void (*ds_segments_take)(void *ctx, const char *name, const struct ds_checkpoint *c);

/* Calls `take` for each segment of the output `of`, whose state is `state`, in the first `length`
 * bytes of the manifest at `path`; there may be other lines in it. ERR_IO, ERR_STATE_MISMATCH for
 * a line that is none, ERR_NOMEM. */
enum dstream_code ds_segments_each(const char *path, uint64_t length, const char *of,
                                   const struct ds_checkpoint *state, ds_segments_take take,
                                   void *ctx, struct dstream_error *err);

#endif
