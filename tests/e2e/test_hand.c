/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams that are handed out: to a command (--exec), and to a process that acknowledges
 * (--ack-fd), here the test itself. What is handed out again after a kill is told by who has it
 * already.
 *
 * DSTREAM_SOAK=N makes the random kills N times as many; DSTREAM_SEED=SEED repeats a seed.
 */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLED (128 + SIGKILL)

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

static const char *state(void)
{
    return e2e_path("st");
}

static struct e2e_process *exec_start(const char *url, const char *command)
{
    return dstream_start("export", url, "-S", state(), "--exec", command);
}

static struct e2e_process *exec_run(const char *url, const char *command)
{
    return e2e_finished(exec_start(url, command));
}

/* What `dstream state show` says behind "name: ". */
static char *state_has(const char *name)
{
    struct e2e_process *p = dstream_run("state", "show", state());
    e2e_status(p, 0);
    const char *at = strstr(p->out_data.p, e2e_printf("\n%s: ", name));
    cr_assert(at, "no %s in %s", name, p->out_data.p);
    at += strlen(name) + 3;
    return e2e_printf("%.*s", (int)strcspn(at, "\n"), at);
}

/* --- what a command gets ---------------------------------------------------------------------- */

/* Each portion in a file of its own, and a line for each that says where it lies. */
static char *listing_command(void)
{
    return e2e_printf("cd '%s'; n=$(($(cat log 2>/dev/null | wc -l) + 1)); cat >portion.$n; echo "
                      "\"$DSTREAM_OFFSET $DSTREAM_SKIP $DSTREAM_COUNT $DSTREAM_NEXT "
                      "$DSTREAM_CLOSED $DSTREAM_STREAM $DSTREAM_CONTENT_TYPE\" >>log",
                      e2e_path(""));
}

struct portion {
    char offset[200], next[200], stream[300], type[100];
    unsigned long long skip, count;
    int closed;
};

/* All portions joined; each begins where the one before says. */
static struct e2e_bytes portions(const struct written *w, bool closed)
{
    struct e2e_bytes all = {0}, log = e2e_read_file(e2e_path("log"));
    char before[300] = "-1,0";
    int n = 0;
    e2e_add(&all, "", 0);
    for (const char *line = log.p; *line; line = strchr(line, '\n') + 1) {
        struct portion p;
        cr_assert_eq(sscanf(line, "%199s %llu %llu %199s %d %299s %99s", p.offset, &p.skip,
                            &p.count, p.next, &p.closed, p.stream, p.type),
                     7, "%s", line);
        /* Behind the last part of an answer there may be another name for the same place. */
        cr_assert(p.skip == 0 || strcmp(e2e_printf("%s,%llu", p.offset, p.skip), before) == 0);
        snprintf(before, sizeof before, "%s%s", p.next, strchr(p.next, ',') ? "" : ",0");
        struct e2e_bytes b = e2e_read_file(e2e_path(e2e_printf("portion.%d", ++n)));
        size_t units = strcmp(w->type, TYPE_JSON) == 0 ? reading_lines(b.p) : b.n;
        cr_assert_eq(units, p.count);
        cr_assert_str_eq(p.stream, w->url);
        cr_assert_str_eq(p.type, w->type);
        cr_assert(closed || !p.closed);
        e2e_add(&all, b.p, b.n);
    }
    cr_assert_gt(n, 1);
    return all;
}

E2E_BOTH(hand, a_command_gets_each_portion_in_order_and_where_it_lies)
{
    for (size_t i = 0; i < 3; i++) {
        struct written w = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i]);
        written_add(&w, 900);
        written_add(&w, 2000);
        e2e_limits("max_part=700");
        e2e_status(exec_run(w.url, listing_command()), 0);
        e2e_same("portions", portions(&w, false), w.want);
        cr_assert_str_eq(state_has("closed"), "no");
        e2e_status(exec_run(w.url, "touch \"$HOME/never\""), 0); /* there is nothing new */
        written_add(&w, 1500);
        e2e_close(w.url);
        e2e_status(exec_run(w.url, listing_command()), 0);
        e2e_same("portions", portions(&w, true), w.want);
        cr_assert_str_eq(state_has("closed"), "yes");
        struct e2e_process *p = exec_run(w.url, "exit 9");
        e2e_status(p, 0);
        e2e_says(p, "complete");
        e2e_status(dstream_run("state", "verify", state()), 0);
        unlink(e2e_path("log"));
        unlink(state());
    }
}

E2E_EMBEDDED(hand, a_range_is_handed_out_and_no_more)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 300);
    written_add(&w, 300);
    char *command = e2e_printf("cat >>'%s'", e2e_path("got"));
    e2e_status(dstream_run("export", w.url, "-S", state(), "--exec", command, "-n", "2"), 0);
    cr_assert_eq(reading_lines(e2e_read_file(e2e_path("got")).p), 2);
    e2e_status(dstream_run("export", w.url, "-S", state(), "--exec", command, "--require", "closed",
                           "--max-time", "20s"),
               3);
    e2e_same("all", e2e_read_file(e2e_path("got")), w.want);
    e2e_status(dstream_run("export", w.url, "-S", state(), "--exec", command, "--reset", "--from",
                           "-1,5", "-F", "envelope"),
               0);
    cr_assert(strstr(e2e_read_file(e2e_path("got")).p, "{\"offset\":\"-1\",\"index\":5,"));
    e2e_status(dstream_run("export", w.url, "-S", state(), "--exec", command, "-F", "ndjson"), 2);
    e2e_status(dstream_run("export", w.url, "-S", state(), "--exec", command, "--from", "-1,4"), 2);
    e2e_status(dstream_run("export", w.url, "-S", state(), "--exec", command, "--from", "-1,5"), 0);
    /* What comes from now on, and from where that was */
    const char *st = e2e_path("now");
    e2e_status(dstream_run("export", w.url, "-S", st, "--exec", command, "--from", "now"), 0);
    struct e2e_bytes before = e2e_read_file(e2e_path("got"));
    w.want.n = 0;
    written_add(&w, 100);
    e2e_status(dstream_run("export", w.url, "-S", st, "--exec", command, "--from", "now"), 0);
    e2e_add(&before, w.want.p, w.want.n);
    e2e_same("from then on", e2e_read_file(e2e_path("got")), before);
}

E2E_EMBEDDED(hand, the_command_gets_no_descriptors_but_the_lock)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 100);
    /* ls has the directory itself open. What the test was started with is passed on. */
    struct e2e_process *own = e2e_finished(e2e_spawn(&(struct e2e_run){
        .argv = (const char *const[]){"/bin/sh", "-c", "ls /proc/self/fd | wc -l", NULL}}));
    struct e2e_process *p = exec_run(w.url, "ls /proc/self/fd | wc -l; trap");
    e2e_status(p, 0);
    cr_assert_eq(atoi(p->out_data.p), atoi(own->out_data.p) + 1, "%s, not one more than %s",
                 p->out_data.p, own->out_data.p);
}

/* --- commands that fail ----------------------------------------------------------------------- */

E2E_EMBEDDED(hand, a_command_that_fails_stops_it_and_moves_nothing)
{
    static const struct {
        const char *command, *says;
    } cases[] = {{"exit 3", "exit code 3"},
                 {"exec 2>/dev/null; nosuchcommandatall", "exit code 127"},
                 {"kill -9 $$", "killed by signal 9"},
                 {"cat >/dev/null; exit 1", "exit code 1"}};
    struct written w = written_begin(e2e_url("s"), TYPE_BINARY);
    written_add(&w, 300000); /* more than a pipe takes */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct e2e_process *p = exec_run(w.url, cases[i].command);
        e2e_status(p, 74);
        e2e_says(p, cases[i].says);
        e2e_says(p, "at -1,0");
        cr_assert_str_eq(state_has("offset"), "-1");
        cr_assert_str_eq(state_has("handed out behind that"), "300000 bytes");
    }
    e2e_status(exec_run(w.url, ":"), 0); /* it has read nothing, and is content */
    cr_assert_str_eq(state_has("skip"), "0");
    cr_assert_str_neq(state_has("offset"), "-1");
}

E2E_EMBEDDED(hand, a_stream_made_anew_is_not_handed_out)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 500);
    e2e_status(exec_run(w.url, ":"), 0);
    e2e_delete(w.url);
    e2e_create(w.url, TYPE_TEXT);
    e2e_append(w.url, TYPE_TEXT, e2e_random(2000, 7));
    struct e2e_process *p = exec_run(w.url, "echo run");
    e2e_status(p, 13);
    e2e_says(p, "made anew");
    cr_assert_eq(p->out_data.n, 0);
    e2e_status(dstream_run("state", "verify", state()), 13);
}

/* --- commands that hang ----------------------------------------------------------------------- */

/* Waiting for the process waits for the ends of its output, which the command has as well. */
E2E_EMBEDDED(hand, a_command_that_hangs_ends_with_us)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 100);
    struct e2e_process *p = exec_start(w.url, "echo run; sleep 1000 | sleep 1000");
    e2e_until_out(p, 4);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    cr_assert_str_eq(state_has("offset"), "-1");
    cr_assert_str_eq(state_has("handed out behind that"), e2e_printf("%zu bytes", w.want.n));
    /* One that ends well all the same is done. */
    p = exec_start(w.url, "trap 'exit 0' INT; echo run; while :; do sleep 0.1; done");
    e2e_until_out(p, 4);
    e2e_kill(p, SIGINT);
    e2e_status(p, 128 + SIGINT);
    cr_assert_str_neq(state_has("offset"), "-1");
}

/* One that takes no heed is killed, with what it has started. */
E2E_EMBEDDED(hand, a_command_that_does_not_end_is_killed_in_the_end)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 100);
    e2e_limits("exec_grace=50");
    struct e2e_process *p = exec_start(w.url, "trap '' TERM; echo run; sleep 1000 | sleep 1000");
    e2e_until_out(p, 4);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    cr_assert_str_eq(state_has("offset"), "-1");
}

/* The first signal may not have been seen yet, so it is more than a second one. */
static bool has_ended(void *ctx)
{
    const struct e2e_process *p = ctx;
    siginfo_t info = {0};
    kill(p->pid, SIGTERM);
    return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

E2E_EMBEDDED(hand, a_second_signal_waits_for_no_command)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    const char *go = e2e_path("go");
    written_add(&w, 100);
    e2e_limits("exec_grace=1000000");
    struct e2e_process *p = exec_start(
        w.url, e2e_printf("trap '' TERM; echo run; while [ ! -e '%s' ]; do sleep 0.02; done", go));
    e2e_until_out(p, 4);
    e2e_wait_for(has_ended, p, "the end");
    e2e_status(exec_run(w.url, ":"), 73);
    e2e_write_file(go, e2e_text(""));
    e2e_status(p, 128 + SIGTERM);
}

/* So many portions are done where each takes as long as the limit; where the machine was too slow
 * to begin them by then, it is tried with more. */
static void done_within(const char *url, const char *limit, size_t portions)
{
    size_t n = 0;
    for (unsigned ms = 100; n < portions; ms *= 2) {
        cr_assert_lt(ms, E2E_MS, "%zu", n);
        unlink(state());
        e2e_write_file(e2e_path("log"), e2e_text(""));
        e2e_status(dstream_run("export", url, "-S", state(), limit, e2e_printf("%ums", ms),
                               "--exec",
                               e2e_printf("sleep %u.%03u; echo >>'%s'", ms / 1000, ms % 1000,
                                          e2e_path("log"))),
                   0);
        n = e2e_read_file(e2e_path("log")).n;
    }
    cr_assert_eq(n, portions);
}

/* What it has begun is done and recorded; and a command at work is no silence. */
E2E_EMBEDDED(hand, limits_of_time_wait_for_the_command)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    e2e_append(w.url, TYPE_TEXT, e2e_random(900, 1));
    e2e_limits("max_part=500");
    done_within(w.url, "--max-time", 1);
    cr_assert_str_eq(state_has("offset"), "-1");
    cr_assert_str_eq(state_has("skip"), "500");
    done_within(w.url, "--idle", 2);
    cr_assert_str_eq(state_has("skip"), "0");
}

E2E_EMBEDDED(hand, a_command_that_outlives_us_keeps_others_away)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    const char *go = e2e_path("go");
    written_add(&w, 100);
    struct e2e_process *p = exec_start(
        w.url, e2e_printf("kill -9 $PPID; echo run; while [ ! -e '%s' ]; do sleep 0.02; done", go));
    e2e_until_out(p, 4);
    struct e2e_process *other = exec_run(w.url, ":");
    e2e_status(other, 73);
    e2e_write_file(go, e2e_text(""));
    e2e_status(p, KILLED);
    do /* what ends closes its output before the lock */
        other = exec_run(w.url, ":");
    while (other->status == 73);
    e2e_status(other, 0);
}

/* --- exactly once ----------------------------------------------------------------------------- */

/* Keeps all there is in one file behind a line that says up to where, replaced whole. It, or what
 * has started it, is killed where $AT says. */
static const char keeper[] =
    "cd \"$1\"\n"
    "at() { [ \"$AT\" != \"self $1\" ] || kill -9 $$\n"
    "  [ \"$AT\" != \"parent $1\" ] || kill -9 $PPID; }\n"
    "at 1\n"
    "was= have=0 by=-c\n"
    "[ ! -f kept ] || IFS= read -r was <kept\n"
    "[ \"$DSTREAM_CONTENT_TYPE\" != application/json ] || by=-n\n"
    "[ \"${was%,*}\" != \"$DSTREAM_OFFSET\" ] || have=$((${was##*,} - DSTREAM_SKIP))\n"
    "[ $have -lt $DSTREAM_COUNT ] || exit 0\n"
    "{ echo \"$DSTREAM_OFFSET,$((DSTREAM_SKIP + DSTREAM_COUNT))\"\n"
    "  [ ! -f kept ] || tail -n +2 kept\n"
    "  tail $by +$((have + 1)); } >new\n"
    "at 2\n"
    "mv new kept\n"
    "at 3\n";

static char *keeping(void)
{
    e2e_write_file(e2e_path("keep.sh"), e2e_text(keeper));
    return e2e_printf("exec sh '%s' '%s'", e2e_path("keep.sh"), e2e_path(""));
}

static struct e2e_process *keep_start(const char *url, const char *at, const char *limits)
{
    e2e_limits(limits);
    return e2e_spawn(
        &(struct e2e_run){.argv = e2e_command((const char *const[]){"export", url, "-S", state(),
                                                                    "--exec", keeping(), NULL}),
                          .env = (const char *const[]){e2e_printf("AT=%s", at), NULL}});
}

static void keep_all(const char *what, const struct written *w, const char *limits)
{
    struct e2e_process *p;
    int tries = 0;
    do /* a command that has outlived its parent may be at work yet */
        p = e2e_finished(keep_start(w->url, "", limits));
    while (p->status == 73 && tries++ < 1000);
    e2e_status(p, 0);
    struct e2e_bytes kept = e2e_read_file(e2e_path("kept"));
    const char *lf = memchr(kept.p, '\n', kept.n);
    cr_assert(lf);
    kept.n -= (size_t)(lf + 1 - kept.p);
    kept.p += lf + 1 - kept.p;
    e2e_same(what, kept, w->want);
}

static void forget(void)
{
    unlink(state());
    unlink(e2e_path("kept"));
    unlink(e2e_path("new"));
}

/* Answers are cut in other places the second time, into smaller ones and into larger ones. */
static const char *const cuts[] = {"max_part=500", "max_part=200", "max_part=100000"};

E2E_BOTH(hand, whoever_is_killed_wherever_all_comes_once)
{
    struct written w[3];
    for (size_t i = 0; i < 3; i++) {
        w[i] = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i]);
        written_add(&w[i], 400);
        written_add(&w[i], 400);
    }
    size_t rounds = e2e_soak() > 1 ? 3 : 1;
    for (size_t k = 0; k<6 * rounds; k += e2e_stride()> 1 ? 5 : 1) {
        const char *at = e2e_printf("%s %zu", k % 2 ? "self" : "parent", k / 2 % 3 + 1);
        const struct written *of = &w[(k + k / 6) % 3];
        forget();
        struct e2e_process *p = e2e_finished(keep_start(of->url, at, cuts[k % 2 * 2]));
        e2e_status(p, k % 2 ? 74 : KILLED);
        /* Once more, in the middle of what may have been kept as a whole */
        p = e2e_finished(keep_start(of->url, "parent 3", cuts[1]));
        cr_assert(p->status == KILLED || p->status == 73 || p->status == 0, "%d", p->status);
        keep_all(at, of, cuts[(k + k / 3) % 3]);
    }
}

/* At each operation on files, of which those between the end of a command and the state that says
 * so are some. */
E2E_EMBEDDED(hand, at_each_step_of_the_state)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 400);
    written_add(&w, 400);
    unsigned step = e2e_soak() > 1 ? 1 : 13 * e2e_stride();
    for (unsigned n = 1;; n += step) {
        forget();
        struct e2e_process *p =
            e2e_finished(keep_start(w.url, "", e2e_printf("max_part=500,kill_at=%u", n)));
        if (p->status == 0) {
            cr_assert_gt(n, 20);
            break;
        }
        e2e_status(p, KILLED);
        keep_all(e2e_printf("kill_at=%u", n), &w, cuts[n % 3]);
        if (e2e_soak() == 1)
            continue;
        forget();
        p = e2e_finished(keep_start(w.url, "", e2e_printf("max_part=500,fail_at=%u", n)));
        e2e_status(p, 74);
        keep_all(e2e_printf("fail_at=%u", n), &w, cuts[n % 3]);
    }
}

static void pause_ms(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* At any moment, while it is written to. */
E2E_BOTH(hand, killed_at_random_while_it_is_written_to)
{
    uint64_t seed = e2e_fresh_seed();
    struct written w = written_begin(e2e_url("s"), types[e2e_below(&seed, 3)]);
    forget();
    for (unsigned long k = 0; k < 4 * e2e_soak(); k++) {
        struct e2e_process *p = keep_start(
            w.url, "", e2e_printf("max_part=%u", 200 + (unsigned)e2e_below(&seed, 2000)));
        written_add(&w, 1 + (size_t)e2e_below(&seed, 3000));
        pause_ms(e2e_below(&seed, 60)); /* the moment, not a wait for something */
        e2e_kill(p, SIGKILL);
        e2e_wait(p);
        if (k % 4 == 3)
            keep_all("killed", &w, "max_part=1000");
    }
}

/* --- acknowledgements ------------------------------------------------------------------------- */

static struct e2e_process *ack_start(const char *url, const char *more)
{
    return e2e_spawn(
        &(struct e2e_run){.argv = e2e_command((const char *const[]){"export", url, "-S", state(),
                                                                    "--ack-fd", "0", more, NULL}),
                          .input = true});
}

/* So many whole portions have come. */
static bool has_marks(const struct e2e_process *p, const void *ctx)
{
    const char *at = p->out_data.p;
    size_t n = 0;
    while ((at = strstr(at, "{\"ack\":\"")) && strchr(at, '\n')) {
        at++;
        n++;
    }
    return n >= *(const size_t *)ctx;
}

/* The position behind the n-th portion. */
static char *mark(struct e2e_process *p, size_t n)
{
    e2e_until(p, has_marks, &n, "the end of a portion");
    const char *at = p->out_data.p;
    for (size_t i = 0; i < n; i++)
        at = strstr(at, "{\"ack\":\"") + 8;
    return e2e_printf("%.*s", (int)strcspn(at, "\""), at);
}

static void ack(struct e2e_process *p, const char *position)
{
    e2e_give(p, e2e_text(e2e_printf("%s\n", position)));
}

/* The messages in envelopes, as ndjson. */
static struct e2e_bytes messages_of(const struct e2e_process *p)
{
    struct e2e_bytes all = {0};
    e2e_add(&all, "", 0);
    for (const char *at = p->out_data.p; (at = strstr(at, ",\"json\":")); at++) {
        size_t n = strcspn(at, "\n");
        e2e_add(&all, at + 8, n - 9);
        e2e_add_text(&all, "\n");
    }
    return all;
}

static bool is_at(void *ctx)
{
    return strcmp(state_has("skip"), ctx) == 0;
}

E2E_BOTH(hand, the_state_moves_by_what_is_acknowledged)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    for (int k = 0; k < 3; k++)
        written_add(&w, 600);
    e2e_limits("max_part=800");
    struct e2e_process *p = ack_start(w.url, "-q");
    size_t n = 1;
    char *first = mark(p, n);
    cr_assert_str_eq(first, "-1,3");
    cr_assert_str_eq(state_has("offset"), "-1");
    ack(p, "-1,1"); /* a part of it */
    e2e_wait_for(is_at, (void *)(uintptr_t) "1", "the part");
    ack(p, "-1,0"); /* an old one says nothing new */
    ack(p, "-1,1");
    ack(p, first);
    char *second = mark(p, ++n);
    cr_assert_str_eq(second, "-1,6");
    e2e_kill(p, SIGKILL);
    e2e_wait(p);
    /* The second comes again, and the third. */
    cr_assert_str_eq(state_has("handed out behind that"), "3 messages");
    p = ack_start(w.url, "-q");
    ack(p, mark(p, 1));
    ack(p, mark(p, 2));
    e2e_status(p, 0);
    struct e2e_bytes rest = messages_of(p);
    e2e_same("the rest", rest, (struct e2e_bytes){w.want.p + w.want.n / 3, w.want.n / 3 * 2, 0});
    cr_assert_str_neq(state_has("offset"), "-1");
    cr_assert_str_eq(state_has("format"), "envelope");
    e2e_close(w.url);
    e2e_status(ack_start(w.url, "-q"), 0);
    cr_assert_str_eq(state_has("closed"), "yes");
}

E2E_EMBEDDED(hand, what_is_acknowledged_wrongly_or_no_more_is_an_error)
{
    static const struct {
        const char *line, *says;
        int status;
    } cases[] = {{"-1,4\n", "no position in what was handed out", 65},
                 {"abc\n", "no position in what was handed out", 65},
                 {"-1,x\n", "not a position", 65},
                 {"\n", "not a position", 65},
                 {"", "closed before all from -1,0", 74},
                 {"-1,2\n", "closed before all from -1,2", 74}};
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unlink(state());
        struct e2e_process *p = ack_start(w.url, "-f");
        (void)mark(p, 1);
        e2e_give(p, e2e_text(cases[i].line));
        e2e_end_input(p);
        e2e_status(p, cases[i].status);
        e2e_says(p, cases[i].says);
    }
    cr_assert_str_eq(state_has("skip"), "2");
    struct e2e_process *p = ack_start(w.url, "-f");
    ack(p, mark(p, 1));
    e2e_wait_for(is_at, (void *)(uintptr_t) "0", "the end");
    close(p->out); /* it has gone, and owes nothing */
    p->out = -1;
    e2e_status(p, 128 + SIGPIPE);
    p = ack_start(w.url, "-f");
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
}

E2E_EMBEDDED(hand, who_acknowledges_slowly_costs_no_memory)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    size_t total = e2e_sanitized() ? 3 : 12;
    while (w.n < total / 3)
        written_add(&w, 3 << 20); /* in three portions */
    struct e2e_process *p = ack_start(w.url, "-f");
    for (size_t n = 1; n <= total; n++)
        ack(p, mark(p, n));
    long peak = reading_peak(p->pid);
    cr_assert(e2e_sanitized() || peak < 20 * 1024, "%ld KiB", peak);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
}

/* --- what does not go together ---------------------------------------------------------------- */

E2E_EMBEDDED(hand, what_does_not_go_together_is_refused)
{
    static const char *const cases[][6] = {
        {"--exec", "cat", NULL},
        {"--exec", "cat", "-S", "st", "-o", "x"},
        {"--exec", "cat", "-S", "st", "-d", "x"},
        {"--exec", "cat", "-S", "st", "-z", "gzip"},
        {"--exec", "cat", "-S", "st", "--sync", "1s"},
        {"--exec", "cat", "-S", "st", "--append", NULL},
        {"--exec", "cat", "-S", "st", "another", NULL},
        {"--exec", "cat", "-S", "st", "--ack-fd", "0"},
        {"--exec", "cat", "-S", "st", "--rotate-size", "1k"},
        {"--exec", "cat", "-S", "st", "-F", "sse"},
        {"--exec", "cat", "-S", "st", "--sqlite", "db"},
        {"--ack-fd", "0", "-S", "st", "-F", "ndjson"},
        {"--ack-fd", "1", "-S", "st", NULL},
        {"--ack-fd", "99", "-S", "st", NULL},
        {"--ack-fd", "x", "-S", "st", NULL},
    };
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *args[9] = {"export", w.url};
        for (size_t k = 0; k < 6 && cases[i][k]; k++)
            args[k + 2] = cases[i][k];
        struct e2e_process *p =
            e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)}));
        e2e_status(p, 2);
    }
    /* States of something else */
    const char *out = e2e_path("out"), *its = e2e_path("out.dstate");
    e2e_status(dstream_run("export", w.url, "-o", out), 0);
    e2e_status(dstream_run("export", w.url, "-S", its, "--exec", "cat"), 13);
    e2e_status(exec_run(w.url, ":"), 0);
    e2e_status(dstream_run("export", w.url, "-o", e2e_path("o2"), "-S", state()), 13);
    e2e_status(dstream_run("export", w.url, "-S", state(), "--ack-fd", "0"), 2);
    struct written other = written_begin(e2e_url("t"), TYPE_TEXT);
    e2e_status(exec_run(other.url, ":"), 13);
}
