/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that costs next to nothing: each answer lies ready in memory. It is what both sides of a
 * comparison read from, so that the difference is theirs.
 *
 *   source MIB          serves on a free port of 127.0.0.1, which it prints; ends with its stdin
 *
 *   /bytes, /json       the stream in pages of 16 MiB, by plain GETs; offset N is page N
 *   /sse-json           one SSE answer of events of ten messages, a chunk each, then the end
 *   /sse-bytes          the same with events of 3 KiB in base64
 *
 * Each stream is MIB long as it is on the wire.
 */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE ((size_t)16 * 1024 * 1024)
#define LATE 64 /* bytes of a page's end that may be taken by what closes it */

static char *bytes, *json; /* a page each */
static size_t pages;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint32_t draw(void)
{
    static uint32_t x = 2463534242;
    x ^= x << 13;
    x ^= x >> 17;
    return x ^= x << 5;
}

static int message(char *out, size_t size)
{
    return snprintf(out, size,
                    "{\"id\":%u,\"at\":\"2026-01-01T00:00:00.%03uZ\",\"kind\":\"update\","
                    "\"value\":%u.%u,\"note\":\"the quick brown fox\"}",
                    draw(), draw() % 1000, draw() % 100000, draw() % 100);
}

static void fill(void)
{
    bytes = malloc(PAGE);
    json = malloc(PAGE);
    if (!bytes || !json)
        fail("malloc");
    for (size_t i = 0; i + 4 <= PAGE; i += 4)
        memcpy(bytes + i, &(uint32_t){draw()}, 4);
    size_t n = 0;
    char m[256];
    for (json[n++] = '['; n + sizeof m + LATE < PAGE; json[n++] = ',') {
        int len = message(m, sizeof m);
        memcpy(json + n, m, (size_t)len);
        n += (size_t)len;
    }
    json[n - 1] = ' ';
    memset(json + n, ' ', PAGE - n);
    memcpy(json + PAGE - 3, ",0]", 3);
}

static bool put(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool put_text(int fd, const char *s)
{
    return put(fd, s, strlen(s));
}

/* --- pages ------------------------------------------------------------------------------------ */

static bool serve_page(int fd, const char *body, const char *type, size_t at)
{
    char head[512];
    bool last = at + 1 >= pages;
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
             "Stream-Next-Offset: %08zu\r\n%s\r\n",
             type, at < pages ? PAGE : 0, at < pages ? at + 1 : at,
             last ? "Stream-Up-To-Date: true\r\nStream-Closed: true\r\n" : "");
    return put_text(fd, head) && (at >= pages || put(fd, body, PAGE));
}

/* A reader asks where the stream ends now. */
static bool serve_tail(int fd, const char *path)
{
    char head[256];
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nContent-Type: application/%s\r\nContent-Length: 0\r\n"
             "Stream-Next-Offset: %08zu\r\n\r\n",
             strncmp(path, "json", 4) == 0 ? "json" : "octet-stream", pages);
    return put_text(fd, head);
}

/* --- events ----------------------------------------------------------------------------------- */

static size_t data_json(char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "event: data\ndata: [");
    for (int i = 0; i < 10; i++) {
        n += (size_t)message(out + n, size - n);
        out[n++] = i < 9 ? ',' : ']';
    }
    return n;
}

static size_t data_bytes(char *out, size_t size)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = (size_t)snprintf(out, size, "event: data\ndata: ");
    for (int i = 0; i < 4096; i++)
        out[n++] = digit[draw() % 64];
    return n;
}

/* Chunks for about a page, each with a data event and the control event that follows it. They are
 * sent again and again, with only the round changed in their offsets, which must grow. */
struct events {
    char *chunks;
    size_t len, count;
    size_t *round; /* where each one's offset has its number of the round */
};

static struct events json_events, bytes_events;

#define ROUND 4 /* digits */

static size_t event(char *out, size_t size, bool in_json, size_t at, size_t *round)
{
    char body[8192], head[32];
    size_t n = in_json ? data_json(body, sizeof body) : data_bytes(body, sizeof body);
    n += (size_t)snprintf(body + n, sizeof body - n,
                          "\n\nevent: control\ndata: {\"streamNextOffset\":\"");
    *round = n;
    n += (size_t)snprintf(body + n, sizeof body - n,
                          "0000%06zu\",\"streamCursor\":\"1\",\"upToDate\":true}\n\n", at);
    snprintf(head, sizeof head, "%zx\r\n", n);
    *round += strlen(head);
    return (size_t)snprintf(out, size, "%s%s\r\n", head, body);
}

static void make_events(struct events *e, bool in_json)
{
    size_t room = PAGE + 16384;
    e->chunks = malloc(room);
    e->round = calloc(PAGE / 512, sizeof *e->round);
    if (!e->chunks || !e->round)
        fail("malloc");
    for (; e->len < PAGE && e->count < PAGE / 512; e->count++) {
        size_t *round = &e->round[e->count];
        size_t n = event(e->chunks + e->len, room - e->len, in_json, e->count, round);
        *round += e->len;
        e->len += n;
    }
}

static bool serve_events(int fd, struct events *e, const char *more)
{
    char end[256];
    if (!put_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                      "Transfer-Encoding: chunked\r\n") ||
        !put_text(fd, more))
        return false;
    for (size_t round = 0; round < pages; round++) {
        char digits[32];
        snprintf(digits, sizeof digits, "%0*zu", ROUND, round);
        for (size_t i = 0; i < e->count; i++)
            memcpy(e->chunks + e->round[i], digits, ROUND);
        if (!put(fd, e->chunks, e->len))
            return false;
    }
    snprintf(end, sizeof end,
             "4c\r\nevent: control\ndata: {\"streamNextOffset\":\"%0*zu%06zu\","
             "\"streamClosed\":true}\n\n\r\n0\r\n\r\n",
             ROUND, pages - 1, e->count - 1);
    return put_text(fd, end);
}

/* --- requests --------------------------------------------------------------------------------- */

static bool read_head(int fd, char *buf, size_t size)
{
    size_t n = 0;
    while (n + 1 < size) {
        ssize_t got = recv(fd, buf + n, size - n - 1, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        buf[n] = '\0';
        if (strstr(buf, "\r\n\r\n"))
            return true;
    }
    return false;
}

static bool answer(int fd, const char *request)
{
    const char *offset = strstr(request, "offset=");
    size_t at = offset && offset[7] != '-' ? (size_t)strtoul(offset + 7, NULL, 10) : 0;
    bool live = strstr(request, "live=sse") != NULL;
    if (strncmp(request, "HEAD /", 6) == 0)
        return serve_tail(fd, request + 6);
    if (strncmp(request, "GET /bytes", 10) == 0)
        return serve_page(fd, bytes, "application/octet-stream", at);
    if (strncmp(request, "GET /json", 9) == 0)
        return serve_page(fd, json, "application/json", at);
    bool in_json = strncmp(request, "GET /sse-json", 13) == 0;
    if (live)
        return serve_events(fd, in_json ? &json_events : &bytes_events,
                            in_json ? "\r\n" : "stream-sse-data-encoding: base64\r\n\r\n");
    /* Nothing is there yet: what comes, comes live. */
    char head[256];
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nContent-Type: application/%s\r\nContent-Length: %d\r\n"
             "Stream-Next-Offset: 0000000000\r\nStream-Up-To-Date: true\r\n\r\n%s",
             in_json ? "json" : "octet-stream", in_json ? 2 : 0, in_json ? "[]" : "");
    return put_text(fd, head);
}

static void serve(int fd)
{
    char request[8192];
    while (read_head(fd, request, sizeof request) && answer(fd, request))
        ;
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t mib = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 256;
    pages = mib * 1024 * 1024 / PAGE;
    signal(SIGCHLD, SIG_IGN);
    fill();
    make_events(&json_events, true);
    make_events(&bytes_events, false);
    if (l < 0 || bind(l, (struct sockaddr *)&a, n) < 0 || listen(l, 16) < 0 ||
        getsockname(l, (struct sockaddr *)&a, &n) < 0)
        fail("listen");
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        struct pollfd p[2] = {{.fd = l, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 || p[1].revents)
            return 0;
        int fd = accept(l, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            close(l);
            serve(fd);
            _exit(0);
        }
        if (fd >= 0)
            close(fd);
    }
}
