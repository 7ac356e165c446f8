/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other producers got wrong, a test each. Those that take real connections are in
 * test_producer_client.c (a_post_never_becomes_a_get, other_credentials_are_asked_for_once,
 * detaching leaves the stream open) and test_call.c (no_append_is_repeated_in_doubt).
 */
#include <criterion/criterion.h>

#include "tests/unit/producing.h"

/* A restart began at epoch 0 and number 0 again: the server said 204 to everything, which was
 * reported as success, and nothing was stored. */
Test(producer_cases, a_restart_does_not_take_earlier_numbers_for_its_own)
{
    /* Under the caller's epoch it is refused, */
    struct play p = fixed(false);
    begin(&p);
    append(&p, "a");
    run(&p);
    stores_as(&p, 0, 204);
    ends(&p, DSTREAM_ERR_FENCED);
    told(&p, "-");
    end(&p);
    /* and by itself each run outranks the one before. */
    uint64_t before = 0;
    for (uint64_t ms = 1800000000000; ms < 1800000000003; ms++) {
        p = fixed(false);
        p.c.fixed = false;
        p.c.unix_ms = ms;
        p.c.highest = before;
        begin(&p);
        append(&p, "a");
        run(&p);
        cr_assert_gt(p.epochs[0], before);
        before = p.epochs[0];
        end(&p);
    }
}

/* After one failed batch every later one failed or hung, and flush reported success. */
Test(producer_cases, one_failed_batch_is_not_the_end_and_is_not_forgotten)
{
    struct play p = fixed(true);
    p.c.skip_refused = true;
    begin(&p);
    append(&p, "a");
    run(&p);
    answer(&p, 0, 400, "");
    append(&p, "b");
    run(&p);
    stores(&p, p.requests - 1);
    run(&p);
    told(&p, "-+");
    cr_assert_eq(ds_producer_first_error(p.p)->code, DSTREAM_ERR_BAD_REQUEST);
    ds_producer_detach(p.p, p.now, -1);
    ends(&p, DSTREAM_ERR_BAD_REQUEST);
    end(&p);
}

/* Fenced with several under way, each was sent again as (epoch + 1, 0): all but one were lost. */
Test(producer_cases, a_claim_numbers_all_of_them)
{
    struct play p = fixed(true);
    static const char *const m[] = {"a", "b", "c"};
    p.c.claim = true;
    begin(&p);
    for (size_t i = 0; i < COUNT(m); i++) {
        append(&p, m[i]);
        ds_producer_flush(p.p, p.now);
    }
    run(&p);
    cr_assert_eq(p.requests, 1);
    answer(&p, 0, 403, "Producer-Epoch: 9\n");
    run(&p);
    for (size_t i = 0; i < COUNT(m); i++) {
        sent(&p, i + 1, m[i]);
        cr_assert_eq(p.seqs[i + 1], i);
        cr_assert_eq(p.epochs[i + 1], p.epochs[1]);
        stores(&p, i + 1);
        run(&p);
    }
    told(&p, "+++");
    end(&p);
}

/* They were sent again at once, for ever. */
Test(producer_cases, a_403_without_epoch_and_a_409_without_number_end)
{
    static const struct {
        int status;
        enum dstream_code code;
    } row[] = {{403, DSTREAM_ERR_AUTH}, {409, DSTREAM_ERR_CONFLICT}};
    for (size_t i = 0; i < COUNT(row); i++) {
        struct play p = fixed(true);
        begin(&p);
        append(&p, "a");
        run(&p);
        answer(&p, 0, row[i].status, "");
        ends(&p, row[i].code);
        told(&p, "-");
        cr_assert_eq(p.requests, 1);
        end(&p);
    }
}

/* The client looped, or hung. */
Test(producer_cases, a_server_that_has_lost_the_producer_is_written_to_again)
{
    struct play p = fixed(true);
    p.c.fixed = false;
    p.c.unix_ms = 1800000000000;
    begin(&p);
    append(&p, "a");
    run(&p);
    stores(&p, 0);
    append(&p, "b");
    run(&p);
    answer(&p, 1, 409, "Producer-Expected-Seq: 0\n");
    run(&p);
    sent(&p, 2, "b");
    cr_assert_eq(p.seqs[2], 0);
    stores(&p, 2);
    run(&p);
    told(&p, "++");
    end(&p);
}

/* A 301 or 302 turned the POST into a GET, whose 200 was taken for a stored append. */
Test(producer_cases, a_redirect_that_does_not_keep_the_post_is_not_followed)
{
    static const int statuses[] = {301, 302, 303};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        struct play p = fixed(true);
        struct ds_head h = {
            .status = statuses[i], .retry_after_ms = -1, .redirect = "http://h/elsewhere"};
        struct ds_result r = {.end = DS_END_COMPLETE, .connected = true};
        begin(&p);
        append(&p, "a");
        run(&p);
        ds_producer_head(p.p, p.ids[0], &h, p.now);
        ds_producer_end(p.p, p.ids[0], &r);
        ends(&p, DSTREAM_ERR_OUTCOME_UNKNOWN);
        cr_assert_eq(ds_producer_cause(p.p)->code, DSTREAM_ERR_REDIRECT);
        cr_assert_eq(p.requests, 1);
        end(&p);
    }
}

/* The maximum of a batch was none; a 413 then lost it whole instead of splitting it. */
Test(producer_cases, the_maximum_of_a_batch_is_one)
{
    for (int json = 0; json < 2; json++) {
        struct play p = fixed(true);
        char m[2] = "0";
        p.c.content_type = json ? "application/json" : "text/plain";
        p.c.max_batch_bytes = 9;
        p.c.linger = 1;
        begin(&p);
        for (int i = 0; i < 50; i++) {
            m[0] = (char)('0' + i % 10);
            append(&p, m);
        }
        ds_producer_detach(p.p, p.now, -1);
        for (size_t served = 0; run(&p);) {
            while (served < p.requests)
                stores(&p, served++);
        }
        for (size_t i = 0; i < p.requests; i++)
            cr_assert_leq(strlen(p.bodies[i]), 9);
        cr_assert_eq(strlen(p.bodies[0]), 9);
        cr_assert_eq(strlen(p.fates), 50);
        end(&p);
    }
}

/* The timer fired while the window was full, and was never set again: the last message stayed. */
Test(producer_cases, what_lingered_behind_a_full_window_is_sent_once_there_is_room)
{
    struct play p = fixed(true);
    p.c.window = 1;
    p.c.linger = 10;
    begin(&p);
    append(&p, "a");
    pass(&p, 10);
    sent(&p, 0, "a");
    append(&p, "b");
    pass(&p, 10);
    pass(&p, 1000);
    cr_assert_eq(p.requests, 1);
    stores(&p, 0);
    run(&p);
    sent(&p, 1, "b");
    append(&p, "c");
    stores(&p, 1);
    run(&p);
    cr_assert_eq(p.requests, 2, "there is room, and it may linger");
    cr_assert_eq(p.waits_until, p.now + 10);
    pass(&p, 10);
    sent(&p, 2, "c");
    end(&p);
}

/* Append took without limit, until the process died. */
Test(producer_cases, what_is_buffered_is_bounded)
{
    struct play p = fixed(true);
    struct dstream_error err = {0};
    struct ds_producer_status st;
    enum ds_append rc;
    uint64_t id, n = 0;
    p.c.max_buffered = 20000;
    p.c.max_batch_bytes = 90;
    begin(&p);
    while ((rc = ds_producer_append(p.p, "message", 7, 0, p.now, &id, &err)) == DS_APPEND_TAKEN) {
        run(&p); /* a server that stands still */
        n++;
    }
    cr_assert_eq(rc, DS_APPEND_AGAIN);
    cr_assert_gt(n, 100);
    ds_producer_status(p.p, &st);
    cr_assert_leq(st.buffered, 20000);
    answer(&p, 0, 200, STORED);
    run(&p);
    append(&p, "again");
    end(&p);
}

/* Closing while batches had failed reported success. */
Test(producer_cases, a_close_behind_a_failure_is_refused)
{
    struct play p = fixed(true);
    struct dstream_error err = {0};
    p.c.skip_refused = true;
    begin(&p);
    append(&p, "a");
    run(&p);
    answer(&p, 0, 400, "");
    run(&p);
    cr_assert_eq(ds_producer_close_stream(p.p, NULL, 0, 0, false, p.now, &err), DSTREAM_ERR_STATE);
    cr_assert_eq(ds_producer_close_stream(p.p, NULL, 0, 0, true, p.now, &err), DSTREAM_OK);
    end(&p);
}

/* Users closed streams by "cleaning up". */
Test(producer_cases, only_closing_the_stream_closes_it)
{
    struct play p = fixed(true);
    begin(&p);
    append(&p, "a");
    ds_producer_detach(p.p, p.now, -1);
    run(&p);
    stores(&p, 0);
    ends(&p, DSTREAM_OK);
    for (size_t i = 0; i < p.requests; i++)
        cr_assert_not(p.close[i]);
    end(&p); /* nor does freeing it */
}

/* Messages were joined without brackets, and one that is an array was flattened. */
Test(producer_cases, json_messages_are_wrapped_one_by_one)
{
    struct play p = fixed(true);
    p.c.content_type = "application/json; charset=utf-8";
    p.c.linger = 10;
    begin(&p);
    append(&p, "[1,2]");
    append(&p, "{}");
    pass(&p, 10);
    sent(&p, 0, "[[1,2],{}]");
    append(&p, "[[3]]");
    stores(&p, 0);
    pass(&p, 10);
    sent(&p, 1, "[[[3]]]");
    end(&p);
}
