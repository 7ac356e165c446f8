/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream export: one stream into one file with its checkpoint, each byte once over any crash; and
 * dstream record, which is the same with lines that tell of the answers.
 *
 * The order of things is what makes it safe. The locks and the comparison of the file with its
 * state come before any request. The reader finds the checkpoint's witness again before it delivers
 * anything, and only the first delivery makes the file ready: creates it behind a first state, or
 * cuts it back. So where the stream is another one, or no longer there, nothing is touched.
 */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#include "cli/exporter.h"
#include "cli/recorder.h"
#include "cli/run.h"
#include "cli/signals.h"

struct exporting {
    struct ds_cli *cli;
    struct ds_run run;
    struct ds_source source;
    struct ds_exporter *exporter;
    struct ds_timer sync;
    struct ds_recorder recorder; /* of record */
    struct ds_exporter_form form;
};

/* --- committing ------------------------------------------------------------------------------- */

static void rearm_sync(struct exporting *e)
{
    int64_t due = ds_exporter_due(e->exporter);
    if (due == DS_NEVER)
        ds_timer_stop(e->run.loop, &e->sync);
    else
        (void)ds_timer_set(e->run.loop, &e->sync, due);
}

static void committed(struct exporting *e, enum dstream_code rc)
{
    if (rc != DSTREAM_OK)
        e->run.stop = true;
    rearm_sync(e);
}

static void on_sync(void *ctx)
{
    struct exporting *e = ctx;
    committed(e, ds_exporter_tick(e->exporter, ds_loop_now(e->run.loop), &e->source.error));
}

/* --- batches ---------------------------------------------------------------------------------- */

static enum dstream_code take(void *ctx, struct ds_source *s, const dstream_batch *b)
{
    struct exporting *e = ctx;
    bool stop;
    struct ds_witness witness;
    uint64_t before = ds_exporter_totals(e->exporter).bytes;
    enum dstream_code rc = ds_exporter_take(e->exporter, dstream_reader_content_type(s->reader), b,
                                            ds_loop_now(e->run.loop), &stop, &s->error);
    committed(e, rc);
    if (rc != DSTREAM_OK)
        return rc;
    struct ds_exporter_totals now = ds_exporter_totals(e->exporter);
    s->up_to_date = (b->flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED)) &&
                    now.skip == 0 && strcmp(now.offset, b->next) == 0;
    if (now.bytes > before)
        ds_run_took_data(&e->run);
    (void)ds_exporter_seen(e->exporter, &witness);
    ds_client_set_witness(s->reader, &witness);
    if (stop)
        e->run.stop = true;
    return DSTREAM_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

static void tell(void *ctx, struct ds_status_now *out)
{
    struct exporting *e = ctx;
    struct ds_exporter_totals t = ds_exporter_totals(e->exporter);
    ds_source_tell(&e->source, out);
    out->bytes = t.bytes;
    out->messages = t.messages;
    out->offset = t.offset;
}

static void start(struct exporting *e)
{
    struct ds_source_start at = {.recheck = true};
    at.offset = ds_exporter_offset(e->exporter, &at.skip);
    at.content_type = ds_exporter_seen(e->exporter, &at.witness);
    at.seen = at.content_type != NULL;
    (void)ds_source_start(&e->source, &at, take, e);
}

static void run(struct exporting *e)
{
    ds_run_arm(&e->run, tell, e);
    start(e);
    while (!e->source.done && !e->run.stop) {
        bool hup;
        enum dstream_code rc = ds_run_turn(&e->run, &hup, &e->source.error);
        if (rc == DSTREAM_OK && hup)
            committed(e, ds_exporter_commit(e->exporter, &e->source.error));
    }
    ds_source_stop(&e->source);
}

/* Whatever ended the reading, what was written before it is good and is committed. */
static int finish(struct exporting *e)
{
    struct ds_source *s = &e->source;
    struct dstream_error later = {0};
    ds_status_end(&e->run.status);
    if (s->error.code != DSTREAM_OK)
        (void)ds_exporter_finish(e->exporter, false, &later);
    else
        (void)ds_exporter_finish(e->exporter, s->whole, &s->error);
    if (later.code != DSTREAM_OK)
        ds_cli_warn(e->cli, "%s", later.message);
    if (s->error.code != DSTREAM_OK)
        return ds_cli_fail(e->cli, &s->error);
    struct ds_exporter_totals t = ds_exporter_totals(e->exporter);
    ds_source_say_position(s, t.offset, t.skip, t.closed, "the same command goes on at");
    return ds_source_satisfies(s, t.closed) ? DS_EXIT_OK : ds_run_unsatisfied(&e->run);
}

static int run_and_finish(struct exporting *e)
{
    if (ds_exporter_complete(e->exporter)) {
        ds_cli_say(e->cli, "%s: complete: the stream is closed, and all of it is in %s",
                   e->source.name, ds_exporter_path(e->exporter));
        return DS_EXIT_OK;
    }
    run(e);
    return finish(e);
}

/* --- setting up ------------------------------------------------------------------------------- */

static int check_options(struct ds_cli *c)
{
    int rc = ds_cli_check_range(c);
    if (rc != DS_EXIT_OK)
        return rc;
    if (c->nargs != 1)
        return ds_cli_usage(c, c->nargs == 0 ? "no stream is named" : "one stream is all it takes");
    if (!c->opt.output)
        return ds_cli_usage(c, "no file is named: give --output FILE");
    return DS_EXIT_OK;
}

static bool records(const struct exporting *e)
{
    return e->cli->opt.command == DS_CMD_RECORD;
}

static void set_up_recorder(struct exporting *e)
{
    ds_recorder_init(&e->recorder, e->source.url.data);
    ds_recorder_form(&e->recorder, &e->form);
    e->source.on_head = ds_recorder_head;
    e->source.head_ctx = &e->recorder;
}

static enum dstream_code set_up(struct exporting *e, struct dstream_error *err)
{
    const struct ds_cli_options *o = &e->cli->opt;
    enum dstream_code rc = ds_run_begin(&e->run, e->cli, err);
    if (rc == DSTREAM_OK)
        rc = ds_source_name(&e->source, &e->run, e->cli->args[0], err);
    if (rc != DSTREAM_OK)
        return rc;
    if (records(e))
        set_up_recorder(e);
    struct ds_exporter_config c = {
        .file = {.ops = e->cli->fileops,
                 .path = o->output,
                 .state = o->state,
                 .overwrite = o->overwrite,
                 .append = o->append,
                 .reset = o->reset},
        .url = e->source.url.data,
        .format = o->format,
        .form = records(e) ? &e->form : NULL,
        .sse = ds_cli_live(o) == DSTREAM_LIVE_SSE,
        .from = o->from,
        .from_skip = o->from_skip,
        .left = {.has_count = o->has_count,
                 .has_bytes = o->has_bytes,
                 .count = o->count,
                 .bytes = o->bytes},
        .sync_ms = o->sync_ms,
        .sync_bytes = o->sync_bytes,
        .sync_batch = o->sync_batch,
        .max_witness = e->cli->limits.max_witness,
    };
    rc = ds_exporter_open(&e->exporter, &c, err);
    if (rc == DSTREAM_OK && records(e))
        rc = ds_recorder_start(&e->recorder, e->exporter, ds_loop_update(e->run.loop), err);
    return rc;
}

int ds_cmd_export(struct ds_cli *c)
{
    int status = check_options(c);
    if (status != DS_EXIT_OK)
        return status;
    struct exporting e = {.cli = c};
    struct dstream_error err = {0};
    e.sync.fire = on_sync;
    e.sync.ctx = &e;
    status = set_up(&e, &err) == DSTREAM_OK ? run_and_finish(&e) : ds_cli_fail(c, &err);
    ds_exporter_free(e.exporter);
    ds_source_free(&e.source);
    ds_recorder_free(&e.recorder);
    if (e.run.loop)
        ds_timer_stop(e.run.loop, &e.sync);
    ds_run_end(&e.run);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    return status;
}
