/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/killing.h"

#include "decode/base64.h"
#include "tests/e2e/exporting.h"
#include "tests/e2e/reading.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- where they were killed ------------------------------------------------------------------- */

static bool is_answered(const struct e2e_process *p, const void *ctx)
{
    (void)ctx;
    return strstr(p->err_data.p, ": 200\n") || (p->out < 0 && p->err < 0);
}

void until_answered(struct e2e_process *p)
{
    e2e_until(p, is_answered, NULL, "its first answer");
}

void tally_add(struct tally *t, const struct e2e_process *p)
{
    const char *line = strstr(p->err_data.p, "killed ");
    const char *what =
        line ? e2e_printf("%.*s", (int)strcspn(line, "\n"), line) : "killed at any moment";
    size_t i = 0;
    while (i < t->n && strcmp(t->of[i].what, what) != 0)
        i++;
    cr_assert_lt(i, sizeof t->of / sizeof *t->of);
    snprintf(t->of[i].what, sizeof t->of[i].what, "%s", what);
    t->of[i].n++;
    t->n += i == t->n;
}

void tally_say(const struct tally *t, const char *how, const char *form)
{
    const char *server = e2e_kind() == E2E_REFERENCE ? "reference" : "embedded";
    for (size_t i = 0; i < t->n; i++)
        fprintf(stderr, "kills; %s; %s; %s; %s; %u\n", how, form, server, t->of[i].what,
                t->of[i].n);
}

/* --- what is in a file ------------------------------------------------------------------------ */

static void add_base64(struct e2e_bytes *all, char *text)
{
    size_t n, bad;
    const char *why;
    cr_assert_eq(ds_base64_decode(text, strlen(text), &n, &bad, &why), DSTREAM_OK, "%s", why);
    e2e_add(all, text, n);
}

/* The bytes of a message stand as they are: numbers and escapes are kept. */
static void add_message(struct e2e_bytes *all, const char *line, size_t n)
{
    static const char mark[] = "\"json\":";
    const char *at = strstr(line, mark);
    cr_assert(at && at < line + n, "no message in %s", line);
    at += sizeof mark - 1;
    e2e_add(all, at, (size_t)(line + n - at) - 1); /* without the envelope's brace */
    e2e_add_text(all, "\n");
}

static void add_envelope(struct e2e_bytes *all, const char *line, size_t n, bool json)
{
    if (json) {
        add_message(all, line, n);
        return;
    }
    cJSON *o = cJSON_ParseWithLength(line, n);
    cr_assert_not_null(o, "no envelope: %s", line);
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(o, "text");
    const cJSON *base64 = cJSON_GetObjectItemCaseSensitive(o, "base64");
    cr_assert(cJSON_IsString(text) || cJSON_IsString(base64), "nothing in %s", line);
    if (text)
        e2e_add_text(all, text->valuestring);
    else
        add_base64(all, base64->valuestring);
    cJSON_Delete(o);
}

static struct e2e_bytes of_envelopes(struct e2e_bytes file, const char *type)
{
    struct e2e_bytes all = e2e_text("");
    for (const char *p = file.p; *p;) {
        size_t n = strcspn(p, "\n");
        cr_assert_eq(p[n], '\n', "a line is not whole: %s", p);
        add_envelope(&all, p, n, strcmp(type, TYPE_JSON) == 0);
        p += n + 1;
    }
    return all;
}

/* Each as long as it says itself. */
static struct e2e_bytes of_template(struct e2e_bytes file, const char *type)
{
    struct e2e_bytes all = e2e_text("");
    for (char *p = file.p; p < file.p + file.n;) {
        char *data;
        size_t n = strtoul(p, &data, 10), left = (size_t)(file.p + file.n - data);
        cr_assert(data > p && left > n + 1 && data[0] == ':' && data[n + 1] == '\n',
                  "a part is not whole: %s", p);
        e2e_add(&all, data + 1, n);
        if (strcmp(type, TYPE_JSON) == 0)
            e2e_add_text(&all, "\n");
        p = data + n + 2;
    }
    return all;
}

struct e2e_bytes payloads(const char *format, const char *type, struct e2e_bytes file)
{
    if (!format || strcmp(format, "lines") == 0)
        return file;
    if (strcmp(format, FORM_TEMPLATE) == 0)
        return of_template(file, type);
    cr_assert_str_eq(format, "envelope", "no such format: %s", format);
    return of_envelopes(file, type);
}

/* --- exports of a form -------------------------------------------------------------------------
 */

const char *subject_type(size_t i)
{
    static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};
    return types[i % 3];
}

static const char *suffix_of(const struct form *f)
{
    if (!f->pack)
        return "";
    return strcmp(f->pack, "gzip") == 0 ? ".gz" : ".zst";
}

static char *in(const struct subject *s, const char *name)
{
    return s->dir ? e2e_printf("%s/%s", s->dir, name) : e2e_path(name);
}

static char *path_of(const struct subject *s, size_t i)
{
    return s->f->streams > 1 ? in(s, e2e_printf("d/s%zu", i)) : in(s, "out");
}

static const char *manifest_of(const struct subject *s)
{
    return s->f->streams > 1 ? in(s, "d/MANIFEST.ndjson")
                             : e2e_printf("%s%s.manifest.ndjson", path_of(s, 0), suffix_of(s->f));
}

struct subject subject_begin(const struct form *f, const char *base)
{
    struct subject s = {.f = f, .base = base};
    cr_assert_leq(f->streams, FORM_STREAMS);
    for (size_t i = 0; i < f->streams; i++)
        s.w[i] = written_begin(e2e_url_at(base, e2e_printf("s%zu", i)), subject_type(i));
    return s;
}

void subject_close(const struct subject *s)
{
    for (size_t i = 0; i < s->f->streams; i++)
        e2e_close(s->w[i].url);
}

const char *const *subject_command(const struct subject *s, const char *sync, const char *follow)
{
    const struct form *f = s->f;
    const char *args[FORM_STREAMS + 20] = {"export", "--sync", sync, "--url",
                                           e2e_url_at(s->base, "")};
    size_t n = 5;
    for (size_t i = 0; i < f->streams; i++)
        args[n++] = s->w[i].url;
    args[n++] = f->streams > 1 ? "-d" : "-o";
    args[n++] = f->streams > 1 ? in(s, "d") : e2e_printf("%s%s", path_of(s, 0), suffix_of(f));
    if (f->rotate) {
        args[n++] = "--rotate-size";
        args[n++] = f->rotate;
    }
    if (f->pack) {
        args[n++] = "-z";
        args[n++] = f->pack;
    }
    if (f->format) {
        args[n++] = "-F";
        args[n++] = f->format;
    }
    args[n++] = follow ? follow : "-q";
    return e2e_command(args);
}

struct e2e_process *subject_export(const struct subject *s, const char *limits, const char *sync,
                                   const char *follow)
{
    e2e_limits(limits);
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = subject_command(s, sync, follow)});
    e2e_limits("");
    return p;
}

static void add_file(struct e2e_bytes *all, const struct form *f, size_t i, const char *path)
{
    struct e2e_bytes b = f->pack ? unpacked(path) : e2e_read_file(path);
    b = payloads(f->format, subject_type(i), b);
    e2e_add(all, b.p, b.n);
}

/* All of a stream that is in files; *n: how many segments have their names. */
static struct e2e_bytes joined(const struct subject *s, size_t i, size_t *n)
{
    const struct form *f = s->f;
    struct e2e_bytes all = e2e_text("");
    const char *path = path_of(s, i), *suffix = suffix_of(f);
    *n = 0;
    if (!f->rotate) {
        add_file(&all, f, i, e2e_printf("%s%s", path, suffix));
        return all;
    }
    for (;; ++*n) {
        const char *name = e2e_printf("%s-%06zu%s", path, *n + 1, suffix);
        if (!e2e_exists(name))
            break;
        add_file(&all, f, i, name);
    }
    const char *last = e2e_printf("%s%s.partial", path, suffix);
    if (e2e_exists(last))
        add_file(&all, f, i, last);
    return all;
}

void subject_same(const struct subject *s, const char *what)
{
    size_t lines = s->f->streams > 1 ? s->f->streams : 0;
    for (size_t i = 0; i < s->f->streams; i++) {
        size_t n;
        struct e2e_bytes got = joined(s, i, &n), want = s->w[i].want;
        /* The end of a closed stream ends its last line. */
        bool ended = s->f->format && strcmp(s->f->format, "lines") == 0 && got.n == want.n + 1 &&
                     got.p[want.n] == '\n';
        got.n -= ended;
        e2e_same(e2e_printf("%s, %s, stream %zu", s->f->name, what, i), got, want);
        lines += n;
    }
    if (lines == 0)
        return;
    struct e2e_bytes manifest = e2e_read_file(manifest_of(s));
    cr_assert_eq(reading_lines(manifest.p), lines, "%s, %s: %s", s->f->name, what, manifest.p);
}

void subject_clear(const struct subject *s)
{
    const char *const argv[] = {"sh", "-c",
                                e2e_printf("rm -rf -- '%s' '%s'*", in(s, "d"), in(s, "out")), NULL};
    e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv})), 0);
}
