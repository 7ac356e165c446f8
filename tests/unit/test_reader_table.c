/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ends each request of a reader: one test for each event (in its name) in each state (in its
 * suite's): catch-up, long-poll, SSE.
 */
#include "config.h"

#include "tests/unit/playing.h"

#define CONTROL(fields) "event: control\ndata: {" fields "}\n\n"

enum state { CATCHUP, POLL, SSE, STATES };

/* The request under way asks from "a", in this state. */
static void into(struct play *p, enum state state)
{
    static const char *const requests[] = {"offset=a", "live=long-poll&offset=a",
                                           "live=sse&offset=a"};
    asks(p, "offset=-1");
    answers(p, 200, state == CATCHUP ? JSON NEXT("a") : JSON NEXT("a") UTD, "[0]");
    asks(p, requests[state]);
}

/* The same is asked again from "a"; behind an error SSE by a plain GET first. */
static void again(struct play *p, enum state state)
{
    asks(p, state == POLL ? "live=long-poll&offset=a" : "offset=a");
    if (state != SSE)
        return;
    answers(p, 200, JSON NEXT("a") UTD, "[]");
    asks(p, "live=sse&offset=a");
}

static const enum dstream_live lives[] = {DSTREAM_LIVE_LONG_POLL, DSTREAM_LIVE_LONG_POLL,
                                          DSTREAM_LIVE_AUTO};

static void run_cell(void (*cell)(struct play *, enum state), enum state state,
                     void (*set)(struct ds_reader_config *))
{
    for (size_t piece = 0; piece < 4; piece++) {
        struct play p = new_play();
        p.piece = piece;
        p.config.live = lives[state];
        if (set)
            set(&p.config);
        begin(&p);
        into(&p, state);
        cell(&p, state);
        end(&p);
    }
}

/* A row of the table: a test in each of the three states. */
#define ROW(name, set)                                                                             \
    static void name(struct play *p, enum state state);                                            \
    Test(reader_ends_catchup, name)                                                                \
    {                                                                                              \
        run_cell(name, CATCHUP, set);                                                              \
    }                                                                                              \
    Test(reader_ends_long_poll, name)                                                              \
    {                                                                                              \
        run_cell(name, POLL, set);                                                                 \
    }                                                                                              \
    Test(reader_ends_sse, name)                                                                    \
    {                                                                                              \
        run_cell(name, SSE, set);                                                                  \
    }                                                                                              \
    static void name(struct play *p, enum state state)

/* --- success ---------------------------------------------------------------------------------- */

ROW(s200, NULL)
{
    if (state == SSE) {
        opens_sse(p, "");
        body(p, "event: data\ndata: [1]\n\n" CONTROL("\"streamNextOffset\":\"b\""));
        last(p, "a+0>b");
    } else {
        answers(p, 200, JSON NEXT("b") UTD, "[1]");
        asks(p, "live=long-poll&offset=b");
        last(p, "a+0>b utd");
    }
    got(p, "0\n1\n");
}

/* Without "up to date" catch-up goes on by plain GETs, long-poll by long-polls. */
ROW(s200_before_the_tail, NULL)
{
    if (state == SSE) {
        opens_sse(p, "");
        body(p, "event: data\ndata: [1]\n\n" CONTROL("\"streamNextOffset\":\"b\""));
        p->now += 2000;
        over(p, DS_END_COMPLETE);
        asks(p, "live=sse&offset=b");
    } else {
        answers(p, 200, JSON NEXT("b"), "[1]");
        asks(p, state == POLL ? "live=long-poll&offset=b" : "offset=b");
    }
    got(p, "0\n1\n");
}

/* No further request. */
ROW(s200_closed, NULL)
{
    if (state == SSE) {
        opens_sse(p, "");
        body(p, "event: data\ndata: [1]\n\n" CONTROL(
                    "\"streamNextOffset\":\"b\",\"streamClosed\":true"));
    } else {
        answers(p, 200, JSON NEXT("b") END, "[1]");
    }
    ends(p, DSTREAM_OK);
    last(p, "a+0>b utd closed");
    cr_assert_eq(p->asked, 2);
}

ROW(s204, NULL)
{
    answers(p, 204, NEXT("a") UTD CUR("9"), "");
    if (state == SSE) {
        asks(p, "live=long-poll&offset=a");
        cr_assert_str_eq(p->notices, "f");
        return;
    }
    asks(p, "cursor=9&live=long-poll&offset=a");
    if (state == CATCHUP)
        last(p, "a+0>a utd c");
    else
        cr_assert_eq(p->batches, 1);
}

/* We never send If-None-Match. */
ROW(s304, NULL)
{
    (void)state;
    answers(p, 304, NEXT("a"), "");
    ends(p, DSTREAM_ERR_PROTOCOL);
}

/* --- redirects -------------------------------------------------------------------------------- */

ROW(redirects_within_the_origin, NULL)
{
    static const int codes[] = {301, 302, 303, 307, 308};
    for (size_t i = 0; i < 5; i++) {
        answers(p, codes[i], "location: http://h/t?x\n", "moved");
        asks(p, "GET http://h/t?x");
        cr_assert(p->own_headers);
    }
    answers(p, 200, state == SSE ? "content-type: text/event-stream\n" : JSON NEXT("b") UTD,
            state == SSE ? "" : "[1]");
    if (state != SSE)
        asks(p, "live=long-poll&offset=b");
}

ROW(redirect_to_https_of_the_same_host, NULL)
{
    (void)state;
    answers(p, 308, "location: https://h/t\n", "");
    asks(p, "GET https://h/t");
    cr_assert(p->own_headers);
    answers(p, 302, "location: http://h/t\n", "");
    ends(p, DSTREAM_ERR_REDIRECT);
}

ROW(redirect_to_elsewhere, NULL)
{
    (void)state;
    answers(p, 307, "location: http://other/t\n", "");
    asks(p, "GET http://other/t");
    cr_assert_not(p->own_headers);
}

ROW(redirects_without_end, NULL)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        answers(p, 302, "location: http://h/t\n", "");
        asks(p, "GET http://h/t");
    }
    answers(p, 302, "location: http://h/t\n", "");
    ends(p, DSTREAM_ERR_REDIRECT);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void refused(struct play *p, enum state state, int status, enum dstream_code code)
{
    answers(p, status, "content-type: text/plain\n", "because");
    if (state == SSE) {
        asks(p, "live=long-poll&offset=a");
        cr_assert_str_eq(p->notices, "f");
        return;
    }
    ends(p, code);
    cr_assert_eq(ds_reader_error(p->r)->status, status);
}

static void insisted(int status, enum dstream_code code)
{
    struct play p = new_play();
    p.config.live = DSTREAM_LIVE_SSE;
    begin(&p);
    into(&p, SSE);
    answers(&p, status, "", "");
    ends(&p, code);
    cr_assert_eq(ds_reader_error(p.r)->status, status);
    end(&p);
}

#define REFUSAL(status, code)                                                                      \
    ROW(s##status, NULL)                                                                           \
    {                                                                                              \
        refused(p, state, status, code);                                                           \
    }                                                                                              \
    Test(reader_ends_sse_by_request, s##status)                                                    \
    {                                                                                              \
        insisted(status, code);                                                                    \
    }

REFUSAL(400, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(405, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(406, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(409, DSTREAM_ERR_CONFLICT)
REFUSAL(412, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(413, DSTREAM_ERR_TOO_LARGE)
REFUSAL(414, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(415, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(416, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(431, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(501, DSTREAM_ERR_BAD_REQUEST)
REFUSAL(505, DSTREAM_ERR_BAD_REQUEST)

/* --- credentials ------------------------------------------------------------------------------ */

static void with_hook(struct ds_reader_config *c)
{
    c->auth = true;
}

static void renewed_once(struct play *p, enum state state, int status)
{
    static const char *const requests[] = {"offset=a", "live=long-poll&offset=a",
                                           "live=sse&offset=a"};
    p->renews = true;
    answers(p, status, "", "");
    asks(p, requests[state]);
    cr_assert_eq(p->auth_asked, 1);
    answers(p, status, "", "");
    ends(p, DSTREAM_ERR_AUTH);
    cr_assert_eq(p->auth_asked, 1);
}

ROW(s401, with_hook)
{
    renewed_once(p, state, 401);
}

ROW(s403, with_hook)
{
    renewed_once(p, state, 403);
}

ROW(s401_without_a_hook, NULL)
{
    (void)state;
    answers(p, 401, "", "");
    ends(p, DSTREAM_ERR_AUTH);
    cr_assert_eq(p->auth_asked, 0);
}

/* --- not there -------------------------------------------------------------------------------- */

static void awaited(struct ds_reader_config *c)
{
    c->wait_create = true;
}

ROW(s404, awaited)
{
    (void)state;
    answers(p, 404, "", "");
    ends(p, DSTREAM_ERR_DELETED);
}

Test(reader_ends_init, s404)
{
    struct play p = new_play();
    begin(&p);
    asks(&p, "offset=-1");
    answers(&p, 404, "", "");
    ends(&p, DSTREAM_ERR_NOT_FOUND);
    end(&p);
}

ROW(s410_while_the_stream_is_there, NULL)
{
    (void)state;
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, JSON NEXT("z"), "");
    ends(p, DSTREAM_ERR_GONE);
}

static void earliest(struct ds_reader_config *c)
{
    c->on_gone = DSTREAM_GONE_EARLIEST;
}

ROW(s410_going_on_at_the_earliest, earliest)
{
    (void)state;
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, JSON NEXT("z"), "");
    asks(p, "offset=-1");
    cr_assert_str_eq(p->notices, "g");
    cr_assert_eq(p->batches, 1);
    answers(p, 200, JSON NEXT("z") UTD, "[9]");
    settle(p);
    last(p, "-1+0>z utd");
}

static void now(struct ds_reader_config *c)
{
    c->on_gone = DSTREAM_GONE_NOW;
}

ROW(s410_going_on_at_the_tail, now)
{
    (void)state;
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 200, JSON NEXT("z"), "");
    asks(p, "offset=now");
    cr_assert_str_eq(p->notices, "g");
    answers(p, 200, JSON NEXT("z") UTD, "[]");
    settle(p);
    last(p, "now+0>z utd");
}

ROW(s410_with_the_stream, earliest)
{
    (void)state;
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 410, "", "");
    ends(p, DSTREAM_ERR_DELETED);
}

ROW(s410_and_then_404, earliest)
{
    (void)state;
    answers(p, 410, "", "");
    asks(p, "HEAD " BASE);
    answers(p, 404, "", "");
    ends(p, DSTREAM_ERR_DELETED);
}

/* --- passing trouble -------------------------------------------------------------------------- */

#define BUSY(status, is)                                                                           \
    ROW(s##status, NULL)                                                                           \
    {                                                                                              \
        answers(p, status, "", "");                                                                \
        waits(p, 50, 100);                                                                         \
        cr_assert_eq(p->notice_code, is);                                                          \
        again(p, state);                                                                           \
    }

BUSY(408, DSTREAM_ERR_TIMEOUT)
BUSY(425, DSTREAM_ERR_BUSY)
BUSY(429, DSTREAM_ERR_BUSY)
BUSY(500, DSTREAM_ERR_SERVER)
BUSY(502, DSTREAM_ERR_SERVER)
BUSY(503, DSTREAM_ERR_SERVER)
BUSY(504, DSTREAM_ERR_SERVER)
BUSY(599, DSTREAM_ERR_SERVER)

#define NETWORK(name, how, is)                                                                     \
    ROW(name, NULL)                                                                                \
    {                                                                                              \
        fails(p, how);                                                                             \
        waits(p, 50, 100);                                                                         \
        cr_assert_eq(p->notice_code, is);                                                          \
        again(p, state);                                                                           \
    }

NETWORK(not_resolved, DS_END_RESOLVE, DSTREAM_ERR_RESOLVE)
NETWORK(connection_refused, DS_END_CONNECT, DSTREAM_ERR_CONNECT)
NETWORK(connection_reset, DS_END_CUT, DSTREAM_ERR_NETWORK)
NETWORK(tls_broken_off, DS_END_TLS, DSTREAM_ERR_TLS)

ROW(no_answer_in_time, NULL)
{
    static const int64_t limits[] = {10000, 90000, 30000};
    ds_reader_connected(p->r, p->now);
    struct ds_step s = settle(p);
    cr_assert_eq(s.u.until - p->now, limits[state]);
    p->now = s.u.until;
    waits(p, 50, 100);
    cr_assert_eq(p->notice_code, DSTREAM_ERR_TIMEOUT);
    again(p, state);
}

/* What had come of it is dropped, and comes again. */
ROW(body_cut, NULL)
{
    if (state == SSE) {
        opens_sse(p, "");
        body(p, "event: data\ndata: [1]\n\nevent: control\ndata: {\"streamNext");
    } else {
        head(p, 200, JSON NEXT("b") UTD);
        body(p, "[1");
    }
    fails(p, DS_END_CUT);
    waits(p, 50, 100);
    got(p, "0\n");
    again(p, state);
}

ROW(body_stands_still, NULL)
{
    if (state == SSE) {
        opens_sse(p, "");
        body(p, "event: data\ndata: [1]\n\n");
    } else {
        head(p, 200, JSON NEXT("b") UTD);
        body(p, "[1");
    }
    struct ds_step s = settle(p);
    cr_assert_eq(s.u.until - p->now, state == SSE ? 90000 : 30000);
    p->now = s.u.until;
    waits(p, 50, 100);
    cr_assert(p->aborted);
    got(p, "0\n");
    again(p, state);
}

/* --- for good --------------------------------------------------------------------------------- */

#define FINAL(name, how, is)                                                                       \
    ROW(name, NULL)                                                                                \
    {                                                                                              \
        (void)state;                                                                               \
        fails(p, how);                                                                             \
        ends(p, is);                                                                               \
    }

FINAL(certificate, DS_END_TLS_REFUSED, DSTREAM_ERR_TLS)
FINAL(bad_url_or_header, DS_END_BAD, DSTREAM_ERR_ARGUMENT)
FINAL(head_too_large, DS_END_LIMIT, DSTREAM_ERR_LIMIT)
