/* SPDX-License-Identifier: Apache-2.0 */
/* Exports that are rotated: when segments are sealed, and what is said of them. That they survive
 * being killed is in test_kill.c. */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT exported()

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

static const char *manifest(void)
{
    return e2e_read_file(e2e_path("out.manifest.ndjson")).p;
}

/* What is behind `name` in the i-th line of the manifest, up to the next quote or comma. */
static char *said(size_t i, const char *name)
{
    const char *line = manifest();
    for (; i > 0; i--)
        line = strchr(line, '\n') + 1;
    const char *at = strstr(line, e2e_printf("\"%s\":", name));
    cr_assert(at && at < strchr(line, '\n'), "no %s in %s", name, line);
    at += strlen(name) + 3;
    return *at == '"' ? e2e_printf("%.*s", (int)strcspn(at + 1, "\""), at + 1)
                      : e2e_printf("%.*s", (int)strcspn(at, ",}"), at);
}

/* Each segment has its line, its bounds meet, and reading between them gives what is in it. */
static void check_manifest(const struct written *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = said(i, "segment");
        cr_assert_str_eq(name, e2e_printf("out-%06zu", i + 1));
        struct e2e_bytes b = e2e_read_file(e2e_path(name));
        cr_assert_eq(strtoul(said(i, "length"), NULL, 10), b.n);
        cr_assert_str_eq(said(i, "stream"), w->url);
        if (i > 0)
            cr_assert_str_eq(said(i, "from"), said(i - 1, "to"));
        struct e2e_process *p =
            strcmp(w->type, TYPE_JSON) == 0
                ? dstream_run("read", w->url, "--from", said(i, "from"), "--bytes", "1000000")
                : dstream_run("read", w->url, "--from", said(i, "from"), "--bytes",
                              e2e_printf("%zu", b.n));
        cr_assert_geq(p->out_data.n, b.n);
        p->out_data.n = b.n;
        e2e_same(name, p->out_data, b);
    }
    cr_assert_eq(reading_lines(manifest()), n);
}

E2E_BOTH(rotate, by_size_whatever_the_type)
{
    for (size_t i = 0; i < 3; i++) {
        struct written w = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i]);
        for (int k = 0; k < 4; k++)
            written_add(&w, 600);
        size_t n, before;
        e2e_status(dstream_run("export", w.url, "-o", OUT, "--rotate-size", "500"), 0);
        e2e_same(types[i], rotated(OUT, "", &before), w.want);
        cr_assert_geq(before, 2);
        for (size_t k = 1; k <= before; k++) {
            size_t length = file_length(e2e_printf("%s-%06zu", OUT, k));
            cr_assert(length <= 500 && length > 200, "%zu", length);
        }
        check_manifest(&w, before);
        cr_assert_not(e2e_exists(OUT));
        for (int k = 0; k < 3; k++)
            written_add(&w, 600);
        e2e_close(w.url);
        e2e_status(dstream_run("export", w.url, "-o", OUT, "--rotate-size", "500", "-f"), 0);
        e2e_same(types[i], rotated(OUT, "", &n), w.want);
        cr_assert_gt(n, before);
        cr_assert_not(e2e_exists(e2e_path("out.partial")), "closed, so all of it is sealed");
        check_manifest(&w, n);
        cr_assert_str_eq(said(n - 1, "last"), "true");
        struct e2e_bytes all = snapshot_all();
        struct e2e_process *p = dstream_run("export", w.url, "-o", OUT, "--rotate-size", "500");
        e2e_status(p, 0);
        e2e_says(p, "complete");
        e2e_same("files", snapshot_all(), all);
        exported_remove();
    }
}

/* A message that is larger than a segment is one by itself. */
E2E_EMBEDDED(rotate, never_cuts_a_message)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 3000);
    size_t n;
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--rotate-size", "10"), 0);
    e2e_same("all", rotated(OUT, "", &n), w.want);
    cr_assert_eq(n, 3);
    check_manifest(&w, n);
    cr_assert_str_eq(exported_state("segment"), "4");
    cr_assert_eq(strtoul(exported_state("manifest length"), NULL, 10), strlen(manifest()));
}

static bool has_segments(void *n)
{
    return e2e_exists(e2e_path("out.manifest.ndjson")) && reading_lines(manifest()) >= *(size_t *)n;
}

static void until_segments(size_t n)
{
    e2e_wait_for(has_segments, &n, e2e_printf("%zu segments", n));
}

/* Also where nothing more comes; there are no empty ones. */
E2E_BOTH(rotate, by_age_and_when_it_is_told)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 100);
    struct e2e_process *p =
        dstream_start("export", w.url, "-o", OUT, "-f", "--rotate-time", "100ms", "-vv");
    until_segments(1);
    written_add(&w, 100);
    until_segments(2);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    size_t n;
    e2e_same("all", rotated(OUT, "", &n), w.want);
    cr_assert_eq(n, 2);
    check_manifest(&w, 2);
    /* The age counts over runs: what an earlier one has begun is old. */
    written_add(&w, 100);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--rotate-time", "1h"), 0);
    p = dstream_start("export", w.url, "-o", OUT, "-f", "--rotate-time", "1ms", "-vv");
    until_segments(3);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    p = dstream_start("export", w.url, "-o", OUT, "-f", "--rotate-time", "1h", "-vv");
    reading_until_live(p);
    for (size_t i = 3; i < 5; i++) {
        written_add(&w, 100);
        exported_until_partial(1);
        e2e_kill(p, SIGHUP);
        until_segments(i + 1);
        e2e_kill(p, SIGHUP); /* nothing is in it; and that is seen before more comes: */
        e2e_kill(p, SIGUSR1);
        reading_until_said(p, "B/s, at ", i - 2);
    }
    e2e_close(w.url);
    e2e_status(p, 0);
    e2e_same("all", rotated(OUT, "", &n), w.want);
    cr_assert_eq(n, 5);
    check_manifest(&w, 5);
}

E2E_EMBEDDED(rotate, segments_can_be_taken_away)
{
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    struct e2e_bytes taken = e2e_text("");
    for (size_t i = 1; i < 4; i++) {
        written_add(&w, 1000);
        e2e_status(dstream_run("export", w.url, "-o", OUT, "--rotate-size", "700"), 0);
        for (size_t k = 1; k < 20; k++) {
            const char *name = e2e_printf("%s-%06zu", OUT, k);
            if (!e2e_exists(name))
                continue;
            struct e2e_bytes b = e2e_read_file(name);
            e2e_add(&taken, b.p, b.n);
            cr_assert_eq(unlink(name), 0);
        }
    }
    struct e2e_bytes last = e2e_read_file(e2e_path("out.partial"));
    e2e_add(&taken, last.p, last.n);
    e2e_same("taken", taken, w.want);
    /* The manifest is the export's own. */
    cr_assert_eq(unlink(e2e_path("out.manifest.ndjson")), 0);
    struct e2e_bytes before = snapshot_all();
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--rotate-size", "700"), 13);
    e2e_same("files", snapshot_all(), before);
}

E2E_EMBEDDED(rotate, its_names_and_its_usage)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 600);
    const char *const *const wrong[] = {
        (const char *const[]){"export", w.url, "-o", OUT, "--rotate-name", "%b%n", NULL},
        (const char *const[]){"export", w.url, "-o", OUT, "--rotate-size", "9", "--rotate-name",
                              "%b", NULL},
        (const char *const[]){"export", w.url, "-o", OUT, "--rotate-size", "9", "--rotate-name",
                              "../%n", NULL},
        (const char *const[]){"export", w.url, "-d", OUT, "--rotate-size", "9", "--rotate-name",
                              "%b-%n", NULL},
        (const char *const[]){"export", w.url, "-o", OUT, "--rotate-size", "0", NULL},
        (const char *const[]){"export", w.url, "-o", OUT, "--rotate-time", "0s", NULL},
        (const char *const[]){"export", w.url, "-o", OUT, "--rotate-size", "9", "-S",
                              e2e_path("out.partial"), NULL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(wrong[i])})), 2);
    e2e_same("files", snapshot_all(), e2e_text(""));
    const char *out = e2e_path("x.ndjson");
    e2e_status(dstream_run("export", w.url, "-o", out, "--rotate-size", "300", "--rotate-name",
                           "part.%n.%t%e"),
               0);
    const char *text = e2e_read_file(e2e_path("x.ndjson.manifest.ndjson")).p;
    cr_assert(strstr(text, "{\"segment\":\"part.000001.20"), "%s", text);
    e2e_status(dstream_run("export", w.url, "-o", out), 2); /* it is rotated, or it is not */
    e2e_status(dstream_run("export", w.url, "-o", OUT), 0);
    e2e_status(dstream_run("export", w.url, "-o", OUT, "--rotate-size", "300"), 2);
    e2e_status(
        dstream_run("export", w.url, "-o", e2e_path("x.tmpl"), "--rotate-size", "300", "-F", "%s"),
        0);
    struct e2e_process *p = dstream_run("state", "verify", e2e_path("x.tmpl"));
    e2e_status(p, 2);
    cr_assert_eq(reading_said(p, "cannot be told"), 1);
}

E2E_BOTH(rotate, each_of_a_directory)
{
    struct written w[3];
    const char *dir = e2e_path("d");
    for (size_t i = 0; i < 3; i++) {
        w[i] = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i]);
        written_add(&w[i], 900);
    }
    for (int run = 0; run < 2; run++) {
        struct e2e_process *p =
            dstream_start("export", "--url", e2e_url(""), w[0].url, w[1].url, w[2].url, "-d", dir,
                          "--rotate-size", "400", "-f", "--sync", run ? "batch" : "5ms", "-vv");
        reading_until_live(p);
        for (size_t i = 0; i < 3; i++)
            written_add(&w[i], 900);
        if (run == 1)
            for (size_t i = 0; i < 3; i++)
                e2e_close(w[i].url);
        else
            e2e_kill(p, SIGTERM);
        e2e_status(p, run ? 0 : 128 + SIGTERM);
    }
    size_t lines = 3;
    for (size_t i = 0; i < 3; i++) {
        size_t n;
        e2e_same(types[i], rotated(e2e_printf("%s/s%zu", dir, i), "", &n), w[i].want);
        cr_assert_geq(n, 2);
        lines += n;
    }
    const char *text = e2e_read_file(e2e_printf("%s/MANIFEST.ndjson", dir)).p;
    cr_assert_eq(reading_lines(text), lines, "%s", text);
}
