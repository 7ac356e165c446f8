/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a producer writes, with several requests under way, is what every way of reading brings
 * back: live while it is written, and all at once behind it.
 */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"
#include "tests/e2e/reading.h"

#include <dstream.h>
#include <string.h>

#define IN_FLIGHT   5
#define BATCH_BYTES 32768

/* --- readers ---------------------------------------------------------------------------------- */

struct reading {
    const char *what;
    dstream_reader *reader;
    struct e2e_bytes got;
    bool ended;
};

static dstream_loop *loop;
static uint64_t events; /* whatever was called back, counted */

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    struct reading *x = ctx;
    size_t n;
    const char *p = dstream_batch_data(b, &n);
    (void)r;
    e2e_add(&x->got, p, n);
    events++;
    return DSTREAM_FLOW_NEXT;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct reading *x = ctx;
    cr_assert_eq(code, DSTREAM_OK, "%s: %s", x->what,
                 dstream_error_message(dstream_reader_error(r)));
    x->ended = true;
    events++;
}

static void start(struct reading *x, const char *what, const char *url, enum dstream_live live,
                  bool at_once)
{
    dstream_options *o = dstream_options_new();
    *x = (struct reading){.what = what};
    e2e_add(&x->got, "", 0);
    dstream_options_set_live(o, live);
    dstream_options_set_live_at_once(o, at_once);
    cr_assert_eq(dstream_reader_open(&x->reader, loop, url, o), DSTREAM_OK);
    cr_assert_eq(dstream_reader_start(x->reader, on_batch, on_end, x), DSTREAM_OK);
    dstream_options_free(o);
}

static void turn(void)
{
    static int64_t since;
    static uint64_t before;
    if (since == 0 || events != before)
        since = e2e_now();
    before = events;
    cr_assert_lt(e2e_now(), since + E2E_MS, "nothing happens any more");
    cr_assert_eq(dstream_loop_turn(loop, 100), DSTREAM_OK);
}

static void finish(struct reading *x, struct e2e_bytes want)
{
    while (!x->ended)
        turn();
    e2e_same(x->what, x->got, want);
    dstream_reader_free(x->reader);
}

/* --- messages --------------------------------------------------------------------------------- */

/* Mostly short. The text of a JSON message is the same when a server prints it anew. */
static struct e2e_bytes message(const char *type, uint64_t i, uint64_t *state)
{
    static struct e2e_bytes m;
    size_t n = 1 + e2e_below(state, e2e_below(state, 50) == 0 ? 3000 : 120);
    bool json = strcmp(type, TYPE_JSON) == 0;
    m.n = 0;
    if (json && i % 10 == 0)
        e2e_add_text(&m, "[[1],\"");
    else if (json)
        e2e_add_text(&m, "{\"a\":\"\xe2\x82\xac");
    for (size_t k = 0; k < n; k++) {
        char c = (char)(e2e_draw(state) >> 56);
        if (json)
            c = (char)(c & 63) == '"' ? ' ' : (char)(' ' + (c & 63));
        if (json && (c == '"' || c == '\\'))
            c = '!';
        e2e_add(&m, &c, 1);
    }
    if (json)
        e2e_add_text(&m, i % 10 == 0 ? "\"]" : "\"}");
    return m;
}

/* --- the producer ----------------------------------------------------------------------------- */

struct writing {
    dstream_producer *producer;
    uint64_t stored, most_in_flight;
    bool ended;
    struct e2e_bytes want;
};

static void on_result(void *ctx, dstream_producer *p, const dstream_result *r)
{
    struct writing *w = ctx;
    (void)p;
    cr_assert_eq(dstream_result_fate(r), DSTREAM_FATE_STORED, "%s",
                 dstream_error_message(dstream_result_error(r)));
    cr_assert_eq(dstream_result_first(r), w->stored);
    w->stored += dstream_result_count(r);
    events++;
}

static void on_written(void *ctx, dstream_producer *p, enum dstream_code code)
{
    struct writing *w = ctx;
    cr_assert_eq(code, DSTREAM_OK, "%s", dstream_error_message(dstream_producer_error(p)));
    w->ended = true;
    events++;
}

static void begin(struct writing *w, const char *url, const char *type)
{
    dstream_options *o = dstream_options_new();
    *w = (struct writing){.stored = 0};
    e2e_add(&w->want, "", 0);
    dstream_options_set_in_flight(o, IN_FLIGHT);
    cr_assert_eq(dstream_options_set_batch(o, BATCH_BYTES, SIZE_MAX), DSTREAM_OK);
    cr_assert_eq(dstream_producer_open(&w->producer, loop, url, type, NULL, o), DSTREAM_OK);
    dstream_options_free(o);
    dstream_producer_on_result(w->producer, on_result, w);
    dstream_producer_on_end(w->producer, on_written, w);
}

/* A turn, and what was under way then. */
static void turn_with(struct writing *w)
{
    turn();
    uint64_t n = dstream_producer_count(w->producer, DSTREAM_COUNT_IN_FLIGHT);
    w->most_in_flight = n > w->most_in_flight ? n : w->most_in_flight;
}

static void append(struct writing *w, struct e2e_bytes m, bool json)
{
    enum dstream_append what;
    while ((what = dstream_producer_append(w->producer, m.p, m.n, 0, NULL)) == DSTREAM_APPEND_AGAIN)
        turn();
    cr_assert_eq(what, DSTREAM_APPEND_TAKEN, "%s",
                 dstream_error_message(dstream_producer_refusal(w->producer)));
    e2e_add(&w->want, m.p, m.n);
    e2e_add(&w->want, "\n", json ? 1 : 0);
}

/* All of them, the last one with the stream's close. */
static void write_all(struct writing *w, const char *type, uint64_t n)
{
    uint64_t state = 0x9E3779B97F4A7C15 + n;
    bool json = strcmp(type, TYPE_JSON) == 0;
    for (uint64_t i = 0; i + 1 < n; i++) {
        append(w, message(type, i, &state), json);
        if (i % 5000 == 0)
            turn_with(w);
    }
    struct e2e_bytes last = message(type, n - 1, &state);
    cr_assert_eq(dstream_producer_start_close_stream(w->producer, last.p, last.n, false),
                 DSTREAM_OK);
    e2e_add(&w->want, last.p, last.n);
    e2e_add(&w->want, "\n", json ? 1 : 0);
    while (!w->ended)
        turn_with(w);
    cr_expect_eq(w->stored, n);
    cr_expect_eq(w->most_in_flight, IN_FLIGHT, "at most %llu requests were under way",
                 (unsigned long long)w->most_in_flight);
}

/* --- there and back --------------------------------------------------------------------------- */

/* An event stream changes text, so none is read by it. */
static void round_trip(const char *type)
{
    uint64_t n = e2e_sanitized() ? 10000 : 100000;
    bool sse = strcmp(type, TYPE_TEXT) != 0;
    char *url = e2e_url("s");
    struct writing w;
    struct reading poll, events_live, whole, poll_whole, events_whole;
    e2e_create(url, type);
    loop = dstream_loop_new();
    begin(&w, url, type);
    start(&poll, "long-poll", url, DSTREAM_LIVE_LONG_POLL, false);
    if (sse)
        start(&events_live, "SSE", url, DSTREAM_LIVE_SSE, false);
    write_all(&w, type, n);
    start(&whole, "catch-up", url, DSTREAM_LIVE_OFF, false);
    start(&poll_whole, "long-poll behind it", url, DSTREAM_LIVE_LONG_POLL, true);
    if (sse)
        start(&events_whole, "SSE behind it", url, DSTREAM_LIVE_SSE, true);
    finish(&poll, w.want);
    finish(&whole, w.want);
    finish(&poll_whole, w.want);
    if (sse) {
        finish(&events_live, w.want);
        finish(&events_whole, w.want);
    }
    cr_expect_str_eq(dstream_producer_final_offset(w.producer),
                     e2e_http("HEAD", url, NULL, (struct e2e_bytes){0}).next);
    cr_expect_eq(dstream_producer_free(w.producer), 0);
    dstream_loop_free(loop);
}

E2E_BOTH(roundtrip, messages)
{
    round_trip(TYPE_JSON);
}

E2E_BOTH(roundtrip, text)
{
    round_trip(TYPE_TEXT);
}

E2E_BOTH(roundtrip, bytes)
{
    round_trip(TYPE_BINARY);
}
