/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that misbehave. Each fault has its own exit code and one message that says what, where
 * (the URL without secrets, the offset) and what to do; all that was delivered before is right; and
 * no server makes us ask in a storm.
 */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/listener.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SECRET "hunter2"
#define JSON   "Content-Type: application/json\r\n"
#define AT(o)  "Stream-Next-Offset: " o "\r\n"
#define UTD    "Stream-Up-To-Date: true\r\n"

/* --- one bad answer, at each place ------------------------------------------------------------ */

/* Which request gets it. Before it comes one message, `1`, at offset -1, and o1 behind it. */
enum place { FIRST, PAGE, POLL, EVENTS };
#define FROM(place) (1U << (place))
#define ANYWHERE    (FROM(FIRST) | FROM(PAGE) | FROM(POLL) | FROM(EVENTS))
#define PLAIN       (FROM(FIRST) | FROM(PAGE) | FROM(POLL))

struct scene {
    enum place place;
    struct e2e_bytes bad; /* a whole answer, behind which the connection is closed */
    const char *head;     /* status for a HEAD; NULL: 200 */
};

static bool is_bad(const struct scene *c, const struct exchange *x)
{
    if (c->place == FIRST)
        return true;
    if (c->place == PAGE)
        return asks(x, "offset=o1");
    return asks(x, c->place == POLL ? "live=long-poll" : "live=sse");
}

static void play(void *ctx, struct exchange *x)
{
    const struct scene *c = ctx;
    if (strncmp(x->head, "HEAD", 4) == 0) {
        answer(x, c->head ? c->head : "200 OK", JSON AT("o9"), "");
    } else if (is_bad(c, x)) {
        say_bytes(x, c->bad.p, c->bad.n);
        x->last = true;
    } else if (asks(x, "offset=-1")) {
        answer(x, "200 OK", c->place == PAGE ? JSON AT("o1") : JSON AT("o1") UTD, "[1]");
    } else {
        answer(x, "200 OK", JSON AT("o1") UTD, "[]");
    }
}

static char *secret_url(struct scripted *s)
{
    const char *host = strstr(scripted_url(s), "//") + 2;
    return e2e_printf("http://user:" SECRET "@%s/v1/stream/s?token=" SECRET, host);
}

static char *shown_url(struct scripted *s)
{
    return e2e_printf("%s/v1/stream/s?token=...", scripted_url(s));
}

static struct e2e_process *read_at(enum place place, const char *url)
{
    if (place == FIRST || place == PAGE)
        return dstream_run("read", url);
    return dstream_run("read", "--follow", "--live", place == POLL ? "long-poll" : "sse", url);
}

/* What it said: the URL as it may be shown, the offset, and all words (a list parted by '|'). */
static void said(struct e2e_process *p, struct scripted *s, enum place place, const char *words)
{
    cr_assert_not(strstr(p->err_data.p, SECRET), "it told a secret: %s", p->err_data.p);
    e2e_says(p, e2e_printf("dstream: %s: ", shown_url(s)));
    e2e_says(p, place == FIRST ? "-1" : "o1");
    for (const char *w = words; *w; w += strcspn(w, "|") + (w[strcspn(w, "|")] == '|'))
        e2e_says(p, e2e_printf("%.*s", (int)strcspn(w, "|"), w));
}

static void expect_at(enum place place, const char *head, struct e2e_bytes bad, int code,
                      const char *words)
{
    struct scene c = {place, bad, head};
    struct scripted *s = scripted_start(play, &c);
    e2e_limits("backoff_base=1,backoff_max=2,retries=3,short_base=1,short_max=2,idle_max=2");
    struct e2e_process *p = read_at(place, secret_url(s));
    e2e_status(p, code);
    said(p, s, place, words);
    e2e_same("delivered before", p->out_data, e2e_text(place == FIRST ? "" : "1\n"));
    cr_assert_lt(scripted_count(s, ""), 20, "it asked %u times", scripted_count(s, ""));
    scripted_stop(s);
}

static void expect(unsigned places, const char *bad, int code, const char *words)
{
    for (int place = FIRST; place <= EVENTS; place++) {
        if (places & FROM(place))
            expect_at((enum place)place, NULL, e2e_text(bad), code, words);
    }
}

static char *status(const char *line)
{
    return e2e_printf("HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nreason",
                      line);
}

/* --- statuses --------------------------------------------------------------------------------- */

E2E(bad, refused_requests)
{
    expect(ANYWHERE, status("400 Bad Request"), 14, "400|reason|refused");
    expect(ANYWHERE, status("405 Method Not Allowed"), 14, "405");
    expect(ANYWHERE, status("501 Not Implemented"), 14, "501");
}

E2E(bad, refused_credentials)
{
    expect(ANYWHERE, status("401 Unauthorized"), 77, "401|credentials|STREAM_AUTH");
    expect(ANYWHERE, status("403 Forbidden"), 77, "403|reason");
}

E2E(bad, missing_and_deleted)
{
    expect(FROM(FIRST), status("404 Not Found"), 66, "404|no such stream");
    expect(FROM(PAGE) | FROM(POLL) | FROM(EVENTS), status("404 Not Found"), 10, "404|deleted");
}

E2E(bad, gone)
{
    for (int place = FIRST; place <= EVENTS; place++) {
        struct e2e_bytes gone = e2e_text(status("410 Gone"));
        expect_at((enum place)place, NULL, gone, 10, "410|gone");
        expect_at((enum place)place, "410 Gone", gone, 10, "410|deleted");
        expect_at((enum place)place, "404 Not Found", gone, 10, "deleted");
    }
}

E2E(bad, busy_and_failing)
{
    expect(FROM(FIRST) | FROM(PAGE), status("429 Too Many Requests"), 75, "429|reason|try again");
    expect(FROM(FIRST) | FROM(PAGE), status("408 Request Timeout"), 75, "408");
    expect(FROM(FIRST) | FROM(PAGE), status("500 Internal Server Error"), 69, "500|reason");
    expect(FROM(FIRST) | FROM(PAGE), status("503 Service Unavailable"), 69, "503");
}

E2E(bad, statuses_without_a_meaning)
{
    expect(PLAIN, status("304 Not Modified\r\nX: y"), 76, "304");
    expect(PLAIN, status("299 Odd"), 76, "299");
    expect(PLAIN, status("206 Partial Content"), 76, "206");
    expect(PLAIN, status("700 What"), 76, "");
}

/* --- answers that are no stream --------------------------------------------------------------- */

#define HTML "Content-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"

E2E(bad, html)
{
    expect(ANYWHERE, "HTTP/1.1 200 OK\r\n" HTML, 76, "stream");
}

E2E(bad, no_http)
{
    expect(FROM(FIRST) | FROM(PAGE), "SSH-2.0-OpenSSH_9.2\r\n", 69, "");
    expect(FROM(FIRST) | FROM(PAGE), "", 69, "");
}

static unsigned tries(const char *bad, enum place place, int code)
{
    struct scene c = {.place = place, .bad = e2e_text(bad)};
    struct scripted *s = scripted_start(play, &c);
    e2e_limits("backoff_base=1,backoff_max=2");
    e2e_status(read_at(place, secret_url(s)), code);
    const char *match = place == FIRST ? "offset=-1" : place == PAGE ? "offset=o1" : "live=";
    unsigned n = scripted_count(s, match);
    scripted_stop(s);
    return n;
}

E2E(bad, without_a_next_offset)
{
    const char *bad = "HTTP/1.1 200 OK\r\n" JSON UTD "Content-Length: 3\r\n\r\n[2]";
    expect(PLAIN, bad, 76, "Stream-Next-Offset");
    for (int place = FIRST; place <= POLL; place++)
        cr_assert_eq(tries(bad, (enum place)place, 76), 3);
}

E2E(bad, a_next_offset_that_is_none)
{
    const char *rest = UTD "Content-Length: 3\r\n\r\n[2]";
    const char *const bad[] = {"-1", "now", "", "a b", "a\tb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(PLAIN,
               e2e_printf("HTTP/1.1 200 OK\r\n" JSON "Stream-Next-Offset: %s\r\n%s", bad[i], rest),
               76, "Stream-Next-Offset");
}

/* --- bodies ----------------------------------------------------------------------------------- */

static char *body(const char *text)
{
    return e2e_printf("HTTP/1.1 200 OK\r\n" JSON AT("o2") UTD "Content-Length: %zu\r\n\r\n%s",
                      strlen(text), text);
}

E2E(bad, a_body_that_is_no_array)
{
    const char *const bad[] = {"{\"a\":1}", "1",    "\"a\"", "[1",       "[1,]",
                               "[1] [2]",   "[01]", "[+1]",  "[\"\n\"]", "[\"\xff\"]",
                               "[tru]",     "nul",  "[1}",   " ",        "<html>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(PLAIN, body(bad[i]), 76, "JSON");
}

/* Cut again and again, each time in the same place. */
E2E(bad, a_body_that_never_comes_whole)
{
    const char *const bad[] = {
        "HTTP/1.1 200 OK\r\n" JSON AT("o2") UTD "Content-Length: 30\r\n\r\n[2,3]",
        "HTTP/1.1 200 OK\r\n" JSON AT("o2") UTD "Transfer-Encoding: chunked\r\n\r\n5\r\n[2,3]\r\n",
        "HTTP/1.1 200 OK\r\n" JSON AT("o2") UTD "Transfer-Encoding: chunked\r\n\r\nzz\r\n[2,3]",
        "HTTP/1.1 200 OK\r\n" JSON AT("o2"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(FROM(FIRST) | FROM(PAGE), bad[i], 69, "");
}

/* The length says less than was sent: the array has no end. */
E2E(bad, a_length_that_is_too_short)
{
    expect(PLAIN, "HTTP/1.1 200 OK\r\n" JSON AT("o2") UTD "Content-Length: 3\r\n\r\n[2,3]", 76,
           "JSON");
}

E2E(bad, the_type_changes)
{
    expect(FROM(PAGE) | FROM(POLL),
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" AT("o2") UTD
           "Content-Length: 3\r\n\r\n[2]",
           13, "made anew|application/json|text/plain|--from beginning");
}

/* Less than was asked for. */
E2E(bad, the_next_offset_goes_back)
{
    expect(FROM(PAGE) | FROM(POLL),
           "HTTP/1.1 200 OK\r\n" JSON AT("o0") UTD "Content-Length: 3\r\n\r\n[2]", 13,
           "o0|o1|--from beginning");
    expect(FROM(EVENTS),
           "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: data\ndata: [2]\n\n"
           "event: control\ndata: {\"streamNextOffset\":\"o0\",\"upToDate\":true}\n\n",
           13, "o0|o1|--from beginning");
}

/* --- limits ----------------------------------------------------------------------------------- */

static char *many(char c, size_t n)
{
    char *s = e2e_alloc(n + 1);
    return memset(s, c, n);
}

E2E(bad, an_offset_that_is_too_long)
{
    expect(PLAIN,
           e2e_printf("HTTP/1.1 200 OK\r\n" JSON "Stream-Next-Offset: %s\r\n" UTD
                      "Content-Length: 3\r\n\r\n[2]",
                      many('o', 1025)),
           15, "Stream-Next-Offset|1024");
}

/* The longest that is allowed goes round. */
static void longest(void *ctx, struct exchange *x)
{
    const char *offset = ctx;
    if (strncmp(x->head, "HEAD", 4) == 0)
        answer(x, "200 OK", JSON AT("p"), "");
    else if (asks(x, offset))
        answer(x, "200 OK", JSON AT("p") UTD, "[2]");
    else
        answer(x, "200 OK", e2e_printf(JSON "Stream-Next-Offset: %s\r\n", offset), "[1]");
}

E2E(bad, an_offset_that_is_just_not_too_long)
{
    struct scripted *s = scripted_start(longest, many('o', 1024));
    struct e2e_process *p = dstream_run("read", "--max-time", "5s", scripted_url(s));
    e2e_status(p, 0);
    e2e_same("both", p->out_data, e2e_text("1\n2\n"));
    scripted_stop(s);
}

E2E(bad, a_head_that_is_too_long)
{
    expect(
        ANYWHERE,
        e2e_printf("HTTP/1.1 200 OK\r\n" JSON AT("o2") "X-Long: %s\r\nContent-Length: 3\r\n\r\n[2]",
                   many('x', 70000)),
        15, "head");
    struct e2e_bytes lines = e2e_text("HTTP/1.1 200 OK\r\n" JSON);
    for (int i = 0; i < 3000; i++)
        e2e_add_text(&lines, e2e_printf("X-%d: a line of its own\r\n", i));
    e2e_add_text(&lines, AT("o2") "Content-Length: 3\r\n\r\n[2]");
    expect(ANYWHERE, lines.p, 15, "head");
}

static void limited(enum place place, const char *limits, struct e2e_bytes bad, const char *words)
{
    struct scene c = {place, bad, NULL};
    struct scripted *s = scripted_start(play, &c);
    e2e_limits(limits);
    struct e2e_process *p = read_at(place, secret_url(s));
    e2e_status(p, 15);
    said(p, s, place, words);
    e2e_same("delivered before", p->out_data, e2e_text(place == FIRST ? "" : "1\n"));
    scripted_stop(s);
}

E2E(bad, a_body_that_is_too_long)
{
    struct e2e_bytes bad = e2e_text(body(e2e_printf("[\"%s\"]", many('a', 5000))));
    for (int place = FIRST; place <= POLL; place++)
        limited((enum place)place, "max_body=2000", bad, "over one of our limits");
}

E2E(bad, messages_too_deep)
{
    char *deep = e2e_printf("[%s1%s]", many('[', 20), many(']', 20));
    limited(FIRST, "json_depth=10", e2e_text(body(deep)), "nest");
    limited(FIRST, "", e2e_text(body(e2e_printf("[%s", many('[', 100000)))), "nest");
}

/* --- event streams ---------------------------------------------------------------------------- */

#define SSE_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
#define CONTROL  "event: control\ndata: "

static void expect_events(const char *events, int code, const char *words)
{
    expect(FROM(EVENTS), e2e_printf(SSE_HEAD "%s", events), code, words);
}

E2E(bad, malformed_control_events)
{
    const char *const bad[] = {
        "{",
        "",
        "[]",
        "null",
        "\"o2\"",
        "{}",
        "{\"upToDate\":true}",
        "{\"streamNextOffset\":null}",
        "{\"streamNextOffset\":2}",
        "{\"streamNextOffset\":\"\"}",
        "{\"streamNextOffset\":\"-1\"}",
        "{\"streamNextOffset\":\"now\"}",
        "{\"streamNextOffset\":\"a b\"}",
        "{\"streamNextOffset\":\"o2\\u0000\"}",
        "{\"streamNextOffset\":\"o2\",\"streamNextOffset\":\"o3\"}",
        "{\"streamNextOffset\":\"o2\",\"upToDate\":\"true\"}",
        "{\"streamNextOffset\":\"o2\",\"streamClosed\":1}",
        "{\"streamNextOffset\":\"o2\",\"streamCursor\":7}",
        "{\"streamNextOffset\":\"o2\"} x",
        "{\"streamNextOffset\":\"o2\",}",
        "{streamNextOffset:\"o2\"}",
        "{\"streamNextOffset\":\"o2\",\"n\":01}",
        "{\"streamNextOffset\":\"\xff\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_events(e2e_printf("event: data\ndata: [2]\n\n" CONTROL "%s\n\n", bad[i]), 76,
                      "control");
}

E2E(bad, data_events_that_are_no_array)
{
    const char *const bad[] = {"{\"a\":1}", "1",      "",           "[1",
                               "[1,]",      "[1][2]", "[\"\xff\"]", "<html>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_events(e2e_printf("event: data\ndata: %s\n\n" CONTROL
                                 "{\"streamNextOffset\":\"o2\",\"upToDate\":true}\n\n",
                                 bad[i]),
                      76, "");
}

/* A good batch, and then a bad one: the good one is delivered, with its offset. */
E2E(bad, what_an_event_stream_brought_before_is_kept)
{
    struct scene c = {.place = EVENTS,
                      .bad = e2e_text(SSE_HEAD "event: data\ndata: [2]\n\n" CONTROL
                                               "{\"streamNextOffset\":\"o2\"}\n\n"
                                               "event: data\ndata: [3]\n\n" CONTROL "{x\n\n")};
    struct scripted *s = scripted_start(play, &c);
    struct e2e_process *p = dstream_run("read", "-f", "-v", secret_url(s));
    e2e_status(p, 76);
    e2e_same("until then", p->out_data, e2e_text("1\n2\n"));
    e2e_says(p, "to go on: --from o2");
    cr_assert_not(strstr(p->err_data.p, SECRET), "it told a secret: %s", p->err_data.p);
    scripted_stop(s);
}

E2E(bad, event_streams_over_a_limit)
{
    expect_events(e2e_printf("event: %s\ndata: [2]\n\n", many('e', 300)), 15, "name");
    expect_events(e2e_printf("id: %s\ndata: [2]\n\n", many('i', 5000)), 15, "id");
    expect_events(e2e_printf(CONTROL "{\"streamNextOffset\":\"%s\"}\n\n", many('o', 1025)), 15,
                  "1024");
    expect_events(
        e2e_printf(CONTROL "{\"streamNextOffset\":\"o2\",\"x\":\"%s\"}\n\n", many('x', 70000)), 15,
        "control");
    limited(EVENTS, "max_event=1000",
            e2e_text(e2e_printf(SSE_HEAD "event: data\ndata: [\"%s\"]\n\n", many('a', 2000))),
            "1000");
    /* One line without an end, and many events without a control event. */
    limited(EVENTS, "max_event=1000",
            e2e_text(e2e_printf(SSE_HEAD "event: data\ndata: [\"%s", many('a', 200000))), "1000");
    struct e2e_bytes events = e2e_text(SSE_HEAD);
    for (int i = 0; i < 200; i++)
        e2e_add_text(&events, "event: data\ndata: [\"abcdefgh\"]\n\n");
    limited(EVENTS, "max_event=1000", events, "1000");
}

/* A binary stream by SSE. */
static void binary(void *ctx, struct exchange *x)
{
    const char *head = "Content-Type: application/octet-stream\r\n" AT("o1") UTD;
    if (asks(x, "live=sse")) {
        answer_events(x, "Stream-SSE-Data-Encoding: base64\r\n");
        say(x, e2e_printf("event: data\ndata: Mg==\n\n" CONTROL "{\"streamNextOffset\":\"o2\"}\n\n"
                          "event: data\ndata: %s\n\n" CONTROL "{\"streamNextOffset\":\"o3\"}\n\n",
                          (const char *)ctx));
    } else {
        answer(x, "200 OK", head, asks(x, "offset=-1") ? "1" : "");
    }
}

E2E(bad, malformed_base64)
{
    const char *const bad[] = {"M",    "Mg",   "Mg=",  "Mh==", "Mg==Mg==", "M===", "Mg==\ndata: M",
                               "Mg-_", "Mg !", "====", "Mg==="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct scripted *s = scripted_start(binary, (void *)(uintptr_t)bad[i]);
        struct e2e_process *p = dstream_run("read", "-f", secret_url(s));
        e2e_status(p, 76);
        e2e_says(p, "base64");
        e2e_says(p, "at offset o1");
        e2e_same("until then", p->out_data, e2e_text("12"));
        scripted_stop(s);
    }
}

/* --- event streams that do not work ----------------------------------------------------------- */

/* SSE as `ctx` has it; long-poll brings one message and the end. */
static void play_no_sse(void *ctx, struct exchange *x)
{
    if (asks(x, "live=sse")) {
        say(x, ctx);
        x->last = true;
    } else if (asks(x, "live=long-poll")) {
        answer(x, "200 OK", JSON AT("o2") "Stream-Closed: true\r\n", "[2]");
    } else {
        answer(x, "200 OK", JSON AT("o1") UTD, asks(x, "offset=-1") ? "[1]" : "[]");
    }
}

static void without_sse(const char *sse, int code, const char *words, unsigned asked)
{
    struct scripted *s = scripted_start(play_no_sse, (void *)(uintptr_t)sse);
    e2e_limits("short_base=1,short_max=2,backoff_base=1");
    struct e2e_process *p = dstream_run("read", "-f", "-v", secret_url(s));
    e2e_status(p, 0);
    e2e_same("by long-poll", p->out_data, e2e_text("1\n2\n"));
    e2e_says(p, "long-poll");
    cr_assert_eq(scripted_count(s, "live=sse"), asked, "%s", scripted_log(s));
    p = dstream_run("read", "-f", "--live", "sse", secret_url(s));
    e2e_status(p, code);
    said(p, s, EVENTS, words);
    e2e_same("before", p->out_data, e2e_text("1\n"));
    scripted_stop(s);
}

E2E(bad, event_streams_that_bring_no_control_event)
{
    without_sse(SSE_HEAD, 76, "control", 3);
    without_sse(SSE_HEAD ": nothing\n\n", 76, "control", 3);
    without_sse(SSE_HEAD "event: data\ndata: [2]\n\n", 76, "control", 3);
    without_sse(SSE_HEAD "event: data\ndata: [2]\n\nevent: control\ndata: {\"streamNextOffset\":",
                76, "control", 3);
}

E2E(bad, servers_without_sse)
{
    without_sse(status("400 Bad Request"), 14, "400", 1);
    without_sse(status("406 Not Acceptable"), 14, "406", 1);
    without_sse("HTTP/1.1 200 OK\r\n" HTML, 76, "event stream", 1);
    without_sse("HTTP/1.1 204 No Content\r\n" AT("o1") "\r\n", 76, "", 1);
}

/* The head alone, then silence: something between us and the server holds the events back. */
static void play_silent(void *ctx, struct exchange *x)
{
    if (asks(x, "live=sse")) {
        answer_events(x, "");
        keep_open(x);
    } else {
        play_no_sse(ctx, x);
    }
}

E2E(bad, an_event_stream_that_stays_silent)
{
    struct scripted *s = scripted_start(play_silent, NULL);
    e2e_limits("first_byte_sse=50,short_base=1,short_max=2,backoff_base=1");
    struct e2e_process *p = dstream_run("read", "-f", secret_url(s));
    e2e_status(p, 0);
    e2e_same("by long-poll", p->out_data, e2e_text("1\n2\n"));
    scripted_await(s, "live=sse", 3); /* the last one may be read after it was given up */
    cr_assert_eq(scripted_count(s, "live=sse"), 3, "%s", scripted_log(s));
    scripted_stop(s);
}

/* --- network ---------------------------------------------------------------------------------- */

static struct e2e_process *read_from(const char *url, int code, const char *words)
{
    e2e_limits("backoff_base=1,backoff_max=2");
    struct e2e_process *p = dstream_run("read", url);
    e2e_status(p, code);
    e2e_same("nothing", p->out_data, e2e_text(""));
    cr_assert_not(strstr(p->err_data.p, SECRET), "it told a secret: %s", p->err_data.p);
    for (const char *w = words; *w; w += strcspn(w, "|") + (w[strcspn(w, "|")] == '|'))
        e2e_says(p, e2e_printf("%.*s", (int)strcspn(w, "|"), w));
    return p;
}

static void nobody(void *ctx, struct exchange *x)
{
    (void)ctx;
    x->last = true;
}

E2E(bad, a_refused_connection)
{
    /* A port that was free a moment ago. */
    struct scripted *s = scripted_start(nobody, NULL);
    const char *url = e2e_printf("%s/s?key=" SECRET, scripted_url(s));
    const char *shown = e2e_printf("%s/s?key=...: ", scripted_url(s));
    scripted_stop(s);
    read_from(url, 69, e2e_printf("%s|onnect|check that the server runs", shown));
}

E2E(bad, a_name_that_does_not_resolve)
{
    read_from("http://no-such-host.invalid/s?key=" SECRET, 69,
              "http://no-such-host.invalid/s?key=...: |resolve|check the host's name");
}

/* A server that says nothing at all. */
static void mute(void *ctx, struct exchange *x)
{
    (void)ctx;
    keep_open(x);
}

E2E(bad, a_server_that_does_not_answer)
{
    struct scripted *s = scripted_start(mute, NULL);
    e2e_limits("header=30,backoff_base=1,retries=2");
    struct e2e_process *p = dstream_run("read", secret_url(s));
    e2e_status(p, 75);
    said(p, s, FIRST, "no answer began within |try again later");
    scripted_await(s, "", 3); /* the last one may be read after it was given up */
    cr_assert_eq(scripted_count(s, ""), 3, "it asked %u times", scripted_count(s, ""));
    scripted_stop(s);
}

/* Half an answer, and then nothing. */
static void play_stalled(void *ctx, struct exchange *x)
{
    (void)ctx;
    say(x, "HTTP/1.1 200 OK\r\n" JSON AT("o2") UTD "Content-Length: 30\r\n\r\n[2,3");
    keep_open(x);
}

E2E(bad, an_answer_that_stalls)
{
    struct scripted *s = scripted_start(play_stalled, NULL);
    e2e_limits("silence=30,backoff_base=1,retries=2");
    struct e2e_process *p = dstream_run("read", secret_url(s));
    e2e_status(p, 75);
    said(p, s, FIRST, "no byte of the answer came for ");
    e2e_same("nothing", p->out_data, e2e_text(""));
    scripted_stop(s);
}

/* --- TLS -------------------------------------------------------------------------------------- */

/* A certificate of its own for `name`, and its key. */
static void certificate(const char *file, const char *name)
{
    const char *out = e2e_path(file), *key = e2e_printf("%s.key", out);
    const char *const argv[] = {"openssl",
                                "req",
                                "-x509",
                                "-newkey",
                                "ec",
                                "-pkeyopt",
                                "ec_paramgen_curve:prime256v1",
                                "-nodes",
                                "-days",
                                "2",
                                "-subj",
                                e2e_printf("/CN=%s", file),
                                "-addext",
                                e2e_printf("subjectAltName=%s", name),
                                "-keyout",
                                key,
                                "-out",
                                out,
                                NULL};
    struct e2e_process *p = e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv}));
    e2e_status(p, 0);
}

static bool listens(const struct e2e_process *p, const void *ctx)
{
    (void)ctx;
    const char *found = strstr(p->out_data.p, "ACCEPT 127.0.0.1:");
    return found && strchr(found, '\n');
}

/* A server that answers by the files of the test's folder, their names the request's paths. */
static const char *tls_server(const char *file)
{
    const char *cert = e2e_path(file);
    const char *line = e2e_printf("cd '%s' && exec openssl s_server -accept 127.0.0.1:0 -HTTP "
                                  "-cert '%s' -key '%s.key' </dev/null",
                                  e2e_path(""), cert, cert);
    const char *const argv[] = {"sh", "-c", line, NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = argv});
    e2e_until(p, listens, NULL, "it listened");
    const char *port = strstr(p->out_data.p, "ACCEPT 127.0.0.1:") + 17;
    return e2e_printf("https://127.0.0.1:%.*s", (int)strcspn(port, "\n"), port);
}

E2E(bad, certificates)
{
    certificate("good.pem", "IP:127.0.0.1");
    certificate("other.pem", "DNS:other.example");
    e2e_write_file(e2e_path("s?offset=-1"), e2e_text("HTTP/1.1 200 OK\r\n" JSON AT("o1") UTD
                                                     "Content-Length: 3\r\n\r\n[1]"));
    const char *good = e2e_printf("%s/s", tls_server("good.pem"));
    const char *other = e2e_printf("%s/s", tls_server("other.pem"));
    read_from(good, 69, "certificate|--cacert");
    struct e2e_process *p = dstream_run("read", "--cacert", e2e_path("good.pem"), good);
    e2e_status(p, 0);
    e2e_same("trusted", p->out_data, e2e_text("1\n"));
    e2e_status(dstream_run("read", "--insecure", good), 0);
    e2e_status(dstream_run("read", "--insecure", other), 0);
    /* Trusted, but of another name. */
    e2e_status(dstream_run("read", "--cacert", e2e_path("other.pem"), other), 69);
    e2e_status(dstream_run("read", "--cacert", e2e_path("none.pem"), good), 69);
}

/* As servers answer to what is no HTTP. */
static void plain_text(void *ctx, int fd)
{
    static const char refused[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    char piece[512];
    (void)ctx;
    if (recv(fd, piece, sizeof piece, 0) > 0)
        listener_send(fd, refused, sizeof refused - 1);
}

E2E(bad, https_spoken_to_a_server_without_tls)
{
    struct listener *l = listener_start(plain_text, NULL);
    read_from(e2e_printf("https%s/s?key=" SECRET, listener_url(l) + 4), 69, "TLS|s?key=...");
    listener_stop(l);
}

/* --- redirects -------------------------------------------------------------------------------- */

struct hop {
    const char *to;     /* the base that is pointed to; NULL: the same server */
    const char *status; /* of the redirects */
    unsigned hops;      /* how many there are on the way from /0 to /<hops> */
};

static void play_hops(void *ctx, struct exchange *x)
{
    const struct hop *h = ctx;
    unsigned at = 0;
    sscanf(x->head, "%*s /%u", &at);
    if (at >= h->hops) {
        answer(x, "200 OK", JSON AT("o1") UTD, "[1]");
        return;
    }
    const char *query = strchr(x->head, '?');
    answer(x, h->status,
           e2e_printf("Location: %s/%u%.*s\r\n", h->to ? h->to : "", at + 1,
                      (int)strcspn(query, " "), query),
           "moved");
}

static void play_loop(void *ctx, struct exchange *x)
{
    answer(x, "302 Found", e2e_printf("Location: %s\r\n", (const char *)ctx), "");
}

static void refused_redirect(const char *to, const char *words)
{
    struct scripted *s = scripted_start(play_loop, (void *)(uintptr_t)to);
    struct e2e_process *p = dstream_run("read", secret_url(s));
    e2e_status(p, 69);
    cr_assert_not(strstr(p->err_data.p, SECRET), "it told a secret: %s", p->err_data.p);
    e2e_says(p, words);
    cr_assert_leq(scripted_count(s, ""), 6);
    scripted_stop(s);
}

E2E(bad, redirects_to_nowhere)
{
    refused_redirect("?offset=-1", "too many redirects");
    refused_redirect("ftp://127.0.0.1/s", "http");
    refused_redirect("file:///etc/passwd", "http");
    refused_redirect("javascript:alert(1)", "http");
    refused_redirect("", "");
}

/* Credentials in the URL are no better than headers. */
E2E(bad, credentials_of_the_url_stay_with_their_origin)
{
    struct hop there = {.hops = 0}, here = {.status = "307 T", .hops = 1};
    struct scripted *other = scripted_start(play_hops, &there);
    here.to = scripted_url(other);
    struct scripted *s = scripted_start(play_hops, &here);
    struct e2e_process *p =
        dstream_run("read", "-vv", e2e_printf("http://user:" SECRET "@%s/0", scripted_url(s) + 7));
    e2e_status(p, 0);
    cr_assert_not(strstr(scripted_log(other), "Authorization"), "%s", scripted_log(other));
    cr_assert_not(strstr(p->err_data.p, SECRET), "it told a secret: %s", p->err_data.p);
    scripted_stop(s);
    scripted_stop(other);
}

/* --- waiting ---------------------------------------------------------------------------------- */

struct failing {
    unsigned times;     /* how often it fails first */
    const char *answer; /* how */
    const char *match;  /* which requests; NULL: all */
    atomic_uint failed;
    int64_t at[64]; /* when the failures were, ms */
};

static int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void play_failing(void *ctx, struct exchange *x)
{
    struct failing *f = ctx;
    if (x->k < 64)
        f->at[x->k] = clock_ms();
    if ((!f->match || asks(x, f->match)) && f->failed < f->times) {
        f->failed++;
        say(x, f->answer);
        x->last = true;
    } else if (asks(x, "live=")) {
        answer(x, "200 OK", JSON AT("o2") "Stream-Closed: true\r\n", "[2]");
    } else {
        answer(x, "200 OK", JSON AT("o1") UTD, asks(x, "offset=-1") ? "[1]" : "[]");
    }
}

/* Reads what comes after failures; returns after how many ms the second request came. */
static int64_t retried(const char *answer, unsigned times)
{
    struct failing f = {.times = times, .answer = answer};
    struct scripted *s = scripted_start(play_failing, &f);
    struct e2e_process *p = dstream_run("read", secret_url(s));
    e2e_status(p, 0);
    e2e_same("in the end", p->out_data, e2e_text("1\n"));
    cr_assert_eq(scripted_count(s, ""), times + 1);
    scripted_stop(s);
    return f.at[1] - f.at[0];
}

static char *busy(const char *retry_after)
{
    return e2e_printf("HTTP/1.1 429 B\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n",
                      retry_after);
}

E2E(bad, failures_are_tried_again)
{
    const char *const all[] = {"429 B", "500 S", "502 G", "503 U", "504 T", "408 R", "425 E"};
    e2e_limits("backoff_base=1");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        retried(status(all[i]), 3);
    retried("", 2);
}

E2E(bad, retry_after_is_the_least_wait)
{
    e2e_limits("backoff_base=1");
    cr_assert_geq(retried(busy("1"), 1), 950);
    cr_assert_lt(retried(busy("0"), 1), 4000);
    /* What is no number of seconds and no date counts as none. */
    cr_assert_lt(retried(busy("-5"), 1), 4000);
    cr_assert_lt(retried(busy("soon"), 1), 4000);
    cr_assert_lt(retried(busy("Thu, 01 Jan 1970 00:00:00 GMT"), 1), 4000);
    char date[64];
    time_t then = time(NULL) + 5; /* it may take a while until that is read */
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &tm));
    cr_assert_geq(retried(busy(date), 1), 900);
}

/* Longer than we would try: that ends it at once. */
E2E(bad, a_retry_after_that_is_too_long)
{
    const char *const all[] = {"3000000", "99999999999999999999999", "30",
                               "Fri, 31 Dec 2100 00:00:00 GMT"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        cr_assert_eq(tries(busy(all[i]), FIRST, 75), 1, "%s", all[i]);
        cr_assert_eq(tries(busy(all[i]), PAGE, 75), 1, "%s", all[i]);
    }
}

E2E(bad, failures_are_tried_again_as_often_as_asked_for)
{
    struct scene c = {FIRST, e2e_text(status("500 S")), NULL};
    struct scripted *s = scripted_start(play, &c);
    e2e_status(dstream_run("read", "--retry", "0", scripted_url(s)), 69);
    cr_assert_eq(scripted_count(s, ""), 1);
    e2e_status(dstream_run("read", "--retry=7", "--retry-max-delay", "1ms", scripted_url(s)), 69);
    cr_assert_eq(scripted_count(s, ""), 1 + 8);
    scripted_stop(s);
}

/* For machines: one object a line. */
E2E(bad, errors_as_json)
{
    struct scene c = {PAGE, e2e_text(status("404 Not Found")), NULL};
    struct scripted *s = scripted_start(play, &c);
    e2e_limits("replica_lag=0");
    struct e2e_process *p = dstream_run("read", "--errors", "json", secret_url(s));
    e2e_status(p, 10);
    e2e_says(p, "{\"level\":\"warning\",\"message\":\"a secret on the command line");
    char *second = strchr(p->err_data.p, '\n');
    cr_assert(second);
    e2e_same("the message", e2e_text(second + 1),
             e2e_text(e2e_printf(
                 "{\"level\":\"error\",\"message\":\"the stream was deleted: the server answered "
                 "404: reason\",\"exit\":10,\"code\":\"DSTREAM_ERR_DELETED\",\"status\":404,"
                 "\"url\":\"%s\",\"offset\":\"o1\"}\n",
                 shown_url(s))));
    p = dstream_run("read", "--errors=json", "a\"b\xff");
    e2e_status(p, 2);
    e2e_says(p, "{\"level\":\"error\",\"message\":\"a\\\"b\xEF\xBF\xBD is not");
    cr_assert_eq(p->err_data.p[p->err_data.n - 2], '}');
    e2e_status(dstream_run("read", "--errors", "xml", "u"), 2);
    p = dstream_run("read", "--count", "x", "--errors", "json", "u");
    e2e_says(p, "{\"level\":\"error\",\"message\":\"--count x: wanted is a number");
    p = dstream_run("read", "user:secret@host/name");
    e2e_status(p, 2);
    e2e_says(p, "dstream: host/name is not a whole URL");
    scripted_stop(s);
}

/* Once live, failures never end it. */
static void live_over_failures(const char *mode, const char *how)
{
    struct failing f = {.times = 12, .answer = how, .match = "offset=o1"};
    struct scripted *s = scripted_start(play_failing, &f);
    e2e_limits("backoff_base=1,backoff_max=2,retries=3,retry_time=10,short_base=1,short_max=2");
    struct e2e_process *p = dstream_run("read", "-f", "-v", "--live", mode, secret_url(s));
    e2e_status(p, 0);
    e2e_same(mode, p->out_data, e2e_text("1\n2\n"));
    /* A connection that was kept and turns out to be dead is no failure yet. */
    cr_assert_geq(reading_said(p, "retry in"), 11, "it said: %s", p->err_data.p);
    cr_assert_not(strstr(p->err_data.p, SECRET), "it told a secret: %s", p->err_data.p);
    scripted_stop(s);
}

E2E(bad, a_live_reader_outlives_failures)
{
    live_over_failures("long-poll", status("500 S"));
    live_over_failures("long-poll", status("429 B"));
    live_over_failures("long-poll", "");
}

/* --- storms ----------------------------------------------------------------------------------- */

#define NOTHING "HTTP/1.1 204 No Content\r\n" AT("o1") UTD "\r\n"

/* Answers everything live at once, and without data. */
static void play_storm(void *ctx, struct exchange *x)
{
    bool events = strstr(ctx, "event-stream") != NULL;
    if (events && asks(x, "live=long-poll")) {
        say(x, NOTHING);
    } else if (asks(x, "live=")) {
        say(x, ctx);
        x->last = events;
    } else {
        answer(x, "200 OK", JSON AT("o1") UTD, asks(x, "offset=-1") ? "[1]" : "[]");
    }
}

static void storm(const char *mode, const char *live, int code)
{
    struct scripted *s = scripted_start(play_storm, (void *)(uintptr_t)live);
    struct e2e_process *p =
        dstream_run("read", "-f", "--live", mode, "--max-time", "1500ms", secret_url(s));
    e2e_status(p, code);
    e2e_same("before", p->out_data, e2e_text("1\n"));
    cr_assert_lt(scripted_count(s, ""), 30, "%u requests in 1.5 s", scripted_count(s, ""));
    scripted_stop(s);
}

E2E(bad, no_storm_of_empty_long_polls)
{
    storm("long-poll", NOTHING, 0);
}

E2E(bad, no_storm_of_empty_pages)
{
    storm("long-poll", "HTTP/1.1 200 OK\r\n" JSON AT("o1") "Content-Length: 2\r\n\r\n[]", 0);
}

E2E(bad, no_storm_of_event_streams_that_say_nothing_new)
{
    storm("sse", SSE_HEAD CONTROL "{\"streamNextOffset\":\"o1\",\"upToDate\":true}\n\n", 0);
    storm("auto", SSE_HEAD CONTROL "{\"streamNextOffset\":\"o1\",\"upToDate\":true}\n\n", 0);
}

/* Catching up, and no answer that is up to date or has data. */
static void play_standstill(void *ctx, struct exchange *x)
{
    (void)ctx;
    answer(x, "200 OK", JSON AT("o1"), "[]");
}

E2E(bad, no_storm_of_catching_up)
{
    struct scripted *s = scripted_start(play_standstill, NULL);
    struct e2e_process *p = dstream_run("read", "-f", "--max-time", "1500ms", scripted_url(s));
    e2e_status(p, 0);
    e2e_says(p, "asking it less often");
    cr_assert_lt(scripted_count(s, ""), 30, "%u requests in 1.5 s", scripted_count(s, ""));
    scripted_stop(s);
}
