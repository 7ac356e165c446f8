/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written through a journal survives kill -9: at each step of the journal in turn, and at
 * random moments. A file goes on by itself; a pipe is fed from the byte that `state show` names.
 *
 * DSTREAM_SOAK=N makes the random ones N times as many; DSTREAM_SEED=SEED repeats the fresh seed
 * that a run has printed.
 */
#include "config.h"

#include "tests/e2e/fault_proxy.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/writing.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLED (128 + SIGKILL)

enum source { SOURCE_FILE, SOURCE_PIPE };

/* One stream, its input, and the journal between them. */
struct subject {
    char *url;
    const char *way; /* the URL as the writer has it */
    const char *type;
    enum source source;
    bool closes;
    struct e2e_bytes input;
    char *file, *state;
};

static struct subject subject(const char *type, enum source source)
{
    struct subject s = {.type = type, .source = source, .file = e2e_path("input")};
    s.state = e2e_path("journal");
    e2e_add(&s.input, "", 0);
    return s;
}

/* A stream and a journal that nobody has used. */
static void renew(struct subject *s, unsigned n)
{
    s->url = e2e_url(e2e_printf("s%u", n));
    s->way = s->url;
    e2e_create(s->url, s->type);
    unlink(s->state);
    unlink(e2e_printf("%s.tmp", s->state));
}

static uint64_t taken_in(const struct subject *s)
{
    return e2e_exists(s->state) ? writing_state(s->state, "inputBytes") : 0;
}

/* Gives as much of it as is taken: who reads it may be killed meanwhile. */
static void offer(struct e2e_process *p, const char *data, size_t n)
{
    signal(SIGPIPE, SIG_IGN);
    while (n > 0) {
        ssize_t put = write(p->in, data, n);
        if (put < 0 && errno != EINTR)
            return;
        data += put > 0 ? put : 0;
        n -= put > 0 ? (size_t)put : 0;
    }
}

/* A run, with its input. What happens to it is in `limits`. */
static struct e2e_process *start(const struct subject *s, const char *limits, const char *size)
{
    const char *args[] = {"write",
                          s->way,
                          "--producer",
                          "p",
                          "--state",
                          s->state,
                          "--batch-bytes",
                          size,
                          "--in-flight",
                          "3",
                          "--linger",
                          "1ms",
                          s->source == SOURCE_FILE ? s->file : "-",
                          s->closes ? "--close" : NULL,
                          NULL};
    uint64_t from = s->source == SOURCE_PIPE ? taken_in(s) : 0;
    e2e_limits(e2e_printf("backoff_base=1,backoff_max=5%s%s", *limits ? "," : "", limits));
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    e2e_limits("");
    if (s->source == SOURCE_PIPE)
        offer(p, s->input.p + from, s->input.n - (size_t)from);
    return p;
}

static struct e2e_process *run(const struct subject *s, const char *what, unsigned n)
{
    struct e2e_process *p = start(s, what ? e2e_printf("%s=%u", what, n) : "", "300");
    e2e_end_input(p);
    return e2e_finished(p);
}

/* --- at each step ----------------------------------------------------------------------------- */

static void goes_on(const struct subject *s, const char *what, unsigned n)
{
    e2e_status(run(s, NULL, 0), 0);
    e2e_same(e2e_printf("%s, after %s=%u", s->type, what, n), writing_stream(s->url), s->input);
    cr_assert_eq(taken_in(s), s->input.n - (strcmp(s->type, TYPE_JSON) == 0 ? 1 : 0));
}

/* Killed at every step there is: the first step that is never reached ends it. Killed once more at
 * the same one, which then is a step of the recovery. Returns how many there are. */
static unsigned killed_at_each(struct subject *s, const char *what)
{
    static unsigned streams;
    for (unsigned n = 1;; n += e2e_step_stride()) {
        renew(s, streams++);
        struct e2e_process *p = run(s, what, n);
        if (p->status == 0) {
            e2e_same("not killed", writing_stream(s->url), s->input);
            cr_assert_gt(n, 20, "a journal in %u steps?", n);
            return n;
        }
        e2e_status(p, KILLED);
        p = run(s, what, n);
        if (p->status != 0)
            e2e_status(p, KILLED);
        goes_on(s, what, n);
    }
}

/* What is said to be kept is in the journal: who feeds a pipe may believe it. */
static void keeps_what_it_says(const struct subject *s, const struct e2e_process *p)
{
    const char *kept = strstr(p->err_data.p, "kept for the next run in ");
    const char *end = kept ? strstr(kept, " of the input\n") : NULL;
    while (end && end[-1] >= '0' && end[-1] <= '9')
        end--;
    if (end)
        cr_assert_lt(strtoull(end, NULL, 10), taken_in(s), "%s", p->err_data.p);
}

/* What fails is said, and nothing of it is lost for that. */
static void fails_at_each(struct subject *s)
{
    for (unsigned n = 1;; n += e2e_step_stride()) {
        renew(s, 100000 + n);
        struct e2e_process *p = run(s, e2e_printf("fail_with=%d,fail_at", n % 2 ? EIO : ENOSPC), n);
        if (p->status == 0)
            break;
        e2e_status(p, 74);
        e2e_says(p, n % 2 ? "the disk reported an error" : "the disk is full");
        keeps_what_it_says(s, p);
        goes_on(s, "fail_at", n);
    }
}

static struct subject with_lines(const char *type, enum source source, bool closes)
{
    struct subject s = subject(type, source);
    struct e2e_bytes lines = writing_lines(0, 30);
    e2e_add(&s.input, lines.p, lines.n);
    e2e_write_file(s.file, s.input);
    s.closes = closes;
    return s;
}

E2E_BOTH(write_kill, at_each_step_from_a_file)
{
    struct subject s = with_lines(TYPE_JSON, SOURCE_FILE, true);
    killed_at_each(&s, "kill_at");
}

E2E_EMBEDDED(write_kill, at_each_step_from_a_pipe)
{
    struct subject s = with_lines(TYPE_BINARY, SOURCE_PIPE, false);
    killed_at_each(&s, "kill_after");
}

E2E_EMBEDDED(write_kill, each_step_fails)
{
    struct subject s = with_lines(TYPE_JSON, SOURCE_PIPE, true);
    fails_at_each(&s);
}

/* All of it, where there is time for that. */
static void every_way(const char *type, enum source source, bool closes)
{
    struct subject s = with_lines(type, source, closes);
    if (e2e_soak() == 1)
        return;
    killed_at_each(&s, "kill_at");
    killed_at_each(&s, "kill_after");
    fails_at_each(&s);
}

E2E_BOTH(write_kill, every_way_of_messages_from_a_file)
{
    every_way(TYPE_JSON, SOURCE_FILE, false);
}

E2E_BOTH(write_kill, every_way_of_messages_from_a_pipe)
{
    every_way(TYPE_JSON, SOURCE_PIPE, true);
}

E2E_BOTH(write_kill, every_way_of_text_from_a_file)
{
    every_way(TYPE_TEXT, SOURCE_FILE, true);
}

E2E_BOTH(write_kill, every_way_of_bytes_from_a_pipe)
{
    every_way(TYPE_BINARY, SOURCE_PIPE, true);
}

/* --- what was not told ------------------------------------------------------------------------ */

struct waiting {
    const struct e2e_process *p;
    const char *url, *want;
};

/* Or its process has died. */
static bool is_stored(void *ctx)
{
    const struct waiting *w = ctx;
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)w->p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
        return true;
    return strcmp(e2e_get(w->url, "-1").p, w->want) == 0;
}

/* Who is fenced, and is killed before, while or after saying so: the next run says it then, or has
 * sent it again and does not know. Nothing is stored that is said not to be, or twice. */
static bool fenced_and_killed(struct subject *s, unsigned n, unsigned *late)
{
    static const char first[] = "1\n", held_first[] = "[1]", rival[] = "{\"rival\":1}\n";
    bool rivalled = false;
    s->input.n = 0;
    e2e_add_text(&s->input, first);
    struct e2e_process *p = start(s, e2e_printf("kill_at=%u", n), "300");
    e2e_wait_for(is_stored, &(struct waiting){p, s->url, held_first},
                 "the first message is stored");
    if (strcmp(e2e_get(s->url, "-1").p, held_first) == 0) {
        e2e_status(writing_fed(e2e_text(rival),
                               (const char *const[]){"write", s->url, "--producer", "p", NULL}),
                   0);
        rivalled = true;
    }
    offer(p, "2 3\n", 4);
    e2e_end_input(p);
    e2e_wait(p);
    bool killed = p->status == KILLED;
    if (!killed)
        e2e_status(p, rivalled ? 12 : 0);
    if (!killed || !rivalled)
        return killed;
    /* Told now, if it had not been; the third time there is nothing left to tell. */
    e2e_add_text(&s->input, "2 3\n");
    struct e2e_process *again = run(s, NULL, 0), *third = run(s, NULL, 0);
    char *told = e2e_printf("%s%s", p->err_data.p, again->err_data.p);
    const char *held = writing_stream(s->url).p;
    bool twice = strstr(held, "2\n3\n") && strstr(strstr(held, "2\n3\n") + 1, "2\n");
    cr_assert_not(twice, "kill_at=%u: %s", n, held);
    if (!strstr(held, "2\n3\n"))
        cr_assert(strstr(told, "not stored: messages 2 to 3") ||
                      strstr(told, "may be stored or not: messages 2 to 3"),
                  "kill_at=%u: nothing told of it: %s", n, told);
    if (strstr(again->err_data.p, "by an earlier run, not stored")) {
        e2e_status(again, 12);
        ++*late;
    }
    e2e_status(third, 0);
    return true;
}

E2E_EMBEDDED(write_kill, at_each_step_of_being_fenced)
{
    struct subject s = subject(TYPE_JSON, SOURCE_PIPE);
    unsigned n = 1, late = 0, step = e2e_soak() > 1 ? 1 : e2e_sanitized() ? 9 : 3;
    for (;; n += step) {
        renew(&s, n);
        if (!fenced_and_killed(&s, n, &late))
            break;
    }
    cr_assert_gt(n, 20);
    cr_assert(late > 0 || step > 3, "no run had anything to tell of an earlier one");
}

/* --- at random moments ------------------------------------------------------------------------ */

static uint64_t below(uint64_t *state, uint64_t n)
{
    return (e2e_draw(state) >> 16) % n;
}

/* The moment of the kill, within the time that a run takes and a half more. */
static void pass(uint64_t *state, int64_t run_us)
{
    uint64_t us = below(state, (uint64_t)run_us * 3 / 2);
    nanosleep(&(struct timespec){.tv_sec = (time_t)(us / 1000000),
                                 .tv_nsec = (long)(us % 1000000) * 1000},
              NULL);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Half of the runs do not wait for our kill, but die at an operation on files. */
static const char *drawn_limits(uint64_t *state)
{
    if (below(state, 2) == 0)
        return "";
    return e2e_printf("kill_%s=%u", below(state, 2) ? "at" : "after",
                      (unsigned)below(state, 100) + 1);
}

static void grow(struct subject *s, unsigned *lines, uint64_t *state)
{
    unsigned n = 30 + (unsigned)below(state, 200);
    struct e2e_bytes more = writing_lines(*lines, n);
    *lines += n;
    e2e_add(&s->input, more.p, more.n);
    e2e_write_file(s->file, s->input);
}

/* Each run takes the input from the file, which has grown, or by a pipe. `rate` of 1000 requests
 * meet each kind of fault on their way. */
static void killed_at_random(const char *type, uint64_t seed, unsigned long kills, unsigned rate)
{
    uint64_t state = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15), before = 0;
    static const char *const sizes[] = {"100", "400", "3000", "1MiB"};
    const char *what = e2e_printf("%s, DSTREAM_SEED=%llu", type, (unsigned long long)seed);
    struct subject s = subject(type, SOURCE_FILE);
    unsigned lines = 0;
    unsigned long unacknowledged = 0, whole = 0;
    fprintf(stderr, "%s\n", what); /* first, as a crash of the test would not say it */
    renew(&s, (unsigned)(seed % 1000000));
    struct fault_plan plan = fault_everything(seed, rate);
    struct fault_proxy *proxy = fault_proxy_start(e2e_base(), &plan);
    s.way = e2e_url_at(fault_proxy_url(proxy), strrchr(s.url, '/') + 1);
    grow(&s, &lines, &state);
    int64_t began = now_us();
    e2e_status(run(&s, NULL, 0), 0);
    int64_t run_us = now_us() - began;
    for (unsigned long i = 0; i < kills; i++) {
        s.source = below(&state, 2) ? SOURCE_FILE : SOURCE_PIPE;
        grow(&s, &lines, &state);
        struct e2e_process *p = start(&s, drawn_limits(&state), sizes[below(&state, 4)]);
        if (below(&state, 2))
            e2e_end_input(p);
        pass(&state, run_us);
        e2e_kill(p, SIGKILL);
        e2e_wait(p);
        whole += p->status == 0;
        if (p->status != 0 && p->status != KILLED)
            cr_assert_fail("%s: kill %lu: ended with %d: %s", what, i, p->status, p->err_data.p);
        uint64_t now = taken_in(&s);
        cr_assert_geq(now, before, "%s: kill %lu: what was taken in went back", what, i);
        before = now;
        if (e2e_exists(s.state))
            unacknowledged += writing_state(s.state, "batches") > 0;
    }
    s.source = SOURCE_FILE;
    s.closes = true;
    e2e_status(run(&s, NULL, 0), 0);
    fault_proxy_settle(proxy);
    e2e_same(what, writing_stream(s.url), s.input);
    struct fault_counts counts = fault_proxy_counts(proxy);
    fault_proxy_stop(proxy);
    fprintf(stderr,
            "%s: of %lu kills %lu left batches without a fate, %lu came too late; of %u requests "
            "%u met a fault\n",
            what, kills, unacknowledged, whole, counts.requests,
            counts.requests - counts.befell[FAULT_NONE]);
}

static void at_random(const char *type)
{
    uint64_t fresh = e2e_fresh_seed();
    unsigned long some = e2e_sanitized() ? 3 : e2e_soak() > 1 ? 10 : 5;
    killed_at_random(type, 1, 2 * some * e2e_soak(), 0);
    killed_at_random(type, fresh, some * e2e_soak(), 20);
}

E2E_BOTH(write_kill, at_random_moments_of_messages)
{
    at_random(TYPE_JSON);
}

E2E_BOTH(write_kill, at_random_moments_of_bytes)
{
    at_random(TYPE_BINARY);
}
