/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer, or its absence, says of its batch. Nothing is sent from here: batches change
 * their state, and what else follows is planned.
 */
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "producer/pipeline.h"

/* --- the head --------------------------------------------------------------------------------- */

static struct ds_number number(const struct ds_head *h, const char *name)
{
    struct ds_number n = {0};
    const char *value = ds_head_get(h, name);
    n.present = value != NULL;
    n.good = value && ds_parse_u64(value, DS_EPOCH_MAX, &n.value);
    return n;
}

void ds_producer_read_head(struct ds_producer *p, struct ds_post *post, const struct ds_head *head,
                           int64_t now)
{
    post->epoch = number(head, "producer-epoch");
    post->seq = number(head, "producer-seq");
    post->expected = number(head, "producer-expected-seq");
    if (post->epoch.good && post->epoch.value > p->counts.server_epoch)
        p->counts.server_epoch = post->epoch.value;
    if (post->epoch.good && post->epoch.value > p->highest)
        p->highest = post->epoch.value;
    if (ds_status_retryable(post->x.status))
        ds_producer_pause(p, post->x.retry_after, now);
}

/* --- ends ------------------------------------------------------------------------------------- */

static struct dstream_error *says(struct ds_producer *p, struct ds_post *post,
                                  enum dstream_code code, const char *words)
{
    p->trouble.status = post->x.status;
    ds_exchange_refused(&post->x, code, words, &p->trouble);
    return &p->trouble;
}

static void fail(struct ds_producer *p, struct ds_post *post, enum dstream_code code,
                 const char *words)
{
    ds_producer_plan_stop(p, DS_PRODUCER_FAILED, says(p, post, code, words));
}

/* Its fate cannot be known, and nothing that is sent could tell it. */
static void unknown(struct ds_producer *p, struct ds_post *post, enum dstream_code code,
                    const char *words)
{
    ds_producer_decide(p, post->batch, DS_FATE_UNKNOWN, NULL);
    fail(p, post, code, words);
}

/* --- somebody else's epoch -------------------------------------------------------------------- */

/* Two that claim from each other would go on for ever: only until something is acknowledged, and
 * only so often. The first one repeats nothing that has failed. */
static bool may_claim(const struct ds_producer *p)
{
    return p->c.claim && !p->reached && (p->claims == 0 || p->claims < p->c.limits.retries);
}

/* For what p->trouble tells of. */
static void outranked(struct ds_producer *p, uint64_t epoch)
{
    if (may_claim(p) && (p->c.allow_duplicates || !ds_producer_in_doubt(p))) {
        p->plan_epoch = epoch;
        ds_producer_plan(p, DS_PLAN_CLAIM);
    } else {
        ds_producer_plan_stop(p, DS_PRODUCER_FENCED, &p->trouble);
    }
}

/* A number that was never sent, and that the server has: our body is not stored. */
static void in_use(struct ds_producer *p, struct ds_post *post)
{
    says(p, post, DSTREAM_ERR_FENCED, "another writer uses this epoch");
    outranked(p, p->epoch);
}

/* --- 2xx -------------------------------------------------------------------------------------- */

static void acked(struct ds_producer *p, struct ds_post *post, int64_t now)
{
    const char *next = ds_exchange_has_next(&post->x) ? post->x.next : "";
    ds_producer_acked(p, post->batch, next, now);
}

/* The answer of a server that knows this producer, and has this number. */
static bool is_echo(struct ds_producer *p, struct ds_post *post)
{
    if (!post->epoch.present && !post->seq.present) {
        unknown(p, post, DSTREAM_ERR_NO_PRODUCERS,
                "the server does not support producers: the answer names none");
        return false;
    }
    bool good = !post->epoch.present || (post->epoch.good && post->epoch.value == p->epoch);
    good &= !post->seq.present || (post->seq.good && post->seq.value >= post->batch->seq);
    if (!good)
        unknown(p, post, DSTREAM_ERR_PROTOCOL,
                "the answer names another epoch, or a number that is behind");
    return good;
}

/* 204: the number is stored. By whom? */
static void duplicate(struct ds_producer *p, struct ds_post *post, int64_t now)
{
    struct ds_batch *b = post->batch;
    bool fresh = p->kind != DS_EPOCH_USED;
    bool ours = post->seq.present && p->any_sent && post->seq.value <= p->highest_sent;
    if (b->close && b->count == 0) {
        b->state = DS_BATCH_CONFIRM;
    } else if (p->c.resubmit) {
        b->duplicate = true;
        acked(p, post, now);
    } else if (!post->first && (fresh || p->known)) {
        acked(p, post, now);
    } else if (!post->first) {
        unknown(p, post, DSTREAM_ERR_CONFLICT,
                "this number is stored, but maybe by another writer under this epoch");
    } else if (b->close && !fresh) {
        /* Some servers answer so to a close that they have just carried out. */
        unknown(p, post, DSTREAM_ERR_CONFLICT,
                "the close's number is stored, but maybe by another writer under this epoch");
    } else if (!post->seq.present) {
        unknown(p, post, DSTREAM_ERR_PROTOCOL, "the answer to a first try names no number");
    } else if (ours && (p->kind == DS_EPOCH_DRAWN || b->close)) {
        /* Something on the way has sent it twice. */
        acked(p, post, now);
    } else {
        in_use(p, post);
    }
}

static void accepted(struct ds_producer *p, struct ds_post *post, int64_t now)
{
    if (!is_echo(p, post))
        return;
    p->proven = true;
    if (post->credentials == p->credentials && p->auth == DS_AUTH_NONE)
        p->auth_spent = false;
    if (post->x.status == 200) {
        p->known = true;
        acked(p, post, now);
    } else if (post->x.status == 204) {
        duplicate(p, post, now);
    } else {
        unknown(p, post, DSTREAM_ERR_PROTOCOL, "not an answer to an append");
    }
}

/* --- refusals --------------------------------------------------------------------------------- */

static void credentials(struct ds_producer *p, struct ds_post *post)
{
    post->batch->state = DS_BATCH_AGAIN;
    p->recovering = true;
    if (post->credentials != p->credentials || p->auth != DS_AUTH_NONE)
        return; /* those that it was sent with are known to be bad */
    if (p->plan != DS_PLAN_NONE)
        return; /* the next request will tell */
    if (p->c.auth_hook && !p->auth_spent) {
        p->auth_error = *says(p, post, DSTREAM_ERR_AUTH, "the server asks for other credentials");
        p->auth = DS_AUTH_DUE;
        p->auth_spent = true;
        return;
    }
    ds_producer_lack_credentials(
        p, says(p, post, DSTREAM_ERR_AUTH, "the server asks for other credentials"));
}

static void forbidden(struct ds_producer *p, struct ds_post *post)
{
    if (post->epoch.present && !post->epoch.good)
        fail(p, post, DSTREAM_ERR_PROTOCOL, "the answer names an epoch that cannot be");
    else if (!post->epoch.present || post->epoch.value <= p->epoch)
        credentials(p, post);
    else {
        says(p, post, DSTREAM_ERR_FENCED, "another writer has taken over");
        outranked(p, post->epoch.value);
    }
}

static void park(const struct ds_producer *p, struct ds_batch *b)
{
    b->state = DS_BATCH_PARKED;
    b->parked = p->mishaps;
}

/* Everything before it was acknowledged, and yet the server waits for an earlier number. */
static void state_lost(struct ds_producer *p, struct ds_post *post)
{
    static const char words[] = "the server has forgotten what it had stored of this producer";
    if (!p->c.fixed && (p->c.allow_duplicates || !ds_producer_in_doubt(p))) {
        says(p, post, DSTREAM_ERR_STATE_LOST, words);
        ds_producer_plan(p, DS_PLAN_LOST);
        return;
    }
    fail(p, post, DSTREAM_ERR_STATE_LOST, words);
}

static void conflict(struct ds_producer *p, struct ds_post *post)
{
    if (post->x.closed) {
        ds_producer_plan_stop(p, DS_PRODUCER_CLOSED,
                              says(p, post, DSTREAM_ERR_CLOSED, "the stream is closed"));
    } else if (!post->expected.present) {
        fail(p, post, DSTREAM_ERR_CONFLICT, "the stream is of another type, or is otherwise used");
    } else if (!post->expected.good) {
        fail(p, post, DSTREAM_ERR_PROTOCOL, "the answer expects a number that cannot be");
    } else if (!post->as_base) {
        park(p, post->batch); /* it has overtaken those before it, or they were lost */
    } else if (post->expected.value < post->batch->seq) {
        state_lost(p, post);
    } else {
        fail(p, post, DSTREAM_ERR_SEQUENCE, "the server expects a number that was not sent yet");
    }
}

/* 400 and 413. For one that was not base they may come of the gap before it. For base they say that
 * the server's state did not advance, so that nothing behind it can have been stored. */
static void refused(struct ds_producer *p, struct ds_post *post)
{
    struct ds_batch *b = post->batch;
    bool large = post->x.status == 413;
    enum dstream_code code = ds_status_code(post->x.status);
    const char *words = large ? "the batch is too large for the server" : "the server refused it";
    if (!post->as_base) {
        park(p, b);
        return;
    }
    bool doubt = b->ambiguous || b->in_doubt;
    if (doubt && !p->c.allow_duplicates) {
        unknown(p, post, code, words);
        return;
    }
    p->clean = !b->ambiguous;
    if (large && b->count > 1 && b->ends) {
        says(p, post, code, words);
        ds_producer_plan(p, DS_PLAN_SPLIT);
        return;
    }
    says(p, post, code, words);
    ds_producer_decide(p, b, doubt ? DS_FATE_UNKNOWN : DS_FATE_NOT_WRITTEN, &p->trouble);
    if (p->c.skip_refused && b->count > 0)
        ds_producer_plan(p, DS_PLAN_SKIP);
    else
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
}

/* --- all -------------------------------------------------------------------------------------- */

static void answered(struct ds_producer *p, struct ds_post *post, int64_t now, uint64_t random)
{
    struct ds_batch *b = post->batch;
    int status = post->x.status;
    enum dstream_code code = ds_status_code(status);
    b->state = DS_BATCH_AGAIN;
    if (code != DSTREAM_OK && !ds_status_definite(status))
        b->ambiguous = true;
    if (code == DSTREAM_OK) {
        accepted(p, post, now);
    } else if (code == DSTREAM_ERR_REDIRECT) {
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &post->error);
    } else if (status == 401) {
        credentials(p, post);
    } else if (status == 403) {
        forbidden(p, post);
    } else if (status == 409) {
        conflict(p, post);
    } else if (status == 400 || status == 413) {
        refused(p, post);
    } else if (ds_status_retryable(status)) {
        says(p, post, code, dstream_code_text(code));
        ds_producer_retry(p, b, now, random);
    } else {
        fail(p, post, code, dstream_code_text(code));
    }
}

static void unanswered(struct ds_producer *p, struct ds_post *post, int64_t now, uint64_t random)
{
    struct ds_batch *b = post->batch;
    b->state = DS_BATCH_AGAIN;
    b->ambiguous |= post->x.left;
    p->trouble = post->error;
    if (post->x.left && p->c.proof && !p->proven) {
        ds_producer_decide(p, b, DS_FATE_UNKNOWN, NULL);
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
    } else if (post->retry) {
        ds_producer_retry(p, b, now, random);
    } else {
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
    }
}

/* A redirect is not an attempt of its own: nothing is carried out where one is answered that keeps
 * method and body, and the attempt goes on. */
static bool goes_on(struct ds_producer *p, struct ds_post *post, int64_t now)
{
    if (!post->x.head || ds_status_code(post->x.status) != DSTREAM_ERR_REDIRECT)
        return false;
    post->error.status = post->x.status;
    if (p->plan != DS_PLAN_NONE) {
        ds_error_set(&post->error, DSTREAM_ERR_REDIRECT, "a redirect came too late");
        return false;
    }
    if (!ds_exchange_follow(&post->x, &p->c.limits, &post->error))
        return false;
    post->later = now < p->gate;
    return !post->later;
}

bool ds_producer_judge(struct ds_producer *p, struct ds_post *post, int64_t now, uint64_t random)
{
    struct ds_batch *b = post->batch;
    post->over = 0;
    post->later = false;
    if (goes_on(p, post, now))
        return true;
    if (post->x.left && !post->later && b->sent < 1000)
        b->sent++;
    if (post->later) {
        b->state = DS_BATCH_AGAIN; /* nothing may be sent now: from the beginning, then */
    } else if (post->x.no_memory) {
        b->ambiguous = true;
        b->state = DS_BATCH_AGAIN;
        ds_error_set(&p->trouble, DSTREAM_ERR_NOMEM, "no memory for an answer");
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
    } else if (post->x.head) {
        answered(p, post, now, random);
    } else {
        unanswered(p, post, now, random);
    }
    post->batch = NULL;
    return false;
}

/* --- the stream's close ----------------------------------------------------------------------- */

/* The number of a close without a body is stored. Whether the stream is closed, it says itself; a
 * replica may take a while to know. */
static void still_open(struct ds_producer *p, struct ds_batch *b, int64_t now, uint64_t random)
{
    if (++p->confirm_tries < p->c.limits.protocol_tries) {
        p->confirm_at = ds_later(now, ds_backoff(&p->c.limits, p->confirm_tries, random));
        return;
    }
    p->confirm_tries = 0;
    b->state = DS_BATCH_AGAIN;
    p->trouble.status = 204;
    ds_error_set(&p->trouble, DSTREAM_ERR_FENCED,
                 "another writer uses this epoch: the close's number is stored, and the stream is "
                 "open");
    outranked(p, p->epoch);
}

/* As with any batch, until it is out of time. */
static void ask_again(struct ds_producer *p, const struct ds_call_result *r, int64_t now,
                      uint64_t random)
{
    int64_t most = p->c.limits.retry_after_max,
            wait = r->retry_after < most ? r->retry_after : most;
    int64_t pause = ds_backoff(&p->c.limits, p->failures++, random);
    p->confirm_at = ds_later(now, wait > pause ? wait : pause);
    p->retry_notice = true;
    p->retry_delay = p->confirm_at - now;
}

void ds_producer_judge_confirm(struct ds_producer *p, int64_t now, uint64_t random)
{
    struct ds_batch *b = p->queue;
    const struct ds_call_result *r = ds_call_result(p->confirm);
    const struct dstream_error *e = ds_call_error(p->confirm);
    if (!b || b->state != DS_BATCH_CONFIRM)
        return;
    if (e->code != DSTREAM_OK)
        p->trouble = *e;
    if (dstream_is_retryable(e->code) && p->plan == DS_PLAN_NONE) {
        ask_again(p, r, now, random);
    } else if (e->code != DSTREAM_OK) {
        ds_producer_decide(p, b, DS_FATE_UNKNOWN, NULL);
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
    } else if (r->closed) {
        b->duplicate = p->c.resubmit;
        ds_producer_acked(p, b, r->next, now);
    } else {
        still_open(p, b, now, random);
    }
}
