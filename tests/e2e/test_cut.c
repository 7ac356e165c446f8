/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers cut at every byte: what is delivered is always the stream, each byte once.
 *
 * One reader goes through all cuts of its kind: a proxy ends its connections one after another at
 * the next place, while messages are appended whenever the last one has come.
 */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/proxy.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* So many bytes of an answer are gone through: first control event, data, control event. */
static size_t places(void)
{
    return getenv("DSTREAM_SOAK") ? 600 : 260;
}

struct cuts {
    enum proxy_how how;
    size_t places;
};

/* Each place, and after each a connection that goes on for long enough to bring something: several
 * in a row without a control event are an error. */
static struct proxy_plan next_place(void *ctx, unsigned k)
{
    const struct cuts *c = ctx;
    size_t at = k / 2 % c->places;
    return (struct proxy_plan){c->how, k % 2 == 0 ? at : c->places};
}

/* The one after a cut answer is left whole. */
static struct proxy_plan every_other(void *ctx, unsigned k)
{
    const struct cuts *c = ctx;
    if (k % 2 == 1)
        return (struct proxy_plan){PROXY_WHOLE, 0};
    return (struct proxy_plan){c->how, k / 2 % c->places};
}

/* Follows a stream of `type` by `mode` until `rounds` of its live answers were cut. */
static void follow_over(const char *mode, const char *type, proxy_planner plan, struct cuts cuts,
                        unsigned rounds)
{
    struct e2e_bytes want = {0};
    bool json = strcmp(type, TYPE_JSON) == 0;
    char *url = e2e_url("s"), *match = e2e_printf("live=%s", mode);
    struct proxy *x = proxy_start(e2e_base(), match, plan, &cuts);
    e2e_limits("backoff_base=1,backoff_max=2,short_base=1,short_max=2,idle_max=2");
    e2e_create(url, type);
    struct e2e_process *p =
        dstream_start("read", "--until", "closed", "--live", mode, e2e_url_at(proxy_url(x), "s"));
    for (int i = 0; proxy_count(x, match) < rounds; i++) {
        char *message = e2e_printf(json ? "{\"n\":%d}" : "<%d>\n", i);
        e2e_append(url, type, e2e_text(message));
        e2e_add_text(&want, message);
        e2e_add_text(&want, json ? "\n" : "");
        e2e_until_out(p, want.n);
    }
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same(type, p->out_data, want);
    proxy_stop(x);
}

static void sse_over(const char *type, enum proxy_how how)
{
    struct cuts cuts = {how, places()};
    follow_over("sse", type, next_place, cuts, 2 * (unsigned)cuts.places);
}

E2E_BOTH(cut, sse_of_json_ended_at_every_byte)
{
    sse_over(TYPE_JSON, PROXY_CLEAN);
}

E2E_BOTH(cut, sse_of_json_reset_at_every_byte)
{
    sse_over(TYPE_JSON, PROXY_RESET);
}

E2E_BOTH(cut, sse_of_json_broken_at_every_byte)
{
    sse_over(TYPE_JSON, PROXY_BREAK);
}

E2E_BOTH(cut, sse_of_base64_ended_at_every_byte)
{
    sse_over(TYPE_BINARY, PROXY_CLEAN);
}

E2E_BOTH(cut, sse_of_base64_reset_at_every_byte)
{
    sse_over(TYPE_BINARY, PROXY_RESET);
}

E2E_BOTH(cut, sse_of_text_ended_at_every_byte)
{
    sse_over(TYPE_TEXT, PROXY_CLEAN);
}

/* A long-poll's body that is cut shows it by its framing. */
static void long_poll_over(const char *type, enum proxy_how how)
{
    struct cuts cuts = {how, 16};
    follow_over("long-poll", type, every_other, cuts, 2 * (unsigned)cuts.places);
}

E2E_BOTH(cut, long_poll_of_json_broken_at_every_byte)
{
    long_poll_over(TYPE_JSON, PROXY_BREAK);
}

E2E_BOTH(cut, long_poll_of_json_reset_at_every_byte)
{
    long_poll_over(TYPE_JSON, PROXY_RESET);
}

E2E_BOTH(cut, long_poll_of_text_broken_at_every_byte)
{
    long_poll_over(TYPE_TEXT, PROXY_BREAK);
}

/* --- catching up ------------------------------------------------------------------------------ */

/* In pages of 24 bytes, each of which is cut once before it comes whole. */
static void pages_over(const char *type, enum proxy_how how)
{
    struct cuts cuts = {how, 24};
    struct e2e_bytes want = {0}, body = e2e_text("");
    bool json = strcmp(type, TYPE_JSON) == 0;
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", "24", NULL});
    char *url = e2e_url_at(base, "s");
    struct proxy *x = proxy_start(base, "GET ", every_other, &cuts);
    e2e_limits("backoff_base=1,backoff_max=2");
    e2e_create(url, type);
    for (int i = 0; i < 200; i++) {
        e2e_add_text(&body, e2e_printf(json ? "%s%d" : "%s%d\n", json && i > 0 ? "," : "", i));
        e2e_add_text(&want, e2e_printf("%d\n", i));
    }
    e2e_append(url, type, json ? e2e_text(e2e_printf("[%s]", body.p)) : body);
    struct e2e_process *p = dstream_run("read", e2e_url_at(proxy_url(x), "s"));
    e2e_status(p, 0);
    e2e_same(type, p->out_data, want);
    cr_assert_geq(proxy_count(x, "GET "), 2 * cuts.places, "not all places were cut");
    proxy_stop(x);
}

E2E(cut, pages_of_json_broken_at_every_byte)
{
    pages_over(TYPE_JSON, PROXY_BREAK);
}

E2E(cut, pages_of_json_reset_at_every_byte)
{
    pages_over(TYPE_JSON, PROXY_RESET);
}

E2E(cut, pages_of_text_broken_at_every_byte)
{
    pages_over(TYPE_TEXT, PROXY_BREAK);
}

E2E(cut, pages_of_binary_reset_at_every_byte)
{
    pages_over(TYPE_BINARY, PROXY_RESET);
}

static struct proxy_plan first_at(void *ctx, unsigned k)
{
    const struct cuts *c = ctx;
    return k == 0 ? (struct proxy_plan){c->how, c->places} : (struct proxy_plan){PROXY_WHOLE, 0};
}

/* The only answer to a whole read, with each kind of break. */
static void first_answer_over(const char *type, const char *content, const char *want)
{
    e2e_create(e2e_url("s"), type);
    e2e_append(e2e_url("s"), type, e2e_text(content));
    e2e_limits("backoff_base=1");
    size_t n = e2e_get(e2e_url("s"), "-1").n;
    for (size_t at = 0; at < n; at++) {
        for (int how = PROXY_BREAK; how <= PROXY_RESET; how++) {
            struct cuts cuts = {(enum proxy_how)how, at};
            struct proxy *x = proxy_start(e2e_base(), "offset=-1", first_at, &cuts);
            struct e2e_process *p = dstream_run("read", e2e_url_at(proxy_url(x), "s"));
            e2e_status(p, 0);
            e2e_same(e2e_printf("cut at %zu", at), p->out_data, e2e_text(want));
            cr_assert_eq(proxy_count(x, "GET "), 2);
            proxy_stop(x);
        }
    }
}

E2E_BOTH(cut, the_first_answer_of_json_at_every_byte)
{
    first_answer_over(TYPE_JSON, "[{\"a\":1},[2],\"3\"]", "{\"a\":1}\n[2]\n\"3\"\n");
}

E2E_BOTH(cut, the_first_answer_of_bytes_at_every_byte)
{
    first_answer_over(TYPE_BINARY, "0123456789", "0123456789");
}

/* --- anything, anywhere ----------------------------------------------------------------------- */

struct chaos {
    uint64_t draws;
};

/* The first answer is whole, since without one there is an end to the retries. */
static struct proxy_plan any(void *ctx, unsigned k)
{
    struct chaos *c = ctx;
    uint64_t draw = e2e_draw(&c->draws) >> 32;
    if (k == 0 || draw % 3 == 0)
        return (struct proxy_plan){PROXY_WHOLE, 0};
    return (struct proxy_plan){draw % 3 == 1 ? PROXY_BREAK : PROXY_RESET, (draw >> 8) % 500};
}

/* A burst of messages, of any length. */
static void append_burst(const char *url, const char *type, uint64_t *draws, struct e2e_bytes *want)
{
    bool json = strcmp(type, TYPE_JSON) == 0;
    for (uint64_t n = e2e_draw(draws) >> 62; n-- > 0;) {
        struct e2e_bytes m = e2e_text(json ? "\"" : "");
        for (uint64_t len = 1 + (e2e_draw(draws) >> 56); len-- > 0;) {
            char c = (char)('a' + (e2e_draw(draws) >> 60));
            e2e_add(&m, &c, 1);
        }
        e2e_add_text(&m, json ? "\"" : "\n");
        e2e_append(url, type, m);
        e2e_add(want, m.p, m.n);
        e2e_add_text(want, json ? "\n" : "");
    }
}

/* Pages, event streams that end soon, long-polls that do, and cuts of them all; the writer waits
 * for nobody, so that the reader falls behind and catches up in every way. */
static void over_anything(const char *mode, const char *type, uint64_t seed)
{
    struct e2e_bytes want = {0};
    struct chaos chaos = {seed * 2 + 1};
    uint64_t draws = seed * 4 + 3;
    struct e2e_process *server;
    const char *base =
        e2e_serve(&server, (const char *const[]){"--page-size", "300", "--sse-time", "60ms",
                                                 "--poll-time", "40ms", NULL});
    char *url = e2e_url_at(base, "s");
    struct proxy *x = proxy_start(base, "GET ", any, &chaos);
    e2e_limits("backoff_base=1,backoff_max=3,short_base=1,short_max=2,idle_max=3,healthy_sse=30");
    e2e_create(url, type);
    append_burst(url, type, &draws, &want);
    struct e2e_process *p = dstream_start("read", "-q", "--until", "closed", "--live", mode,
                                          e2e_url_at(proxy_url(x), "s"));
    for (int i = 0; i < 60; i++) {
        append_burst(url, type, &draws, &want);
        if (i % 8 == 0)
            e2e_until_out(p, want.n);
    }
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same(e2e_printf("%s by %s, seed %llu", type, mode, (unsigned long long)seed), p->out_data,
             want);
    e2e_kill(server, SIGTERM);
    proxy_stop(x);
}

static void over_anything_by(const char *mode, const char *type)
{
    uint64_t seeds = getenv("DSTREAM_SOAK") ? 200 : 4;
    for (uint64_t seed = 0; seed < seeds; seed++)
        over_anything(mode, type, seed);
}

E2E(cut, anything_anywhere_of_json_by_sse)
{
    over_anything_by("sse", TYPE_JSON);
}

E2E(cut, anything_anywhere_of_binary_as_it_is_followed_by_itself)
{
    over_anything_by("auto", TYPE_BINARY);
}

E2E(cut, anything_anywhere_of_json_by_long_poll)
{
    over_anything_by("long-poll", TYPE_JSON);
}

E2E(cut, anything_anywhere_of_text)
{
    over_anything_by("auto", TYPE_TEXT);
}
