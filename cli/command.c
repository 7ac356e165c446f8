/* SPDX-License-Identifier: Apache-2.0 */
/* The command as a whole: what is common to all commands before and after they run. */
#include "config.h"

#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "cli/child.h"
#include "cli/credentials.h"
#include "cli/headers.h"
#include "cli/notify.h"

#define TEXT_MAX ((size_t)64 * 1024) /* of one message */

/* --- exit codes and what to do ---------------------------------------------------------------- */

static const struct {
    enum dstream_code code;
    enum ds_exit exit;
    const char *advice; /* for what a server did; NULL: the message says all there is */
} outcomes[] = {
    {DSTREAM_OK, DS_EXIT_OK, NULL},
    {DSTREAM_ERR_ARGUMENT, DS_EXIT_USAGE, NULL},
    {DSTREAM_ERR_RESOLVE, DS_EXIT_UNAVAILABLE, "check the host's name"},
    {DSTREAM_ERR_CONNECT, DS_EXIT_UNAVAILABLE, "check that the server runs, and its port"},
    {DSTREAM_ERR_TLS, DS_EXIT_UNAVAILABLE,
     "check the certificates: --cacert names who signed the server's, --cert is your own"},
    {DSTREAM_ERR_NETWORK, DS_EXIT_UNAVAILABLE, "try again"},
    {DSTREAM_ERR_TIMEOUT, DS_EXIT_TEMPORARY, "try again later"},
    {DSTREAM_ERR_REDIRECT, DS_EXIT_UNAVAILABLE, "use the URL that the stream has now"},
    {DSTREAM_ERR_BAD_REQUEST, DS_EXIT_REFUSED, "check the URL and the options"},
    {DSTREAM_ERR_AUTH, DS_EXIT_AUTH,
     "give credentials by STREAM_AUTH, --auth-file or --header @FILE"},
    {DSTREAM_ERR_NOT_FOUND, DS_EXIT_NO_INPUT, "check the URL, or create the stream"},
    {DSTREAM_ERR_GONE, DS_EXIT_GONE, "what is left starts at --from beginning"},
    {DSTREAM_ERR_DELETED, DS_EXIT_GONE, NULL},
    {DSTREAM_ERR_CONFLICT, DS_EXIT_CONFLICT, "compare with dstream stat"},
    {DSTREAM_ERR_CLOSED, DS_EXIT_CONFLICT, NULL},
    {DSTREAM_ERR_BUSY, DS_EXIT_TEMPORARY, "try again later"},
    {DSTREAM_ERR_SERVER, DS_EXIT_UNAVAILABLE, "try again later"},
    {DSTREAM_ERR_OUTCOME_UNKNOWN, DS_EXIT_UNKNOWN, "look at the stream's end before repeating it"},
    {DSTREAM_ERR_FENCED, DS_EXIT_FENCED, "give each writer a producer id of its own"},
    {DSTREAM_ERR_SEQUENCE, DS_EXIT_CONFLICT, NULL},
    {DSTREAM_ERR_TOO_LARGE, DS_EXIT_REFUSED, "send less at once"},
    {DSTREAM_ERR_PROTOCOL, DS_EXIT_PROTOCOL, "check that the URL is that of a stream"},
    {DSTREAM_ERR_PARSE, DS_EXIT_PROTOCOL, "the server, or something before it, is in error"},
    {DSTREAM_ERR_STREAM_RESET, DS_EXIT_RESET,
     "start over: --from beginning, with --reset where there is a state"},
    {DSTREAM_ERR_INPUT, DS_EXIT_INPUT, NULL},
    {DSTREAM_ERR_STATE_LOST, DS_EXIT_RESET, "look at the stream's end before repeating it"},
    {DSTREAM_ERR_NO_PRODUCERS, DS_EXIT_PROTOCOL, NULL},
    {DSTREAM_ERR_IO, DS_EXIT_IO, NULL},
    {DSTREAM_ERR_LOCKED, DS_EXIT_EXISTS, NULL},
    {DSTREAM_ERR_EXISTS, DS_EXIT_EXISTS, NULL},
    {DSTREAM_ERR_STATE_CORRUPT, DS_EXIT_RESET, NULL},
    {DSTREAM_ERR_STATE_MISMATCH, DS_EXIT_RESET, NULL},
    {DSTREAM_ERR_LIMIT, DS_EXIT_LIMIT, NULL},
};

enum ds_exit ds_exit_of(const struct dstream_error *e)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        if (outcomes[i].code == e->code)
            return outcomes[i].exit;
    }
    return DS_EXIT_FAILURE;
}

static const char *advice_on(const struct ds_cli *c, const struct dstream_error *e)
{
    enum { READING = DS_CMD_READ | DS_CMD_TAIL | DS_CMD_EXPORTS | DS_CMD_COPY };
    if (e->code == DSTREAM_ERR_GONE && !(c->opt.command & READING))
        return NULL; /* of a stream that is gone as a whole, nothing is left to be read */
    if (e->code == DSTREAM_ERR_STREAM_RESET && (c->opt.command & DS_CMD_EXPORTS) && e->url[0])
        return "export it to another file, or anew over this one with --reset --overwrite";
    if (e->status == 407)
        return "give the proxy's credentials in its URL";
    for (size_t i = 0; e->url[0] && i < sizeof outcomes / sizeof *outcomes; i++) {
        if (outcomes[i].code == e->code)
            return outcomes[i].advice;
    }
    return NULL;
}

/* --- messages --------------------------------------------------------------------------------- */

/* How grave a line is, as syslog(3) counts: the journal takes that off its beginning. */
static const char *priority(const struct ds_cli *c, const char *level)
{
    if (!c->journal)
        return "";
    return strcmp(level, "error") == 0 ? "<3>" : strcmp(level, "warning") == 0 ? "<4>" : "<6>";
}

/* One write, so that lines of several processes stay whole. */
static void put_line(struct ds_cli *c, const struct ds_buf *line)
{
    if (c->before_message)
        c->before_message(c->before_message_ctx);
    (void)fwrite(line->data, 1, line->len, c->err);
    (void)fflush(c->err);
}

/* As text what a terminal must not see is made visible. */
static void print_text(struct ds_cli *c, const char *level, const char *before,
                       const struct ds_buf *text)
{
    struct ds_buf line;
    ds_buf_init(&line, 4 * TEXT_MAX + 32);
    if (ds_buf_addf(&line, "%sdstream: %s", priority(c, level), before) == DSTREAM_OK &&
        ds_terminal_escape(&line, text->data, text->len) == DSTREAM_OK &&
        ds_buf_addc(&line, '\n') == DSTREAM_OK)
        put_line(c, &line);
    ds_buf_free(&line);
}

/* A member of an object that has one before it. */
static void add_member(struct ds_buf *out, const char *key, const char *value, size_t n)
{
    struct ds_buf whole;
    ds_buf_init(&whole, 4 * TEXT_MAX);
    ds_buf_addf(out, ",\"%s\":\"", key);
    if (ds_utf8_replace(&whole, value, n) == DSTREAM_OK)
        (void)ds_json_escape(out, whole.data, whole.len);
    ds_buf_addc(out, '"');
    ds_buf_free(&whole);
}

static void add_text_member(struct ds_buf *out, const char *key, const char *value)
{
    if (value && value[0])
        add_member(out, key, value, strlen(value));
}

/* `e` may be NULL. */
static void print_json(struct ds_cli *c, const char *level, int exit, const struct ds_buf *text,
                       const struct dstream_error *e)
{
    struct ds_buf line;
    ds_buf_init(&line, 16 * TEXT_MAX);
    ds_buf_addf(&line, "%s{\"level\":\"%s\"", priority(c, level), level);
    add_member(&line, "message", text->data, text->len);
    if (exit >= 0)
        ds_buf_addf(&line, ",\"exit\":%d", exit);
    if (e) {
        add_text_member(&line, "code", dstream_code_name(e->code));
        if (e->status > 0)
            ds_buf_addf(&line, ",\"status\":%d", e->status);
        add_text_member(&line, "url", e->url);
        add_text_member(&line, "offset", e->offset);
        add_text_member(&line, "advice", advice_on(c, e));
    }
    if (ds_buf_adds(&line, "}\n") == DSTREAM_OK)
        put_line(c, &line);
    ds_buf_free(&line);
}

static void print_va(struct ds_cli *c, const char *level, const char *before, const char *fmt,
                     va_list ap)
{
    struct ds_buf text;
    ds_buf_init(&text, TEXT_MAX);
    ds_buf_addv(&text, fmt, ap);
    if (c->opt.json_errors)
        print_json(c, level, -1, &text, NULL);
    else
        print_text(c, level, before, &text);
    ds_buf_free(&text);
}

static void add_error(struct ds_cli *c, struct ds_buf *text, const struct dstream_error *e)
{
    const char *advice = advice_on(c, e);
    if (e->url[0])
        ds_buf_addf(text, "%s: ", e->url);
    ds_buf_adds(text, e->message[0] ? e->message : dstream_code_text(e->code));
    if (e->url[0] && e->offset[0] && !strstr(e->message, e->offset))
        ds_buf_addf(text, " (at offset %s)", e->offset);
    if (advice)
        ds_buf_addf(text, ": %s", advice);
}

/* What a service manager shows of it, whatever comes: as long as it goes on that is soon something
 * else. */
static void tell_manager(struct ds_cli *c, const struct ds_buf *text)
{
    struct ds_buf shown;
    ds_buf_init(&shown, 4 * TEXT_MAX);
    if (ds_terminal_escape(&shown, text->data, text->len) == DSTREAM_OK)
        ds_notify_status(c->notify, &shown);
    ds_buf_free(&shown);
}

int ds_cli_ends_with(struct ds_cli *c, const struct dstream_error *e)
{
    struct ds_buf text;
    ds_buf_init(&text, TEXT_MAX);
    add_error(c, &text, e);
    tell_manager(c, &text);
    ds_buf_free(&text);
    return (int)ds_exit_of(e);
}

int ds_cli_fail(struct ds_cli *c, const struct dstream_error *e)
{
    struct ds_buf text;
    int exit = ds_cli_ends_with(c, e);
    ds_buf_init(&text, TEXT_MAX);
    if (c->opt.json_errors) {
        ds_buf_adds(&text, e->message[0] ? e->message : dstream_code_text(e->code));
        print_json(c, "error", exit, &text, e);
    } else {
        add_error(c, &text, e);
        print_text(c, "error", "", &text);
    }
    ds_buf_free(&text);
    return exit;
}

int ds_cli_usage(struct ds_cli *c, const char *fmt, ...)
{
    const struct ds_command_info *info = ds_command_info(c->opt.command);
    struct ds_buf text;
    va_list ap;
    ds_buf_init(&text, TEXT_MAX);
    va_start(ap, fmt);
    ds_buf_addv(&text, fmt, ap);
    va_end(ap);
    ds_buf_addf(&text, ": see dstream%s%s --help", info ? " " : "", info ? info->name : "");
    tell_manager(c, &text);
    if (c->opt.json_errors)
        print_json(c, "error", DS_EXIT_USAGE, &text, NULL);
    else
        print_text(c, "error", "", &text);
    ds_buf_free(&text);
    return DS_EXIT_USAGE;
}

void ds_cli_warn(struct ds_cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!c->opt.quiet)
        print_va(c, "warning", "warning: ", fmt, ap);
    va_end(ap);
}

void ds_cli_say(struct ds_cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!c->opt.quiet)
        print_va(c, "info", "", fmt, ap);
    va_end(ap);
}

void ds_cli_tell(struct ds_cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_va(c, "info", "", fmt, ap);
    va_end(ap);
}

_Noreturn void ds_cli_die(int sig)
{
    sigset_t set;
    signal(sig, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(sig);
    _Exit(128 + sig);
}

int ds_cli_flush(struct ds_cli *c)
{
    struct dstream_error err = {0};
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) == 0 && !failed)
        return DS_EXIT_OK;
    if (errno == EPIPE)
        ds_cli_die(SIGPIPE);
    ds_error_set(&err, DSTREAM_ERR_IO, "standard output: cannot write: %s",
                 errno ? strerror(errno) : "an earlier write failed");
    return ds_cli_fail(c, &err);
}

/* --- where to start and stop ------------------------------------------------------------------ */

bool ds_cli_follows(const struct ds_cli_options *o)
{
    return o->follow || o->until_closed || (o->command == DS_CMD_TAIL && !o->until_end);
}

enum dstream_live ds_cli_live(const struct ds_cli_options *o)
{
    return ds_cli_follows(o) ? o->live : DSTREAM_LIVE_OFF;
}

int ds_cli_check_range(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    if (o->follow && o->until_end)
        return ds_cli_usage(c, "--follow and --until end exclude each other");
    if (o->live_given && !ds_cli_follows(o))
        return ds_cli_usage(c, "--live says how to follow: add --follow or --until closed");
    if (o->overwrite && o->append)
        return ds_cli_usage(c, "--overwrite and --append exclude each other");
    if ((o->overwrite || o->append) && !o->output && !o->directory && !o->sqlite)
        return ds_cli_usage(c, "--overwrite and --append are for --output");
    if (o->reset && !o->state && !(o->command & DS_CMD_EXPORTS))
        return ds_cli_usage(c, "--reset is for --state");
    return DS_EXIT_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

static int run(struct ds_cli *c)
{
    /* A reader that has gone is an error of the write, so that what was accepted can be recorded
     * before we die of it; and a connection that has gone is none of this signal's business. */
    if (!(c->opt.command & (DS_CMD_DECODE | DS_CMD_STATE | DS_CMD_HELP)))
        signal(SIGPIPE, SIG_IGN);
    switch (c->opt.command) {
    case DS_CMD_READ:
    case DS_CMD_TAIL:
        return ds_cmd_read(c);
    case DS_CMD_EXPORT:
    case DS_CMD_RECORD:
        return ds_cmd_export(c);
    case DS_CMD_COPY:
        return ds_cmd_copy(c);
    case DS_CMD_REPLAY:
        return ds_cmd_replay(c);
    case DS_CMD_DECODE:
        return ds_cmd_decode(c);
    case DS_CMD_STATE:
        return ds_cmd_state(c);
    case DS_CMD_HELP:
        return ds_cmd_help(c);
    case DS_CMD_CREATE:
        return ds_cmd_create(c);
    case DS_CMD_WRITE:
        return ds_cmd_write(c);
    case DS_CMD_CLOSE:
        return ds_cmd_close(c);
    case DS_CMD_DELETE:
        return ds_cmd_delete(c);
    case DS_CMD_STAT:
        return ds_cmd_stat(c);
    case DS_CMD_FORK:
        return ds_cmd_fork(c);
    case DS_CMD_WAIT:
        return ds_cmd_wait(c);
    case DS_CMD_SERVE:
        return ds_cmd_serve(c);
    default:
        return ds_cli_usage(c, "this command is not part of this build");
    }
}

static int print_help(struct ds_cli *c, const char *name)
{
    struct ds_buf b;
    ds_buf_init(&b, TEXT_MAX);
    bool known = ds_help_add(&b, name);
    (void)fwrite(b.data, 1, b.len, stdout);
    ds_buf_free(&b);
    return known ? ds_cli_flush(c) : ds_cli_usage(c, "there is no help on %s", name);
}

int ds_cmd_help(struct ds_cli *c)
{
    if (c->nargs > 1)
        return ds_cli_usage(c, "help takes one command or topic at most");
    return print_help(c, c->nargs > 0 ? c->args[0] : NULL);
}

static void set_limits(struct ds_limits *l, const struct ds_cli_options *o)
{
    if (o->retry >= 0)
        l->retries = (unsigned)o->retry;
    if (o->retry_max_delay >= 0)
        l->backoff_max = o->retry_max_delay;
    if (o->connect_timeout >= 0)
        l->connect = o->connect_timeout;
    if (o->header_timeout >= 0)
        l->header = l->header_sse = o->header_timeout;
    if (o->replica_lag >= 0)
        l->replica_lag = o->replica_lag;
    if (o->stall_timeout >= 0)
        l->silence = l->silence_sse = o->stall_timeout;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* What the environment says where the command line does not. */
static int take_environment(struct ds_cli *c)
{
    struct ds_cli_options *o = &c->opt;
    if (!o->base_url)
        o->base_url = variable("DSTREAM_URL");
    if (!o->base_url)
        o->base_url = variable("STREAM_URL");
    const char *auth = variable("STREAM_AUTH");
    bool renewed = o->auth_file || o->auth_command, given = ds_headers_have(o, "authorization");
    if (renewed && given)
        return ds_cli_usage(c, "an Authorization header is given, and --auth-file or "
                               "--auth-command as well");
    if (o->auth_file && o->auth_command)
        return ds_cli_usage(c, "--auth-file and --auth-command do not go together");
    if (!auth || given || renewed)
        return DS_EXIT_OK;
    struct ds_buf header;
    ds_buf_init(&header, TEXT_MAX);
    const char *line =
        ds_buf_addf(&header, "Authorization: %s", auth) == DSTREAM_OK ? ds_buf_str(&header) : NULL;
    bool usable = line && !ds_headers_add(o, line);
    ds_buf_free(&header);
    return usable ? DS_EXIT_OK
                  : ds_cli_usage(c, "STREAM_AUTH is not a value of an Authorization header");
}

static int start(struct ds_cli *c)
{
    if (c->opt.version) {
        (void)printf("dstream %s\n", dstream_version());
        return ds_cli_flush(c);
    }
    const struct ds_command_info *info = ds_command_info(c->opt.command);
    if (c->opt.help)
        return print_help(c, info ? info->name : NULL);
    if (!info)
        return ds_cli_usage(c, "no command is given");
    int rc = take_environment(c);
    if (rc != DS_EXIT_OK)
        return rc;
    if (c->opt.secret_in_argv)
        ds_cli_warn(c, "a secret on the command line may have been seen by others: use "
                       "--header @FILE, STREAM_AUTH, --netrc, or https_proxy in the environment");
    set_limits(&c->limits, &c->opt);
    return run(c);
}

static int parse_and_start(struct ds_cli *c, int argc, char **argv, const char **args)
{
    struct ds_buf why;
    ds_buf_init(&why, TEXT_MAX);
    c->args = args;
    enum dstream_code rc = ds_cli_options_parse(&c->opt, argc, argv, args, &c->nargs, &why);
    const char *text = ds_buf_str(&why);
    int status = rc == DSTREAM_OK ? start(c) : ds_cli_usage(c, "%s", text ? text : "no memory");
    ds_buf_free(&why);
    return status;
}

/* A standard descriptor that is closed would be taken by the next socket or file, and be written
 * to: it becomes one that can be neither read nor written. */
static void hold_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
    }
}

int ds_cli_main(int argc, char **argv)
{
    hold_descriptors();
    ds_child_note_given();
    struct ds_cli c = {.limits = ds_limits_default(), .err = stderr};
    ds_cli_options_init(&c.opt);
    ds_cli_hooks(&c);
    c.journal = ds_notify_journal(c.err);
    c.notify = ds_notify_new();
    const char **args = ds_calloc((size_t)argc + 1, sizeof *args);
    int status = DS_EXIT_FAILURE;
    if (args)
        status = parse_and_start(&c, argc, argv, args);
    if (status == DS_EXIT_OK)
        ds_notify_ready(c.notify); /* it had nothing to wait for */
    ds_notify_free(c.notify);
    ds_free(args);
    ds_credentials_free(&c);
    ds_cli_options_free(&c.opt);
    return status;
}
