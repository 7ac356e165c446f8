/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every position of a stream in pages, in every way to write it, read from, up to every other one:
 * what comes is exactly what lies between, and the position that is printed is where the rest
 * begins.
 */
#include "config.h"

#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Units are single characters (as messages: in quotes), so that both kinds are counted alike. */
static const char UNITS[] = "abcdefgh";
#define N (sizeof UNITS - 1)

struct stream {
    const char *url;
    bool json;
    size_t pages;
    char *offset[N + 1]; /* where each page begins; the last one is the end */
    size_t before[N + 1];
};

/* In answers of three units and fewer. */
static struct stream stream(bool json)
{
    const char *base =
        e2e_serve(NULL, (const char *const[]){"--page-size", json ? "12" : "3", NULL});
    struct stream s = {.url = e2e_url_at(base, "s"), .json = json};
    const char *type = json ? TYPE_JSON : TYPE_BINARY;
    e2e_create(s.url, type);
    for (size_t i = 0; i < N; i++)
        e2e_append(s.url, type, e2e_text(e2e_printf(json ? "\"%c\"" : "%c", UNITS[i])));
    s.offset[0] = e2e_printf("-1");
    for (;;) {
        struct e2e_answer a = e2e_http("GET", e2e_printf("%s?offset=%s", s.url, s.offset[s.pages]),
                                       NULL, (struct e2e_bytes){0});
        size_t units = 0;
        for (size_t i = 0; i < a.body.n; i++)
            units += strchr(UNITS, a.body.p[i]) != NULL && a.body.p[i];
        if (units == 0)
            return s;
        cr_assert_lt(s.pages, N);
        s.offset[s.pages + 1] = a.next;
        s.before[s.pages + 1] = s.before[s.pages] + units;
        s.pages++;
    }
}

/* What was printed, without quotes and line ends. */
static char *units_of(const struct e2e_process *p)
{
    char *out = e2e_alloc(p->out_data.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < p->out_data.n; i++) {
        if (p->out_data.p[i] != '"' && p->out_data.p[i] != '\n')
            out[n++] = p->out_data.p[i];
    }
    out[n] = '\0';
    return out;
}

/* Reads `n` units from a position, and then the rest from where that says that it stopped. */
static void read_and_go_on(const struct stream *s, const char *from, size_t at, size_t n,
                           const char *live)
{
    const char *count = e2e_printf("%zu", n), *option = s->json ? "--count" : "--bytes";
    struct e2e_process *p = live ? dstream_run("read", s->url, "--from", from, option, count, "-v",
                                               "-f", "--live", live)
                                 : dstream_run("read", s->url, "--from", from, option, count, "-v");
    const char *what = e2e_printf("--from %s %s %s, %s", from, option, count, live ? live : "-");
    size_t take = n < N - at ? n : N - at;
    e2e_status(p, 0);
    cr_assert_str_eq(units_of(p), e2e_printf("%.*s", (int)take, UNITS + at), "%s: %s", what,
                     units_of(p));
    const char *then = reading_position(p);
    p = dstream_run("read", s->url, "--from", then);
    e2e_status(p, 0);
    cr_assert_str_eq(units_of(p), UNITS + at + take, "%s, then --from %s: %s", what, then,
                     units_of(p));
}

/* Behind each page that begins at or before it. */
static void every_position(bool json)
{
    struct stream s = stream(json);
    cr_assert_geq(s.pages, 3);
    for (size_t at = 0; at <= N; at++) {
        for (size_t k = 0; k <= s.pages && s.before[k] <= at; k++) {
            const char *from = e2e_printf("%s,%zu", s.offset[k], at - s.before[k]);
            bool nearest = k == s.pages || s.before[k + 1] > at;
            for (size_t n = 1; n <= N - at + 1; n += e2e_stride()) {
                if (nearest || n == 1 || n == N - at)
                    read_and_go_on(&s, from, at, n, NULL);
            }
        }
    }
}

E2E(positions, of_messages)
{
    every_position(true);
}

E2E(positions, of_bytes)
{
    every_position(false);
}

/* Live, which comes in other pieces than pages do. */
static void live(bool json, const char *mode)
{
    struct stream s = stream(json);
    for (size_t at = 0; at < N; at++) {
        const char *from = e2e_printf("%s,%zu", s.offset[0], at);
        for (size_t n = 1; n <= N - at; n += 2)
            read_and_go_on(&s, from, at, n, mode);
    }
}

E2E(positions, of_messages_by_sse)
{
    live(true, "sse");
}

E2E(positions, of_bytes_by_long_poll)
{
    live(false, "long-poll");
}

/* Of the reference server, which answers with all at once. */
E2E_BOTH(positions, of_one_answer)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    struct e2e_bytes all = e2e_text("[");
    for (size_t i = 0; i < N; i++)
        e2e_add_text(&all, e2e_printf("%s\"%c\"", i ? "," : "", UNITS[i]));
    e2e_add_text(&all, "]");
    e2e_append(url, TYPE_JSON, all);
    struct stream s = {.url = url, .json = true, .pages = 1, .offset = {e2e_printf("-1")}};
    for (size_t at = 0; at < N; at++) {
        for (size_t n = 1; n <= N - at + 1; n += 2)
            read_and_go_on(&s, e2e_printf("-1,%zu", at), at, n, NULL);
    }
}

/* --- positions that are not there ------------------------------------------------------------- */

E2E_BOTH(positions, one_behind_the_end_is_an_error)
{
    const char *const kinds[] = {TYPE_JSON, TYPE_BINARY};
    for (size_t i = 0; i < 2; i++) {
        char *url = e2e_url(e2e_printf("s%zu", i)), *out = e2e_path(e2e_printf("out%zu", i));
        e2e_create(url, kinds[i]);
        e2e_append(url, kinds[i], e2e_text(i == 0 ? "[1,2,3]" : "abc"));
        for (int closed = 0; closed < 2; closed++) {
            struct e2e_process *p = dstream_run("read", url, "--from", "-1,3");
            e2e_status(p, 0);
            p = dstream_run("read", url, "--from", "-1,5");
            e2e_status(p, 13);
            e2e_says(p, i == 0 ? "ends 2 messages before" : "ends 2 bytes before");
            e2e_same("nothing", p->out_data, e2e_text(""));
            e2e_status(dstream_run("export", url, "--from", "-1,5", "-o", out), 13);
            cr_assert_not(e2e_exists(out));
            e2e_status(dstream_run("export", url, "--from", "-1,2", "-o", out), 0);
            unlink(out);
            unlink(e2e_printf("%s.dstate", out));
            e2e_close(url);
        }
    }
    /* What is followed may still come to it. */
    char *url = e2e_url("followed");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("abc"));
    struct e2e_process *p = dstream_start("read", url, "--from", "-1,5", "-f", "-vv");
    reading_until_live(p);
    e2e_append(url, TYPE_TEXT, e2e_text("defg"));
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("behind five", p->out_data, e2e_text("fg"));
}
