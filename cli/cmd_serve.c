/* SPDX-License-Identifier: Apache-2.0 */
/* dstream serve: the server of streams in memory, until a signal ends it. */
#include "config.h"

#include "cli/cli.h"

#include <signal.h>
#include <sys/resource.h>

#include "cli/signals.h"
#include "cli/stage.h"
#include "devserver/server.h"

static int ended_by;

/* A terminal that closes takes its server with it. */
static bool ending(void)
{
    ended_by = ds_signals_take(SIGHUP) ? SIGHUP : ds_signals_ending();
    return ended_by != 0;
}

/* Between two waits the signals are blocked, so that none comes unseen. */
static int serve(struct ds_cli *c, struct ds_server *s)
{
    struct dstream_error err = {0};
    sigset_t caught, before;
    sigemptyset(&caught);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    sigaddset(&caught, SIGHUP);
    sigprocmask(SIG_BLOCK, &caught, &before);
    ds_signals_catch(NULL);
    (void)printf("%s\n", ds_server_url(s));
    int rc = ds_cli_flush(c);
    if (rc == DS_EXIT_OK && ds_server_run(s, &before, ending, &err) != DSTREAM_OK)
        rc = ds_cli_fail(c, &err);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* Each client takes a descriptor. */
static void raise_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

int ds_cmd_serve(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    struct ds_server_options so = {.listen = o->listen ? o->listen : "127.0.0.1:4437",
                                   .page_size = o->page_size,
                                   .sse_time = o->sse_time,
                                   .poll_time = o->poll_time};
    struct dstream_error err = {0};
    struct ds_server *s;
    struct ds_stage stage;
    raise_limit();
    if (c->nargs > 0)
        return ds_cli_usage(c, "serve takes no arguments");
    if (o->fault)
        (void)ds_fault_parse(o->fault, &so.fault);
    ds_stage_init(&stage, c, &so);
    enum dstream_code rc = ds_server_new(&s, &so, &err);
    if (rc == DSTREAM_ERR_ARGUMENT)
        return ds_cli_usage(c, "--listen: %s", err.message);
    if (rc != DSTREAM_OK)
        return ds_cli_fail(c, &err);
    if (ds_server_is_public(s))
        ds_cli_warn(c, "whoever can reach %s can read, write and delete its streams",
                    ds_server_url(s));
    int status = ds_stage_load(&stage, s);
    if (status == DS_EXIT_OK)
        status = serve(c, s);
    ds_server_free(s);
    ds_stage_free(&stage);
    if (ended_by)
        ds_cli_die(ended_by);
    return status;
}
