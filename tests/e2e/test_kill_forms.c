/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exports of every form survive kill -9: in each format, rotated, compressed, into a directory. At
 * the steps of their commits in turn, where each step can fail instead as well, and at random
 * moments while the streams are written.
 *
 * Some of the steps are taken; with DSTREAM_SOAK=N all are, and random moments are N times as many.
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

/* --- at each step ----------------------------------------------------------------------------- */

static void goes_on(const struct subject *s, const char *what)
{
    struct e2e_process *p = e2e_finished(subject_export(s, "", "batch", NULL));
    if (p->status != 0)
        cr_assert_fail("%s, %s: %s", s->f->name, what, p->err_data.p);
    subject_same(s, what);
}

/* Every so many steps, beginning with one that differs from kind to kind, so that together they
 * meet more. Killed once more at the same step, which then is one of the recovery. */
static void killed(const struct subject *s, const char *when, unsigned first, unsigned by,
                   struct tally *t)
{
    for (unsigned n = first;; n += by) {
        subject_clear(s);
        struct e2e_process *p =
            e2e_finished(subject_export(s, e2e_printf("%s=%u", when, n), "batch", NULL));
        if (p->status == 0)
            return;
        e2e_status(p, KILLED);
        tally_add(t, p);
        p = e2e_finished(subject_export(s, e2e_printf("%s=%u", when, n), "batch", NULL));
        if (p->status != 0)
            tally_add(t, p);
        goes_on(s, e2e_printf("after %s=%u", when, n));
    }
}

/* Where all of it ends, or one stream of several; whatever it is, the next run goes on. */
static void fails(const struct subject *s, unsigned first, unsigned by)
{
    for (unsigned n = first;; n += by) {
        subject_clear(s);
        const char *limits = e2e_printf("fail_with=%d,fail_at=%u", n % 2 ? EIO : ENOSPC, n);
        struct e2e_process *p = e2e_finished(subject_export(s, limits, "batch", NULL));
        if (p->status == 0)
            break;
        e2e_status(p, 74);
        e2e_says(p, n % 2 ? "the disk reported an error" : "the disk is full");
        goes_on(s, limits);
    }
}

enum at { BEFORE, AFTER, FAILING };

static void steps(const struct subject *s, enum at at, unsigned by, struct tally *t)
{
    if (at == FAILING)
        fails(s, 1 + 24 % by, by);
    else if (at == BEFORE)
        killed(s, "kill_at", 1 + 4 % by, by, t);
    else
        killed(s, "kill_after", 1 + 14 % by, by, t);
}

static struct subject some_of(const struct form *f, const char *base)
{
    struct subject s = subject_begin(f, base);
    for (size_t i = 0; i < f->streams; i++) {
        written_add(&s.w[i], 100);
        written_add(&s.w[i], 100);
    }
    subject_close(&s);
    return s;
}

/* In pages, so that there are several commits. */
static void each_step(const struct form *f, enum at at)
{
    struct tally t = {.n = 0};
    struct subject s =
        some_of(f, e2e_serve(NULL, (const char *const[]){"--page-size", "240", NULL}));
    steps(&s, at, e2e_soak() > 1 ? 1 : e2e_sanitized() ? 93 : 31, &t);
    tally_say(&t, "each step", f->name);
}

/* The reference server answers with all at once. */
static void each_step_of_one_answer(const struct form *f)
{
    struct tally t = {.n = 0};
    struct subject s = some_of(f, e2e_base());
    for (int at = BEFORE; at <= FAILING; at++)
        steps(&s, (enum at)at, e2e_soak() > 1 ? 1 : 51, &t);
    tally_say(&t, "each step", f->name);
}

/* Several tests, since all steps at full length take more time than one may. */
#define EACH_STEP(name, ...)                                                                       \
    E2E(kill_forms, name##_before_each_step)                                                       \
    {                                                                                              \
        each_step(&(struct form){__VA_ARGS__}, BEFORE);                                            \
    }                                                                                              \
    E2E(kill_forms, name##_after_each_step)                                                        \
    {                                                                                              \
        each_step(&(struct form){__VA_ARGS__}, AFTER);                                             \
    }                                                                                              \
    E2E(kill_forms, name##_failing_at_each_step)                                                   \
    {                                                                                              \
        each_step(&(struct form){__VA_ARGS__}, FAILING);                                           \
    }                                                                                              \
    E2E_REFERENCE(kill_forms, name##_at_each_step_of_one_answer)                                   \
    {                                                                                              \
        each_step_of_one_answer(&(struct form){__VA_ARGS__});                                      \
    }

EACH_STEP(rotated, "rotated", 1, "150", NULL, NULL)
EACH_STEP(gzip, "gzip", 1, NULL, "gzip", NULL)
EACH_STEP(zstd, "zstd", 1, NULL, "zstd", NULL)
EACH_STEP(rotated_gzip, "rotated gzip", 1, "150", "gzip", NULL)
EACH_STEP(directory, "directory", 3, NULL, NULL, NULL)
EACH_STEP(directory_rotated_zstd, "directory, rotated zstd", 2, "150", "zstd", NULL)

/* --- at random moments ------------------------------------------------------------------------ */

static uint64_t below(uint64_t *state, uint64_t n)
{
    return (e2e_draw(state) >> 16) % n;
}

static void pass(uint64_t *state)
{
    uint64_t us = below(state, UINT64_C(1) << below(state, 17));
    nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

/* Half of them do not wait for our kill, but die at an operation on files. */
static struct e2e_process *follow(const struct subject *s, uint64_t *state)
{
    static const char *const when[] = {"batch", "1ms", "1d", "100", "20ms"};
    const char *limits = "";
    if (below(state, 2) == 0)
        limits = e2e_printf("kill_%s=%u", below(state, 2) ? "at" : "after",
                            (unsigned)below(state, 20 + 12 * s->f->streams) + 1);
    return subject_export(s, limits, when[below(state, 5)], "-fv");
}

static void killed_while_written(const struct form *f, unsigned long kills)
{
    uint64_t seed = e2e_fresh_seed(), state = seed;
    fprintf(stderr, "%s: DSTREAM_SEED=%llu\n", f->name, (unsigned long long)seed);
    struct subject s = subject_begin(f, e2e_base());
    struct tally t = {.n = 0};
    for (unsigned long i = 0; i < kills; i++) {
        struct e2e_process *p = follow(&s, &state);
        until_answered(p);
        for (uint64_t n = below(&state, 6); n > 0; n--) {
            written_add(&s.w[below(&state, f->streams)], 1 + below(&state, 2000));
            pass(&state);
        }
        pass(&state);
        e2e_kill(p, SIGKILL);
        if (e2e_wait(p) != KILLED)
            cr_assert_fail("%s: kill %lu: ended with %d: %s", f->name, i, p->status, p->err_data.p);
        tally_add(&t, p);
        if (below(&state, 8) == 0)
            goes_on(&s, e2e_printf("seed %llu, kill %lu", (unsigned long long)seed, i));
    }
    subject_close(&s);
    e2e_status(e2e_finished(subject_export(&s, "", "1s", "-f")), 0);
    subject_same(&s, e2e_printf("seed %llu", (unsigned long long)seed));
    tally_say(&t, "random", f->name);
}

#define AT_RANDOM(name, ...)                                                                       \
    E2E_BOTH(kill_forms, name##_at_random)                                                         \
    {                                                                                              \
        killed_while_written(&(struct form){__VA_ARGS__}, 2 * e2e_soak());                         \
    }

AT_RANDOM(envelopes, "envelopes", 3, NULL, NULL, "envelope")
AT_RANDOM(lines, "lines", 3, NULL, NULL, "lines")
AT_RANDOM(template, "template", 3, NULL, NULL, FORM_TEMPLATE)
AT_RANDOM(rotated, "rotated", 1, "1500", NULL, NULL)
AT_RANDOM(gzip, "gzip", 1, NULL, "gzip", NULL)
AT_RANDOM(zstd, "zstd", 1, NULL, "zstd", NULL)
AT_RANDOM(rotated_gzip_envelopes, "rotated gzip envelopes", 1, "1500", "gzip", "envelope")
AT_RANDOM(twenty_streams, "20 streams", 20, NULL, NULL, NULL)
AT_RANDOM(twenty_streams_rotated_and_packed, "20 streams, rotated zstd", 20, "1500", "zstd", NULL)
