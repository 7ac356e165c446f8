/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream write without --producer: standard input or files, appended to a stream as they come.
 *
 * One request at a time. While it is under way the next load is read; where nothing is under way
 * and the input has no more just now, what there is goes out. An append that may have been stored
 * is never sent again (producer/call.h), so that each load is stored, is not, or is in doubt, and
 * what follows a load that failed is not sent.
 */
#include "config.h"

#include "cli/write.h"

#include <string.h>

#include "cli/input.h"
#include "cli/intake.h"
#include "cli/signals.h"

struct writing {
    struct ds_unary *u;
    struct ds_cli *cli;
    const char *type;
    struct ds_input input;
    struct ds_intake in;
    bool lingering; /* the timer runs */
    bool settled;   /* what there is has waited long enough */
    bool draining;  /* INT or TERM came */
    struct ds_timer linger, drain;
    /* the output */
    struct ds_calling *flying; /* NULL: none */
    bool landed;               /* its answer came */
    struct ds_load load;       /* what it carries; len 0: only the closing */
    bool closing;              /* it closes the stream */
    bool finished;             /* nothing is left to be sent */
    uint64_t stored, messages; /* input bytes, and messages, that are */
    bool in_doubt;             /* `load` is */
    char next[DS_TOKEN_MAX + 1];
    struct dstream_error error; /* of a request */
};

/* --- input ------------------------------------------------------------------------------------ */

/* What of it was whole before still goes out. */
static void fail_intake(struct writing *w)
{
    ds_input_fail(&w->input, &w->in.error);
}

/* Reads what there is, up to the end or as much as is taken before a load goes out. */
static void fill(struct writing *w)
{
    while (!w->input.ended) {
        size_t n, got = 0;
        char *room = ds_intake_room(&w->in, &n);
        enum dstream_code rc = DSTREAM_OK;
        if (!room) {
            ds_input_hold(&w->input);
            return;
        }
        enum ds_input_got what = ds_input_read(&w->input, room, n, &got);
        if (what == DS_INPUT_WAIT)
            return;
        if (what == DS_INPUT_DATA)
            rc = ds_intake_add(&w->in, got);
        else if (what == DS_INPUT_FILE_END)
            rc = ds_intake_end_file(&w->in);
        if (rc != DSTREAM_OK)
            fail_intake(w);
    }
}

/* --- output ----------------------------------------------------------------------------------- */

static void on_called(void *ctx, struct ds_calling *x)
{
    struct writing *w = ctx;
    (void)x;
    w->landed = true;
}

static void send(struct writing *w, bool closes)
{
    struct ds_call_config c = {.kind = w->load.len > 0 ? DS_CALL_APPEND : DS_CALL_CLOSE,
                               .url = w->u->url.data,
                               .content_type = w->load.len > 0 ? w->type : NULL,
                               .close = closes,
                               .body = w->load.body,
                               .body_len = w->load.len};
    ds_timer_stop(w->u->loop, &w->linger);
    w->lingering = w->settled = false;
    w->closing = closes;
    if (ds_calling_start(&w->flying, &w->u->caller, &c, on_called, w, &w->error) != DSTREAM_OK)
        w->finished = true;
}

static void count_stored(struct writing *w)
{
    w->stored = w->load.to;
    w->messages += w->load.messages;
}

/* What became of the request. */
static void land(struct writing *w)
{
    const struct ds_call_result *r = ds_calling_result(w->flying);
    const struct dstream_error *e = ds_calling_error(w->flying);
    if (e->code == DSTREAM_OK) {
        count_stored(w);
        strcpy(w->next, r->next);
    } else {
        w->error = *e;
        w->in_doubt = e->code == DSTREAM_ERR_OUTCOME_UNKNOWN;
    }
    w->u->result = *r;
    w->finished = w->closing || e->code != DSTREAM_OK;
    ds_calling_free(w->flying);
    w->flying = NULL;
    w->landed = false;
    w->settled = ds_intake_ready(&w->in); /* it has waited for this */
}

static void on_settled(void *ctx)
{
    struct writing *w = ctx;
    w->lingering = false;
    w->settled = true;
}

/* Whether what there is goes out now, or waits for more that may come at once. */
static bool is_due(struct writing *w)
{
    if (w->input.ended || w->settled || ds_intake_full(&w->in))
        return true;
    if (!w->lingering)
        w->lingering = ds_timer_set(w->u->loop, &w->linger,
                                    ds_loop_update(w->u->loop) + w->cli->opt.linger) == DSTREAM_OK;
    return !w->lingering;
}

/* The whole input was taken, and nothing was wrong with it. */
static bool is_whole(const struct writing *w)
{
    return w->input.ended && w->input.error.code == DSTREAM_OK && ds_signals_ending() == 0 &&
           !ds_intake_ready(&w->in);
}

static void take_load(struct writing *w)
{
    if (ds_intake_take(&w->in, &w->load) != DSTREAM_OK && w->input.error.code == DSTREAM_OK)
        fail_intake(w);
}

static void send_due(struct writing *w)
{
    bool ready = ds_intake_ready(&w->in);
    if (ready && is_due(w)) {
        take_load(w);
        send(w, w->cli->opt.close_after && is_whole(w));
    } else if (!ready && w->input.ended) {
        if (!w->cli->opt.close_after || !is_whole(w)) {
            w->finished = true;
            return;
        }
        w->load = (struct ds_load){.from = w->stored, .to = w->stored};
        send(w, true);
    }
}

/* INT or TERM: nothing more is read, and what was read goes out if it can soon. */
static void stop_reading(struct writing *w)
{
    if (ds_signals_ending() == 0 || w->draining)
        return;
    w->draining = true;
    ds_input_stop(&w->input);
    if (ds_timer_set(w->u->loop, &w->drain, ds_loop_update(w->u->loop) + DS_WRITE_DRAIN) !=
        DSTREAM_OK)
        w->finished = true;
}

static void on_drained(void *ctx)
{
    struct writing *w = ctx;
    w->finished = true;
}

static void go_on(struct writing *w)
{
    stop_reading(w);
    if (w->landed)
        land(w);
    if (w->finished)
        return;
    fill(w);
    if (w->flying)
        return;
    send_due(w);
    if (w->flying)
        fill(w); /* there is room again */
}

static void run(struct writing *w)
{
    for (go_on(w); !w->finished; go_on(w)) {
        enum dstream_code rc = dstream_loop_turn(w->u->loop, -1);
        if (rc != DSTREAM_OK) {
            ds_error_set(&w->error, rc, "no memory for the loop");
            break;
        }
    }
    ds_input_stop(&w->input);
    if (w->flying) {
        ds_calling_stop(w->flying);
        land(w);
    }
}

/* --- after ------------------------------------------------------------------------------------ */

static void add_count(struct ds_buf *b, uint64_t n, const char *what)
{
    ds_buf_addf(b, "%llu %s%s", (unsigned long long)n, what, n == 1 ? "" : "s");
}

static void add_amount(struct ds_buf *b, const struct writing *w)
{
    if (!w->in.json) {
        add_count(b, w->stored, "byte");
        return;
    }
    add_count(b, w->messages, "message");
    if (w->stored > 0) {
        ds_buf_adds(b, ", the first ");
        add_count(b, w->stored, "byte");
        ds_buf_adds(b, " of the input");
    }
}

static void add_fate(struct ds_buf *b, const struct writing *w)
{
    bool doubt = w->in_doubt && w->load.len > 0;
    if (w->stored == 0 && !doubt) {
        ds_buf_adds(b, "nothing was stored");
        return;
    }
    ds_buf_adds(b, "stored for sure: ");
    add_amount(b, w);
    if (doubt)
        ds_buf_addf(b, "; in doubt: bytes %llu to %llu of the input",
                    (unsigned long long)w->load.from, (unsigned long long)(w->load.to - 1));
    ds_buf_adds(b, "; nothing behind that");
}

/* Where not all of the input was stored: what was. Part of the failure, so -q does not hide it. */
static void say_fate(struct writing *w)
{
    struct ds_buf b;
    struct dstream_error line = {0};
    ds_buf_init(&b, 1024);
    add_fate(&b, w);
    const char *text = ds_buf_str(&b);
    ds_error_set(&line, DSTREAM_ERR_CANCELLED, "%s", text ? text : "no memory");
    (void)ds_cli_fail(w->cli, &line);
    ds_buf_free(&b);
}

/* What was written is behind us: is the stream closed, and where does it end? */
static enum dstream_code check_end(struct writing *w)
{
    struct ds_unary *u = w->u;
    const struct ds_cli_options *o = &w->cli->opt;
    enum dstream_code rc = DSTREAM_OK;
    if (w->closing)
        rc = ds_unary_check_closed(u);
    if (rc == DSTREAM_OK && o->print_offset && !w->next[0]) {
        rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT});
        strcpy(w->next, u->result.next);
    }
    w->error = u->error;
    return rc;
}

static int finish(struct writing *w)
{
    struct ds_cli *c = w->cli;
    struct ds_buf b;
    if (w->error.code == DSTREAM_OK && w->input.error.code == DSTREAM_OK &&
        ds_signals_ending() == 0 && check_end(w) == DSTREAM_OK) {
        if (c->opt.print_offset)
            (void)printf("%s\n", w->next);
        ds_buf_init(&b, 1024);
        add_amount(&b, w);
        if (c->opt.verbose > 0 && ds_buf_str(&b))
            ds_cli_say(c, "%s: written: %s", w->u->name, b.data);
        ds_buf_free(&b);
        return ds_cli_flush(c);
    }
    const struct dstream_error *e = w->error.code != DSTREAM_OK ? &w->error : &w->input.error;
    int status = e->code != DSTREAM_OK ? ds_cli_fail(c, e) : DS_EXIT_FAILURE;
    say_fate(w);
    return status;
}

/* --- all -------------------------------------------------------------------------------------- */

int ds_write_plain(const struct ds_write *c)
{
    const struct ds_cli_options *o = &c->u->cli->opt;
    struct writing w = {.u = c->u, .cli = c->u->cli, .type = c->type};
    int status;
    w.linger.fire = on_settled;
    w.drain.fire = on_drained;
    w.linger.ctx = w.drain.ctx = &w;
    strcpy(w.next, c->u->result.next);
    ds_input_init(&w.input, c->u->loop, c->files, c->nfiles);
    if (ds_intake_init(&w.in, ds_type_is_json(c->type), (size_t)o->batch_bytes, &w.cli->limits) ==
        DSTREAM_OK) {
        run(&w);
        status = finish(&w);
    } else {
        ds_error_set(&w.error, DSTREAM_ERR_NOMEM, "no memory for input");
        status = ds_cli_fail(w.cli, &w.error);
    }
    ds_timer_stop(w.u->loop, &w.linger);
    ds_timer_stop(w.u->loop, &w.drain);
    ds_intake_free(&w.in);
    return status;
}
