/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the library, on real connections to a small server in a thread. */
#include "config.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/listener.h"
#include "tests/unit/clients.h"

/* --- a server --------------------------------------------------------------------------------- */

/* A text stream of 3 bytes, "abc", that stays open: one byte an answer, then long-polls are held
 * until the peer goes, or answered at once by 204. */
struct server {
    struct listener *l;
    _Atomic bool empty_polls;
    _Atomic unsigned requests, polls, open;
    char url[128];
};

static void answer(int fd, const char *body, unsigned next, bool up_to_date)
{
    char text[512];
    int n =
        snprintf(text, sizeof text,
                 "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                 "ETag: \"%u\"\r\nStream-Next-Offset: %03u\r\n%s\r\n%s",
                 strlen(body), next, next, up_to_date ? "Stream-Up-To-Date: true\r\n" : "", body);
    listener_send(fd, text, (size_t)n);
}

static void serve(void *ctx, int fd)
{
    struct server *s = ctx;
    char head[4096];
    s->open++;
    while (listener_head(fd, head, sizeof head)) {
        const char *offset = strstr(head, "offset=");
        unsigned at = offset && strncmp(offset + 7, "-1", 2) != 0
                          ? (unsigned)strtoul(offset + 7, NULL, 10)
                          : 0;
        s->requests++;
        if (strstr(head, "live=")) {
            static const char nothing[] = "HTTP/1.1 204 No\r\nStream-Next-Offset: 003\r\n\r\n";
            s->polls++;
            if (s->empty_polls) {
                listener_send(fd, nothing, sizeof nothing - 1);
                continue;
            }
            listener_linger(fd);
            break;
        }
        char body[2] = {"abc"[at], '\0'};
        answer(fd, at < 3 ? body : "", at < 3 ? at + 1 : 3, at >= 2);
    }
    s->open--;
}

static struct server *server_new(void)
{
    struct server *s = calloc(1, sizeof *s);
    s->l = listener_start(serve, s);
    snprintf(s->url, sizeof s->url, "%s/s", listener_url(s->l));
    return s;
}

static void server_end(struct server *s)
{
    listener_stop(s->l);
    free(s);
}

TestSuite(client, .init = clients_start);

/* --- the callback way ------------------------------------------------------------------------- */

struct seen {
    char data[256];
    unsigned batches, ends, offers;
    enum dstream_code code;
    enum dstream_flow flow; /* what is answered to the next one */
    bool cancel, pause;     /* from inside it */
};

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    struct seen *s = ctx;
    size_t n;
    const char *p = dstream_batch_data(b, &n);
    enum dstream_flow flow = s->flow;
    s->offers++;
    s->flow = DSTREAM_FLOW_NEXT;
    if (s->cancel)
        dstream_reader_cancel(r);
    if (s->pause)
        dstream_reader_pause(r);
    s->pause = false;
    if (flow != DSTREAM_FLOW_HOLD) {
        strncat(s->data, p, n);
        s->batches++;
    }
    return flow;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct seen *s = ctx;
    (void)r;
    s->ends++;
    s->code = code;
}

static dstream_reader *open_live(dstream_loop *loop, const char *url)
{
    dstream_options *o = dstream_options_new();
    dstream_reader *r;
    dstream_options_set_live(o, DSTREAM_LIVE_LONG_POLL);
    cr_assert_eq(dstream_reader_open(&r, loop, url, o), DSTREAM_OK);
    dstream_options_free(o);
    return r;
}

Test(client, calls_back_with_each_batch)
{
    struct server *s = server_new();
    struct seen seen = {0};
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r;
    cr_assert_eq(dstream_reader_open(&r, loop, s->url, NULL), DSTREAM_OK);
    cr_assert_eq(dstream_reader_start(r, on_batch, on_end, &seen), DSTREAM_OK);
    cr_assert_eq(dstream_reader_start(r, on_batch, on_end, &seen), DSTREAM_ERR_STATE);
    turn_until(loop, seen.ends > 0);
    cr_assert_str_eq(seen.data, "abc");
    cr_assert_eq(seen.batches, 3);
    cr_assert_eq(seen.code, DSTREAM_OK);
    cr_assert_str_eq(dstream_reader_offset(r), "003");
    cr_assert_str_eq(dstream_reader_content_type(r), "text/plain");
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

Test(client, offers_again_what_was_not_taken)
{
    struct server *s = server_new();
    struct seen seen = {.flow = DSTREAM_FLOW_HOLD};
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = open_live(loop, s->url);
    dstream_reader_start(r, on_batch, on_end, &seen);
    turn_until(loop, seen.offers == 1);
    cr_assert_str_eq(dstream_reader_offset(r), "-1");
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(seen.offers, 1);
    seen.flow = DSTREAM_FLOW_HOLD;
    dstream_reader_resume(r);
    turn_until(loop, seen.offers == 2);
    dstream_reader_resume(r);
    turn_until(loop, seen.batches == 3);
    cr_assert_str_eq(seen.data, "abc");
    cr_assert_eq(seen.offers, 5);
    seen.flow = DSTREAM_FLOW_NEXT;
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

Test(client, stops_where_it_is_told_to)
{
    struct server *s = server_new();
    struct seen seen = {.flow = DSTREAM_FLOW_STOP};
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = open_live(loop, s->url);
    dstream_reader_start(r, on_batch, on_end, &seen);
    turn_until(loop, seen.ends > 0);
    cr_assert_str_eq(seen.data, "a");
    cr_assert_eq(seen.code, DSTREAM_OK);
    cr_assert_str_eq(dstream_reader_offset(r), "001");
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

Test(client, a_pause_closes_the_request_and_goes_on_where_it_was)
{
    struct server *s = server_new();
    struct seen seen = {0};
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = open_live(loop, s->url);
    dstream_reader_start(r, on_batch, on_end, &seen);
    turn_until(loop, s->polls == 1);
    dstream_reader_pause(r);
    turn_until(loop, s->open == 0);
    unsigned requests = s->requests;
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(s->requests, requests);
    dstream_reader_resume(r);
    /* One plain GET, then live again. */
    turn_until(loop, s->polls == 2);
    cr_assert_eq(s->requests, requests + 2);
    cr_assert_str_eq(seen.data, "abc");
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

Test(client, a_pause_from_inside_the_callback)
{
    struct server *s = server_new();
    struct seen seen = {.pause = true};
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = open_live(loop, s->url);
    dstream_reader_start(r, on_batch, on_end, &seen);
    turn_until(loop, seen.batches == 1);
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(seen.batches, 1);
    dstream_reader_resume(r);
    turn_until(loop, s->polls == 1);
    cr_assert_str_eq(seen.data, "abc");
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

/* --- credentials that change ------------------------------------------------------------------ */

/* Takes only the token of now; after two answers it has expired. */
struct guarded {
    struct listener *l;
    _Atomic unsigned token, answers, refusals, params;
    char url[128];
};

static void serve_guarded(void *ctx, int fd)
{
    struct guarded *g = ctx;
    char head[4096], wanted[64];
    while (listener_head(fd, head, sizeof head)) {
        snprintf(wanted, sizeof wanted, "Authorization: token-%u\r\n", (unsigned)g->token);
        const char *offset = strstr(head, "offset=");
        unsigned at = offset && offset[7] != '-' ? (unsigned)strtoul(offset + 7, NULL, 10) : 0;
        g->params += strstr(head, "?a=b%20c&offset=") != NULL;
        if (!strstr(head, wanted)) {
            static const char no[] = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
            g->refusals++;
            listener_send(fd, no, sizeof no - 1);
            continue;
        }
        char body[2] = {"abcdef"[at], '\0'};
        answer(fd, body, at + 1, at == 5);
        if (++g->answers % 2 == 0)
            g->token++;
    }
}

struct wallet {
    unsigned token, asked, refused;
    bool empty; /* there is no other one */
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
    cr_assert_eq(dstream_request_add_param(q, "a", "b c"), DSTREAM_OK);
    return dstream_request_add_header(q, header);
}

/* The refusal is told as the server made it. */
static void told_refused(const dstream_error *e)
{
    cr_assert_eq(dstream_error_status(e), 401);
    cr_assert(strstr(dstream_error_message(e), "401"), "%s", dstream_error_message(e));
}

static struct seen read_guarded(struct wallet *w, unsigned token, struct guarded *g)
{
    struct seen seen = {.batches = 0};
    dstream_options *o = dstream_options_new();
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r;
    g->l = listener_start(serve_guarded, g);
    g->token = token;
    snprintf(g->url, sizeof g->url, "%s/s", listener_url(g->l));
    dstream_options_set_on_request(o, on_request, w);
    cr_assert_eq(dstream_reader_open(&r, loop, g->url, o), DSTREAM_OK);
    dstream_options_free(o);
    dstream_reader_start(r, on_batch, on_end, &seen);
    turn_until(loop, seen.ends > 0);
    cr_assert_eq(seen.code, dstream_error_code(dstream_reader_error(r)));
    if (seen.code == DSTREAM_ERR_AUTH)
        told_refused(dstream_reader_error(r));
    dstream_reader_free(r);
    dstream_loop_free(loop);
    listener_stop(g->l);
    return seen;
}

Test(client, credentials_are_made_for_each_request)
{
    struct wallet w = {.token = 1};
    struct guarded g = {.answers = 0};
    struct seen seen = read_guarded(&w, 1, &g);
    cr_assert_eq(seen.code, DSTREAM_OK);
    cr_assert_str_eq(seen.data, "abcdef");
    cr_assert_eq(g.refusals, 2);
    cr_assert_eq(w.refused, 2);
    cr_assert_eq(w.asked, 8);
    cr_assert_eq(g.params, 8);
}

Test(client, other_credentials_are_asked_for_once)
{
    struct wallet w = {.token = 1};
    struct guarded g = {.answers = 0};
    struct seen seen = read_guarded(&w, 9, &g);
    cr_assert_eq(seen.code, DSTREAM_ERR_AUTH);
    cr_assert_eq(w.asked, 2);
    cr_assert_eq(w.refused, 1);
    cr_assert_eq(g.refusals, 2);
}

Test(client, there_may_be_no_other_credentials)
{
    struct wallet w = {.token = 1, .empty = true};
    struct guarded g = {.answers = 0};
    struct seen seen = read_guarded(&w, 9, &g);
    cr_assert_eq(seen.code, DSTREAM_ERR_AUTH);
    cr_assert_eq(g.refusals, 1);
}

static enum dstream_code bad_addition(void *ctx, dstream_request *q, bool refused)
{
    (void)ctx;
    (void)refused;
    (void)dstream_request_add_header(q, "Evil: a\r\nb: c");
    return DSTREAM_OK;
}

Test(client, an_addition_that_cannot_be_sent_is_not_left_out)
{
    struct server *s = server_new();
    const dstream_batch *b;
    dstream_options *o = dstream_options_new();
    dstream_reader *r;
    dstream_options_set_on_request(o, bad_addition, NULL);
    cr_assert_eq(dstream_reader_open(&r, NULL, s->url, o), DSTREAM_OK);
    dstream_options_free(o);
    cr_assert_eq(dstream_reader_next(r, LIMIT_MS, &b), DSTREAM_NEXT_ERROR);
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(s->requests, 0);
    dstream_reader_free(r);
    server_end(s);
}

/* What a callback for a request does to its own reader. */
struct meddler {
    dstream_reader *r;
    unsigned asked;
    bool pause, cancel;
};

static enum dstream_code meddle(void *ctx, dstream_request *q, bool refused)
{
    struct meddler *m = ctx;
    (void)q;
    (void)refused;
    m->asked++;
    if (m->pause && m->asked == 2)
        dstream_reader_pause(m->r);
    if (m->cancel && m->asked == 2)
        dstream_reader_cancel(m->r);
    return DSTREAM_OK;
}

static void meddled_with(struct meddler *m, struct seen *seen, unsigned requests)
{
    struct server *s = server_new();
    dstream_options *o = dstream_options_new();
    dstream_loop *loop = dstream_loop_new();
    dstream_options_set_on_request(o, meddle, m);
    cr_assert_eq(dstream_reader_open(&m->r, loop, s->url, o), DSTREAM_OK);
    dstream_options_free(o);
    dstream_reader_start(m->r, on_batch, on_end, seen);
    turn_until(loop, m->asked == 2);
    for (int i = 0; i < 10; i++)
        dstream_loop_turn(loop, 5);
    cr_assert_eq(s->requests, 1);
    dstream_reader_resume(m->r);
    if (m->pause)
        turn_until(loop, seen->ends > 0);
    cr_assert_eq(s->requests, requests);
    dstream_reader_free(m->r);
    dstream_loop_free(loop);
    server_end(s);
}

Test(client, a_pause_from_inside_the_callback_for_a_request_sends_nothing)
{
    struct meddler m = {.pause = true};
    struct seen seen = {.batches = 0};
    meddled_with(&m, &seen, 3);
    cr_assert_str_eq(seen.data, "abc");
}

Test(client, a_cancel_from_inside_the_callback_for_a_request_sends_nothing)
{
    struct meddler m = {.cancel = true};
    struct seen seen = {.batches = 0};
    meddled_with(&m, &seen, 1);
    cr_assert_eq(seen.ends, 0);
}

Test(client, waits_as_long_as_it_is_told_also_after_a_time_out)
{
    struct server *s = server_new();
    dstream_reader *r = open_live(NULL, s->url);
    const dstream_batch *b;
    while (dstream_reader_next(r, 200, &b) != DSTREAM_NEXT_TIMEOUT)
        continue;
    poll(NULL, 0, 100); /* the caller does something else */
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    cr_assert_eq(dstream_reader_next(r, 80, &b), DSTREAM_NEXT_TIMEOUT);
    clock_gettime(CLOCK_MONOTONIC, &to);
    cr_assert_geq((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000, 79);
    dstream_reader_free(r);
    server_end(s);
}

/* --- cancelling ------------------------------------------------------------------------------- */

Test(client, cancelled_before_it_is_started_sends_nothing)
{
    struct server *s = server_new();
    struct seen seen = {0};
    const dstream_batch *b;
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = open_live(loop, s->url), *q = open_live(loop, s->url);
    dstream_reader_cancel(r);
    dstream_reader_cancel(q);
    cr_assert_eq(dstream_reader_start(r, on_batch, on_end, &seen), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(dstream_reader_next(q, -1, &b), DSTREAM_NEXT_ERROR);
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(s->requests, 0);
    cr_assert_eq(seen.batches + seen.ends, 0);
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(dstream_error_code(dstream_reader_error(q)), DSTREAM_ERR_CANCELLED);
    dstream_reader_free(r);
    dstream_reader_free(q);
    dstream_loop_free(loop);
    server_end(s);
}

Test(client, cancelled_from_inside_a_callback_calls_nothing_more)
{
    struct server *s = server_new();
    struct seen seen = {.cancel = true};
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *r = open_live(loop, s->url);
    dstream_reader_start(r, on_batch, on_end, &seen);
    turn_until(loop, seen.batches == 1);
    for (int i = 0; i < 5; i++)
        dstream_loop_turn(loop, 1);
    cr_assert_eq(s->requests, 1);
    cr_assert_eq(seen.batches, 1);
    cr_assert_eq(seen.ends, 0);
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_ERR_CANCELLED);
    dstream_reader_free(r);
    dstream_loop_free(loop);
    server_end(s);
}

struct other {
    struct server *s;
    dstream_reader *r;
};

/* Waits until the long-poll is held, then cancels from here. */
static void *cancel_live(void *ctx)
{
    struct other *o = ctx;
    while (o->s->polls == 0)
        poll(NULL, 0, 1);
    dstream_reader_cancel(o->r);
    return NULL;
}

Test(client, cancelled_from_another_thread_while_it_waits)
{
    struct server *s = server_new();
    const dstream_batch *b;
    dstream_reader *r = open_live(NULL, s->url);
    struct other other = {s, r};
    pthread_t t;
    pthread_create(&t, NULL, cancel_live, &other);
    enum dstream_next what;
    while ((what = dstream_reader_next(r, LIMIT_MS, &b)) == DSTREAM_NEXT_BATCH)
        continue;
    cr_assert_eq(what, DSTREAM_NEXT_ERROR);
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(dstream_reader_next(r, -1, &b), DSTREAM_NEXT_ERROR);
    pthread_join(t, NULL);
    dstream_reader_free(r);
    server_end(s);
}

/* Freed while what was posted for it is still waiting. */
Test(client, freed_right_after_it_was_cancelled)
{
    struct server *s = server_new();
    dstream_loop *loop = dstream_loop_new();
    dstream_reader *all[8];
    for (size_t i = 0; i < 8; i++)
        all[i] = open_live(loop, s->url);
    for (size_t i = 0; i < 8; i++)
        dstream_reader_cancel(all[i]);
    for (size_t i = 0; i < 8; i += 2)
        dstream_reader_free(all[i]);
    dstream_loop_turn(loop, 0);
    for (size_t i = 1; i < 8; i += 2) {
        cr_assert_eq(dstream_error_code(dstream_reader_error(all[i])), DSTREAM_ERR_CANCELLED);
        dstream_reader_free(all[i]);
    }
    dstream_loop_free(loop);
    server_end(s);
}

static _Atomic unsigned resets;

/* Breaks off each request. */
static void reset(void *ctx, int fd)
{
    char head[4096];
    (void)ctx;
    if (listener_head(fd, head, sizeof head))
        resets++;
}

/* --- the blocking way ------------------------------------------------------------------------- */

Test(client, blocks_for_the_next_batch)
{
    struct server *s = server_new();
    dstream_reader *r = open_live(NULL, s->url);
    const dstream_batch *b;
    char data[8] = "";
    for (int i = 0; i < 3; i++) {
        size_t n;
        cr_assert_eq(dstream_reader_next(r, LIMIT_MS, &b), DSTREAM_NEXT_BATCH);
        strncat(data, dstream_batch_data(b, &n), 1);
    }
    cr_assert_str_eq(data, "abc");
    cr_assert_str_eq(dstream_batch_start(b), "002");
    cr_assert_str_eq(dstream_batch_next(b), "003");
    cr_assert_eq(dstream_batch_flags(b), DSTREAM_BATCH_UP_TO_DATE);
    cr_assert_str_eq(dstream_reader_offset(r), "002", "asking for the next one acknowledges");
    cr_assert_eq(dstream_reader_next(r, 30, &b), DSTREAM_NEXT_TIMEOUT);
    cr_assert_null(b);
    cr_assert_str_eq(dstream_reader_offset(r), "003");
    cr_assert_eq(dstream_reader_next(r, 0, &b), DSTREAM_NEXT_TIMEOUT);
    dstream_reader_free(r);
    server_end(s);
}

Test(client, knows_what_the_server_said_last)
{
    struct server *s = server_new();
    dstream_options *o = dstream_options_new();
    const dstream_batch *b;
    dstream_reader *r;
    s->empty_polls = true;
    dstream_options_set_live(o, DSTREAM_LIVE_LONG_POLL);
    cr_assert_eq(dstream_reader_open(&r, NULL, s->url, o), DSTREAM_OK);
    dstream_options_free(o);
    cr_assert_eq(dstream_reader_last_status(r), 0);
    cr_assert_str_eq(dstream_reader_last_offset(r), "");
    cr_assert_str_eq(dstream_reader_etag(r), "");
    cr_assert_eq(dstream_reader_next(r, LIMIT_MS, &b), DSTREAM_NEXT_BATCH);
    cr_assert_eq(dstream_reader_last_status(r), 200);
    cr_assert_str_eq(dstream_reader_last_offset(r), "001");
    cr_assert_str_eq(dstream_reader_etag(r), "\"1\"");
    while (dstream_reader_last_status(r) != 204)
        cr_assert_neq(dstream_reader_next(r, 10, &b), DSTREAM_NEXT_ERROR);
    cr_assert_str_eq(dstream_reader_last_offset(r), "003");
    dstream_reader_free(r);
    server_end(s);
}

Test(client, goes_live_at_once_where_the_type_is_known)
{
    static const char *const types[] = {"text/plain", NULL};
    for (size_t i = 0; i < 2; i++) {
        struct server *s = server_new();
        dstream_options *o = dstream_options_new();
        const dstream_batch *b;
        dstream_reader *r;
        dstream_options_set_live(o, DSTREAM_LIVE_LONG_POLL);
        dstream_options_set_live_at_once(o, true);
        cr_assert_eq(dstream_options_set_type(o, types[i]), DSTREAM_OK);
        cr_assert_eq(dstream_reader_open(&r, NULL, s->url, o), DSTREAM_OK);
        dstream_options_free(o);
        while (s->polls == 0)
            cr_assert_eq(dstream_reader_next(r, 10, &b), DSTREAM_NEXT_TIMEOUT);
        cr_assert_eq(s->requests, types[i] ? 1 : 2);
        cr_assert_str_eq(dstream_reader_content_type(r), "text/plain");
        dstream_reader_free(r);
        server_end(s);
    }
}

Test(client, blocks_to_the_end)
{
    struct server *s = server_new();
    const dstream_batch *b;
    dstream_reader *r;
    unsigned n = 0;
    cr_assert_eq(dstream_reader_open(&r, NULL, s->url, NULL), DSTREAM_OK);
    while (dstream_reader_next(r, LIMIT_MS, &b) == DSTREAM_NEXT_BATCH)
        n++;
    cr_assert_eq(n, 3);
    cr_assert_eq(dstream_reader_next(r, -1, &b), DSTREAM_NEXT_END);
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_OK);
    dstream_reader_free(r);
    server_end(s);
}

Test(client, retries_as_often_as_it_is_told)
{
    dstream_options *o = dstream_options_new();
    struct listener *l = listener_start(reset, NULL);
    for (int n = 0; n < 4; n += 3) {
        unsigned before = resets;
        const dstream_batch *b;
        dstream_reader *r;
        char url[128];
        snprintf(url, sizeof url, "%s/s", listener_url(l));
        cr_assert_eq(dstream_options_set_retries(o, n), DSTREAM_OK);
        cr_assert_eq(dstream_options_set_backoff(o, 1, 2, 1.5), DSTREAM_OK);
        cr_assert_eq(dstream_reader_open(&r, NULL, url, o), DSTREAM_OK);
        cr_assert_eq(dstream_reader_next(r, LIMIT_MS, &b), DSTREAM_NEXT_ERROR);
        cr_assert_eq(resets - before, (unsigned)n + 1);
        dstream_reader_free(r);
    }
    listener_stop(l);
    dstream_options_free(o);
}

/* There is a stream, and then there is none. */
static void serve_once(void *ctx, int fd)
{
    static const char none[] = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
    char head[4096];
    (void)ctx;
    if (listener_head(fd, head, sizeof head))
        answer(fd, "a", 1, false);
    while (listener_head(fd, head, sizeof head))
        listener_send(fd, none, sizeof none - 1);
}

Test(client, a_replica_may_lag_for_as_long_as_it_is_told)
{
    struct listener *l = listener_start(serve_once, NULL);
    dstream_options *o = dstream_options_new();
    const dstream_batch *b;
    dstream_reader *r;
    char url[128];
    snprintf(url, sizeof url, "%s/s", listener_url(l));
    cr_assert_eq(dstream_options_set_replica_lag(o, -1), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_replica_lag(o, 0), DSTREAM_OK);
    cr_assert_eq(dstream_reader_open(&r, NULL, url, o), DSTREAM_OK);
    dstream_options_free(o);
    cr_assert_eq(dstream_reader_next(r, LIMIT_MS, &b), DSTREAM_NEXT_BATCH);
    cr_assert_eq(dstream_reader_next(r, 900, &b), DSTREAM_NEXT_ERROR); /* it asks after 1 s first */
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_ERR_DELETED);
    dstream_reader_free(r);
    listener_stop(l);
}

Test(client, retries_that_cannot_be)
{
    dstream_options *o = dstream_options_new();
    cr_assert_eq(dstream_options_set_retries(o, -1), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_options_set_retries(o, INT_MAX), DSTREAM_OK);
    static const struct {
        int64_t first, most;
        double growth;
        enum dstream_code want;
    } row[] = {
        {0, 1, 2, DSTREAM_ERR_ARGUMENT},    {-1, 1, 2, DSTREAM_ERR_ARGUMENT},
        {2, 1, 2, DSTREAM_ERR_ARGUMENT},    {1, 1, 0.999, DSTREAM_ERR_ARGUMENT},
        {1, 1, -2, DSTREAM_ERR_ARGUMENT},   {1, 1, NAN, DSTREAM_ERR_ARGUMENT},
        {1, 1, 1001, DSTREAM_ERR_ARGUMENT}, {1, 1, 1, DSTREAM_OK},
        {1, INT64_MAX, 1000, DSTREAM_OK},   {100, 5000, 1.5, DSTREAM_OK},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        cr_expect_eq(dstream_options_set_backoff(o, row[i].first, row[i].most, row[i].growth),
                     row[i].want, "row %zu", i);
    dstream_options_free(o);
}

Test(client, what_cannot_be_opened)
{
    dstream_reader *r = (dstream_reader *)1;
    cr_assert_eq(dstream_reader_open(&r, NULL, "ftp://h/s", NULL), DSTREAM_ERR_ARGUMENT);
    cr_assert_null(r);
    cr_assert_eq(dstream_reader_open(&r, NULL, "http://h/s?offset=1", NULL), DSTREAM_ERR_ARGUMENT);
    dstream_reader_free(NULL);
}

/* --- a caller's own loop ---------------------------------------------------------------------- */

#define FDS 256

struct own {
    struct pollfd fds[FDS];
    size_t n;
};

static void on_watch(void *ctx, int fd, unsigned what)
{
    struct own *o = ctx;
    size_t i = 0;
    while (i < o->n && o->fds[i].fd != fd)
        i++;
    if (i == o->n && what != 0)
        o->n++;
    cr_assert_lt(o->n, FDS);
    o->fds[i] = (struct pollfd){.fd = fd,
                                .events = (short)((what & DSTREAM_WATCH_READ ? POLLIN : 0) |
                                                  (what & DSTREAM_WATCH_WRITE ? POLLOUT : 0))};
    if (what == 0 && i < o->n)
        o->fds[i] = o->fds[--o->n];
}

static void own_turn(struct own *o, dstream_loop *loop)
{
    int64_t ms = dstream_loop_timeout(loop);
    struct pollfd ready[FDS];
    size_t n = o->n;
    poll(o->fds, (nfds_t)n, ms < 0 || ms > 1000 ? 1000 : (int)ms);
    memcpy(ready, o->fds, sizeof ready);
    for (size_t i = 0; i < n; i++) {
        unsigned what = (ready[i].revents & ~POLLOUT ? DSTREAM_WATCH_READ : 0) |
                        (ready[i].revents & ~POLLIN ? DSTREAM_WATCH_WRITE : 0);
        if (what != 0)
            cr_assert_eq(dstream_loop_ready(loop, ready[i].fd, what), DSTREAM_OK);
    }
    cr_assert_eq(dstream_loop_expire(loop), DSTREAM_OK);
}

Test(client, lives_in_a_callers_own_loop)
{
    enum { STREAMS = 20 };
    struct server *s = server_new();
    struct own own = {.n = 0};
    struct seen seen[STREAMS] = {{.batches = 0}};
    dstream_reader *r[STREAMS];
    dstream_loop *loop = dstream_loop_new();
    dstream_loop_drive(loop, on_watch, &own);
    cr_assert_eq(own.n, 1, "the descriptor for waking");
    for (size_t i = 0; i < STREAMS; i++) {
        r[i] = open_live(loop, s->url);
        dstream_reader_start(r[i], on_batch, on_end, &seen[i]);
    }
    time_t limit = time(NULL) + LIMIT_MS / 1000;
    while (s->polls < STREAMS) {
        own_turn(&own, loop);
        cr_assert_leq(time(NULL), limit);
    }
    for (size_t i = 0; i < STREAMS; i++)
        cr_assert_str_eq(seen[i].data, "abc");
    dstream_reader_cancel(r[0]);
    cr_assert_eq(dstream_loop_timeout(loop), 0);
    own_turn(&own, loop);
    cr_assert_eq(dstream_error_code(dstream_reader_error(r[0])), DSTREAM_ERR_CANCELLED);
    for (size_t i = 0; i < STREAMS; i++)
        dstream_reader_free(r[i]);
    dstream_loop_drive(loop, NULL, NULL);
    dstream_loop_free(loop);
    server_end(s);
}
