/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to states by hand: verified, set, removed. */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OUT exported()

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

static void disagree(const char *says)
{
    struct e2e_process *p = dstream_run("state", "verify", OUT);
    e2e_status(p, 13);
    e2e_says(p, says);
}

E2E_BOTH(state, file_and_stream_agree_or_it_is_said_where_they_do_not)
{
    for (size_t i = 0; i < 3; i++) {
        struct written w = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i]);
        written_add(&w, 3000);
        e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
        written_add(&w, 300); /* what came since is not looked at */
        struct e2e_bytes before = snapshot_all();
        struct e2e_process *p = dstream_run("state", "verify", OUT);
        e2e_status(p, 0);
        e2e_says(p, e2e_printf("its %zu bytes", exported_state_length()));
        e2e_status(dstream_run("state", "verify", e2e_path("out.dstate"), w.url), 0);
        e2e_same("files", snapshot_all(), before);
        struct e2e_bytes was = e2e_read_file(OUT), changed = e2e_read_file(OUT);
        changed.p[100] ^= 1; /* far from the end, which the state has a hash of */
        e2e_write_file(OUT, changed);
        disagree("differs from the stream behind 100 bytes");
        changed = was;
        changed.n--;
        e2e_write_file(OUT, changed);
        disagree("shorter");
        e2e_write_file(OUT, was);
        e2e_close(w.url);
        e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
        e2e_status(dstream_run("state", "verify", OUT), 0);
        exported_remove();
    }
}

E2E_EMBEDDED(state, is_verified_in_every_form)
{
    struct e2e_process *p;
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 900);
    written_add(&w, 900);
    e2e_write_file(OUT, e2e_text("was there\n"));
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--append"), 0);
    e2e_status(dstream_run("state", "verify", OUT), 0);
    exported_remove();
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-n", "4", "-z", "gzip"), 0);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-n", "1", "-z", "gzip"), 0);
    e2e_status(dstream_run("state", "verify", OUT), 0);
    exported_remove();
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--rotate-size", "700", "-n", "5"), 0);
    e2e_status(dstream_run("state", "verify", OUT), 0);
    exported_remove();
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-F", "%s\\n"), 0);
    e2e_status(dstream_run("state", "verify", OUT), 2);
    e2e_status(dstream_run("state", "verify", e2e_path("nothing")), 66);
    const char *dir = e2e_path("d"), *st = e2e_path("st");
    e2e_status(dstream_run("export", w.url, "-o", e2e_path("x"), "-S", st), 0);
    e2e_status(dstream_run("state", "verify", st), 2);
    e2e_status(dstream_run("state", "verify", st, "-o", e2e_path("x")), 0);
    struct written t = written_begin(e2e_url("t"), TYPE_TEXT);
    written_add(&t, 100);
    e2e_status(dstream_run("export", "--url", e2e_url(""), w.url, t.url, "-d", dir, "-z", "zstd"),
               0);
    e2e_status(dstream_run("state", "verify", dir), 0);
    /* With its state elsewhere */
    const char *far = e2e_path("far.dstate"), *away = e2e_path("away");
    e2e_status(dstream_run("export", "--url", e2e_url(""), w.url, t.url, "-d", away, "-S", far), 0);
    p = dstream_run("state", "verify", far);
    e2e_status(p, 2);
    e2e_says(p, "which directory");
    p = dstream_run("state", "verify", far, "-d", away);
    e2e_status(p, 0);
    e2e_says(p, "away/s: its");
    const char *rotated = e2e_path("rotated");
    const char *seg = e2e_path("seg"), *first = e2e_path("seg-000001");
    const char *zipped = e2e_path("zip.gz");
    e2e_status(dstream_run("export", w.url, "-o", seg, "--rotate-size", "700"), 0);
    p = dstream_run("state", "verify", seg);
    e2e_status(p, 0);
    e2e_says(p, "seg-000001: its");
    e2e_says(p, "seg.partial: its");
    struct e2e_bytes b = e2e_read_file(first);
    b.p[b.n / 2] ^= 1;
    e2e_write_file(first, b);
    p = dstream_run("state", "verify", seg);
    e2e_status(p, 13);
    e2e_says(p, "seg-000001: it differs");
    unlink(first);
    p = dstream_run("state", "verify", seg);
    e2e_status(p, 0);
    e2e_says(p, "1 of its finished segments are no longer there");
    e2e_status(dstream_run("export", w.url, "-o", zipped, "--rotate-size", "200", "-z", "gzip"), 0);
    p = dstream_run("state", "verify", zipped);
    e2e_status(p, 0);
    e2e_says(p, "zip-000001.gz: its");
    /* Begun anew, the segments that were before are not of it. */
    e2e_status(dstream_run("export", w.url, "-o", seg, "--rotate-size", "700", "--reset",
                           "--overwrite", "--from", "-1,2"),
               0);
    e2e_status(dstream_run("state", "verify", seg), 0);
    cr_assert_eq(truncate(e2e_path("seg.manifest.ndjson"), 10), 0);
    p = dstream_run("state", "verify", seg);
    e2e_status(p, 13);
    e2e_says(p, "seg.manifest.ndjson: it is shorter than its state says");
    e2e_status(dstream_run("export", w.url, t.url, "-d", rotated, "--rotate-size", "700"), 0);
    p = dstream_run("state", "verify", rotated);
    e2e_status(p, 0);
    e2e_says(p, "000001: its");
    e2e_close(w.url);
    e2e_status(dstream_run("export", w.url, t.url, "-d", rotated, "--rotate-size", "700"), 0);
    e2e_status(dstream_run("state", "verify", rotated), 0);
    e2e_delete(t.url);
    e2e_create(t.url, TYPE_TEXT);
    e2e_append(t.url, TYPE_TEXT, e2e_text("something else, that is longer than what was there"));
    e2e_limits("replica_lag=50");
    p = dstream_run("state", "verify", dir);
    e2e_status(p, 13);
    e2e_says(p, "bytes of data are those of");
}

/* Of envelopes it is the data that are compared: times, and how answers were cut, are not in the
 * stream. */
E2E_EMBEDDED(state, envelopes_are_verified_by_what_is_in_them)
{
    static const char *const packs[] = {"gzip", "zstd", "gzip"};
    for (size_t i = 0; i < 3; i++) {
        struct written w = written_begin(e2e_url(e2e_printf("e%zu", i)), types[i]);
        const char *limit = i == 0 ? "-n" : "--bytes", *few = i == 0 ? "2" : "500";
        const char *const args[] = {"export",   w.url, "-o",     OUT, "-F",
                                    "envelope", "-z",  packs[i], NULL};
        written_add(&w, 900);
        written_add(&w, 900);
        e2e_status(
            dstream_run("export", w.url, "-o", OUT, "-F", "envelope", "-z", packs[i], limit, few),
            0);
        e2e_status(dstream_run("state", "verify", OUT), 0);
        e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)})), 0);
        struct e2e_process *p = dstream_run("state", "verify", OUT);
        e2e_status(p, 0);
        e2e_says(p, e2e_printf("its %zu bytes", w.want.n));
        e2e_close(w.url);
        e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)})), 0);
        e2e_status(dstream_run("state", "verify", OUT), 0);
        exported_remove();
    }
}

E2E_EMBEDDED(state, where_they_differ_is_said_exactly)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    char *at = e2e_append(url, TYPE_JSON, e2e_text("[10,11,12]"));
    e2e_append(url, TYPE_JSON, e2e_text("[13,14,15]"));
    for (int k = 0; k < 2; k++) {
        const char *format = k ? "envelope" : "ndjson";
        e2e_status(dstream_run("export", url, "-o", OUT, "--from", at, "-F", format), 0);
        struct e2e_bytes b = e2e_read_file(OUT);
        strstr(b.p, k ? ":14}" : "14")[k ? 2 : 1] = '7';
        e2e_write_file(OUT, b);
        disagree(e2e_printf("behind 4 bytes of data, in what comes at %s,1", at));
        if (k) {
            strstr(b.p, ":17}")[0] = ' ';
            e2e_write_file(OUT, b);
            disagree("its line 2 is no envelope");
        }
        exported_remove();
    }
}

/* One of several, by the name of its file or by its URL. */
E2E_EMBEDDED(state, one_stream_of_a_directory)
{
    struct written s = written_begin(e2e_url("s"), TYPE_TEXT),
                   t = written_begin(e2e_url("t"), TYPE_TEXT);
    const char *dir = e2e_path("d"), *base = e2e_url(""), *file = e2e_printf("%s/s", dir);
    e2e_append(s.url, TYPE_TEXT, e2e_text("0123456789"));
    e2e_append(t.url, TYPE_TEXT, e2e_text("abc"));
    e2e_status(dstream_run("export", "--url", base, "s", "t", "-d", dir), 0);
    struct e2e_bytes before = snapshot(dir);
    e2e_status(dstream_run("state", "set", dir, "--from", "-1"), 2);
    e2e_status(dstream_run("state", "set", dir, "s"), 2);
    e2e_status(dstream_run("state", "set", dir, "x", "--from", "-1"), 66);
    e2e_status(dstream_run("state", "rm", dir, e2e_url("x")), 66);
    e2e_status(dstream_run("state", "verify", dir, "x"), 66);
    e2e_same("nothing is changed", snapshot(dir), before);
    e2e_status(dstream_run("state", "set", dir, "s", "--from", "-1,7"), 0);
    e2e_status(dstream_run("export", "--url", base, "s", "t", "-d", dir), 0);
    e2e_same("from seven on again", e2e_read_file(file), e2e_text("0123456789789"));
    struct e2e_process *p = dstream_run("state", "verify", dir, t.url);
    e2e_status(p, 0);
    cr_assert_null(strstr(p->err_data.p, "d/s"), "%s", p->err_data.p);
    e2e_status(dstream_run("state", "verify", dir, "s"), 13);
    p = dstream_start("export", "--url", base, "s", "t", "-d", dir, "-f", "-vv");
    reading_until_live(p);
    e2e_status(dstream_run("state", "rm", dir, "s"), 73);
    e2e_status(dstream_run("state", "set", dir, "s", "--from", "-1"), 73);
    e2e_kill(p, SIGTERM);
    e2e_wait(p);
    e2e_status(dstream_run("state", "rm", dir, s.url), 0);
    p = dstream_run("state", "show", dir);
    cr_assert(strstr(p->out_data.p, "files: 1\n") && !strstr(p->out_data.p, "file: s\n"), "%s",
              p->out_data.p);
    e2e_status(dstream_run("export", "--url", base, "t", "-d", dir), 0);
    e2e_status(dstream_run("export", "--url", base, "s", "-d", dir), 73);
    e2e_status(dstream_run("export", "--url", base, "s", "-d", dir, "--overwrite"), 0);
    e2e_same("anew", e2e_read_file(file), e2e_text("0123456789"));
    e2e_status(dstream_run("state", "verify", dir), 0);
    e2e_status(dstream_run("export", s.url, "-o", OUT), 0);
    e2e_status(dstream_run("state", "rm", OUT, "s"), 2);
}

E2E_EMBEDDED(state, is_set_and_removed_when_nobody_uses_it)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    e2e_append(w.url, TYPE_TEXT, e2e_text("0123456789"));
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    e2e_status(dstream_run("state", "set", OUT), 2);
    e2e_status(dstream_run("state", "set", OUT, "--from", "-1,7"), 0);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    exported_same("from seven on again", e2e_text("0123456789789"));
    struct e2e_process *p = dstream_start("export", w.url, "-o", OUT, "-f", "-vv");
    reading_until_live(p);
    e2e_status(dstream_run("state", "set", OUT, "--from", "-1"), 73);
    e2e_status(dstream_run("state", "rm", OUT), 73);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    e2e_write_file(e2e_path("out.dstate"), e2e_text("damaged"));
    e2e_status(dstream_run("state", "set", OUT, "--from", "-1"), 13);
    e2e_status(dstream_run("state", "rm", OUT), 0);
    cr_assert_not(e2e_exists(e2e_path("out.dstate")));
    p = dstream_run("state", "rm", OUT); /* an output is never taken for a state */
    e2e_status(p, 13);
    e2e_says(p, "it is no state file, or a damaged one, and there is no ");
    cr_assert_not(strstr(p->err_data.p, "remove it"));
    exported_same("the output", e2e_text("0123456789789"));
    e2e_status(dstream_run("state", "rm", e2e_path("nothing")), 66);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 73);
    e2e_status(dstream_run("state", "burn", OUT), 2);
}
