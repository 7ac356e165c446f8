/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single calls on a stream, one after another. Each is one request of client/call.h, and where it
 * takes that, a HEAD before it (to learn the type) or behind it (to see what an answer meant).
 *
 * Appends carry the handle's producer identity: sequence numbers go up with each one that is
 * stored, and after one that may be or not the identity is another.
 */
#include "config.h"

#include <string.h>

#include "base/alloc.h"
#include "base/header.h"
#include "base/text.h"
#include "base/url.h"
#include "client/call.h"
#include "client/gate.h"
#include "client/options.h"
#include "decode/jsoncut.h"

enum stage {
    STAGE_NEW,
    STAGE_QUEUED,
    STAGE_TYPE,   /* a HEAD for the stream's type */
    STAGE_MAIN,   /* the request itself */
    STAGE_CLOSED, /* a HEAD: is it closed now? */
    STAGE_WHY,    /* a HEAD: is the conflict one of types? */
    STAGE_DONE
};

struct dstream_call {
    enum dstream_call_kind kind;
    char *type, *expires, *seq, *fork_from, *fork_offset;
    char ttl[24]; /* "": none */
    uint64_t fork_skip;
    bool make_closed, bare;
    struct ds_buf body; /* behind a bracket, and with room for one more; empty: none */

    enum stage stage;
    dstream_stream *stream; /* while it is queued or under way */
    dstream_call *next;
    dstream_on_done on_done;
    void *ctx;
    bool anew;                         /* it was sent under a second identity */
    bool identity;                     /* it is sent under one */
    struct ds_call_result result;      /* of the request itself */
    struct dstream_error error, cause; /* of ERR_OUTCOME_UNKNOWN; else code DSTREAM_OK */
};

struct dstream_stream {
    dstream_loop *loop;
    bool own_loop;
    dstream_options *options;
    struct ds_session *session;
    char *url;
    struct ds_timer timer;
    struct ds_gate gate;
    struct ds_posted cancel;
    dstream_call *first, **last; /* the first is under way, as `calling` says */
    struct ds_calling *calling;
    char type[DS_TYPE_MAX + 1]; /* the stream's, as far as known */
    char id[DS_RANDOM_ID];
    uint64_t seq;
    bool proven;     /* the server has producers */
    bool auth_spent; /* the credentials are bad, and there are no others */
};

/* --- calls: what they say --------------------------------------------------------------------- */

dstream_call *dstream_call_new(enum dstream_call_kind kind)
{
    dstream_call *c = ds_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->kind = kind;
    ds_buf_init(&c->body, SIZE_MAX);
    ds_error_set(&c->error, DSTREAM_ERR_STATE, "the call has not ended");
    return c;
}

static bool appends(const dstream_call *c)
{
    return c->kind == DSTREAM_CALL_APPEND || (c->kind == DSTREAM_CALL_CLOSE && c->body.len > 0);
}

/* Whether something can be set that only `kinds` have. */
static enum dstream_code settable(const dstream_call *c, unsigned kinds)
{
    if (c->stage != STAGE_NEW)
        return DSTREAM_ERR_STATE;
    return kinds & 1u << c->kind ? DSTREAM_OK : DSTREAM_ERR_ARGUMENT;
}

#define KIND(name) (1u << DSTREAM_CALL_##name)

static enum dstream_code set_text(dstream_call *c, unsigned kinds, char **slot, const char *text)
{
    enum dstream_code rc = settable(c, kinds);
    if (rc == DSTREAM_OK && text && !ds_header_value_ok(text))
        rc = DSTREAM_ERR_ARGUMENT;
    if (rc != DSTREAM_OK)
        return rc;
    char *copy = ds_strdup(text);
    if (text && !copy)
        return DSTREAM_ERR_NOMEM;
    ds_free(*slot);
    *slot = copy;
    return DSTREAM_OK;
}

enum dstream_code dstream_call_set_type(dstream_call *c, const char *content_type)
{
    return set_text(c, KIND(CREATE) | KIND(APPEND) | KIND(CLOSE), &c->type, content_type);
}

enum dstream_code dstream_call_set_ttl(dstream_call *c, uint64_t seconds)
{
    enum dstream_code rc = settable(c, KIND(CREATE));
    if (rc != DSTREAM_OK || seconds == 0)
        return rc != DSTREAM_OK ? rc : DSTREAM_ERR_ARGUMENT;
    size_t i = sizeof c->ttl;
    char digits[sizeof c->ttl];
    digits[--i] = '\0';
    for (; seconds > 0; seconds /= 10)
        digits[--i] = (char)('0' + seconds % 10);
    strcpy(c->ttl, digits + i);
    return DSTREAM_OK;
}

enum dstream_code dstream_call_set_expires(dstream_call *c, const char *time)
{
    return set_text(c, KIND(CREATE), &c->expires, time);
}

enum dstream_code dstream_call_set_body(dstream_call *c, const void *data, size_t len)
{
    enum dstream_code rc = settable(c, KIND(CREATE) | KIND(APPEND) | KIND(CLOSE));
    if (rc != DSTREAM_OK || len == 0)
        return rc != DSTREAM_OK ? rc : DSTREAM_ERR_ARGUMENT;
    if (len > ds_limits_default().max_body)
        return DSTREAM_ERR_LIMIT;
    c->body.len = 0;
    rc = ds_buf_reserve(&c->body, len + 2);
    if (rc != DSTREAM_OK)
        return rc;
    c->body.data[0] = '[';
    memcpy(c->body.data + 1, data, len);
    c->body.data[len + 1] = ']';
    c->body.len = len + 2;
    c->bare = false;
    return DSTREAM_OK;
}

enum dstream_code dstream_call_set_content(dstream_call *c, const void *data, size_t len)
{
    enum dstream_code rc = settable(c, KIND(CREATE));
    if (rc == DSTREAM_OK)
        rc = dstream_call_set_body(c, data, len);
    c->bare |= rc == DSTREAM_OK;
    return rc;
}

enum dstream_code dstream_call_set_closed(dstream_call *c, bool closed)
{
    enum dstream_code rc = settable(c, KIND(CREATE));
    if (rc == DSTREAM_OK)
        c->make_closed = closed;
    return rc;
}

enum dstream_code dstream_call_set_fork(dstream_call *c, const char *from, const char *offset,
                                        uint64_t skip)
{
    if (!from || !from[0] || (offset && ds_token_check(offset, strlen(offset)) != DSTREAM_OK))
        return DSTREAM_ERR_ARGUMENT;
    enum dstream_code rc = set_text(c, KIND(CREATE), &c->fork_from, from);
    if (rc == DSTREAM_OK)
        rc = set_text(c, KIND(CREATE), &c->fork_offset, offset);
    if (rc == DSTREAM_OK)
        c->fork_skip = skip;
    return rc;
}

enum dstream_code dstream_call_set_sequence(dstream_call *c, const char *sequence)
{
    return set_text(c, KIND(APPEND), &c->seq, sequence);
}

/* --- the end of a call ------------------------------------------------------------------------ */

static void soon(dstream_stream *s)
{
    (void)ds_timer_set(s->loop, &s->timer, ds_loop_now(s->loop));
}

/* Takes it out of the queue. What is under way for it has ended or is ended here. */
static void leave(dstream_call *c)
{
    dstream_stream *s = c->stream;
    dstream_call **at = &s->first;
    if (c == s->first) {
        ds_calling_free(s->calling);
        s->calling = NULL;
    }
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (!*at)
        s->last = at;
    c->stream = NULL;
    c->next = NULL;
    c->stage = STAGE_DONE;
    soon(s);
}

static void finish(dstream_call *c)
{
    dstream_stream *s = c->stream;
    leave(c);
    if (!c->on_done || !ds_gate_enter(&s->gate))
        return;
    c->on_done(c->ctx, c);
    ds_gate_leave(&s->gate);
}

static void new_identity(dstream_stream *s)
{
    ds_loop_random_id(s->loop, s->id);
    s->seq = 0;
}

/* What a handle learns from how an append came out. */
static void note_append(dstream_stream *s, const dstream_call *c)
{
    if (!c->identity)
        return;
    s->proven |= c->result.echoed;
    if (c->error.code == DSTREAM_OK)
        s->seq++;
    else if (c->result.ambiguous || c->result.gap)
        new_identity(s); /* this number may be taken */
}

/* Gives it up, for what `code` says where nothing was carried out. */
static void give_up(dstream_call *c, enum dstream_code code)
{
    dstream_stream *s = c->stream;
    bool main = c->stage == STAGE_MAIN && s->calling;
    ds_error_set_url(&c->error, s->url);
    if (s->calling && c == s->first)
        ds_calling_stop(s->calling);
    if (main) {
        c->result = *ds_calling_result(s->calling);
        c->error = *ds_calling_error(s->calling);
        c->cause = *ds_calling_cause(s->calling);
        if (c->cause.code == DSTREAM_ERR_CANCELLED)
            ds_error_set(&c->cause, code, "%s", dstream_code_text(code));
        if (appends(c))
            note_append(s, c);
    }
    /* The server took it, but that it has closed the stream was not seen. */
    bool half = c->kind == DSTREAM_CALL_CLOSE && !c->result.closed &&
                (c->stage == STAGE_CLOSED || (main && c->error.code == DSTREAM_OK));
    c->result.ambiguous |= half;
    if (!main || half || c->error.code == DSTREAM_ERR_CANCELLED)
        ds_error_set(&c->error, code, "%s%s", dstream_code_text(code),
                     c->result.ambiguous ? " (it may have been carried out)" : "");
    leave(c);
}

void dstream_call_free(dstream_call *c)
{
    if (!c)
        return;
    if (c->stream)
        give_up(c, DSTREAM_ERR_CANCELLED);
    ds_free(c->type);
    ds_free(c->expires);
    ds_free(c->seq);
    ds_free(c->fork_from);
    ds_free(c->fork_offset);
    ds_buf_free(&c->body);
    ds_free(c);
}

/* --- requests --------------------------------------------------------------------------------- */

static void on_called(void *ctx, struct ds_calling *x);

static enum dstream_code ask(dstream_call *c, struct ds_call_config *config, enum stage stage)
{
    dstream_stream *s = c->stream;
    const struct ds_caller caller = {
        .loop = s->loop, .session = s->session, .options = s->options, .gate = &s->gate};
    config->url = s->url;
    config->auth_hook = s->options->on_request && !s->auth_spent;
    ds_calling_free(s->calling);
    c->stage = stage;
    return ds_calling_start(&s->calling, &caller, config, on_called, s, &c->error);
}

static enum dstream_code ask_head(dstream_call *c, enum stage stage)
{
    struct ds_call_config config = {.kind = DS_CALL_STAT};
    return ask(c, &config, stage);
}

/* "" where none was said, and none is known. */
static const char *type_of(const dstream_call *c)
{
    if (c->type)
        return c->type;
    return c->kind == DSTREAM_CALL_CREATE ? "" : c->stream->type;
}

static enum dstream_code set_body(dstream_call *c, struct ds_call_config *config)
{
    const struct ds_limits *l = &c->stream->options->limits;
    size_t n = c->body.len;
    if (n == 0)
        return DSTREAM_OK;
    bool json = ds_type_is_json(type_of(c));
    bool wrapped = json && !c->bare;
    config->body = wrapped ? c->body.data : c->body.data + 1;
    config->body_len = wrapped ? n : n - 2;
    if (json && !c->stream->options->producer.trusted &&
        !ds_json_valid(c->body.data + 1, n - 2, l->json_depth))
        return ds_error_set(&c->error, DSTREAM_ERR_INPUT, "the message is not one JSON value");
    return DSTREAM_OK;
}

static enum dstream_code ask_main(dstream_call *c)
{
    static const enum ds_call_kind kinds[] = {[DSTREAM_CALL_CREATE] = DS_CALL_CREATE,
                                              [DSTREAM_CALL_APPEND] = DS_CALL_APPEND,
                                              [DSTREAM_CALL_CLOSE] = DS_CALL_CLOSE,
                                              [DSTREAM_CALL_HEAD] = DS_CALL_STAT,
                                              [DSTREAM_CALL_DELETE] = DS_CALL_DELETE};
    dstream_stream *s = c->stream;
    const char *type = type_of(c);
    c->identity = appends(c) && !s->options->plain;
    struct ds_call_config config = {
        .kind = appends(c) ? DS_CALL_APPEND : kinds[c->kind],
        .content_type =
            type[0] && (c->body.len > 0 || c->kind == DSTREAM_CALL_CREATE) ? type : NULL,
        .ttl = c->ttl[0] ? c->ttl : NULL,
        .expires = c->expires,
        .fork_from = c->fork_from,
        .fork_offset = c->fork_offset,
        .fork_skip = c->fork_skip,
        .close = c->make_closed || c->kind == DSTREAM_CALL_CLOSE,
        .seq = c->seq,
        .producer_id = c->identity ? s->id : NULL,
        .producer_seq = s->seq,
        .proven = s->proven,
    };
    enum dstream_code rc = set_body(c, &config);
    return rc == DSTREAM_OK ? ask(c, &config, STAGE_MAIN) : rc;
}

static enum dstream_code begin(dstream_call *c)
{
    ds_error_clear(&c->error);
    ds_error_set_url(&c->error, c->stream->url);
    if (c->kind == DSTREAM_CALL_APPEND && c->body.len == 0)
        return ds_error_set(&c->error, DSTREAM_ERR_ARGUMENT, "there is nothing to append");
    if (appends(c) && !type_of(c)[0])
        return ask_head(c, STAGE_TYPE);
    return ask_main(c);
}

/* --- what came of them ------------------------------------------------------------------------ */

static void learn_type(dstream_stream *s, const char *type)
{
    strcpy(s->type, type);
}

/* True where the call goes on by another request. */
static bool goes_on(dstream_call *c, enum dstream_code rc)
{
    return rc == DSTREAM_OK && c->stage != STAGE_DONE;
}

static bool type_came(dstream_call *c, const struct ds_call_result *r)
{
    if (c->error.code != DSTREAM_OK)
        return false;
    learn_type(c->stream, r->content_type);
    if (!c->stream->type[0]) {
        ds_error_set(&c->error, DSTREAM_ERR_PROTOCOL, "the server does not say the stream's type");
        return false;
    }
    return goes_on(c, ask_main(c));
}

/* A stream that was there has not taken the data: no success. */
static void judge_created(dstream_call *c)
{
    if (c->error.code != DSTREAM_OK || c->body.len == 0 || c->result.status == 201)
        return;
    if (c->result.ambiguous)
        ds_error_set(
            &c->error, DSTREAM_ERR_OUTCOME_UNKNOWN,
            "the stream is there now; an answer was lost, so it was made with the data, or "
            "was there before and does not have them");
    else
        ds_error_set(&c->error, DSTREAM_ERR_CONFLICT,
                     "the stream was there already, so the data were not written");
}

/* The server has forgotten the handle's identity, and stored nothing: another one will do. */
static bool is_forgotten(dstream_call *c)
{
    return c->identity && c->error.code == DSTREAM_ERR_CONFLICT && c->result.gap &&
           !c->result.ambiguous;
}

static bool append_came(dstream_call *c)
{
    dstream_stream *s = c->stream;
    const char *type = type_of(c);
    note_append(s, c);
    if (is_forgotten(c)) {
        if (!c->anew) {
            c->anew = true;
            ds_error_clear(&c->error);
            ds_error_set_url(&c->error, s->url);
            return goes_on(c, ask_main(c));
        }
        ds_error_set(&c->error, DSTREAM_ERR_STATE_LOST,
                     "the server forgets what it has stored of a producer");
        return false;
    }
    if (c->error.code == DSTREAM_OK && !s->type[0] && strlen(type) <= DS_TYPE_MAX)
        learn_type(s, type);
    if (c->error.code == DSTREAM_ERR_CONFLICT && !c->result.ambiguous)
        return goes_on(c, ask_head(c, STAGE_WHY));
    return false;
}

static bool main_came(dstream_call *c)
{
    dstream_stream *s = c->stream;
    bool ok = c->error.code == DSTREAM_OK;
    if (c->error.code == DSTREAM_ERR_NOT_FOUND || (ok && c->kind == DSTREAM_CALL_DELETE))
        s->type[0] = '\0';
    if (ok && (c->kind == DSTREAM_CALL_CREATE || c->kind == DSTREAM_CALL_HEAD))
        learn_type(s, c->result.content_type);
    if (c->kind == DSTREAM_CALL_CREATE)
        judge_created(c);
    if (appends(c) && append_came(c))
        return true;
    ok = c->error.code == DSTREAM_OK;
    return ok && c->kind == DSTREAM_CALL_CLOSE && !c->result.closed &&
           goes_on(c, ask_head(c, STAGE_CLOSED));
}

static void closed_came(dstream_call *c, const struct ds_call_result *r)
{
    if (c->error.code != DSTREAM_OK) {
        c->result.ambiguous = true;
        return;
    }
    c->result.closed = r->closed;
    if (!r->closed)
        ds_error_set(&c->error, DSTREAM_ERR_PROTOCOL,
                     "the server took the request (%d), but did not close the stream",
                     c->result.status);
}

/* The HEAD only explains: where it failed, the conflict stays what it was. */
static void why_came(dstream_call *c, const struct ds_call_result *r, const struct dstream_error *e)
{
    char is[DS_TYPE_MAX + 1], said[DS_TYPE_MAX + 1];
    if (e->code != DSTREAM_OK)
        return;
    ds_media_type(r->content_type, is, sizeof is);
    ds_media_type(type_of(c), said, sizeof said);
    if (strcmp(is, said) != 0)
        ds_error_set(&c->error, DSTREAM_ERR_CONFLICT, "the stream is of type %.200s, not %.200s",
                     is, said);
    else if (c->seq)
        ds_error_set(&c->error, DSTREAM_ERR_SEQUENCE,
                     "the stream has a sequence that is not below %.200s", c->seq);
    learn_type(c->stream, r->content_type);
}

/* True where the call goes on. */
static bool came(dstream_call *c, const struct ds_call_result *r, const struct dstream_error *e)
{
    if (c->stage == STAGE_WHY) {
        why_came(c, r, e);
        return false;
    }
    c->error = *e;
    if (c->stage == STAGE_TYPE)
        return type_came(c, r);
    if (c->stage == STAGE_MAIN) {
        c->result = *r;
        return main_came(c);
    }
    closed_came(c, r);
    return false;
}

static void on_called(void *ctx, struct ds_calling *x)
{
    dstream_stream *s = ctx;
    dstream_call *c = s->first;
    struct ds_call_result r = *ds_calling_result(x);
    struct dstream_error e = *ds_calling_error(x);
    if (c->stage == STAGE_MAIN)
        c->cause = *ds_calling_cause(x);
    s->auth_spent = e.code == DSTREAM_ERR_AUTH || (s->auth_spent && e.code != DSTREAM_OK);
    if (!came(c, &r, &e))
        finish(c);
}

static void obey_cancel(void *ctx);

/* Begins with the next call, where none is under way. */
static void on_time(void *ctx)
{
    dstream_stream *s = ctx;
    dstream_call *c = s->first;
    if (ds_gate_cancelled(&s->gate)) {
        obey_cancel(s);
        return;
    }
    if (!c || c->stage != STAGE_QUEUED)
        return;
    if (begin(c) != DSTREAM_OK)
        finish(c);
}

/* --- handles ---------------------------------------------------------------------------------- */

/* On the loop's thread. */
static void obey_cancel(void *ctx)
{
    dstream_stream *s = ctx;
    while (s->first)
        give_up(s->first, DSTREAM_ERR_CANCELLED);
}

static enum dstream_code make(dstream_stream *s, dstream_loop *loop, const char *url,
                              const dstream_options *o)
{
    struct dstream_error err;
    if (!ds_url_valid(url))
        return DSTREAM_ERR_ARGUMENT;
    s->last = &s->first;
    s->proven = o && o->producers_known;
    s->options = ds_options_copy(o);
    s->url = ds_strdup(url);
    s->own_loop = !loop;
    s->loop = loop ? loop : dstream_loop_new();
    if (!s->options || !s->url || !s->loop)
        return DSTREAM_ERR_NOMEM;
    s->timer.fire = on_time;
    s->cancel.run = obey_cancel;
    s->timer.ctx = s->cancel.ctx = s;
    new_identity(s);
    return ds_options_session(&s->session, s->loop, s->options, &err);
}

enum dstream_code dstream_stream_open(dstream_stream **out, dstream_loop *loop, const char *url,
                                      const dstream_options *o)
{
    *out = NULL;
    dstream_stream *s = ds_calloc(1, sizeof *s);
    if (!s)
        return DSTREAM_ERR_NOMEM;
    enum dstream_code rc = make(s, loop, url, o);
    if (rc == DSTREAM_OK)
        *out = s;
    else
        dstream_stream_free(s);
    return rc;
}

void dstream_stream_free(dstream_stream *s)
{
    if (!s)
        return;
    obey_cancel(s);
    if (s->loop) {
        ds_timer_stop(s->loop, &s->timer);
        ds_loop_unpost(s->loop, &s->cancel);
    }
    ds_session_free(s->session);
    if (s->own_loop)
        dstream_loop_free(s->loop);
    dstream_options_free(s->options);
    ds_free(s->url);
    ds_free(s);
}

void dstream_stream_cancel(dstream_stream *s)
{
    ds_gate_cancel(&s->gate);
    ds_loop_post(s->loop, &s->cancel);
}

enum dstream_code dstream_call_start(dstream_call *c, dstream_stream *s, dstream_on_done on_done,
                                     void *ctx)
{
    if (c->stage != STAGE_NEW)
        return DSTREAM_ERR_STATE;
    if (ds_gate_cancelled(&s->gate))
        return DSTREAM_ERR_CANCELLED;
    enum dstream_code rc = ds_timer_set(s->loop, &s->timer, ds_loop_update(s->loop));
    if (rc != DSTREAM_OK)
        return rc;
    c->stage = STAGE_QUEUED;
    c->stream = s;
    c->on_done = on_done;
    c->ctx = ctx;
    *s->last = c;
    s->last = &c->next;
    return DSTREAM_OK;
}

enum dstream_code dstream_call_run(dstream_call *c, dstream_stream *s, int64_t timeout_ms)
{
    enum dstream_code rc = dstream_call_start(c, s, NULL, NULL);
    if (rc != DSTREAM_OK)
        return rc;
    int64_t at = timeout_ms < 0 ? DS_NEVER : ds_later(ds_loop_now(s->loop), timeout_ms);
    while (c->stream && rc == DSTREAM_OK) {
        int64_t left = at == DS_NEVER ? -1 : at - ds_loop_update(s->loop);
        rc = at != DS_NEVER && left <= 0 ? DSTREAM_ERR_TIMEOUT : dstream_loop_turn(s->loop, left);
    }
    if (c->stream)
        give_up(c, rc);
    return c->error.code;
}

/* --- results ---------------------------------------------------------------------------------- */

const dstream_error *dstream_call_error(const dstream_call *c)
{
    return &c->error;
}

const dstream_error *dstream_call_cause(const dstream_call *c)
{
    bool unknown = c->error.code == DSTREAM_ERR_OUTCOME_UNKNOWN;
    return unknown && c->cause.code != DSTREAM_OK ? &c->cause : &c->error;
}

const char *dstream_call_offset(const dstream_call *c)
{
    const char *next = c->result.next;
    bool good = ds_token_check(next, strlen(next)) == DSTREAM_OK && !ds_token_is_sentinel(next);
    return good ? next : "";
}

const char *dstream_call_content_type(const dstream_call *c)
{
    return c->result.content_type;
}

int64_t dstream_call_ttl(const dstream_call *c)
{
    uint64_t seconds;
    return ds_parse_u64(c->result.ttl, INT64_MAX, &seconds) ? (int64_t)seconds : -1;
}

const char *dstream_call_etag(const dstream_call *c)
{
    return c->result.etag;
}

const char *dstream_call_expires(const dstream_call *c)
{
    return c->result.expires;
}

bool dstream_call_closed(const dstream_call *c)
{
    return c->result.closed;
}

bool dstream_call_created(const dstream_call *c)
{
    return c->kind == DSTREAM_CALL_CREATE && c->result.status == 201;
}

bool dstream_call_ambiguous(const dstream_call *c)
{
    return c->result.ambiguous;
}
