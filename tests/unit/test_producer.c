/* SPDX-License-Identifier: Apache-2.0 */
/* The producer's rules as tables; whole lives of it are in tests/sim. */
#include <criterion/criterion.h>

#include "tests/unit/producing.h"

/* What becomes of one message, in a fixed epoch without claim, of these answers to base. */
static const struct {
    bool fresh, lost; /* the first answer is lost before */
    int status;
    const char *fields;
    enum ds_fate fate;
    enum dstream_code code;
} one[] = {
    {true, false, 200, STORED, DS_FATE_ACKED, DSTREAM_OK},
    {false, false, 200, STORED, DS_FATE_ACKED, DSTREAM_OK},
    {true, true, 204, STORED, DS_FATE_ACKED, DSTREAM_OK},
    {false, true, 204, STORED, DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {false, false, 204, STORED, DS_FATE_NOT_WRITTEN, DSTREAM_ERR_FENCED},
    {true, false, 204, STORED, DS_FATE_NOT_WRITTEN, DSTREAM_ERR_FENCED},
    {true, false, 200, "", DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 200, "Producer-Epoch: 8\nProducer-Seq: 0\n", DS_FATE_UNKNOWN,
     DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 403, "Producer-Epoch: 9\n", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_FENCED},
    {true, true, 403, "Producer-Epoch: 9\n", DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 403, "", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_AUTH},
    {true, false, 401, "", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_AUTH},
    {true, false, 404, "", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_NOT_FOUND},
    {true, true, 404, "", DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 410, "", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_GONE},
    {true, false, 400, "", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_BAD_REQUEST},
    {true, true, 400, "", DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 413, "", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_TOO_LARGE},
    {true, true, 413, "", DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 405, "", DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 302, "", DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 409, "Stream-Closed: true\n", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_CLOSED},
    {true, true, 409, "Stream-Closed: true\n", DS_FATE_UNKNOWN, DSTREAM_ERR_OUTCOME_UNKNOWN},
    {true, false, 409, "Producer-Expected-Seq: 4\n", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_SEQUENCE},
    {true, false, 409, "", DS_FATE_NOT_WRITTEN, DSTREAM_ERR_CONFLICT},
};

Test(producer, base)
{
    for (size_t i = 0; i < COUNT(one); i++) {
        struct play p = fixed(one[i].fresh);
        begin(&p);
        append(&p, "a");
        run(&p);
        cr_assert_eq(p.requests, 1);
        if (one[i].lost) {
            lose(&p, 0);
            run(&p);
            p.now += 1000;
            run(&p);
            cr_assert_eq(p.requests, 2);
            cr_expect_eq(p.seqs[1], 0);
            cr_expect_str_eq(p.bodies[1], "a");
        }
        answer(&p, p.requests - 1, one[i].status, one[i].fields);
        bool goes_on = run(&p);
        cr_expect_eq(goes_on, one[i].code == DSTREAM_OK, "case %zu", i);
        cr_assert_eq(p.results, 1, "case %zu", i);
        cr_expect_eq(p.last.fate, one[i].fate, "case %zu: %d", i, (int)p.last.fate);
        cr_expect_eq(ds_producer_error(p.p)->code, one[i].code, "case %zu: %s", i,
                     ds_producer_error(p.p)->message);
        ds_producer_free(p.p);
    }
}

/* 5xx and the like are asked again, under the same number and with the same bytes. */
Test(producer, what_is_tried_again)
{
    static const int statuses[] = {408, 425, 429, 500, 502, 503, 504, 599};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        struct play p = fixed(true);
        begin(&p);
        append(&p, "a");
        run(&p);
        answer(&p, 0, statuses[i], "");
        cr_expect(run(&p));
        cr_expect_eq(p.requests, 1, "at once");
        p.now += 1000;
        run(&p);
        cr_assert_eq(p.requests, 2, "%d", statuses[i]);
        cr_expect_eq(p.epochs[1], 7);
        cr_expect_eq(p.seqs[1], 0);
        ds_producer_free(p.p);
    }
}

Test(producer, batches_are_in_brackets_and_within_the_limit)
{
    struct play p = fixed(true);
    struct dstream_error err = {0};
    uint64_t id;
    p.c.content_type = "application/json";
    p.c.max_batch_bytes = 7;
    p.c.linger = 1000;
    begin(&p);
    append(&p, "[1]");
    append(&p, "2"); /* "[[1],2]": exactly 7 */
    append(&p, "3");
    run(&p);
    cr_assert_eq(p.requests, 1);
    cr_expect_str_eq(p.bodies[0], "[[1],2]");
    cr_expect_eq(ds_producer_append(p.p, "1 2", 3, 0, p.now, &id, &err), DS_APPEND_REFUSED);
    cr_expect_eq(err.code, DSTREAM_ERR_INPUT);
    cr_expect_eq(ds_producer_append(p.p, "123456", 6, 0, p.now, &id, &err), DS_APPEND_REFUSED);
    cr_expect_eq(err.code, DSTREAM_ERR_LIMIT);
    cr_expect_eq(ds_producer_append(p.p, "", 0, 0, p.now, &id, &err), DS_APPEND_REFUSED);
    cr_expect_eq(err.code, DSTREAM_ERR_ARGUMENT);
    ds_producer_free(p.p);
}

Test(producer, a_413_splits_under_a_new_epoch)
{
    struct play p = fixed(true);
    p.c.linger = 10;
    begin(&p);
    append(&p, "aa");
    append(&p, "bb");
    p.now += 10;
    run(&p);
    answer(&p, 0, 413, "");
    run(&p);
    cr_assert_eq(p.requests, 2, "one at a time under a new epoch");
    cr_expect_str_eq(p.bodies[1], "aa");
    cr_expect_gt(p.epochs[1], 8, "others claim the next one");
    cr_expect_eq(p.seqs[1], 0);
    ds_producer_free(p.p);
}

Test(producer, what_a_journal_holds_is_sent_again_and_claims_nothing)
{
    struct ds_record_batch b = {
        .first = 3, .count = 2, .seq = 5, .mark = 9, .body = "xy", .len = 2};
    struct ds_producer_journal j = {
        .epoch = 40, .epoch_kind = DS_EPOCH_DRAWN, .mark = 9, .batches = &b, .nbatches = 1};
    struct play p = fixed(true);
    p.c.fixed = false;
    p.c.unix_ms = 1800000000000;
    p.c.journal = true;
    p.c.from = &j;
    begin(&p);
    run(&p);
    cr_assert_eq(p.requests, 1);
    cr_expect_eq(p.epochs[0], 40);
    cr_expect_eq(p.seqs[0], 5);
    cr_expect_str_eq(p.bodies[0], "xy");
    answer(&p, 0, 403, "Producer-Epoch: 99\n");
    cr_expect_not(run(&p));
    cr_expect_eq(p.requests, 1);
    cr_expect_eq(p.last.fate, DS_FATE_UNKNOWN);
    cr_expect(p.last.earlier);
    ds_producer_free(p.p);
}

Test(producer, the_close_goes_along_with_the_last_batch)
{
    struct play p = fixed(true);
    struct dstream_error err = {0};
    p.c.linger = 1000;
    begin(&p);
    append(&p, "a");
    cr_assert_eq(ds_producer_close_stream(p.p, "b", 1, 0, false, p.now, &err), DSTREAM_OK);
    run(&p);
    cr_assert_eq(p.requests, 1);
    cr_expect(p.close[0]);
    cr_expect_str_eq(p.bodies[0], "ab");
    answer(&p, 0, 200, STORED "Stream-Closed: true\n");
    cr_expect_not(run(&p));
    cr_expect_str_eq(ds_producer_final_offset(p.p), "1");
    ds_producer_free(p.p);
}

static unsigned in_flight(const struct play *p)
{
    struct ds_producer_status s;
    ds_producer_status(p->p, &s);
    return s.in_flight;
}

static void store(struct play *p, size_t i)
{
    answer(p, i, 200, "Producer-Epoch: 7\n");
}

/* A message a batch, so many of them, and the first one is stored: then as many are under way as
 * may be, as requests 1, 2, ... with these numbers. */
static struct play under_way(unsigned window, unsigned messages)
{
    struct play p = fixed(true);
    p.c.max_batch_items = 1;
    p.c.window = window;
    begin(&p);
    while (messages-- > 0)
        append(&p, "x");
    run(&p);
    store(&p, 0);
    run(&p);
    cr_assert_eq(in_flight(&p), window);
    return p;
}

#define GAP "Producer-Expected-Seq: 1\nProducer-Received-Seq: 2\n"

/* What overtakes is sent again when it is its turn, and from then on fewer are sent at once. */
Test(producer, those_that_overtake_each_other_become_fewer)
{
    struct play p = under_way(5, 12);
    answer(&p, 3, 409, GAP);
    answer(&p, 2, 409, GAP);
    store(&p, 1);
    run(&p);
    cr_assert_eq(p.requests, 7, "%zu", p.requests);
    cr_expect_eq(p.seqs[6], 2);
    answer(&p, 4, 409, GAP);
    answer(&p, 5, 409, GAP);
    store(&p, 6);
    run(&p);
    cr_assert_eq(p.requests, 8, "%zu", p.requests);
    cr_expect_eq(p.seqs[7], 3);
    store(&p, 7);
    run(&p);
    store(&p, 8);
    run(&p);
    cr_expect_eq(p.seqs[9], 5);
    store(&p, 9);
    run(&p);
    cr_expect_eq(in_flight(&p), 2, "halved once for all of them, and not to %u", in_flight(&p));
    ds_producer_free(p.p);
}

/* That they came before what was lost is no wonder. */
Test(producer, what_follows_a_loss_has_overtaken_nothing)
{
    struct play p = under_way(5, 14);
    for (size_t i = 2; i < 6; i++)
        answer(&p, i, 409, GAP);
    lose(&p, 1);
    run(&p);
    p.now += 1000;
    run(&p);
    for (size_t i = 6; i < 10; i++) {
        cr_assert_eq(p.requests, i + 1);
        cr_expect_eq(p.seqs[i], i - 5);
        store(&p, i);
        run(&p);
    }
    cr_expect_eq(p.seqs[10], 5);
    cr_expect_eq(in_flight(&p), 5, "%u", in_flight(&p));
    ds_producer_free(p.p);
}

Test(producer, those_that_keep_their_order_become_more_again)
{
    struct play p = under_way(2, 3);
    answer(&p, 2, 409, GAP);
    store(&p, 1);
    run(&p);
    store(&p, 3);
    append(&p, "x");
    for (int i = 0; i < 63; i++) {
        append(&p, "x");
        p.requests = 0;
        run(&p);
        cr_assert_eq(in_flight(&p), 1, "behind %d", i);
        store(&p, 0);
    }
    append(&p, "x");
    run(&p);
    cr_expect_eq(in_flight(&p), 2);
    ds_producer_free(p.p);
}
