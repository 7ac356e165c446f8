/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/header.h"
#include "cli/child.h"
#include "cli/signals.h"

#define TEXT_MAX   ((size_t)64 * 1024)
#define COMMAND_MS 30000 /* how long --auth-command may take */
#define GRACE_MS   500   /* how long it may take to end once it was asked to */

/* One of the handles that use them. */
struct holder {
    struct ds_credentials *of;
    unsigned used; /* the generation that its last request carried */
    struct holder *next;
};

struct ds_credentials {
    struct ds_cli *cli;
    char *header;        /* "Authorization: ..." */
    unsigned generation; /* of it; 0: there is none yet */
    bool again;          /* it is to be looked for before the next request */
    struct holder *holders;
};

/* --- where they come from --------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum dstream_code not_ended(const char *what, struct dstream_error *err)
{
    if (ds_signals_ending() != 0)
        return ds_error_set(err, DSTREAM_ERR_IO, "%s: a signal came before it had ended", what);
    return ds_error_set(err, DSTREAM_ERR_IO, "%s: it has not ended after %d s", what,
                        COMMAND_MS / 1000);
}

/* All of it, up to its end, the time, or a signal that ends the command. */
static enum dstream_code read_all(int fd, int64_t until, const char *what, struct ds_buf *out,
                                  struct dstream_error *err)
{
    char part[4096];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - now_ms();
        if (ds_signals_ending() != 0 || left <= 0)
            return not_ended(what, err);
        /* A signal may have come just before. */
        if (poll(&p, 1, left < 100 ? (int)left : 100) <= 0)
            continue;
        ssize_t n = read(fd, part, sizeof part);
        if (n == 0)
            return DSTREAM_OK;
        if (n < 0 && errno != EINTR)
            return ds_error_set(err, DSTREAM_ERR_IO, "%s: %s", what, strerror(errno));
        if (n > 0 && ds_buf_add(out, part, (size_t)n) != DSTREAM_OK)
            return ds_error_set(err, DSTREAM_ERR_IO, "%s: it is over 64 KiB long", what);
    }
}

static enum dstream_code read_file(const char *path, struct ds_buf *out, struct dstream_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        return ds_error_set(err, DSTREAM_ERR_IO, "--auth-file %.200s: %s", path, strerror(errno));
    enum dstream_code rc =
        S_ISREG(st.st_mode)
            ? read_all(fd, now_ms() + COMMAND_MS, "--auth-file", out, err)
            : ds_error_set(err, DSTREAM_ERR_IO, "--auth-file %.200s: not a regular file", path);
    close(fd);
    return rc;
}

/* The shell's process, with its output in *fd; -1: none. */
static pid_t run_shell(const char *command, int *fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = ds_child_start(
        &(struct ds_child_how){.command = command, .in = -1, .out = ends[1], .keep = -1});
    close(ends[1]);
    *fd = ends[0];
    if (pid < 0)
        close(ends[0]);
    return pid;
}

/* Whether it has ended by then. *status is -1 where that cannot be known. */
static bool ended_by(pid_t pid, int64_t until, bool heed_signals, int *status)
{
    while (!ds_child_ended(pid, status)) {
        if (now_ms() >= until || (heed_signals && ds_signals_ending() != 0))
            return false;
        poll(NULL, 0, 2);
    }
    return true;
}

/* It may ignore TERM; KILL it cannot. */
static void end_command(pid_t pid)
{
    int status;
    kill(pid, SIGTERM);
    if (ended_by(pid, now_ms() + GRACE_MS, false, &status))
        return;
    kill(pid, SIGKILL);
    (void)ended_by(pid, now_ms() + GRACE_MS, false, &status);
}

static enum dstream_code failed(int status, struct dstream_error *err)
{
    char fate[DS_CHILD_FATE];
    ds_child_fate(status, fate);
    return ds_error_set(err, DSTREAM_ERR_IO, "--auth-command: it has failed (%s)", fate);
}

static enum dstream_code run_command(const char *command, struct ds_buf *out,
                                     struct dstream_error *err)
{
    int fd, status;
    int64_t until = now_ms() + COMMAND_MS;
    pid_t pid = run_shell(command, &fd);
    if (pid < 0)
        return ds_error_set(err, DSTREAM_ERR_IO, "--auth-command: %s", strerror(errno));
    enum dstream_code rc = read_all(fd, until, "--auth-command", out, err);
    close(fd);
    /* It may have closed its output and go on. */
    if (rc == DSTREAM_OK && !ended_by(pid, until, true, &status))
        rc = not_ended("--auth-command", err);
    if (rc != DSTREAM_OK)
        end_command(pid);
    else if (status != 0)
        rc = failed(status, err);
    return rc;
}

/* A header of the first line. */
static char *header_of(const struct ds_buf *text)
{
    const char *lf = text->len > 0 ? memchr(text->data, '\n', text->len) : NULL, *why;
    size_t n = lf ? (size_t)(lf - text->data) : text->len;
    while (n > 0 && strchr("\r \t", text->data[n - 1]))
        n--;
    struct ds_buf b;
    ds_buf_init(&b, TEXT_MAX + 64);
    if (n == 0 || memchr(text->data, '\0', n) || ds_buf_adds(&b, "Authorization: ") != DSTREAM_OK ||
        ds_buf_add(&b, text->data, n) != DSTREAM_OK || !ds_buf_str(&b) ||
        ds_header_check(b.data, &why) != DSTREAM_OK)
        ds_buf_free(&b);
    return b.data;
}

static void forget(char *p, size_t n)
{
    volatile char *at = p;
    while (n-- > 0)
        *at++ = '\0';
}

static void forget_header(struct ds_credentials *cr)
{
    if (cr->header)
        forget(cr->header, strlen(cr->header));
    ds_free(cr->header);
    cr->header = NULL;
}

/* Looks for them; where there are others than before, the generation is another one. */
static enum dstream_code renew(struct ds_credentials *cr, struct dstream_error *err)
{
    const struct ds_cli_options *o = &cr->cli->opt;
    const char *what = o->auth_file ? "--auth-file" : "--auth-command";
    struct ds_buf text;
    cr->again = false;
    ds_buf_init(&text, TEXT_MAX);
    enum dstream_code rc = o->auth_file ? read_file(o->auth_file, &text, err)
                                        : run_command(o->auth_command, &text, err);
    char *header = rc == DSTREAM_OK ? header_of(&text) : NULL;
    if (text.data)
        forget(text.data, text.len);
    ds_buf_free(&text);
    if (rc != DSTREAM_OK)
        return rc;
    if (!header)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: its first line is not the value of an Authorization header, as "
                            "Bearer TOKEN",
                            what);
    if (cr->header && strcmp(cr->header, header) == 0) {
        forget(header, strlen(header));
        ds_free(header);
        return DSTREAM_OK;
    }
    forget_header(cr);
    cr->header = header;
    cr->generation++;
    return DSTREAM_OK;
}

/* --- requests --------------------------------------------------------------------------------- */

/* What others have renewed since is tried first. Where nothing new is found, what the server said
 * stands. */
static enum dstream_code on_request(void *ctx, dstream_request *q, bool refused)
{
    struct holder *h = ctx;
    struct ds_credentials *cr = h->of;
    struct dstream_error err = {0};
    bool old = refused && h->used == cr->generation;
    if ((old || cr->again) && renew(cr, &err) != DSTREAM_OK)
        ds_cli_warn(cr->cli, "%s", err.message);
    if (refused && h->used == cr->generation)
        return DSTREAM_ERR_AUTH;
    h->used = cr->generation;
    return dstream_request_add_header(q, cr->header);
}

/* The first time they have to be there. */
static enum dstream_code load(struct ds_cli *c, struct dstream_error *err)
{
    if (!c->credentials) {
        c->credentials = ds_calloc(1, sizeof *c->credentials);
        if (!c->credentials)
            return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for credentials");
        c->credentials->cli = c;
    }
    return c->credentials->generation > 0 ? DSTREAM_OK : renew(c->credentials, err);
}

enum dstream_code ds_credentials_add(struct ds_cli *c, dstream_options *o,
                                     struct dstream_error *err)
{
    if (!c->opt.auth_file && !c->opt.auth_command)
        return DSTREAM_OK;
    enum dstream_code rc = load(c, err);
    if (rc != DSTREAM_OK)
        return rc;
    struct holder *h = ds_calloc(1, sizeof *h);
    if (!h)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for credentials");
    *h = (struct holder){.of = c->credentials, .next = c->credentials->holders};
    c->credentials->holders = h;
    return dstream_options_set_on_request(o, on_request, h);
}

void ds_credentials_again(struct ds_cli *c)
{
    if (c->credentials)
        c->credentials->again = true;
}

void ds_credentials_free(struct ds_cli *c)
{
    struct ds_credentials *cr = c->credentials;
    if (!cr)
        return;
    while (cr->holders) {
        struct holder *h = cr->holders;
        cr->holders = h->next;
        ds_free(h);
    }
    forget_header(cr);
    ds_free(cr);
    c->credentials = NULL;
}
