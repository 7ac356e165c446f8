/* SPDX-License-Identifier: Apache-2.0 */
/* Exports into compressed files. That they survive being killed is in test_kill.c. */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};
static const struct {
    const char *how, *suffix, *tool;
} kinds[] = {{"gzip", ".gz", "gzip"}, {"zstd", ".zst", "zstd"}};

/* By the tool that everybody has, where it is there. */
static void same_by_tool(size_t k, const char *path, struct e2e_bytes want)
{
    const char *const argv[] = {"sh", "-c",
                                e2e_printf("command -v %s || exit 9; exec %s -dc <'%s'",
                                           kinds[k].tool, kinds[k].tool, path),
                                NULL};
    struct e2e_process *p = e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv}));
    if (p->status == 9)
        return;
    e2e_status(p, 0);
    const char *line = strchr(p->out_data.p, '\n') + 1; /* where the tool is */
    struct e2e_bytes got = {(char *)line, p->out_data.n - (size_t)(line - p->out_data.p), 0};
    e2e_same(path, got, want);
}

E2E_BOTH(compress, each_run_adds_to_the_file)
{
    for (size_t i = 0; i < 6; i++) {
        size_t k = i / 3;
        const char *out = e2e_path(e2e_printf("out%zu%s", i, kinds[k].suffix));
        struct written w = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i % 3]);
        for (int run = 0; run < 3; run++) {
            written_add(&w, 3000);
            if (run == 2)
                e2e_close(w.url);
            e2e_status(dstream_run("export", w.url, "-o", out, "-z", kinds[k].how), 0);
            e2e_same(types[i % 3], unpacked(out), w.want);
        }
        same_by_tool(k, out, w.want);
        if (i % 3 != 2) /* random bytes cannot be made smaller */
            cr_assert_lt(file_length(out), w.want.n / 2);
        e2e_says(dstream_run("export", w.url, "-o", out, "-z", kinds[k].how), "complete");
        e2e_status(dstream_run("export", w.url, "-o", out, "-z", kinds[1 - k].how), 2);
        e2e_status(dstream_run("export", w.url, "-o", out), 2);
        e2e_status(dstream_run("export", w.url, "-o", out, "-z", "bzip2"), 2);
    }
}

/* The file is whole up to the last commit, whenever it is killed. */
E2E_BOTH(compress, what_is_committed_can_be_read)
{
    for (size_t k = 0; k < 2; k++) {
        const char *out = e2e_path(e2e_printf("out%s", kinds[k].suffix));
        struct written w = written_begin(e2e_url(kinds[k].how), TYPE_JSON);
        written_add(&w, 100);
        for (int i = 0; i < 5; i++) {
            struct e2e_process *p = dstream_start("export", w.url, "-o", out, "-z", kinds[k].how,
                                                  "-f", "--sync", i % 2 ? "batch" : "5ms", "-vv");
            reading_until_live(p);
            for (int n = 0; n < 5; n++)
                written_add(&w, 400);
            e2e_kill(p, i == 4 ? SIGTERM : SIGKILL);
            e2e_wait(p);
        }
        struct e2e_bytes so_far = unpacked(out), part = w.want;
        cr_assert_leq(so_far.n, w.want.n);
        part.n = so_far.n;
        e2e_same(kinds[k].how, so_far, part);
        e2e_status(dstream_run("export", w.url, "-o", out, "-z", kinds[k].how), 0);
        e2e_same(kinds[k].how, unpacked(out), w.want);
    }
}

E2E_EMBEDDED(compress, in_segments_and_in_a_directory)
{
    for (size_t k = 0; k < 2; k++) {
        struct written w = written_begin(e2e_url(e2e_printf("s%zu", k)), TYPE_JSON);
        const char *out = e2e_path(e2e_printf("out.ndjson%s", kinds[k].suffix));
        for (int i = 0; i < 6; i++) {
            written_add(&w, 900);
            e2e_status(
                dstream_run("export", w.url, "-o", out, "-z", kinds[k].how, "--rotate-size", "700"),
                0);
        }
        e2e_close(w.url);
        e2e_status(
            dstream_run("export", w.url, "-o", out, "-z", kinds[k].how, "--rotate-size", "700"), 0);
        struct e2e_bytes all = e2e_text("");
        size_t n = 0;
        for (;; n++) {
            const char *name = e2e_path(e2e_printf("out-%06zu.ndjson%s", n + 1, kinds[k].suffix));
            if (!e2e_exists(name))
                break;
            struct e2e_bytes b = unpacked(name);
            e2e_add(&all, b.p, b.n);
        }
        cr_assert_geq(n, 2);
        e2e_same(kinds[k].how, all, w.want);
        const char *dir = e2e_path(kinds[k].how);
        e2e_status(
            dstream_run("export", "--url", e2e_url(""), w.url, "-d", dir, "-z", kinds[k].how), 0);
        e2e_same(dir, unpacked(e2e_printf("%s/s%zu%s", dir, k, kinds[k].suffix)), w.want);
        struct e2e_bytes manifest = e2e_read_file(e2e_printf("%s/MANIFEST.ndjson", dir));
        cr_assert_not_null(strstr(manifest.p, e2e_printf("\"compression\":\"%s\"", kinds[k].how)));
    }
}

/* It would be a second file of the same stream, begun anew. */
E2E_EMBEDDED(compress, a_directory_keeps_what_it_was_begun_with)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    const char *dir = e2e_path("d"), *base = e2e_url("");
    e2e_append(w.url, TYPE_TEXT, e2e_text("text"));
    e2e_status(dstream_run("export", "--url", base, "s", "-d", dir, "-z", "gzip"), 0);
    struct e2e_bytes before = snapshot(dir);
    struct e2e_process *p = dstream_run("export", "--url", base, "s", "-d", dir);
    e2e_status(p, 2);
    e2e_says(p, "the state is of compression gzip, not none");
    e2e_status(dstream_run("export", "--url", base, "s", "-d", dir, "-z", "zstd"), 2);
    e2e_same("nothing is touched", snapshot(dir), before);
    e2e_status(dstream_run("export", "--url", base, "s", "-d", dir, "-z", "gzip"), 0);
    /* Another stream whose name looks like that of its file is none of it. */
    e2e_create(e2e_url("s.gz"), TYPE_TEXT);
    e2e_status(dstream_run("export", "--url", base, "s.gz", "-d", dir, "-z", "zstd"), 0);
    e2e_status(dstream_run("export", "--url", base, "s", "-d", dir, "-z", "zstd", "--reset"), 0);
    e2e_same("anew", unpacked(e2e_printf("%s/s.zst", dir)), e2e_text("text"));
}

/* The member under way cannot be kept when the disk is full: what came since the last commit is
 * read again. */
E2E_EMBEDDED(compress, a_file_at_its_size_limit_is_an_error_that_resumes)
{
    for (size_t k = 0; k < 2; k++) {
        struct written w = written_begin(e2e_url(kinds[k].how), TYPE_BINARY);
        const char *out = e2e_path(e2e_printf("out%s", kinds[k].suffix));
        for (int i = 0; i < 3; i++) {
            written_add(&w, 30000);
            const char *const *argv = e2e_command(
                (const char *const[]){"export", w.url, "-o", out, "-z", kinds[k].how, NULL});
            uint64_t max = i == 1 ? 40000 : 0;
            e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv, .max_file = max})),
                       i == 1 ? 74 : 0);
            if (i != 1)
                e2e_same(out, unpacked(out), w.want);
        }
    }
}
