/* SPDX-License-Identifier: Apache-2.0 */
#include "reader/reader.h"

#include <string.h>

#include "base/alloc.h"
#include "base/url.h"
#include "reader/session.h"

enum ds_method ds_reader_method(enum ds_request_kind kind)
{
    return kind == DS_ASK_TAIL || kind == DS_ASK_GONE ? DS_HEAD : DS_GET;
}

/* --- made and freed --------------------------------------------------------------------------- */

static enum dstream_code check(const struct ds_reader_config *c, struct dstream_error *err)
{
    static const char *const reserved[] = {"offset", "live", "cursor"};
    ds_error_set_url(err, c->url);
    if (!ds_url_valid(c->url))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "not a URL of http or https");
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (ds_url_has_param(c->url, reserved[i]))
            return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                                "the query parameter '%s' is the reader's own: leave it out of the "
                                "URL",
                                reserved[i]);
    }
    if (ds_token_check(c->offset, strlen(c->offset)) != DSTREAM_OK)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "not an offset: 1 to %d bytes without control characters and spaces",
                            DS_TOKEN_MAX);
    if (c->skip > 0 && strcmp(c->offset, "now") == 0)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "nothing can be skipped from now on");
    return DSTREAM_OK;
}

static void configure(struct ds_reader *r, const struct ds_reader_config *c)
{
    r->live = c->live;
    r->limits = c->limits;
    r->stop_at_tail = c->stop_at_tail;
    r->seen = r->seen_before = c->seen;
    r->wait_create = c->wait_create;
    r->recheck = c->recheck;
    strcpy(r->pos, c->offset);
    r->skip = c->skip;
    if (c->content_type && c->content_type[0])
        ds_reader_set_type(r, c->content_type);
    if (c->witness && c->witness->units > 0) {
        r->witness = *c->witness;
        r->verify_due = true;
    }
    r->parts = c->parts;
    r->on_gone = c->on_gone;
    r->auth_hook = c->auth;
    r->catching = c->live == DSTREAM_LIVE_OFF || !c->live_at_once;
    /* How to go live depends on the type, which the answer to "now" has as well. */
    r->tail_due = !r->catching && !r->type[0] && strcmp(r->pos, "now") != 0;
    r->suspect_since = -1;
    r->probe_at = DS_NEVER;
    ds_buf_init(&r->request_url, DS_READER_URL);
    ds_buf_init(&r->location, DS_READER_URL);
    ds_items_init(&r->items, c->limits.max_body);
    ds_json_cut_init(&r->cut, DS_JSON_ARRAY, c->limits.json_depth);
    ds_events_init(&r->events, &r->limits);
}

enum dstream_code ds_reader_new(struct ds_reader **out, const struct ds_reader_config *c,
                                struct dstream_error *err)
{
    *out = NULL;
    enum dstream_code rc = check(c, err);
    if (rc != DSTREAM_OK)
        return rc;
    struct ds_reader *r = ds_calloc(1, sizeof *r);
    char *url = ds_strdup(c->url);
    if (!r || !url) {
        ds_free(r);
        ds_free(url);
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a reader");
    }
    r->url = url;
    configure(r, c);
    *out = r;
    return DSTREAM_OK;
}

void ds_reader_free(struct ds_reader *r)
{
    if (!r)
        return;
    ds_buf_free(&r->request_url);
    ds_buf_free(&r->location);
    ds_items_free(&r->items);
    ds_json_cut_free(&r->cut);
    ds_events_free(&r->events);
    ds_parts_free(r);
    if (r->verify.hash)
        ds_hash_free(r->verify.hash);
    ds_free(r->url);
    ds_free(r);
}

/* --- what is known ---------------------------------------------------------------------------- */

const char *ds_reader_offset(const struct ds_reader *r)
{
    return r->pos;
}

uint64_t ds_reader_skip(const struct ds_reader *r)
{
    return r->skip;
}

const char *ds_reader_content_type(const struct ds_reader *r)
{
    return r->type;
}

const struct dstream_error *ds_reader_error(const struct ds_reader *r)
{
    static const struct dstream_error none = {.code = DSTREAM_OK};
    return r->failed ? &r->failure.error : &none;
}

const struct dstream_error *ds_reader_refusal(const struct ds_reader *r)
{
    return &r->failure.error;
}

int ds_reader_said_status(const struct ds_reader *r)
{
    return r->said_status;
}

const char *ds_reader_said_next(const struct ds_reader *r)
{
    return r->said_next;
}

const char *ds_reader_etag(const struct ds_reader *r)
{
    return r->etag;
}

static bool by_sse(const struct ds_reader *r)
{
    return r->live == DSTREAM_LIVE_SSE || (r->live == DSTREAM_LIVE_AUTO && !r->text && !r->sse_off);
}

enum ds_phase ds_reader_phase(const struct ds_reader *r)
{
    if (r->finished)
        return DS_PHASE_DONE;
    if (!r->any_complete)
        return DS_PHASE_INIT;
    if (r->catching)
        return DS_PHASE_CATCHUP;
    return by_sse(r) ? DS_PHASE_SSE : DS_PHASE_LONG_POLL;
}

void ds_reader_set_witness(struct ds_reader *r, const struct ds_witness *w)
{
    r->witness = *w;
    r->verify.running = false;
    if (w->units == 0)
        r->verify_due = false;
}

/* --- notices ---------------------------------------------------------------------------------- */

/* At most a few are ever waiting, since the driver takes them before anything else happens. */
void ds_reader_notice(struct ds_reader *r, enum ds_notice_kind kind, int64_t delay)
{
    if (r->notice_count == DS_NOTICES)
        return;
    size_t at = (r->notice_first + r->notice_count++) % DS_NOTICES;
    r->notices[at] = (struct ds_notice){kind, delay, &r->failure.error};
}

static struct ds_step take_notice(struct ds_reader *r)
{
    struct ds_step s = {.kind = DS_STEP_NOTICE, .u.notice = r->notices[r->notice_first]};
    r->notice_first = (r->notice_first + 1) % DS_NOTICES;
    r->notice_count--;
    return s;
}

/* --- requests --------------------------------------------------------------------------------- */

static enum ds_request_kind choose(const struct ds_reader *r)
{
    if (r->verify_due)
        return DS_ASK_VERIFY;
    if (r->gone_due)
        return DS_ASK_GONE;
    if (strcmp(r->pos, "now") == 0)
        return DS_ASK_NOW;
    if (r->tail_due)
        return DS_ASK_TAIL;
    /* What is to be left out is looked at before anything that is new. */
    if (r->catching || r->trail.units > 0 || (r->skip > 0 && r->seen_before))
        return DS_ASK_PLAIN;
    return by_sse(r) ? DS_ASK_SSE : DS_ASK_POLL;
}

/* All that belongs to one attempt. */
static void reset_attempt(struct ds_reader *r, enum ds_request_kind kind, int64_t now)
{
    r->a = (struct ds_attempt){.kind = kind,
                               .started = now,
                               .touched = now,
                               .headed_at = -1,
                               .control_at = -1,
                               .ended_at = -1,
                               .retry_after = -1};
    strcpy(r->a.start, kind == DS_ASK_VERIFY ? r->verify.at : r->pos);
    ds_items_reset(&r->items, DS_READER_KEEP);
    ds_json_cut_reset(&r->cut);
    ds_parts_reset(r);
}

static enum dstream_code build_url(struct ds_reader *r)
{
    struct ds_param params[3];
    size_t n = 0;
    if (ds_reader_method(r->a.kind) == DS_GET)
        params[n++] = (struct ds_param){"offset", r->a.start};
    if (r->a.kind == DS_ASK_POLL || r->a.kind == DS_ASK_SSE)
        params[n++] = (struct ds_param){"live", r->a.kind == DS_ASK_SSE ? "sse" : "long-poll"};
    /* Caches must not go on answering with one empty page. */
    if (r->cursor[0] && ds_reader_method(r->a.kind) == DS_GET && r->a.kind != DS_ASK_VERIFY)
        params[n++] = (struct ds_param){"cursor", r->cursor};
    r->request_url.len = 0;
    return ds_url_build(&r->request_url, r->url, params, n);
}

/* There can be no request. */
static struct ds_step no_request(struct ds_reader *r, enum dstream_code code)
{
    if (code == DSTREAM_ERR_LIMIT)
        ds_reader_fail(r, code, false, "the URL of a request is over %zu bytes long",
                       DS_READER_URL);
    else
        ds_reader_fail(r, code, false, "no memory for a request");
    ds_reader_finish(r, true);
    return (struct ds_step){.kind = DS_STEP_DONE};
}

/* The request that the attempt stands for, to the URL that it has by now. */
static struct ds_step send(struct ds_reader *r)
{
    struct ds_step s = {.kind = DS_STEP_REQUEST};
    const char *url = ds_buf_str(&r->request_url);
    if (!url)
        return no_request(r, DSTREAM_ERR_NOMEM);
    r->headers[0] = "Accept: text/event-stream";
    s.u.request = (struct ds_request){
        .method = ds_reader_method(r->a.kind),
        .url = url,
        .headers = r->headers,
        .nheaders = r->a.kind == DS_ASK_SSE ? 1 : 0,
        .send_user_headers = r->own_headers,
        .little = r->a.kind != DS_ASK_PLAIN || !r->any_complete,
    };
    r->a.in_flight = true;
    return s;
}

/* After a while SSE may work again: the proxy in between is another one, say. */
static void probe(struct ds_reader *r, int64_t now)
{
    if (!r->sse_off || now < r->probe_at)
        return;
    r->sse_off = false;
    /* One more short connection is enough to give it up again. */
    r->short_sse = r->limits.short_count - 1;
}

static struct ds_step request(struct ds_reader *r, int64_t now)
{
    probe(r, now);
    enum ds_request_kind kind = choose(r);
    if (kind == DS_ASK_VERIFY && !ds_verify_begin(r))
        return no_request(r, DSTREAM_ERR_NOMEM);
    reset_attempt(r, kind, now);
    r->own_headers = true;
    r->hops = 0;
    enum dstream_code rc = build_url(r);
    return rc == DSTREAM_OK ? send(r) : no_request(r, rc);
}

/* The same request, to where the answer pointed. */
static struct ds_step follow(struct ds_reader *r, int64_t now)
{
    struct ds_buf to = r->location;
    r->location = r->request_url;
    r->request_url = to;
    r->hops++;
    reset_attempt(r, r->a.kind, now);
    return send(r);
}

/* --- time ------------------------------------------------------------------------------------- */

static int64_t header_limit(const struct ds_reader *r)
{
    switch (r->a.kind) {
    case DS_ASK_SSE:
        return r->limits.header_sse;
    case DS_ASK_POLL:
        return r->limits.header_long_poll;
    default:
        return r->limits.header;
    }
}

/* When the request under way is given up, unless something comes of it. */
static int64_t deadline(const struct ds_reader *r)
{
    const struct ds_attempt *a = &r->a;
    if (!a->headed) {
        int64_t limit = ds_later(a->touched, header_limit(r));
        return a->connected ? limit : ds_later(limit, r->limits.connect);
    }
    if (a->kind != DS_ASK_SSE || !ds_reader_has_data(a))
        return ds_later(a->touched, r->limits.silence);
    int64_t limit = ds_later(a->touched, r->limits.silence_sse);
    int64_t first = ds_later(a->touched, r->limits.first_byte_sse);
    return !a->any_byte && first < limit ? first : limit;
}

static void give_up(struct ds_reader *r, int64_t now)
{
    struct ds_attempt *a = &r->a;
    a->ended_at = now;
    int64_t waited = now - a->touched;
    if (a->headed && !ds_reader_has_data(a)) {
        ds_reader_judge_status(r); /* its body is not needed */
    } else if (a->kind == DS_ASK_SSE && a->headed && !a->any_byte) {
        /* As behind a proxy that keeps all it gets until the end. */
        a->quiet = true;
        a->outcome = DS_OUT_SSE_END;
    } else if (a->headed) {
        ds_reader_fail(r, DSTREAM_ERR_TIMEOUT, true, "no byte of the answer came for %lld ms",
                       (long long)waited);
    } else {
        ds_reader_fail(r, DSTREAM_ERR_TIMEOUT, true, "no answer began within %lld ms",
                       (long long)waited);
    }
}

void ds_reader_auth(struct ds_reader *r, bool renewed)
{
    if (r->a.outcome != DS_OUT_AUTH)
        return;
    r->auth_asked = true;
    r->a.outcome = renewed ? DS_OUT_NONE : DS_OUT_FAILED;
}

void ds_reader_held(struct ds_reader *r, int64_t now)
{
    r->a.touched = now;
}

void ds_reader_drop(struct ds_reader *r)
{
    if (!r->a.in_flight && r->a.outcome != DS_OUT_REDIRECT)
        return;
    if (r->a.outcome == DS_OUT_NONE)
        ds_reader_heed(r);
    /* What was judged stays so: a witness that is not there, above all. */
    if (r->a.outcome == DS_OUT_REDIRECT)
        r->a.outcome = DS_OUT_NONE;
    r->a.in_flight = false;
    r->catching = true;
}

void ds_reader_pause(struct ds_reader *r)
{
    r->paused = true;
    ds_reader_drop(r);
}

void ds_reader_resume(struct ds_reader *r, int64_t now)
{
    ds_reader_held(r, now);
    if (!r->paused)
        return;
    r->paused = false;
    r->catching = true;
    ds_reader_recheck(r);
}

/* --- the next step ---------------------------------------------------------------------------- */

struct ds_step ds_reader_step(struct ds_reader *r, int64_t now, uint64_t random)
{
    for (;;) {
        if (r->notice_count > 0)
            return take_notice(r);
        if (r->offered)
            return (struct ds_step){.kind = DS_STEP_DELIVER, .u.batch = &r->batch};
        if (r->a.in_flight) {
            struct ds_step abort = {.kind = DS_STEP_ABORT};
            if (r->a.outcome == DS_OUT_NONE && !r->finished) {
                int64_t until = deadline(r);
                if (now < until)
                    return (struct ds_step){.kind = DS_STEP_WAIT, .u.until = until};
                give_up(r, now);
                abort.u.silent = true;
            }
            r->a.in_flight = false;
            r->a.ended_at = now;
            return abort;
        }
        if (r->finished)
            return (struct ds_step){.kind = DS_STEP_DONE};
        if (r->a.outcome == DS_OUT_REDIRECT)
            return follow(r, now);
        if (r->a.outcome == DS_OUT_AUTH)
            return (struct ds_step){.kind = DS_STEP_AUTH};
        if (r->a.outcome != DS_OUT_NONE) {
            ds_reader_settle(r, now, random);
            r->a.outcome = DS_OUT_NONE;
            continue;
        }
        if (r->paused)
            return (struct ds_step){.kind = DS_STEP_WAIT, .u.until = DS_NEVER};
        if (now < r->wake)
            return (struct ds_step){.kind = DS_STEP_WAIT, .u.until = r->wake};
        return request(r, now);
    }
}
