/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last messages of what comes, or the last lines of a stream of bytes: batches are put in, and
 * those that can no longer be wanted fall out. Pure.
 */
#ifndef DS_CLI_RING_H
#define DS_CLI_RING_H

#include "base/error.h"
#include "reader/reader.h"

#define DS_RING_MAX ((size_t)64 << 20) /* bytes of data that are kept */

struct ds_ring_entry;

struct ds_ring {
    uint64_t want; /* messages or lines; the rest is private */
    size_t max;
    struct ds_ring_entry *first, **end;
    uint64_t units; /* messages, or ends of lines, of all entries */
    size_t bytes;
    bool trimmed; /* the first entry begins where what is wanted does */
};

void ds_ring_init(struct ds_ring *r, uint64_t want, size_t max);
void ds_ring_free(struct ds_ring *r);
/* Copies the batch. ERR_LIMIT where what is wanted takes more than `max` bytes, ERR_NOMEM. */
enum dstream_code ds_ring_add(struct ds_ring *r, const dstream_batch *b);
/* The oldest batch that is still in, cut to what is wanted of it; false where there is none. It is
 * valid until ds_ring_drop(), which takes it out. Nothing is added any more. */
bool ds_ring_get(struct ds_ring *r, dstream_batch *out);
void ds_ring_drop(struct ds_ring *r);

#endif
