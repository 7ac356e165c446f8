/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream read and tail: streams to standard output (read: or a file), all on one loop. Streams
 * that are followed are read together, their lines told apart by a prefix; else they are read one
 * after another, in order.
 */
#include "config.h"

#include "cli/cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/http.h"
#include "base/url.h"
#include "cli/format.h"
#include "cli/network.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/span.h"
#include "cli/status.h"
#include "store/state.h"

#define URL_MAX    ((size_t)64 * 1024)
#define SHOWN_NAME 256

struct reading;

/* One of the streams. */
struct source {
    struct reading *all;
    char name[SHOWN_NAME]; /* as it was given, without secrets */
    struct ds_buf url;
    dstream_reader *reader; /* NULL before and after it is read */
    enum ds_format_kind format;
    struct ds_checkpoint at; /* behind what was put into the output */
    bool ready;              /* the format is settled */
    bool up_to_date;         /* as of the last batch, all of which was wanted */
    bool whole;              /* it was read to its proper end */
    bool done, reported;
    int64_t retry_at; /* DS_NEVER: no retry is waited for */
    struct dstream_error error;
};

struct reading {
    struct ds_cli *cli;
    dstream_loop *loop;
    struct source *sources;
    size_t n, started;
    bool together;
    struct ds_output out;
    bool line_begun;
    struct ds_left left;
    uint64_t bytes, messages;
    /* --state */
    struct ds_state *state; /* NULL: none */
    struct ds_witness_keeper keeper;
    struct ds_checkpoint written; /* behind what was written */
    bool put;                     /* more was put than `written` says */
    bool unsaved;                 /* `written` differs from the state */
    uint64_t unsaved_bytes;
    struct ds_timer sync;

    struct ds_timer max_time, idle;
    struct ds_status status;
    bool stop;                  /* nothing more is wanted of any */
    struct dstream_error error; /* of the output or the state */
};

static void stop_with(struct reading *a)
{
    a->stop = true;
}

/* --- the state of output that goes to a pipe -------------------------------------------------- */

static void flush(struct reading *a)
{
    if (a->error.code != DSTREAM_OK || a->out.gone)
        return;
    if (ds_output_flush(&a->out, &a->error) != DSTREAM_OK) {
        stop_with(a);
    } else if (a->put) {
        a->written = a->sources[0].at;
        a->put = false;
        a->unsaved = true;
    }
}

/* What was put is written first: the state never speaks of more. A reader that has gone leaves what
 * was written before to be recorded. */
static void commit(struct reading *a)
{
    struct dstream_error err = {0};
    flush(a);
    if (!a->unsaved || (a->error.code != DSTREAM_OK && a->error.code != DSTREAM_ERR_CANCELLED))
        return;
    a->unsaved = false;
    a->unsaved_bytes = 0;
    ds_timer_stop(a->loop, &a->sync);
    if (ds_state_commit(a->state, &a->written, &err) != DSTREAM_OK) {
        a->error = err;
        stop_with(a);
    }
}

static void on_sync(void *ctx)
{
    commit(ctx);
}

static void set_put(struct reading *a, uint64_t bytes)
{
    const struct ds_cli_options *o = &a->cli->opt;
    if (!a->state)
        return;
    if (!a->put && !a->unsaved && o->sync_ms >= 0)
        (void)ds_timer_set(a->loop, &a->sync, ds_loop_now(a->loop) + o->sync_ms);
    a->put = true;
    a->unsaved_bytes += bytes;
    if (o->sync_batch || (o->sync_bytes > 0 && a->unsaved_bytes >= o->sync_bytes))
        commit(a);
}

/* --- batches ---------------------------------------------------------------------------------- */

static enum dstream_code refuse(struct source *s, const char *what)
{
    return ds_error_set(&s->error, DSTREAM_ERR_ARGUMENT, "%s: %s", s->name, what);
}

/* Now that the stream's type is known. */
static enum dstream_code settle(struct source *s, const char *type, bool json)
{
    struct reading *a = s->all;
    enum dstream_code rc = ds_format_resolve(&s->format, json, &s->error);
    if (rc != DSTREAM_OK)
        return rc;
    if (!json && a->left.has_count)
        return refuse(s, "--count counts messages, which only JSON streams have: use --bytes");
    if (s->format == DS_FORMAT_RAW && a->n > 1)
        return refuse(s, "several streams cannot be told apart in raw output: read them one by "
                         "one, or use --format envelope");
    rc = ds_output_open(&a->out, &a->error);
    if (rc != DSTREAM_OK)
        return rc;
    if (a->out.terminal && s->format == DS_FORMAT_RAW && !ds_type_is_text(type))
        return refuse(s, "a binary stream is not shown on a terminal: use --format envelope, or "
                         "send the output to a file or pipe");
    strcpy(s->at.format, ds_format_name(s->format));
    ds_checkpoint_set_type(&s->at, type);
    s->ready = true;
    return DSTREAM_OK;
}

static enum dstream_code put(void *ctx, const void *p, size_t n)
{
    struct source *s = ctx;
    struct reading *a = s->all;
    enum dstream_code rc = DSTREAM_OK;
    if (a->together && !a->line_begun) {
        rc = ds_output_put(&a->out, s->name, strlen(s->name), &a->error);
        if (rc == DSTREAM_OK)
            rc = ds_output_put(&a->out, "\t", 1, &a->error);
    }
    a->line_begun = ((const char *)p)[n - 1] != '\n';
    return rc == DSTREAM_OK ? ds_output_put(&a->out, p, n, &a->error) : rc;
}

static void rearm_idle(struct reading *a)
{
    if (a->cli->opt.idle >= 0)
        (void)ds_timer_set(a->loop, &a->idle, ds_loop_now(a->loop) + a->cli->opt.idle);
}

static enum dstream_code take(struct source *s, const dstream_batch *b)
{
    struct reading *a = s->all;
    struct ds_span span = ds_span_of(b, &a->left);
    enum dstream_code rc = ds_format_put(s->format, b, span.first, span.take, put, s);
    if (rc != DSTREAM_OK)
        return a->error.code != DSTREAM_OK
                   ? rc
                   : ds_error_set(&a->error, rc, "%s: cannot format a batch", s->name);
    if (strcmp(b->start, "now") != 0 && !s->at.from_offset[0])
        strcpy(s->at.from_offset, b->start);
    else if (!s->at.from_offset[0])
        strcpy(s->at.from_offset, b->next);
    ds_span_advance(&span, b, &s->at, a->state ? &a->keeper : NULL);
    a->bytes += span.bytes;
    a->messages += span.messages;
    s->up_to_date =
        span.take == span.end && (b->flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED));
    if (span.bytes > 0)
        rearm_idle(a);
    if (ds_span_spend(&span, &a->left))
        stop_with(a);
    set_put(a, span.bytes);
    return DSTREAM_OK;
}

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    struct source *s = ctx;
    struct reading *a = s->all;
    if (a->stop)
        return DSTREAM_FLOW_STOP;
    s->retry_at = DS_NEVER;
    enum dstream_code rc = DSTREAM_OK;
    if (!s->ready)
        rc = settle(s, dstream_reader_content_type(r), b->flags & DSTREAM_BATCH_JSON);
    if (rc == DSTREAM_OK)
        rc = take(s, b);
    if (a->error.code != DSTREAM_OK)
        stop_with(a);
    return rc != DSTREAM_OK || a->stop ? DSTREAM_FLOW_STOP : DSTREAM_FLOW_NEXT;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct source *s = ctx;
    s->done = true;
    if (code != DSTREAM_OK && s->error.code == DSTREAM_OK)
        s->error = *dstream_reader_error(r);
    s->whole = s->error.code == DSTREAM_OK && !s->all->stop;
}

static void on_notice(void *ctx, dstream_reader *r, const struct ds_notice *n)
{
    struct source *s = ctx;
    struct ds_cli *c = s->all->cli;
    (void)r;
    switch (n->kind) {
    case DS_NOTICE_RETRY:
        s->retry_at = ds_loop_now(s->all->loop) + n->delay;
        if (c->opt.verbose > 0)
            ds_cli_say(c, "%s: %s: retry in %lld ms", s->name, n->error->message,
                       (long long)n->delay);
        break;
    case DS_NOTICE_RECONNECT:
        break;
    case DS_NOTICE_FALLBACK:
        if (c->opt.verbose > 0)
            ds_cli_say(c, "%s: SSE does not work here: going on by long-poll", s->name);
        break;
    case DS_NOTICE_PACED:
        ds_cli_warn(c, "%s: the server answers at once and without data: asking it less often",
                    s->name);
        break;
    case DS_NOTICE_LOSSY:
        ds_cli_warn(c,
                    "%s: SSE changes the bytes of a text stream: carriage returns and what is "
                    "not UTF-8 are lost",
                    s->name);
        break;
    case DS_NOTICE_WITNESS_GONE:
        ds_cli_warn(c,
                    "%s: what was read last is no longer kept by the server (410), so nothing "
                    "shows that this is still the same stream",
                    s->name);
        break;
    }
}

/* --- one stream ------------------------------------------------------------------------------- */

static enum dstream_code start_at(struct source *s)
{
    const struct ds_cli_options *o = &s->all->cli->opt;
    const char *from = o->from ? o->from : o->command == DS_CMD_TAIL ? "now" : "-1";
    if (strlen(from) > DS_TOKEN_MAX)
        return ds_error_set(&s->error, DSTREAM_ERR_ARGUMENT, "--from is longer than %d bytes",
                            DS_TOKEN_MAX);
    strcpy(s->at.from, from);
    strcpy(s->at.offset, from);
    s->at.from_skip = s->at.skip = o->from_skip;
    return DSTREAM_OK;
}

/* Goes on from the state, where there is one. */
static enum dstream_code resume(struct source *s, dstream_options *o)
{
    struct reading *a = s->all;
    const struct ds_cli_options *opt = &a->cli->opt;
    if (!a->state)
        return DSTREAM_OK;
    if (!a->state->exists || opt->reset)
        return ds_checkpoint_set_url(&s->at, s->url.data, &s->error);
    struct ds_checkpoint_ask ask = {.url = s->url.data,
                                    .format = ds_format_name(opt->format),
                                    .from = opt->from,
                                    .from_skip = opt->from_skip};
    if (!ask.format[0])
        ask.format = NULL;
    const struct ds_checkpoint *last = &a->state->last;
    enum dstream_code rc = ds_checkpoint_fits(last, &ask, opt->state, &s->error);
    if (rc != DSTREAM_OK)
        return rc;
    if (!ds_format_of(last->format, &s->format))
        return ds_error_set(&s->error, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: the state is of format %s, which this release does not know",
                            opt->state, last->format);
    s->at = *last;
    struct ds_witness w = {.units = last->witness.hashed};
    memcpy(w.start, last->witness.start, sizeof w.start);
    memcpy(w.hash, last->witness.hash, sizeof w.hash);
    return ds_options_set_seen(o, last->content_type, w.units > 0 ? &w : NULL);
}

static enum dstream_code set_options(struct source *s, dstream_options *o)
{
    struct ds_cli *c = s->all->cli;
    enum dstream_code rc = start_at(s);
    if (rc == DSTREAM_OK)
        rc = resume(s, o);
    if (rc == DSTREAM_OK)
        rc = ds_cli_network(c, o, s->url.data, &s->error);
    if (rc != DSTREAM_OK)
        return rc;
    rc = dstream_options_set_start(o, s->at.offset, s->at.skip);
    if (rc != DSTREAM_OK)
        return ds_error_set(&s->error, rc, "--from %.200s: not an offset that can be read from",
                            s->at.offset);
    (void)dstream_options_set_live(o, ds_cli_live(&c->opt));
    ds_options_set_stop_at_tail(o, !ds_cli_follows(&c->opt));
    ds_options_set_wait_create(o, c->opt.wait_create);
    ds_options_set_notice(o, on_notice, s);
    return DSTREAM_OK;
}

static enum dstream_code open_reader(struct source *s)
{
    dstream_options *o = dstream_options_new();
    if (!o)
        return ds_error_set(&s->error, DSTREAM_ERR_NOMEM, "no memory for a reader");
    enum dstream_code rc = set_options(s, o);
    bool complete = rc == DSTREAM_OK && s->at.closed;
    if (rc == DSTREAM_OK && !complete) {
        rc = dstream_reader_open(&s->reader, s->all->loop, s->url.data, o);
        if (rc != DSTREAM_OK)
            ds_error_set(&s->error, rc, "%s: cannot be read: %s", s->name, dstream_code_text(rc));
    }
    dstream_options_free(o);
    if (complete) {
        ds_cli_say(s->all->cli, "%s: complete: the stream is closed and was read to its end",
                   s->name);
        s->done = s->whole = s->up_to_date = true;
    }
    return rc;
}

static void start(struct source *s)
{
    enum dstream_code rc = open_reader(s);
    if (rc == DSTREAM_OK && s->reader)
        rc = dstream_reader_start(s->reader, on_batch, on_end, s);
    if (rc == DSTREAM_OK)
        return;
    if (s->error.code == DSTREAM_OK)
        ds_error_set(&s->error, rc, "%s: cannot be read: %s", s->name, dstream_code_text(rc));
    s->done = true;
}

/* --- all of them ------------------------------------------------------------------------------ */

static void report_and_free(struct source *s)
{
    if (!s->done || s->reported)
        return;
    s->reported = true;
    dstream_reader_free(s->reader);
    s->reader = NULL;
    if (s->error.code != DSTREAM_OK)
        (void)ds_cli_fail(s->all->cli, &s->error);
}

/* Starts what is due; false once nothing is left to wait for. */
static bool go_on(struct reading *a)
{
    for (;;) {
        bool busy = false;
        for (size_t i = 0; i < a->started; i++) {
            report_and_free(&a->sources[i]);
            busy |= !a->sources[i].done;
        }
        if (a->stop || a->started == a->n || (busy && !a->together))
            return busy && !a->stop;
        start(&a->sources[a->started++]);
    }
}

static void on_limit(void *ctx)
{
    stop_with(ctx);
}

static void on_hangup(void *ctx, int fd, unsigned what)
{
    struct reading *a = ctx;
    (void)what;
    (void)ds_loop_watch(a->loop, fd, 0, NULL, NULL);
    a->out.gone = true;
    stop_with(a);
}

static void tell(void *ctx, struct ds_status_now *out)
{
    struct reading *a = ctx;
    size_t i = 0;
    while (i + 1 < a->started && a->sources[i].done)
        i++;
    const struct source *s = &a->sources[i];
    enum ds_phase phase = s->reader ? ds_client_phase(s->reader) : DS_PHASE_INIT;
    out->bytes = a->bytes;
    out->messages = a->messages;
    out->offset = a->n == 1 ? s->at.offset : "";
    out->doing = phase == DS_PHASE_INIT      ? "connecting"
                 : phase == DS_PHASE_CATCHUP ? "catching up"
                                             : "live";
    out->retry_at = s->retry_at;
}

static void look_at_signals(struct reading *a)
{
    if (ds_signals_ending() != 0)
        stop_with(a);
    if (ds_signals_take(SIGUSR1))
        ds_status_say(&a->status);
    if (ds_signals_take(SIGHUP))
        commit(a);
}

static void run(struct reading *a)
{
    while (go_on(a)) {
        if (dstream_loop_turn(a->loop, -1) != DSTREAM_OK) {
            ds_error_set(&a->error, DSTREAM_ERR_NOMEM, "no memory for the loop");
            stop_with(a);
        }
        /* Now the next read would wait. */
        flush(a);
        look_at_signals(a);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

/* As a shell takes it: an offset is the server's word. */
static void add_quoted(struct ds_buf *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-.,:+/@%";
    if (word[strspn(word, plain)] == '\0') {
        ds_buf_adds(out, word);
        return;
    }
    ds_buf_addc(out, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            ds_buf_adds(out, "'\\''");
        else
            ds_buf_addc(out, *word);
    }
    ds_buf_addc(out, '\'');
}

static void say_position(const struct source *s)
{
    struct ds_cli *c = s->all->cli;
    if (!s->ready || (c->opt.verbose == 0 && !isatty(fileno(c->err))))
        return;
    struct ds_buf where, b;
    ds_buf_init(&where, 2 * DS_TOKEN_MAX);
    ds_buf_init(&b, 8 * DS_TOKEN_MAX);
    ds_buf_adds(&where, s->at.offset);
    if (s->at.skip > 0)
        ds_buf_addf(&where, ",%llu", (unsigned long long)s->at.skip);
    const char *text = ds_buf_str(&where);
    add_quoted(&b, text ? text : "");
    const char *quoted = ds_buf_str(&b);
    if (quoted && s->at.closed)
        ds_cli_say(c, "%s: closed; its end is %s", s->name, quoted);
    else if (quoted)
        ds_cli_say(c, "%s: to go on: --from %s", s->name, quoted);
    ds_buf_free(&where);
    ds_buf_free(&b);
}

/* With several streams, of which one failed: what became of each. */
static void say_summary(const struct reading *a)
{
    bool failed = false;
    for (size_t i = 0; i < a->n; i++)
        failed |= a->sources[i].error.code != DSTREAM_OK;
    for (size_t i = 0; failed && a->n > 1 && i < a->n; i++) {
        const struct source *s = &a->sources[i];
        const char *fate = s->error.code == DSTREAM_ERR_ARGUMENT ? "refused"
                           : s->error.code != DSTREAM_OK         ? dstream_code_text(s->error.code)
                           : s->whole                            ? "read to its end"
                           : i < a->started                      ? "stopped"
                                                                 : "not begun";
        ds_cli_say(a->cli, "%s: %s", s->name, fate);
    }
}

static bool required_holds(const struct reading *a)
{
    const struct ds_cli_options *o = &a->cli->opt;
    for (size_t i = 0; i < a->n; i++) {
        const struct source *s = &a->sources[i];
        if ((o->require_closed && !s->at.closed) || (o->require_end && !s->whole && !s->up_to_date))
            return false;
    }
    return true;
}

static int exit_code(struct reading *a)
{
    if (a->error.code != DSTREAM_OK)
        return ds_cli_fail(a->cli, &a->error);
    for (size_t i = 0; i < a->n; i++) {
        if (a->sources[i].error.code != DSTREAM_OK)
            return (int)ds_exit_of(&a->sources[i].error);
    }
    if (required_holds(a))
        return DS_EXIT_OK;
    ds_cli_say(a->cli, "stopped before --require %s held",
               a->cli->opt.require_closed ? "closed" : "end");
    return DS_EXIT_REQUIRE;
}

static int finish(struct reading *a)
{
    ds_status_end(&a->status);
    commit(a);
    if (!a->out.gone && a->error.code == DSTREAM_OK)
        (void)ds_output_close(&a->out, &a->error);
    /* INT or TERM ended the waiting for a reader: the signal says it all. */
    if (a->error.code == DSTREAM_ERR_CANCELLED)
        return DS_EXIT_FAILURE;
    if (a->out.terminal && a->line_begun && isatty(fileno(a->cli->err)))
        (void)fputc('\n', a->cli->err);
    for (size_t i = 0; i < a->n && !a->out.gone; i++)
        say_position(&a->sources[i]);
    say_summary(a);
    return a->out.gone ? DS_EXIT_OK : exit_code(a);
}

/* --- setting up ------------------------------------------------------------------------------- */

static int check_options(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    int rc = ds_cli_check_range(c);
    if (rc != DS_EXIT_OK)
        return rc;
    if (c->nargs == 0)
        return ds_cli_usage(c, "no stream is named");
    if (o->state && c->nargs > 1)
        return ds_cli_usage(c, "--state is for one stream");
    if (o->state && o->output)
        return ds_cli_usage(c, "--state and --output together are dstream export");
    if (o->format == DS_FORMAT_RAW && c->nargs > 1)
        return ds_cli_usage(c, "several streams cannot be told apart in raw output: read them one "
                               "by one");
    return DS_EXIT_OK;
}

static enum dstream_code name_sources(struct reading *a)
{
    a->sources = ds_calloc(a->n, sizeof *a->sources);
    if (!a->sources)
        return ds_error_set(&a->error, DSTREAM_ERR_NOMEM, "no memory for so many streams");
    for (size_t i = 0; i < a->n; i++) {
        struct source *s = &a->sources[i];
        s->all = a;
        s->retry_at = DS_NEVER;
        s->format = a->cli->opt.format;
        ds_buf_init(&s->url, URL_MAX);
        enum dstream_code rc = ds_cli_url(a->cli, a->cli->args[i], &s->url, &a->error);
        if (rc != DSTREAM_OK)
            return rc;
        if (ds_url_has_scheme(a->cli->args[i]))
            ds_url_redact(a->cli->args[i], s->name, sizeof s->name);
        else
            (void)snprintf(s->name, sizeof s->name, "%.*s", (int)strcspn(a->cli->args[i], "?#"),
                           a->cli->args[i]);
    }
    return DSTREAM_OK;
}

static enum dstream_code open_state(struct reading *a)
{
    const struct ds_cli_options *o = &a->cli->opt;
    if (!o->state)
        return DSTREAM_OK;
    enum dstream_code rc = ds_witness_begin(&a->keeper, a->cli->limits.max_witness);
    if (rc != DSTREAM_OK)
        return ds_error_set(&a->error, rc, "no memory for a witness");
    return ds_state_open(&a->state, a->cli->fileops, o->state, &a->error);
}

static enum dstream_code set_up(struct reading *a)
{
    const struct ds_cli_options *o = &a->cli->opt;
    ds_output_init(&a->out, o->output, o->overwrite, o->append);
    a->left = (struct ds_left){
        .has_count = o->has_count, .has_bytes = o->has_bytes, .count = o->count, .bytes = o->bytes};
    a->together = a->n > 1 && ds_cli_follows(o);
    enum dstream_code rc = name_sources(a);
    if (rc == DSTREAM_OK)
        rc = ds_output_check(&a->out, &a->error);
    if (rc == DSTREAM_OK)
        rc = open_state(a);
    if (rc != DSTREAM_OK)
        return rc;
    a->loop = dstream_loop_new();
    if (!a->loop)
        return ds_error_set(&a->error, DSTREAM_ERR_NOMEM, "no memory for a loop");
    return DSTREAM_OK;
}

static void arm(struct reading *a)
{
    const struct ds_cli_options *o = &a->cli->opt;
    int64_t now = ds_loop_update(a->loop);
    a->max_time.fire = a->idle.fire = on_limit;
    a->sync.fire = on_sync;
    a->max_time.ctx = a->idle.ctx = a->sync.ctx = a;
    if (o->max_time >= 0)
        (void)ds_timer_set(a->loop, &a->max_time, now + o->max_time);
    rearm_idle(a);
    ds_signals_catch(a->loop);
    ds_status_start(&a->status, a->cli, a->loop, tell, a);
    if (!o->output)
        (void)ds_loop_watch(a->loop, STDOUT_FILENO, DS_LOOP_HANGUP, on_hangup, a);
}

static void tear_down(struct reading *a)
{
    for (size_t i = 0; a->sources && i < a->n; i++) {
        dstream_reader_free(a->sources[i].reader);
        ds_buf_free(&a->sources[i].url);
    }
    ds_signals_release();
    if (a->loop) {
        (void)ds_loop_watch(a->loop, STDOUT_FILENO, 0, NULL, NULL);
        ds_timer_stop(a->loop, &a->max_time);
        ds_timer_stop(a->loop, &a->idle);
        ds_timer_stop(a->loop, &a->sync);
    }
    dstream_loop_free(a->loop);
    ds_output_free(&a->out);
    ds_state_free(a->state);
    ds_witness_end(&a->keeper);
    ds_free(a->sources);
}

int ds_cmd_read(struct ds_cli *c)
{
    int status = check_options(c);
    if (status != DS_EXIT_OK)
        return status;
    struct reading a = {.cli = c, .n = c->nargs};
    if (set_up(&a) == DSTREAM_OK) {
        arm(&a);
        run(&a);
        status = finish(&a);
    } else {
        status = ds_cli_fail(c, &a.error);
    }
    bool gone = a.out.gone;
    tear_down(&a);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    if (gone)
        ds_cli_die(SIGPIPE);
    return status;
}
