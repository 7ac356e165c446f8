/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each connection has a thread, and one to the server. A request is taken whole before anything
 * happens to it, and so is its answer.
 */
#include "config.h"

#include "tests/e2e/fault_proxy.h"
#include "tests/e2e/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX ((size_t)65536)
#define BODY_MAX ((size_t)1 << 30)

/* How often a request has come: a batch by its number, others by their first line. */
struct seen {
    uint64_t key; /* 0: a free place */
    unsigned times;
    unsigned in_row; /* how often it was hit since it last passed */
};

struct fault_proxy {
    struct listener *listener;
    struct sockaddr_in server;
    struct fault_plan plan;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t moved; /* a request has passed, or nothing is held any more */
    bool stopping, frozen;
    struct fault_counts counts;
    uint64_t passed; /* planned requests that the server has answered */
    unsigned held;   /* requests that may still go to the server */
    struct seen *seen;
    size_t nseen, seen_cap; /* the table's places: a power of two, at most half of them taken */
    uint64_t *epochs;       /* each with its producer, as a hash, in the order they first came */
    size_t nepochs;
    char *story;
    size_t story_len, story_cap;
};

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

/* --- draws ------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a ^ (b + UINT64_C(0x9E3779B97F4A7C15) + (a << 6) + (a >> 2)); /* splitmix64 */
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static uint64_t hash(const char *p, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
    return h | 1;
}

struct fault_plan fault_everything(uint64_t seed, unsigned rate)
{
    struct fault_plan plan = {.seed = seed};
    for (size_t f = FAULT_NONE + 1; f < FAULTS; f++)
        plan.rate[f] = rate;
    return plan;
}

uint64_t fault_seed(uint64_t seed)
{
    const char *given = getenv("DSTREAM_SEED");
    return given && *given ? strtoull(given, NULL, 10) : seed;
}

const char *fault_name(enum fault f)
{
    static const char *const name[FAULTS + 1] = {
        "none",      "lost request", "lost answer", "cut answer", "late request", "late answer",
        "straggler", "500",          "503",         "429",        "500 after",    "413"};
    return name[f];
}

static enum fault drawn(const struct fault_plan *plan, uint64_t draw)
{
    unsigned at = (unsigned)(draw % 1000);
    for (unsigned f = FAULT_NONE + 1; f < FAULTS; f++) {
        if (at < plan->rate[f])
            return (enum fault)f;
        at -= plan->rate[f];
    }
    return FAULT_NONE;
}

/* --- which request it is ---------------------------------------------------------------------- */

/* Epochs are drawn from a clock: what counts is the how manieth of the run it is. */
static size_t ordinal(struct fault_proxy *p, uint64_t epoch)
{
    for (size_t i = 0; i < p->nepochs; i++) {
        if (p->epochs[i] == epoch)
            return i;
    }
    p->epochs = must(realloc(p->epochs, (p->nepochs + 1) * sizeof *p->epochs));
    p->epochs[p->nepochs] = epoch;
    return p->nepochs++;
}

struct name {
    uint64_t key;
    char text[128]; /* for the story */
};

static struct name name_of(struct fault_proxy *p, const char *head)
{
    struct name n;
    size_t line = strcspn(head, "\r"), a, b, c;
    const char *id = listener_field(head, "Producer-Id", &a),
               *epoch = listener_field(head, "Producer-Epoch", &b),
               *seq = listener_field(head, "Producer-Seq", &c);
    if (id && epoch && seq) {
        size_t k = ordinal(p, mix(hash(id, a), hash(epoch, b)));
        n.key = mix(k, strtoull(seq, NULL, 10)) | 1;
        snprintf(n.text, sizeof n.text, "epoch %zu seq %.*s", k, (int)c, seq);
    } else {
        n.key = hash(head, line);
        snprintf(n.text, sizeof n.text, "%.*s", (int)line, head);
    }
    return n;
}

static struct seen *place(struct seen *table, size_t cap, uint64_t key)
{
    size_t i = (size_t)key & (cap - 1);
    while (table[i].key && table[i].key != key)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static struct seen *seen(struct fault_proxy *p, uint64_t key)
{
    if (2 * (p->nseen + 1) > p->seen_cap) {
        size_t cap = p->seen_cap > 0 ? 2 * p->seen_cap : 64;
        struct seen *bigger = must(calloc(cap, sizeof *bigger));
        for (size_t i = 0; i < p->seen_cap; i++) {
            if (p->seen[i].key)
                *place(bigger, cap, p->seen[i].key) = p->seen[i];
        }
        free(p->seen);
        p->seen = bigger;
        p->seen_cap = cap;
    }
    struct seen *s = place(p->seen, p->seen_cap, key);
    p->nseen += s->key == 0;
    s->key = key;
    return s;
}

/* --- what befalls it -------------------------------------------------------------------------- */

struct fate {
    enum fault fault;
    uint64_t draw; /* for what there is to draw about it */
    size_t line;   /* of the story, where the server's status goes */
};

static size_t tell(struct fault_proxy *p, const char *name, unsigned times, enum fault f)
{
    size_t room = 256;
    if (p->story_len + room > p->story_cap) {
        p->story_cap = 2 * (p->story_len + room);
        p->story = must(realloc(p->story, p->story_cap));
    }
    int n = snprintf(p->story + p->story_len, room, "%s, time %u: %s ", name, times, fault_name(f));
    p->story_len += (size_t)n;
    size_t at = p->story_len;
    memcpy(p->story + at, "---\n", 5);
    p->story_len += 4;
    return at;
}

static bool only_delays(enum fault f)
{
    return f == FAULT_NONE || f == FAULT_LATE_REQUEST || f == FAULT_LATE_ANSWER;
}

static bool is_too_large(const struct fault_proxy *p, const char *head)
{
    size_t n;
    const char *length = listener_field(head, "Content-Length", &n);
    return p->plan.limit > 0 && length && strtoul(length, NULL, 10) > p->plan.limit;
}

/* Called under the lock. */
static struct fate decide(struct fault_proxy *p, const char *head)
{
    struct name n = name_of(p, head);
    struct seen *s = seen(p, n.key);
    struct fate fate = {.draw = mix(mix(p->plan.seed, n.key), s->times++)};
    fate.fault = drawn(&p->plan, fate.draw);
    if (!only_delays(fate.fault) && s->in_row >= p->plan.most)
        fate.fault = FAULT_NONE;
    s->in_row = only_delays(fate.fault) ? 0 : s->in_row + 1;
    if (is_too_large(p, head))
        fate.fault = FAULT_413;
    fate.line = tell(p, n.text, s->times, fate.fault);
    p->counts.requests++;
    p->counts.befell[fate.fault]++;
    p->held++; /* by its thread, until it is settled what the server gets of it */
    return fate;
}

/* What waits for this request need not any more. */
static void settled(struct fault_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    p->held--;
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->lock);
}

/* Waits until a few later requests have passed; not for long, since there may be none. */
static void hold(struct fault_proxy *p, uint64_t draw)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += p->plan.hold_ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&p->lock);
    uint64_t enough = p->passed + 1 + (draw >> 32) % 4;
    while (!p->stopping && p->passed < enough &&
           pthread_cond_timedwait(&p->moved, &p->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&p->lock);
}

/* --- messages --------------------------------------------------------------------------------- */

/* One side: its bytes that have come, of which a message is the first. */
struct side {
    int fd;
    char *p;
    size_t n, cap;
};

static void reserve(struct side *s, size_t n)
{
    if (n <= s->cap)
        return;
    s->cap = n > 2 * s->cap ? n : 2 * s->cap;
    s->p = must(realloc(s->p, s->cap));
}

/* A NUL follows the last byte, so that heads are texts. */
static bool more(struct side *s)
{
    reserve(s, s->n + 16384);
    ssize_t got;
    do
        got = recv(s->fd, s->p + s->n, s->cap - s->n - 1, 0);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return false;
    s->n += (size_t)got;
    s->p[s->n] = '\0';
    return true;
}

/* Waits until `n` bytes are there. */
static bool have(struct side *s, size_t n)
{
    if (n > BODY_MAX)
        return false;
    reserve(s, n + 1);
    while (s->n < n) {
        if (!more(s))
            return false;
    }
    return true;
}

/* Waits for a text at or behind `from`; *end is behind it. */
static bool find(struct side *s, size_t from, const char *text, size_t *end)
{
    for (;;) {
        const char *at = s->n > from ? strstr(s->p + from, text) : NULL;
        if (at) {
            *end = (size_t)(at - s->p) + strlen(text);
            return true;
        }
        if (s->n > from + HEAD_MAX || !more(s))
            return false;
    }
}

static void drop(struct side *s, size_t n)
{
    if (s->n > n)
        memmove(s->p, s->p + n, s->n - n);
    s->n -= n;
    if (s->p)
        s->p[s->n] = '\0';
}

/* A chunked body that begins at `at`; *end is behind it. */
static bool chunks(struct side *s, size_t at, size_t *end)
{
    for (;;) {
        size_t line;
        if (!find(s, at, "\r\n", &line))
            return false;
        size_t n = strtoul(s->p + at, NULL, 16);
        if (!have(s, line + n + 2))
            return false;
        at = line + n + 2;
        if (n == 0) {
            *end = at;
            return true;
        }
    }
}

/* The length of the message that is next, once it has come whole; 0 where the peer has gone. */
static size_t message(struct side *s, bool no_body)
{
    size_t head, end, n;
    if (!find(s, 0, "\r\n\r\n", &head))
        return 0;
    char last = s->p[head - 2];
    s->p[head - 2] = '\0'; /* headers, not what a body looks like */
    const char *length = listener_field(s->p, "Content-Length", &n);
    bool chunked = listener_field(s->p, "Transfer-Encoding", &n) != NULL;
    end = head + (length && !no_body ? strtoul(length, NULL, 10) : 0);
    bool wants = listener_field(s->p, "Expect", &n) != NULL;
    s->p[head - 2] = last;
    if (wants && !listener_send(s->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
        return 0;
    if (chunked && !no_body)
        return chunks(s, head, &end) ? end : 0;
    return have(s, end) ? end : 0;
}

/* --- connections ------------------------------------------------------------------------------ */

struct relay {
    struct fault_proxy *p;
    struct side client, server;
};

static void hang_up(struct side *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->n = 0;
}

static bool reach(struct relay *r)
{
    const int at_once = 1;
    const struct timeval limit = {.tv_sec = 60}; /* of a server that stands still */
    char c;
    /* One that the server has closed meanwhile is none. */
    if (r->server.fd >= 0 && recv(r->server.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
        hang_up(&r->server);
    if (r->server.fd >= 0)
        return true;
    r->server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->server.fd < 0)
        return false;
    setsockopt(r->server.fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    setsockopt(r->server.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const struct sockaddr_in *a = &r->p->server;
    if (connect(r->server.fd, (const struct sockaddr *)a, sizeof *a) == 0)
        return true;
    hang_up(&r->server);
    return false;
}

/* Sends the client's request of `n` bytes on and takes the answer: its length, 0 for none. */
static size_t forward(struct relay *r, size_t n, const struct fate *fate)
{
    struct fault_proxy *p = r->p;
    size_t got = 0;
    bool no_body = strncmp(r->client.p, "HEAD ", 5) == 0;
    if (reach(r) && listener_send(r->server.fd, r->client.p, n))
        got = message(&r->server, no_body);
    pthread_mutex_lock(&p->lock);
    p->passed++;
    p->counts.forwarded++;
    if (got > 12)
        memcpy(p->story + fate->line, r->server.p + 9, 3);
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->lock);
    if (got == 0)
        hang_up(&r->server);
    return got;
}

static bool send_answer(struct relay *r, size_t n)
{
    bool sent = n > 0 && listener_send(r->client.fd, r->server.p, n);
    drop(&r->server, n);
    return sent;
}

/* The client sees a reset now, though its thread goes on. */
static void reset_now(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    listener_reset(fd);
    if (null < 0 || dup2(null, fd) < 0)
        abort();
    close(null);
}

static bool refuse(struct relay *r, const char *status)
{
    char text[256];
    bool later = strncmp(status, "503", 3) == 0 || strncmp(status, "429", 3) == 0;
    int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\n%s%s%sContent-Length: 0\r\n\r\n", status,
                     later ? "Retry-After: " : "", later ? r->p->plan.retry_after : "",
                     later ? "\r\n" : "");
    return listener_send(r->client.fd, text, (size_t)n);
}

/* Does to a request of `n` bytes what is to befall it. False: the connection ends. */
static bool befall(struct relay *r, size_t n, const struct fate *fate)
{
    size_t got;
    switch (fate->fault) {
    case FAULT_LOST_REQUEST:
        listener_reset(r->client.fd);
        return false;
    case FAULT_STRAGGLER:
        reset_now(r->client.fd);
        hold(r->p, fate->draw);
        forward(r, n, fate);
        return false;
    case FAULT_500:
        return refuse(r, "500 Internal Server Error");
    case FAULT_503:
        return refuse(r, "503 Service Unavailable");
    case FAULT_429:
        return refuse(r, "429 Too Many Requests");
    case FAULT_413:
        return refuse(r, "413 Content Too Large");
    case FAULT_LATE_REQUEST:
        hold(r->p, fate->draw);
        break;
    default:
        break;
    }
    got = forward(r, n, fate);
    switch (fate->fault) {
    case FAULT_LOST_ANSWER:
        listener_reset(r->client.fd);
        return false;
    case FAULT_CUT_ANSWER:
        got = got > 0 ? 1 + (size_t)(fate->draw >> 32) % (got < 100 ? got - 1 : 100) : 0;
        listener_send(r->client.fd, r->server.p, got);
        return false;
    case FAULT_500_AFTER:
        drop(&r->server, got);
        return refuse(r, "500 Internal Server Error");
    case FAULT_LATE_ANSWER:
        hold(r->p, fate->draw);
        break;
    default:
        break;
    }
    return send_answer(r, got);
}

/* An answer of any length and framing: the server is to end it with the connection. */
static bool pass_on(struct relay *r, size_t n)
{
    size_t line = strcspn(r->client.p, "\n") + 1;
    hang_up(&r->server);
    if (!reach(r) || !listener_send(r->server.fd, r->client.p, line) ||
        !listener_send(r->server.fd, "Connection: close\r\n", 19) ||
        !listener_send(r->server.fd, r->client.p + line, n - line))
        return false;
    while (more(&r->server) && listener_send(r->client.fd, r->server.p, r->server.n))
        r->server.n = 0;
    return false;
}

static bool planned(const struct fault_proxy *p, const char *head)
{
    const char *found = strstr(head, p->plan.match);
    return found && found < head + strcspn(head, "\r");
}

static bool next(struct relay *r)
{
    size_t n = message(&r->client, false);
    if (n == 0)
        return false;
    if (!planned(r->p, r->client.p))
        return pass_on(r, n);
    pthread_mutex_lock(&r->p->lock);
    while (r->p->frozen && !r->p->stopping)
        pthread_cond_wait(&r->p->moved, &r->p->lock);
    struct fate fate = decide(r->p, r->client.p);
    pthread_mutex_unlock(&r->p->lock);
    bool open = befall(r, n, &fate);
    settled(r->p);
    drop(&r->client, n);
    return open;
}

static void serve(void *ctx, int client)
{
    struct relay r = {.p = ctx, .client.fd = client, .server.fd = -1};
    while (next(&r))
        ;
    hang_up(&r.server);
    free(r.client.p);
    free(r.server.p);
}

/* --- the proxy -------------------------------------------------------------------------------- */

struct fault_proxy *fault_proxy_start(const char *server, const struct fault_plan *plan)
{
    struct fault_proxy *p = must(calloc(1, sizeof *p));
    pthread_condattr_t clock;
    int port = 0;
    if (sscanf(server, "http://127.0.0.1:%d", &port) != 1)
        abort();
    p->server.sin_family = AF_INET;
    p->server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->server.sin_port = htons((in_port_t)port);
    p->plan = *plan;
    p->plan.match = plan->match ? plan->match : "POST ";
    p->plan.most = plan->most > 0 ? plan->most : 4;
    p->plan.retry_after = plan->retry_after ? plan->retry_after : "0";
    p->plan.hold_ms = plan->hold_ms > 0 ? plan->hold_ms : 20;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->moved, &clock);
    pthread_condattr_destroy(&clock);
    p->listener = listener_start(serve, p);
    return p;
}

const char *fault_proxy_url(const struct fault_proxy *p)
{
    return listener_url(p->listener);
}

struct fault_counts fault_proxy_counts(struct fault_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    struct fault_counts c = p->counts;
    pthread_mutex_unlock(&p->lock);
    return c;
}

void fault_proxy_settle(struct fault_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->held > 0)
        pthread_cond_wait(&p->moved, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void set_frozen(struct fault_proxy *p, bool frozen)
{
    pthread_mutex_lock(&p->lock);
    p->frozen = frozen;
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->lock);
}

void fault_proxy_freeze(struct fault_proxy *p)
{
    set_frozen(p, true);
    fault_proxy_settle(p);
}

void fault_proxy_thaw(struct fault_proxy *p)
{
    set_frozen(p, false);
}

char *fault_proxy_story(struct fault_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    char *copy = must(malloc(p->story_len + 1));
    if (p->story_len > 0)
        memcpy(copy, p->story, p->story_len);
    copy[p->story_len] = '\0';
    pthread_mutex_unlock(&p->lock);
    return copy;
}

void fault_proxy_stop(struct fault_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->lock);
    listener_stop(p->listener);
    pthread_cond_destroy(&p->moved);
    pthread_mutex_destroy(&p->lock);
    free(p->seen);
    free(p->epochs);
    free(p->story);
    free(p);
}
