/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/adapter/adapter.h"

#define DELIVERY_MS 18000 /* without progress: sooner than the answer is due */
#define BATCH_BYTES ((size_t)1 << 20)
#define ALONE_BYTES ((size_t)1 << 30) /* for one that travels alone anyway */

/* What came of the last batch. */
struct last {
    char offset[1025];
    bool duplicate, unknown;
    uint64_t sequence, epoch;
};

static void on_result(void *ctx, dstream_producer *p, const dstream_result *r)
{
    struct last *last = ctx;
    (void)p;
    last->unknown |= dstream_result_fate(r) == DSTREAM_FATE_UNKNOWN;
    if (dstream_result_fate(r) != DSTREAM_FATE_STORED)
        return;
    strcpy(last->offset, dstream_result_offset(r));
    last->duplicate = dstream_result_duplicate(r);
    last->sequence = dstream_result_sequence(r);
    last->epoch = dstream_result_epoch(r);
}

/* --- made and found --------------------------------------------------------------------------- */

/* Without a claim the same messages may have been written by an earlier producer of this name. */
static enum dstream_code set_epoch(struct command *c, dstream_options *o)
{
    unsigned how = get_bool(c, "autoClaim") ? DSTREAM_EPOCH_CLAIM : DSTREAM_EPOCH_RESUBMIT;
    return dstream_options_set_epoch(o, (uint64_t)get_int(c, "epoch", 0), how);
}

/* NULL: it has failed, and that is answered. */
static dstream_producer *open_producer(struct command *c, dstream_options *o)
{
    dstream_producer *p = NULL;
    dstream_options_set_delivery_timeout(o, DELIVERY_MS);
    enum dstream_code rc = set_epoch(c, o);
    if (rc == DSTREAM_OK)
        rc = dstream_producer_open(&p, c->a->loop, c->url.p, type_of(c),
                                   get_text(c, "producerId", ""), o);
    if (rc != DSTREAM_OK)
        fail_code(c, rc, "the producer");
    return p;
}

static struct cached *find_cached(struct command *c)
{
    const char *path = get_text(c, "path", ""), *id = get_text(c, "producerId", "");
    struct cached *x = c->a->producers;
    while (x && (strcmp(x->path, path) != 0 || strcmp(x->id, id) != 0 ||
                 x->epoch != get_int(c, "epoch", 0)))
        x = x->next;
    return x;
}

/* NULL: it has failed, and that is answered. */
static struct cached *want_cached(struct command *c)
{
    struct cached *x = find_cached(c);
    if (x)
        return x;
    dstream_options *o = new_options(c->a);
    dstream_options_set_in_flight(o, 1);
    dstream_options_set_linger(o, 0);
    dstream_options_set_batch(o, ALONE_BYTES, SIZE_MAX);
    dstream_producer *p = open_producer(c, o);
    dstream_options_free(o);
    if (!p)
        return NULL;
    x = take_memory(sizeof *x);
    x->path = copy_text(get_text(c, "path", ""));
    x->id = copy_text(get_text(c, "producerId", ""));
    x->epoch = get_int(c, "epoch", 0);
    x->producer = p;
    x->next = c->a->producers;
    c->a->producers = x;
    return x;
}

/* --- failures --------------------------------------------------------------------------------- */

static void fail_ended(struct command *c, dstream_producer *p, enum dstream_code code)
{
    const dstream_error *e = dstream_producer_cause(p);
    uint64_t epoch = dstream_producer_count(p, DSTREAM_COUNT_SERVER_EPOCH);
    char more[64];
    snprintf(more, sizeof more, "{\"currentEpoch\":%" PRIu64 "}", epoch);
    if (dstream_error_code(e) == DSTREAM_OK)
        fail_code(c, code, "the producer");
    else
        fail_with(c, e, dstream_error_status(e) == 403 && epoch > 0 ? more : NULL);
}

/* A message that was not even taken. An empty one the library does not send: a server would say
 * 400. */
static void fail_refused(struct command *c, dstream_producer *p)
{
    const dstream_error *e = dstream_producer_refusal(p);
    if (dstream_producer_phase(p) == DSTREAM_PRODUCER_CLOSED)
        fail(c, "STREAM_CLOSED", 409, "the producer has closed the stream");
    else if (dstream_producer_phase(p) >= DSTREAM_PRODUCER_FENCED)
        fail_ended(c, p, dstream_error_code(e));
    else if (dstream_error_code(e) == DSTREAM_ERR_ARGUMENT)
        fail(c, "UNEXPECTED_STATUS", 400, "there is nothing to append");
    else
        fail_with(c, e, NULL);
}

/* A producer that has ended cannot go on. Another one may take its place where nothing of it is
 * stored, or where it takes another epoch; else its numbers would be taken for those that are. */
static void drop_failed(struct command *c, struct cached *x)
{
    if (dstream_producer_phase(x->producer) < DSTREAM_PRODUCER_FENCED)
        return;
    if (get_bool(c, "autoClaim") || dstream_producer_count(x->producer, DSTREAM_COUNT_STORED) == 0)
        forget_producer(c->a, x);
}

/* --- the one that lives on -------------------------------------------------------------------- */

/* False: it has failed, and that is answered. */
typedef bool job(struct command *c, dstream_producer *p);

static bool try_cached(struct command *c, struct cached *x, job *f, struct last *last)
{
    *last = (struct last){.offset = ""};
    dstream_producer_on_result(x->producer, on_result, last);
    bool good = f(c, x->producer);
    dstream_producer_on_result(x->producer, NULL, NULL);
    return good;
}

/* One that has written does not claim again once another has taken over, lest the two go on like
 * that for ever. Here it is to, for each command: what was refused is for one that begins anew. */
static bool is_overtaken(const struct command *c, const struct cached *x, const struct last *last)
{
    return get_bool(c, "autoClaim") && !last->unknown &&
           dstream_producer_phase(x->producer) == DSTREAM_PRODUCER_FENCED;
}

/* False: it has failed, and that is answered. */
static bool on_cached(struct command *c, job *f, struct last *last)
{
    struct cached *x = want_cached(c);
    bool good = x && try_cached(c, x, f, last);
    if (x && !good && is_overtaken(c, x, last)) {
        forget_producer(c->a, x);
        x = want_cached(c);
        good = x && try_cached(c, x, f, last);
    }
    if (x)
        drop_failed(c, x);
    return good;
}

/* --- one message ------------------------------------------------------------------------------ */

static void reply_sequence(struct command *c, const struct last *last)
{
    reply_int(c, "producerEpoch", (int64_t)last->epoch);
    reply_int(c, "producerSeq", (int64_t)last->sequence);
}

/* False: it has failed, and that is answered. */
static bool write_one(struct command *c, dstream_producer *p, const struct json *data)
{
    enum dstream_append what = dstream_producer_append(p, data->p, data->n, time_left(c), NULL);
    if (what == DSTREAM_APPEND_REFUSED)
        fail_refused(c, p);
    else if (what == DSTREAM_APPEND_AGAIN)
        fail_code(c, DSTREAM_ERR_TIMEOUT, "the producer is busy");
    return what == DSTREAM_APPEND_TAKEN;
}

static bool flush(struct command *c, dstream_producer *p)
{
    enum dstream_code rc = dstream_producer_flush(p, time_left(c), NULL);
    if (rc != DSTREAM_OK)
        fail_ended(c, p, rc);
    return rc == DSTREAM_OK;
}

static bool append_one(struct command *c, dstream_producer *p)
{
    return write_one(c, p, json_get(c->in, "data")) && flush(c, p);
}

void run_producer_append(struct command *c)
{
    struct last last;
    if (on_cached(c, append_one, &last)) {
        reply(c);
        reply_int(c, "status", 200);
        if (last.offset[0])
            reply_text(c, "offset", last.offset);
        reply_bool(c, "duplicate", last.duplicate);
        reply_sequence(c, &last);
    }
}

/* --- many at once ----------------------------------------------------------------------------- */

/* Either all of them go into one request, if it can hold them, or each has its own. */
static dstream_options *batch_options(struct command *c, const struct json *items)
{
    dstream_options *o = new_options(c->a);
    int64_t in_flight = get_int(c, "maxInFlight", 1);
    bool together = in_flight <= 1;
    size_t most = BATCH_BYTES;
    for (const struct json *i = items->first; i; i = i->next)
        most = i->n + 2 > most ? i->n + 2 : most; /* and the brackets */
    dstream_options_set_in_flight(o, together ? 1 : in_flight > 64 ? 64 : (unsigned)in_flight);
    dstream_options_set_linger(o, together ? 1000 : 0);
    dstream_options_set_batch(o, most, together ? SIZE_MAX : 1);
    return o;
}

void run_producer_batch(struct command *c)
{
    const struct json *items = json_get(c->in, "items");
    struct last last = {.offset = ""};
    dstream_options *o = batch_options(c, items);
    dstream_producer *p = open_producer(c, o);
    const struct json *i = items->first;
    dstream_options_free(o);
    if (!p)
        return;
    dstream_producer_on_result(p, on_result, &last);
    while (i && write_one(c, p, i))
        i = i->next;
    if (!i && flush(c, p)) {
        reply(c);
        reply_int(c, "status", 200);
        reply_sequence(c, &last);
    }
    (void)dstream_producer_detach(p, 0);
    dstream_producer_free(p);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Closing once more says what the first time has come to. */
static bool close_stream(struct command *c, dstream_producer *p)
{
    const struct json *data = json_get(c->in, "data");
    bool body = data && data->n > 0;
    if (dstream_producer_final_offset(p))
        return true;
    enum dstream_code rc =
        dstream_producer_start_close_stream(p, body ? data->p : NULL, body ? data->n : 0, false);
    if (rc != DSTREAM_OK) {
        fail_refused(c, p);
        return false;
    }
    rc = dstream_producer_close_stream(p, NULL, 0, false, time_left(c)); /* goes on waiting */
    if (!dstream_producer_final_offset(p))
        fail_ended(c, p, rc);
    return dstream_producer_final_offset(p);
}

void run_producer_close(struct command *c)
{
    struct last last;
    if (on_cached(c, close_stream, &last)) {
        reply(c);
        reply_int(c, "status", 200);
        reply_text(c, "finalOffset", dstream_producer_final_offset(find_cached(c)->producer));
    }
}

void run_producer_detach(struct command *c)
{
    struct cached *x = find_cached(c);
    bool good = !x || dstream_producer_phase(x->producer) >= DSTREAM_PRODUCER_DETACHED;
    if (!good) {
        enum dstream_code rc = dstream_producer_detach(x->producer, time_left(c));
        good = rc == DSTREAM_OK;
        if (!good)
            fail_ended(c, x->producer, rc);
    }
    if (x)
        forget_producer(c->a, x);
    if (good) {
        reply(c);
        reply_int(c, "status", 200);
    }
}
