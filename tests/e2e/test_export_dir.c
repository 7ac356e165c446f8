/* SPDX-License-Identifier: Apache-2.0 */
/* Exports of many streams into a directory. That they survive being killed is in test_kill.c. */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

static const char *dir(void)
{
    return e2e_path("d");
}

static char *in_dir(const char *file)
{
    return e2e_printf("%s/%s", dir(), file);
}

/* A stream of each type, with some data. */
static void begin(struct written w[3])
{
    for (size_t i = 0; i < 3; i++) {
        w[i] = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i]);
        written_add(&w[i], 300);
    }
}

static void same(const struct written w[3])
{
    for (size_t i = 0; i < 3; i++)
        e2e_same(types[i], e2e_read_file(in_dir(e2e_printf("s%zu", i))), w[i].want);
}

static bool says(const char *path, const char *text)
{
    return strstr(e2e_read_file(path).p, text) != NULL;
}

#define export_all(w, ...)                                                                         \
    dstream_run("export", (w)[0].url, (w)[1].url, (w)[2].url, "--url", e2e_url(""), "-d", dir(),   \
                __VA_ARGS__)

E2E_BOTH(export_dir, writes_each_stream_and_goes_on)
{
    struct written w[3];
    begin(w);
    struct e2e_process *p = export_all(w, "-q");
    e2e_status(p, 0);
    cr_assert_eq(p->out_data.n + p->err_data.n, 0, "it said: %s", p->err_data.p);
    same(w);
    for (size_t i = 0; i < 3; i++) {
        const char *line = e2e_printf("{\"file\":\"s%zu\",\"stream\":\"%s\",", i, w[i].url);
        cr_assert(says(in_dir("MANIFEST.ndjson"), line), "the manifest lacks %s", line);
        written_add(&w[i], 200);
    }
    struct e2e_bytes manifest = e2e_read_file(in_dir("MANIFEST.ndjson"));
    e2e_status(export_all(w, "--require", "end"), 0);
    same(w);
    for (size_t i = 0; i < 3; i++)
        e2e_close(w[i].url);
    e2e_status(export_all(w, "-f"), 0);
    same(w);
    struct e2e_bytes before = snapshot(dir());
    p = export_all(w, "-v");
    e2e_status(p, 0);
    e2e_says(p, "3 streams: 0 failed, 3 read to their ends, 3 of these closed");
    e2e_same("files", snapshot(dir()), before);
    e2e_same("manifest", e2e_read_file(in_dir("MANIFEST.ndjson")), manifest);
}

E2E_BOTH(export_dir, follows_all_of_them)
{
    struct written w[3];
    begin(w);
    struct e2e_process *p = dstream_start("export", "--url", e2e_url(""), w[0].url, w[1].url,
                                          w[2].url, "-d", dir(), "-f", "-vv", "--sync", "10ms");
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 3; i++)
            written_add(&w[i], 100);
    }
    for (size_t i = 0; i < 3; i++)
        e2e_close(w[i].url);
    e2e_status(p, 0);
    same(w);
}

/* The trouble of one is its own, and is said twice: when it comes, and at the end. */
E2E_BOTH(export_dir, one_that_fails_does_not_stop_the_others)
{
    struct written w[3];
    begin(w);
    struct e2e_process *p = dstream_run("export", "--url", e2e_url(""), w[0].url, e2e_url("none"),
                                        w[1].url, w[2].url, "-d", dir());
    e2e_status(p, 66);
    cr_assert_eq(reading_said(p, "/none: "), 2, "it said: %s", p->err_data.p);
    e2e_says(p, "4 streams: 1 failed, 3 read to their ends");
    same(w);
    cr_assert_not(e2e_exists(in_dir("none")));
    cr_assert_not(says(in_dir("MANIFEST.ndjson"), "none"));
    /* A file that somebody changed, another that is gone, one that nobody may write to. */
    e2e_write_file(in_dir("s1"), e2e_text("not this"));
    struct e2e_bytes changed = e2e_read_file(in_dir("s1"));
    for (size_t i = 0; i < 3; i++)
        written_add(&w[i], 50);
    p = export_all(w, "-q");
    e2e_status(p, 13);
    e2e_says(p, "bytes where");
    e2e_same("untouched", e2e_read_file(in_dir("s1")), changed);
    e2e_same("s0", e2e_read_file(in_dir("s0")), w[0].want);
    e2e_same("s2", e2e_read_file(in_dir("s2")), w[2].want);
    /* And a stream that was made anew, shorter. */
    e2e_delete(w[2].url);
    e2e_create(w[2].url, types[2]);
    written_add(&w[0], 50);
    struct e2e_bytes old = e2e_read_file(in_dir("s2"));
    e2e_limits("replica_lag=50");
    p = dstream_run("export", "--url", e2e_url(""), w[0].url, w[2].url, "-d", dir());
    e2e_status(p, 13);
    e2e_same("s0", e2e_read_file(in_dir("s0")), w[0].want);
    e2e_same("untouched", e2e_read_file(in_dir("s2")), old);
}

/* Also in the summary, which names each that has failed. */
E2E_EMBEDDED(export_dir, a_format_that_is_refused_is_said_as_of_one_file)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("a\r\n"));
    for (int k = 0; k < 2; k++) {
        struct e2e_process *p = dstream_run("export", url, "-F", k ? "sse" : "ndjson", "-d", dir());
        const char *why = k ? "format sse cannot carry" : "format ndjson is for JSON";
        e2e_status(p, 2);
        const char *first = strstr(p->err_data.p, why);
        cr_assert(first && strstr(first + 1, why), "%s", p->err_data.p);
        cr_assert_null(strstr(p->err_data.p, "out of its range"), "%s", p->err_data.p);
    }
}

/* What one run does not name, stays in the state for the next one that does. */
E2E_EMBEDDED(export_dir, lines_of_streams_that_are_not_named_are_kept)
{
    struct written w[3];
    begin(w);
    e2e_status(export_all(w, "-q"), 0);
    for (size_t i = 0; i < 3; i++)
        written_add(&w[i], 60);
    e2e_status(dstream_run("export", "--url", e2e_url(""), w[1].url, "-d", dir()), 0);
    e2e_same("s1", e2e_read_file(in_dir("s1")), w[1].want);
    e2e_status(export_all(w, "-q"), 0);
    same(w);
    struct e2e_process *p = dstream_run("state", "show", dir());
    e2e_status(p, 0);
    for (size_t i = 0; i < 3; i++)
        cr_assert_not_null(strstr(p->out_data.p, e2e_printf("\nfile: s%zu\n", i)));
    cr_assert_not_null(strstr(p->out_data.p, "\nfiles: 3\n"));
    /* The same name of another server is another stream. */
    const char *other = e2e_serve(NULL, NULL);
    e2e_create(e2e_url_at(other, "s1"), TYPE_TEXT);
    struct e2e_bytes before = snapshot(dir());
    p = dstream_run("export", "--url", e2e_url_at(other, ""), e2e_url_at(other, "s1"), "-d", dir());
    e2e_status(p, 13);
    e2e_says(p, "of another stream");
    e2e_same("files", snapshot(dir()), before);
}

E2E_EMBEDDED(export_dir, names_come_from_a_list_too_and_never_leave_the_directory)
{
    struct written w[3];
    begin(w);
    struct written odd = written_begin(e2e_url("a/..%2F..%2Fb.lock"), TYPE_TEXT);
    written_add(&odd, 10);
    e2e_write_file(e2e_path("list"), e2e_text(e2e_printf("# the streams\n\n%s\r\n  %s  \n%s",
                                                         w[1].url, w[2].url, odd.url)));
    e2e_status(dstream_run("export", "--url", e2e_url(""), w[0].url, "--list", e2e_path("list"),
                           "-d", dir()),
               0);
    same(w);
    e2e_same("odd", e2e_read_file(in_dir("a%2F..%2F..%2Fb%2Elock")), odd.want);
    struct e2e_bytes before = snapshot(dir());
    /* Twice the same is refused before anything is made. */
    struct e2e_process *p = dstream_run("export", "--url", e2e_url(""), w[1].url, "--list",
                                        e2e_path("list"), "-d", dir());
    e2e_status(p, 2);
    e2e_says(p, "would both be the file s1");
    p = dstream_run("export", "--url", e2e_url(""), e2e_url("x"), e2e_url("x?token=1"), "-d",
                    e2e_path("new"));
    e2e_status(p, 2);
    cr_assert_not(e2e_exists(e2e_path("new")));
    p = dstream_run("export", "--url", e2e_url(""), "--list", e2e_path("no-list"), "-d", dir());
    e2e_status(p, 66);
    cr_assert(reading_said(p, "no-list: No such file"));
    e2e_write_file(e2e_path("spaced"), e2e_text(e2e_printf("%s s1\n", w[0].url)));
    e2e_status(dstream_run("export", "--list", e2e_path("spaced"), "-d", dir()), 2);
    e2e_status(dstream_run("export", "--url", e2e_url(""), w[0].url, "-d", dir(), "-o", exported()),
               2);
    e2e_status(dstream_run("export", "--url", e2e_url(""), w[0].url, "-d", e2e_path("none/d")), 74);
    e2e_same("files", snapshot(dir()), before);
}

E2E_BOTH(export_dir, nobody_else_exports_into_it)
{
    struct written w[3];
    begin(w);
    struct e2e_process *p =
        dstream_start("export", "--url", e2e_url(""), w[0].url, w[1].url, "-d", dir(), "-f", "-vv");
    reading_until_live(p);
    e2e_until_err(p, "s1?"); /* the lock is older than any request */
    struct e2e_process *second[] = {
        dstream_run("export", "--url", e2e_url(""), w[2].url, "-d", dir()),
        dstream_run("export", "--url", e2e_url(""), w[2].url, "-o", in_dir("mine")),
        dstream_run("export", "--url", e2e_url(""), w[0].url, "-o", in_dir("s0")),
        dstream_run("export", "--url", e2e_url(""), w[2].url, "-d", e2e_path("d2"), "-S",
                    in_dir("export.dstate")),
    };
    for (size_t i = 0; i < 4; i++) {
        e2e_status(second[i], 73);
        e2e_says(second[i], "locked");
    }
    cr_assert_not(e2e_exists(in_dir("mine")));
    cr_assert_not(e2e_exists(in_dir("mine.lock")));
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    /* The other way round. */
    p = dstream_start("export", "--url", e2e_url(""), w[2].url, "-o", in_dir("mine"), "-f", "-vv");
    reading_until_live(p);
    struct e2e_process *whole = dstream_run("export", "--url", e2e_url(""), w[0].url, "-d", dir());
    e2e_status(whole, 73);
    e2e_says(whole, "locked");
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    e2e_status(export_all(w, "-q"), 0);
    same(w);
}

E2E_EMBEDDED(export_dir, a_state_that_is_damaged_or_another_ones_is_refused)
{
    struct written w[3];
    begin(w);
    e2e_status(export_all(w, "-q"), 0);
    const char *path = in_dir("export.dstate");
    struct e2e_bytes state = e2e_read_file(path);
    const char *second = strchr(state.p, '\n') + 1;
    struct e2e_bytes cases[5] = {e2e_text(""), {0}, {0}, {0}, {0}};
    e2e_add(&cases[1], state.p, state.n - 1);
    e2e_add(&cases[2], state.p,
            (size_t)(strchr(second, '\n') - state.p) + 1); /* lines are missing */
    e2e_add(&cases[3], state.p, state.n);
    cases[3].p[state.n / 2] ^= 1;
    e2e_add(&cases[4], second, state.n - (size_t)(second - state.p));
    for (size_t i = 0; i < 5; i++) {
        e2e_write_file(path, cases[i]);
        struct e2e_bytes before = snapshot(dir());
        e2e_status(export_all(w, "-q"), 13);
        e2e_status(export_all(w, "--reset", "--overwrite"), 13);
        e2e_same("files", snapshot(dir()), before);
    }
    e2e_write_file(path, state);
    /* Of a single file, and the other way round. */
    e2e_status(dstream_run("export", "--url", e2e_url(""), w[0].url, "-o", exported()), 0);
    e2e_status(dstream_run("export", "--url", e2e_url(""), w[0].url, "-d", dir(), "-S",
                           e2e_path("out.dstate")),
               13);
    e2e_status(
        dstream_run("export", "--url", e2e_url(""), w[0].url, "-o", e2e_path("new"), "-S", path),
        13);
    /* None at all: what is there is not overwritten unasked. */
    cr_assert_eq(unlink(path), 0);
    struct e2e_bytes before = snapshot(dir());
    e2e_status(export_all(w, "-q"), 73);
    e2e_same("files", snapshot(dir()), before);
    e2e_status(export_all(w, "--overwrite"), 0);
    same(w);
    e2e_status(export_all(w, "--reset", "--append"), 0);
    struct e2e_bytes twice = {0};
    e2e_add(&twice, w[1].want.p, w[1].want.n);
    e2e_add(&twice, w[1].want.p, w[1].want.n);
    e2e_same("appended", e2e_read_file(in_dir("s1")), twice);
}

/* --- many of them ----------------------------------------------------------------------------- */

struct lengths {
    size_t n, each;
};

static bool all_are_long(void *ctx)
{
    const struct lengths *l = ctx;
    for (size_t i = 0; i < l->n; i++) {
        if (file_length(in_dir(e2e_printf("m%zu", i))) < l->each)
            return false;
    }
    return true;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void need_files(size_t n)
{
    struct rlimit l;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
    if (l.rlim_max < 2 * n + 100)
        cr_skip("%zu streams take more open files than there may be here", n);
}

static const char *one_of_many(size_t i)
{
    return e2e_url(e2e_printf("m%zu", i));
}

static void create_many(size_t n)
{
    struct e2e_bytes list = e2e_text("");
    for (size_t i = 0; i < n; i++) {
        e2e_create(one_of_many(i), TYPE_JSON);
        e2e_add_text(&list, e2e_printf("%s\n", one_of_many(i)));
    }
    e2e_write_file(e2e_path("list"), list);
}

static void write_round(size_t n, int round, struct e2e_bytes *want)
{
    const char *message = e2e_printf("{\"round\":%d,\"fill\":\"%0200d\"}", round, 0);
    for (size_t i = 0; i < n; i++)
        e2e_append(one_of_many(i), TYPE_JSON, e2e_text(message));
    e2e_add_text(want, e2e_printf("%s\n", message));
}

static void close_many(size_t n)
{
    for (size_t i = 0; i < n; i++)
        e2e_close(one_of_many(i));
}

/* All are written while they are exported, in rounds: none may be behind when the next one comes.
 */
static void many(size_t n, int rounds, const char *limits)
{
    need_files(n);
    struct e2e_bytes want = e2e_text("");
    create_many(n);
    e2e_limits(limits);
    struct e2e_process *p = dstream_start("export", "--url", e2e_url(""), "--list",
                                          e2e_path("list"), "-d", dir(), "--follow");
    e2e_limits("");
    double slowest = 0;
    long peak = 0;
    for (int round = 0; round < rounds; round++) {
        double begun = seconds();
        write_round(n, round, &want);
        double written = seconds();
        struct lengths lengths = {n, want.n};
        e2e_wait_for(all_are_long, &lengths, e2e_printf("round %d of %zu streams", round, n));
        double took = seconds() - written;
        slowest = took > slowest && round > 0 ? took : slowest;
        if (round == 1)
            peak = reading_peak(p->pid);
        fprintf(stderr, "round %d: written in %.2f s, all there %.2f s later\n", round,
                written - begun, took);
    }
    long last = reading_peak(p->pid);
    fprintf(stderr, "%zu streams, %s: %ld KiB at its highest, then %ld; at most %.2f s behind\n", n,
            limits, peak, last, slowest);
    if (!e2e_sanitized())
        cr_assert_lt(slowest, 5, "they were %.2f s behind", slowest);
    if (!e2e_sanitized())
        cr_assert_leq(last, peak + peak / 10 + 1024, "memory grows: %ld, %ld", peak, last);
    close_many(n);
    e2e_status(p, 0);
    for (size_t i = 0; i < n; i++)
        e2e_same("file", e2e_read_file(in_dir(e2e_printf("m%zu", i))), want);
    struct e2e_process *again =
        dstream_run("export", "--url", e2e_url(""), "--list", e2e_path("list"), "-d", dir(), "-v",
                    "--require", "closed");
    e2e_status(again, 0);
    e2e_says(again, e2e_printf("%zu read to their ends, %zu of these closed", n, n));
}

/* There are not as many compressors as streams: these alone would take 130 MiB or more. */
static void many_packed(const char *pack, const char *suffix)
{
    size_t n = e2e_sanitized() ? 100 : 500;
    need_files(n);
    struct e2e_bytes want = e2e_text("");
    create_many(n);
    struct e2e_process *p =
        dstream_start("export", "--url", e2e_url(""), "--list", e2e_path("list"), "-d", dir(),
                      "--follow", "-z", pack, "--sync", "1d");
    for (int round = 0; round < 3; round++)
        write_round(n, round, &want);
    close_many(n);
    e2e_status(p, 0);
    fprintf(stderr, "%zu streams by %s: %ld KiB at its highest\n", n, pack, p->max_rss);
    if (!e2e_sanitized())
        cr_assert_lt(p->max_rss, 75000);
    for (size_t i = 0; i < n; i++)
        e2e_same("file", unpacked(in_dir(e2e_printf("m%zu%s", i, suffix))), want);
}

E2E_EMBEDDED(export_dir, many_at_once_while_they_are_written)
{
    many(e2e_sanitized() ? 100 : 500, e2e_soak() > 1 ? 20 : 3, "");
}

/* However long syncing takes, the tails stay fresh. */
E2E_EMBEDDED(export_dir, many_at_once_while_syncing_is_slow)
{
    many(e2e_sanitized() ? 100 : 500, e2e_soak() > 1 ? 20 : 3, "sync_ms=10");
}

E2E_EMBEDDED(export_dir, many_at_once_by_gzip)
{
    many_packed("gzip", ".gz");
}

E2E_EMBEDDED(export_dir, many_at_once_by_zstd)
{
    many_packed("zstd", ".zst");
}
