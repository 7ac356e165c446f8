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

enum { MOST = 20 };

struct form {
    const char *name;
    size_t streams; /* more than one: into a directory */
    const char *rotate, *pack, *format;
};

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

static const char *suffix_of(const struct form *f)
{
    if (!f->pack)
        return "";
    return strcmp(f->pack, "gzip") == 0 ? ".gz" : ".zst";
}

static char *path_of(const struct form *f, size_t i)
{
    return f->streams > 1 ? e2e_printf("%s/s%zu", e2e_path("d"), i) : e2e_path("out");
}

static const char *manifest_of(const struct form *f)
{
    return f->streams > 1 ? e2e_path("d/MANIFEST.ndjson")
                          : e2e_printf("%s%s.manifest.ndjson", path_of(f, 0), suffix_of(f));
}

/* A form and its streams. */
struct subject {
    const struct form *f;
    const char *base;
    struct written w[MOST];
};

static struct e2e_process *start(const struct subject *s, const char *limits, const char *sync,
                                 const char *follow)
{
    const struct form *f = s->f;
    const char *args[MOST + 20] = {"export", "--sync", sync, "--url", e2e_url_at(s->base, "")};
    size_t n = 5;
    for (size_t i = 0; i < f->streams; i++)
        args[n++] = s->w[i].url;
    args[n++] = f->streams > 1 ? "-d" : "-o";
    args[n++] = f->streams > 1 ? e2e_path("d") : e2e_printf("%s%s", path_of(f, 0), suffix_of(f));
    if (f->rotate) {
        args[n++] = "--rotate-size";
        args[n++] = f->rotate;
    }
    if (f->pack) {
        args[n++] = "-z";
        args[n++] = f->pack;
    }
    if (f->format) {
        args[n++] = "-F";
        args[n++] = f->format;
    }
    args[n++] = follow ? follow : "-q";
    e2e_limits(limits);
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)});
    e2e_limits("");
    return p;
}

static void add_file(struct e2e_bytes *all, const struct form *f, size_t i, const char *path)
{
    struct e2e_bytes b = f->pack ? unpacked(path) : e2e_read_file(path);
    b = payloads(f->format, types[i % 3], b);
    e2e_add(all, b.p, b.n);
}

/* All of a stream that is in files; *n: how many segments have their names. */
static struct e2e_bytes joined(const struct form *f, size_t i, size_t *n)
{
    struct e2e_bytes all = e2e_text("");
    const char *path = path_of(f, i), *suffix = suffix_of(f);
    *n = 0;
    if (!f->rotate) {
        add_file(&all, f, i, e2e_printf("%s%s", path, suffix));
        return all;
    }
    for (;; ++*n) {
        const char *name = e2e_printf("%s-%06zu%s", path, *n + 1, suffix);
        if (!e2e_exists(name))
            break;
        add_file(&all, f, i, name);
    }
    const char *last = e2e_printf("%s%s.partial", path, suffix);
    if (e2e_exists(last))
        add_file(&all, f, i, last);
    return all;
}

static void check(const struct subject *s, const char *what)
{
    size_t lines = s->f->streams > 1 ? s->f->streams : 0;
    for (size_t i = 0; i < s->f->streams; i++) {
        size_t n;
        e2e_same(e2e_printf("%s, %s, stream %zu", s->f->name, what, i), joined(s->f, i, &n),
                 s->w[i].want);
        lines += n;
    }
    if (lines == 0)
        return;
    struct e2e_bytes manifest = e2e_read_file(manifest_of(s->f));
    cr_assert_eq(reading_lines(manifest.p), lines, "%s, %s: %s", s->f->name, what, manifest.p);
}

static void clear(void)
{
    const char *const argv[] = {
        "sh", "-c", e2e_printf("rm -rf -- '%s' '%s'*", e2e_path("d"), e2e_path("out")), NULL};
    e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv})), 0);
}

/* --- at each step ----------------------------------------------------------------------------- */

static void goes_on(const struct subject *s, const char *what)
{
    struct e2e_process *p = e2e_finished(start(s, "", "batch", NULL));
    if (p->status != 0)
        cr_assert_fail("%s, %s: %s", s->f->name, what, p->err_data.p);
    check(s, what);
}

/* Every so many steps, beginning with one that differs from kind to kind, so that together they
 * meet more. Killed once more at the same step, which then is one of the recovery. */
static void killed(const struct subject *s, const char *when, unsigned first, unsigned by,
                   struct tally *t)
{
    for (unsigned n = first;; n += by) {
        clear();
        struct e2e_process *p = e2e_finished(start(s, e2e_printf("%s=%u", when, n), "batch", NULL));
        if (p->status == 0)
            return;
        e2e_status(p, KILLED);
        tally_add(t, p);
        p = e2e_finished(start(s, e2e_printf("%s=%u", when, n), "batch", NULL));
        if (p->status != 0)
            tally_add(t, p);
        goes_on(s, e2e_printf("after %s=%u", when, n));
    }
}

/* Where all of it ends, or one stream of several; whatever it is, the next run goes on. */
static void fails(const struct subject *s, unsigned first, unsigned by)
{
    for (unsigned n = first;; n += by) {
        clear();
        const char *limits = e2e_printf("fail_with=%d,fail_at=%u", n % 2 ? EIO : ENOSPC, n);
        struct e2e_process *p = e2e_finished(start(s, limits, "batch", NULL));
        if (p->status == 0)
            break;
        e2e_status(p, 74);
        e2e_says(p, n % 2 ? "the disk reported an error" : "the disk is full");
        goes_on(s, limits);
    }
}

enum at { BEFORE, AFTER, FAILING };

static void each_step(const struct form *f, enum at at)
{
    struct subject s = {.f = f,
                        .base = e2e_serve(NULL, (const char *const[]){"--page-size", "240", NULL})};
    struct tally t = {.n = 0};
    for (size_t i = 0; i < f->streams; i++) {
        s.w[i] = written_begin(e2e_url_at(s.base, e2e_printf("s%zu", i)), types[i % 3]);
        written_add(&s.w[i], 100);
        written_add(&s.w[i], 100);
        e2e_close(s.w[i].url);
    }
    unsigned by = e2e_soak() > 1 ? 1 : 30;
    if (at == FAILING)
        fails(&s, 1 + 24 % by, by);
    else if (at == BEFORE)
        killed(&s, "kill_at", 1 + 4 % by, by, &t);
    else
        killed(&s, "kill_after", 1 + 14 % by, by, &t);
    tally_say(&t, "each step", f->name);
}

/* Three tests, since all steps at full length take more time than one may. */
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
    return start(s, limits, when[below(state, 5)], "-f");
}

static void killed_while_written(const struct form *f, unsigned long kills)
{
    uint64_t seed = e2e_fresh_seed(), state = seed;
    fprintf(stderr, "%s: DSTREAM_SEED=%llu\n", f->name, (unsigned long long)seed);
    struct subject s = {.f = f, .base = e2e_base()};
    for (size_t i = 0; i < f->streams; i++)
        s.w[i] = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i % 3]);
    struct tally t = {.n = 0};
    for (unsigned long i = 0; i < kills; i++) {
        struct e2e_process *p = follow(&s, &state);
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
    for (size_t i = 0; i < f->streams; i++)
        e2e_close(s.w[i].url);
    e2e_status(e2e_finished(start(&s, "", "1s", "-f")), 0);
    check(&s, e2e_printf("seed %llu", (unsigned long long)seed));
    tally_say(&t, "random", f->name);
}

#define AT_RANDOM(name, ...)                                                                       \
    E2E_BOTH(kill_forms, name##_at_random)                                                         \
    {                                                                                              \
        killed_while_written(&(struct form){__VA_ARGS__}, 3 * e2e_soak());                         \
    }

AT_RANDOM(envelopes, "envelopes", 3, NULL, NULL, "envelope")
AT_RANDOM(rotated, "rotated", 1, "1500", NULL, NULL)
AT_RANDOM(gzip, "gzip", 1, NULL, "gzip", NULL)
AT_RANDOM(zstd, "zstd", 1, NULL, "zstd", NULL)
AT_RANDOM(rotated_gzip_envelopes, "rotated gzip envelopes", 1, "1500", "gzip", "envelope")
AT_RANDOM(twenty_streams, "20 streams", 20, NULL, NULL, NULL)
AT_RANDOM(twenty_streams_rotated_and_packed, "20 streams, rotated zstd", 20, "1500", "zstd", NULL)
