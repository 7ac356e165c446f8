/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole lives of a reader, drawn from a seed: a proxy cuts, resets, stalls, pauses and drips its
 * answers, loses them, and gives stale and early ones instead, while the stream is written. What is
 * delivered is the stream, each byte once.
 *
 * DSTREAM_SOAK=N makes the fresh ones 5 N; DSTREAM_SEED=SEED plays that one alone.
 */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/proxy.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXED        6 /* lives of each kind that are the same in every run */
#define FRESH        1
#define FRESH_SOAK   5 /* instead, for each of DSTREAM_SOAK */
#define FAULTS_A_ROW 5 /* then an answer passes, so that every life ends */

/* Nothing is waited for as long as it would be; and nothing is given up, since answers pass. */
#define LIMITS                                                                                     \
    "connect=5000,header=500,header_sse=500,header_long_poll=1500,silence=400,silence_sse=400,"    \
    "first_byte_sse=400,backoff_base=1,backoff_max=20,short_base=1,short_max=5,short_count=20,"    \
    "idle_max=20,retries=1000,retry_time=100000,protocol_tries=1000,replica_lag=10000"

struct life {
    const char *mode; /* NULL: catching up, then it ends */
    const char *type;
    uint64_t seed;
    uint64_t draws;
    unsigned rate;  /* of 1000 answers, how many something happens to */
    unsigned a_row; /* answers that did not pass since one did */
    size_t at_most; /* where in an answer something happens */
    struct e2e_bytes story, want;
    unsigned *befell; /* how many answers were what */
};

/* --- what happens to its answers -------------------------------------------------------------- */

/* By the seed and the number of the request alone, as far as that goes. */
static struct proxy_plan fate(void *ctx, unsigned k)
{
    struct life *l = ctx;
    uint64_t draws = (l->seed + 1) * UINT64_C(0x9E3779B97F4A7C15) + k;
    struct proxy_plan plan = {.how = PROXY_WHOLE};
    for (int i = 0; i < 3; i++)
        e2e_draw(&draws);
    if (e2e_below(&draws, 1000) < l->rate)
        plan.how = (enum proxy_how)(1 + e2e_below(&draws, PROXY_HOWS - 1));
    if (plan.how == PROXY_STALL || plan.how == PROXY_MUTE) /* slow: fewer of them */
        plan.how = (enum proxy_how)(1 + e2e_below(&draws, PROXY_HOWS - 1));
    plan.at = e2e_below(&draws, 1 + e2e_below(&draws, l->at_most));
    bool passes = plan.how == PROXY_WHOLE || plan.how == PROXY_PAUSE || plan.how == PROXY_DRIP;
    if (!passes && l->a_row == FAULTS_A_ROW) {
        plan.how = PROXY_WHOLE;
        passes = true;
    } else if (passes && e2e_below(&draws, 4) > 0) {
        plan.most = 200 + e2e_below(&draws, 3000);
    }
    l->a_row = passes ? 0 : l->a_row + 1;
    e2e_add_text(&l->story, e2e_printf("  %u: %s at %zu, at most %zu\n", k, proxy_name(plan.how),
                                       plan.at, plan.most));
    return plan;
}

/* --- what is in its stream -------------------------------------------------------------------- */

/* What an event stream can carry goes by SSE: lines, and none that begins with a space. */
static struct e2e_bytes letters(uint64_t *draws, size_t n)
{
    struct e2e_bytes b = e2e_text("");
    for (size_t i = 0; i < n; i++)
        e2e_add(&b, &"abcdefghijklmnopqrstuvwxyz,;.\n"[e2e_below(draws, 30)], 1);
    return b;
}

static struct e2e_bytes messages(struct life *l, size_t n)
{
    struct e2e_bytes body = e2e_text("[");
    for (uint64_t left = 1 + e2e_below(&l->draws, 3); left > 0; left--) {
        char *text = letters(&l->draws, 1 + n / 3).p;
        for (char *c = text; (c = strchr(c, '\n'));)
            *c = ' ';
        char *message = e2e_printf("{\"at\":%zu,\"text\":\"%s\"}", l->want.n, text);
        e2e_add_text(&body, e2e_printf("%s%s", message, left > 1 ? "," : "]"));
        e2e_add_text(&l->want, e2e_printf("%s\n", message));
    }
    return body;
}

static void append(struct life *l, const char *url)
{
    size_t n = 1 + e2e_below(&l->draws, UINT64_C(1) << e2e_below(&l->draws, 12));
    struct e2e_bytes body;
    if (strcmp(l->type, TYPE_JSON) == 0)
        body = messages(l, n);
    else if (l->mode && strcmp(l->mode, "sse") == 0 && strcmp(l->type, TYPE_TEXT) == 0)
        body = letters(&l->draws, n);
    else
        body = e2e_random(n, e2e_draw(&l->draws) >> 1);
    if (strcmp(l->type, TYPE_JSON) != 0)
        e2e_add(&l->want, body.p, body.n);
    e2e_append(url, l->type, body);
}

/* --- one life --------------------------------------------------------------------------------- */

static struct e2e_process *start(struct life *l, const char *url)
{
    const char *parts = e2e_below(&l->draws, 2)
                            ? e2e_printf(",max_part=%d", 1 + (int)e2e_below(&l->draws, 2000))
                            : "";
    const char *events = e2e_below(&l->draws, 6) == 0 ? ",max_event=1000" : "";
    struct e2e_process *p;
    e2e_limits(e2e_printf(LIMITS "%s%s", parts, events));
    const char *mode = l->mode;
    if (mode && strcmp(mode, "sse") == 0 && strcmp(l->type, TYPE_TEXT) != 0 &&
        e2e_below(&l->draws, 2))
        mode = "auto"; /* which is SSE */
    if (mode)
        p = dstream_start("read", "-q", "--until", "closed", "--live", mode, url);
    else
        p = dstream_start("read", "-q", url);
    e2e_limits("");
    return p;
}

/* Its stream is written before it begins, while it is read, or both; and closed at the end, or,
 * where it is not followed, perhaps not. */
static void live_on(struct life *l, const char *base)
{
    const char *name = e2e_printf("seed-%llu", (unsigned long long)l->seed);
    char *url = e2e_url_at(base, name);
    struct proxy *x = proxy_start(base, "GET ", fate, l);
    uint64_t appends = 1 + e2e_below(&l->draws, 50), before = e2e_below(&l->draws, appends + 1);
    e2e_create(url, l->type);
    for (uint64_t i = 0; i < (l->mode ? before : appends); i++)
        append(l, url);
    if (!l->mode && e2e_below(&l->draws, 2))
        e2e_close(url);
    struct e2e_process *p = start(l, e2e_url_at(proxy_url(x), name));
    for (uint64_t i = before; l->mode && i < appends; i++) {
        append(l, url);
        if (e2e_below(&l->draws, 2))
            e2e_until_out(p, l->want.n);
    }
    if (l->mode)
        e2e_close(url);
    e2e_wait(p);
    const char *what = e2e_printf("%s: its messages: %s\nwhat its answers met:\n%s", p->line,
                                  p->err_data.p, l->story.p);
    if (p->status != 0)
        cr_assert_fail("%s: ended with %d", what, p->status);
    e2e_same(what, p->out_data, l->want);
    for (unsigned how = 0; how < PROXY_HOWS; how++)
        l->befell[how] += proxy_befell(x, (enum proxy_how)how);
    proxy_stop(x);
    e2e_delete(url);
}

static void live(const char *mode, const char *type, uint64_t seed, const char *paged,
                 unsigned befell[PROXY_HOWS])
{
    struct life l = {.mode = mode, .type = type, .seed = seed, .befell = befell};
    l.draws = (seed + 1) * UINT64_C(0xBF58476D1CE4E5B9);
    l.rate = 400 + (unsigned)e2e_below(&l.draws, 550);
    l.at_most = (size_t)1 << (3 + e2e_below(&l.draws, 9));
    e2e_add(&l.want, "", 0);
    e2e_add(&l.story, "", 0);
    live_on(&l, paged && e2e_below(&l.draws, 2) ? paged : e2e_base());
}

static void lives(const char *mode, const char *type)
{
    const char *const pages[] = {"--poll-time", "60ms", "--sse-time", "200ms",
                                 "--page-size", "300",  NULL};
    const char *paged = e2e_kind() == E2E_EMBEDDED ? e2e_serve(NULL, pages) : NULL;
    bool alone = getenv("DSTREAM_SEED") != NULL;
    unsigned soak = alone ? 1 : (unsigned)e2e_soak(), fresh = soak > 1 ? FRESH_SOAK * soak : FRESH;
    unsigned fixed = alone ? 0 : FIXED;
    unsigned befell[PROXY_HOWS] = {0}, met = 0;
    uint64_t seed = e2e_fresh_seed();
    fprintf(stderr, "%s of %s: DSTREAM_SEED=%llu and %u more\n", mode ? mode : "catch-up", type,
            (unsigned long long)seed, fresh - 1);
    for (unsigned i = 0; i < fresh; i++)
        live(mode, type, seed + i, paged, befell);
    for (unsigned i = 0; i < fixed; i++)
        live(mode, type, i, paged, befell);
    for (unsigned how = PROXY_WHOLE + 1; how < PROXY_HOWS; how++) {
        fprintf(stderr, "%s %u%s", proxy_name((enum proxy_how)how), befell[how],
                how + 1 < PROXY_HOWS ? ", " : "\n");
        met += befell[how];
    }
    cr_expect(alone || met >= fresh + fixed, "they had it easy");
}

E2E_BOTH(reader_lives, catch_up_of_json)
{
    lives(NULL, TYPE_JSON);
}

E2E_BOTH(reader_lives, catch_up_of_text)
{
    lives(NULL, TYPE_TEXT);
}

E2E_BOTH(reader_lives, catch_up_of_binary)
{
    lives(NULL, TYPE_BINARY);
}

E2E_BOTH(reader_lives, long_poll_of_json)
{
    lives("long-poll", TYPE_JSON);
}

E2E_BOTH(reader_lives, long_poll_of_text)
{
    lives("long-poll", TYPE_TEXT);
}

E2E_BOTH(reader_lives, long_poll_of_binary)
{
    lives("long-poll", TYPE_BINARY);
}

E2E_BOTH(reader_lives, sse_of_json)
{
    lives("sse", TYPE_JSON);
}

E2E_BOTH(reader_lives, sse_of_text)
{
    lives("sse", TYPE_TEXT);
}

E2E_BOTH(reader_lives, sse_of_binary)
{
    lives("sse", TYPE_BINARY);
}
