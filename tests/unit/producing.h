/* SPDX-License-Identifier: Apache-2.0 */
/* A script of messages and answers, for the producer's state machine. */
#ifndef DS_TESTS_PRODUCING_H
#define DS_TESTS_PRODUCING_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/producer.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define SENT_MAX 64

struct play {
    struct ds_producer_config c;
    struct ds_producer *p;
    int64_t now;
    uint64_t random;
    /* requests, in order */
    size_t requests;
    uint64_t ids[SENT_MAX];
    enum ds_method methods[SENT_MAX];
    char bodies[SENT_MAX][96];
    unsigned long long epochs[SENT_MAX], seqs[SENT_MAX];
    bool close[SENT_MAX];
    /* what was told: a letter for each message, + stored, - not, ? unknown, k kept; and for the
     * close by itself */
    char fates[256];
    struct ds_producer_result last;
    enum dstream_code code; /* of the last one's error */
    size_t results, notices;
    enum dstream_code renumbered; /* why another epoch was taken last */
    int64_t waits_until;
    unsigned aborts, auths;
    bool renews;      /* credentials, when asked for */
    bool left;        /* what is aborted may have reached the server */
    bool not_durable; /* records stay on their way */
};

static inline struct play fixed(bool fresh)
{
    struct play p = {.c = ds_producer_config_default(), .now = 1000000, .left = true};
    p.c.url = "http://h/s";
    p.c.content_type = "text/plain";
    p.c.id = "p";
    p.c.fixed = true;
    p.c.fresh = fresh;
    p.c.epoch = 7;
    p.c.linger = 0;
    return p;
}

static inline void begin(struct play *p)
{
    struct dstream_error err = {0};
    cr_assert_eq(ds_producer_new(&p->p, &p->c, p->now, &err), DSTREAM_OK, "%s", err.message);
}

static inline void end(struct play *p)
{
    ds_producer_free(p->p);
}

static inline void note(struct play *p, const struct ds_producer_step *s)
{
    const struct ds_request *r = &s->u.request;
    size_t i = p->requests++;
    cr_assert_lt(i, SENT_MAX);
    cr_assert_lt(r->body_len, sizeof p->bodies[i]);
    p->ids[i] = s->id;
    p->methods[i] = r->method;
    memset(p->bodies[i], 0, sizeof p->bodies[i]);
    if (r->body_len > 0)
        memcpy(p->bodies[i], r->body, r->body_len);
    for (size_t k = 0; k < r->nheaders; k++) {
        const char *h = r->headers[k];
        if (strncmp(h, "Producer-Epoch: ", 16) == 0)
            p->epochs[i] = strtoull(h + 16, NULL, 10);
        if (strncmp(h, "Producer-Seq: ", 14) == 0)
            p->seqs[i] = strtoull(h + 14, NULL, 10);
        p->close[i] |= strcmp(h, "Stream-Closed: true") == 0;
    }
}

static inline void hear(struct play *p, const struct ds_producer_result *r)
{
    size_t n = strlen(p->fates);
    uint64_t count = r->count > 0 ? r->count : 1;
    cr_assert_lt(n + count, sizeof p->fates);
    memset(p->fates + n, " +-?k"[r->fate], count);
    p->last = *r;
    p->code = r->error ? r->error->code : DSTREAM_OK;
    cr_assert_eq(r->error == NULL, r->fate == DS_FATE_ACKED);
    p->results++;
}

/* Steps until it waits (true) or is done. */
static inline bool run(struct play *p)
{
    for (;;) {
        struct ds_producer_step s = ds_producer_step(p->p, p->now, p->random);
        switch (s.kind) {
        case DS_PRODUCER_STEP_REQUEST:
            note(p, &s);
            break;
        case DS_PRODUCER_STEP_ABORT:
            p->aborts++;
            ds_producer_aborted(p->p, s.id, p->left);
            break;
        case DS_PRODUCER_STEP_JOURNAL:
            if (!p->not_durable)
                ds_producer_durable(p->p, s.u.record->number);
            break;
        case DS_PRODUCER_STEP_RESULT:
            hear(p, s.u.result);
            ds_producer_told(p->p);
            break;
        case DS_PRODUCER_STEP_AUTH:
            p->auths++;
            ds_producer_auth(p->p, p->renews);
            break;
        case DS_PRODUCER_STEP_NOTICE:
            p->notices++;
            if (s.u.notice.kind == DS_PRODUCER_EPOCH)
                p->renumbered = s.u.notice.error->code;
            break;
        case DS_PRODUCER_STEP_WAIT:
            p->waits_until = s.u.until;
            return true;
        case DS_PRODUCER_STEP_DONE:
            return false;
        }
    }
}

/* Time passes, and then it steps. */
static inline bool pass(struct play *p, int64_t ms)
{
    p->now += ms;
    return run(p);
}

static inline void append(struct play *p, const char *m)
{
    struct dstream_error err = {0};
    uint64_t id;
    cr_assert_eq(ds_producer_append(p->p, m, strlen(m), 0, p->now, &id, &err), DS_APPEND_TAKEN,
                 "%s", err.message);
}

/* An answer to request `i`: fields are "name: value" lines; retry_after -1: not said. */
static inline void answer_later(struct play *p, size_t i, int status, const char *fields,
                                int64_t retry_after)
{
    struct ds_head h = {.status = status, .retry_after_ms = retry_after};
    struct ds_result r = {.end = DS_END_COMPLETE, .connected = true};
    ds_buf_init(&h.fields, 4096);
    for (const char *s = fields; *s; s += strcspn(s, "\n"), s += *s == '\n') {
        size_t name = strcspn(s, ":"), n = strcspn(s, "\n");
        ds_head_add(&h, s, name, s + name + 2, n - name - 2);
    }
    ds_producer_head(p->p, p->ids[i], &h, p->now);
    ds_head_free(&h);
    ds_producer_end(p->p, p->ids[i], &r);
}

static inline void answer(struct play *p, size_t i, int status, const char *fields)
{
    answer_later(p, i, status, fields, -1);
}

/* As a server does that has stored request `i`: 200, or 204. */
static inline void stores_as(struct play *p, size_t i, int status)
{
    char fields[256];
    snprintf(fields, sizeof fields, "Producer-Epoch: %llu\nProducer-Seq: %llu\n%s%s", p->epochs[i],
             p->seqs[i], p->close[i] ? "Stream-Closed: true\n" : "", "Stream-Next-Offset: 1\n");
    answer(p, i, status, fields);
}

static inline void stores(struct play *p, size_t i)
{
    stores_as(p, i, 200);
}

/* It ends without an answer; `left`: the server may have it. */
static inline void breaks(struct play *p, size_t i, enum ds_end how, bool left)
{
    struct ds_result r = {.end = how, .connected = left};
    ds_producer_end(p->p, p->ids[i], &r);
}

static inline void lose(struct play *p, size_t i)
{
    breaks(p, i, DS_END_CUT, true);
}

#define sent(p, i, want)                                                                           \
    cr_assert((p)->requests > (i) && strcmp((p)->bodies[i], (want)) == 0, "line %d: %zu, '%s'",    \
              __LINE__, (p)->requests, (p)->bodies[i])
#define told(p, want) cr_assert_str_eq((p)->fates, (want), "line %d: %s", __LINE__, (p)->fates)
#define ends(play, want)                                                                           \
    do {                                                                                           \
        cr_assert_not(run(play), "line %d: goes on", __LINE__);                                    \
        cr_assert_eq(ds_producer_error((play)->p)->code, (want), "line %d: %s", __LINE__,          \
                     ds_producer_error((play)->p)->message);                                       \
    } while (0)

#define STORED "Producer-Epoch: 7\nProducer-Seq: 0\nStream-Next-Offset: 1\n"

#endif
