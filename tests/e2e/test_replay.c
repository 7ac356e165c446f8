/* SPDX-License-Identifier: Apache-2.0 */
/* dstream replay: what was recorded comes out again, when it is due. */
#include "config.h"

#include "tests/e2e/recording.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- the content ------------------------------------------------------------------------------ */

/* Records a stream while it is written, by a mode, and replays it: what comes is the stream. */
static void comes_out_again(const char *type, const char *live)
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
    p = dstream_run("replay", exported(), "--speed", "max", "-v");
    e2e_status(p, 0);
    e2e_same(live, p->out_data, w.want);
    e2e_says(p, "closed; its end is");
    p = dstream_run("replay", exported(), "--speed", "100");
    e2e_status(p, 0);
    e2e_same("a hundred times as fast", p->out_data, w.want);
}

E2E_BOTH(replay, messages_by_sse)
{
    comes_out_again(TYPE_JSON, "sse");
}

E2E_BOTH(replay, messages_by_long_poll)
{
    comes_out_again(TYPE_JSON, "long-poll");
}

E2E_BOTH(replay, bytes_by_sse)
{
    comes_out_again(TYPE_BINARY, "sse");
}

E2E_BOTH(replay, text_by_long_poll)
{
    comes_out_again(TYPE_TEXT, "long-poll");
}

/* --- the timing ------------------------------------------------------------------------------- */

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static const int64_t times[] = {123000, 123010, 123011, 123011, 123040, 123100,
                                123200, 123203, 123500, 123501, 123505, 123800};
#define TIMES (sizeof times / sizeof *times)

/* How much each gap was off, ms, where it was less than in the runs before. */
static void play_once(const char *file, const char *speed, double factor, double best[TIMES])
{
    struct e2e_process *p = dstream_start("replay", file, "--speed", speed);
    int64_t came[TIMES];
    for (size_t i = 0; i < TIMES; i++) {
        e2e_until_out(p, 2 * (i + 1));
        came[i] = now_us();
        double want = (double)(times[i] - times[0]) * factor,
               is = (double)(came[i] - came[0]) / 1000;
        double off = is > want ? is - want : want - is;
        best[i] = off < best[i] ? off : best[i];
    }
    e2e_status(p, 0);
}

/* A busy machine makes some gaps of some runs longer; a program that is late does so in each run.
 */
static void within_5_ms(const char *speed, double factor)
{
    struct e2e_bytes b = e2e_text("{\"dstream-recording\":1,\"contentType\":\"application/json\","
                                  "\"begun\":0}\n");
    for (size_t i = 0; i < TIMES; i++)
        e2e_add_text(&b, e2e_printf("{\"time\":%lld,\"offset\":\"%zu\",\"next\":\"%zu\","
                                    "\"json\":[%zu]}\n",
                                    (long long)times[i], i, i + 1, i % 10));
    const char *file = e2e_path("timed");
    e2e_write_file(file, b);
    double best[TIMES], worst = 1e9;
    for (size_t i = 0; i < TIMES; i++)
        best[i] = worst;
    for (int64_t end = now_us() + 60000000; worst >= 5 && now_us() < end;) {
        play_once(file, speed, factor, best);
        worst = 0;
        for (size_t i = 0; i < TIMES; i++)
            worst = best[i] > worst ? best[i] : worst;
    }
    fprintf(stderr, "--speed %s: at most %.2f ms off\n", speed, worst);
    cr_expect_lt(worst, 5, "--speed %s: always off by %.1f ms", speed, worst);
}

E2E(replay, gaps_are_those_that_were)
{
    within_5_ms("1", 1);
}

E2E(replay, gaps_twice_as_long)
{
    within_5_ms("0.5", 2);
}

E2E(replay, gaps_a_fourth_as_long)
{
    within_5_ms("4", 0.25);
}

/* --- where it starts and stops ---------------------------------------------------------------- */

/* The position that is printed is where the rest begins, wherever it stopped. */
E2E_EMBEDDED(replay, goes_on_where_it_stopped)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 10);
    written_add(&w, 10);
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    for (int n = 1; n <= 6; n++) {
        const char *count = e2e_printf("%d", n);
        struct e2e_process *p = dstream_run("replay", exported(), "-n", count, "-v");
        e2e_status(p, 0);
        struct e2e_bytes all = {0};
        e2e_add(&all, p->out_data.p, p->out_data.n);
        const char *position = reading_position(p);
        p = dstream_run("replay", exported(), "--from", position);
        e2e_status(p, 0);
        e2e_add(&all, p->out_data.p, p->out_data.n);
        e2e_same(count, all, w.want);
        /* It is one of the stream as well. */
        p = dstream_run("read", w.url, "--from", position);
        e2e_same(count, p->out_data, e2e_text(w.want.p + (all.n - p->out_data.n)));
    }
}

E2E_EMBEDDED(replay, refuses_what_makes_no_sense)
{
    struct written w = written_begin(e2e_url("s"), TYPE_BINARY);
    written_add(&w, 10);
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    static const struct {
        const char *a, *b, *says;
        int status;
    } cases[] = {{"--from", "nowhere", "no entry of the recording", 2},
                 {"--until", "nowhere", "no entry of the recording", 2},
                 {"--from", "now", "no place in a recording", 2},
                 {"-n", "1", "--count counts messages", 2},
                 {"-F", "ndjson", "for JSON streams only", 2},
                 {"--speed", "0", "a number above 0", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct e2e_process *p = dstream_run("replay", exported(), cases[i].a, cases[i].b);
        e2e_status(p, cases[i].status);
        e2e_says(p, cases[i].says);
    }
    struct e2e_process *p = dstream_run("replay", e2e_path("none"));
    e2e_status(p, 66);
    e2e_write_file(e2e_path("other"), e2e_text("not a recording\n"));
    p = dstream_run("replay", e2e_path("other"));
    e2e_status(p, 65);
    e2e_says(p, "line 1");
}

/* What a crash left of the last line is no entry, and said to be left out. */
E2E_EMBEDDED(replay, leaves_out_a_line_that_is_torn)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 100);
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    struct e2e_bytes all = e2e_read_file(exported());
    e2e_add_text(&all, "{\"time\":9000000,\"off");
    e2e_write_file(e2e_path("torn"), all);
    struct e2e_process *p = dstream_run("replay", e2e_path("torn"));
    e2e_status(p, 0);
    e2e_same("torn", p->out_data, w.want);
    e2e_says(p, "its last line is cut after 20 bytes");
}

/* A wait of days ends with a signal, and with the reader. */
E2E(replay, a_wait_ends_with_a_signal_or_the_reader)
{
    const char *file = e2e_path("long");
    e2e_write_file(file, e2e_text("{\"dstream-recording\":1,\"contentType\":\"text/plain\","
                                  "\"begun\":0}\n"
                                  "{\"time\":0,\"offset\":\"a\",\"next\":\"b\",\"text\":\"one\"}\n"
                                  "{\"time\":864000000,\"offset\":\"b\",\"next\":\"c\"}\n"));
    struct e2e_process *p = dstream_start("replay", file, "-v");
    e2e_until_out(p, 3);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    cr_expect_str_eq(reading_position(p), "b");
    p = dstream_start("replay", file);
    e2e_until_out(p, 3);
    close(p->out);
    p->out = -1;
    e2e_status(p, 128 + SIGPIPE);
    p = dstream_run("replay", file, "--max-time", "50ms");
    e2e_status(p, 0);
}
