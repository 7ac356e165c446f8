/* SPDX-License-Identifier: Apache-2.0 */
/* dstream serve with what it brings along: recordings that are played, files, and faults. */
#include "config.h"

#include "tests/e2e/recording.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct e2e_bytes read_by(const char *url, const char *live)
{
    struct e2e_process *p = live ? dstream_run("read", url, "-q", "-f", "--live", live)
                                 : dstream_run("read", url, "-q");
    e2e_status(p, 0);
    return p->out_data;
}

/* Recorded while it is written, and played to each way of reading, with its timing and without. */
static void is_played(const char *type, const char *live)
{
    struct written w = written_begin(e2e_url("s"), type);
    written_add(&w, 3000);
    struct e2e_process *p =
        dstream_start("record", w.url, "-o", exported(), "-f", "--live", live, "-vv");
    reading_until_live(p);
    for (int i = 0; i < 3; i++)
        written_add(&w, 500);
    e2e_close(w.url);
    e2e_status(p, 0);
    static const char *const speeds[] = {"max", "1", "10"};
    for (size_t i = 0; i < 3; i++) {
        const char *base =
            e2e_serve(NULL, (const char *const[]){"--replay", e2e_printf("%s=/a b", exported()),
                                                  "--replay", exported(), "--speed", speeds[i],
                                                  "--page-size", "700", NULL});
        char *url = e2e_printf("%s/a%%20b", base);
        e2e_same(speeds[i], read_by(url, live), w.want);
        e2e_same("by catching up", read_by(url, NULL), w.want);
        e2e_same("by long-poll", read_by(url, "long-poll"), w.want);
        e2e_same("at its own path", read_by(e2e_url_at(base, "s"), live), w.want);
        struct e2e_answer a = e2e_http("HEAD", url, NULL, (struct e2e_bytes){0});
        cr_expect(a.closed && strncmp(a.type, type, strlen(type)) == 0);
    }
}

E2E_BOTH(serve_replay, messages)
{
    is_played(TYPE_JSON, "sse");
}

E2E_BOTH(serve_replay, bytes)
{
    is_played(TYPE_BINARY, "sse");
}

E2E_BOTH(serve_replay, text)
{
    is_played(TYPE_TEXT, "long-poll");
}

/* Messages of every kind stay what they were: arrays, and what has line breaks in it. */
E2E(serve_replay, odd_messages)
{
    static const char file[] =
        "{\"dstream-recording\":1,\"url\":\"\",\"contentType\":\"application/json\",\"begun\":0}\n"
        "{\"time\":0,\"offset\":\"a\",\"next\":\"b\",\"json\":[[1,[2]],[],{},\"\\u0000\",1e400]}\n"
        "{\"time\":0,\"offset\":\"b\",\"next\":null,\"text\":\"[[\\n],1.0]\"}\n"
        "{\"time\":0,\"offset\":\"b\",\"skip\":2,\"next\":\"c\",\"json\":[9007199254740993]}\n"
        "{\"time\":0,\"offset\":\"c\",\"next\":\"c\",\"closed\":true}\n";
    e2e_write_file(e2e_path("odd"), e2e_text(file));
    const char *base = e2e_serve(
        NULL, (const char *const[]){"--replay", e2e_printf("%s=/odd", e2e_path("odd")), NULL});
    e2e_same("odd", read_by(e2e_printf("%s/odd", base), "sse"),
             e2e_text("[1,[2]]\n[]\n{}\n\"\\u0000\"\n1e400\n[]\n1.0\n9007199254740993\n"));
}

/* It waits for its first reader, and then takes its time. What came first is there at once. */
E2E(serve_replay, begins_when_it_is_read)
{
    static const char file[] =
        "{\"dstream-recording\":1,\"url\":\"\",\"contentType\":\"text/plain\",\"begun\":0}\n"
        "{\"time\":9000,\"offset\":\"a\",\"next\":\"b\",\"text\":\"1\"}\n"
        "{\"time\":9250,\"offset\":\"b\",\"next\":\"c\",\"text\":\"2\"}\n"
        "{\"time\":9500,\"offset\":\"c\",\"next\":\"d\",\"text\":\"3\",\"closed\":true}\n";
    e2e_write_file(e2e_path("f"), e2e_text(file));
    const char *base = e2e_serve(
        NULL, (const char *const[]){"--replay", e2e_printf("%s=/f", e2e_path("f")), NULL});
    char *url = e2e_printf("%s/f", base);
    struct e2e_process *p = dstream_run("stat", url); /* which is no reading */
    e2e_status(p, 0);
    usleep(300000); /* long enough for the second entry, were it playing */
    int64_t begun = now_ms(), came[3];
    p = dstream_start("read", url, "-f");
    for (size_t i = 0; i < 3; i++) {
        e2e_until_out(p, i + 1);
        came[i] = now_ms() - begun;
    }
    e2e_status(p, 0);
    e2e_same("all", p->out_data, e2e_text("123"));
    cr_expect(came[1] >= 240 && came[2] >= 490, "%lld %lld", (long long)came[1],
              (long long)came[2]);
}

E2E(serve_replay, files_are_loaded)
{
    struct e2e_bytes random = e2e_random(100000, 3);
    e2e_write_file(e2e_path("b"), random);
    e2e_write_file(e2e_path("m.json"), e2e_text("{\"a\":\n1} [2]\n\"x\""));
    e2e_write_file(e2e_path("a=b.txt"), e2e_text("a\r\nb"));
    const char *base = e2e_serve(
        NULL, (const char *const[]){"--load", e2e_printf("%s=/x/b", e2e_path("b")), "--load",
                                    e2e_printf("%s=m", e2e_path("m.json")), "--load",
                                    e2e_printf("%s=/t", e2e_path("a=b.txt")), NULL});
    e2e_same("bytes", read_by(e2e_printf("%s/x/b", base), NULL), random);
    e2e_same("messages", read_by(e2e_printf("%s/m", base), NULL),
             e2e_text("{\"a\":1}\n[2]\n\"x\"\n"));
    e2e_same("text", read_by(e2e_printf("%s/t", base), NULL), e2e_text("a\r\nb"));
    cr_expect_str_eq(e2e_http("HEAD", e2e_printf("%s/t", base), NULL, (struct e2e_bytes){0}).type,
                     "text/plain");
    static const struct {
        const char *option, *value, *says;
        int status;
    } cases[] = {{"--load", "none=/x", "none: cannot open", 66},
                 {"--load", "none", "FILE=PATH", 2},
                 {"--replay", "none", "none: cannot read it", 66},
                 {"--fault", "crash=1", "drop-after=BYTES", 2},
                 {"--speed", "0", "a number above 0", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct e2e_process *p =
            dstream_run("serve", "--listen", "127.0.0.1:0", cases[i].option, cases[i].value);
        e2e_status(p, cases[i].status);
        e2e_says(p, cases[i].says);
    }
}

/* --- faults ----------------------------------------------------------------------------------- */

/* Each kind of trouble is made, and a client that is worth its name gets everything all the same.
 */
static const char *faulty(const char *faults, struct e2e_bytes data)
{
    e2e_write_file(e2e_path("d"), data);
    const char *load = e2e_printf("%s=/d", e2e_path("d"));
    return e2e_printf("%s/d",
                      e2e_serve(NULL, (const char *const[]){"--load", load, "--fault", faults,
                                                            "--page-size", "900", NULL}));
}

static struct e2e_answer ask(const char *url)
{
    return e2e_http("GET", url, NULL, (struct e2e_bytes){0});
}

E2E(serve_replay, each_second_read_meets_a_status)
{
    struct e2e_bytes data = e2e_random(5000, 1);
    const char *url = faulty("status=503", data);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(ask(url).status, i % 2 ? 503 : 200);
    e2e_same("status", read_by(url, NULL), data);
    cr_expect_eq(e2e_http("HEAD", url, NULL, (struct e2e_bytes){0}).status, 200);
}

E2E(serve_replay, each_third_read_is_cut)
{
    struct e2e_bytes data = e2e_random(5000, 1);
    const char *url = faulty("drop-after=100,every=3", data);
    for (int i = 1; i < 7; i++) {
        struct e2e_answer a = ask(url);
        cr_expect(i % 3 == 0 ? a.status == 0 : a.status == 200 && a.body.n == 900, "%d: %ld", i,
                  a.status);
    }
    e2e_same("cut", read_by(url, NULL), data);
}

E2E(serve_replay, a_body_stalls)
{
    struct e2e_bytes data = e2e_random(500, 1);
    const char *url = faulty("stall=200ms,every=1", data);
    int64_t begun = now_ms();
    struct e2e_answer a = ask(url);
    cr_expect_geq(now_ms() - begun, 200);
    e2e_same("late", a.body, data);
    e2e_same("late", read_by(url, NULL), data);
}

E2E(serve_replay, bodies_are_split)
{
    struct e2e_bytes data = e2e_random(3000, 1);
    e2e_same("split", read_by(faulty("split=1", data), NULL), data);
    struct e2e_bytes messages = {0};
    for (int i = 0; i < 200; i++)
        e2e_add_text(&messages, e2e_printf("{\"n\":%d}\n", i));
    e2e_write_file(e2e_path("m.json"), messages);
    const char *base = e2e_serve(
        NULL, (const char *const[]){"--load", e2e_printf("%s=/m", e2e_path("m.json")), "--fault",
                                    "split=3,drop-after=700", "--page-size", "300", NULL});
    char *url = e2e_printf("%s/m", base);
    struct e2e_process *p = dstream_start("read", url, "-f", "--live", "sse", "-vv");
    e2e_until_out(p, messages.n);
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("split and cut", p->out_data, messages);
}
