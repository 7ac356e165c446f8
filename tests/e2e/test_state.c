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
    e2e_status(dstream_run("export", w.url, "-o", OUT, "-F", "envelope"), 0);
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
    e2e_delete(t.url);
    e2e_create(t.url, TYPE_TEXT);
    e2e_append(t.url, TYPE_TEXT, e2e_text("something else, that is longer than what was there"));
    e2e_limits("replica_lag=50");
    struct e2e_process *p = dstream_run("state", "verify", dir);
    e2e_status(p, 13);
    e2e_says(p, "bytes of data are those of");
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
    e2e_status(dstream_run("state", "rm", OUT), 13); /* an output is never taken for a state */
    exported_same("the output", e2e_text("0123456789789"));
    e2e_status(dstream_run("state", "rm", e2e_path("nothing")), 66);
    e2e_status(dstream_run("export", w.url, "-o", OUT), 73);
    e2e_status(dstream_run("state", "burn", OUT), 2);
}
