/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recordings and streams written into another stream, each byte once: dstream replay --to URL, and
 * dstream copy; at each step and at random moments killed, and gone on with.
 *
 * DSTREAM_SOAK=N makes the random ones N times as many; DSTREAM_SEED=SEED repeats the fresh seed
 * that a run has printed.
 */
#include "config.h"

#include "tests/e2e/fault_proxy.h"
#include "tests/e2e/recording.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KILLED (128 + SIGKILL)

/* What a stream has, as it was written. */
static void has(const char *url, const char *what, struct e2e_bytes want)
{
    struct e2e_process *p = dstream_run("read", url, "-q");
    e2e_status(p, 0);
    e2e_same(what, p->out_data, want);
}

static const char *state(void)
{
    return e2e_path("state");
}

static void forget(void)
{
    const char *const suffixes[] = {"", ".tmp", ".source", ".source.tmp"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        (void)unlink(e2e_printf("%s%s", state(), suffixes[i]));
}

/* --- whole ------------------------------------------------------------------------------------ */

static void to_and_fro(const char *type)
{
    struct written w = written_begin(e2e_url("s"), type);
    for (int i = 0; i < 3; i++)
        written_add(&w, 5000);
    e2e_close(w.url);
    char *copy = e2e_url("copy"), *replayed = e2e_url("replayed");
    struct e2e_process *p = dstream_run("copy", w.url, copy, "--create", "--close", "-v");
    e2e_status(p, 0);
    e2e_says(p, "closed; its end is");
    has(copy, "copied", w.want);
    e2e_status(dstream_run("record", copy, "-o", exported()), 0);
    e2e_status(dstream_run("replay", exported(), "--to", replayed, "--create", "--close", "--speed",
                           "max"),
               0);
    has(replayed, "replayed", w.want);
    for (int i = 0; i < 2; i++) {
        struct e2e_answer a = e2e_http("HEAD", i ? copy : replayed, NULL, (struct e2e_bytes){0});
        cr_expect(a.closed && strncmp(a.type, type, strlen(type)) == 0, "%s", a.type);
    }
}

E2E_BOTH(copy, messages)
{
    to_and_fro(TYPE_JSON);
}

E2E_BOTH(copy, text)
{
    to_and_fro(TYPE_TEXT);
}

E2E_BOTH(copy, bytes)
{
    to_and_fro(TYPE_BINARY);
}

/* As it is written, by each way of following; it ends when the stream is closed. */
static void live(const char *type, const char *mode)
{
    struct written w = written_begin(e2e_url("s"), type);
    char *copy = e2e_url("copy");
    struct e2e_process *p = dstream_start("copy", w.url, copy, "--create", "--close", "-f",
                                          "--live", mode, "-vv", "--state", state());
    reading_until_live(p);
    for (int i = 0; i < 5; i++)
        written_add(&w, 700);
    e2e_close(w.url);
    e2e_status(p, 0);
    has(copy, mode, w.want);
    p = dstream_run("copy", w.url, copy, "--state", state(), "--close");
    e2e_status(p, 0);
    e2e_says(p, "complete");
    has(copy, "and not again", w.want);
    p = dstream_run("state", "show", e2e_path("state.source"));
    e2e_status(p, 0);
    size_t units = strcmp(type, TYPE_JSON) == 0 ? 3 * w.n : w.want.n;
    cr_expect_not_null(strstr(p->out_data.p, e2e_printf("\nmark of the journal: %zu ", units)),
                       "%s", p->out_data.p);
}

E2E_BOTH(copy, follows_by_sse)
{
    live(TYPE_JSON, "sse");
}

E2E_BOTH(copy, follows_by_long_poll)
{
    live(TYPE_TEXT, "long-poll");
}

/* From one server to the other. */
E2E_BOTH(copy, from_server_to_server)
{
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", "100", NULL});
    struct written w = written_begin(e2e_url_at(base, "s"), TYPE_JSON);
    for (int i = 0; i < 5; i++)
        written_add(&w, 100);
    char *there = e2e_url("there"), *back = e2e_url_at(base, "back");
    e2e_status(dstream_run("copy", w.url, there, "--create"), 0);
    has(there, "there", w.want);
    e2e_status(dstream_run("copy", there, back, "--create"), 0);
    has(back, "and back", w.want);
}

/* --- going on --------------------------------------------------------------------------------- */

/* In pieces of every size, by a state that is kept. */
E2E_EMBEDDED(copy, goes_on_anywhere)
{
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", "150", NULL});
    struct written w = written_begin(e2e_url_at(base, "s"), TYPE_JSON);
    for (int i = 0; i < 4; i++)
        written_add(&w, 60); /* twelve messages */
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    for (int n = 1; n <= 5; n++) {
        char *count = e2e_printf("%d", n), *copy = e2e_url(e2e_printf("copy%d", n));
        forget();
        for (int i = 0; i < 12; i += n)
            e2e_status(
                dstream_run("copy", w.url, copy, "--create", "--state", state(), "-n", count), 0);
        has(copy, count, w.want);
        forget();
        char *replayed = e2e_url(e2e_printf("replayed%d", n));
        for (int i = n; i < 12 + n; i += n)
            e2e_status(dstream_run("replay", exported(), "--to", replayed, "--create", "--state",
                                   state(), "-n", e2e_printf("%d", i), "--speed", "max"),
                       0);
        has(replayed, count, w.want);
    }
}

/* --- a server that refuses what is large ------------------------------------------------------ */

/* Bytes are cut anywhere, so that they are sent in smaller batches. */
E2E_EMBEDDED(copy, bytes_that_are_too_much_at_once)
{
    struct fault_plan plan = {.limit = 70000};
    struct fault_proxy *proxy = fault_proxy_start(e2e_base(), &plan);
    struct written w = written_begin(e2e_url("s"), TYPE_BINARY);
    written_add(&w, 300000);
    const char *through = fault_proxy_url(proxy);
    struct e2e_process *p =
        dstream_run("copy", w.url, e2e_url_at(through, "copy"), "--create", "--state", state());
    e2e_status(p, 0);
    has(e2e_url("copy"), "copied", w.want);
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    p = dstream_run("replay", exported(), "--to", e2e_url_at(through, "replayed"), "--create",
                    "--speed", "max");
    e2e_status(p, 0);
    has(e2e_url("replayed"), "replayed", w.want);
    cr_expect_gt(fault_proxy_counts(proxy).befell[FAULT_413], 1);
    fault_proxy_stop(proxy);
}

/* What cannot be cut is refused for good: it is said that the next run goes on behind it. */
E2E_EMBEDDED(copy, messages_that_are_too_large)
{
    struct fault_plan plan = {.limit = 100};
    struct fault_proxy *proxy = fault_proxy_start(e2e_base(), &plan);
    const char *through = fault_proxy_url(proxy);
    char *url = e2e_url("s"), *copy = e2e_url_at(through, "copy");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text(e2e_printf("[1,\"%0*d\",3]", 101, 2)));
    e2e_close(url);
    struct e2e_process *p = dstream_run("copy", url, copy, "--create", "--state", state());
    e2e_status(p, 14);
    e2e_says(p, "too large for the server (413)");
    e2e_says(p, "stored: message 1");
    e2e_says(p, "not stored: messages 2 to 3: the next run goes on behind");
    e2e_status(dstream_run("copy", url, copy, "--state", state()), 0);
    has(e2e_url("copy"), "but for them", e2e_text("1\n"));
    struct written w = written_begin(e2e_url("bytes"), TYPE_BINARY);
    written_add(&w, 101);
    p = dstream_run("copy", w.url, e2e_url_at(through, "copied"), "--create");
    e2e_status(p, 14);
    e2e_says(p, "not stored: bytes 0 to 100 of what is copied");
    cr_expect_null(strstr(p->err_data.p, "the next run"));
    fault_proxy_stop(proxy);
}

/* --- what does not go together ---------------------------------------------------------------- */

/* Whatever does not go together is refused, and nothing is written. */
E2E_EMBEDDED(copy, refuses_what_does_not_go_together)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 100);
    char *copy = e2e_url("copy"), *other = e2e_url("other"), *text = e2e_url("text");
    e2e_create(text, TYPE_TEXT);
    e2e_create(other, TYPE_JSON);
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    e2e_status(dstream_run("copy", w.url, copy, "--create", "--state", state()), 0);
    written_add(&w, 100);
    struct e2e_process *p = dstream_run("copy", w.url, other, "--state", state());
    e2e_status(p, 13); /* the journal is of another stream */
    p = dstream_run("copy", other, copy, "--state", state());
    e2e_status(p, 13); /* and the source another one */
    p = dstream_run("copy", w.url, copy, "--state", state(), "--from", "now");
    e2e_status(p, 13);
    p = dstream_run("replay", exported(), "--to", copy, "--state", state());
    e2e_status(p, 13);
    p = dstream_run("copy", w.url, text);
    e2e_status(p, 11);
    e2e_says(p, "the one has messages, the other bytes");
    p = dstream_run("replay", exported(), "--to", text);
    e2e_status(p, 11);
    p = dstream_run("copy", w.url, w.url);
    e2e_status(p, 2);
    p = dstream_run("copy", w.url, e2e_url("none"));
    e2e_status(p, 66);
    p = dstream_run("copy", e2e_url("none"), copy);
    e2e_status(p, 66);
    /* One of the two files is gone. */
    struct e2e_bytes journal = e2e_read_file(state());
    cr_assert_eq(unlink(state()), 0);
    p = dstream_run("copy", w.url, copy, "--state", state());
    e2e_status(p, 13);
    e2e_says(p, "ahead of the journal");
    e2e_write_file(state(), journal);
    cr_assert_eq(unlink(e2e_path("state.source")), 0);
    p = dstream_run("copy", w.url, copy, "--state", state());
    e2e_status(p, 13);
    e2e_says(p, "it is gone, and the journal is not");
    struct e2e_bytes half = {0};
    e2e_add(&half, w.want.p, w.want.n / 2);
    has(copy, "nothing more was written", half);
}

/* A source that was deleted and made anew is not mixed with the old one. */
E2E_EMBEDDED(copy, notices_a_source_that_was_made_anew)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 100);
    char *copy = e2e_url("copy");
    e2e_status(dstream_run("copy", w.url, copy, "--create", "--state", state()), 0);
    e2e_delete(w.url);
    struct written anew = written_begin(w.url, TYPE_JSON);
    anew.n = 100;
    written_add(&anew, 100);
    written_add(&anew, 100);
    e2e_limits("replica_lag=100");
    e2e_status(dstream_run("copy", w.url, copy, "--state", state()), 13);
    e2e_limits("");
    has(copy, "the old one", w.want);
}

/* Each side has its own credentials. */
E2E_EMBEDDED(copy, keeps_credentials_apart)
{
    e2e_write_file(e2e_path("auth"), e2e_text("Bearer to-token\nsecond line\n"));
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    written_add(&w, 100);
    struct e2e_process *p =
        dstream_run("copy", w.url, e2e_url("copy"), "--create", "-H", "X-From: from-token",
                    "--to-header", "X-To: to-token", "--to-auth-file", e2e_path("auth"), "-vv");
    e2e_status(p, 0);
    cr_expect_null(strstr(p->err_data.p, "token"), "%s", p->err_data.p);
    p = dstream_run("copy", w.url, e2e_url("copy"), "--to-auth-file", e2e_path("none"));
    e2e_status(p, 2);
    p = dstream_run("replay", e2e_path("none"), "-H", "X: y");
    e2e_status(p, 2);
}

/* --- killed ----------------------------------------------------------------------------------- */

/* A source in pages, so that there are several batches. */
static struct written paged(void)
{
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", "240", NULL});
    struct written w = written_begin(e2e_url_at(base, "s"), TYPE_JSON);
    for (int i = 0; i < 2; i++)
        written_add(&w, 100);
    e2e_close(w.url);
    return w;
}

/* At each operation on files there is, then once more, and at last it comes through. */
static void killed_at_each(const struct written *w, bool replay, const char *what)
{
    bool through = false;
    for (unsigned n = 1; !through; n += e2e_step_stride()) {
        char *to = e2e_url(e2e_printf("%s%u", what, n));
        const char *const args[] = {replay ? "replay" : "copy",
                                    replay ? exported() : w->url,
                                    replay ? "--to" : to,
                                    replay ? to : "-q",
                                    "--create",
                                    "--close",
                                    "--state",
                                    state(),
                                    "--batch-bytes",
                                    "200",
                                    "--in-flight",
                                    "2",
                                    replay ? "--speed" : NULL,
                                    "max",
                                    NULL};
        struct e2e_run run = {.argv = e2e_command(args)};
        forget();
        through = true;
        for (int again = 0; again < 2; again++) {
            e2e_limits(e2e_printf("%s=%u", what, n));
            int status = e2e_wait(e2e_spawn(&run));
            cr_assert(status == 0 || status == KILLED, "%s=%u ended with %d", what, n, status);
            through = through && status == 0;
        }
        e2e_limits("");
        e2e_status(e2e_finished(e2e_spawn(&run)), 0);
        has(to, e2e_printf("%s=%u", what, n), w->want);
        cr_assert_lt(n, 500);
        cr_assert(!through || n > 10, "only %u steps", n);
    }
}

E2E_EMBEDDED(copy, killed_at_each_step)
{
    struct written w = paged();
    killed_at_each(&w, false, "kill_at");
    killed_at_each(&w, false, "kill_after");
}

E2E_EMBEDDED(copy, replay_killed_at_each_step)
{
    struct written w = paged();
    e2e_status(dstream_run("record", w.url, "-o", exported()), 0);
    killed_at_each(&w, true, "kill_at");
    killed_at_each(&w, true, "kill_after");
}

static void pass(uint64_t *s)
{
    usleep((useconds_t)(e2e_draw(s) % (1U << e2e_draw(s) % 17)));
}

static void killed_while_written(const char *type, uint64_t seed, unsigned long kills)
{
    static const char *const modes[] = {"auto", "long-poll", "sse"};
    uint64_t s = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    const char *what = e2e_printf("%s, DSTREAM_SEED=%llu", type, (unsigned long long)seed);
    fprintf(stderr, "%s\n", what); /* first, as a crash of the test would not say it */
    struct written w = written_begin(e2e_url(e2e_printf("s%llu", (unsigned long long)seed)), type);
    char *copy = e2e_url(e2e_printf("copy%llu", (unsigned long long)seed));
    forget();
    for (unsigned long i = 0; i < kills; i++) {
        const char *mode = modes[e2e_draw(&s) % (strcmp(type, TYPE_TEXT) == 0 ? 2 : 3)];
        if (e2e_draw(&s) % 2 == 0)
            e2e_limits(e2e_printf("kill_%s=%u", e2e_draw(&s) % 2 ? "at" : "after",
                                  (unsigned)(e2e_draw(&s) % 60) + 1));
        struct e2e_process *p =
            dstream_start("copy", w.url, copy, "--create", "-f", "--live", mode, "--state", state(),
                          "--batch-bytes", e2e_draw(&s) % 2 ? "1MiB" : "900");
        e2e_limits("");
        for (uint64_t n = e2e_draw(&s) % 4; n > 0; n--) {
            written_add(&w, 1 + e2e_draw(&s) % 2000);
            pass(&s);
        }
        pass(&s);
        e2e_kill(p, SIGKILL);
        if (e2e_wait(p) != KILLED)
            cr_assert_fail("%s: kill %lu: ended with %d: %s", what, i, p->status, p->err_data.p);
        if (e2e_draw(&s) % 6 == 0 || i == kills / 2) {
            e2e_status(dstream_run("copy", w.url, copy, "--create", "--state", state()), 0);
            has(copy, what, w.want);
        }
    }
    e2e_close(w.url);
    e2e_status(dstream_run("copy", w.url, copy, "--create", "--close", "-f", "--state", state()),
               0);
    has(copy, what, w.want);
}

static void killed_at_random(const char *type)
{
    uint64_t fresh = e2e_fresh_seed();
    killed_while_written(type, 1, 8 * e2e_soak());
    killed_while_written(type, fresh, 8 * e2e_soak());
}

E2E_BOTH(copy, killed_at_random_moments_of_messages)
{
    killed_at_random(TYPE_JSON);
}

E2E_BOTH(copy, killed_at_random_moments_of_text)
{
    killed_at_random(TYPE_TEXT);
}

E2E_BOTH(copy, killed_at_random_moments_of_bytes)
{
    killed_at_random(TYPE_BINARY);
}
