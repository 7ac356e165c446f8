/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/handing.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/format.h"
#include "cli/hand.h"
#include "cli/run.h"
#include "cli/signals.h"
#include "cli/span.h"
#include "cli/wall.h"
#include "store/state.h"

/* What an earlier run has handed out, and may be done, keeps its place, which is so many units
 * behind `offset`, however answers are cut by now. */
struct again {
    char offset[DS_TOKEN_MAX + 1];
    uint64_t at,
        end; /* the next unit, and the one behind the last: all is handed out again there */
};

struct handing {
    struct ds_cli *cli;
    struct ds_run run;
    struct ds_source s;
    struct ds_hand *hand;
    struct ds_state *state;
    struct ds_witness_keeper keeper;
    struct ds_checkpoint at; /* behind what is done */
    struct ds_format format;
    struct ds_left left;
    uint64_t bytes, messages;
    bool complete; /* an earlier run has left nothing to do */
    /* The answer that is held: lent by the reader meanwhile. */
    struct dstream_batch rest; /* of it, that is not done */
    bool taken;                /* what the reader offers again next is done, all of it */
    bool out;                  /* a portion of it is handed out: */
    struct ds_portion portion;
    struct ds_span span; /* the portion, without what is done of it */
    uint64_t done;       /* units */
    struct ds_buf data;
    struct again again;
    struct dstream_error error; /* of the hand or the state */
};

/* --- positions -------------------------------------------------------------------------------- */

enum dstream_code ds_hand_position(struct ds_buf *out, const char *offset, uint64_t skip,
                                   bool brief)
{
    enum dstream_code rc = brief && skip == 0
                               ? ds_buf_adds(out, offset)
                               : ds_buf_addf(out, "%s,%llu", offset, (unsigned long long)skip);
    return rc == DSTREAM_OK && !ds_buf_str(out) ? DSTREAM_ERR_NOMEM : rc;
}

static enum dstream_code commit(struct handing *h)
{
    struct ds_witness w;
    ds_span_witness(&h->at, &w);
    ds_client_set_witness(h->s.reader, &w);
    return ds_state_commit(h->state, &h->at, &h->error);
}

static bool is_committed(const struct handing *h)
{
    const struct ds_checkpoint *last = &h->state->last;
    return h->state->exists && last->skip == h->at.skip && last->closed == h->at.closed &&
           last->handed == h->at.handed && strcmp(last->offset, h->at.offset) == 0;
}

/* Whether something of it is still to come. */
static bool is_again(const struct handing *h)
{
    return h->again.at < h->again.end && !h->s.gap;
}

static void place_again(struct handing *h)
{
    h->again.at = h->at.skip;
    h->again.end = h->at.skip + h->at.handed;
    strcpy(h->again.offset, h->at.offset);
}

/* An answer by the name that it has here. */
static struct dstream_batch named(const struct handing *h, const dstream_batch *b)
{
    struct dstream_batch r = *b;
    if (is_again(h)) {
        r.start = h->again.offset;
        r.skip = h->again.at;
    }
    return r;
}

/* Behind what is done of the answer. */
static void advance(struct handing *h, const struct ds_span *s)
{
    ds_span_advance(s, &h->rest, &h->at, &h->keeper);
    if (h->at.handed > 0)
        h->at.handed -= s->take - s->first;
    if (!is_again(h))
        return;
    h->again.at += s->take - s->first;
    if (is_again(h)) {
        strcpy(h->at.offset, h->again.offset);
        h->at.skip = h->again.at;
    }
}

/* The state says where the portion begins, which has another name where the server no longer kept
 * what was next, and how much it is. */
static enum dstream_code commit_begin(struct handing *h)
{
    const dstream_batch *b = &h->rest;
    strcpy(h->at.offset, b->start);
    h->at.skip = b->skip;
    h->at.handed = is_again(h) ? h->again.end - h->again.at : h->span.take - h->span.first;
    return is_committed(h) ? DSTREAM_OK : commit(h);
}

/* --- portions --------------------------------------------------------------------------------- */

static enum dstream_code put(void *ctx, const void *p, size_t n)
{
    return ds_buf_add(ctx, p, n);
}

static void describe(struct handing *h)
{
    const dstream_batch *b = &h->rest;
    const struct ds_span *s = &h->span;
    bool part = s->take < s->end || (b->flags & DSTREAM_BATCH_PARTIAL);
    uint64_t count = s->take - s->first;
    h->portion = (struct ds_portion){
        .offset = b->start,
        .skip = b->skip,
        .next = part ? b->start : b->next,
        .next_skip = part ? b->skip + count : 0,
        .count = count,
        .closed = !part && (b->flags & DSTREAM_BATCH_CLOSED),
        .stream = h->at.url,
        .content_type = h->at.content_type,
        .data = &h->data,
    };
}

static enum dstream_code hand_out(struct handing *h)
{
    struct dstream_batch b = h->rest;
    if (h->span.take < h->span.end)
        b.flags |= DSTREAM_BATCH_PARTIAL;
    ds_buf_free(&h->data);
    enum dstream_code rc = commit_begin(h);
    if (rc != DSTREAM_OK)
        return rc;
    rc = ds_format_put(&h->format, &b, h->span.first, h->span.take, ds_wall_now(), put, &h->data);
    if (rc == DSTREAM_OK && ds_span_ends_open(&h->span, &b, &h->at))
        rc = put(&h->data, "\n", 1);
    if (rc != DSTREAM_OK)
        return ds_error_set(&h->error, rc, "%s: cannot format a batch", h->s.name);
    describe(h);
    h->done = 0;
    h->out = true;
    ds_timer_stop(h->run.loop, &h->run.idle); /* nothing can come meanwhile */
    return h->hand->ops->give(h->hand, &h->portion, &h->error);
}

/* All that is wanted of the answer is done. */
static void end_answer(struct handing *h, bool spent)
{
    h->taken = true;
    if (spent)
        h->run.stop = true;
}

/* The next portion of the answer, one message at least. */
static enum dstream_code go_on(struct handing *h)
{
    struct ds_span wanted = ds_span_of(&h->rest, &h->left);
    h->span = ds_span_within(&h->rest, wanted, h->cli->limits.max_part, true);
    if (is_again(h) && h->again.end - h->again.at < h->span.take - h->span.first)
        h->span =
            ds_span_to(&h->rest, h->span, h->span.first + (size_t)(h->again.end - h->again.at));
    if (h->span.take > h->span.first)
        return hand_out(h);
    bool spent = ds_span_spend(&wanted, &h->left);
    if (wanted.take == wanted.end)
        advance(h, &wanted);
    h->s.up_to_date = !spent && (h->rest.flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED));
    end_answer(h, spent);
    return is_committed(h) ? DSTREAM_OK : commit(h);
}

/* So much of the portion is done, counted from its beginning. */
static enum dstream_code note_done(struct handing *h, uint64_t done)
{
    struct ds_span s = h->span, wanted = ds_span_of(&h->rest, &h->left);
    if (done <= h->done)
        return DSTREAM_OK;
    s = ds_span_to(&h->rest, s, s.first + (size_t)(done - h->done));
    advance(h, &s);
    h->bytes += s.bytes;
    h->messages += s.messages;
    h->done = done;
    bool spent = ds_span_spend(&s, &h->left), all = s.take == wanted.take;
    h->s.up_to_date =
        s.take == s.end && (h->rest.flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED));
    h->rest = ds_span_rest(&h->rest, s.take);
    h->span.first = s.take;
    h->out = done < h->portion.count;
    if (!h->out)
        ds_run_took_data(&h->run);
    if (!h->out && all)
        end_answer(h, spent);
    if (h->out || all || h->run.stop || h->hand->gone)
        return commit(h);
    return go_on(h); /* commits this with what it hands out next */
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Now that the stream's type is known. */
static enum dstream_code settle(struct handing *h, bool json)
{
    const char *type = dstream_reader_content_type(h->s.reader);
    enum dstream_code rc = ds_format_resolve(&h->format.kind, json, &h->s.error);
    h->left.lines = h->format.kind == DS_FORMAT_LINES;
    ds_error_set_url(&h->s.error, h->s.url.data); /* of whatever is refused here */
    if (rc == DSTREAM_OK)
        rc = ds_format_check_count(&h->left, json, &h->s.error);
    if (rc == DSTREAM_OK)
        rc = ds_format_exact(ds_cli_live(&h->cli->opt) == DSTREAM_LIVE_SSE, type, &h->s.error);
    if (rc != DSTREAM_OK)
        return rc;
    strcpy(h->at.format, ds_format_name(h->format.kind));
    ds_checkpoint_set_type(&h->at, type);
    return DSTREAM_OK;
}

/* It is offered once, held, and offered again when all of it is done. */
static enum dstream_code take(void *ctx, struct ds_source *s, const dstream_batch *b)
{
    struct handing *h = ctx;
    if (h->taken) {
        h->taken = false;
        return DSTREAM_OK;
    }
    enum dstream_code rc = settle(h, b->flags & DSTREAM_BATCH_JSON);
    if (rc != DSTREAM_OK)
        return rc;
    if (!h->at.from_offset[0])
        strcpy(h->at.from_offset, strcmp(b->start, "now") == 0 ? b->next : b->start);
    if (!is_again(h))
        h->at.handed = 0;
    h->rest = named(h, b);
    rc = go_on(h);
    if (rc != DSTREAM_OK)
        h->run.stop = true;
    s->hold = rc == DSTREAM_OK && h->out;
    if (!s->hold)
        h->taken = false; /* it is not offered again */
    return rc;
}

/* --- running ---------------------------------------------------------------------------------- */

static void tell(void *ctx, struct ds_status_now *now)
{
    struct handing *h = ctx;
    ds_source_tell(&h->s, now);
    if (h->out)
        now->doing = "handing out";
    now->bytes = h->bytes;
    now->messages = h->messages;
    now->offset = h->at.offset;
}

/* After a turn: what is done by now. */
static void see_to_hand(struct handing *h)
{
    uint64_t done;
    struct dstream_error err = {0};
    if (h->run.stop)
        h->hand->ops->stop(h->hand, ds_signals_ending());
    enum dstream_code rc = h->hand->ops->look(h->hand, &done, &err);
    if (h->out && note_done(h, done) != DSTREAM_OK)
        rc = h->error.code;
    else if (rc != DSTREAM_OK)
        h->error = err;
    if (rc != DSTREAM_OK || h->hand->gone)
        h->run.stop = true;
    if (h->taken && !h->run.stop)
        dstream_reader_resume(h->s.reader);
}

static bool goes_on(const struct handing *h)
{
    if (h->error.code != DSTREAM_OK)
        return false;
    return h->out || (!h->run.stop && !h->s.done);
}

static void run(struct handing *h)
{
    struct ds_source_start at = {.offset = h->at.offset,
                                 .skip = h->at.skip,
                                 .seen = h->state->exists && h->at.from_offset[0],
                                 .content_type = h->at.content_type,
                                 .recheck = true};
    ds_span_witness(&h->at, &at.witness);
    ds_run_arm(&h->run, tell, h);
    (void)ds_source_start(&h->s, &at, take, h);
    while (goes_on(h)) {
        bool hup;
        (void)ds_run_turn(&h->run, &hup, &h->error);
        see_to_hand(h);
    }
    ds_status_end(&h->run.status);
}

/* --- setting up ------------------------------------------------------------------------------- */

bool ds_hands_out(const struct ds_cli_options *o)
{
    return o->exec || o->ack_fd >= 0;
}

/* An option that has no place beside the one that hands out. */
static const char *superfluous(const struct ds_cli_options *o)
{
    return o->exec && o->ack_fd >= 0 ? "--ack-fd"
           : o->output               ? "--output"
           : o->directory || o->list ? "--directory"
           : o->sqlite || o->table   ? "--sqlite"
           : o->pack != DS_PACK_NONE ? "--compress"
           : o->rotate_size > 0      ? "--rotate-size"
           : o->rotate_time >= 0     ? "--rotate-time"
           : o->rotate_name          ? "--rotate-name"
                                     : NULL;
}

static int check_options(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    const char *name = o->exec ? "--exec" : "--ack-fd", *other = superfluous(o);
    int rc = ds_cli_check_range(c);
    if (rc != DS_EXIT_OK)
        return rc;
    if (other)
        return ds_cli_usage(c, "%s and %s exclude each other", name, other);
    if (o->sync_given)
        return ds_cli_usage(c,
                            "--sync is not for %s, whose state is durable whenever something is "
                            "done",
                            name);
    if (!o->state)
        return ds_cli_usage(c, "%s takes --state FILE, which has the position", name);
    if (c->nargs != 1)
        return ds_cli_usage(c, "%s is for one stream", name);
    if (!o->exec && o->format != DS_FORMAT_AUTO && o->format != DS_FORMAT_ENVELOPE)
        return ds_cli_usage(c, "--ack-fd prints --format envelope, and no other one");
    if (o->format == DS_FORMAT_SSE)
        return ds_cli_usage(c,
                            "--format sse is not for --exec, which says in the environment where "
                            "a portion lies");
    return DS_EXIT_OK;
}

static int check_fd(struct ds_cli *c)
{
    int fd = c->opt.ack_fd, flags = fd < 0 ? 0 : fcntl(fd, F_GETFL);
    if (fd < 0)
        return DS_EXIT_OK;
    if (fd == STDOUT_FILENO || fd == STDERR_FILENO)
        return ds_cli_usage(c,
                            "--ack-fd %d is where output goes: acknowledgements come by another "
                            "descriptor, as 3<PIPE or standard input, 0",
                            fd);
    if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY)
        return ds_cli_usage(c, "--ack-fd %d is not open for reading: have it opened, as %d<PIPE",
                            fd, fd);
    if (fd > STDERR_FILENO)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return DS_EXIT_OK;
}

static enum dstream_code resume(struct handing *h)
{
    const struct ds_cli_options *o = &h->cli->opt;
    const struct ds_checkpoint *last = &h->state->last;
    struct ds_checkpoint_ask ask = {
        .url = h->s.url.data,
        .format = h->format.kind != DS_FORMAT_AUTO ? ds_format_name(h->format.kind) : NULL,
        .template = o->template,
        .from = o->from,
        .from_skip = o->from_skip};
    if (last->has_mark)
        return ds_error_set(&h->error, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: the state is that of a copy or a replay: give another state file",
                            o->state);
    enum dstream_code rc = ds_checkpoint_fits(last, &ask, o->state, &h->error);
    if (rc == DSTREAM_OK)
        rc = ds_format_of_state(last->format, o->state, &h->format.kind, &h->error);
    if (rc != DSTREAM_OK)
        return rc;
    if (h->format.kind == DS_FORMAT_SSE)
        return ds_error_set(&h->error, DSTREAM_ERR_ARGUMENT,
                            "%s: the state is of format sse, which is not for --exec: give another "
                            "state file",
                            o->state);
    h->at = *last;
    place_again(h);
    h->complete = last->closed;
    return DSTREAM_OK;
}

static enum dstream_code open_state(struct handing *h)
{
    const struct ds_cli_options *o = &h->cli->opt;
    enum dstream_code rc = ds_witness_begin(&h->keeper, h->cli->limits.max_witness);
    if (rc != DSTREAM_OK)
        return ds_error_set(&h->error, rc, "no memory for a witness");
    rc = ds_state_open(&h->state, h->cli->fileops, o->state, &h->error);
    if (rc != DSTREAM_OK)
        return rc;
    if (h->state->exists && !o->reset)
        return resume(h);
    h->state->exists = false;
    strcpy(h->at.template, o->template ? o->template : "");
    return ds_checkpoint_begin(&h->at, h->s.url.data, o->from, o->from_skip, &h->error);
}

static enum dstream_code set_up(struct handing *h)
{
    const struct ds_cli_options *o = &h->cli->opt;
    ds_buf_init(&h->data, SIZE_MAX);
    h->format = (struct ds_format){.kind = o->exec ? o->format : DS_FORMAT_ENVELOPE,
                                   .template = h->at.template,
                                   .url = h->at.url};
    h->left = ds_run_left(o);
    enum dstream_code rc = ds_run_begin(&h->run, h->cli, &h->error);
    if (rc == DSTREAM_OK)
        rc = ds_source_name(&h->s, &h->run, h->cli->args[0], &h->error);
    if (rc == DSTREAM_OK)
        rc = open_state(h);
    if (rc != DSTREAM_OK)
        return rc;
    ds_signals_catch_children();
    return o->exec ? ds_hand_exec(&h->hand, h->cli, h->run.loop, h->state->at.lock, &h->error)
                   : ds_hand_ack(&h->hand, h->cli, h->run.loop, &h->error);
}

/* --- the end ---------------------------------------------------------------------------------- */

static int finish(struct handing *h)
{
    if (h->complete) {
        ds_cli_say(h->cli, "%s: complete: the stream is closed, and all of it was handed out",
                   h->s.name);
        return DS_EXIT_OK;
    }
    ds_source_stop(&h->s);
    if (h->error.code == DSTREAM_ERR_CANCELLED)
        return DS_EXIT_FAILURE; /* the signal says it all */
    if (h->error.code != DSTREAM_OK)
        return ds_cli_fail(h->cli, &h->error);
    if (h->s.error.code != DSTREAM_OK)
        return ds_cli_fail(h->cli, &h->s.error);
    if (!h->hand->gone)
        ds_source_say_position(&h->s, h->at.offset, h->at.skip, h->at.closed,
                               "the same command goes on at");
    return ds_source_satisfies(&h->s, h->at.closed) ? DS_EXIT_OK : ds_run_unsatisfied(&h->run);
}

static void tear_down(struct handing *h)
{
    ds_source_free(&h->s);
    if (h->hand)
        h->hand->ops->free(h->hand);
    ds_run_end(&h->run);
    ds_state_free(h->state);
    ds_witness_end(&h->keeper);
    ds_buf_free(&h->data);
}

int ds_cmd_hand_out(struct ds_cli *c)
{
    int status = check_options(c);
    if (status == DS_EXIT_OK)
        status = check_fd(c);
    if (status != DS_EXIT_OK)
        return status;
    struct handing h = {.cli = c};
    if (set_up(&h) == DSTREAM_OK) {
        if (!h.complete)
            run(&h);
        status = finish(&h);
    } else {
        status = ds_cli_fail(c, &h.error);
    }
    bool gone = h.hand && h.hand->gone && h.error.code == DSTREAM_OK;
    tear_down(&h);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    if (gone)
        ds_cli_die(SIGPIPE);
    return status;
}
