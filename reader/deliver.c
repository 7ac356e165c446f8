/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: what is handed out, and where the position is once it was taken. */
#include <string.h>

#include "base/url.h"
#include "reader/session.h"

/* "-1" and "now" are requests. Nothing can be compared with them. */
static bool concrete(const struct ds_reader *r)
{
    return !ds_token_is_sentinel(r->pos);
}

/* The texts are those of the answer, or r->pos, which stay as long as the batch is on offer. */
static void put_on_offer(struct ds_reader *r, const char *next, const char *cursor, unsigned flags)
{
    struct dstream_batch *b = &r->batch;
    b->start = r->pos;
    b->next = next;
    b->cursor = cursor;
    b->flags = flags | (r->json ? (unsigned)DSTREAM_BATCH_JSON : 0);
    r->offered = true;
}

static unsigned flags_of(bool up_to_date, bool closed)
{
    return (up_to_date || closed ? (unsigned)DSTREAM_BATCH_UP_TO_DATE : 0) |
           (closed ? (unsigned)DSTREAM_BATCH_CLOSED : 0);
}

/* Whether an answer without data is news: the tail is reached, or the end is. While something is
 * still to be left out, the position is not that of the answer, and nobody is told. */
static bool is_news(const struct ds_reader *r, bool up_to_date, bool closed)
{
    return closed || (up_to_date && !r->told_up_to_date && r->skip == 0);
}

/* Only news. */
static void offer_empty(struct ds_reader *r, const char *next, const char *cursor, bool up_to_date,
                        bool closed)
{
    /* r->items, since staged data of SSE is never empty without being so on purpose. */
    ds_items_reset(&r->items, DS_READER_KEEP);
    r->batch.items = &r->items;
    r->batch.first = r->batch.first_byte = 0;
    r->batch.skip = 0;
    r->skip_left = r->skip;
    r->has_payload = false;
    put_on_offer(r, next, cursor, flags_of(up_to_date, closed));
}

size_t ds_reader_units(const struct ds_reader *r, const struct ds_items *it)
{
    return r->json ? it->count : it->bytes.len;
}

size_t ds_reader_left_out(const struct ds_reader *r, size_t units)
{
    uint64_t left = r->skip > r->a.before ? r->skip - r->a.before : 0;
    return left < units ? (size_t)left : units;
}

void ds_reader_offer(struct ds_reader *r, const struct ds_items *it, const char *next,
                     const char *cursor, unsigned flags)
{
    size_t units = ds_reader_units(r, it), first = ds_reader_left_out(r, units);
    struct dstream_batch *b = &r->batch;
    b->items = it;
    b->first = r->json ? first : 0;
    b->first_byte = !r->json ? first : first > 0 ? it->ends[first - 1] : 0;
    b->skip = r->a.before + first;
    r->skip_left = 0;
    r->has_payload = first < units;
    put_on_offer(r, next, cursor, flags);
}

/* Whether what is still to be left out has to be there. */
static bool must_skip(const struct ds_reader *r)
{
    return r->skip > 0 && (r->seen_before || r->trail.units > 0);
}

static void set_position(struct ds_reader *r, const char *next)
{
    if (strcmp(r->pos, next) != 0) {
        r->a.moved = true;
        r->too_large = false;
        strcpy(r->pos, next);
    }
    if (concrete(r))
        r->gone[0] = '\0';
}

/* The position moves over what is left out altogether: nobody is told, since a checkpoint made now
 * would not know how much is still to be left out. */
static void skip_all(struct ds_reader *r, uint64_t units, const char *next, bool up_to_date)
{
    if (up_to_date && must_skip(r)) {
        ds_reader_suspect(r, DSTREAM_ERR_STREAM_RESET,
                          "the stream was made anew: it is shorter than what was read of it");
        return;
    }
    ds_parts_moved(r, units);
    r->skip -= units;
    set_position(r, next);
}

static void before_start(struct ds_reader *r, const char *what, const char *where)
{
    ds_reader_suspect(r, DSTREAM_ERR_STREAM_RESET,
                      "the stream was made anew: its %s %.64s, before where it was read from", what,
                      where);
}

/* Less than 0: `next` lies before where reading has got to. */
static int compare(const struct ds_reader *r, const char *next)
{
    if (concrete(r))
        return strcmp(next, r->pos);
    return r->gone[0] ? strcmp(next, r->gone) : 1;
}

bool ds_reader_leads_on(struct ds_reader *r)
{
    const char *next = r->a.next;
    int order = compare(r, next);
    if (order > 0)
        return true;
    if (order < 0 || !concrete(r))
        before_start(r, "data ends at", next);
    else
        /* Asking again would bring the same data for ever. */
        ds_reader_bad_answer(r, "the answer has data, but says that it ends where it begins");
    return false;
}

/* Data up to `next`; of a plain answer, what was not handed out in parts. */
static void take_data(struct ds_reader *r, const struct ds_items *it, const char *next,
                      const char *cursor, bool up_to_date, bool closed)
{
    uint64_t units = r->a.before + ds_reader_units(r, it);
    unsigned flags = flags_of(up_to_date, closed);
    r->named[0] = '\0';
    if (units < r->skip && (!closed || must_skip(r))) {
        skip_all(r, units, next, up_to_date);
    } else if (ds_parts_last(r, ds_reader_left_out(r, ds_reader_units(r, it)))) {
        if (r->a.kind == DS_ASK_SSE && r->events.kind == DS_SSE_TEXT)
            flags |= DSTREAM_BATCH_LOSSY;
        ds_reader_offer(r, it, next, cursor, flags);
    }
}

/* --- live answers without data ---------------------------------------------------------------- */

/* A long-poll that is answered at once, by nothing up to a later position, would be answered so for
 * ever: plain GETs can move over that. */
static bool leads_nowhere(const struct ds_reader *r, const char *next)
{
    return r->a.kind == DS_ASK_POLL && r->a.status == 200 && concrete(r) && compare(r, next) > 0;
}

/* They never move the position: some servers name the new tail first and send its data after. */
static void take_live_empty(struct ds_reader *r, const char *next, const char *cursor,
                            bool up_to_date, bool closed)
{
    if (compare(r, next) < 0) {
        before_start(r, "tail is", next);
    } else if (closed && strcmp(next, r->pos) != 0) {
        /* Plain GETs have the last word on what was before the end. */
        r->closed_seen = r->catching = true;
        r->a.outcome = DS_OUT_DONE;
    } else {
        if (leads_nowhere(r, next))
            r->catching = true;
        if (is_news(r, up_to_date, closed))
            offer_empty(r, r->pos, cursor, up_to_date, closed);
    }
}

/* --- plain GETs without data ------------------------------------------------------------------ */

/* It names a position beyond the one asked for, but has no data: perhaps the data is still to
 * come. It counts when it says so twice, and then no further than both times. */
static void take_named(struct ds_reader *r)
{
    struct ds_attempt *a = &r->a;
    if (!r->named[0]) {
        strcpy(r->named, a->next);
        a->up_to_date = a->closed = false;
        return;
    }
    if (strcmp(r->named, a->next) < 0) {
        strcpy(a->next, r->named);
        a->up_to_date = a->closed = false;
    }
    if (r->skip > 0 && (!a->closed || must_skip(r)))
        skip_all(r, 0, a->next, a->up_to_date);
    else
        offer_empty(r, a->next, a->cursor, a->up_to_date, a->closed);
    r->named[0] = '\0';
}

static bool is_stale(const struct ds_reader *r)
{
    return r->closed_seen && r->a.up_to_date && !r->a.closed;
}

static void take_plain_empty(struct ds_reader *r)
{
    struct ds_attempt *a = &r->a;
    int order = compare(r, a->next);
    if (order > 0 && !concrete(r))
        order = 0; /* there is nothing to be beyond of */
    if (order < 0)
        before_start(r, "tail is", a->next);
    else if (a->kind == DS_ASK_NOW)
        offer_empty(r, a->next, a->cursor, a->up_to_date, a->closed);
    else if (order == 0 && is_stale(r))
        ds_reader_suspect(r, DSTREAM_ERR_STREAM_RESET,
                          "the stream was made anew: it was closed and is open");
    else if (order == 0 && a->up_to_date && must_skip(r))
        ds_reader_suspect(r, DSTREAM_ERR_STREAM_RESET,
                          "the stream was made anew: it is shorter than what was read of it");
    else if (order == 0 && a->up_to_date && r->too_large)
        ds_reader_suspect(r, DSTREAM_ERR_LIMIT, "%s, and a plain GET from there has none",
                          r->events.error.message);
    else if (order > 0)
        take_named(r);
    else if (is_news(r, a->up_to_date, a->closed))
        offer_empty(r, a->closed ? a->next : r->pos, a->cursor, a->up_to_date, a->closed);
    if (order <= 0)
        r->named[0] = '\0';
}

/* --- answers ---------------------------------------------------------------------------------- */

void ds_reader_take_body(struct ds_reader *r)
{
    struct ds_attempt *a = &r->a;
    bool empty = a->before == 0 && ds_reader_units(r, &r->items) == 0;
    if (a->cursor[0])
        strcpy(r->cursor, a->cursor);
    if (empty && a->kind == DS_ASK_POLL)
        take_live_empty(r, a->next, a->cursor, a->up_to_date, a->closed);
    else if (empty)
        take_plain_empty(r);
    else if (a->kind == DS_ASK_NOW)
        ds_reader_fail(r, DSTREAM_ERR_PROTOCOL, false, "the answer to offset=now has data");
    else if (ds_reader_leads_on(r))
        take_data(r, &r->items, a->next, a->cursor, a->up_to_date, a->closed);
}

bool ds_reader_take_control(struct ds_reader *r)
{
    const struct ds_control *c = &r->events.control;
    const struct ds_items *it = &r->events.staged;
    bool data = ds_reader_units(r, it) > 0;
    ds_reader_note_said(r, c->next);
    if (c->cursor[0])
        strcpy(r->cursor, c->cursor);
    if (data && compare(r, c->next) < 0)
        before_start(r, "data ends at", c->next);
    else if (data)
        take_data(r, it, c->next, c->cursor, c->up_to_date, c->closed);
    else
        take_live_empty(r, c->next, c->cursor, c->up_to_date, c->closed);
    if (!r->offered)
        ds_events_take(&r->events);
    if (r->a.outcome != DS_OUT_SUSPECT) {
        ds_reader_good_answer(r);
        r->suspect_since = -1;
    }
    return r->offered;
}

/* --- taken ------------------------------------------------------------------------------------ */

static void note_progress(struct ds_reader *r)
{
    r->a.delivered = true;
    r->failures = 0;
    r->idle = r->moves = 0;
    r->short_sse = r->without_control = 0;
}

static void move_to(struct ds_reader *r, const char *next)
{
    set_position(r, next);
    r->skip = r->skip_left;
    ds_parts_forget(r);
}

void ds_reader_ack(struct ds_reader *r, int64_t now)
{
    const struct dstream_batch *b = &r->batch;
    if (!r->offered)
        return;
    r->offered = false;
    r->a.touched = now;
    if (r->has_payload)
        note_progress(r);
    if (b->flags & DSTREAM_BATCH_PARTIAL) {
        ds_parts_taken(r);
        return;
    }
    move_to(r, b->next);
    if (r->has_payload || (b->flags & DSTREAM_BATCH_UP_TO_DATE))
        r->told_up_to_date = b->flags & DSTREAM_BATCH_UP_TO_DATE;
    if (b->flags & DSTREAM_BATCH_CLOSED)
        ds_reader_finish(r, false);
    if (r->a.kind == DS_ASK_SSE)
        ds_events_take(&r->events);
    ds_items_reset(&r->items, r->told_up_to_date ? DS_READER_IDLE : DS_READER_KEEP);
}
