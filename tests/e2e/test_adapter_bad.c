/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance adapter and servers that hang, drip, die, page or cut; and what only a program
 * can say to it. */
#include "config.h"

#include "tests/e2e/fault_proxy.h"
#include "tests/e2e/internal.h"
#include "tests/e2e/listener.h"
#include "tests/e2e/scripted.h"
#include "tests/e2e/session.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TEXT   "Content-Type: text/plain\r\n"
#define JSON   "Content-Type: application/json\r\n"
#define AT(o)  "Stream-Next-Offset: " o "\r\n"
#define UTD    "Stream-Up-To-Date: true\r\n"
#define CLOSED "Stream-Closed: true\r\n"

#define DATA(o) "event: data\ndata: " o "\n\n"
#define NEXT(o) "event: control\ndata: {\"streamNextOffset\":\"" o "\",\"streamCursor\":\"c\"}\n\n"
#define TAIL(o)                                                                                    \
    "event: control\ndata: {\"streamNextOffset\":\"" o                                             \
    "\",\"streamCursor\":\"c\",\"upToDate\":true}\n\n"
#define END(o) "event: control\ndata: {\"streamNextOffset\":\"" o "\",\"streamClosed\":true}\n\n"

/* --- in time, whatever the server does -------------------------------------------------------- */

static const char *const slow_commands[] = {
    "{\"type\":\"create\",\"path\":\"/s\",\"contentType\":\"text/plain\"}",
    "{\"type\":\"connect\",\"path\":\"/s\"}",
    "{\"type\":\"append\",\"path\":\"/s\",\"data\":\"x\"}",
    "{\"type\":\"delete\",\"path\":\"/s\"}",
    "{\"type\":\"close\",\"path\":\"/s\"}",
    "{\"type\":\"close\",\"path\":\"/s\",\"data\":\"x\"}",
    "{\"type\":\"read\",\"path\":\"/s\"}",
    "{\"type\":\"idempotent-append\",\"path\":\"/s\",\"producerId\":\"p\",\"epoch\":0,"
    "\"autoClaim\":false,\"data\":\"x\"}",
    "{\"type\":\"idempotent-append-batch\",\"path\":\"/s\",\"producerId\":\"p\",\"epoch\":0,"
    "\"autoClaim\":true,\"items\":[\"x\",\"y\"],\"maxInFlight\":2}",
    "{\"type\":\"idempotent-close\",\"path\":\"/s\",\"producerId\":\"p\",\"epoch\":0,"
    "\"autoClaim\":false,\"data\":\"x\"}",
};
#define SLOW (sizeof slow_commands / sizeof *slow_commands)

/* Takes a request's body, so that the next request begins behind it, and the end is no reset. */
static void take_body(struct exchange *x)
{
    size_t n;
    char piece[4096];
    const char *length = listener_field(x->head, "Content-Length", &n);
    for (size_t left = length ? strtoul(length, NULL, 10) : 0; left > 0;) {
        ssize_t got = recv(x->fd, piece, left < sizeof piece ? left : sizeof piece, 0);
        if (got <= 0)
            return;
        left -= (size_t)got;
    }
}

static void hang(void *ctx, struct exchange *x)
{
    (void)ctx;
    keep_open(x);
}

/* A byte, and a second of waiting for the peer to go. */
static bool drip(struct exchange *x, const char *byte)
{
    struct pollfd fd = {.fd = x->fd, .events = POLLIN};
    return say_bytes(x, byte, 1) && poll(&fd, 1, 1000) == 0;
}

static void drip_all(void *ctx, struct exchange *x)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
                               "100000\r\nStream-Next-Offset: o1\r\nX: ";
    (void)ctx;
    take_body(x);
    for (const char *p = head; *p && drip(x, p); p++)
        continue;
    x->last = true;
}

struct waited {
    struct session *s[SLOW];
    const char *want;
};

/* Each command to an adapter of its own. */
static struct waited *ask_all(const char *url, const char *want)
{
    struct waited *w = e2e_alloc(sizeof *w);
    w->want = want;
    for (size_t i = 0; i < SLOW; i++) {
        w->s[i] = session_start(url);
        session_send(w->s[i], e2e_text(slow_commands[i]));
        e2e_end_input(session_process(w->s[i]));
    }
    return w;
}

static void judge_all(struct waited *w)
{
    for (size_t i = 0; i < SLOW; i++) {
        e2e_status(session_process(w->s[i]), 0);
        const char *answer = session_reply(w->s[i]);
        cr_expect(strstr(answer, w->want), "%s: %s", slow_commands[i], answer);
        cr_expect(strstr(answer, "/s"), "%s: %s", slow_commands[i], answer);
    }
}

/* All at once: a server that says nothing, one whose heads come a byte a second, and one that is
 * gone. Whoever asked waits for 30 s. */
E2E(adapter_bad, answers_in_time_whatever_the_server_does)
{
    struct scripted *hanging = scripted_start(hang, NULL);
    struct scripted *dripping = scripted_start(drip_all, NULL);
    struct scripted *gone = scripted_start(hang, NULL);
    int64_t began = e2e_now();
    const char *nobody = e2e_printf("%s", scripted_url(gone));
    scripted_stop(gone);
    struct waited *w[] = {ask_all(scripted_url(hanging), "\"errorCode\":\"TIMEOUT\",\"message\""),
                          ask_all(scripted_url(dripping), "\"errorCode\":\"TIMEOUT\",\"message\""),
                          ask_all(nobody, "\"errorCode\":\"NETWORK_ERROR\",\"message\"")};
    for (size_t i = 0; i < 3; i++)
        judge_all(w[i]);
    cr_assert(e2e_sanitized() || e2e_now() - began < 29500);
    scripted_stop(hanging);
    scripted_stop(dripping);
}

static void drip_body(void *ctx, struct exchange *x)
{
    const char *type = ctx;
    say(x, e2e_printf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 100000\r\n" AT("o1")
                          UTD "\r\n",
                      asks(x, "live=sse") ? "text/event-stream" : type));
    while (drip(x, ":"))
        continue;
    x->last = true;
}

/* A body that never ends is not waited for longer than a deadline allows. */
E2E(adapter_bad, a_body_that_drips_ends_no_deadline)
{
    struct scripted *server = scripted_start(drip_body, (void *)(uintptr_t) "text/plain");
    struct session *s = session_start(scripted_url(server));
    session_expect(s, "{\"type\":\"read\",\"path\":\"/s\",\"timeoutMs\":1500}",
                   "*\"errorCode\":\"TIMEOUT\",\"message\":\"*/s*\"}", 2600);
    session_expect(s,
                   "{\"type\":\"read\",\"path\":\"/s\",\"timeoutMs\":1500,\"live\":\"long-poll\"}",
                   "{\"type\":\"read\",\"success\":true,\"status\":204,\"chunks\":[],\"offset\":"
                   "\"-1\",\"upToDate\":true,\"streamClosed\":false}",
                   2600);
    session_expect(s,
                   "{\"type\":\"read\",\"path\":\"/s\",\"offset\":\"o0\",\"timeoutMs\":1500,"
                   "\"live\":\"sse\"}",
                   "{\"type\":\"read\",\"success\":true,\"status\":200,\"chunks\":[],\"offset\":"
                   "\"o0\",\"upToDate\":true,\"streamClosed\":false}",
                   2600);
    /* An answer's head is all that these wait for. */
    session_expect(s, "{\"type\":\"head\",\"path\":\"/s\"}",
                   "{\"type\":\"head\",\"success\":true,*\"offset\":\"o1\"*", 5000);
    session_end(s);
    scripted_stop(server);
}

/* --- answers that a test writes --------------------------------------------------------------- */

struct play {
    const char *type;           /* the stream's, as header lines */
    const char *const *answers; /* in turn: "STATUS|HEADERS|BODY", or '~' and an event stream */
    atomic_uint n;
};

/* An event stream comes as it is; behind '^' the connection is reset, else it ends. */
static void play_events(struct exchange *x, const char *events)
{
    size_t n = strcspn(events, "^");
    const char *headers = events[0] == '=' ? "stream-sse-data-encoding: base64\r\n" : "";
    answer_events(x, headers);
    say_bytes(x, events + (*headers ? 1 : 0), n - (*headers ? 1 : 0));
    if (events[n] == '^')
        listener_reset(x->fd);
}

static void play(void *ctx, struct exchange *x)
{
    struct play *p = ctx;
    take_body(x);
    if (strncmp(x->head, "HEAD", 4) == 0) {
        answer(x, "200 OK", e2e_printf("%s" AT("o9"), p->type), "");
        return;
    }
    const char *a = p->answers[p->n];
    if (!a) {
        keep_open(x);
        return;
    }
    p->n++;
    if (*a == '~') {
        play_events(x, a + 1);
        return;
    }
    size_t status = strcspn(a, "|"), headers = strcspn(a + status + 1, "|");
    answer(x, e2e_printf("%.*s", (int)status, a),
           e2e_printf("%s%.*s", p->type, (int)headers, a + status + 1), a + status + headers + 2);
}

#define ANSWERS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A read with these members; it ends by what is read, or by its deadline of 900 ms. */
static const char *read_of(const char *type, const char *const *answers, const char *members,
                           const char **log)
{
    struct play p = {.type = type, .answers = answers};
    struct scripted *server = scripted_start(play, &p);
    struct session *s = session_start(scripted_url(server));
    int64_t began = e2e_now();
    const char *answer = session_ask(
        s, e2e_printf("{\"type\":\"read\",\"path\":\"/s\",\"timeoutMs\":900%s}", members));
    cr_expect_lt(e2e_now() - began, 9000, "%s", members);
    if (log)
        *log = scripted_log(server);
    session_end(s);
    scripted_stop(server);
    return answer;
}

static void reads(const char *type, const char *const *answers, const char *members,
                  const char *want)
{
    const char *got = read_of(type, answers, members, NULL);
    cr_expect(strstr(got, want), "%s\n  came %s\n  want %s", members, got, want);
}

#define CHUNK(data, offset) "{\"data\":\"" data "\",\"offset\":\"" offset "\"}"
#define STATE(utd, closed)  "\"upToDate\":" utd ",\"streamClosed\":" closed
#define SSE                 ",\"live\":\"sse\""
#define POLL                ",\"live\":\"long-poll\""

E2E(adapter_bad, pages_are_chunks)
{
    static const char *const pages[] = {"200 OK|" AT("o1") "|one",       "200 OK|" AT("o2") "|",
                                        "200 OK|" AT("o2") "|",          "200 OK|" AT("o3") "|two",
                                        "200 OK|" AT("o4") UTD "|three", NULL};
    reads(TEXT, pages, "",
          "\"chunks\":[" CHUNK("one", "o1") "," CHUNK("two", "o3") "," CHUNK(
              "three", "o4") "],\"offset\":\"o4\"," STATE("true", "false"));
    reads(TEXT, pages, ",\"maxChunks\":1",
          "\"chunks\":[" CHUNK("one", "o1") "],\"offset\":\"o1\"," STATE("false", "false"));
    reads(TEXT, pages, ",\"maxChunks\":2,\"waitForUpToDate\":true",
          "\"chunks\":[" CHUNK("one", "o1") "," CHUNK("two", "o3") "],\"offset\":\"o3\"");
    reads(
        JSON, ANSWERS("200 OK|" AT("o1") "| [ 1 , \"a b\" ] ", "200 OK|" AT("o1") UTD CLOSED "|[]"),
        "",
        "\"chunks\":[" CHUNK("[1,\\\"a b\\\"]", "o1") "],\"offset\":\"o1\"," STATE("true", "true"));
}

E2E(adapter_bad, polls_go_on_over_empty_answers)
{
    static const char *const polls[] = {
        "204 No Content|" AT("o1") "Stream-Cursor: c1\r\n|",
        "200 OK|" AT("o2") "Stream-Cursor: c2\r\n|one",
        "204 No Content|" AT("o2") "|",
        "503 Busy|Retry-After: 0\r\n|",
        "200 OK|" AT("o3") UTD "|two",
        "204 No Content|" AT("o3") "Stream-Closed: TRUE\r\n|",
        NULL,
    };
    const char *log;
    const char *got = read_of(TEXT, polls, POLL ",\"offset\":\"o1\"", &log);
    cr_assert(strstr(got, "\"status\":200,\"chunks\":[" CHUNK("one", "o2") "," CHUNK(
                              "two", "o3") "],\"offset\":\"o3\"," STATE("true", "true")),
              "%s", got);
    /* HEAD for the type, and the cursor that came last. */
    cr_assert(strstr(log, "HEAD /s HTTP"), "%s", log);
    cr_assert(strstr(log, "GET /s?cursor=c1&live=long-poll&offset=o1 "), "%s", log);
    cr_assert(strstr(log, "GET /s?cursor=c2&live=long-poll&offset=o3 "), "%s", log);
    reads(TEXT, ANSWERS("204 No Content|" AT("o1") "|"), POLL ",\"offset\":\"o1\"",
          "\"status\":204,\"chunks\":[],\"offset\":\"o1\"," STATE("true", "false"));
    reads(TEXT, ANSWERS("204 No Content|" AT("o1") "|"),
          POLL ",\"waitForUpToDate\":true,\"offset\":\"o1\"",
          "\"status\":204,\"chunks\":[],\"offset\":\"o1\"," STATE("true", "false"));
}

E2E(adapter_bad, a_unit_of_events_ends_with_its_control)
{
    /* Several events are one chunk; one without data is none. */
    reads(JSON,
          ANSWERS("~" DATA("[1]") DATA("[]") DATA("[{\"a\": 2},3]") NEXT("o3") NEXT("o3")
                      DATA("[4]") TAIL("o4") END("o4")),
          SSE,
          "\"chunks\":[" CHUNK("[1,{\\\"a\\\":2},3]", "o3") "," CHUNK(
              "[4]", "o4") "],\"offset\":\"o4\"," STATE("true", "true"));
    reads(TEXT, ANSWERS("~" DATA("a") DATA("b") NEXT("o2") DATA("c") TAIL("o3")),
          SSE ",\"maxChunks\":1", "\"chunks\":[" CHUNK("ab", "o2") "],\"offset\":\"o2\"");
    /* What no control event has covered comes again. */
    const char *log;
    const char *got =
        read_of(TEXT,
                ANSWERS("~" DATA("a") NEXT("o1") DATA("b") "^", "200 OK|" AT("o2") UTD "|b",
                        "~" TAIL("o2") DATA("c") TAIL("o3") END("o3")),
                SSE, &log);
    cr_assert(strstr(got, "\"chunks\":[" CHUNK("a", "o1") "," CHUNK("b", "o2") "," CHUNK(
                              "c", "o3") "],\"offset\":\"o3\"," STATE("true", "true")),
              "%s", got);
    cr_assert(strstr(log, "offset=o1 "), "%s", log);
    /* A connection that ends is no end. */
    reads(TEXT,
          ANSWERS("~" DATA("a") TAIL("o1"), "~" DATA("b") TAIL("o2"), "~" TAIL("o2") END("o2")),
          SSE,
          "\"chunks\":[" CHUNK("a", "o1") "," CHUNK("b", "o2") "],\"offset\":\"o2\"," STATE(
              "true", "true"));
    reads(TEXT, ANSWERS("~: waiting\n\n" NEXT("o1") ": waiting\n\n"), SSE ",\"offset\":\"o1\"",
          "\"status\":200,\"chunks\":[],\"offset\":\"o1\"," STATE("true", "false"));
}

E2E(adapter_bad, lines_and_fields_of_event_streams)
{
    reads(TEXT,
          ANSWERS("~\xEF\xBB\xBF: hello\r\nid: 5\r\nretry: 1\r\nfoo: bar\r\nevent: data\r\n"
                  "data:one\r\ndata:  two\r\ndata\r\ndata:\r\n\r\nevent:control\rdata: "
                  "{\"streamNextOffset\":\rdata: \"o1\",\"streamClosed\":true,\"x\":[]}\r\r"),
          SSE, "\"chunks\":[" CHUNK("one\\u000a two\\u000a\\u000a", "o1") "],\"offset\":\"o1\"");
    reads(TEXT,
          ANSWERS("~event: weather\ndata: {\n\nevent: data\ndata: a\xC2\x85"
                  "b\xE2\x80\xA8"
                  "c\n\n" END("o1")),
          SSE,
          "\"chunks\":[" CHUNK("a\xC2\x85"
                               "b\\u2028c",
                               "o1") "]");
    reads("Content-Type: image/png\r\n",
          ANSWERS("~=" DATA("AP8=") DATA("") "event: data\ndata: AQ\ndata: I=\n\n" END("o1")), SSE,
          "{\"data\":\"AP8BAg==\",\"offset\":\"o1\",\"binary\":true}");
    /* It is the answer that says how the data are carried. */
    reads("Content-Type: application/octet-stream\r\n", ANSWERS("~=" DATA("aGk=") END("o1")), SSE,
          CHUNK("hi", "o1"));
    reads(TEXT, ANSWERS("~=" DATA("aGk=") END("o1")), SSE, CHUNK("hi", "o1"));
}

E2E(adapter_bad, what_cannot_be_parsed_ends_the_read)
{
    static const struct {
        const char *type, *events;
    } row[] = {
        {TEXT, "~event: control\ndata: {\n\n"},
        {TEXT, "~event: control\ndata:\n\n"},
        {TEXT, "~event: control\ndata: []\n\n"},
        {TEXT, "~event: control\ndata: {\"streamNextOffset\":7}\n\n"},
        {JSON, "~" DATA("[1") TAIL("o1")},
        {JSON, "~" DATA("") TAIL("o1")},
        {JSON, "~" DATA("{}") TAIL("o1")},
        {"Content-Type: image/png\r\n", "~=" DATA("AP8") TAIL("o1")},
        {"Content-Type: image/png\r\n", "~=" DATA("A_8=") TAIL("o1")},
        {"Content-Type: image/png\r\n", "~=" DATA("AP8=AP8=") TAIL("o1")},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        reads(row[i].type, ANSWERS(row[i].events), SSE,
              "\"commandType\":\"read\",\"errorCode\":\"PARSE_ERROR\",\"message\"");
    reads(JSON, ANSWERS("200 OK|" AT("o1") UTD "|[1,"), "", "\"errorCode\":\"PARSE_ERROR\"");
    reads(JSON, ANSWERS("200 OK|" AT("o1") UTD "|{}"), POLL, "\"errorCode\":\"PARSE_ERROR\"");
    reads(JSON, ANSWERS("200 OK|" AT("o1") UTD "|"), "", "\"success\":true");
}

/* It dies while a read waits: what was read is told at the deadline. */
E2E(adapter_bad, a_server_that_dies_ends_no_live_read)
{
    struct play p = {.type = TEXT, .answers = ANSWERS("200 OK|" AT("o1") UTD "|one")};
    struct scripted *server = scripted_start(play, &p);
    struct session *s = session_start(scripted_url(server));
    session_send(s,
                 e2e_text("{\"type\":\"read\",\"path\":\"/s\",\"live\":true,\"timeoutMs\":2000}"));
    scripted_await(server, "live=long-poll", 1);
    scripted_stop(server);
    const char *answer = session_reply(s);
    cr_assert(strstr(answer, "\"chunks\":[" CHUNK("one", "o1") "],\"offset\":\"o1\"," STATE(
                                 "true", "false")),
              "%s", answer);
    session_expect(s, "{\"type\":\"read\",\"path\":\"/s\"}",
                   "*\"errorCode\":\"NETWORK_ERROR\",\"message\":\"*/s*\"}", 15000);
    session_end(s);
}

/* --- requests --------------------------------------------------------------------------------- */

/* Each takes just one, so that a fault of a server meets what it is meant for. */
E2E(adapter_bad, a_command_is_one_request)
{
    static const char *const commands[] = {
        "{\"type\":\"create\",\"path\":\"/s\",\"contentType\":\"text/plain\"}",
        "{\"type\":\"append\",\"path\":\"/s\",\"data\":\"x\"}",
        "{\"type\":\"connect\",\"path\":\"/s\"}",
        "{\"type\":\"head\",\"path\":\"/s\"}",
        "{\"type\":\"read\",\"path\":\"/s\"}",
        "{\"type\":\"read\",\"path\":\"/s\",\"live\":\"sse\",\"maxChunks\":1}",
        "{\"type\":\"read\",\"path\":\"/s\",\"live\":\"long-poll\",\"maxChunks\":1}",
        "{\"type\":\"read\",\"path\":\"/s\",\"live\":true,\"maxChunks\":1}",
        "{\"type\":\"idempotent-append\",\"path\":\"/s\",\"producerId\":\"p\",\"epoch\":0,"
        "\"autoClaim\":false,\"data\":\"x\"}",
        "{\"type\":\"idempotent-append-batch\",\"path\":\"/s\",\"producerId\":\"q\",\"epoch\":0,"
        "\"autoClaim\":true,\"items\":[\"x\",\"y\",\"z\"]}",
        "{\"type\":\"idempotent-detach\",\"path\":\"/s\",\"producerId\":\"q\",\"epoch\":0}",
        "{\"type\":\"close\",\"path\":\"/s\",\"data\":\"x\"}",
        "{\"type\":\"delete\",\"path\":\"/s\"}",
    };
    struct play all = {.type = TEXT AT("o1") UTD "Producer-Epoch: 0\r\nProducer-Seq: 0\r\n" CLOSED};
    static const char *const answers[] = {
        "201 Created||", "200 OK||", "200 OK||x", "~" DATA("x") END("o1"), "200 OK||x", "200 OK||x",
        "200 OK||",      "200 OK||", "200 OK||",  "204 No Content||",      NULL};
    all.answers = answers;
    struct scripted *server = scripted_start(play, &all);
    struct session *s = session_start(scripted_url(server));
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        unsigned before = scripted_count(server, "");
        session_expect(s, commands[i], "{\"type\":\"*\",\"success\":true*", 3000);
        unsigned want = strstr(commands[i], "detach") ? 0 : 1;
        cr_expect_eq(scripted_count(server, "") - before, want, "%s took %u", commands[i],
                     scripted_count(server, "") - before);
    }
    session_end(s);
    scripted_stop(server);
}

/* The values that it tells are those that were sent, the same with each request of a command. */
E2E(adapter_bad, headers_and_parameters_are_sent_as_told)
{
    static const char *const answers[] = {"204 No Content|" AT("o1") "|",
                                          "503 Busy|Retry-After: 0\r\n|", "200 OK|" AT("o2") "|x",
                                          "200 OK|" AT("o3") "|", NULL};
    struct play p = {.type = TEXT, .answers = answers};
    struct scripted *server = scripted_start(play, &p);
    struct session *s = session_start(scripted_url(server));
    static const char *const before[] = {
        "{\"type\":\"set-dynamic-header\",\"name\":\"X-Count\",\"valueType\":\"counter\"}",
        ("{\"type\":\"set-dynamic-header\",\"name\":\"X-Token\",\"valueType\":\"token\","
         "\"initialValue\":\"t\"}"),
        "{\"type\":\"set-dynamic-param\",\"name\":\"n &\",\"valueType\":\"counter\"}",
        "{\"type\":\"connect\",\"path\":\"/s\",\"headers\":{\"X-Own\":\"h\"}}"};
    for (size_t i = 0; i < 4; i++)
        session_expect(s, before[i], "*\"success\":true*", 0);
    session_expect(s,
                   "{\"type\":\"read\",\"path\":\"/s\",\"live\":\"long-poll\",\"offset\":\"o1\","
                   "\"maxChunks\":1,\"headers\":{\"x-token\":\"mine\"}}",
                   "*" CHUNK("x", "o2") "*\"headersSent\":{\"X-Count\":\"1\",\"X-Token\":\"mine\"},"
                                        "\"paramsSent\":{\"n &\":\"1\"}}",
                   0);
    session_expect(s, "{\"type\":\"append\",\"path\":\"/s\",\"data\":\"x\"}",
                   "*\"headersSent\":{\"X-Count\":\"2\",\"X-Token\":\"t\"},\"paramsSent\":{\"n "
                   "&\":\"2\"}}",
                   0);
    const char *log = scripted_log(server);
    cr_assert_eq(scripted_count(server, "live=long-poll&n%20%26=1&offset=o1 "), 3, "%s", log);
    cr_assert_eq(scripted_count(server, "POST /s?n%20%26=2 "), 1, "%s", log);
    unsigned ones = 0, mine = 0;
    for (const char *at = log; (at = strstr(at, "X-Count: 1\r\n")); at++)
        ones++;
    for (const char *at = log; (at = strstr(at, "x-token: mine\r\n")); at++)
        mine++;
    cr_assert_eq(ones, 3);
    cr_assert_eq(mine, 3);
    cr_assert(strstr(log, "X-Own: h\r\n"));
    cr_assert(strstr(log, "X-Count: 2\r\n") && strstr(log, "X-Token: t\r\n"), "%s", log);
    session_end(s);
    scripted_stop(server);
}

/* From the second one on an answer a connection, which then ends without having said so. The
 * server has producers, so that an append that has gone lost with its connection is repeated. */
static void once(void *ctx, struct exchange *x)
{
    play(ctx, x);
    x->last = x->k > 0;
}

E2E(adapter_bad, connections_that_end_while_idle_are_no_failure)
{
    struct play p = {.type = TEXT AT("o1") UTD "Producer-Seq: 9\r\n"};
    static const char *const answers[] = {"201 Created||", "200 OK||",  "200 OK||x", "200 OK||",
                                          "200 OK||",      "200 OK||x", "200 OK||",  NULL};
    p.answers = answers;
    struct scripted *server = scripted_start(once, &p);
    struct session *s = session_start(scripted_url(server));
    static const char *const commands[] = {
        "{\"type\":\"create\",\"path\":\"/s\",\"contentType\":\"text/plain\"}",
        "{\"type\":\"append\",\"path\":\"/s\",\"data\":\"x\"}",
        "{\"type\":\"read\",\"path\":\"/s\"}",
        "{\"type\":\"append\",\"path\":\"/s\",\"data\":\"x\"}",
        "{\"type\":\"append\",\"path\":\"/s\",\"data\":\"x\"}",
        "{\"type\":\"read\",\"path\":\"/s\"}",
        "{\"type\":\"delete\",\"path\":\"/s\"}"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        session_expect(s, commands[i], "*\"success\":true*", 3000);
    session_end(s);
    scripted_stop(server);
}

/* --- statuses that the reference server cannot be told to give ---------------------------------
 */

struct status_row {
    const char *command, *answer, *want;
};

E2E(adapter_bad, each_status_has_its_name)
{
    static const char append[] = "{\"type\":\"append\",\"path\":\"/s\",\"data\":\"x\"}",
                      read[] = "{\"type\":\"read\",\"path\":\"/s\"}",
                      create[] = "{\"type\":\"create\",\"path\":\"/s\"}",
                      produce[] = "{\"type\":\"idempotent-append\",\"path\":\"/s\",\"producerId\":"
                                  "\"p\",\"epoch\":0,\"autoClaim\":false,\"data\":\"x\"}";
    static const struct status_row row[] = {
        {append, "409 No|" CLOSED AT("o1") "|", "\"STREAM_CLOSED\",\"status\":409,"},
        {append, "409 No||mismatch", "\"CONFLICT\",\"status\":409,"},
        {append, "400 No||\xff\xe9 is no text \xc3\xa9", "is no text \xc3\xa9\\\""},
        {read, "409 No||", "\"CONFLICT\",\"status\":409,"},
        {produce, "409 No|Producer-Expected-Seq: 5\r\nProducer-Received-Seq: 0\r\n|",
         "\"SEQUENCE_CONFLICT\",\"status\":409,"},
        {produce, "403 No|Producer-Epoch: 9007199254740991\r\n|",
         "\"details\":{\"currentEpoch\":9007199254740991}}"},
        {produce, "403 No||", "\"UNEXPECTED_STATUS\",\"status\":403,"},
        {produce, "401 No||", "\"UNEXPECTED_STATUS\",\"status\":401,"},
        {produce, "400 No||", "\"UNEXPECTED_STATUS\",\"status\":400,"},
        {produce, "410 No||", "\"UNEXPECTED_STATUS\",\"status\":410,"},
        {create, "410 No||", "\"UNEXPECTED_STATUS\",\"status\":410,"},
        {create, "302 There|Location: /t\r\n|", "\"UNEXPECTED_STATUS\",\"status\":302,"},
        {create, "429 No|Retry-After: 1000\r\n|", "\"UNEXPECTED_STATUS\",\"status\":429,"},
        {read, "503 No|Retry-After: 1000\r\n|", "\"UNEXPECTED_STATUS\",\"status\":503,"},
        {read, "415 No||", "\"UNEXPECTED_STATUS\",\"status\":415,"},
        {read, "200 OK||no stream", "\"PARSE_ERROR\",\"message\""},
        {append, "200 OK||no stream", "\"PARSE_ERROR\",\"message\""},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        /* What cannot be read is asked for a few times. */
        struct play p = {.type = TEXT,
                         .answers = ANSWERS(row[i].answer, row[i].answer, row[i].answer)};
        struct scripted *server = scripted_start(play, &p);
        struct session *s = session_start(scripted_url(server));
        const char *got = session_ask(s, row[i].command);
        cr_expect(strstr(got, row[i].want), "%s to %s\n  came %s", row[i].answer, row[i].command,
                  got);
        cr_expect(strstr(got, "/s: "), "%s", got);
        session_end(s);
        scripted_stop(server);
    }
}

/* --- exactly once, through what a network does -------------------------------------------------
 */

E2E_EMBEDDED(adapter_bad, batches_through_faults_are_stored_once)
{
    struct fault_plan plan = fault_everything(fault_seed(7), 40);
    struct fault_proxy *proxy = fault_proxy_start(e2e_base(), &plan);
    struct session *s = session_start(fault_proxy_url(proxy));
    struct e2e_bytes items = {0}, want = {0};
    session_expect(s, "{\"type\":\"create\",\"path\":\"/s\",\"contentType\":\"application/json\"}",
                   "*\"success\":true*", 0);
    for (unsigned i = 0; i < 40; i++)
        e2e_add_text(&items, e2e_printf("%s\"%u\"", i > 0 ? "," : "", i));
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < 40; i++)
            e2e_add_text(&want, e2e_printf("%s%u", want.n > 0 ? "," : "", i));
        const char *line =
            e2e_printf("{\"type\":\"idempotent-append-batch\",\"path\":\"/s\",\"producerId\":"
                       "\"p%u\",\"epoch\":0,\"autoClaim\":false,\"items\":[%s],\"maxInFlight\":%u}",
                       k, items.p, 2 + 3 * k);
        session_expect(s, line, "*\"success\":true*\"producerSeq\":39}", 0);
    }
    fault_proxy_settle(proxy);
    struct fault_counts n = fault_proxy_counts(proxy);
    cr_assert_gt(n.requests - n.befell[FAULT_NONE], 10, "hardly anything went wrong");
    session_expect(s, "{\"type\":\"read\",\"path\":\"/s\"}",
                   e2e_printf("*\"chunks\":[{\"data\":\"[%s]\",*", want.p), 0);
    session_end(s);
    fault_proxy_stop(proxy);
}

/* --- lines ------------------------------------------------------------------------------------ */

#define LARGE ((size_t)16 << 20)

/* A line's data of that size, each kind of character in it; what it means, and how that is told. */
static struct e2e_bytes large_data(size_t size, struct e2e_bytes *means, struct e2e_bytes *told)
{
    static const struct {
        const char *in, *means, *told;
    } parts[] = {{"abcdefghij", "abcdefghij", "abcdefghij"},
                 {"\\u0001", "\001", "\\u0001"},
                 {"\\n", "\n", "\\u000a"},
                 {"\xC3\xA9", "\xC3\xA9", "\xC3\xA9"},
                 {"\\\"\\\\", "\"\\", "\\\"\\\\"},
                 {"\\ud83d\\ude00", "\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"}};
    struct e2e_bytes in = {0};
    for (size_t i = 0; in.n < size; i++) {
        size_t k = i % 16 < 6 ? i % 16 : 0;
        e2e_add_text(&in, parts[k].in);
        e2e_add_text(means, parts[k].means);
        e2e_add_text(told, parts[k].told);
    }
    return in;
}

/* By the reference server, which answers in one piece. */
static void tells_large(struct session *s, struct e2e_bytes told)
{
    const char *answer = session_ask(s, "{\"type\":\"read\",\"path\":\"/v1/stream/s\"}");
    const char *from = strstr(answer, "\"data\":\"");
    const char *to = from ? strstr(from, "\",\"offset\":\"") : NULL;
    cr_assert(to, "%.500s", answer);
    from += strlen("\"data\":\"");
    e2e_same("what was told", (struct e2e_bytes){(char *)(uintptr_t)from, (size_t)(to - from), 0},
             told);
}

/* By this command, which has all but its data. */
static void takes_large(struct session *s, const char *command, struct e2e_bytes data,
                        struct e2e_bytes means)
{
    struct e2e_bytes line = {0};
    session_expect(s,
                   "{\"type\":\"create\",\"path\":\"/v1/stream/s\",\"contentType\":\"text/plain\"}",
                   "*\"success\":true*", 0);
    e2e_add_text(&line, command);
    e2e_add(&line, data.p, data.n);
    e2e_add_text(&line, "\"}");
    session_send(s, line);
    const char *answer = session_reply(s);
    cr_assert(strstr(answer, "\"success\":true"), "%.500s", answer);
    e2e_same("what is stored", e2e_get(e2e_url("s"), "-1"), means);
}

E2E_BOTH(adapter_bad, lines_of_16_mib)
{
    struct session *s = session_start(e2e_base());
    struct e2e_bytes means = {0}, told = {0}, data = large_data(LARGE, &means, &told);
    takes_large(s, "{\"type\":\"append\",\"path\":\"/v1/stream/s\",\"data\":\"", data, means);
    if (e2e_kind() == E2E_REFERENCE)
        tells_large(s, told);
    session_end(s);
}

/* More than a batch of several holds by default. */
E2E_EMBEDDED(adapter_bad, a_producers_message_of_2_mib)
{
    struct session *s = session_start(e2e_base());
    struct e2e_bytes means = {0}, told = {0}, data = large_data(LARGE / 8, &means, &told);
    takes_large(s,
                "{\"type\":\"idempotent-append\",\"path\":\"/v1/stream/s\",\"producerId\":\"p\","
                "\"epoch\":0,\"autoClaim\":false,\"data\":\"",
                data, means);
    session_end(s);
}

E2E_EMBEDDED(adapter_bad, lines_as_they_come)
{
    struct session *s = session_start(e2e_base());
    /* Two at once, blank ones, and those that end in CR LF. */
    session_send(s,
                 e2e_text("\n\r\n  \t\n{\"type\":\"clear-dynamic\"}\r\n\n{\"type\":\"nothing\"}"));
    cr_assert_str_eq(session_reply(s), "{\"type\":\"clear-dynamic\",\"success\":true}");
    cr_assert(strstr(session_reply(s), "NOT_SUPPORTED"));
    e2e_give(session_process(s), e2e_text("{\"type\":\"clear"));
    e2e_give(session_process(s), e2e_text("-dynamic\"}\n"));
    cr_assert_str_eq(session_reply(s), "{\"type\":\"clear-dynamic\",\"success\":true}");
    /* The end of the input is the end, with nothing to say. */
    e2e_end_input(session_process(s));
    e2e_status(session_process(s), 0);
    cr_assert_str_eq(session_process(s)->err_data.p, "");
    /* Before init there is no server; before the first line nothing is said. */
    s = session_new();
    session_expect(s, "{\"type\":\"head\",\"path\":\"/s\"}", "*\"errorCode\":\"INVALID_ARGUMENT\"*",
                   0);
    session_end(s);
    s = session_new();
    e2e_end_input(session_process(s));
    e2e_status(session_process(s), 0);
    cr_assert_eq(session_process(s)->out_data.n, 0);
}
