/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All streams share the database's one transaction. It begins with the first batch after a commit,
 * and ends with the positions of all that have moved since, so that whatever survives, rows and
 * positions fit each other. Nothing is made, and no row is touched, before a reader has delivered
 * something: by then it has found the witness again.
 *
 * Where another program keeps the database locked, batches are held and it is tried again, for so
 * long as the limit has it; the loop turns meanwhile.
 */
#include "config.h"

#include "cli/into_sqlite.h"

#include <string.h>

#include "base/alloc.h"
#include "cli/format.h"
#include "cli/run.h"
#include "cli/signals.h"
#include "cli/span.h"
#include "cli/wall.h"
#include "store/sqlite.h"

#define AGAIN_MS 50   /* until a database that was locked is tried again */
#define MOST_MS  1000 /* that a transaction waits for data to make it large enough */

struct filling;

struct filled {
    struct ds_source s;
    struct filling *all;
    struct ds_sqlite_stream in; /* `in.at` as of the last batch */
    struct ds_witness_keeper keeper;
    struct ds_left left;
    bool resumed;
    bool confirmed; /* it is in the database, or in the transaction */
    bool moved;     /* since the last commit */
    bool over;      /* what became of it was seen to */
    bool complete;  /* an earlier run has left nothing to do */
    uint64_t bytes, messages;
};

struct filling {
    struct ds_cli *cli;
    struct ds_run run;
    struct filled *streams;
    size_t n, busy;
    struct ds_sqlite *db;
    const char *table;
    uint64_t fresh; /* bytes of streams that are not committed */
    struct ds_timer sync, again;
    bool begun;           /* there is something to commit */
    int64_t locked_since; /* by another program; DS_NEVER: it is not */
    struct dstream_error error;
};

/* --- waiting for others ----------------------------------------------------------------------- */

static void fail(struct filling *e, const struct dstream_error *err)
{
    if (e->error.code == DSTREAM_OK)
        e->error = *err;
    e->run.stop = true;
}

/* Whether it is to be tried again, which is seen to. */
static bool wait_for_others(struct filling *e)
{
    int64_t now = ds_loop_now(e->run.loop);
    if (e->locked_since == DS_NEVER)
        e->locked_since = now;
    if (now - e->locked_since >= e->cli->limits.db_locked)
        return false;
    (void)ds_timer_set(e->run.loop, &e->again, now + AGAIN_MS);
    return true;
}

static void others_done(struct filling *e)
{
    e->locked_since = DS_NEVER;
    ds_timer_stop(e->run.loop, &e->again);
    for (size_t i = 0; i < e->n; i++) {
        struct ds_source *s = &e->streams[i].s;
        if (!s->hold || s->done)
            continue;
        s->hold = false;
        dstream_reader_resume(s->reader);
    }
}

/* --- committing ------------------------------------------------------------------------------- */

static enum dstream_code try_commit(struct filling *e, struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < e->n && rc == DSTREAM_OK; i++) {
        struct filled *x = &e->streams[i];
        if (x->moved)
            rc = ds_sqlite_put(e->db, &x->in, err);
        x->moved = x->moved && rc != DSTREAM_OK;
    }
    return rc == DSTREAM_OK ? ds_sqlite_commit(e->db, err) : rc;
}

/* By a transaction others are kept from writing, and do not see what is in it: one that waits for
 * more data ends all the same. */
static void see_to_commit(struct filling *e)
{
    int64_t ms = e->cli->opt.sync_ms >= 0 ? e->cli->opt.sync_ms : MOST_MS;
    if (e->sync.slot == 0)
        (void)ds_timer_set(e->run.loop, &e->sync, ds_later(ds_loop_now(e->run.loop), ms));
}

static void commit(struct filling *e)
{
    struct dstream_error err = {0};
    if (!e->begun)
        return;
    ds_timer_stop(e->run.loop, &e->sync);
    enum dstream_code rc = try_commit(e, &err);
    if (rc == DSTREAM_ERR_LOCKED && wait_for_others(e))
        return;
    if (rc != DSTREAM_OK) {
        fail(e, &err);
        return;
    }
    e->begun = false;
    e->fresh = 0;
    others_done(e);
}

static void on_sync(void *ctx)
{
    commit(ctx);
}

static void on_again(void *ctx)
{
    struct filling *e = ctx;
    struct dstream_error err = {0};
    if (e->begun) {
        commit(e);
        return;
    }
    enum dstream_code rc = ds_sqlite_begin(e->db, &err);
    if (rc == DSTREAM_ERR_LOCKED && wait_for_others(e))
        return;
    if (rc != DSTREAM_OK) {
        fail(e, &err);
        return;
    }
    e->begun = true;
    see_to_commit(e);
    others_done(e);
}

static void commit_by_policy(struct filling *e)
{
    const struct ds_cli_options *o = &e->cli->opt;
    if (o->sync_batch || (o->sync_bytes > 0 && e->fresh >= o->sync_bytes))
        commit(e);
    else
        see_to_commit(e);
}

/* --- batches ---------------------------------------------------------------------------------- */

/* The rows of one batch. */
struct rows {
    const dstream_batch *b;
    const struct ds_span *span;
    char received[DS_TIME_SIZE];
    struct ds_buf text; /* a message without the line breaks between its tokens */
};

static enum dstream_code add(void *ctx, const void *p, size_t n)
{
    return ds_buf_add(ctx, p, n);
}

static enum dstream_code take_message(struct rows *r, const char *p, size_t n,
                                      struct ds_sqlite_row *row)
{
    struct ds_json_out o;
    row->data = p;
    row->len = n;
    if (!memchr(p, '\n', n) && !memchr(p, '\r', n))
        return DSTREAM_OK;
    r->text.len = 0;
    ds_json_out_begin(&o, add, &r->text);
    ds_json_out_message(&o, p, n);
    row->data = r->text.data;
    row->len = r->text.len;
    return ds_json_out_end(&o);
}

static enum dstream_code get_row(void *ctx, size_t i, struct ds_sqlite_row *row)
{
    struct rows *r = ctx;
    const struct ds_items *items = r->b->items;
    size_t at = r->span->first + i, n;
    row->offset = r->b->start;
    row->received = r->received;
    row->index = r->b->skip + i; /* the first one that is taken is unit `skip` of the answer */
    row->text = r->span->json;
    if (r->span->json) {
        const char *p = ds_items_get(items, at, &n);
        return take_message(r, p, n, row);
    }
    row->data = items->bytes.data + r->span->first;
    row->len = r->span->take - r->span->first;
    return DSTREAM_OK;
}

static enum dstream_code insert(struct filled *x, const dstream_batch *b, const struct ds_span *s,
                                struct dstream_error *err)
{
    struct rows r = {.b = b, .span = s};
    size_t units = s->take - s->first;
    if (units == 0)
        return DSTREAM_OK;
    ds_print_time(ds_wall_now(), r.received);
    ds_buf_init(&r.text, SIZE_MAX);
    enum dstream_code rc =
        ds_sqlite_insert(x->all->db, &x->in, s->json ? units : 1, get_row, &r, err);
    ds_buf_free(&r.text);
    return rc;
}

/* The stream is the one that is known, and is read from `b` on: its row is made, or made anew. */
static enum dstream_code confirm(struct filled *x, const dstream_batch *b,
                                 struct dstream_error *err)
{
    struct ds_sqlite_stream *in = &x->in;
    const char *from = strcmp(b->start, "now") == 0 ? b->next : b->start;
    if (x->confirmed)
        return DSTREAM_OK;
    strcpy(in->at.from_offset, from);
    strcpy(in->at.offset, from);
    in->at.skip = b->skip;
    enum dstream_code rc = in->id != 0 && x->all->cli->opt.overwrite
                               ? ds_sqlite_clear(x->all->db, in, err)
                               : DSTREAM_OK;
    if (rc == DSTREAM_OK)
        rc = ds_sqlite_put(x->all->db, in, err);
    x->confirmed = rc == DSTREAM_OK;
    x->moved = true;
    return rc;
}

static bool says_more(const struct filled *x, const dstream_batch *b, const struct ds_span *s)
{
    return !x->confirmed || s->take > s->first ||
           (s->take == s->end && !(b->flags & DSTREAM_BATCH_PARTIAL) &&
            (strcmp(b->next, x->in.at.offset) != 0 || (b->flags & DSTREAM_BATCH_CLOSED)));
}

/* Where it cannot be now, but later, the batch is held. */
static enum dstream_code put_batch(struct filled *x, const dstream_batch *b,
                                   const struct ds_span *s, struct dstream_error *err)
{
    struct filling *e = x->all;
    enum dstream_code rc =
        e->locked_since == DS_NEVER ? ds_sqlite_begin(e->db, err) : DSTREAM_ERR_LOCKED;
    if (rc == DSTREAM_ERR_LOCKED)
        x->s.hold = e->locked_since != DS_NEVER || wait_for_others(e);
    if (rc != DSTREAM_OK)
        return rc;
    e->begun = true;
    rc = confirm(x, b, err);
    if (rc == DSTREAM_OK)
        rc = insert(x, b, s, err);
    return rc;
}

static enum dstream_code check_exact(const struct filled *x, const char *content_type,
                                     struct dstream_error *err)
{
    return ds_format_exact(ds_cli_live(&x->all->cli->opt) == DSTREAM_LIVE_SSE, content_type, err);
}

static enum dstream_code check(struct filled *x, const char *content_type, bool json,
                               struct dstream_error *err)
{
    enum dstream_code rc = check_exact(x, content_type, err);
    if (rc == DSTREAM_OK && x->left.has_count && !json)
        rc = ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                          "--count counts messages, which only JSON streams have: use --bytes");
    ds_checkpoint_set_type(&x->in.at, content_type);
    return rc;
}

static void note_taken(struct filled *x, const dstream_batch *b, const struct ds_span *s)
{
    struct ds_witness w;
    x->bytes += s->bytes;
    x->messages += s->messages;
    x->all->fresh += s->bytes;
    x->s.closed = x->in.at.closed;
    x->s.up_to_date =
        s->take == s->end && (b->flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED));
    if (s->bytes > 0)
        ds_run_took_data(&x->all->run);
    ds_span_witness(&x->in.at, &w);
    ds_client_set_witness(x->s.reader, &w);
}

/* An error of the database ends everything; a row that cannot be only its stream. */
static enum dstream_code refused(struct filled *x, enum dstream_code rc,
                                 const struct dstream_error *err)
{
    if (x->s.hold)
        return DSTREAM_OK;
    if (rc == DSTREAM_ERR_STATE_MISMATCH && x->confirmed)
        x->s.error = *err;
    else
        fail(x->all, err);
    return rc;
}

static enum dstream_code take(void *ctx, struct ds_source *source, const dstream_batch *b)
{
    struct filled *x = ctx;
    struct filling *e = x->all;
    struct dstream_error err = {0};
    struct ds_span s = ds_span_of(b, &x->left);
    enum dstream_code rc =
        check(x, dstream_reader_content_type(source->reader), s.json, &source->error);
    if (rc != DSTREAM_OK)
        return rc;
    bool more = says_more(x, b, &s), anew = !x->confirmed && strcmp(x->in.at.from, "now") == 0;
    if (more)
        rc = put_batch(x, b, &s, &err);
    if (rc != DSTREAM_OK)
        return refused(x, rc, &err);
    if (more) {
        ds_span_advance(&s, b, &x->in.at, &x->keeper);
        x->moved = true;
    }
    note_taken(x, b, &s);
    if (more && anew) /* where "now" was must not be lost, or what came since is */
        commit(e);
    else if (more)
        commit_by_policy(e);
    if (!ds_span_spend(&s, &x->left))
        return DSTREAM_OK;
    source->done = true;
    return DSTREAM_ERR_CANCELLED;
}

/* --- running ---------------------------------------------------------------------------------- */

static void tell(void *ctx, struct ds_status_now *out)
{
    struct filling *e = ctx;
    size_t i = 0;
    while (i + 1 < e->n && e->streams[i].over)
        i++;
    ds_source_tell(&e->streams[i].s, out);
    for (size_t k = 0; k < e->n; k++) {
        ds_source_count(&e->streams[k].s, e->n, out);
        out->bytes += e->streams[k].bytes;
        out->messages += e->streams[k].messages;
    }
    if (e->n == 1)
        out->offset = e->streams[0].in.at.offset;
}

static void start(struct filled *x)
{
    struct filling *e = x->all;
    struct ds_source_start at = {.offset = x->in.at.offset,
                                 .skip = x->in.at.skip,
                                 .seen = x->resumed,
                                 .content_type = x->in.at.content_type,
                                 .recheck = true};
    if (x->s.done)
        return;
    if (x->resumed && x->in.at.closed) {
        if (e->n == 1 || e->cli->opt.verbose > 0)
            ds_cli_say(e->cli, "%s: complete: the stream is closed, and all of it is in table %s",
                       x->s.name, e->table);
        x->complete = x->s.closed = x->s.done = x->s.whole = x->s.up_to_date = true;
        return;
    }
    ds_span_witness(&x->in.at, &at.witness);
    (void)ds_source_start(&x->s, &at, take, x);
}

/* Those that have ended; the others go on. */
static void see_to_ended(struct filling *e)
{
    for (size_t i = 0; i < e->n; i++) {
        struct filled *x = &e->streams[i];
        if (x->over || !x->s.done)
            continue;
        x->over = true;
        x->s.hold = false;
        e->busy--;
        ds_source_stop(&x->s);
        if (e->n > 1 && x->s.error.code != DSTREAM_OK)
            (void)ds_cli_fail(e->cli, &x->s.error);
    }
}

/* What was taken before it is good, whatever has ended the reading. */
static void commit_last(struct filling *e)
{
    for (size_t i = 0; i < e->n; i++)
        ds_source_stop(&e->streams[i].s);
    struct dstream_error err = {0};
    int64_t until = ds_later(ds_loop_update(e->run.loop), e->cli->limits.db_locked);
    enum dstream_code rc = DSTREAM_OK;
    if (e->begun && e->error.code == DSTREAM_OK) {
        do
            rc = try_commit(e, &err);
        while (rc == DSTREAM_ERR_LOCKED && ds_loop_update(e->run.loop) < until);
    }
    if (rc != DSTREAM_OK)
        fail(e, &err);
}

static void fill(struct filling *e)
{
    e->sync.fire = on_sync;
    e->again.fire = on_again;
    e->sync.ctx = e->again.ctx = e;
    e->busy = e->n;
    ds_run_arm(&e->run, tell, e);
    for (size_t i = 0; i < e->n && !e->run.stop; i++)
        start(&e->streams[i]);
    see_to_ended(e);
    while (e->busy > 0 && !e->run.stop) {
        bool hup;
        enum dstream_code rc = ds_run_turn(&e->run, &hup, &e->error);
        if (rc == DSTREAM_OK && hup)
            commit(e);
        see_to_ended(e);
    }
    ds_status_end(&e->run.status);
    commit_last(e);
}

/* --- setting up ------------------------------------------------------------------------------- */

int ds_into_sqlite_check(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    const struct {
        bool given;
        const char *name;
    } others[] = {
        {o->output != NULL, "--output"},         {o->directory != NULL, "--directory"},
        {o->state != NULL, "--state"},           {o->format_given, "--format"},
        {o->pack != DS_PACK_NONE, "--compress"}, {o->rotate_size > 0, "--rotate-size"},
        {o->rotate_time >= 0, "--rotate-time"},  {o->rotate_name != NULL, "--rotate-name"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (others[i].given)
            return ds_cli_usage(c, "%s is not for --sqlite", others[i].name);
    }
    if (o->table && !ds_sqlite_table_valid(o->table))
        return ds_cli_usage(c, "--table %s: that name is not to be had: give another", o->table);
    return DS_EXIT_OK;
}

/* Another run has it in the database, which is gone on from. */
static enum dstream_code go_on(struct filled *x, struct dstream_error *err)
{
    const struct ds_cli_options *o = &x->all->cli->opt;
    struct ds_checkpoint_ask ask = {
        .url = x->s.url.data, .from = o->from, .from_skip = o->from_skip};
    x->resumed = x->confirmed = true;
    enum dstream_code rc = ds_checkpoint_fits(&x->in.at, &ask, o->sqlite, err);
    return rc == DSTREAM_OK ? check_exact(x, x->in.at.content_type, err) : rc;
}

/* Its position is to be forgotten, but its rows cannot just lie there. */
static enum dstream_code forget(struct filled *x, struct dstream_error *err)
{
    const struct ds_cli_options *o = &x->all->cli->opt;
    if (x->in.has_rows && !o->overwrite && !o->append)
        return ds_error_set(err, DSTREAM_ERR_EXISTS,
                            "%s: rows of %.200s are in %.100s: give --overwrite, which removes "
                            "them, or --append",
                            o->sqlite, x->s.name, x->all->table);
    memset(&x->in.at, 0, sizeof x->in.at);
    return DSTREAM_OK;
}

static enum dstream_code find(struct filled *x, struct dstream_error *err)
{
    const struct ds_cli_options *o = &x->all->cli->opt;
    struct ds_checkpoint *asked = ds_calloc(1, sizeof *asked);
    enum dstream_code rc = DSTREAM_ERR_NOMEM;
    if (asked)
        rc = ds_checkpoint_begin(asked, x->s.url.data, o->from, o->from_skip, err);
    if (rc == DSTREAM_OK)
        rc = ds_sqlite_find(x->all->db, asked->url, &x->in, err);
    bool known = x->in.id != 0;
    if ((rc == DSTREAM_OK || rc == DSTREAM_ERR_STATE_CORRUPT) && known && o->reset) {
        ds_error_clear(err);
        rc = forget(x, err);
        known = false;
    }
    if (rc == DSTREAM_OK && known)
        rc = go_on(x, err);
    else if (rc == DSTREAM_OK)
        x->in.at = *asked;
    ds_free(asked);
    return rc;
}

static enum dstream_code check_twice(const struct filling *e, struct dstream_error *err)
{
    for (size_t i = 0; i < e->n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (*e->streams[i].in.at.url &&
                strcmp(e->streams[i].in.at.url, e->streams[k].in.at.url) == 0)
                return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                                    "%s and %s are the same stream to a database: leave one out",
                                    e->streams[k].s.name, e->streams[i].s.name);
        }
    }
    return DSTREAM_OK;
}

static enum dstream_code name_stream(struct filling *e, size_t i, struct dstream_error *err)
{
    const struct ds_cli_options *o = &e->cli->opt;
    struct filled *x = &e->streams[i];
    x->all = e;
    x->left = ds_run_left(o);
    enum dstream_code rc = ds_source_name(&x->s, &e->run, e->cli->args[i], err);
    if (rc == DSTREAM_OK && ds_witness_begin(&x->keeper, e->cli->limits.max_witness) != DSTREAM_OK)
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for so many streams");
    return rc;
}

static enum dstream_code open_all(struct filling *e, struct dstream_error *err)
{
    struct ds_sqlite_options o = {
        .ops = e->cli->fileops, .path = e->cli->opt.sqlite, .table = e->table};
    enum dstream_code rc = ds_run_files(e->n, 1, err);
    if (rc == DSTREAM_OK)
        rc = ds_sqlite_open(&e->db, &o, err);
    for (size_t i = 0; i < e->n && rc == DSTREAM_OK; i++) {
        struct filled *x = &e->streams[i];
        /* One that is not as it should be does not keep the others from going on. */
        x->s.done = find(x, &x->s.error) != DSTREAM_OK;
    }
    return rc == DSTREAM_OK ? check_twice(e, err) : rc;
}

static enum dstream_code set_up(struct filling *e, struct dstream_error *err)
{
    enum dstream_code rc = ds_run_begin(&e->run, e->cli, err);
    e->locked_since = DS_NEVER;
    e->table = e->cli->opt.table ? e->cli->opt.table : DS_SQLITE_TABLE;
    e->streams = ds_calloc(e->cli->nargs + 1, sizeof *e->streams);
    if (rc == DSTREAM_OK && !e->streams)
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for so many streams");
    for (size_t i = 0; i < e->cli->nargs && rc == DSTREAM_OK; i++) {
        e->n++;
        rc = name_stream(e, i, err);
    }
    return rc == DSTREAM_OK ? open_all(e, err) : rc;
}

static void tear_down(struct filling *e)
{
    for (size_t i = 0; i < e->n; i++) {
        ds_source_free(&e->streams[i].s);
        ds_witness_end(&e->streams[i].keeper);
    }
    ds_sqlite_free(e->db);
    ds_free(e->streams);
    if (e->run.loop) {
        ds_timer_stop(e->run.loop, &e->sync);
        ds_timer_stop(e->run.loop, &e->again);
    }
    ds_run_end(&e->run);
}

static int finish_one(struct filling *e)
{
    const struct filled *x = &e->streams[0];
    if (e->error.code != DSTREAM_OK)
        return ds_cli_fail(e->cli, &e->error);
    if (x->s.error.code != DSTREAM_OK)
        return ds_cli_fail(e->cli, &x->s.error);
    if (!x->complete)
        ds_source_say_position(&x->s, x->in.at.offset, x->in.at.skip, x->in.at.closed,
                               "the same command goes on at");
    return ds_source_satisfies(&x->s, x->s.closed) ? DS_EXIT_OK : ds_run_unsatisfied(&e->run);
}

int ds_into_sqlite(struct ds_cli *c)
{
    struct filling e = {.cli = c};
    struct dstream_error err = {0};
    int status;
    if (set_up(&e, &err) == DSTREAM_OK) {
        fill(&e);
        status = e.n == 1 ? finish_one(&e)
                          : ds_run_summary(&e.run, &e.streams->s, sizeof *e.streams, e.n, &e.error);
    } else {
        status = ds_cli_fail(c, &err);
    }
    tear_down(&e);
    return status;
}
