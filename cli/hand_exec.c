/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/hand.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/child.h"

#define VARS 7

struct exec {
    struct ds_hand hand;
    dstream_loop *loop;
    const char *command;
    int lock;
    int64_t grace_ms;
    pid_t pid;    /* 0: none runs */
    bool stopped; /* it was asked to end */
    const struct ds_portion *portion;
    struct ds_timer grace;
};

/* --- starting --------------------------------------------------------------------------------- */

static char *var(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *var(const char *fmt, ...)
{
    struct ds_buf b;
    va_list ap;
    ds_buf_init(&b, SIZE_MAX);
    va_start(ap, fmt);
    enum dstream_code rc = ds_buf_addv(&b, fmt, ap);
    va_end(ap);
    if (rc == DSTREAM_OK && ds_buf_str(&b))
        return b.data;
    ds_buf_free(&b);
    return NULL;
}

/* False without memory. */
static bool set_vars(char *vars[VARS], const struct ds_portion *p)
{
    struct ds_buf next;
    ds_buf_init(&next, SIZE_MAX);
    bool good = ds_hand_position(&next, p->next, p->next_skip, true) == DSTREAM_OK;
    vars[0] = var("DSTREAM_OFFSET=%s", p->offset);
    vars[1] = var("DSTREAM_SKIP=%llu", (unsigned long long)p->skip);
    vars[2] = var("DSTREAM_COUNT=%llu", (unsigned long long)p->count);
    vars[3] = var("DSTREAM_NEXT=%s", good ? next.data : "");
    vars[4] = var("DSTREAM_CLOSED=%d", p->closed);
    vars[5] = var("DSTREAM_STREAM=%s", p->stream);
    vars[6] = var("DSTREAM_CONTENT_TYPE=%s", p->content_type);
    for (size_t i = 0; i < VARS; i++)
        good = good && vars[i];
    ds_buf_free(&next);
    return good;
}

static enum dstream_code run(struct exec *x, const struct ds_portion *p, char *const *env,
                             struct dstream_error *err)
{
    int in = ds_child_input(p->data->data, p->data->len);
    if (in < 0)
        return ds_error_set(err, DSTREAM_ERR_IO, "--exec: no room for its input: %s",
                            strerror(errno));
    pid_t pid = ds_child_start(&(struct ds_child_how){
        .command = x->command, .in = in, .out = -1, .keep = x->lock, .env = env, .group = true});
    int why = errno;
    close(in);
    if (pid < 0)
        return ds_error_set(err, DSTREAM_ERR_IO, "--exec: %s", strerror(why));
    x->pid = pid;
    x->portion = p;
    return DSTREAM_OK;
}

static enum dstream_code give(struct ds_hand *h, const struct ds_portion *p,
                              struct dstream_error *err)
{
    struct exec *x = (struct exec *)(void *)h;
    char *vars[VARS] = {NULL};
    char **env = set_vars(vars, p) ? ds_child_env(vars, VARS) : NULL;
    enum dstream_code rc =
        env ? run(x, p, env, err)
            : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for an environment");
    ds_free(env);
    for (size_t i = 0; i < VARS; i++)
        ds_free(vars[i]);
    return rc;
}

/* --- ending ----------------------------------------------------------------------------------- */

static enum dstream_code failed(const struct exec *x, int status, struct dstream_error *err)
{
    char fate[DS_CHILD_FATE];
    ds_child_fate(status, fate);
    return ds_error_set(err, DSTREAM_ERR_IO,
                        "--exec: the command has failed (%s) at %.200s,%llu: that is not "
                        "committed, and the same command line hands it out again",
                        fate, x->portion->offset, (unsigned long long)x->portion->skip);
}

static enum dstream_code look(struct ds_hand *h, uint64_t *done, struct dstream_error *err)
{
    struct exec *x = (struct exec *)(void *)h;
    int status;
    *done = 0;
    if (x->pid == 0 || !ds_child_ended(x->pid, &status))
        return DSTREAM_OK;
    x->pid = 0;
    ds_timer_stop(x->loop, &x->grace);
    if (status == 0)
        *done = x->portion->count;
    else if (x->stopped) /* by a signal that ends us, which says it all */
        ds_error_set(err, DSTREAM_ERR_CANCELLED, "--exec: stopped");
    else
        failed(x, status, err);
    return err->code;
}

static void on_grace(void *ctx)
{
    struct exec *x = ctx;
    if (x->pid > 0)
        kill(-x->pid, SIGKILL);
}

/* One that ends well all the same has done its work. */
static void stop(struct ds_hand *h, int sig)
{
    struct exec *x = (struct exec *)(void *)h;
    if (sig == 0 || x->pid == 0 || x->stopped)
        return;
    x->stopped = true;
    kill(-x->pid, sig);
    (void)ds_timer_set(x->loop, &x->grace, ds_loop_update(x->loop) + x->grace_ms);
}

static void free_exec(struct ds_hand *h)
{
    struct exec *x = (struct exec *)(void *)h;
    ds_timer_stop(x->loop, &x->grace);
    on_grace(x);
    ds_free(x);
}

enum dstream_code ds_hand_exec(struct ds_hand **out, struct ds_cli *c, dstream_loop *loop, int lock,
                               struct dstream_error *err)
{
    static const struct ds_hand_ops ops = {give, look, stop, free_exec};
    struct exec *x = ds_calloc(1, sizeof *x);
    if (!x)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a command");
    *x = (struct exec){.hand = {.ops = &ops, .name = "--exec"},
                       .loop = loop,
                       .command = c->opt.exec,
                       .lock = lock,
                       .grace_ms = c->limits.exec_grace};
    x->grace.fire = on_grace;
    x->grace.ctx = x;
    *out = &x->hand;
    return DSTREAM_OK;
}
