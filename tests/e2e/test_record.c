/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream record: by each way of reading, and killed at each step and at random moments, when each
 * answer has to be there once.
 *
 * DSTREAM_SOAK=N makes the random ones N times as many; DSTREAM_SEED=SEED repeats the fresh seed
 * that a run has printed.
 */
#include "config.h"

#include "tests/e2e/killing.h"
#include "tests/e2e/recording.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "decode/recording.h"

static void same(const char *what, struct e2e_bytes want, bool closed)
{
    struct recorded r = recorded_read(exported());
    e2e_same(what, r.data, want);
    cr_expect_eq(r.closed, closed, "%s: closed is %d", what, r.closed);
    cr_expect_not(r.torn, "%s: the last line is torn", what);
}

/* --- by each way of reading ------------------------------------------------------------------- */

static void by_each(const char *type, const char *live, enum ds_recorded by)
{
    struct written w = written_begin(e2e_url("s"), type);
    written_add(&w, 3000);
    struct e2e_process *p = dstream_start("record", w.url, "-o", exported(), "-f", "--live", live,
                                          "-vv", "--sync", "batch");
    reading_until_live(p);
    size_t before = recorded_read(exported()).data.n;
    cr_expect_eq(before, w.want.n, "%zu of %zu bytes before it is live", before, w.want.n);
    for (int i = 0; i < 3; i++) {
        size_t length = exported_state_length();
        written_add(&w, 500);
        exported_until_state_length(length + 500);
    }
    e2e_close(w.url);
    e2e_status(p, 0);
    struct recorded r = recorded_read(exported());
    same(live, w.want, true);
    cr_expect_geq(r.by[DS_RECORDED_CATCH_UP], 1);
    cr_expect_geq(r.by[by], 1, "nothing of it came by %s", live);
    exported_alone();
    p = dstream_run("record", w.url, "-o", exported());
    e2e_status(p, 0);
    e2e_says(p, "complete");
}

E2E_BOTH(record, messages_by_sse)
{
    by_each(TYPE_JSON, "sse", DS_RECORDED_SSE);
}

E2E_BOTH(record, messages_by_long_poll)
{
    by_each(TYPE_JSON, "long-poll", DS_RECORDED_LONG_POLL);
}

E2E_BOTH(record, bytes_by_sse)
{
    by_each(TYPE_BINARY, "sse", DS_RECORDED_SSE);
}

E2E_BOTH(record, text_by_long_poll)
{
    by_each(TYPE_TEXT, "long-poll", DS_RECORDED_LONG_POLL);
}

/* SSE would change the bytes. */
E2E_EMBEDDED(record, text_by_sse_is_refused)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 100);
    struct e2e_process *p =
        dstream_run("record", w.url, "-o", exported(), "-f", "--live", "sse", "-q");
    e2e_status(p, 2);
    e2e_says(p, "SSE changes the bytes");
    cr_expect_not(e2e_exists(exported()));
}

/* --- where it starts and stops ---------------------------------------------------------------- */

E2E_EMBEDDED(record, stops_and_goes_on_inside_an_answer)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 100);
    written_add(&w, 100); /* six messages */
    for (int i = 0; i < 3; i++)
        e2e_status(dstream_run("record", w.url, "-o", exported(), "-n", "2"), 0);
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    same("six messages", w.want, false);
    cr_expect_geq(recorded_read(exported()).answers, 3);
}

E2E_EMBEDDED(record, of_an_empty_stream_says_so)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    struct recorded r = recorded_read(exported());
    cr_expect_eq(r.entries, 1);
    written_add(&w, 10);
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    same("then written", w.want, false);
}

/* No credential gets into it, from whatever side. */
E2E_EMBEDDED(record, holds_no_secret)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 10);
    char *url = e2e_printf("%s?token=hunter2&part=1", w.url);
    e2e_status(dstream_run("record", url, "-o", exported(), "-H", "Authorization: Bearer hunter2",
                           "-H", "Cookie: hunter2"),
               0);
    struct e2e_bytes all = e2e_read_file(exported());
    cr_expect_null(strstr(all.p, "hunter2"), "%s", all.p);
    cr_expect_not_null(strstr(all.p, "part=1"), "%s", all.p);
    same("what it is of", w.want, false);
}

/* --- killed ----------------------------------------------------------------------------------- */

/* At every step there is, and once more at the same one, which then is one of the recovery. */
static void killed_at_each(const struct written *w, const char *what)
{
    int status = KILLED;
    for (unsigned n = 1; status != 0; n += e2e_step_stride()) {
        exported_remove();
        for (int again = 0; again < 2 && status != 0; again++) {
            e2e_limits(e2e_printf("%s=%u", what, n));
            status = e2e_wait(
                dstream_start("record", w->url, "-o", exported(), "--sync", "batch", "-q"));
            e2e_limits("");
            cr_assert(status == 0 || status == KILLED, "ended with %d", status);
        }
        bool through = status == 0;
        e2e_status(dstream_run("record", w->url, "-o", exported()), 0);
        same(e2e_printf("after %s=%u", what, n), w->want, true);
        exported_alone();
        status = through && n > 40 ? 0 : KILLED;
        cr_assert_lt(n, 500);
    }
}

E2E(record, killed_at_each_step)
{
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", "240", NULL});
    struct written w = written_begin(e2e_url_at(base, "s"), TYPE_JSON);
    written_add(&w, 100);
    written_add(&w, 100);
    e2e_close(w.url);
    killed_at_each(&w, "kill_at");
    killed_at_each(&w, "kill_after");
}

static struct e2e_process *follow(const struct written *w, uint64_t *state)
{
    static const char *const modes[] = {"auto", "long-poll", "sse"};
    static const char *const when[] = {"batch", "1ms", "1d", "100"};
    const char *mode = modes[e2e_draw(state) % (strcmp(w->type, TYPE_TEXT) == 0 ? 2 : 3)];
    if (e2e_draw(state) % 2 == 0)
        e2e_limits(e2e_printf("kill_%s=%u", e2e_draw(state) % 2 ? "at" : "after",
                              (unsigned)(e2e_draw(state) % 40) + 1));
    struct e2e_process *p = dstream_start("record", w->url, "-o", exported(), "-fv", "--live", mode,
                                          "--sync", when[e2e_draw(state) % 4]);
    e2e_limits("");
    return p;
}

static void killed_while_written(const char *type, uint64_t seed, unsigned long kills)
{
    uint64_t state = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    const char *what = e2e_printf("%s, DSTREAM_SEED=%llu", type, (unsigned long long)seed);
    fprintf(stderr, "%s\n", what); /* first, as a crash of the test would not say it */
    struct written w = written_begin(e2e_url(e2e_printf("s%llu", (unsigned long long)seed)), type);
    int64_t last = 0;
    for (unsigned long i = 0; i < kills; i++) {
        struct e2e_process *p = follow(&w, &state);
        until_answered(p);
        for (uint64_t n = e2e_draw(&state) % 4; n > 0; n--) {
            written_add(&w, 1 + e2e_draw(&state) % 2000);
            usleep((useconds_t)(e2e_draw(&state) % (1U << e2e_draw(&state) % 15)));
        }
        usleep((useconds_t)(e2e_draw(&state) % (1U << e2e_draw(&state) % 17)));
        e2e_kill(p, SIGKILL);
        if (e2e_wait(p) != KILLED)
            cr_assert_fail("%s: kill %lu: ended with %d: %s", what, i, p->status, p->err_data.p);
        if (e2e_draw(&state) % 8 == 0 || i == kills / 2) {
            written_add(&w, 10);
            e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
            same(what, w.want, false);
            int64_t now = recorded_read(exported()).last;
            cr_assert_geq(now, last, "%s: kill %lu: the time went back", what, i);
            last = now;
        }
    }
    e2e_close(w.url);
    e2e_status(dstream_run("record", w.url, "-o", exported(), "-f"), 0);
    same(what, w.want, true);
    exported_alone();
    exported_remove();
}

static void killed_at_random(const char *type)
{
    uint64_t fresh = e2e_fresh_seed();
    unsigned long kills = (e2e_soak() > 1 ? 10 : 3) * e2e_soak();
    killed_while_written(type, 1, kills);
    killed_while_written(type, fresh, kills);
}

E2E_BOTH(record, killed_at_random_moments_of_messages)
{
    killed_at_random(TYPE_JSON);
}

E2E_BOTH(record, killed_at_random_moments_of_text)
{
    killed_at_random(TYPE_TEXT);
}

E2E_BOTH(record, killed_at_random_moments_of_bytes)
{
    killed_at_random(TYPE_BINARY);
}
