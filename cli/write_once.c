/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream write --producer: each message of the input is stored once, or what became of it is said.
 *
 * One piece of the input is read a turn of the loop, cut into messages, and these are given to the
 * producer until it has no more room; then reading waits for it. What became of the messages is
 * said at the end, or before the journal says that it was said.
 */
#include "config.h"

#include "cli/write.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/fates.h"
#include "cli/signals.h"
#include "cli/status.h"
#include "cli/supply_input.h"
#include "cli/wall.h"
#include "client/options.h"
#include "client/producer.h"
#include "store/checkpoint.h"

#define MAX_AGE_MS ((int64_t)6 * 24 * 3600 * 1000)

struct once {
    const struct ds_write *c;
    struct ds_unary *u;
    struct ds_cli *cli;
    const struct ds_supply *supply;
    struct ds_supply own_supply; /* of the input */
    struct ds_supply_input input;
    dstream_producer *p;
    bool full;     /* the producer has no room */
    bool more;     /* there may be more input at once */
    bool ending;   /* nothing more is appended */
    bool draining; /* INT or TERM came */
    bool ended;
    bool broken_pipe; /* what --tee prints cannot be written, */
    bool gone;        /* since nobody reads it any more */
    bool refused;     /* the producer did not take a message: its end may say why */
    struct ds_fates fates;
    struct dstream_error earlier; /* of what an earlier run could not tell any more */
    struct ds_status status;
    int64_t retry_at;
};

static uint64_t unix_ms(void)
{
    int64_t ms = ds_wall_now();
    return ms > 0 ? (uint64_t)ms : 0;
}

static void on_result(void *ctx, dstream_producer *p, const dstream_result *result)
{
    struct once *w = ctx;
    const struct ds_producer_result *r = ds_producing_result(result);
    (void)p;
    w->retry_at = DS_NEVER;
    if (r->fate == DS_FATE_ACKED && r->mark > 0 && w->supply->ops->stored)
        w->supply->ops->stored(w->supply->ctx, r->mark);
    if (r->earlier && r->error && w->earlier.code == DSTREAM_OK && r->fate != DS_FATE_KEPT)
        w->earlier = *r->error;
    ds_fates_add(&w->fates, r);
}

/* --- the journal ------------------------------------------------------------------------------ */

/* What is to be marked as told is said before. */
static enum dstream_code write_record(void *ctx, struct ds_record *r, struct dstream_error *err)
{
    struct once *w = ctx;
    if (r->kind == DS_RECORD_TOLD && ds_fates_failed(&w->fates))
        ds_fates_say(&w->fates);
    return ds_journal_write(w->c->journal, r, unix_ms(), err);
}

static enum dstream_code sync_records(void *ctx, struct dstream_error *err)
{
    struct once *w = ctx;
    return ds_journal_sync(w->c->journal, err);
}

static enum dstream_code check_age(const struct ds_write *c)
{
    const struct ds_cli_options *o = &c->u->cli->opt;
    uint64_t oldest = ds_journal_oldest(c->journal), now = unix_ms();
    int64_t max = o->journal_max_age >= 0 ? o->journal_max_age : MAX_AGE_MS;
    if (oldest == 0 || o->force || now <= oldest || now - oldest <= (uint64_t)max)
        return DSTREAM_OK;
    return ds_error_set(&c->u->error, DSTREAM_ERR_OUTCOME_UNKNOWN,
                        "%.200s: what it holds without a fate is %llu hours old: the server may "
                        "have forgotten the producer since, and store it once more. It may be "
                        "stored or not: look at the stream's end, then send it with --force, or "
                        "begin with another --state file",
                        o->state, (unsigned long long)((now - oldest) / 3600000));
}

enum dstream_code ds_write_name_producer(struct ds_write *w, char id[DS_ID_MAX + 1])
{
    const struct ds_cli *c = w->u->cli;
    bool missing = true;
    w->producer = c->opt.producer;
    if (w->producer)
        return DSTREAM_OK;
    struct ds_journal_summary *had = ds_calloc(1, sizeof *had);
    enum dstream_code rc = DSTREAM_OK;
    if (!had)
        return ds_error_set(&w->u->error, DSTREAM_ERR_NOMEM, "no memory for a journal");
    if (c->opt.state)
        rc = ds_journal_show(c->fileops, c->opt.state, had, &missing, &w->u->error);
    if (missing) {
        ds_error_clear(&w->u->error);
        ds_loop_random_id(w->u->loop, id);
        rc = DSTREAM_OK;
    } else if (rc == DSTREAM_OK) {
        strcpy(id, had->id);
    }
    ds_free(had);
    w->producer = id;
    return rc;
}

enum dstream_code ds_write_open_journal(struct ds_write *c)
{
    struct ds_unary *u = c->u;
    if (c->journal || !u->cli->opt.state)
        return DSTREAM_OK;
    struct ds_checkpoint *url = ds_calloc(1, sizeof *url); /* knows how a URL is stored */
    if (!url)
        return ds_error_set(&u->error, DSTREAM_ERR_NOMEM, "no memory for a journal");
    struct ds_journal_about about = {.url = url->url, .id = c->producer, .content_type = ""};
    enum dstream_code rc = ds_checkpoint_set_url(url, u->url.data, &u->error);
    if (rc == DSTREAM_OK)
        rc = ds_journal_open(&c->journal, u->cli->fileops, u->cli->opt.state, &about, &u->error);
    ds_free(url);
    if (rc != DSTREAM_OK)
        return rc;
    c->before = ds_journal_content(c->journal);
    return check_age(c);
}

/* --- messages --------------------------------------------------------------------------------- */

static void stop_supply(struct once *w, const struct dstream_error *why)
{
    w->supply->ops->stop(w->supply->ctx, why);
}

static const struct dstream_error *supply_error(const struct once *w)
{
    return w->supply->ops->error(w->supply->ctx);
}

static void tee(struct once *w, const char *p, size_t n)
{
    if (!w->cli->opt.tee || w->broken_pipe)
        return;
    errno = 0;
    w->broken_pipe = fwrite(p, 1, n, stdout) != n || (w->supply->lf_behind && putchar('\n') == EOF);
    w->gone |= w->broken_pipe && errno == EPIPE;
}

static void flush_tee(struct once *w)
{
    if (!w->cli->opt.tee)
        return;
    errno = 0;
    w->broken_pipe |= fflush(stdout) != 0;
    w->gone |= w->broken_pipe && errno == EPIPE;
    if (w->broken_pipe)
        stop_supply(w, NULL);
}

/* False where it takes no more now, or for good. */
static bool append(struct once *w, const char *p, size_t n, uint64_t mark)
{
    switch (ds_producing_append(w->p, p, n, mark, 0, NULL)) {
    case DSTREAM_APPEND_TAKEN:
        break;
    case DSTREAM_APPEND_AGAIN:
        w->full = true;
        w->supply->ops->hold(w->supply->ctx);
        return false;
    case DSTREAM_APPEND_REFUSED:
        w->refused = true;
        stop_supply(w, dstream_producer_refusal(w->p));
        return false;
    }
    tee(w, p, n);
    w->supply->ops->drop(w->supply->ctx);
    return true;
}

/* Gives the producer what there is. True where nothing more comes. */
static bool take_on(struct once *w)
{
    const char *p;
    size_t n;
    uint64_t mark;
    enum ds_supplied what;
    while ((what = w->supply->ops->next(w->supply->ctx, &p, &n, &mark)) == DS_SUPPLY_MESSAGE) {
        if (!append(w, p, n, mark))
            return w->refused;
    }
    w->more = what == DS_SUPPLY_AGAIN;
    if (what == DS_SUPPLY_WAIT)
        flush_tee(w);
    return what == DS_SUPPLY_END || w->broken_pipe;
}

/* --- going on --------------------------------------------------------------------------------- */

/* The whole input was taken, and nothing was wrong with it. */
static bool is_whole(const struct once *w)
{
    return supply_error(w)->code == DSTREAM_OK && !w->broken_pipe && ds_signals_ending() == 0 &&
           w->earlier.code == DSTREAM_OK;
}

/* Closed already, and nothing to be written: all that is asked for is so. */
static bool needs_close(const struct once *w, bool closes)
{
    return closes && w->cli->opt.close_after &&
           !(w->u->result.closed && dstream_producer_count(w->p, DSTREAM_COUNT_TAKEN) == 0);
}

static void end_input(struct once *w)
{
    bool closes;
    uint64_t mark = w->supply->ops->end(w->supply->ctx, &closes);
    w->ending = true;
    flush_tee(w);
    if (needs_close(w, closes) && is_whole(w))
        (void)ds_producing_close_stream(w->p, NULL, 0, mark, false);
    else
        dstream_producer_start_detach(w->p, w->draining ? DS_WRITE_DRAIN : -1);
}

/* INT or TERM: nothing more is read, and what was read goes out if it can soon. */
static void stop_reading(struct once *w)
{
    if (ds_signals_ending() == 0 || w->draining)
        return;
    w->draining = w->ending = true;
    stop_supply(w, NULL);
    dstream_producer_start_detach(w->p, DS_WRITE_DRAIN);
}

static void go_on(struct once *w)
{
    w->more = false;
    stop_reading(w);
    if (ds_signals_take(SIGUSR1))
        ds_status_say(&w->status);
    if (w->ending || w->full)
        return;
    if (take_on(w))
        end_input(w);
}

static void run(struct once *w)
{
    struct dstream_error e = {0};
    for (go_on(w); !w->ended; go_on(w)) {
        enum dstream_code rc = dstream_loop_turn(w->u->loop, w->more ? 0 : -1);
        if (rc == DSTREAM_OK)
            continue;
        ds_error_set(&e, rc, "no memory for the loop");
        ds_producing_stop(w->p, &e);
    }
    stop_supply(w, NULL);
}

static void on_room(void *ctx, dstream_producer *p)
{
    struct once *w = ctx;
    (void)p;
    w->full = false;
}

static void on_end(void *ctx, dstream_producer *p, enum dstream_code code)
{
    struct once *w = ctx;
    (void)p;
    (void)code;
    w->ended = true;
}

static void on_notice(void *ctx, dstream_producer *p, enum ds_producer_notice kind, int64_t delay,
                      const struct dstream_error *why)
{
    struct once *w = ctx;
    bool verbose = w->cli->opt.verbose > 0;
    if (kind == DS_PRODUCER_RETRY) {
        w->retry_at = ds_loop_now(w->u->loop) + delay;
        if (verbose)
            ds_cli_say(w->cli, "%s: %s: retry in %lld ms", w->u->name, why->message,
                       (long long)delay);
    } else if (verbose) {
        ds_cli_say(w->cli, "%s: %s: goes on under epoch %llu", w->u->name, why->message,
                   (unsigned long long)dstream_producer_count(p, DSTREAM_COUNT_EPOCH));
    }
}

static void tell_status(void *ctx, struct ds_status_now *out)
{
    struct once *w = ctx;
    *out = (struct ds_status_now){
        .bytes = dstream_producer_count(w->p, DSTREAM_COUNT_STORED_BYTES),
        .messages = !w->supply->counted ? 0 : dstream_producer_count(w->p, DSTREAM_COUNT_STORED),
        .offset = dstream_producer_offset(w->p),
        .retries = dstream_producer_count(w->p, DSTREAM_COUNT_RETRIES),
        .doing = w->ending ? "waiting for the last answers"
                 : w->full ? "waiting for the server"
                           : "writing",
        .retry_at = w->retry_at,
        .answered = true};
}

/* --- before ----------------------------------------------------------------------------------- */

/* What the command line says of the epoch. One that continues a journal's batches keeps its own. */
static enum dstream_code set_epoch(struct once *w)
{
    const struct ds_cli_options *o = &w->cli->opt;
    const struct ds_producer_journal *before = w->c->before;
    uint64_t used = before ? before->epoch + 1 : 0; /* up to this one, without it */
    /* Where none is left, the producer says so. */
    if (!o->epoch_given || used > DS_EPOCH_MAX)
        return dstream_options_set_epoch_auto(w->u->options, before ? before->epoch : 0);
    if (o->claim)
        return dstream_options_set_epoch(w->u->options, used, DSTREAM_EPOCH_CLAIM);
    if (o->epoch >= used || (before && before->nbatches > 0))
        return dstream_options_set_epoch(w->u->options, o->epoch, 0);
    return ds_error_set(&w->u->error, DSTREAM_ERR_ARGUMENT,
                        "--epoch %llu: %.200s has used epoch %llu: take a higher one, or leave "
                        "the option out",
                        (unsigned long long)o->epoch, o->state, (unsigned long long)used - 1);
}

static enum dstream_code set_options(struct once *w)
{
    const struct ds_cli_options *o = &w->cli->opt;
    dstream_options *to = w->u->options;
    enum dstream_code rc = set_epoch(w);
    if (rc == DSTREAM_OK)
        rc = dstream_options_set_linger(to, o->linger);
    if (rc == DSTREAM_OK)
        rc = dstream_options_set_batch(to, (size_t)o->batch_bytes, SIZE_MAX);
    if (rc == DSTREAM_OK && o->in_flight > 0)
        rc = dstream_options_set_in_flight(to, o->in_flight);
    if (rc == DSTREAM_OK && o->delivery_timeout >= 0)
        rc = dstream_options_set_delivery_timeout(to, o->delivery_timeout);
    if (rc == DSTREAM_OK)
        rc = dstream_options_set_trusted(to, true); /* they were cut by us */
    return rc == DSTREAM_OK || w->u->error.code != DSTREAM_OK
               ? rc
               : ds_error_set(&w->u->error, rc, "an option for writing cannot be used");
}

static enum dstream_code open_producer(struct once *w)
{
    static const struct ds_journal_ops ops = {write_record, sync_records};
    const struct ds_write *c = w->c;
    struct ds_producing more = {.on_notice = on_notice, .notice_ctx = w};
    enum dstream_code rc = set_options(w);
    if (rc == DSTREAM_OK && c->journal) {
        more.journal = &ops;
        more.journal_ctx = w;
        more.from = c->before;
        more.first_id = ds_journal_next_id(c->journal);
        ds_journal_set_witness(c->journal, w->supply->ops->witness, w->supply->ctx);
        rc = ds_journal_set_type(c->journal, c->type, &w->u->error);
    }
    if (rc == DSTREAM_OK)
        rc = ds_producing_open(&w->p, w->u->loop, w->u->url.data, c->type, c->producer,
                               w->u->options, &more, &w->u->error);
    if (rc != DSTREAM_OK)
        return rc;
    dstream_producer_on_result(w->p, on_result, w);
    dstream_producer_on_room(w->p, on_room, w);
    dstream_producer_on_end(w->p, on_end, w);
    return rc;
}

/* Whether an earlier run has failed, and could not say so. */
static bool has_untold(const struct ds_producer_journal *j)
{
    for (size_t i = 0; j && i < j->nfates; i++) {
        if (j->fates[i].fate != DS_FATE_ACKED)
            return true;
    }
    return false;
}

size_t ds_write_message_max(const struct ds_cli_options *o, bool json)
{
    size_t max = (size_t)o->batch_bytes, brackets = json ? 2 : 0;
    return max > brackets ? max - brackets : 1;
}

/* What an earlier run of it has taken is not taken again. */
static enum dstream_code begin_input(struct once *w)
{
    const struct ds_write *c = w->c;
    const struct ds_cli_options *o = &w->cli->opt;
    bool json = ds_type_is_json(c->type);
    enum ds_messages_how how = json       ? DS_MESSAGES_JSON
                               : o->lines ? DS_MESSAGES_LINES
                                          : DS_MESSAGES_BYTES;
    w->supply = &w->own_supply;
    if (ds_supply_input_init(
            &w->input, w->u->loop, c->files, c->nfiles, how, c->before ? c->before->mark : 0,
            c->before ? ds_journal_witness(c->journal) : "", ds_write_message_max(o, json),
            w->cli->limits.json_depth, &w->own_supply) == DSTREAM_OK)
        return DSTREAM_OK;
    return ds_error_set(&w->u->error, DSTREAM_ERR_NOMEM, "no memory for input");
}

static enum dstream_code begin(struct once *w)
{
    const struct ds_write *c = w->c;
    w->supply = c->supply;
    enum dstream_code rc = c->supply ? DSTREAM_OK : begin_input(w);
    ds_fates_init(&w->fates, w->cli, w->supply, c->journal != NULL, !c->before);
    if (rc == DSTREAM_OK)
        rc = open_producer(w);
    if (rc != DSTREAM_OK)
        return rc;
    /* Then that is all that is done: who asked for it has to know before more is written. */
    if (has_untold(c->before))
        stop_supply(w, NULL);
    if (c->journal)
        ds_journal_forget(c->journal);
    return rc;
}

/* --- after ------------------------------------------------------------------------------------ */

static void add_count(struct ds_buf *b, uint64_t n, const char *what)
{
    ds_buf_addf(b, "%llu %s%s", (unsigned long long)n, what, n == 1 ? "" : "s");
}

static void say_written(struct once *w)
{
    struct ds_buf b;
    ds_buf_init(&b, 1024);
    if (w->supply->counted) {
        add_count(&b, dstream_producer_count(w->p, DSTREAM_COUNT_STORED), "message");
        ds_buf_adds(&b, ", ");
    }
    add_count(&b, dstream_producer_count(w->p, DSTREAM_COUNT_STORED_BYTES), "byte");
    ds_buf_addf(&b, ", epoch %llu",
                (unsigned long long)dstream_producer_count(w->p, DSTREAM_COUNT_EPOCH));
    if (ds_buf_str(&b))
        ds_cli_say(w->cli, "%s: written: %s", w->u->name, b.data);
    ds_buf_free(&b);
}

static int succeed(struct once *w)
{
    const struct ds_cli_options *o = &w->cli->opt;
    const char *end = dstream_producer_final_offset(w->p);
    struct ds_unary *u = w->u;
    if (!end || !end[0])
        end = dstream_producer_offset(w->p);
    if (o->print_offset && !end[0]) {
        if (ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT}) != DSTREAM_OK)
            return ds_cli_fail(w->cli, &u->error);
        end = u->result.next;
    }
    if (o->print_offset)
        (void)printf("%s\n", end);
    if (o->verbose > 0 || o->epoch_given)
        say_written(w);
    return ds_cli_flush(w->cli);
}

static int finish(struct once *w)
{
    const struct dstream_error *e = dstream_producer_error(w->p), *first = e;
    if (e->code == DSTREAM_OK && is_whole(w))
        return succeed(w);
    if (e->code != DSTREAM_OK)
        (void)ds_cli_fail(w->cli, e);
    if (w->earlier.code != DSTREAM_OK) {
        (void)ds_cli_fail(w->cli, &w->earlier);
        first = first->code == DSTREAM_OK ? &w->earlier : first;
    }
    const struct dstream_error *fed = supply_error(w);
    if (fed->code != DSTREAM_OK && !(w->refused && e->code != DSTREAM_OK)) {
        (void)ds_cli_fail(w->cli, fed);
        first = first->code == DSTREAM_OK ? fed : first;
    }
    if (first->code == DSTREAM_OK && w->gone)
        return DS_EXIT_OK; /* quietly: the signal says it */
    ds_fates_say(&w->fates);
    int tee_status = ds_cli_flush(w->cli);
    if (first->code != DSTREAM_OK)
        return ds_cli_ends_with(w->cli, first);
    return tee_status != DS_EXIT_OK ? tee_status : DS_EXIT_FAILURE;
}

int ds_write_once(const struct ds_write *c)
{
    struct once *w = ds_calloc(1, sizeof *w);
    int status;
    if (!w) {
        ds_error_set(&c->u->error, DSTREAM_ERR_NOMEM, "no memory for writing");
        return ds_cli_fail(c->u->cli, &c->u->error);
    }
    w->c = c;
    w->u = c->u;
    w->cli = c->u->cli;
    w->retry_at = DS_NEVER;
    if (begin(w) == DSTREAM_OK) {
        ds_status_start(&w->status, w->cli, w->u->loop, tell_status, w);
        run(w);
        ds_status_end(&w->status);
        status = finish(w);
    } else {
        status = ds_cli_fail(w->cli, &w->u->error);
    }
    (void)dstream_producer_free(w->p);
    ds_supply_input_free(&w->input);
    bool gone = w->gone && status == DS_EXIT_OK;
    ds_free(w);
    if (gone)
        ds_cli_die(SIGPIPE);
    return status;
}
