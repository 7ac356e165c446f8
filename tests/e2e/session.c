/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/session.h"
#include "tests/e2e/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct variable {
    const char *name, *value;
    struct variable *next;
};

struct session {
    struct e2e_process *p;
    size_t read; /* bytes of its output that were taken */
    struct variable *variables;
    const char *where; /* in a file */
    const char *last;  /* command */
    int64_t sent;
    int64_t within, after; /* of the next answer; 0: no matter */
};

/* --- the adapter ------------------------------------------------------------------------------ */

static void set(struct session *s, const char *name, const char *value)
{
    struct variable *v = e2e_alloc(sizeof *v);
    *v = (struct variable){name, value, s->variables};
    s->variables = v;
}

struct session *session_new(void)
{
    const char *argv[] = {E2E_BUILDDIR "/tests/conformance/adapter/adapter", NULL};
    struct session *s = e2e_alloc(sizeof *s);
    s->p = e2e_spawn(&(struct e2e_run){.argv = argv, .input = true});
    s->where = "";
    return s;
}

struct session *session_start(const char *base)
{
    struct session *s = session_new();
    set(s, "base", base);
    session_expect(s, e2e_printf("{\"type\":\"init\",\"serverUrl\":\"%s\"}", base),
                   "{\"type\":\"init\",\"success\":true,*", 0);
    return s;
}

struct e2e_process *session_process(struct session *s)
{
    return s->p;
}

void session_send(struct session *s, struct e2e_bytes line)
{
    s->last = e2e_printf("%.500s", line.p);
    s->sent = e2e_now();
    e2e_give(s->p, line);
    e2e_give(s->p, e2e_text("\n"));
}

static bool has_line(const struct e2e_process *p, const void *ctx)
{
    const struct session *s = ctx;
    return memchr(p->out_data.p + s->read, '\n', p->out_data.n - s->read) != NULL;
}

const char *session_reply(struct session *s)
{
    e2e_until(s->p, has_line, s, s->last);
    const char *line = s->p->out_data.p + s->read;
    size_t n = strcspn(line, "\n");
    s->read += n + 1;
    char *copy = e2e_alloc(n + 1);
    memcpy(copy, line, n);
    return copy;
}

const char *session_ask(struct session *s, const char *line)
{
    session_send(s, e2e_text(line));
    return session_reply(s);
}

void session_end(struct session *s)
{
    session_expect(s, "{\"type\":\"shutdown\"}", "{\"type\":\"shutdown\",\"success\":true}", 5000);
    e2e_status(s->p, 0);
    cr_assert_eq(s->p->out_data.n, s->read, "it said more than it was asked: %s",
                 s->p->out_data.p + s->read);
    cr_assert_str_eq(s->p->err_data.p, "");
}

/* --- patterns --------------------------------------------------------------------------------- */

static const char *value_of(const struct session *s, const char *name, size_t n)
{
    const struct variable *v = s->variables;
    while (v && (strlen(v->name) != n || strncmp(v->name, name, n) != 0))
        v = v->next;
    return v ? v->value : NULL;
}

/* The value of what is written %name%, where that begins the text: *used bytes of it. Else NULL. */
static const char *known(const struct session *s, const char *text, size_t *used)
{
    size_t name = *text == '%' ? strcspn(text + 1, "% ") : 0;
    *used = name + 2;
    return name > 0 && text[name + 1] == '%' ? value_of(s, text + 1, name) : NULL;
}

static const char *filled(const struct session *s, const char *text)
{
    struct e2e_bytes out = {0};
    e2e_add_text(&out, "");
    while (*text) {
        size_t used;
        const char *value = known(s, text, &used);
        e2e_add(&out, value ? value : text, value ? strlen(value) : 1);
        text += value ? used : 1;
    }
    return out.p;
}

static bool matches(struct session *s, const char *pattern, const char *text)
{
    while (*pattern) {
        size_t used;
        size_t name = *pattern == '<' ? strcspn(pattern, ">") : 0;
        const char *value = known(s, pattern, &used);
        if (*pattern == '*') {
            for (const char *rest = text;; rest++) {
                if (matches(s, pattern + 1, rest))
                    return true;
                if (!*rest)
                    return false;
            }
        } else if (name > 1 && pattern[name] == '>') {
            size_t n = strcspn(text, "\"");
            set(s, e2e_printf("%.*s", (int)name - 1, pattern + 1),
                e2e_printf("%.*s", (int)n, text));
            text += n;
            pattern += name + 1;
        } else if (value) {
            size_t n = strlen(value);
            if (strncmp(text, value, n) != 0)
                return false;
            text += n;
            pattern += used;
        } else if (*pattern++ != *text++) {
            return false;
        }
    }
    return !*text;
}

/* Whoever does not end in time waits for a deadline of 20 s or for ever; a machine that is busy
 * stands still for seconds. */
#define LATE_MS 8000

static void judge(struct session *s, const char *answer, const char *pattern)
{
    int64_t took = e2e_now() - s->sent;
    if (!matches(s, pattern, answer))
        cr_assert_fail("%s\n  to   %s\n  came %.2000s\n  want %.2000s", s->where, s->last, answer,
                       pattern);
    if ((s->within > 0 && took > s->within + LATE_MS) || took < s->after)
        cr_assert_fail("%s\n  to   %s\n  came after %lld ms: %.500s", s->where, s->last,
                       (long long)took, answer);
    s->within = s->after = 0;
}

void session_expect(struct session *s, const char *line, const char *pattern, int64_t ms)
{
    s->within = ms;
    judge(s, session_ask(s, filled(s, line)), pattern);
}

/* --- files ------------------------------------------------------------------------------------ */

#define HEADERS 8

/* "METHOD PATH [NAME: VALUE]... [| BODY]" */
static void request(struct session *s, char *text)
{
    const char *headers[HEADERS + 1] = {NULL};
    char *body = strstr(text, " | "), *path = strchr(text, ' ');
    size_t n = 0;
    if (body)
        *body = '\0';
    cr_assert_not_null(path, "%s: no path", s->where);
    *path++ = '\0';
    for (char *h = strchr(path, '['); h && n < HEADERS; h = strchr(h, '[')) {
        headers[n++] = h + 1;
        h += strcspn(h, "]");
        *h++ = '\0';
    }
    path[strcspn(path, " [")] = '\0';
    struct e2e_answer a = e2e_http(text, e2e_printf("%s%s", value_of(s, "base", 4), path), headers,
                                   e2e_text(body ? body + 3 : ""));
    if (a.status < 200 || a.status > 299)
        cr_assert_fail("%s: %s %s: %ld %s", s->where, text, path, a.status, a.body.p);
}

static const char *after_word(const char *line, const char *word)
{
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 ? line + n : NULL;
}

static void play_line(struct session *s, const char *line)
{
    const char *rest;
    if (!*line || *line == '#')
        return;
    if ((rest = after_word(line, "> ")))
        session_send(s, e2e_text(filled(s, rest)));
    else if ((rest = after_word(line, "< ")))
        judge(s, session_reply(s), rest);
    else if ((rest = after_word(line, "within ")))
        s->within = strtol(rest, NULL, 10);
    else if ((rest = after_word(line, "after ")))
        s->after = strtol(rest, NULL, 10);
    else if ((rest = after_word(line, "! ")))
        request(s, e2e_printf("%s", filled(s, rest)));
    else if ((rest = after_word(line, "fault ")))
        request(s, e2e_printf("POST /_test/inject-error | %s", filled(s, rest)));
    else
        cr_assert_fail("%s: not a line of a session: %s", s->where, line);
}

void session_play(struct session *s, const char *name)
{
    const char *path = e2e_printf("%s/tests/conformance/sessions/%s", E2E_SRCDIR, name);
    struct e2e_bytes file = e2e_read_file(path);
    unsigned number = 0;
    e2e_add_text(&file, "");
    for (char *line = file.p, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        s->where = e2e_printf("%s:%u", path, ++number);
        play_line(s, line);
    }
}
