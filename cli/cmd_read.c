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
#include "base/text.h"
#include "cli/format.h"
#include "cli/output.h"
#include "cli/ring.h"
#include "cli/run.h"
#include "cli/signals.h"
#include "cli/span.h"
#include "cli/wall.h"
#include "store/state.h"

struct reading;

/* One of the streams. */
struct source {
    struct ds_source s;
    struct reading *all;
    struct ds_format format;
    struct ds_checkpoint at; /* behind what was put into the output */
    struct ds_buf held;      /* of lines that are read together: one that is not whole yet */
    bool ready;              /* the format is settled */
    bool gathering;          /* the last messages, up to where the stream ends now */
    struct ds_ring ring;
    bool reported;
};

struct reading {
    struct ds_cli *cli;
    struct ds_run run;
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

    struct dstream_error error; /* of the output or the state */
};

/* --- the state of output that goes to a pipe -------------------------------------------------- */

static void flush(struct reading *a)
{
    if (a->error.code != DSTREAM_OK || a->out.gone)
        return;
    if (ds_output_flush(&a->out, &a->error) != DSTREAM_OK) {
        a->run.stop = true;
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
    ds_timer_stop(a->run.loop, &a->sync);
    if (ds_state_commit(a->state, &a->written, &err) != DSTREAM_OK) {
        a->error = err;
        a->run.stop = true;
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
        (void)ds_timer_set(a->run.loop, &a->sync, ds_loop_now(a->run.loop) + o->sync_ms);
    a->put = true;
    a->unsaved_bytes += bytes;
    if (o->sync_batch || (o->sync_bytes > 0 && a->unsaved_bytes >= o->sync_bytes))
        commit(a);
}

/* --- batches ---------------------------------------------------------------------------------- */

/* Now that the stream's type is known. */
static enum dstream_code settle(struct source *s, const char *type, bool json)
{
    struct reading *a = s->all;
    enum dstream_code rc = ds_format_resolve(&s->format.kind, json, &s->s.error);
    bool sse = s->format.kind == DS_FORMAT_SSE;
    ds_error_set_url(&s->s.error, s->s.url.data); /* of whatever is refused here */
    s->format.text = ds_type_is_text(type);
    a->left.lines = s->format.kind == DS_FORMAT_LINES;
    a->left.chars = sse && s->format.text;
    if (rc == DSTREAM_OK)
        rc = ds_format_check_count(&a->left, json, &s->s.error);
    if (rc != DSTREAM_OK)
        return rc;
    if ((s->format.kind == DS_FORMAT_RAW || sse) && a->n > 1)
        return ds_error_set(&s->s.error, DSTREAM_ERR_ARGUMENT,
                            "several streams cannot be told apart in output of this format: read "
                            "them one by one, or use --format lines or envelope");
    rc = ds_output_open(&a->out, &a->error);
    if (rc == DSTREAM_OK && a->out.terminal)
        rc = ds_format_check_terminal(s->format.kind, type, &s->s.error);
    if (rc != DSTREAM_OK)
        return rc;
    strcpy(s->at.format, ds_format_name(s->format.kind));
    ds_checkpoint_set_type(&s->at, type);
    s->ready = true;
    return DSTREAM_OK;
}

/* The stream's name, before a line. What of a query is no secret may be all that tells it from
 * another one. */
static enum dstream_code put_name(struct source *s)
{
    struct reading *a = s->all;
    bool asks = strchr(s->s.name, '?') && s->at.url[0];
    const char *query = asks ? strchr(s->at.url, '?') : NULL;
    size_t n = asks ? strcspn(s->s.name, "?") : strlen(s->s.name);
    enum dstream_code rc = ds_output_put(&a->out, s->s.name, n, &a->error);
    if (rc == DSTREAM_OK && query)
        rc = ds_output_put(&a->out, query, strlen(query), &a->error);
    return rc == DSTREAM_OK ? ds_output_put(&a->out, "\t", 1, &a->error) : rc;
}

static enum dstream_code put(void *ctx, const void *p, size_t n)
{
    struct source *s = ctx;
    struct reading *a = s->all;
    enum dstream_code rc = DSTREAM_OK;
    bool named = a->together && s->format.kind != DS_FORMAT_TEMPLATE; /* that has %u */
    if (named && !a->line_begun)
        rc = put_name(s);
    a->line_begun = ((const char *)p)[n - 1] != '\n';
    return rc == DSTREAM_OK ? ds_output_put(&a->out, p, n, &a->error) : rc;
}

/* The LF that a last line lacks, which counts as a line now. */
static enum dstream_code end_line(struct source *s)
{
    struct ds_left *left = &s->all->left;
    if (left->has_count && left->count > 0 && --left->count == 0)
        s->all->run.stop = true;
    return put(s, "\n", 1);
}

/* Lines of streams that are read together come whole, each behind its stream's name: what has no
 * end yet is held, and the position stays before it. */
static bool holds_lines(const struct source *s, const dstream_batch *b)
{
    return s->all->together && s->format.kind == DS_FORMAT_LINES &&
           !(b->flags & DSTREAM_BATCH_JSON);
}

static enum dstream_code hold(struct source *s, const char *p, size_t n)
{
    enum dstream_code rc = ds_buf_add(&s->held, p, n);
    if (rc == DSTREAM_ERR_LIMIT)
        return ds_error_set(&s->s.error, rc,
                            "%s: a line is longer than %zu bytes: read the stream by itself",
                            s->s.name, s->held.max);
    return rc;
}

/* Cuts the span to what was put. */
static enum dstream_code put_lines(struct source *s, const dstream_batch *b, struct ds_span *span)
{
    const char *p = b->items->bytes.data;
    bool ends = (b->flags & DSTREAM_BATCH_CLOSED) && span->take == span->end;
    size_t end = span->take, whole = end;
    while (!ends && whole > span->first && p[whole - 1] != '\n')
        whole--;
    enum dstream_code rc = DSTREAM_OK;
    if (s->held.len > 0 && (ends || whole > span->first)) {
        rc = put(s, s->held.data, s->held.len);
        s->held.len = 0;
    }
    for (size_t at = span->first; at < whole && rc == DSTREAM_OK;) {
        size_t n = ds_lines_end(p + at, whole - at, 1);
        rc = put(s, p + at, n);
        at += n;
    }
    if (rc == DSTREAM_OK && ends && s->all->line_begun)
        rc = end_line(s);
    if (rc == DSTREAM_OK && whole < end)
        rc = hold(s, p + whole, end - whole);
    span->take = whole;
    return rc;
}

static enum dstream_code put_span(struct source *s, const dstream_batch *b, struct ds_span *span)
{
    if (holds_lines(s, b))
        return put_lines(s, b, span);
    enum dstream_code rc =
        ds_format_put(&s->format, b, span->first, span->take, ds_wall_now(), put, s);
    return rc == DSTREAM_OK && ds_span_ends_open(span, b, &s->at) ? end_line(s) : rc;
}

static enum dstream_code put_cut(struct source *s, const dstream_batch *b)
{
    struct reading *a = s->all;
    struct ds_span span = ds_span_of(b, &a->left), put_of = span;
    bool held = s->held.len > 0;
    enum dstream_code rc = put_span(s, b, &put_of);
    if (rc != DSTREAM_OK && s->s.error.code != DSTREAM_OK)
        return rc;
    if (rc != DSTREAM_OK)
        return a->error.code != DSTREAM_OK
                   ? rc
                   : ds_error_set(&a->error, rc, "%s: cannot format a batch", s->s.name);
    if (strcmp(b->start, "now") != 0 && !s->at.from_offset[0])
        strcpy(s->at.from_offset, b->start);
    else if (!s->at.from_offset[0])
        strcpy(s->at.from_offset, b->next);
    if (!held || put_of.take > put_of.first)
        ds_span_advance(&put_of, b, &s->at, a->state ? &a->keeper : NULL);
    a->bytes += span.bytes;
    a->messages += span.messages;
    s->s.up_to_date =
        span.take == span.end && (b->flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED));
    if (span.bytes > 0)
        ds_run_took_data(&a->run);
    if (ds_span_spend(&span, &a->left))
        a->run.stop = true;
    set_put(a, span.bytes);
    return DSTREAM_OK;
}

static enum dstream_code put_batch(struct source *s, const dstream_batch *b)
{
    struct dstream_batch cut = *b;
    bool none;
    enum dstream_code rc = ds_format_cut(&s->format, &cut, &none, &s->s.error);
    if (rc != DSTREAM_OK)
        ds_error_set_url(&s->s.error, s->s.url.data);
    if (rc != DSTREAM_OK || none)
        return rc;
    rc = put_cut(s, &cut);
    if (rc == DSTREAM_OK)
        ds_format_taken(&s->format, b);
    return rc;
}

/* What --last asks for is there. */
static enum dstream_code put_last(struct source *s)
{
    enum dstream_code rc = DSTREAM_OK;
    dstream_batch b;
    s->gathering = false;
    while (rc == DSTREAM_OK && !s->all->run.stop && ds_ring_get(&s->ring, &b)) {
        rc = put_batch(s, &b);
        ds_ring_drop(&s->ring);
    }
    ds_ring_free(&s->ring);
    return rc;
}

static enum dstream_code gather(struct source *s, const dstream_batch *b)
{
    enum dstream_code rc = ds_ring_add(&s->ring, b);
    if (b->items->bytes.len > b->first_byte)
        ds_run_took_data(&s->all->run);
    if (rc == DSTREAM_ERR_LIMIT)
        return ds_error_set(&s->s.error, rc, "%s: the last %llu %s are over %zu MiB: ask for fewer",
                            s->s.name, (unsigned long long)s->ring.want,
                            b->flags & DSTREAM_BATCH_JSON ? "messages" : "lines",
                            DS_RING_MAX >> 20);
    if (rc != DSTREAM_OK)
        return ds_error_set(&s->all->error, rc, "no memory for the last messages");
    bool there = b->flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED);
    return there ? put_last(s) : DSTREAM_OK;
}

static enum dstream_code take(void *ctx, struct ds_source *base, const dstream_batch *b)
{
    struct source *s = ctx;
    struct reading *a = s->all;
    enum dstream_code rc = DSTREAM_OK;
    if (!s->ready)
        rc = settle(s, dstream_reader_content_type(base->reader), b->flags & DSTREAM_BATCH_JSON);
    if (rc == DSTREAM_OK)
        rc = s->gathering ? gather(s, b) : put_batch(s, b);
    if (a->error.code != DSTREAM_OK)
        a->run.stop = true;
    return rc;
}

/* --- one stream ------------------------------------------------------------------------------- */

static enum dstream_code begin(struct source *s)
{
    const struct ds_cli_options *o = &s->all->cli->opt;
    bool from_now = o->command == DS_CMD_TAIL && o->last == 0;
    const char *from = o->from ? o->from : from_now ? "now" : "-1";
    if (strlen(from) > DS_TOKEN_MAX)
        return ds_error_set(&s->s.error, DSTREAM_ERR_ARGUMENT, "--from is longer than %d bytes",
                            DS_TOKEN_MAX);
    s->gathering = o->last > 0;
    ds_ring_init(&s->ring, o->last, DS_RING_MAX);
    ds_buf_init(&s->held, s->all->cli->limits.max_event);
    s->format = (struct ds_format){.kind = o->format, .template = s->at.template, .url = s->at.url};
    strcpy(s->at.template, o->template ? o->template : "");
    strcpy(s->at.from, from);
    strcpy(s->at.offset, from);
    s->at.from_skip = s->at.skip = o->from_skip;
    if (s->all->state || o->template)
        return ds_checkpoint_set_url(&s->at, s->s.url.data, &s->s.error);
    struct dstream_error too_long = {0};
    if (s->all->together && ds_checkpoint_set_url(&s->at, s->s.url.data, &too_long) != DSTREAM_OK)
        s->at.url[0] = '\0'; /* its name does */
    return DSTREAM_OK;
}

/* Goes on from the state, where there is one. */
static enum dstream_code resume(struct source *s, struct ds_source_start *start)
{
    struct reading *a = s->all;
    const struct ds_cli_options *opt = &a->cli->opt;
    if (!a->state || !a->state->exists || opt->reset)
        return DSTREAM_OK;
    struct ds_checkpoint_ask ask = {.url = s->s.url.data,
                                    .format = ds_format_name(opt->format),
                                    .template = opt->template,
                                    .from = opt->from,
                                    .from_skip = opt->from_skip};
    if (!ask.format[0])
        ask.format = NULL;
    const struct ds_checkpoint *last = &a->state->last;
    enum dstream_code rc = ds_checkpoint_fits(last, &ask, opt->state, &s->s.error);
    if (rc == DSTREAM_OK)
        rc = ds_format_of_state(last->format, opt->state, &s->format.kind, &s->s.error);
    if (rc != DSTREAM_OK)
        return rc;
    s->at = *last;
    s->at.handed = 0;
    start->seen = true;
    start->content_type = s->at.content_type;
    ds_span_witness(last, &start->witness);
    return DSTREAM_OK;
}

static void start(struct source *s)
{
    struct ds_source_start at = {.offset = s->at.offset};
    enum dstream_code rc = begin(s);
    if (rc == DSTREAM_OK)
        rc = resume(s, &at);
    if (rc == DSTREAM_OK && !s->at.closed) {
        at.skip = s->at.skip;
        (void)ds_source_start(&s->s, &at, take, s);
        return;
    }
    s->s.done = true;
    if (rc != DSTREAM_OK)
        return;
    ds_cli_say(s->all->cli, "%s: complete: the stream is closed and was read to its end",
               s->s.name);
    s->s.whole = s->s.up_to_date = true;
}

/* --- all of them ------------------------------------------------------------------------------ */

static void report_and_free(struct source *s)
{
    if (!s->s.done || s->reported)
        return;
    s->reported = true;
    ds_source_stop(&s->s);
    if (s->gathering && s->s.error.code == DSTREAM_OK && !s->all->run.stop)
        (void)put_last(s);              /* it has ended where the stream ended at first */
    if (s->at.in_line && s->all->n > 1) /* another stream's lines come behind it */
        (void)end_line(s);
    if (s->s.error.code != DSTREAM_OK)
        (void)ds_cli_fail(s->all->cli, &s->s.error);
}

/* Starts what is due; false once nothing is left to wait for. */
static bool go_on(struct reading *a)
{
    for (;;) {
        bool busy = false;
        for (size_t i = 0; i < a->started; i++) {
            report_and_free(&a->sources[i]);
            busy |= !a->sources[i].s.done;
        }
        if (a->run.stop || a->started == a->n || (busy && !a->together))
            return busy && !a->run.stop;
        start(&a->sources[a->started++]);
    }
}

static void on_hangup(void *ctx, int fd, unsigned what)
{
    struct reading *a = ctx;
    (void)what;
    (void)ds_loop_watch(a->run.loop, fd, 0, NULL, NULL);
    a->out.gone = true;
    a->run.stop = true;
}

static void tell(void *ctx, struct ds_status_now *out)
{
    struct reading *a = ctx;
    size_t i = 0;
    while (i + 1 < a->started && a->sources[i].s.done)
        i++;
    const struct source *s = &a->sources[i];
    ds_source_tell(&s->s, out);
    for (size_t k = 0; k < a->started; k++)
        ds_source_count(&a->sources[k].s, a->n, out);
    out->bytes = a->bytes;
    out->messages = a->messages;
    out->offset = a->n == 1 ? s->at.offset : "";
}

static void run(struct reading *a)
{
    while (go_on(a)) {
        bool hup;
        (void)ds_run_turn(&a->run, &hup, &a->error);
        /* Now the next read would wait. */
        flush(a);
        if (hup)
            commit(a);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

/* With several streams, of which one failed: what became of each. */
static void say_summary(const struct reading *a)
{
    bool failed = false;
    for (size_t i = 0; i < a->n; i++)
        failed |= a->sources[i].s.error.code != DSTREAM_OK;
    for (size_t i = 0; failed && a->n > 1 && i < a->n; i++) {
        const struct source *s = &a->sources[i];
        const char *fate = s->s.error.code == DSTREAM_ERR_ARGUMENT ? "refused"
                           : s->s.error.code != DSTREAM_OK ? dstream_code_text(s->s.error.code)
                           : s->s.whole                    ? "read to its end"
                           : i < a->started                ? "stopped"
                                                           : "not begun";
        ds_cli_say(a->cli, "%s: %s", s->s.name, fate);
    }
}

static bool required_holds(const struct reading *a)
{
    for (size_t i = 0; i < a->n; i++) {
        const struct source *s = &a->sources[i];
        if (!ds_source_satisfies(&s->s, s->at.closed))
            return false;
    }
    return true;
}

static int exit_code(struct reading *a)
{
    if (a->error.code != DSTREAM_OK)
        return ds_cli_fail(a->cli, &a->error);
    for (size_t i = 0; i < a->n; i++) {
        if (a->sources[i].s.error.code != DSTREAM_OK)
            return ds_cli_ends_with(a->cli, &a->sources[i].s.error);
    }
    return required_holds(a) ? DS_EXIT_OK : ds_run_unsatisfied(&a->run);
}

static int finish(struct reading *a)
{
    ds_status_end(&a->run.status);
    commit(a);
    if (!a->out.gone && a->error.code == DSTREAM_OK)
        (void)ds_output_close(&a->out, &a->error);
    /* INT or TERM ended the waiting for a reader: the signal says it all. */
    if (a->error.code == DSTREAM_ERR_CANCELLED)
        return DS_EXIT_FAILURE;
    if (a->out.terminal && a->line_begun && isatty(fileno(a->cli->err)))
        (void)fputc('\n', a->cli->err);
    for (size_t i = 0; i < a->n && !a->out.gone; i++) {
        const struct source *s = &a->sources[i];
        if (s->ready)
            ds_source_say_position(&s->s, s->at.offset, s->at.skip, s->at.closed,
                                   "to go on: --from");
    }
    say_summary(a);
    return a->out.gone ? DS_EXIT_OK : exit_code(a);
}

/* --- setting up ------------------------------------------------------------------------------- */

static int check_options(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    if (o->output && strcmp(o->output, "-") == 0)
        c->opt.output = NULL;
    int rc = ds_cli_check_range(c);
    if (rc != DS_EXIT_OK)
        return rc;
    if (c->nargs == 0)
        return ds_cli_usage(c, "no stream is named");
    if (o->last > 0 && (o->from || o->state))
        return ds_cli_usage(c, "--last says where to begin, and so does %s",
                            o->from ? "--from" : "--state");
    if (o->state && c->nargs > 1)
        return ds_cli_usage(c, "--state is for one stream");
    if (o->state && o->output)
        return ds_cli_usage(c, "--state and --output together are dstream export");
    if ((o->format == DS_FORMAT_RAW || o->format == DS_FORMAT_SSE) && c->nargs > 1)
        return ds_cli_usage(c,
                            "several streams cannot be told apart in %s output: read them one "
                            "by one, or use --format lines or envelope",
                            ds_format_name(o->format));
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
        enum dstream_code rc = ds_source_name(&s->s, &a->run, a->cli->args[i], &a->error);
        if (rc != DSTREAM_OK)
            return rc;
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
    a->left = ds_run_left(o);
    a->together = a->n > 1 && ds_cli_follows(o);
    enum dstream_code rc = ds_run_begin(&a->run, a->cli, &a->error);
    if (rc == DSTREAM_OK && a->together)
        rc = ds_run_files(a->n, 1, &a->error);
    if (rc == DSTREAM_OK)
        rc = name_sources(a);
    if (rc == DSTREAM_OK)
        rc = ds_output_check(&a->out, &a->error);
    return rc == DSTREAM_OK ? open_state(a) : rc;
}

static void arm(struct reading *a)
{
    a->sync.fire = on_sync;
    a->sync.ctx = a;
    ds_run_arm(&a->run, tell, a);
    if (!a->cli->opt.output)
        (void)ds_loop_watch(a->run.loop, STDOUT_FILENO, DS_LOOP_HANGUP, on_hangup, a);
}

static void tear_down(struct reading *a)
{
    for (size_t i = 0; a->sources && i < a->n; i++) {
        ds_source_free(&a->sources[i].s);
        ds_buf_free(&a->sources[i].held);
        if (a->sources[i].gathering)
            ds_ring_free(&a->sources[i].ring);
    }
    if (a->run.loop) {
        (void)ds_loop_watch(a->run.loop, STDOUT_FILENO, 0, NULL, NULL);
        ds_timer_stop(a->run.loop, &a->sync);
    }
    ds_run_end(&a->run);
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
