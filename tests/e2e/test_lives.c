/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lives of a producer of the library on real connections, behind a proxy that does to its requests
 * what networks and servers do to them. With nothing but that, every message is stored once and in
 * order. Where others meddle as well, every fate that was told is true.
 *
 * A seed is a life; one that fails is named, and DSTREAM_SEED=SEED repeats it alone. DSTREAM_SOAK=N
 * lives N times as many.
 */
#include "config.h"

#include "tests/e2e/fault_proxy.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"
#include "tests/e2e/reading.h"

#include <dstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/reader.h"

#define MESSAGES 150
#define ID       "p"

enum mishap {
    NOTHING,
    WIPED,   /* the stream is deleted and made anew: the server knows of no producer any more */
    CLOSED,  /* another writer closes it */
    CLAIMED, /* another writer takes over under our id */
    USED,    /* nobody says that the epoch was never used before */
    MISHAPS
};

/* What a seed comes to, and how far it got. */
struct life {
    uint64_t seed, state;
    const char *type, *url;
    bool fixed, closes;
    enum mishap mishap;
    uint64_t at; /* how many messages have their fate when it happens */
    struct fault_proxy *proxy;
    dstream_loop *loop;
    dstream_producer *producer;
    enum dstream_fate fates[MESSAGES];
    uint64_t settled;
    uint64_t acked_epoch; /* of what was acknowledged last */
    bool happened, ended;
    struct e2e_bytes before; /* what the stream held that was deleted */
    bool was_closed;         /* it was */
};

/* What all lives of a test have seen. */
struct tally {
    unsigned lives, happened, stored, not_written, unknown;
    unsigned befell[FAULTS];
};

static uint64_t below(struct life *l, uint64_t n)
{
    return (e2e_draw(&l->state) >> 16) % n;
}

/* --- messages --------------------------------------------------------------------------------- */

/* Its number, and as many bytes as that says. */
static const char *text_of(const struct life *l, uint64_t i)
{
    static char text[512];
    int pad = (int)((l->seed + i * 37) % 200);
    snprintf(text, sizeof text, "{\"n\":%llu,\"pad\":\"%0*d\"}", (unsigned long long)i, pad, 0);
    return text;
}

static const char *what(struct life *l)
{
    char *story = fault_proxy_story(l->proxy);
    const char *all = e2e_printf("DSTREAM_SEED=%llu (%s, epoch %s, mishap %d at %llu)\n%s",
                                 (unsigned long long)l->seed, l->type, l->fixed ? "fixed" : "auto",
                                 l->mishap, (unsigned long long)l->at, story);
    free(story);
    return all;
}

/* How often each message is in the stream; they are there whole, and in order. */
static void count(struct life *l, struct e2e_bytes data, unsigned times[MESSAGES])
{
    uint64_t last = 0;
    for (const char *p = data.p; (p = strstr(p, "{\"n\":")); p++) {
        uint64_t n = strtoull(p + 5, NULL, 10);
        cr_assert_lt(n, MESSAGES, "%s", what(l));
        const char *want = text_of(l, n);
        cr_assert_eq(strncmp(p, want, strlen(want)), 0, "message %llu is %.100s: %s",
                     (unsigned long long)n, p, what(l));
        cr_assert_geq(n, last, "message %llu comes behind %llu: %s", (unsigned long long)n,
                      (unsigned long long)last, what(l));
        times[n]++;
        last = n;
    }
}

/* --- what others do --------------------------------------------------------------------------- */

static void claim(struct life *l)
{
    uint64_t epoch = dstream_producer_count(l->producer, DSTREAM_COUNT_EPOCH) + 5000;
    const char *const headers[] = {
        e2e_printf("Content-Type: %s", l->type), "Producer-Id: " ID, "Producer-Seq: 0",
        e2e_printf("Producer-Epoch: %llu", (unsigned long long)epoch), NULL};
    struct e2e_answer a = e2e_http("POST", l->url, headers, e2e_text("\"rival\"\n"));
    cr_assert_eq(a.status, 200, "%ld %s: %s", a.status, a.body.p, what(l));
}

static void meddle(struct life *l)
{
    /* A server that has forgotten all stores number 0 again, whoever sent it when: that is beyond
     * any client. So it forgets only what is past that number. */
    bool past = dstream_producer_count(l->producer, DSTREAM_COUNT_EPOCH) == l->acked_epoch;
    if (l->ended || l->happened || l->settled < l->at || (l->mishap == WIPED && !past))
        return;
    fault_proxy_freeze(l->proxy);
    l->happened = true;
    switch (l->mishap) {
    case WIPED:
        l->before = e2e_get(l->url, "-1");
        l->was_closed = e2e_http("HEAD", l->url, NULL, (struct e2e_bytes){0}).closed;
        e2e_delete(l->url);
        e2e_create(l->url, l->type);
        break;
    case CLOSED:
        e2e_close(l->url);
        break;
    case CLAIMED:
        claim(l);
        break;
    case NOTHING:
    case USED:
    case MISHAPS:
        l->happened = false;
        break;
    }
    fault_proxy_thaw(l->proxy);
}

/* --- a life ----------------------------------------------------------------------------------- */

static void on_result(void *ctx, dstream_producer *p, const dstream_result *r)
{
    struct life *l = ctx;
    (void)p;
    cr_assert_eq(dstream_result_first(r), l->settled, "%s", what(l));
    for (uint64_t i = 0; i < dstream_result_count(r); i++)
        l->fates[l->settled++] = dstream_result_fate(r);
    if (dstream_result_fate(r) == DSTREAM_FATE_STORED)
        l->acked_epoch = dstream_result_epoch(r);
    cr_assert_not(dstream_result_maybe_duplicate(r), "%s", what(l));
}

static void on_end(void *ctx, dstream_producer *p, enum dstream_code code)
{
    struct life *l = ctx;
    (void)p, (void)code;
    l->ended = true;
}

static void draw(struct life *l, bool others)
{
    static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};
    l->state = (l->seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    l->type = types[below(l, 3)];
    l->fixed = below(l, 3) == 0;
    l->closes = below(l, 3) == 0;
    l->mishap = others ? (enum mishap)(1 + below(l, MISHAPS - 1)) : NOTHING;
    l->at = below(l, MESSAGES);
    l->url = e2e_url(e2e_printf("s%llu", (unsigned long long)l->seed));
}

static void open_producer(struct life *l)
{
    struct ds_limits limits = ds_limits_default();
    dstream_options *o = dstream_options_new();
    limits.backoff_base = 1;
    limits.backoff_max = 8;
    ds_options_set_limits(o, &limits);
    dstream_options_set_linger(o, (int64_t)below(l, 2));
    dstream_options_set_batch(o, 2048, 1 + below(l, 8));
    dstream_options_set_in_flight(o, 1 + (unsigned)below(l, 8));
    dstream_options_set_buffer(o, below(l, 2) ? 4096 : 1 << 20);
    if (l->mishap == USED)
        dstream_options_set_epoch(o, 3, 0);
    else if (l->fixed)
        dstream_options_set_epoch(o, 3, DSTREAM_EPOCH_FRESH);
    const char *url =
        e2e_url_at(fault_proxy_url(l->proxy), e2e_printf("s%llu", (unsigned long long)l->seed));
    cr_assert_eq(dstream_producer_open(&l->producer, l->loop, url, l->type, ID, o), DSTREAM_OK);
    dstream_options_free(o);
    dstream_producer_on_result(l->producer, on_result, l);
    dstream_producer_on_end(l->producer, on_end, l);
}

static void turn(struct life *l, int64_t ms)
{
    cr_assert_eq(dstream_loop_turn(l->loop, ms), DSTREAM_OK);
    meddle(l);
}

/* False where the producer has failed. Bytes have their own end, since nothing is left between. */
static bool append(struct life *l, uint64_t i)
{
    const char *text = e2e_printf("%s\n", text_of(l, i));
    size_t n = strlen(text) - (strcmp(l->type, TYPE_JSON) == 0 ? 1 : 0);
    for (;;) {
        enum dstream_append a = dstream_producer_append(l->producer, text, n, 0, NULL);
        if (a != DSTREAM_APPEND_AGAIN)
            return a == DSTREAM_APPEND_TAKEN;
        turn(l, 100);
    }
}

static void write_all(struct life *l)
{
    int64_t limit = e2e_now() + E2E_MS;
    uint64_t i = 0;
    while (i < MESSAGES && append(l, i)) {
        i++;
        while (below(l, 3) == 0)
            turn(l, 0);
    }
    cr_assert_eq(dstream_producer_count(l->producer, DSTREAM_COUNT_TAKEN), i, "%s", what(l));
    if (!l->closes ||
        dstream_producer_start_close_stream(l->producer, NULL, 0, false) != DSTREAM_OK)
        dstream_producer_start_detach(l->producer, -1);
    while (!l->ended) {
        cr_assert_lt(e2e_now(), limit, "it does not end: %s", what(l));
        turn(l, 100);
    }
    for (; i < MESSAGES; i++)
        l->fates[i] = DSTREAM_FATE_NOT_WRITTEN;
}

/* --- its truth -------------------------------------------------------------------------------- */

/* Each fate against what the stream holds; and nothing is stored behind what was not. */
static void check_fates(struct life *l, const unsigned times[MESSAGES], struct tally *t)
{
    bool broken = false;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        const char *who =
            e2e_printf("message %llu, %u times there", (unsigned long long)i, times[i]);
        switch (l->fates[i]) {
        case DSTREAM_FATE_STORED:
            cr_assert_eq(times[i], 1, "%s, told to be stored: %s", who, what(l));
            cr_assert_not(broken, "%s, told to be stored behind what was not: %s", who, what(l));
            t->stored++;
            break;
        case DSTREAM_FATE_NOT_WRITTEN:
            cr_assert_eq(times[i], 0, "%s, told not to be written: %s", who, what(l));
            broken = true;
            t->not_written++;
            break;
        case DSTREAM_FATE_UNKNOWN:
            cr_assert_leq(times[i], 1, "%s, told to be unknown: %s", who, what(l));
            t->unknown++;
            break;
        }
    }
}

/* It may only end by what has happened. */
static void check_end(struct life *l)
{
    static const enum dstream_code codes[MISHAPS] = {[NOTHING] = DSTREAM_OK,
                                                     [WIPED] = DSTREAM_ERR_STATE_LOST,
                                                     [CLOSED] = DSTREAM_ERR_CLOSED,
                                                     [CLAIMED] = DSTREAM_ERR_FENCED,
                                                     [USED] = DSTREAM_ERR_OUTCOME_UNKNOWN};
    const dstream_error *e = dstream_producer_error(l->producer);
    enum dstream_code code = dstream_error_code(e);
    uint64_t bad = 0;
    for (uint64_t i = 0; i < MESSAGES; i++)
        bad += l->fates[i] != DSTREAM_FATE_STORED;
    if (l->mishap == NOTHING || (!l->happened && l->mishap != USED))
        cr_assert_eq(code, DSTREAM_OK, "%s: %s", dstream_error_message(e), what(l));
    else if (code != DSTREAM_ERR_OUTCOME_UNKNOWN && code != DSTREAM_OK)
        cr_assert_eq(code, codes[l->mishap], "%s: %s", dstream_error_message(e), what(l));
    if (code == DSTREAM_OK)
        cr_assert_eq(bad, 0, "%s", what(l));
    else if (l->mishap == WIPED && !l->fixed)
        cr_assert_eq(code, DSTREAM_ERR_OUTCOME_UNKNOWN, "%s: %s", dstream_error_message(e),
                     what(l)); /* what is in no doubt is numbered anew */
}

/* Where the stream is, by itself and by the producer. */
static void check_offset(struct life *l)
{
    struct e2e_answer a = e2e_http("HEAD", l->url, NULL, (struct e2e_bytes){0});
    bool closed = l->closes || (l->mishap == CLOSED && l->happened);
    cr_assert_eq(a.closed || l->was_closed, closed, "closed: %d, %s", a.closed, what(l));
    if (l->closes && !l->was_closed)
        cr_assert_str_eq(dstream_producer_final_offset(l->producer), a.next, "%s", what(l));
    const char *offset = dstream_producer_offset(l->producer);
    if (!l->happened && offset[0]) /* an answer to what was there already does not tell it */
        cr_assert_str_eq(offset, a.next, "%s", what(l));
}

static void check(struct life *l, struct tally *t)
{
    unsigned times[MESSAGES] = {0};
    struct e2e_bytes all = {0};
    e2e_add(&all, l->before.p, l->before.n);
    struct e2e_bytes now = e2e_get(l->url, "-1");
    e2e_add(&all, now.p, now.n);
    count(l, all, times);
    check_fates(l, times, t);
    check_end(l);
    if (dstream_error_code(dstream_producer_error(l->producer)) == DSTREAM_OK)
        check_offset(l);
    struct fault_counts c = fault_proxy_counts(l->proxy);
    for (size_t f = 0; f < FAULTS; f++)
        t->befell[f] += c.befell[f];
    t->lives++;
    t->happened += l->happened;
}

static void live(uint64_t seed, bool others, struct tally *t)
{
    struct life l = {.seed = seed};
    draw(&l, others);
    e2e_create(l.url, l.type);
    struct fault_plan plan = fault_everything(seed, 10 + (unsigned)below(&l, 40));
    plan.hold_ms = 5;
    l.proxy = fault_proxy_start(e2e_base(), &plan);
    l.loop = dstream_loop_new();
    open_producer(&l);
    write_all(&l);
    fault_proxy_settle(l.proxy); /* what comes late has come */
    check(&l, t);
    cr_assert_eq(dstream_producer_free(l.producer), 0);
    dstream_loop_free(l.loop);
    fault_proxy_stop(l.proxy);
    e2e_delete(l.url);
}

/* So many fixed seeds and a fresh one; of more than that, all others are fresh. */
static void lives(unsigned fixed, bool others, struct tally *t)
{
    *t = (struct tally){0};
    uint64_t fresh = e2e_fresh_seed();
    if (getenv("DSTREAM_SEED")) {
        live(fresh, others, t);
        return;
    }
    fprintf(stderr, "fresh lives: DSTREAM_SEED=%llu and following\n", (unsigned long long)fresh);
    for (uint64_t seed = 1; seed <= fixed; seed++)
        live(seed, others, t);
    for (uint64_t i = 0; i <= (e2e_soak() - 1) * fixed; i++)
        live(fresh + i, others, t);
    fprintf(stderr, "%u lives, %u with a mishap; %u messages stored, %u not, %u unknown\n",
            t->lives, t->happened, t->stored, t->not_written, t->unknown);
    for (size_t f = 0; f < FAULTS; f++)
        cr_expect_gt(t->befell[f], t->lives / 2, "%s: %u", fault_name((enum fault)f), t->befell[f]);
}

E2E_BOTH(lives, faults_store_each_message_once)
{
    struct tally t;
    lives(e2e_sanitized() ? 20 : 100, false, &t);
    cr_expect_eq(t.stored, t.lives * MESSAGES);
}

E2E_BOTH(lives, others_make_no_fate_untrue)
{
    struct tally t;
    lives(e2e_sanitized() ? 20 : 60, true, &t);
    if (!getenv("DSTREAM_SEED")) {
        cr_expect_gt(t.happened, t.lives / 3);
        cr_expect_gt(t.not_written, 0);
        cr_expect_gt(t.unknown, 0);
    }
}
