/* SPDX-License-Identifier: Apache-2.0 */
#include "producer/call.h"

#include <string.h>

#include "base/alloc.h"
#include "base/header.h"
#include "base/reason.h"
#include "base/redirect.h"
#include "base/status.h"
#include "base/url.h"

#define URL_MAX  ((size_t)64 * 1024)
#define LINE_MAX ((size_t)DS_HEADER_MAX)
#define LINES    4 /* headers of one request, at the most */
/* The slowest upload that is waited for, bytes a millisecond: a limit on the time until the head of
 * an answer would else be a limit on the size of a body. */
#define SLOWEST 32
/* An error answer is only looked at for its reason. */
#define BODY_MAX ((uint64_t)64 * 1024)

enum state {
    ST_SEND,      /* a request is due */
    ST_UNDER_WAY, /* one is sent */
    ST_FAILED,    /* one failed, and may be sent again */
    ST_PAUSE,     /* waiting to do so */
    ST_DONE
};

/* What one request has brought so far. Reset as a whole. */
struct attempt {
    int64_t due; /* the connection, then its head, then its end */
    bool left;   /* bytes of it may have */
    bool head;
    bool too_long; /* a field over our limits */
    bool no_memory;
    bool gap; /* Producer-Expected-Seq */
    bool html;
    int64_t retry_after;
    uint64_t body;
    struct ds_reason reason;
};

struct ds_call {
    enum ds_call_kind kind;
    struct ds_limits limits;
    const void *body;
    size_t body_len;
    struct ds_buf url;    /* as configured */
    struct ds_buf target; /* where a redirect led; empty: none did */
    struct ds_buf moved;  /* where the answer under way redirects to; empty: nowhere */
    struct ds_buf lines[LINES];
    const char *headers[LINES];
    size_t nheaders;

    enum state state;
    bool begun;
    int64_t started; /* the first request */
    int64_t resume;  /* ST_PAUSE: until then */
    unsigned failures, hops;
    bool stripped; /* a redirect has left the origin */
    struct attempt at;
    struct ds_call_result result;
    struct dstream_error error;
};

static const enum ds_method methods[] = {
    [DS_CALL_CREATE] = DS_PUT,    [DS_CALL_APPEND] = DS_POST, [DS_CALL_CLOSE] = DS_POST,
    [DS_CALL_DELETE] = DS_DELETE, [DS_CALL_STAT] = DS_HEAD,
};

/* --- setting up ------------------------------------------------------------------------------- */

static enum dstream_code refuse(struct dstream_error *err, const char *why)
{
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%s", why);
}

/* type "/" subtype, and what may follow (RFC 9110, section 8.3.1): a server may take anything else
 * for a type of its own choice. */
static bool is_type(const char *s)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t type = strspn(s, token);
    size_t subtype = s[type] == '/' ? strspn(s + type + 1, token) : 0;
    if (type == 0 || subtype == 0)
        return false;
    const char *rest = s + type + 1 + subtype;
    rest += strspn(rest, " \t");
    return *rest == '\0' || *rest == ';';
}

static enum dstream_code check(const struct ds_call_config *c, struct dstream_error *err)
{
    if (!ds_url_valid(c->url))
        return refuse(err, "not a URL of http or https");
    if (c->content_type && (!ds_header_value_ok(c->content_type) || !is_type(c->content_type) ||
                            strlen(c->content_type) > DS_TYPE_MAX))
        return refuse(err, "not a content type, as application/json");
    if ((c->ttl && !ds_header_value_ok(c->ttl)) || (c->expires && !ds_header_value_ok(c->expires)))
        return refuse(err, "not a time that can be sent");
    if (c->ttl && c->expires)
        return refuse(err, "a stream has either a TTL or a time at which it expires");
    if (c->kind == DS_CALL_APPEND && c->body_len == 0)
        return refuse(err, "there is nothing to append");
    return DSTREAM_OK;
}

static enum dstream_code add_line(struct ds_call *c, const char *name, const char *value)
{
    struct ds_buf *line = &c->lines[c->nheaders];
    enum dstream_code rc = ds_buf_addf(line, "%s: %s", name, value);
    const char *text = rc == DSTREAM_OK ? ds_buf_str(line) : NULL;
    if (!text)
        return rc == DSTREAM_OK ? DSTREAM_ERR_NOMEM : rc;
    c->headers[c->nheaders++] = text;
    return DSTREAM_OK;
}

static enum dstream_code add_lines(struct ds_call *c, const struct ds_call_config *config)
{
    enum dstream_code rc = DSTREAM_OK;
    bool closes = config->kind == DS_CALL_CLOSE || config->close;
    if (config->content_type)
        rc = add_line(c, "Content-Type", config->content_type);
    if (config->ttl && rc == DSTREAM_OK)
        rc = add_line(c, "Stream-TTL", config->ttl);
    if (config->expires && rc == DSTREAM_OK)
        rc = add_line(c, "Stream-Expires-At", config->expires);
    if (closes && rc == DSTREAM_OK)
        rc = add_line(c, "Stream-Closed", "true");
    return rc;
}

enum dstream_code ds_call_new(struct ds_call **out, const struct ds_call_config *config,
                              struct dstream_error *err)
{
    *out = NULL;
    enum dstream_code rc = check(config, err);
    if (rc != DSTREAM_OK)
        return rc;
    struct ds_call *c = ds_calloc(1, sizeof *c);
    if (!c)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a request");
    c->kind = config->kind;
    c->limits = config->limits;
    c->body = config->body;
    c->body_len = config->body_len;
    ds_buf_init(&c->url, URL_MAX);
    ds_buf_init(&c->target, URL_MAX);
    ds_buf_init(&c->moved, URL_MAX);
    for (size_t i = 0; i < LINES; i++)
        ds_buf_init(&c->lines[i], LINE_MAX);
    ds_error_set_url(&c->error, config->url);
    rc = ds_url_build(&c->url, config->url, NULL, 0);
    if (rc == DSTREAM_OK && !ds_buf_str(&c->url))
        rc = DSTREAM_ERR_NOMEM;
    if (rc == DSTREAM_OK)
        rc = add_lines(c, config);
    if (rc != DSTREAM_OK) {
        ds_call_free(c);
        return ds_error_set(err, rc, "this request cannot be made: %s", dstream_code_text(rc));
    }
    *out = c;
    return DSTREAM_OK;
}

void ds_call_free(struct ds_call *c)
{
    if (!c)
        return;
    ds_buf_free(&c->url);
    ds_buf_free(&c->target);
    ds_buf_free(&c->moved);
    for (size_t i = 0; i < LINES; i++)
        ds_buf_free(&c->lines[i]);
    ds_free(c);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void succeed(struct ds_call *c)
{
    c->error.code = DSTREAM_OK;
    c->error.message[0] = '\0';
    c->state = ST_DONE;
}

/* The end with c->error. An append says by its code that it is in doubt; of the other writes, which
 * may be repeated, it is said beside what the last try came to. */
static void end(struct ds_call *c)
{
    struct dstream_error was = c->error;
    c->state = ST_DONE;
    if (c->failures > 1)
        ds_error_set(&c->error, was.code, "%.380s, after %u tries", was.message, c->failures);
    was = c->error;
    if (c->result.ambiguous && c->kind != DS_CALL_APPEND && c->kind != DS_CALL_STAT)
        ds_error_set(&c->error, was.code, "%.400s (%s may have been carried out)", was.message,
                     was.code == DSTREAM_ERR_CANCELLED ? "it" : "an earlier try");
}

/* The failure that c->error tells of. `left`: the request may have been carried out. */
static void fail(struct ds_call *c, bool retryable, bool left)
{
    struct dstream_error was = c->error;
    c->result.ambiguous |= left;
    if (left && c->kind == DS_CALL_APPEND) {
        ds_error_set(&c->error, DSTREAM_ERR_OUTCOME_UNKNOWN,
                     "the data may be stored or not: %.400s", was.message);
        c->state = ST_DONE;
    } else if (retryable) {
        c->failures++;
        c->state = ST_FAILED;
    } else {
        end(c);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

static bool next_is_good(const struct ds_call *c)
{
    const char *s = c->result.next;
    return ds_token_check(s, strlen(s)) == DSTREAM_OK && !ds_token_is_sentinel(s);
}

/* Whether an append that got this answer is certainly not stored. Beside what the protocol's rule
 * for producers counts, these: each is given for the request's head alone, by whoever will not pass
 * its body on. */
static bool is_refusal(int status)
{
    static const int of_the_head[] = {405, 407, 411, 414, 425, 431, 501, 505};
    for (size_t i = 0; i < sizeof of_the_head / sizeof *of_the_head; i++) {
        if (of_the_head[i] == status)
            return true;
    }
    return ds_status_definite(status);
}

/* In words, what the status says of this call. */
static const char *meaning(const struct ds_call *c, enum dstream_code code)
{
    switch (code) {
    case DSTREAM_ERR_GONE:
        return "the stream was deleted, and only its forks are left";
    case DSTREAM_ERR_CLOSED:
        return "the stream is closed";
    case DSTREAM_ERR_CONFLICT:
        if (c->kind == DS_CALL_CREATE)
            return "the stream exists with another type, expiry or state";
        return c->at.gap ? "the server expects another producer sequence number"
                         : "the stream is of another type, or the sequence went back";
    default:
        return dstream_code_text(code);
    }
}

static void refused(struct ds_call *c, enum dstream_code code)
{
    const char *reason = ds_reason_line(&c->at.reason, c->result.content_type);
    int status = c->result.status;
    if (code == DSTREAM_ERR_CLOSED && next_is_good(c)) {
        ds_error_set_offset(&c->error, c->result.next);
        ds_error_set(&c->error, code, "%s (%d), and ends at %.300s", meaning(c, code), status,
                     c->result.next);
    } else if (reason[0]) {
        ds_error_set(&c->error, code, "%s (%d): \"%s\"", meaning(c, code), status, reason);
    } else {
        ds_error_set(&c->error, code, "%s (%d)", meaning(c, code), status);
    }
}

/* A 409 is told apart in the protocol's order. A stream that exists with another configuration may
 * also be closed, and a close asks for no more than that. */
static void conflict(struct ds_call *c)
{
    bool closed = c->result.closed && c->kind != DS_CALL_CREATE;
    if (closed && c->kind == DS_CALL_CLOSE && next_is_good(c)) {
        succeed(c);
        return;
    }
    refused(c, closed ? DSTREAM_ERR_CLOSED : DSTREAM_ERR_CONFLICT);
    fail(c, false, false);
}

/* A 2xx. Only the answer of a stream server counts: a page that some proxy puts in its place, with
 * status 200, must not look like a stored append. */
static void accepted(struct ds_call *c)
{
    bool told = c->kind == DS_CALL_STAT || c->kind == DS_CALL_CREATE; /* the type matters */
    bool good = c->kind == DS_CALL_DELETE ? !c->at.html : next_is_good(c);
    if (good && !(told && c->at.too_long)) {
        succeed(c);
        return;
    }
    ds_error_set(&c->error, c->at.too_long ? DSTREAM_ERR_LIMIT : DSTREAM_ERR_PROTOCOL, "%s (%d)",
                 c->at.too_long              ? "a header of the answer is too long"
                 : c->kind == DS_CALL_DELETE ? "this is not the answer of a stream server"
                 : c->result.next[0] == '\0' ? "the answer has no Stream-Next-Offset"
                                             : "the answer has a malformed Stream-Next-Offset",
                 c->result.status);
    fail(c, false, true);
}

static const char *current(const struct ds_call *c)
{
    return c->target.len > 0 ? c->target.data : c->url.data;
}

/* Nothing was carried out where an answer redirects. */
static void redirected(struct ds_call *c)
{
    const char *to = c->moved.len > 0 ? c->moved.data : NULL;
    enum ds_redirect how = ds_redirect_decide(methods[c->kind], c->result.status, current(c), to,
                                              c->hops, c->limits.redirects);
    if (how == DS_REDIRECT_REFUSE) {
        char shown[200] = "";
        if (to)
            ds_url_redact(to, shown, sizeof shown);
        ds_error_set(
            &c->error, DSTREAM_ERR_REDIRECT, "a redirect%s%s is not followed (%d): %s",
            shown[0] ? " to " : "", shown, c->result.status,
            ds_redirect_reason(c->result.status, current(c), to, c->hops, c->limits.redirects));
        fail(c, false, false);
        return;
    }
    struct ds_buf old = c->target;
    c->target = c->moved;
    c->moved = old;
    c->stripped |= how == DS_REDIRECT_STRIPPED;
    c->hops++;
    c->state = ST_SEND;
}

/* A stream that is not there any more after a try whose answer was lost was deleted by that one. */
static bool is_deleted(const struct ds_call *c, enum dstream_code code)
{
    return c->kind == DS_CALL_DELETE && c->result.ambiguous &&
           (code == DSTREAM_ERR_NOT_FOUND || code == DSTREAM_ERR_GONE);
}

/* The head has come, which is all that counts: whether the body was whole or not. */
static void answered(struct ds_call *c)
{
    enum dstream_code code = ds_status_code(c->result.status);
    c->error.status = c->result.status;
    if (c->at.no_memory) {
        ds_error_set(&c->error, DSTREAM_ERR_NOMEM, "no memory for an answer");
        fail(c, false, true);
    } else if (code == DSTREAM_OK) {
        accepted(c);
    } else if (code == DSTREAM_ERR_REDIRECT) {
        redirected(c);
    } else if (is_deleted(c, code)) {
        succeed(c);
    } else if (code == DSTREAM_ERR_CONFLICT) {
        conflict(c);
    } else {
        refused(c, code);
        fail(c, ds_status_retryable(c->result.status), !is_refusal(c->result.status));
    }
}

/* --- what comes back -------------------------------------------------------------------------- */

/* Copies a field; one that does not fit is left out, and counts as too long. */
static void copy_field(struct ds_call *c, const struct ds_head *h, const char *name, char *out,
                       size_t size)
{
    const char *value = ds_head_get(h, name);
    size_t n = value ? strlen(value) : 0;
    if (n >= size) {
        c->at.too_long = true;
        n = 0;
    }
    if (n > 0)
        memcpy(out, value, n);
    out[n] = '\0';
}

/* What a body of this size may take to be sent, milliseconds. */
static int64_t upload_time(const struct ds_call *c)
{
    return (int64_t)(c->body_len / SLOWEST);
}

void ds_call_connected(struct ds_call *c, int64_t now)
{
    if (c->state != ST_UNDER_WAY || c->at.left)
        return;
    c->at.left = true;
    if (!c->at.head)
        c->at.due = now + c->limits.header + upload_time(c);
}

void ds_call_head(struct ds_call *c, const struct ds_head *head, int64_t now)
{
    struct ds_call_result *r = &c->result;
    if (c->state != ST_UNDER_WAY || c->at.head)
        return;
    c->at.head = true;
    c->at.due = now + c->limits.header;
    c->at.retry_after = head->retry_after_ms;
    c->at.gap = ds_head_get(head, "producer-expected-seq") != NULL;
    r->status = head->status;
    r->closed = ds_head_is_true(head, "stream-closed");
    copy_field(c, head, "stream-next-offset", r->next, sizeof r->next);
    copy_field(c, head, "content-type", r->content_type, sizeof r->content_type);
    copy_field(c, head, "stream-ttl", r->ttl, sizeof r->ttl);
    copy_field(c, head, "stream-expires-at", r->expires, sizeof r->expires);
    char media[32];
    ds_media_type(r->content_type, media, sizeof media);
    c->at.html = strcmp(media, "text/html") == 0;
    c->moved.len = 0;
    if (!head->redirect)
        return;
    enum dstream_code rc = ds_buf_adds(&c->moved, head->redirect);
    if (rc == DSTREAM_ERR_LIMIT)
        c->moved.len = 0;
    else if (rc != DSTREAM_OK || !ds_buf_str(&c->moved))
        c->at.no_memory = true;
}

void ds_call_body(struct ds_call *c, const char *p, size_t n)
{
    if (c->state != ST_UNDER_WAY)
        return;
    c->at.body += n;
    ds_reason_add(&c->at.reason, p, n);
}

void ds_call_end(struct ds_call *c, const struct ds_result *result)
{
    if (c->state != ST_UNDER_WAY)
        return;
    if (c->at.head) {
        answered(c);
        return;
    }
    /* Whole, and yet without a head: not HTTP. */
    enum dstream_code code =
        result->end == DS_END_COMPLETE ? DSTREAM_ERR_PROTOCOL : ds_end_code(result->end);
    const char *detail = result->detail && result->detail[0] ? result->detail : NULL;
    ds_error_set(&c->error, code, "%s%s%.300s", dstream_code_text(code), detail ? ": " : "",
                 detail ? detail : "");
    c->error.status = 0;
    fail(c, ds_end_retryable(result->end), result->connected || c->at.left);
}

void ds_call_aborted(struct ds_call *c)
{
    if (c->state != ST_UNDER_WAY)
        return;
    if (c->at.head) {
        answered(c);
        return;
    }
    c->error.status = 0;
    ds_error_set(&c->error, c->at.left ? DSTREAM_ERR_TIMEOUT : DSTREAM_ERR_CONNECT, "%s",
                 c->at.left ? "no answer came in time" : "no connection came about in time");
    fail(c, true, c->at.left);
}

void ds_call_cancel(struct ds_call *c)
{
    if (c->state == ST_DONE)
        return;
    if (c->state == ST_UNDER_WAY && c->at.head)
        answered(c);
    else if (c->state == ST_UNDER_WAY) {
        ds_error_set(&c->error, DSTREAM_ERR_CANCELLED, "stopped before an answer came");
        fail(c, false, c->at.left);
    }
    if (c->state == ST_DONE)
        return;
    ds_error_set(&c->error, DSTREAM_ERR_CANCELLED, "stopped between two tries");
    end(c);
}

/* --- steps ------------------------------------------------------------------------------------ */

/* The one place that makes a request: everything of the last one is forgotten here. */
static struct ds_call_step send(struct ds_call *c, int64_t now)
{
    bool ambiguous = c->result.ambiguous;
    memset(&c->at, 0, sizeof c->at);
    memset(&c->result, 0, sizeof c->result);
    c->result.ambiguous = ambiguous;
    c->error.status = 0;
    c->error.offset[0] = '\0';
    c->at.retry_after = -1;
    /* Transport limits the time for connecting; this is in case that does not hold. */
    c->at.due = now + c->limits.connect + c->limits.header;
    c->state = ST_UNDER_WAY;
    bool body = c->kind == DS_CALL_CREATE || c->kind == DS_CALL_APPEND || c->kind == DS_CALL_CLOSE;
    return (struct ds_call_step){
        .kind = DS_CALL_STEP_REQUEST,
        .request = {.method = methods[c->kind],
                    .url = current(c),
                    .headers = c->headers,
                    .nheaders = c->nheaders,
                    .send_user_headers = !c->stripped,
                    .body = body && c->body_len > 0 ? c->body
                            : body                  ? ""
                                                    : NULL,
                    .body_len = body ? c->body_len : 0},
    };
}

static struct ds_call_step wait_until(int64_t at)
{
    return (struct ds_call_step){.kind = DS_CALL_STEP_WAIT, .until = at};
}

static struct ds_call_step under_way(struct ds_call *c, int64_t now)
{
    if (now < c->at.due && c->at.body <= BODY_MAX)
        return wait_until(c->at.due);
    return (struct ds_call_step){.kind = DS_CALL_STEP_ABORT, .silent = now >= c->at.due};
}

/* Plans the next try, from the URL as it was given. */
static struct ds_call_step failed(struct ds_call *c, int64_t now, uint64_t random)
{
    const struct ds_limits *l = &c->limits;
    int64_t wait = ds_backoff(l, c->failures - 1, random), want = c->at.retry_after;
    int64_t floor = want < l->retry_after_max ? want : l->retry_after_max;
    bool asked = floor > wait;
    if (asked)
        wait = floor;
    bool late = wait > l->retry_time + upload_time(c) - (now - c->started);
    if (c->failures > l->retries || late) {
        struct dstream_error was = c->error;
        if (late && asked) /* it would take us later: no failure of the server */
            ds_error_set(&c->error, DSTREAM_ERR_BUSY,
                         "%.380s, and asks for a pause of %lld s, which is too long", was.message,
                         (long long)((want + 999) / 1000));
        end(c);
        return (struct ds_call_step){.kind = DS_CALL_STEP_DONE};
    }
    c->hops = 0;
    c->stripped = false;
    c->target.len = 0;
    c->resume = now + wait;
    c->state = ST_PAUSE;
    return (struct ds_call_step){.kind = DS_CALL_STEP_NOTICE, .delay = wait};
}

struct ds_call_step ds_call_step(struct ds_call *c, int64_t now, uint64_t random)
{
    if (!c->begun) {
        c->begun = true;
        c->started = now;
    }
    switch (c->state) {
    case ST_SEND:
        return send(c, now);
    case ST_UNDER_WAY:
        return under_way(c, now);
    case ST_FAILED:
        return failed(c, now, random);
    case ST_PAUSE:
        return now < c->resume ? wait_until(c->resume) : send(c, now);
    case ST_DONE:
        break;
    }
    return (struct ds_call_step){.kind = DS_CALL_STEP_DONE};
}

const struct ds_call_result *ds_call_result(const struct ds_call *c)
{
    return &c->result;
}

const struct dstream_error *ds_call_error(const struct ds_call *c)
{
    return &c->error;
}
