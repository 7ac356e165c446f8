/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered batches: what the store makes of them, and what is answered. */
#include <criterion/criterion.h>

#include "devserver/producers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "devserver/api.h"
#include "tests/unit/storing.h"

#define MAX  1000000
#define SAFE ((UINT64_C(1) << 53) - 1)

/* What a batch deserves, from each state. */
Test(devserver_producer, batches_are_judged)
{
    static const struct {
        uint64_t epoch, seq; /* the last batch stored; seq SAFE + 1: none was */
        uint64_t new_epoch, new_seq;
        enum ds_stored rc;
        uint64_t known;
    } row[] = {
        {0, SAFE + 1, 0, 0, DS_STORED_OK, 0},
        {0, SAFE + 1, 7, 0, DS_STORED_OK, 0},
        {0, SAFE + 1, SAFE, 0, DS_STORED_OK, 0},
        {0, SAFE + 1, 0, 1, DS_STORED_GAP, 0},
        {0, SAFE + 1, 0, SAFE, DS_STORED_GAP, 0},
        {0, SAFE + 1, 7, 3, DS_STORED_GAP, 0},
        {5, 0, 5, 0, DS_STORED_DUPLICATE, 0},
        {5, 0, 5, 1, DS_STORED_OK, 1},
        {5, 0, 5, 2, DS_STORED_GAP, 1},
        {5, 9, 5, 0, DS_STORED_DUPLICATE, 9},
        {5, 9, 5, 8, DS_STORED_DUPLICATE, 9},
        {5, 9, 5, 9, DS_STORED_DUPLICATE, 9},
        {5, 9, 5, 10, DS_STORED_OK, 10},
        {5, 9, 5, 11, DS_STORED_GAP, 10},
        {5, 9, 5, SAFE, DS_STORED_GAP, 10},
        {5, 9, 4, 10, DS_STORED_FENCED, 5},
        {5, 9, 4, 0, DS_STORED_FENCED, 5},
        {5, 9, 0, 0, DS_STORED_FENCED, 5},
        {5, 9, 6, 0, DS_STORED_OK, 0},
        {5, 9, SAFE, 0, DS_STORED_OK, 0},
        {5, 9, 6, 1, DS_STORED_EPOCH, 0},
        {5, 9, 6, 10, DS_STORED_EPOCH, 0},
        {5, SAFE, 5, SAFE, DS_STORED_DUPLICATE, SAFE},
        {SAFE, 0, SAFE, 1, DS_STORED_OK, 1},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_producers *ps = ds_producers_new();
        size_t cost;
        struct ds_producer last = {.id = "p", .epoch = row[i].epoch, .seq = row[i].seq};
        struct ds_producer next = {.id = "p", .epoch = row[i].new_epoch, .seq = row[i].new_seq};
        if (last.seq <= SAFE)
            ds_producers_commit(ps, ds_producers_prepare(ps, "p", &cost), &last, NOW);
        cr_expect_eq(ds_producers_judge(ps, &next, NOW), row[i].rc, "row %zu", i);
        cr_expect_eq(next.known, row[i].known, "row %zu: %llu", i, (unsigned long long)next.known);
        ds_producers_free(ps);
    }
}

/* One producer's life on one stream: what is stored, and what stays as it was. */
Test(devserver_producer, the_state_moves_with_the_data_only)
{
    static const struct {
        const char *id;
        uint64_t epoch, seq;
        const char *type, *stream_seq, *body;
        enum ds_stored rc;
        const char *stored;
    } row[] = {
        {"a", 0, 0, "application/json", NULL, "[1,", DS_STORED_JSON, ""},
        {"a", 0, 0, "application/json", NULL, "[]", DS_STORED_EMPTY, ""},
        {"a", 0, 0, "text/plain", NULL, "1", DS_STORED_TYPE, ""},
        {"a", 0, 0, "application/json", NULL, "[1,2]", DS_STORED_OK, "1,2,"},
        {"a", 0, 0, "application/json", NULL, "[9]", DS_STORED_DUPLICATE, "1,2,"},
        /* A duplicate is one whatever its body, but the type is looked at first. */
        {"a", 0, 0, "application/json", NULL, "[", DS_STORED_DUPLICATE, "1,2,"},
        {"a", 0, 0, "text/plain", NULL, "[1,2]", DS_STORED_TYPE, "1,2,"},
        {"a", 0, 2, "application/json", NULL, "3", DS_STORED_GAP, "1,2,"},
        {"b", 0, 0, "application/json", "m", "3", DS_STORED_OK, "1,2,3,"},
        /* Stream-Seq is looked at behind the producer's number. */
        {"b", 0, 0, "application/json", "m", "3", DS_STORED_DUPLICATE, "1,2,3,"},
        {"b", 0, 1, "application/json", "m", "4", DS_STORED_SEQ, "1,2,3,"},
        {"b", 0, 2, "application/json", "m", "4", DS_STORED_GAP, "1,2,3,"},
        {"b", 0, 1, "application/json", "n", "4", DS_STORED_OK, "1,2,3,4,"},
        {"a", 0, 1, "application/json", NULL, "[1", DS_STORED_JSON, "1,2,3,4,"},
        {"a", 0, 1, "application/json", NULL, "5", DS_STORED_OK, "1,2,3,4,5,"},
        /* A new epoch whose first batch is not stored has not begun. */
        {"a", 3, 0, "application/json", NULL, "[1", DS_STORED_JSON, "1,2,3,4,5,"},
        {"a", 0, 2, "application/json", NULL, "6", DS_STORED_OK, "1,2,3,4,5,6,"},
        {"a", 3, 1, "application/json", NULL, "7", DS_STORED_EPOCH, "1,2,3,4,5,6,"},
        {"a", 3, 0, "application/json", NULL, "7", DS_STORED_OK, "1,2,3,4,5,6,7,"},
        {"a", 0, 3, "application/json", NULL, "8", DS_STORED_FENCED, "1,2,3,4,5,6,7,"},
        {"a", 0, 2, "application/json", NULL, "6", DS_STORED_FENCED, "1,2,3,4,5,6,7,"},
        /* Names are bytes. */
        {"A", 0, 0, "application/json", NULL, "8", DS_STORED_OK, "1,2,3,4,5,6,7,8,"},
    };
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "application/json");
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_producer p = {.id = row[i].id, .epoch = row[i].epoch, .seq = row[i].seq};
        struct ds_append a = {.type = row[i].type,
                              .seq = row[i].stream_seq,
                              .body = row[i].body,
                              .body_len = strlen(row[i].body),
                              .producer = &p};
        cr_expect_eq(ds_store_append(st, s, &a, NOW), row[i].rc, "row %zu", i);
        cr_assert_eq(s->data.bytes.len, strlen(row[i].stored), "row %zu", i);
        if (*row[i].stored)
            cr_expect_arr_eq(s->data.bytes.data, row[i].stored, strlen(row[i].stored));
    }
    ds_store_free(st);
}

static enum ds_stored put(struct ds_store *st, struct ds_stream *s, const char *id, uint64_t epoch,
                          uint64_t seq, int64_t now)
{
    struct ds_producer p = {.id = id, .epoch = epoch, .seq = seq};
    struct ds_append a = {.type = s->type, .body = "x", .body_len = 1, .producer = &p};
    return ds_store_append(st, s, &a, now);
}

Test(devserver_producer, streams_know_nothing_of_each_others_producers)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "a/b"), *t = make(st, "/t", "a/b");
    cr_expect_eq(put(st, s, "p", 5, 0, NOW), DS_STORED_OK);
    cr_expect_eq(put(st, t, "p", 0, 0, NOW), DS_STORED_OK);
    cr_expect_eq(put(st, s, "p", 0, 0, NOW), DS_STORED_FENCED);
    ds_store_delete(st, s);
    s = make(st, "/s", "a/b"); /* made anew, it knows nobody */
    cr_expect_eq(put(st, s, "p", 0, 0, NOW), DS_STORED_OK);
    ds_store_free(st);
}

/* How a closed stream answers, closed in each way. */
Test(devserver_producer, only_the_batch_that_closed_is_known_once_closed)
{
    static const struct {
        bool body, numbered; /* of the request that closes: as ("p", 1, 1) */
        const char *id;
        uint64_t epoch, seq;
        enum ds_stored rc;
    } row[] = {
        {true, true, "p", 1, 1, DS_STORED_DUPLICATE}, {false, true, "p", 1, 1, DS_STORED_DUPLICATE},
        {true, true, "p", 1, 0, DS_STORED_CLOSED},    {false, true, "p", 1, 0, DS_STORED_CLOSED},
        {true, true, "p", 1, 2, DS_STORED_CLOSED},    {true, true, "p", 2, 0, DS_STORED_CLOSED},
        {true, true, "p", 0, 0, DS_STORED_CLOSED},    {true, true, "q", 1, 1, DS_STORED_CLOSED},
        {true, true, "q", 0, 0, DS_STORED_CLOSED},    {true, true, NULL, 0, 0, DS_STORED_CLOSED},
        {true, false, "p", 1, 1, DS_STORED_CLOSED},   {true, false, "p", 1, 0, DS_STORED_CLOSED},
        {false, false, "p", 1, 1, DS_STORED_CLOSED},  {false, false, "p", 0, 0, DS_STORED_CLOSED},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s = make(st, "/s", "a/b");
        struct ds_producer p = {.id = "p", .epoch = 1, .seq = 1}, again = {.id = row[i].id};
        struct ds_append a = {.type = "a/b", .body = "x", .body_len = 1, .close = true};
        cr_expect_eq(put(st, s, "q", 0, 0, NOW), DS_STORED_OK);
        cr_expect_eq(put(st, s, "p", 1, 0, NOW), DS_STORED_OK);
        a.producer = row[i].numbered ? &p : NULL;
        cr_expect_eq(row[i].body ? ds_store_append(st, s, &a, NOW)
                                 : ds_store_close(st, s, a.producer, NOW),
                     DS_STORED_OK);
        again.epoch = row[i].epoch;
        again.seq = row[i].seq;
        a.producer = again.id ? &again : NULL;
        size_t tail = ds_stream_tail(s);
        for (int64_t at = NOW; at <= NOW + 2 * DS_PRODUCER_AGE; at += 2 * DS_PRODUCER_AGE) {
            /* With and without a body, of whatever type. */
            cr_expect_eq(ds_store_append(st, s, &a, at), row[i].rc, "row %zu", i);
            a.type = "c/d";
            cr_expect_eq(ds_store_append(st, s, &a, at), row[i].rc, "row %zu", i);
            cr_expect_eq(ds_store_close(st, s, a.producer, at), again.id ? row[i].rc : DS_STORED_OK,
                         "row %zu", i);
        }
        cr_expect(row[i].rc != DS_STORED_DUPLICATE || again.known == row[i].seq);
        cr_expect_eq(ds_stream_tail(s), tail);
        ds_store_free(st);
    }
}

/* A close without data takes the next number, and is refused as a batch is. */
Test(devserver_producer, a_mere_close_is_numbered)
{
    static const struct {
        uint64_t epoch, seq;
        enum ds_stored rc;
        uint64_t known;
    } row[] = {
        {1, 1, DS_STORED_OK, 1},     {1, 0, DS_STORED_DUPLICATE, 0}, {1, 2, DS_STORED_GAP, 1},
        {0, 0, DS_STORED_FENCED, 1}, {2, 0, DS_STORED_OK, 0},        {2, 1, DS_STORED_EPOCH, 0},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s = make(st, "/s", "a/b");
        struct ds_producer p = {.id = "p", .epoch = row[i].epoch, .seq = row[i].seq};
        put(st, s, "p", 1, 0, NOW);
        cr_expect_eq(ds_store_close(st, s, &p, NOW), row[i].rc, "row %zu", i);
        cr_expect_eq(p.known, row[i].known, "row %zu", i);
        cr_expect_eq(s->closed, row[i].rc == DS_STORED_OK, "row %zu", i);
        cr_expect(s->closed || put(st, s, "p", 1, 1, NOW) == DS_STORED_OK);
        ds_store_free(st);
    }
}

Test(devserver_producer, an_idle_one_is_forgotten_in_time)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "a/b");
    int64_t later = NOW + DS_PRODUCER_AGE;
    cr_expect_eq(put(st, s, "a", 3, 0, NOW), DS_STORED_OK);
    cr_expect_eq(put(st, s, "b", 3, 0, NOW + 1), DS_STORED_OK);
    cr_expect_eq(put(st, s, "c", 3, 0, NOW + 2), DS_STORED_OK);
    size_t all = ds_producers_size(s->producers);
    /* What is stored is heard of; a duplicate is not news. */
    cr_expect_eq(put(st, s, "b", 3, 1, NOW + 3), DS_STORED_OK);
    cr_expect_eq(put(st, s, "c", 3, 0, NOW + 4), DS_STORED_DUPLICATE);
    cr_expect_eq(put(st, s, "a", 3, 0, later), DS_STORED_DUPLICATE);
    cr_expect_eq(put(st, s, "a", 3, 1, later + 1), DS_STORED_GAP);
    cr_expect_lt(ds_producers_size(s->producers), all);
    cr_expect_eq(put(st, s, "a", 0, 0, later + 1), DS_STORED_OK);
    cr_expect_eq(put(st, s, "c", 3, 0, later + 2), DS_STORED_DUPLICATE);
    cr_expect_eq(put(st, s, "c", 0, 0, later + 3), DS_STORED_OK);
    cr_expect_eq(put(st, s, "b", 3, 1, later + 3), DS_STORED_DUPLICATE);
    cr_expect_eq(put(st, s, "b", 0, 0, later + 4), DS_STORED_OK);
    ds_store_free(st);
}

/* One that is older than those behind it is forgotten as well. */
Test(devserver_producer, a_clock_that_is_set_back)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "a/b");
    int64_t later = NOW + DS_PRODUCER_AGE;
    cr_expect_eq(put(st, s, "a", 3, 0, NOW + 1000), DS_STORED_OK);
    cr_expect_eq(put(st, s, "b", 3, 0, NOW), DS_STORED_OK);
    cr_expect_eq(put(st, s, "b", 3, 0, later), DS_STORED_DUPLICATE);
    cr_expect_eq(put(st, s, "b", 0, 0, later + 1), DS_STORED_OK);
    cr_expect_eq(put(st, s, "b", 0, 0, later + 2000), DS_STORED_DUPLICATE);
    cr_expect_eq(put(st, s, "a", 0, 0, later + 2000), DS_STORED_OK);
    ds_store_free(st);
}

Test(devserver_producer, many_are_told_apart)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "a/b");
    char id[32];
    for (uint64_t seq = 0; seq < 3; seq++) {
        for (int i = 0; i < 3000; i++) {
            snprintf(id, sizeof id, "producer-%d", i);
            cr_assert_eq(put(st, s, id, 1, seq, NOW), DS_STORED_OK, "%s", id);
            cr_assert_eq(put(st, s, id, 1, seq, NOW), DS_STORED_DUPLICATE, "%s", id);
            cr_assert_eq(put(st, s, id, 1, seq + 2, NOW), DS_STORED_GAP, "%s", id);
        }
    }
    cr_expect_eq(ds_stream_tail(s), 9000);
    ds_store_free(st);
}

/* Nobody is forgotten for want of room: a new one is refused, and the old ones go on. */
Test(devserver_producer, they_count_against_the_bound)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "a/b"), *t = make(st, "/t", "a/b");
    char id[32];
    enum ds_stored rc = DS_STORED_OK;
    int n = 0;
    for (; rc == DS_STORED_OK && n < MAX; n++) {
        snprintf(id, sizeof id, "producer-%d", n);
        rc = put(st, s, id, 1, 0, NOW);
    }
    cr_expect_eq(rc, DS_STORED_FULL);
    cr_expect_gt(n, 1000);
    cr_expect_lt(ds_producers_size(s->producers), MAX);
    cr_expect_eq(ds_stream_tail(s), (size_t)n - 1);
    cr_expect_eq(put(st, s, "producer-0", 1, 1, NOW), DS_STORED_OK);
    cr_expect_eq(put(st, s, "producer-0", 1, 1, NOW), DS_STORED_DUPLICATE);
    /* What has expired makes room, on any stream. */
    cr_expect_eq(put(st, t, "q", 1, 0, NOW), DS_STORED_FULL);
    cr_expect_eq(put(st, t, "q", 1, 0, NOW + DS_PRODUCER_AGE + 1), DS_STORED_OK);
    /* And the sum is right: with everything gone there is as much room as in a new store. */
    ds_store_delete(st, s);
    ds_store_delete(st, t);
    s = make(st, "/s", "a/b");
    for (n = 0, rc = DS_STORED_OK; rc == DS_STORED_OK; n++) {
        snprintf(id, sizeof id, "producer-%d", n);
        rc = put(st, s, id, 1, 0, NOW);
    }
    cr_expect_gt(n, 1000);
    ds_store_free(st);
}

/* Room is kept count of through every kind of change: an account of all streams of a life. */
Test(devserver_producer, the_account_is_even)
{
    struct ds_store *st = new_store(MAX);
    char *big = calloc(1, MAX);
    char id[32];
    for (int round = 0; round < 50; round++) {
        struct ds_stream *s = make(st, "/s", "a/b");
        int64_t now = NOW + round * (DS_PRODUCER_AGE / 20);
        for (int i = 0; i < 100; i++) {
            snprintf(id, sizeof id, "p%d", i * (round + 1));
            put(st, s, id, 1, 0, now);
            put(st, s, id, 0, 0, now);
            put(st, s, id, 1, 5, now + DS_PRODUCER_AGE / 50 * i);
        }
        struct ds_producer p = {.id = id, .epoch = 2, .seq = 0};
        if (round % 2)
            ds_store_close(st, s, &p, now);
        ds_store_delete(st, s);
    }
    struct ds_stream *s = make(st, "/s", "a/b");
    struct ds_append a = {.type = "a/b", .body = big, .body_len = MAX - 1000};
    cr_expect_eq(ds_store_append(st, s, &a, NOW), DS_STORED_OK);
    ds_store_free(st);
    free(big);
}

Test(devserver_producer, without_memory_nothing_changes)
{
    bool whole = false;
    for (long n = 0; !whole; n++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s = make(st, "/s", "application/json");
        struct ds_producer p = {.id = "p", .epoch = 1, .seq = 0};
        struct ds_append a = {
            .type = s->type, .seq = "1", .body = "[[1],[2]]", .body_len = 9, .producer = &p};
        ds_alloc_fail_after(n);
        enum ds_stored rc = ds_store_append(st, s, &a, NOW);
        ds_alloc_fail_after(-1);
        whole = rc == DS_STORED_OK;
        cr_expect(whole || rc == DS_STORED_NOMEM);
        cr_expect_eq(s->data.count, whole ? 2 : 0);
        cr_expect_eq(ds_store_append(st, s, &a, NOW), whole ? DS_STORED_DUPLICATE : DS_STORED_OK);
        ds_store_free(st);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

struct step {
    const char *numbers; /* id, epoch, seq and "c" to close, between spaces; "-": missing */
    const char *type, *body;
    int status;
    const char *has[6]; /* names of fields and their values, in pairs; NULL value: missing */
};

/* A request's headers, cut out of a step. */
struct request {
    char id[64], epoch[64], seq[64];
    bool close;
    const char *type;
};

static const char *lookup(void *ctx, const char *name)
{
    const struct request *q = ctx;
    const char *v = strcasecmp(name, "Producer-Id") == 0      ? q->id
                    : strcasecmp(name, "Producer-Epoch") == 0 ? q->epoch
                    : strcasecmp(name, "Producer-Seq") == 0   ? q->seq
                    : strcasecmp(name, "Content-Type") == 0   ? q->type
                    : strcasecmp(name, "Stream-Closed") == 0  ? (q->close ? "true" : NULL)
                                                              : NULL;
    return v && strcmp(v, "-") != 0 ? (strcmp(v, "''") == 0 ? "" : v) : NULL;
}

static void check(struct ds_api *api, const struct step *s, const char *path, size_t line)
{
    struct request q = {.type = s->type};
    char c[8] = "";
    struct ds_target t;
    struct ds_reply r;
    sscanf(s->numbers, "%63s %63s %63s %7s", q.id, q.epoch, q.seq, c);
    q.close = strcmp(c, "c") == 0;
    cr_assert_eq(ds_target_parse(&t, path), DSTREAM_OK);
    struct ds_call call = {.method = "POST",
                           .target = &t,
                           .header = lookup,
                           .ctx = &q,
                           .base = "http://h",
                           .body = s->body,
                           .body_len = s->body ? strlen(s->body) : 0,
                           .now = NOW};
    ds_api_answer(api, &call, &r);
    cr_expect_eq(r.status, s->status, "line %zu: %s: %d: %s", line, s->numbers, r.status, r.text);
    for (size_t i = 0; i < COUNT(s->has) && s->has[i]; i += 2) {
        const char *got = field(&r, s->has[i]), *want = s->has[i + 1];
        cr_expect(want ? got && strcmp(got, want) == 0 : !got, "line %zu: %s: %s", line, s->has[i],
                  got ? got : "missing");
    }
    ds_reply_free(&r);
    ds_target_free(&t);
}

#define T       "text/plain"
#define NEXT(n) "Stream-Next-Offset", "0000000000000000_00000000000000" n
#define NO_NEXT "Stream-Next-Offset", NULL
#define EPOCH   "Producer-Epoch"
#define SEQ     "Producer-Seq"
#define CLOSED  "Stream-Closed", "true"
#define OPEN    "Stream-Closed", NULL
#define DUE     "Producer-Expected-Seq"
#define CAME    "Producer-Received-Seq"

static void run(const struct step *steps, size_t n)
{
    struct ds_api api = {.store = new_store(MAX), .page = 100, .random = 1, .boot = 1};
    make(api.store, "/s", T);
    for (size_t i = 0; i < n; i++)
        check(&api, &steps[i], "/s", i + 1);
    ds_store_free(api.store);
}

Test(devserver_producer, what_is_answered)
{
    static const struct step steps[] = {
        {"p 1 0", T, "abc", 200, {NEXT("03"), EPOCH, "1", SEQ, "0"}},
        {"p 1 1", T, "d", 200, {NEXT("04"), SEQ, "1", OPEN}},
        {"p 1 0", T, "abc", 204, {NO_NEXT, EPOCH, "1", SEQ, "1"}},
        {"p 1 3", T, "x", 409, {DUE, "2", CAME, "3", OPEN}},
        {"p 0 2", T, "x", 403, {EPOCH, "1", SEQ, NULL, NO_NEXT}},
        {"p 2 1", T, "x", 400, {EPOCH, NULL, DUE, NULL, NO_NEXT}},
        {"p 2 0", T, "e", 200, {NEXT("05"), EPOCH, "2", SEQ, "0"}},
        {"q 9 4", T, "x", 409, {DUE, "0", CAME, "4", EPOCH, NULL}},
        {"p 2 1", "text/html", "x", 409, {DUE, NULL, OPEN, EPOCH, NULL}},
        {"p 2 1", NULL, "x", 400, {EPOCH, NULL}},
        {"p 2 1", T, "", 400, {EPOCH, NULL}},
        /* A close under a number that is taken closes nothing, and does not say so. */
        {"p 2 0 c", NULL, "", 204, {NEXT("05"), OPEN, SEQ, "0"}},
        {"p 2 0 c", T, "x", 204, {NO_NEXT, OPEN, SEQ, "0"}},
        {"p 2 9 c", NULL, "", 409, {DUE, "1", CAME, "9", OPEN}},
        {"p 1 9 c", NULL, "", 403, {EPOCH, "2", OPEN}},
        {"p 3 9 c", NULL, "", 400, {OPEN}},
        {"p 2 1 c", T, "f", 200, {NEXT("06"), CLOSED, SEQ, "1"}},
        {"p 2 1 c", T, "f", 204, {NEXT("06"), CLOSED, SEQ, "1"}},
        {"p 2 1 c", T, "other", 204, {NEXT("06"), CLOSED, SEQ, "1"}},
        {"p 2 1 c", NULL, "", 204, {NEXT("06"), CLOSED, SEQ, "1"}},
        {"p 2 1", T, "f", 204, {NEXT("06"), CLOSED, SEQ, "1"}},
        {"p 2 0", T, "e", 409, {NEXT("06"), CLOSED, EPOCH, NULL}},
        {"p 2 2 c", NULL, "", 409, {NEXT("06"), CLOSED, DUE, NULL}},
        {"p 1 0", T, "x", 409, {NEXT("06"), CLOSED, EPOCH, NULL}},
        {"q 0 0 c", NULL, "", 409, {NEXT("06"), CLOSED}},
        {"- - - c", NULL, "", 204, {NEXT("06"), CLOSED, EPOCH, NULL}},
        {"- - -", T, "x", 409, {NEXT("06"), CLOSED}},
    };
    run(steps, COUNT(steps));
}

Test(devserver_producer, a_mere_close_is_answered_without_data)
{
    static const struct step steps[] = {
        {"p 0 0", T, "abc", 200, {NEXT("03")}},
        {"p 0 1 c", NULL, "", 204, {NEXT("03"), CLOSED, SEQ, "1"}},
        {"p 0 1 c", NULL, "", 204, {NEXT("03"), CLOSED, SEQ, "1"}},
        {"p 0 1 c", T, "x", 204, {NEXT("03"), CLOSED, EPOCH, "0"}},
    };
    run(steps, COUNT(steps));
}

/* Each of these is refused with 400, and stores nothing; wherever the stream is. */
Test(devserver_producer, headers_that_are_none)
{
    static const char *const bad[] = {
        "p - -",
        "- 0 -",
        "- - 0",
        "p 0 -",
        "p - 0",
        "- 0 0",
        "'' 0 0",
        "p '' 0",
        "p 0 ''",
        "p -1 0",
        "p 0 -1",
        "p +1 0",
        "p 0x1 0",
        "p 1e3 0",
        "p 1.0 0",
        "p 1abc 0",
        "p 0 1abc",
        "p 0,0 0",
        "p 9007199254740992 0",
        "p 0 9007199254740992",
        "p 18446744073709551616 0",
        "p 0 99999999999999999999999999",
        "p \xd9\xa1 0",
    };
    struct ds_api api = {.store = new_store(MAX), .page = 100, .random = 1, .boot = 1};
    struct ds_stream *s = make(api.store, "/s", T);
    char with_close[80];
    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(with_close, sizeof with_close, "%s c", bad[i]);
        const struct step step[] = {
            {bad[i], T, "x", 400, {EPOCH, NULL, NO_NEXT}},
            {bad[i], T, "", 400, {EPOCH, NULL}},
            {with_close, NULL, "", 400, {OPEN}},
        };
        for (size_t k = 0; k < COUNT(step); k++) {
            check(&api, &step[k], "/s", i);
            check(&api, &step[k], "/none", i);
        }
    }
    cr_expect_eq(ds_stream_tail(s), 0);
    cr_expect_not(s->closed);
    static const struct step good[] = {
        {"p 9007199254740991 0", T, "x", 200, {EPOCH, "9007199254740991"}},
        {"p 9007199254740991 1", T, "x", 200, {SEQ, "1"}},
        {"q 0007 00", T, "x", 200, {EPOCH, "7", SEQ, "0"}},
        {"r 0 9007199254740991", T, "x", 409, {CAME, "9007199254740991"}},
    };
    for (size_t i = 0; i < COUNT(good); i++)
        check(&api, &good[i], "/s", i);
    static const struct step none[] = {{"p 0 0", T, "x", 404, {EPOCH, NULL}},
                                       {"p 0 0 c", NULL, "", 404, {OPEN}}};
    for (size_t i = 0; i < COUNT(none); i++)
        check(&api, &none[i], "/none", i);
    ds_store_free(api.store);
}
