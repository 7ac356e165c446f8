/* SPDX-License-Identifier: Apache-2.0 */
/* Lines, templates and event streams: to standard output and into files, cut anywhere. */
#include "config.h"

#include "decode/base64.h"
#include "tests/e2e/exporting.h"
#include "tests/e2e/killing.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static char *stream(const char *name, const char *type, const char *const *appends)
{
    char *url = e2e_url(name);
    e2e_create(url, type);
    for (; *appends; appends++)
        e2e_append(url, type, e2e_text(*appends));
    return url;
}

static char *text_stream(const char *name, const char *const *appends)
{
    return stream(name, TYPE_TEXT, appends);
}

/* --- lines ------------------------------------------------------------------------------------ */

static const char *const pieces[] = {"one\ntw", "o", "\nthree\r\n\n", "\nf", "ive", NULL};
static const char *const lines[] = {"one\n", "two\n", "three\r\n", "\n", "\n", "five\n"};

/* Each position that is printed is pasted back. */
E2E_BOTH(formats, lines_are_counted_and_gone_on_behind)
{
    char *url = text_stream("s", pieces);
    const char *from = "beginning";
    e2e_close(url);
    for (size_t n = 1; n < 3; n++) {
        from = "beginning";
        for (size_t i = 0; i < 6; i += n) {
            struct e2e_process *p = dstream_run("read", "-v", "-F", "lines", "-n",
                                                e2e_printf("%zu", n), "--from", from, url);
            e2e_status(p, 0);
            e2e_same("lines", p->out_data,
                     e2e_text(e2e_printf("%s%s", lines[i], n == 2 ? lines[i + 1] : "")));
            from = reading_position(p);
        }
    }
    struct e2e_process *p = dstream_run("read", "-F", "lines", "--from", from, url);
    e2e_status(p, 0);
    e2e_same("nothing more", p->out_data, e2e_text(""));
}

/* Of several streams none ends inside another's line. */
E2E_BOTH(formats, lines_of_several_streams)
{
    char *a = text_stream("a", (const char *const[]){"1\n2", NULL});
    char *b = text_stream("b", (const char *const[]){"3\n4", NULL});
    struct e2e_process *p = dstream_run("read", "-F", "lines", a, b);
    e2e_status(p, 0);
    e2e_same("one by one", p->out_data, e2e_text("1\n2\n3\n4\n"));
    p = dstream_run("read", "-F", "lines", "-n", "2", a, b);
    e2e_status(p, 0);
    e2e_same("two", p->out_data, e2e_text("1\n2\n"));
    e2e_status(dstream_run("read", "-F", "raw", a, b), 2);
}

/* Lines come whole, whatever they are cut into, with the names of their streams; where it is
 * stopped, what has no end was not taken. */
E2E_BOTH(formats, lines_of_streams_that_are_followed)
{
    char *a = text_stream("a", (const char *const[]){"one\ntw", NULL});
    char *b = text_stream("b", (const char *const[]){"x", NULL});
    char *c = stream("c", TYPE_JSON, (const char *const[]){"{\"k\":\n1}", NULL});
    struct e2e_process *p = dstream_start("tail", "-v", "-F", "lines", "--from", "beginning",
                                          "--url", e2e_url(""), "a", "b", "c");
    const char *want = "a\tone\nc\t{\"k\":1}\n";
    e2e_until_out(p, strlen(want));
    e2e_append(a, TYPE_TEXT, e2e_text("o\nthree"));
    e2e_until_out(p, strlen(want) + strlen("a\ttwo\n"));
    e2e_append(b, TYPE_TEXT, e2e_text("y"));
    e2e_close(b);
    e2e_until_out(p, strlen(want) + strlen("a\ttwo\nb\txy\n"));
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    const char *out = p->out_data.p;
    cr_assert(strncmp(out, "a\tone\n", 6) == 0 || strncmp(out, "c\t{", 3) == 0, "%s", out);
    cr_assert_eq(strlen(out), strlen(want) + strlen("a\ttwo\nb\txy\n"), "%s", out);
    cr_assert(strstr(out, "a\ttwo\nb\txy\n"), "%s", out);
    const char *position = strstr(p->err_data.p, "a: to go on: --from ");
    cr_assert(position, "%s", p->err_data.p);
    position += strlen("a: to go on: --from ");
    p = dstream_run("read", "-F", "lines", "--from",
                    e2e_printf("%.*s", (int)strcspn(position, "\n"), position), a);
    e2e_same("the rest", p->out_data, e2e_text("three"));
    (void)c;
}

/* A state knows that the last line is open, and the end gets its LF once. */
E2E_BOTH(formats, lines_with_a_state)
{
    char *url = text_stream("s", (const char *const[]){"one\ntw", NULL}),
         *state = e2e_path("state");
    struct e2e_process *p = dstream_run("read", "-F", "lines", "-S", state, url);
    e2e_status(p, 0);
    e2e_same("what is there", p->out_data, e2e_text("one\ntw"));
    e2e_close(url);
    p = dstream_run("read", "-S", state, url);
    e2e_status(p, 0);
    e2e_same("the end", p->out_data, e2e_text("\n"));
    p = dstream_run("read", "-S", state, url);
    e2e_same("no more", p->out_data, e2e_text(""));
}

/* No segment ends inside a line; together they are the stream. */
E2E_BOTH(formats, lines_in_segments)
{
    static const char *const packs[] = {NULL, "gzip"};
    struct written w = written_begin(e2e_url("s"), TYPE_TEXT);
    for (int k = 0; k < 4; k++)
        written_add(&w, 600);
    for (size_t i = 0; i < 2; i++) {
        const char *suffix = packs[i] ? ".gz" : "",
                   *out = e2e_printf("%s%s", e2e_path("out"), suffix);
        const char *const args[] = {"export",
                                    w.url,
                                    "-o",
                                    out,
                                    "-F",
                                    "lines",
                                    "--rotate-size",
                                    "500",
                                    packs[i] ? "-z" : NULL,
                                    packs[i],
                                    NULL};
        e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)})), 0);
        written_add(&w, 300);
        if (i == 1) {
            e2e_add_text(&w.want, "end");
            e2e_append(w.url, TYPE_TEXT, e2e_text("end"));
            e2e_close(w.url);
            e2e_add_text(&w.want, "\n");
        }
        e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)})), 0);
        struct e2e_bytes all = e2e_text("");
        size_t n = 0;
        for (char *name;
             e2e_exists(name = e2e_printf("%s-%06zu%s", e2e_path("out"), n + 1, suffix)); n++) {
            struct e2e_bytes b = packs[i] ? unpacked(name) : e2e_read_file(name);
            cr_assert_eq(b.p[b.n - 1], '\n', "%s", name);
            e2e_add(&all, b.p, b.n);
        }
        cr_assert_gt(n, 2);
        if (i == 0) {
            struct e2e_bytes rest = e2e_read_file(e2e_path("out.partial"));
            e2e_add(&all, rest.p, rest.n);
        }
        e2e_same("all", all, w.want);
    }
}

E2E_EMBEDDED(formats, lines_can_be_verified)
{
    char *url = text_stream("s", pieces);
    e2e_close(url);
    e2e_status(dstream_run("export", "-F", "lines", url, "-o", exported()), 0);
    exported_same("with an LF", e2e_text("one\ntwo\nthree\r\n\n\nfive\n"));
    e2e_status(dstream_run("state", "verify", exported()), 0);
    e2e_write_file(exported(), e2e_text("one\ntwo\nthree\r\n\n\nfivex"));
    e2e_status(dstream_run("state", "verify", exported()), 13);
}

/* --- templates -------------------------------------------------------------------------------- */

E2E_BOTH(formats, templates_to_standard_output)
{
    char *url = stream("s", TYPE_JSON, (const char *const[]){"{\"a\":1}", "[2,\"three\"]", NULL});
    struct e2e_process *p = dstream_run("read", "-F", "%i:%S:%s\\n", url);
    e2e_status(p, 0);
    e2e_same("messages", p->out_data, e2e_text("0:7:{\"a\":1}\n1:1:2\n2:7:\"three\"\n"));
    p = dstream_run("read", "-F", "%u %% %s\\0", "--until", "end", "-n", "1",
                    e2e_printf("%s?token=secret", url));
    e2e_status(p, 0);
    struct e2e_bytes want = e2e_text(e2e_printf("%s %% {\"a\":1}", url));
    e2e_add(&want, "", 1);
    e2e_same("no secret", p->out_data, want);
    p = dstream_run("read", "-F", "%s %z", url);
    e2e_status(p, 2);
    e2e_says(p, "not with %z");
}

/* The template is part of the state, and of the manifest. */
E2E_BOTH(formats, templates_into_a_directory)
{
    static const char *const extra[][4] = {
        {NULL}, {"-z", "gzip", NULL}, {"--rotate-size", "7", NULL}};
    char *a = stream("a", TYPE_JSON, (const char *const[]){"1", "2", NULL});
    char *b = text_stream("b", (const char *const[]){"text", NULL});
    for (size_t i = 0; i < 3; i++) {
        char *d = e2e_path(e2e_printf("d%zu", i));
        const char *args[12] = {"export", "--url", e2e_url(""), "a", "b", "-d", d, "-F", "%s;\\n"};
        memcpy(args + 9, extra[i], 3 * sizeof *args);
        e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)})), 0);
        args[8] = "%s|\\n";
        struct e2e_process *p =
            e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)}));
        e2e_status(p, 2);
        e2e_says(p, "the state is of the template '%s;\\n'");
        args[7] = "-F";
        args[8] = "auto";
        e2e_append(a, TYPE_JSON, e2e_text("3"));
        e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)})), 0);
        const char *suffix = i == 1 ? ".gz" : "";
        struct e2e_bytes manifest = e2e_read_file(e2e_printf("%s/MANIFEST.ndjson", d));
        cr_assert(strstr(manifest.p, "\"template\":\"%s;\\\\n\""), "%s", manifest.p);
        const char *name = e2e_printf("%s/%s%s", d, i == 2 ? "a-000001" : "a", suffix);
        struct e2e_bytes got = i == 1 ? unpacked(name) : e2e_read_file(name);
        cr_assert(strncmp(got.p, "1;\n2;\n", 6) == 0, "%s", got.p);
        name = e2e_printf("%s/b%s%s", d, i == 2 ? ".partial" : "", suffix);
        e2e_same("bytes", i == 1 ? unpacked(name) : e2e_read_file(name), e2e_text("text;\n"));
    }
    (void)b;
}

/* --- event streams ---------------------------------------------------------------------------- */

/* What `dstream decode` makes of it, which has all of it. */
static struct e2e_bytes decoded(const char *file, const char *type)
{
    bool text = strcmp(type, TYPE_TEXT) == 0, json = strcmp(type, TYPE_JSON) == 0;
    struct e2e_process *p = text ? dstream_run("decode", "--batches", file)
                            : json
                                ? dstream_run("decode", "--batches", "--type", type, file)
                                : dstream_run("decode", "--batches", "--encoding", "base64", file);
    e2e_status(p, 0);
    struct e2e_bytes all = e2e_text("");
    static const char mark[] = "{\"data\":\"";
    for (char *line = p->out_data.p; (line = strstr(line, mark));) {
        size_t n, bad;
        const char *why;
        line += sizeof mark - 1;
        size_t length = strcspn(line, "\"");
        char *next = line + length;
        cr_assert_eq(ds_base64_decode(line, length, &n, &bad, &why), DSTREAM_OK);
        e2e_add(&all, line, n);
        line = next;
    }
    return all;
}

/* Appends that only this has; text is cut inside of characters. */
static void append_some(const char *url, const char *type, struct e2e_bytes *want)
{
    static const char *const texts[] = {"a\n \xC3", "\xA9\xE2\x82", "\xAC\n\n\xF0\x9F",
                                        "\x98",     "\x80",         "z"};
    for (size_t i = 0; i < 6; i++) {
        struct e2e_bytes b = e2e_text(texts[i]);
        if (strcmp(type, TYPE_BINARY) == 0)
            b = e2e_random(3000, i);
        else if (strcmp(type, TYPE_JSON) == 0)
            b = e2e_text(e2e_printf("{\"n\":%zu,\"t\":\"\xE2\x82\xAC\"}", i));
        e2e_append(url, type, b);
        e2e_add(want, b.p, b.n);
        if (strcmp(type, TYPE_JSON) == 0)
            e2e_add_text(want, "\n");
    }
}

E2E_BOTH(formats, event_streams_come_back_as_they_were)
{
    static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};
    static const char *const modes[] = {"sse", "long-poll"};
    for (size_t i = 0; i < 3; i++) {
        const char *type = types[i], *mode = modes[i % 2 == 1];
        char *url = e2e_url(e2e_printf("s%zu", i)), *out = e2e_path(e2e_printf("out%zu", i));
        struct e2e_bytes want = e2e_text("");
        e2e_create(url, type);
        append_some(url, type, &want);
        struct e2e_process *p = dstream_run("read", "-F", "sse", "-o", out, url);
        e2e_status(p, 0);
        e2e_same("read", decoded(out, type), want);
        e2e_status(
            dstream_run("export", "-F", "sse", url, "-o", out, "--overwrite", "--bytes", "33"), 0);
        p = dstream_start("export", "-vv", "-f", "--live", mode, url, "-o", out);
        reading_until_live(p);
        append_some(url, type, &want);
        e2e_close(url);
        e2e_status(p, 0);
        e2e_same("exported", decoded(out, type), want);
        struct e2e_bytes file = e2e_read_file(out);
        cr_assert(strstr(file.p, "\"streamClosed\":true}\n\n"), "%s", file.p);
        e2e_status(dstream_run("export", url, "-o", out), 0);
        e2e_same("nothing is added", e2e_read_file(out), file);
        e2e_status(dstream_run("state", "verify", out), 2);
    }
}

/* What an event stream would change is refused, and what came before it is good. */
E2E_BOTH(formats, event_streams_of_what_they_cannot_carry)
{
    char *url = text_stream("s", (const char *const[]){"one\n", NULL});
    e2e_status(dstream_run("export", "-F", "sse", url, "-o", exported()), 0);
    struct e2e_bytes before = e2e_read_file(exported());
    e2e_append(url, TYPE_TEXT, e2e_text("two\r\n"));
    struct e2e_process *p = dstream_run("export", url, "-o", exported());
    e2e_status(p, 2);
    e2e_says(p, "a carriage return");
    e2e_same("as it was", e2e_read_file(exported()), before);
    p = dstream_run("read", "-F", "sse", url, url);
    e2e_status(p, 2);
}

/* Whatever is killed when: what is decoded in the end is the stream, each byte once. */
E2E_BOTH(formats, event_streams_survive_kills)
{
    static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};
    uint64_t state = e2e_fresh_seed();
    struct tally tally = {.n = 0};
    fprintf(stderr, "DSTREAM_SEED=%llu\n", (unsigned long long)state);
    for (size_t i = 0; i < 3; i++) {
        char *url = e2e_url(e2e_printf("s%zu", i)), *out = e2e_path(e2e_printf("out%zu", i));
        const char *rotate = i == 0 ? "600" : "1GiB";
        struct e2e_bytes want = e2e_text("");
        e2e_create(url, types[i]);
        for (unsigned long kills = 2 * e2e_soak(); kills > 0; kills--) {
            e2e_limits(e2e_printf("kill_%s=%u", e2e_below(&state, 2) ? "at" : "after",
                                  (unsigned)e2e_below(&state, 60) + 1));
            struct e2e_process *p = dstream_start("export", "-fv", "-F", "sse", "--sync", "batch",
                                                  "--rotate-size", rotate, url, "-o", out);
            e2e_limits("");
            until_answered(p);
            append_some(url, types[i], &want);
            e2e_kill(p, SIGKILL);
            cr_assert_eq(e2e_wait(p), 128 + SIGKILL, "%s", p->err_data.p);
            tally_add(&tally, p);
        }
        e2e_close(url);
        e2e_status(
            dstream_run("export", "-f", "-F", "sse", "--rotate-size", rotate, url, "-o", out), 0);
        size_t n;
        char *all = e2e_path("all");
        e2e_write_file(all, rotated(out, "", &n));
        e2e_same(types[i], decoded(all, types[i]), want);
        cr_assert(i > 0 ? n == 1 : n >= 1, "%zu segments", n);
    }
    tally_say(&tally, "random", "event stream, rotated");
}
