/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes the other way round: the data in them, messages as ndjson has them, bytes as raw has.
 */
#ifndef DS_CLI_UNWRAP_H
#define DS_CLI_UNWRAP_H

#include "base/buf.h"

struct ds_unwrap {
    unsigned depth;     /* how deep JSON may go */
    struct ds_buf line; /* what has come of one that has not ended */
    uint64_t lines;     /* that have */
};

void ds_unwrap_init(struct ds_unwrap *u, unsigned depth);
void ds_unwrap_free(struct ds_unwrap *u);
/* Takes a piece of a file, and appends to `out`. ERR_PARSE where a line, which u->lines counts from
 * 0, is no envelope; ERR_NOMEM. */
enum dstream_code ds_unwrap_add(struct ds_unwrap *u, const char *p, size_t n, struct ds_buf *out);
/* The last line has ended. */
bool ds_unwrap_is_whole(const struct ds_unwrap *u);

#endif
