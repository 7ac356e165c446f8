/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream copy: what one stream has, written to another one by a producer, as it comes.
 *
 * With --state both ends are kept: the journal of what is written, and beside it where that came
 * from (cli/origin.h).
 */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#include "base/alloc.h"
#include "cli/signals.h"
#include "cli/supply_source.h"

struct copying {
    struct ds_cli *cli;
    struct ds_unary u; /* the stream that is written */
    struct ds_write w;
    struct ds_origin origin;
    struct ds_supply_source from;
    struct ds_supply supply;
    char id[DS_ID_MAX + 1];
};

/* --- before ----------------------------------------------------------------------------------- */

static enum dstream_code open_both(struct copying *c)
{
    const struct ds_cli_options *o = &c->cli->opt;
    enum dstream_code rc = ds_unary_begin_to(&c->u, c->cli, c->cli->args[1]);
    if (rc == DSTREAM_OK)
        rc = ds_supply_source_init(&c->from, c->cli, c->u.loop, c->cli->args[0], &c->u.error);
    if (rc == DSTREAM_OK && strcmp(c->from.source.url.data, c->u.url.data) == 0)
        rc = ds_error_set(&c->u.error, DSTREAM_ERR_ARGUMENT, "a stream cannot be copied to itself");
    if (rc == DSTREAM_OK)
        rc = ds_write_name_producer(&c->w, c->id);
    if (rc == DSTREAM_OK)
        rc = ds_write_open_journal(&c->w);
    if (rc != DSTREAM_OK)
        return rc;
    struct ds_origin_about about = {.url = c->from.source.url.data,
                                    .format = "copy",
                                    .from = o->from,
                                    .from_skip = o->from_skip};
    return ds_origin_open(&c->origin, &c->w, &about, &c->u.error);
}

/* Until the first batch has come: what the stream is made as, where it is made, depends on it. */
static enum dstream_code wait_for_source(struct copying *c)
{
    struct ds_supply_source *s = &c->from;
    enum dstream_code rc = DSTREAM_OK;
    bool hup;
    while (rc == DSTREAM_OK && !s->batch && !s->source.done && !s->run.stop)
        rc = ds_run_turn(&s->run, &hup, &c->u.error);
    if (rc == DSTREAM_OK) {
        c->u.error = *c->supply.ops->error(c->supply.ctx);
        rc = c->u.error.code;
    }
    return rc;
}

static enum dstream_code begin(struct copying *c)
{
    enum dstream_code rc = ds_supply_source_start(&c->from, &c->origin,
                                                  c->w.before ? c->w.before->mark : 0, &c->supply);
    if (rc != DSTREAM_OK)
        c->u.error = c->from.source.error;
    if (rc == DSTREAM_OK)
        rc = wait_for_source(c);
    const char *type = c->from.at.content_type;
    if (rc == DSTREAM_OK)
        rc = ds_write_prepare(&c->w, type[0] ? type : NULL);
    if (rc == DSTREAM_OK && type[0])
        rc = ds_write_check_kind(&c->w, type, "stream that is copied");
    ds_supply_source_set_kind(
        &c->from, ds_write_message_max(&c->cli->opt, ds_type_is_json(c->w.type)), &c->supply);
    c->w.supply = &c->supply;
    return rc;
}

/* --- after ------------------------------------------------------------------------------------ */

static int finish(struct copying *c, int status)
{
    struct dstream_error err = {0};
    struct ds_source *s = &c->from.source;
    const struct ds_checkpoint *at = &c->from.at;
    if (ds_supply_source_finish(&c->from, status == DS_EXIT_OK, &err) != DSTREAM_OK) {
        int failed = ds_cli_fail(c->cli, &err);
        return status == DS_EXIT_OK ? failed : status;
    }
    if (status != DS_EXIT_OK)
        return status;
    if (at->from_offset[0])
        ds_source_say_position(s, at->offset, at->skip, at->closed,
                               c->origin.state ? "the same command goes on at"
                                               : "to go on: --from");
    return ds_source_satisfies(s, at->closed) ? status : ds_run_unsatisfied(&c->from.run);
}

static int copy(struct copying *c)
{
    enum dstream_code rc = open_both(c);
    if (rc == DSTREAM_OK && c->origin.at.closed) {
        ds_cli_say(c->cli, "%s: complete: the stream is closed, and all of it is in %s",
                   c->from.source.name, c->u.name);
        return DS_EXIT_OK;
    }
    if (rc == DSTREAM_OK)
        rc = begin(c);
    if (rc != DSTREAM_OK)
        return ds_cli_fail(c->cli, &c->u.error);
    return finish(c, ds_write_once(&c->w));
}

/* --- the command ------------------------------------------------------------------------------ */

static int check_options(struct ds_cli *c)
{
    int rc = ds_cli_check_range(c);
    if (rc != DS_EXIT_OK)
        return rc;
    if (c->nargs != 2)
        return ds_cli_usage(c, "two streams have to be named: from where, and to where");
    return ds_write_check_options(c);
}

int ds_cmd_copy(struct ds_cli *cli)
{
    int status = check_options(cli);
    if (status != DS_EXIT_OK)
        return status;
    struct copying *c = ds_calloc(1, sizeof *c);
    if (!c)
        return ds_cli_usage(cli, "no memory");
    c->cli = cli;
    c->w.u = &c->u;
    status = copy(c);
    ds_supply_source_free(&c->from);
    ds_origin_close(&c->origin);
    ds_journal_free(c->w.journal);
    status = ds_unary_end(&c->u, status);
    ds_free(c);
    return status;
}
