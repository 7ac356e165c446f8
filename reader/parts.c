/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large bodies, handed out in parts before they are complete, so that memory is bounded.
 *
 * A part has no position of its own but (offset asked for, units behind it). When the transfer
 * fails, the same offset is asked for again and as much is left out of the answer as was handed
 * out, after it was found to be the same: two streams are never spliced. The second answer may be
 * shorter; then the position moves to its end, and the rest is left out of the next one.
 */
#include <string.h>

#include "reader/session.h"

bool ds_parts_apply(const struct ds_reader *r)
{
    return r->parts && (r->a.kind == DS_ASK_PLAIN || r->a.kind == DS_ASK_POLL);
}

static void hash_units(const struct ds_reader *r, struct ds_hash *h, size_t from, size_t to)
{
    const struct ds_items *it = &r->items;
    if (from == to)
        return;
    size_t at = !r->json ? from : from > 0 ? it->ends[from - 1] : 0;
    size_t end = !r->json ? to : it->ends[to - 1];
    /* Byte for byte, white space between tokens included: a message is never printed anew. */
    ds_hash_add(h, it->bytes.data + at, end - at);
}

static bool begin(struct ds_reader *r)
{
    struct ds_trail *t = &r->trail;
    if (!t->hash)
        t->hash = ds_hash_new();
    if (!t->base)
        t->base = ds_hash_new();
    if (!t->pass)
        t->pass = ds_hash_new();
    if (t->hash && t->base && t->pass)
        return true;
    ds_reader_fail(r, DSTREAM_ERR_NOMEM, false, "no memory for the answer");
    return false;
}

void ds_parts_free(struct ds_reader *r)
{
    struct ds_hash *const all[] = {r->trail.hash, r->trail.base, r->trail.pass};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i])
            ds_hash_free(all[i]);
    }
}

void ds_parts_forget(struct ds_reader *r)
{
    r->trail.units = r->trail.base_units = 0;
}

void ds_parts_reset(struct ds_reader *r)
{
    struct ds_trail *t = &r->trail;
    r->a.comparing = t->units > 0;
    if (r->a.comparing)
        ds_hash_copy(t->pass, t->base);
}

/* Goes over the items at hand, of which `first` are to be left out. Once all of what was handed out
 * before has gone by, it has to have been the same. */
static bool go_over(struct ds_reader *r, size_t first)
{
    struct ds_trail *t = &r->trail;
    char was[DS_HASH_HEX], is[DS_HASH_HEX];
    t->fresh = r->a.comparing ? first : 0;
    if (!r->a.comparing)
        return true;
    hash_units(r, t->pass, 0, first);
    if (r->a.before + first < r->skip)
        return true;
    r->a.comparing = false;
    ds_hash_hex(t->hash, was);
    ds_hash_hex(t->pass, is);
    if (strcmp(was, is) == 0)
        return true;
    ds_reader_reset(r, "the stream was made anew: what was read before the connection broke is "
                       "not there any more");
    return false;
}

/* The items at hand have been dealt with; what is under way behind them stays. */
static void drop_items(struct ds_reader *r)
{
    struct ds_items *it = &r->items;
    size_t done = it->bytes.len;
    r->a.before += ds_reader_units(r, it);
    it->bytes.len += r->trail.open;
    ds_buf_drop(&it->bytes, done);
    it->count = 0;
    r->trail.open = 0;
}

static void extend(struct ds_reader *r)
{
    hash_units(r, r->trail.hash, r->trail.fresh, ds_reader_units(r, &r->items));
}

bool ds_parts_more(struct ds_reader *r)
{
    struct ds_items *it = &r->items;
    size_t units = ds_reader_units(r, it);
    size_t whole = !r->json ? units : units > 0 ? it->ends[units - 1] : 0;
    if (whole < r->limits.max_part || units == 0 || !ds_reader_leads_on(r) || !begin(r))
        return false;
    if (r->trail.units == 0 && r->a.before == 0) {
        ds_hash_reset(r->trail.hash);
        ds_hash_reset(r->trail.base);
    }
    r->trail.open = it->bytes.len - whole;
    it->bytes.len = whole;
    size_t first = ds_reader_left_out(r, units);
    if (!go_over(r, first))
        return false;
    if (first == units) {
        if (!r->a.comparing)
            extend(r);
        drop_items(r);
        return false;
    }
    ds_reader_offer(r, it, "", "", DSTREAM_BATCH_PARTIAL);
    return true;
}

void ds_parts_taken(struct ds_reader *r)
{
    extend(r);
    drop_items(r);
    r->skip = r->a.before;
    r->trail.units = r->trail.base_units + r->skip;
}

bool ds_parts_last(struct ds_reader *r, size_t first)
{
    return go_over(r, first);
}

void ds_parts_moved(struct ds_reader *r, uint64_t units)
{
    struct ds_trail *t = &r->trail;
    if (t->units == 0)
        return;
    hash_units(r, t->pass, 0, ds_reader_units(r, &r->items));
    ds_hash_copy(t->base, t->pass);
    t->base_units += units;
}
