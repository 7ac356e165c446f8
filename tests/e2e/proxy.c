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

#define HEAD_MAX  65536
#define KNOWN_MAX ((size_t)65536)

/* What the server answered last to a request. */
struct known {
    struct known *next;
    const char *request; /* its first line */
    struct e2e_bytes answer;
};

struct proxy {
    struct listener *listener;
    struct sockaddr_in server;
    const char *match;
    proxy_planner plan;
    void *ctx;
    pthread_mutex_t lock; /* guards what follows */
    unsigned matched;
    unsigned befell[PROXY_HOWS];
    struct known *known;
    bool early_plain; /* a plain request was answered early */
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
    struct proxy_plan plan = {.how = PROXY_WHOLE};
    size_t n = strcspn(head, "\r\n");
    pthread_mutex_lock(&p->lock);
    note(p, head, n);
    const char *found = strstr(head, p->match);
    if (found && found < head + n)
        plan = p->plan(p->ctx, p->matched++);
    pthread_mutex_unlock(&p->lock);
    return plan;
}

const char *proxy_name(enum proxy_how how)
{
    static const char *const name[PROXY_HOWS] = {"whole", "clean", "break", "reset",
                                                 "stall", "lost",  "mute",  "pause",
                                                 "drip",  "stale", "early"};
    return name[how];
}

static void befell(struct proxy *p, enum proxy_how how)
{
    pthread_mutex_lock(&p->lock);
    p->befell[how]++;
    pthread_mutex_unlock(&p->lock);
}

/* --- answers that were given before ----------------------------------------------------------- */

static struct known *find(struct proxy *p, const char *request)
{
    size_t n = strcspn(request, "\r");
    struct known *k = p->known;
    while (k && (strlen(k->request) != n || memcmp(k->request, request, n) != 0))
        k = k->next;
    return k;
}

static void remember(struct proxy *p, const char *request, struct e2e_bytes answer)
{
    pthread_mutex_lock(&p->lock);
    struct known *k = find(p, request);
    if (!k) {
        k = e2e_alloc(sizeof *k);
        k->request = e2e_printf("%.*s", (int)strcspn(request, "\r"), request);
        k->next = p->known;
        p->known = k;
    }
    k->answer = answer;
    pthread_mutex_unlock(&p->lock);
}

static struct e2e_bytes stale(struct proxy *p, const char *request)
{
    pthread_mutex_lock(&p->lock);
    const struct known *k = find(p, request);
    struct e2e_bytes answer = k ? k->answer : (struct e2e_bytes){0};
    pthread_mutex_unlock(&p->lock);
    return answer;
}

/* --- one answer ------------------------------------------------------------------------------- */

enum framing { FRAMED_LENGTH, FRAMED_CHUNKS, FRAMED_CLOSE };
/* Where a chunked body stands. */
enum chunk { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER, CHUNK_DONE };

struct answer {
    struct proxy_plan plan;
    struct e2e_bytes seen; /* the beginning of what the server said */
    enum framing framing;
    size_t left;   /* of the body, or of the chunk */
    size_t passed; /* bytes of the body so far */
    enum chunk chunk;
    size_t line; /* length of a trailer's line so far */
};

static void frame(struct answer *a, const char *head, bool no_body)
{
    size_t n;
    const char *coding = listener_field(head, "Transfer-Encoding", &n),
               *length = listener_field(head, "Content-Length", &n);
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
    if (a->plan.how == PROXY_DRIP)
        most = 1;
    else if (a->plan.how != PROXY_WHOLE && most > a->plan.at - a->passed)
        most = a->plan.at - a->passed;
    if (a->plan.most > 0 && most > a->plan.most - a->passed)
        most = a->plan.most - a->passed;
    a->passed += most;
    if (a->framing != FRAMED_CLOSE)
        a->left -= most;
    if (a->framing == FRAMED_CHUNKS && a->left == 0)
        a->chunk = CHUNK_END;
    return most;
}

static void wait_ms(int client, int ms)
{
    struct pollfd gone = {.fd = client, .events = POLLRDHUP};
    poll(&gone, 1, ms);
}

/* Does what is planned for the place that the body has come to. False: nothing more is to pass. */
static bool here(struct answer *a, int client)
{
    struct proxy_plan *plan = &a->plan;
    if (plan->most > 0 && a->passed >= plan->most)
        return false;
    if (plan->how == PROXY_WHOLE)
        return true;
    if (plan->how == PROXY_DRIP)
        wait_ms(client, a->passed % 16 == 0);
    if (a->passed < plan->at)
        return true;
    if (plan->how != PROXY_DRIP && plan->how != PROXY_PAUSE)
        return false;
    if (plan->how == PROXY_PAUSE)
        wait_ms(client, 50);
    plan->how = PROXY_WHOLE;
    return true;
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
        if (!here(a, client))
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

static void see(struct answer *a, const char *p, size_t n)
{
    e2e_add(&a->seen, p, n < KNOWN_MAX - a->seen.n ? n : KNOWN_MAX - a->seen.n);
}

/* Relays one answer. True when the connection can go on with another request. */
static bool relay(struct proxy *p, const char *request, struct proxy_plan plan, int server,
                  int client)
{
    static _Thread_local char head[HEAD_MAX], buf[65536];
    struct answer a = {.plan = plan};
    bool ends = plan.how == PROXY_CLEAN || plan.how == PROXY_BREAK || plan.how == PROXY_RESET;
    do {
        if (!listener_head(server, head, sizeof head))
            return false;
    } while (strncmp(head + strcspn(head, " "), " 1", 2) == 0); /* 1xx */
    frame(&a, head, strncmp(request, "HEAD ", 5) == 0);
    see(&a, head, strlen(head));
    if (!send_head(client, &a, head))
        return false;
    bool open = here(&a, client);
    while (open && !over(&a)) {
        ssize_t n = receive(server, client, buf, sizeof buf);
        if (n > 0)
            see(&a, buf, (size_t)n);
        open = n > 0 && pass(&a, client, buf, (size_t)n);
    }
    remember(p, request, a.seen);
    if (plan.how == PROXY_RESET && a.passed >= plan.at)
        listener_reset(client);
    if (plan.how == PROXY_STALL && a.passed >= plan.at)
        listener_linger(client);
    return open && !ends && a.framing != FRAMED_CLOSE;
}

/* --- connections ------------------------------------------------------------------------------ */

static bool send_body(int client, int server, const char *head)
{
    size_t n;
    const char *length = listener_field(head, "Content-Length", &n);
    size_t left = length ? strtoul(length, NULL, 10) : 0;
    char buf[65536];
    while (left > 0) {
        ssize_t got = recv(client, buf, left < sizeof buf ? left : sizeof buf, 0);
        if (got <= 0 || !listener_send(server, buf, (size_t)got))
            return false;
        left -= (size_t)got;
    }
    return true;
}

/* Sends a head to the server; -1 where it cannot be reached. */
static int ask(const struct proxy *p, const char *head)
{
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0)
        return -1;
    if (connect(server, (const struct sockaddr *)&p->server, sizeof p->server) == 0 &&
        listener_send(server, head, strlen(head)))
        return server;
    close(server);
    return -1;
}

/* --- answers that come before their data ------------------------------------------------------ */

/* The answer to a HEAD of what is asked for. */
static bool look(const struct proxy *p, const char *request, char *head, size_t size)
{
    const char *path = request + strcspn(request, " ") + 1;
    int server = ask(p, e2e_printf("HEAD %.*s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                                   (int)strcspn(path, "? "), path));
    bool came = server >= 0 && listener_head(server, head, size);
    if (server >= 0)
        close(server);
    return came && atoi(head + strcspn(head, " ")) == 200;
}

static const char *early_answer(const char *request, const char *head)
{
    size_t n, t, c;
    const char *next = listener_field(head, "Stream-Next-Offset", &n);
    const char *type = listener_field(head, "Content-Type", &t);
    const char *closed = listener_field(head, "Stream-Closed", &c);
    if (!next || !type)
        return NULL;
    bool json = strncmp(type, "application/json", 16) == 0, text = strncmp(type, "text/", 5) == 0;
    if (strstr(request, "live=sse"))
        return e2e_printf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%s"
                          "Connection: close\r\n\r\nevent: control\n"
                          "data: {\"streamNextOffset\":\"%.*s\",\"upToDate\":true%s}\n\n",
                          json || text ? "" : "Stream-SSE-Data-Encoding: base64\r\n", (int)n, next,
                          closed ? ",\"streamClosed\":true" : "");
    bool poll = strstr(request, "live=long-poll") != NULL;
    const char *body = json && !poll ? "[]" : "";
    return e2e_printf("HTTP/1.1 %s\r\nContent-Type: %.*s\r\nStream-Next-Offset: %.*s\r\n"
                      "Stream-Up-To-Date: true\r\n%sConnection: close\r\n%s\r\n%s",
                      poll ? "204 No Content" : "200 OK", (int)t, type, (int)n, next,
                      closed ? "Stream-Closed: true\r\n" : "",
                      poll ? "" : e2e_printf("Content-Length: %zu\r\n", strlen(body)), body);
}

static struct e2e_bytes early(struct proxy *p, const char *request)
{
    char head[HEAD_MAX];
    bool plain = !strstr(request, "live=");
    /* Nothing lies before the beginning: there it would be the answer of an empty stream. */
    if (plain && (strstr(request, "offset=-1") || p->early_plain))
        return (struct e2e_bytes){0};
    p->early_plain |= plain;
    const char *answer = look(p, request, head, sizeof head) ? early_answer(request, head) : NULL;
    return answer ? e2e_text(answer) : (struct e2e_bytes){0};
}

/* --- requests --------------------------------------------------------------------------------- */

/* True when the connection can go on with another request. */
static bool pass_on(struct proxy *p, const char *head, struct proxy_plan plan, int client)
{
    int server = ask(p, head);
    bool go_on = server >= 0 && send_body(client, server, head);
    if (plan.how == PROXY_LOST) {
        listener_reset(client);
        go_on = false;
    } else if (plan.how == PROXY_MUTE) {
        listener_linger(client);
        go_on = false;
    } else if (go_on) {
        go_on = relay(p, head, plan, server, client);
    }
    if (server >= 0)
        close(server);
    return go_on;
}

static bool answer_one(struct proxy *p, const char *head, struct proxy_plan plan, int client)
{
    struct e2e_bytes made_up = {0};
    if (plan.how == PROXY_STALE)
        made_up = stale(p, head);
    else if (plan.how == PROXY_EARLY)
        made_up = early(p, head);
    if (made_up.n == 0 && (plan.how == PROXY_STALE || plan.how == PROXY_EARLY))
        plan.how = PROXY_WHOLE;
    befell(p, plan.how);
    if (made_up.n == 0)
        return pass_on(p, head, plan, client);
    listener_send(client, made_up.p, made_up.n);
    return false;
}

static void serve(void *ctx, int client)
{
    char head[HEAD_MAX];
    while (listener_head(client, head, sizeof head) &&
           answer_one(ctx, head, planned(ctx, head), client))
        ;
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

unsigned proxy_befell(struct proxy *p, enum proxy_how how)
{
    pthread_mutex_lock(&p->lock);
    unsigned n = p->befell[how];
    pthread_mutex_unlock(&p->lock);
    return n;
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
