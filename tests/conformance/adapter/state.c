/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tests/conformance/adapter/adapter.h"

/* --- paths ------------------------------------------------------------------------------------ */

struct path *find_path(struct adapter *a, const char *name)
{
    struct path *p = a->paths;
    while (p && strcmp(p->name, name) != 0)
        p = p->next;
    return p;
}

struct path *want_path(struct adapter *a, const char *name)
{
    struct path *p = find_path(a, name);
    if (p)
        return p;
    p = take_memory(sizeof *p);
    p->name = copy_text(name);
    p->next = a->paths;
    a->paths = p;
    return p;
}

void set_path_type(struct adapter *a, const char *name, const char *type)
{
    struct path *p = want_path(a, name);
    free(p->type);
    p->type = copy_text(type);
}

static void free_path(struct path *p)
{
    dstream_stream_free(p->stream);
    free(p->name);
    free(p->type);
    free(p);
}

void forget_producer(struct adapter *a, struct cached *which)
{
    struct cached **at = &a->producers;
    while (*at != which)
        at = &(*at)->next;
    *at = which->next;
    dstream_producer_free(which->producer);
    free(which->path);
    free(which->id);
    free(which);
}

void forget_path(struct adapter *a, const char *name)
{
    for (struct cached *c = a->producers, *next; c; c = next) {
        next = c->next;
        if (strcmp(c->path, name) == 0)
            forget_producer(a, c);
    }
    for (struct path **at = &a->paths; *at; at = &(*at)->next) {
        struct path *p = *at;
        if (strcmp(p->name, name) != 0)
            continue;
        *at = p->next;
        free_path(p);
        return;
    }
}

const char *type_of(const struct command *c)
{
    struct path *p = find_path(c->a, get_text(c, "path", ""));
    return get_text(c, "contentType", p && p->type ? p->type : TYPE_DEFAULT);
}

dstream_stream *stream_of(struct command *c)
{
    struct path *p = want_path(c->a, get_text(c, "path", ""));
    if (p->stream)
        return p->stream;
    dstream_options *o = new_options(c->a);
    enum dstream_code rc = dstream_stream_open(&p->stream, c->a->loop, c->url.p, o);
    dstream_options_free(o);
    if (rc != DSTREAM_OK)
        fail_code(c, rc, "the stream");
    return p->stream;
}

/* --- dynamic values --------------------------------------------------------------------------- */

static void free_dynamic(struct dynamic *d)
{
    free(d->name);
    free(d->token);
    free(d->value);
    free(d);
}

static void clear(struct dynamic **list)
{
    while (*list) {
        struct dynamic *next = (*list)->next;
        free_dynamic(*list);
        *list = next;
    }
}

void state_reset(struct adapter *a)
{
    while (a->producers)
        forget_producer(a, a->producers);
    while (a->paths) {
        struct path *next = a->paths->next;
        free_path(a->paths);
        a->paths = next;
    }
    clear(&a->headers);
    clear(&a->params);
    free(a->server);
    a->server = NULL;
}

static const char *value_of(struct dynamic *d)
{
    char text[32];
    struct timespec t;
    if (d->value)
        return d->value;
    if (d->source == SOURCE_COUNTER) {
        snprintf(text, sizeof text, "%" PRIu64, ++d->counter);
    } else if (d->source == SOURCE_TIMESTAMP) {
        clock_gettime(CLOCK_REALTIME, &t);
        snprintf(text, sizeof text, "%" PRId64, (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000);
    }
    d->value = copy_text(d->source == SOURCE_TOKEN ? d->token : text);
    return d->value;
}

/* The next command makes them anew. One that sent nothing has used them as well. */
void end_dynamic(struct adapter *a)
{
    struct dynamic *lists[] = {a->headers, a->params};
    for (size_t i = 0; i < 2; i++) {
        for (struct dynamic *d = lists[i]; d; d = d->next) {
            if (a->command->dynamic)
                (void)value_of(d);
            free(d->value);
            d->value = NULL;
        }
    }
}

static void set_dynamic(struct command *c, struct dynamic **list)
{
    static const char *const sources[] = {"counter", "timestamp", "token"};
    const char *name = get_text(c, "name", ""), *type = get_text(c, "valueType", "");
    size_t source = 0;
    while (source < 3 && strcmp(sources[source], type) != 0)
        source++;
    if (source == 3) {
        fail(c, INVALID_ARGUMENT, 0, "there is no valueType %s", type);
        return;
    }
    struct dynamic *d = take_memory(sizeof *d);
    d->name = copy_text(name);
    d->source = (enum source)source;
    d->token = copy_text(get_text(c, "initialValue", ""));
    struct dynamic **at = list;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (*at) {
        d->next = (*at)->next;
        free_dynamic(*at);
    }
    *at = d;
    reply(c);
}

void run_set_header(struct command *c)
{
    set_dynamic(c, &c->a->headers);
}

void run_set_param(struct command *c)
{
    set_dynamic(c, &c->a->params);
}

void run_clear_dynamic(struct command *c)
{
    clear(&c->a->headers);
    clear(&c->a->params);
    reply(c);
}

/* --- what goes along with each request -------------------------------------------------------- */

static enum dstream_code add_header(dstream_request *q, const char *name, const char *value)
{
    struct text line = {.n = 0};
    text_addf(&line, "%s: %s", name, value);
    enum dstream_code rc = dstream_request_add_header(q, line.p);
    text_free(&line);
    return rc;
}

/* The command's own header of this name. */
static const struct json *own_header(const struct command *c, const char *name)
{
    const struct json *all = json_get(c->in, "headers");
    for (const struct json *h = all ? all->first : NULL; h; h = h->next) {
        if (strcasecmp(h->key, name) == 0)
            return h;
    }
    return NULL;
}

static enum dstream_code add_dynamic(struct adapter *a, dstream_request *q)
{
    enum dstream_code rc = DSTREAM_OK;
    for (struct dynamic *d = a->headers; d && rc == DSTREAM_OK; d = d->next) {
        const char *value = value_of(d);
        if (!own_header(a->command, d->name))
            rc = add_header(q, d->name, value);
    }
    for (struct dynamic *d = a->params; d && rc == DSTREAM_OK; d = d->next)
        rc = dstream_request_add_param(q, d->name, value_of(d));
    return rc;
}

/* All requests of a command carry the same values. There are no other credentials than those. */
static enum dstream_code on_request(void *ctx, dstream_request *q, bool refused)
{
    struct adapter *a = ctx;
    const struct json *own = a->command ? json_get(a->command->in, "headers") : NULL;
    enum dstream_code rc = refused ? DSTREAM_ERR_AUTH : DSTREAM_OK;
    for (const struct json *h = own ? own->first : NULL; h && rc == DSTREAM_OK; h = h->next)
        rc = strlen(h->p) == h->n ? add_header(q, h->key, h->p) : DSTREAM_ERR_ARGUMENT;
    if (rc == DSTREAM_OK && a->command && a->command->dynamic)
        rc = add_dynamic(a, q);
    return rc;
}

dstream_options *new_options(struct adapter *a)
{
    dstream_options *o = dstream_options_new();
    if (!o)
        abort();
    dstream_options_set_on_request(o, on_request, a);
    dstream_options_set_proxy(o, "");             /* the server is on this machine, */
    dstream_options_set_replica_lag(o, 0);        /* and there is one of it */
    dstream_options_set_producers_known(o, true); /* or the suite would not ask for them */
    return o;
}

static void reply_values(struct command *c, const char *name, const struct dynamic *list)
{
    if (!list)
        return;
    struct text *out = reply_member(c, name);
    for (const struct dynamic *d = list; d; d = d->next) {
        const struct json *own = list == c->a->headers ? own_header(c, d->name) : NULL;
        const char *value = own ? own->p : d->value ? d->value : "";
        text_adds(out, d == list ? "{" : ",");
        json_add_string(out, d->name, strlen(d->name));
        text_adds(out, ":");
        json_add_string(out, value, strlen(value));
    }
    text_adds(out, "}");
}

void reply_dynamic(struct command *c)
{
    reply_values(c, "headersSent", c->a->headers);
    reply_values(c, "paramsSent", c->a->params);
}

/* --- init ------------------------------------------------------------------------------------- */

void run_init(struct command *c)
{
    static const char *const features[] = {"batching",     "sse",        "longPoll",
                                           "auto",         "streaming",  "dynamicHeaders",
                                           "retryOptions", "batchItems", "strictZeroValidation"};
    state_reset(c->a);
    c->a->server = copy_text(get_text(c, "serverUrl", ""));
    reply(c);
    reply_text(c, "clientName", "dstream");
    reply_text(c, "clientVersion", dstream_version());
    struct text *out = reply_member(c, "features");
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        text_addf(out, "%c\"%s\":true", i > 0 ? ',' : '{', features[i]);
    text_adds(out, "}");
}
