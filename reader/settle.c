/* SPDX-License-Identifier: Apache-2.0 */
/* What follows the outcome of a request: going on, waiting, another way, the end. */
#include <string.h>

#include "base/backoff.h"
#include "base/url.h"
#include "reader/session.h"

void ds_reader_finish(struct ds_reader *r, bool failed)
{
    if (r->finished)
        return;
    r->finished = true;
    r->failed = failed;
}

static void give_up(struct ds_reader *r)
{
    ds_reader_finish(r, true);
}

static void wait_at_least(struct ds_reader *r, int64_t until)
{
    if (until > r->wake)
        r->wake = until;
}

/* --- answers without progress ----------------------------------------------------------------- */

/* A server or a cache that answers at once and with nothing must not be asked at full speed. */
static void pace(struct ds_reader *r, int64_t now)
{
    struct ds_attempt *a = &r->a;
    if (a->delivered)
        return;
    if (a->ended_at >= 0 && a->ended_at - a->started >= r->limits.idle_within) {
        r->idle = 0;
        return;
    }
    if (a->kind == DS_ASK_PLAIN && a->moved && r->moves < r->limits.moves_free) {
        r->moves++;
        return;
    }
    if (r->idle++ == 0)
        r->idle_since = now;
    if (r->idle < r->limits.idle_count)
        return;
    wait_at_least(r, ds_later(now, ds_doubled(r->limits.backoff_base,
                                              r->idle - r->limits.idle_count, r->limits.idle_max)));
    if (!r->said_paced) {
        r->said_paced = true;
        ds_reader_notice(r, DS_NOTICE_PACED, 0);
    }
}

/* --- failures --------------------------------------------------------------------------------- */

void ds_reader_recheck(struct ds_reader *r)
{
    /* Of what a checkpoint leaves out nothing else shows that it is what was read. */
    bool leaves_out = r->skip > 0 && r->seen_before && r->trail.units == 0;
    if ((r->recheck || leaves_out) && r->witness.units > 0)
        r->verify_due = true;
}

/* For how long there was no progress is counted from where there last was any. A server that says
 * that the stream awaited is not there yet is in good health. */
static void count_failure(struct ds_reader *r)
{
    struct ds_attempt *a = &r->a;
    if (r->failures == 0 || r->failure.wait_create)
        r->tries = 0;
    if (r->failures < UINT32_MAX)
        r->failures++;
    if (r->failure.wait_create)
        return;
    if (r->tries == 0)
        r->failing_since = a->body > 0 ? a->touched : a->started;
    if (r->tries < UINT32_MAX)
        r->tries++;
}

/* Whether nothing can come any more before the time is over, if that has to be waited for. */
static bool too_late(const struct ds_reader *r, int64_t until)
{
    return until > ds_later(r->failing_since, r->limits.retry_time);
}

/* Whether the retries are used up, or a wait until `until` would use them up. */
static bool used_up(struct ds_reader *r, int64_t until)
{
    if (r->failure.wait_create || (r->live != DSTREAM_LIVE_OFF && r->any_complete))
        return false;
    return r->tries > r->limits.retries || too_late(r, until);
}

static int64_t retry_after(const struct ds_reader *r)
{
    int64_t ms = r->a.retry_after;
    return ms > r->limits.retry_after_max ? r->limits.retry_after_max : ms;
}

void ds_reader_heed(struct ds_reader *r)
{
    if (r->a.headed && !ds_reader_has_data(&r->a) && r->a.retry_after > 0)
        wait_at_least(r, ds_later(r->a.headed_at, retry_after(r)));
}

/* The end of a stream that cannot be reached any more, with what it took to find out. */
static void give_up_retrying(struct ds_reader *r, int64_t now)
{
    struct dstream_error *e = &r->failure.error;
    char said[sizeof e->message];
    memcpy(said, e->message, sizeof said);
    if (r->tries <= r->limits.retries && r->a.retry_after > 0 &&
        too_late(r, ds_later(now, retry_after(r))))
        ds_error_set(e, DSTREAM_ERR_BUSY, "%.400s; it asks to be left alone for %lld s", said,
                     (long long)(r->a.retry_after / 1000));
    else
        ds_error_set(e, e->code, "%.400s; given up after %u %s", said, r->tries,
                     r->tries == 1 ? "try" : "tries");
    give_up(r);
}

/* An SSE connection that went on for a while behind its first control event was a good one. */
static void forgive(struct ds_reader *r)
{
    const struct ds_attempt *a = &r->a;
    if (a->control_at >= 0 && a->ended_at - a->control_at >= r->limits.healthy_sse)
        r->failures = 0;
}

static void settle_failure(struct ds_reader *r, int64_t now, uint64_t random)
{
    if (!r->failure.retry) {
        give_up(r);
        return;
    }
    forgive(r);
    count_failure(r);
    ds_reader_recheck(r);
    if (r->a.kind == DS_ASK_SSE)
        r->catching = true;
    int64_t asked = retry_after(r);
    int64_t wait = ds_backoff(&r->limits, r->failures - 1, random);
    if (asked > wait)
        wait = asked;
    if (used_up(r, ds_later(now, wait))) {
        give_up_retrying(r, now);
        return;
    }
    wait_at_least(r, ds_later(now, wait));
    ds_reader_notice(r, DS_NOTICE_RETRY, wait);
}

/* --- what looks like another stream, or lacks what was seen ----------------------------------- */

/* A replica that lags looks the same for a while: it is asked again after 1, 2, 4 ... s. */
static void settle_suspicion(struct ds_reader *r, int64_t now)
{
    if (r->suspect_since < 0) {
        r->suspect_since = now;
        r->suspicions = 0;
    }
    int64_t left = r->limits.replica_lag - (now - r->suspect_since);
    if (left <= 0) {
        give_up(r);
        return;
    }
    int64_t wait = ds_doubled(1000, r->suspicions++, left);
    ds_reader_recheck(r);
    if (r->a.kind == DS_ASK_VERIFY)
        r->verify_due = true;
    wait_at_least(r, ds_later(now, wait));
    ds_reader_notice(r, DS_NOTICE_SUSPECT, wait);
}

/* What was due is gone, but the stream is there. */
static void settle_gone(struct ds_reader *r)
{
    const char *to = r->on_gone == DSTREAM_GONE_NOW ? "now" : "-1";
    r->gone_due = false;
    /* There is nothing behind the tail, and nothing before the beginning. */
    if (r->on_gone == DSTREAM_GONE_FAIL || strcmp(r->pos, "now") == 0 || strcmp(r->pos, to) == 0) {
        r->a.status = 410;
        ds_reader_fail(r, DSTREAM_ERR_GONE, false,
                       "gone: what comes next is no longer kept: the server answered 410");
        give_up(r);
        return;
    }
    ds_reader_notice(r, DS_NOTICE_GAP, 0);
    if (!ds_token_is_sentinel(r->pos))
        strcpy(r->gone, r->pos);
    strcpy(r->pos, to);
    r->skip = 0;
    r->too_large = false;
    ds_parts_forget(r);
    r->witness.units = 0;
    r->catching = true;
    r->told_up_to_date = false;
}

/* --- the end of an event stream --------------------------------------------------------------- */

static void fall_back(struct ds_reader *r)
{
    r->sse_off = true;
    r->short_sse = 0;
    if (!r->said_fallback)
        ds_reader_notice(r, DS_NOTICE_FALLBACK, 0);
    r->said_fallback = true;
}

static void settle_short(struct ds_reader *r, int64_t now, uint64_t random)
{
    const struct ds_limits *l = &r->limits;
    r->without_control = r->a.control_at >= 0 ? 0 : r->without_control + 1;
    if (r->short_sse < UINT32_MAX)
        r->short_sse++;
    if (r->short_sse >= l->short_count && r->live == DSTREAM_LIVE_AUTO) {
        fall_back(r);
        r->probe_wait =
            r->probe_wait > 0 ? ds_doubled(r->probe_wait, 1, l->probe_max) : l->probe_base;
        r->probe_at = ds_later(now, r->probe_wait);
        return;
    }
    if (r->without_control >= l->short_count) {
        ds_reader_fail(r, DSTREAM_ERR_PROTOCOL, false,
                       "%u SSE connections in a row ended without a control event",
                       r->without_control);
        give_up(r);
        return;
    }
    int64_t most = ds_doubled(l->short_base, r->short_sse, l->short_max);
    wait_at_least(r, ds_later(now, (int64_t)(random % ((uint64_t)most + 1))));
    if (r->short_sse == l->short_count && !r->said_paced) {
        r->said_paced = true;
        ds_reader_notice(r, DS_NOTICE_PACED, 0);
    }
}

/* A server ends a healthy connection about every minute, and is called back at once. One without a
 * control event has shown nothing, however long it was. */
static void settle_sse_end(struct ds_reader *r, int64_t now, uint64_t random)
{
    struct ds_attempt *a = &r->a;
    bool lived = a->ended_at - a->headed_at >= r->limits.healthy_sse;
    ds_reader_recheck(r);
    forgive(r);
    if (!a->quiet && a->control_at >= 0 && (lived || a->moved)) {
        r->short_sse = r->without_control = 0;
        r->probe_wait = 0;
        ds_reader_notice(r, DS_NOTICE_RECONNECT, 0);
    } else {
        settle_short(r, now, random);
    }
    if (!r->finished)
        pace(r, now);
}

/* A refusal is for the session. */
static void settle_no_sse(struct ds_reader *r)
{
    ds_reader_recheck(r);
    r->probe_at = DS_NEVER;
    if (r->live == DSTREAM_LIVE_AUTO)
        fall_back(r);
    else
        give_up(r);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* With all that is to be left out behind it. */
static bool at_tail(const struct ds_reader *r)
{
    return r->tail[0] && r->skip == 0 && !ds_token_is_sentinel(r->pos) &&
           strcmp(r->pos, r->tail) >= 0;
}

static void settle_tail(struct ds_reader *r, int64_t now)
{
    r->tail_due = false;
    if (r->live != DSTREAM_LIVE_OFF)
        return; /* it was for the type */
    strcpy(r->tail, r->a.next);
    if (!ds_token_is_sentinel(r->pos) && strcmp(r->tail, r->pos) < 0) {
        r->tail[0] = '\0';
        r->tail_due = true;
        ds_reader_suspect(r, DSTREAM_ERR_STREAM_RESET,
                          "the stream was made anew: its tail is %.64s, before where it was read "
                          "from",
                          r->a.next);
        settle_suspicion(r, now);
    } else if (at_tail(r)) {
        ds_reader_finish(r, false);
    }
}

/* A stream that is not followed ends at its tail. */
static void settle_plain(struct ds_reader *r, int64_t now)
{
    bool off = r->live == DSTREAM_LIVE_OFF;
    if (r->gone_due)
        return;
    r->catching = !r->a.up_to_date || r->closed_seen;
    if (off && (r->a.up_to_date || at_tail(r))) {
        ds_reader_finish(r, false);
        return;
    }
    if (off && r->stop_at_tail && !r->tail[0])
        r->tail_due = true;
    pace(r, now);
    if (off && r->idle >= r->limits.idle_count && now - r->idle_since >= r->limits.retry_time) {
        ds_reader_fail(r, DSTREAM_ERR_PROTOCOL, false,
                       "answers without data, and none says that it is up to date");
        give_up(r);
    }
}

static void settle_answer(struct ds_reader *r, int64_t now)
{
    /* Only what is read shows that the stream is itself: a witness alone, or a tail, does not. */
    if (r->a.kind != DS_ASK_VERIFY && ds_reader_method(r->a.kind) == DS_GET && !r->gone_due)
        r->suspect_since = -1;
    switch (r->a.kind) {
    case DS_ASK_VERIFY:
        break;
    case DS_ASK_GONE:
        settle_gone(r);
        break;
    case DS_ASK_TAIL:
        settle_tail(r, now);
        break;
    case DS_ASK_NOW:
    case DS_ASK_PLAIN:
        settle_plain(r, now);
        break;
    case DS_ASK_SSE: /* ended by us */
        if (!r->gone_due)
            ds_reader_recheck(r);
        pace(r, now);
        break;
    case DS_ASK_POLL:
        pace(r, now);
        break;
    }
}

void ds_reader_settle(struct ds_reader *r, int64_t now, uint64_t random)
{
    switch (r->a.outcome) {
    case DS_OUT_NONE:
    case DS_OUT_REDIRECT:
    case DS_OUT_AUTH:
        break;
    case DS_OUT_SUSPECT:
        settle_suspicion(r, now);
        break;
    case DS_OUT_DONE:
        settle_answer(r, now);
        break;
    case DS_OUT_FAILED:
        settle_failure(r, now, random);
        break;
    case DS_OUT_SSE_END:
        settle_sse_end(r, now, random);
        break;
    case DS_OUT_NO_SSE:
        settle_no_sse(r);
        break;
    }
}
