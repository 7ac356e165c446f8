/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of options: parsing, --help and the manual's option lists come from it. */
#ifndef DS_CLI_OPTIONS_H
#define DS_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dstream.h"

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
    DS_CMD_HELP = 1 << 11
};

enum ds_format_kind { DS_FORMAT_AUTO, DS_FORMAT_RAW, DS_FORMAT_NDJSON, DS_FORMAT_ENVELOPE };

/* Values as parsed. Strings are lent from argv or the environment. */
struct ds_cli_options {
    enum ds_command command;
    /* everywhere */
    bool help, version, quiet;
    int verbose;
    const char *base_url;
    /* where to start and stop */
    const char *from; /* offset part; NULL: not given */
    uint64_t from_skip;
    const char *state; /* -S */
    bool reset;
    bool follow;
    bool until_closed; /* --until closed */
    bool wait_create;
    bool has_count, has_bytes;
    uint64_t count, bytes;
    int64_t max_time, idle; /* ms; -1: none */
    bool require_closed, require_end;
    enum dstream_live live; /* auto unless given */
    bool live_given;
    /* output */
    const char *output; /* -o */
    enum ds_format_kind format;
    bool format_given, overwrite, append;
    int64_t sync_ms;     /* --sync DUR; -1: not by time */
    uint64_t sync_bytes; /* --sync SIZE; 0: not by size */
    bool sync_batch, strict_verify;
    /* network */
    const char **headers; /* -H */
    size_t nheaders;
    const char *cacert;
    bool insecure;
    int64_t connect_timeout, stall_timeout, header_timeout; /* ms; -1: default */
    /* writing */
    const char *type; /* --type */
    const char *ttl, *expires;
    const char *data; /* --data FILE */
    bool closed, close_after, json, yes, print_offset;
    const char *create_type; /* write --create[=TYPE] */
    bool create;
    /* serve */
    const char *listen; /* --listen HOST:PORT */
    uint64_t page_size;
    int64_t sse_time, poll_time;
    /* decode */
    bool batches;
    const char *encoding;
};

#endif
