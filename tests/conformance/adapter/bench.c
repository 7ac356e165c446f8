/* SPDX-License-Identifier: Apache-2.0 */
/* Benchmark operations. The clock runs from the first request until the work is known to be done;
 * payloads are made before. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/conformance/adapter/adapter.h"

struct bench {
    struct command *c;
    struct command op;       /* the operation, as if it were a command of its own */
    int64_t began, ended;    /* ns */
    int64_t bytes, messages; /* -1: not measured */
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- payloads --------------------------------------------------------------------------------- */

/* So many bytes; for JSON an object of about that size. */
static struct text payload(const char *type, int64_t size)
{
    static const char head[] = "{\"data\":\"", tail[] = "\"}";
    struct text t = {.n = 0};
    size_t n = size > 0 ? (size_t)size : 0, frame = sizeof head + sizeof tail - 2;
    bool json = is_json_type(type);
    if (json)
        text_adds(&t, head);
    for (size_t left = !json ? n : n > frame ? n - frame : 0; left > 0; left--)
        text_add(&t, "x", 1);
    if (json)
        text_adds(&t, tail);
    return t;
}

/* --- calls ------------------------------------------------------------------------------------ */

/* Makes it and frees it. False: it has failed, and that is answered. */
static bool make(struct bench *b, dstream_call *call, struct text *offset)
{
    dstream_stream *s = stream_of(&b->op);
    bool good = s && dstream_call_run(call, s, time_left(&b->op)) == DSTREAM_OK;
    if (s && !good)
        fail_with(&b->op, dstream_call_cause(call), NULL);
    if (good && offset)
        text_adds(offset, dstream_call_offset(call));
    dstream_call_free(call);
    return good;
}

static dstream_call *new_call(enum dstream_call_kind kind, const char *type)
{
    dstream_call *call = dstream_call_new(kind);
    if (!call || (type && dstream_call_set_type(call, type) != DSTREAM_OK))
        abort();
    return call;
}

static bool set_body(struct bench *b, dstream_call *call, const struct text *body)
{
    enum dstream_code rc = dstream_call_set_body(call, body->p, body->n);
    if (rc != DSTREAM_OK)
        fail_code(&b->op, rc, "size");
    return rc == DSTREAM_OK;
}

/* Of a stream that somebody else has made, before the clock runs. */
static void learn_type(struct bench *b)
{
    const char *name = get_text(&b->op, "path", "");
    struct path *p = want_path(b->op.a, name);
    dstream_call *call = new_call(DSTREAM_CALL_HEAD, NULL);
    dstream_stream *s = p->type ? NULL : stream_of(&b->op);
    if (s && dstream_call_run(call, s, time_left(&b->op)) == DSTREAM_OK &&
        dstream_call_content_type(call)[0])
        set_path_type(b->op.a, name, dstream_call_content_type(call));
    dstream_call_free(call);
}

/* --- create, append --------------------------------------------------------------------------- */

static void bench_create(struct bench *b)
{
    const char *type = get_text(&b->op, "contentType", TYPE_DEFAULT);
    dstream_call *call = new_call(DSTREAM_CALL_CREATE, type);
    b->began = now_ns();
    if (!make(b, call, NULL))
        return;
    b->ended = now_ns();
    set_path_type(b->op.a, get_text(&b->op, "path", ""), type);
}

static void bench_append(struct bench *b)
{
    learn_type(b);
    struct text body = payload(type_of(&b->op), get_int(&b->op, "size", 0));
    dstream_call *call = new_call(DSTREAM_CALL_APPEND, type_of(&b->op));
    if (set_body(b, call, &body)) {
        b->began = now_ns();
        if (make(b, call, NULL))
            b->ended = now_ns();
        b->bytes = (int64_t)body.n;
    } else {
        dstream_call_free(call);
    }
    text_free(&body);
}

/* --- reading to the end ----------------------------------------------------------------------- */

static dstream_reader *open_reader(struct bench *b, dstream_options *o, const char *offset)
{
    dstream_reader *r = NULL;
    enum dstream_code rc = dstream_options_set_start(o, offset, 0);
    if (rc == DSTREAM_OK)
        rc = dstream_reader_open(&r, b->op.a->loop, b->op.url.p, o);
    if (rc != DSTREAM_OK)
        fail_code(&b->op, rc, "the reader");
    dstream_options_free(o);
    return r;
}

/* Each message is parsed, as one does who wants what is in it. */
static bool parse_messages(struct bench *b, const dstream_batch *batch, struct text *compact)
{
    struct pool pool = {NULL};
    bool good = true;
    for (size_t i = 0; good && i < dstream_batch_count(batch); i++) {
        size_t n;
        const char *why, *p = dstream_batch_message(batch, i, &n);
        good = json_parse(&pool, p, n, &why);
        if (!good)
            fail(&b->op, "PARSE_ERROR", 0, "message %zu: %s", i, why);
        compact->n = 0;
        json_add_compact(compact, p, n);
        b->bytes += (int64_t)compact->n;
    }
    pool_free(&pool);
    return good;
}

/* Behind the messages of an answer were commas and brackets where now are line ends. */
static int64_t body_size(const dstream_batch *batch)
{
    size_t n;
    (void)dstream_batch_data(batch, &n);
    bool array = dstream_batch_flags(batch) & DSTREAM_BATCH_JSON;
    return (int64_t)n + (array && !(dstream_batch_flags(batch) & DSTREAM_BATCH_PARTIAL));
}

static void read_all(struct bench *b, dstream_reader *r, bool parse)
{
    struct text compact = {.n = 0};
    const dstream_batch *batch;
    enum dstream_next what;
    bool good = true;
    b->began = now_ns();
    b->bytes = 0;
    while (good &&
           (what = dstream_reader_next(r, time_left(&b->op), &batch)) == DSTREAM_NEXT_BATCH) {
        b->messages += parse ? (int64_t)dstream_batch_count(batch) : 0;
        if (parse)
            good = parse_messages(b, batch, &compact);
        else
            b->bytes += body_size(batch);
    }
    b->ended = now_ns();
    if (good && what == DSTREAM_NEXT_TIMEOUT)
        fail_code(&b->op, DSTREAM_ERR_TIMEOUT, "the end was not reached");
    else if (good && what == DSTREAM_NEXT_ERROR)
        fail_with(&b->op, dstream_reader_error(r), NULL);
    text_free(&compact);
}

/* Answers of any size. */
static dstream_options *whole_stream(struct bench *b)
{
    dstream_options *o = new_options(b->op.a);
    dstream_options_set_parts(o, true);
    return o;
}

static void bench_read(struct bench *b)
{
    dstream_reader *r = open_reader(b, whole_stream(b), get_text(&b->op, "offset", "-1"));
    if (r)
        read_all(b, r, false);
    dstream_reader_free(r);
}

static void bench_throughput_read(struct bench *b)
{
    dstream_reader *r = open_reader(b, whole_stream(b), "-1");
    b->messages = 0;
    if (r)
        read_all(b, r, true);
    dstream_reader_free(r);
}

/* --- there and back --------------------------------------------------------------------------- */

struct trip {
    struct bench *b;
    bool asked; /* the live request is on its way */
    bool appended;
    bool ended;
    int64_t came;
};

static enum dstream_code on_request(void *ctx, dstream_request *q, bool refused)
{
    struct trip *t = ctx;
    (void)q;
    t->asked = true;
    return refused ? DSTREAM_ERR_AUTH : DSTREAM_OK;
}

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *batch)
{
    struct trip *t = ctx;
    size_t n;
    (void)r;
    (void)dstream_batch_data(batch, &n);
    t->came += (int64_t)(n - dstream_batch_count(batch)); /* without the line ends */
    return DSTREAM_FLOW_NEXT;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct trip *t = ctx;
    (void)r;
    (void)code;
    t->ended = true;
}

static void on_appended(void *ctx, dstream_call *call)
{
    struct trip *t = ctx;
    (void)call;
    t->appended = true;
}

static dstream_reader *open_live(struct trip *t, const char *type, const char *offset)
{
    struct command *op = &t->b->op;
    dstream_options *o = new_options(op->a);
    bool sse = strcmp(get_text(op, "live", "long-poll"), "sse") == 0;
    if (dstream_options_set_type(o, type) != DSTREAM_OK)
        abort();
    dstream_options_set_live(o, sse ? DSTREAM_LIVE_SSE : DSTREAM_LIVE_LONG_POLL);
    dstream_options_set_live_at_once(o, true);
    dstream_options_set_on_request(o, on_request, t);
    return open_reader(t->b, o, offset[0] ? offset : "now");
}

/* Appends once the live request is on its way, and waits until as much as that has come. */
static void wait_for_payload(struct trip *t, dstream_reader *r, dstream_call *call, int64_t size)
{
    struct command *op = &t->b->op;
    bool sent = false;
    enum dstream_code rc = dstream_reader_start(r, on_batch, on_end, t);
    while (rc == DSTREAM_OK && !t->ended && (!t->appended || t->came < size)) {
        if (t->asked && !sent)
            rc = dstream_call_start(call, stream_of(op), on_appended, t);
        sent |= t->asked;
        if (time_left(op) == 0)
            rc = DSTREAM_ERR_TIMEOUT;
        if (rc == DSTREAM_OK)
            rc = dstream_loop_turn(op->a->loop, time_left(op));
        if (t->appended && dstream_error_code(dstream_call_error(call)) != DSTREAM_OK)
            break;
    }
    t->b->ended = now_ns();
    if (t->appended && dstream_error_code(dstream_call_error(call)) != DSTREAM_OK)
        fail_with(op, dstream_call_cause(call), NULL);
    else if (t->ended)
        fail_with(op, dstream_reader_error(r), NULL);
    else if (rc != DSTREAM_OK)
        fail_code(op, rc, "the way there and back");
}

static void bench_roundtrip(struct bench *b)
{
    const char *type = get_text(&b->op, "contentType", TYPE_DEFAULT);
    struct text body = payload(type, get_int(&b->op, "size", 0)), offset = {.n = 0};
    dstream_call *create = new_call(DSTREAM_CALL_CREATE, type);
    dstream_call *append = new_call(DSTREAM_CALL_APPEND, type);
    struct trip t = {.b = b};
    dstream_reader *r = NULL;
    if (set_body(b, append, &body)) {
        b->began = now_ns();
        if (make(b, create, &offset))
            r = open_live(&t, type, offset.p);
        if (r)
            wait_for_payload(&t, r, append, (int64_t)body.n);
        b->bytes = (int64_t)body.n + t.came;
    } else {
        dstream_call_free(create);
    }
    dstream_reader_free(r);
    dstream_call_free(append);
    text_free(&body);
    text_free(&offset);
}

/* --- writing as fast as it goes --------------------------------------------------------------- */

/* "": it is there, of the type that is known or the default. */
static bool create_for_throughput(struct bench *b)
{
    dstream_stream *s = stream_of(&b->op);
    dstream_call *call = new_call(DSTREAM_CALL_CREATE, type_of(&b->op));
    bool good = s && dstream_call_run(call, s, time_left(&b->op)) == DSTREAM_OK;
    bool other = s && dstream_error_code(dstream_call_error(call)) == DSTREAM_ERR_CONFLICT;
    if (s && !good && !other)
        fail_with(&b->op, dstream_call_cause(call), NULL);
    dstream_call_free(call);
    return good || other;
}

static dstream_producer *open_producer(struct bench *b)
{
    dstream_options *o = new_options(b->op.a);
    int64_t at_once = get_int(&b->op, "concurrency", 5);
    dstream_producer *p = NULL;
    dstream_options_set_in_flight(o, at_once < 1 ? 1 : at_once > 64 ? 64 : (unsigned)at_once);
    enum dstream_code rc =
        dstream_producer_open(&p, b->op.a->loop, b->op.url.p, type_of(&b->op), NULL, o);
    if (rc != DSTREAM_OK)
        fail_code(&b->op, rc, "the producer");
    dstream_options_free(o);
    return p;
}

/* The loop is turned now and then, so that requests go out while more is appended. */
static bool append_all(struct bench *b, dstream_producer *p, const struct text *body, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (dstream_producer_append(p, body->p, body->n, time_left(&b->op), NULL) !=
            DSTREAM_APPEND_TAKEN) {
            fail_with(&b->op, dstream_producer_refusal(p), NULL);
            return false;
        }
        if (i % 64 == 0)
            (void)dstream_loop_turn(b->op.a->loop, 0);
    }
    return true;
}

static void bench_throughput_append(struct bench *b)
{
    learn_type(b);
    int64_t count = get_int(&b->op, "count", 0), size = get_int(&b->op, "size", 0);
    struct text body = payload(type_of(&b->op), size);
    b->began = now_ns();
    dstream_producer *p = create_for_throughput(b) ? open_producer(b) : NULL;
    if (p && append_all(b, p, &body, count)) {
        enum dstream_code rc = dstream_producer_flush(p, time_left(&b->op), NULL);
        b->ended = now_ns();
        if (rc != DSTREAM_OK)
            fail_code(&b->op, rc, "the producer");
    }
    b->bytes = count * (int64_t)body.n;
    b->messages = count;
    if (p)
        (void)dstream_producer_detach(p, 0);
    dstream_producer_free(p);
    text_free(&body);
}

/* --- the command ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*run)(struct bench *b);
} operations[] = {
    {"append", bench_append},
    {"read", bench_read},
    {"create", bench_create},
    {"roundtrip", bench_roundtrip},
    {"throughput_append", bench_throughput_append},
    {"throughput_read", bench_throughput_read},
};

static void answer(struct bench *b)
{
    struct command *c = b->c;
    char ns[32];
    snprintf(ns, sizeof ns, "%" PRId64, b->ended - b->began);
    reply(c);
    reply_text(c, "iterationId", get_text(c, "iterationId", ""));
    reply_text(c, "durationNs", ns);
    struct text *out = reply_member(c, "metrics");
    text_adds(out, "{");
    if (b->bytes >= 0)
        text_addf(out, "\"bytesTransferred\":%" PRId64, b->bytes);
    if (b->messages >= 0)
        text_addf(out, ",\"messagesProcessed\":%" PRId64, b->messages);
    text_adds(out, "}");
}

void run_benchmark(struct command *c)
{
    struct bench b = {.c = c, .bytes = -1, .messages = -1};
    size_t i = 0, all = sizeof operations / sizeof *operations;
    b.op = (struct command){.a = c->a, .type = c->type, .in = json_get(c->in, "operation")};
    b.op.deadline = c->deadline - ANSWER_MS + BENCH_MS;
    const char *op = get_text(&b.op, "op", ""), *path = get_text(&b.op, "path", NULL);
    while (i < all && strcmp(operations[i].name, op) != 0)
        i++;
    if (i == all) {
        fail(c, "NOT_SUPPORTED", 0, "there is no operation %s", op);
        return;
    }
    if (!path) {
        fail(c, INVALID_ARGUMENT, 0, "the operation has no path");
        return;
    }
    text_addf(&b.op.url, "%s%s", c->a->server, path);
    operations[i].run(&b);
    if (b.op.out.n > 0)
        c->out = b.op.out;
    else
        answer(&b);
    text_free(&b.op.url);
}
