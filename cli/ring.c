/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/ring.h"

#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "cli/span.h"

struct ds_ring_entry {
    struct ds_items items;
    struct dstream_batch batch; /* of the items; its texts are those below */
    uint64_t units;
    char *start, *next, *cursor;
    struct ds_ring_entry *after;
};

static bool is_json(const dstream_batch *b)
{
    return b->flags & DSTREAM_BATCH_JSON;
}

/* --- entries ---------------------------------------------------------------------------------- */

static void entry_free(struct ds_ring_entry *e)
{
    ds_items_free(&e->items);
    ds_free(e->start);
    ds_free(e->next);
    ds_free(e->cursor);
    ds_free(e);
}

/* What the batch has, without what is left out before it. */
static enum dstream_code copy_items(struct ds_items *to, const dstream_batch *b)
{
    const struct ds_items *from = b->items;
    enum dstream_code rc = DSTREAM_OK;
    ds_items_init(to, SIZE_MAX);
    if (from->bytes.len > b->first_byte)
        rc = ds_buf_add(&to->bytes, from->bytes.data + b->first_byte,
                        from->bytes.len - b->first_byte);
    size_t all = to->bytes.len;
    for (size_t i = b->first; i < from->count && rc == DSTREAM_OK; i++) {
        to->bytes.len = from->ends[i] - b->first_byte;
        rc = ds_items_end(to);
    }
    to->bytes.len = all;
    return rc;
}

static struct ds_ring_entry *entry_of(const dstream_batch *b)
{
    struct ds_ring_entry *e = ds_calloc(1, sizeof *e);
    if (!e)
        return NULL;
    enum dstream_code rc = copy_items(&e->items, b);
    e->start = ds_strdup(b->start);
    e->next = ds_strdup(b->next);
    e->cursor = ds_strdup(b->cursor);
    if (rc != DSTREAM_OK || !e->start || !e->next || !e->cursor) {
        entry_free(e);
        return NULL;
    }
    e->batch = *b;
    e->batch.items = &e->items;
    e->batch.first = e->batch.first_byte = 0;
    e->batch.start = e->start;
    e->batch.next = e->next;
    e->batch.cursor = e->cursor;
    e->units =
        is_json(b) ? e->items.count : ds_lines_count(e->items.bytes.data, e->items.bytes.len);
    return e;
}

/* --- the ring --------------------------------------------------------------------------------- */

void ds_ring_init(struct ds_ring *r, uint64_t want, size_t max)
{
    *r = (struct ds_ring){.want = want, .max = max};
    r->end = &r->first;
}

void ds_ring_free(struct ds_ring *r)
{
    while (r->first)
        ds_ring_drop(r);
}

void ds_ring_drop(struct ds_ring *r)
{
    struct ds_ring_entry *e = r->first;
    r->first = e->after;
    if (!r->first)
        r->end = &r->first;
    r->units -= e->units;
    r->bytes -= e->items.bytes.len;
    entry_free(e);
}

/* A last line may lack its end, and the end of the line before the first one that is wanted has to
 * be known: so one end more is kept of lines than of messages. */
static bool is_spare(const struct ds_ring *r, const struct ds_ring_entry *e)
{
    uint64_t rest = r->units - e->units;
    return is_json(&e->batch) ? rest >= r->want : rest > r->want;
}

enum dstream_code ds_ring_add(struct ds_ring *r, const dstream_batch *b)
{
    struct ds_ring_entry *e = entry_of(b);
    if (!e)
        return DSTREAM_ERR_NOMEM;
    *r->end = e;
    r->end = &e->after;
    r->units += e->units;
    r->bytes += e->items.bytes.len;
    while (r->first != e && is_spare(r, r->first))
        ds_ring_drop(r);
    return r->bytes > r->max ? DSTREAM_ERR_LIMIT : DSTREAM_OK;
}

static bool ends_open(const struct ds_ring *r)
{
    const struct ds_ring_entry *last = NULL;
    for (const struct ds_ring_entry *e = r->first; e; e = e->after)
        last = e->items.bytes.len > 0 ? e : last;
    return last && last->items.bytes.data[last->items.bytes.len - 1] != '\n';
}

/* What is too much at the beginning. */
static void trim(struct ds_ring *r)
{
    bool json = r->first && is_json(&r->first->batch);
    uint64_t have = r->units + (!json && ends_open(r)), excess = 0;
    r->trimmed = true;
    if (have > r->want)
        excess = have - r->want;
    while (r->first && r->first->after && excess >= r->first->units && excess > 0) {
        excess -= r->first->units;
        /* The bytes behind its last end of a line go on in the next one. */
        bool whole = json || excess > 0 || r->first->items.bytes.len == 0 ||
                     r->first->items.bytes.data[r->first->items.bytes.len - 1] == '\n';
        if (!whole) {
            excess = r->first->units;
            break;
        }
        ds_ring_drop(r);
    }
    const struct ds_buf *it = r->first ? &r->first->items.bytes : NULL;
    if (r->first && excess > 0)
        r->first->batch = ds_span_rest(
            &r->first->batch, json ? (size_t)excess : ds_lines_end(it->data, it->len, excess));
}

bool ds_ring_get(struct ds_ring *r, dstream_batch *out)
{
    if (!r->trimmed)
        trim(r);
    if (!r->first)
        return false;
    *out = r->first->batch;
    return true;
}
