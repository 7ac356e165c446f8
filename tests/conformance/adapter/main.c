/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "tests/conformance/adapter/adapter.h"

/* --- the commands ----------------------------------------------------------------------------- */

/* Members, "name:kind" each, "!" behind it where it may not be absent: s a string without NUL, t
 * any string, i an integer, b a boolean, h an object of strings, l an array of strings, o an
 * object, * anything. */
static const struct entry {
    const char *type;
    void (*run)(struct command *c);
    const char *members;
} commands[] = {
    {"init", run_init, "serverUrl:s! timeoutMs:i"},
    {"create", run_create,
     "path:s! contentType:s ttlSeconds:i expiresAt:s headers:h closed:b data:t"},
    {"connect", run_connect, "path:s! headers:h"},
    {"append", run_append, "path:s! data:t! binary:b seq:i headers:h"},
    {"head", run_head, "path:s! headers:h"},
    {"delete", run_delete, "path:s! headers:h"},
    {"close", run_close, "path:s! data:t contentType:s headers:h"},
    {"read", run_read,
     "path:s! offset:s live:* timeoutMs:i maxChunks:i waitForUpToDate:b headers:h"},
    {"set-dynamic-header", run_set_header, "name:s! valueType:s! initialValue:s"},
    {"set-dynamic-param", run_set_param, "name:s! valueType:s! initialValue:s"},
    {"clear-dynamic", run_clear_dynamic, ""},
    {"idempotent-append", run_producer_append,
     "path:s! producerId:s! epoch:i autoClaim:b data:t! headers:h"},
    {"idempotent-append-batch", run_producer_batch,
     "path:s! producerId:s! epoch:i autoClaim:b items:l! maxInFlight:i headers:h"},
    {"idempotent-close", run_producer_close,
     "path:s! producerId:s! epoch:i autoClaim:b data:t headers:h"},
    {"idempotent-detach", run_producer_detach,
     "path:s! producerId:s! epoch:i autoClaim:b headers:h"},
    {"validate", run_validate, "target:o!"},
    {"benchmark", run_benchmark, "iterationId:s! operation:o!"},
    {"shutdown", NULL, ""},
};

static const struct entry *find_entry(const char *type)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].type, type) == 0)
            return &commands[i];
    }
    return NULL;
}

static bool all_strings(const struct json *v)
{
    for (const struct json *m = v->first; m; m = m->next) {
        if (m->kind != JSON_STRING)
            return false;
    }
    return true;
}

static bool is_kind(const struct json *v, char kind)
{
    int64_t n;
    switch (kind) {
    case 's':
        return v->kind == JSON_STRING && strlen(v->p) == v->n;
    case 't':
        return v->kind == JSON_STRING;
    case 'i':
        return json_int(v, &n);
    case 'b':
        return v->kind == JSON_TRUE || v->kind == JSON_FALSE;
    case 'h':
        return v->kind == JSON_OBJECT && all_strings(v);
    case 'l':
        return v->kind == JSON_ARRAY && all_strings(v);
    case 'o':
        return v->kind == JSON_OBJECT;
    default:
        return true;
    }
}

/* Whether the command has what the table says. */
static bool is_sound(struct command *c, const struct entry *e)
{
    for (const char *m = e->members; *m;) {
        char name[32];
        size_t n = strcspn(m, ":"), all = strcspn(m, " ");
        memcpy(name, m, n);
        name[n] = '\0';
        const struct json *v = json_get(c->in, name);
        if (v ? !is_kind(v, m[n + 1]) : m[all - 1] == '!') {
            fail(c, INVALID_ARGUMENT, 0, "%s: %s is %s", c->type, name,
                 v ? "not of the kind it has to be" : "missing");
            return false;
        }
        m += all + (m[all] == ' ');
    }
    return true;
}

/* --- what a command says ---------------------------------------------------------------------- */

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t time_left(const struct command *c)
{
    int64_t left = c->deadline - now_ms();
    return left > 0 ? left : 0;
}

bool has(const struct command *c, const char *name)
{
    return json_get(c->in, name) != NULL;
}

const char *get_text(const struct command *c, const char *name, const char *absent)
{
    const struct json *v = json_get(c->in, name);
    return v ? v->p : absent;
}

int64_t get_int(const struct command *c, const char *name, int64_t absent)
{
    const struct json *v = json_get(c->in, name);
    int64_t n;
    return v && json_int(v, &n) ? n : absent;
}

bool get_bool(const struct command *c, const char *name)
{
    const struct json *v = json_get(c->in, name);
    return v && v->kind == JSON_TRUE;
}

/* --- lines ------------------------------------------------------------------------------------ */

static void set_url(struct command *c)
{
    const char *path = get_text(c, "path", "");
    text_adds(&c->url, c->a->server ? c->a->server : "");
    text_adds(&c->url, path);
}

static void dispatch(struct command *c, const struct entry *e)
{
    if (!e) {
        fail(c, "NOT_SUPPORTED", 0, "there is no command %s", c->type);
    } else if (is_sound(c, e)) {
        if (!c->a->server && e->run && e->run != run_init && e->run != run_validate) {
            fail(c, INVALID_ARGUMENT, 0, "%s: init has to come first", c->type);
            return;
        }
        set_url(c);
        if (e->run)
            e->run(c);
        else
            reply(c);
    }
}

static void print_answer(struct command *c)
{
    reply_end(c);
    fwrite(c->out.p, 1, c->out.n, stdout);
    fflush(stdout);
}

/* False after the last one. */
static bool take_line(struct adapter *a, const char *line, size_t n)
{
    struct pool pool = {NULL};
    const char *why;
    const struct json *in = json_parse(&pool, line, n, &why);
    const struct json *type = in && in->kind == JSON_OBJECT ? json_get(in, "type") : NULL;
    struct command c = {.a = a, .in = in, .type = "init", .deadline = now_ms() + ANSWER_MS};
    const struct entry *e = NULL;
    if (!in || !type || type->kind != JSON_STRING) {
        fail(&c, "PARSE_ERROR", 0, "not a command: %s", in ? "it has no type" : why);
    } else {
        c.type = type->p;
        e = find_entry(c.type);
        a->command = &c;
        dispatch(&c, e);
        end_dynamic(a);
        a->command = NULL;
    }
    print_answer(&c);
    text_free(&c.out);
    text_free(&c.url);
    pool_free(&pool);
    return !e || e->run;
}

static bool is_blank(const char *line, size_t n)
{
    while (n > 0 && strchr(" \t\r\n", line[n - 1]))
        n--;
    return n == 0;
}

int main(void)
{
    struct adapter a = {.loop = dstream_loop_new()};
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    signal(SIGPIPE, SIG_IGN);
    if (!a.loop)
        return 1;
    while ((n = getline(&line, &size, stdin)) > 0) {
        if (!is_blank(line, (size_t)n) && !take_line(&a, line, (size_t)n))
            break;
    }
    free(line);
    state_reset(&a);
    dstream_loop_free(a.loop);
    return 0;
}
