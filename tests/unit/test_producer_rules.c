/* SPDX-License-Identifier: Apache-2.0 */
/* The producer's rules that hold over several batches and answers. */
#include <criterion/criterion.h>

#include "base/alloc.h"
#include "tests/unit/producing.h"

#define FENCED   "Producer-Epoch: 9\n"
#define EXPECT_0 "Producer-Expected-Seq: 0\n"
#define EXPECT_1 "Producer-Expected-Seq: 1\n"

static struct play drawn(void)
{
    struct play p = fixed(true);
    p.c.fixed = false;
    p.c.unix_ms = 1800000000000;
    return p;
}

/* "a" is stored as number 0: several may be under way from now on. */
static void to_running(struct play *p)
{
    begin(p);
    append(p, "a");
    run(p);
    stores(p, 0);
    run(p);
    told(p, "+");
}

/* "b", "c" and "d" are under way, as numbers 1, 2, 3 and requests 1, 2, 3. */
static void three_under_way(struct play *p)
{
    static const char *const m[] = {"b", "c", "d"};
    to_running(p);
    for (size_t i = 0; i < COUNT(m); i++) {
        append(p, m[i]);
        run(p);
        sent(p, i + 1, m[i]);
    }
    cr_assert_eq(p->requests, 4);
}

/* --- what is in doubt ------------------------------------------------------------------------- */

/* How an attempt ends, and whether it leaves doubt: a refusal of the next one tells. */
static const struct {
    int status; /* 0: no answer, but */
    enum ds_end how;
    bool left, doubt;
} attempts[] = {
    {408, 0, true, true},
    {425, 0, true, true},
    {429, 0, true, false},
    {500, 0, true, true},
    {502, 0, true, true},
    {503, 0, true, true},
    {504, 0, true, true},
    {599, 0, true, true},
    {0, DS_END_CUT, true, true},
    {0, DS_END_CUT, false, false},
    {0, DS_END_RESOLVE, false, false},
    {0, DS_END_CONNECT, false, false},
    {0, DS_END_TLS, false, false},
};

Test(producer_rules, which_attempts_leave_doubt)
{
    for (size_t i = 0; i < COUNT(attempts); i++) {
        struct play p = fixed(true);
        begin(&p);
        append(&p, "a");
        run(&p);
        if (attempts[i].status)
            answer(&p, 0, attempts[i].status, "");
        else
            breaks(&p, 0, attempts[i].how, attempts[i].left);
        run(&p);
        cr_assert_eq(p.requests, 1, "at once");
        pass(&p, 1000);
        sent(&p, 1, "a");
        cr_assert_eq(p.seqs[1], 0);
        cr_assert_eq(p.epochs[1], 7);
        answer(&p, 1, 403, FENCED);
        ends(&p, attempts[i].doubt ? DSTREAM_ERR_OUTCOME_UNKNOWN : DSTREAM_ERR_FENCED);
        cr_assert_str_eq(p.fates, attempts[i].doubt ? "?" : "-", "case %zu: %s", i, p.fates);
        end(&p);
    }
}

/* It ends as unknown, what was never sent as not written, and nothing more is sent. */
Test(producer_rules, what_is_in_doubt_is_not_numbered_anew)
{
    struct play p = fixed(true);
    p.c.claim = true;
    begin(&p);
    append(&p, "a");
    run(&p);
    append(&p, "b");
    lose(&p, 0);
    run(&p);
    pass(&p, 1000);
    answer(&p, 1, 403, FENCED);
    ends(&p, DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_eq(p.requests, 2);
    told(&p, "?-");
    cr_assert_eq(ds_producer_cause(p.p)->code, DSTREAM_ERR_FENCED);
    end(&p);
}

Test(producer_rules, what_is_in_doubt_is_marked_where_duplicates_are_allowed)
{
    struct play p = fixed(true);
    p.c.claim = p.c.allow_duplicates = true;
    begin(&p);
    append(&p, "a");
    run(&p);
    lose(&p, 0);
    run(&p);
    pass(&p, 1000);
    answer(&p, 1, 403, FENCED);
    run(&p);
    sent(&p, 2, "a");
    cr_assert_gt(p.epochs[2], 10);
    stores(&p, 2);
    run(&p);
    told(&p, "+");
    cr_assert(p.last.maybe_duplicate);
    end(&p);
}

/* A refusal under the new number says nothing of the old one. */
Test(producer_rules, what_was_in_doubt_under_another_number_stays_so)
{
    static const int statuses[] = {400, 413, 404};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        struct play p = fixed(true);
        p.c.claim = p.c.allow_duplicates = true;
        begin(&p);
        append(&p, "a");
        run(&p);
        lose(&p, 0);
        run(&p);
        pass(&p, 1000);
        answer(&p, 1, 403, FENCED);
        run(&p);
        answer(&p, 2, statuses[i], "");
        ends(&p, DSTREAM_ERR_OUTCOME_UNKNOWN);
        told(&p, "?");
        end(&p);
    }
}

/* Base is refused while others are under way: it is not told before they have ended, and none of
 * them can be stored, with an answer or without. */
Test(producer_rules, a_refusal_waits_for_what_is_under_way)
{
    struct play p = fixed(true);
    three_under_way(&p);
    answer(&p, 1, 400, "");
    cr_assert(run(&p));
    told(&p, "+");
    answer(&p, 2, 409, EXPECT_1);
    cr_assert(run(&p));
    lose(&p, 3);
    ends(&p, DSTREAM_ERR_BAD_REQUEST);
    told(&p, "+---");
    cr_assert_eq(p.requests, 4);
    end(&p);
}

/* Of a 404 to base nothing follows for those behind it. */
Test(producer_rules, what_is_lost_behind_another_failure_stays_in_doubt)
{
    struct play p = fixed(true);
    three_under_way(&p);
    answer(&p, 1, 404, "");
    answer(&p, 2, 404, "");
    lose(&p, 3);
    ends(&p, DSTREAM_ERR_OUTCOME_UNKNOWN);
    told(&p, "+--?");
    end(&p);
}

/* What is cancelled counts as in doubt where it may have left. */
Test(producer_rules, what_is_cancelled_is_in_doubt_once_it_has_left)
{
    for (int left = 0; left < 2; left++) {
        struct play p = fixed(true);
        p.left = left;
        begin(&p);
        append(&p, "a");
        run(&p);
        append(&p, "b");
        ds_producer_detach(p.p, p.now, 500);
        cr_assert(pass(&p, 499));
        cr_assert_eq(p.aborts, 0);
        p.now++;
        ends(&p, left ? DSTREAM_ERR_OUTCOME_UNKNOWN : DSTREAM_ERR_TIMEOUT);
        cr_assert_eq(p.aborts, 1);
        told(&p, left ? "?-" : "--");
        end(&p);
    }
}

/* --- epochs ----------------------------------------------------------------------------------- */

static const struct {
    uint64_t unix_ms, highest, random, epoch;
    bool outranks; /* it can have been nobody's */
} draws[] = {
    {1800000000000, 0, 0, 1843200000000000, true},
    {1800000000000, 0, 1023, 1843200000001023, true},
    {1800000000000, 0, 1024 + 5, 1843200000000005, true},
    {1800000000000, 1843200000000005 - 1024, 5, 1843200000000005, true},
    /* Who claims from there could meet it. */
    {1800000000000, 1843200000000005 - 1023, 5, 1843200000000005 - 1023 + 2 + 5, false},
    {1800000000000, 1843200000000004, 5, 1843200000000004 + 2 + 5, false},
    {1800000000000, 1843200000000005, 5, 1843200000000005 + 2 + 5, false},
    {0, 5000, 0, 5002, false},
    {0, 5000, 1022, 5000 + 1 + 1023, false},
    {0, 5000, 1023, 5002, false},
    {UINT64_MAX, 5000, 0, 5002, false}, /* a clock that cannot be */
    {0, DS_EPOCH_MAX - 2, 77, DS_EPOCH_MAX, false},
};

Test(producer_rules, an_epoch_is_drawn_above_all_others)
{
    for (size_t i = 0; i < COUNT(draws); i++) {
        struct play p = drawn();
        struct ds_producer_status st;
        p.c.unix_ms = draws[i].unix_ms;
        p.c.highest = draws[i].highest;
        p.c.random = draws[i].random;
        begin(&p);
        append(&p, "a");
        run(&p);
        ds_producer_status(p.p, &st);
        cr_assert_eq(p.epochs[0], draws[i].epoch, "case %zu: %llu", i, p.epochs[0]);
        cr_assert_eq(st.epoch, draws[i].epoch);
        /* A number of it that is stored is ours only where the epoch can be nobody else's. */
        lose(&p, 0);
        run(&p);
        pass(&p, 1000);
        stores_as(&p, 1, 204);
        run(&p);
        told(&p, draws[i].outranks ? "+" : "?");
        end(&p);
    }
    struct play p = drawn();
    struct dstream_error err = {0};
    p.c.highest = DS_EPOCH_MAX - 1;
    cr_assert_eq(ds_producer_new(&p.p, &p.c, 0, &err), DSTREAM_ERR_LIMIT);
    cr_assert_null(p.p);
}

/* The answer to request n is lost, and to the next it is that it was stored before. */
static void repeated_as_stored(struct play *p, size_t n)
{
    run(p);
    lose(p, n);
    run(p);
    pass(p, 1000);
    stores_as(p, n + 1, 204);
    run(p);
}

/* The caller's word that its epoch, 7, was never used holds only above all that is known of. */
Test(producer_rules, what_is_known_of_is_not_fresh)
{
    static const struct {
        uint64_t highest, journal; /* 0: none */
        const char *fates;
    } row[] = {{0, 0, "+"}, {6, 6, "+"}, {7, 0, "?"}, {0, 7, "?"}, {8, 0, "?"}, {0, 8, "?"}};
    for (size_t i = 0; i < COUNT(row); i++) {
        struct play p = fixed(true);
        struct ds_producer_journal from = {.epoch = row[i].journal};
        p.c.highest = row[i].highest;
        p.c.journal = row[i].journal > 0;
        p.c.from = p.c.journal ? &from : NULL;
        begin(&p);
        append(&p, "a");
        repeated_as_stored(&p, 0);
        told(&p, row[i].fates);
        end(&p);
    }
}

/* Server epoch + 1 + r, r from 1 to 1023: others claim the next one. */
static const struct {
    uint64_t random, above;
} claims[] = {{0, 2}, {1, 3}, {1022, 1024}, {1023, 2}, {UINT64_MAX, 2 + UINT64_MAX % 1023}};

Test(producer_rules, a_claim_outranks_the_server_by_more_than_one)
{
    for (size_t i = 0; i < 2 * COUNT(claims); i++) {
        bool is_fixed = i % 2;
        struct play p = is_fixed ? fixed(true) : drawn();
        unsigned long long server;
        char fields[64];
        p.c.claim = is_fixed;
        p.random = claims[i / 2].random;
        begin(&p);
        append(&p, "a");
        run(&p);
        append(&p, "b");
        run(&p);
        cr_assert_eq(p.requests, 1, "several are under way before the first one is acknowledged");
        server = p.epochs[0] + 40;
        snprintf(fields, sizeof fields, "Producer-Epoch: %llu\n", server);
        answer(&p, 0, 403, fields);
        run(&p);
        cr_assert_eq(p.renumbered, DSTREAM_ERR_FENCED);
        sent(&p, 1, "a");
        cr_assert_eq(p.seqs[1], 0);
        cr_assert_eq(p.epochs[1], server + claims[i / 2].above, "case %zu: %llu", i, p.epochs[1]);
        cr_assert_eq(p.requests, 2);
        stores(&p, 1);
        run(&p);
        sent(&p, 2, "b");
        cr_assert_eq(p.seqs[2], 1);
        cr_assert_eq(p.epochs[2], p.epochs[1]);
        end(&p);
    }
}

static const struct {
    const char *epoch;
    enum dstream_code code;
} no_room[] = {
    {"Producer-Epoch: 9007199254740991\n", DSTREAM_ERR_LIMIT},
    {"Producer-Epoch: 9007199254740990\n", DSTREAM_ERR_LIMIT},
    {"Producer-Epoch: 9007199254740992\n", DSTREAM_ERR_PROTOCOL},
    {"Producer-Epoch: 18446744073709551617\n", DSTREAM_ERR_PROTOCOL},
    {"Producer-Epoch: x\n", DSTREAM_ERR_PROTOCOL},
    {"Producer-Epoch: -1\n", DSTREAM_ERR_PROTOCOL},
};

Test(producer_rules, an_epoch_that_leaves_no_room_is_an_error_of_its_own)
{
    for (size_t i = 0; i < COUNT(no_room); i++) {
        struct play p = fixed(true);
        p.c.claim = true;
        begin(&p);
        append(&p, "a");
        run(&p);
        answer(&p, 0, 403, no_room[i].epoch);
        ends(&p, no_room[i].code);
        told(&p, "-");
        cr_assert_eq(p.requests, 1);
        end(&p);
    }
}

/* Two that claim from each other would go on for ever. The first claim is no retry. */
static void claims_until_fenced(unsigned retries, size_t requests)
{
    struct play p = fixed(true);
    char fields[64];
    size_t n = 0;
    p.c.claim = true;
    p.c.limits.retries = retries;
    begin(&p);
    append(&p, "a");
    while (pass(&p, 1000)) {
        if (n == p.requests)
            continue; /* it waits */
        n = p.requests;
        snprintf(fields, sizeof fields, "Producer-Epoch: %llu\n", p.epochs[n - 1] + 1);
        answer(&p, n - 1, 403, fields);
    }
    ends(&p, DSTREAM_ERR_FENCED);
    cr_assert_eq(n, requests);
    told(&p, "-");
    end(&p);
}

Test(producer_rules, claims_are_limited)
{
    claims_until_fenced(5, 6);
    claims_until_fenced(0, 2);
}

/* --- tried again ------------------------------------------------------------------------------ */

/* min(30 s, 100 ms * 2^n), half of it here, until 120 s are over without progress. */
Test(producer_rules, waits_grow_until_the_time_is_over)
{
    struct play p = fixed(true);
    int64_t began = p.now, wait = 50;
    begin(&p);
    append(&p, "a");
    run(&p);
    append(&p, "b");
    for (size_t i = 0;; i++) {
        int64_t lost_at = p.now;
        lose(&p, i);
        if (!run(&p))
            break;
        cr_assert_eq(p.waits_until - lost_at, wait, "%zu: %lld", i,
                     (long long)(p.waits_until - lost_at));
        cr_assert(pass(&p, wait - 1));
        cr_assert_eq(p.requests, i + 1);
        pass(&p, 1);
        sent(&p, i + 1, "a");
        wait = wait < 15000 / 2 ? wait * 2 : 15000;
        if (wait > 12800)
            wait = i >= 8 ? 15000 : 12800;
    }
    cr_assert_eq(ds_producer_error(p.p)->code, DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_leq(p.now - began, 120000);
    cr_assert_geq(p.now - began, 120000 - 15000);
    told(&p, "?-");
    end(&p);
}

Test(producer_rules, waits_begin_anew_behind_progress)
{
    struct play p = fixed(true);
    begin(&p);
    append(&p, "a");
    run(&p);
    for (size_t i = 0; i < 4; i++) {
        lose(&p, i);
        run(&p);
        pass(&p, p.waits_until - p.now);
    }
    stores_as(&p, 4, 204);
    append(&p, "b");
    run(&p);
    lose(&p, 5);
    run(&p);
    cr_assert_eq(p.waits_until - p.now, 50);
    end(&p);
}

Test(producer_rules, what_is_not_tried_again)
{
    static const struct {
        int status;
        char fate;
    } row[] = {{405, '?'}, {406, '?'}, {415, '-'}, {416, '?'}, {431, '?'}, {501, '?'},
               {505, '?'}, {404, '-'}, {410, '-'}, {100, '?'}, {201, '?'}, {304, '?'}};
    for (size_t i = 0; i < COUNT(row); i++) {
        struct play p = fixed(true);
        char want[2] = {row[i].fate, '\0'};
        begin(&p);
        append(&p, "a");
        run(&p);
        answer(&p, 0, row[i].status, row[i].status == 201 ? STORED : "");
        cr_assert_not(run(&p), "%d", row[i].status);
        cr_assert_str_eq(p.fates, want, "%d: %s", row[i].status, p.fates);
        cr_assert_eq(p.requests, 1);
        end(&p);
    }
}

Test(producer_rules, retry_after_is_a_floor_and_ends_it_where_it_is_too_long)
{
    struct play p = fixed(true);
    begin(&p);
    append(&p, "a");
    run(&p);
    answer_later(&p, 0, 429, "", 7000);
    cr_assert(pass(&p, 0));
    cr_assert(pass(&p, 6999));
    cr_assert_eq(p.requests, 1);
    pass(&p, 1);
    sent(&p, 1, "a");
    answer_later(&p, 1, 429, "", 3000000000);
    ends(&p, DSTREAM_ERR_BUSY);
    told(&p, "-");
    cr_assert(p.last.retryable);
    end(&p);
}

/* Base alone, then the rest in order. */
Test(producer_rules, base_is_sent_again_alone)
{
    struct play p = fixed(true);
    three_under_way(&p);
    lose(&p, 1);
    answer(&p, 2, 409, EXPECT_1);
    lose(&p, 3);
    run(&p);
    pass(&p, 1000);
    cr_assert_eq(p.requests, 5);
    sent(&p, 4, "b");
    cr_assert_eq(p.seqs[4], 1);
    append(&p, "e");
    run(&p);
    cr_assert_eq(p.requests, 5);
    stores(&p, 4);
    run(&p);
    cr_assert_eq(p.requests, 8);
    sent(&p, 5, "c");
    sent(&p, 6, "d");
    sent(&p, 7, "e");
    for (size_t i = 5; i < 8; i++)
        cr_assert_eq(p.seqs[i], i - 3);
    end(&p);
}

Test(producer_rules, nothing_is_sent_beyond_the_window)
{
    struct play p = fixed(true);
    p.c.window = 3;
    three_under_way(&p);
    append(&p, "e");
    run(&p);
    cr_assert_eq(p.requests, 4);
    stores(&p, 2); /* not base: the window does not move */
    run(&p);
    cr_assert_eq(p.requests, 4);
    told(&p, "+");
    stores(&p, 1);
    run(&p);
    sent(&p, 4, "e");
    told(&p, "+++");
    end(&p);
}

/* --- 204 -------------------------------------------------------------------------------------- */

/* To a batch that was never sent before, under an epoch drawn from the clock. */
Test(producer_rules, a_204_to_a_first_try_is_ours_up_to_what_was_sent)
{
    static const struct {
        bool running;
        const char *seq; /* behind the echo of the epoch */
        const char *fates;
        enum dstream_code code; /* DSTREAM_OK: goes on */
        bool claims;
    } row[] = {
        {false, "Producer-Seq: 0\n", "+", DSTREAM_OK, false},
        {false, "Producer-Seq: 3\n", "", DSTREAM_OK, true},
        {false, "", "?", DSTREAM_ERR_OUTCOME_UNKNOWN, false},
        {true, "Producer-Seq: 1\n", "++", DSTREAM_OK, false},
        {true, "Producer-Seq: 2\n", "+-", DSTREAM_ERR_FENCED, false},
        {true, "Producer-Seq: 0\n", "+?", DSTREAM_ERR_OUTCOME_UNKNOWN, false},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct play p = drawn();
        char fields[128];
        if (row[i].running) {
            to_running(&p);
            append(&p, "b");
        } else {
            begin(&p);
            append(&p, "a");
        }
        run(&p);
        size_t n = p.requests - 1;
        snprintf(fields, sizeof fields, "Producer-Epoch: %llu\n%s", p.epochs[n], row[i].seq);
        answer(&p, n, 204, fields);
        bool goes_on = run(&p);
        cr_assert_eq(goes_on, row[i].code == DSTREAM_OK, "case %zu", i);
        cr_assert_str_eq(p.fates, row[i].fates, "case %zu: %s", i, p.fates);
        cr_assert_eq(ds_producer_error(p.p)->code, row[i].code);
        cr_assert_eq(p.requests, n + 1 + row[i].claims, "case %zu", i);
        if (row[i].claims)
            cr_assert_gt(p.epochs[n + 1], p.epochs[n] + 1);
        end(&p);
    }
}

/* Under the caller's own epoch that may have been used: a 200 shows that nobody else writes. */
Test(producer_rules, a_200_shows_that_the_numbers_are_ours)
{
    struct play p = fixed(false);
    to_running(&p);
    append(&p, "b");
    repeated_as_stored(&p, 1);
    told(&p, "++");
    end(&p);
}

Test(producer_rules, what_is_resubmitted_was_sent_before)
{
    static const struct {
        int status;
        const char *fields, *fates;
        enum dstream_code code;
        bool duplicate;
    } row[] = {
        {200, STORED, "+", DSTREAM_OK, false},
        {204, STORED, "+", DSTREAM_OK, true},
        {204, "Producer-Epoch: 7\nProducer-Seq: 9\n", "+", DSTREAM_OK, true},
        {400, "", "?", DSTREAM_ERR_OUTCOME_UNKNOWN, false},
        {413, "", "?", DSTREAM_ERR_OUTCOME_UNKNOWN, false},
        {403, FENCED, "?", DSTREAM_ERR_OUTCOME_UNKNOWN, false},
        {409, "Stream-Closed: true\n", "?", DSTREAM_ERR_OUTCOME_UNKNOWN, false},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct play p = fixed(false);
        p.c.resubmit = true;
        begin(&p);
        append(&p, "a");
        run(&p);
        answer(&p, 0, row[i].status, row[i].fields);
        cr_assert_eq(run(&p), row[i].code == DSTREAM_OK, "case %zu", i);
        cr_assert_str_eq(p.fates, row[i].fates, "case %zu: %s", i, p.fates);
        cr_assert_eq(ds_producer_error(p.p)->code, row[i].code);
        cr_assert_eq(p.last.duplicate, row[i].duplicate);
        end(&p);
    }
}

/* --- 403 -------------------------------------------------------------------------------------- */

/* No tug of war: who has written once claims no more. */
Test(producer_rules, who_was_acknowledged_is_fenced_for_good)
{
    for (int claim = 0; claim < 2; claim++) {
        struct play p = fixed(true);
        p.c.claim = claim;
        to_running(&p);
        append(&p, "b");
        run(&p);
        answer(&p, 1, 403, FENCED);
        ends(&p, DSTREAM_ERR_FENCED);
        told(&p, "+-");
        cr_assert_eq(p.requests, 2);
        end(&p);
    }
}

static const struct {
    int status;
    const char *fields;
} unauthorized[] = {{401, ""}, {403, ""}, {403, "Producer-Epoch: 7\n"}, {401, FENCED}};

Test(producer_rules, other_credentials_are_asked_for_once_until_something_succeeds)
{
    for (size_t i = 0; i < COUNT(unauthorized); i++) {
        struct play p = fixed(true);
        p.c.auth_hook = p.renews = true;
        begin(&p);
        for (size_t n = 0; n < 2; n++) {
            append(&p, "a");
            run(&p);
            answer(&p, 2 * n, unauthorized[i].status, unauthorized[i].fields);
            run(&p);
            cr_assert_eq(p.auths, n + 1, "case %zu", i);
            sent(&p, 2 * n + 1, "a");
            cr_assert_eq(p.seqs[2 * n + 1], n);
            stores(&p, 2 * n + 1);
            run(&p);
        }
        append(&p, "b");
        run(&p);
        answer(&p, 4, unauthorized[i].status, unauthorized[i].fields);
        run(&p);
        answer(&p, 5, unauthorized[i].status, unauthorized[i].fields);
        ends(&p, DSTREAM_ERR_AUTH);
        cr_assert_eq(p.auths, 3);
        told(&p, "++-");
        end(&p);
    }
}

/* --- 409 -------------------------------------------------------------------------------------- */

Test(producer_rules, what_was_overtaken_waits_until_it_is_base)
{
    struct play p = fixed(true);
    three_under_way(&p);
    answer(&p, 3, 409, EXPECT_1);
    answer(&p, 2, 409, EXPECT_1);
    pass(&p, 5000);
    cr_assert_eq(p.requests, 4);
    stores(&p, 1);
    run(&p);
    sent(&p, 4, "c");
    cr_assert_eq(p.seqs[4], 2);
    cr_assert_eq(p.requests, 5);
    stores(&p, 4);
    run(&p);
    sent(&p, 5, "d");
    stores(&p, 5);
    run(&p);
    told(&p, "++++");
    end(&p);
}

/* The server waits for a number that it has acknowledged. */
Test(producer_rules, lost_state_is_numbered_anew_only_without_doubt)
{
    enum { FIXED, DOUBT, DUPLICATES, CASES };
    for (int i = -1; i < CASES; i++) {
        struct play p = i == FIXED ? fixed(true) : drawn();
        p.c.allow_duplicates = i == DUPLICATES;
        three_under_way(&p);
        if (i == DOUBT || i == DUPLICATES)
            lose(&p, 3);
        else
            answer(&p, 3, 409, EXPECT_0);
        answer(&p, 2, 409, EXPECT_0);
        answer(&p, 1, 409, EXPECT_0);
        bool goes_on = run(&p);
        if (i == FIXED || i == DOUBT) {
            cr_assert_not(goes_on);
            told(&p, i == DOUBT ? "+--?" : "+---");
            cr_assert_eq(ds_producer_cause(p.p)->code, DSTREAM_ERR_STATE_LOST);
        } else {
            cr_assert_eq(p.renumbered, DSTREAM_ERR_STATE_LOST);
            cr_assert_eq(p.requests, 5, "one at a time under a new epoch");
            cr_assert_gt(p.epochs[4], p.epochs[0] + 1);
            for (size_t k = 4; k < 7; k++) {
                cr_assert_eq(p.seqs[k], k - 4);
                stores(&p, k);
                run(&p);
            }
            told(&p, "++++");
            cr_assert_eq(p.last.maybe_duplicate, i == DUPLICATES);
        }
        end(&p);
    }
}

/* --- 400 and 413 ------------------------------------------------------------------------------ */

Test(producer_rules, a_refusal_counts_only_for_base)
{
    static const int statuses[] = {400, 413};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        struct play p = fixed(true);
        three_under_way(&p);
        answer(&p, 2, statuses[i], "");
        pass(&p, 5000);
        cr_assert_eq(p.requests, 4);
        stores(&p, 1);
        run(&p);
        sent(&p, 4, "c"); /* now it is base */
        answer(&p, 4, statuses[i], "");
        answer(&p, 3, 409, "Producer-Expected-Seq: 2\n");
        ends(&p, statuses[i] == 413 ? DSTREAM_ERR_TOO_LARGE : DSTREAM_ERR_BAD_REQUEST);
        told(&p, "++--");
        end(&p);
    }
}

Test(producer_rules, what_is_refused_can_be_skipped)
{
    struct play p = fixed(true);
    p.c.skip_refused = true;
    three_under_way(&p);
    answer(&p, 1, 400, "");
    answer(&p, 2, 409, EXPECT_1);
    lose(&p, 3); /* it cannot be stored either */
    run(&p);
    told(&p, "+-");
    cr_assert_eq(p.code, DSTREAM_ERR_BAD_REQUEST);
    sent(&p, 4, "c");
    cr_assert_gt(p.epochs[4], 8);
    cr_assert_eq(p.seqs[4], 0);
    stores(&p, 4);
    run(&p);
    stores(&p, 5);
    ds_producer_detach(p.p, p.now, -1);
    ends(&p, DSTREAM_ERR_BAD_REQUEST); /* no success where a message is missing */
    told(&p, "+-++");
    end(&p);
}

/* Only a server that has lost its memory refuses what is before something that it has stored. */
Test(producer_rules, what_was_stored_behind_a_refused_message_is_told)
{
    struct play p = fixed(true);
    p.c.skip_refused = p.c.allow_duplicates = true;
    three_under_way(&p);
    stores(&p, 2);
    stores(&p, 3);
    lose(&p, 1);
    run(&p);
    pass(&p, 1000);
    answer(&p, 4, 400, "");
    ds_producer_detach(p.p, p.now, -1);
    ends(&p, DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_eq(ds_producer_cause(p.p)->code, DSTREAM_ERR_BAD_REQUEST);
    told(&p, "+?++");
    end(&p);
}

/* 8 messages, of which the server takes 2 at once. */
Test(producer_rules, a_413_splits_as_often_as_it_takes)
{
    for (int json = 0; json < 2; json++) {
        struct play p = fixed(true);
        static const char *const m[] = {"1", "2", "3", "4", "5", "6", "7", "8"};
        char all[256] = "";
        p.c.content_type = json ? "application/json" : "text/plain";
        p.c.linger = 10;
        begin(&p);
        for (size_t i = 0; i < COUNT(m); i++)
            append(&p, m[i]);
        pass(&p, 10);
        for (size_t i = 0; i < p.requests; i++) {
            bool fits = strlen(p.bodies[i]) <= (json ? 5 : 2);
            if (fits) {
                strcat(all, p.bodies[i]);
                stores(&p, i);
            } else {
                answer(&p, i, 413, "");
            }
            run(&p);
        }
        cr_assert_str_eq(all, json ? "[1,2][3,4][5,6][7,8]" : "12345678");
        told(&p, "++++++++");
        /* It has learnt. */
        size_t n = p.requests;
        append(&p, "1");
        append(&p, "2");
        append(&p, "3");
        pass(&p, 10);
        sent(&p, n, json ? "[1,2]" : "12");
        end(&p);
    }
}

/* --- messages --------------------------------------------------------------------------------- */

Test(producer_rules, json_is_looked_at_or_trusted)
{
    for (int trusted = 0; trusted < 2; trusted++) {
        struct play p = fixed(true);
        struct dstream_error err = {0};
        uint64_t id;
        p.c.content_type = "application/json";
        p.c.trusted = trusted;
        begin(&p);
        enum ds_append rc = ds_producer_append(p.p, "{\"a\":", 5, 0, p.now, &id, &err);
        cr_assert_eq(rc, trusted ? DS_APPEND_TAKEN : DS_APPEND_REFUSED);
        cr_assert_eq(err.code, trusted ? DSTREAM_OK : DSTREAM_ERR_INPUT);
        end(&p);
    }
}

Test(producer_rules, a_batch_has_its_number_of_messages)
{
    struct play p = fixed(true);
    p.c.max_batch_items = 2;
    p.c.linger = 100000;
    p.c.window = 64;
    begin(&p);
    for (int i = 0; i < 5; i++)
        append(&p, "a");
    run(&p);
    sent(&p, 0, "aa");
    stores(&p, 0);
    run(&p);
    sent(&p, 1, "aa");
    cr_assert_eq(p.requests, 2, "the last one still lingers");
    end(&p);
}

/* --- the verbs -------------------------------------------------------------------------------- */

Test(producer_rules, a_flush_lets_nothing_linger)
{
    struct play p = fixed(true);
    struct ds_producer_status st;
    p.c.linger = 100000;
    begin(&p);
    cr_assert_eq(ds_producer_flush(p.p, p.now), 0);
    append(&p, "a");
    append(&p, "b");
    run(&p);
    cr_assert_eq(p.requests, 0);
    cr_assert_eq(ds_producer_flush(p.p, p.now), 2);
    append(&p, "c");
    run(&p);
    sent(&p, 0, "ab");
    stores(&p, 0);
    run(&p);
    ds_producer_status(p.p, &st);
    cr_assert_eq(st.settled, 2);
    cr_assert_eq(p.requests, 1);
    end(&p);
}

Test(producer_rules, a_restart_separates_epochs)
{
    struct play p = fixed(true);
    struct dstream_error err = {0};
    p.c.linger = 1000;
    begin(&p);
    append(&p, "a");
    pass(&p, 1000);
    stores(&p, 0);
    run(&p);
    append(&p, "b");
    cr_assert_eq(ds_producer_restart(p.p, p.now, 0, &err), DSTREAM_OK);
    append(&p, "c");
    pass(&p, 1000);
    cr_assert_eq(p.requests, 2, "what comes after it waits");
    sent(&p, 1, "b");
    cr_assert_eq(p.epochs[1], 7);
    stores(&p, 1);
    run(&p);
    sent(&p, 2, "c");
    cr_assert_gt(p.epochs[2], 8);
    cr_assert_eq(p.seqs[2], 0);
    stores(&p, 2);
    run(&p);
    told(&p, "+++");
    /* With nothing to wait for, at once. */
    cr_assert_eq(ds_producer_restart(p.p, p.now, 0, &err), DSTREAM_OK);
    append(&p, "d");
    pass(&p, 1000);
    cr_assert_gt(p.epochs[3], p.epochs[2] + 1);
    stores(&p, 3);
    ds_producer_detach(p.p, p.now, -1);
    ends(&p, DSTREAM_OK);
    cr_assert_eq(ds_producer_restart(p.p, p.now, 0, &err), DSTREAM_ERR_STATE);
    end(&p);
}

Test(producer_rules, what_is_resubmitted_cannot_be_restarted)
{
    struct play p = fixed(true);
    struct dstream_error err = {0};
    p.c.resubmit = true;
    begin(&p);
    cr_assert_eq(ds_producer_restart(p.p, p.now, 0, &err), DSTREAM_ERR_STATE);
    end(&p);
}

Test(producer_rules, detaching_takes_nothing_more_and_leaves_the_stream_open)
{
    struct play p = fixed(true);
    struct dstream_error err = {0};
    uint64_t id;
    p.c.linger = 100000;
    begin(&p);
    append(&p, "a");
    ds_producer_detach(p.p, p.now, -1);
    run(&p);
    sent(&p, 0, "a");
    cr_assert_not(p.close[0]);
    cr_assert_eq(ds_producer_append(p.p, "b", 1, 0, p.now, &id, &err), DS_APPEND_REFUSED);
    cr_assert_eq(err.code, DSTREAM_ERR_STATE);
    cr_assert_eq(ds_producer_close_stream(p.p, NULL, 0, 0, false, p.now, &err), DSTREAM_ERR_STATE);
    cr_assert(pass(&p, 10000));
    stores(&p, 0);
    ends(&p, DSTREAM_OK);
    cr_assert_null(ds_producer_final_offset(p.p));
    ds_producer_detach(p.p, p.now, 0); /* no effect */
    ends(&p, DSTREAM_OK);
    end(&p);
    /* Of nothing. */
    p = fixed(true);
    begin(&p);
    ds_producer_detach(p.p, p.now, 0);
    ends(&p, DSTREAM_OK);
    cr_assert_eq(p.requests, 0);
    end(&p);
}

/* --- closing ---------------------------------------------------------------------------------- */

static void close_it(struct play *p, const char *message)
{
    struct dstream_error err = {0};
    cr_assert_eq(ds_producer_close_stream(p->p, message, message ? strlen(message) : 0, 0, false,
                                          p->now, &err),
                 DSTREAM_OK, "%s", err.message);
}

/* The same number each time, and the close goes along. */
Test(producer_rules, a_close_is_tried_again_under_its_number)
{
    struct play p = fixed(true);
    struct dstream_error err = {0};
    uint64_t id;
    to_running(&p);
    close_it(&p, "z");
    close_it(&p, "no effect");
    run(&p);
    lose(&p, 1);
    run(&p);
    pass(&p, 1000);
    sent(&p, 2, "z");
    cr_assert(p.close[1] && p.close[2]);
    cr_assert_eq(p.seqs[1], 1);
    cr_assert_eq(p.seqs[2], 1);
    stores_as(&p, 2, 204); /* the epoch is fresh */
    ends(&p, DSTREAM_OK);
    told(&p, "++");
    cr_assert_str_eq(ds_producer_final_offset(p.p), "1");
    cr_assert_eq(ds_producer_append(p.p, "b", 1, 0, p.now, &id, &err), DS_APPEND_REFUSED);
    cr_assert_eq(err.code, DSTREAM_ERR_CLOSED);
    close_it(&p, NULL);
    end(&p);
}

/* Whether a 204 to a close means that it was closed by us. */
Test(producer_rules, a_204_to_a_close)
{
    static const struct {
        bool fresh, body;
        const char *head; /* what HEAD says; NULL: is not asked */
        const char *fates;
        enum dstream_code code;
    } row[] = {
        {true, true, NULL, "+", DSTREAM_OK},
        {false, true, NULL, "?", DSTREAM_ERR_OUTCOME_UNKNOWN},
        {true, false, "Stream-Closed: true\nStream-Next-Offset: 1\n", "+", DSTREAM_OK},
        {false, false, "Stream-Closed: true\nStream-Next-Offset: 1\n", "+", DSTREAM_OK},
        {true, false, "Stream-Next-Offset: 1\n", "-", DSTREAM_ERR_FENCED},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct play p = fixed(row[i].fresh);
        begin(&p);
        close_it(&p, row[i].body ? "z" : NULL);
        run(&p);
        cr_assert(p.close[0]);
        stores_as(&p, 0, 204);
        bool goes_on = run(&p);
        for (size_t n = 1; row[i].head && n < p.requests && goes_on; n++) {
            cr_assert_eq(p.methods[n], DS_HEAD, "case %zu", i);
            answer(&p, n, 200, row[i].head);
            goes_on = run(&p) && pass(&p, 1000);
        }
        cr_assert_not(goes_on, "case %zu", i);
        cr_assert_str_eq(p.fates, row[i].fates, "case %zu: %s", i, p.fates);
        cr_assert_eq(ds_producer_error(p.p)->code, row[i].code, "case %zu: %s", i,
                     ds_producer_error(p.p)->message);
        end(&p);
    }
}

/* To one that was stored, a stream that another has closed since answers as to any other. */
Test(producer_rules, a_stream_closed_by_another_leaves_what_was_sent_in_doubt)
{
    struct play p = fixed(true);
    to_running(&p);
    append(&p, "b");
    run(&p);
    answer(&p, 1, 429, ""); /* definitely not stored, but sent */
    run(&p);
    append(&p, "c");
    pass(&p, 1000);
    answer(&p, 2, 409, "Stream-Closed: true\n");
    ends(&p, DSTREAM_ERR_OUTCOME_UNKNOWN);
    told(&p, "+?-");
    cr_assert_eq(ds_producer_cause(p.p)->code, DSTREAM_ERR_CLOSED);
    end(&p);
}

Test(producer_rules, a_stream_is_not_closed_where_a_message_is_missing)
{
    enum { BEFORE, AFTER, FORCED_BEFORE, FORCED_AFTER, CASES };
    for (int i = 0; i < CASES; i++) {
        struct play p = fixed(true);
        struct dstream_error err = {0};
        bool before = i == BEFORE || i == FORCED_BEFORE, force = i >= FORCED_BEFORE;
        p.c.skip_refused = true;
        to_running(&p);
        append(&p, "b");
        run(&p);
        if (before) {
            answer(&p, 1, 400, "");
            run(&p);
        }
        enum dstream_code rc = ds_producer_close_stream(p.p, NULL, 0, 0, force, p.now, &err);
        cr_assert_eq(rc, i == BEFORE ? DSTREAM_ERR_STATE : DSTREAM_OK, "case %d", i);
        if (i == BEFORE)
            ds_producer_detach(p.p, p.now, -1);
        if (!before)
            answer(&p, 1, 400, "");
        bool goes_on = run(&p);
        if (force) {
            cr_assert(goes_on);
            cr_assert(p.close[p.requests - 1]);
            stores(&p, p.requests - 1);
        }
        ends(&p, DSTREAM_ERR_BAD_REQUEST);
        cr_assert_eq(ds_producer_final_offset(p.p) != NULL, force, "case %d", i);
        told(&p, i == BEFORE ? "+-" : i == AFTER ? "+--" : "+-+");
        end(&p);
    }
}

/* --- the journal ------------------------------------------------------------------------------ */

Test(producer_rules, nothing_is_sent_or_told_before_its_record_is_durable)
{
    struct play p = drawn();
    p.c.journal = p.not_durable = true;
    begin(&p);
    append(&p, "a");
    run(&p);
    cr_assert_eq(p.requests, 0);
    ds_producer_durable(p.p, 1);
    run(&p);
    sent(&p, 0, "a");
    stores(&p, 0);
    run(&p);
    told(&p, "");
    ds_producer_durable(p.p, 2);
    run(&p);
    told(&p, "+");
    end(&p);
}

/* Nothing is wrong with the batches, so that the next run can send them. */
Test(producer_rules, a_journal_keeps_what_lacks_credentials)
{
    for (int renews = 0; renews < 2; renews++) {
        struct play p = drawn();
        p.c.journal = true;
        p.c.auth_hook = renews;
        three_under_way(&p);
        answer(&p, 1, 401, "");
        answer(&p, 2, 401, "");
        lose(&p, 3);
        cr_assert_not(run(&p));
        ends(&p, DSTREAM_ERR_AUTH);
        told(&p, "+kkk");
        end(&p);
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

/* A server that stores, loses its first answer, and finds the first batch too large. */
static void serve(struct play *p, size_t i, char *stored)
{
    if (i == 0) {
        answer(p, i, 413, "");
    } else if (i == 2) {
        strcat(stored, p->bodies[i]);
        lose(p, i);
    } else if (i == 3 && strstr(stored, p->bodies[i])) {
        stores_as(p, i, 204);
    } else {
        strcat(stored, p->bodies[i]);
        stores(p, i);
    }
}

/* False where there was no memory for it. */
static bool feed(struct play *p, const char *m, bool last)
{
    struct dstream_error err = {0};
    uint64_t id;
    if (last)
        return ds_producer_close_stream(p->p, m, strlen(m), 0, false, p->now, &err) == DSTREAM_OK;
    return ds_producer_append(p->p, m, strlen(m), 0, p->now, &id, &err) == DS_APPEND_TAKEN;
}

/* What is told is true, whatever allocation fails. Returns whether all was stored. */
static bool live_with(long allocation)
{
    static const char *const m[] = {"1", "2", "3", "4", "5"};
    struct play p = drawn();
    struct dstream_error err = {0};
    char stored[256] = "", taken[8] = "";
    p.c.linger = 10;
    p.c.max_batch_items = 4;
    p.c.journal = allocation % 2;
    ds_alloc_fail_after(allocation);
    if (ds_producer_new(&p.p, &p.c, p.now, &err) != DSTREAM_OK) {
        cr_assert_eq(err.code, DSTREAM_ERR_NOMEM);
        return false;
    }
    for (size_t i = 0; i < COUNT(m); i++) {
        if (feed(&p, m[i], i + 1 == COUNT(m)))
            strcat(taken, m[i]);
    }
    ds_producer_detach(p.p, p.now, -1);
    size_t served = 0;
    for (int guard = 0; run(&p) && guard < 100; guard++) {
        while (served < p.requests)
            serve(&p, served++, stored);
        p.now += 1000;
    }
    ds_alloc_fail_after(-1);
    cr_assert_eq(strlen(p.fates), strlen(taken), "%ld: %s of %s", allocation, p.fates, taken);
    for (size_t i = 0; i < strlen(taken); i++) {
        bool is = strchr(stored, taken[i]);
        cr_assert(p.fates[i] == '?' || is == (p.fates[i] == '+'), "%ld: %s of %s, stored %s",
                  allocation, p.fates, taken, stored);
    }
    end(&p);
    return strcmp(stored, "12345") == 0 && strcmp(p.fates, "+++++") == 0;
}

Test(producer_rules, fates_are_true_whatever_allocation_fails)
{
    unsigned whole = 0;
    long n = 0;
    cr_assert(live_with(-1));
    while (whole < 20 && n < 1000)
        whole = live_with(n++) ? whole + 1 : 0;
    cr_assert_gt(n, 40);
    cr_assert_lt(n, 1000, "it never has enough");
}
