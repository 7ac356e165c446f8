/* SPDX-License-Identifier: Apache-2.0 */
/* Servers that are in order, but do things in ways that ours and the reference server do not. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <string.h>

#define JSON   "Content-Type: application/json\r\n"
#define BINARY "Content-Type: application/octet-stream\r\n"
#define AT(o)  "Stream-Next-Offset: " o "\r\n"
#define UTD    "Stream-Up-To-Date: true\r\n"
#define CLOSED "Stream-Closed: true\r\n"
#define EVENTS "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

/* What to answer to the first, the second, ... request; behind the last one, that again. */
struct played {
    const char *const *answers;
    size_t n;
    bool bytewise; /* in pieces of one byte */
    bool keep;     /* the connection is kept, since all answers have a length */
};

static void play(void *ctx, struct exchange *x)
{
    const struct played *p = ctx;
    const char *text = p->answers[x->k < p->n ? x->k : p->n - 1];
    bool sent = true;
    for (const char *c = text; p->bytewise && *c && sent; c++)
        sent = say_bytes(x, c, 1);
    if (!p->bytewise)
        say(x, text);
    x->last |= !p->keep;
}

#define PLAYED(...)                                                                                \
    {                                                                                              \
        .answers = (const char *const[]){__VA_ARGS__},                                             \
        .n = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)                           \
    }

/* Follows what is played to the end, by one request an answer. */
static struct scripted *follow(struct played *p, const char *mode, const char *want)
{
    struct scripted *s = scripted_start(play, p);
    e2e_limits("backoff_base=1,short_base=1,short_max=2");
    struct e2e_process *c =
        dstream_run("read", "--follow", "--live", mode, e2e_url_at(scripted_url(s), "s"));
    e2e_status(c, 0);
    e2e_same(mode, c->out_data, e2e_text(want));
    cr_assert_eq(scripted_count(s, ""), p->n, "%s", scripted_log(s));
    return s;
}

static void plays(struct played p, const char *mode, const char *want)
{
    scripted_stop(follow(&p, mode, want));
    p.bytewise = true;
    scripted_stop(follow(&p, mode, want));
}

/* --- HTTP ------------------------------------------------------------------------------------- */

E2E(odd, http_1_0_without_a_length)
{
    plays((struct played)PLAYED("HTTP/1.0 200 OK\r\n" JSON AT("a") UTD "\r\n[1]",
                                "HTTP/1.0 200 OK\r\n" JSON AT("b") CLOSED "\r\n[2]"),
          "long-poll", "1\n2\n");
}

E2E(odd, chunks_with_extensions_and_trailers)
{
    plays((struct played)PLAYED(
              "HTTP/1.1 200 OK\r\n" JSON AT("a") UTD
              "Transfer-Encoding: chunked\r\n\r\n"
              "1;x=y\r\n[\r\n001\r\n1\r\n1\r\n]\r\n0\r\nX-Trailer: Stream-Closed\r\n\r\n",
              "HTTP/1.1 200 OK\r\n" JSON AT("b") CLOSED "Transfer-Encoding: Chunked\r\n\r\n"
                                                        "3\r\n[2]\r\n0\r\n\r\n"),
          "long-poll", "1\n2\n");
}

E2E(odd, names_and_values_in_any_case)
{
    plays((struct played)PLAYED(
              "HTTP/1.1 200 OK\r\ncontent-type:Application/JSON; charset=utf-8\r\n"
              "STREAM-NEXT-OFFSET:a\r\nstream-up-to-date:True\r\ncontent-length:3\r\n\r\n[1]",
              "HTTP/1.1 200 OK\r\ncontent-type: application/json \r\nstream-next-offset: b \r\n"
              "stream-closed:TRUE\r\ncontent-length: 3\r\n\r\n[2]"),
          "long-poll", "1\n2\n");
}

E2E(odd, answers_before_the_answer)
{
    plays((struct played)PLAYED("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
                                "Stream-Closed: true\r\n\r\nHTTP/1.1 200 OK\r\n" JSON AT("a") UTD
                                "Content-Length: 3\r\n\r\n[1]",
                                "HTTP/1.1 204 No Content\r\n" AT("a") CLOSED "\r\n"),
          "long-poll", "1\n");
}

/* 204 where others send an empty page. */
E2E(odd, an_empty_answer_without_a_body)
{
    plays((struct played)PLAYED("HTTP/1.1 200 OK\r\n" BINARY AT("a") "Content-Length: 1\r\n\r\n1",
                                "HTTP/1.1 204 No Content\r\n" AT("a") UTD "\r\n",
                                "HTTP/1.1 200 OK\r\n" BINARY AT("b") CLOSED
                                "Content-Length: 1\r\n\r\n2"),
          "long-poll", "12");
}

E2E(odd, white_space_around_messages)
{
    plays((struct played)PLAYED("HTTP/1.1 200 OK\r\n" JSON AT("a") UTD
                                "Content-Length: 27\r\n\r\n \r\n[ { \"a\" :\n1 }\t,\r\n[ ] ] \n",
                                "HTTP/1.1 200 OK\r\n" JSON AT("b") CLOSED
                                "Content-Length: 3\r\n\r\n[2]"),
          "long-poll", "{ \"a\" :1 }\n[ ]\n2\n");
}

/* A connection that can be kept is. */
E2E(odd, one_connection_for_many_pages)
{
    struct played p =
        PLAYED("HTTP/1.1 200 OK\r\n" JSON AT("a") "Content-Length: 3\r\n\r\n[1]",
               "HTTP/1.1 200 OK\r\n" JSON AT("b") "Content-Length: 3\r\n\r\n[2]",
               "HTTP/1.1 200 OK\r\n" JSON AT("c") UTD "Content-Length: 3\r\n\r\n[3]",
               "HTTP/1.1 204 No Content\r\n" AT("c") UTD "\r\n",
               "HTTP/1.1 200 OK\r\n" JSON AT("d") CLOSED "Content-Length: 3\r\n\r\n[4]");
    p.keep = true;
    struct scripted *s = follow(&p, "long-poll", "1\n2\n3\n4\n");
    cr_assert_eq(scripted_connections(s), 1);
    scripted_stop(s);
}

/* --- requests --------------------------------------------------------------------------------- */

/* The user's own parameters stay, sorted in with ours; an offset is any token. */
E2E(odd, parameters)
{
    struct played p =
        PLAYED("HTTP/1.1 200 OK\r\n" JSON AT("a+b%20c;\xc3\xa9") UTD
               "Stream-Cursor: c&1\r\nContent-Length: 3\r\n\r\n[1]",
               "HTTP/1.1 204 No Content\r\n" AT("a+b%20c;\xc3\xa9") UTD "Stream-Cursor: c2\r\n\r\n",
               "HTTP/1.1 204 No Content\r\n" AT("a+b%20c;\xc3\xa9") UTD "\r\n",
               "HTTP/1.1 204 No Content\r\n" AT("a+b%20c;\xc3\xa9") CLOSED "\r\n");
    struct scripted *s = scripted_start(play, &p);
    e2e_status(dstream_run("read", "-f", "--live", "long-poll",
                           e2e_printf("%s/s?z=1&key=a%%2Fb&a#part", scripted_url(s))),
               0);
    const char *offset = "offset=a%2Bb%2520c%3B%C3%A9";
    const char *const want[] = {
        "GET /s?a&key=a%2Fb&offset=-1&z=1 HTTP",
        e2e_printf("GET /s?a&cursor=c%%261&key=a%%2Fb&live=long-poll&%s&z=1 HTTP", offset),
        e2e_printf("GET /s?a&cursor=c2&key=a%%2Fb&live=long-poll&%s&z=1 HTTP", offset),
    };
    for (size_t i = 0; i < 3; i++)
        cr_assert(strstr(scripted_log(s), want[i]), "no %s in %s", want[i], scripted_log(s));
    /* Where none came with it, the last cursor goes on. */
    cr_assert_eq(scripted_count(s, "cursor=c2"), 2, "%s", scripted_log(s));
    const char *const reserved[] = {"offset", "live", "cursor"};
    for (size_t i = 0; i < 3; i++) {
        struct e2e_process *c =
            dstream_run("read", e2e_printf("%s/s?%s=1", scripted_url(s), reserved[i]));
        e2e_status(c, 2);
        e2e_says(c, reserved[i]);
    }
    cr_assert_eq(scripted_count(s, ""), 4);
    scripted_stop(s);
}

/* --- event streams ---------------------------------------------------------------------------- */

#define FIRST "HTTP/1.1 200 OK\r\n" JSON AT("a") UTD "Content-Length: 3\r\n\r\n[1]"
#define END   "event: control\ndata: {\"streamNextOffset\":\"z\",\"streamClosed\":true}\n\n"

E2E(odd, event_streams_as_the_rules_allow_them)
{
    static const char *const streams[] = {
        /* Line ends. */
        "event: data\r\ndata: [2]\r\n\r\nevent: data\rdata: [3]\r\revent: data\ndata:[4]\n\n" END,
        /* A byte order mark, comments, fields that mean nothing, names without a value. */
        "\xEF\xBB\xBF: hello\nid: 7\nretry: 1\nfoo: bar\nfoo\n\nevent: data\n: in between\n"
        "data: [2]\nid\n\n:\n\nevent: data\ndata: [3,4]\n\n" END,
        /* The name behind its data; data over several lines. */
        "data: [2,\ndata: 3\nevent: data\ndata: ,4]\n\n" END,
        /* Events of other names, also with data that would be wrong. */
        "event: ping\ndata: {\n\ndata: x\n\nevent: data\ndata: [2]\n\nevent: control2\ndata: {\n\n"
        "event: data\ndata: [3]\n\nevent: data\ndata: [4]\n\n" END,
        /* A control event whose fields we do not know; its data over two lines. */
        "event: data\ndata: [2]\n\nevent: control\ndata: {\"x\":[{}],\"streamNextOffset\":\ndata: "
        "\"b\",\"streamCursor\":null,\"upToDate\":false}\n\nevent: data\ndata: [3,4]\n\n" END,
        /* Empty arrays are no data and no end; nothing behind the end is read. */
        "event: data\ndata: []\n\nevent: control\ndata: {\"streamNextOffset\":\"a\"}\n\n"
        "event: data\ndata: [2,3,4]\n\nevent: data\ndata: []\n\n" END "event: data\ndata: {\n\n",
    };
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        plays((struct played)PLAYED(FIRST, e2e_printf(EVENTS "\r\n%s", streams[i])), "sse",
              "1\n2\n3\n4\n");
}

E2E(odd, base64_over_lines_and_events)
{
    plays((struct played)PLAYED("HTTP/1.1 200 OK\r\n" BINARY AT("a") UTD
                                "Content-Length: 1\r\n\r\n1",
                                EVENTS "STREAM-SSE-DATA-ENCODING: Base64\r\n\r\nevent: data\n"
                                       "data: Mg\ndata: ==\n\nevent: data\ndata:\n\n"
                                       "event: data\ndata: MzQ=\n\n" END),
          "sse", "1234");
}

/* The position does not move before there is data: each request asks from it. */
static void stays_at_a(struct played p, const char *mode)
{
    struct scripted *s = follow(&p, mode, "1\n2\n");
    cr_assert_eq(scripted_count(s, "offset=a"), p.n - 1, "%s", scripted_log(s));
    scripted_stop(s);
}

#define DATA "HTTP/1.1 200 OK\r\n" JSON AT("z") CLOSED "Content-Length: 3\r\n\r\n[2]"

/* A new tail is named before its data has come, and the answer ends between the two. */
E2E(odd, a_tail_that_is_named_before_its_data)
{
    const char *const named[] = {"\"b\",\"upToDate\":true", "\"b\"",
                                 "\"b\"}\n\nevent: control\ndata: {\"streamNextOffset\":\"b\""};
    for (size_t i = 0; i < 3; i++)
        stays_at_a((struct played)PLAYED(
                       FIRST,
                       e2e_printf(EVENTS "\r\nevent: control\ndata: {\"streamNextOffset\":%s}\n\n",
                                  named[i]),
                       EVENTS "\r\nevent: data\ndata: [2]\n\n" END),
                   "sse");
    stays_at_a((struct played)PLAYED(FIRST, "HTTP/1.1 204 No Content\r\n" AT("b") UTD "\r\n", DATA),
               "long-poll");
}

/* The same, where being up to date is news. */
E2E(odd, a_tail_that_is_named_before_its_data_behind_other_data)
{
    struct played p = PLAYED(FIRST,
                             EVENTS "\r\nevent: data\ndata: [2]\n\nevent: control\ndata: "
                                    "{\"streamNextOffset\":\"b\"}\n\nevent: control\ndata: "
                                    "{\"streamNextOffset\":\"c\",\"upToDate\":true}\n\n",
                             EVENTS "\r\nevent: data\ndata: [3]\n\n" END);
    struct scripted *s = follow(&p, "sse", "1\n2\n3\n");
    cr_assert_eq(scripted_count(s, "offset=b"), 1, "%s", scripted_log(s));
    scripted_stop(s);
}

/* The end is told with a position beyond ours: what lies between is read first. */
E2E(odd, an_end_beyond_what_was_read)
{
    stays_at_a((struct played)PLAYED(FIRST, EVENTS "\r\n" END, DATA), "sse");
    stays_at_a(
        (struct played)PLAYED(FIRST, "HTTP/1.1 204 No Content\r\n" AT("z") CLOSED "\r\n", DATA),
        "long-poll");
}

/* --- many ------------------------------------------------------------------------------------- */

E2E_BOTH(odd, many_streams_are_followed_at_once)
{
    enum { MANY = 40 };
    const char *args[MANY + 4] = {"tail", "-vv", "--live", "sse"};
    for (size_t i = 0; i < MANY; i++)
        e2e_create(e2e_url(e2e_printf("s%zu", i)), TYPE_JSON);
    const char **all = e2e_alloc((MANY + 5) * sizeof *all);
    memcpy(all, args, 4 * sizeof *all);
    for (size_t i = 0; i < MANY; i++)
        all[4 + i] = e2e_url(e2e_printf("s%zu", i));
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(all)});
    reading_until_said(p, ": 200", 2 * (size_t)MANY);
    for (size_t i = 0; i < MANY; i++)
        e2e_append(all[4 + i], TYPE_JSON, e2e_text(e2e_printf("%zu", i)));
    for (size_t i = 0; i < MANY; i++)
        e2e_close(all[4 + i]);
    e2e_status(p, 0);
    size_t n = 0;
    for (size_t i = 0; i < MANY; i++) {
        const char *line = e2e_printf("%s\t%zu\n", all[4 + i], i);
        cr_assert(strstr(p->out_data.p, line), "no line %s", line);
        n += strlen(line);
    }
    cr_assert_eq(p->out_data.n, n);
}
