/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/sim/frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FAILURES_MAX 20    /* lives */
#define LINES_MAX    20000 /* of a trace */
#define LONG_ENOUGH  10000 /* lives in which all that is due is met */

struct sim sim;

void say(const char *fmt, ...)
{
    va_list ap;
    if (!sim.trace || sim.said++ >= LINES_MAX)
        return;
    printf("%9.3f  ", (double)(sim.now - START) / 1000);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

void wrong(const char *fmt, ...)
{
    va_list ap;
    printf("seed %llu, at %.3f s: ", (unsigned long long)sim.seed,
           (double)(sim.now - START) / 1000);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    longjmp(sim.failed, 1);
}

bool met_row(const char *name, const char *what, uint64_t n, bool due)
{
    if (n > 0 || due)
        printf("  %-16s %-16s %12llu%s\n", name, what, (unsigned long long)n,
               n == 0 ? "  never met" : "");
    return n > 0 || !due;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool play(const struct sim_program *p, uint64_t seed)
{
    sim.seed = seed;
    sim.now = START;
    sim.said = 0;
    return p->play();
}

/* Once more, for a person to read. */
static void show(const struct sim_program *p, uint64_t seed)
{
    sim.trace = true;
    (void)play(p, seed);
    sim.trace = false;
}

static bool play_all(const struct sim_program *p, uint64_t first, uint64_t lives)
{
    uint64_t failed = 0, played = 0, bad = 0;
    double began = seconds();
    for (; played < lives && failed < FAILURES_MAX; played++) {
        if (play(p, first + played))
            continue;
        bad = failed++ == 0 ? first + played : bad;
    }
    double took = seconds() - began;
    bool all = p->report();
    if (failed > 0)
        show(p, bad);
    printf("%llu lives from seed %llu in %.1f s, %.0f a second: ", (unsigned long long)played,
           (unsigned long long)first, took, (double)played / took);
    p->totals();
    bool missed = !all && played >= LONG_ENOUGH;
    if (missed)
        printf("not everything that has to be met was\n");
    printf("%llu passed, %llu failed\n", (unsigned long long)(played - failed),
           (unsigned long long)failed);
    return failed == 0 && !missed;
}

int sim_main(int argc, char **argv, const struct sim_program *p)
{
    uint64_t lives = 1000, first = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t n = strtoull(argv[i + 1], NULL, 10);
        sim.trace = strcmp(argv[i], "-t") == 0;
        if (sim.trace)
            return play(p, n) ? 0 : 1;
        if (strcmp(argv[i], "-n") == 0)
            lives = n;
        else if (strcmp(argv[i], "-s") == 0)
            first = n;
    }
    return play_all(p, first, lives) ? 0 : 1;
}
