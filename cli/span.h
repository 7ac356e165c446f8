/* SPDX-License-Identifier: Apache-2.0 */
/* Which part of a batch is still wanted, and where it leaves off. Pure. */
#ifndef DS_CLI_SPAN_H
#define DS_CLI_SPAN_H

#include "reader/reader.h"
#include "store/witness.h"

/* What --count and --bytes leave to be taken. */
struct ds_left {
    bool has_count, has_bytes;
    bool lines; /* of a stream of bytes, the ends of lines count */
    bool chars; /* it is text, in which characters are not cut */
    uint64_t count, bytes;
};

/* Units are messages of JSON, else bytes, by their place in the batch's items. */
struct ds_span {
    bool json, lines;
    size_t first, end;        /* the new ones */
    size_t take;              /* to before here they are wanted */
    uint64_t bytes, messages; /* that were wanted of it; or lines */
};

/* A message is never cut: the last one is the last that still fits. */
struct ds_span ds_span_of(const dstream_batch *b, const struct ds_left *left);
/* The same span, ended before more than `bytes` of the stream; but where that is nothing and `one`
 * is set, one unit of it. A line that begins in it goes to its end, or to that of the batch. */
struct ds_span ds_span_within(const dstream_batch *b, struct ds_span s, uint64_t bytes, bool one);
/* The same span, ended before the unit `take`, which is not before its first. */
struct ds_span ds_span_to(const dstream_batch *b, struct ds_span s, size_t take);
/* `b` without what is before the item `unit`. Lent like `b`. */
struct dstream_batch ds_span_rest(const dstream_batch *b, size_t unit);
/* It was taken. True where no more is wanted: of the batch, or at all. */
bool ds_span_spend(const struct ds_span *s, struct ds_left *left);
/* The stream is closed behind it, and ends inside a line: an LF is due. */
bool ds_span_ends_open(const struct ds_span *s, const dstream_batch *b,
                       const struct ds_checkpoint *at);
/* It was taken: `at` moves behind it. `k`, which keeps the witness, may be NULL. */
void ds_span_advance(const struct ds_span *s, const dstream_batch *b, struct ds_checkpoint *at,
                     struct ds_witness_keeper *k);
/* What has to be found again where a checkpoint is gone on from; units 0 where there is nothing. */
void ds_span_witness(const struct ds_checkpoint *at, struct ds_witness *out);

#endif
