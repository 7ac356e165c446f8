/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A script of requests and answers, for the reader's state machine. A scenario is run many times:
 * its bodies fed whole, byte by byte, and cut at each place in turn; what comes of it must not
 * depend on that.
 */
#ifndef DS_TESTS_PLAYING_H
#define DS_TESTS_PLAYING_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "reader/reader.h"

#define BASE "http://h/s"

struct play {
    struct ds_reader *r;
    struct ds_reader_config config;
    int64_t now;
    uint64_t random;
    size_t piece,
        at;         /* how bodies are cut: pieces of so many bytes, or once at a place; 0: whole */
    unsigned asked; /* requests so far */
    bool in_flight; /* a request is under way */
    char url[2048]; /* of it */
    bool own_headers;
    bool aborted;
    struct ds_buf data; /* all payload that was delivered */
    char batch[4096];   /* the last one: "start+skip>next flags" */
    unsigned batches;
    char notices[256]; /* a letter each */
    enum dstream_code notice_code;
    int64_t notice_delay;
    unsigned auth_asked;
    bool renews; /* credentials, when asked for */
    bool hold;   /* batches are left on offer */
};

static inline void begin(struct play *p)
{
    struct dstream_error err = {0};
    p->now = 1000000;
    ds_buf_init(&p->data, 1 << 24);
    enum dstream_code rc = ds_reader_new(&p->r, &p->config, &err);
    cr_assert_eq(rc, DSTREAM_OK, "%s", err.message);
}

static inline void end(struct play *p)
{
    ds_reader_free(p->r);
    ds_buf_free(&p->data);
}

static inline void note(struct play *p, const struct ds_notice *n)
{
    static const char letters[] = "rcfplgsw";
    size_t len = strlen(p->notices);
    if (len + 1 < sizeof p->notices) {
        p->notices[len] = letters[n->kind];
        p->notices[len + 1] = '\0';
    }
    if (n->kind == DS_NOTICE_RETRY) {
        p->notice_code = n->error->code;
        p->notice_delay = n->delay;
    }
}

static inline void take(struct play *p, const struct dstream_batch *b)
{
    const struct ds_items *it = b->items;
    ds_buf_add(&p->data, it->bytes.len > b->first_byte ? it->bytes.data + b->first_byte : "",
               it->bytes.len - b->first_byte);
    snprintf(p->batch, sizeof p->batch, "%s+%llu>%s%s%s%s%s", b->start, (unsigned long long)b->skip,
             b->next, b->flags & DSTREAM_BATCH_UP_TO_DATE ? " utd" : "",
             b->flags & DSTREAM_BATCH_CLOSED ? " closed" : "",
             b->flags & DSTREAM_BATCH_LOSSY ? " lossy" : "", b->cursor[0] ? " c" : "");
    p->batches++;
    ds_reader_ack(p->r, p->now);
}

/* Steps until it waits or is done. */
static inline struct ds_step settle(struct play *p)
{
    for (unsigned guard = 0; guard < 10000; guard++) {
        struct ds_step s = ds_reader_step(p->r, p->now, p->random);
        switch (s.kind) {
        case DS_STEP_REQUEST:
            cr_assert(!p->in_flight, "a second request: %s", s.u.request.url);
            p->in_flight = true;
            p->asked++;
            p->aborted = false;
            p->own_headers = s.u.request.send_user_headers;
            snprintf(p->url, sizeof p->url, "%s %s", s.u.request.method == DS_HEAD ? "HEAD" : "GET",
                     s.u.request.url);
            return s;
        case DS_STEP_ABORT:
            cr_assert(p->in_flight, "nothing to abort");
            p->in_flight = false;
            p->aborted = true;
            break;
        case DS_STEP_DELIVER:
            if (p->hold)
                return s;
            take(p, s.u.batch);
            break;
        case DS_STEP_NOTICE:
            note(p, &s.u.notice);
            break;
        case DS_STEP_AUTH:
            p->auth_asked++;
            ds_reader_auth(p->r, p->renews);
            break;
        case DS_STEP_WAIT:
            cr_assert(s.u.until > p->now, "waits until a time that has come");
            return s;
        case DS_STEP_DONE:
            cr_assert(!p->in_flight, "done with a request under way");
            return s;
        }
    }
    cr_assert_fail("it never comes to rest");
    return (struct ds_step){0};
}

#define asks(p, want) asks_at((p), (want), __LINE__)
/* The next thing it does, without waiting, is this request. */
static inline void asks_at(struct play *p, const char *want, int line)
{
    if (!p->in_flight)
        settle(p);
    char full[2048];
    if (strncmp(want, "HEAD ", 5) == 0 || strncmp(want, "GET ", 4) == 0)
        snprintf(full, sizeof full, "%s", want);
    else
        snprintf(full, sizeof full, "GET " BASE "?%s", want);
    cr_assert(p->in_flight, "line %d: no request, wanted %s; error %s", line, full,
              ds_reader_error(p->r)->message);
    cr_assert_str_eq(p->url, full, "line %d: %s", line, p->url);
}

#define waits(p, least, most) waits_at((p), (least), (most), __LINE__)
/* It waits so long before the next request, and the time passes. */
static inline void waits_at(struct play *p, int64_t least, int64_t most, int line)
{
    struct ds_step s = settle(p);
    cr_assert_eq(s.kind, DS_STEP_WAIT, "line %d: does not wait (%d): %s", line, (int)s.kind,
                 ds_reader_error(p->r)->message);
    cr_assert(!p->in_flight, "line %d: a request is under way", line);
    int64_t wait = s.u.until - p->now;
    cr_assert(wait >= least && wait <= most, "line %d: waits %lld ms", line, (long long)wait);
    p->now = s.u.until;
}

#define ends(p, want) ends_at((p), (want), __LINE__)
static inline void ends_at(struct play *p, enum dstream_code want, int line)
{
    struct ds_step s = settle(p);
    const struct dstream_error *e = ds_reader_error(p->r);
    cr_assert_eq(s.kind, DS_STEP_DONE, "line %d: goes on (%d %s)", line, (int)s.kind, p->url);
    cr_assert_eq(e->code, want, "line %d: %s: %s", line, dstream_code_name(e->code), e->message);
    if (want != DSTREAM_OK) {
        cr_assert(e->message[0], "line %d: no message", line);
        cr_assert_str_eq(e->url, BASE, "line %d", line);
    }
}

/* A head from "name: value" lines. */
static inline void head(struct play *p, int status, const char *fields)
{
    struct ds_head h = {.status = status, .retry_after_ms = -1};
    ds_buf_init(&h.fields, 1 << 16);
    char redirect[512] = "";
    for (const char *s = fields; *s;) {
        size_t n = strcspn(s, "\n"), name = strcspn(s, ":");
        const char *value = s + name + 2;
        size_t len = n - name - 2;
        if (strncmp(s, "retry-after", name) == 0)
            sscanf(value, "%lld", (long long *)&h.retry_after_ms);
        else if (strncmp(s, "location", name) == 0)
            snprintf(redirect, sizeof redirect, "%.*s", (int)len, value);
        else
            ds_head_add(&h, s, name, value, len);
        s += n + (s[n] == '\n');
    }
    h.redirect = redirect[0] ? redirect : NULL;
    ds_reader_connected(p->r, p->now);
    ds_reader_head(p->r, &h, p->now);
    ds_head_free(&h);
}

/* Feeds one piece as a driver does: what is not used is fed again after a step. */
static inline void feed(struct play *p, const char *s, size_t n)
{
    unsigned asked = p->asked;
    while (n > 0 && p->in_flight && p->asked == asked) {
        size_t used = ds_reader_body(p->r, s, n, p->now);
        cr_assert_leq(used, n);
        s += used;
        n -= used;
        if (!p->hold)
            settle(p);
        else if (n > 0)
            break;
    }
}

static inline void body_n(struct play *p, const char *s, size_t n)
{
    unsigned asked = p->asked;
    size_t piece = p->piece ? p->piece : n;
    if (p->at > 0 && p->at < n) {
        feed(p, s, p->at);
        s += p->at;
        n -= p->at;
    }
    for (size_t i = 0; i < n && p->asked == asked; i += piece)
        feed(p, s + i, piece < n - i ? piece : n - i);
}

static inline void body(struct play *p, const char *s)
{
    body_n(p, s, strlen(s));
}

static inline void over(struct play *p, enum ds_end how)
{
    struct ds_result res = {.end = how, .connected = true, .detail = "so it went"};
    if (!p->in_flight)
        return;
    p->in_flight = false;
    ds_reader_end(p->r, &res, p->now);
}

static inline void answers(struct play *p, int status, const char *fields, const char *text)
{
    unsigned asked = p->asked;
    cr_assert(p->in_flight);
    head(p, status, fields);
    if (text[0])
        body(p, text);
    /* It may have been cancelled by then, and another one be under way. */
    if (p->asked == asked)
        over(p, DS_END_COMPLETE);
}

static inline void fails(struct play *p, enum ds_end how)
{
    cr_assert(p->in_flight);
    over(p, how);
}

static inline void opens_sse(struct play *p, const char *more)
{
    char fields[256];
    snprintf(fields, sizeof fields, "content-type: text/event-stream\n%s", more);
    cr_assert(p->in_flight);
    head(p, 200, fields);
    settle(p);
}

#define got(p, want)                                                                               \
    cr_assert_eq(0, strcmp(ds_buf_str(&(p)->data), (want)), "line %d: got %s", __LINE__,           \
                 ds_buf_str(&(p)->data))
#define last(p, want) cr_assert_str_eq((p)->batch, (want), "line %d: %s", __LINE__, (p)->batch)

static inline struct play new_play(void)
{
    struct play p = {.config = {.url = BASE, .offset = "-1", .limits = ds_limits_default()}};
    p.config.limits.replica_lag = 0;
    return p;
}

static inline void run_all(void (*scenario)(struct play *), void (*set)(struct ds_reader_config *))
{
    for (size_t i = 0; i < 90; i++) {
        struct play p = new_play();
        p.piece = i >= 1 && i <= 3 ? i : 0;
        p.at = i > 3 ? i - 3 : 0;
        if (set)
            set(&p.config);
        begin(&p);
        scenario(&p);
        end(&p);
    }
}

#define SCENARIO(suite, name, set)                                                                 \
    static void suite##_##name(struct play *p);                                                    \
    Test(suite, name)                                                                              \
    {                                                                                              \
        run_all(suite##_##name, set);                                                              \
    }                                                                                              \
    static void suite##_##name(struct play *p)

#define JSON    "content-type: application/json\n"
#define TEXT    "content-type: text/plain; charset=utf-8\n"
#define BIN     "content-type: application/octet-stream\n"
#define NEXT(o) "stream-next-offset: " o "\n"
#define UTD     "stream-up-to-date: true\n"
#define END     "stream-closed: TRUE\n"
#define CUR(c)  "stream-cursor: " c "\n"

static inline void live_auto(struct ds_reader_config *c)
{
    c->live = DSTREAM_LIVE_AUTO;
}

static inline void live_sse(struct ds_reader_config *c)
{
    c->live = DSTREAM_LIVE_SSE;
}

static inline void live_poll(struct ds_reader_config *c)
{
    c->live = DSTREAM_LIVE_LONG_POLL;
}

static inline void from_now(struct ds_reader_config *c)
{
    live_auto(c);
    c->offset = "now";
}

#endif
