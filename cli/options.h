/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of options: parsing, --help and the manual's option lists come from it. */
#ifndef DS_CLI_OPTIONS_H
#define DS_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "dstream.h"
#include "store/pack.h"

enum ds_command {
    DS_CMD_NONE = 0,
    DS_CMD_READ = 1 << 0,
    DS_CMD_TAIL = 1 << 1,
    DS_CMD_EXPORT = 1 << 2,
    DS_CMD_CREATE = 1 << 3,
    DS_CMD_WRITE = 1 << 4,
    DS_CMD_CLOSE = 1 << 5,
    DS_CMD_DELETE = 1 << 6,
    DS_CMD_STAT = 1 << 7,
    DS_CMD_SERVE = 1 << 8,
    DS_CMD_DECODE = 1 << 9,
    DS_CMD_STATE = 1 << 10,
    DS_CMD_HELP = 1 << 11,
    DS_CMD_RECORD = 1 << 12,
    DS_CMD_REPLAY = 1 << 13,
    DS_CMD_COPY = 1 << 14,
    DS_CMD_FORK = 1 << 15,
    DS_CMD_WAIT = 1 << 16,
    DS_CMD_EXPORTS = DS_CMD_EXPORT | DS_CMD_RECORD /* into a file with a checkpoint */
};
#define DS_COMMANDS 17 /* how many there are */

enum ds_format_kind {
    DS_FORMAT_AUTO,
    DS_FORMAT_RAW,
    DS_FORMAT_NDJSON,
    DS_FORMAT_LINES,
    DS_FORMAT_ENVELOPE,
    DS_FORMAT_SSE,
    DS_FORMAT_TEMPLATE
};

struct ds_texts {
    const char **at;
    size_t n;
};

/* What wait waits for. */
enum ds_wait { DS_WAIT_NOTHING, DS_WAIT_EXISTS, DS_WAIT_DATA, DS_WAIT_CLOSED };

enum ds_progress { DS_PROGRESS_AUTO, DS_PROGRESS_LINE, DS_PROGRESS_JSON, DS_PROGRESS_NONE };

/* Values as parsed. Strings are lent from argv, the environment or `owned`. */
struct ds_cli_options {
    enum ds_command command;
    /* everywhere */
    bool help, version, quiet;
    int verbose;
    bool json_errors; /* --errors json */
    enum ds_progress progress;
    const char *status_file;
    const char *base_url;
    /* where to start and stop */
    const char *from; /* offset part, "-1" for the beginning; NULL: not given */
    uint64_t from_skip;
    const char *state; /* -S */
    bool reset;
    bool follow;                  /* -f; read it through ds_cli_follows() */
    bool until_closed, until_end; /* --until */
    const char *until;            /* of replay: a position; NULL: not given */
    uint64_t until_skip;
    bool wait_create;
    bool has_count, has_bytes;
    uint64_t count, bytes;
    uint64_t last;          /* --last; 0: not given */
    int64_t max_time, idle; /* ms; -1: none */
    bool require_closed, require_end;
    enum dstream_live live; /* as given, else auto; read it through ds_cli_live() */
    bool live_given;
    /* output */
    const char *output;    /* -o */
    const char *directory; /* -d */
    const char *list;      /* --list */
    const char *sqlite;    /* --sqlite */
    const char *table;     /* --table; NULL: not given */
    uint64_t rotate_size;  /* 0: not by size */
    int64_t rotate_time;   /* ms; -1: not by time */
    const char *rotate_name;
    const char *exec; /* --exec */
    int ack_fd;       /* -1: not given */
    enum ds_pack_kind pack;
    enum ds_format_kind format;
    const char *template; /* of the format that is one; else NULL */
    bool format_given, overwrite, append;
    int64_t sync_ms;     /* --sync DUR; -1: not by time */
    uint64_t sync_bytes; /* --sync SIZE; 0: not by size */
    bool sync_batch, sync_given, strict_verify;
    /* network */
    struct ds_texts headers;    /* -H, and STREAM_AUTH */
    struct ds_texts to_headers; /* for the stream that is copied or replayed to */
    bool secret_in_argv;        /* a header, a proxy or a URL with one was on the command line */
    const char *auth_file, *auth_command;
    const char *cacert, *cert, *key;
    bool insecure, netrc, http1, compressed;
    const char *proxy;    /* owned; NULL: the environment's */
    const char **resolve; /* --resolve */
    size_t nresolve;
    int retry;                                              /* -1: default */
    int64_t retry_max_delay;                                /* ms; -1: default */
    int64_t connect_timeout, stall_timeout, header_timeout; /* the same */
    int64_t replica_lag;                                    /* the same */
    enum dstream_gone on_gone;
    /* writing */
    const char *type; /* --type */
    const char *ttl, *expires;
    const char *data; /* --data FILE */
    bool closed, close_after, json, yes, print_offset;
    const char *create_type; /* write --create[=TYPE] */
    bool create;
    const char *producer; /* its id */
    bool epoch_given, claim;
    uint64_t epoch;
    int64_t linger;                            /* ms */
    uint64_t batch_bytes;                      /* of one request */
    unsigned in_flight;                        /* 0: not given */
    bool lines, tee;                           /* --split newline */
    bool force;                                /* old batches of a journal are sent all the same */
    int64_t journal_max_age, delivery_timeout; /* ms; -1: not given */
    /* replay */
    const char *to;                  /* --to; NULL: not given */
    uint64_t speed;                  /* in thousandths, DS_PACE_MAX: as fast as it goes */
    const char *fork_from, *fork_at; /* fork: a URL; NULL: the end */
    uint64_t fork_skip;
    enum ds_wait wait_for;
    /* serve */
    const char *listen; /* --listen HOST:PORT */
    uint64_t page_size;
    int64_t sse_time, poll_time;
    struct ds_texts loads, replays; /* FILE=PATH, FILE[=PATH] */
    const char *fault;              /* as ds_fault_parse() takes it; NULL: none */
    /* decode */
    bool batches;
    const char *encoding;
    /* private: what headers and proxy point to */
    char **owned;
    size_t nowned;
};

/* How options are grouped in the help and the manual. */
enum ds_option_group {
    DS_GROUP_GENERAL,
    DS_GROUP_RANGE,
    DS_GROUP_OUTPUT,
    DS_GROUP_NETWORK,
    DS_GROUP_WRITING,
    DS_GROUP_SERVER,
    DS_GROUP_DECODING,
    DS_GROUPS
};

struct ds_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    const char *arg;  /* name of its argument; NULL: takes none */
    bool optional;    /* the argument, which then must be joined by '=' */
    bool secret;      /* its value may be one: never shown, never kept */
    enum ds_option_group group;
    unsigned commands; /* enum ds_command, or-ed */
    const char *key;   /* in a configuration; NULL: not configurable */
    const char *help;
    /* Takes the value: NULL, or what is wanted of one, as "a duration, as 500ms, 5s or 2m". An
     * optional value that is absent is NULL. May change the value in place, which is argv's. */
    const char *(*set)(struct ds_cli_options *o, const struct ds_option *self, char *value);
    size_t at; /* where `set` stores, as an offset into struct ds_cli_options */
};

extern const struct ds_option ds_option_table[];
extern const size_t ds_option_count;

/* What a command is called and how it is used. */
struct ds_command_info {
    const char *name;
    enum ds_command command;
    const char *usage;   /* operands */
    const char *summary; /* one line */
};
extern const struct ds_command_info ds_command_table[DS_COMMANDS];
/* NULL where there is none of that name / number. */
const struct ds_command_info *ds_command_find(const char *name);
const struct ds_command_info *ds_command_info(enum ds_command command);

/* The defaults. */
void ds_cli_options_init(struct ds_cli_options *o);
void ds_cli_options_free(struct ds_cli_options *o);
/* Reads argv[1] and on: the first operand is the command, the others go to `args`, which has room
 * for argc pointers. ERR_ARGUMENT with the reason in `why`, ERR_IO for a file of headers,
 * ERR_NOMEM. Options that are given wrongly in combination are the commands' to refuse. */
enum dstream_code ds_cli_options_parse(struct ds_cli_options *o, int argc, char **argv,
                                       const char **args, size_t *nargs, struct ds_buf *why);
/* A copy of `n` bytes that lives as long as the options. NULL without memory. */
const char *ds_cli_own(struct ds_cli_options *o, const char *s, size_t n);
/* "OFFSET[,SKIP]", "beginning" or "now", as --from takes it. `s` is cut at the comma where it is
 * right, else unchanged. */
bool ds_cli_parse_from(char *s, const char **offset, uint64_t *skip);

#endif
