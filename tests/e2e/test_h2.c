/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2, by the library: many streams on one connection of TLS, through nginx. */
#include "config.h"

#include "tests/e2e/front.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/tunnel.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/reader.h"

#define TAILS   20
#define MIB     ((size_t)1 << 20)
#define PADDING (MIB / 2)

struct tail {
    dstream_reader *reader;
    const char *url; /* of the server itself */
    size_t written, taken;
    bool live, hold, held, ended;
};

static dstream_loop *loop;
static struct tail tails[TAILS];
/* Of a large message; the test's memory is judged, so both are used again and again. */
static char *padding;
static struct e2e_bytes message;

/* The messages of a stream are {"n":NUMBER,"pad":"..."}, counted from 0: each comes once, in order.
 */
static void take(struct tail *t, const dstream_batch *b)
{
    for (size_t i = 0; i < dstream_batch_count(b); i++) {
        size_t len;
        const char *m = dstream_batch_message(b, i, &len);
        cr_assert(len > 6 && memcmp(m, "{\"n\":", 5) == 0, "%.*s", (int)(len < 99 ? len : 99), m);
        cr_assert_eq(strtoul(m + 5, NULL, 10), t->taken, "%zu was due", t->taken);
        cr_assert_eq(m[len - 1], '}');
        t->taken++;
    }
}

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    struct tail *t = ctx;
    (void)r;
    if (t->hold) {
        t->held = true;
        return DSTREAM_FLOW_HOLD;
    }
    t->held = false;
    take(t, b);
    return DSTREAM_FLOW_NEXT;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct tail *t = ctx;
    t->ended = true;
    cr_expect_eq(code, DSTREAM_OK, "%s", dstream_error_message(dstream_reader_error(r)));
}

static void on_trace(void *ctx, const char *method, const char *url, int status)
{
    struct tail *t = ctx;
    (void)method;
    if (status == 200 && strstr(url, "live=sse"))
        t->live = true;
}

/* Turns the loop until `done`, for as long as any single thing may take. */
static void turn_until(bool (*done)(void), const char *what)
{
    int64_t end = e2e_now() + E2E_MS;
    while (!done()) {
        cr_assert_lt(e2e_now(), end, "waited for %s in vain", what);
        cr_assert_eq(dstream_loop_turn(loop, 20), DSTREAM_OK);
    }
}

static void write_to(struct tail *t, bool much)
{
    char start[64];
    snprintf(start, sizeof start, "{\"n\":%zu,\"pad\":\"", t->written++);
    message.n = 0;
    e2e_add_text(&message, start);
    e2e_add(&message, padding, much ? PADDING : 0);
    e2e_add_text(&message, "\"}");
    e2e_append(t->url, TYPE_JSON, message);
}

static void follow(struct tail *t, const char *url, bool http1, const struct ds_limits *limits)
{
    dstream_options *o = dstream_options_new();
    if (limits)
        ds_options_set_limits(o, limits);
    dstream_options_set_live(o, DSTREAM_LIVE_SSE);
    dstream_options_set_cacert(o, cert_file("ca"));
    dstream_options_set_http1(o, http1);
    ds_options_set_trace(o, on_trace, t);
    cr_assert_eq(dstream_reader_open(&t->reader, loop, url, o), DSTREAM_OK);
    cr_assert_eq(dstream_reader_start(t->reader, on_batch, on_end, t), DSTREAM_OK);
    dstream_options_free(o);
}

static void stand(struct front *f)
{
    cert_authority("ca");
    cert_issue("server", "ca", "IP:127.0.0.1", 1);
    front_start(f, "server", e2e_base(), "");
    loop = dstream_loop_new();
    padding = memset(e2e_alloc(PADDING), 'x', PADDING);
    message = (struct e2e_bytes){0};
    e2e_add(&message, padding, PADDING);
}

/* `limits` are those of the first one, NULL: as all others'. */
static void follow_all(const char *base, bool http1, const struct ds_limits *limits)
{
    for (size_t i = 0; i < TAILS; i++) {
        char *name = e2e_printf("t%02zu", i);
        tails[i] = (struct tail){.url = e2e_url(name)};
        e2e_create(tails[i].url, TYPE_JSON);
        follow(&tails[i], e2e_url_at(base, name), http1, i == 0 ? limits : NULL);
    }
}

static void begin(struct front *f, bool http1)
{
    stand(f);
    follow_all(f->url, http1, NULL);
}

static void end(void)
{
    for (size_t i = 0; i < TAILS; i++)
        dstream_reader_free(tails[i].reader);
    dstream_loop_free(loop);
}

static bool all_live(void)
{
    size_t n = 0;
    for (size_t i = 0; i < TAILS; i++)
        n += tails[i].live;
    return n == TAILS;
}

static bool others_have_all(void)
{
    bool all = true;
    for (size_t i = 1; i < TAILS; i++)
        all = all && tails[i].taken == tails[i].written;
    return all;
}

static bool all_have_all(void)
{
    return others_have_all() && tails[0].taken == tails[0].written;
}

static bool all_ended(void)
{
    bool all = true;
    for (size_t i = 0; i < TAILS; i++)
        all = all && tails[i].ended;
    return all;
}

static bool first_held(void)
{
    return tails[0].held;
}

static const struct front *watched;

/* The server's side of the first stream's event stream has ended. */
static bool first_dropped(void)
{
    return front_finished(watched, "/t00?live=sse") > 0;
}

/* KiB. */
static size_t resident(const char *field)
{
    struct e2e_bytes status = {0};
    char piece[4096];
    FILE *f = fopen("/proc/self/status", "re");
    cr_assert_not_null(f);
    size_t n = fread(piece, 1, sizeof piece, f);
    fclose(f);
    e2e_add(&status, piece, n);
    const char *at = strstr(status.p, field);
    cr_assert_not_null(at);
    return strtoul(at + strlen(field) + 1, NULL, 10);
}

/* A round in which each of the others gets a message. */
static void others_go_on(void)
{
    for (size_t i = 1; i < TAILS; i++)
        write_to(&tails[i], false);
    turn_until(others_have_all, "the others");
}

static void close_all(void)
{
    for (size_t i = 0; i < TAILS; i++)
        e2e_close(tails[i].url);
    turn_until(all_ended, "the ends");
}

/* Whoever stands still is cut off after a second, so that what comes for it is no longer kept; the
 * others on the same connection do not notice. Once it goes on it gets everything, each once. */
E2E_EMBEDDED(h2, one_of_many_tails_on_a_connection_stands_still)
{
    struct front f;
    begin(&f, false);
    watched = &f;
    turn_until(all_live, "all to be live");
    others_go_on();
    cr_expect_eq(front_open(&f), 1, "%zu connections", front_open(&f));
    size_t before = resident("VmRSS:");
    tails[0].hold = true;
    write_to(&tails[0], true);
    turn_until(first_held, "the first to be held");
    for (int i = 0; i < 60; i++)
        write_to(&tails[0], true);
    turn_until(first_dropped, "the first to be dropped");
    others_go_on();
    size_t still = resident("VmRSS:");
    for (int i = 0; i < 60; i++) {
        write_to(&tails[0], true);
        others_go_on();
    }
    size_t after = resident("VmRSS:");
    cr_log_info("resident: %zu KiB before, %zu and %zu while one stands still, at most %zu", before,
                still, after, resident("VmHWM:"));
    cr_expect_eq(front_open(&f), 1, "%zu connections", front_open(&f));
    if (!e2e_sanitized()) {
        cr_expect_lt(still, before + 16 * 1024, "from %zu KiB to %zu", before, still);
        cr_expect_lt(after, still + 4 * 1024, "from %zu KiB to %zu", still, after);
    }
    cr_expect_eq(tails[0].taken, 0);
    tails[0].hold = false;
    dstream_reader_resume(tails[0].reader);
    turn_until(all_have_all, "the first to have all");
    close_all();
    end();
    e2e_kill(f.process, SIGTERM);
    e2e_wait(f.process);
    cr_expect_eq(front_connections(&f, "HTTP/2.0"), 1);
    cr_expect_eq(front_connections(&f, "HTTP/1.1"), 0);
}

/* The same on HTTP/1.1: a connection each, and nothing is cut off. */
E2E_EMBEDDED(h2, on_http1_each_has_a_connection_of_its_own)
{
    struct front f;
    begin(&f, true);
    watched = &f;
    turn_until(all_live, "all to be live");
    others_go_on();
    cr_expect_eq(front_open(&f), TAILS, "%zu connections", front_open(&f));
    tails[0].hold = true;
    write_to(&tails[0], true);
    turn_until(first_held, "the first to be held");
    int64_t until = e2e_now() + 1500;
    while (e2e_now() < until)
        others_go_on();
    cr_expect_not(first_dropped());
    tails[0].hold = false;
    dstream_reader_resume(tails[0].reader);
    turn_until(all_have_all, "the first to have all");
    close_all();
    end();
    e2e_kill(f.process, SIGTERM);
    e2e_wait(f.process);
    cr_expect_eq(front_connections(&f, "HTTP/2.0"), 0);
}

/* One whose other end is gone without a word. As long as others wait on it, requests would go on
 * being sent on it, each in vain, if the first one to notice did not end it for all. */
E2E_EMBEDDED(h2, a_dead_connection_is_left_by_all)
{
    struct front f;
    struct ds_limits hasty = ds_limits_default();
    hasty.header = hasty.header_sse = hasty.silence_sse = hasty.first_byte_sse = 3000;
    hasty.backoff_base = hasty.backoff_max = 20;
    stand(&f);
    struct tunnel *t = tunnel_start(TUNNEL_PLAIN, f.port, false);
    follow_all(e2e_printf("https://%s", tunnel_at(t)), false, &hasty);
    turn_until(all_live, "all to be live");
    cr_expect_eq(tunnel_connections(t), 1);
    tunnel_freeze(t);
    for (size_t i = 0; i < TAILS; i++)
        write_to(&tails[i], false);
    turn_until(all_have_all, "another connection");
    /* The new one may be as silent for as long, once all have come. */
    cr_expect_leq(tunnel_connections(t), 4, "%u connections", tunnel_connections(t));
    close_all();
    end();
    tunnel_stop(t);
}
