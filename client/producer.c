/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer on a loop: it performs what the state machine (producer/) decides.
 *
 * As with a reader, transport's callbacks only feed the machine, and a timer that is due at once
 * takes its steps: there, transfers may be cancelled, and a user's callback may do anything.
 */
#include "config.h"

#include "client/producer.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/url.h"
#include "client/gate.h"
#include "client/hook.h"
#include "client/options.h"

/* Bytes that are appended at most before the loop gets a turn, where nobody else gives it one. */
#define BREATH ((size_t)256 * 1024)

/* One request under way. */
struct line {
    struct dstream_producer *owner;
    struct ds_transfer *transfer; /* NULL: the line is free */
    uint64_t id;                  /* of the request */
    const char *method;
    char shown[512];
};

struct dstream_result {
    const struct ds_producer_result *core;
};

struct on_result {
    dstream_on_result call;
    void *ctx;
};

struct dstream_producer {
    dstream_loop *loop;
    bool own_loop;
    dstream_options *options;
    struct ds_producer *core;
    struct ds_session *session;
    struct line *lines;
    unsigned nlines;
    struct ds_timer timer;
    struct ds_gate gate;
    struct ds_posted cancel;
    bool due;         /* the timer is armed for at once */
    bool acting;      /* the machine's steps are being taken */
    bool stopping;    /* a cancel was passed on to the machine */
    bool ended;       /* and has come to its end */
    bool refused;     /* the server refused the credentials of the last request */
    bool crowded;     /* an append was told AGAIN */
    uint64_t results; /* how many there were */
    uint64_t next;    /* the id of the next message */
    int64_t turned;   /* when the loop of its own was turned last, */
    size_t unturned;  /* and the bytes that were appended since */
    uint64_t written; /* the last record that was written */
    bool unsynced;    /* it may not be durable yet */
    struct ds_producing more;
    char id[DS_ID_MAX + 1];
    struct dstream_error refusal;
    struct on_result on_result, on_failure;
    dstream_on_room on_room;
    void *room_ctx;
    dstream_on_producer_end on_end;
    void *end_ctx;
};

static void soon(dstream_producer *p)
{
    if (!p->due)
        (void)ds_timer_set(p->loop, &p->timer, ds_loop_now(p->loop));
    p->due = true;
}

/* --- what transport calls --------------------------------------------------------------------- */

static void trace(const struct line *x, int status)
{
    dstream_producer *p = x->owner;
    if (!p->options->on_trace || !ds_gate_enter(&p->gate))
        return;
    p->options->on_trace(p->options->trace_ctx, x->method, x->shown, status);
    ds_gate_leave(&p->gate);
}

static void on_connected(void *ctx)
{
    struct line *x = ctx;
    ds_producer_connected(x->owner->core, x->id, ds_loop_now(x->owner->loop));
    soon(x->owner); /* what is waited for now has another limit */
}

static void on_head(void *ctx, const struct ds_head *head)
{
    struct line *x = ctx;
    trace(x, head->status);
    ds_producer_head(x->owner->core, x->id, head, ds_loop_now(x->owner->loop));
    soon(x->owner);
}

static bool on_body(void *ctx, const char *data, size_t n)
{
    struct line *x = ctx;
    ds_producer_body(x->owner->core, x->id, data, n);
    soon(x->owner); /* it may be too much */
    return true;
}

static void on_end(void *ctx, const struct ds_result *result)
{
    struct line *x = ctx;
    x->transfer = NULL;
    ds_producer_end(x->owner->core, x->id, result);
    soon(x->owner);
}

/* --- requests --------------------------------------------------------------------------------- */

static struct line *free_line(dstream_producer *p)
{
    for (unsigned i = 0; i < p->nlines; i++) {
        if (!p->lines[i].transfer)
            return &p->lines[i];
    }
    return NULL;
}

static enum dstream_code ask_hook(dstream_producer *p, dstream_request *q, struct ds_request *req)
{
    bool refused = p->refused;
    if (!p->options->on_request)
        return DSTREAM_OK;
    if (!ds_gate_enter(&p->gate))
        return DSTREAM_ERR_CANCELLED;
    enum dstream_code rc = ds_hook_begin(q, p->options, req, refused);
    ds_gate_leave(&p->gate);
    p->refused = false;
    return rc;
}

/* One that could not even be begun. */
static void unsent(dstream_producer *p, uint64_t id, const char *detail)
{
    const struct ds_result r = {.end = DS_END_NOMEM, .connected = false, .detail = detail};
    ds_producer_end(p->core, id, &r);
}

static void hook_failed(dstream_producer *p, enum dstream_code rc, bool refused, const char *url)
{
    struct dstream_error e = {.code = rc};
    if (ds_gate_cancelled(&p->gate))
        return; /* that stops it */
    ds_error_set_url(&e, url);
    ds_error_set(&e, rc, "the callback for a request failed: %s", dstream_code_text(rc));
    if (rc == DSTREAM_ERR_AUTH && refused)
        e = *ds_producer_refusal(p->core);
    ds_producer_stop(p->core, &e, false);
}

static void start(dstream_producer *p, uint64_t id, const struct ds_request *req)
{
    static const struct ds_transfer_ops ops = {
        .connected = on_connected, .head = on_head, .body = on_body, .end = on_end};
    struct line *x = free_line(p);
    if (x) {
        x->id = id;
        x->method = req->method == DS_HEAD ? "HEAD" : "POST";
        ds_url_redact(req->url, x->shown, sizeof x->shown);
        trace(x, 0);
        x->transfer = ds_transfer_start(p->session, req, &ops, x);
    }
    if (!x || !x->transfer)
        unsent(p, id, "no memory for a request");
}

static void request(dstream_producer *p, uint64_t id, const struct ds_request *req)
{
    struct ds_request full = *req;
    dstream_request added = {.nheaders = 0};
    bool refused = p->refused;
    enum dstream_code rc = ask_hook(p, &added, &full);
    if (rc == DSTREAM_OK) {
        start(p, id, &full);
    } else {
        hook_failed(p, rc, refused, full.url);
        unsent(p, id, "it was given up");
    }
    ds_hook_end(&added);
}

static void abort_request(dstream_producer *p, uint64_t id)
{
    bool left = false;
    for (unsigned i = 0; i < p->nlines; i++) {
        struct line *x = &p->lines[i];
        if (!x->transfer || x->id != id)
            continue;
        left = ds_transfer_left(x->transfer);
        ds_transfer_cancel(x->transfer);
        x->transfer = NULL;
    }
    ds_producer_aborted(p->core, id, left);
}

/* --- the journal ------------------------------------------------------------------------------ */

static void write_down(dstream_producer *p, struct ds_record *r)
{
    struct dstream_error e = {.code = DSTREAM_OK};
    uint64_t number = r->number;
    if (p->more.journal->write(p->more.journal_ctx, r, &e) != DSTREAM_OK) {
        p->unsynced = false; /* what is in the file now is the next run's to find out */
        ds_producer_stop(p->core, &e, true);
        return;
    }
    p->written = number;
    p->unsynced = true;
}

/* What was written becomes durable. True where that changed anything. */
static bool sync_journal(dstream_producer *p)
{
    struct dstream_error e = {.code = DSTREAM_OK};
    if (!p->unsynced)
        return false;
    p->unsynced = false;
    if (p->more.journal->sync(p->more.journal_ctx, &e) == DSTREAM_OK)
        ds_producer_durable(p->core, p->written);
    else
        ds_producer_stop(p->core, &e, true);
    return true;
}

/* --- callbacks -------------------------------------------------------------------------------- */

static void call_with(dstream_producer *p, const struct on_result *on, const dstream_result *r)
{
    if (!on->call || !ds_gate_enter(&p->gate))
        return;
    on->call(on->ctx, p, r);
    ds_gate_leave(&p->gate);
}

static void tell_result(dstream_producer *p, const struct ds_producer_result *core)
{
    dstream_result r = {core};
    p->results++;
    if (core->fate != DS_FATE_ACKED)
        call_with(p, &p->on_failure, &r);
    call_with(p, &p->on_result, &r);
    ds_producer_told(p->core);
}

static void tell_notice(dstream_producer *p, const struct ds_producer_step *s)
{
    if (!p->more.on_notice || !ds_gate_enter(&p->gate))
        return;
    p->more.on_notice(p->more.notice_ctx, p, s->u.notice.kind, s->u.notice.delay,
                      s->u.notice.error);
    ds_gate_leave(&p->gate);
}

/* True where somebody was told that there is room. */
static bool tell_room(dstream_producer *p)
{
    if (!p->crowded)
        return false;
    p->crowded = false;
    if (!p->on_room || !ds_gate_enter(&p->gate))
        return false;
    p->on_room(p->room_ctx, p);
    ds_gate_leave(&p->gate);
    return true;
}

static void end(dstream_producer *p)
{
    ds_timer_stop(p->loop, &p->timer);
    p->ended = true;
    if (!p->on_end || !ds_gate_enter(&p->gate))
        return;
    p->on_end(p->end_ctx, p, ds_producer_error(p->core)->code);
    ds_gate_leave(&p->gate);
}

/* --- steps ------------------------------------------------------------------------------------ */

static void pass_cancel_on(dstream_producer *p)
{
    struct dstream_error e = {.code = DSTREAM_OK};
    if (p->stopping || !ds_gate_cancelled(&p->gate))
        return;
    p->stopping = true;
    ds_error_set(&e, DSTREAM_ERR_CANCELLED, "%s", dstream_code_text(DSTREAM_ERR_CANCELLED));
    ds_producer_stop(p->core, &e, false);
}

/* Nothing to do before something is given or fed, but for what was put off until now: true where
 * there was any. */
static bool idle(dstream_producer *p, int64_t until, uint64_t *results)
{
    if (sync_journal(p))
        return true;
    bool news = p->results != *results;
    *results = p->results;
    if (news && tell_room(p))
        return true;
    p->due = false; /* what was given meanwhile is done with */
    (void)ds_timer_set(p->loop, &p->timer, until);
    return false;
}

/* One step. False where there is nothing to do before something is given or fed. `results`: how
 * many there were when somebody was last told of room. */
static bool act(dstream_producer *p, uint64_t *results)
{
    pass_cancel_on(p);
    struct ds_producer_step s =
        ds_producer_step(p->core, ds_loop_now(p->loop), ds_loop_random(p->loop));
    switch (s.kind) {
    case DS_PRODUCER_STEP_REQUEST:
        request(p, s.id, &s.u.request);
        return true;
    case DS_PRODUCER_STEP_ABORT:
        abort_request(p, s.id);
        return true;
    case DS_PRODUCER_STEP_JOURNAL:
        write_down(p, s.u.record);
        return true;
    case DS_PRODUCER_STEP_RESULT:
        tell_result(p, s.u.result);
        return true;
    case DS_PRODUCER_STEP_AUTH:
        p->refused = true;
        ds_producer_auth(p->core, true);
        return true;
    case DS_PRODUCER_STEP_NOTICE:
        tell_notice(p, &s);
        return true;
    case DS_PRODUCER_STEP_WAIT:
        return idle(p, s.u.until, results);
    case DS_PRODUCER_STEP_DONE:
        if (sync_journal(p))
            return true;
        end(p);
        return false;
    }
    return false;
}

static void take_steps(dstream_producer *p)
{
    uint64_t results = p->results;
    if (p->acting || p->ended)
        return;
    p->acting = true;
    while (!p->ended && act(p, &results))
        continue;
    p->acting = false;
}

static void on_time(void *ctx)
{
    dstream_producer *p = ctx;
    p->due = false;
    take_steps(p);
}

/* On the loop's thread. All that is left to do is done at once. */
static void obey_cancel(void *ctx)
{
    dstream_producer *p = ctx;
    p->due = false;
    take_steps(p);
}

/* --- handles ---------------------------------------------------------------------------------- */

static uint64_t unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec < 0 ? 0 : (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static enum dstream_code make_core(dstream_producer *p, const char *url, const char *content_type,
                                   struct dstream_error *err)
{
    struct ds_producer_config c = p->options->producer;
    c.url = url;
    c.content_type = content_type;
    c.id = p->id;
    c.unix_ms = unix_ms();
    c.random = ds_loop_random(p->loop);
    c.auth_hook = p->options->on_request != NULL;
    c.journal = p->more.journal != NULL;
    c.from = p->more.from;
    c.first_id = p->more.first_id;
    c.limits = p->options->limits;
    enum dstream_code rc = ds_producer_new(&p->core, &c, ds_loop_update(p->loop), err);
    if (rc != DSTREAM_OK)
        return rc;
    p->more.from = NULL;
    p->next = ds_producer_flush(p->core, ds_loop_now(p->loop));
    p->nlines = c.window + 1; /* and one that asks whether the stream is closed */
    p->lines = ds_calloc(p->nlines, sizeof *p->lines);
    for (unsigned i = 0; p->lines && i < p->nlines; i++)
        p->lines[i].owner = p;
    return p->lines ? DSTREAM_OK : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for requests");
}

static enum dstream_code set_id(dstream_producer *p, const char *id, struct dstream_error *err)
{
    if (!id) {
        ds_loop_random_id(p->loop, p->id);
        return DSTREAM_OK;
    }
    if (strlen(id) > DS_ID_MAX)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "a producer id has at most %d bytes",
                            DS_ID_MAX);
    strcpy(p->id, id);
    return DSTREAM_OK;
}

static enum dstream_code make(dstream_producer *p, dstream_loop *loop, const char *url,
                              const char *content_type, const char *id, const dstream_options *o,
                              struct dstream_error *err)
{
    p->options = ds_options_copy(o);
    p->own_loop = !loop;
    p->loop = loop ? loop : dstream_loop_new();
    if (!p->options || !p->loop)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a producer");
    p->timer.fire = on_time;
    p->cancel.run = obey_cancel;
    p->timer.ctx = p->cancel.ctx = p;
    enum dstream_code rc = set_id(p, id, err);
    if (rc == DSTREAM_OK)
        rc = make_core(p, url, content_type, err);
    if (rc == DSTREAM_OK)
        rc = ds_options_session(&p->session, p->loop, p->options, err);
    /* A journal may have something to be done at once. It stays armed, so that arming it again
     * takes no memory. */
    if (rc == DSTREAM_OK && ds_timer_set(p->loop, &p->timer, ds_loop_now(p->loop)) != DSTREAM_OK)
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a timer");
    p->due = true;
    return rc;
}

enum dstream_code ds_producing_open(dstream_producer **out, dstream_loop *loop, const char *url,
                                    const char *content_type, const char *id,
                                    const dstream_options *o, const struct ds_producing *more,
                                    struct dstream_error *err)
{
    *out = NULL;
    dstream_producer *p = ds_calloc(1, sizeof *p);
    if (!p)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a producer");
    p->more = *more;
    enum dstream_code rc = make(p, loop, url, content_type, id, o, err);
    if (rc == DSTREAM_OK)
        *out = p;
    else
        dstream_producer_free(p);
    return rc;
}

enum dstream_code dstream_producer_open(dstream_producer **out, dstream_loop *loop, const char *url,
                                        const char *content_type, const char *id,
                                        const dstream_options *o)
{
    const struct ds_producing nothing = {.first_id = 0};
    struct dstream_error err = {.code = DSTREAM_OK};
    return ds_producing_open(out, loop, url, content_type, id, o, &nothing, &err);
}

static uint64_t pending(const dstream_producer *p)
{
    struct ds_producer_status s;
    ds_producer_status(p->core, &s);
    return p->next - s.settled;
}

uint64_t dstream_producer_free(dstream_producer *p)
{
    if (!p)
        return 0;
    uint64_t lost = p->core ? pending(p) : 0;
    for (unsigned i = 0; p->lines && i < p->nlines; i++)
        ds_transfer_cancel(p->lines[i].transfer);
    if (p->loop) {
        ds_timer_stop(p->loop, &p->timer);
        ds_loop_unpost(p->loop, &p->cancel);
    }
    ds_producer_free(p->core);
    ds_session_free(p->session);
    if (p->own_loop)
        dstream_loop_free(p->loop);
    dstream_options_free(p->options);
    ds_free(p->lines);
    ds_free(p);
    return lost;
}

void dstream_producer_on_result(dstream_producer *p, dstream_on_result call, void *ctx)
{
    p->on_result = (struct on_result){call, ctx};
}

void dstream_producer_on_failure(dstream_producer *p, dstream_on_result call, void *ctx)
{
    p->on_failure = (struct on_result){call, ctx};
}

void dstream_producer_on_room(dstream_producer *p, dstream_on_room call, void *ctx)
{
    p->on_room = call;
    p->room_ctx = ctx;
}

void dstream_producer_on_end(dstream_producer *p, dstream_on_producer_end call, void *ctx)
{
    p->on_end = call;
    p->end_ctx = ctx;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int64_t until(const dstream_producer *p, int64_t timeout_ms)
{
    int64_t now = ds_loop_update(p->loop);
    return timeout_ms < 0 ? DS_NEVER : ds_later(now, timeout_ms);
}

/* Turns the loop, up to the time at most. ERR_TIMEOUT where it is over. */
static enum dstream_code turn(dstream_producer *p, int64_t at)
{
    int64_t now = ds_loop_update(p->loop);
    if (at <= now)
        return DSTREAM_ERR_TIMEOUT;
    return dstream_loop_turn(p->loop, at == DS_NEVER ? -1 : at - now);
}

static enum dstream_code refuse(dstream_producer *p, enum dstream_code code)
{
    return ds_error_set(&p->refusal, code, "%s",
                        code == DSTREAM_ERR_STATE ? "a callback cannot wait"
                                                  : dstream_code_text(code));
}

/* Up to the end. */
static enum dstream_code wait_for_end(dstream_producer *p, int64_t at)
{
    while (!p->ended) {
        enum dstream_code rc = turn(p, at);
        if (rc != DSTREAM_OK)
            return refuse(p, rc);
    }
    return ds_producer_error(p->core)->code;
}

/* --- appending -------------------------------------------------------------------------------- */

/* Who has no other loop than ours need not turn it to have things go on while appending. */
static void breathe(dstream_producer *p, size_t appended)
{
    p->unturned += appended;
    if (!p->own_loop || p->acting || (p->turned == ds_loop_now(p->loop) && p->unturned < BREATH))
        return;
    (void)dstream_loop_turn(p->loop, 0);
    p->turned = ds_loop_now(p->loop);
    p->unturned = 0;
}

/* Until a message has got its fate, which makes room. */
static enum dstream_code wait_for_room(dstream_producer *p, int64_t at)
{
    uint64_t results = p->results;
    enum dstream_code rc = DSTREAM_OK;
    while (rc == DSTREAM_OK && p->results == results && !p->ended)
        rc = turn(p, at);
    return rc;
}

enum dstream_append ds_producing_append(dstream_producer *p, const void *message, size_t len,
                                        uint64_t mark, int64_t timeout_ms, uint64_t *id)
{
    int64_t at = -1; /* until it has to wait */
    uint64_t mine;
    if (ds_gate_cancelled(&p->gate))
        obey_cancel(p);
    for (;;) {
        enum ds_append what = ds_producer_append(p->core, message, len, mark,
                                                 ds_loop_glance(p->loop), &mine, &p->refusal);
        soon(p);
        if (what == DS_APPEND_TAKEN)
            break;
        if (what == DS_APPEND_REFUSED)
            return DSTREAM_APPEND_REFUSED;
        at = at < 0 ? until(p, timeout_ms) : at;
        enum dstream_code rc = wait_for_room(p, at);
        if (rc == DSTREAM_ERR_TIMEOUT) {
            p->crowded = true;
            return DSTREAM_APPEND_AGAIN;
        }
        if (rc != DSTREAM_OK) {
            refuse(p, rc);
            return DSTREAM_APPEND_REFUSED;
        }
    }
    p->next = mine + 1;
    if (id)
        *id = mine;
    breathe(p, len);
    return DSTREAM_APPEND_TAKEN;
}

enum dstream_append dstream_producer_append(dstream_producer *p, const void *message, size_t len,
                                            int64_t timeout_ms, uint64_t *id)
{
    return ds_producing_append(p, message, len, 0, timeout_ms, id);
}

const dstream_error *dstream_producer_refusal(const dstream_producer *p)
{
    return &p->refusal;
}

/* --- flush, detach, close, restart, cancel ---------------------------------------------------- */

/* What flush has to say, once all has its fate. */
static enum dstream_code judge(const dstream_producer *p, uint64_t *failed)
{
    struct ds_producer_status s;
    ds_producer_status(p->core, &s);
    uint64_t bad = s.not_written + s.unknown + s.kept;
    enum dstream_code first = ds_producer_first_error(p->core)->code;
    if (failed)
        *failed = bad;
    if (bad > 0 && first != DSTREAM_OK)
        return first;
    return ds_producer_error(p->core)->code;
}

enum dstream_code dstream_producer_flush(dstream_producer *p, int64_t timeout_ms, uint64_t *failed)
{
    int64_t at = until(p, timeout_ms);
    uint64_t to = ds_producer_flush(p->core, ds_loop_now(p->loop));
    struct ds_producer_status s;
    if (!p->ended)
        soon(p);
    if (ds_gate_cancelled(&p->gate))
        obey_cancel(p);
    for (ds_producer_status(p->core, &s); s.settled < to && !p->ended;
         ds_producer_status(p->core, &s)) {
        enum dstream_code rc = turn(p, at);
        if (rc == DSTREAM_OK)
            continue;
        (void)judge(p, failed);
        return rc;
    }
    return judge(p, failed);
}

void dstream_producer_start_detach(dstream_producer *p, int64_t timeout_ms)
{
    ds_producer_detach(p->core, ds_loop_update(p->loop), timeout_ms);
    if (!p->ended)
        soon(p);
}

enum dstream_code dstream_producer_detach(dstream_producer *p, int64_t timeout_ms)
{
    dstream_producer_start_detach(p, timeout_ms);
    if (ds_gate_cancelled(&p->gate))
        obey_cancel(p);
    return wait_for_end(p, DS_NEVER);
}

enum dstream_code ds_producing_close_stream(dstream_producer *p, const void *message, size_t len,
                                            uint64_t mark, bool force)
{
    int64_t now = ds_loop_update(p->loop);
    if (ds_gate_cancelled(&p->gate))
        obey_cancel(p);
    enum dstream_code rc =
        ds_producer_close_stream(p->core, message, len, mark, force, now, &p->refusal);
    p->next = ds_producer_flush(p->core, now);
    if (!p->ended)
        soon(p);
    return rc;
}

enum dstream_code dstream_producer_start_close_stream(dstream_producer *p, const void *message,
                                                      size_t len, bool force)
{
    return ds_producing_close_stream(p, message, len, 0, force);
}

enum dstream_code dstream_producer_close_stream(dstream_producer *p, const void *message,
                                                size_t len, bool force, int64_t timeout_ms)
{
    int64_t at = until(p, timeout_ms);
    enum dstream_code rc = dstream_producer_start_close_stream(p, message, len, force);
    return rc == DSTREAM_OK ? wait_for_end(p, at) : rc;
}

enum dstream_code dstream_producer_restart(dstream_producer *p)
{
    enum dstream_code rc =
        ds_producer_restart(p->core, ds_loop_update(p->loop), unix_ms(), &p->refusal);
    if (!p->ended)
        soon(p);
    return rc;
}

void dstream_producer_cancel(dstream_producer *p)
{
    ds_gate_cancel(&p->gate);
    ds_loop_post(p->loop, &p->cancel);
}

void ds_producing_stop(dstream_producer *p, const struct dstream_error *why)
{
    ds_producer_stop(p->core, why, false);
    if (!p->ended)
        soon(p);
}

/* --- what is known ---------------------------------------------------------------------------- */

void ds_producing_status(const dstream_producer *p, struct ds_producer_status *out)
{
    ds_producer_status(p->core, out);
}

enum dstream_producer_phase dstream_producer_phase(const dstream_producer *p)
{
    static const enum dstream_producer_phase phases[] = {
        [DS_PRODUCER_CLAIMING] = DSTREAM_PRODUCER_STARTING,
        [DS_PRODUCER_RUNNING] = DSTREAM_PRODUCER_RUNNING,
        [DS_PRODUCER_RECOVERING] = DSTREAM_PRODUCER_RECOVERING,
        [DS_PRODUCER_DETACHED] = DSTREAM_PRODUCER_DETACHED,
        [DS_PRODUCER_CLOSED] = DSTREAM_PRODUCER_CLOSED,
        [DS_PRODUCER_FENCED] = DSTREAM_PRODUCER_FENCED,
        [DS_PRODUCER_FAILED] = DSTREAM_PRODUCER_FAILED,
    };
    struct ds_producer_status s;
    ds_producer_status(p->core, &s);
    return phases[s.phase];
}

uint64_t dstream_producer_count(const dstream_producer *p, enum dstream_count what)
{
    struct ds_producer_status s;
    ds_producer_status(p->core, &s);
    switch (what) {
    case DSTREAM_COUNT_TAKEN:
        return s.taken;
    case DSTREAM_COUNT_TAKEN_BYTES:
        return s.taken_bytes;
    case DSTREAM_COUNT_STORED:
        return s.acked;
    case DSTREAM_COUNT_STORED_BYTES:
        return s.acked_bytes;
    case DSTREAM_COUNT_NOT_WRITTEN:
        return s.not_written;
    case DSTREAM_COUNT_UNKNOWN:
        return s.unknown;
    case DSTREAM_COUNT_PENDING:
        return pending(p);
    case DSTREAM_COUNT_SETTLED:
        return s.settled;
    case DSTREAM_COUNT_BUFFERED:
        return s.buffered;
    case DSTREAM_COUNT_IN_FLIGHT:
        return s.in_flight;
    case DSTREAM_COUNT_RETRIES:
        return s.retries;
    case DSTREAM_COUNT_EPOCH:
        return s.epoch;
    case DSTREAM_COUNT_SERVER_EPOCH:
        return s.server_epoch;
    }
    return 0;
}

const char *dstream_producer_id(const dstream_producer *p)
{
    return p->id;
}

const char *dstream_producer_offset(const dstream_producer *p)
{
    struct ds_producer_status s;
    ds_producer_status(p->core, &s);
    return s.offset;
}

const char *dstream_producer_final_offset(const dstream_producer *p)
{
    return ds_producer_final_offset(p->core);
}

const dstream_error *dstream_producer_error(const dstream_producer *p)
{
    return ds_producer_error(p->core);
}

const dstream_error *dstream_producer_cause(const dstream_producer *p)
{
    return ds_producer_cause(p->core);
}

const struct dstream_error *ds_producing_first_error(const dstream_producer *p)
{
    return ds_producer_first_error(p->core);
}

/* --- results ---------------------------------------------------------------------------------- */

const struct ds_producer_result *ds_producing_result(const dstream_result *r)
{
    return r->core;
}

enum dstream_fate dstream_result_fate(const dstream_result *r)
{
    switch (r->core->fate) {
    case DS_FATE_ACKED:
        return DSTREAM_FATE_STORED;
    case DS_FATE_NOT_WRITTEN:
        return DSTREAM_FATE_NOT_WRITTEN;
    case DS_FATE_NONE:
    case DS_FATE_UNKNOWN:
    case DS_FATE_KEPT: /* nobody can see that who has no journal */
        break;
    }
    return DSTREAM_FATE_UNKNOWN;
}

uint64_t dstream_result_first(const dstream_result *r)
{
    return r->core->first;
}

uint64_t dstream_result_count(const dstream_result *r)
{
    return r->core->count;
}

const char *dstream_result_offset(const dstream_result *r)
{
    return r->core->offset;
}

const dstream_error *dstream_result_error(const dstream_result *r)
{
    static const struct dstream_error none;
    return r->core->error ? r->core->error : &none;
}

bool dstream_result_retryable(const dstream_result *r)
{
    return r->core->retryable;
}

bool dstream_result_duplicate(const dstream_result *r)
{
    return r->core->duplicate;
}

bool dstream_result_maybe_duplicate(const dstream_result *r)
{
    return r->core->maybe_duplicate;
}

bool dstream_result_closes(const dstream_result *r)
{
    return r->core->close;
}

uint64_t dstream_result_epoch(const dstream_result *r)
{
    return r->core->epoch;
}

uint64_t dstream_result_sequence(const dstream_result *r)
{
    return r->core->seq;
}
