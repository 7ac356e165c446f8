/* SPDX-License-Identifier: Apache-2.0 */
/* Exports: what they refuse and leave alone, when they commit, and that they go on rightly. That
 * they survive being killed is in test_kill.c. */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT exported()

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

static void closed(struct written *w)
{
    e2e_close(w->url);
}

/* A stream with some data. */
static struct written some(const char *name, const char *type)
{
    struct written w = written_begin(e2e_url(name), type);
    written_add(&w, 3000);
    written_add(&w, 300);
    return w;
}

static void append_to_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "abe");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* --- the whole of it -------------------------------------------------------------------------- */

E2E_BOTH(export, writes_the_stream_and_says_when_it_is_complete)
{
    for (size_t i = 0; i < 3; i++) {
        struct written w = some(e2e_printf("s%zu", i), types[i]);
        struct e2e_process *p = dstream_run("export", w.url, "-o", OUT);
        e2e_status(p, 0);
        cr_assert_eq(p->out_data.n + p->err_data.n, 0, "it said: %s", p->err_data.p);
        exported_same(types[i], w.want);
        exported_alone();
        cr_assert_str_eq(exported_state("closed"), "no");
        written_add(&w, 300);
        closed(&w);
        e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
        exported_same(types[i], w.want);
        cr_assert_str_eq(exported_state("closed"), "yes");
        struct e2e_bytes before = snapshot_all();
        p = dstream_run("export", w.url, "-o", OUT);
        e2e_status(p, 0);
        e2e_says(p, "complete");
        e2e_status(dstream_run("export", w.url, "-o", OUT, "--require", "closed"), 0);
        e2e_status(dstream_run("export", w.url, "-o", OUT, "--overwrite", "--from", "beginning"),
                   0);
        e2e_same("files", snapshot_all(), before);
        exported_alone();
        exported_remove();
    }
}

/* Nothing is asked of the server once all is there. */
E2E(export, complete_needs_no_server)
{
    struct e2e_process *server;
    const char *base = e2e_serve(&server, NULL);
    struct written w = written_begin(e2e_url_at(base, "s"), TYPE_TEXT);
    written_add(&w, 100);
    closed(&w);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    e2e_kill(server, SIGKILL);
    e2e_wait(server);
    e2e_says(dstream_run("export", w.url, "-o", OUT), "complete");
    exported_same("file", w.want);
}

E2E_BOTH(export, an_empty_stream_makes_an_empty_file)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("file", w.want);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--require", "end"), 0);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--require", "closed"), 3);
    written_add(&w, 100);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("file", w.want);
    exported_alone();
}

static void follows(const char *type, const char *mode)
{
    struct written w = some(e2e_printf("%s%s", mode, strchr(type, '/') + 1), type);
    struct e2e_process *p =
        dstream_start("export", w.url, "-o", OUT, "--follow", "--live", mode, "-vv");
    reading_until_live(p);
    for (int i = 0; i < 5; i++)
        written_add(&w, 500);
    closed(&w);
    e2e_status(p, 0);
    exported_same(e2e_printf("%s by %s", type, mode), w.want);
    exported_alone();
    exported_remove();
}

E2E_BOTH(export, follows_by_each_live_mode)
{
    for (size_t i = 0; i < 3; i++) {
        follows(types[i], "auto");
        follows(types[i], "long-poll");
        if (strcmp(types[i], TYPE_TEXT) != 0)
            follows(types[i], "sse");
    }
}

E2E_BOTH(export, text_is_not_exported_by_sse)
{
    struct written w = some("s", TYPE_TEXT);
    struct e2e_process *p = dstream_run("export", w.url, "-o", OUT, "-f", "--live", "sse");
    e2e_status(p, 2);
    e2e_says(p, "use --live long-poll");
    cr_assert_not(e2e_exists(OUT));
    cr_assert_not(e2e_exists(e2e_path("out.dstate")));
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    struct e2e_bytes before = snapshot_all();
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-f", "--live", "sse"), 2);
    e2e_same("files", snapshot_all(), before);
}

E2E(export, its_usage)
{
    const char *const *const cases[] = {
        (const char *const[]){"export", "http://127.0.0.1:1/s", NULL},
        (const char *const[]){"export", "-o", OUT, NULL},
        (const char *const[]){"export", "http://127.0.0.1:1/a", "http://127.0.0.1:1/b", "-o", OUT,
                              NULL},
        (const char *const[]){"export", "http://127.0.0.1:1/a", "-o", OUT, "--live", "sse", NULL},
        (const char *const[]){"export", "http://127.0.0.1:1/a", "-o", OUT, "--overwrite",
                              "--append", NULL},
        (const char *const[]){"export", "no-base", "-o", OUT, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(cases[i])})), 2);
    e2e_same("files", snapshot_all(), e2e_text(""));
}

/* --- stopping, and going on ------------------------------------------------------------------- */

/* Runs that take a piece each, until the closed end. `piece` is how many bytes of the output each
 * adds; the last one may add less. */
static void in_pieces(struct written *w, const char *option, const char *value, size_t piece)
{
    for (size_t runs = 1; file_length(OUT) < w->want.n; runs++) {
        e2e_status(dstream_run("export", w->url, "-o", OUT, option, value), 0);
        size_t n = runs * piece < w->want.n ? runs * piece : w->want.n;
        struct e2e_bytes part = {w->want.p, n, n};
        exported_same(e2e_printf("after run %zu", runs), part);
        cr_assert_lt(runs, 200);
    }
    e2e_status(dstream_run("export", w->url, "-o", OUT), 0);
    exported_same("all", w->want);
    cr_assert_str_eq(exported_state("closed"), "yes");
    exported_remove();
}

E2E_BOTH(export, stops_inside_a_batch_and_goes_on_exactly)
{
    struct written w = some("json", TYPE_JSON);
    w.want = e2e_text("");
    w.url = e2e_url("counted");
    e2e_create(w.url, TYPE_JSON);
    e2e_append(w.url, TYPE_JSON, e2e_text("[10,11,12,13,14]"));
    e2e_append(w.url, TYPE_JSON, e2e_text("[15,16,17,18,19,20]"));
    e2e_add_text(&w.want, "10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n");
    closed(&w);
    in_pieces(&w, "-n", "1", 3);
    in_pieces(&w, "-n", "3", 9);
    in_pieces(&w, "-n", "4", 12);
    in_pieces(&w, "--bytes", "7", 6); /* messages are never cut */
    struct written t = written_begin(e2e_url("text"), TYPE_TEXT);
    for (int i = 0; i < 4; i++)
        written_add(&t, 40);
    closed(&t);
    in_pieces(&t, "--bytes", "7", 7);
    in_pieces(&t, "--bytes", "60", 60);
}

E2E_BOTH(export, goes_on_by_offset_and_skip_in_each_mode)
{
    const char *const modes[] = {"auto", "sse", "long-poll"};
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 10);
    for (int i = 0; i < 3; i++) {
        e2e_status(dstream_run("export", w.url, "-o", OUT, "-n", "2"), 0);
        struct e2e_process *p =
            dstream_start("export", w.url, "-o", OUT, "-f", "--live", modes[i], "-n", "5", "-vv");
        reading_until_live(p);
        written_add(&w, 10);
        written_add(&w, 10); /* two messages of this one are not wanted */
        e2e_status(p, 0);
    }
    closed(&w);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--follow"), 0);
    exported_same("file", w.want);
}

E2E_BOTH(export, a_signal_commits_what_came_and_the_next_run_goes_on)
{
    const int signals[] = {SIGTERM, SIGINT};
    struct written w = some("s", TYPE_JSON);
    for (size_t i = 0; i < 2; i++) {
        struct e2e_process *p =
            dstream_start("export", w.url, "-o", OUT, "-f", "--sync", "1d", "-vv");
        reading_until_live(p);
        written_add(&w, 100);
        exported_until_length(w.want.n);
        if (i == 0)
            cr_assert_eq(exported_state_length(), 0, "nothing has committed yet");
        e2e_kill(p, signals[i]);
        e2e_status(p, 128 + signals[i]);
        cr_assert_eq(exported_state_length(), w.want.n);
        written_add(&w, 100);
    }
    closed(&w);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("file", w.want);
    exported_alone();
}

E2E_EMBEDDED(export, commits_when_it_is_told_to)
{
    struct written w = some("s", TYPE_BINARY);
    struct e2e_process *p = dstream_start("export", w.url, "-o", OUT, "-f", "--sync", "1d", "-vv");
    reading_until_live(p);
    exported_until_length(w.want.n);
    cr_assert_eq(exported_state_length(), 0);
    e2e_kill(p, SIGHUP);
    exported_until_state_length(w.want.n);
    e2e_kill(p, SIGUSR1);
    e2e_until_err(p, ", live");
    e2e_kill(p, SIGKILL);
    e2e_status(p, 128 + SIGKILL);
    const char *const when[] = {"batch", "10ms", "1"};
    for (size_t i = 0; i < 3; i++) {
        p = dstream_start("export", w.url, "-o", OUT, "-f", "--sync", when[i], "-vv");
        reading_until_live(p);
        written_add(&w, 100);
        exported_until_state_length(w.want.n);
        e2e_kill(p, SIGKILL);
        e2e_status(p, 128 + SIGKILL);
    }
    exported_same("file", w.want);
}

E2E_BOTH(export, time_limits_end_it_well)
{
    struct written w = some("s", TYPE_JSON);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-f", "--idle", "1500ms"), 0);
    exported_same("idle", w.want);
    written_add(&w, 100);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-f", "--max-time", "1500ms", "--require",
                           "closed"),
               3);
    exported_same("max-time", w.want);
    cr_assert_eq(exported_state_length(), w.want.n);
}

/* What comes between the first answer and the next run is not skipped. */
E2E_BOTH(export, now_is_an_offset_before_anything_live_is_asked)
{
    struct written w = some("s", TYPE_JSON);
    w.want.n = 0;
    struct e2e_process *p =
        dstream_start("export", w.url, "-o", OUT, "--from", "now", "-f", "--sync", "1d", "-vv");
    reading_until_live(p);
    cr_assert_eq(exported_state_length(), 0);
    cr_assert_str_eq(exported_state("from"), "now");
    cr_assert_str_neq(exported_state("offset"), "now");
    e2e_kill(p, SIGKILL);
    e2e_status(p, 128 + SIGKILL);
    written_add(&w, 100);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--from", "now"), 0);
    exported_same("file", w.want);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--from", "beginning"), 2);
}

E2E_EMBEDDED(export, waits_for_a_stream_that_is_not_there_yet)
{
    char *url = e2e_url("s");
    e2e_limits("backoff_base=10,backoff_max=50");
    e2e_status(dstream_run("export", url, "-o", OUT), 66);
    struct e2e_process *p = dstream_start("export", url, "-o", OUT, "--wait-create", "-v");
    e2e_until_err(p, ": 404");
    cr_assert_not(e2e_exists(OUT));
    struct written w = some("s", TYPE_JSON);
    closed(&w);
    e2e_status(p, 0);
    e2e_status(dstream_run("export", url, "-o", OUT), 0);
    exported_same("file", w.want);
}

/* --- two at once ------------------------------------------------------------------------------ */

E2E_BOTH(export, a_second_exporter_is_refused_and_writes_nothing)
{
    struct written w = some("s", TYPE_JSON);
    struct e2e_process *p = dstream_start("export", w.url, "-o", OUT, "-f", "-vv");
    reading_until_live(p);
    exported_until_state_length(w.want.n);
    struct e2e_bytes before = snapshot_all();
    const char *state = e2e_path("out.dstate"), *other = e2e_path("other");
    struct e2e_process *second[] = {
        dstream_run("export", w.url, "-o", OUT),
        dstream_run("export", w.url, "-o", OUT, "--reset", "--overwrite"),
        dstream_run("export", w.url, "-o", OUT, "-S", other),
        dstream_run("export", w.url, "-o", other, "-S", state),
        dstream_run("read", w.url, "-S", state),
    };
    for (size_t i = 0; i < 5; i++) {
        e2e_status(second[i], 73);
        e2e_says(second[i], "locked");
    }
    e2e_same("files", snapshot_all(), before);
    written_add(&w, 100);
    closed(&w);
    e2e_status(p, 0);
    exported_same("file", w.want);
}

/* The same file under a second name: the names differ, the open file is locked. */
E2E_BOTH(export, a_second_name_of_the_file_is_refused)
{
    struct written w = some("s", TYPE_JSON);
    struct e2e_process *p = dstream_start("export", w.url, "-o", OUT, "-f", "-vv");
    reading_until_live(p);
    exported_until_state_length(w.want.n);
    cr_assert_eq(link(OUT, e2e_path("again")), 0);
    struct e2e_bytes before = snapshot_all();
    e2e_status(dstream_run("export", w.url, "-o", e2e_path("again"), "--append"), 73);
    e2e_same("files", snapshot_all(), before);
    closed(&w);
    e2e_status(p, 0);
    exported_same("file", w.want);
}

E2E_EMBEDDED(export, a_directory_that_is_moved_aside_takes_it_along)
{
    cr_assert_eq(mkdir(e2e_path("d"), 0777), 0);
    struct written w = some("s", TYPE_BINARY);
    struct e2e_process *p = dstream_start("export", w.url, "-o", e2e_path("d/out"), "-f", "-vv");
    reading_until_live(p);
    cr_assert_eq(rename(e2e_path("d"), e2e_path("aside")), 0);
    cr_assert_eq(mkdir(e2e_path("d"), 0777), 0);
    written_add(&w, 100);
    closed(&w);
    e2e_status(p, 0);
    e2e_same("file", e2e_read_file(e2e_path("aside/out")), w.want);
    e2e_same("names", snapshot(e2e_path("d")), e2e_text(""));
    e2e_says(dstream_run("export", w.url, "-o", e2e_path("aside/out")), "complete");
}

/* --- files that are not what they should be ----------------------------------------------------
 */

static void refused(struct written *w, int status, const char *says)
{
    struct e2e_bytes before = snapshot_all();
    struct e2e_process *p = dstream_run("export", w->url, "-o", OUT);
    e2e_status(p, status);
    e2e_says(p, says);
    e2e_same("files", snapshot_all(), before);
}

E2E_BOTH(export, a_file_that_was_changed_is_refused)
{
    struct written w = some("s", TYPE_JSON);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    struct e2e_bytes was = e2e_read_file(OUT), changed = e2e_read_file(OUT);
    changed.p[changed.n - 2] ^= 1;
    e2e_write_file(OUT, changed);
    refused(&w, 13, "--reset --overwrite");
    changed = was;
    changed.n--;
    e2e_write_file(OUT, changed);
    refused(&w, 13, "bytes where");
    cr_assert_eq(unlink(OUT), 0);
    refused(&w, 13, "it is gone");
    e2e_write_file(OUT, was);
    written_add(&w, 30);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("put back", w.want);
}

/* A crash leaves more than the state says; what is more is cut off. */
E2E_BOTH(export, a_longer_file_is_cut)
{
    struct written w = some("s", TYPE_TEXT);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    append_to_file(OUT, "of a batch that was not committed");
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("nothing new", w.want);
    written_add(&w, 30);
    append_to_file(OUT, "another");
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("something new", w.want);
    closed(&w);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    append_to_file(OUT, "behind the end");
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("complete", w.want);
    e2e_says(dstream_run("export", w.url, "-o", OUT), "complete");
}

E2E_BOTH(export, a_damaged_state_is_no_reason_to_start_over)
{
    struct written w = some("s", TYPE_JSON);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    const char *path = e2e_path("out.dstate");
    struct e2e_bytes state = e2e_read_file(path), damaged = e2e_read_file(path);
    damaged.p[damaged.n / 2] ^= 4;
    e2e_write_file(path, damaged);
    refused(&w, 13, path);
    e2e_write_file(path, e2e_text(""));
    refused(&w, 13, "empty");
    damaged = state;
    damaged.n /= 2;
    e2e_write_file(path, damaged);
    refused(&w, 13, path);
    e2e_write_file(path, state);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("put back", w.want);
}

E2E_BOTH(export, a_file_without_a_state_is_refused_appended_to_or_replaced)
{
    struct written w = some("s", TYPE_TEXT);
    struct e2e_bytes both = e2e_text("was there before\n");
    e2e_write_file(OUT, both);
    refused(&w, 73, "--overwrite or --append");
    cr_assert_not(e2e_exists(e2e_path("out.dstate")));
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--append"), 0);
    e2e_add(&both, w.want.p, w.want.n);
    exported_same("appended", both);
    size_t n = w.want.n;
    written_add(&w, 50);
    e2e_add(&both, w.want.p + n, w.want.n - n);
    /* Where there is a state they do nothing, so that a command line can stay as it is. */
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--append"), 0);
    exported_same("went on", both);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--overwrite"), 0);
    exported_same("went on again", both);
    exported_remove();
    e2e_write_file(OUT, e2e_random(2 * w.want.n, 1));
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--overwrite"), 0);
    exported_same("replaced", w.want);
    exported_alone();
}

E2E_BOTH(export, reset_forgets_the_position_and_not_the_file)
{
    struct written w = some("s", TYPE_JSON);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    struct e2e_bytes before = snapshot_all();
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--reset"), 73);
    e2e_same("files", snapshot_all(), before);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--reset", "--overwrite"), 0);
    exported_same("anew", w.want);
    append_to_file(OUT, "not committed");
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--reset", "--append"), 0);
    struct e2e_bytes twice = {0};
    e2e_add(&twice, w.want.p, w.want.n);
    e2e_add(&twice, w.want.p, w.want.n);
    exported_same("twice", twice);
    cr_assert_eq(unlink(OUT), 0);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 13);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--reset"), 0);
    exported_same("made anew", w.want);
}

E2E_EMBEDDED(export, a_state_of_something_else_is_refused)
{
    struct written w = some("s", TYPE_JSON), other = some("other", TYPE_JSON);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    refused(&other, 13, "out.dstate");
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-F", "envelope"), 2);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--from", "now"), 2);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-F", "ndjson", "--from", "beginning"), 0);
    exported_same("file", w.want);
    /* A state that goes with output to a pipe is not taken either. */
    const char *piped = e2e_path("piped");
    e2e_status(dstream_run("read", w.url, "-S", piped), 0);
    e2e_status(dstream_run("export", w.url, "-o", e2e_path("new"), "-S", piped), 13);
    cr_assert_not(e2e_exists(e2e_path("new")));
}

E2E_EMBEDDED(export, what_is_no_regular_file_is_refused)
{
    struct written w = some("s", TYPE_TEXT);
    e2e_write_file(e2e_path("target"), e2e_text("precious"));
    cr_assert_eq(symlink("target", e2e_path("link")), 0);
    cr_assert_eq(symlink("nowhere", e2e_path("dangling")), 0);
    cr_assert_eq(mkdir(e2e_path("directory"), 0777), 0);
    cr_assert_eq(mkfifo(e2e_path("fifo"), 0666), 0);
    static const struct {
        const char *name, *says;
        int status;
    } cases[] = {
        {"link", "symbolic link", 74},
        {"dangling", "symbolic link", 74},
        {"directory", "directory", 74},
        {"fifo", "not a regular file", 74},
        {"directory/", "names no file", 2},
        {".", "names no file", 2},
        {"no/such/directory/x", "open its directory", 74},
    };
    struct e2e_bytes before = snapshot_all();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int overwrite = 0; overwrite < 2; overwrite++) {
            struct e2e_process *p = dstream_run("export", w.url, "-o", e2e_path(cases[i].name),
                                                overwrite ? "--overwrite" : "--append");
            e2e_status(p, cases[i].status);
            e2e_says(p, cases[i].says);
        }
    }
    e2e_same("files", snapshot_all(), before);
    /* Nor is a state. */
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-S", e2e_path("link")), 74);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-S", e2e_path("directory")), 74);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-S", e2e_path("fifo")), 74);
    /* And the names of the two, and of their locks, must not meet. */
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-S", OUT), 2);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-S", e2e_path("out.lock")), 2);
    e2e_same("files", snapshot_all(), before);
}

/* --- streams that are not what they were -------------------------------------------------------
 */

/* What the stream was and what it became, as appends of their own; "" is the end of them. */
struct anew {
    const char *what;
    const char *type, *was[3], *new_type, *is[3];
    bool closed;
};

static void create(const char *url, const char *type, const char *const *appends)
{
    e2e_create(url, type);
    for (size_t i = 0; i < 3 && appends[i]; i++)
        e2e_append(url, type, e2e_text(appends[i]));
}

static void made_anew(const struct anew *c, const char *name)
{
    struct written w = {.url = e2e_url(name)};
    create(w.url, c->type, (const char *const[]){c->was[0], NULL});
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    for (size_t i = 1; i < 3 && c->was[i]; i++) {
        e2e_append(w.url, c->type, e2e_text(c->was[i]));
        e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    }
    append_to_file(OUT, "not committed");
    e2e_delete(w.url);
    refused(&w, 10, "deleted");
    create(w.url, c->new_type, c->is);
    if (c->closed)
        closed(&w);
    struct e2e_bytes before = snapshot_all();
    const char *const modes[] = {"auto", "long-poll"};
    struct e2e_process *p = dstream_run("export", w.url, "-o", OUT);
    if (p->status != 13)
        cr_assert_fail("%s: ended with %d: %s", c->what, p->status, p->err_data.p);
    for (size_t i = 0; i < 2; i++)
        e2e_status(dstream_run("export", w.url, "-o", OUT, "-f", "--live", modes[i]), 13);
    e2e_same(c->what, snapshot_all(), before);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--reset", "--overwrite"), 0);
    exported_remove();
}

E2E_BOTH(export, a_stream_that_was_made_anew_is_refused_with_nothing_touched)
{
    static const struct anew cases[] = {
        {"empty", TYPE_TEXT, {"one", NULL}, TYPE_TEXT, {NULL}, false},
        {"empty and closed", TYPE_TEXT, {"one", NULL}, TYPE_TEXT, {NULL}, true},
        {"shorter", TYPE_TEXT, {"one two three", NULL}, TYPE_TEXT, {"one", NULL}, false},
        {"other bytes", TYPE_BINARY, {"one", NULL}, TYPE_BINARY, {"two", NULL}, false},
        {"longer", TYPE_TEXT, {"one", NULL}, TYPE_TEXT, {"1", "2", "3456789"}, false},
        {"longer and closed", TYPE_TEXT, {"one", NULL}, TYPE_TEXT, {"other things", NULL}, true},
        {"shorter than a batch", TYPE_TEXT, {"one", "two", "3"}, TYPE_TEXT, {"on", NULL}, false},
        {"the last batch differs",
         TYPE_TEXT,
         {"one", "two", "3"},
         TYPE_TEXT,
         {"one", "two", "4"},
         false},
        {"other messages", TYPE_JSON, {"[1,2]", "[3]", NULL}, TYPE_JSON, {"[1,2]", "[4,5]"}, false},
        {"fewer messages", TYPE_JSON, {"[1,2,3]", NULL}, TYPE_JSON, {"[1,2]", NULL}, false},
        {"another type", TYPE_TEXT, {"[1]", NULL}, TYPE_JSON, {"[1]", NULL}, false},
        {"another type, empty", TYPE_TEXT, {"1", NULL}, TYPE_BINARY, {NULL}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        made_anew(&cases[i], e2e_printf("s%zu", i));
}

E2E_BOTH(export, a_stream_deleted_while_it_is_followed_ends_it)
{
    struct written w = some("s", TYPE_JSON);
    e2e_limits("silence_sse=1000"); /* the reference server does not end its connections */
    struct e2e_process *p = dstream_start("export", w.url, "-o", OUT, "-f", "-vv");
    e2e_limits("");
    reading_until_live(p);
    written_add(&w, 100);
    exported_until_length(w.want.n);
    e2e_delete(w.url);
    e2e_status(p, 10);
    exported_same("file", w.want);
    cr_assert_eq(exported_state_length(), w.want.n);
}

/* The witness starts at -1; of that the server, in the second run, says 410. */
struct retention {
    bool gone;
};

static void retain(void *ctx, struct exchange *x)
{
    const struct retention *r = ctx;
    if (asks(x, "offset=-1") && r->gone)
        answer(x, "410 Gone", "", "");
    else if (asks(x, "offset=-1"))
        answer(x, "200 OK",
               "Content-Type: text/plain\r\nStream-Next-Offset: b\r\nStream-Up-To-Date: true\r\n",
               "one ");
    else
        answer(x, "200 OK",
               "Content-Type: text/plain\r\nStream-Next-Offset: c\r\nStream-Up-To-Date: true\r\n"
               "Stream-Closed: true\r\n",
               "two");
}

E2E(export, a_witness_that_is_no_longer_kept)
{
    struct retention r = {false};
    struct scripted *s = scripted_start(retain, &r);
    struct written w = {.url = e2e_url_at(scripted_url(s), "s")};
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("before", e2e_text("one "));
    append_to_file(OUT, "not committed");
    r.gone = true;
    struct e2e_bytes before = snapshot_all();
    struct e2e_process *p = dstream_run("export", w.url, "-o", OUT, "--verify-resume=strict");
    e2e_status(p, 13);
    e2e_says(p, "no longer kept");
    e2e_same("strict", snapshot_all(), before);
    p = dstream_run("export", w.url, "-o", OUT);
    e2e_status(p, 0);
    e2e_says(p, "warning: ");
    e2e_says(p, "no longer kept");
    exported_same("after", e2e_text("one two"));
    scripted_stop(s);
}

E2E(export, a_stream_that_is_replaced_while_it_is_followed)
{
    bool live = false;
    struct scripted *s = scripted_start(exported_replaced, &live);
    const char *url = e2e_url_at(scripted_url(s), "s");
    struct e2e_process *p = dstream_run("export", url, "-o", OUT, "--follow", "--live", "sse");
    e2e_status(p, 13);
    e2e_says(p, "--reset --overwrite");
    exported_same("file", e2e_text("1\n2\n3\n"));
    cr_assert_str_eq(exported_state("offset"), "c");
    scripted_stop(s);
}

/* --- healthy streams --------------------------------------------------------------------------
 */

/* However a stream grows, and however its answers are cut, none is taken for one made anew: 10 000
 * resumes at full length, of each type, caught up with and followed, over pages of several sizes,
 * that stop anywhere. */
static void resumed(const char *type, const char *pages, unsigned long resumes, uint64_t seed)
{
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", pages, NULL});
    struct written w = written_begin(e2e_url_at(base, "s"), type);
    uint64_t state = seed;
    bool json = strcmp(type, TYPE_JSON) == 0;
    written_add(&w, 10);
    for (unsigned long i = 0; i < resumes; i++) {
        for (uint64_t n = e2e_draw(&state) >> 16 & 3; n > 0; n--)
            written_add(&w, 1 + (e2e_draw(&state) >> 16) % 700);
        const char *some = e2e_printf("%u", 1 + (unsigned)((e2e_draw(&state) >> 16) % 900));
        const char *few = e2e_printf("%u", 1 + (unsigned)((e2e_draw(&state) >> 16) % 7));
        struct e2e_process *p;
        switch (e2e_draw(&state) >> 16 & 3) {
        case 0:
            p = dstream_run("export", w.url, "-o", OUT);
            break;
        case 1:
            p = dstream_run("export", w.url, "-o", OUT, json ? "-n" : "--bytes", json ? few : some);
            break;
        case 2:
            p = dstream_run("export", w.url, "-o", OUT, "-f", "--idle", "20ms");
            break;
        default:
            p = dstream_run("export", w.url, "-o", OUT, "-f", "--live",
                            strcmp(type, TYPE_TEXT) == 0 ? "long-poll" : "sse", "--idle", "20ms");
        }
        if (p->status != 0)
            cr_assert_fail("%s, seed %llu, resume %lu: %d: %s", type, (unsigned long long)seed, i,
                           p->status, p->err_data.p);
    }
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same(type, w.want);
    exported_remove();
}

/* A ninth of them. */
static void growing(const char *type, const char *pages)
{
    uint64_t seed = e2e_fresh_seed();
    fprintf(stderr, "DSTREAM_SEED=%llu\n", (unsigned long long)seed);
    resumed(type, pages, e2e_soak() > 1 ? 1112 : 4, seed);
}

#define GROWING(name, type)                                                                        \
    E2E(export, growing_##name##_in_small_pages)                                                   \
    {                                                                                              \
        growing(type, "100");                                                                      \
    }                                                                                              \
    E2E(export, growing_##name##_in_pages)                                                         \
    {                                                                                              \
        growing(type, "1000");                                                                     \
    }                                                                                              \
    E2E(export, growing_##name##_in_one_answer)                                                    \
    {                                                                                              \
        growing(type, "1MiB");                                                                     \
    }

GROWING(messages, TYPE_JSON)
GROWING(text, TYPE_TEXT)
GROWING(bytes, TYPE_BINARY)

/* --- full disks ------------------------------------------------------------------------------- */

static struct e2e_process *limited(const char *url, uint64_t max_file)
{
    const char *const *argv =
        e2e_command((const char *const[]){"export", url, "-o", OUT, "--sync", "batch", NULL});
    return e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv, .max_file = max_file}));
}

E2E_BOTH(export, a_file_at_its_size_limit_is_an_error_that_resumes)
{
    struct written w = written_begin(e2e_url("s"), TYPE_BINARY);
    for (int i = 0; i < 10; i++) {
        written_add(&w, 10000);
        if (i == 4) /* as the reference server has no pages */
            e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    }
    closed(&w);
    struct e2e_process *p = limited(w.url, 70000);
    e2e_status(p, 74);
    e2e_says(p, "ulimit -f");
    cr_assert_geq(exported_state_length(), 50000);
    cr_assert_eq(file_length(OUT), exported_state_length());
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("file", w.want);
    /* Where even the state has no room, nothing is made. */
    exported_remove();
    e2e_status(limited(w.url, 100), 74);
    cr_assert_not(e2e_exists(OUT));
    cr_assert_not(e2e_exists(e2e_path("out.dstate")));
    cr_assert_not(e2e_exists(e2e_path("out.dstate.tmp")));
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("file", w.want);
    exported_alone();
}

E2E_EMBEDDED(export, a_full_disk_is_an_error_that_resumes)
{
    struct written w = written_begin(e2e_url("s"), TYPE_BINARY);
    for (int i = 0; i < 30; i++)
        written_add(&w, 10000);
    closed(&w);
    struct e2e_process *p = exported_on_small_disk(
        "128k", "out",
        (const char *const[]){"export", w.url, "-o", "out", "--sync", "batch", NULL});
    e2e_says(p, "status 74, then:\nout\nout.dstate\nout.dstate.lock\nout.lock\n");
    e2e_same("file", p->out_data, w.want);
}
