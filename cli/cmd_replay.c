/* SPDX-License-Identifier: Apache-2.0 */
/* dstream replay: a recording to standard output or into a stream, each entry when it is due. */
#include "config.h"

#include "cli/cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/http.h"
#include "cli/format.h"
#include "cli/origin.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/signals.h"
#include "cli/supply_player.h"
#include "cli/wall.h"

struct replaying {
    struct ds_cli *cli;
    struct ds_run run;
    struct ds_source file; /* the recording, for what is said */
    struct ds_player player;
    struct ds_format format;
    bool ready; /* the format is settled */
    bool whole; /* it was played to its end */
    struct ds_output out;
    struct ds_timer due;
    uint64_t bytes, messages;
    struct dstream_error error;
};

/* --- entries ---------------------------------------------------------------------------------- */

static enum dstream_code settle(struct replaying *r)
{
    const struct ds_recording_about *about = &r->player.in.about;
    enum dstream_code rc = ds_format_resolve(&r->format.kind, about->json, &r->error);
    r->format.url = about->url;
    r->format.text = ds_type_is_text(about->content_type);
    if (rc == DSTREAM_OK)
        rc = ds_output_open(&r->out, &r->error);
    if (rc == DSTREAM_OK && r->out.terminal)
        rc = ds_format_check_terminal(r->format.kind, about->content_type, &r->error);
    r->ready = rc == DSTREAM_OK;
    return rc;
}

static enum dstream_code put(void *ctx, const void *p, size_t n)
{
    struct replaying *r = ctx;
    return ds_output_put(&r->out, p, n, &r->error);
}

static enum dstream_code put_batch(struct replaying *r)
{
    struct ds_player *p = &r->player;
    dstream_batch cut = p->batch;
    bool none;
    enum dstream_code rc = ds_format_cut(&r->format, &cut, &none, &r->error);
    if (rc != DSTREAM_OK || none)
        return rc;
    size_t end = p->span.json ? cut.items->count : cut.items->bytes.len;
    size_t take = p->span.take < end ? p->span.take : end;
    rc = ds_format_put(&r->format, &cut, p->span.first, take, ds_player_received(p), put, r);
    if (rc == DSTREAM_OK)
        ds_format_taken(&r->format, &p->batch);
    return rc;
}

static enum dstream_code play(struct replaying *r)
{
    struct ds_player *p = &r->player;
    enum dstream_code rc = r->ready ? DSTREAM_OK : settle(r);
    if (rc == DSTREAM_OK)
        rc = put_batch(r);
    if (rc == DSTREAM_OK && ds_span_ends_open(&p->span, &p->batch, &p->at))
        rc = put(r, "\n", 1);
    if (rc != DSTREAM_OK)
        return r->error.code != DSTREAM_OK
                   ? rc
                   : ds_error_set(&r->error, rc, "%s: cannot format an entry", r->file.name);
    r->bytes += p->span.bytes;
    r->messages += p->span.messages;
    ds_player_taken(p);
    return DSTREAM_OK;
}

/* Plays what is due, and waits for what comes next. */
static void go_on(void *ctx)
{
    struct replaying *r = ctx;
    enum ds_player_step step = DS_PLAYER_BATCH;
    while (step == DS_PLAYER_BATCH && !r->run.stop) {
        int64_t now = ds_loop_update(r->run.loop);
        step = ds_player_step(&r->player, now, &r->error);
        if (step == DS_PLAYER_BATCH && play(r) != DSTREAM_OK)
            step = DS_PLAYER_FAIL;
        if (step == DS_PLAYER_BATCH && ds_signals_ending() != 0)
            return;
    }
    if (step == DS_PLAYER_WAIT) {
        if (ds_output_flush(&r->out, &r->error) == DSTREAM_OK)
            (void)ds_timer_set(r->run.loop, &r->due, r->player.due);
        else
            r->run.stop = true;
        return;
    }
    r->whole = step == DS_PLAYER_END;
    if (r->whole && r->format.sse.n > 0)
        ds_error_set(&r->error, DSTREAM_ERR_ARGUMENT,
                     "%s: it ends inside a character, which format sse cannot carry: use --format "
                     "envelope or raw",
                     r->file.name);
    r->run.stop = true;
}

/* --- running ---------------------------------------------------------------------------------- */

static void on_hangup(void *ctx, int fd, unsigned what)
{
    struct replaying *r = ctx;
    (void)what;
    (void)ds_loop_watch(r->run.loop, fd, 0, NULL, NULL);
    r->out.gone = true;
    r->run.stop = true;
}

static void tell(void *ctx, struct ds_status_now *out)
{
    const struct replaying *r = ctx;
    *out = (struct ds_status_now){.bytes = r->bytes,
                                  .messages = r->messages,
                                  .offset = r->player.at.offset,
                                  .doing = "playing",
                                  .retry_at = DS_NEVER,
                                  .answered = true};
}

static void run(struct replaying *r)
{
    r->due.fire = go_on;
    r->due.ctx = r;
    ds_run_arm(&r->run, tell, r);
    (void)ds_loop_watch(r->run.loop, STDOUT_FILENO, DS_LOOP_HANGUP, on_hangup, r);
    go_on(r);
    while (!r->run.stop) {
        bool hup;
        (void)ds_run_turn(&r->run, &hup, &r->error);
    }
    ds_status_end(&r->run.status);
}

static int finish(struct replaying *r)
{
    const struct ds_player *p = &r->player;
    if (!r->out.gone && r->error.code != DSTREAM_ERR_CANCELLED) {
        struct dstream_error second = {0};
        (void)ds_output_close(&r->out, r->error.code == DSTREAM_OK ? &r->error : &second);
    }
    if (r->out.gone)
        return DS_EXIT_OK;
    if (r->error.code == DSTREAM_ERR_CANCELLED) /* INT or TERM ended a wait: they say it all */
        return DS_EXIT_FAILURE;
    if (r->error.code != DSTREAM_OK)
        return ds_cli_fail(r->cli, &r->error);
    if (r->whole && ds_player_torn(p) > 0)
        ds_cli_warn(r->cli, "%s: its last line is cut after %zu bytes, and was left out",
                    r->file.name, ds_player_torn(p));
    if (p->at.offset[0])
        ds_source_say_position(&r->file, p->at.offset, p->at.skip, p->at.closed,
                               "to go on: --from");
    return DS_EXIT_OK;
}

static enum dstream_code open_player(struct ds_player *p, const struct ds_cli *cli,
                                     struct dstream_error *err)
{
    const struct ds_cli_options *o = &cli->opt;
    struct ds_player_config c = {.path = cli->args[0],
                                 .speed = o->speed,
                                 .from = o->from,
                                 .from_skip = o->from_skip,
                                 .until = o->until,
                                 .until_skip = o->until_skip,
                                 .left = ds_run_left(o),
                                 .json_depth = cli->limits.json_depth};
    c.left.lines = o->format == DS_FORMAT_LINES;
    return ds_player_open(p, &c, err);
}

static enum dstream_code set_up(struct replaying *r)
{
    ds_output_init(&r->out, NULL, false, false);
    r->format = (struct ds_format){.kind = r->cli->opt.format, .template = r->cli->opt.template};
    r->file.run = &r->run;
    ds_buf_init(&r->file.url, 1);
    (void)snprintf(r->file.name, sizeof r->file.name, "%s", r->cli->args[0]);
    enum dstream_code rc = open_player(&r->player, r->cli, &r->error);
    r->player.left.chars =
        r->format.kind == DS_FORMAT_SSE && ds_type_is_text(r->player.in.about.content_type);
    return rc == DSTREAM_OK ? ds_run_begin(&r->run, r->cli, &r->error) : rc;
}

static int print(struct ds_cli *c)
{
    int status;
    struct replaying r = {.cli = c};
    if (set_up(&r) == DSTREAM_OK) {
        run(&r);
        status = finish(&r);
        (void)ds_loop_watch(r.run.loop, STDOUT_FILENO, 0, NULL, NULL);
        ds_timer_stop(r.run.loop, &r.due);
        ds_run_end(&r.run);
    } else {
        status = ds_cli_fail(c, &r.error);
    }
    bool gone = r.out.gone;
    ds_player_close(&r.player);
    ds_output_free(&r.out);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    if (gone)
        ds_cli_die(SIGPIPE);
    return status;
}

/* --- into a stream ---------------------------------------------------------------------------- */

struct writing {
    struct ds_unary *u;
    struct ds_write w;
    struct ds_player player;
    struct ds_origin origin;
    struct ds_supply_player from;
    struct ds_supply supply;
};

/* The recording, and the part of it that an earlier run began with. */
static enum dstream_code open_origin(struct writing *r)
{
    const struct ds_cli_options *o = &r->u->cli->opt;
    const struct ds_recording_about *about = &r->player.in.about;
    struct ds_origin_about ask = {.url = about->url,
                                  .format = "replay",
                                  .from = o->from ? o->from : "-1",
                                  .from_skip = o->from_skip};
    enum dstream_code rc = ds_origin_open(&r->origin, &r->w, &ask, &r->u->error);
    if (rc != DSTREAM_OK || !r->origin.state)
        return rc;
    /* Where it stands is in the journal alone, so this is written once. */
    char begun[DS_TIME_SIZE];
    ds_print_time(about->begun, begun);
    if (r->origin.resumed && strcmp(r->origin.at.from_offset, begun) != 0)
        return ds_error_set(&r->u->error, DSTREAM_ERR_STATE_MISMATCH,
                            "%.200s: it is of another recording, which was begun at %.40s: name "
                            "another --state file",
                            o->state, r->origin.at.from_offset);
    if (r->origin.resumed)
        return rc;
    strcpy(r->origin.at.from_offset, begun);
    ds_checkpoint_set_type(&r->origin.at, about->content_type);
    return ds_origin_commit(&r->origin, &r->origin.at, &r->u->error);
}

static enum dstream_code begin_writing(struct writing *r, char id[DS_ID_MAX + 1])
{
    struct ds_unary *u = r->u;
    const struct ds_recording_about *about = &r->player.in.about;
    enum dstream_code rc = ds_write_name_producer(&r->w, id);
    if (rc == DSTREAM_OK)
        rc = ds_write_open_journal(&r->w);
    if (rc == DSTREAM_OK)
        rc = open_origin(r);
    if (rc == DSTREAM_OK)
        rc = ds_write_prepare(&r->w, about->content_type);
    if (rc == DSTREAM_OK)
        rc = ds_write_check_kind(&r->w, about->content_type, "recording");
    if (rc != DSTREAM_OK)
        return rc;
    ds_supply_player_init(&r->from, &r->player, u->loop, r->w.before ? r->w.before->mark : 0,
                          ds_write_message_max(&u->cli->opt, about->json), u->cli->opt.max_time,
                          &r->supply);
    r->w.supply = &r->supply;
    return DSTREAM_OK;
}

static int write_stream(struct ds_cli *c)
{
    struct ds_unary u;
    struct writing r = {.u = &u, .w = {.u = &u}};
    char id[DS_ID_MAX + 1];
    enum dstream_code rc = ds_unary_begin_to(&u, c, c->opt.to);
    if (rc == DSTREAM_OK)
        rc = open_player(&r.player, c, &u.error);
    else
        r.player.fd = -1;
    if (rc == DSTREAM_OK && !r.player.in.begun)
        rc =
            ds_error_set(&u.error, DSTREAM_ERR_INPUT, "%.300s: the recording is empty", c->args[0]);
    if (rc == DSTREAM_OK)
        rc = begin_writing(&r, id);
    int status = rc == DSTREAM_OK ? ds_write_once(&r.w) : ds_cli_fail(c, &u.error);
    ds_supply_player_free(&r.from);
    ds_origin_close(&r.origin);
    ds_journal_free(r.w.journal);
    ds_player_close(&r.player);
    return ds_unary_end(&u, status);
}

/* --- the command ------------------------------------------------------------------------------ */

static int check_options(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    if (c->nargs != 1)
        return ds_cli_usage(c, c->nargs == 0 ? "no recording is named" : "one recording at a time");
    if (o->from && strcmp(o->from, "now") == 0)
        return ds_cli_usage(c, "--from now is no place in a recording");
    if (!o->to || strcmp(o->to, "-") == 0)
        return o->producer || o->state || o->create || o->close_after || o->print_offset
                   ? ds_cli_usage(c, "what is said of the writing is for --to URL")
                   : DS_EXIT_OK;
    if (o->format_given)
        return ds_cli_usage(c, "--format is for standard output: a stream is written as it was");
    return ds_write_check_options(c);
}

int ds_cmd_replay(struct ds_cli *c)
{
    int status = check_options(c);
    if (status != DS_EXIT_OK)
        return status;
    return c->opt.to && strcmp(c->opt.to, "-") != 0 ? write_stream(c) : print(c);
}
