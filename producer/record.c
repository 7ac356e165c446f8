/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's records, and going on from what a journal holds.
 *
 * A record is made when it is asked for, of what is so at that moment, and what it lists counts as
 * written from then on. A batch is sent, and a fate told, once its record is durable.
 */
#include <string.h>

#include "base/alloc.h"
#include "producer/pipeline.h"

/* --- what a record lists ---------------------------------------------------------------------- */

static bool lists_batch(const struct ds_record *r, const struct ds_batch *b)
{
    return b->journalled && b->record == r->number;
}

static void show_batch(const struct ds_batch *b, struct ds_record_batch *out)
{
    *out = (struct ds_record_batch){
        .first = b->first,
        .count = b->count,
        .seq = b->seq,
        .mark = b->mark,
        .close = b->close,
        .maybe_duplicate = b->in_doubt,
        .acked = b->state == DS_BATCH_ACKED,
        .body = b->body.len > 0 ? b->body.data : "",
        .len = b->body.len,
    };
}

bool ds_record_next_batch(struct ds_record *r, struct ds_record_batch *out)
{
    for (const struct ds_batch *b = r->at; b; b = b->next) {
        if (!lists_batch(r, b))
            continue;
        show_batch(b, out);
        r->at = b->next;
        return true;
    }
    r->at = NULL;
    return false;
}

static void show_fate(const struct ds_batch *b, const struct dstream_error *e,
                      struct ds_record_fate *out)
{
    *out = (struct ds_record_fate){
        .first = b->first,
        .count = b->count,
        .epoch = b->epoch,
        .seq = b->seq,
        .mark = ds_batch_mark(b),
        .fate = b->fate,
        .close = b->close,
        .duplicate = b->duplicate,
        .maybe_duplicate = b->in_doubt,
        .offset = b->offset ? b->offset : "",
        .code = e ? e->code : DSTREAM_OK,
        .status = e ? e->status : 0,
    };
}

bool ds_record_next_fate(struct ds_record *r, struct ds_record_fate *out)
{
    for (const struct ds_batch *b = r->fate_at; b; b = b->next) {
        if (!b->fate_listed || b->fate_record != r->number)
            continue;
        show_fate(b, ds_batch_error(r->producer, b), out);
        r->fate_at = b->next;
        return true;
    }
    r->fate_at = NULL;
    return false;
}

/* --- which one is due ------------------------------------------------------------------------- */

/* What a journal has not heard of needs no fate there; what it keeps has none. */
static bool wants_fate(const struct ds_batch *b)
{
    return b->journalled && !b->fate_listed && b->fate != DS_FATE_KEPT;
}

static bool any_fate(const struct ds_producer *p)
{
    for (const struct ds_batch *b = p->settled; b; b = b->next) {
        if (wants_fate(b))
            return true;
    }
    return false;
}

static struct ds_record *begin(struct ds_producer *p, enum ds_record_kind kind)
{
    p->record = (struct ds_record){
        .kind = kind,
        .number = ++p->records,
        .epoch = p->epoch,
        .epoch_kind = p->kind,
        .known = p->known,
        .producer = p,
    };
    return &p->record;
}

static void list_fates(struct ds_producer *p)
{
    for (struct ds_batch *b = p->settled; b; b = b->next) {
        if (!wants_fate(b))
            continue;
        b->fate_listed = true;
        b->fate_record = p->records;
    }
    p->record.fate_at = p->settled;
    if (p->opened && !p->opened_record)
        p->opened_record = p->records;
}

static void list_batch(struct ds_producer *p, struct ds_batch *b)
{
    b->journalled = true;
    b->record = p->records;
    if (b->mark > p->mark)
        p->mark = b->mark;
}

static void open_epoch(struct ds_producer *p)
{
    begin(p, DS_RECORD_EPOCH);
    for (struct ds_batch *b = p->queue; b; b = b->next) {
        if (b->journalled || (b->numbered && b->state == DS_BATCH_QUEUED))
            list_batch(p, b);
    }
    list_fates(p);
    p->record.at = p->queue;
    p->epoch_due = false;
    p->epoch_recorded = true;
}

bool ds_producer_record(struct ds_producer *p, struct ds_batch *b)
{
    if (!p->c.journal || p->broken)
        return false;
    bool wants = b && !b->journalled;
    if (p->epoch_due || (wants && !p->epoch_recorded)) {
        open_epoch(p);
    } else if (any_fate(p)) {
        begin(p, DS_RECORD_FATE);
        list_fates(p);
    } else if (wants) {
        begin(p, DS_RECORD_BATCH);
        list_batch(p, b);
        p->record.at = b;
    } else if (p->untold > 0) {
        begin(p, DS_RECORD_TOLD)->told = p->untold;
        p->untold = 0;
    } else {
        return false;
    }
    p->record.mark = p->mark;
    return true;
}

/* --- what is durable -------------------------------------------------------------------------- */

void ds_producer_durable(struct ds_producer *p, uint64_t number)
{
    if (number > p->durable)
        p->durable = number;
    if (p->opened_record > 0 && p->durable >= p->opened_record)
        p->opening = false;
}

bool ds_producer_is_durable(const struct ds_producer *p, const struct ds_batch *b)
{
    return !p->c.journal || (b->journalled && b->record <= p->durable);
}

bool ds_producer_is_reportable(const struct ds_producer *p, const struct ds_batch *b)
{
    if (!p->c.journal || p->broken || !b->journalled || b->fate == DS_FATE_KEPT)
        return true;
    return b->fate_listed && b->fate_record <= p->durable;
}

/* --- going on --------------------------------------------------------------------------------- */

static bool resume_batch(struct ds_producer *p, const struct ds_record_batch *r, int64_t now)
{
    struct ds_batch *b = ds_calloc(1, sizeof *b);
    if (!b)
        return false;
    ds_buf_init(&b->body, r->len);
    if (ds_buf_add(&b->body, r->body, r->len) != DSTREAM_OK) {
        ds_batch_free(b);
        return false;
    }
    b->first = r->first;
    b->count = r->count;
    b->bytes = r->len;
    b->mark = r->mark;
    b->close = r->close;
    b->in_doubt = r->maybe_duplicate;
    b->state = r->acked ? DS_BATCH_ACKED : DS_BATCH_AGAIN;
    b->numbered = b->journalled = b->earlier = true;
    b->epoch = p->epoch;
    b->seq = r->seq;
    b->sent = 1; /* it may have been, and may be stored */
    b->ambiguous = true;
    b->sealed_at = now;
    b->cost = sizeof *b + r->len;
    p->counts.buffered += b->cost;
    ds_batch_queue(p, b);
    if (r->mark > p->mark)
        p->mark = r->mark;
    if (!r->acked)
        p->next_seq = r->seq + 1;
    if (r->first + r->count > p->next_id)
        p->next_id = r->first + r->count;
    p->closing |= r->close;
    return true;
}

static bool resume_fate(struct ds_producer *p, const struct ds_record_fate *r)
{
    struct ds_batch *b = ds_calloc(1, sizeof *b);
    if (!b)
        return false;
    b->first = r->first;
    b->count = r->count;
    b->epoch = r->epoch;
    b->seq = r->seq;
    b->mark = r->mark;
    b->fate = r->fate;
    b->close = r->close;
    b->duplicate = r->duplicate;
    b->in_doubt = r->maybe_duplicate;
    b->journalled = b->fate_listed = b->earlier = true;
    b->offset = ds_strdup(r->offset);
    b->error = r->fate == DS_FATE_ACKED ? NULL : ds_calloc(1, sizeof *b->error);
    if (b->error) {
        b->error->status = r->status;
        ds_error_set_url(b->error, p->c.url);
        ds_error_set(b->error, r->code, "in an earlier run: %s", dstream_code_text(r->code));
    }
    if (p->settled_last)
        p->settled_last->next = b;
    else
        p->settled = b;
    p->settled_last = b;
    return true;
}

enum dstream_code ds_producer_resume(struct ds_producer *p, const struct ds_producer_journal *j,
                                     int64_t now)
{
    p->mark = j->mark;
    if (j->epoch > p->highest)
        p->highest = j->epoch;
    if (j->nbatches > 0) {
        /* Another epoch would store them once more. */
        p->c.fixed = true;
        p->c.claim = false;
        p->kind = j->epoch_kind;
        ds_producer_open_epoch(p, j->epoch);
        p->known = j->known;
        p->epoch_recorded = true;
    } else if (!ds_producer_first_epoch(p)) {
        return DSTREAM_ERR_LIMIT;
    }
    for (size_t i = 0; i < j->nfates; i++) {
        if (!resume_fate(p, &j->fates[i]))
            return DSTREAM_ERR_NOMEM;
    }
    for (size_t i = 0; i < j->nbatches; i++) {
        if (!resume_batch(p, &j->batches[i], now))
            return DSTREAM_ERR_NOMEM;
    }
    while (p->queue && p->queue->state == DS_BATCH_ACKED)
        ds_producer_acked(p, p->queue, NULL, now);
    p->reached = false;
    return DSTREAM_OK;
}
