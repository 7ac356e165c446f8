/* SPDX-License-Identifier: Apache-2.0 */
/* Producers of the library, on real connections to a small server in a thread. */
#include "config.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/producer.h"
#include "tests/unit/clients.h"
#include "tests/unit/taker.h"

#define TEXT "text/plain"
#define JSON "application/json"

TestSuite(producer_client, .init = clients_start);

static dstream_producer *open_on(dstream_loop *loop, struct taker *t, dstream_options *o)
{
    dstream_producer *p;
    cr_assert_eq(dstream_producer_open(&p, loop, t->url, t->type, "p", o), DSTREAM_OK);
    dstream_options_free(o);
    return p;
}

static void append(dstream_producer *p, const char *text)
{
    cr_assert_eq(dstream_producer_append(p, text, strlen(text), LIMIT_MS, NULL),
                 DSTREAM_APPEND_TAKEN, "%s", dstream_error_message(dstream_producer_refusal(p)));
}

/* What became of each message, a letter each; and what else was called. */
struct seen {
    char fates[4096];
    unsigned results, failures, rooms, ends;
    enum dstream_code code, failure;
    bool cancel;      /* from inside it */
    const char *more; /* appended from inside it, once */
    char offset[64];
};

static void on_result(void *ctx, dstream_producer *p, const dstream_result *r)
{
    static const char letters[] = "?+-~";
    struct seen *s = ctx;
    size_t n = strlen(s->fates);
    cr_assert_eq(s->ends, 0);
    cr_assert_eq(dstream_result_first(r), n);
    for (uint64_t i = 0; i < dstream_result_count(r); i++)
        s->fates[n++] = letters[dstream_result_fate(r)];
    s->results++;
    snprintf(s->offset, sizeof s->offset, "%s", dstream_result_offset(r));
    if (s->more) {
        const char *more = s->more;
        s->more = NULL;
        cr_assert_eq(dstream_producer_append(p, more, strlen(more), 0, NULL), DSTREAM_APPEND_TAKEN);
        cr_assert_eq(dstream_producer_flush(p, 0, NULL), DSTREAM_ERR_TIMEOUT);
        cr_assert_eq(dstream_producer_flush(p, 10, NULL), DSTREAM_ERR_STATE);
    }
    if (s->cancel)
        dstream_producer_cancel(p);
}

static void on_failure(void *ctx, dstream_producer *p, const dstream_result *r)
{
    struct seen *s = ctx;
    (void)p;
    s->failures++;
    s->failure = dstream_error_code(dstream_result_error(r));
    cr_assert_neq(s->failure, DSTREAM_OK);
    cr_assert_neq(dstream_result_fate(r), DSTREAM_FATE_STORED);
}

static void on_room(void *ctx, dstream_producer *p)
{
    struct seen *s = ctx;
    (void)p;
    s->rooms++;
}

static void on_end(void *ctx, dstream_producer *p, enum dstream_code code)
{
    struct seen *s = ctx;
    s->ends++;
    s->code = code;
    cr_assert_eq(dstream_error_code(dstream_producer_error(p)), code);
}

static void watch(dstream_producer *p, struct seen *s)
{
    *s = (struct seen){.cancel = s->cancel, .more = s->more};
    dstream_producer_on_result(p, on_result, s);
    dstream_producer_on_failure(p, on_failure, s);
    dstream_producer_on_room(p, on_room, s);
    dstream_producer_on_end(p, on_end, s);
}

/* --- the plain way ---------------------------------------------------------------------------- */

Test(producer_client, no_limit_to_a_time_is_none)
{
    struct taker *t = taker_new(TEXT);
    dstream_producer *p = open_on(NULL, t, patient());
    append(p, "one");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_str_eq(taker_data(t), "one");
    dstream_producer_free(p);
    taker_free(t);
}

Test(producer_client, writes_and_detaches)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    dstream_producer *p = open_on(NULL, t, quick());
    uint64_t id, failed;
    watch(p, &s);
    cr_assert_eq(dstream_producer_append(p, "one", 3, -1, &id), DSTREAM_APPEND_TAKEN);
    cr_assert_eq(id, 0);
    cr_assert_eq(dstream_producer_append(p, "two", 3, -1, &id), DSTREAM_APPEND_TAKEN);
    cr_assert_eq(id, 1);
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, &failed), DSTREAM_OK);
    cr_assert_eq(failed, 0);
    cr_assert_str_eq(taker_data(t), "onetwo");
    cr_assert_str_eq(s.fates, "++");
    cr_assert_str_eq(s.offset, "00000006");
    cr_assert_str_eq(dstream_producer_offset(p), "00000006");
    append(p, "three");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_eq(dstream_producer_phase(p), DSTREAM_PRODUCER_DETACHED);
    cr_assert_str_eq(taker_data(t), "onetwothree");
    cr_assert_not(t->closed);
    cr_assert_eq(s.ends, 1);
    cr_assert_eq(s.code, DSTREAM_OK);
    cr_assert_eq(dstream_producer_append(p, "x", 1, -1, NULL), DSTREAM_APPEND_REFUSED);
    cr_assert_eq(dstream_error_code(dstream_producer_refusal(p)), DSTREAM_ERR_STATE);
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_STORED), 3);
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_STORED_BYTES), 11);
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_PENDING), 0);
    cr_assert_gt(dstream_producer_count(p, DSTREAM_COUNT_EPOCH), (uint64_t)1700000000000 << 10);
    cr_assert_eq(dstream_producer_free(p), 0);
    taker_free(t);
}

/* A connection each of those that are under way at once, and no others later. */
Test(producer_client, connections_are_used_again)
{
    struct taker *t = taker_new(TEXT);
    dstream_options *o = quick();
    dstream_options_set_batch(o, 1000, 1);
    dstream_producer *p = open_on(NULL, t, o);
    for (int i = 0; i < 300; i++)
        append(p, "x");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_OK);
    cr_expect_leq(t->connections, 5, "%u connections", t->connections);
    dstream_producer_free(p);
    taker_free(t);
}

static enum take lose_the_second(void *ctx, struct asked *a)
{
    (void)ctx;
    return a->k == 1 ? LOSE : TAKE;
}

/* Whoever has it already does not say where it ends; and where the one before it ends is another
 * matter. */
Test(producer_client, an_offset_that_is_not_known_is_not_that_of_an_earlier_batch)
{
    struct taker *t = taker_new(TEXT);
    t->plan = lose_the_second;
    dstream_producer *p = open_on(NULL, t, quick());
    append(p, "one");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_OK);
    cr_assert_str_eq(dstream_producer_offset(p), "00000003");
    append(p, "two");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_OK);
    cr_assert_str_eq(dstream_producer_offset(p), "");
    append(p, "three");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_str_eq(dstream_producer_offset(p), "00000011");
    dstream_producer_free(p);
    taker_free(t);
}

Test(producer_client, an_id_is_drawn_where_none_is_given)
{
    struct taker *t = taker_new(TEXT);
    dstream_producer *p, *q;
    cr_assert_eq(dstream_producer_open(&p, NULL, t->url, TEXT, NULL, NULL), DSTREAM_OK);
    cr_assert_eq(dstream_producer_open(&q, NULL, t->url, TEXT, NULL, NULL), DSTREAM_OK);
    cr_assert_eq(strlen(dstream_producer_id(p)), 32);
    cr_assert_str_neq(dstream_producer_id(p), dstream_producer_id(q));
    append(p, "a");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_OK);
    append(q, "b");
    cr_assert_eq(dstream_producer_detach(q, LIMIT_MS), DSTREAM_OK);
    cr_assert_str_eq(taker_data(t), "ab");
    dstream_producer_free(p);
    dstream_producer_free(q);
    taker_free(t);
}

Test(producer_client, json_is_wrapped_and_looked_at)
{
    struct taker *t = taker_new(JSON);
    dstream_options *o = quick();
    dstream_options_set_batch(o, 100, 3);
    dstream_options_set_linger(o, 60000);
    dstream_producer *p = open_on(NULL, t, o);
    append(p, "{\"a\":1}");
    append(p, "[2]");
    append(p, "3");
    append(p, "\"x\"");
    cr_assert_eq(dstream_producer_append(p, "{\"a\":", 5, 0, NULL), DSTREAM_APPEND_REFUSED);
    cr_assert_eq(dstream_error_code(dstream_producer_refusal(p)), DSTREAM_ERR_INPUT);
    cr_assert_eq(dstream_producer_append(p, "", 0, 0, NULL), DSTREAM_APPEND_REFUSED);
    cr_assert_eq(dstream_error_code(dstream_producer_refusal(p)), DSTREAM_ERR_ARGUMENT);
    char large[128];
    memset(large, '1', sizeof large);
    cr_assert_eq(dstream_producer_append(p, large, 99, 0, NULL), DSTREAM_APPEND_REFUSED);
    cr_assert_eq(dstream_error_code(dstream_producer_refusal(p)), DSTREAM_ERR_LIMIT);
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_str_eq(taker_bodies(t), "[{\"a\":1},[2],3]\n[\"x\"]\n");
    dstream_producer_free(p);
    taker_free(t);
}

Test(producer_client, closes_the_stream_with_a_last_message)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    dstream_producer *p = open_on(NULL, t, quick());
    watch(p, &s);
    append(p, "a");
    cr_assert_null(dstream_producer_final_offset(p));
    cr_assert_eq(dstream_producer_close_stream(p, "z", 1, false, LIMIT_MS), DSTREAM_OK);
    cr_assert(t->closed);
    cr_assert_str_eq(taker_data(t), "az");
    cr_assert_str_eq(s.fates, "++");
    cr_assert_str_eq(dstream_producer_final_offset(p), "00000002");
    cr_assert_eq(dstream_producer_phase(p), DSTREAM_PRODUCER_CLOSED);
    cr_assert_eq(dstream_producer_close_stream(p, NULL, 0, false, LIMIT_MS), DSTREAM_OK);
    cr_assert_eq(dstream_producer_append(p, "x", 1, 0, NULL), DSTREAM_APPEND_REFUSED);
    cr_assert_eq(dstream_error_code(dstream_producer_refusal(p)), DSTREAM_ERR_CLOSED);
    cr_assert_eq(dstream_producer_free(p), 0);
    taker_free(t);
}

Test(producer_client, another_has_closed_it)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    dstream_producer *p = open_on(NULL, t, quick());
    uint64_t failed = 0;
    watch(p, &s);
    taker_close(t);
    append(p, "a");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, &failed), DSTREAM_ERR_CLOSED);
    cr_assert_eq(failed, 1);
    cr_assert_str_eq(s.fates, "-");
    cr_assert_eq(s.failures, 1);
    cr_assert_eq(s.failure, DSTREAM_ERR_CLOSED);
    cr_assert_eq(s.code, DSTREAM_ERR_CLOSED);
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_ERR_CLOSED);
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, &failed), DSTREAM_ERR_CLOSED);
    dstream_producer_free(p);
    taker_free(t);
}

/* --- trouble ---------------------------------------------------------------------------------- */

/* Each of the first requests meets with something else. */
static enum take in_turn(void *ctx, struct asked *a)
{
    static const enum take what[] = {DROP, LOSE, SAY, TAKE_WRONG, SAY, TAKE, LOSE, DROP};
    (void)ctx;
    strcpy(a->answer, a->k == 4 ? "429 Slow\r\nRetry-After: 0\r\n" : "503 Busy\r\n");
    return a->k < sizeof what / sizeof *what ? what[a->k] : TAKE;
}

Test(producer_client, trouble_is_retried_and_stores_once)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    t->plan = in_turn;
    dstream_options *o = quick();
    dstream_options_set_batch(o, 1000, 1);
    dstream_producer *p = open_on(NULL, t, o);
    char want[256] = "";
    watch(p, &s);
    for (int i = 0; i < 40; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d,", i);
        append(p, text);
        strcat(want, text);
    }
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_str_eq(taker_data(t), want);
    cr_assert_eq(strspn(s.fates, "+"), 40);
    cr_assert_gt(dstream_producer_count(p, DSTREAM_COUNT_RETRIES), 5);
    cr_assert_eq(s.failures, 0);
    dstream_producer_free(p);
    taker_free(t);
}

Test(producer_client, several_are_under_way_at_once)
{
    struct taker *t = taker_new(TEXT);
    dstream_options *o = quick();
    dstream_options_set_batch(o, 100000, 1);
    dstream_options_set_in_flight(o, 5);
    dstream_loop *loop = dstream_loop_new();
    dstream_producer *p = open_on(loop, t, o);
    size_t size = 100000;
    char *big = malloc(size);
    memset(big, 'x', size);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(dstream_producer_append(p, big, size, 0, NULL), DSTREAM_APPEND_TAKEN);
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_OK);
    cr_assert_eq(t->len, 40 * size);
    cr_assert_gt(t->most_at_once, 1);
    cr_assert_leq(t->most_at_once, 5);
    free(big);
    dstream_producer_free(p);
    dstream_loop_free(loop);
    taker_free(t);
}

static enum take is_fenced(void *ctx, struct asked *a)
{
    (void)ctx;
    strcpy(a->answer, "403 Fenced\r\nProducer-Epoch: 9007199254740000\r\n");
    return a->k >= 1 ? SAY : TAKE;
}

Test(producer_client, is_fenced_once_it_has_run)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    t->plan = is_fenced;
    dstream_producer *p = open_on(NULL, t, quick());
    watch(p, &s);
    append(p, "a");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_OK);
    append(p, "b");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_ERR_FENCED);
    cr_assert_str_eq(s.fates, "+-");
    cr_assert_eq(dstream_producer_phase(p), DSTREAM_PRODUCER_FENCED);
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_SERVER_EPOCH), 9007199254740000);
    cr_assert_str_eq(taker_data(t), "a");
    dstream_producer_free(p);
    taker_free(t);
}

/* The answer is lost, and then the server takes nobody any more. */
static enum take lose_then_fence(void *ctx, struct asked *a)
{
    (void)ctx;
    strcpy(a->answer, "403 Fenced\r\nProducer-Epoch: 9007199254740000\r\n");
    return a->k == 0 ? LOSE : SAY;
}

Test(producer_client, what_cannot_be_known_is_unknown)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    t->plan = lose_then_fence;
    dstream_producer *p = open_on(NULL, t, quick());
    uint64_t failed;
    watch(p, &s);
    append(p, "a");
    append(p, "b");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, &failed), DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_eq(failed, 2);
    cr_assert_eq(s.code, DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_eq(dstream_error_code(dstream_producer_cause(p)), DSTREAM_ERR_FENCED);
    cr_assert_eq(s.fates[0], '~');
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_UNKNOWN) +
                     dstream_producer_count(p, DSTREAM_COUNT_NOT_WRITTEN),
                 2);
    dstream_producer_free(p);
    taker_free(t);
}

Test(producer_client, claims_where_it_is_told_to)
{
    struct taker *t = taker_new(TEXT);
    dstream_options *o = quick();
    dstream_options_set_epoch(o, 8, DSTREAM_EPOCH_FRESH);
    dstream_producer *p = open_on(NULL, t, o);
    append(p, "a");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_EPOCH), 8);
    dstream_producer_free(p);
    o = quick();
    dstream_options_set_epoch(o, 3, 0);
    p = open_on(NULL, t, o);
    append(p, "b");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_ERR_FENCED);
    dstream_producer_free(p);
    o = quick();
    dstream_options_set_epoch(o, 3, DSTREAM_EPOCH_CLAIM);
    p = open_on(NULL, t, o);
    append(p, "c");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_gt(dstream_producer_count(p, DSTREAM_COUNT_EPOCH), 9);
    dstream_producer_free(p);
    cr_assert_str_eq(taker_data(t), "ac");
    taker_free(t);
}

Test(producer_client, resubmits_what_an_earlier_run_sent)
{
    struct taker *t = taker_new(TEXT);
    for (int run = 0; run < 2; run++) {
        dstream_options *o = quick();
        dstream_options_set_epoch(o, 5, run == 0 ? DSTREAM_EPOCH_FRESH : DSTREAM_EPOCH_RESUBMIT);
        dstream_options_set_batch(o, 10, 1);
        dstream_producer *p = open_on(NULL, t, o);
        append(p, "a");
        append(p, "b");
        if (run == 1)
            append(p, "c");
        cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
        dstream_producer_free(p);
    }
    cr_assert_str_eq(taker_data(t), "abc");
    taker_free(t);
}

Test(producer_client, a_restart_opens_an_epoch)
{
    struct taker *t = taker_new(TEXT);
    dstream_producer *p = open_on(NULL, t, quick());
    append(p, "a");
    uint64_t epoch = dstream_producer_count(p, DSTREAM_COUNT_EPOCH);
    cr_assert_eq(dstream_producer_restart(p), DSTREAM_OK);
    append(p, "b");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_gt(dstream_producer_count(p, DSTREAM_COUNT_EPOCH), epoch);
    cr_assert_eq(taker_count(t, "Producer-Seq: 0\r\n"), 2);
    cr_assert_str_eq(taker_data(t), "ab");
    cr_assert_eq(dstream_producer_restart(p), DSTREAM_ERR_STATE);
    dstream_producer_free(p);
    taker_free(t);
}

static enum take refuse_b(void *ctx, struct asked *a)
{
    (void)ctx;
    strcpy(a->answer, "400 Bad\r\n");
    return strcmp(a->body, "b") == 0 ? SAY : TAKE;
}

Test(producer_client, goes_on_behind_a_refused_message)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    t->plan = refuse_b;
    dstream_options *o = quick();
    dstream_options_set_on_refused(o, DSTREAM_REFUSED_SKIP);
    dstream_options_set_batch(o, 100, 1);
    dstream_producer *p = open_on(NULL, t, o);
    uint64_t failed;
    watch(p, &s);
    append(p, "a");
    append(p, "b");
    append(p, "c");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, &failed), DSTREAM_ERR_BAD_REQUEST);
    cr_assert_eq(failed, 1);
    append(p, "d");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, &failed), DSTREAM_ERR_BAD_REQUEST);
    cr_assert_eq(dstream_producer_close_stream(p, NULL, 0, false, LIMIT_MS), DSTREAM_ERR_STATE);
    cr_assert_not(t->closed);
    cr_assert_eq(dstream_producer_close_stream(p, NULL, 0, true, LIMIT_MS),
                 DSTREAM_ERR_BAD_REQUEST);
    cr_assert(t->closed);
    cr_assert_str_eq(s.fates, "+-++");
    cr_assert_str_eq(taker_data(t), "acd");
    dstream_producer_free(p);
    taker_free(t);
}

Test(producer_client, a_server_without_producers)
{
    struct taker *t = taker_new(TEXT);
    t->no_producers = true;
    dstream_producer *p = open_on(NULL, t, quick());
    append(p, "a");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_eq(dstream_error_code(dstream_producer_cause(p)), DSTREAM_ERR_NO_PRODUCERS);
    dstream_producer_free(p);
    taker_free(t);
}

/* --- room ------------------------------------------------------------------------------------- */

/* Nothing is answered before the test says so. */
static enum take gated(void *ctx, struct asked *a)
{
    (void)a;
    strcpy(a->answer, "503 Busy\r\n");
    return *(_Atomic bool *)ctx ? TAKE : SAY;
}

Test(producer_client, says_when_there_is_room)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    _Atomic bool open = false;
    t->plan = gated;
    t->ctx = &open;
    dstream_options *o = quick();
    dstream_options_set_buffer(o, 10000);
    dstream_options_set_batch(o, 1000, SIZE_MAX);
    dstream_loop *loop = dstream_loop_new();
    dstream_producer *p = open_on(loop, t, o);
    char text[500];
    unsigned n = 0;
    enum dstream_append what;
    memset(text, 'x', sizeof text);
    watch(p, &s);
    while ((what = dstream_producer_append(p, text, sizeof text, 0, NULL)) == DSTREAM_APPEND_TAKEN)
        n++;
    cr_assert_eq(what, DSTREAM_APPEND_AGAIN);
    cr_assert_gt(n, 10);
    cr_assert_lt(n, 20);
    cr_assert_leq(dstream_producer_count(p, DSTREAM_COUNT_BUFFERED), 10000);
    turn_until(loop, dstream_producer_count(p, DSTREAM_COUNT_RETRIES) > 2);
    cr_assert_eq(dstream_producer_append(p, text, sizeof text, 20, NULL), DSTREAM_APPEND_AGAIN);
    cr_assert_eq(s.rooms, 0);
    open = true;
    turn_until(loop, s.rooms > 0);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(dstream_producer_append(p, text, sizeof text, LIMIT_MS, NULL),
                     DSTREAM_APPEND_TAKEN);
    cr_assert_eq(dstream_producer_detach(p, -1), DSTREAM_OK);
    cr_assert_eq(t->len, (n + 100) * sizeof text);
    dstream_producer_free(p);
    dstream_loop_free(loop);
    taker_free(t);
}

/* --- callbacks -------------------------------------------------------------------------------- */

Test(producer_client, may_be_fed_from_inside_its_callbacks)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.more = "b"};
    dstream_loop *loop = dstream_loop_new();
    dstream_producer *p = open_on(loop, t, quick());
    watch(p, &s);
    append(p, "a");
    turn_until(loop, s.results == 2);
    dstream_producer_start_detach(p, -1);
    cr_assert_eq(s.ends, 0);
    turn_until(loop, s.ends > 0);
    cr_assert_str_eq(taker_data(t), "ab");
    cr_assert_eq(s.code, DSTREAM_OK);
    dstream_producer_free(p);
    dstream_loop_free(loop);
    taker_free(t);
}

Test(producer_client, lingers_for_company)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    dstream_options *o = quick();
    dstream_options_set_linger(o, 30);
    dstream_loop *loop = dstream_loop_new();
    dstream_producer *p = open_on(loop, t, o);
    watch(p, &s);
    append(p, "a");
    dstream_loop_turn(loop, 1);
    append(p, "b");
    turn_until(loop, s.results > 0);
    cr_assert_str_eq(taker_bodies(t), "ab\n");
    cr_assert_str_eq(s.fates, "++");
    dstream_producer_free(p);
    dstream_loop_free(loop);
    taker_free(t);
}

/* --- credentials ------------------------------------------------------------------------------ */

struct wallet {
    unsigned token, asked, refused, valid;
    bool empty;
};

static enum dstream_code on_request(void *ctx, dstream_request *q, bool refused)
{
    struct wallet *w = ctx;
    char header[64];
    w->asked++;
    w->refused += refused;
    if (refused && w->empty)
        return DSTREAM_ERR_AUTH;
    w->token += refused;
    snprintf(header, sizeof header, "Authorization: token-%u", w->token);
    return dstream_request_add_header(q, header);
}

static enum take guard(void *ctx, struct asked *a)
{
    struct wallet *w = ctx;
    char token[64], want[64];
    asked_header(a->head, "Authorization", token, sizeof token);
    snprintf(want, sizeof want, "token-%u", w->valid);
    strcpy(a->answer, "401 No\r\n");
    return strcmp(token, want) == 0 ? TAKE : SAY;
}

static enum dstream_code write_guarded(struct wallet *w, struct seen *s)
{
    struct taker *t = taker_new(TEXT);
    dstream_options *o = quick();
    t->plan = guard;
    t->ctx = w;
    dstream_options_set_on_request(o, on_request, w);
    dstream_producer *p = open_on(NULL, t, o);
    watch(p, s);
    append(p, "a");
    append(p, "b");
    enum dstream_code rc = dstream_producer_detach(p, LIMIT_MS);
    cr_assert_eq(dstream_error_status(dstream_producer_error(p)), rc == DSTREAM_OK ? 0 : 401);
    cr_assert_str_eq(taker_data(t), rc == DSTREAM_OK ? "ab" : "");
    cr_assert_eq(dstream_producer_free(p), 0);
    taker_free(t);
    return rc;
}

Test(producer_client, credentials_are_made_anew_when_refused)
{
    struct wallet w = {.token = 1, .valid = 2};
    struct seen s = {.cancel = false};
    cr_assert_eq(write_guarded(&w, &s), DSTREAM_OK);
    cr_assert_eq(w.refused, 1);
    cr_assert_str_eq(s.fates, "++");
}

Test(producer_client, other_credentials_are_asked_for_once)
{
    struct wallet w = {.token = 1, .valid = 9};
    struct seen s = {.cancel = false};
    cr_assert_eq(write_guarded(&w, &s), DSTREAM_ERR_AUTH);
    cr_assert_eq(w.refused, 1);
    cr_assert_str_eq(s.fates, "--");
}

Test(producer_client, there_may_be_no_other_credentials)
{
    struct wallet w = {.token = 1, .valid = 9, .empty = true};
    struct seen s = {.cancel = false};
    cr_assert_eq(write_guarded(&w, &s), DSTREAM_ERR_AUTH);
    cr_assert_str_eq(s.fates, "--");
}

/* --- redirects -------------------------------------------------------------------------------- */

static enum take redirect(void *ctx, struct asked *a)
{
    snprintf(a->answer, sizeof a->answer, "%s\r\nLocation: /t\r\n", (const char *)ctx);
    return strstr(a->head, " /s ") ? SAY : TAKE;
}

Test(producer_client, a_redirect_keeps_the_post)
{
    struct taker *t = taker_new(TEXT);
    t->plan = redirect;
    t->ctx = (char[]){"307 There"};
    dstream_producer *p = open_on(NULL, t, quick());
    append(p, "a");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_str_eq(taker_data(t), "a");
    dstream_producer_free(p);
    taker_free(t);
}

/* An error that leaves a message in doubt says what the server said as well, and where. */
static void says_what_was_answered(dstream_producer *p, struct taker *t, int status,
                                   const char *text)
{
    const dstream_error *e = dstream_producer_error(p);
    char number[16];
    snprintf(number, sizeof number, "(%d)", status);
    cr_expect_eq(dstream_error_code(e), DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_expect_eq(dstream_error_status(e), status);
    cr_expect_str_eq(dstream_error_url(e), t->url);
    cr_expect(strstr(dstream_error_message(e), number), "%s", dstream_error_message(e));
    cr_expect(strstr(dstream_error_message(e), text), "%s", dstream_error_message(e));
}

static enum take say(void *ctx, struct asked *a)
{
    snprintf(a->answer, sizeof a->answer, "%s\r\nContent-Type: text/plain\r\n", (const char *)ctx);
    return SAY;
}

Test(producer_client, what_a_server_cannot_do_is_in_the_error)
{
    static const char *const answers[] = {"405 Not Allowed", "501 Not Implemented"};
    for (size_t i = 0; i < 2; i++) {
        struct taker *t = taker_new(TEXT);
        t->plan = say;
        t->ctx = (void *)(uintptr_t)answers[i];
        dstream_producer *p = open_on(NULL, t, quick());
        append(p, "a");
        dstream_producer_detach(p, LIMIT_MS);
        says_what_was_answered(p, t, atoi(answers[i]), "1 message may be stored or not");
        dstream_producer_free(p);
        taker_free(t);
    }
}

Test(producer_client, a_post_never_becomes_a_get)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    t->plan = redirect;
    t->ctx = (char[]){"302 There"};
    dstream_producer *p = open_on(NULL, t, quick());
    watch(p, &s);
    append(p, "a");
    dstream_producer_detach(p, LIMIT_MS);
    cr_assert_eq(dstream_error_code(dstream_producer_cause(p)), DSTREAM_ERR_REDIRECT);
    says_what_was_answered(p, t, 302, "/t ");
    cr_assert_eq(taker_count(t, "GET "), 0);
    cr_assert_str_eq(taker_data(t), "");
    dstream_producer_free(p);
    taker_free(t);
}

/* --- the end of a handle ---------------------------------------------------------------------- */

static enum take hold(void *ctx, struct asked *a)
{
    (void)ctx;
    return a->k == 0 ? TAKE : HOLD;
}

Test(producer_client, says_how_much_is_forgotten_when_it_is_freed)
{
    struct taker *t = taker_new(TEXT);
    dstream_producer *p = open_on(NULL, t, quick());
    t->plan = hold;
    append(p, "a");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_OK);
    append(p, "b");
    append(p, "c");
    uint64_t failed = 9;
    cr_assert_eq(dstream_producer_flush(p, 20, &failed), DSTREAM_ERR_TIMEOUT);
    cr_assert_eq(failed, 0);
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_PENDING), 2);
    cr_assert_eq(dstream_producer_free(p), 2);
    cr_assert_eq(dstream_producer_free(NULL), 0);
    taker_free(t);
}

Test(producer_client, detaching_gives_up_after_its_time)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    t->plan = hold;
    dstream_options *o = quick();
    dstream_options_set_batch(o, 100, 1);
    dstream_options_set_in_flight(o, 1);
    dstream_producer *p = open_on(NULL, t, o);
    watch(p, &s);
    append(p, "a");
    append(p, "b");
    append(p, "c");
    cr_assert_eq(dstream_producer_detach(p, 200), DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_str_eq(s.fates, "+~-");
    cr_assert_eq(dstream_producer_free(p), 0);
    taker_free(t);
}

Test(producer_client, cancelled_from_inside_a_callback_calls_nothing_more)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = true};
    dstream_options *o = quick();
    dstream_options_set_batch(o, 100, 1);
    dstream_loop *loop = dstream_loop_new();
    dstream_producer *p = open_on(loop, t, o);
    watch(p, &s);
    append(p, "a");
    append(p, "b");
    turn_until(loop, s.results > 0);
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(s.results, 1);
    cr_assert_eq(s.ends, 0);
    cr_assert_eq(dstream_error_code(dstream_producer_cause(p)), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_PENDING), 0);
    cr_assert_eq(dstream_producer_append(p, "c", 1, -1, NULL), DSTREAM_APPEND_REFUSED);
    dstream_producer_free(p);
    dstream_loop_free(loop);
    taker_free(t);
}

struct other {
    struct taker *t;
    dstream_producer *p;
};

static void *cancel_held(void *ctx)
{
    struct other *o = ctx;
    while (o->t->requests < 2)
        poll(NULL, 0, 1);
    dstream_producer_cancel(o->p);
    return NULL;
}

Test(producer_client, cancelled_from_another_thread_while_it_waits)
{
    struct taker *t = taker_new(TEXT);
    struct seen s = {.cancel = false};
    t->plan = hold;
    dstream_producer *p = open_on(NULL, t, quick());
    watch(p, &s);
    append(p, "a");
    cr_assert_eq(dstream_producer_flush(p, LIMIT_MS, NULL), DSTREAM_OK);
    append(p, "b");
    struct other other = {t, p};
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_held, &other);
    cr_assert_eq(dstream_producer_detach(p, -1), DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_eq(dstream_error_code(dstream_producer_cause(p)), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(dstream_producer_count(p, DSTREAM_COUNT_UNKNOWN), 1);
    cr_assert_eq(s.results, 1);
    cr_assert_eq(s.ends, 0);
    pthread_join(thread, NULL);
    dstream_producer_free(p);
    taker_free(t);
}

Test(producer_client, cancelled_before_anything_sends_nothing)
{
    struct taker *t = taker_new(TEXT);
    dstream_producer *p = open_on(NULL, t, quick());
    dstream_producer_cancel(p);
    cr_assert_eq(dstream_producer_append(p, "a", 1, -1, NULL), DSTREAM_APPEND_REFUSED);
    cr_assert_eq(dstream_error_code(dstream_producer_refusal(p)), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(dstream_producer_detach(p, -1), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(t->requests, 0);
    dstream_producer_free(p);
    taker_free(t);
}

Test(producer_client, what_cannot_be_opened)
{
    dstream_producer *p = (dstream_producer *)1;
    dstream_options *o = dstream_options_new();
    cr_assert_eq(dstream_producer_open(&p, NULL, "ftp://h/s", TEXT, "p", NULL),
                 DSTREAM_ERR_ARGUMENT);
    cr_assert_null(p);
    cr_assert_eq(dstream_producer_open(&p, NULL, "http://h/s", "", "p", NULL),
                 DSTREAM_ERR_ARGUMENT);
    static const char *const ids[] = {"", "a\r\nb", "a\tb", " ", " a", "a "};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        cr_expect_eq(dstream_producer_open(&p, NULL, "http://h/s", TEXT, ids[i], NULL),
                     DSTREAM_ERR_ARGUMENT, "'%s'", ids[i]);
    cr_assert_eq(dstream_options_set_epoch(o, (uint64_t)1 << 53, 0), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_epoch(o, 1, DSTREAM_EPOCH_CLAIM | DSTREAM_EPOCH_RESUBMIT),
                 DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_in_flight(o, 0), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_in_flight(o, 65), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_batch(o, 0, 1), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_batch(o, 1, 0), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_batch(o, 1, 1), DSTREAM_OK);
    cr_assert_eq(dstream_options_set_linger(o, -1), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_epoch_auto(o, ((uint64_t)1 << 53) - 1), DSTREAM_OK);
    cr_assert_eq(dstream_producer_open(&p, NULL, "http://h/s", TEXT, "p", o), DSTREAM_ERR_LIMIT);
    cr_assert_null(p);
    dstream_options_free(o);
}

/* --- a journal -------------------------------------------------------------------------------- */

struct notes {
    char kinds[256];
    unsigned writes, syncs;
    unsigned sent_unsynced;
    bool dirty;
    unsigned fail_at; /* the call that fails, from 1; 0: none */
    struct taker *t;
};

static bool fails(struct notes *n)
{
    return n->fail_at > 0 && n->writes + n->syncs == n->fail_at;
}

static enum dstream_code note(void *ctx, struct ds_record *r, struct dstream_error *err)
{
    struct notes *n = ctx;
    n->writes++;
    if (fails(n))
        return ds_error_set(err, DSTREAM_ERR_IO, "the disk is full");
    cr_assert_eq(r->number, n->writes);
    n->kinds[n->writes - 1] = "EBFT"[r->kind];
    n->dirty = true;
    return DSTREAM_OK;
}

static enum dstream_code sync_notes(void *ctx, struct dstream_error *err)
{
    struct notes *n = ctx;
    n->syncs++;
    if (fails(n))
        return ds_error_set(err, DSTREAM_ERR_IO, "the disk is full");
    n->dirty = false;
    return DSTREAM_OK;
}

static const struct ds_journal_ops notes_ops = {note, sync_notes};

static dstream_producer *open_noted(struct taker *t, struct notes *n)
{
    const struct ds_producing more = {.journal = &notes_ops, .journal_ctx = n};
    struct dstream_error e;
    dstream_options *o = quick();
    dstream_producer *p;
    dstream_options_set_batch(o, 100, 1);
    cr_assert_eq(ds_producing_open(&p, NULL, t->url, TEXT, "p", o, &more, &e), DSTREAM_OK);
    dstream_options_free(o);
    return p;
}

static enum take see_notes(void *ctx, struct asked *a)
{
    struct notes *n = ctx;
    (void)a;
    n->sent_unsynced += n->syncs == 0;
    return TAKE;
}

Test(producer_client, records_are_durable_before_they_count)
{
    struct taker *t = taker_new(TEXT);
    struct notes n = {.t = t};
    t->plan = see_notes;
    t->ctx = &n;
    dstream_producer *p = open_noted(t, &n);
    for (int i = 0; i < 8; i++)
        append(p, "a");
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    cr_assert_eq(n.sent_unsynced, 0);
    cr_assert_eq(n.kinds[0], 'E');
    cr_assert_eq(n.kinds[n.writes - 1], 'T');
    cr_assert_not(n.dirty, "the last record is not durable");
    cr_assert_lt(n.syncs, n.writes, "records that come together share a sync");
    dstream_producer_free(p);
    taker_free(t);
}

/* Also where what was told is written down last, and nothing more comes. */
Test(producer_client, says_when_there_is_room_with_a_journal)
{
    struct taker *t = taker_new(TEXT);
    struct notes n = {.t = t};
    struct seen s = {.cancel = false};
    const struct ds_producing more = {.journal = &notes_ops, .journal_ctx = &n};
    struct dstream_error e;
    dstream_options *o = quick();
    dstream_loop *loop = dstream_loop_new();
    dstream_producer *p;
    dstream_options_set_buffer(o, 1000);
    dstream_options_set_batch(o, 100, 1);
    cr_assert_eq(ds_producing_open(&p, loop, t->url, TEXT, "p", o, &more, &e), DSTREAM_OK);
    watch(p, &s);
    for (unsigned round = 1; round <= 3; round++) {
        while (dstream_producer_append(p, "a", 1, 0, NULL) == DSTREAM_APPEND_TAKEN)
            continue;
        turn_until(loop, s.rooms >= round);
    }
    cr_assert_eq(dstream_producer_detach(p, LIMIT_MS), DSTREAM_OK);
    dstream_producer_free(p);
    dstream_loop_free(loop);
    dstream_options_free(o);
    taker_free(t);
}

Test(producer_client, ends_where_the_journal_does)
{
    for (unsigned at = 1; at < 12; at++) {
        struct taker *t = taker_new(TEXT);
        struct notes n = {.fail_at = at};
        dstream_producer *p = open_noted(t, &n);
        for (int i = 0; i < 3; i++)
            (void)dstream_producer_append(p, "a", 1, LIMIT_MS, NULL);
        enum dstream_code rc = dstream_producer_detach(p, LIMIT_MS);
        unsigned calls = n.writes + n.syncs;
        if (calls >= at) {
            cr_assert_eq(calls, at, "it was asked again");
            struct ds_producer_status s;
            ds_producing_status(p, &s);
            cr_assert_eq(rc, DSTREAM_ERR_IO, "%u: %s", at, dstream_code_name(rc));
            cr_assert_eq(s.acked + s.kept + s.not_written, s.taken);
        }
        cr_assert_eq(dstream_producer_free(p), 0);
        taker_free(t);
    }
}
