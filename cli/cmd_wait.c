/* SPDX-License-Identifier: Apache-2.0 */
/* dstream wait URL --for exists|data|closed: ends when it is so. */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#include "cli/run.h"
#include "cli/signals.h"

/* How long a stream that is not there yet may be left alone. */
#define LOOK_MS 2000

struct waiting {
    struct ds_run run;
    struct ds_source s;
    bool so; /* it is */
    struct dstream_error error;
};

static enum dstream_code take(void *ctx, struct ds_source *s, const dstream_batch *b)
{
    struct waiting *w = ctx;
    unsigned flags = dstream_batch_flags(b);
    size_t n;
    (void)dstream_batch_data(b, &n);
    switch (s->run->cli->opt.wait_for) {
    case DS_WAIT_NOTHING:
    case DS_WAIT_EXISTS:
        w->so = true;
        break;
    case DS_WAIT_DATA:
        w->so = n > 0;
        break;
    case DS_WAIT_CLOSED:
        w->so = (flags & DSTREAM_BATCH_CLOSED) != 0;
        break;
    }
    s->run->stop |= w->so;
    return DSTREAM_OK;
}

static void tell(void *ctx, struct ds_status_now *out)
{
    struct waiting *w = ctx;
    ds_source_tell(&w->s, out);
    out->offset = "";
    out->doing = "waiting";
}

static void run(struct waiting *w)
{
    struct ds_source_start at = {.offset = w->run.cli->opt.wait_for == DS_WAIT_DATA ? "-1" : "now"};
    bool hup;
    ds_run_arm(&w->run, tell, w);
    (void)ds_source_start(&w->s, &at, take, w);
    while (!w->s.done && !w->run.stop)
        (void)ds_run_turn(&w->run, &hup, &w->error);
    ds_status_end(&w->run.status);
    w->so |= w->s.whole && w->run.cli->opt.wait_for == DS_WAIT_EXISTS;
}

static int finish(struct waiting *w)
{
    static const char *const words[] = {[DS_WAIT_EXISTS] = "does not exist",
                                        [DS_WAIT_DATA] = "has no data",
                                        [DS_WAIT_CLOSED] = "is not closed"};
    struct ds_cli *c = w->run.cli;
    const struct dstream_error *e = w->error.code != DSTREAM_OK ? &w->error : &w->s.error;
    if (e->code != DSTREAM_OK)
        return ds_cli_fail(c, e);
    if (w->so)
        return DS_EXIT_OK;
    if (ds_signals_ending() == 0)
        ds_cli_say(c, "%s: it %s%s", w->s.name, words[c->opt.wait_for],
                   w->s.whole ? ", and is closed" : " yet");
    return DS_EXIT_REQUIRE;
}

/* How it is looked at: nothing of this can be asked for otherwise. */
static void set_options(struct ds_cli *c)
{
    c->opt.wait_create = true;
    c->opt.follow = c->opt.wait_for != DS_WAIT_EXISTS;
    if (c->limits.backoff_max > LOOK_MS)
        c->limits.backoff_max = LOOK_MS;
}

int ds_cmd_wait(struct ds_cli *c)
{
    struct waiting w = {.so = false};
    if (c->nargs != 1 || c->opt.wait_for == DS_WAIT_NOTHING)
        return ds_cli_usage(c, "wait takes one stream, and --for exists, data or closed");
    set_options(c);
    enum dstream_code rc = ds_run_begin(&w.run, c, &w.error);
    if (rc == DSTREAM_OK)
        rc = ds_source_name(&w.s, &w.run, c->args[0], &w.error);
    if (rc == DSTREAM_OK)
        run(&w);
    int status = finish(&w);
    ds_source_free(&w.s);
    ds_run_end(&w.run);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    return status;
}
