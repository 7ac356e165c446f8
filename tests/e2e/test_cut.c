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
    return e2e_soak() > 1 ? 600 : 260;
}

/* The answers of either server come by the same code, so at each place of our own is enough. */
static unsigned stride(void)
{
    return e2e_kind() == E2E_REFERENCE && e2e_soak() == 1 ? 5 : e2e_stride();
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
    size_t at = k / 2 * stride() % c->places;
    return (struct proxy_plan){.how = c->how, .at = k % 2 == 0 ? at : c->places};
}

/* The one after a cut answer is left whole. */
static struct proxy_plan every_other(void *ctx, unsigned k)
{
    const struct cuts *c = ctx;
    if (k % 2 == 1)
        return (struct proxy_plan){.how = PROXY_WHOLE};
    return (struct proxy_plan){.how = c->how, .at = k / 2 % c->places};
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
    follow_over("sse", type, next_place, cuts, 2 * (unsigned)cuts.places / stride());
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
    return k == 0 ? (struct proxy_plan){.how = c->how, .at = c->places}
                  : (struct proxy_plan){.how = PROXY_WHOLE};
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
