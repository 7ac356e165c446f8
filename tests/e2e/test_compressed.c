/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that come compressed. */
#include "config.h"

#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define GZIP "Content-Encoding: gzip\r\n"

static struct e2e_bytes compressed(struct e2e_bytes b)
{
    struct e2e_bytes out = {0};
    char piece[4096];
    z_stream z = {.next_in = (unsigned char *)b.p, .avail_in = (uInt)b.n};
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
    int rc = Z_OK;
    while (rc == Z_OK) {
        z.next_out = (unsigned char *)piece;
        z.avail_out = sizeof piece;
        rc = deflate(&z, Z_FINISH);
        e2e_add(&out, piece, sizeof piece - z.avail_out);
    }
    deflateEnd(&z);
    return out;
}

struct body {
    struct e2e_bytes bytes;
    const char *head; /* but for the length */
};

static void play(void *ctx, struct exchange *x)
{
    const struct body *b = ctx;
    char head[400];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n", b->head,
             b->bytes.n);
    if (say(x, head))
        say_bytes(x, b->bytes.p, b->bytes.n);
}

#define TEXT_ANSWER                                                                                \
    GZIP "Content-Type: text/plain\r\nStream-Next-Offset: o1\r\nStream-Up-To-Date: true\r\n"       \
         "Stream-Closed: true\r\n"

static struct e2e_bytes lines(size_t n)
{
    struct e2e_bytes all = e2e_text("");
    for (size_t i = 0; i < n; i++)
        e2e_add_text(&all, e2e_printf("line %zu\n", i));
    return all;
}

/* Positions count what comes out of it, and nothing is compressed that did not ask for it. */
E2E(compressed, answers_are_read_and_gone_on_in)
{
    struct e2e_bytes want = lines(20000);
    struct body b = {compressed(want), TEXT_ANSWER};
    struct scripted *s = scripted_start(play, &b);
    char *url = e2e_url_at(scripted_url(s), "s");
    struct e2e_process *p = dstream_run("read", url);
    e2e_status(p, 76);
    e2e_says(p, "Content-Encoding");
    cr_assert_null(strstr(scripted_log(s), "Accept-Encoding"));
    p = dstream_run("read", "--compressed", url);
    e2e_status(p, 0);
    cr_assert(strstr(scripted_log(s), "Accept-Encoding: gzip\r\n"));
    e2e_same("all", p->out_data, want);
    p = dstream_run("read", "--compressed", "-v", "--bytes", "100001", url);
    e2e_status(p, 0);
    struct e2e_bytes got = {0};
    e2e_add(&got, p->out_data.p, p->out_data.n);
    cr_assert_eq(got.n, 100001);
    p = dstream_run("read", "--compressed", "--from", reading_position(p), url);
    e2e_status(p, 0);
    e2e_add(&got, p->out_data.p, p->out_data.n);
    e2e_same("both", got, want);
    scripted_stop(s);
}

/* A body that HTTP calls whole, and gzip does not. */
E2E(compressed, an_answer_that_ends_early_is_cut)
{
    struct body b = {compressed(lines(2000)), TEXT_ANSWER};
    b.bytes.n -= 20;
    struct scripted *s = scripted_start(play, &b);
    e2e_limits("backoff_base=1,backoff_max=2");
    struct e2e_process *p =
        dstream_run("read", "--compressed", "--retry", "1", e2e_url_at(scripted_url(s), "s"));
    e2e_status(p, 69);
    e2e_says(p, "the compressed answer ends early");
    cr_assert_eq(scripted_count(s, ""), 2);
    scripted_stop(s);
}

/* What is small on the way is not small in memory: the limits are for what comes out. */
E2E(compressed, bombs_meet_the_limits)
{
    struct e2e_bytes all = e2e_text("[\"");
    char *fill = e2e_alloc(1 << 20);
    memset(fill, 'x', 1 << 20);
    for (int i = 0; i < 20; i++)
        e2e_add(&all, fill, 1 << 20);
    e2e_add_text(&all, "\"]");
    struct body b = {compressed(all),
                     GZIP "Content-Type: application/json\r\nStream-Next-Offset: o1\r\n"};
    struct scripted *s = scripted_start(play, &b);
    e2e_limits("max_body=1000000,max_part=100000");
    struct e2e_process *p = dstream_run("read", "--compressed", e2e_url_at(scripted_url(s), "s"));
    e2e_status(p, 15);
    cr_assert_eq(p->out_data.n, 0);
    b.head = TEXT_ANSWER;
    p = dstream_start("read", "--compressed", e2e_url_at(scripted_url(s), "s"));
    e2e_status(p, 0);
    e2e_same("in parts", p->out_data, all);
    scripted_stop(s);
}

static void play_events(void *ctx, struct exchange *x)
{
    if (asks(x, "live="))
        play(ctx, x);
    else
        answer(x, "200 OK",
               "Content-Type: application/json\r\nStream-Next-Offset: o0\r\n"
               "Stream-Up-To-Date: true\r\n",
               "[]");
}

E2E(compressed, event_streams)
{
    struct e2e_bytes events =
        e2e_text("event: data\ndata: [1]\n\nevent: control\ndata: {\"streamNextOffset\":\"o1\"}\n\n"
                 "event: data\ndata: [2]\n\nevent: control\ndata: "
                 "{\"streamNextOffset\":\"o2\",\"streamClosed\":true}\n\n");
    struct body b = {compressed(events), GZIP "Content-Type: text/event-stream\r\n"};
    struct scripted *s = scripted_start(play_events, &b);
    struct e2e_process *p = dstream_run("tail", "--compressed", "--live", "sse", "--from", "o0",
                                        e2e_url_at(scripted_url(s), "s"));
    e2e_status(p, 0);
    e2e_same("events", p->out_data, e2e_text("1\n2\n"));
    scripted_stop(s);
}
