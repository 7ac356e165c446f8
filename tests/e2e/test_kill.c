/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An export survives kill -9: at each step of a commit in turn, and at random moments while the
 * stream is being written. And each step can fail instead.
 *
 * DSTREAM_SOAK=N makes the random ones N times as many; DSTREAM_SEED=SEED repeats the fresh seed
 * that a run has printed.
 */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/killing.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

/* --- at each step ----------------------------------------------------------------------------- */

/* What an export starts from. */
struct plain {
    struct written *w;
    const char *option; /* --append or --overwrite, with a file that is there; else NULL */
    struct e2e_bytes there, want;
    struct tally *t;
};

static void prepare(const struct plain *s)
{
    exported_remove();
    if (s->option)
        e2e_write_file(exported(), s->there);
}

/* One run in which the `n`-th operation on files is where `what` happens; 0: none. */
static struct e2e_process *run_with(const struct plain *s, const char *what, unsigned n)
{
    e2e_limits(n > 0 ? e2e_printf("%s=%u", what, n) : "");
    struct e2e_process *p = dstream_run("export", s->w->url, "-o", exported(), "--sync", "batch",
                                        s->option ? s->option : "-q");
    e2e_limits("");
    if (p->status == KILLED)
        tally_add(s->t, p);
    return p;
}

static void goes_on(const struct plain *s, const char *what, unsigned n)
{
    e2e_status(run_with(s, NULL, 0), 0);
    exported_same(e2e_printf("after %s=%u", what, n), s->want);
    exported_alone();
}

/* Killed at every step there is, the first step of all that is never reached ends it. Killed once
 * more at the same one, which then is a step of the recovery. Returns how many steps there are. */
static unsigned killed_at_each(const struct plain *s, const char *what)
{
    for (unsigned n = 1;; n += e2e_step_stride()) {
        prepare(s);
        struct e2e_process *p = run_with(s, what, n);
        if (p->status == 0) {
            exported_same("not killed", s->want);
            cr_assert_gt(n, 20, "an export in %u steps?", n);
            return n - 1;
        }
        e2e_status(p, KILLED);
        p = run_with(s, what, n);
        if (p->status != 0)
            e2e_status(p, KILLED);
        goes_on(s, what, n);
    }
}

/* Each run is killed at its `n`-th step, until one ends before it or as many were as there is no
 * sense in. */
static void killed_again_and_again(const struct plain *s, const char *what, unsigned steps)
{
    for (unsigned n = 1; n <= steps; n += e2e_step_stride()) {
        prepare(s);
        for (int i = 0; i < 6; i++) {
            struct e2e_process *p = run_with(s, what, n);
            if (p->status == 0)
                break;
            e2e_status(p, KILLED);
        }
        goes_on(s, what, n);
    }
}

static void fails_at_each(const struct plain *s, unsigned steps)
{
    static const struct {
        int error;
        const char *said;
    } errors[] = {{EIO, "the disk reported an error"},
                  {ENOSPC, "the disk is full"},
                  {EDQUOT, "the disk quota is used up"}};
    for (unsigned n = 1, k = 0; n <= steps; n += e2e_step_stride(), k = (k + 1) % 3) {
        prepare(s);
        const char *with = e2e_printf("fail_with=%d,fail_at", errors[k].error);
        struct e2e_process *p = run_with(s, with, n);
        e2e_status(p, 74);
        e2e_says(p, errors[k].said);
        goes_on(s, "fail_at", n);
    }
}

static void each_step(struct written *w, const char *option)
{
    struct tally t = {.n = 0};
    struct plain s = {.w = w, .option = option, .t = &t};
    e2e_add(&s.want, "", 0);
    if (option)
        s.there = e2e_random(3 * w->want.n, 1);
    if (option && strcmp(option, "--append") == 0)
        e2e_add(&s.want, s.there.p, s.there.n);
    e2e_add(&s.want, w->want.p, w->want.n);
    unsigned before = killed_at_each(&s, "kill_at"), after = killed_at_each(&s, "kill_after");
    cr_assert_eq(before, after);
    killed_again_and_again(&s, "kill_at", before);
    fails_at_each(&s, before);
    tally_say(&t, "each step", option ? e2e_printf("%s %s", w->type, option) : w->type);
}

/* A stream in pages, so that there are several commits. */
static void each_step_of(const char *type, const char *option)
{
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", "240", NULL});
    struct written w = written_begin(e2e_url_at(base, "s"), type);
    for (int i = 0; i < 2; i++)
        written_add(&w, 100);
    e2e_close(w.url);
    each_step(&w, option);
}

E2E(kill, at_each_step_of_messages)
{
    each_step_of(TYPE_JSON, NULL);
}

E2E(kill, at_each_step_of_text)
{
    each_step_of(TYPE_TEXT, NULL);
}

E2E(kill, at_each_step_of_bytes)
{
    each_step_of(TYPE_BINARY, NULL);
}

E2E(kill, at_each_step_behind_a_file)
{
    each_step_of(TYPE_TEXT, "--append");
}

E2E(kill, at_each_step_over_a_file)
{
    each_step_of(TYPE_JSON, "--overwrite");
}

/* Lines of which a part depends on the time: each message is there once, whatever the run. */
E2E(kill, at_each_step_of_envelopes)
{
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", "240", NULL});
    struct written w = written_begin(e2e_url_at(base, "s"), TYPE_JSON);
    written_add(&w, 100);
    written_add(&w, 100);
    int status = KILLED;
    struct tally t = {.n = 0};
    for (unsigned n = 1; status != 0; n += e2e_step_stride()) {
        exported_remove();
        e2e_limits(e2e_printf("kill_at=%u", n));
        struct e2e_process *p =
            dstream_run("export", w.url, "-o", exported(), "-F", "envelope", "--sync", "batch");
        e2e_limits("");
        status = p->status;
        if (status == KILLED)
            tally_add(&t, p);
        e2e_status(dstream_run("export", w.url, "-o", exported(), "-F", "envelope"), 0);
        e2e_same(e2e_printf("after kill_at=%u", n),
                 payloads("envelope", w.type, e2e_read_file(exported())), w.want);
        exported_alone();
        cr_assert_lt(n, 500);
    }
    tally_say(&t, "each step", "envelope");
}

/* The reference server answers with all at once. */
E2E_BOTH(kill, at_each_step_of_one_answer)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 100);
    written_add(&w, 100);
    struct tally t = {.n = 0};
    struct plain s = {.w = &w, .want = w.want, .t = &t};
    killed_at_each(&s, "kill_at");
    killed_at_each(&s, "kill_after");
    tally_say(&t, "each step", "one answer");
}

/* --- at random moments ------------------------------------------------------------------------ */

/* The moment of the kill: a time that is more often short than long. */
static void pass(uint64_t *state)
{
    uint64_t us = e2e_below(state, UINT64_C(1) << e2e_below(state, 17));
    nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

/* An export that follows, in a mode that promises exact bytes; half of them do not wait for our
 * kill, but die at an operation on files. */
static struct e2e_process *follow(const struct written *w, uint64_t *state)
{
    static const char *const modes[] = {"auto", "long-poll", "sse"};
    static const char *const when[] = {"batch", "1ms", "1d", "100"};
    const char *mode = modes[e2e_below(state, strcmp(w->type, TYPE_TEXT) == 0 ? 2 : 3)];
    if (e2e_below(state, 2) == 0)
        e2e_limits(e2e_printf("kill_%s=%u", e2e_below(state, 2) ? "at" : "after",
                              (unsigned)e2e_below(state, 40) + 1));
    struct e2e_process *p = dstream_start("export", w->url, "-o", exported(), "-fv", "--live", mode,
                                          "--sync", when[e2e_below(state, 4)]);
    e2e_limits("");
    return p;
}

static void killed_while_written(const char *type, uint64_t seed, unsigned long kills)
{
    uint64_t state = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    const char *what = e2e_printf("%s, DSTREAM_SEED=%llu", type, (unsigned long long)seed);
    fprintf(stderr, "%s\n", what); /* first, as a crash of the test would not say it */
    struct written w = written_begin(e2e_url(e2e_printf("s%llu", (unsigned long long)seed)), type);
    struct tally t = {.n = 0};
    size_t committed = 0;
    unsigned long longer = 0, on_its_way = 0;
    for (unsigned long i = 0; i < kills; i++) {
        struct e2e_process *p = follow(&w, &state);
        until_answered(p);
        for (uint64_t n = e2e_below(&state, 4); n > 0; n--) {
            written_add(&w, 1 + e2e_below(&state, 2000));
            pass(&state);
        }
        pass(&state);
        e2e_kill(p, SIGKILL);
        if (e2e_wait(p) != KILLED)
            cr_assert_fail("%s: kill %lu: ended with %d: %s", what, i, p->status, p->err_data.p);
        tally_add(&t, p);
        size_t now = exported_state_length();
        cr_assert_geq(now, committed, "%s: kill %lu: the state went back", what, i);
        committed = now;
        longer += file_length(exported()) > now;
        on_its_way += e2e_exists(e2e_path("out.dstate.tmp"));
        /* Now and then all of it comes through, so that what follows goes on from there. */
        if (e2e_below(&state, 8) == 0 || i == kills / 2) {
            written_add(&w, 10);
            e2e_status(dstream_run("export", w.url, "-o", exported()), 0);
            exported_same(what, w.want);
        }
    }
    e2e_close(w.url);
    e2e_status(dstream_run("export", w.url, "-o", exported(), "-f"), 0);
    exported_same(what, w.want);
    exported_alone();
    exported_remove();
    fprintf(stderr, "%s: of %lu kills %lu left more than the state said, %lu a state on its way\n",
            what, kills, longer, on_its_way);
    tally_say(&t, "random", w.type);
}

static void killed_at_random(const char *type)
{
    uint64_t fresh = e2e_fresh_seed();
    unsigned long kills = (e2e_soak() > 1 ? 5 : 2) * e2e_soak();
    killed_while_written(type, 1, kills);
    killed_while_written(type, fresh, kills);
}

E2E_BOTH(kill, at_random_moments_of_messages)
{
    killed_at_random(types[0]);
}

E2E_BOTH(kill, at_random_moments_of_text)
{
    killed_at_random(types[1]);
}

E2E_BOTH(kill, at_random_moments_of_bytes)
{
    killed_at_random(types[2]);
}
