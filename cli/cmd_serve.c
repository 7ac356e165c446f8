/* SPDX-License-Identifier: Apache-2.0 */
/* dstream serve: the server of streams in memory, until a signal ends it. */
#include "config.h"

#include "cli/cli.h"

#include <signal.h>

#include "devserver/server.h"

static volatile sig_atomic_t ended_by;

static void on_signal(int sig)
{
    ended_by = sig;
}

static bool ending(void)
{
    return ended_by != 0;
}

/* The second signal ends the process at once. What was ignored when it began stays so. */
static void catch_signal(int sig, sigset_t *set)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, was;
    sigemptyset(&sa.sa_mask);
    if (sigaction(sig, NULL, &was) != 0 || was.sa_handler == SIG_IGN)
        return;
    sigaction(sig, &sa, NULL);
    sigaddset(set, sig);
}

/* A terminal that closes takes its server with it. Between two waits the signals are blocked, so
 * that none comes unseen. */
static int serve(struct ds_cli *c, struct ds_server *s)
{
    struct dstream_error err = {0};
    sigset_t caught, before;
    sigemptyset(&caught);
    catch_signal(SIGINT, &caught);
    catch_signal(SIGTERM, &caught);
    catch_signal(SIGHUP, &caught);
    sigprocmask(SIG_BLOCK, &caught, &before);
    (void)printf("%s\n", ds_server_url(s));
    int rc = ds_cli_flush(c);
    if (rc == DS_EXIT_OK && ds_server_run(s, &before, ending, &err) != DSTREAM_OK)
        rc = ds_cli_fail(c, &err);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
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
    if (c->nargs > 0)
        return ds_cli_usage(c, "serve takes no arguments");
    enum dstream_code rc = ds_server_new(&s, &so, &err);
    if (rc == DSTREAM_ERR_ARGUMENT)
        return ds_cli_usage(c, "--listen: %s", err.message);
    if (rc != DSTREAM_OK)
        return ds_cli_fail(c, &err);
    if (ds_server_is_public(s))
        ds_cli_warn(c, "whoever can reach %s can read, write and delete its streams",
                    ds_server_url(s));
    int status = serve(c, s);
    ds_server_free(s);
    if (ended_by)
        ds_cli_die(ended_by);
    return status;
}
