/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's state machine, scenario by scenario. */
#include "config.h"

#include "base/alloc.h"
#include "tests/unit/playing.h"

/* --- catch-up --------------------------------------------------------------------------------- */

SCENARIO(reader_catchup, goes_on_until_up_to_date, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a"), "one");
    asks(p, "offset=a");
    last(p, "-1+0>a");
    answers(p, 200, BIN NEXT("b") CUR("c1"), "two");
    asks(p, "cursor=c1&offset=b");
    answers(p, 200, BIN NEXT("c") UTD, "three");
    ends(p, DSTREAM_OK);
    last(p, "b+0>c utd");
    got(p, "onetwothree");
    cr_assert_str_eq(ds_reader_offset(p->r), "c");
    cr_assert_str_eq(p->notices, "");
}

SCENARIO(reader_catchup, cuts_messages_out_of_json, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a"), "[ {\"a\" : 1.0} , 1e400,\"\\u2028\"]");
    asks(p, "offset=a");
    got(p, "{\"a\" : 1.0}\n1e400\n\"\\u2028\"\n");
    answers(p, 200, JSON NEXT("a") UTD, "[]");
    ends(p, DSTREAM_OK);
    last(p, "a+0>a utd");
    cr_assert_eq(p->batches, 2);
}

SCENARIO(reader_catchup, an_empty_stream_says_once_that_it_is_up_to_date, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("0") UTD, "");
    ends(p, DSTREAM_OK);
    last(p, "-1+0>-1 utd");
    cr_assert_eq(p->batches, 1);
    cr_assert_str_eq(ds_reader_offset(p->r), "-1");
    cr_assert_str_eq(ds_reader_content_type(p->r), "text/plain; charset=utf-8");
}

SCENARIO(reader_catchup, the_end_of_a_closed_stream_is_the_end, live_auto)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") END, "[1]");
    ends(p, DSTREAM_OK);
    last(p, "-1+0>a utd closed");
    cr_assert_eq(ds_reader_phase(p->r), DS_PHASE_DONE);
}

SCENARIO(reader_catchup, a_closed_empty_stream_has_a_position, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("0") UTD END, "[]");
    ends(p, DSTREAM_OK);
    last(p, "-1+0>0 utd closed");
}

SCENARIO(reader_catchup, only_the_value_true_closes, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a") UTD "stream-closed: yes\n", "x");
    ends(p, DSTREAM_OK);
    last(p, "-1+0>a utd");
}

SCENARIO(reader_catchup, a_cut_body_is_asked_for_again, NULL)
{
    asks(p, "offset=-1");
    head(p, 200, BIN NEXT("a") UTD);
    body(p, "hal");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    cr_assert_eq(p->notice_code, DSTREAM_ERR_NETWORK);
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("b") UTD, "whole");
    ends(p, DSTREAM_OK);
    got(p, "whole");
    last(p, "-1+0>b utd");
}

SCENARIO(reader_catchup, an_error_body_is_not_data, NULL)
{
    asks(p, "offset=-1");
    answers(p, 503, "content-type: text/plain\n", "not now");
    waits(p, 50, 100);
    cr_assert_eq(p->notice_code, DSTREAM_ERR_SERVER);
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("b") UTD, "whole");
    ends(p, DSTREAM_OK);
    got(p, "whole");
}

SCENARIO(reader_catchup, data_that_moves_nowhere_is_not_delivered_for_ever, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a"), "x");
    for (int i = 0; i < 2; i++) {
        asks(p, "offset=a");
        answers(p, 200, BIN NEXT("a"), "y");
        waits(p, 50, 200);
    }
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("a"), "y");
    ends(p, DSTREAM_ERR_PROTOCOL);
    got(p, "x");
}

SCENARIO(reader_catchup, an_empty_answer_that_names_more_is_asked_twice, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a"), "x");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("c") UTD, "");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "");
    ends(p, DSTREAM_OK);
    last(p, "a+0>b utd");
}

SCENARIO(reader_catchup, an_empty_answer_that_names_more_may_have_been_early, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a"), "x");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "y");
    ends(p, DSTREAM_OK);
    last(p, "a+0>b utd");
    got(p, "xy");
}

SCENARIO(reader_catchup, the_smaller_of_two_named_positions_is_not_the_tail, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a"), "x");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("c") UTD END, "");
    asks(p, "offset=b");
    last(p, "a+0>b");
    answers(p, 200, BIN NEXT("c") UTD END, "z");
    ends(p, DSTREAM_OK);
    got(p, "xz");
}

/* --- what is left out at the beginning -------------------------------------------------------- */

static void skip_2(struct ds_reader_config *c)
{
    c->offset = "a";
    c->skip = 2;
}

SCENARIO(reader_skip, messages, skip_2)
{
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[1,2,3]");
    ends(p, DSTREAM_OK);
    last(p, "a+2>b utd");
    got(p, "3\n");
}

SCENARIO(reader_skip, bytes_over_several_answers, skip_2)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b"), "x");
    cr_assert_eq(p->batches, 0);
    asks(p, "offset=b");
    cr_assert_eq(ds_reader_skip(p->r), 1);
    answers(p, 200, BIN NEXT("c") UTD, "yz");
    ends(p, DSTREAM_OK);
    last(p, "b+1>c utd");
    got(p, "z");
    cr_assert_eq(ds_reader_skip(p->r), 0);
}

SCENARIO(reader_skip, all_of_an_answer_moves_on_in_the_open, skip_2)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b"), "xy");
    asks(p, "offset=b");
    last(p, "a+2>b");
    answers(p, 200, BIN NEXT("c") UTD, "z");
    ends(p, DSTREAM_OK);
    got(p, "z");
}

static void skip_2_seen(struct ds_reader_config *c)
{
    skip_2(c);
    c->seen = true;
}

SCENARIO(reader_skip, a_stream_shorter_than_what_was_read_is_another, skip_2_seen)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "x");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    got(p, "");
}

/* --- now -------------------------------------------------------------------------------------- */

SCENARIO(reader_now, is_made_concrete_first_and_asked_for_once, from_now)
{
    asks(p, "offset=now");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=now");
    answers(p, 200, JSON NEXT("t") UTD, "[]");
    asks(p, "live=sse&offset=t");
    last(p, "now+0>t utd");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=t");
    answers(p, 200, JSON NEXT("u") UTD, "[1]");
    asks(p, "live=sse&offset=u");
    got(p, "1\n");
}

SCENARIO(reader_now, has_no_data, from_now)
{
    asks(p, "offset=now");
    answers(p, 200, JSON NEXT("t") UTD, "[1]");
    ends(p, DSTREAM_ERR_PROTOCOL);
    got(p, "");
}

/* --- long-poll -------------------------------------------------------------------------------- */

SCENARIO(reader_poll, goes_on_with_cursor_and_position, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    p->now += 30000;
    answers(p, 204, NEXT("a") UTD CUR("1"), "");
    asks(p, "cursor=1&live=long-poll&offset=a");
    cr_assert_eq(p->batches, 1);
    answers(p, 200, TEXT NEXT("b") UTD CUR("2"), "y");
    asks(p, "cursor=2&live=long-poll&offset=b");
    last(p, "a+0>b utd c");
    p->now += 2000;
    answers(p, 204, NEXT("b") UTD END, "");
    ends(p, DSTREAM_OK);
    last(p, "b+0>b utd closed");
    got(p, "xy");
}

/* Only offsets have names of their own. */
SCENARIO(reader_poll, a_cursor_may_be_any_token, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD CUR("-1"), "x");
    asks(p, "cursor=-1&live=long-poll&offset=a");
    p->now += 30000;
    answers(p, 204, NEXT("a") UTD CUR("now"), "");
    asks(p, "cursor=now&live=long-poll&offset=a");
}

/* A server may name the new tail first and send its data after. */
SCENARIO(reader_poll, an_answer_without_data_never_moves, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    p->now += 2000;
    answers(p, 204, NEXT("b") UTD, "");
    asks(p, "live=long-poll&offset=a");
    p->now += 2000;
    answers(p, 204, NEXT("b") END, "");
    asks(p, "offset=a");
    cr_assert_eq(p->batches, 1);
    answers(p, 200, TEXT NEXT("b") END, "y");
    ends(p, DSTREAM_OK);
    last(p, "a+0>b utd closed");
    got(p, "xy");
}

SCENARIO(reader_poll, closed_and_then_open_is_another_stream, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    answers(p, 204, NEXT("b") END, "");
    asks(p, "offset=a");
    answers(p, 200, TEXT NEXT("a") UTD, "");
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

SCENARIO(reader_poll, an_earlier_tail_is_another_stream, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("b") UTD, "x");
    asks(p, "live=long-poll&offset=b");
    answers(p, 204, NEXT("a") UTD, "");
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

SCENARIO(reader_poll, retries_without_limit_once_it_lives, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    int64_t most = 100;
    for (int i = 0; i < 30; i++) {
        asks(p, "live=long-poll&offset=a");
        fails(p, i % 2 ? DS_END_CONNECT : DS_END_CUT);
        waits(p, most / 2, most);
        most = most * 2 > 30000 ? 30000 : most * 2;
    }
    asks(p, "live=long-poll&offset=a");
    answers(p, 200, TEXT NEXT("b"), "y");
    asks(p, "live=long-poll&offset=b");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
}

SCENARIO(reader_poll, answers_at_once_and_with_nothing_are_paced, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    for (int i = 0; i < 5; i++) {
        asks(p, "live=long-poll&offset=a");
        answers(p, 204, NEXT("a") UTD, "");
    }
    waits(p, 100, 100);
    cr_assert_str_eq(p->notices, "p");
    asks(p, "live=long-poll&offset=a");
    answers(p, 204, NEXT("a") UTD, "");
    waits(p, 200, 200);
    for (int i = 0; i < 20; i++) {
        asks(p, "live=long-poll&offset=a");
        answers(p, 204, NEXT("a") UTD, "");
        waits(p, 400, 5000);
    }
    asks(p, "live=long-poll&offset=a");
    answers(p, 200, TEXT NEXT("b") UTD, "y");
    asks(p, "live=long-poll&offset=b");
    cr_assert_str_eq(p->notices, "p");
}

/* --- SSE -------------------------------------------------------------------------------------- */

#define CONTROL(fields) "event: control\ndata: {" fields "}\n\n"

static void to_sse(struct play *p)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD, "[0]");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "");
}

SCENARIO(reader_sse, data_and_control_are_a_batch, live_auto)
{
    to_sse(p);
    body(p, CONTROL("\"streamNextOffset\":\"a\",\"streamCursor\":\"1\",\"upToDate\":true"));
    cr_assert_eq(p->batches, 1);
    body(p, "event: data\ndata: [1,\ndata: 2]\n\nevent: data\ndata: [3]\n\n");
    cr_assert_eq(p->batches, 1);
    body(p, CONTROL("\"streamNextOffset\":\"b\",\"streamCursor\":\"2\",\"upToDate\":true"));
    cr_assert_eq(p->batches, 2);
    last(p, "a+0>b utd c");
    got(p, "0\n1\n2\n3\n");
    p->now += 60000;
    over(p, DS_END_COMPLETE);
    asks(p, "cursor=2&live=sse&offset=b");
    cr_assert_str_eq(p->notices, "c");
    opens_sse(p, "");
    body(p, CONTROL("\"streamNextOffset\":\"b\",\"streamClosed\":true"));
    ends(p, DSTREAM_OK);
    last(p, "b+0>b utd closed");
    cr_assert(p->aborted);
}

/* A batch has its own control event's cursor or none; requests go on with the last one. */
SCENARIO(reader_sse, a_cursor_is_echoed_until_there_is_another, live_auto)
{
    to_sse(p);
    body(p, "event: data\ndata: [1]\n\n");
    body(p, CONTROL("\"streamNextOffset\":\"b\",\"streamCursor\":\"1\""));
    last(p, "a+0>b c");
    body(p, "event: data\ndata: [2]\n\n");
    body(p, CONTROL("\"streamNextOffset\":\"c\",\"streamCursor\":\"\""));
    last(p, "b+0>c");
    p->now += 60000;
    over(p, DS_END_COMPLETE);
    asks(p, "cursor=1&live=sse&offset=c");
}

/* They are a browser's: positions are offsets here, and when to come back is decided otherwise. */
SCENARIO(reader_sse, ids_and_retry_are_ignored, live_auto)
{
    to_sse(p);
    body(p, "id: z\nretry: 86400000\nevent: data\ndata: [1]\n\nid: y\n");
    body(p, CONTROL("\"streamNextOffset\":\"b\""));
    last(p, "a+0>b");
    p->now += 60000;
    over(p, DS_END_COMPLETE);
    asks(p, "live=sse&offset=b");
}

SCENARIO(reader_sse, what_no_control_event_covers_is_not_delivered, live_auto)
{
    to_sse(p);
    body(p, "event: data\ndata: [1]\n\n");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[1]");
    asks(p, "live=sse&offset=b");
    got(p, "0\n1\n");
}

SCENARIO(reader_sse, nothing_is_read_behind_the_end, live_auto)
{
    to_sse(p);
    body(p,
         "event: data\ndata: [1]\n\n" CONTROL(
             "\"streamNextOffset\":\"b\",\"streamClosed\":true") "event: data\ndata: garbage\n\n");
    ends(p, DSTREAM_OK);
    got(p, "0\n1\n");
    last(p, "a+0>b utd closed");
}

SCENARIO(reader_sse, an_end_ahead_of_its_data_is_looked_at_by_plain_gets, live_auto)
{
    to_sse(p);
    body(p, CONTROL("\"streamNextOffset\":\"b\",\"streamClosed\":true"));
    asks(p, "offset=a");
    cr_assert(p->aborted || p->in_flight);
    answers(p, 200, JSON NEXT("b") UTD END, "[1]");
    ends(p, DSTREAM_OK);
    got(p, "0\n1\n");
}

SCENARIO(reader_sse, data_at_the_same_offset_is_data, live_auto)
{
    to_sse(p);
    body(p, "event: data\ndata: [1]\n\n" CONTROL("\"streamNextOffset\":\"a\""));
    last(p, "a+0>a");
    got(p, "0\n1\n");
}

SCENARIO(reader_sse, three_short_ones_are_enough, live_auto)
{
    to_sse(p);
    p->random = 12345;
    for (int i = 0; i < 2; i++) {
        over(p, DS_END_COMPLETE);
        waits(p, 0, 5000);
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
    }
    over(p, DS_END_COMPLETE);
    asks(p, "live=long-poll&offset=a");
    cr_assert_str_eq(p->notices, "f");
    answers(p, 200, JSON NEXT("b") UTD, "[1]");
    asks(p, "live=long-poll&offset=b");
}

SCENARIO(reader_sse, one_who_insists_on_it_hears_when_no_control_comes, live_sse)
{
    to_sse(p);
    p->random = 12345;
    for (int i = 0; i < 2; i++) {
        body(p, "event: data\ndata: [1]\n\n");
        p->now += 5000;
        over(p, DS_END_COMPLETE);
        waits(p, 0, 5000);
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
    }
    over(p, DS_END_COMPLETE);
    ends(p, DSTREAM_ERR_PROTOCOL);
    got(p, "0\n");
}

SCENARIO(reader_sse, one_who_insists_is_paced_where_control_comes, live_sse)
{
    to_sse(p);
    p->random = UINT64_MAX;
    for (int i = 0; i < 10; i++) {
        body(p, CONTROL("\"streamNextOffset\":\"a\",\"upToDate\":true"));
        over(p, DS_END_COMPLETE);
        waits(p, 1, 5000);
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
    }
    cr_assert_str_eq(p->notices, "p");
}

SCENARIO(reader_sse, a_proxy_that_holds_everything_back_counts_as_short, live_auto)
{
    to_sse(p);
    for (int i = 0; i < 3; i++) {
        struct ds_step s = settle(p);
        cr_assert_eq(s.kind, DS_STEP_WAIT);
        cr_assert_eq(s.u.until - p->now, 10000);
        p->now = s.u.until;
        s = settle(p);
        if (i == 2)
            break;
        if (s.kind == DS_STEP_WAIT) {
            p->now = s.u.until;
            settle(p);
        }
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
    }
    asks(p, "live=long-poll&offset=a");
}

SCENARIO(reader_sse, silence_is_an_error, live_auto)
{
    to_sse(p);
    body(p, ": hello\n");
    struct ds_step s = settle(p);
    cr_assert_eq(s.u.until - p->now, 90000);
    p->now += 80000;
    body(p, ":\n");
    s = settle(p);
    cr_assert_eq(s.u.until - p->now, 90000);
    p->now = s.u.until;
    waits(p, 50, 100);
    cr_assert(p->aborted);
    cr_assert_eq(p->notice_code, DSTREAM_ERR_TIMEOUT);
    asks(p, "offset=a");
}

SCENARIO(reader_sse, a_consumer_that_is_slow_is_no_silence, live_auto)
{
    to_sse(p);
    p->hold = true;
    body(p, "event: data\ndata: [1]\n\n" CONTROL("\"streamNextOffset\":\"b\""));
    struct ds_step s = settle(p);
    cr_assert_eq(s.kind, DS_STEP_DELIVER);
    p->now += 3600000;
    s = settle(p);
    cr_assert_eq(s.kind, DS_STEP_DELIVER);
    p->hold = false;
    s = settle(p);
    cr_assert_eq(s.kind, DS_STEP_WAIT);
    cr_assert_eq(s.u.until - p->now, 90000);
}

static const struct {
    const char *what, *body;
    enum dstream_code code;
} malformed[] = {
    {"no JSON", "event: control\ndata: {\n\n", DSTREAM_ERR_PARSE},
    {"no offset", "event: control\ndata: {\"upToDate\":true}\n\n", DSTREAM_ERR_PROTOCOL},
    {"a sentinel", "event: control\ndata: {\"streamNextOffset\":\"-1\"}\n\n", DSTREAM_ERR_PROTOCOL},
    {"no array", "event: data\ndata: {}\n\n", DSTREAM_ERR_PARSE},
    {"bad JSON", "event: data\ndata: [1,]\n\n", DSTREAM_ERR_PARSE},
};

Test(reader_sse, malformed_events_end_it_and_what_came_before_stays)
{
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        for (size_t piece = 0; piece < 3; piece++) {
            struct play p = new_play();
            live_auto(&p.config);
            p.piece = piece;
            begin(&p);
            to_sse(&p);
            body(&p, "event: data\ndata: [1]\n\n" CONTROL("\"streamNextOffset\":\"b\""));
            body(&p, malformed[i].body);
            ends(&p, malformed[i].code);
            got(&p, "0\n1\n");
            cr_assert_str_eq(ds_reader_error(p.r)->offset, "a");
            end(&p);
        }
    }
}

/* What is answered to an SSE request, and what auto makes of it. */
static const struct {
    int status;
    const char *fields;
    bool falls_back;
    enum dstream_code insisting;
} openings[] = {
    {400, "", true, DSTREAM_ERR_BAD_REQUEST},
    {405, "", true, DSTREAM_ERR_BAD_REQUEST},
    {406, "", true, DSTREAM_ERR_BAD_REQUEST},
    {415, "", true, DSTREAM_ERR_BAD_REQUEST},
    {501, "", true, DSTREAM_ERR_BAD_REQUEST},
    {200, JSON, true, DSTREAM_ERR_PROTOCOL},
    {204, "", true, DSTREAM_ERR_PROTOCOL},
    {401, "", false, DSTREAM_ERR_AUTH},
    {403, "", false, DSTREAM_ERR_AUTH},
    {404, "", false, DSTREAM_ERR_DELETED},
    {200, "content-type: text/event-stream\nstream-sse-data-encoding: hex\n", true,
     DSTREAM_ERR_PROTOCOL},
};

Test(reader_sse, where_it_is_not_to_be_had)
{
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        for (int insist = 0; insist < 2; insist++) {
            struct play p = new_play();
            p.config.live = insist ? DSTREAM_LIVE_SSE : DSTREAM_LIVE_AUTO;
            begin(&p);
            asks(&p, "offset=-1");
            answers(&p, 200, JSON NEXT("a") UTD, "[0]");
            asks(&p, "live=sse&offset=a");
            answers(&p, openings[i].status, openings[i].fields, "[]");
            if (openings[i].falls_back && !insist) {
                asks(&p, "live=long-poll&offset=a");
                cr_assert_str_eq(p.notices, "f");
            } else {
                ends(&p, openings[i].insisting);
            }
            end(&p);
        }
    }
}

SCENARIO(reader_sse, binary_comes_as_base64, live_auto)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a") UTD, "x");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "stream-sse-data-encoding: base64\n");
    body(p, "event: data\ndata: aGVs\ndata: bG8=\n\nevent: data\ndata: IQ==\n\n" CONTROL(
                "\"streamNextOffset\":\"b\""));
    got(p, "xhello!");
    over(p, DS_END_COMPLETE);
    asks(p, "live=sse&offset=b");
    opens_sse(p, "");
    asks(p, "live=long-poll&offset=b");
}

SCENARIO(reader_sse, text_is_read_by_long_poll, live_auto)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
}

SCENARIO(reader_sse, text_by_request_is_lossy_and_said_to_be, live_sse)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "");
    body(p, "event: data\ndata: y\n\n" CONTROL("\"streamNextOffset\":\"b\""));
    last(p, "a+0>b lossy");
    cr_assert_str_eq(p->notices, "l");
    got(p, "xy");
}

/* --- failures --------------------------------------------------------------------------------- */

static const struct {
    int status;
    enum dstream_code code;
    bool retried;
} statuses[] = {
    {400, DSTREAM_ERR_BAD_REQUEST, false}, {401, DSTREAM_ERR_AUTH, false},
    {403, DSTREAM_ERR_AUTH, false},        {404, DSTREAM_ERR_NOT_FOUND, false},
    {405, DSTREAM_ERR_BAD_REQUEST, false}, {406, DSTREAM_ERR_BAD_REQUEST, false},
    {408, DSTREAM_ERR_TIMEOUT, true},      {409, DSTREAM_ERR_CONFLICT, false},
    {412, DSTREAM_ERR_BAD_REQUEST, false}, {413, DSTREAM_ERR_TOO_LARGE, false},
    {416, DSTREAM_ERR_BAD_REQUEST, false}, {425, DSTREAM_ERR_BUSY, true},
    {429, DSTREAM_ERR_BUSY, true},         {431, DSTREAM_ERR_BAD_REQUEST, false},
    {500, DSTREAM_ERR_SERVER, true},       {501, DSTREAM_ERR_BAD_REQUEST, false},
    {502, DSTREAM_ERR_SERVER, true},       {503, DSTREAM_ERR_SERVER, true},
    {504, DSTREAM_ERR_SERVER, true},       {505, DSTREAM_ERR_BAD_REQUEST, false},
    {304, DSTREAM_ERR_PROTOCOL, false},    {206, DSTREAM_ERR_PROTOCOL, false},
    {300, DSTREAM_ERR_PROTOCOL, false},
};

Test(reader_failure, each_status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct play p = new_play();
        begin(&p);
        asks(&p, "offset=-1");
        answers(&p, statuses[i].status, "content-type: text/plain\n", "because\n");
        for (int n = 0; statuses[i].retried && n < 5; n++) {
            waits(&p, 50, 3200);
            cr_assert_eq(p.notice_code, statuses[i].code);
            asks(&p, "offset=-1");
            answers(&p, statuses[i].status, "content-type: text/plain\n", "because\n");
        }
        ends(&p, statuses[i].code);
        cr_assert_eq(ds_reader_error(p.r)->status, statuses[i].status);
        if (statuses[i].code != DSTREAM_ERR_PROTOCOL)
            cr_assert(strstr(ds_reader_error(p.r)->message, "because"), "%s",
                      ds_reader_error(p.r)->message);
        end(&p);
    }
}

static const struct {
    enum ds_end end;
    enum dstream_code code;
    bool retried;
} endings[] = {
    {DS_END_RESOLVE, DSTREAM_ERR_RESOLVE, true},  {DS_END_CONNECT, DSTREAM_ERR_CONNECT, true},
    {DS_END_CUT, DSTREAM_ERR_NETWORK, true},      {DS_END_TLS, DSTREAM_ERR_TLS, true},
    {DS_END_TLS_REFUSED, DSTREAM_ERR_TLS, false}, {DS_END_BAD, DSTREAM_ERR_ARGUMENT, false},
    {DS_END_LIMIT, DSTREAM_ERR_LIMIT, false},     {DS_END_NOMEM, DSTREAM_ERR_NOMEM, false},
};

Test(reader_failure, each_end)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        struct play p = new_play();
        begin(&p);
        asks(&p, "offset=-1");
        fails(&p, endings[i].end);
        for (int n = 0; endings[i].retried && n < 5; n++) {
            waits(&p, 50, 3200);
            asks(&p, "offset=-1");
            fails(&p, endings[i].end);
        }
        ends(&p, endings[i].code);
        cr_assert(strstr(ds_reader_error(p.r)->message, "so it went"));
        end(&p);
    }
}

SCENARIO(reader_failure, retry_after_is_a_floor, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    answers(p, 503, "retry-after: 7000\n", "");
    waits(p, 7000, 7000);
    asks(p, "live=long-poll&offset=a");
    answers(p, 429, "retry-after: 31536000000\n", "");
    waits(p, 300000, 300000);
    asks(p, "live=long-poll&offset=a");
    answers(p, 429, "retry-after: 0\n", "");
    waits(p, 200, 400);
}

SCENARIO(reader_failure, a_wait_beyond_what_is_left_fails_at_once, NULL)
{
    asks(p, "offset=-1");
    answers(p, 503, "retry-after: 3000000\n", "");
    ends(p, DSTREAM_ERR_BUSY);
}

SCENARIO(reader_failure, no_answer_in_time, NULL)
{
    for (int n = 0; n < 2; n++) {
        asks(p, "offset=-1");
        ds_reader_connected(p->r, p->now);
        struct ds_step s = settle(p);
        cr_assert_eq(s.u.until - p->now, 10000);
        p->now = s.u.until;
        if (n == 0)
            waits(p, 50, 100);
    }
    /* 20 s are over before the retries are. */
    ends(p, DSTREAM_ERR_TIMEOUT);
}

SCENARIO(reader_failure, the_body_stands_still, NULL)
{
    asks(p, "offset=-1");
    head(p, 200, BIN NEXT("a") UTD);
    feed(p, "x", 1);
    struct ds_step s = settle(p);
    cr_assert_eq(s.u.until - p->now, 30000);
    p->now = s.u.until - 1;
    feed(p, "y", 1);
    s = settle(p);
    cr_assert_eq(s.u.until - p->now, 30000);
    p->now = s.u.until;
    ends(p, DSTREAM_ERR_TIMEOUT);
    cr_assert(p->aborted);
}

SCENARIO(reader_failure, no_next_offset_is_tried_three_times, live_auto)
{
    for (int n = 0; n < 2; n++) {
        asks(p, "offset=-1");
        answers(p, 200, "content-type: text/html\n", "<html>");
        waits(p, 50, 200);
    }
    asks(p, "offset=-1");
    answers(p, 200, "content-type: text/html\n", "<html>");
    ends(p, DSTREAM_ERR_PROTOCOL);
    got(p, "");
}

Test(reader_failure, tokens_that_cannot_be)
{
    static char huge[1100];
    memset(huge, 'x', sizeof huge - 1);
    const struct {
        const char *next;
        enum dstream_code code;
        int tries;
    } tokens[] = {{"-1", DSTREAM_ERR_PROTOCOL, 3},
                  {"now", DSTREAM_ERR_PROTOCOL, 3},
                  {"a b", DSTREAM_ERR_PROTOCOL, 3},
                  {huge, DSTREAM_ERR_LIMIT, 1}};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        struct play p = new_play();
        char fields[1300];
        snprintf(fields, sizeof fields, BIN "stream-next-offset: %s\n", tokens[i].next);
        begin(&p);
        for (int n = 1; n <= tokens[i].tries; n++) {
            asks(&p, "offset=-1");
            answers(&p, 200, fields, "x");
            if (n < tokens[i].tries)
                waits(&p, 50, 400);
        }
        ends(&p, tokens[i].code);
        got(&p, "");
        end(&p);
    }
}

static void small_bodies(struct ds_reader_config *c)
{
    c->limits.max_body = 4;
}

SCENARIO(reader_failure, a_body_over_the_limit, small_bodies)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a") UTD, "12345");
    ends(p, DSTREAM_ERR_LIMIT);
    got(p, "");
}

SCENARIO(reader_failure, json_that_is_none, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a"), "[1]");
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[2,3");
    ends(p, DSTREAM_ERR_PARSE);
    got(p, "1\n");
    cr_assert_str_eq(ds_reader_error(p->r)->offset, "a");
}

SCENARIO(reader_failure, another_content_type_is_another_stream, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, "content-type: Text/Plain\n" NEXT("a"), "x");
    asks(p, "offset=a");
    answers(p, 200, TEXT NEXT("b"), "y");
    asks(p, "offset=b");
    answers(p, 200, JSON NEXT("c") UTD, "[1]");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    got(p, "xy");
}

SCENARIO(reader_failure, a_stream_that_goes_is_deleted, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    answers(p, 404, "", "");
    ends(p, DSTREAM_ERR_DELETED);
}

static void awaited(struct ds_reader_config *c)
{
    c->wait_create = true;
    c->live = DSTREAM_LIVE_LONG_POLL;
}

SCENARIO(reader_failure, a_stream_that_is_not_there_is_awaited, awaited)
{
    for (int i = 0; i < 40; i++) {
        asks(p, "offset=-1");
        answers(p, 404, "", "");
        waits(p, 50, 30000);
    }
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    answers(p, 404, "", "");
    ends(p, DSTREAM_ERR_DELETED);
}

/* --- redirects -------------------------------------------------------------------------------- */

SCENARIO(reader_redirect, is_followed_for_one_request, NULL)
{
    asks(p, "offset=-1");
    answers(p, 307, "location: http://h/other?offset=-1\n", "moved");
    asks(p, "GET http://h/other?offset=-1");
    cr_assert(p->own_headers);
    answers(p, 302, "location: http://elsewhere/x\n", "");
    asks(p, "GET http://elsewhere/x");
    cr_assert_not(p->own_headers);
    answers(p, 302, "location: http://h/back\n", "");
    asks(p, "GET http://h/back");
    cr_assert_not(p->own_headers, "once the origin was left, the user's headers stay away");
    answers(p, 200, BIN NEXT("a"), "x");
    asks(p, "offset=a");
    cr_assert(p->own_headers);
    got(p, "x");
}

SCENARIO(reader_redirect, has_an_end, NULL)
{
    asks(p, "offset=-1");
    for (int i = 0; i < 5; i++) {
        answers(p, 302, "location: http://h/again\n", "");
        asks(p, "GET http://h/again");
    }
    answers(p, 302, "location: http://h/again\n", "");
    ends(p, DSTREAM_ERR_REDIRECT);
}

SCENARIO(reader_redirect, to_nowhere, NULL)
{
    asks(p, "offset=-1");
    answers(p, 302, "", "");
    ends(p, DSTREAM_ERR_REDIRECT);
}

/* --- the tail as it was at the start ---------------------------------------------------------- */

static void at_tail(struct ds_reader_config *c)
{
    c->stop_at_tail = true;
}

SCENARIO(reader_tail, stops_where_the_stream_ended, at_tail)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a"), "x");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("b"), "");
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("c"), "y");
    ends(p, DSTREAM_OK);
    got(p, "xy");
}

SCENARIO(reader_tail, is_not_asked_for_where_one_answer_is_all, at_tail)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a") UTD, "x");
    ends(p, DSTREAM_OK);
}

SCENARIO(reader_tail, before_the_position_is_another_stream, at_tail)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("b"), "x");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("a"), "");
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

/* --- the witness ------------------------------------------------------------------------------ */

static struct ds_witness witness;

static void resumed(struct ds_reader_config *c)
{
    witness = (struct ds_witness){.start = "a", .units = 3};
    ds_hash_of("xyz", 3, witness.hash);
    c->offset = "c";
    c->seen = true;
    c->content_type = "application/octet-stream";
    c->witness = &witness;
}

SCENARIO(reader_witness, is_found_again_first, resumed)
{
    asks(p, "offset=a");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=a");
    head(p, 200, BIN NEXT("b"));
    body(p, "xy");
    over(p, DS_END_COMPLETE);
    asks(p, "offset=b");
    head(p, 200, BIN NEXT("z"));
    body(p, "z and much more that is not waited for");
    asks(p, "offset=c");
    cr_assert_eq(p->batches, 0);
    answers(p, 200, BIN NEXT("d") UTD, "new");
    ends(p, DSTREAM_OK);
    got(p, "new");
}

SCENARIO(reader_witness, that_differs_is_another_stream, resumed)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("d") UTD, "xyy and more");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    cr_assert_eq(p->batches, 0);
}

SCENARIO(reader_witness, that_is_too_short_is_another_stream, resumed)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "xy");
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

SCENARIO(reader_witness, of_another_type_is_another_stream, resumed)
{
    asks(p, "offset=a");
    answers(p, 200, TEXT NEXT("d") UTD, "xyz");
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

SCENARIO(reader_witness, that_is_gone_is_said, resumed)
{
    asks(p, "offset=a");
    answers(p, 410, "", "");
    asks(p, "offset=c");
    cr_assert_str_eq(p->notices, "w");
}

SCENARIO(reader_witness, of_a_deleted_stream, resumed)
{
    asks(p, "offset=a");
    answers(p, 404, "", "");
    ends(p, DSTREAM_ERR_DELETED);
}

static void resumed_json(struct ds_reader_config *c)
{
    witness = (struct ds_witness){.start = "-1", .units = 2};
    ds_hash_of("{\"a\": 1}\n2\n", 11, witness.hash);
    c->offset = "c";
    c->seen = true;
    c->live = DSTREAM_LIVE_AUTO;
    c->recheck = true;
    c->content_type = "application/json";
    c->witness = &witness;
}

SCENARIO(reader_witness, of_json_is_looked_for_again_after_each_connection, resumed_json)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("c"), "[{\"a\":\r\n 1}, 2, 3]");
    asks(p, "offset=c");
    answers(p, 200, JSON NEXT("c") UTD, "[]");
    asks(p, "live=sse&offset=c");
    opens_sse(p, "");
    body(p, CONTROL("\"streamNextOffset\":\"c\",\"upToDate\":true"));
    p->now += 60000;
    over(p, DS_END_COMPLETE);
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("c"), "[{\"a\": 1},2]");
    asks(p, "live=sse&offset=c");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("c"), "[{\"a\":  1},2]");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    cr_assert(strstr(ds_reader_error(p->r)->message, "beginning"));
}

/* --- what looks like another stream ----------------------------------------------------------- */

static void lagging(struct ds_reader_config *c)
{
    c->live = DSTREAM_LIVE_LONG_POLL;
    c->limits.replica_lag = 10000;
}

SCENARIO(reader_lag, a_replica_may_be_behind, lagging)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("b") UTD, "x");
    asks(p, "live=long-poll&offset=b");
    answers(p, 204, NEXT("a") UTD, "");
    waits(p, 1000, 1000);
    asks(p, "live=long-poll&offset=b");
    answers(p, 404, "", "");
    waits(p, 2000, 2000);
    asks(p, "live=long-poll&offset=b");
    answers(p, 200, TEXT NEXT("c") UTD, "y");
    asks(p, "live=long-poll&offset=c");
    cr_assert_str_eq(p->notices, "ss");
    /* It counts from the start again. */
    answers(p, 204, NEXT("b") UTD, "");
    waits(p, 1000, 1000);
    got(p, "xy");
}

SCENARIO(reader_lag, has_an_end, lagging)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("b") UTD, "x");
    asks(p, "live=long-poll&offset=b");
    answers(p, 204, NEXT("a") UTD, "");
    for (int i = 0; i < 4; i++) {
        static const int64_t wait[] = {1000, 2000, 4000, 3000};
        waits(p, wait[i], wait[i]);
        asks(p, "live=long-poll&offset=b");
        answers(p, 204, NEXT("a") UTD, "");
    }
    ends(p, DSTREAM_ERR_STREAM_RESET);
    got(p, "x");
}

static void resumed_lagging(struct ds_reader_config *c)
{
    resumed(c);
    c->limits.replica_lag = 1500;
}

SCENARIO(reader_lag, a_witness_is_looked_for_again, resumed_lagging)
{
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "xy");
    waits(p, 1000, 1000);
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "xy");
    waits(p, 500, 500);
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "xyz");
    asks(p, "offset=c");
    cr_assert_eq(p->batches, 0);
}

/* --- large bodies in parts -------------------------------------------------------------------- */

static void parts(struct ds_reader_config *c)
{
    c->parts = true;
    c->limits.max_part = 3;
    c->limits.max_body = 64;
}

SCENARIO(reader_parts, are_handed_out_before_the_end, parts)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a") UTD,
            "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz!");
    ends(p, DSTREAM_OK);
    got(p, "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz!");
    cr_assert_str_eq(ds_reader_offset(p->r), "a");
    cr_assert_eq(ds_reader_skip(p->r), 0);
}

/* Bytewise, each part is as large as it says, and the position is exact in each. */
SCENARIO(reader_parts, of_json_are_messages, parts)
{
    asks(p, "offset=-1");
    head(p, 200, JSON NEXT("a") UTD);
    feed(p, "[1,22,", 6);
    feed(p, "33", 2);
    settle(p);
    last(p, "-1+0>");
    got(p, "1\n22\n");
    cr_assert_eq(ds_reader_skip(p->r), 2);
    cr_assert_str_eq(ds_reader_offset(p->r), "-1");
    feed(p, "3, 4]", 5);
    settle(p);
    last(p, "-1+2>");
    over(p, DS_END_COMPLETE);
    ends(p, DSTREAM_OK);
    got(p, "1\n22\n333\n4\n");
    cr_assert(strncmp(p->batch, "-1+", 3) == 0 && strstr(p->batch, ">a utd"), "%s", p->batch);
}

SCENARIO(reader_parts, a_cut_answer_goes_on_where_it_was, parts)
{
    asks(p, "offset=-1");
    head(p, 200, BIN NEXT("a") UTD);
    body(p, "0123456");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    size_t had = p->data.len;
    cr_assert_geq(had, 3);
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("b") UTD, "0123456789");
    ends(p, DSTREAM_OK);
    got(p, "0123456789");
}

SCENARIO(reader_parts, two_streams_are_never_spliced, parts)
{
    asks(p, "offset=-1");
    head(p, 200, BIN NEXT("a") UTD);
    body(p, "0123456");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    size_t had = p->data.len;
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("b") UTD, "0x23456789");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    cr_assert_eq(p->data.len, had);
}

static void parts_live(struct ds_reader_config *c)
{
    parts(c);
    c->live = DSTREAM_LIVE_LONG_POLL;
}

SCENARIO(reader_parts, a_second_answer_may_be_shorter, parts_live)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    head(p, 200, TEXT NEXT("z") UTD);
    body(p, "0123456789");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    cr_assert_geq(p->data.len, 8);
    asks(p, "offset=a");
    answers(p, 200, TEXT NEXT("b"), "01");
    asks(p, "offset=b");
    fails(p, DS_END_CUT);
    waits(p, 50, 300);
    asks(p, "offset=b");
    answers(p, 200, TEXT NEXT("c"), "2345");
    asks(p, "offset=c");
    cr_assert_str_eq(ds_reader_offset(p->r), "c");
    answers(p, 200, TEXT NEXT("d") UTD, "6789abc");
    asks(p, "live=long-poll&offset=d");
    got(p, "x0123456789abc");
}

SCENARIO(reader_parts, a_stream_that_became_shorter_is_another, parts_live)
{
    asks(p, "offset=-1");
    head(p, 200, TEXT NEXT("z") UTD);
    body(p, "0123456789");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("b") UTD, "012");
    ends(p, DSTREAM_ERR_STREAM_RESET);
}

SCENARIO(reader_parts, the_end_may_come_with_nothing, parts)
{
    asks(p, "offset=-1");
    answers(p, 200, BIN NEXT("a") UTD, "012345");
    ends(p, DSTREAM_OK);
    got(p, "012345");
    cr_assert(strstr(p->batch, ">a utd"));
}

SCENARIO(reader_parts, one_message_has_a_limit, parts)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD,
            "[1,2,3,4,\"0123456789012345678901234567890123456789012345678901234567890123456\"]");
    ends(p, DSTREAM_ERR_LIMIT);
    cr_assert_eq(strncmp(ds_buf_str(&p->data), "1\n2\n", 4), 0);
}

static void skip_2_parts(struct ds_reader_config *c)
{
    parts(c);
    c->offset = "a";
    c->skip = 7;
}

SCENARIO(reader_parts, what_is_left_out_may_be_many_parts, skip_2_parts)
{
    asks(p, "offset=a");
    head(p, 200, BIN NEXT("b") UTD);
    body(p, "01234567890123");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=a");
    answers(p, 200, BIN NEXT("b") UTD, "01234567890123456");
    ends(p, DSTREAM_OK);
    got(p, "7890123456");
}

static void small_events(struct ds_reader_config *c)
{
    parts(c);
    c->live = DSTREAM_LIVE_AUTO;
    c->limits.max_event = 8;
}

SCENARIO(reader_parts, a_large_event_is_fetched_by_plain_gets, small_events)
{
    to_sse(p);
    body(p, "event: data\ndata: [\"0123456789\"]\n\n" CONTROL("\"streamNextOffset\":\"b\""));
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[\"0123456789\"]");
    asks(p, "live=sse&offset=b");
    got(p, "0\n\"0123456789\"\n");
}

/* --- 410, credentials, other ways in ---------------------------------------------------------- */

static void from_old(struct ds_reader_config *c)
{
    c->offset = "a";
}

static void from_old_earliest(struct ds_reader_config *c)
{
    c->offset = "a";
    c->on_gone = DSTREAM_GONE_EARLIEST;
}

static void from_old_now(struct ds_reader_config *c)
{
    c->offset = "a";
    c->on_gone = DSTREAM_GONE_NOW;
}

SCENARIO(reader_gone, is_the_end_by_default, from_old)
{
    asks(p, "offset=a");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    ends(p, DSTREAM_ERR_GONE);
    cr_assert_eq(ds_reader_error(p->r)->status, 410);
}

SCENARIO(reader_gone, with_the_stream, from_old_earliest)
{
    asks(p, "offset=a");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 410, "", "");
    ends(p, DSTREAM_ERR_DELETED);
    cr_assert_eq(ds_reader_error(p->r)->status, 410);
}

SCENARIO(reader_gone, goes_on_at_the_earliest, from_old_earliest)
{
    asks(p, "offset=a");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    asks(p, "offset=-1");
    cr_assert_str_eq(p->notices, "g");
    answers(p, 200, BIN NEXT("z") UTD, "x");
    ends(p, DSTREAM_OK);
    last(p, "-1+0>z utd");
}

SCENARIO(reader_gone, goes_on_at_the_tail, from_old_now)
{
    asks(p, "offset=a");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    asks(p, "offset=now");
    answers(p, 200, BIN NEXT("z") UTD, "");
    ends(p, DSTREAM_OK);
    last(p, "now+0>z utd");
}

static void from_beginning_now(struct ds_reader_config *c)
{
    c->on_gone = DSTREAM_GONE_NOW;
}

SCENARIO(reader_gone, goes_on_at_the_tail_from_the_beginning, from_beginning_now)
{
    asks(p, "offset=-1");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    asks(p, "offset=now");
    cr_assert_str_eq(p->notices, "g");
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, BIN NEXT("z"), "");
    ends(p, DSTREAM_ERR_GONE); /* there is nothing further on */
}

static void with_hook(struct ds_reader_config *c)
{
    c->auth = true;
    c->live = DSTREAM_LIVE_LONG_POLL;
}

SCENARIO(reader_auth, is_asked_for_once_until_something_succeeds, with_hook)
{
    p->renews = true;
    asks(p, "offset=-1");
    answers(p, 401, "", "");
    asks(p, "offset=-1");
    cr_assert_eq(p->auth_asked, 1);
    answers(p, 200, TEXT NEXT("a") UTD, "x");
    asks(p, "live=long-poll&offset=a");
    answers(p, 403, "", "");
    asks(p, "live=long-poll&offset=a");
    cr_assert_eq(p->auth_asked, 2);
    answers(p, 401, "", "");
    ends(p, DSTREAM_ERR_AUTH);
    cr_assert_eq(p->auth_asked, 2);
}

SCENARIO(reader_auth, may_have_none, with_hook)
{
    asks(p, "offset=-1");
    answers(p, 401, "", "");
    ends(p, DSTREAM_ERR_AUTH);
    cr_assert_eq(p->auth_asked, 1);
}

/* The proxy wants its own, which are not the caller's to give for a request. */
SCENARIO(reader_auth, is_not_asked_for_by_a_proxy, with_hook)
{
    p->renews = true;
    asks(p, "offset=-1");
    answers(p, 407, "", "");
    ends(p, DSTREAM_ERR_AUTH);
    cr_assert_eq(p->auth_asked, 0);
    cr_assert_eq(ds_reader_error(p->r)->status, 407);
}

SCENARIO(reader_auth, is_not_asked_for_by_a_proxy_that_does_not_connect, with_hook)
{
    p->renews = true;
    asks(p, "offset=-1");
    fails(p, DS_END_PROXY_AUTH);
    ends(p, DSTREAM_ERR_AUTH);
    cr_assert_eq(p->auth_asked, 0);
    cr_assert_eq(ds_reader_error(p->r)->status, 407);
}

static void at_once(struct ds_reader_config *c)
{
    c->live = DSTREAM_LIVE_AUTO;
    c->live_at_once = true;
}

SCENARIO(reader_at_once, learns_the_type_and_goes_live, at_once)
{
    asks(p, "HEAD " BASE);
    answers(p, 200, JSON NEXT("z"), "");
    asks(p, "live=sse&offset=-1");
    opens_sse(p, "");
    body(p, "event: data\ndata: [1]\n\n" CONTROL("\"streamNextOffset\":\"z\",\"upToDate\":true"));
    got(p, "1\n");
    last(p, "-1+0>z utd");
}

SCENARIO(reader_sse, is_tried_again_after_a_while, live_auto)
{
    p->random = 12345;
    to_sse(p);
    for (int i = 0; i < 2; i++) {
        over(p, DS_END_COMPLETE);
        waits(p, 0, 5000);
        asks(p, "live=sse&offset=a");
        opens_sse(p, "");
    }
    over(p, DS_END_COMPLETE);
    asks(p, "live=long-poll&offset=a");
    p->now += 299000;
    answers(p, 204, NEXT("a") UTD, "");
    asks(p, "live=long-poll&offset=a");
    p->now += 2000;
    answers(p, 204, NEXT("a") UTD, "");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "");
    over(p, DS_END_COMPLETE);
    asks(p, "live=long-poll&offset=a");
    p->now += 599000;
    answers(p, 204, NEXT("a") UTD, "");
    asks(p, "live=long-poll&offset=a");
    p->now += 2000;
    answers(p, 204, NEXT("a") UTD, "");
    asks(p, "live=sse&offset=a");
    opens_sse(p, "");
    body(p, CONTROL("\"streamNextOffset\":\"a\",\"upToDate\":true"));
    p->now += 60000;
    over(p, DS_END_COMPLETE);
    asks(p, "live=sse&offset=a");
    cr_assert_str_eq(p->notices, "fc");
}

/* --- use -------------------------------------------------------------------------------------- */

Test(reader_use, what_cannot_be_read)
{
    static const struct {
        const char *url, *offset;
        uint64_t skip;
    } bad[] = {{"ftp://h/s", "-1", 0},
               {"http://h/s?offset=3", "-1", 0},
               {"http://h/s?a=1&live=x", "-1", 0},
               {"http://h/s?%63ursor=", "-1", 0},
               {BASE, "", 0},
               {BASE, "a b", 0},
               {BASE, "now", 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ds_reader_config c = {.url = bad[i].url,
                                     .offset = bad[i].offset,
                                     .skip = bad[i].skip,
                                     .limits = ds_limits_default()};
        struct dstream_error err = {0};
        struct ds_reader *r = NULL;
        cr_assert_eq(ds_reader_new(&r, &c, &err), DSTREAM_ERR_ARGUMENT, "%zu", i);
        cr_assert_null(r);
        cr_assert(err.message[0]);
    }
}

Test(reader_use, memory_that_is_not_there)
{
    for (long n = 0; n < 60; n++) {
        struct play p = new_play();
        struct dstream_error err = {0};
        live_auto(&p.config);
        p.now = 1;
        ds_buf_init(&p.data, 1 << 20);
        ds_alloc_fail_after(n);
        enum dstream_code rc = ds_reader_new(&p.r, &p.config, &err);
        if (rc == DSTREAM_OK && settle(&p).kind == DS_STEP_REQUEST) {
            answers(&p, 200, JSON NEXT("a") UTD, "[1,2]");
            if (settle(&p).kind == DS_STEP_REQUEST) {
                opens_sse(&p, "");
                body(&p, "event: data\ndata: [1]\n\n" CONTROL("\"streamNextOffset\":\"b\""));
            }
        }
        ds_alloc_fail_after(-1);
        if (rc != DSTREAM_OK)
            cr_assert_eq(rc, DSTREAM_ERR_NOMEM);
        end(&p);
    }
}
