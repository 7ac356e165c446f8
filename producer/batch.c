/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages into batches. The body is made as it goes over the wire, so that a message is copied
 * once; where each one ends in it is kept for the case that the batch has to be split.
 */
#include <string.h>

#include "base/alloc.h"
#include "decode/jsoncut.h"
#include "producer/pipeline.h"

/* What a message takes beside its bytes: a comma, and where it ends. */
#define MESSAGE_COST (1 + sizeof(uint32_t))

/* --- made and freed --------------------------------------------------------------------------- */

static void clear(struct ds_batch *b, size_t max)
{
    struct ds_buf body = b->body;
    uint32_t *ends = b->ends;
    size_t cap = b->ends_cap;
    *b = (struct ds_batch){.body = body, .ends = ends, .ends_cap = cap};
    b->body.len = 0;
    b->body.max = max;
}

struct ds_batch *ds_batch_new(struct ds_producer *p)
{
    struct ds_batch *b = p->spare;
    if (b) {
        p->spare = b->next;
        p->spares--;
    } else {
        b = ds_calloc(1, sizeof *b);
        if (!b)
            return NULL;
        ds_buf_init(&b->body, p->c.max_batch_bytes);
    }
    clear(b, p->c.max_batch_bytes);
    return b;
}

void ds_batch_free(struct ds_batch *b)
{
    ds_buf_free(&b->body);
    ds_free(b->ends);
    ds_free(b->offset);
    ds_free(b->error);
    ds_free(b);
}

/* Its memory is kept for the next ones, as much as a full window needs. */
void ds_batch_drop(struct ds_producer *p, struct ds_batch *b)
{
    if (p->spares > p->c.window) {
        ds_batch_free(b);
        return;
    }
    ds_free(b->offset);
    ds_free(b->error);
    clear(b, p->c.max_batch_bytes);
    b->next = p->spare;
    p->spare = b;
    p->spares++;
}

void ds_batch_queue(struct ds_producer *p, struct ds_batch *b)
{
    b->next = NULL;
    if (p->last)
        p->last->next = b;
    else
        p->queue = b;
    p->last = b;
}

bool ds_batch_is_open(const struct ds_producer *p)
{
    return p->last && p->last->state == DS_BATCH_OPEN;
}

static void charge(struct ds_producer *p, struct ds_batch *b, size_t n)
{
    b->cost += n;
    p->counts.buffered += n;
}

/* --- one more message ------------------------------------------------------------------------- */

static enum dstream_code refuse(struct dstream_error *err, enum dstream_code code, const char *why)
{
    return ds_error_set(err, code, "%s", why);
}

static enum dstream_code check(const struct ds_producer *p, const void *message, size_t n,
                               struct dstream_error *err)
{
    if (n == 0)
        return refuse(err, DSTREAM_ERR_ARGUMENT, "an empty message cannot be appended");
    if (n > p->c.max_batch_bytes || (p->json && n + 2 > p->c.max_batch_bytes))
        return ds_error_set(err, DSTREAM_ERR_LIMIT,
                            "a message of %zu bytes is over the limit of %zu for a batch%s", n,
                            p->c.max_batch_bytes, p->json ? ", its brackets included" : "");
    if (p->json && !p->c.trusted && !ds_json_valid(message, n, p->c.limits.json_depth))
        return refuse(err, DSTREAM_ERR_INPUT, "the message is not one JSON value");
    return DSTREAM_OK;
}

/* Whether the open batch has room for it, its brackets and commas included. A message that is over
 * a limit that the server has taught us may still go alone. */
static bool has_room(const struct ds_producer *p, const struct ds_batch *b, size_t n)
{
    if (b->count == 0)
        return true;
    size_t more = p->json ? n + 2 : n;
    return b->count < p->c.max_batch_items && b->body.len + more <= p->batch_limit;
}

static bool room_for_end(struct ds_batch *b)
{
    uint32_t *ends = ds_grown(b->ends, &b->ends_cap, b->count, sizeof *ends);
    if (ends)
        b->ends = ends;
    return ends;
}

/* Room for the closing bracket is taken at once, so that sealing cannot fail. */
static bool add(const struct ds_producer *p, struct ds_batch *b, const void *message, size_t n)
{
    if (!room_for_end(b) || ds_buf_reserve(&b->body, p->json ? n + 2 : n) != DSTREAM_OK)
        return false;
    if (p->json)
        b->body.data[b->body.len++] = b->count == 0 ? '[' : ',';
    memcpy(b->body.data + b->body.len, message, n);
    b->body.len += n;
    b->ends[b->count++] = (uint32_t)b->body.len;
    b->bytes += n;
    return true;
}

/* The earlier run may have stored it. */
static void doubt_resubmitted(const struct ds_producer *p, struct ds_batch *b)
{
    b->ambiguous = p->c.resubmit;
    b->sent = p->c.resubmit ? 1 : 0;
}

void ds_batch_seal(struct ds_producer *p, int64_t now)
{
    struct ds_batch *b = p->last;
    if (!ds_batch_is_open(p))
        return;
    if (p->json)
        b->body.data[b->body.len++] = ']';
    b->state = DS_BATCH_QUEUED;
    b->sealed_at = now;
    doubt_resubmitted(p, b);
}

static struct ds_batch *open_batch(struct ds_producer *p, int64_t now)
{
    struct ds_batch *b = ds_batch_new(p);
    if (!b)
        return NULL;
    b->state = DS_BATCH_OPEN;
    b->first = p->next_id;
    b->opened_at = now;
    charge(p, b, sizeof *b);
    ds_batch_queue(p, b);
    return b;
}

/* An open batch always has a message. */
static bool take(struct ds_producer *p, const void *message, size_t n, uint64_t mark, int64_t now)
{
    if (ds_batch_is_open(p) && !has_room(p, p->last, n))
        ds_batch_seal(p, now);
    struct ds_batch *b = p->last, *before = b;
    if (ds_batch_is_open(p)) {
        if (!add(p, b, message, n))
            return false;
    } else {
        b = open_batch(p, now);
        if (!b)
            return false;
        if (!add(p, b, message, n)) {
            p->counts.buffered -= b->cost;
            p->last = before;
            *(before ? &before->next : &p->queue) = NULL;
            ds_batch_drop(p, b);
            return false;
        }
    }
    charge(p, b, n + MESSAGE_COST);
    b->mark = mark;
    p->next_id++;
    p->counts.taken++;
    p->counts.taken_bytes += n;
    if (b->count >= p->c.max_batch_items || b->body.len + (p->json ? 3 : 1) > p->batch_limit)
        ds_batch_seal(p, now);
    return true;
}

static enum dstream_code not_now(const struct ds_producer *p, struct dstream_error *err)
{
    if (p->closed)
        return refuse(err, DSTREAM_ERR_CLOSED, "the stream was closed by this producer");
    if (p->plan == DS_PLAN_STOP || (p->finished && p->cause.code != DSTREAM_OK)) {
        *err = p->error.code != DSTREAM_OK ? p->error : p->cause;
        return err->code;
    }
    if (p->closing)
        return refuse(err, DSTREAM_ERR_STATE, "this producer is closing the stream");
    if (p->detaching)
        return refuse(err, DSTREAM_ERR_STATE, "this producer is being detached");
    return DSTREAM_OK;
}

enum ds_append ds_producer_append(struct ds_producer *p, const void *message, size_t n,
                                  uint64_t mark, int64_t now, uint64_t *id,
                                  struct dstream_error *err)
{
    if (not_now(p, err) != DSTREAM_OK)
        return DS_APPEND_REFUSED;
    bool joins = ds_batch_is_open(p) && has_room(p, p->last, n);
    size_t cost = n + MESSAGE_COST + (joins ? 0 : sizeof(struct ds_batch));
    /* What is over the limit all by itself is taken when there is nothing else. */
    if (p->queue &&
        (p->counts.buffered > p->c.max_buffered || cost > p->c.max_buffered - p->counts.buffered)) {
        p->pressed = true;
        return DS_APPEND_AGAIN;
    }
    if (check(p, message, n, err) != DSTREAM_OK)
        return DS_APPEND_REFUSED;
    uint64_t mine = p->next_id;
    if (!take(p, message, n, mark, now)) {
        (void)refuse(err, DSTREAM_ERR_NOMEM, "no memory for a message");
        return DS_APPEND_REFUSED;
    }
    *id = mine;
    return DS_APPEND_TAKEN;
}

uint64_t ds_batch_mark(const struct ds_batch *b)
{
    return b->cut ? 0 : b->mark;
}

/* --- the verbs that end a batch --------------------------------------------------------------- */

uint64_t ds_producer_flush(struct ds_producer *p, int64_t now)
{
    ds_batch_seal(p, now);
    return p->next_id;
}

void ds_producer_detach(struct ds_producer *p, int64_t now, int64_t timeout)
{
    if (p->finished)
        return;
    ds_batch_seal(p, now);
    p->detach_at = timeout < 0 ? DS_NEVER : ds_later(now, timeout);
    p->detaching = true;
}

/* The last batch, where nobody has seen it yet: the close goes along with it. */
static bool close_along(struct ds_producer *p)
{
    struct ds_batch *b = p->last;
    if (!b || b->numbered || (b->state != DS_BATCH_OPEN && b->state != DS_BATCH_QUEUED))
        return false;
    b->close = true;
    return true;
}

bool ds_batch_add_close(struct ds_producer *p, int64_t now)
{
    if (close_along(p))
        return true;
    struct ds_batch *b = ds_batch_new(p);
    if (!b)
        return false;
    b->state = DS_BATCH_QUEUED;
    b->first = p->next_id;
    b->mark = p->last ? p->last->mark : p->mark;
    b->sealed_at = now;
    b->close = true;
    doubt_resubmitted(p, b);
    charge(p, b, sizeof *b);
    ds_batch_queue(p, b);
    return true;
}

enum dstream_code ds_producer_close_stream(struct ds_producer *p, const void *message, size_t n,
                                           uint64_t mark, bool force, int64_t now,
                                           struct dstream_error *err)
{
    if (p->closed || (p->closing && !p->finished))
        return DSTREAM_OK;
    enum dstream_code rc = not_now(p, err);
    if (rc == DSTREAM_OK && p->first_error.code != DSTREAM_OK && !force)
        rc = ds_error_set(err, DSTREAM_ERR_STATE,
                          "the stream is not closed, since a message was not written: %.380s",
                          p->first_error.message);
    if (rc == DSTREAM_OK && message)
        rc = check(p, message, n, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (message && !take(p, message, n, mark, now))
        return refuse(err, DSTREAM_ERR_NOMEM, "no memory for a message");
    if (!ds_batch_add_close(p, now))
        return refuse(err, DSTREAM_ERR_NOMEM, "no memory for a close");
    ds_batch_seal(p, now);
    p->closing = true;
    p->force = force;
    return DSTREAM_OK;
}

enum dstream_code ds_producer_restart(struct ds_producer *p, int64_t now, uint64_t unix_ms,
                                      struct dstream_error *err)
{
    enum dstream_code rc = not_now(p, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (p->c.resubmit)
        return refuse(err, DSTREAM_ERR_STATE, "what is resubmitted keeps its epoch");
    ds_batch_seal(p, now);
    p->restart_to = p->next_id;
    p->restart_due = true;
    p->restart_ms = unix_ms;
    return DSTREAM_OK;
}

/* --- splitting -------------------------------------------------------------------------------- */

static size_t start_of(const struct ds_producer *p, const struct ds_batch *b, uint64_t i)
{
    size_t frame = p->json ? 1 : 0;
    return (i > 0 ? b->ends[i - 1] : 0) + frame;
}

size_t ds_batch_half(const struct ds_producer *p, const struct ds_batch *b)
{
    uint64_t k = 1;
    size_t frame = p->json ? 1 : 0;
    while (k + 1 < b->count && b->ends[k - 1] < b->body.len / 2)
        k++;
    size_t one = b->ends[k - 1] + frame;
    size_t other = b->body.len - start_of(p, b, k) + frame;
    return one > other ? one : other;
}

/* How many messages from `from` on make a batch of at most `limit` bytes; at least one. */
static uint64_t fitting(const struct ds_producer *p, const struct ds_batch *b, uint64_t from,
                        size_t limit)
{
    size_t start = start_of(p, b, from), frame = p->json ? 2 : 0;
    uint64_t n = 1;
    while (from + n < b->count && b->ends[from + n] - start + frame <= limit)
        n++;
    return n;
}

/* A new batch of messages [from, from + n). */
static struct ds_batch *part(struct ds_producer *p, const struct ds_batch *b, uint64_t from,
                             uint64_t n)
{
    struct ds_batch *c = ds_batch_new(p);
    if (!c)
        return NULL;
    c->first = b->first + from;
    c->mark = b->mark;
    c->cut = b->cut || from + n < b->count;
    c->state = DS_BATCH_QUEUED;
    c->opened_at = b->opened_at;
    c->sealed_at = b->sealed_at;
    c->in_doubt = b->in_doubt;
    c->ambiguous = b->ambiguous;
    c->sent = b->sent;
    c->numbered = b->numbered;
    c->journalled = b->journalled;
    for (uint64_t i = from; i < from + n; i++) {
        size_t start = start_of(p, b, i);
        if (!add(p, c, b->body.data + start, b->ends[i] - start)) {
            ds_batch_drop(p, c);
            return NULL;
        }
    }
    if (p->json)
        c->body.data[c->body.len++] = ']';
    return c;
}

static struct ds_batch *parts(struct ds_producer *p, const struct ds_batch *b, size_t limit)
{
    struct ds_batch *head = NULL, **at = &head, *c = NULL;
    for (uint64_t from = 0; from < b->count; from += c->count) {
        c = part(p, b, from, fitting(p, b, from, limit));
        if (!c) {
            while (head) {
                c = head->next;
                ds_batch_drop(p, head);
                head = c;
            }
            return NULL;
        }
        *at = c;
        at = &c->next;
    }
    c->close = b->close;
    return head;
}

static void replace(struct ds_producer *p, struct ds_batch **at, struct ds_batch *head)
{
    struct ds_batch *b = *at, *c = head;
    p->counts.buffered -= b->cost;
    for (;; c = c->next) {
        charge(p, c, sizeof *c + c->bytes + c->count * MESSAGE_COST);
        if (!c->next)
            break;
    }
    c->next = b->next;
    if (p->last == b)
        p->last = c;
    *at = head;
    ds_batch_drop(p, b);
}

bool ds_batch_split_all(struct ds_producer *p, size_t limit)
{
    for (struct ds_batch **at = &p->queue; *at; at = &(*at)->next) {
        struct ds_batch *b = *at;
        /* Of what a journal does not list it would take in a part, and not say which. */
        bool sealed = b->state != DS_BATCH_OPEN && b->state != DS_BATCH_ACKED;
        if (!sealed || !b->ends || b->count < 2 || b->body.len <= limit ||
            (p->c.journal && !b->journalled))
            continue;
        struct ds_batch *head = parts(p, b, limit);
        if (!head)
            return false;
        replace(p, at, head);
    }
    return true;
}
