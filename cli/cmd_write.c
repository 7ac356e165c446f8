/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream write: standard input or files, appended to a stream as they come.
 *
 * One request at a time. While it is under way the next load is read; where nothing is under way
 * and the input has no more just now, what there is goes out. An append that may have been stored
 * is never sent again (producer/call.h), so that each load is stored, is not, or is in doubt, and
 * what follows a load that failed is not sent.
 */
#include "config.h"

#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/intake.h"
#include "cli/signals.h"
#include "cli/unary.h"

/* How long a load waits for more, so that what is written in one go goes out as one. */
#define LINGER_MS 5
/* After INT or TERM: how long what was read already has to go out. */
#define DRAIN_MS 2000

struct writing {
    struct ds_unary *u;
    struct ds_cli *cli;
    const char *type;
    struct ds_intake in;
    /* the input */
    const char *const *files;
    size_t nfiles, opened; /* of them */
    const char *name;
    int fd; /* -1: none is open */
    bool watched;
    bool ended;     /* all of it was read, or no more is to be */
    bool lingering; /* the timer runs */
    bool settled;   /* what there is has waited long enough */
    bool draining;  /* INT or TERM came */
    struct dstream_error input_error;
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

static void unwatch(struct writing *w)
{
    if (w->watched)
        (void)ds_loop_watch(w->u->loop, w->fd, 0, NULL, NULL);
    w->watched = false;
}

static void close_input(struct writing *w)
{
    unwatch(w);
    if (w->fd > STDIN_FILENO)
        close(w->fd);
    w->fd = -1;
}

/* No more is read. What was whole before still goes out. */
static void fail_input(struct writing *w, const struct dstream_error *e)
{
    w->input_error = *e;
    close_input(w);
    w->ended = true;
}

static void fail_intake(struct writing *w)
{
    struct dstream_error e = {0};
    ds_error_set(&e, w->in.error.code, "%.200s: %s", w->name, w->in.error.message);
    fail_input(w, &e);
}

/* Opens the next file. A FIFO is opened without waiting for who writes it: that is waited for like
 * any input. */
static void open_input(struct writing *w)
{
    struct dstream_error e = {0};
    if (w->opened == w->nfiles) {
        w->ended = true;
        return;
    }
    const char *file = w->files[w->opened++];
    bool standard = strcmp(file, "-") == 0;
    w->name = standard ? "standard input" : file;
    w->fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (w->fd >= 0)
        return;
    ds_error_set(&e, DSTREAM_ERR_NOT_FOUND, "%.200s: cannot open: %s", file, strerror(errno));
    fail_input(w, &e);
}

static bool is_readable(const struct writing *w)
{
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* Reads once. False where there is nothing just now. */
static bool read_some(struct writing *w, char *room, size_t n)
{
    struct dstream_error e = {0};
    ssize_t got = read(w->fd, room, n);
    if (got > 0) {
        if (ds_intake_add(&w->in, (size_t)got) != DSTREAM_OK)
            fail_intake(w);
    } else if (got == 0) {
        close_input(w);
        if (ds_intake_end_file(&w->in) != DSTREAM_OK)
            fail_intake(w);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        return false;
    } else {
        ds_error_set(&e, DSTREAM_ERR_IO, "%.200s: cannot read: %s", w->name, strerror(errno));
        fail_input(w, &e);
    }
    return true;
}

static void on_readable(void *ctx, int fd, unsigned what)
{
    struct writing *w = ctx;
    (void)fd;
    (void)what;
    unwatch(w); /* go_on() reads, and watches again where it has to wait */
}

static void watch(struct writing *w)
{
    struct dstream_error e = {0};
    if (w->watched)
        return;
    w->watched = ds_loop_watch(w->u->loop, w->fd, DS_LOOP_READ, on_readable, w) == DSTREAM_OK;
    if (w->watched)
        return;
    ds_error_set(&e, DSTREAM_ERR_NOMEM, "no memory to wait for input");
    fail_input(w, &e);
}

/* Reads what there is, up to the end or as much as is taken before a load goes out. */
static void fill(struct writing *w)
{
    while (!w->ended) {
        size_t n;
        char *room = ds_intake_room(&w->in, &n);
        if (w->fd < 0) {
            open_input(w);
        } else if (!room) {
            unwatch(w);
            return;
        } else if (!is_readable(w) || !read_some(w, room, n)) {
            watch(w);
            return;
        }
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
    if (w->ended || w->settled || ds_intake_full(&w->in))
        return true;
    if (!w->lingering)
        w->lingering = ds_timer_set(w->u->loop, &w->linger,
                                    ds_loop_update(w->u->loop) + LINGER_MS) == DSTREAM_OK;
    return !w->lingering;
}

/* The whole input was taken, and nothing was wrong with it. */
static bool is_whole(const struct writing *w)
{
    return w->ended && w->input_error.code == DSTREAM_OK && ds_signals_ending() == 0 &&
           !ds_intake_ready(&w->in);
}

static void take_load(struct writing *w)
{
    if (ds_intake_take(&w->in, &w->load) != DSTREAM_OK && w->input_error.code == DSTREAM_OK)
        fail_intake(w);
}

static void send_due(struct writing *w)
{
    bool ready = ds_intake_ready(&w->in);
    if (ready && is_due(w)) {
        take_load(w);
        send(w, w->cli->opt.close_after && is_whole(w));
    } else if (!ready && w->ended) {
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
    w->draining = w->ended = true;
    close_input(w);
    if (ds_timer_set(w->u->loop, &w->drain, ds_loop_update(w->u->loop) + DRAIN_MS) != DSTREAM_OK)
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
    close_input(w);
    if (w->flying) {
        ds_calling_stop(w->flying);
        land(w);
    }
}

/* --- before ----------------------------------------------------------------------------------- */

static enum dstream_code fail_here(struct ds_unary *u, enum dstream_code code, const char *what)
{
    ds_error_set_url(&u->error, u->url.data);
    return ds_error_set(&u->error, code, "%s", what);
}

/* The type that was asked for on the command line, or NULL. */
static const char *type_given(const struct ds_cli_options *o)
{
    return o->create_type ? o->create_type : o->type;
}

static enum dstream_code create(struct ds_unary *u)
{
    const char *type = type_given(&u->cli->opt);
    struct ds_call_config c = {.kind = DS_CALL_CREATE,
                               .content_type = type ? type : "application/octet-stream"};
    return ds_unary_call(u, c);
}

/* Learns the stream's type, and makes the stream where that was asked for. The answer is in
 * u->result. */
static enum dstream_code look(struct ds_unary *u)
{
    const struct ds_cli_options *o = &u->cli->opt;
    char got[DS_TYPE_MAX + 1], want[DS_TYPE_MAX + 1];
    enum dstream_code rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT});
    if (rc == DSTREAM_ERR_NOT_FOUND && o->create)
        rc = create(u);
    if (rc == DSTREAM_ERR_CONFLICT) /* somebody else has made it in between: any will do */
        rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT});
    if (rc != DSTREAM_OK)
        return rc;
    if (!u->result.content_type[0])
        return fail_here(u, DSTREAM_ERR_PROTOCOL, "the server does not tell the stream's type");
    ds_media_type(u->result.content_type, got, sizeof got);
    ds_media_type(type_given(o) ? type_given(o) : got, want, sizeof want);
    if (strcmp(got, want) == 0)
        return DSTREAM_OK;
    ds_error_set_url(&u->error, u->url.data);
    return ds_error_set(&u->error, DSTREAM_ERR_CONFLICT, "the stream is of type %s, not %s", got,
                        want);
}

static enum dstream_code prepare(struct writing *w, char type[DS_TYPE_MAX + 1])
{
    struct ds_unary *u = w->u;
    const struct ds_cli_options *o = &w->cli->opt;
    enum dstream_code rc = DSTREAM_OK;
    bool known = o->type && !o->create;
    if (!known)
        rc = look(u);
    if (rc != DSTREAM_OK)
        return rc;
    if (!known && u->result.closed && !o->close_after)
        return fail_here(u, DSTREAM_ERR_CLOSED, "the stream is closed");
    strcpy(w->next, u->result.next);
    strcpy(type, known ? o->type : u->result.content_type);
    w->type = type;
    if (ds_intake_init(&w->in, ds_type_is_json(type), &w->cli->limits) != DSTREAM_OK)
        return ds_error_set(&u->error, DSTREAM_ERR_NOMEM, "no memory for input");
    return DSTREAM_OK;
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
    if (w->error.code == DSTREAM_OK && w->input_error.code == DSTREAM_OK &&
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
    const struct dstream_error *e = w->error.code != DSTREAM_OK ? &w->error : &w->input_error;
    int status = e->code != DSTREAM_OK ? ds_cli_fail(c, e) : DS_EXIT_FAILURE;
    say_fate(w);
    return status;
}

/* --- the command ------------------------------------------------------------------------------ */

/* All of them, before anything is sent. */
static int check_files(struct ds_cli *c, const char *const *files, size_t n)
{
    bool standard = false;
    for (size_t i = 0; i < n; i++) {
        bool again = standard;
        standard |= strcmp(files[i], "-") == 0;
        if (standard && again && strcmp(files[i], "-") == 0)
            return ds_cli_usage(c, "standard input can be read once only");
        if (strcmp(files[i], "-") == 0 || access(files[i], R_OK) == 0)
            continue;
        struct dstream_error e = {0};
        ds_error_set(&e, DSTREAM_ERR_NOT_FOUND, "%.200s: cannot read: %s", files[i],
                     strerror(errno));
        return ds_cli_fail(c, &e);
    }
    return DS_EXIT_OK;
}

static int write_to(struct ds_unary *u, const char *const *files, size_t n)
{
    char type[DS_TYPE_MAX + 1];
    struct writing w = {.u = u, .cli = u->cli, .files = files, .nfiles = n, .fd = -1};
    w.linger.fire = on_settled;
    w.drain.fire = on_drained;
    w.linger.ctx = w.drain.ctx = &w;
    int status;
    if (prepare(&w, type) == DSTREAM_OK) {
        run(&w);
        status = finish(&w);
    } else {
        status = ds_cli_fail(u->cli, &u->error);
    }
    ds_timer_stop(u->loop, &w.linger);
    ds_timer_stop(u->loop, &w.drain);
    ds_intake_free(&w.in);
    return status;
}

int ds_cmd_write(struct ds_cli *c)
{
    static const char *const standard[] = {"-"};
    const struct ds_cli_options *o = &c->opt;
    struct ds_unary u;
    if (c->nargs == 0)
        return ds_cli_usage(c, "no stream is named");
    if (o->type && o->create_type && strcmp(o->type, o->create_type) != 0)
        return ds_cli_usage(c, "--type and --create name different types");
    const char *const *files = c->nargs > 1 ? c->args + 1 : standard;
    size_t n = c->nargs > 1 ? c->nargs - 1 : 1;
    int status = check_files(c, files, n);
    if (status != DS_EXIT_OK)
        return status;
    enum dstream_code rc = ds_unary_begin(&u, c);
    return ds_unary_end(&u, rc == DSTREAM_OK ? write_to(&u, files, n) : ds_cli_fail(c, &u.error));
}
