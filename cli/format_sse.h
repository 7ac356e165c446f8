/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches as an event stream, as a server would send them: a data event, and where the end of the
 * batch is reached a control event. Text stands in data lines, JSON as an array of messages,
 * anything else in base64.
 *
 * An event stream is UTF-8 and has no carriage returns, so text with others in it is refused rather
 * than changed. But a batch may end inside a character. Then it is cut before that, goes without a
 * control event, and what is left comes with the data of the next one: so whoever reads it sees two
 * batches as one, and a position never stands inside a character.
 */
#ifndef DS_CLI_FORMAT_SSE_H
#define DS_CLI_FORMAT_SSE_H

#include "base/error.h"
#include "cli/jsonout.h"
#include "reader/reader.h"

/* Of a stream of text. Zeroed to begin with. */
struct ds_sse_text {
    char held[4]; /* the beginning of a character, which comes first in the next data */
    size_t n;
    size_t cut; /* by so many bytes at its end the batch under way was cut */
    struct ds_items view;
};

/* Cuts `b` to whole characters; it is lent until the next call. *none: nothing is left of it, it is
 * held, and the position stays where it is. ERR_ARGUMENT where it cannot be carried. */
enum dstream_code ds_sse_cut(struct ds_sse_text *t, struct dstream_batch *b, bool *none,
                             struct dstream_error *err);
/* All of the batch was put, which was `b` before it was cut. */
void ds_sse_taken(struct ds_sse_text *t, const struct dstream_batch *b);

/* Puts the units from `from` to before `to`, and behind the last one the control event. `t` NULL:
 * it is not text. */
void ds_sse_put(struct ds_json_out *o, struct ds_sse_text *t, const struct dstream_batch *b,
                size_t from, size_t to);

#endif
