/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's state machine: rules that hold over several answers. */
#include "config.h"

#include "tests/unit/playing.h"

#define CONTROL(fields) "event: control\ndata: {" fields "}\n\n"
#define TAIL_A          CONTROL("\"streamNextOffset\":\"a\",\"upToDate\":true")

static void to_sse(struct play *p)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD, "[0]");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "");
}

/* --- credentials, suspicions and bad answers over SSE ----------------------------------------- */

static void sse_with_hook(struct ds_reader_config *c)
{
    live_auto(c);
    c->auth = true;
}

/* A healthy event stream is a success: an hour later there may be other credentials again. */
SCENARIO(reader_auth, is_asked_for_again_after_an_event_stream, sse_with_hook)
{
    p->renews = true;
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD, "[0]");
    for (unsigned i = 1; i <= 3; i++) {
        asks(p, "live=sse&offset=a");
        answers(p, 401, "", "");
        asks(p, "live=sse&offset=a");
        cr_assert_eq(p->auth_asked, i);
        opens_sse(p, "");
        body(p, TAIL_A);
        p->now += 60000;
        over(p, DS_END_COMPLETE);
    }
}

SCENARIO(reader_auth, an_event_stream_that_says_nothing_is_no_success, sse_with_hook)
{
    p->renews = true;
    p->random = 12345;
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD, "[0]");
    asks(p, "live=sse&offset=a");
    answers(p, 401, "", "");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "");
    over(p, DS_END_COMPLETE);
    waits(p, 0, 5000);
    asks(p, "live=sse&offset=a");
    answers(p, 401, "", "");
    ends(p, DSTREAM_ERR_AUTH);
    cr_assert_eq(p->auth_asked, 1);
}

static void sse_lagging(struct ds_reader_config *c)
{
    live_auto(c);
    c->limits.replica_lag = 10000;
}

/* What an event stream showed to be itself is no longer in doubt. */
SCENARIO(reader_lag, an_event_stream_that_goes_on_ends_the_doubt, sse_lagging)
{
    to_sse(p);
    for (int i = 0; i < 3; i++) {
        body(p, CONTROL("\"streamNextOffset\":\"Z\",\"upToDate\":true"));
        waits(p, 1000, 1000);
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
        body(p, TAIL_A);
        p->now += 3600000;
    }
    over(p, DS_END_COMPLETE);
    asks(p, "live=sse&offset=a");
    answers(p, 404, "", "");
    waits(p, 1000, 1000);
}

SCENARIO(reader_sse, one_that_works_makes_up_for_bad_answers_before, live_auto)
{
    to_sse(p);
    for (int i = 0; i < 3; i++) {
        fails(p, DS_END_CUT);
        waits(p, 0, 30000);
        asks(p, "offset=a");
        answers(p, 200, JSON, "[1]");
        waits(p, 0, 30000);
        asks(p, "offset=a");
        answers(p, 200, JSON, "[1]");
        waits(p, 0, 30000);
        asks(p, "offset=a");
        answers(p, 200, JSON NEXT("a") UTD, "[]");
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
        body(p, TAIL_A);
    }
}

/* --- falling back, and the way back ----------------------------------------------------------- */

/* Three short connections. */
static void falls_back(struct play *p)
{
    to_sse(p);
    for (int i = 0; i < 2; i++) {
        over(p, DS_END_COMPLETE);
        waits(p, 0, 5000);
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
    }
    over(p, DS_END_COMPLETE);
    asks(p, "live=long-poll&offset=a");
}

static void polls_for(struct play *p, int64_t ms)
{
    asks(p, "live=long-poll&offset=a");
    p->now += ms;
    answers(p, 204, NEXT("a") UTD, "");
}

/* 5, 10, 20, 40, 60, 60 ... minutes. */
SCENARIO(reader_sse, is_tried_again_ever_more_rarely_until_once_an_hour, live_auto)
{
    static const int64_t minutes[] = {5, 10, 20, 40, 60, 60};
    p->random = 12345;
    falls_back(p);
    for (size_t i = 0; i < sizeof minutes / sizeof *minutes; i++) {
        polls_for(p, minutes[i] * 60000 - 1000);
        polls_for(p, 2000);
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
        over(p, DS_END_COMPLETE);
    }
    polls_for(p, 0);
}

/* A refusal is for the session, also where it comes to a second try. */
SCENARIO(reader_sse, that_is_refused_when_tried_again_is_given_up, live_auto)
{
    p->random = 12345;
    falls_back(p);
    polls_for(p, 301000);
    asks(p, "live=sse&offset=a");
    answers(p, 405, "", "");
    for (int i = 0; i < 10; i++)
        polls_for(p, 3600000);
    cr_assert_str_eq(p->notices, "f");
}

/* --- an end that is named ahead --------------------------------------------------------------- */

SCENARIO(reader_poll, an_end_that_was_named_is_looked_for_by_plain_gets_until_it_is_there,
         live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    answers(p, 204, NEXT("c") END, "");
    asks(p, "offset=a");
    answers(p, 200, TEXT NEXT("b") UTD, "y");
    asks(p, "offset=b");
    answers(p, 200, TEXT NEXT("c") END, "z");
    ends(p, DSTREAM_OK);
    last(p, "b+0>c utd closed");
    got(p, "xyz");
}

/* --- what is left out ------------------------------------------------------------------------- */

static void skip_2(struct ds_reader_config *c)
{
    c->offset = "a";
    c->skip = 2;
}

static void skip_2_seen(struct ds_reader_config *c)
{
    skip_2(c);
    c->seen = true;
}

static void skip_2_live_at_once(struct ds_reader_config *c)
{
    skip_2_seen(c);
    c->content_type = "text/plain";
    c->live = DSTREAM_LIVE_LONG_POLL;
    c->live_at_once = true;
}

/* A position that is handed out while some is still to be left out would not say how much. */
SCENARIO(reader_skip, a_position_named_twice_without_data_is_not_handed_out, skip_2)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b"), "");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b"), "");
    asks(p, "offset=b");
    cr_assert_eq(p->batches, 0);
    cr_assert_eq(ds_reader_skip(p->r), 2);
    answers(p, 200, BIN NEXT("c") UTD, "xyz");
    ends(p, DSTREAM_OK);
    last(p, "b+2>c utd");
    got(p, "z");
}

SCENARIO(reader_skip, a_tail_named_twice_before_it_is_used_up_is_another_stream, skip_2_seen)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") END, "");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") END, "");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    cr_assert_eq(p->batches, 0);
}

SCENARIO(reader_skip, comes_before_going_live_at_once, skip_2_live_at_once)
{
    asks(p, "offset=a");
    answers(p, 200, TEXT NEXT("b") UTD, "xyz");
    asks(p, "live=long-poll&offset=b");
    got(p, "z");
}

SCENARIO(reader_skip, that_a_stream_does_not_have_is_another_live_at_once, skip_2_live_at_once)
{
    asks(p, "offset=a");
    answers(p, 200, TEXT NEXT("a") UTD, "");
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

/* --- parts ------------------------------------------------------------------------------------ */

static void parts(struct ds_reader_config *c)
{
    c->parts = true;
    c->limits.max_part = 3;
    c->limits.max_body = 64;
}

static void parts_live(struct ds_reader_config *c)
{
    parts(c);
    c->live = DSTREAM_LIVE_LONG_POLL;
}

static void cut_in_parts(struct play *p)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a"), "x");
    asks(p, "offset=a");
    head(p, 200, TEXT NEXT("z") UTD);
    body(p, "0123456789");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    cr_assert_geq(ds_reader_skip(p->r), 8);
}

/* The position moves without data: what was handed out before is compared all the same. */
SCENARIO(reader_parts, a_position_named_twice_does_not_end_the_comparison, parts_live)
{
    cut_in_parts(p);
    size_t had = p->data.len;
    for (int i = 0; i < 2; i++) {
        asks(p, "offset=a");
        answers(p, 200, TEXT NEXT("b"), "");
    }
    asks(p, "offset=b");
    answers(p, 200, TEXT NEXT("z") UTD, "0123x56789abc");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    cr_assert_eq(p->data.len, had);
}

SCENARIO(reader_parts, a_position_named_twice_moves_on, parts_live)
{
    cut_in_parts(p);
    for (int i = 0; i < 2; i++) {
        asks(p, "offset=a");
        answers(p, 200, TEXT NEXT("b"), "");
    }
    asks(p, "offset=b");
    answers(p, 200, TEXT NEXT("z") UTD, "0123456789abc");
    asks(p, "live=long-poll&offset=z");
    got(p, "x0123456789abc");
}

SCENARIO(reader_parts, a_tail_named_twice_before_all_was_compared_is_another_stream, parts_live)
{
    cut_in_parts(p);
    for (int i = 0; i < 2; i++) {
        asks(p, "offset=a");
        answers(p, 200, TEXT NEXT("b") UTD, "");
    }
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

/* Where an answer ends stands in its head: no part of one from another stream is handed out. */
SCENARIO(reader_parts, of_an_answer_that_ends_before_the_position_are_not_handed_out, parts)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("m"), "x");
    asks(p, "offset=m");
    head(p, 200, BIN NEXT("b"));
    body(p, "0123456789");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    got(p, "x");
}

SCENARIO(reader_parts, of_an_answer_that_ends_where_it_begins_are_not_handed_out, parts)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("m"), "x");
    for (int i = 0; i < 3; i++) {
        asks(p, "offset=m");
        head(p, 200, BIN NEXT("m"));
        body(p, "0123456789");
        if (i < 2)
            waits(p, 50, 200);
    }
    ends(p, DSTREAM_ERR_PROTOCOL);
    got(p, "x");
}

static void small_events(struct ds_reader_config *c)
{
    live_auto(c);
    c->limits.max_event = 8;
}

/* Plain GETs come in pages, and are not coded: what is too much for SSE need not be too much. */
SCENARIO(reader_sse, data_over_the_limit_is_fetched_by_plain_gets, small_events)
{
    to_sse(p);
    body(p, "event: data\ndata: [\"012\"]\n\nevent: data\ndata: [\"345\"]\n\n" CONTROL(
                "\"streamNextOffset\":\"b\""));
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[\"012\",\"345\"]");
    asks(p, "live=sse&offset=b");
    got(p, "0\n\"012\"\n\"345\"\n");
}

static void small_events_to_skip(struct ds_reader_config *c)
{
    small_events(c);
    c->offset = "a";
    c->skip = 2;
}

static void small_events_or_the_earliest(struct ds_reader_config *c)
{
    small_events(c);
    c->on_gone = DSTREAM_GONE_EARLIEST;
}

#define TOO_LARGE "event: data\ndata: [\"0123456\"]\n\n" CONTROL("\"streamNextOffset\":\"b\"")

static void small_events_from_a_replica(struct ds_reader_config *c)
{
    small_events(c);
    c->limits.replica_lag = 10000;
}

/* The plain GET went to a replica that lags. */
SCENARIO(reader_sse, data_over_the_limit_is_asked_for_until_a_replica_has_it,
         small_events_from_a_replica)
{
    to_sse(p);
    body(p, TOO_LARGE);
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("a") UTD, "[]");
    waits(p, 1000, 1000);
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("a") UTD, "[]");
    waits(p, 2000, 2000);
    cr_assert_str_eq(p->notices, "ss");
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[\"0123456\"]");
    asks(p, "live=sse&offset=b");
    got(p, "0\n\"0123456\"\n");
    /* It has its full time at the next one. */
    p->now += 60000;
    opens_sse(p, "");
    body(p, TOO_LARGE);
    asks(p, "offset=b");
    answers(p, 200, JSON NEXT("b") UTD, "[]");
    waits(p, 1000, 1000);
    asks(p, "offset=b");
}

SCENARIO(reader_sse, data_over_the_limit_that_no_replica_has_is_an_error,
         small_events_from_a_replica)
{
    static const int64_t pauses[] = {1000, 2000, 4000, 3000};
    to_sse(p);
    body(p, TOO_LARGE);
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        asks(p, "offset=a");
        answers(p, 200, JSON NEXT("a") UTD, "[]");
        waits(p, pauses[i], pauses[i]);
    }
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("a") UTD END, "[]");
    ends(p, DSTREAM_ERR_LIMIT);
    cr_assert(strstr(ds_reader_error(p->r)->message, "more than 8 bytes of data"), "%s",
              ds_reader_error(p->r)->message);
    got(p, "0\n");
}

/* What is still to be left out is no data that is delivered, but it is data. */
SCENARIO(reader_sse, data_over_the_limit_that_is_left_out_has_come, small_events_to_skip)
{
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("a") UTD, "[]");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "");
    body(p, TOO_LARGE);
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[\"0123456\"]");
    asks(p, "live=sse&offset=b");
    opens_sse(p, "");
    body(p, TOO_LARGE);
    asks(p, "offset=b");
    answers(p, 200, JSON NEXT("c") UTD, "[1,2,3]");
    asks(p, "live=sse&offset=c");
    got(p, "2\n3\n");
}

/* Going on elsewhere, what was due at the old place is not missed. */
SCENARIO(reader_sse, data_over_the_limit_that_is_gone_is_given_up, small_events_or_the_earliest)
{
    to_sse(p);
    body(p, TOO_LARGE);
    asks(p, "offset=a");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, JSON NEXT("c"), "");
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("c") UTD, "[]");
    asks(p, "live=sse&offset=-1");
}

/* --- how long it is tried --------------------------------------------------------------------- */

SCENARIO(reader_failure, a_wait_beyond_what_is_left_of_the_time_is_one_of_a_busy_server, NULL)
{
    asks(p, "offset=-1");
    p->now += 9000;
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=-1");
    answers(p, 503, "retry-after: 15000\n", "");
    ends(p, DSTREAM_ERR_BUSY);
    cr_assert_eq(ds_reader_error(p->r)->status, 503);
}

static void awaited(struct ds_reader_config *c)
{
    c->wait_create = true;
    c->live = DSTREAM_LIVE_LONG_POLL;
}

/* A server that says 404 is in good health. */
SCENARIO(reader_failure, a_failure_while_a_stream_is_awaited_is_the_first, awaited)
{
    for (int i = 0; i < 20; i++) {
        asks(p, "offset=-1");
        answers(p, 404, "", "");
        waits(p, 50, 30000);
    }
    for (int i = 0; i < 40; i++) {
        asks(p, "offset=-1");
        fails(p, DS_END_CONNECT);
        waits(p, 15000, 30000);
        asks(p, "offset=-1");
        answers(p, 404, "", "");
        waits(p, 15000, 30000);
    }
}

static void awaited_fast(struct ds_reader_config *c)
{
    awaited(c);
    c->limits.backoff_max = 1;
}

SCENARIO(reader_failure, a_server_that_goes_while_a_stream_is_awaited_is_given_up, awaited_fast)
{
    for (int i = 0; i < 20; i++) {
        asks(p, "offset=-1");
        answers(p, 404, "", "");
        p->now += 30000;
    }
    for (int i = 0; i < 5; i++) {
        asks(p, "offset=-1");
        fails(p, DS_END_CONNECT);
        p->now += 1;
    }
    asks(p, "offset=-1");
    fails(p, DS_END_CONNECT);
    ends(p, DSTREAM_ERR_CONNECT);
}

/* What a status says does not depend on its body's end. */
SCENARIO(reader_failure, a_refusal_whose_body_stands_still_is_a_refusal, live_auto)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD, "[0]");
    asks(p, "live=sse&offset=a");
    head(p, 405, "content-type: text/plain\n");
    body(p, "no");
    struct ds_step s = settle(p);
    cr_assert_eq(s.u.until - p->now, 30000);
    p->now = s.u.until;
    settle(p);
    asks(p, "live=long-poll&offset=a");
    head(p, 404, "");
    s = settle(p);
    p->now = s.u.until;
    ends(p, DSTREAM_ERR_DELETED);
}

/* --- 410 -------------------------------------------------------------------------------------- */

static void from_old_earliest(struct ds_reader_config *c)
{
    c->offset = "m";
    c->on_gone = DSTREAM_GONE_EARLIEST;
}

static void from_old_now(struct ds_reader_config *c)
{
    c->offset = "m";
    c->on_gone = DSTREAM_GONE_NOW;
}

/* What is left lies behind what is gone. Data from before it would be delivered twice. */
SCENARIO(reader_gone, what_is_left_does_not_lie_before_what_is_gone, from_old_earliest)
{
    asks(p, "offset=m");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("m"), "x");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    got(p, "");
}

SCENARIO(reader_gone, the_tail_does_not_lie_before_what_is_gone, from_old_now)
{
    asks(p, "offset=m");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    asks(p, "offset=now");
    answers(p, 200, BIN NEXT("b") UTD, "");
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

SCENARIO(reader_gone, may_come_again, from_old_earliest)
{
    asks(p, "offset=m");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("n"), "x");
    asks(p, "offset=n");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("z") UTD, "y");
    ends(p, DSTREAM_OK);
    got(p, "xy");
    cr_assert_str_eq(p->notices, "gg");
}

static void from_old_awaited(struct ds_reader_config *c)
{
    from_old_earliest(c);
    c->wait_create = true;
}

SCENARIO(reader_gone, a_stream_that_goes_meanwhile_is_not_awaited, from_old_awaited)
{
    asks(p, "offset=m");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 404, "", "");
    ends(p, DSTREAM_ERR_DELETED);
}

/* --- what is left out ------------------------------------------------------------------------- */

static void rest_up_to_the_tail(struct ds_reader_config *c)
{
    c->offset = "a";
    c->skip = 5;
    c->seen = c->stop_at_tail = true;
}

/* A tail before the end of what was read is another stream's, or that of a replica that lags. */
SCENARIO(reader_skip, is_not_over_at_a_tail_before_its_end, rest_up_to_the_tail)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b"), "xyz");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("b"), "");
    asks(p, "offset=b");
    answers(p, 200, BIN NEXT("b") UTD, "");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    got(p, "");
}

/* --- pauses ----------------------------------------------------------------------------------- */

/* What the server asked for holds, though the rest of its answer is no longer waited for. */
SCENARIO(reader_pause, does_not_cut_retry_after_short, NULL)
{
    asks(p, "offset=-1");
    head(p, 503, "retry-after: 7000\n");
    settle(p);
    ds_reader_pause(p->r);
    p->in_flight = false;
    p->now += 2000;
    ds_reader_resume(p->r, p->now);
    waits(p, 5000, 5000);
    asks(p, "offset=-1");
    /* It is no limit where it is over. */
    head(p, 503, "retry-after: 7000\n");
    settle(p);
    ds_reader_pause(p->r);
    p->in_flight = false;
    p->now += 9000;
    ds_reader_resume(p->r, p->now);
    asks(p, "offset=-1");
}

/* --- the witness ------------------------------------------------------------------------------ */

static struct ds_witness witness;

static void recheck(struct ds_reader_config *c)
{
    witness = (struct ds_witness){.start = "W", .units = 1};
    ds_hash_of("7\n", 2, witness.hash);
    c->offset = "a";
    c->seen = true;
    c->live = DSTREAM_LIVE_AUTO;
    c->recheck = true;
    c->content_type = "application/json";
    c->witness = &witness;
    c->limits.max_event = 8;
}

static void looks_for_witness(struct play *p)
{
    asks(p, "offset=W");
    answers(p, 200, JSON NEXT("a"), "[7]");
}

static void to_sse_with_witness(struct play *p)
{
    looks_for_witness(p);
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("a") UTD, "[]");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "");
}

SCENARIO(reader_witness, is_looked_for_after_a_pause, recheck)
{
    to_sse_with_witness(p);
    ds_reader_pause(p->r);
    p->in_flight = false;
    struct ds_step s = settle(p);
    cr_assert_eq(s.kind, DS_STEP_WAIT);
    cr_assert_eq(s.u.until, DS_NEVER);
    ds_reader_resume(p->r, p->now);
    looks_for_witness(p);
    asks(p, "offset=a");
}

static void once(struct ds_reader_config *c)
{
    recheck(c);
    c->recheck = false;
}

/* It is known to be another stream, but not settled yet. */
SCENARIO(reader_witness, is_still_missing_after_a_pause, once)
{
    asks(p, "offset=W");
    head(p, 200, JSON NEXT("a"));
    cr_assert_eq(ds_reader_body(p->r, "[8]", 3, p->now), 3);
    ds_reader_pause(p->r);
    p->in_flight = false;
    settle(p);
    ds_reader_resume(p->r, p->now);
    ends(p, DSTREAM_ERR_STREAM_RESET);
    got(p, "");
}

static void once_with_skip(struct ds_reader_config *c)
{
    once(c);
    c->skip = 1;
}

/* What is left out of the answer is not compared: it has to be the same stream as a moment ago. */
SCENARIO(reader_witness, is_looked_for_again_until_what_is_left_out_has_come, once_with_skip)
{
    looks_for_witness(p);
    asks(p, "offset=a");
    answers(p, 503, "", "");
    waits(p, 50, 100);
    looks_for_witness(p);
    asks(p, "offset=a");
    ds_reader_pause(p->r);
    p->in_flight = false;
    settle(p);
    ds_reader_resume(p->r, p->now);
    looks_for_witness(p);
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[1,2]");
    asks(p, "live=sse&offset=b");
    got(p, "2\n");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=b");
}

SCENARIO(reader_witness, is_looked_for_after_an_event_stream_that_we_end, recheck)
{
    to_sse_with_witness(p);
    body(p, "event: data\ndata: [\"0123456789\"]\n\n" CONTROL("\"streamNextOffset\":\"b\""));
    looks_for_witness(p);
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[\"0123456789\"]");
    asks(p, "live=sse&offset=b");
    opens_sse(p, "");
    body(p, CONTROL("\"streamNextOffset\":\"c\",\"streamClosed\":true"));
    looks_for_witness(p);
    asks(p, "offset=b");
}

SCENARIO(reader_witness, that_there_is_none_of_is_not_looked_for, recheck)
{
    static const struct ds_witness none;
    to_sse_with_witness(p);
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    ds_reader_set_witness(p->r, &none);
    asks(p, "offset=a");
}

/* --- bodies whose end only the connection marks -------------------------------------------------
 */

static void ends_unmarked(struct play *p)
{
    struct ds_result res = {.end = DS_END_COMPLETE, .connected = true, .unmarked = true};
    p->in_flight = false;
    ds_reader_end(p->r, &res, p->now);
}

/* Bytes cannot show that they are all. */
SCENARIO(reader_unmarked, bytes_may_have_been_cut, NULL)
{
    for (int i = 0; i < 3; i++) {
        asks(p, "offset=-1");
        head(p, 200, BIN NEXT("a") UTD);
        body(p, i < 2 ? "abc" : "");
        ends_unmarked(p);
        if (i < 2)
            waits(p, 50, 200);
    }
    ends(p, DSTREAM_ERR_PROTOCOL);
    got(p, "");
}

SCENARIO(reader_unmarked, an_array_shows_that_it_is_whole, NULL)
{
    asks(p, "offset=-1");
    head(p, 200, JSON NEXT("a"));
    body(p, "[1,2");
    ends_unmarked(p);
    waits(p, 50, 100);
    cr_assert_eq(p->notice_code, DSTREAM_ERR_NETWORK);
    asks(p, "offset=-1");
    head(p, 200, JSON NEXT("a"));
    body(p, "[1,2]");
    ends_unmarked(p);
    asks(p, "offset=a");
    got(p, "1\n2\n");
    head(p, 204, NEXT("a") UTD);
    ends_unmarked(p);
    ends(p, DSTREAM_OK);
}

/* Of an event stream the control events do. */
SCENARIO(reader_unmarked, an_event_stream_needs_no_mark, live_auto)
{
    to_sse(p);
    body(p, "event: data\ndata: [1]\n\n" CONTROL("\"streamNextOffset\":\"b\""));
    ends_unmarked(p);
    asks(p, "live=sse&offset=b");
    got(p, "0\n1\n");
}

/* --- requests --------------------------------------------------------------------------------- */

static void now_at_once(struct ds_reader_config *c)
{
    from_now(c);
    c->live_at_once = true;
}

/* The answer that makes `now` concrete has the type. */
SCENARIO(reader_at_once, from_now_on, now_at_once)
{
    asks(p, "offset=now");
    answers(p, 200, JSON NEXT("t") UTD, "[]");
    asks(p, "live=sse&offset=t");
}

Test(reader_use, a_url_that_is_too_long)
{
    static char url[70000] = "http://h/";
    struct play p = new_play();
    memset(url + 9, 'x', sizeof url - 10);
    p.config.url = url;
    begin(&p);
    struct ds_step s = settle(&p);
    cr_assert_eq(s.kind, DS_STEP_DONE);
    cr_assert_eq(ds_reader_error(p.r)->code, DSTREAM_ERR_LIMIT);
    end(&p);
}
