/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the command share: its context, its exit codes and its messages. */
#ifndef DS_CLI_CLI_H
#define DS_CLI_CLI_H

#include <stdio.h>

#include "base/error.h"
#include "base/limits.h"
#include "cli/options.h"

enum ds_exit {
    DS_EXIT_OK = 0,
    DS_EXIT_FAILURE = 1,
    DS_EXIT_USAGE = 2,
    DS_EXIT_REQUIRE = 3,   /* stopped before --require closed|end held */
    DS_EXIT_GONE = 10,     /* below retention, deleted while followed, soft-deleted */
    DS_EXIT_CONFLICT = 11, /* closed, type or configuration differs */
    DS_EXIT_FENCED = 12,
    DS_EXIT_RESET = 13,   /* made anew, or state fits neither stream nor file */
    DS_EXIT_REFUSED = 14, /* 400, 405, 413, 415, 501 */
    DS_EXIT_LIMIT = 15,
    DS_EXIT_UNKNOWN = 16, /* outcome of a write unknown */
    DS_EXIT_INPUT = 65,
    DS_EXIT_NO_INPUT = 66, /* no such stream (404) or input file */
    DS_EXIT_UNAVAILABLE = 69,
    DS_EXIT_EXISTS = 73,
    DS_EXIT_IO = 74,
    DS_EXIT_TEMPORARY = 75,
    DS_EXIT_PROTOCOL = 76,
    DS_EXIT_AUTH = 77,
    DS_EXIT_CONFIG = 78
};

struct ds_fileops; /* store/fileops.h */
struct ds_notify;  /* cli/notify.h */

/* One run of the command. */
struct ds_cli {
    struct ds_cli_options opt;
    struct ds_limits limits;
    const struct ds_fileops *fileops; /* what store/ writes through; NULL: the system's own */
    const char *const *args;          /* operands: URLs, files */
    size_t nargs;
    FILE *err;                          /* diagnostics */
    bool journal;                       /* they go to the journal */
    struct ds_notify *notify;           /* NULL: there is no service manager */
    struct ds_credentials *credentials; /* NULL: none that can be renewed; cli/credentials.h */
    /* Called before a line is printed there: a status line gets out of the way. May be NULL. */
    void (*before_message)(void *ctx);
    void *before_message_ctx;
};

/* Test builds of the command change limits and file operations here; the installed one does
 * nothing. */
void ds_cli_hooks(struct ds_cli *c);

/* The exit code that an error maps to. */
enum ds_exit ds_exit_of(const struct dstream_error *e);
/* "dstream: URL: what happened: what to do", control characters made visible. Returns
 * ds_exit_of(e). */
int ds_cli_fail(struct ds_cli *c, const struct dstream_error *e);
/* The same to the service manager alone, which ds_cli_fail() does as well: of what was said
 * already, that this is why it ends. */
int ds_cli_ends_with(struct ds_cli *c, const struct dstream_error *e);
/* "dstream: text" for usage errors, with a pointer to --help. Returns DS_EXIT_USAGE. */
int ds_cli_usage(struct ds_cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A warning; silent under -q. */
void ds_cli_warn(struct ds_cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line of news, as under -v; silent under -q. */
void ds_cli_say(struct ds_cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line that belongs to a failure: -q does not hide it. */
void ds_cli_tell(struct ds_cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Flushes what was printed to stdout. DS_EXIT_OK, or reports the error (also one of an earlier
 * write); dies of PIPE where the reader has gone. */
int ds_cli_flush(struct ds_cli *c);

/* Parses, dispatches, returns the exit code; dies of INT, TERM and PIPE itself where that is due.
 */
int ds_cli_main(int argc, char **argv);

/* Ends the process as the signal would have, whatever is done about it now. */
_Noreturn void ds_cli_die(int sig);

/* What read, tail and export have in common: whether they go on at the stream's end, how, and
 * whether the options on where to start and stop fit each other (DS_EXIT_OK, or a usage error that
 * was reported). */
bool ds_cli_follows(const struct ds_cli_options *o);
enum dstream_live ds_cli_live(const struct ds_cli_options *o);
int ds_cli_check_range(struct ds_cli *c);

/* The help. NULL for the general page, else the name of a command or topic; false where it is
 * neither. */
bool ds_help_add(struct ds_buf *out, const char *name);
/* The manual's list of options (roff). */
void ds_help_manual(struct ds_buf *out);

int ds_cmd_read(struct ds_cli *c);   /* read and tail: c->opt.command tells */
int ds_cmd_export(struct ds_cli *c); /* export and record */
int ds_cmd_replay(struct ds_cli *c);
int ds_cmd_copy(struct ds_cli *c);
int ds_cmd_create(struct ds_cli *c);
int ds_cmd_write(struct ds_cli *c);
int ds_cmd_close(struct ds_cli *c);
int ds_cmd_delete(struct ds_cli *c);
int ds_cmd_stat(struct ds_cli *c);
int ds_cmd_serve(struct ds_cli *c);
int ds_cmd_decode(struct ds_cli *c);
int ds_cmd_state(struct ds_cli *c);
int ds_cmd_fork(struct ds_cli *c);
int ds_cmd_wait(struct ds_cli *c);
/* The parts of state: verifies what goes with the state at the path `state`; `given` is the
 * stream's URL, NULL where that of the state will do. Of a directory it is which stream, or file,
 * or NULL for all. */
struct ds_checkpoint;
bool ds_state_is_named(const struct ds_checkpoint *c, const char *name);
enum dstream_code ds_state_not_named(const char *path, const char *name, struct dstream_error *err);
int ds_state_verify_file(struct ds_cli *c, const char *state, const struct ds_checkpoint *at,
                         const char *given);
int ds_state_verify_directory(struct ds_cli *c, const char *state, const char *given);
int ds_state_verify_database(struct ds_cli *c, const char *path, const char *given);
int ds_cmd_help(struct ds_cli *c);
/* state show of a producer's journal. */
int ds_state_show_journal(struct ds_cli *c, const char *path);

#endif
