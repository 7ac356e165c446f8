/* SPDX-License-Identifier: Apache-2.0 */
#include "producer/call.h"

#include <string.h>

#include "base/alloc.h"
#include "base/header.h"
#include "base/status.h"
#include "base/url.h"
#include "producer/exchange.h"

#define LINE_MAX ((size_t)DS_HEADER_MAX)
#define LINES    12 /* headers of one request, at the most */

enum state {
    ST_SEND,      /* a request is due */
    ST_UNDER_WAY, /* one is sent */
    ST_FAILED,    /* one failed, and may be sent again */
    ST_PAUSE,     /* waiting to do so */
    ST_AUTH,      /* other credentials are due */
    ST_DONE
};

struct ds_call {
    enum ds_call_kind kind;
    struct ds_limits limits;
    const void *body;
    size_t body_len;
    struct ds_buf url; /* as configured */
    struct ds_buf lines[LINES];
    const char *headers[LINES];
    size_t nheaders;

    enum state state;
    bool begun;
    bool identity, proven;
    bool auth_hook;  /* was not asked yet */
    int64_t started; /* the first request */
    int64_t resume;  /* ST_PAUSE: until then */
    unsigned failures;
    struct ds_exchange x;
    bool html;   /* the answer is a page */
    bool fenced; /* or names an epoch */
    struct ds_call_result result;
    struct dstream_error refusal; /* of the credentials; code DSTREAM_OK: there was none */
    struct dstream_error error, cause;
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

static bool is_value(const char *s)
{
    return !s || (s[0] && ds_header_value_ok(s));
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
    if (!is_value(c->seq))
        return refuse(err, "not a sequence that can be sent");
    if (!is_value(c->fork_from) || !is_value(c->fork_offset))
        return refuse(err, "not a stream's path, or an offset, that can be sent");
    if (c->kind == DS_CALL_APPEND && c->body_len == 0)
        return refuse(err, "there is nothing to append");
    return DSTREAM_OK;
}

/* Nothing where there is no value. */
static enum dstream_code add_line(struct ds_call *c, const char *name, const char *value)
{
    struct ds_buf *line = &c->lines[c->nheaders];
    if (!value)
        return DSTREAM_OK;
    enum dstream_code rc = ds_buf_addf(line, "%s: %s", name, value);
    const char *text = rc == DSTREAM_OK ? ds_buf_str(line) : NULL;
    if (!text)
        return rc == DSTREAM_OK ? DSTREAM_ERR_NOMEM : rc;
    c->headers[c->nheaders++] = text;
    return DSTREAM_OK;
}

static const char *number(uint64_t n, char out[21])
{
    char *at = out + 20;
    *at = '\0';
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    return at;
}

static enum dstream_code add_lines(struct ds_call *c, const struct ds_call_config *config)
{
    char skip[21], seq[21];
    bool closes = config->kind == DS_CALL_CLOSE || config->close;
    const struct {
        const char *name, *value;
    } all[] = {
        {"Content-Type", config->content_type},
        {"Stream-TTL", config->ttl},
        {"Stream-Expires-At", config->expires},
        {"Stream-Closed", closes ? "true" : NULL},
        {"Stream-Forked-From", config->fork_from},
        {"Stream-Fork-Offset", config->fork_offset},
        {"Stream-Fork-Sub-Offset", config->fork_skip > 0 ? number(config->fork_skip, skip) : NULL},
        {"Stream-Seq", config->seq},
        {"Producer-Id", config->producer_id},
        {"Producer-Epoch", config->producer_id ? "0" : NULL},
        {"Producer-Seq", config->producer_id ? number(config->producer_seq, seq) : NULL},
    };
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all && rc == DSTREAM_OK; i++)
        rc = add_line(c, all[i].name, all[i].value);
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
    c->identity = config->producer_id != NULL;
    c->proven = config->proven;
    c->auth_hook = config->auth_hook;
    ds_buf_init(&c->url, DS_URL_MAX);
    for (size_t i = 0; i < LINES; i++)
        ds_buf_init(&c->lines[i], LINE_MAX);
    ds_error_set_url(&c->error, config->url);
    rc = ds_url_build(&c->url, config->url, NULL, 0);
    if (rc == DSTREAM_OK && !ds_buf_str(&c->url))
        rc = DSTREAM_ERR_NOMEM;
    if (rc == DSTREAM_OK)
        rc = add_lines(c, config);
    ds_exchange_init(&c->x, methods[c->kind], c->url.data);
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
    ds_exchange_free(&c->x);
    for (size_t i = 0; i < LINES; i++)
        ds_buf_free(&c->lines[i]);
    ds_free(c);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void succeed(struct ds_call *c)
{
    c->error.code = DSTREAM_OK;
    c->error.message[0] = '\0';
    c->cause = c->error;
    c->state = ST_DONE;
}

/* The end with c->error. An append says by its code that it is in doubt, whatever its last try came
 * to; of the other writes, which may be repeated, it is said beside that. */
static void end(struct ds_call *c)
{
    struct dstream_error was = c->error;
    c->state = ST_DONE;
    if (c->failures > 1)
        ds_error_set(&c->error, was.code, "%.380s, after %u tries", was.message, c->failures);
    was = c->cause = c->error;
    if (!c->result.ambiguous || c->kind == DS_CALL_STAT)
        return;
    if (c->kind == DS_CALL_APPEND)
        ds_error_set(&c->error, DSTREAM_ERR_OUTCOME_UNKNOWN,
                     "the data may be stored or not: %.400s", was.message);
    else
        ds_error_set(&c->error, was.code, "%.400s (%s may have been carried out)", was.message,
                     was.code == DSTREAM_ERR_CANCELLED ? "it" : "an earlier try");
}

/* Whether it may be sent again though a try of it may have been carried out. With an identity a
 * server that has producers stores it once. One that has none, and stores an append before it
 * answers with an error, stores it twice; one whose answer was lost would do so more often, so that
 * it has to be known which kind it is. */
static bool is_repeatable(const struct ds_call *c)
{
    if (c->kind != DS_CALL_APPEND)
        return true;
    return c->identity && (c->x.head || c->proven);
}

/* The failure that c->error tells of. `left`: the request may have been carried out. */
static void fail(struct ds_call *c, bool retryable, bool left)
{
    c->result.ambiguous |= left;
    if (retryable && (!left || is_repeatable(c))) {
        c->failures++;
        c->state = ST_FAILED;
    } else {
        end(c);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

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
        return c->result.gap ? "the server expects another producer sequence number"
                             : "the stream is of another type, or the sequence went back";
    default:
        return dstream_code_text(code);
    }
}

static void refused(struct ds_call *c, enum dstream_code code)
{
    ds_exchange_refused(&c->x, code, meaning(c, code), &c->error);
}

/* A 409 is told apart in the protocol's order. A stream that exists with another configuration may
 * also be closed, and a close asks for no more than that. */
static void conflict(struct ds_call *c)
{
    bool closed = c->result.closed && c->kind != DS_CALL_CREATE;
    if (closed && c->kind == DS_CALL_CLOSE && ds_exchange_has_next(&c->x)) {
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
    bool echoed = c->identity && c->result.echoed;
    bool good = c->kind == DS_CALL_DELETE ? !c->html : ds_exchange_has_next(&c->x) || echoed;
    if (echoed)
        c->result.ambiguous = false; /* stored once, by this try or an earlier one */
    if (good && !(told && c->x.too_long)) {
        succeed(c);
        return;
    }
    ds_error_set(&c->error, c->x.too_long ? DSTREAM_ERR_LIMIT : DSTREAM_ERR_PROTOCOL, "%s (%d)",
                 c->x.too_long               ? "a header of the answer is too long"
                 : c->kind == DS_CALL_DELETE ? "this is not the answer of a stream server"
                 : c->result.next[0] == '\0' ? "the answer has no Stream-Next-Offset"
                                             : "the answer has a malformed Stream-Next-Offset",
                 c->result.status);
    fail(c, false, true);
}

/* Nothing was carried out where an answer redirects. */
static void redirected(struct ds_call *c)
{
    if (ds_exchange_follow(&c->x, &c->limits, &c->error))
        c->state = ST_SEND;
    else
        fail(c, false, false);
}

/* A stream that is not there any more after a try whose answer was lost was deleted by that one. */
static bool is_deleted(const struct ds_call *c, enum dstream_code code)
{
    return c->kind == DS_CALL_DELETE && c->result.ambiguous &&
           (code == DSTREAM_ERR_NOT_FOUND || code == DSTREAM_ERR_GONE);
}

/* Once: those that the hook gave are refused for good. */
static bool wants_credentials(const struct ds_call *c)
{
    int status = c->result.status;
    return c->auth_hook && (status == 401 || (status == 403 && !c->fenced));
}

/* The head has come, which is all that counts: whether the body was whole or not. */
static void answered(struct ds_call *c)
{
    enum dstream_code code = ds_status_code(c->result.status);
    c->error.status = c->result.status;
    if (c->x.no_memory) {
        ds_error_set(&c->error, DSTREAM_ERR_NOMEM, "no memory for an answer");
        fail(c, false, true);
    } else if (code == DSTREAM_OK) {
        accepted(c);
    } else if (code == DSTREAM_ERR_REDIRECT) {
        redirected(c);
    } else if (is_deleted(c, code)) {
        succeed(c);
    } else if (wants_credentials(c)) {
        c->auth_hook = false;
        refused(c, code);
        c->refusal = c->error;
        c->state = ST_AUTH;
    } else if (code == DSTREAM_ERR_CONFLICT) {
        conflict(c);
    } else {
        refused(c, code);
        fail(c, ds_status_retryable(c->result.status), !is_refusal(c->result.status));
    }
}

/* --- what comes back -------------------------------------------------------------------------- */

void ds_call_connected(struct ds_call *c, int64_t now)
{
    if (c->state == ST_UNDER_WAY)
        ds_exchange_connected(&c->x, &c->limits, now);
}

void ds_call_head(struct ds_call *c, const struct ds_head *head, int64_t now)
{
    struct ds_call_result *r = &c->result;
    if (c->state != ST_UNDER_WAY || !ds_exchange_head(&c->x, head, &c->limits, now))
        return;
    r->status = head->status;
    r->closed = c->x.closed;
    r->retry_after = c->x.retry_after;
    strcpy(r->next, c->x.next);
    strcpy(r->content_type, c->x.content_type);
    ds_exchange_field(&c->x, head, "stream-ttl", r->ttl, sizeof r->ttl);
    ds_exchange_field(&c->x, head, "stream-expires-at", r->expires, sizeof r->expires);
    ds_head_etag(head, r->etag);
    r->gap = ds_head_get(head, "producer-expected-seq") != NULL;
    r->echoed = ds_head_get(head, "producer-seq") != NULL;
    c->fenced = ds_head_get(head, "producer-epoch") != NULL;
    char media[32];
    ds_media_type(r->content_type, media, sizeof media);
    c->html = strcmp(media, "text/html") == 0;
}

void ds_call_body(struct ds_call *c, const char *p, size_t n)
{
    if (c->state == ST_UNDER_WAY)
        ds_exchange_body(&c->x, p, n);
}

/* Without a head, unless `result` (NULL: given up) came behind one. */
static void over(struct ds_call *c, const struct ds_result *result)
{
    if (c->state != ST_UNDER_WAY)
        return;
    if (c->x.head) {
        answered(c);
        return;
    }
    bool retry = ds_exchange_unanswered(&c->x, result, &c->error);
    fail(c, retry, c->x.left || (result && result->connected));
}

void ds_call_end(struct ds_call *c, const struct ds_result *result)
{
    over(c, result);
}

void ds_call_aborted(struct ds_call *c)
{
    over(c, NULL);
}

void ds_call_refuse(struct ds_call *c, enum dstream_code code, const char *why)
{
    if (c->state != ST_UNDER_WAY)
        return;
    if (code == DSTREAM_ERR_AUTH && c->refusal.code == code)
        c->error = c->refusal; /* there are no other credentials */
    else
        ds_error_set(&c->error, code, "%s: %s", why, dstream_code_text(code));
    end(c);
}

void ds_call_cancel(struct ds_call *c)
{
    if (c->state == ST_DONE)
        return;
    if (c->state == ST_UNDER_WAY && c->x.head)
        answered(c);
    else if (c->state == ST_UNDER_WAY) {
        ds_error_set(&c->error, DSTREAM_ERR_CANCELLED, "stopped before an answer came");
        fail(c, false, c->x.left);
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
    memset(&c->result, 0, sizeof c->result);
    c->result.ambiguous = ambiguous;
    c->result.retry_after = -1;
    c->error.status = 0;
    c->error.offset[0] = '\0';
    c->html = c->fenced = false;
    ds_exchange_send(&c->x, &c->limits, now, c->body_len);
    c->state = ST_UNDER_WAY;
    bool body = c->kind == DS_CALL_CREATE || c->kind == DS_CALL_APPEND || c->kind == DS_CALL_CLOSE;
    return (struct ds_call_step){
        .kind = DS_CALL_STEP_REQUEST,
        .request = {.method = methods[c->kind],
                    .url = ds_exchange_target(&c->x),
                    .headers = c->headers,
                    .nheaders = c->nheaders,
                    .send_user_headers = !c->x.stripped,
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
    int64_t due = ds_exchange_due(&c->x);
    if (now < due)
        return wait_until(due);
    return (struct ds_call_step){.kind = DS_CALL_STEP_ABORT, .silent = now >= c->x.due};
}

/* Plans the next try, from the URL as it was given. */
static struct ds_call_step failed(struct ds_call *c, int64_t now, uint64_t random)
{
    const struct ds_limits *l = &c->limits;
    int64_t wait = ds_backoff(l, c->failures - 1, random), want = c->x.retry_after;
    int64_t floor = want < l->retry_after_max ? want : l->retry_after_max;
    bool asked = floor > wait;
    if (asked)
        wait = floor;
    int64_t upload = ds_exchange_upload_time(c->body_len);
    bool late = ds_later(now, wait) > ds_later(ds_later(c->started, l->retry_time), upload);
    if (c->failures > l->retries || late) {
        struct dstream_error was = c->error;
        if (late && asked) /* it would take us later: no failure of the server */
            ds_error_set(&c->error, DSTREAM_ERR_BUSY,
                         "%.380s, and asks for a pause of %lld s, which is too long", was.message,
                         (long long)((want + 999) / 1000));
        end(c);
        return (struct ds_call_step){.kind = DS_CALL_STEP_DONE};
    }
    ds_exchange_rewind(&c->x);
    c->resume = ds_later(now, wait);
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
    case ST_AUTH:
        ds_exchange_rewind(&c->x);
        c->state = ST_SEND;
        return (struct ds_call_step){.kind = DS_CALL_STEP_AUTH};
    case ST_DONE:
        break;
    }
    return (struct ds_call_step){.kind = DS_CALL_STEP_DONE};
}

const struct ds_call_result *ds_call_result(const struct ds_call *c)
{
    return &c->result;
}

const struct dstream_error *ds_call_cause(const struct ds_call *c)
{
    return &c->cause;
}

const struct dstream_error *ds_call_error(const struct ds_call *c)
{
    return &c->error;
}
