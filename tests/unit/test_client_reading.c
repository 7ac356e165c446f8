/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the library on real connections: limits, what they say of trouble, and cancelling in
 * each state. */
#include "config.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/listener.h"
#include "tests/unit/clients.h"

TestSuite(reading, .init = clients_start);

/* --- limits ----------------------------------------------------------------------------------- */

Test(reading, limits_have_a_range)
{
    dstream_options *o = dstream_options_new();
    for (int what = DSTREAM_LIMIT_CONNECT; what <= DSTREAM_LIMIT_PART_BYTES; what++) {
        enum dstream_limit l = (enum dstream_limit)what;
        bool size = what >= DSTREAM_LIMIT_EVENT_BYTES;
        cr_expect_eq(dstream_options_set_limit(o, l, 1), DSTREAM_OK, "%d", what);
        cr_expect_eq(dstream_options_set_limit(o, l, INT64_MAX), DSTREAM_OK, "%d", what);
        cr_expect_eq(dstream_options_set_limit(o, l, -2), DSTREAM_ERR_ARGUMENT, "%d", what);
        cr_expect_eq(dstream_options_set_limit(o, l, -1), size ? DSTREAM_ERR_ARGUMENT : DSTREAM_OK,
                     "%d", what);
        cr_expect_eq(dstream_options_set_limit(o, l, 0),
                     l == DSTREAM_LIMIT_REPLICA_LAG ? DSTREAM_OK : DSTREAM_ERR_ARGUMENT, "%d",
                     what);
    }
    cr_expect_eq(dstream_options_set_limit(o, (enum dstream_limit)0, 1), DSTREAM_ERR_ARGUMENT);
    cr_expect_eq(dstream_options_set_limit(o, DSTREAM_LIMIT_PART_BYTES + 1, 1),
                 DSTREAM_ERR_ARGUMENT);
    dstream_options_free(o);
}

/* --- a server --------------------------------------------------------------------------------- */

enum stage { IN_HEADERS, IN_BODY, IN_BACKOFF, IN_LONG_POLL, IN_SSE, STAGES };

struct server {
    struct listener *l;
    enum stage stage;
    char url[128];
    _Atomic unsigned there, gone; /* requests that have got to the stage; that the peer left */
};

static void say(int fd, const char *text)
{
    listener_send(fd, text, strlen(text));
}

#define PAGE                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n"                   \
    "Stream-Next-Offset: 1\r\nStream-Up-To-Date: true\r\n\r\n[1]"

static void serve(void *ctx, int fd)
{
    struct server *s = ctx;
    char head[4096];
    while (listener_head(fd, head, sizeof head)) {
        bool live = strstr(head, "live=");
        if (s->stage >= IN_LONG_POLL && !live) {
            say(fd, PAGE);
            continue;
        }
        if (s->stage == IN_BACKOFF)
            say(fd, "HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 9\r\n\r\n");
        if (s->stage == IN_BODY)
            say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n"
                    "Stream-Next-Offset: 1\r\n\r\nabc");
        if (s->stage == IN_SSE)
            say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                    "event: data\ndata: [2]\n\n");
        s->there++;
        if (s->stage == IN_BACKOFF)
            continue;
        listener_linger(fd);
        break;
    }
    s->gone++;
}

static struct server *server_new(enum stage stage)
{
    struct server *s = calloc(1, sizeof *s);
    s->stage = stage;
    s->l = listener_start(serve, s);
    snprintf(s->url, sizeof s->url, "%s/s", listener_url(s->l));
    return s;
}

static void server_end(struct server *s)
{
    listener_stop(s->l);
    free(s);
}

/* --- cancelling ------------------------------------------------------------------------------- */

struct seen {
    unsigned batches, ends, notices;
    enum dstream_notice notice;
    int64_t delay;
    enum dstream_code why;
    char message[512];
    enum dstream_flow flow;
    bool cancel;
};

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    struct seen *s = ctx;
    (void)r, (void)b;
    s->batches++;
    return s->flow;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct seen *s = ctx;
    (void)r, (void)code;
    s->ends++;
}

static void on_notice(void *ctx, dstream_reader *r, enum dstream_notice what, int64_t delay_ms,
                      const dstream_error *why)
{
    struct seen *s = ctx;
    s->notices++;
    s->notice = what;
    s->delay = delay_ms;
    s->why = why ? dstream_error_code(why) : DSTREAM_OK;
    snprintf(s->message, sizeof s->message, "%s", why ? dstream_error_message(why) : "");
    if (s->cancel)
        dstream_reader_cancel(r);
}

static dstream_reader *begin(dstream_loop *loop, const char *url, struct seen *seen)
{
    dstream_options *o = dstream_options_new();
    dstream_reader *r;
    dstream_options_set_live(o, strstr(url, "poll") ? DSTREAM_LIVE_LONG_POLL : DSTREAM_LIVE_AUTO);
    dstream_options_set_on_notice(o, on_notice, seen);
    cr_assert_eq(dstream_reader_open(&r, loop, url, o), DSTREAM_OK);
    dstream_options_free(o);
    cr_assert_eq(dstream_reader_start(r, on_batch, on_end, seen), DSTREAM_OK);
    return r;
}

/* One turn, without waiting, and no more is called back. */
static void cancel(dstream_loop *loop, dstream_reader *r, struct seen *seen)
{
    struct seen before = *seen;
    dstream_reader_cancel(r);
    int64_t at = ds_loop_update(loop);
    cr_assert_eq(dstream_loop_turn(loop, -1), DSTREAM_OK);
    cr_assert_lt(ds_loop_update(loop) - at, 1000); /* 0 or 1 on a machine that has the time */
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_ERR_CANCELLED);
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(memcmp(&before, seen, sizeof before), 0);
    /* Nothing is left to be waited for. */
    cr_assert_eq(dstream_loop_timeout(loop), -1);
}

/* While the request is in this stage; the server sees the connection go. */
static void cancelled_in(enum stage stage)
{
    struct server *s = server_new(stage);
    struct seen seen;
    memset(&seen, 0, sizeof seen);
    char url[160];
    snprintf(url, sizeof url, "%s%s", s->url, stage == IN_LONG_POLL ? "?poll" : "");
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = begin(loop, url, &seen);
    turn_until(loop, s->there > 0 && (stage != IN_BACKOFF || seen.notices > 0));
    cancel(loop, r, &seen);
    if (stage != IN_BACKOFF)
        turn_until(loop, s->gone > 0);
    cr_assert_eq(s->there, 1);
    cr_assert_eq(seen.ends, 0);
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

Test(reading, cancelled_while_the_head_is_awaited)
{
    cancelled_in(IN_HEADERS);
}

Test(reading, cancelled_inside_the_body)
{
    cancelled_in(IN_BODY);
}

Test(reading, cancelled_in_backoff)
{
    cancelled_in(IN_BACKOFF);
}

Test(reading, cancelled_in_a_long_poll)
{
    cancelled_in(IN_LONG_POLL);
}

Test(reading, cancelled_in_an_event_stream)
{
    cancelled_in(IN_SSE);
}

/* A port whose queue of connections is full answers to none. */
Test(reading, cancelled_while_it_connects)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), waiting[8];
    char url[64];
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    cr_assert_eq(listen(fd, 0), 0);
    for (size_t i = 0; i < 8; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], (struct sockaddr *)&a, sizeof a);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%u/s", (unsigned)ntohs(a.sin_port));
    struct seen seen;
    memset(&seen, 0, sizeof seen);
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = begin(loop, url, &seen);
    for (int i = 0; i < 10; i++)
        dstream_loop_turn(loop, 5);
    cr_assert_eq(seen.notices, 0); /* it is at that still */
    cancel(loop, r, &seen);
    dstream_reader_free(r);
    dstream_loop_free(loop);
    for (size_t i = 0; i < 8; i++)
        close(waiting[i]);
    close(fd);
}

static void cancelled_with_a_batch(bool paused)
{
    struct server *s = server_new(IN_LONG_POLL);
    struct seen seen;
    memset(&seen, 0, sizeof seen);
    seen.flow = DSTREAM_FLOW_HOLD;
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = begin(loop, s->url, &seen);
    turn_until(loop, seen.batches > 0);
    if (paused)
        dstream_reader_pause(r);
    cancel(loop, r, &seen);
    dstream_reader_resume(r);
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(seen.batches, 1);
    cr_assert_eq(s->there, 0);
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

Test(reading, cancelled_while_a_batch_is_held)
{
    cancelled_with_a_batch(false);
}

Test(reading, cancelled_while_it_is_paused)
{
    cancelled_with_a_batch(true);
}

/* --- notices ---------------------------------------------------------------------------------- */

Test(reading, a_retry_is_said_with_its_reason)
{
    struct server *s = server_new(IN_BACKOFF);
    struct seen seen;
    memset(&seen, 0, sizeof seen);
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = begin(loop, s->url, &seen);
    turn_until(loop, seen.notices > 0);
    cr_assert_eq(seen.notice, DSTREAM_NOTICE_RETRY);
    cr_assert_eq(seen.why, DSTREAM_ERR_SERVER);
    cr_assert_eq(seen.delay, 9000);
    cr_assert(strstr(seen.message, "503"), "%s", seen.message);
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

Test(reading, cancelled_from_inside_a_notice)
{
    struct server *s = server_new(IN_BACKOFF);
    struct seen seen;
    memset(&seen, 0, sizeof seen);
    seen.cancel = true;
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = begin(loop, s->url, &seen);
    turn_until(loop, seen.notices > 0);
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(dstream_loop_timeout(loop), -1);
    cr_assert_eq(seen.ends, 0);
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

/* --- what limits do --------------------------------------------------------------------------- */

static enum dstream_code ends_with(enum stage stage, enum dstream_limit what, int64_t value)
{
    struct server *s = server_new(stage);
    dstream_options *o = quick();
    const dstream_batch *b;
    dstream_reader *r;
    cr_assert_eq(dstream_options_set_limit(o, what, value), DSTREAM_OK);
    dstream_options_set_retries(o, 1);
    cr_assert_eq(dstream_reader_open(&r, NULL, s->url, o), DSTREAM_OK);
    dstream_options_free(o);
    cr_assert_eq(dstream_reader_next(r, LIMIT_MS, &b), DSTREAM_NEXT_ERROR);
    enum dstream_code code = dstream_error_code(dstream_reader_error(r));
    dstream_reader_free(r);
    server_end(s);
    return code;
}

Test(reading, limits_end_what_takes_too_long_or_too_much)
{
    cr_expect_eq(ends_with(IN_HEADERS, DSTREAM_LIMIT_HEADER, 20), DSTREAM_ERR_TIMEOUT);
    cr_expect_eq(ends_with(IN_BODY, DSTREAM_LIMIT_SILENCE, 20), DSTREAM_ERR_TIMEOUT);
    cr_expect_eq(ends_with(IN_BODY, DSTREAM_LIMIT_BODY_BYTES, 2), DSTREAM_ERR_LIMIT);
    cr_expect_eq(ends_with(IN_BACKOFF, DSTREAM_LIMIT_RETRY_TIME, 1), DSTREAM_ERR_BUSY);
}
