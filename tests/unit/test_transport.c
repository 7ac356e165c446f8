/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tests/e2e/listener.h"
#include "tests/unit/asking.h"

#define MIB ((size_t)1024 * 1024)

TestSuite(transport, .init = ask_start, .fini = ask_end);

/* --- the answering side ----------------------------------------------------------------------- */

enum after { CLOSE, RESET, LINGER, KEEP };

/* What is answered to each request, and what was asked. */
struct script {
    const char *answer;
    size_t len; /* 0: a string */
    enum after after;
    size_t requests_each; /* KEEP: answered on one connection; the next one is read, then cut */
    atomic_int connections, requests;
    char asked[8192]; /* the last request's head */
    char body[256];   /* and its body */
};

static void read_body(struct script *s, int fd)
{
    const char *at = strstr(s->asked, "Content-Length: ");
    size_t n = at ? (size_t)strtoul(at + 16, NULL, 10) : 0, got = 0;
    while (got < n && got < sizeof s->body - 1) {
        ssize_t more = recv(fd, s->body + got, n - got, 0);
        if (more <= 0)
            break;
        got += (size_t)more;
    }
    s->body[got] = '\0';
}

static void serve(void *ctx, int fd)
{
    struct script *s = ctx;
    s->connections++;
    for (size_t i = 0; listener_head(fd, s->asked, sizeof s->asked); i++) {
        s->requests++;
        read_body(s, fd);
        if (s->after == KEEP && s->requests_each > 0 && i == s->requests_each)
            return;
        listener_send(fd, s->answer, s->len ? s->len : strlen(s->answer));
        if (s->after == RESET)
            listener_reset(fd);
        if (s->after == LINGER)
            listener_linger(fd);
        if (s->after != KEEP)
            return;
    }
}

static struct listener *server(struct script *s)
{
    return listener_start(serve, s);
}

static void get(struct call *c, struct script *s)
{
    struct listener *l = server(s);
    ask_run(c, ask_session, DS_GET, listener_url(l), NULL);
    listener_stop(l);
}

/* --- heads and bodies ------------------------------------------------------------------------- */

Test(transport, an_answer_has_a_head_a_body_and_an_end)
{
    struct script s = {.answer = "HTTP/1.1 200 OK\r\nContent-Type:  text/plain \r\n"
                                 "CONTENT-LENGTH: 5\r\n\r\nhello"};
    struct call c = {.heads = 0};
    get(&c, &s);
    cr_expect_eq(c.heads, 1);
    cr_expect_eq(c.status, 200);
    cr_expect_str_eq(c.type, "text/plain");
    cr_expect_eq(c.retry_after_ms, -1);
    cr_expect_str_eq(c.redirect, "");
    cr_expect_str_eq(ask_body_of(&c), "hello");
    cr_expect_eq(c.end, DS_END_COMPLETE);
    cr_expect(c.connected);
    ask_done(&c);
}

/* Answers that are whole, and what is seen of them. */
Test(transport, each_framing_of_http_has_its_end)
{
    static const struct {
        const char *answer;
        int status;
        const char *body, *type;
    } row[] = {
        {"HTTP/1.1 200 OK\r\n\r\nto the close", 200, "to the close", ""},
        {"HTTP/1.0 200 OK\r\n\r\nold", 200, "old", ""},
        {"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", 200, "x", ""},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", ""},
        {"HTTP/1.1 204 No Content\r\nContent-Type: a/b\r\n\r\n", 204, "", "a/b"},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, "", ""},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "", ""},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404, "no", ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\n\r\n",
         200, "abc0123456789", ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n0\r\nX-Trailer: 1\r\nContent-Type: evil\r\n\r\n",
         200, "abc", ""},
        {"HTTP/1.1 100 Continue\r\nContent-Type: a/b\r\n\r\n"
         "HTTP/1.1 103 Early Hints\r\nX-Trailer: 1\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
         200, "x", ""},
        {"HTTP/1.1 200 OK\r\nContent-Type: a/b;\r\n  c=d \r\n\te=f\r\nContent-Length: 1\r\n\r\nx",
         200, "x", "a/b; c=d e=f"},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", 200, "x",
         ""},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct script s = {.answer = row[i].answer};
        struct call c = {.heads = 0};
        get(&c, &s);
        cr_expect_eq(c.end, DS_END_COMPLETE, "row %zu: %s", i, c.detail);
        cr_expect_eq(c.heads, 1, "row %zu", i);
        cr_expect_eq(c.status, row[i].status, "row %zu", i);
        cr_expect_str_eq(c.type, row[i].type, "row %zu", i);
        cr_expect_str_eq(c.trailer, "", "row %zu", i);
        cr_expect_str_eq(ask_body_of(&c), row[i].body, "row %zu", i);
        ask_done(&c);
    }
}

/* Answers that are not whole, or not HTTP, and what has been delivered of them. */
Test(transport, what_is_not_whole_is_told_from_what_is)
{
    static const struct {
        const char *answer;
        enum after after;
        enum ds_end end;
        int heads;
        const char *body;
    } row[] = {
        {"", CLOSE, DS_END_CUT, 0, ""},
        {"", RESET, DS_END_CUT, 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Len", CLOSE, DS_END_CUT, 0, ""},
        {"HTTP/1.1 200 OK\r\n", CLOSE, DS_END_CUT, 0, ""},
        {"HTTP/1.1 100 Continue\r\n\r\n", CLOSE, DS_END_CUT, 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", CLOSE, DS_END_CUT, 1, "short"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", RESET, DS_END_CUT, 1, "short"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", CLOSE, DS_END_CUT,
         1, "short"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n", CLOSE,
         DS_END_CUT, 1, "short"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nxyz\r\n", LINGER,
         DS_END_CUT, 1, "short"},
        {"<html>this is no HTTP</html>", CLOSE, DS_END_CUT, 0, ""},
        {"HTTP/7.3 200 OK\r\n\r\n", CLOSE, DS_END_CUT, 0, ""},
        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", CLOSE, DS_END_CUT, 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", CLOSE,
         DS_END_PROTOCOL, 0, ""},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct script s = {.answer = row[i].answer, .after = row[i].after};
        struct call c = {.heads = 0};
        get(&c, &s);
        cr_expect_eq(c.end, row[i].end, "row %zu: %d %s", i, c.end, c.detail);
        cr_expect_eq(c.heads, row[i].heads, "row %zu", i);
        /* A reset may overtake what was sent before it. */
        cr_expect(strcmp(ask_body_of(&c), row[i].body) == 0 || row[i].after == RESET, "row %zu", i);
        cr_expect(c.connected, "row %zu", i);
        cr_expect_gt(strlen(c.detail), 0, "row %zu", i);
        ask_done(&c);
    }
}

Test(transport, nul_bytes_are_data_in_a_body_and_an_error_in_a_head)
{
    static const char body[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\0b";
    static const char head[] = "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 1\r\n\r\nx";
    struct script s = {.answer = body, .len = sizeof body - 1};
    struct call c = {.heads = 0};
    get(&c, &s);
    cr_expect_eq(c.end, DS_END_COMPLETE);
    cr_expect_eq(c.body.len, 3);
    cr_expect_eq(memcmp(c.body.data, "a\0b", 3), 0);
    ask_done(&c);
    struct script bad = {.answer = head, .len = sizeof head - 1};
    get(&c, &bad);
    cr_expect_eq(c.end, DS_END_CUT);
    cr_expect_eq(c.heads, 0);
    ask_done(&c);
}

Test(transport, retry_after_and_the_target_of_a_redirect_are_read)
{
    struct script s = {.answer = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nLocation: /x\r\n"
                                 "Content-Length: 0\r\n\r\n"};
    struct call c = {.heads = 0};
    get(&c, &s);
    cr_expect_eq(c.status, 503);
    cr_expect_eq(c.retry_after_ms, 7000);
    cr_expect_str_eq(c.redirect, "");
    ask_done(&c);

    struct script moved = {.answer = "HTTP/1.1 307 Moved\r\nLocation: ../b?c=d\r\n"
                                     "Content-Length: 0\r\n\r\n"};
    struct listener *l = server(&moved);
    char url[128], want[128];
    snprintf(url, sizeof url, "%s/x/y/z?q=1", listener_url(l));
    snprintf(want, sizeof want, "%s/x/b?c=d", listener_url(l));
    ask_run(&c, ask_session, DS_GET, url, NULL);
    cr_expect_eq(c.status, 307);
    cr_expect_str_eq(c.redirect, want);
    cr_expect_eq(moved.requests, 1, "nothing is followed");
    listener_stop(l);
    ask_done(&c);
}

Test(transport, a_head_over_its_cap_is_refused)
{
    static char big[300000];
    static const size_t sizes[] = {3000, 150000, 250000}; /* libcurl's own limits are in between */
    struct ds_session *small = ask_session_with((struct ds_transport_options){.max_head = 2000});
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int lines = 0; lines < 2; lines++) {
            strcpy(big, "HTTP/1.1 200 OK\r\nX: ");
            for (size_t at = strlen(big); at < sizes[i];) {
                const char *piece = lines && at % 500 < 10 ? "\r\nX-More: yes" : "xxxxxxxxxx";
                strcpy(big + at, piece);
                at += strlen(piece);
            }
            strcat(big, "\r\nContent-Length: 0\r\n\r\n");
            struct script s = {.answer = big};
            struct call c = {.heads = 0};
            struct listener *l = server(&s);
            ask_run(&c, small, DS_GET, listener_url(l), NULL);
            listener_stop(l);
            cr_expect_eq(c.end, DS_END_LIMIT, "%zu %d: %d %s", sizes[i], lines, c.end, c.detail);
            cr_expect_eq(c.heads, 0);
            ask_done(&c);
        }
    }
    ds_session_free(small);
}

static void serve_hints(void *ctx, int fd)
{
    static const char hint[] = "HTTP/1.1 103 Hints\r\nX: y\r\n\r\n";
    char head[4096];
    (void)ctx;
    if (listener_head(fd, head, sizeof head)) {
        while (listener_send(fd, hint, sizeof hint - 1))
            ;
    }
}

Test(transport, heads_without_end_are_refused)
{
    struct listener *l = listener_start(serve_hints, NULL);
    struct call c = {.heads = 0};
    ask_run(&c, ask_session, DS_GET, listener_url(l), NULL);
    cr_expect_eq(c.end, DS_END_LIMIT, "%s", c.detail);
    ask_done(&c);
    listener_stop(l);
}

/* --- requests --------------------------------------------------------------------------------- */

#define EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Test(transport, a_request_says_what_it_is_told_and_nothing_that_it_is_not)
{
    static const char *const own[] = {"Accept: text/event-stream", "X-Empty: "};
    static const char *const users[] = {"Authorization: Bearer t", "X-None:"};
    struct script s = {.answer = EMPTY};
    struct listener *l = server(&s);
    struct ds_session *mine =
        ask_session_with((struct ds_transport_options){.headers = users, .nheaders = 2});
    struct call c = {.heads = 0};
    char url[128], agent[64];
    snprintf(url, sizeof url, "%s/a%%20b?x=1&y=2", listener_url(l));
    snprintf(agent, sizeof agent, "\r\nUser-Agent: dstream/%s\r\n", dstream_version());
    struct ds_request req = {.method = DS_GET, .url = url, .headers = own, .nheaders = 2};
    req.send_user_headers = true;
    ask_launch(&c, mine, &req);
    ask_finish(&c);
    cr_expect_eq(strncmp(s.asked, "GET /a%20b?x=1&y=2 HTTP/1.1\r\n", 29), 0, "%s", s.asked);
    cr_expect_not_null(strstr(s.asked, agent));
    cr_expect_not_null(strstr(s.asked, "\r\nAccept: text/event-stream\r\n"));
    cr_expect_null(strstr(s.asked, "*/*"));
    cr_expect_not_null(strstr(s.asked, "\r\nX-Empty:\r\n"));
    cr_expect_not_null(strstr(s.asked, "\r\nX-None:\r\n"));
    cr_expect_not_null(strstr(s.asked, "\r\nAuthorization: Bearer t\r\n"));
    cr_expect_null(strcasestr(s.asked, "accept-encoding"));
    cr_expect_null(strcasestr(s.asked, "expect"));
    cr_expect_null(strcasestr(s.asked, "cookie"));
    ask_done(&c);

    req.send_user_headers = false;
    ask_launch(&c, mine, &req);
    ask_finish(&c);
    cr_expect_null(strstr(s.asked, "Authorization"));
    cr_expect_not_null(strstr(s.asked, "\r\nX-Empty:\r\n"));
    ask_done(&c);
    ds_session_free(mine);
    listener_stop(l);
}

Test(transport, each_method_sends_its_body_and_reads_its_answer)
{
    static const struct {
        enum ds_method method;
        const char *line, *body, *length;
    } row[] = {
        {DS_GET, "GET / HTTP/1.1\r\n", NULL, NULL},
        {DS_HEAD, "HEAD / HTTP/1.1\r\n", NULL, NULL},
        {DS_DELETE, "DELETE / HTTP/1.1\r\n", NULL, NULL},
        {DS_PUT, "PUT / HTTP/1.1\r\n", NULL, "\r\nContent-Length: 0\r\n"},
        {DS_PUT, "PUT / HTTP/1.1\r\n", "initial", "\r\nContent-Length: 7\r\n"},
        {DS_POST, "POST / HTTP/1.1\r\n", NULL, "\r\nContent-Length: 0\r\n"},
        {DS_POST, "POST / HTTP/1.1\r\n", "a body", "\r\nContent-Length: 6\r\n"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct script s = {.answer = "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nsome text"};
        struct listener *l = server(&s);
        struct call c = {.heads = 0};
        if (row[i].method == DS_HEAD)
            s.answer = "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n";
        ask_run(&c, ask_session, row[i].method, listener_url(l), row[i].body);
        listener_stop(l);
        cr_expect_eq(c.end, DS_END_COMPLETE, "row %zu: %s", i, c.detail);
        cr_expect_eq(c.status, 201, "row %zu", i);
        cr_expect_str_eq(ask_body_of(&c), row[i].method == DS_HEAD ? "" : "some text", "row %zu",
                         i);
        cr_expect_eq(strncmp(s.asked, row[i].line, strlen(row[i].line)), 0, "%s", s.asked);
        cr_expect_str_eq(s.body, row[i].body ? row[i].body : "", "row %zu", i);
        if (row[i].length)
            cr_expect_not_null(strstr(s.asked, row[i].length), "%s", s.asked);
        else
            cr_expect_null(strstr(s.asked, "Content-Length"), "%s", s.asked);
        cr_expect_null(strcasestr(s.asked, "content-type"), "%s", s.asked);
        cr_expect_null(strcasestr(s.asked, "transfer-encoding"), "%s", s.asked);
        ask_done(&c);
    }
}

struct sink {
    atomic_size_t got;
    size_t want;
    bool good, expect;
};

static void serve_upload(void *ctx, int fd)
{
    struct sink *s = ctx;
    char head[4096], piece[65536];
    if (!listener_head(fd, head, sizeof head))
        return;
    s->good = true;
    s->expect = strcasestr(head, "expect:") != NULL;
    while (s->got < s->want) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0)
            return;
        for (ssize_t i = 0; i < n; i++)
            s->good = s->good && piece[i] == (char)((s->got + (size_t)i) * 31 >> 3);
        s->got += (size_t)n;
    }
    listener_send(fd, EMPTY, strlen(EMPTY));
}

Test(transport, a_large_body_is_sent_without_being_asked_for)
{
    struct sink s = {.want = 5 * MIB + 1};
    struct listener *l = listener_start(serve_upload, &s);
    struct call c = {.heads = 0};
    char *body = ds_malloc(s.want);
    for (size_t i = 0; i < s.want; i++)
        body[i] = (char)(i * 31 >> 3);
    struct ds_request req = {
        .method = DS_POST, .url = listener_url(l), .body = body, .body_len = s.want};
    ask_launch(&c, ask_session, &req);
    ask_finish(&c);
    listener_stop(l);
    cr_expect_eq(c.end, DS_END_COMPLETE, "%s", c.detail);
    cr_expect_eq(s.got, s.want);
    cr_expect(s.good);
    cr_expect_not(s.expect);
    ds_free(body);
    ask_done(&c);
}

Test(transport, a_session_takes_only_headers_that_can_be_sent)
{
    static const char *const bad[] = {"X: 1\r\nY: 2", "no colon", "Stream-Seq: 1", "X: a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dstream_error err = {0};
        struct ds_transport_options o = {.headers = &bad[i], .nheaders = 1};
        struct ds_session *s = ask_session;
        cr_expect_eq(ds_session_new(&s, ds_loop_transport(ask_loop), &o, &err),
                     DSTREAM_ERR_ARGUMENT);
        cr_expect_null(s);
        cr_expect_gt(strlen(err.message), 0);
    }
}

/* --- connections ------------------------------------------------------------------------------ */

Test(transport, a_connection_is_used_again)
{
    struct script s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", .after = KEEP};
    struct listener *l = server(&s);
    static const enum ds_method method[] = {DS_GET, DS_POST, DS_PUT, DS_DELETE, DS_GET};
    for (size_t i = 0; i < sizeof method / sizeof *method; i++) {
        struct call c = {.heads = 0};
        ask_run(&c, ask_session, method[i], listener_url(l), method[i] == DS_POST ? "b" : NULL);
        cr_expect_eq(c.end, DS_END_COMPLETE);
        ask_done(&c);
    }
    cr_expect_eq(s.requests, 5);
    cr_expect_eq(s.connections, 1);
    listener_stop(l);
}

Test(transport, a_post_is_never_sent_twice)
{
    static const char *const body[] = {"a body", ""};
    for (size_t i = 0; i < 2; i++) {
        struct script s = {.answer = EMPTY, .after = KEEP, .requests_each = 1};
        struct listener *l = server(&s);
        struct call c = {.heads = 0};
        ask_run(&c, ask_session, DS_POST, listener_url(l), body[i]);
        cr_expect_eq(c.end, DS_END_COMPLETE);
        ask_done(&c);
        ask_run(&c, ask_session, DS_POST, listener_url(l), body[i]);
        cr_expect_eq(c.end, DS_END_CUT, "%d %s", c.end, c.detail);
        cr_expect(c.connected);
        cr_expect_eq(c.heads, 0);
        cr_expect_eq(s.requests, 2);
        listener_stop(l);
        ask_done(&c);
    }
}

Test(transport, a_get_on_a_connection_that_has_died_is_sent_on_a_new_one)
{
    struct script s = {.answer = EMPTY, .after = KEEP, .requests_each = 1};
    struct listener *l = server(&s);
    for (int i = 0; i < 2; i++) {
        struct call c = {.heads = 0};
        ask_run(&c, ask_session, DS_GET, listener_url(l), NULL);
        cr_expect_eq(c.end, DS_END_COMPLETE, "%s", c.detail);
        ask_done(&c);
    }
    cr_expect_eq(s.connections, 2);
    listener_stop(l);
}

/* A port of 127.0.0.1 that nobody listens on, or where nobody is let in. */
static int closed_port(struct sockaddr_in *a)
{
    socklen_t n = sizeof *a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)a, n), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)a, &n), 0);
    return fd;
}

Test(transport, a_refused_connection_is_told)
{
    struct sockaddr_in a;
    struct call c = {.heads = 0};
    char url[64];
    int fd = closed_port(&a);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    ask_run(&c, ask_session, DS_POST, url, "x");
    cr_expect_eq(c.end, DS_END_CONNECT);
    cr_expect_not(c.connected);
    cr_expect_not_null(strstr(c.detail, "refused"), "%s", c.detail);
    ask_done(&c);
    close(fd);
}

/* A listener whose queue is full: connections to it are neither made nor refused. */
struct full {
    int fd, waiting[8];
    char url[64];
};

static struct full full_new(void)
{
    struct full f;
    struct sockaddr_in a;
    f.fd = closed_port(&a);
    cr_assert_eq(listen(f.fd, 0), 0);
    for (size_t i = 0; i < 8; i++) {
        f.waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        cr_assert_geq(f.waiting[i], 0);
        (void)connect(f.waiting[i], (struct sockaddr *)&a, sizeof a);
    }
    snprintf(f.url, sizeof f.url, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    return f;
}

static void full_free(struct full *f)
{
    for (size_t i = 0; i < 8; i++)
        close(f->waiting[i]);
    close(f->fd);
}

Test(transport, connecting_has_a_time_limit)
{
    struct full f = full_new();
    struct ds_session *hasty = ask_session_with((struct ds_transport_options){.connect_ms = 50});
    struct call c = {.heads = 0};
    ask_run(&c, hasty, DS_GET, f.url, NULL);
    cr_expect_eq(c.end, DS_END_CONNECT, "%s", c.detail);
    cr_expect_not(c.connected);
    ds_session_free(hasty);
    ask_done(&c);
    full_free(&f);
}

Test(transport, a_name_that_cannot_be_resolved_is_told)
{
    struct call c = {.heads = 0};
    /* A label that is too long for any question to be asked about it. */
    ask_run(&c, ask_session, DS_GET,
            "http://"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test/",
            NULL);
    cr_expect_eq(c.end, DS_END_RESOLVE, "%d %s", c.end, c.detail);
    cr_expect_not(c.connected);
    ask_done(&c);
}

Test(transport, what_cannot_be_a_request_ends_for_good)
{
    static const char *const url[] = {"ftp://127.0.0.1/", "file:///etc/passwd", "http://",
                                      "nonsense:"};
    for (size_t i = 0; i < sizeof url / sizeof *url; i++) {
        struct call c = {.heads = 0};
        ask_run(&c, ask_session, DS_GET, url[i], NULL);
        cr_expect_eq(c.end, DS_END_BAD, "%s: %d %s", url[i], c.end, c.detail);
        cr_expect_not(c.connected);
        ask_done(&c);
    }
}

Test(transport, no_detail_holds_a_secret)
{
    static const char *const proxy[] = {"weird://user:secret@127.0.0.1:1", "user:sec ret@[",
                                        "http://user:secret@127.0.0.1:1"};
    for (size_t i = 0; i < sizeof proxy / sizeof *proxy; i++) {
        struct call c = {.heads = 0};
        setenv("http_proxy", proxy[i], 1);
        ask_run(&c, ask_session, DS_GET, "http://name:secret@stream.test/secret?token=secret",
                NULL);
        cr_expect_neq(c.end, DS_END_COMPLETE);
        cr_expect_null(strstr(c.detail, "sec"), "%s", c.detail);
        cr_expect_null(strchr(c.detail, '\n'));
        ask_done(&c);
    }
}

/* --- pausing ---------------------------------------------------------------------------------- */

/* Sends a body of `size` bytes that tell their place, and says when nobody takes any. */
struct flood {
    size_t size;
    bool chunked;
    enum after after;
    atomic_size_t sent;
    atomic_bool blocked, go;
};

static char at(size_t i)
{
    return (char)(i * 31 >> 3);
}

static void serve_flood(void *ctx, int fd)
{
    struct flood *f = ctx;
    char head[4096], piece[16384];
    int small = 65536;
    if (!listener_head(fd, head, sizeof head))
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    if (f->chunked)
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", f->size);
    listener_send(fd, head, strlen(head));
    while (f->sent < f->size) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (!f->blocked && poll(&p, 1, 300) == 0) {
            f->blocked = true;
            dstream_loop_wake(ask_loop);
        }
        size_t n = f->size - f->sent < sizeof piece ? f->size - f->sent : sizeof piece;
        if (f->chunked && n > 1000)
            n = n % 1000 + 1;
        for (size_t i = 0; i < n; i++)
            piece[i] = at(f->sent + i);
        snprintf(head, sizeof head, "%zx\r\n", n);
        if ((f->chunked && !listener_send(fd, head, strlen(head))) ||
            !listener_send(fd, piece, n) || (f->chunked && !listener_send(fd, "\r\n", 2)))
            return;
        f->sent += n;
    }
    if (f->chunked)
        listener_send(fd, "0\r\n\r\n", 5);
    if (f->after == LINGER)
        listener_linger(fd);
}

static void expect_flood(const struct call *c, size_t size)
{
    size_t wrong = 0;
    cr_assert_eq(c->body.len, size, "%zu of %zu", c->body.len, size);
    for (size_t i = 0; i < size; i++)
        wrong += c->body.data[i] != at(i);
    cr_expect_eq(wrong, 0);
}

static size_t resident(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%*u %zu", &pages), 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

Test(transport, a_pause_is_felt_by_the_server_and_costs_no_memory)
{
    struct flood f = {.size = 64 * MIB};
    struct listener *l = listener_start(serve_flood, &f);
    struct call c = {.pause_every = 1};
    struct ds_request req = {.method = DS_GET, .url = listener_url(l)};
    ask_launch(&c, ask_session, &req);
    while (!c.paused)
        ask_turn();
    size_t before = resident(), turns = 0;
    for (; !f.blocked; turns++)
        ask_turn();
    cr_expect_lt(turns, 100, "nothing is polled meanwhile");
    cr_expect_eq(c.pieces, 1);
    cr_expect_lt(c.body.len, MIB);
    cr_expect_lt(f.sent, 32 * MIB);
    cr_expect_lt(resident(), before + 4 * MIB);
    c.pause_every = 0;
    ask_finish(&c);
    cr_expect_eq(c.end, DS_END_COMPLETE, "%s", c.detail);
    expect_flood(&c, f.size);
    ask_done(&c);
    listener_stop(l);
}

Test(transport, pausing_at_every_piece_loses_and_doubles_nothing)
{
    for (int chunked = 0; chunked < 2; chunked++) {
        for (size_t every = 1; every < 4; every++) {
            struct flood f = {.size = 3 * MIB + 17, .chunked = chunked, .blocked = true};
            struct listener *l = listener_start(serve_flood, &f);
            struct call c = {.pause_every = every};
            ask_run(&c, ask_session, DS_GET, listener_url(l), NULL);
            cr_expect_eq(c.end, DS_END_COMPLETE, "%s", c.detail);
            expect_flood(&c, f.size);
            ask_done(&c);
            listener_stop(l);
        }
    }
}

Test(transport, an_end_waits_for_the_end_of_a_pause)
{
    static const struct {
        const char *answer;
        enum after after;
        enum ds_end end;
    } row[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", CLOSE, DS_END_COMPLETE},
        {"HTTP/1.1 200 OK\r\n\r\nhello", CLOSE, DS_END_COMPLETE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", CLOSE, DS_END_CUT},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", CLOSE,
         DS_END_COMPLETE},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
         CLOSE, DS_END_COMPLETE},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct script s = {.answer = row[i].answer, .after = row[i].after};
        struct listener *l = server(&s);
        struct call c = {.pause_every = 1};
        struct ds_request req = {.method = DS_GET, .url = listener_url(l)};
        ask_launch(&c, ask_session, &req);
        while (!c.paused)
            ask_turn();
        listener_stop(l); /* nothing more can come, and it may be known here */
        for (int turns = 0; turns < 20; turns++)
            cr_assert_eq(dstream_loop_turn(ask_loop, 1), DSTREAM_OK);
        cr_expect_eq(c.ends, 0, "row %zu", i);
        ask_finish(&c);
        cr_expect_eq(c.end, row[i].end, "row %zu: %s", i, c.detail);
        cr_expect_str_eq(ask_body_of(&c), "hello", "row %zu", i);
        ask_done(&c);
    }
}

/* --- cancelling ------------------------------------------------------------------------------- */

/* Turns until nothing is left that could call back. */
static void settle(struct call *c)
{
    int before = c->heads + (int)c->pieces + c->ends;
    for (int i = 0; i < 5; i++)
        cr_assert_eq(dstream_loop_turn(ask_loop, 2), DSTREAM_OK);
    cr_expect_eq(c->heads + (int)c->pieces + c->ends, before);
    cr_expect_eq(c->ends, 0);
    ds_buf_free(&c->body);
}

Test(transport, cancelling_before_anything_was_sent)
{
    struct script s = {.answer = EMPTY};
    struct listener *l = server(&s);
    struct call c = {.heads = 0};
    struct ds_request req = {.method = DS_GET, .url = listener_url(l)};
    ask_launch(&c, ask_session, &req);
    ask_cancel(&c);
    settle(&c);
    cr_expect_eq(s.connections, 0);
    listener_stop(l);
    ds_transfer_cancel(NULL);
}

Test(transport, cancelling_while_connecting)
{
    struct full f = full_new();
    struct call c = {.heads = 0};
    struct ds_request req = {.method = DS_GET, .url = f.url};
    ask_launch(&c, ask_session, &req);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(dstream_loop_turn(ask_loop, 2), DSTREAM_OK);
    ask_cancel(&c);
    settle(&c);
    full_free(&f);
}

Test(transport, cancelling_while_the_head_and_while_the_body_is_awaited)
{
    static const char *const answer[] = {"HTTP/1.1 200 OK\r\nX: y\r\n",
                                         "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"};
    for (int i = 0; i < 2; i++) {
        struct script s = {.answer = answer[i], .after = LINGER};
        struct listener *l = server(&s);
        struct call c = {.heads = 0};
        struct ds_request req = {.method = DS_GET, .url = listener_url(l)};
        ask_launch(&c, ask_session, &req);
        while (i == 0 ? s.requests == 0 : c.pieces == 0)
            cr_assert_eq(dstream_loop_turn(ask_loop, 1), DSTREAM_OK);
        ask_cancel(&c);
        /* The server lingers until the connection is closed: that it is seen by this returning. */
        settle(&c);
        listener_stop(l);
    }
}

Test(transport, cancelling_while_paused)
{
    for (int more = 0; more < 2; more++) {
        struct flood f = {.size = 64 * MIB};
        struct listener *l = listener_start(serve_flood, &f);
        struct call c = {.pause_every = 1};
        struct ds_request req = {.method = DS_GET, .url = listener_url(l)};
        ask_launch(&c, ask_session, &req);
        while (!c.paused || (more && !f.blocked))
            ask_turn();
        if (more)
            ask_resume(&c); /* asked for, but it has not happened yet */
        ask_cancel(&c);
        settle(&c);
        listener_stop(l);
        cr_expect_lt(f.sent, f.size);
    }
}

Test(transport, cancelling_what_has_ended_inside_a_pause)
{
    struct script s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"};
    struct listener *l = server(&s);
    struct call c = {.pause_every = 1};
    struct ds_request req = {.method = DS_GET, .url = listener_url(l)};
    ask_launch(&c, ask_session, &req);
    while (!c.paused)
        ask_turn();
    for (int i = 0; i < 5; i++)
        cr_assert_eq(dstream_loop_turn(ask_loop, 1), DSTREAM_OK);
    ask_cancel(&c);
    settle(&c);
    listener_stop(l);
}

/* Of several transfers, the first that is called back about something cancels all the others. */
enum { N = 8 };
static struct call many[N];
static int hit;

static void cancel_others(struct call *me)
{
    hit++;
    for (int i = 0; i < N; i++) {
        if (&many[i] != me && many[i].x)
            ask_cancel(&many[i]);
    }
}

static void head_cancels(void *ctx, const struct ds_head *h)
{
    ask_on_head(ctx, h);
    cancel_others(ctx);
}

static bool body_cancels(void *ctx, const char *p, size_t n)
{
    bool more = ask_on_body(ctx, p, n);
    cancel_others(ctx);
    return more;
}

static void end_cancels(struct call *c)
{
    cancel_others(c);
}

Test(transport, callbacks_may_cancel_other_transfers)
{
    struct script s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"};
    struct listener *l = server(&s);
    for (int where = 0; where < 3; where++) {
        struct ds_transfer_ops o = ask_ops;
        struct ds_request req = {.method = DS_GET, .url = listener_url(l)};
        if (where == 0)
            o.head = head_cancels;
        if (where == 1)
            o.body = body_cancels;
        hit = 0;
        for (int i = 0; i < N; i++) {
            many[i] = (struct call){.then = where == 2 ? end_cancels : NULL};
            ds_buf_init(&many[i].body, MIB);
            many[i].x = ds_transfer_start(ask_session, &req, &o, &many[i]);
        }
        int ended = 0;
        for (int turns = 0; turns < 20 || ended == 0; turns++) {
            cr_assert_eq(dstream_loop_turn(ask_loop, 1), DSTREAM_OK);
            ended = 0;
            for (int i = 0; i < N; i++)
                ended += many[i].ends;
        }
        cr_expect_eq(ended, 1, "%d", where);
        cr_expect_eq(hit, 1, "%d", where);
        for (int i = 0; i < N; i++)
            ds_buf_free(&many[i].body);
    }
    listener_stop(l);
}

static const char *next_url;
static struct call second;
static struct ds_session *first_session;

static void start_second(void *ctx, const struct ds_head *h)
{
    struct ds_request req = {.method = DS_GET, .url = next_url};
    ask_on_head(ctx, h);
    ask_launch(&second, ask_session, &req);
}

static void free_session(struct call *c)
{
    (void)c;
    ds_session_free(first_session);
    first_session = NULL;
}

Test(transport, a_callback_may_start_a_transfer_and_the_end_free_its_session)
{
    struct script s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"};
    struct listener *l = server(&s);
    struct call c = {.then = free_session};
    struct ds_transfer_ops o = ask_ops;
    o.head = start_second;
    next_url = listener_url(l);
    first_session = ask_session_with((struct ds_transport_options){.nheaders = 0});
    ds_buf_init(&c.body, MIB);
    struct ds_request req = {.method = DS_GET, .url = next_url};
    c.x = ds_transfer_start(first_session, &req, &o, &c);
    cr_assert_not_null(c.x);
    ask_finish(&c);
    ask_finish(&second);
    cr_expect_null(first_session);
    cr_expect_str_eq(ask_body_of(&second), "hello");
    ask_done(&c);
    ask_done(&second);
    listener_stop(l);
}

/* --- a resolver that does not answer ---------------------------------------------------------- */

static pthread_mutex_t resolver_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t resolver_cond = PTHREAD_COND_INITIALIZER;
static bool resolver_asked, resolver_free, resolver_left;

typedef int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Instead of the C library's. */
__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **res)
{
    if (!node || strcmp(node, "silent.test") != 0) {
        resolve real;
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(node, service, hints, res);
    }
    pthread_mutex_lock(&resolver_lock);
    resolver_asked = true;
    pthread_cond_broadcast(&resolver_cond);
    while (!resolver_free)
        pthread_cond_wait(&resolver_cond, &resolver_lock);
    resolver_left = true;
    pthread_cond_broadcast(&resolver_cond);
    pthread_mutex_unlock(&resolver_lock);
    return EAI_AGAIN;
}

Test(transport, cancelling_does_not_wait_for_the_resolver)
{
    struct call c = {.heads = 0};
    struct ds_request req = {.method = DS_GET, .url = "http://silent.test/"};
    ask_launch(&c, ask_session, &req);
    bool asked = false;
    while (!asked) {
        cr_assert_eq(dstream_loop_turn(ask_loop, 1), DSTREAM_OK);
        pthread_mutex_lock(&resolver_lock);
        asked = resolver_asked;
        pthread_mutex_unlock(&resolver_lock);
    }
    ask_cancel(&c); /* would never return, since nobody has freed the resolver */
    settle(&c);
    pthread_mutex_lock(&resolver_lock);
    resolver_free = true;
    pthread_cond_broadcast(&resolver_cond);
    while (!resolver_left)
        pthread_cond_wait(&resolver_cond, &resolver_lock);
    pthread_mutex_unlock(&resolver_lock);
}

Test(transport, resolving_counts_for_the_time_limit)
{
    struct ds_session *hasty = ask_session_with((struct ds_transport_options){.connect_ms = 30});
    struct call c = {.heads = 0};
    ask_run(&c, hasty, DS_GET, "http://silent.test/", NULL);
    cr_expect_eq(c.end, DS_END_RESOLVE, "%d %s", c.end, c.detail);
    cr_expect_not(c.connected);
    ask_done(&c);
    ds_session_free(hasty);
    pthread_mutex_lock(&resolver_lock);
    resolver_free = true;
    pthread_cond_broadcast(&resolver_cond);
    while (!resolver_left)
        pthread_cond_wait(&resolver_cond, &resolver_lock);
    pthread_mutex_unlock(&resolver_lock);
}

/* --- memory ----------------------------------------------------------------------------------- */

Test(transport, each_failing_allocation_is_told)
{
    static const char *const users[] = {"X-One: 1", "X-Two:"};
    struct script s = {.answer = "HTTP/1.1 302 Found\r\nLocation: /x\r\nX: 1\r\nContent-Length: 1"
                                 "\r\n\r\nx",
                       .after = KEEP};
    struct listener *l = server(&s);
    struct ds_request req = {.method = DS_GET, .url = listener_url(l), .send_user_headers = true};
    struct ds_transport_options o = {
        .headers = users, .nheaders = 2, .cacert = "/x", .connect_ms = -1, .max_head = 4096};
    int failed = 0;
    struct call first = {.heads = 0};
    ask_run(&first, ask_session, DS_GET, listener_url(l),
            NULL); /* the loop has all it needs from now on */
    ask_done(&first);
    for (long i = 0; i < 40; i++) {
        struct ds_session *mine = NULL;
        struct dstream_error err = {0};
        struct call c = {.heads = 0};
        ds_buf_init(&c.body, MIB);
        cr_assert_eq(ds_buf_reserve(&c.body, 4096), DSTREAM_OK);
        ds_alloc_fail_after(i);
        enum dstream_code rc = ds_session_new(&mine, ds_loop_transport(ask_loop), &o, &err);
        cr_assert_eq(mine == NULL, rc != DSTREAM_OK);
        c.x = mine ? ds_transfer_start(mine, &req, &ask_ops, &c) : NULL;
        if (c.x) {
            ask_finish(&c);
            cr_expect(c.end == DS_END_COMPLETE || c.end == DS_END_NOMEM, "%s", c.detail);
        }
        ds_alloc_fail_after(-1);
        failed += !c.ends || c.end == DS_END_NOMEM;
        ds_session_free(mine);
        ask_done(&c);
    }
    cr_expect_gt(failed, 5);
    cr_expect_lt(failed, 40);
    listener_stop(l);
}
