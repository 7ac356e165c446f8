/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/transport.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "transport/gunzip.h"
#include "transport/head.h"
#include "transport/outcome.h"
#include "transport/session.h"

/* How long a connection may have been idle that a POST is sent on. A server may close it at the
 * same moment, and a POST that meets with that can often not be repeated; some do after 5 s. */
#define POST_IDLE_S 3L

/* Bytes that libcurl reads at once. It keeps so much for each transfer under way, of which there
 * may be thousands. */
#define RECEIVE_SIZE 65536L
#define LITTLE_SIZE  8192L

/* So many are kept in any case. */
#define CONNECTIONS ((size_t)16)

struct ds_transport {
    CURLM *multi;
    struct ds_transport_ops ops;
    void *ctx;
    /* What waits until no call of libcurl is under way, which allows neither a start nor a
     * removal from inside its callbacks; starts and resumptions wait for the next time-out. */
    struct ds_transfer *work, **work_end;
    bool inside;                   /* a call of libcurl that may call back is under way */
    bool asked;                    /* for a time-out at once */
    struct ds_transfer *transfers; /* those that are added, in no order */
    size_t ntransfers;
    size_t kept;            /* connections that libcurl keeps at most, those in use among them */
    struct socket *sockets; /* by descriptor */
    size_t nsockets;
    uint64_t arrivals; /* so far, on all of them */
    bool flush;        /* a socket is to be flushed */
};

struct socket {
    unsigned port;    /* its own; 0: it is not watched */
    uint64_t arrival; /* the last time that something arrived on it, counted in arrivals */
    bool flush;       /* a stream of it was reset, which libcurl has not sent yet */
};

struct ds_transfer {
    struct ds_transport *transport;
    CURL *easy;
    struct ds_transfer_ops ops;
    void *ctx;

    /* The request. */
    enum ds_method method;
    char *url;
    struct curl_slist *headers;
    const char *body; /* lent until the end */
    size_t body_len, body_sent;

    /* The answer. */
    struct ds_head_lines head;
    bool compressed;          /* that was asked for */
    struct ds_gunzip *gunzip; /* and is so; NULL: it is not */
    const char *refusal;      /* why we broke it off ourselves, NULL: we did not */
    enum ds_end refusal_end;
    struct ds_result result;
    char error[CURL_ERROR_SIZE];
    char detail[CURL_ERROR_SIZE + 128];

    curl_socket_t fd; /* of its connection, -1: not known */
    uint64_t heard;   /* the last arrival that it had part in */

    bool added;     /* to the multi handle */
    bool connected; /* a connection was ready for the request */
    bool paused;    /* its body callback said so */
    bool held;      /* libcurl has kept a piece back meanwhile */
    bool ended;     /* `result` is final, but it may wait for the end of a pause */
    bool cancelled; /* its owner has forgotten it */

    bool queued;
    struct ds_transfer *next_work;
    struct ds_transfer *prev, *next; /* of those that are added */
};

/* --- what is put off -------------------------------------------------------------------------- */

static void ask(struct ds_transport *t)
{
    if (!t->asked) {
        t->asked = true;
        t->ops.timer(t->ctx, 0);
    }
}

static void queue(struct ds_transfer *x)
{
    struct ds_transport *t = x->transport;
    if (x->queued)
        return;
    x->queued = true;
    x->next_work = NULL;
    *t->work_end = x;
    t->work_end = &x->next_work;
}

static struct ds_transfer *unqueue(struct ds_transport *t)
{
    struct ds_transfer *x = t->work;
    if (!x)
        return NULL;
    t->work = x->next_work;
    if (!t->work)
        t->work_end = &t->work;
    x->queued = false;
    return x;
}

/* Takes it out of the middle. */
static void forget_work(struct ds_transfer *x)
{
    struct ds_transport *t = x->transport;
    struct ds_transfer **p = &t->work;
    if (!x->queued)
        return;
    while (*p != x)
        p = &(*p)->next_work;
    *p = x->next_work;
    if (!*p)
        t->work_end = p;
    x->queued = false;
}

/* --- signs of life ---------------------------------------------------------------------------- */

/* NULL for no descriptor, and without memory: what is noted there is never needed. */
static struct socket *socket_of(struct ds_transport *t, curl_socket_t fd)
{
    size_t n = t->nsockets ? t->nsockets : 64;
    if (fd < 0)
        return NULL;
    while (n <= (size_t)fd)
        n *= 2;
    if (n > t->nsockets) {
        struct socket *all = ds_realloc(t->sockets, n * sizeof *all);
        if (!all)
            return NULL;
        while (t->nsockets < n)
            all[t->nsockets++] = (struct socket){.flush = false};
        t->sockets = all;
    }
    return &t->sockets[fd];
}

/* Which transfer is on which socket is told by libcurl only in terms of ports. */
static curl_socket_t socket_by_port(const struct ds_transport *t, int port)
{
    for (size_t fd = 0; fd < t->nsockets; fd++) {
        if (port > 0 && t->sockets[fd].port == (unsigned)port)
            return (curl_socket_t)fd;
    }
    return -1;
}

static unsigned port_of(curl_socket_t fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.any.sa_family = AF_UNSPEC};
    socklen_t n = sizeof a;
    if (getsockname(fd, &a.any, &n) < 0)
        return 0;
    return a.any.sa_family == AF_INET    ? ntohs(a.v4.sin_port)
           : a.any.sa_family == AF_INET6 ? ntohs(a.v6.sin6_port)
                                         : 0;
}

static void note_watch(struct ds_transport *t, curl_socket_t fd, bool watched)
{
    struct socket *s = socket_of(t, fd);
    if (s && !watched)
        s->port = 0;
    else if (s && s->port == 0)
        s->port = port_of(fd);
}

static void note_arrival(struct ds_transport *t, curl_socket_t fd)
{
    struct socket *s = socket_of(t, fd);
    if (s)
        s->arrival = ++t->arrivals;
}

static uint64_t last_arrival(struct ds_transport *t, curl_socket_t fd)
{
    const struct socket *s = socket_of(t, fd);
    return s ? s->arrival : 0;
}

static void hear(struct ds_transfer *x)
{
    note_arrival(x->transport, x->fd);
    x->heard = last_arrival(x->transport, x->fd);
}

/* --- the life of a transfer ------------------------------------------------------------------- */

/* libcurl tells the server of a stream that is no longer wanted when it has something else to say
 * on that connection. One that nobody else uses is not worth keeping for that. */
static void break_off(struct ds_transfer *x)
{
    struct socket *s = socket_of(x->transport, x->fd);
    (void)curl_easy_setopt(x->easy, CURLOPT_FORBID_REUSE, 1L);
    if (s && ds_transfer_shares(x)) {
        s->flush = x->transport->flush = true;
        ask(x->transport);
    }
}

/* Left to itself libcurl keeps as many as there are transfers at that moment, four times: of those
 * of a window of requests that end together it would close most. So it is what there were at the
 * most. */
static void keep_connections(struct ds_transport *t)
{
    if (2 * t->ntransfers <= t->kept)
        return;
    t->kept = 4 * t->ntransfers > CONNECTIONS ? 4 * t->ntransfers : CONNECTIONS;
    (void)curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)t->kept);
}

static bool attach(struct ds_transfer *x)
{
    struct ds_transport *t = x->transport;
    if (curl_multi_add_handle(t->multi, x->easy) != CURLM_OK)
        return false;
    t->ntransfers++;
    keep_connections(t);
    x->added = true;
    x->prev = NULL;
    x->next = t->transfers;
    if (x->next)
        x->next->prev = x;
    t->transfers = x;
    return true;
}

static void detach(struct ds_transfer *x)
{
    if (!x->added)
        return;
    curl_multi_remove_handle(x->transport->multi, x->easy);
    x->transport->ntransfers--;
    x->added = false;
    if (x->next)
        x->next->prev = x->prev;
    if (x->prev)
        x->prev->next = x->next;
    else
        x->transport->transfers = x->next;
}

/* libcurl 7.88 leaks what it has kept of a paused transfer that is removed while others go on using
 * the connection. So the pause ends first, into a callback that takes nothing more. */
static void discard_held(struct ds_transfer *x)
{
    if (!x->held)
        return;
    x->transport->inside = true;
    (void)curl_easy_pause(x->easy, CURLPAUSE_CONT);
    x->transport->inside = false;
}

static void transfer_free(struct ds_transfer *x)
{
    forget_work(x);
    if (x->added && x->cancelled) {
        discard_held(x);
        break_off(x);
    }
    detach(x);
    curl_easy_cleanup(x->easy);
    curl_slist_free_all(x->headers);
    ds_head_lines_free(&x->head);
    ds_gunzip_free(x->gunzip);
    ds_free(x->url);
    ds_free(x);
}

static void report_end(struct ds_transfer *x)
{
    x->ops.end(x->ctx, &x->result);
    transfer_free(x);
}

/* HTTP/2 marks the end of each body by itself. */
static bool is_unmarked(const struct ds_transfer *x)
{
    long version = CURL_HTTP_VERSION_NONE;
    const struct ds_head *h = &x->head.head;
    (void)curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version);
    return version < CURL_HTTP_VERSION_2_0 && !ds_head_get(h, "content-length") &&
           !ds_head_get(h, "transfer-encoding");
}

static enum ds_end outcome(const struct ds_transfer *x, CURLcode code)
{
    bool head_done = x->head.at == DS_HEAD_DONE;
    enum ds_end end = ds_outcome(x->easy, code, x->error, x->connected, head_done);
    bool short_of = x->gunzip && !ds_gunzip_whole(x->gunzip);
    return end == DS_END_COMPLETE && short_of ? DS_END_CUT : end;
}

/* It has ended with `code`, and is freed here unless it is paused. Nobody is inside libcurl. */
static void finish(struct ds_transfer *x, CURLcode code)
{
    x->result = (struct ds_result){.connected = x->connected, .detail = x->detail};
    if (x->refusal) {
        x->result.end = x->refusal_end;
        x->result.detail = x->refusal;
    } else {
        x->result.end = outcome(x, code);
        x->result.unmarked = x->result.end == DS_END_COMPLETE && is_unmarked(x);
        if (x->result.end == DS_END_COMPLETE)
            x->result.detail = "complete";
        else if (code != CURLE_OK || x->head.at != DS_HEAD_DONE)
            ds_outcome_detail(x->easy, code, x->error, x->detail, sizeof x->detail);
        else
            x->result.detail = "the compressed answer ends early";
    }
    detach(x);
    x->ended = true;
    if (!x->paused)
        report_end(x);
}

/* --- libcurl's callbacks ---------------------------------------------------------------------- */

static size_t refuse(struct ds_transfer *x, enum ds_end end, const char *why)
{
    x->refusal_end = end;
    x->refusal = why;
    return 0; /* libcurl takes it for a failed write */
}

static void report_head(struct ds_transfer *x)
{
    struct ds_head *h = &x->head.head;
    const char *location = ds_head_get(h, "location");
    char *target = NULL;
    if (h->status >= 300 && h->status < 400 && location)
        target = ds_redirect_target(x->url, location);
    h->redirect = target;
    x->ops.head(x->ctx, h);
    h->redirect = NULL;
    ds_free(target);
}

/* A body that we cannot read, or did not ask for, must not pass for the stream's bytes. What is no
 * success is for messages alone. False where it is refused. */
static bool take_coding(struct ds_transfer *x)
{
    const struct ds_head *h = &x->head.head;
    const char *coding = ds_head_get(h, "content-encoding");
    bool success = h->status >= 200 && h->status < 300;
    if (!coding || !coding[0] || strcmp(coding, "identity") == 0)
        return true;
    if (x->compressed && strcasecmp(coding, "gzip") == 0) {
        x->gunzip = ds_gunzip_new();
        if (!x->gunzip)
            refuse(x, DS_END_NOMEM, "no memory to decompress an answer");
    } else if (success) {
        refuse(x, DS_END_PROTOCOL, "the answer has a Content-Encoding that was not asked for");
    }
    return !x->refusal;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
    struct ds_transfer *x = ctx;
    (void)size; /* always 1 */
    if (x->cancelled)
        return 0;
    hear(x);
    switch (ds_head_line(&x->head, p, n)) {
    case DS_HEAD_MORE:
        break;
    case DS_HEAD_READY:
        if (!take_coding(x))
            return 0;
        report_head(x);
        break;
    case DS_HEAD_OVER:
        return refuse(x, DS_END_LIMIT, "the head of the answer is over its limit");
    case DS_HEAD_NO_MEMORY:
        return refuse(x, DS_END_NOMEM, "no memory for the head of an answer");
    }
    return n;
}

static bool hand_over(void *ctx, const char *p, size_t n)
{
    struct ds_transfer *x = ctx;
    if (n > 0 && !x->ops.body(x->ctx, p, n))
        x->paused = true;
    return !x->paused && !x->cancelled;
}

/* Where it is paused in between, libcurl keeps the bytes and offers them again. */
static size_t decompress(struct ds_transfer *x, const char *p, size_t n)
{
    switch (ds_gunzip_feed(x->gunzip, p, n, hand_over, x)) {
    case DS_GUNZIP_USED:
        return n;
    case DS_GUNZIP_HELD:
        x->held = !x->cancelled;
        return x->cancelled ? 0 : CURL_WRITEFUNC_PAUSE;
    case DS_GUNZIP_BAD:
        break;
    }
    return refuse(x, DS_END_CUT, "the answer is not what was compressed into it");
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct ds_transfer *x = ctx;
    (void)size;
    if (x->cancelled)
        return 0;
    hear(x);
    if (x->paused) {
        x->held = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (x->gunzip)
        return decompress(x, p, n);
    (void)hand_over(x, p, n);
    return n;
}

/* An answer that comes while the body is on its way, as a 413 does, is read as long as the
 * connection stands. Where a server resets it at once, libcurl (7.88) may find out by sending: it
 * closes the connection then, together with what has arrived on it, and only tells us afterwards.
 * So that counts as no answer. */
static size_t on_read(char *out, size_t size, size_t room, void *ctx)
{
    struct ds_transfer *x = ctx;
    size_t n = x->body_len - x->body_sent;
    if (x->cancelled)
        return CURL_READFUNC_ABORT;
    if (n > size * room)
        n = size * room;
    if (n > 0)
        memcpy(out, x->body + x->body_sent, n);
    x->body_sent += n;
    return n;
}

/* libcurl sends a request again by itself, where a connection that was kept turns out to be dead.
 * Whether a write may be repeated is not for it to know: it cannot have the body again. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    (void)ctx;
    (void)offset;
    (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

/* A connection is ready for the request. For the second time: see on_seek(). */
static int on_connected(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    struct ds_transfer *x = ctx;
    (void)ip;
    (void)local_ip;
    (void)port;
    if (x->cancelled)
        return CURL_PREREQFUNC_ABORT;
    if (x->connected && x->method == DS_POST) {
        refuse(x, DS_END_CUT, "the connection was closed while the request was sent");
        return CURL_PREREQFUNC_ABORT;
    }
    x->connected = true;
    x->fd = socket_by_port(x->transport, local_port);
    x->heard = last_arrival(x->transport, x->fd);
    if (x->ops.connected)
        x->ops.connected(x->ctx);
    return CURL_PREREQFUNC_OK;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    struct ds_transport *t = ctx;
    (void)easy;
    (void)unused;
    unsigned watch = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        watch |= DS_WATCH_READ;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        watch |= DS_WATCH_WRITE;
    note_watch(t, fd, watch != 0);
    t->ops.watch(t->ctx, fd, watch);
    return 0;
}

/* While we have asked for a time-out at once, libcurl's time does not matter: it says it again
 * after each one. */
static int on_timer(CURLM *multi, long ms, void *ctx)
{
    struct ds_transport *t = ctx;
    (void)multi;
    if (!t->asked)
        t->ops.timer(t->ctx, ms);
    return 0;
}

/* --- driving ---------------------------------------------------------------------------------- */

static void resume(struct ds_transfer *x)
{
    if (x->paused)
        return; /* paused again meanwhile */
    if (x->ended) {
        report_end(x);
        return;
    }
    if (!x->held)
        return;
    x->held = false;
    x->transport->inside = true;
    CURLcode code = curl_easy_pause(x->easy, CURLPAUSE_CONT);
    x->transport->inside = false;
    if (x->cancelled)
        transfer_free(x);
    else if (code != CURLE_OK)
        finish(x, code);
}

static void work_on(struct ds_transfer *x)
{
    if (x->cancelled) {
        transfer_free(x);
    } else if (x->added || x->ended) {
        resume(x);
    } else {
        if (!attach(x))
            finish(x, CURLE_OUT_OF_MEMORY);
    }
}

/* Does what was put off until now, not what that brings up. */
static void do_work(struct ds_transport *t)
{
    struct ds_transfer *x, mark = {.transport = t};
    if (!t->work)
        return;
    queue(&mark);
    while ((x = unqueue(t)) != &mark)
        work_on(x);
    if (t->work)
        ask(t);
}

/* Frees what was cancelled from inside a callback. */
static void reap(struct ds_transport *t)
{
    struct ds_transfer *next;
    for (struct ds_transfer *x = t->work; x; x = next) {
        next = x->next_work;
        if (x->cancelled)
            transfer_free(x);
    }
}

static void act(struct ds_transport *t, curl_socket_t fd, int what)
{
    int running, left;
    CURLMsg *m;
    t->inside = true;
    curl_multi_socket_action(t->multi, fd, what, &running);
    t->inside = false;
    reap(t);
    while ((m = curl_multi_info_read(t->multi, &left))) {
        char *x = NULL;
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &x) == CURLE_OK && x)
            finish((struct ds_transfer *)(void *)x, m->data.result);
    }
}

void ds_transport_ready(struct ds_transport *t, int fd, unsigned what)
{
    int mask = (what & DS_WATCH_READ ? CURL_CSELECT_IN : 0) |
               (what & DS_WATCH_WRITE ? CURL_CSELECT_OUT : 0);
    if (what & DS_WATCH_READ)
        note_arrival(t, fd);
    act(t, fd, mask ? mask : CURL_CSELECT_ERR);
}

/* A pause for no time makes libcurl say what it has to say on the transfer's connection. */
static void flush_by(struct ds_transfer *x)
{
    x->transport->inside = true;
    (void)curl_easy_pause(x->easy, CURLPAUSE_RECV);
    (void)curl_easy_pause(x->easy, CURLPAUSE_CONT);
    x->transport->inside = false;
}

static void flush_sockets(struct ds_transport *t)
{
    if (!t->flush)
        return;
    t->flush = false;
    for (struct ds_transfer *x = t->transfers; x; x = x->next) {
        struct socket *s = socket_of(t, x->fd);
        if (!s || !s->flush || x->paused || !ds_transfer_shares(x))
            continue;
        s->flush = false;
        flush_by(x);
    }
}

void ds_transport_timeout(struct ds_transport *t)
{
    t->asked = false;
    do_work(t);
    flush_sockets(t);
    act(t, CURL_SOCKET_TIMEOUT, 0);
}

/* --- transports ------------------------------------------------------------------------------- */

static CURLcode global_result;

static void global_init(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* For the whole process, and never undone: others may use libcurl as well. */
static bool curl_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    return pthread_once(&once, global_init) == 0 && global_result == CURLE_OK;
}

struct ds_transport *ds_transport_new(const struct ds_transport_ops *ops, void *ctx)
{
    struct ds_transport *t = curl_ready() ? ds_calloc(1, sizeof *t) : NULL;
    if (!t)
        return NULL;
    t->ops = *ops;
    t->ctx = ctx;
    t->work_end = &t->work;
    t->multi = curl_multi_init();
    if (!t->multi) {
        ds_free(t);
        return NULL;
    }
    curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
    curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
    return t;
}

void ds_transport_free(struct ds_transport *t)
{
    if (!t)
        return;
    curl_multi_cleanup(t->multi);
    ds_free(t->sockets);
    ds_free(t);
}

/* --- requests --------------------------------------------------------------------------------- */

/* Sets an option, keeping the first error. A macro, for libcurl checks the types. */
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (rc == CURLE_OK)                                                                        \
            rc = curl_easy_setopt(x->easy, (option), (value));                                     \
    } while (0)

static CURLcode set_method(struct ds_transfer *x)
{
    CURLcode rc = CURLE_OK;
    switch (x->method) {
    case DS_GET:
        break;
    case DS_HEAD:
        SET(CURLOPT_NOBODY, 1L);
        break;
    case DS_DELETE:
        SET(CURLOPT_CUSTOMREQUEST, "DELETE");
        break;
    case DS_PUT:
    case DS_POST:
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_CUSTOMREQUEST, x->method == DS_POST ? "POST" : "PUT");
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body_len);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, x);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, x);
        if (x->method == DS_POST)
            SET(CURLOPT_MAXAGE_CONN, POST_IDLE_S);
        break;
    }
    return rc;
}

static CURLcode set_callbacks(struct ds_transfer *x)
{
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_PRIVATE, x);
    SET(CURLOPT_ERRORBUFFER, x->error);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_PREREQFUNCTION, on_connected);
    SET(CURLOPT_PREREQDATA, x);
    return rc;
}

static CURLcode set_up(struct ds_transfer *x, const struct ds_session *s,
                       const struct ds_request *req)
{
    char agent[64] = "dstream/";
    CURLcode rc = ds_session_connection(s, x->easy, x->url, req->send_user_headers);
    if (rc == CURLE_OK)
        rc = set_callbacks(x);
    if (rc == CURLE_OK)
        rc = set_method(x);
    strncat(agent, dstream_version(), sizeof agent - strlen(agent) - 1);
    SET(CURLOPT_URL, x->url);
    SET(CURLOPT_USERAGENT, agent);
    SET(CURLOPT_BUFFERSIZE, req->little ? LITTLE_SIZE : RECEIVE_SIZE);
    SET(CURLOPT_HTTPHEADER, x->headers);
    return rc;
}

static enum dstream_code collect_headers(struct ds_transfer *x, const struct ds_session *s,
                                         const struct ds_request *req)
{
    enum dstream_code rc = ds_slist_line(&x->headers, "Expect:");
    if (rc == DSTREAM_OK && s->compressed)
        rc = ds_slist_line(&x->headers, "Accept-Encoding: gzip");
    for (size_t i = 0; i < req->nheaders && rc == DSTREAM_OK; i++)
        rc = ds_slist_header(&x->headers, req->headers[i]);
    if (!req->send_user_headers)
        return rc;
    for (const struct curl_slist *h = s->headers; h && rc == DSTREAM_OK; h = h->next)
        rc = ds_slist_line(&x->headers, h->data);
    return rc;
}

struct ds_transfer *ds_transfer_start(struct ds_session *s, const struct ds_request *req,
                                      const struct ds_transfer_ops *ops, void *ctx)
{
    struct ds_transfer *x = ds_calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->transport = s->transport;
    x->fd = -1;
    x->ops = *ops;
    x->ctx = ctx;
    x->method = req->method;
    x->compressed = s->compressed;
    x->body = req->body;
    x->body_len = req->body_len;
    ds_head_lines_init(&x->head, s->max_head);
    x->url = ds_strdup(req->url);
    x->easy = curl_easy_init();
    if (!x->url || !x->easy || collect_headers(x, s, req) != DSTREAM_OK ||
        set_up(x, s, req) != CURLE_OK) {
        transfer_free(x);
        return NULL;
    }
    queue(x);
    ask(x->transport);
    return x;
}

void ds_transfer_resume(struct ds_transfer *x)
{
    if (!x->paused)
        return;
    x->paused = false;
    queue(x);
    ask(x->transport);
}

bool ds_transfer_left(const struct ds_transfer *x)
{
    return x->connected;
}

bool ds_transfer_shares(const struct ds_transfer *x)
{
    long version = 0;
    return curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version) == CURLE_OK &&
           version >= CURL_HTTP_VERSION_2_0;
}

void ds_transfer_abandon(struct ds_transfer *x)
{
    if (!x)
        return;
    /* libcurl finds the end of it for each transfer, and when it looks for one to use again. */
    if (x->added && x->fd >= 0 && x->heard == last_arrival(x->transport, x->fd))
        (void)shutdown(x->fd, SHUT_RDWR);
    ds_transfer_cancel(x);
}

void ds_transfer_cancel(struct ds_transfer *x)
{
    if (!x)
        return;
    x->cancelled = true;
    if (x->transport->inside)
        queue(x);
    else
        transfer_free(x);
}
