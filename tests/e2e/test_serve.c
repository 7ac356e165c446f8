/* SPDX-License-Identifier: Apache-2.0 */
/* dstream serve as a process and over real connections. What its answers are, the unit tests hold
 * as tables. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BINARY   "application/octet-stream"
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* --- raw connections -------------------------------------------------------------------------- */

static unsigned port_of(const char *base)
{
    return (unsigned)strtoul(strrchr(base, ':') + 1, NULL, 10);
}

static int dial(const char *base)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(base))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0);
    return fd;
}

static void say(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0) /* the server may answer and close before all was sent */
            return;
        p += sent;
        n -= (size_t)sent;
    }
}

static int get(const char *base, const char *target)
{
    int fd = dial(base);
    char *head = e2e_printf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    say(fd, head, strlen(head));
    return fd;
}

/* Reads until `text` has come, or NULL: until the end. */
static struct e2e_bytes hear(int fd, const char *text)
{
    struct e2e_bytes b = {0};
    char piece[65536];
    int64_t until = e2e_now() + E2E_MS;
    e2e_add(&b, "", 0);
    while (!text || !strstr(b.p, text)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - e2e_now();
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            cr_assert_fail("nothing more came behind: %s", b.p);
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0 && text)
            cr_assert_fail("the end came before \"%s\": %s", text, b.p);
        if (n <= 0)
            break;
        e2e_add(&b, piece, (size_t)n);
    }
    return b;
}

static void begins(struct e2e_bytes b, const char *with)
{
    cr_assert(strncmp(b.p, with, strlen(with)) == 0, "%.200s does not begin with %s", b.p, with);
}

static struct e2e_process *start(const char **base, const char *const *args)
{
    struct e2e_process *p;
    *base = e2e_serve(&p, args);
    return p;
}

static struct e2e_answer put(const char *url, const char *type, struct e2e_bytes body)
{
    const char *const headers[] = {e2e_printf("Content-Type: %s", type), NULL};
    struct e2e_answer a = e2e_http("PUT", url, headers, body);
    cr_assert_eq(a.status, 201, "%s: %ld", url, a.status);
    return a;
}

/* --- the process ------------------------------------------------------------------------------ */

E2E(serve, its_first_line_is_its_url)
{
    const char *base;
    start(&base, NULL);
    cr_assert(strncmp(base, "http://127.0.0.1:", 17) == 0, "%s", base);
    cr_assert_neq(port_of(base), 0);
    cr_assert_eq(e2e_http("GET", e2e_url_at(base, "s"), NULL, (struct e2e_bytes){0}).status, 404);
}

/* Those that wait are answered, and their connections end as they should. */
static void ends_with(int sig)
{
    const char *base;
    struct e2e_process *p = start(&base, (const char *const[]){"--poll-time", "100s", NULL});
    e2e_create(e2e_url_at(base, "s"), "text/plain");
    int sse = get(base, "/v1/stream/s?offset=now&live=sse");
    hear(sse, "upToDate");
    int poll = get(base, "/v1/stream/s?offset=now&live=long-poll");
    int idle = dial(base);
    int probe = get(base, "/v1/stream/s");
    hear(probe, "\r\n\r\n"); /* so the poll before it is waiting */
    e2e_kill(p, sig);
    e2e_status(p, 128 + sig);
    begins(hear(poll, NULL), "HTTP/1.1 204 ");
    cr_assert_str_eq(hear(sse, NULL).p, "0\r\n\r\n");
    close(idle);
    e2e_same("messages", p->err_data, e2e_text(""));
}

E2E(serve, it_dies_of_a_signal_and_says_goodbye)
{
    ends_with(SIGTERM);
    ends_with(SIGINT);
    ends_with(SIGHUP);
}

E2E(serve, a_port_can_be_taken_again_at_once)
{
    const char *base;
    struct e2e_process *p = start(&base, NULL);
    e2e_create(e2e_url_at(base, "s"), "text/plain");
    int live = get(base, "/v1/stream/s?offset=now&live=sse");
    hear(live, "upToDate");
    e2e_kill(p, SIGKILL);
    e2e_status(p, 128 + SIGKILL);
    char *at = e2e_printf("127.0.0.1:%u", port_of(base));
    const char *again;
    start(&again, (const char *const[]){"--listen", at, NULL});
    cr_assert_str_eq(again, base);
    close(live);
}

E2E(serve, addresses_that_it_cannot_listen_on)
{
    const char *base;
    start(&base, NULL);
    struct e2e_process *p =
        dstream_run("serve", "--listen", e2e_printf("127.0.0.1:%u", port_of(base)));
    e2e_status(p, 69);
    e2e_says(p, "in use");
    static const char *const bad[] = {"127.0.0.1", "127.0.0.1:", ":80",           "127.0.0.1:65536",
                                      "::1:80",    "[::1]",      "127.0.0.1:http"};
    for (size_t i = 0; i < COUNT(bad); i++)
        e2e_status(dstream_run("serve", "--listen", bad[i]), 2);
    e2e_status(dstream_run("serve", "there"), 2);
}

E2E(serve, a_public_address_is_warned_of)
{
    struct e2e_process *p = dstream_start("serve", "--listen", "0.0.0.0:0");
    e2e_until_err(p, "whoever can reach http://0.0.0.0:");
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
}

/* --- bytes ------------------------------------------------------------------------------------ */

E2E(serve, bytes_come_back_in_pages)
{
    const char *base;
    start(&base, (const char *const[]){"--page-size", "1000", NULL});
    char *url = e2e_url_at(base, "s");
    struct e2e_bytes all = {0};
    e2e_create(url, BINARY);
    for (size_t i = 0; i < 40; i++) {
        struct e2e_bytes b = e2e_random(1 + 97 * i, i);
        e2e_append(url, BINARY, b);
        e2e_add(&all, b.p, b.n);
    }
    struct e2e_answer first = e2e_http("GET", url, NULL, (struct e2e_bytes){0});
    cr_assert_eq(first.body.n, 1000);
    cr_assert(!first.up_to_date);
    e2e_same("the stream", e2e_get(url, "-1"), all);
}

E2E_EMBEDDED(serve, a_large_body_is_stored_and_sent)
{
    struct e2e_bytes big = e2e_random(20000000, 1);
    put(e2e_url("s"), BINARY, big);
    e2e_same("the stream", e2e_get(e2e_url("s"), "-1"), big);
}

E2E_EMBEDDED(serve, json_messages_keep_their_bytes)
{
    char *url = e2e_url("s");
    e2e_create(url, "application/json");
    e2e_append(url, "application/json",
               e2e_text(" [9007199254740993, 1e400,\n {\"a\":1.0,\"a\" : \"\\u2028\"} ,[ ]]"));
    e2e_append(url, "application/json", e2e_text("\"\xe2\x80\xa8\""));
    e2e_same("the messages", e2e_get(url, "-1"),
             e2e_text("[9007199254740993,1e400,{\"a\":1.0,\"a\" : \"\\u2028\"},[ ],"
                      "\"\xe2\x80\xa8\"]"));
}

E2E(serve, a_json_message_larger_than_a_page_goes_alone)
{
    const char *base;
    start(&base, (const char *const[]){"--page-size", "100000", NULL});
    char *url = e2e_url_at(base, "s");
    struct e2e_bytes big = e2e_text("\""), want = e2e_text("[");
    for (size_t i = 0; i < 300000; i++)
        e2e_add(&big, "x", 1);
    e2e_add(&big, "\"", 1);
    e2e_create(url, "application/json");
    e2e_append(url, "application/json", e2e_text("1"));
    char *before = e2e_append(url, "application/json", e2e_text("2"));
    e2e_append(url, "application/json", big);
    e2e_append(url, "application/json", e2e_text("3"));
    e2e_same("what is small", e2e_http("GET", url, NULL, (struct e2e_bytes){0}).body,
             e2e_text("[1,2]"));
    struct e2e_answer a =
        e2e_http("GET", e2e_printf("%s?offset=%s", url, before), NULL, (struct e2e_bytes){0});
    e2e_add(&want, big.p, big.n);
    e2e_add(&want, "]", 1);
    e2e_same("what is large", a.body, want);
    e2e_same("the rest", e2e_get(url, a.next), e2e_text("[3]"));
}

/* --- live ------------------------------------------------------------------------------------- */

E2E(serve, an_event_stream_goes_on_and_ends_in_time)
{
    const char *base;
    start(&base, (const char *const[]){"--sse-time", "2s", NULL});
    char *url = e2e_url_at(base, "s");
    e2e_create(url, "text/plain");
    int sse = get(base, "/v1/stream/s?offset=-1&live=sse");
    struct e2e_bytes head = hear(sse, "upToDate\":true}\n\n\r\n");
    begins(head, "HTTP/1.1 200 OK\r\n");
    cr_assert_not_null(strstr(head.p, "Content-Type: text/event-stream\r\n"));
    e2e_append(url, "text/plain", e2e_text(" a\n b"));
    hear(sse, "event: data\ndata:  a\ndata:  b\n\nevent: control\ndata:{");
    hear(sse, "0\r\n\r\n");
}

E2E_EMBEDDED(serve, an_event_stream_ends_with_its_stream)
{
    e2e_create(e2e_url("s"), "text/plain");
    int sse = get(e2e_base(), "/v1/stream/s?offset=now&live=sse");
    hear(sse, "upToDate");
    e2e_close(e2e_url("s"));
    struct e2e_bytes b = hear(sse, "0\r\n\r\n");
    cr_assert_not_null(strstr(b.p, "\"streamClosed\":true}\n\n"), "%s", b.p);
}

E2E(serve, a_long_poll_is_answered_by_what_happens)
{
    const char *base;
    start(&base, (const char *const[]){"--poll-time", "100s", NULL});
    char *url = e2e_url_at(base, "s");
    e2e_create(url, "text/plain");
    for (int i = 0; i < 3; i++) {
        int poll = get(base, "/v1/stream/s?offset=now&live=long-poll");
        hear(get(base, "/v1/stream/s"), "\r\n\r\n"); /* the poll is waiting */
        if (i == 0)
            e2e_append(url, "text/plain", e2e_text("hello"));
        else if (i == 1)
            e2e_close(url);
        else
            e2e_delete(url);
        struct e2e_bytes b = hear(poll, i == 0 ? "hello" : "\r\n\r\n");
        begins(b, i == 0 ? "HTTP/1.1 200 " : "HTTP/1.1 204 ");
        close(poll);
    }
}

/* How many sockets the process has. */
static size_t sockets(pid_t pid)
{
    char *path = e2e_printf("/proc/%d/fd", (int)pid), to[64];
    DIR *d = opendir(path);
    struct dirent *e;
    size_t n = 0;
    cr_assert_not_null(d);
    while ((e = readdir(d))) {
        ssize_t len = readlinkat(dirfd(d), e->d_name, to, sizeof to - 1);
        n += len > 7 && memcmp(to, "socket:", 7) == 0;
    }
    closedir(d);
    return n;
}

static bool one_socket(void *p)
{
    return sockets(((struct e2e_process *)p)->pid) == 1;
}

E2E(serve, who_hangs_up_while_waiting_is_let_go)
{
    const char *base;
    struct e2e_process *p =
        start(&base, (const char *const[]){"--poll-time", "100s", "--sse-time", "100s", NULL});
    e2e_create(e2e_url_at(base, "s"), BINARY);
    int fds[40];
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = get(base, i % 2 ? "/v1/stream/s?offset=now&live=long-poll"
                                 : "/v1/stream/s?offset=now&live=sse");
    for (size_t i = 0; i < COUNT(fds); i += 2)
        hear(fds[i], "upToDate");
    cr_assert_geq(sockets(p->pid), COUNT(fds));
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
    e2e_web_end(); /* and the connection of our own requests */
    e2e_web_begin(E2E_NONE);
    e2e_wait_for(one_socket, p, "the connections were let go");
}

static bool has_line(const struct e2e_process *p, const void *ctx)
{
    (void)ctx;
    return strchr(p->out_data.p, '\n') != NULL;
}

/* More than it has descriptors for: those beyond wait, and come in when others have gone. */
E2E(serve, clients_beyond_its_descriptors_wait)
{
    const char *const args[] = {"serve", "--listen", "127.0.0.1:0", NULL};
    struct e2e_process *p =
        e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .max_files = 100});
    e2e_until(p, has_line, NULL, "its URL came");
    const char *base = e2e_printf("%.*s", (int)strcspn(p->out_data.p, "\n"), p->out_data.p);
    int fds[150];
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = dial(base);
    int late = get(base, "/v1/stream/s");
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
    begins(hear(late, "\r\n\r\n"), "HTTP/1.1 404 ");
}

static size_t resident(pid_t pid)
{
    struct e2e_bytes b = e2e_read_file(e2e_printf("/proc/%d/statm", (int)pid));
    unsigned long size, pages = 0;
    cr_assert_eq(sscanf(b.p, "%lu %lu", &size, &pages), 2);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Clients that ask and do not read cost no more than a slice of an answer each. */
E2E(serve, slow_readers_cost_little)
{
    const char *base;
    struct e2e_process *p = start(&base, (const char *const[]){"--page-size", "64MiB", NULL});
    put(e2e_url_at(base, "s"), BINARY, e2e_random(64 << 20, 1));
    if (e2e_sanitized())
        cr_skip("memory under sanitizers says nothing");
    size_t before = resident(p->pid);
    for (int i = 0; i < 50; i++)
        hear(get(base, i % 2 ? "/v1/stream/s" : "/v1/stream/s?offset=-1&live=sse"), "\r\n\r\n");
    cr_assert_lt(resident(p->pid), before + (50 << 18), "%zu more", resident(p->pid) - before);
}

/* --- hostile clients -------------------------------------------------------------------------- */

static struct e2e_bytes repeated(const char *before, const char *part, size_t times,
                                 const char *after)
{
    struct e2e_bytes b = e2e_text(before);
    for (size_t i = 0; i < times; i++)
        e2e_add_text(&b, part);
    e2e_add_text(&b, after);
    return b;
}

E2E_EMBEDDED(serve, nonsense_does_no_harm)
{
    e2e_create(e2e_url("s"), "text/plain");
    const struct e2e_bytes row[] = {
        repeated("", "", 0, "\r\n\r\n\r\n"),
        repeated("GET", " ", 100, "\r\n\r\n"),
        repeated("", "\xff", 1000, "\r\n\r\n"),
        repeated("GET /", "a", 100000, " HTTP/1.1\r\nHost: h\r\n\r\n"),
        repeated("GET /", "%41", 2800, " HTTP/1.1\r\nHost: h\r\n\r\n"),
        repeated("GET / HTTP/1.1\r\nHost: h\r\nX: ", "x", 100000, "\r\n\r\n"),
        repeated("GET / HTTP/1.1\r\nHost: h\r\n", "A: b\r\n", 20000, "\r\n"),
        repeated("GET /%00 HTTP/1.1\r\nHost: h\r\n", "", 0, "\r\n"),
        repeated("GET / HTTP/9.9\r\nHost: h\r\n", "", 0, "\r\n"),
        repeated("POST /v1/stream/s HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n", "", 0, "\r\n"),
        repeated(
            "POST /v1/stream/s HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n", "",
            0, "\r\n"),
        repeated("POST /v1/stream/s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
                 "zz\r\n", 1, "\r\n"),
        repeated("GET /v1/stream/s HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", "", 0,
                 "hello"),
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        int fd = dial(e2e_base());
        say(fd, row[i].p, row[i].n);
        shutdown(fd, SHUT_WR);
        struct e2e_bytes b = hear(fd, NULL);
        cr_assert(b.n == 0 || strncmp(b.p, "HTTP/1.", 7) == 0, "%zu: %.100s", i, b.p);
        close(fd);
        struct e2e_answer a = e2e_http("GET", e2e_url("s"), NULL, (struct e2e_bytes){0});
        cr_assert_eq(a.status, 200, "after %zu", i);
        cr_assert_eq(a.body.n, 0, "after %zu", i);
    }
}

/* Half a request, then the end, at each of its bytes. */
E2E_EMBEDDED(serve, broken_off_requests_store_nothing)
{
    const char *whole = "POST /v1/stream/s HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
                        "Content-Length: 5\r\n\r\nhello";
    e2e_create(e2e_url("s"), "text/plain");
    for (size_t n = 0; n < strlen(whole); n++) {
        int fd = dial(e2e_base());
        say(fd, whole, n);
        close(fd);
    }
    int fd = dial(e2e_base());
    say(fd, whole, strlen(whole));
    hear(fd, "\r\n\r\n");
    e2e_same("the stream", e2e_get(e2e_url("s"), "-1"), e2e_text("hello"));
}

E2E_EMBEDDED(serve, bodies_and_targets_over_their_bounds)
{
    e2e_create(e2e_url("s"), BINARY);
    int fd = dial(e2e_base());
    const char *head = "POST /v1/stream/s HTTP/1.1\r\nHost: h\r\nContent-Type: " BINARY "\r\n"
                       "Content-Length: 268435457\r\nExpect: 100-continue\r\n\r\n";
    say(fd, head, strlen(head));
    begins(hear(fd, "\r\n\r\n"), "HTTP/1.1 413 ");
    struct e2e_bytes target = repeated("", "a", 9000, "");
    struct e2e_answer a = e2e_http("GET", e2e_url(target.p), NULL, (struct e2e_bytes){0});
    cr_assert_eq(a.status, 414);
    cr_assert_eq(e2e_http("GET", e2e_url("%zz"), NULL, (struct e2e_bytes){0}).status, 400);
    cr_assert_eq(e2e_get(e2e_url("s"), "-1").n, 0);
}

/* A chunked body does not say how long it is. */
E2E_EMBEDDED(serve, a_body_without_a_length_is_bounded)
{
    if (e2e_sanitized())
        cr_skip("257 MiB take too long");
    struct e2e_bytes mib = repeated("100000\r\n", "0123456789abcdef", 65536, "\r\n");
    const char *head = "POST /v1/stream/s HTTP/1.1\r\nHost: h\r\nContent-Type: " BINARY "\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n";
    int fd = dial(e2e_base());
    e2e_create(e2e_url("s"), BINARY);
    say(fd, head, strlen(head));
    for (size_t i = 0; i < 257; i++)
        say(fd, mib.p, mib.n);
    say(fd, "0\r\n\r\n", 5);
    begins(hear(fd, "\r\n\r\n"), "HTTP/1.1 413 ");
    cr_assert_eq(e2e_get(e2e_url("s"), "-1").n, 0);
}

/* --- beside the reference server -------------------------------------------------------------- */

/* One life of streams that both servers tell alike. */
E2E_BOTH(serve, answers_as_the_reference_server_does)
{
    static const struct {
        const char *method, *target, *header, *body;
        long status;
    } row[] = {
        {"GET", "s", NULL, NULL, 404},
        {"HEAD", "s", NULL, NULL, 404},
        {"DELETE", "s", NULL, NULL, 404},
        {"POST", "s", "Content-Type: application/json", "1", 404},
        {"POST", "s", "Content-Type: application/json", "", 400},
        {"POST", "s", "Stream-Closed: true", "", 404},
        {"PUT", "s", "Content-Type: application/json", NULL, 201},
        {"PUT", "s", "Content-Type: Application/JSON; charset=utf-8", NULL, 200},
        {"PUT", "s", "Content-Type: text/plain", NULL, 409},
        {"PUT", "s", "Stream-TTL: 5", NULL, 409},
        {"POST", "s", "Content-Type: application/json", "[1,2]", 204},
        {"POST", "s", "Content-Type: application/json", "[]", 400},
        {"POST", "s", "Content-Type: application/json", "[1", 400},
        {"POST", "s", "Content-Type: text/plain", "1", 409},
        {"POST", "s", "Content-Type:", "1", 400},
        {"GET", "s", NULL, NULL, 200},
        {"GET", "s?offset=-1", NULL, NULL, 200},
        {"GET", "s?offset=now", NULL, NULL, 200},
        {"GET", "s?offset=9999999999999999_9999999999999999", NULL, NULL, 200},
        {"GET", "s?offset=", NULL, NULL, 400},
        {"GET", "s?offset=x", NULL, NULL, 400},
        {"GET", "s?offset=-1&offset=-1", NULL, NULL, 400},
        {"GET", "s?live=long-poll", NULL, NULL, 400},
        {"GET", "s?live=sse", NULL, NULL, 400},
        {"GET", "s?live=other", NULL, NULL, 200},
        {"GET", "s?offset=now&live=long-poll", NULL, NULL, 204},
        {"PATCH", "s", NULL, NULL, 405},
        {"OPTIONS", "s", NULL, NULL, 204},
        {"PUT", "ttl", "Stream-TTL: 60", NULL, 201},
        {"PUT", "bad", "Stream-TTL: 060", NULL, 400},
        {"PUT", "bad", "Stream-Expires-At: never", NULL, 400},
        {"PUT", "bad", "Content-Type: application/json", NULL, 201},
        {"DELETE", "bad", NULL, NULL, 204},
        {"PUT", "a/b/c%20d", "Content-Type: text/plain", "x", 201},
        {"GET", "a/b/c%20d", NULL, NULL, 200},
        {"GET", "a/b", NULL, NULL, 404},
        {"POST", "s", "Stream-Closed: true", "", 204},
        {"POST", "s", "Stream-Closed: true", "", 204},
        {"POST", "s", "Content-Type: application/json", "1", 409},
        {"POST", "s", "Content-Type: text/plain", "1", 409},
        {"GET", "s?offset=now&live=long-poll", NULL, NULL, 204},
        {"PUT", "s", "Content-Type: application/json", NULL, 409},
        {"DELETE", "s", NULL, NULL, 204},
        {"GET", "s?offset=now&live=sse", NULL, NULL, 404},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        const char *const headers[] = {row[i].header, NULL};
        struct e2e_bytes body = row[i].body ? e2e_text(row[i].body) : (struct e2e_bytes){0};
        struct e2e_answer a = e2e_http(row[i].method, e2e_url(row[i].target), headers, body);
        cr_expect_eq(a.status, row[i].status, "%zu: %s %s: %ld: %s", i, row[i].method,
                     row[i].target, a.status, a.body.p);
    }
}
