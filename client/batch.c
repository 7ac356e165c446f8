/* SPDX-License-Identifier: Apache-2.0 */
/* What the public header shows of a batch. */
#include "reader/reader.h"

const char *dstream_batch_data(const dstream_batch *b, size_t *len)
{
    *len = b->items->bytes.len - b->first_byte;
    return *len > 0 ? b->items->bytes.data + b->first_byte : "";
}

size_t dstream_batch_count(const dstream_batch *b)
{
    return b->items->count - b->first;
}

const char *dstream_batch_message(const dstream_batch *b, size_t i, size_t *len)
{
    return ds_items_get(b->items, b->first + i, len);
}

const char *dstream_batch_start(const dstream_batch *b)
{
    return b->start;
}

uint64_t dstream_batch_skip(const dstream_batch *b)
{
    return b->skip;
}

const char *dstream_batch_next(const dstream_batch *b)
{
    return b->next;
}

const char *dstream_batch_cursor(const dstream_batch *b)
{
    return b->cursor;
}

unsigned dstream_batch_flags(const dstream_batch *b)
{
    return b->flags;
}
