/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other readers of Durable Streams, of Server-Sent Events and of HTTP got wrong: each case
 * happened in a published one, and is named after what that did. The tests show that this one does
 * not.
 */
#include "config.h"

#include "tests/unit/playing.h"

#define CONTROL(fields) "event: control\ndata: {" fields "}\n\n"
#define DATA(payload)   "event: data\ndata: " payload "\n\n"
#define AT(o)           "\"streamNextOffset\":\"" o "\""

static void to_sse(struct play *p, const char *type, const char *head)
{
    char fields[256];
    snprintf(fields, sizeof fields, "%s%s", type, NEXT("a") UTD);
    asks(p, "offset=-1");
    answers(p, 200, fields, strcmp(type, JSON) == 0 ? "[0]" : "0");
    asks(p, "live=sse&offset=a");
    opens_sse(p, head);
}

/* --- completeness ----------------------------------------------------------------------------- */

SCENARIO(wrong, catch_up_stops_after_the_first_answer, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a"), "1");
    asks(p, "offset=a");
    answers(p, 200, TEXT NEXT("b"), "2");
    asks(p, "offset=b");
    answers(p, 200, TEXT NEXT("c") UTD, "3");
    ends(p, DSTREAM_OK);
    got(p, "123");
}

SCENARIO(wrong, data_without_its_control_event_is_delivered_under_the_old_offset_and_again,
         live_auto)
{
    to_sse(p, JSON, "");
    body(p, DATA("[1]"));
    cr_assert_eq(p->batches, 1);
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[1]");
    settle(p);
    last(p, "a+0>b utd");
    got(p, "0\n1\n");
}

SCENARIO(wrong, an_event_that_is_cut_is_dispatched_as_if_it_were_whole, live_auto)
{
    to_sse(p, JSON, "");
    body(p, "event: data\ndata: [1]\n" /* the empty line is missing */);
    p->now += 2000;
    over(p, DS_END_COMPLETE);
    settle(p);
    got(p, "0\n");
}

SCENARIO(wrong, a_control_event_that_is_cut_is_taken_for_malformed, live_auto)
{
    to_sse(p, JSON, "");
    body(p, CONTROL(AT("a")) DATA("[1]") "event: control\ndata: {\"streamNext");
    p->now += 2000;
    over(p, DS_END_COMPLETE);
    asks(p, "live=sse&offset=a");
    got(p, "0\n");
}

SCENARIO(wrong, a_chunk_that_ends_in_cr_ends_the_event_early, live_auto)
{
    to_sse(p, JSON, "");
    body(p, "event: data\r\ndata: [1]\r\n\r\nevent: control\r\ndata: {" AT("b") "}\r\n\r\n");
    last(p, "a+0>b");
    got(p, "0\n1\n");
}

/* No time is looked at: what is quadratic would not end. */
Test(wrong, the_whole_buffer_is_scanned_again_for_each_chunk, .timeout = 60)
{
    struct play p = new_play();
    size_t n = (size_t)32 << 20;
    char *text = malloc(n);
    live_auto(&p.config);
    p.piece = 16384;
    begin(&p);
    ds_buf_free(&p.data);
    ds_buf_init(&p.data, n + 16);
    to_sse(&p, JSON, "");
    memset(text, 'x', n);
    body(&p, "event: data\ndata: [\"");
    body_n(&p, text, n);
    body(&p, "\"]\n\n" CONTROL(AT("b")));
    last(&p, "a+0>b");
    cr_assert_eq(p.data.len, n + 5);
    free(text);
    end(&p);
}

SCENARIO(wrong, characters_on_the_border_of_two_chunks_are_replaced, live_sse)
{
    to_sse(p, TEXT, "");
    body(p, DATA("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80") CONTROL(AT("b")));
    got(p, "0\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
}

/* --- going on, and ending --------------------------------------------------------------------- */

SCENARIO(wrong, behind_the_closing_control_event_it_polls_on, live_auto)
{
    to_sse(p, JSON, "");
    body(p, CONTROL(AT("a") ",\"streamClosed\":true"));
    ends(p, DSTREAM_OK);
    cr_assert_eq(p->asked, 2);
}

SCENARIO(wrong, falling_back_to_long_poll_ends_the_session, live_auto)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD CUR("7"), "[0]");
    asks(p, "cursor=7&live=sse&offset=a");
    answers(p, 501, "", "");
    asks(p, "cursor=7&live=long-poll&offset=a");
    answers(p, 200, JSON NEXT("b") UTD CUR("8"), "[1]");
    asks(p, "cursor=8&live=long-poll&offset=b");
    got(p, "0\n1\n");
}

static void poll_with_hook(struct ds_reader_config *c)
{
    live_poll(c);
    c->auth = true;
}

SCENARIO(wrong, a_reset_a_401_or_a_cut_body_ends_a_live_session, poll_with_hook)
{
    p->renews = true;
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD, "[0]");
    asks(p, "live=long-poll&offset=a");
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    asks(p, "live=long-poll&offset=a");
    answers(p, 401, "", "");
    asks(p, "live=long-poll&offset=a");
    head(p, 200, JSON NEXT("b") UTD);
    body(p, "[1");
    fails(p, DS_END_CUT);
    waits(p, 100, 200);
    asks(p, "live=long-poll&offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[1]");
    asks(p, "live=long-poll&offset=b");
    got(p, "0\n1\n");
}

/* An hour of connections that are ended each minute, as servers do: one request for each. */
Test(wrong, a_healthy_end_each_minute_is_taken_for_a_failure)
{
    struct play p = new_play();
    live_auto(&p.config);
    begin(&p);
    to_sse(&p, JSON, "");
    for (int minute = 0; minute < 60; minute++) {
        int64_t from = p.now;
        body(&p, CONTROL(AT("a") ",\"upToDate\":true"));
        p.now += 30000;
        body(&p, ": still there\n\n");
        p.now += 30000;
        over(&p, DS_END_COMPLETE);
        asks(&p, "live=sse&offset=a"); /* at once */
        opens_sse(&p, "");
        cr_assert_eq(p.now - from, 60000);
    }
    cr_assert_eq(p.asked, 2 + 60);
    cr_assert_eq(p.batches, 1);
    end(&p);
}

/* --- positions -------------------------------------------------------------------------------- */

SCENARIO(wrong, the_visible_offset_is_ahead_of_what_was_taken, live_auto)
{
    to_sse(p, JSON, "");
    p->hold = true;
    body(p, DATA("[1]"));
    cr_assert_str_eq(ds_reader_offset(p->r), "a");
    body(p, CONTROL(AT("b")));
    cr_assert_eq(settle(p).kind, DS_STEP_DELIVER);
    cr_assert_str_eq(ds_reader_offset(p->r), "a");
    p->hold = false;
    settle(p);
    cr_assert_str_eq(ds_reader_offset(p->r), "b");
}

SCENARIO(wrong, a_missing_next_offset_is_the_beginning_for_ever, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD, "[0]");
    for (int i = 0; i < 3; i++) {
        asks(p, "live=long-poll&offset=a");
        answers(p, 200, JSON, "[1]");
        if (i < 2)
            waits(p, 1, 400);
    }
    ends(p, DSTREAM_ERR_PROTOCOL);
    got(p, "0\n");
}

SCENARIO(wrong, an_empty_array_stalls_the_reader, NULL)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a"), "[0]");
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("a"), "[]");
    asks(p, "offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[1]");
    ends(p, DSTREAM_OK);
    got(p, "0\n1\n");
}

SCENARIO(wrong, an_empty_array_that_names_a_later_offset_stalls_the_long_poll, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("a") UTD, "[0]");
    asks(p, "live=long-poll&offset=a");
    answers(p, 200, JSON NEXT("b") UTD, "[]");
    for (int i = 0; i < 2; i++) {
        asks(p, "offset=a");
        answers(p, 200, JSON NEXT("b") UTD, "[]");
    }
    asks(p, "live=long-poll&offset=b");
    answers(p, 200, JSON NEXT("c") "stream-closed: true\n", "[1]");
    ends(p, DSTREAM_OK);
    got(p, "0\n1\n");
}

static void sse_at_once(struct ds_reader_config *c)
{
    live_auto(c);
    c->live_at_once = true;
    c->content_type = "application/json";
}

SCENARIO(wrong, an_up_to_date_control_event_on_an_empty_stream_is_not_handed_on, sse_at_once)
{
    asks(p, "live=sse&offset=-1");
    opens_sse(p, "");
    body(p, CONTROL(AT("0") ",\"upToDate\":true"));
    cr_assert_eq(p->batches, 1);
    last(p, "-1+0>-1 utd");
}

SCENARIO(wrong, the_smaller_offset_of_a_stream_made_anew_is_adopted, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, JSON NEXT("b") UTD, "[0]");
    asks(p, "live=long-poll&offset=b");
    answers(p, 200, JSON NEXT("a") UTD, "[1]");
    ends(p, DSTREAM_ERR_STREAM_RESET);
    cr_assert_str_eq(ds_reader_offset(p->r), "b");
    cr_assert_str_eq(ds_reader_error(p->r)->offset, "b");
    cr_assert_not_null(strstr(ds_reader_error(p->r)->message, " a,"));
    got(p, "0\n");
}

SCENARIO(wrong, now_is_sent_again_after_a_time_out, from_now)
{
    asks(p, "offset=now");
    answers(p, 200, TEXT NEXT("a") UTD, "");
    asks(p, "live=long-poll&offset=a");
    struct ds_step s = settle(p);
    p->now = s.u.until;
    waits(p, 50, 100);
    asks(p, "live=long-poll&offset=a");
}

/* Where the very first answers are lost, it can only be asked for again. */
static void from_now_poll(struct ds_reader_config *c)
{
    live_poll(c);
    c->offset = "now";
}

SCENARIO(wrong, now_whose_answers_are_lost_begins_twice, from_now_poll)
{
    for (int i = 0; i < 3; i++) {
        asks(p, "offset=now");
        fails(p, DS_END_CUT);
        waits(p, 50, 400);
    }
    asks(p, "offset=now");
    answers(p, 200, TEXT NEXT("a") UTD, "");
    cr_assert_eq(p->batches, 0); /* until it is taken */
    for (int i = 0; i < 50; i++) {
        asks(p, "live=long-poll&offset=a");
        fails(p, DS_END_CUT);
        waits(p, 50, 30000);
    }
    cr_assert_eq(p->batches, 1);
    asks(p, "live=long-poll&offset=a");
}

/* --- time ------------------------------------------------------------------------------------- */

SCENARIO(wrong, a_half_open_socket_hangs_for_ever, live_auto)
{
    to_sse(p, JSON, "");
    body(p, ": still there\n\n");
    p->now += 89999;
    cr_assert_eq(settle(p).u.until, p->now + 1);
    p->now++;
    waits(p, 50, 100);
    cr_assert(p->aborted);
}

SCENARIO(wrong, a_cache_that_answers_204_at_once_is_asked_for_ever, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "0");
    int64_t from = p->now;
    for (int i = 0; i < 30; i++) {
        if (!p->in_flight && settle(p).kind == DS_STEP_WAIT)
            p->now = settle(p).u.until;
        asks(p, "live=long-poll&offset=a");
        answers(p, 204, NEXT("a") UTD, "");
    }
    cr_assert_gt(p->now - from, 60000, "30 requests in %lld ms", (long long)(p->now - from));
}

/* At the machine's own limit, whatever the server says. */
SCENARIO(wrong, a_large_retry_after_becomes_a_hot_loop, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "0");
    static const char *const all[] = {"retry-after: 3000000000\n", "retry-after: 31536000000\n"};
    for (size_t i = 0; i < 2; i++) {
        asks(p, "live=long-poll&offset=a");
        answers(p, 429, all[i], "");
        waits(p, 300000, 300000);
    }
    asks(p, "live=long-poll&offset=a");
}

/* --- payloads --------------------------------------------------------------------------------- */

SCENARIO(wrong, base64_is_joined_before_it_is_decoded, live_auto)
{
    to_sse(p, BIN, "stream-sse-data-encoding: base64\n");
    body(p, DATA("YQ==") DATA("Yg==") CONTROL(AT("b")));
    got(p, "0ab");
}

SCENARIO(wrong, bad_base64_is_passed_on_as_it_is, live_auto)
{
    to_sse(p, BIN, "stream-sse-data-encoding: base64\n");
    body(p, DATA("Y*==") CONTROL(AT("b")));
    ends(p, DSTREAM_ERR_PARSE);
    got(p, "0");
}

/* --- requests --------------------------------------------------------------------------------- */

SCENARIO(wrong, stream_closed_is_compared_by_case, live_poll)
{
    asks(p, "offset=-1");
    answers(p, 200, TEXT NEXT("a") UTD, "0");
    asks(p, "live=long-poll&offset=a");
    answers(p, 204, NEXT("a") "stream-closed: True\n", "");
    ends(p, DSTREAM_OK);
}

static void with_params(struct ds_reader_config *c)
{
    live_poll(c);
    c->url = "http://h/s?z=1&b=a%20b";
    c->offset = "a&b=c#d";
}

SCENARIO(wrong, queries_are_not_sorted_or_not_encoded, with_params)
{
    asks(p, "GET http://h/s?b=a%20b&offset=a%26b%3Dc%23d&z=1");
    answers(p, 200, TEXT NEXT("b") UTD CUR("c"), "0");
    asks(p, "GET http://h/s?b=a%20b&cursor=c&live=long-poll&offset=b&z=1");
}

Test(wrong, parameters_of_the_user_override_offset)
{
    static const char *const urls[] = {"http://h/s?offset=-1", "http://h/s?a=b&live=sse",
                                       "http://h/s?cursor", "http://h/s?%6Fffset=now"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct play p = new_play();
        struct dstream_error err = {0};
        p.config.url = urls[i];
        cr_expect_eq(ds_reader_new(&p.r, &p.config, &err), DSTREAM_ERR_ARGUMENT, "%s", urls[i]);
        cr_expect_null(p.r);
    }
}

SCENARIO(wrong, credentials_follow_a_redirect_to_another_host, live_poll)
{
    asks(p, "offset=-1");
    cr_assert(p->own_headers);
    answers(p, 307, "location: http://other/s?offset=-1\n", "");
    asks(p, "GET http://other/s?offset=-1");
    cr_assert_not(p->own_headers);
    /* Nor do they come back with a second one. */
    answers(p, 307, "location: http://h/s?offset=-1\n", "");
    asks(p, "GET http://h/s?offset=-1");
    cr_assert_not(p->own_headers);
    answers(p, 200, TEXT NEXT("a") UTD, "0");
    asks(p, "live=long-poll&offset=a");
    cr_assert(p->own_headers);
}
