/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader on a loop: it performs what the state machine (reader/) decides.
 *
 * Transport's callbacks only feed the machine. What follows is done by a timer that is due at once,
 * since a transfer cannot be cancelled from within its own callbacks, and a user's callback may do
 * anything.
 */
#include "client/reader.h"

#include <string.h>

#include "base/alloc.h"
#include "base/url.h"
#include "client/gate.h"
#include "client/hook.h"
#include "client/options.h"

#define REST_MAX ((size_t)4 << 20) /* of one piece of a body that is not used up yet */

enum state {
    STATE_NEW,
    STATE_RUNNING,
    STATE_HELD, /* a batch is with the user */
    STATE_ENDED
};

struct dstream_reader {
    dstream_loop *loop;
    bool own_loop;
    dstream_options *options;
    struct ds_reader *core;
    struct ds_session *session;
    struct ds_transfer *transfer; /* NULL: none */
    struct ds_timer timer;
    struct ds_timer hold; /* armed while the transfer is paused, where that must not last */
    enum state state;
    struct ds_gate gate;
    struct ds_posted cancel;
    bool acting;        /* the machine's steps are being taken */
    bool refused;       /* the server refused the credentials of the last request */
    bool dropped;       /* paused from inside the callback for a request */
    bool lost;          /* a piece of the body could not be kept */
    struct ds_buf rest; /* bytes of the body that came after a batch; `used` of them are fed */
    size_t used;
    const char *method; /* of the request under way, for the trace */
    char shown[512];
    bool live; /* it is a live one */
    struct dstream_error error;
    /* the callback way */
    dstream_on_batch on_batch;
    dstream_on_end on_end;
    void *ctx;
    /* the blocking way */
    bool blocking;
    const dstream_batch *batch;
};

static void soon(dstream_reader *r)
{
    (void)ds_timer_set(r->loop, &r->timer, ds_loop_now(r->loop));
}

static void hold_from_now(dstream_reader *r)
{
    (void)ds_timer_set(r->loop, &r->hold, ds_loop_now(r->loop) + r->options->limits.hold_shared);
}

/* --- what transport calls --------------------------------------------------------------------- */

static void on_connected(void *ctx)
{
    dstream_reader *r = ctx;
    ds_reader_connected(r->core, ds_loop_now(r->loop));
    soon(r); /* what is waited for now has another limit */
}

static void trace(dstream_reader *r, int status)
{
    if (!r->options->on_trace || !ds_gate_enter(&r->gate))
        return;
    r->options->on_trace(r->options->trace_ctx, r->method, r->shown, status);
    ds_gate_leave(&r->gate);
}

static void show_head(dstream_reader *r, const struct ds_head *head)
{
    bool wanted = r->options->on_head && strcmp(r->method, "GET") == 0;
    if (!wanted || !ds_gate_enter(&r->gate))
        return;
    r->options->on_head(r->options->head_ctx, r->live, head);
    ds_gate_leave(&r->gate);
}

static void on_head(void *ctx, const struct ds_head *head)
{
    dstream_reader *r = ctx;
    trace(r, head->status);
    show_head(r, head);
    ds_reader_head(r->core, head, ds_loop_now(r->loop));
    soon(r);
}

/* What the machine does not take now, since a batch has to be taken first, is kept, and no more
 * comes until then. */
static bool on_body(void *ctx, const char *p, size_t n)
{
    dstream_reader *r = ctx;
    size_t used = 0;
    if (r->rest.len == 0)
        used = ds_reader_body(r->core, p, n, ds_loop_now(r->loop));
    soon(r);
    if (used == n)
        return true;
    if (ds_buf_add(&r->rest, p + used, n - used) != DSTREAM_OK)
        r->lost = true;
    if (r->transfer && ds_transfer_shares(r->transfer))
        hold_from_now(r);
    return false;
}

static void on_end(void *ctx, const struct ds_result *result)
{
    dstream_reader *r = ctx;
    r->transfer = NULL;
    ds_reader_end(r->core, result, ds_loop_now(r->loop));
    soon(r);
}

static const struct ds_transfer_ops transfer_ops = {
    .connected = on_connected, .head = on_head, .body = on_body, .end = on_end};

/* --- steps ------------------------------------------------------------------------------------ */

/* The transfer, which is no longer the reader's. */
static struct ds_transfer *let_go(dstream_reader *r)
{
    struct ds_transfer *x = r->transfer;
    r->transfer = NULL;
    r->rest.len = r->used = 0;
    r->lost = false;
    if (r->loop)
        ds_timer_stop(r->loop, &r->hold);
    return x;
}

static void stop_transfer(dstream_reader *r)
{
    ds_transfer_cancel(let_go(r));
}

/* The consumer has held the transfer up for too long. */
static void on_hold(void *ctx)
{
    dstream_reader *r = ctx;
    if (r->state != STATE_HELD) {
        hold_from_now(r); /* it is about to go on, perhaps only to the next batch */
        return;
    }
    stop_transfer(r);
    ds_reader_drop(r->core);
}

static void stop(dstream_reader *r)
{
    stop_transfer(r);
    ds_timer_stop(r->loop, &r->timer);
    r->state = STATE_ENDED;
}

static void end(dstream_reader *r, enum dstream_code code)
{
    stop(r);
    if (!r->on_end || !ds_gate_enter(&r->gate))
        return;
    r->on_end(r->ctx, r, code);
    ds_gate_leave(&r->gate);
}

/* On the loop's thread. */
static void obey_cancel(void *ctx)
{
    dstream_reader *r = ctx;
    if (r->state == STATE_ENDED)
        return;
    stop(r);
    ds_error_set(&r->error, DSTREAM_ERR_CANCELLED, "%s", dstream_code_text(DSTREAM_ERR_CANCELLED));
}

static enum dstream_code ask_hook(dstream_reader *r, dstream_request *q, struct ds_request *req)
{
    bool refused = r->refused;
    if (!r->options->on_request)
        return DSTREAM_OK;
    if (!ds_gate_enter(&r->gate))
        return DSTREAM_ERR_CANCELLED;
    enum dstream_code rc = ds_hook_begin(q, r->options, req, refused);
    ds_gate_leave(&r->gate);
    r->refused = refused && r->dropped;
    return rc;
}

static void hook_failed(dstream_reader *r, enum dstream_code rc, bool refused)
{
    if (rc == DSTREAM_ERR_AUTH && refused)
        r->error = *ds_reader_refusal(r->core);
    else
        ds_error_set(&r->error, rc, "the callback for a request failed: %s", dstream_code_text(rc));
    end(r, rc);
}

static void request(dstream_reader *r, const struct ds_request *req)
{
    static const struct ds_result no_memory = {
        .end = DS_END_NOMEM, .connected = false, .detail = "no memory for a request"};
    struct ds_request full = *req;
    dstream_request added = {.nheaders = 0};
    bool refused = r->refused;
    r->dropped = false;
    enum dstream_code rc = ask_hook(r, &added, &full);
    if (ds_gate_cancelled(&r->gate))
        obey_cancel(r);
    if (rc != DSTREAM_OK || r->dropped || ds_gate_cancelled(&r->gate)) {
        ds_hook_end(&added);
        if (rc == DSTREAM_OK)
            return;
        if (!ds_gate_cancelled(&r->gate))
            hook_failed(r, rc, refused);
        return;
    }
    r->method = req->method == DS_HEAD ? "HEAD" : "GET";
    r->live = ds_url_has_param(full.url, "live");
    ds_url_redact(full.url, r->shown, sizeof r->shown);
    trace(r, 0);
    r->rest.len = r->used = 0;
    r->transfer = ds_transfer_start(r->session, &full, &transfer_ops, r);
    ds_hook_end(&added);
    if (!r->transfer)
        ds_reader_end(r->core, &no_memory, ds_loop_now(r->loop));
}

static void acknowledge(dstream_reader *r)
{
    ds_reader_ack(r->core, ds_loop_update(r->loop));
    r->batch = NULL;
    r->state = STATE_RUNNING;
}

/* Hands a batch over. False where nothing more is to be done now. */
static bool deliver(dstream_reader *r, const dstream_batch *b)
{
    enum dstream_flow flow = DSTREAM_FLOW_HOLD;
    r->state = STATE_HELD;
    if (r->blocking) {
        r->batch = b;
    } else if (ds_gate_enter(&r->gate)) {
        flow = r->on_batch(r->ctx, r, b);
        ds_gate_leave(&r->gate);
    }
    if (ds_gate_cancelled(&r->gate)) {
        obey_cancel(r);
        return false;
    }
    if (flow == DSTREAM_FLOW_HOLD)
        return r->state == STATE_RUNNING;
    acknowledge(r);
    if (flow == DSTREAM_FLOW_NEXT)
        return true;
    end(r, DSTREAM_OK);
    return false;
}

/* Feeds what is left of the body, up to the next batch. True where that changed anything. */
static bool feed_rest(dstream_reader *r)
{
    if (r->lost) {
        static const struct ds_result no_memory = {
            .end = DS_END_NOMEM, .connected = true, .detail = "no memory for an answer"};
        stop_transfer(r);
        ds_reader_end(r->core, &no_memory, ds_loop_now(r->loop));
        return true;
    }
    if (r->rest.len == 0)
        return false;
    r->used += ds_reader_body(r->core, r->rest.data + r->used, r->rest.len - r->used,
                              ds_loop_now(r->loop));
    if (r->used == r->rest.len) {
        r->rest.len = r->used = 0;
        ds_timer_stop(r->loop, &r->hold);
        if (r->transfer)
            ds_transfer_resume(r->transfer);
    }
    return true;
}

static void tell(dstream_reader *r, const struct ds_notice *n)
{
    const dstream_options *o = r->options;
    bool failed = n->kind == DS_NOTICE_RETRY || n->kind == DS_NOTICE_SUSPECT;
    if (o->on_notice && ds_gate_enter(&r->gate)) {
        o->on_notice(o->notice_ctx, r, n);
        ds_gate_leave(&r->gate);
    }
    if (o->on_public_notice && ds_gate_enter(&r->gate)) {
        o->on_public_notice(o->public_notice_ctx, r, (enum dstream_notice)n->kind, n->delay,
                            failed ? n->error : NULL);
        ds_gate_leave(&r->gate);
    }
    if (ds_gate_cancelled(&r->gate))
        obey_cancel(r);
}

/* One step. False where there is nothing to do before something is fed or the time has come. */
static bool act(dstream_reader *r)
{
    struct ds_step s = ds_reader_step(r->core, ds_loop_now(r->loop), ds_loop_random(r->loop));
    switch (s.kind) {
    case DS_STEP_REQUEST:
        request(r, &s.u.request);
        return true;
    case DS_STEP_ABORT:
        if (s.u.silent)
            ds_transfer_abandon(let_go(r));
        else
            stop_transfer(r);
        return true;
    case DS_STEP_DELIVER:
        return deliver(r, s.u.batch);
    case DS_STEP_NOTICE:
        tell(r, &s.u.notice);
        return true;
    case DS_STEP_AUTH:
        r->refused = true;
        ds_reader_auth(r->core, true);
        return true;
    case DS_STEP_WAIT:
        if (feed_rest(r))
            return true;
        if (s.u.until == DS_NEVER)
            ds_timer_stop(r->loop, &r->timer);
        else
            (void)ds_timer_set(r->loop, &r->timer, s.u.until);
        return false;
    case DS_STEP_DONE:
        end(r, ds_reader_error(r->core)->code);
        return false;
    }
    return false;
}

static void on_time(void *ctx)
{
    dstream_reader *r = ctx;
    if (r->state != STATE_RUNNING || r->acting)
        return;
    r->acting = true;
    while (r->state == STATE_RUNNING && act(r))
        continue;
    r->acting = false;
}

/* --- handles ---------------------------------------------------------------------------------- */

static enum dstream_code make(dstream_reader *r, dstream_loop *loop, const char *url,
                              const dstream_options *o)
{
    ds_buf_init(&r->rest, REST_MAX);
    r->options = ds_options_copy(o);
    r->own_loop = !loop;
    r->loop = loop ? loop : dstream_loop_new();
    if (!r->options || !r->loop)
        return DSTREAM_ERR_NOMEM;
    r->timer.fire = on_time;
    r->cancel.run = obey_cancel;
    r->hold.fire = on_hold;
    r->timer.ctx = r->hold.ctx = r->cancel.ctx = r;
    o = r->options;
    struct ds_reader_config c = {
        .url = url,
        .offset = o->offset ? o->offset : "-1",
        .skip = o->skip,
        .live = o->live,
        .stop_at_tail = o->stop_at_tail,
        .content_type = o->content_type,
        .witness = o->witness,
        .recheck = o->recheck,
        .parts = o->parts,
        .live_at_once = o->live_at_once,
        .on_gone = o->on_gone,
        .seen = o->seen,
        .wait_create = o->wait_create,
        .auth = o->on_request,
        .limits = o->limits,
    };
    enum dstream_code rc = ds_reader_new(&r->core, &c, &r->error);
    return rc == DSTREAM_OK ? ds_options_session(&r->session, r->loop, o, &r->error) : rc;
}

enum dstream_code dstream_reader_open(dstream_reader **out, dstream_loop *loop, const char *url,
                                      const dstream_options *o)
{
    *out = NULL;
    dstream_reader *r = ds_calloc(1, sizeof *r);
    if (!r)
        return DSTREAM_ERR_NOMEM;
    enum dstream_code rc = make(r, loop, url, o);
    if (rc == DSTREAM_OK)
        *out = r;
    else
        dstream_reader_free(r);
    return rc;
}

void dstream_reader_free(dstream_reader *r)
{
    if (!r)
        return;
    stop_transfer(r);
    if (r->loop) {
        ds_timer_stop(r->loop, &r->timer);
        ds_loop_unpost(r->loop, &r->cancel);
    }
    ds_reader_free(r->core);
    ds_session_free(r->session);
    if (r->own_loop)
        dstream_loop_free(r->loop);
    dstream_options_free(r->options);
    ds_buf_free(&r->rest);
    ds_free(r);
}

/* --- the callback way ------------------------------------------------------------------------- */

enum dstream_code dstream_reader_start(dstream_reader *r, dstream_on_batch on_batch,
                                       dstream_on_end ended, void *ctx)
{
    if (ds_gate_cancelled(&r->gate))
        obey_cancel(r);
    if (r->state != STATE_NEW)
        return ds_gate_cancelled(&r->gate) ? DSTREAM_ERR_CANCELLED : DSTREAM_ERR_STATE;
    r->on_batch = on_batch;
    r->on_end = ended;
    r->ctx = ctx;
    r->state = STATE_RUNNING;
    (void)ds_loop_update(r->loop);
    return ds_timer_set(r->loop, &r->timer, ds_loop_now(r->loop));
}

void dstream_reader_resume(dstream_reader *r)
{
    ds_reader_resume(r->core, ds_loop_update(r->loop));
    if (r->state == STATE_HELD && !r->blocking)
        r->state = STATE_RUNNING;
    if (r->state == STATE_RUNNING)
        soon(r);
}

/* --- pausing and cancelling ------------------------------------------------------------------- */

void dstream_reader_pause(dstream_reader *r)
{
    ds_reader_pause(r->core);
    r->dropped = true;
    stop_transfer(r);
}

void dstream_reader_cancel(dstream_reader *r)
{
    ds_gate_cancel(&r->gate);
    ds_loop_post(r->loop, &r->cancel);
}

/* --- the blocking way ------------------------------------------------------------------------- */

static enum dstream_next found(dstream_reader *r, const dstream_batch **batch)
{
    if (r->state == STATE_HELD) {
        *batch = r->batch;
        return DSTREAM_NEXT_BATCH;
    }
    return dstream_reader_error(r)->code == DSTREAM_OK ? DSTREAM_NEXT_END : DSTREAM_NEXT_ERROR;
}

/* Starts, or goes on behind the last batch. False where this is not the way it is used. */
static bool go_on(dstream_reader *r)
{
    if (r->state == STATE_NEW) {
        r->blocking = true;
        r->state = STATE_RUNNING;
        (void)ds_loop_update(r->loop);
    } else if (!r->blocking) {
        return false;
    } else if (r->state == STATE_HELD) {
        acknowledge(r);
    }
    if (r->state == STATE_RUNNING)
        soon(r);
    return true;
}

enum dstream_next dstream_reader_next(dstream_reader *r, int64_t timeout_ms,
                                      const dstream_batch **batch)
{
    *batch = NULL;
    if (ds_gate_cancelled(&r->gate))
        obey_cancel(r);
    else if (!go_on(r))
        return DSTREAM_NEXT_ERROR;
    int64_t now = ds_loop_update(r->loop);
    int64_t until = timeout_ms < 0 || timeout_ms > DS_NEVER - now ? DS_NEVER : now + timeout_ms;
    while (r->state == STATE_RUNNING) {
        int64_t left = until == DS_NEVER ? -1 : until - ds_loop_now(r->loop);
        if (until != DS_NEVER && left < 0)
            left = 0;
        enum dstream_code rc = dstream_loop_turn(r->loop, left);
        if (rc != DSTREAM_OK) {
            if (rc == DSTREAM_ERR_NOMEM)
                ds_error_set(&r->error, rc, "no memory for the loop");
            return DSTREAM_NEXT_ERROR; /* else from inside a callback of its loop */
        }
        if (r->state == STATE_RUNNING && until != DS_NEVER && ds_loop_update(r->loop) >= until)
            return DSTREAM_NEXT_TIMEOUT;
    }
    return found(r, batch);
}

/* --- what is known ---------------------------------------------------------------------------- */

const char *dstream_reader_offset(const dstream_reader *r)
{
    return ds_reader_offset(r->core);
}

const char *dstream_reader_content_type(const dstream_reader *r)
{
    return ds_reader_content_type(r->core);
}

int dstream_reader_last_status(const dstream_reader *r)
{
    return ds_reader_said_status(r->core);
}

const char *dstream_reader_last_offset(const dstream_reader *r)
{
    return ds_reader_said_next(r->core);
}

const char *dstream_reader_etag(const dstream_reader *r)
{
    return ds_reader_etag(r->core);
}

const dstream_error *dstream_reader_error(const dstream_reader *r)
{
    return r->error.code != DSTREAM_OK ? &r->error : ds_reader_error(r->core);
}

enum ds_phase ds_client_phase(const dstream_reader *r)
{
    return ds_reader_phase(r->core);
}

uint64_t ds_client_skip(const dstream_reader *r)
{
    return ds_reader_skip(r->core);
}

void ds_client_set_witness(dstream_reader *r, const struct ds_witness *w)
{
    ds_reader_set_witness(r->core, w);
}
