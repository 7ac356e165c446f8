/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/span.h"

#include <string.h>

#include "base/text.h"

static size_t byte_of(const dstream_batch *b, bool json, size_t unit)
{
    if (!json)
        return unit;
    return unit == 0 ? 0 : b->items->ends[unit - 1];
}

static const char *data_at(const dstream_batch *b, size_t byte)
{
    return b->items->bytes.data ? b->items->bytes.data + byte : "";
}

struct ds_span ds_span_of(const dstream_batch *b, const struct ds_left *left)
{
    struct ds_span s = {.json = b->flags & DSTREAM_BATCH_JSON};
    s.lines = left->lines && !s.json;
    s.first = s.json ? b->first : b->first_byte;
    s.end = s.json ? b->items->count : b->items->bytes.len;
    s.take = s.end;
    size_t from = byte_of(b, s.json, s.first);
    if (left->has_count && s.json && left->count < s.take - s.first)
        s.take = s.first + (size_t)left->count;
    if (left->has_bytes && !s.json && left->bytes < s.take - s.first)
        s.take = s.first + (size_t)left->bytes;
    while (left->chars && s.take > s.first && s.take < s.end &&
           (*data_at(b, s.take) & 0xC0) == 0x80)
        s.take--;
    while (left->has_bytes && s.json && s.take > s.first &&
           byte_of(b, true, s.take) - from > left->bytes)
        s.take--;
    if (left->has_count && s.lines)
        s.take = s.first + ds_lines_end(data_at(b, from), s.take - s.first, left->count);
    return ds_span_to(b, s, s.take);
}

struct ds_span ds_span_to(const dstream_batch *b, struct ds_span s, size_t take)
{
    size_t from = byte_of(b, s.json, s.first);
    s.take = take;
    s.bytes = byte_of(b, s.json, take) - from;
    s.messages = s.json    ? take - s.first
                 : s.lines ? ds_lines_count(data_at(b, from), (size_t)s.bytes)
                           : 0;
    return s;
}

/* The end of the last line that ends in `n` bytes; 0: none does. */
static size_t last_line(const char *p, size_t n)
{
    while (n > 0 && p[n - 1] != '\n')
        n--;
    return n;
}

struct ds_span ds_span_within(const dstream_batch *b, struct ds_span s, uint64_t bytes, bool one)
{
    size_t from = byte_of(b, s.json, s.first), least = s.first + (one && s.take > s.first);
    const char *data = data_at(b, from);
    if (s.lines && one)
        least = s.first + ds_lines_end(data, s.take - s.first, 1);
    if (!s.json && s.take - s.first > bytes)
        s.take = s.first + (s.lines ? last_line(data, (size_t)bytes) : (size_t)bytes);
    while (s.json && s.take > s.first && byte_of(b, true, s.take) - from > bytes)
        s.take--;
    return ds_span_to(b, s, s.take < least ? least : s.take);
}

struct dstream_batch ds_span_rest(const dstream_batch *b, size_t unit)
{
    struct dstream_batch rest = *b;
    bool json = b->flags & DSTREAM_BATCH_JSON;
    rest.skip += unit - (json ? b->first : b->first_byte);
    rest.first = json ? unit : b->first;
    rest.first_byte = byte_of(b, json, unit);
    return rest;
}

bool ds_span_spend(const struct ds_span *s, struct ds_left *left)
{
    left->count -= left->has_count ? s->messages : 0;
    left->bytes -= left->has_bytes ? s->bytes : 0;
    return s->take < s->end || (left->has_count && left->count == 0) ||
           (left->has_bytes && left->bytes == 0);
}

/* Whether the output ends inside a line once it was taken. */
static bool stays_open(const struct ds_span *s, const dstream_batch *b,
                       const struct ds_checkpoint *at)
{
    if (!s->lines || s->take == s->first)
        return s->lines && at->in_line;
    return *data_at(b, s->take - 1) != '\n';
}

static bool reaches_end(const struct ds_span *s, const dstream_batch *b)
{
    return s->take == s->end && !(b->flags & DSTREAM_BATCH_PARTIAL);
}

bool ds_span_ends_open(const struct ds_span *s, const dstream_batch *b,
                       const struct ds_checkpoint *at)
{
    return (b->flags & DSTREAM_BATCH_CLOSED) && reaches_end(s, b) && stays_open(s, b, at);
}

void ds_span_advance(const struct ds_span *s, const dstream_batch *b, struct ds_checkpoint *at,
                     struct ds_witness_keeper *k)
{
    uint64_t before = b->skip - s->first; /* units of the batch that are not in its items */
    struct ds_witness_piece piece = {
        .start = b->start,
        .at = before,
        .data = b->items->bytes.data,
        .len = byte_of(b, s->json, s->take),
        .ends = s->json ? b->items->ends : NULL,
        .count = s->json ? s->take : 0,
    };
    if (k && s->take > s->first)
        ds_witness_add(k, &at->witness, &piece);
    if (s->take > s->first && !at->first[0])
        strcpy(at->first, b->start);
    at->in_line = stays_open(s, b, at) && !ds_span_ends_open(s, b, at);
    if (!reaches_end(s, b)) {
        strcpy(at->offset, b->start);
        at->skip = before + s->take;
        return;
    }
    strcpy(at->offset, b->next);
    at->skip = 0;
    at->closed = b->flags & DSTREAM_BATCH_CLOSED;
}

void ds_span_witness(const struct ds_checkpoint *at, struct ds_witness *out)
{
    const struct ds_checkpoint_witness *w = &at->witness;
    *out = (struct ds_witness){.units = w->hashed};
    memcpy(out->start, w->start, sizeof out->start);
    memcpy(out->hash, w->hash, sizeof out->hash);
}
