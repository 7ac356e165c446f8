/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "devserver/server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/text.h"
#include "devserver/api.h"
#include "devserver/fields.h"
#include "devserver/listen.h"
#include "devserver/sse.h"

#define MIB        ((size_t)1024 * 1024)
#define STORE_MAX  (4096 * MIB) /* bytes of all streams */
#define BODY_MAX   (256 * MIB)  /* of one request */
#define BODIES_MAX (1024 * MIB) /* of all requests under way */
#define PAGE_MAX   (1024 * MIB)
#define HEAD_MAX   (64 * 1024) /* of one request; the library's memory for a connection */
#define CLIENTS    10000
#define SPARES     4 /* bodies whose memory is kept for the next ones, of SPARE_MAX at most */
#define SPARE_MAX  (4 * MIB)
#define SPARE      32  /* descriptors that are no client's */
#define IDLE       300 /* s without a byte, of a connection that is not ours to keep waiting */

/*
 * A connection. The library watches descriptors in an epoll set of its own, edge-triggered, which
 * leaves out those of suspended connections and misses a hang-up that comes together with data. So
 * there is a second set: the library's, and every connection for nothing but its hang-up.
 */
struct client {
    struct ds_server *server;
    struct request *request; /* the one under way, or NULL */
    int fd;
    bool hung_up;
    struct client *next_hung_up; /* of this turn */
};

/* One request of a connection. */
struct request {
    struct ds_server *server;
    bool read;             /* it is a GET, */
    bool faulty;           /* one that is to meet trouble: */
    int64_t stalled_until; /* the body does not begin before */
    struct client *client; /* NULL: nobody watches for its hang-up */
    struct MHD_Connection *connection;
    struct ds_target target;
    int bad_target; /* the status that the target deserves; 0: none */
    bool begun, waited;
    struct ds_buf body;
    int bad_body;   /* the status that the body deserves; 0: none */
    size_t dropped; /* bytes of a body that is not taken */
    struct ds_reply reply;
    bool has_reply;
    struct ds_feed feed;
    bool has_feed;
    /* While suspended: */
    bool suspended;
    int64_t due;
    struct request *prev, *next;
};

struct ds_server {
    struct MHD_Daemon *daemon;
    struct ds_api api;
    struct ds_place place;
    int64_t sse_time, poll_time;
    struct ds_server_options options; /* of those the callbacks and the trouble */
    unsigned reads;
    int64_t due;   /* when on_time wants to be called */
    size_t bodies; /* bytes of all requests' bodies */
    struct ds_buf spares[SPARES];
    size_t nspares;
    struct request *waiting;
    struct client *hung_up; /* noticed in this turn */
    int watch;              /* the second set */
    bool again; /* somebody is to get a turn that the library's time-out does not tell of */
    bool stopping;
};

static int64_t clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

static int64_t wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Puts the request to sleep until something happens to `stream`, or until `due`. */
static void suspend(struct request *q, const struct ds_stream *stream, int64_t due)
{
    struct ds_server *s = q->server;
    int64_t expiry = ds_stream_expiry(stream);
    if (expiry != DS_NEVER) {
        int64_t left = expiry - wall_ms();
        int64_t at = now_ms() + (left > 0 ? left : 0);
        due = at < due ? at : due;
    }
    q->due = due;
    q->suspended = true;
    q->prev = NULL;
    q->next = s->waiting;
    if (q->next)
        q->next->prev = q;
    s->waiting = q;
    MHD_suspend_connection(q->connection);
}

static void resume(struct request *q)
{
    struct ds_server *s = q->server;
    if (q->prev)
        q->prev->next = q->next;
    else
        s->waiting = q->next;
    if (q->next)
        q->next->prev = q->prev;
    q->suspended = false;
    s->again = true;
    MHD_resume_connection(q->connection);
}

static bool gone(const struct request *q)
{
    return q->client && q->client->hung_up;
}

static void on_changed(void *ctx, struct ds_stream *stream)
{
    struct ds_server *s = ctx;
    for (struct request *q = s->waiting, *next; q; q = next) {
        next = q->next;
        if ((q->has_feed ? q->feed.stream : q->reply.stream) == stream)
            resume(q);
    }
}

/* --- answering -------------------------------------------------------------------------------- */

/* --- trouble ---------------------------------------------------------------------------------- */

static void count_read(struct request *q)
{
    const struct ds_fault *f = &q->server->options.fault;
    q->read = true;
    q->faulty = f->every > 0 && ++q->server->reads % f->every == 0;
    if (q->faulty && f->stall > 0)
        q->stalled_until = now_ms() + f->stall;
}

/* Before `*size` bytes of a body are given, from `at` on. True where *rc is to be returned instead.
 */
static bool trouble(struct request *q, uint64_t at, size_t *size, ssize_t *rc)
{
    const struct ds_fault *f = &q->server->options.fault;
    if (q->server->stopping || !q->read)
        return false;
    *rc = 0;
    if (q->stalled_until > now_ms() && !gone(q)) {
        suspend(q, q->reply.stream, q->stalled_until);
        return true;
    }
    *rc = MHD_CONTENT_READER_END_WITH_ERROR;
    if (q->faulty && f->drops && at >= f->drop_after)
        return true;
    if (q->faulty && f->drops && *size > f->drop_after - at)
        *size = (size_t)(f->drop_after - at);
    if (f->split > 0 && *size > f->split)
        *size = f->split;
    return false;
}

/* --- bodies ----------------------------------------------------------------------------------- */

/* What is answered from a stream outlives the request's own data, but for when it is asked for. */
struct answer {
    struct request *request;
    struct ds_stream *stream;
    size_t start, end;
};

/* A page as it is sent: its bytes, for JSON between brackets and without the last comma. */
static ssize_t read_page(void *ctx, uint64_t at, char *to, size_t size)
{
    const struct answer *a = ctx;
    ssize_t rc;
    if (trouble(a->request, at, &size, &rc))
        return rc;
    size_t n = 0, pos = a->start + (size_t)at;
    bool json = a->stream->json;
    if (json && at == 0 && size > 0)
        to[n++] = '[';
    if (json && at > 0)
        pos--;
    size_t end = a->end - (json && a->end > a->start);
    size_t take = end > pos ? end - pos : 0;
    take = take > size - n ? size - n : take;
    ds_stream_copy(a->stream, pos, take, to + n);
    n += take;
    if (json && n < size && pos + take >= end)
        to[n++] = ']';
    return n > 0 ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static void free_answer(void *ctx)
{
    struct answer *a = ctx;
    ds_stream_release(a->stream);
    ds_free(a);
}

static struct MHD_Response *page_response(struct request *q)
{
    const struct ds_reply *r = &q->reply;
    struct answer *a = ds_malloc(sizeof *a);
    if (!a)
        return NULL;
    *a = (struct answer){q, ds_stream_hold(r->stream), r->start, r->end};
    size_t n = r->end - r->start;
    /* The brackets, and the comma that is left out. */
    if (r->stream->json)
        n += n > 0 ? 1 : 2;
    struct MHD_Response *m =
        MHD_create_response_from_callback(n, 64 * 1024, read_page, a, free_answer);
    if (!m)
        free_answer(a);
    return m;
}

static ssize_t read_events(void *ctx, uint64_t at, char *to, size_t size)
{
    struct request *q = ctx;
    size_t n = 0;
    ssize_t rc;
    if (q->server->stopping)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (trouble(q, at, &size, &rc))
        return rc;
    switch (ds_feed_take(&q->feed, to, size, &n, now_ms(), wall_ms())) {
    case DS_FEED_BYTES:
        return (ssize_t)n;
    case DS_FEED_WAIT:
        if (gone(q))
            return MHD_CONTENT_READER_END_OF_STREAM;
        suspend(q, q->feed.stream, ds_feed_due(&q->feed));
        return 0;
    case DS_FEED_END:
        return MHD_CONTENT_READER_END_OF_STREAM;
    default:
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
}

static struct MHD_Response *events_response(struct request *q)
{
    struct ds_server *s = q->server;
    int64_t now = now_ms();
    ds_feed_init(&q->feed, ds_stream_hold(q->reply.stream), q->reply.start, s->api.page,
                 q->reply.cursor, now, now + s->sse_time);
    q->has_feed = true;
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 * 1024, read_events, q, NULL);
}

/* Only a GET gets events, so the length of what answers a HEAD is always known: else the library
 * (0.9.75) puts the end of a chunked body behind the head. */
static struct MHD_Response *response_for(struct request *q)
{
    const struct ds_reply *r = &q->reply;
    if (r->kind == DS_REPLY_EVENTS)
        return events_response(q);
    if (r->kind == DS_REPLY_PAGE)
        return page_response(q);
    return MHD_create_response_from_buffer(strlen(r->text), (void *)(uintptr_t)r->text,
                                           MHD_RESPMEM_PERSISTENT);
}

static bool add_fields(struct MHD_Response *m, const struct ds_buf *fields)
{
    const char *p = fields->data, *end = p + fields->len;
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        if (MHD_add_response_header(m, p, value) != MHD_YES)
            return false;
        p = value + strlen(value) + 1;
    }
    return true;
}

static enum MHD_Result send_reply(struct request *q)
{
    struct MHD_Response *m = q->reply.failed ? NULL : response_for(q);
    if (!m)
        return MHD_NO;
    enum MHD_Result rc = MHD_NO;
    if (add_fields(m, &q->reply.fields))
        rc = MHD_queue_response(q->connection, (unsigned)q->reply.status, m);
    MHD_destroy_response(m);
    return rc;
}

static enum MHD_Result send_error(struct request *q, int status, const char *text)
{
    ds_reply_error(&q->reply, status, text);
    q->has_reply = true;
    return send_reply(q);
}

struct taking {
    struct ds_fields fields;
    bool failed;
};

static enum MHD_Result take_field(void *ctx, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct taking *t = ctx;
    (void)kind;
    t->failed = !ds_fields_add(&t->fields, name, value ? value : "");
    return t->failed ? MHD_NO : MHD_YES;
}

static const char *get_field(void *ctx, const char *name)
{
    const struct ds_fields *f = ctx;
    return ds_fields_get(f, name);
}

static void make_reply(struct request *q, const char *method, struct ds_fields *fields)
{
    struct ds_server *s = q->server;
    struct ds_call call = {.method = method,
                           .target = &q->target,
                           .header = get_field,
                           .ctx = fields,
                           .base = s->place.url,
                           .body = q->body.data,
                           .body_len = q->body.len,
                           .now = wall_ms()};
    if (q->waited)
        ds_api_resume(&s->api, &call, &q->reply);
    else
        ds_api_answer(&s->api, &call, &q->reply);
    q->has_reply = true;
}

/* A GET is seen once, however often its connection is woken. */
static bool begin_read(struct request *q)
{
    const struct ds_server_options *o = &q->server->options;
    count_read(q);
    if (o->on_read)
        o->on_read(o->ctx, q->target.path, now_ms());
    q->server->again = true;
    return !q->faulty || o->fault.status == 0;
}

static enum MHD_Result answer(struct request *q, const char *method)
{
    struct taking t = {0};
    if (!q->read && strcmp(method, "GET") == 0 && !begin_read(q))
        return send_error(q, q->server->options.fault.status, "Trouble, as was asked for");
    MHD_get_connection_values(q->connection, MHD_HEADER_KIND, take_field, &t);
    if (!t.failed)
        make_reply(q, method, &t.fields);
    ds_fields_free(&t.fields);
    if (t.failed)
        return MHD_NO;
    if (q->reply.kind != DS_REPLY_WAIT)
        return send_reply(q);
    if (gone(q))
        return MHD_NO;
    q->waited = true;
    suspend(q, q->reply.stream, now_ms() + q->server->poll_time);
    return MHD_YES;
}

/* --- requests --------------------------------------------------------------------------------- */

static void *on_uri(void *ctx, const char *uri, struct MHD_Connection *connection)
{
    struct ds_server *s = ctx;
    struct request *q = ds_calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->server = s;
    q->connection = connection;
    q->client =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (q->client)
        q->client->request = q;
    ds_buf_init(&q->body, BODY_MAX);
    enum dstream_code rc = ds_target_parse(&q->target, uri);
    q->bad_target = rc == DSTREAM_OK          ? 0
                    : rc == DSTREAM_ERR_LIMIT ? 414
                    : rc == DSTREAM_ERR_PARSE ? 400
                                              : 500;
    return q;
}

/* Whether the request announces a body over the bound. */
static bool announces_too_much(struct request *q)
{
    const char *length =
        MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "Content-Length");
    uint64_t n;
    return length && (!ds_parse_u64(length, UINT64_MAX, &n) || n > BODY_MAX);
}

/* Memory for a body that begins: what one before it has left, or as much as is announced. */
static void prepare_body(struct request *q)
{
    struct ds_server *s = q->server;
    const char *length =
        MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "Content-Length");
    uint64_t n = 0;
    if (q->body.data)
        return;
    if (s->nspares > 0)
        q->body = s->spares[--s->nspares];
    if (length && ds_parse_u64(length, SPARE_MAX, &n))
        (void)ds_buf_reserve(&q->body, (size_t)n); /* or piece by piece */
}

static void put_body_away(struct request *q)
{
    struct ds_server *s = q->server;
    s->bodies -= q->body.len;
    q->body.len = 0;
    if (q->body.data && q->body.cap <= SPARE_MAX && s->nspares < SPARES)
        s->spares[s->nspares++] = q->body;
    else
        ds_buf_free(&q->body);
}

/* A body over a bound is read on and dropped, so that the client comes to read the answer; but not
 * for ever. */
static enum MHD_Result take_body(struct request *q, const char *p, size_t n)
{
    struct ds_server *s = q->server;
    enum dstream_code rc = DSTREAM_ERR_NOMEM;
    if (!q->bad_body && n <= BODIES_MAX - s->bodies) {
        prepare_body(q);
        rc = ds_buf_add(&q->body, p, n);
    }
    if (rc == DSTREAM_OK) {
        s->bodies += n;
        return MHD_YES;
    }
    if (!q->bad_body)
        q->bad_body = rc == DSTREAM_ERR_LIMIT ? 413 : 503;
    q->dropped += n;
    return q->dropped > BODY_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result refuse_body(struct request *q)
{
    if (q->bad_body == 413)
        return send_error(q, 413, "The body is too large");
    ds_reply_error(&q->reply, 503, "Too many large bodies at once");
    ds_reply_add(&q->reply, "Retry-After", "1");
    q->has_reply = true;
    return send_reply(q);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    struct request *q = *context;
    (void)ctx, (void)connection, (void)url, (void)version;
    if (!q)
        return MHD_NO;
    if (!q->begun) {
        q->begun = true;
        if (q->bad_target)
            return send_error(q, q->bad_target, "The request's target is not usable");
        if (announces_too_much(q))
            return send_error(q, 413, "The body is too large");
        return MHD_YES;
    }
    if (*size > 0) {
        enum MHD_Result rc = take_body(q, data, *size);
        *size = 0;
        return rc;
    }
    return q->bad_body ? refuse_body(q) : answer(q, method);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode why)
{
    struct request *q = *context;
    (void)ctx, (void)connection, (void)why;
    if (!q)
        return;
    if (q->client)
        q->client->request = NULL;
    put_body_away(q);
    if (q->has_feed)
        ds_feed_free(&q->feed);
    if (q->has_reply)
        ds_reply_free(&q->reply);
    ds_target_free(&q->target);
    ds_free(q);
    *context = NULL;
}

/* Texts are decoded where they are used. */
static size_t keep_escapes(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx, (void)connection;
    return strlen(text);
}

/* --- connections ------------------------------------------------------------------------------ */

static void *connected(struct ds_server *s, struct MHD_Connection *connection)
{
    struct client *c = ds_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->server = s;
    c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(s->watch, EPOLL_CTL_ADD, c->fd, &e) == 0)
        return c;
    ds_free(c);
    return NULL;
}

static void disconnected(struct client *c)
{
    struct client **p = &c->server->hung_up;
    while (*p && *p != c)
        p = &(*p)->next_hung_up;
    if (*p)
        *p = c->next_hung_up;
    ds_free(c);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        *context = connected(ctx, connection);
    if (what != MHD_CONNECTION_NOTIFY_CLOSED)
        return;
    if (*context)
        disconnected(*context);
    /* Where there were as many as may be, the library listens again in its next turn. */
    ((struct ds_server *)ctx)->again = true;
}

/* Behind the library's turn: what it has read then, it has read without the end. A shutdown of the
 * reading side, of which nothing is left to come, is an edge more, by which it sees that. */
static void pass_on_hangups(struct ds_server *s)
{
    while (s->hung_up) {
        struct client *c = s->hung_up;
        s->hung_up = c->next_hung_up;
        shutdown(c->fd, SHUT_RD);
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static int64_t next_due(const struct ds_server *s, int64_t now)
{
    unsigned long long ms;
    int64_t due = s->again ? now : DS_NEVER;
    if (!s->again && MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        due = now + (ms < INT32_MAX ? (int64_t)ms : INT32_MAX);
    for (const struct request *q = s->waiting; q; q = q->next)
        due = q->due < due ? q->due : due;
    return s->due < due ? s->due : due;
}

/* Waits for something to do, and notes who has hung up. -1 with errno. */
static int wait_for_events(struct ds_server *s, const sigset_t *signals)
{
    struct epoll_event e[64];
    int64_t now = now_ms(), due = next_due(s, now), left = due > now ? due - now : 0;
    int ms = due == DS_NEVER ? -1 : left < INT32_MAX ? (int)left : INT32_MAX;
    int n = epoll_pwait(s->watch, e, sizeof e / sizeof *e, ms, signals);
    for (int i = 0; i < n; i++) {
        struct client *c = e[i].data.ptr;
        if (!c || c->hung_up)
            continue;
        c->hung_up = true;
        c->next_hung_up = s->hung_up;
        s->hung_up = c;
        if (c->request && c->request->suspended)
            resume(c->request);
    }
    return n;
}

static void wake_due(struct ds_server *s)
{
    int64_t now = now_ms();
    for (struct request *q = s->waiting, *next; q; q = next) {
        next = q->next;
        if (q->due <= now)
            resume(q);
    }
}

static enum dstream_code turn(struct ds_server *s, const sigset_t *signals,
                              struct dstream_error *err)
{
    if (s->options.on_time)
        s->due = s->options.on_time(s->options.ctx, s, now_ms());
    if (wait_for_events(s, signals) < 0 && errno != EINTR)
        return ds_error_set(err, DSTREAM_ERR_IO, "cannot wait for clients: %s", strerror(errno));
    wake_due(s);
    s->again = false;
    if (MHD_run(s->daemon) != MHD_YES)
        return ds_error_set(err, DSTREAM_ERR_IO, "the HTTP server has failed");
    pass_on_hangups(s);
    return DSTREAM_OK;
}

enum dstream_code ds_server_run(struct ds_server *s, const sigset_t *signals, bool (*ending)(void),
                                struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    while (rc == DSTREAM_OK && !ending())
        rc = turn(s, signals, err);
    return rc;
}

/* --- beginning and ending --------------------------------------------------------------------- */

/* A client more than there are descriptors would make the library fail to accept, over and over. */
static unsigned clients(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur == RLIM_INFINITY ||
        l.rlim_cur >= CLIENTS + SPARE)
        return CLIENTS;
    return l.rlim_cur > 2 * SPARE ? (unsigned)l.rlim_cur - SPARE : SPARE;
}

static enum dstream_code start(struct ds_server *s, int fd, struct dstream_error *err)
{
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_uri, s,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        s, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_CONNECTION_LIMIT, clients(),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEAD_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (!s->daemon) {
        close(fd);
        return ds_error_set(err, DSTREAM_ERR_IO, "cannot start the HTTP server");
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct epoll_event e = {.events = EPOLLIN};
    s->watch = epoll_create1(EPOLL_CLOEXEC);
    if (s->watch >= 0 && epoll_ctl(s->watch, EPOLL_CTL_ADD, info->epoll_fd, &e) == 0)
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_IO, "cannot watch connections: %s", strerror(errno));
}

static void seed(struct ds_api *api)
{
    api->boot = (uint64_t)wall_ms() << 16 ^ (uint64_t)getpid();
    api->random = api->boot * UINT64_C(0x9E3779B97F4A7C15) | 1;
}

enum dstream_code ds_server_new(struct ds_server **out, const struct ds_server_options *o,
                                struct dstream_error *err)
{
    int fd;
    struct ds_server *s = ds_calloc(1, sizeof *s);
    if (!s)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory");
    uint64_t page = o->page_size > 0 ? o->page_size : MIB;
    s->api.page = page < PAGE_MAX ? (size_t)page : PAGE_MAX;
    s->watch = -1;
    s->due = DS_NEVER;
    s->options = *o;
    s->sse_time = o->sse_time >= 0 ? o->sse_time : 60000;
    s->poll_time = o->poll_time >= 0 ? o->poll_time : 30000;
    seed(&s->api);
    s->api.store = ds_store_new(STORE_MAX, on_changed, s);
    enum dstream_code rc = s->api.store ? ds_place_listen(&s->place, o->listen, &fd, err)
                                        : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory");
    if (rc == DSTREAM_OK)
        rc = start(s, fd, err);
    if (rc != DSTREAM_OK) {
        ds_server_free(s);
        return rc;
    }
    *out = s;
    return DSTREAM_OK;
}

/* The library aborts where connections are suspended when it stops; and those that are woken get
 * their turns to end properly. */
static void stop(struct ds_server *s)
{
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    s->stopping = true;
    for (int turns = 0; turns < 8; turns++) {
        while (s->waiting)
            resume(s->waiting);
        MHD_run(s->daemon);
    }
    while (s->waiting) /* of a request that came with the last turn */
        resume(s->waiting);
    MHD_stop_daemon(s->daemon);
}

void ds_server_free(struct ds_server *s)
{
    if (!s)
        return;
    if (s->daemon)
        stop(s);
    ds_store_free(s->api.store);
    while (s->nspares > 0)
        ds_buf_free(&s->spares[--s->nspares]);
    if (s->watch >= 0)
        close(s->watch);
    ds_free(s);
}

/* --- streams of who runs it ------------------------------------------------------------------- */

static enum dstream_code stored(struct ds_server *s, enum ds_stored rc, const char *path,
                                struct dstream_error *err)
{
    static const struct {
        enum ds_stored stored;
        enum dstream_code code;
        const char *text;
    } why[] = {
        {DS_STORED_EXISTS, DSTREAM_ERR_CONFLICT, "there is a stream of that name already"},
        {DS_STORED_DIFFERS, DSTREAM_ERR_CONFLICT, "there is a stream of that name already"},
        {DS_STORED_CLOSED, DSTREAM_ERR_CLOSED, "the stream is closed"},
        {DS_STORED_JSON, DSTREAM_ERR_INPUT, "it is not JSON, or nested too deeply"},
        {DS_STORED_FULL, DSTREAM_ERR_LIMIT, "the server is full"},
        {DS_STORED_NOMEM, DSTREAM_ERR_NOMEM, "no memory"},
    };
    if (rc == DS_STORED_OK)
        return DSTREAM_OK;
    for (size_t i = 0; i < sizeof why / sizeof *why; i++) {
        if (why[i].stored == rc)
            return ds_error_set(err, why[i].code, "%s%.300s: %s", s->place.url, path, why[i].text);
    }
    return ds_error_set(err, DSTREAM_ERR_CONFLICT, "%s%.300s: it cannot be stored", s->place.url,
                        path);
}

static enum dstream_code name(const char *path, struct ds_target *t, struct dstream_error *err)
{
    enum dstream_code rc = ds_target_parse(t, path);
    return rc == DSTREAM_OK || rc == DSTREAM_ERR_NOMEM
               ? rc
               : ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%.300s: it cannot be a stream's path",
                              path);
}

enum dstream_code ds_server_create(struct ds_server *s, const char *path, const char *type,
                                   const char *body, size_t len, struct dstream_error *err)
{
    struct ds_target t;
    struct ds_stream *made;
    enum dstream_code rc = name(path, &t, err);
    if (rc != DSTREAM_OK)
        return rc;
    struct ds_stream_spec spec = {.path = t.path, .type = type, .body = body, .body_len = len};
    rc = stored(s, ds_store_create(s->api.store, &spec, wall_ms(), &made), path, err);
    ds_target_free(&t);
    return rc;
}

enum dstream_code ds_server_append(struct ds_server *s, const char *path, const char *body,
                                   size_t len, bool close, struct dstream_error *err)
{
    struct ds_target t;
    enum dstream_code rc = name(path, &t, err);
    if (rc != DSTREAM_OK)
        return rc;
    struct ds_stream *to = ds_store_find(s->api.store, t.path, wall_ms());
    struct ds_append a = {.body = body, .body_len = len, .close = close};
    enum ds_stored what = DS_STORED_OK;
    if (!to || to->deleted) {
        rc = ds_error_set(err, DSTREAM_ERR_NOT_FOUND, "%s%.300s: the stream was deleted",
                          s->place.url, path);
    } else {
        a.type = to->type;
        if (len > 0)
            what = ds_store_append(s->api.store, to, &a, wall_ms());
        else if (close)
            what = ds_store_close(s->api.store, to, NULL, wall_ms());
        rc = stored(s, what, path, err);
    }
    ds_target_free(&t);
    return rc;
}

const char *ds_server_url(const struct ds_server *s)
{
    return s->place.url;
}

bool ds_server_is_public(const struct ds_server *s)
{
    return s->place.is_public;
}
