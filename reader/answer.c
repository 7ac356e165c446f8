/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back of a request, judged. */
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "base/redirect.h"
#include "base/status.h"
#include "base/url.h"
#include "reader/session.h"

/* --- failures --------------------------------------------------------------------------------- */

static void fail_va(struct ds_reader *r, enum dstream_code code, bool retry, const char *fmt,
                    va_list ap)
{
    struct ds_buf text;
    struct dstream_error *e = &r->failure.error;
    ds_buf_init(&text, sizeof e->message * 2);
    ds_error_clear(e);
    ds_error_set_url(e, r->url);
    ds_error_set_offset(e, r->a.start);
    e->status = r->a.headed && r->a.status != 200 ? r->a.status : 0;
    const char *message = ds_buf_addv(&text, fmt, ap) == DSTREAM_OK ? ds_buf_str(&text) : NULL;
    ds_error_set(e, code, "%s", message ? message : dstream_code_text(code));
    ds_buf_free(&text);
    r->failure.retry = retry;
    r->failure.wait_create = false;
    r->a.outcome = DS_OUT_FAILED;
}

void ds_reader_fail(struct ds_reader *r, enum dstream_code code, bool retry, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail_va(r, code, retry, fmt, ap);
    va_end(ap);
}

void ds_reader_reset(struct ds_reader *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail_va(r, DSTREAM_ERR_STREAM_RESET, false, fmt, ap);
    va_end(ap);
}

void ds_reader_suspect(struct ds_reader *r, enum dstream_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail_va(r, code, false, fmt, ap);
    va_end(ap);
    r->a.outcome = DS_OUT_SUSPECT;
}

void ds_reader_bad_answer(struct ds_reader *r, const char *fmt, ...)
{
    va_list ap;
    bool again = ++r->bad_answers < r->limits.protocol_tries;
    va_start(ap, fmt);
    fail_va(r, DSTREAM_ERR_PROTOCOL, again, fmt, ap);
    va_end(ap);
}

void ds_reader_note_said(struct ds_reader *r, const char *next)
{
    r->seen = r->any_complete = true;
    r->said_status = r->a.status;
    strcpy(r->said_next, next);
}

void ds_reader_good_answer(struct ds_reader *r)
{
    r->bad_answers = 0;
    r->auth_asked = false;
}

static void no_sse(struct ds_reader *r)
{
    r->a.outcome = DS_OUT_NO_SSE;
}

/* --- the head --------------------------------------------------------------------------------- */

/* Takes an offset or cursor of the head; false where it is not to be used, which has failed. */
static bool take_token(struct ds_reader *r, const char *field, const char *value, char *out)
{
    size_t n = strlen(value);
    enum dstream_code rc = ds_token_check(value, n);
    if (rc == DSTREAM_ERR_LIMIT) {
        ds_reader_fail(r, rc, false, "the answer's %s is longer than %d bytes", field,
                       DS_TOKEN_MAX);
        return false;
    }
    if (rc != DSTREAM_OK) {
        ds_reader_bad_answer(r, "the answer's %s is not a token: '%.64s'", field, value);
        return false;
    }
    memcpy(out, value, n + 1);
    return true;
}

static bool take_position(struct ds_reader *r, const struct ds_head *h)
{
    struct ds_attempt *a = &r->a;
    const char *next = ds_head_get(h, "stream-next-offset");
    const char *cursor = ds_head_get(h, "stream-cursor");
    if (!next) {
        ds_reader_bad_answer(r, "the answer has no Stream-Next-Offset, so this may be no stream");
        return false;
    }
    if (ds_token_is_sentinel(next)) {
        ds_reader_bad_answer(r, "the answer's Stream-Next-Offset is '%s', which is no position",
                             next);
        return false;
    }
    if (!take_token(r, "Stream-Next-Offset", next, a->next))
        return false;
    if (cursor && cursor[0] && !take_token(r, "Stream-Cursor", cursor, a->cursor))
        return false;
    a->closed = ds_head_is_true(h, "stream-closed");
    a->up_to_date = a->closed || ds_head_is_true(h, "stream-up-to-date") ||
                    (a->kind == DS_ASK_POLL && a->status == 204);
    return true;
}

void ds_reader_set_type(struct ds_reader *r, const char *type)
{
    size_t n = strlen(type);
    if (n >= sizeof r->type)
        n = sizeof r->type - 1;
    memcpy(r->type, type, n);
    r->type[n] = '\0';
    r->json = ds_type_is_json(r->type);
    r->text = ds_type_is_text(r->type);
}

/* The first type is the stream's; another one later is another stream's. */
static bool take_type(struct ds_reader *r, const struct ds_head *h)
{
    const char *type = ds_head_get(h, "content-type");
    char was[128], is[128];
    if (!type || !type[0])
        type = r->type[0] || r->a.status == 204 ? r->type : "application/octet-stream";
    if (!r->type[0]) {
        ds_reader_set_type(r, type);
        return true;
    }
    ds_media_type(r->type, was, sizeof was);
    ds_media_type(type, is, sizeof is);
    if (strcmp(was, is) == 0)
        return true;
    ds_reader_suspect(r, DSTREAM_ERR_STREAM_RESET,
                      "the stream was made anew: its content type was %s and is %s", was, is);
    return false;
}

static void plain_head(struct ds_reader *r, const struct ds_head *h)
{
    if (r->a.status == 204 && ds_reader_method(r->a.kind) == DS_HEAD) {
        ds_reader_bad_answer(r, "the server answered HEAD by 204");
        return;
    }
    ds_head_etag(h, r->etag);
    if (take_position(r, h))
        (void)take_type(r, h);
}

static bool is_event_stream(const struct ds_head *h)
{
    const char *type = ds_head_get(h, "content-type");
    char media[64];
    ds_media_type(type ? type : "", media, sizeof media);
    return strcmp(media, "text/event-stream") == 0;
}

/* How the payload is carried is said for each connection. */
static void sse_head(struct ds_reader *r, const struct ds_head *h)
{
    const char *encoding = ds_head_get(h, "stream-sse-data-encoding");
    bool base64 = encoding && strcasecmp(encoding, "base64") == 0;
    if (r->a.status != 200 || !is_event_stream(h)) {
        ds_reader_fail(r, DSTREAM_ERR_PROTOCOL, false,
                       "the answer to a request for Server-Sent Events is no event stream");
        no_sse(r);
    } else if ((encoding && !base64) || (base64 && r->json) || (!base64 && !r->json && !r->text)) {
        ds_reader_fail(r, DSTREAM_ERR_PROTOCOL, false,
                       "the server does not send a stream of %s in base64 or as text: encoding "
                       "'%.32s'",
                       r->type, encoding ? encoding : "none");
        no_sse(r);
    } else {
        ds_events_reset(&r->events, base64 ? DS_SSE_BASE64 : r->json ? DS_SSE_JSON : DS_SSE_TEXT);
        if (r->events.kind == DS_SSE_TEXT && !r->said_lossy) {
            r->said_lossy = true;
            ds_reader_notice(r, DS_NOTICE_LOSSY, 0);
        }
    }
}

bool ds_reader_has_data(const struct ds_attempt *a)
{
    return a->status == 200 || a->status == 204;
}

void ds_reader_connected(struct ds_reader *r, int64_t now)
{
    r->a.connected = true;
    r->a.touched = now;
}

void ds_reader_head(struct ds_reader *r, const struct ds_head *h, int64_t now)
{
    struct ds_attempt *a = &r->a;
    a->headed = a->connected = true;
    a->headed_at = a->touched = now;
    a->status = h->status;
    a->retry_after = h->retry_after_ms;
    if (a->outcome != DS_OUT_NONE)
        return;
    if (ds_reader_has_data(a)) {
        if (a->kind == DS_ASK_SSE)
            sse_head(r, h);
        else
            plain_head(r, h);
        return;
    }
    const char *type = ds_head_get(h, "content-type");
    ds_media_type(type ? type : "", a->media, sizeof a->media);
    r->location.len = 0;
    if (h->redirect && ds_buf_adds(&r->location, h->redirect) != DSTREAM_OK)
        ds_reader_fail(r, DSTREAM_ERR_LIMIT, false, "the URL of a redirect is over %zu bytes long",
                       DS_READER_URL);
}

/* --- other statuses --------------------------------------------------------------------------- */

static void redirect(struct ds_reader *r)
{
    const char *from = ds_buf_str(&r->request_url), *to = ds_buf_str(&r->location);
    enum ds_method method = ds_reader_method(r->a.kind);
    if (!from || !to) {
        ds_reader_fail(r, DSTREAM_ERR_NOMEM, false, "no memory for a redirect");
        return;
    }
    unsigned max = r->limits.redirects;
    enum ds_redirect what = ds_redirect_decide(method, r->a.status, from, to, r->hops, max);
    if (what == DS_REDIRECT_REFUSE) {
        ds_reader_fail(r, DSTREAM_ERR_REDIRECT, false, "redirected (%d), and not followed: %s",
                       r->a.status, ds_redirect_reason(r->a.status, from, to, r->hops, max));
        return;
    }
    if (what == DS_REDIRECT_STRIPPED)
        r->own_headers = false;
    r->a.outcome = DS_OUT_REDIRECT;
}

/* Statuses of an SSE request that mean "not this way". */
static bool refuses_sse(int status)
{
    return status == 400 || status == 405 || status == 406 || status == 409 ||
           (status >= 412 && status <= 416) || status == 431 || status == 501 || status == 505;
}

static void fail_by_status(struct ds_reader *r, enum dstream_code code)
{
    struct ds_attempt *a = &r->a;
    const char *why = ds_reason_line(&a->reason, a->media);
    ds_reader_fail(r, code, ds_status_retryable(a->status), "%s: the %s answered %d%s%s",
                   dstream_code_text(code), a->status == 407 ? "proxy" : "server", a->status,
                   why[0] ? ": " : "", why);
}

static void not_found(struct ds_reader *r)
{
    bool was_there = r->seen || r->a.kind == DS_ASK_GONE;
    fail_by_status(r, was_there ? DSTREAM_ERR_DELETED : DSTREAM_ERR_NOT_FOUND);
    if (r->seen)
        r->a.outcome = DS_OUT_SUSPECT;
    else if (r->wait_create && r->a.kind != DS_ASK_GONE)
        r->failure.retry = r->failure.wait_create = true;
}

/* The position is no longer kept, or the stream is soft-deleted: HEAD tells. */
static void gone(struct ds_reader *r)
{
    if (r->a.kind == DS_ASK_VERIFY) {
        ds_verify_gone(r);
    } else if (r->a.kind == DS_ASK_GONE || r->a.kind == DS_ASK_TAIL) {
        fail_by_status(r, DSTREAM_ERR_DELETED); /* softly: forks may still need it */
    } else {
        r->gone_due = true;
        r->a.outcome = DS_OUT_DONE;
    }
}

void ds_reader_judge_status(struct ds_reader *r)
{
    struct ds_attempt *a = &r->a;
    enum dstream_code code = ds_status_code(a->status);
    if (code == DSTREAM_ERR_REDIRECT) {
        redirect(r);
    } else if (code == DSTREAM_ERR_NOT_FOUND) {
        not_found(r);
    } else if (code == DSTREAM_ERR_GONE) {
        gone(r);
    } else if ((a->status == 401 || a->status == 403) && r->auth_hook && !r->auth_asked) {
        fail_by_status(r, code);
        a->outcome = DS_OUT_AUTH;
    } else if (code == DSTREAM_OK || code == DSTREAM_ERR_PROTOCOL) {
        ds_reader_fail(r, DSTREAM_ERR_PROTOCOL, false,
                       "the server answered %d, which means nothing here", a->status);
    } else {
        fail_by_status(r, code);
        if (a->kind == DS_ASK_SSE && refuses_sse(a->status))
            no_sse(r);
    }
}

static void take_error_body(struct ds_reader *r, const char *p, size_t n)
{
    struct ds_attempt *a = &r->a;
    ds_reason_add(&a->reason, p, n);
    /* A long one is not waited for. */
    if (a->body > DS_READER_JUNK)
        ds_reader_judge_status(r);
}

/* --- the body --------------------------------------------------------------------------------- */

static void body_error(struct ds_reader *r, enum dstream_code code, const char *why)
{
    if (code == DSTREAM_ERR_LIMIT)
        ds_reader_fail(r, code, false, "the answer is over one of our limits: %s", why);
    else if (code == DSTREAM_ERR_PARSE)
        ds_reader_fail(r, code, false, "the answer is not a JSON array: %s, at byte %llu", why,
                       (unsigned long long)r->cut.pos);
    else
        ds_reader_fail(r, code, false, "no memory for the answer");
}

/* Nesting is the cutter's limit, size that of the items. */
static bool add_plain(struct ds_reader *r, const char *p, size_t n)
{
    enum dstream_code rc =
        r->json ? ds_json_cut_feed(&r->cut, p, n, &r->items) : ds_buf_add(&r->items.bytes, p, n);
    if (rc != DSTREAM_OK)
        body_error(r, rc, r->json && r->cut.why ? r->cut.why : "it is too large");
    return rc == DSTREAM_OK;
}

static size_t take_plain(struct ds_reader *r, const char *p, size_t n)
{
    size_t used = 0;
    bool parts = ds_parts_apply(r);
    size_t most = r->limits.max_part < DS_READER_PIECE ? r->limits.max_part : DS_READER_PIECE;
    while (used < n && r->a.outcome == DS_OUT_NONE) {
        size_t piece = parts && n - used > most ? most : n - used;
        if (!add_plain(r, p + used, piece))
            break;
        used += piece;
        if (parts && ds_parts_more(r))
            return used;
    }
    if (r->a.kind == DS_ASK_VERIFY && r->a.outcome == DS_OUT_NONE)
        ds_verify_more(r);
    return n;
}

/* Up to and including a control event that makes a batch. */
static size_t take_events(struct ds_reader *r, const char *p, size_t n, int64_t now)
{
    size_t used = 0;
    while (used < n && r->a.outcome == DS_OUT_NONE) {
        size_t part;
        enum ds_events_result what = ds_events_feed(&r->events, p + used, n - used, &part);
        used += part;
        if (what == DS_EVENTS_ERROR && r->events.too_large) {
            /* Plain GETs bring it in pages or in parts. */
            r->catching = r->too_large = true;
            r->a.outcome = DS_OUT_DONE;
        } else if (what == DS_EVENTS_ERROR) {
            ds_reader_fail(r, r->events.error.code, false, "%s", r->events.error.message);
        } else if (what == DS_EVENTS_BATCH) {
            if (r->a.control_at < 0)
                r->a.control_at = now;
            if (ds_reader_take_control(r))
                return used;
        }
    }
    return r->a.outcome == DS_OUT_NONE ? used : n;
}

size_t ds_reader_body(struct ds_reader *r, const char *p, size_t n, int64_t now)
{
    struct ds_attempt *a = &r->a;
    if (r->offered)
        return 0;
    if (a->outcome != DS_OUT_NONE || r->finished || n == 0)
        return n;
    a->touched = now;
    a->any_byte = true;
    a->body += n;
    if (!ds_reader_has_data(a))
        take_error_body(r, p, n);
    else if (a->kind == DS_ASK_SSE)
        return take_events(r, p, n, now);
    else if (ds_reader_method(a->kind) != DS_HEAD)
        return take_plain(r, p, n);
    return n;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* The body is whole. Where nothing in HTTP says where it ends, only an array shows that it was not
 * cut. */
static bool is_whole(struct ds_reader *r, const struct ds_result *result)
{
    struct ds_attempt *a = &r->a;
    enum dstream_code rc = DSTREAM_OK;
    bool unmarked = result->unmarked && a->status == 200;
    if (ds_reader_method(a->kind) != DS_GET)
        return true;
    if (r->json && a->body > 0)
        rc = ds_json_cut_finish(&r->cut, &r->items);
    else if (unmarked)
        ds_reader_bad_answer(r, "nothing marks the end of the answer (a Content-Length, a last "
                                "chunk), so it may have been cut");
    if (rc != DSTREAM_OK && unmarked)
        ds_reader_fail(r, DSTREAM_ERR_NETWORK, true, "the connection ended inside the answer");
    else if (rc != DSTREAM_OK)
        body_error(r, rc, r->cut.why);
    return a->outcome == DS_OUT_NONE;
}

static void take_answer(struct ds_reader *r, const struct ds_result *result)
{
    struct ds_attempt *a = &r->a;
    if (!is_whole(r, result))
        return;
    r->seen = r->any_complete = true;
    a->outcome = DS_OUT_DONE;
    if (a->kind == DS_ASK_VERIFY) {
        ds_verify_complete(r);
    } else if (ds_reader_method(a->kind) == DS_GET) {
        ds_reader_note_said(r, a->next);
        ds_reader_take_body(r);
    }
    if (a->outcome == DS_OUT_DONE)
        ds_reader_good_answer(r);
}

/* A transfer that was cut: what came of it counts for nothing. */
static void take_cut(struct ds_reader *r, const struct ds_result *result)
{
    const char *detail = result->detail && result->detail[0]
                             ? result->detail
                             : dstream_code_text(ds_end_code(result->end));
    ds_reader_fail(r, ds_end_code(result->end), ds_end_retryable(result->end), "%s", detail);
    if (result->end == DS_END_PROXY_AUTH)
        r->failure.error.status = 407;
}

void ds_reader_end(struct ds_reader *r, const struct ds_result *result, int64_t now)
{
    static const struct ds_result cut = {
        .end = DS_END_CUT, .connected = true, .detail = "the server closed without an answer"};
    struct ds_attempt *a = &r->a;
    a->in_flight = false;
    a->ended_at = now;
    if (a->outcome != DS_OUT_NONE || r->finished)
        return;
    if (a->headed && !ds_reader_has_data(a))
        ds_reader_judge_status(r);
    else if (result->end != DS_END_COMPLETE)
        take_cut(r, result);
    else if (!a->headed)
        take_cut(r, &cut);
    else if (a->kind == DS_ASK_SSE)
        a->outcome = DS_OUT_SSE_END;
    else
        take_answer(r, result);
}
