/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request at a time on each connection, each forwarded on a connection of its own. The answer's
 * framing is followed, so that a plan can count the bytes of the body.
 */
#include "config.h"

#include "tests/e2e/proxy.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 65536

struct proxy {
    struct listener *listener;
    struct sockaddr_in server;
    const char *match;
    proxy_planner plan;
    void *ctx;
    pthread_mutex_t lock; /* guards what follows */
    unsigned matched;
    char *log;
    size_t log_len, log_cap;
};

/* --- the log ---------------------------------------------------------------------------------- */

static void note(struct proxy *p, const char *line, size_t n)
{
    if (p->log_len + n + 2 > p->log_cap) {
        p->log_cap = (p->log_len + n + 2) * 2;
        p->log = realloc(p->log, p->log_cap);
        if (!p->log)
            abort();
    }
    memcpy(p->log + p->log_len, line, n);
    p->log_len += n;
    p->log[p->log_len++] = '\n';
    p->log[p->log_len] = '\0';
}

/* Takes a request down and says what happens to its answer. */
static struct proxy_plan planned(struct proxy *p, const char *head)
{
    struct proxy_plan plan = {PROXY_WHOLE, 0};
    size_t n = strcspn(head, "\r\n");
    pthread_mutex_lock(&p->lock);
    note(p, head, n);
    const char *found = strstr(head, p->match);
    if (found && found < head + n)
        plan = p->plan(p->ctx, p->matched++);
    pthread_mutex_unlock(&p->lock);
    return plan;
}

/* --- one answer ------------------------------------------------------------------------------- */

enum framing { FRAMED_LENGTH, FRAMED_CHUNKS, FRAMED_CLOSE };
/* Where a chunked body stands. */
enum chunk { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER, CHUNK_DONE };

struct answer {
    struct proxy_plan plan;
    enum framing framing;
    size_t left;   /* of the body, or of the chunk */
    size_t passed; /* bytes of the body so far */
    enum chunk chunk;
    size_t line; /* length of a trailer's line so far */
};

static const char *field(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = head; (line = strstr(line, "\r\n")); line += 2) {
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':')
            return line + 2 + n + 1 + strspn(line + 2 + n + 1, " ");
    }
    return NULL;
}

static void frame(struct answer *a, const char *head, bool no_body)
{
    const char *coding = field(head, "Transfer-Encoding"), *length = field(head, "Content-Length");
    int status = atoi(head + strcspn(head, " "));
    a->framing = FRAMED_LENGTH;
    if (no_body || status == 204 || status == 304)
        return;
    if (coding && strncasecmp(coding, "chunked", 7) == 0)
        a->framing = FRAMED_CHUNKS;
    else if (length)
        a->left = strtoul(length, NULL, 10);
    else
        a->framing = FRAMED_CLOSE;
}

/* Sends the head, for PROXY_CLEAN without what frames the body, so that its end is the
 * connection's.
 */
static bool send_head(int client, const struct answer *a, const char *head)
{
    if (a->plan.how != PROXY_CLEAN)
        return listener_send(client, head, strlen(head));
    for (const char *line = head; strncmp(line, "\r\n", 2) != 0;) {
        size_t n = (size_t)(strstr(line, "\r\n") + 2 - line);
        bool drop = strncasecmp(line, "Transfer-Encoding:", 18) == 0 ||
                    strncasecmp(line, "Content-Length:", 15) == 0 ||
                    strncasecmp(line, "Connection:", 11) == 0;
        if (!drop && !listener_send(client, line, n))
            return false;
        line += n;
    }
    return listener_send(client, "Connection: close\r\n\r\n", 21);
}

static bool over(const struct answer *a)
{
    return (a->framing == FRAMED_LENGTH && a->left == 0) ||
           (a->framing == FRAMED_CHUNKS && a->chunk == CHUNK_DONE);
}

/* Takes one byte of a chunked body's framing. */
static void framing_byte(struct answer *a, char c)
{
    if (a->chunk == CHUNK_SIZE) {
        if (c == '\n')
            a->chunk = a->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        else if (c != '\r')
            a->left = a->left * 16 + (size_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    } else if (a->chunk == CHUNK_END) {
        if (c == '\n')
            a->chunk = CHUNK_SIZE;
    } else if (c == '\n') {
        a->chunk = a->line == 0 ? CHUNK_DONE : a->chunk;
        a->line = 0;
    } else if (c != '\r') {
        a->line++;
    }
}

/* How many of the `n` bytes at `p` belong together: framing (*payload false) or body. Body is never
 * more than the plan lets pass. */
static size_t piece(struct answer *a, const char *p, size_t n, bool *payload)
{
    size_t most = n;
    *payload = a->framing != FRAMED_CHUNKS || a->chunk == CHUNK_DATA;
    if (!*payload) {
        framing_byte(a, *p);
        return 1;
    }
    if (a->framing != FRAMED_CLOSE && most > a->left)
        most = a->left;
    if (a->plan.how != PROXY_WHOLE && most > a->plan.at - a->passed)
        most = a->plan.at - a->passed;
    a->passed += most;
    if (a->framing != FRAMED_CLOSE)
        a->left -= most;
    if (a->framing == FRAMED_CHUNKS && a->left == 0)
        a->chunk = CHUNK_END;
    return most;
}

static bool cut_here(const struct answer *a)
{
    return a->plan.how != PROXY_WHOLE && a->passed >= a->plan.at;
}

/* Passes on what came. False where the client has gone or the plan ends it. */
static bool pass(struct answer *a, int client, const char *p, size_t n)
{
    while (n > 0 && !over(a)) {
        bool payload;
        size_t k = piece(a, p, n, &payload);
        if ((payload || a->plan.how != PROXY_CLEAN) && !listener_send(client, p, k))
            return false;
        p += k;
        n -= k;
        if (cut_here(a))
            return false;
    }
    return true;
}

/* Waits for the server; not above 0 once the client hangs up, the proxy stops, or the server has
 * ended. */
static ssize_t receive(int server, int client, char *p, size_t size)
{
    struct pollfd fds[2] = {{.fd = server, .events = POLLIN}, {.fd = client, .events = POLLRDHUP}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    if (fds[1].revents)
        return -1;
    return recv(server, p, size, 0);
}

/* Relays one answer. True when the connection can go on with another request. */
static bool relay(struct proxy_plan plan, int server, int client, bool no_body)
{
    static _Thread_local char head[HEAD_MAX], buf[65536];
    struct answer a = {.plan = plan};
    do {
        if (!listener_head(server, head, sizeof head))
            return false;
    } while (strncmp(head + strcspn(head, " "), " 1", 2) == 0); /* 1xx */
    frame(&a, head, no_body);
    if (!send_head(client, &a, head))
        return false;
    bool open = !cut_here(&a);
    while (open && !over(&a)) {
        ssize_t n = receive(server, client, buf, sizeof buf);
        open = n > 0 && pass(&a, client, buf, (size_t)n);
    }
    if (plan.how == PROXY_RESET && cut_here(&a))
        listener_reset(client);
    return open && plan.how == PROXY_WHOLE && a.framing != FRAMED_CLOSE;
}

/* --- connections ------------------------------------------------------------------------------ */

static bool send_body(int client, int server, const char *head)
{
    const char *length = field(head, "Content-Length");
    size_t left = length ? strtoul(length, NULL, 10) : 0;
    char buf[65536];
    while (left > 0) {
        ssize_t n = recv(client, buf, left < sizeof buf ? left : sizeof buf, 0);
        if (n <= 0 || !listener_send(server, buf, (size_t)n))
            return false;
        left -= (size_t)n;
    }
    return true;
}

static void serve(void *ctx, int client)
{
    struct proxy *p = ctx;
    char head[HEAD_MAX];
    bool go_on = true;
    while (go_on && listener_head(client, head, sizeof head)) {
        struct proxy_plan plan = planned(p, head);
        int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        go_on = server >= 0 &&
                connect(server, (struct sockaddr *)&p->server, sizeof p->server) == 0 &&
                listener_send(server, head, strlen(head)) && send_body(client, server, head) &&
                relay(plan, server, client, strncmp(head, "HEAD ", 5) == 0);
        if (server >= 0)
            close(server);
    }
}

struct proxy *proxy_start(const char *server, const char *match, proxy_planner plan, void *ctx)
{
    struct proxy *p = e2e_alloc(sizeof *p);
    int port = 0;
    if (sscanf(server, "http://127.0.0.1:%d", &port) != 1)
        cr_assert_fail("a proxy to %s", server);
    p->server.sin_family = AF_INET;
    p->server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->server.sin_port = htons((in_port_t)port);
    p->match = match;
    p->plan = plan;
    p->ctx = ctx;
    pthread_mutex_init(&p->lock, NULL);
    note(p, "", 0);
    p->listener = listener_start(serve, p);
    return p;
}

const char *proxy_url(const struct proxy *p)
{
    return listener_url(p->listener);
}

const char *proxy_log(struct proxy *p)
{
    pthread_mutex_lock(&p->lock);
    char *copy = e2e_printf("%s", p->log + 1);
    pthread_mutex_unlock(&p->lock);
    return copy;
}

unsigned proxy_count(struct proxy *p, const char *match)
{
    unsigned n = 0;
    const char *log = proxy_log(p);
    for (const char *line = log; *line; line += strcspn(line, "\n") + 1) {
        const char *found = strstr(line, match);
        n += found && found < line + strcspn(line, "\n");
    }
    return n;
}

struct awaited {
    struct proxy *p;
    const char *match;
    unsigned n;
};

static bool came(void *ctx)
{
    struct awaited *a = ctx;
    return proxy_count(a->p, a->match) >= a->n;
}

void proxy_await(struct proxy *p, const char *match, unsigned n)
{
    struct awaited a = {p, match, n};
    e2e_wait_for(came, &a, e2e_printf("%u requests with %s", n, match));
}

void proxy_stop(struct proxy *p)
{
    listener_stop(p->listener);
    pthread_mutex_destroy(&p->lock);
    free(p->log);
}
