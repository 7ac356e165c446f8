/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/exporting.h"

#include <string.h>
#include <time.h>

/* For each microsecond that syncing takes, so many more without it. */
#define PAUSE 4
/* A commit that is so much overdue has been forgotten. */
#define OVERDUE_MS 30000

/* --- when to commit --------------------------------------------------------------------------- */

static int64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* In `ms` from now, but not before the pause is over, and never later than it was set for. */
static void arm(struct exporting *e, int64_t ms)
{
    int64_t pause = e->spent_us / 1000;
    int64_t at = ds_loop_now(e->run.loop) + (ms > pause ? ms : pause);
    if (e->sync.slot == 0 || at < e->sync.at)
        (void)ds_timer_set(e->run.loop, &e->sync, at);
}

static void fail(struct exporting *e, const struct dstream_error *err)
{
    if (e->error.code == DSTREAM_OK)
        e->error = *err;
    e->run.stop = true;
}

/* A commit of the directory has ended: those whose files have failed are over, and what waited for
 * it goes on. */
static void concluded(struct exporting *e)
{
    if (ds_exports_error(e->directory)->code != DSTREAM_OK)
        fail(e, ds_exports_error(e->directory));
    for (size_t i = 0; i < e->n; i++) {
        struct exported *x = &e->streams[i];
        if (!x->exporter || x->over)
            continue;
        if (ds_exporter_error(x->exporter)->code != DSTREAM_OK && x->s.error.code == DSTREAM_OK) {
            x->s.error = *ds_exporter_error(x->exporter);
            x->s.done = true;
        } else if (x->s.hold && !ds_exporter_waits(x->exporter) && !x->s.done) {
            x->s.hold = false;
            dstream_reader_resume(x->s.reader);
        }
    }
}

static bool any_waits(const struct exporting *e)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->streams[i].exporter && ds_exporter_waits(e->streams[i].exporter))
            return true;
    }
    return false;
}

/* Steps as long as they take no time worth a pause. */
static void step(struct exporting *e)
{
    bool more = true;
    e->spent_us = 0;
    while (more && e->spent_us < 1000) {
        int64_t before = clock_us();
        more = ds_exports_step(e->directory);
        e->spent_us += (clock_us() - before) * PAUSE;
    }
    ds_loop_update(e->run.loop);
    if (more) {
        arm(e, 0);
        return;
    }
    concluded(e);
    if (e->run.stop)
        return;
    if (any_waits(e)) /* since the commit has passed it by */
        arm(e, 0);
    else if (e->cli->opt.sync_ms >= 0 && ds_exports_due(e->directory))
        arm(e, e->cli->opt.sync_ms);
}

/* The time that the exporter of the only stream has said. */
static void rearm(struct exporting *e)
{
    int64_t due = ds_exporter_due(e->streams[0].exporter);
    if (due == DS_NEVER)
        ds_timer_stop(e->run.loop, &e->sync);
    else
        (void)ds_timer_set(e->run.loop, &e->sync, due);
}

static void on_sync(void *ctx)
{
    struct exporting *e = ctx;
    struct exported *x = &e->streams[0];
    e->synced = ds_loop_now(e->run.loop);
    if (e->directory) {
        step(e);
        return;
    }
    if (ds_exporter_tick(x->exporter, ds_loop_now(e->run.loop), &x->s.error) != DSTREAM_OK)
        e->run.stop = true;
    rearm(e);
}

static bool any_held(const struct exporting *e)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->streams[i].s.hold)
            return true;
    }
    return false;
}

/* A batch was taken, or waits: sees to it that it is committed in time. */
static void see_to_commit(struct exported *x)
{
    struct exporting *e = x->all;
    if (!e->directory)
        rearm(e);
    else if (x->s.hold || ds_exporter_waits(x->exporter) ||
             (e->cli->opt.sync_ms < 0 && any_held(e)))
        arm(e, 0); /* where a commit by size or batch was for others too, they go on after that */
    else if (ds_exporter_due(x->exporter) != DS_NEVER && e->sync.slot == 0)
        arm(e, e->cli->opt.sync_ms);
}

/* --- segments --------------------------------------------------------------------------------- */

/* The timer is for the one that is due first. */
static void see_to_rotation(struct exported *x)
{
    struct exporting *e = x->all;
    int64_t due = ds_exporter_seal_due(x->exporter, ds_loop_now(e->run.loop));
    if (due != DS_NEVER && (e->rotate.slot == 0 || due < e->rotate.at))
        (void)ds_timer_set(e->run.loop, &e->rotate, due);
}

static void seal(struct exported *x)
{
    if (ds_exporter_seal(x->exporter, &x->s.error) != DSTREAM_OK)
        x->s.done = true;
    see_to_commit(x);
}

static void on_rotate(void *ctx)
{
    struct exporting *e = ctx;
    int64_t now = ds_loop_now(e->run.loop);
    for (size_t i = 0; i < e->n; i++) {
        struct exported *x = &e->streams[i];
        if (!x->exporter || x->over || x->s.done)
            continue;
        if (ds_exporter_seal_due(x->exporter, now) <= now)
            seal(x);
        see_to_rotation(x);
    }
}

/* --- by signal -------------------------------------------------------------------------------- */

static void commit_now(struct exporting *e)
{
    struct exported *x = &e->streams[0];
    for (size_t i = 0; e->rotates && i < e->n; i++) {
        if (e->streams[i].exporter && !e->streams[i].over)
            seal(&e->streams[i]);
    }
    if (!e->directory) {
        if (ds_exporter_commit(x->exporter, &x->s.error) != DSTREAM_OK)
            e->run.stop = true;
        rearm(e);
        return;
    }
    (void)ds_exports_commit(e->directory, &e->error);
    concluded(e);
}

/* --- batches ---------------------------------------------------------------------------------- */

static void note_taken(struct exported *x, const dstream_batch *b, uint64_t before)
{
    struct ds_witness witness;
    struct ds_exporter_totals now = ds_exporter_totals(x->exporter);
    x->s.up_to_date = (b->flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED)) &&
                      now.skip == 0 && strcmp(now.offset, b->next) == 0;
    x->s.closed = now.closed;
    if (now.bytes > before)
        ds_run_took_data(&x->all->run);
    (void)ds_exporter_seen(x->exporter, &witness);
    ds_client_set_witness(x->s.reader, &witness);
}

static enum dstream_code take(void *ctx, struct ds_source *s, const dstream_batch *b)
{
    struct exported *x = ctx;
    struct exporting *e = x->all;
    bool stop;
    uint64_t before = ds_exporter_totals(x->exporter).bytes;
    enum dstream_code rc = ds_exporter_take(x->exporter, dstream_reader_content_type(s->reader), b,
                                            ds_loop_now(e->run.loop), &stop, &s->error);
    s->hold = rc == DSTREAM_OK && ds_exporter_holds(x->exporter);
    see_to_commit(x);
    see_to_rotation(x);
    if (s->hold)
        return DSTREAM_OK;
    if (rc != DSTREAM_OK) {
        /* What ends all of them is not said once more of this one. */
        if (e->directory && ds_exports_error(e->directory)->code != DSTREAM_OK) {
            fail(e, ds_exports_error(e->directory));
            ds_error_clear(&s->error);
        }
        return rc;
    }
    note_taken(x, b, before);
    if (!stop)
        return DSTREAM_OK;
    s->done = true;
    return DSTREAM_ERR_CANCELLED;
}

/* --- running ---------------------------------------------------------------------------------- */

bool ds_exporting_overdue(int64_t due, int64_t synced, int64_t now)
{
    return due != DS_NEVER && now - (due > synced ? due : synced) > OVERDUE_MS;
}

static void tell(void *ctx, struct ds_status_now *out)
{
    struct exporting *e = ctx;
    size_t i = 0;
    while (i + 1 < e->n && e->streams[i].over)
        i++;
    ds_source_tell(&e->streams[i].s, out);
    for (size_t k = 0; k < e->n; k++) {
        ds_source_count(&e->streams[k].s, e->n, out);
        if (!e->streams[k].exporter)
            continue;
        if (!e->streams[k].over)
            out->stuck |= ds_exporting_overdue(ds_exporter_due(e->streams[k].exporter), e->synced,
                                               ds_loop_now(e->run.loop));
        struct ds_exporter_totals t = ds_exporter_totals(e->streams[k].exporter);
        out->bytes += t.bytes;
        out->messages += t.messages;
        if (e->n == 1)
            out->offset = t.offset;
    }
}

static void start(struct exported *x)
{
    struct ds_source_start at = {.recheck = true};
    x->s.closed = ds_exporter_totals(x->exporter).closed;
    if (ds_exporter_close(x->exporter, &x->s.error) && x->all->directory)
        see_to_commit(x); /* it has to wait for it; there is nothing to be read */
    if (x->s.error.code != DSTREAM_OK || ds_exporter_waits(x->exporter)) {
        x->s.done = true;
        x->s.whole = x->s.up_to_date = x->s.error.code == DSTREAM_OK;
        return;
    }
    if (ds_exporter_complete(x->exporter)) {
        if (!x->all->directory || x->all->cli->opt.verbose > 0)
            ds_cli_say(x->all->cli, "%s: complete: the stream is closed, and all of it is in %s%s",
                       x->s.name, x->all->rotates ? "segments of " : "",
                       x->file ? x->file : x->all->cli->opt.output);
        x->complete = true;
        x->s.done = x->s.whole = x->s.up_to_date = x->over = true;
        x->all->busy--;
        return;
    }
    at.offset = ds_exporter_offset(x->exporter, &at.skip);
    at.content_type = ds_exporter_seen(x->exporter, &at.witness);
    at.seen = at.content_type != NULL;
    (void)ds_source_start(&x->s, &at, take, x);
}

/* Its reading is over: what was written before it is good, and is committed. */
static void settle(struct exported *x)
{
    struct ds_source *s = &x->s;
    struct dstream_error later = {0};
    ds_source_stop(s);
    if (x->exporter && s->error.code != DSTREAM_OK)
        (void)ds_exporter_finish(x->exporter, false, &later);
    else if (x->exporter)
        (void)ds_exporter_finish(x->exporter, s->whole, &s->error);
    if (later.code != DSTREAM_OK)
        ds_cli_warn(x->all->cli, "%s", later.message);
}

/* One of several has ended; the others go on. */
static void see_to_ended(struct exporting *e)
{
    for (size_t i = 0; i < e->n; i++) {
        struct exported *x = &e->streams[i];
        if (x->over || !x->s.done)
            continue;
        x->over = true;
        x->s.hold = false;
        e->busy--;
        settle(x);
        if (!e->directory)
            continue;
        if (x->s.error.code != DSTREAM_OK)
            (void)ds_cli_fail(e->cli, &x->s.error);
        else if (e->cli->opt.sync_ms >= 0 && e->sync.slot == 0 && ds_exports_due(e->directory))
            arm(e, e->cli->opt.sync_ms);
    }
}

/* The last commits: what the first of them makes, the next one syncs. */
static void commit_last(struct exporting *e)
{
    for (size_t i = 0; i < e->n; i++) {
        struct exported *x = &e->streams[i];
        if (!x->over)
            settle(x);
        x->over = true;
    }
    struct dstream_error err = {0};
    for (int tries = 0; e->directory && tries < 3 && ds_exports_due(e->directory); tries++) {
        enum dstream_code rc = ds_exports_commit(e->directory, &err);
        concluded(e);
        if (rc != DSTREAM_OK)
            break;
    }
}

void ds_exporting_run(struct exporting *e)
{
    e->sync.fire = on_sync;
    e->rotate.fire = on_rotate;
    e->sync.ctx = e->rotate.ctx = e;
    e->busy = e->n;
    ds_run_arm(&e->run, tell, e);
    for (size_t i = 0; i < e->n && !e->run.stop; i++) {
        if (e->streams[i].exporter)
            start(&e->streams[i]);
    }
    see_to_ended(e);
    while (e->busy > 0 && !e->run.stop) {
        bool hup;
        enum dstream_code rc = ds_run_turn(&e->run, &hup, &e->error);
        if (rc == DSTREAM_OK && hup)
            commit_now(e);
        see_to_ended(e);
    }
    ds_status_end(&e->run.status);
    commit_last(e);
}
