/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/producer.h"

/* --- messages --------------------------------------------------------------------------------- */

size_t message_of(size_t i, bool json, size_t pad, char *out, size_t size)
{
    int n = snprintf(
        out, size, json ? "\"%zu:%.*s\"" : "%zu:%.*s;", i, (int)pad,
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    return (size_t)n;
}

/* One message at `p`; SIZE_MAX where there is none. */
static size_t one(const char *p, const char *end, bool json, const char **next)
{
    char *digits_end;
    if (json && (p == end || *p++ != '"'))
        return SIZE_MAX;
    size_t i = strtoul(p, &digits_end, 10);
    if (digits_end == p || digits_end >= end || *digits_end != ':')
        return SIZE_MAX;
    p = digits_end + 1;
    while (p < end && *p == 'x')
        p++;
    if (p == end || *p != (json ? '"' : ';') || i >= MESSAGES)
        return SIZE_MAX;
    *next = p + 1;
    return i;
}

/* The messages of a body; SIZE_MAX where it is malformed. */
static size_t cut(const struct post *post, bool json, size_t *out)
{
    const char *p = post->body, *end = p + post->len;
    size_t n = 0;
    if (post->len == 0)
        return 0;
    if (json && (*p++ != '[' || *--end != ']'))
        return SIZE_MAX;
    while (p < end && n < MESSAGES) {
        if (json && n > 0 && *p++ != ',')
            return SIZE_MAX;
        out[n] = one(p, end, json, &p);
        if (out[n++] == SIZE_MAX)
            return SIZE_MAX;
    }
    return p == end && n > 0 ? n : SIZE_MAX;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void status(struct server *s, struct reply *r, int code, const char *why)
{
    *r = (struct reply){.status = code, .retry_after = -1};
    s->why = why;
}

static void echo(const struct server *s, struct reply *r)
{
    r->echo = r->next = true;
    r->epoch = s->epoch;
    r->seq = s->last;
    r->offset = s->n;
    r->closed = s->closed;
}

static void add(struct server *s, size_t message, bool again)
{
    if (s->n < LOG_MAX)
        s->log[s->n++] = (struct entry){message, again};
    if (message == FOREIGN)
        return;
    s->copies[message]++;
    s->tolerated[message] |= again;
}

static void store(struct server *s, const size_t *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(s, m[i], s->forgot && s->copies[m[i]] > 0);
}

/* Before anything is looked at: what proxies and busy servers answer. */
static bool fails_before(struct server *s, const struct post *p, struct reply *r)
{
    static const int codes[] = {500, 502, 503, 504, 429, 408, 425, 599};
    struct rng *g = &s->rng;
    if (s->final) {
        status(s, r, s->final, "final");
        return true;
    }
    if (s->out) {
        status(s, r, 503, "out of order");
        return true;
    }
    if (p->credentials != s->credentials) {
        status(s, r, s->forbids ? 403 : 401, "old credentials");
        return true;
    }
    if (one_in(g, s->before)) {
        status(s, r, codes[draw(g) % (sizeof codes / sizeof *codes)], "before");
        if (one_in(g, s->retry_after))
            r->retry_after = between(g, 0, 5) * 1000;
        return true;
    }
    if (!p->redirected && one_in(g, s->redirect)) {
        status(s, r, one_in(g, 4) ? 308 : 307, "elsewhere");
        r->to = "http://h/there";
        return true;
    }
    return false;
}

static bool is_refused(struct server *s, const struct post *p, const size_t *m, size_t n,
                       struct reply *r)
{
    if (p->len > s->max_body) {
        status(s, r, 413, "too large");
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        if (s->poison[m[i]]) {
            status(s, r, 400, "bad message");
            return true;
        }
    }
    return false;
}

/* Where the number is not the next one, the answer to it. */
static bool is_out_of_order(struct server *s, const struct post *p, struct reply *r)
{
    if (s->closed) {
        bool same =
            s->closed_by_us && p->close && p->epoch == s->closed_epoch && p->seq == s->closed_seq;
        status(s, r, same ? 204 : 409, same ? "closed so before" : "closed");
        if (same)
            echo(s, r);
        r->closed = r->next = true;
        r->offset = s->n;
        return true;
    }
    if (s->has && p->epoch < s->epoch) {
        status(s, r, 403, "fenced");
        r->echo = true;
        r->epoch = s->epoch;
        return true;
    }
    if (s->has && p->epoch > s->epoch) {
        if (p->seq == 0)
            return false;
        status(s, r, 400, "a new epoch begins at 0");
        return true;
    }
    uint64_t due = s->has ? s->last + 1 : 0;
    if (p->seq == due)
        return false;
    status(s, r, p->seq < due ? 204 : 409, p->seq < due ? "duplicate" : "gap");
    if (p->seq < due) {
        echo(s, r);
    } else {
        r->expects = true;
        r->expected = due;
    }
    return true;
}

static void append(struct server *s, const struct post *p, const size_t *m, size_t n,
                   struct reply *r)
{
    store(s, m, n);
    s->has = true;
    s->epoch = p->epoch;
    s->last = p->seq;
    if (p->close) {
        s->closed = s->closed_by_us = true;
        s->closed_epoch = p->epoch;
        s->closed_seq = p->seq;
    }
    bool quiet = p->close && (n == 0 || s->close_204);
    status(s, r, quiet ? 204 : 200, "stored");
    echo(s, r);
    r->stored = true;
}

/* A server that knows no producers appends whatever comes. */
static void append_anyhow(struct server *s, const struct post *p, const size_t *m, size_t n,
                          struct reply *r)
{
    if (s->closed) {
        status(s, r, 409, "closed");
        r->closed = true;
        return;
    }
    store(s, m, n);
    s->closed |= p->close;
    status(s, r, 204, "stored, without producers");
    r->next = r->stored = true;
    r->offset = s->n;
}

void server_answer(struct server *s, const struct post *p, struct reply *r)
{
    static const int after[] = {500, 502, 504, 408, 599};
    size_t m[MESSAGES], n = cut(p, s->json, m);
    if (p->head) {
        status(s, r, 200, "asked");
        r->next = true;
        r->closed = s->closed;
        r->offset = s->n;
        return;
    }
    s->bug |= n == SIZE_MAX || (n == 0 && !p->close);
    if (s->bug || fails_before(s, p, r))
        return;
    if (s->no_producers) {
        append_anyhow(s, p, m, n, r);
        return;
    }
    if (s->rival && s->has && p->epoch > s->epoch)
        server_claimed(s);
    if (s->check_first && is_refused(s, p, m, n, r))
        return;
    if (is_out_of_order(s, p, r))
        return;
    if (!s->check_first && is_refused(s, p, m, n, r))
        return;
    if (one_in(&s->rng, s->moved)) {
        if (one_in(&s->rng, 2))
            append(s, p, m, n, r);
        status(s, r, 302, "moved");
        r->to = "http://h/there";
        return;
    }
    append(s, p, m, n, r);
    if (one_in(&s->rng, s->after)) {
        status(s, r, after[draw(&s->rng) % (sizeof after / sizeof *after)], "after");
        r->stored = true;
    }
}

/* --- others ----------------------------------------------------------------------------------- */

void server_claimed(struct server *s)
{
    if (s->closed)
        return;
    /* Farther above than we go, so that they do not meet; unless they are to. */
    uint64_t epoch = (s->has ? s->epoch : 100000) +
                     (uint64_t)(s->near ? between(&s->rng, 1, 4) : between(&s->rng, 2000, 3000));
    if (epoch > DS_EPOCH_MAX)
        return; /* no writer's epoch can be */
    s->epoch = s->foreign = epoch;
    s->has = true;
    s->last = 0;
    add(s, FOREIGN, false);
}

void server_written(struct server *s)
{
    if (s->closed || !s->has || s->epoch != s->foreign)
        return;
    s->last++;
    add(s, FOREIGN, false);
}

void server_closed(struct server *s)
{
    if (s->closed)
        return;
    s->closed = true;
}

void server_forget(struct server *s, bool back)
{
    s->forgot = true;
    s->has = back;
    s->epoch = 1;
    s->last = 7;
}
