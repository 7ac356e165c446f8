/* SPDX-License-Identifier: Apache-2.0 */
#include "client/call.h"

#include <string.h>

#include "base/alloc.h"
#include "base/url.h"
#include "client/hook.h"
#include "client/options.h"

struct ds_calling {
    struct ds_caller caller;
    struct ds_call *call;
    struct ds_transfer *transfer; /* NULL: none under way */
    struct ds_timer timer;
    const char *method; /* of the request under way, for the trace */
    char url[512];
    ds_on_called on_called;
    void *ctx;
    bool refused; /* the server refused the credentials of the last request */
    bool done;
};

/* Protocol decisions are made from the timer alone, never from within a transfer's callbacks, where
 * nothing may be cancelled. It has been armed before, so that arming it again takes no memory. */
static void step_at(struct ds_calling *x, int64_t at)
{
    (void)ds_timer_set(x->caller.loop, &x->timer, at);
}

static void step_soon(struct ds_calling *x)
{
    step_at(x, ds_loop_now(x->caller.loop));
}

static bool may_call(struct ds_calling *x)
{
    return !x->caller.gate || ds_gate_enter(x->caller.gate);
}

static void has_called(struct ds_calling *x)
{
    if (x->caller.gate)
        ds_gate_leave(x->caller.gate);
}

static void trace(struct ds_calling *x, int status)
{
    const dstream_options *o = x->caller.options;
    if (!o->on_trace || !may_call(x))
        return;
    o->on_trace(o->trace_ctx, x->method, x->url, status);
    has_called(x);
}

/* --- what comes back -------------------------------------------------------------------------- */

static void on_connected(void *ctx)
{
    struct ds_calling *x = ctx;
    ds_call_connected(x->call, ds_loop_now(x->caller.loop));
    step_soon(x); /* it waits for something else now */
}

static void on_head(void *ctx, const struct ds_head *head)
{
    struct ds_calling *x = ctx;
    trace(x, head->status);
    ds_call_head(x->call, head, ds_loop_now(x->caller.loop));
    step_soon(x);
}

static bool on_body(void *ctx, const char *p, size_t n)
{
    struct ds_calling *x = ctx;
    ds_call_body(x->call, p, n);
    step_soon(x); /* it may be too much */
    return true;
}

static void on_end(void *ctx, const struct ds_result *result)
{
    struct ds_calling *x = ctx;
    x->transfer = NULL;
    ds_call_end(x->call, result);
    step_soon(x);
}

/* --- what goes out ---------------------------------------------------------------------------- */

static const char *method_name(enum ds_method method)
{
    static const char *const names[] = {[DS_GET] = "GET",
                                        [DS_HEAD] = "HEAD",
                                        [DS_PUT] = "PUT",
                                        [DS_POST] = "POST",
                                        [DS_DELETE] = "DELETE"};
    return names[method];
}

static enum dstream_code ask_hook(struct ds_calling *x, dstream_request *q, struct ds_request *r)
{
    bool refused = x->refused;
    if (!x->caller.options->on_request)
        return DSTREAM_OK;
    if (!may_call(x))
        return DSTREAM_ERR_CANCELLED;
    enum dstream_code rc = ds_hook_begin(q, x->caller.options, r, refused);
    has_called(x);
    x->refused = false;
    return rc;
}

static void request(struct ds_calling *x, const struct ds_request *r)
{
    static const struct ds_transfer_ops ops = {
        .connected = on_connected, .head = on_head, .body = on_body, .end = on_end};
    struct ds_request full = *r;
    dstream_request added = {.nheaders = 0};
    enum dstream_code rc = ask_hook(x, &added, &full);
    if (rc == DSTREAM_OK) {
        x->method = method_name(full.method);
        ds_url_redact(full.url, x->url, sizeof x->url);
        trace(x, 0);
        x->transfer = ds_transfer_start(x->caller.session, &full, &ops, x);
        if (!x->transfer)
            ds_call_end(x->call, &(struct ds_result){.end = DS_END_NOMEM});
    } else {
        ds_call_refuse(x->call, rc, "the callback for a request failed");
    }
    ds_hook_end(&added);
}

static void cancel(struct ds_calling *x)
{
    if (x->transfer)
        ds_transfer_cancel(x->transfer);
    x->transfer = NULL;
}

static void tell_retry(struct ds_calling *x, int64_t delay)
{
    if (!x->caller.on_retry || !may_call(x))
        return;
    x->caller.on_retry(x->caller.ctx, ds_call_error(x->call), delay);
    has_called(x);
}

/* Steps until there is something to wait for. False: it is done. */
static bool advance(struct ds_calling *x)
{
    dstream_loop *l = x->caller.loop;
    for (;;) {
        struct ds_call_step s = ds_call_step(x->call, ds_loop_now(l), ds_loop_random(l));
        switch (s.kind) {
        case DS_CALL_STEP_REQUEST:
            request(x, &s.request);
            break;
        case DS_CALL_STEP_ABORT:
            if (s.silent)
                ds_transfer_abandon(x->transfer);
            else
                ds_transfer_cancel(x->transfer);
            x->transfer = NULL;
            ds_call_aborted(x->call);
            break;
        case DS_CALL_STEP_NOTICE:
            tell_retry(x, s.delay);
            break;
        case DS_CALL_STEP_AUTH:
            x->refused = true;
            break;
        case DS_CALL_STEP_WAIT:
            step_at(x, s.until);
            return true;
        case DS_CALL_STEP_DONE:
            return false;
        }
    }
}

static void on_timer(void *ctx)
{
    struct ds_calling *x = ctx;
    if (x->done || advance(x))
        return;
    x->done = true;
    x->on_called(x->ctx, x);
}

/* --- the handle ------------------------------------------------------------------------------- */

enum dstream_code ds_calling_start(struct ds_calling **out, const struct ds_caller *caller,
                                   const struct ds_call_config *config, ds_on_called on_called,
                                   void *ctx, struct dstream_error *err)
{
    *out = NULL;
    struct ds_call_config c = *config;
    c.limits = caller->options->limits;
    struct ds_calling *x = ds_calloc(1, sizeof *x);
    if (!x)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a request");
    x->caller = *caller;
    x->on_called = on_called;
    x->ctx = ctx;
    x->timer.fire = on_timer;
    x->timer.ctx = x;
    enum dstream_code rc = ds_call_new(&x->call, &c, err);
    if (rc == DSTREAM_OK &&
        ds_timer_set(caller->loop, &x->timer, ds_loop_update(caller->loop)) != DSTREAM_OK)
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a timer");
    if (rc == DSTREAM_OK)
        *out = x;
    else
        ds_calling_free(x);
    return rc;
}

void ds_calling_stop(struct ds_calling *x)
{
    cancel(x);
    ds_call_cancel(x->call);
    ds_timer_stop(x->caller.loop, &x->timer);
    x->done = true;
}

const struct ds_call_result *ds_calling_result(const struct ds_calling *x)
{
    return ds_call_result(x->call);
}

const struct dstream_error *ds_calling_error(const struct ds_calling *x)
{
    return ds_call_error(x->call);
}

const struct dstream_error *ds_calling_cause(const struct ds_calling *x)
{
    return ds_call_cause(x->call);
}

void ds_calling_free(struct ds_calling *x)
{
    if (!x)
        return;
    cancel(x);
    ds_timer_stop(x->caller.loop, &x->timer);
    ds_call_free(x->call);
    ds_free(x);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void on_called(void *ctx, struct ds_calling *x)
{
    (void)x;
    *(bool *)ctx = true;
}

enum dstream_code ds_call_wait(const struct ds_caller *caller, const struct ds_call_config *config,
                               bool (*stop)(void *ctx), void *ctx, struct ds_call_result *out,
                               struct dstream_error *err)
{
    struct ds_calling *x;
    struct ds_call_config c = *config;
    bool done = false;
    memset(out, 0, sizeof *out);
    c.auth_hook = caller->options->on_request;
    enum dstream_code rc = ds_calling_start(&x, caller, &c, on_called, &done, err);
    if (rc != DSTREAM_OK)
        return rc;
    while (!done && rc == DSTREAM_OK && !(stop && stop(ctx)))
        rc = dstream_loop_turn(caller->loop, -1);
    if (!done)
        ds_calling_stop(x);
    *out = *ds_calling_result(x);
    *err = *ds_calling_error(x);
    ds_calling_free(x);
    if (rc != DSTREAM_OK && err->code == DSTREAM_ERR_CANCELLED)
        ds_error_set(err, rc, "no memory for the loop");
    return err->code;
}
