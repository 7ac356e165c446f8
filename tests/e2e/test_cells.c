/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ends each request of the command: one test for each event (in its name) in each state (in
 * its suite's), by a server that plays the event once, or for good, and is in order before and
 * after.
 *
 * The stream is two messages, 1 and 2, and closed. Message 1 is read by a plain GET; then the
 * state's own request, from o1, meets with the event.
 */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/listener.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>

#define JSON   "Content-Type: application/json\r\n"
#define AT(o)  "Stream-Next-Offset: " o "\r\n"
#define UTD    "Stream-Up-To-Date: true\r\n"
#define CLOSED "Stream-Closed: true\r\n"
#define TWICE  2

enum state { CATCHUP, POLL, SSE };
/* What stands in the state's request, beside offset=o1. */
static const char *const live[] = {"", "live=long-poll", "live=sse"};

enum how { ANSWERS, HANGS, RESETS };

struct cell {
    enum state state;
    const char *event; /* a whole answer or part of one, behind which the connection is closed */
    enum how how;      /* what happens behind that */
    bool for_good;
    const char *head;        /* status for a HEAD */
    const char *redirect_to; /* NULL: none; the event is the status line of one */
    _Atomic unsigned met;
};

static bool is_its_request(const struct cell *c, const struct exchange *x)
{
    return asks(x, "offset=o1") && asks(x, live[c->state]) &&
           (c->state != CATCHUP || !asks(x, "live="));
}

static void play_event(struct cell *c, struct exchange *x)
{
    if (c->redirect_to) {
        const char *query = strchr(x->head, '?');
        answer(x, c->event,
               e2e_printf("Location: %s/moved%.*s\r\n", c->redirect_to, (int)strcspn(query, " "),
                          query),
               "");
        return;
    }
    say(x, c->event);
    x->last = true;
    if (c->how == HANGS)
        keep_open(x);
    else if (c->how == RESETS)
        listener_reset(x->fd);
}

static void play_data(struct exchange *x)
{
    if (!asks(x, "live=sse")) {
        answer(x, "200 OK", JSON AT("o2") CLOSED, "[2]");
        return;
    }
    answer_events(x, "");
    say(x, "event: data\ndata: [2]\n\nevent: control\n"
           "data: {\"streamNextOffset\":\"o2\",\"streamClosed\":true}\n\n");
}

static void play(void *ctx, struct exchange *x)
{
    struct cell *c = ctx;
    bool moved = asks(x, "/moved");
    if (strncmp(x->head, "HEAD", 4) == 0) {
        answer(x, c->head ? c->head : "200 OK", JSON AT("o9"), "");
    } else if (!moved && is_its_request(c, x) && (c->for_good || c->met == 0)) {
        c->met++;
        play_event(c, x);
    } else if (c->met > 0 && asks(x, "offset=-1")) {
        answer(x, "200 OK", JSON AT("o2") CLOSED, "[9]"); /* the earliest that is left */
    } else if (asks(x, "offset=now")) {
        answer(x, "200 OK", JSON AT("o2") CLOSED, "[]");
    } else if (asks(x, "offset=-1")) {
        answer(x, "200 OK", c->state == CATCHUP ? JSON AT("o1") : JSON AT("o1") UTD, "[1]");
    } else if (c->state != CATCHUP && !asks(x, "live=")) {
        answer(x, "200 OK", JSON AT("o1") UTD, "[]");
    } else {
        play_data(x);
    }
}

/* --- what comes of it ------------------------------------------------------------------------- */

#define LIMITS "backoff_base=1,backoff_max=2,short_base=1,short_max=2,replica_lag=1"

/* By auto, SSE is how a JSON stream is followed. */
static struct e2e_process *run(struct scripted *s, struct cell *c, const char *option)
{
    return dstream_run("read", "-f", "-v", "-H", "X-Own: secret", "--live",
                       c->state == SSE ? "auto" : "long-poll", option ? option : "--follow",
                       e2e_printf("%s/s", scripted_url(s)));
}

/* All of the stream came, and the state's request was sent so many times. */
static struct e2e_process *comes_whole(struct cell c, const char *option, unsigned asked,
                                       const char *want)
{
    struct scripted *s = scripted_start(play, &c);
    struct e2e_process *p = run(s, &c, option);
    e2e_status(p, 0);
    e2e_same("the stream", p->out_data, e2e_text(want));
    cr_assert_eq(c.met, 1);
    unsigned n =
        c.state == CATCHUP ? scripted_count(s, "?offset=o1 ") : scripted_count(s, live[c.state]);
    cr_assert_eq(n, asked, "%u requests: %s", n, scripted_log(s));
    scripted_stop(s);
    return p;
}

/* The same is asked again. */
static void again(struct cell c)
{
    e2e_limits(LIMITS);
    struct e2e_process *p = comes_whole(c, NULL, TWICE, "1\n2\n");
    e2e_says(p, "retry in");
}

/* SSE is given up, at once and for good. */
static void falls_back(struct cell c)
{
    e2e_limits(LIMITS);
    struct e2e_process *p = comes_whole(c, NULL, 1, "1\n2\n");
    e2e_says(p, "going on by long-poll");
}

static void ends(struct cell c, int code, const char *said)
{
    c.for_good = true;
    e2e_limits(LIMITS);
    struct scripted *s = scripted_start(play, &c);
    struct e2e_process *p = run(s, &c, NULL);
    e2e_status(p, code);
    e2e_same("what came before", p->out_data, e2e_text("1\n"));
    e2e_says(p, said);
    scripted_stop(s);
}

/* One that says by which mode it wants to follow does not get another. */
static void ends_by_name(const char *event, int code)
{
    struct cell c = {.state = SSE, .event = event, .for_good = true};
    e2e_limits(LIMITS);
    struct scripted *s = scripted_start(play, &c);
    struct e2e_process *p =
        dstream_run("read", "-f", "--live", "sse", e2e_printf("%s/s", scripted_url(s)));
    e2e_status(p, code);
    e2e_same("what came before", p->out_data, e2e_text("1\n"));
    cr_assert_eq(scripted_count(s, "long-poll"), 0);
    scripted_stop(s);
}

#define CELL(event)                                                                                \
    static void event(enum state state);                                                           \
    E2E(cells_catchup, event)                                                                      \
    {                                                                                              \
        event(CATCHUP);                                                                            \
    }                                                                                              \
    E2E(cells_long_poll, event)                                                                    \
    {                                                                                              \
        event(POLL);                                                                               \
    }                                                                                              \
    E2E(cells_sse, event)                                                                          \
    {                                                                                              \
        event(SSE);                                                                                \
    }                                                                                              \
    static void event(enum state state)

#define BODY "Content-Length: 6\r\n\r\nreason"

/* --- success ---------------------------------------------------------------------------------- */

CELL(s200)
{
    struct cell c = {.state = state,
                     .event =
                         "HTTP/1.1 200 OK\r\n" JSON AT("o2") CLOSED "Content-Length: 3\r\n\r\n[2]"};
    if (state == SSE)
        c.event = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                  "event: data\ndata: [2]\n\nevent: control\n"
                  "data: {\"streamNextOffset\":\"o2\",\"streamClosed\":true}\n\n";
    (void)comes_whole(c, NULL, 1, "1\n2\n");
}

/* To SSE it makes no sense; else it is no news, and the request is for more. */
CELL(s204)
{
    struct cell c = {.state = state, .event = "HTTP/1.1 204 None\r\n" AT("o1") UTD "\r\n"};
    if (state == SSE) {
        falls_back(c);
        return;
    }
    e2e_limits("idle_within=0");
    (void)comes_whole(c, NULL, state == CATCHUP ? 1 : TWICE, "1\n2\n");
}

/* Nobody asked for it. */
CELL(s304)
{
    struct cell c = {.state = state, .event = "HTTP/1.1 304 Not Modified\r\n" AT("o1") "\r\n"};
    ends(c, 76, "304");
}

/* --- redirects -------------------------------------------------------------------------------- */

static void redirected(enum state state, const char *status)
{
    struct cell c = {.state = state, .event = status, .redirect_to = ""};
    struct scripted *s = scripted_start(play, &c);
    struct e2e_process *p = run(s, &c, NULL);
    e2e_status(p, 0);
    e2e_same("the stream", p->out_data, e2e_text("1\n2\n"));
    cr_assert_eq(scripted_count(s, "/moved"), 1);
    /* The user's headers are sent to the same origin. */
    cr_assert_not_null(strstr(strstr(scripted_log(s), "/moved"), "X-Own: secret"));
    scripted_stop(s);
}

#define REDIRECT(code)                                                                             \
    CELL(s##code)                                                                                  \
    {                                                                                              \
        redirected(state, #code " Elsewhere");                                                     \
    }
REDIRECT(301)
REDIRECT(302)
REDIRECT(303)
REDIRECT(307)
REDIRECT(308)

CELL(redirect_to_another_origin)
{
    struct cell there = {.state = state}, here = {.state = state, .event = "307 Elsewhere"};
    struct scripted *other = scripted_start(play, &there);
    here.redirect_to = scripted_url(other);
    struct scripted *s = scripted_start(play, &here);
    struct e2e_process *p = run(s, &here, NULL);
    e2e_status(p, 0);
    e2e_same("the stream", p->out_data, e2e_text("1\n2\n"));
    cr_assert_eq(scripted_count(other, "/moved"), 1);
    cr_assert_null(strstr(scripted_log(other), "X-Own"));
    scripted_stop(s);
    scripted_stop(other);
}

CELL(redirects_without_end)
{
    struct cell loop = {.state = state,
                        .event = "HTTP/1.1 302 Again\r\nLocation: /s?offset=o1\r\n" BODY};
    if (state != CATCHUP)
        loop.event =
            e2e_printf("HTTP/1.1 302 Again\r\nLocation: /s?%s&offset=o1\r\n" BODY, live[state]);
    ends(loop, 69, "redirect");
}

/* --- refusals --------------------------------------------------------------------------------- */

static void refused(enum state state, const char *status, int code)
{
    struct cell c = {.state = state, .event = e2e_printf("HTTP/1.1 %s No\r\n" BODY, status)};
    if (state == SSE) {
        falls_back(c);
        ends_by_name(c.event, code);
    } else {
        ends(c, code, status);
    }
}

#define REFUSAL(status, code)                                                                      \
    CELL(s##status)                                                                                \
    {                                                                                              \
        refused(state, #status, code);                                                             \
    }
REFUSAL(400, 14)
REFUSAL(405, 14)
REFUSAL(406, 14)
REFUSAL(409, 11)
REFUSAL(412, 14)
REFUSAL(413, 14)
REFUSAL(414, 14)
REFUSAL(415, 14)
REFUSAL(416, 14)
REFUSAL(431, 14)
REFUSAL(501, 14)
REFUSAL(505, 14)

CELL(s401)
{
    struct cell c = {.state = state, .event = "HTTP/1.1 401 No\r\n" BODY};
    ends(c, 77, "401");
}

CELL(s403)
{
    struct cell c = {.state = state, .event = "HTTP/1.1 403 No\r\n" BODY};
    ends(c, 77, "403");
}

/* --- not there -------------------------------------------------------------------------------- */

CELL(s404)
{
    struct cell c = {.state = state, .event = "HTTP/1.1 404 No\r\n" BODY};
    ends(c, 10, "deleted");
}

/* A replica that is behind: the next one has it. */
CELL(s404_once)
{
    struct cell c = {.state = state, .event = "HTTP/1.1 404 No\r\n" BODY};
    e2e_limits("replica_lag=10000");
    struct e2e_process *p = comes_whole(c, NULL, TWICE, "1\n2\n");
    e2e_says(p, "a replica may be behind");
}

#define GONE "HTTP/1.1 410 Gone\r\n" BODY

CELL(s410_while_the_stream_is_there)
{
    struct cell c = {.state = state, .event = GONE};
    ends(c, 10, "no longer kept");
}

CELL(s410_going_on_at_the_earliest)
{
    struct cell c = {.state = state, .event = GONE};
    struct e2e_process *p = comes_whole(c, "--on-gone=earliest", 1, "1\n9\n");
    e2e_says(p, "going on with the earliest it has");
}

CELL(s410_going_on_at_the_tail)
{
    struct cell c = {.state = state, .event = GONE};
    struct e2e_process *p = comes_whole(c, "--on-gone=now", 1, "1\n");
    e2e_says(p, "going on at its end");
}

CELL(s410_with_the_stream)
{
    struct cell c = {.state = state, .event = GONE, .head = "410 Gone"};
    ends(c, 10, "deleted");
}

CELL(s410_and_then_404)
{
    struct cell c = {.state = state, .event = GONE, .head = "404 Not Found"};
    ends(c, 10, "deleted");
}

/* --- passing trouble -------------------------------------------------------------------------- */

#define PASSING(status)                                                                            \
    CELL(s##status)                                                                                \
    {                                                                                              \
        struct cell c = {.state = state, .event = "HTTP/1.1 " #status " Later\r\n" BODY};          \
        again(c);                                                                                  \
    }
PASSING(408)
PASSING(425)
PASSING(429)
PASSING(500)
PASSING(502)
PASSING(503)
PASSING(504)
PASSING(507)

static const char *half(enum state state)
{
    return state == SSE ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n"
                          "17\r\nevent: data\ndata: [8]\n\n\r\n"
                        : "HTTP/1.1 200 OK\r\n" JSON AT("o2") "Content-Length: 9\r\n\r\n[8,";
}

CELL(body_cut)
{
    struct cell c = {.state = state, .event = half(state)};
    again(c);
}

CELL(reset)
{
    struct cell c = {.state = state, .event = half(state), .how = RESETS};
    again(c);
}

CELL(no_answer_in_time)
{
    struct cell c = {.state = state, .event = "", .how = HANGS};
    e2e_limits(LIMITS ",header=2000,header_sse=2000,header_long_poll=2000");
    struct e2e_process *p = comes_whole(c, NULL, TWICE, "1\n2\n");
    e2e_says(p, "no answer began within");
}

CELL(body_stands_still)
{
    struct cell c = {.state = state, .event = half(state), .how = HANGS};
    e2e_limits(LIMITS ",silence=2000,silence_sse=2000");
    struct e2e_process *p = comes_whole(c, NULL, TWICE, "1\n2\n");
    e2e_says(p, "no byte of the answer came for");
}
