/* SPDX-License-Identifier: Apache-2.0 */
/* What follows of an answer: acknowledged, tried again, numbered anew, the end. */
#include <string.h>

#include "base/alloc.h"
#include "producer/pipeline.h"

#define WIDEN 64   /* batches that were not overtaken, until one more may be under way */
#define R_MAX 1023 /* by how much an epoch is put above another, drawn */

/* --- epochs ----------------------------------------------------------------------------------- */

/* Others claim the next one: two writers at one epoch would take each other's numbers for their
 * own. */
static bool above(uint64_t epoch, uint64_t random, uint64_t *out)
{
    if (epoch > DS_EPOCH_MAX - 2)
        return false;
    uint64_t room = DS_EPOCH_MAX - epoch - 1;
    *out = epoch + 2 + random % (room < R_MAX ? room : R_MAX);
    return true;
}

/* From the clock where that is farther above all that is known than another writer would go, so
 * that it meets nobody. */
static bool draw(struct ds_producer *p, uint64_t unix_ms, uint64_t random, uint64_t *out)
{
    uint64_t drawn = unix_ms <= DS_EPOCH_MAX >> 10 ? unix_ms << 10 | (random & 1023) : 0;
    bool alone = drawn > p->highest + R_MAX;
    p->kind = alone ? DS_EPOCH_DRAWN : DS_EPOCH_USED;
    *out = drawn;
    return alone || above(p->highest, random, out);
}

void ds_producer_open_epoch(struct ds_producer *p, uint64_t epoch)
{
    p->epoch = epoch;
    if (epoch > p->highest)
        p->highest = epoch;
    p->known = p->any_sent = p->opened = false;
    p->opening = true;
    p->next_seq = p->highest_sent = p->narrowed = 0;
    p->opened_record = 0;
}

bool ds_producer_first_epoch(struct ds_producer *p)
{
    uint64_t epoch = p->c.epoch;
    p->kind = p->c.fresh ? DS_EPOCH_FRESH : DS_EPOCH_USED;
    if (!p->c.fixed && !draw(p, p->c.unix_ms, p->c.random, &epoch))
        return false;
    ds_producer_open_epoch(p, epoch);
    return true;
}

/* --- settled ---------------------------------------------------------------------------------- */

static char *copy(const char *offset)
{
    return offset && offset[0] ? ds_strdup(offset) : NULL;
}

/* The first of the queue has its fate. */
static void settle(struct ds_producer *p, enum ds_fate fate)
{
    struct ds_batch *b = p->queue;
    p->queue = b->next;
    if (!p->queue)
        p->last = NULL;
    p->counts.buffered -= b->cost;
    p->pressed = false;
    b->fate = fate;
    if (fate == DS_FATE_UNKNOWN) {
        p->doubtful = true;
        p->unknown += b->count;
    }
    b->next = NULL;
    if (fate != DS_FATE_ACKED)
        ds_buf_free(&b->body);
    if (p->settled_last)
        p->settled_last->next = b;
    else
        p->settled = b;
    p->settled_last = b;
}

/* Of the cause, and of what it leaves in doubt. */
static void set_error(struct ds_producer *p)
{
    p->error = p->cause;
    if (p->doubtful && p->unknown == 0)
        ds_error_set(&p->error, DSTREAM_ERR_OUTCOME_UNKNOWN,
                     "the stream may be closed or not: %.400s", p->cause.message);
    else if (p->doubtful)
        ds_error_set(&p->error, DSTREAM_ERR_OUTCOME_UNKNOWN,
                     "%llu message%s may be stored or not: %.400s", (unsigned long long)p->unknown,
                     p->unknown == 1 ? "" : "s", p->cause.message);
}

/* A success only where everything was written. */
static void finish(struct ds_producer *p, enum ds_producer_phase phase)
{
    p->finished = true;
    p->phase = phase;
    if (p->error.code != DSTREAM_OK)
        return;
    p->cause = p->first_error;
    set_error(p);
}

static void note_progress(struct ds_producer *p, int64_t now)
{
    p->progress_at = now;
    p->failures = 0;
    p->recovering = false;
    p->reached = true;
    p->opened = true;
    if (!p->c.journal)
        p->opening = false;
}

static void settle_acked(struct ds_producer *p)
{
    struct ds_batch *b = p->queue;
    /* Where its end is not known, that of an earlier one would pass for it. */
    ds_free(p->offset);
    p->offset = copy(b->offset);
    settle(p, DS_FATE_ACKED);
    if (!b->close)
        return;
    p->final_offset = copy(b->offset);
    p->closed = true;
    finish(p, DS_PRODUCER_CLOSED);
}

void ds_producer_acked(struct ds_producer *p, struct ds_batch *b, const char *offset, int64_t now)
{
    b->state = DS_BATCH_ACKED;
    b->offset = copy(offset);
    if (p->width < p->c.window && ++p->in_order == WIDEN) {
        p->in_order = 0;
        p->width++;
    }
    while (p->queue && p->queue->state == DS_BATCH_ACKED) {
        settle_acked(p);
        note_progress(p, now);
    }
}

void ds_producer_decide(struct ds_producer *p, struct ds_batch *b, enum ds_fate fate,
                        const struct dstream_error *error)
{
    b->fate = fate;
    b->error = error ? ds_malloc(sizeof *error) : NULL;
    if (b->error)
        *b->error = *error;
    if (error && p->first_error.code == DSTREAM_OK)
        p->first_error = *error;
}

/* --- tried again ------------------------------------------------------------------------------ */

static void send_not_before(struct ds_producer *p, int64_t at, bool asked)
{
    if (at <= p->gate)
        return;
    p->gate = at;
    p->asked = asked;
}

void ds_producer_pause(struct ds_producer *p, int64_t retry_after, int64_t now)
{
    int64_t most = p->c.limits.retry_after_max;
    if (retry_after > 0)
        send_not_before(p, ds_later(now, retry_after < most ? retry_after : most), true);
}

void ds_producer_retry(struct ds_producer *p, struct ds_batch *b, int64_t now, uint64_t random)
{
    b->state = DS_BATCH_AGAIN;
    p->mishaps++;
    if (p->plan != DS_PLAN_NONE)
        return;
    p->recovering = true;
    /* Those behind base are sent again after it: only base counts. */
    if (b != p->queue)
        return;
    send_not_before(p, ds_later(now, ds_backoff(&p->c.limits, p->failures++, random)), false);
    p->retry_notice = true;
    p->retry_delay = p->gate > now ? p->gate - now : 0;
}

/* --- time ------------------------------------------------------------------------------------- */

int64_t ds_producer_deadline(const struct ds_producer *p)
{
    const struct ds_batch *b = p->queue;
    if (!b || b->state == DS_BATCH_OPEN || p->c.delivery_timeout < 0)
        return DS_NEVER;
    int64_t since = b->sealed_at > p->progress_at ? b->sealed_at : p->progress_at;
    return ds_later(ds_later(since, p->c.delivery_timeout), ds_exchange_upload_time(b->body.len));
}

/* Stops, and leaves to a journal what is in it. */
static void give_up(struct ds_producer *p, const char *words, bool trouble)
{
    struct dstream_error e = p->trouble;
    if (!trouble) {
        e.status = 0;
        ds_error_set(&e, DSTREAM_ERR_TIMEOUT, "%s", words);
    } else if (p->asked) {
        ds_error_set(&e, DSTREAM_ERR_BUSY, "%s: %.400s", words, p->trouble.message);
    } else {
        ds_error_set(&e, e.code, "%s: %.400s", words, p->trouble.message);
    }
    p->keeps = true;
    ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &e);
}

void ds_producer_check_time(struct ds_producer *p, int64_t now)
{
    static const char late[] = "not acknowledged in time";
    if (p->plan == DS_PLAN_STOP || p->finished || !p->queue)
        return;
    int64_t deadline = ds_producer_deadline(p);
    bool waits = p->queue->state != DS_BATCH_IN_FLIGHT && p->queue->state != DS_BATCH_CONFIRM;
    if (p->detaching && now >= p->detach_at) {
        p->cancel_all = true;
        give_up(p, "not acknowledged before it had to be done", p->failures > 0);
        p->stop_phase = DS_PRODUCER_DETACHED;
    } else if (now >= deadline) {
        p->cancel_all = true;
        give_up(p, late, p->failures > 0);
    } else if (waits && p->gate > deadline) {
        give_up(p, p->asked ? "the server asks for a pause that is too long" : late, true);
    }
}

/* --- plans ------------------------------------------------------------------------------------ */

bool ds_producer_in_doubt(const struct ds_producer *p)
{
    for (const struct ds_batch *b = p->queue; b; b = b->next) {
        if (b->ambiguous && b->state != DS_BATCH_ACKED)
            return true;
    }
    return false;
}

void ds_producer_plan(struct ds_producer *p, enum ds_plan plan)
{
    if (p->plan != DS_PLAN_NONE)
        return;
    p->plan = plan;
    p->plan_error = p->trouble;
}

void ds_producer_plan_stop(struct ds_producer *p, enum ds_producer_phase phase,
                           const struct dstream_error *cause)
{
    if (p->plan == DS_PLAN_STOP || p->finished)
        return;
    p->plan = DS_PLAN_STOP;
    p->stop_phase = phase;
    p->cause = *cause;
    if (p->c.url && !p->cause.url[0])
        ds_error_set_url(&p->cause, p->c.url);
}

/* It is not the batches that were refused: once there are credentials, they can be sent. */
void ds_producer_lack_credentials(struct ds_producer *p, const struct dstream_error *cause)
{
    if (p->plan == DS_PLAN_STOP || p->finished)
        return;
    p->keeps = true;
    ds_producer_plan_stop(p, DS_PRODUCER_FAILED, cause);
}

void ds_producer_stop(struct ds_producer *p, const struct dstream_error *why, bool journal_broken)
{
    p->broken |= journal_broken;
    if (p->finished && journal_broken && p->error.code == DSTREAM_OK)
        p->error = p->cause = *why; /* all was done, and it is not written down */
    if (p->finished || p->plan == DS_PLAN_STOP)
        return;
    p->keeps = p->cancel_all = p->stopped = true;
    ds_producer_plan_stop(p, DS_PRODUCER_FAILED, why);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Of a batch that nothing more is sent of; `kept`: one before it is. */
static enum ds_fate fate_of(const struct ds_producer *p, const struct ds_batch *b, bool kept)
{
    if (b->state == DS_BATCH_ACKED) /* a journal has its fates in order */
        return kept ? DS_FATE_KEPT : DS_FATE_ACKED;
    if (b->fate != DS_FATE_NONE)
        return b->fate;
    if (p->keeps && b->journalled)
        return DS_FATE_KEPT;
    if (b->in_doubt || b->state == DS_BATCH_CONFIRM)
        return DS_FATE_UNKNOWN;
    if (b->ambiguous && !p->clean)
        return DS_FATE_UNKNOWN;
    /* To one that was stored, a stream that another has closed since answers as to any other. */
    if (p->stop_phase == DS_PRODUCER_CLOSED && b->sent > 1)
        return DS_FATE_UNKNOWN;
    return DS_FATE_NOT_WRITTEN;
}

/* What was given up was acknowledged meanwhile. */
static bool is_moot(const struct ds_producer *p)
{
    return p->finished || (!p->queue && p->keeps && !p->stopped);
}

static void conclude(struct ds_producer *p)
{
    bool kept = false;
    p->plan = DS_PLAN_NONE;
    if (is_moot(p)) {
        p->keeps = p->cancel_all = false;
        ds_error_clear(&p->cause);
        return;
    }
    if (ds_batch_is_open(p))
        ds_batch_seal(p, 0);
    while (p->queue) {
        enum ds_fate fate = fate_of(p, p->queue, kept);
        kept |= fate == DS_FATE_KEPT;
        if (fate == DS_FATE_ACKED)
            settle_acked(p);
        else
            settle(p, fate);
    }
    set_error(p);
    if (p->first_error.code == DSTREAM_OK)
        p->first_error = p->error;
    finish(p, p->stop_phase);
}

/* --- a new epoch ------------------------------------------------------------------------------ */

/* What nobody has refused goes on without the close: something before it was not written. */
static void drop_close(struct ds_producer *p)
{
    p->closing = false;
    p->detaching = true;
    p->detach_at = DS_NEVER;
    for (struct ds_batch *b = p->queue; b; b = b->next) {
        if (b->close && b->count == 0)
            ds_producer_decide(p, b, DS_FATE_NOT_WRITTEN, &p->first_error);
        else
            b->close = false;
    }
}

/* Numbers what is not acknowledged from 0 on. Nothing of the old numbers can be stored any more, or
 * it is in doubt for good. */
static void number_anew(struct ds_producer *p)
{
    for (struct ds_batch *b = p->queue; b; b = b->next) {
        if (b->state == DS_BATCH_ACKED || b->state == DS_BATCH_OPEN)
            continue;
        b->in_doubt |= b->ambiguous && !p->clean;
        b->ambiguous = false;
        b->sent = 0;
        b->state = DS_BATCH_QUEUED;
        if (!b->numbered)
            continue;
        b->epoch = p->epoch;
        b->seq = p->next_seq++;
    }
}

static void stop_instead(struct ds_producer *p, enum dstream_code code, const char *words)
{
    p->plan_error.status = 0;
    ds_error_set(&p->plan_error, code, "%s", words);
    ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->plan_error);
}

/* Goes on behind a batch that was refused; so does a close that it would have taken along. */
static bool skip(struct ds_producer *p, int64_t now)
{
    bool closes = p->queue->close && p->force;
    if (closes)
        p->queue->close = false;
    settle(p, p->queue->fate);
    if (p->closing && !p->force)
        drop_close(p);
    return !closes || ds_batch_add_close(p, now);
}

/* Makes the queue what it has to be under the new epoch. */
static bool prepare(struct ds_producer *p, int64_t now)
{
    if (p->plan == DS_PLAN_SKIP)
        return skip(p, now);
    if (p->plan == DS_PLAN_SPLIT) {
        size_t half = ds_batch_half(p, p->queue);
        if (half < p->batch_limit)
            p->batch_limit = half;
        return ds_batch_split_all(p, half);
    }
    return true;
}

static void renumber(struct ds_producer *p, int64_t now, uint64_t random)
{
    uint64_t epoch;
    bool claim = p->plan == DS_PLAN_CLAIM;
    if (!above(claim ? p->plan_epoch : p->epoch, random, &epoch)) {
        stop_instead(p, DSTREAM_ERR_LIMIT,
                     claim ? "the server's epoch leaves no room for a higher one"
                           : "no epoch is left");
        return;
    }
    if (!prepare(p, now)) {
        stop_instead(p, DSTREAM_ERR_NOMEM, "no memory for another batch");
        return;
    }
    if (claim && p->claims++ > 0)
        send_not_before(p, ds_later(now, ds_backoff(&p->c.limits, p->claims - 2, random)), false);
    p->kind = DS_EPOCH_USED;
    ds_producer_open_epoch(p, epoch);
    number_anew(p);
    p->epoch_due = p->c.journal;
    p->recovering = p->clean = false;
    p->plan = DS_PLAN_NONE;
    p->epoch_notice = true;
}

void ds_producer_execute(struct ds_producer *p, int64_t now, uint64_t random)
{
    bool doubt = p->plan == DS_PLAN_CLAIM || p->plan == DS_PLAN_LOST;
    if (doubt && !p->c.allow_duplicates && ds_producer_in_doubt(p))
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->plan_error);
    if (p->plan != DS_PLAN_STOP)
        renumber(p, now, random);
    if (p->plan == DS_PLAN_STOP)
        conclude(p);
}

/* --- verbs ------------------------------------------------------------------------------------ */

static bool restart(struct ds_producer *p, uint64_t random)
{
    uint64_t epoch;
    if (!p->restart_due || (p->queue && p->queue->first < p->restart_to))
        return false;
    p->restart_due = false;
    bool room =
        p->c.fixed ? above(p->epoch, random, &epoch) : draw(p, p->restart_ms, random, &epoch);
    if (!room) {
        ds_error_set(&p->trouble, DSTREAM_ERR_LIMIT, "no epoch is left");
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
        return true;
    }
    if (p->c.fixed)
        p->kind = DS_EPOCH_USED;
    ds_producer_open_epoch(p, epoch);
    p->epoch_due = p->c.journal;
    return true;
}

bool ds_producer_follow_up(struct ds_producer *p, uint64_t random)
{
    if (p->finished || p->plan != DS_PLAN_NONE)
        return false;
    if (restart(p, random))
        return true;
    if (p->queue && p->queue->state == DS_BATCH_ACKED) {
        settle_acked(p); /* it was stored before the one that was skipped */
        return true;
    }
    if (p->queue && p->queue->state == DS_BATCH_QUEUED && p->queue->fate != DS_FATE_NONE) {
        settle(p, p->queue->fate); /* a close that was dropped */
        return true;
    }
    if (!p->detaching || p->queue)
        return false;
    finish(p, DS_PRODUCER_DETACHED);
    return true;
}
