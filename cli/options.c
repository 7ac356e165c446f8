/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/options.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "base/url.h"
#include "cli/format.h"
#include "cli/template.h"
#include "cli/headers.h"
#include "store/segment.h"
#include "cli/pace.h"
#include "devserver/fault.h"
#include "producer/producer.h"

/* --- commands --------------------------------------------------------------------------------- */

const struct ds_command_info ds_command_table[DS_COMMANDS] = {
    {"read", DS_CMD_READ, "URL...", "print streams from the beginning up to where they end now"},
    {"tail", DS_CMD_TAIL, "URL...", "print what is appended to streams from now on"},
    {"export", DS_CMD_EXPORT, "URL... -o FILE|-d DIR|--sqlite DB|--exec COMMAND",
     "write streams to files, each byte once, over any interruption"},
    {"record", DS_CMD_RECORD, "URL -o FILE",
     "keep a stream's answers in a file, with their timing"},
    {"replay", DS_CMD_REPLAY, "FILE", "play a recording, with its timing"},
    {"copy", DS_CMD_COPY, "URL URL", "write what a stream has to another one, exactly once"},
    {"fork", DS_CMD_FORK, "URL --from URL", "create a stream that begins as another one does"},
    {"wait", DS_CMD_WAIT, "URL --for WHAT", "end when a stream exists, has data, or is closed"},
    {"create", DS_CMD_CREATE, "URL", "create a stream"},
    {"write", DS_CMD_WRITE, "URL [FILE...]", "append files or standard input to a stream"},
    {"close", DS_CMD_CLOSE, "URL", "close a stream for good"},
    {"delete", DS_CMD_DELETE, "URL", "delete a stream"},
    {"stat", DS_CMD_STAT, "URL", "say what a stream is and where it ends"},
    {"serve", DS_CMD_SERVE, "", "run a server of streams in memory"},
    {"decode", DS_CMD_DECODE, "[FILE]", "print the events of an event stream's bytes as JSON"},
    {"state", DS_CMD_STATE, "show|verify|set|rm FILE [NAME]",
     "show, prove, change or remove a state file"},
    {"help", DS_CMD_HELP, "[COMMAND|TOPIC]", "explain a command or a topic"},
};

const struct ds_command_info *ds_command_find(const char *name)
{
    for (size_t i = 0; i < DS_COMMANDS; i++) {
        if (strcmp(ds_command_table[i].name, name) == 0)
            return &ds_command_table[i];
    }
    return NULL;
}

const struct ds_command_info *ds_command_info(enum ds_command command)
{
    for (size_t i = 0; i < DS_COMMANDS; i++) {
        if (ds_command_table[i].command == command)
            return &ds_command_table[i];
    }
    return NULL;
}

/* --- values ----------------------------------------------------------------------------------- */

#define FIELD(type) ((type *)(void *)((char *)o + self->at))

static const char *set_flag(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)value;
    *FIELD(bool) = true;
    return NULL;
}

static const char *set_more(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)value;
    ++*FIELD(int);
    return NULL;
}

static const char *set_text(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    *FIELD(const char *) = value;
    return value[0] ? NULL : "something that is not empty";
}

static const char *set_duration(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    return ds_parse_duration(value, FIELD(int64_t)) ? NULL : "a duration, as 500ms, 5s or 2m";
}

/* Nothing happens in no time. */
static const char *set_positive(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    return ds_parse_duration(value, FIELD(int64_t)) && *FIELD(int64_t) > 0
               ? NULL
               : "a duration above 0, as 500ms, 5s or 2m";
}

static const char *set_retry(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    uint64_t n;
    (void)self;
    if (!ds_parse_u64(value, INT_MAX, &n))
        return "a number from 0 up";
    o->retry = (int)n;
    return NULL;
}

static const char *set_size(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    if (ds_parse_size(value, FIELD(uint64_t)) && *FIELD(uint64_t) > 0)
        return NULL;
    return "a size from 1 up, as 1024, 64k or 1MiB";
}

static const char *set_bytes(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    o->has_bytes = true;
    return set_size(o, self, value);
}

static const char *set_count(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->has_count = true;
    return ds_parse_u64(value, UINT64_MAX, &o->count) && o->count > 0 ? NULL : "a number from 1 up";
}

static const char *set_errors(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->json_errors = strcmp(value, "json") == 0;
    return o->json_errors || strcmp(value, "text") == 0 ? NULL : "text or json";
}

static const char *set_progress(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    static const char *const names[] = {"auto", "line", "json", "none"};
    (void)self;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], value) == 0) {
            o->progress = (enum ds_progress)i;
            return NULL;
        }
    }
    return "auto, line, json or none";
}

static const char *set_last(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    return ds_parse_u64(value, UINT64_MAX, &o->last) && o->last > 0 ? NULL : "a number from 1 up";
}

/* Kept as it was given: how it goes on the wire is the command's. */
static const char *set_ttl(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    int64_t ms;
    (void)self;
    o->ttl = value;
    return ds_parse_duration(value, &ms) ? NULL : "a duration, as 30s, 2h or 7d";
}

const char *ds_cli_own(struct ds_cli_options *o, const char *s, size_t n)
{
    char **owned = ds_realloc(o->owned, (o->nowned + 1) * sizeof *owned);
    if (owned)
        o->owned = owned;
    char *copy = owned ? ds_strndup(s, n) : NULL;
    if (copy)
        o->owned[o->nowned++] = copy;
    return copy;
}

/* A URL of the command line. One with a password is copied, and blanked where it stood, out of the
 * process list. NULL: no memory. */
static const char *take_url(struct ds_cli_options *o, char *value)
{
    size_t at, n;
    ds_url_secret(value, &at, &n);
    if (n == 0)
        return value;
    const char *copy = ds_cli_own(o, value, strlen(value));
    memset(value + at, '*', n);
    o->secret_in_argv = true;
    return copy;
}

static const char *set_url(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    const char *url = take_url(o, value);
    *FIELD(const char *) = url;
    return !url ? "more memory" : url[0] ? NULL : "something that is not empty";
}

bool ds_cli_parse_from(char *s, const char **offset, uint64_t *skip)
{
    char *comma = strchr(s, ',');
    size_t n = comma ? (size_t)(comma - s) : strlen(s);
    *skip = 0;
    if (comma && !ds_parse_u64(comma + 1, UINT64_MAX, skip))
        return false;
    if (n == 0 || (*skip > 0 && n == 3 && memcmp(s, "now", n) == 0))
        return false;
    if (comma)
        *comma = '\0';
    *offset = strcmp(s, "beginning") == 0 ? "-1" : s;
    return true;
}

static const char *set_from(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    if (o->command == DS_CMD_FORK) {
        o->fork_from = take_url(o, value);
        return o->fork_from && value[0] ? NULL : "the stream to begin as";
    }
    return ds_cli_parse_from(value, &o->from, &o->from_skip)
               ? NULL
               : "beginning, now, or OFFSET[,SKIP] with SKIP a number";
}

static const char *set_until(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    if (o->command == DS_CMD_REPLAY) {
        o->until = NULL;
        return strcmp(value, "end") == 0 || (ds_cli_parse_from(value, &o->until, &o->until_skip) &&
                                             (o->until_skip > 0 || !ds_token_is_sentinel(o->until)))
                   ? NULL
                   : "end, or OFFSET[,SKIP] with SKIP a number";
    }
    o->until_closed = strcmp(value, "closed") == 0;
    o->until_end = strcmp(value, "end") == 0;
    return o->until_closed || o->until_end ? NULL : "end or closed";
}

static const char *set_at(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    if (!ds_cli_parse_from(value, &o->fork_at, &o->fork_skip))
        return "OFFSET[,SKIP] with SKIP a number";
    return ds_token_is_sentinel(o->fork_at) ? "an offset that an answer had: no server can fork at "
                                              "-1 or now"
                                            : NULL;
}

static const char *set_for(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    static const char *const names[] = {
        [DS_WAIT_EXISTS] = "exists", [DS_WAIT_DATA] = "data", [DS_WAIT_CLOSED] = "closed"};
    (void)self;
    for (enum ds_wait w = DS_WAIT_EXISTS; w <= DS_WAIT_CLOSED; w++) {
        if (strcmp(value, names[w]) == 0)
            o->wait_for = w;
    }
    return o->wait_for != DS_WAIT_NOTHING ? NULL : "exists, data or closed";
}

static const char *set_speed(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    return ds_pace_parse(value, &o->speed) ? NULL : "a number above 0, as 1, 0.5 or 20, or max";
}

static const char *set_require(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->require_closed = strcmp(value, "closed") == 0;
    o->require_end = strcmp(value, "end") == 0;
    return o->require_closed || o->require_end ? NULL : "end or closed";
}

static const char *set_live(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    static const struct {
        const char *name;
        enum dstream_live live;
    } modes[] = {{"auto", DSTREAM_LIVE_AUTO},
                 {"sse", DSTREAM_LIVE_SSE},
                 {"long-poll", DSTREAM_LIVE_LONG_POLL}};
    (void)self;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(modes[i].name, value) == 0) {
            o->live = modes[i].live;
            o->live_given = true;
            return NULL;
        }
    }
    return "auto, sse or long-poll";
}

/* What is wrong with it is named. */
static const char *set_template(struct ds_cli_options *o, const char *value)
{
    static const char rule[] =
        "a template with %o, %i, %n, %s, %S, %t, %u, %%, \\n, \\t, \\r, \\0 and \\\\: not with ";
    char why[sizeof rule + 4];
    o->format = DS_FORMAT_TEMPLATE;
    o->template = value;
    const char *wrong = ds_template_wrong(value);
    if (strlen(value) > DS_TEMPLATE_MAX)
        return "a template of at most 1024 bytes";
    if (!wrong)
        return NULL;
    (void)snprintf(why, sizeof why, "%s%.2s", rule, wrong);
    const char *kept = ds_cli_own(o, why, strlen(why));
    return kept ? kept : rule;
}

static const char *set_format(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->format_given = true;
    o->format = DS_FORMAT_AUTO;
    if (strchr(value, '%'))
        return set_template(o, value);
    return strcmp(value, "auto") == 0 ||
                   (ds_format_of(value, &o->format) && o->format != DS_FORMAT_TEMPLATE)
               ? NULL
               : "auto, raw, ndjson, lines, envelope or sse, or a template with a % in it";
}

/* The last one given counts. */
static const char *set_sync(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->sync_given = true;
    o->sync_ms = -1;
    o->sync_bytes = 0;
    o->sync_batch = strcmp(value, "batch") == 0;
    if (o->sync_batch || ds_parse_duration(value, &o->sync_ms))
        return NULL;
    o->sync_ms = -1;
    return ds_parse_size(value, &o->sync_bytes) && o->sync_bytes > 0
               ? NULL
               : "a duration as 5s, a size as 1MiB, or batch";
}

static const char *set_pack(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->pack = strcmp(value, "gzip") == 0   ? DS_PACK_GZIP
              : strcmp(value, "zstd") == 0 ? DS_PACK_ZSTD
                                           : DS_PACK_NONE;
    return o->pack != DS_PACK_NONE ? NULL : "gzip or zstd";
}

static const char *set_age(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    const char *wanted = set_duration(o, self, value);
    return wanted || *FIELD(int64_t) > 0 ? wanted : "a duration above 0";
}

static const char *set_segment(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    *FIELD(const char *) = value;
    return ds_segment_valid(value) ? NULL
                                   : "a name with %n in it, and of percent signs only %b, %e, %n, "
                                     "%t and %%";
}

static const char *set_ack_fd(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    uint64_t n = 0;
    (void)self;
    bool good = ds_parse_u64(value, INT_MAX, &n);
    o->ack_fd = (int)n;
    return good ? NULL : "the number of a descriptor that is open for reading, as 3";
}

static const char *set_verify(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->strict_verify = true;
    return strcmp(value, "strict") == 0 ? NULL : "strict";
}

static const char *set_on_gone(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    static const char *const names[] = {"fail", "earliest", "now"};
    (void)self;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], value) == 0) {
            o->on_gone = (enum dstream_gone)i;
            return NULL;
        }
    }
    return "fail, earliest or now";
}

static const char *set_header(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    return ds_headers_take(o, value);
}

static const char *set_to_header(struct ds_cli_options *o, const struct ds_option *self,
                                 char *value)
{
    (void)self;
    return ds_headers_take_to(o, value);
}

static const char *set_to_auth_file(struct ds_cli_options *o, const struct ds_option *self,
                                    char *value)
{
    (void)self;
    return ds_headers_auth_to(o, value);
}

static const char *add_text(struct ds_texts *list, char *value)
{
    const char **all = ds_realloc(list->at, (list->n + 1) * sizeof *all);
    if (!all)
        return "more memory";
    list->at = all;
    list->at[list->n++] = value;
    return NULL;
}

static const char *set_load(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    const char *equals = strrchr(value, '=');
    (void)self;
    return equals && equals > value && equals[1] ? add_text(&o->loads, value)
                                                 : "FILE=PATH, PATH being that of the stream";
}

static const char *set_replay(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    return *value ? add_text(&o->replays, value) : "FILE, or FILE=PATH";
}

static const char *set_fault(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    struct ds_fault f;
    (void)self;
    o->fault = value;
    return ds_fault_parse(value, &f)
               ? NULL
               : "drop-after=BYTES,status=CODE,stall=DURATION,split=BYTES,every=N, some of them";
}

/* One that names a password is blanked out of the process list. */
static const char *set_proxy(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    if (!ds_proxy_valid(value))
        return "[SCHEME://]HOST[:PORT], the scheme being http, https, socks4, socks4a, socks5 or "
               "socks5h";
    o->proxy = ds_cli_own(o, value, strlen(value));
    if (!o->proxy)
        return "more memory";
    char *at = strrchr(value, '@'), *slashes = strstr(value, "://");
    if (at) {
        char *from = slashes && slashes < at ? slashes + 3 : value;
        memset(from, '*', (size_t)(at - from));
        o->secret_in_argv = true;
    }
    return NULL;
}

static const char *set_resolve(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    if (!ds_resolve_valid(value))
        return "HOST:PORT:ADDRESS, with a number as the port and an IP address";
    const char **all = ds_realloc(o->resolve, (o->nresolve + 1) * sizeof *all);
    if (!all)
        return "more memory";
    o->resolve = all;
    o->resolve[o->nresolve++] = value;
    return NULL;
}

static const char *set_create(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->create = true;
    o->create_type = value;
    return value && !value[0] ? "a content type behind the =" : NULL;
}

static const char *set_epoch(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->epoch_given = true;
    o->claim = strcmp(value, "claim") == 0;
    return o->claim || ds_parse_u64(value, DS_EPOCH_MAX, &o->epoch)
               ? NULL
               : "a number up to 2^53-1, or claim";
}

static const char *set_in_flight(struct ds_cli_options *o, const struct ds_option *self,
                                 char *value)
{
    uint64_t n = 0;
    (void)self;
    bool good = ds_parse_u64(value, DS_WINDOW_MAX, &n) && n > 0;
    o->in_flight = (unsigned)n;
    return good ? NULL : "a number from 1 to 64";
}

static const char *set_split(struct ds_cli_options *o, const struct ds_option *self, char *value)
{
    (void)self;
    o->lines = strcmp(value, "newline") == 0;
    return o->lines ? NULL : "newline";
}

/* --- the table -------------------------------------------------------------------------------- */

#define PRINTING  (DS_CMD_READ | DS_CMD_TAIL | DS_CMD_EXPORT)
#define READING   (PRINTING | DS_CMD_RECORD | DS_CMD_COPY)
#define RANGED    (READING | DS_CMD_REPLAY)
#define PRODUCING (DS_CMD_WRITE | DS_CMD_REPLAY | DS_CMD_COPY)
#define WRITING   (DS_CMD_CREATE | DS_CMD_CLOSE | PRODUCING)
#define SENDING                                                                                    \
    (READING | DS_CMD_STATE | DS_CMD_CREATE | DS_CMD_CLOSE | DS_CMD_WRITE | DS_CMD_DELETE |        \
     DS_CMD_STAT | DS_CMD_FORK | DS_CMD_WAIT)
#define NETWORK    (SENDING | WRITING)
#define EVERYWHERE (~0U)
#define AT(field)  offsetof(struct ds_cli_options, field)

const struct ds_option ds_option_table[] = {
    {"help", 'h', NULL, false, false, DS_GROUP_GENERAL, EVERYWHERE, NULL,
     "Print what the command does and which options it takes.", set_flag, AT(help)},
    {"version", 'V', NULL, false, false, DS_GROUP_GENERAL, EVERYWHERE, NULL, "Print the version.",
     set_flag, AT(version)},
    {"quiet", 'q', NULL, false, false, DS_GROUP_GENERAL, EVERYWHERE, "quiet",
     "Say nothing but errors: no warnings, no status line, no resume point.", set_flag, AT(quiet)},
    {"verbose", 'v', NULL, false, false, DS_GROUP_GENERAL, EVERYWHERE, "verbose",
     "Print a line for each request and for each retry, on standard error.", set_more, AT(verbose)},

    {"errors", 0, "FORM", false, false, DS_GROUP_GENERAL, EVERYWHERE, "errors",
     "What standard error is made of: text, or json, one object a line, with level (error, "
     "warning, "
     "info) and message; of an error also the exit code, and where known the name of its code, the "
     "HTTP status, url, offset, and advice.",
     set_errors, 0},
    {"progress", 0, "HOW", false, false, DS_GROUP_GENERAL, RANGED | DS_CMD_WRITE, "progress",
     "How to show what was done and what is going on: auto, a status line where standard error is "
     "a "
     "terminal; line, there or else a line each second; json, an object each second; none.",
     set_progress, 0},
    {"status-file", 0, "FILE", false, false, DS_GROUP_GENERAL, RANGED | DS_CMD_WRITE, "status-file",
     "Keep that object in FILE, which is replaced whole each second and at the end.", set_text,
     AT(status_file)},
    {"from", 0, "POSITION", false, false, DS_GROUP_RANGE, RANGED | DS_CMD_FORK | DS_CMD_STATE,
     "from",
     "Where to start: beginning (the same as -1), now, or OFFSET[,SKIP], as printed at the end of "
     "an earlier run. SKIP counts messages of a JSON stream, else bytes, to leave out after "
     "OFFSET. "
     "tail starts at now, the others at the beginning. For replay it is a position in the "
     "recording; for fork a URL, of the stream to begin as; for state set where the state is to "
     "go on.",
     set_from, AT(from)},
    {"state", 'S', "FILE", false, false, DS_GROUP_RANGE, READING | PRODUCING, "state",
     "Go on from the state file, where there is one, and keep it current. For read and tail it is "
     "written after the output, so that a crash can make output come twice, never be lost. For "
     "export and record it is the name of the state file, instead of that of the output with "
     ".dstate added. For write it is a producer's journal: what is not acknowledged is written "
     "there before it is sent, and sent again after a crash.",
     set_text, AT(state)},
    {"reset", 0, NULL, false, false, DS_GROUP_RANGE, PRINTING | DS_CMD_RECORD, NULL,
     "Forget the position that the state file has.", set_flag, AT(reset)},
    {"follow", 'f', NULL, false, false, DS_GROUP_RANGE, READING, "follow",
     "At the end wait for more, until the stream is closed. tail always does.", set_flag,
     AT(follow)},
    {"until", 0, "WHEN", false, false, DS_GROUP_RANGE, RANGED, "until",
     "When to stop: end, where the stream ends now, or closed, which follows the stream until it "
     "is closed. For replay: end, or OFFSET[,SKIP], a position in the recording.",
     set_until, 0},
    {"last", 0, "N", false, false, DS_GROUP_RANGE, DS_CMD_TAIL, "last",
     "Begin with the last N messages there are, or lines of a stream that is not JSON. Servers "
     "cannot be read backwards, so all of the stream is read for that.",
     set_last, 0},
    {"count", 'n', "N", false, false, DS_GROUP_RANGE, RANGED, "count",
     "Stop after N messages. Only JSON streams have messages.", set_count, 0},
    {"bytes", 0, "SIZE", false, false, DS_GROUP_RANGE, RANGED, "bytes",
     "Stop after SIZE bytes of the stream. A message of a JSON stream is never cut: those come "
     "that fit.",
     set_bytes, AT(bytes)},
    {"max-time", 0, "DURATION", false, false, DS_GROUP_RANGE, RANGED | DS_CMD_WAIT, "max-time",
     "Stop after this time.", set_duration, AT(max_time)},
    {"for", 0, "WHAT", false, false, DS_GROUP_RANGE, DS_CMD_WAIT, NULL,
     "What to wait for: exists, that the stream is there, data, that it has any, or closed.",
     set_for, 0},
    {"at", 0, "POSITION", false, false, DS_GROUP_RANGE, DS_CMD_FORK, NULL,
     "Where the fork leaves the stream that it begins as: OFFSET[,SKIP], as dstream prints it. "
     "Without it: where that ends now.",
     set_at, 0},
    {"idle", 0, "DURATION", false, false, DS_GROUP_RANGE, READING, "idle",
     "Stop when no data came for this long.", set_duration, AT(idle)},
    {"require", 0, "WHAT", false, false, DS_GROUP_RANGE, READING, "require",
     "Exit with 3 unless the closed stream was read to its end (closed), or a stream up to where "
     "it ended (end).",
     set_require, 0},
    {"to", 0, "WHERE", false, false, DS_GROUP_OUTPUT, DS_CMD_REPLAY, NULL,
     "Where to play to: -, standard output, which is the default, or the URL of a stream, which is "
     "written exactly once.",
     set_url, AT(to)},
    {"speed", 0, "SPEED", false, false, DS_GROUP_RANGE, DS_CMD_REPLAY | DS_CMD_SERVE, NULL,
     "How fast to play: 1, the default, with the recorded timing; N, so many times as fast; or "
     "max.",
     set_speed, 0},
    {"live", 0, "MODE", false, false, DS_GROUP_RANGE, READING, "live",
     "How to follow: sse, long-poll, or auto, which is SSE for JSON and binary streams and "
     "long-poll for text. SSE changes text: it cannot carry carriage returns, or bytes that are "
     "not UTF-8.",
     set_live, 0},
    {"wait-create", 0, NULL, false, false, DS_GROUP_RANGE, READING, "wait-create",
     "Wait for a stream that does not exist yet.", set_flag, AT(wait_create)},

    {"output", 'o', "FILE", false, false, DS_GROUP_OUTPUT,
     DS_CMD_READ | DS_CMD_EXPORT | DS_CMD_RECORD | DS_CMD_STATE, "output",
     "Write to FILE instead of standard output, which - stands for (read). One that exists is "
     "refused without --overwrite or --append. For state verify: the file that the state goes "
     "with.",
     set_text, AT(output)},
    {"directory", 'd', "DIR", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT | DS_CMD_STATE,
     "directory",
     "Write each stream to a file of its own in DIR, which is made where it is not there. "
     "MANIFEST.ndjson in it says which stream is in which file. One that fails does not stop the "
     "others. --count and --bytes are for each of them. For state verify: the directory that the "
     "state goes with.",
     set_text, AT(directory)},
    {"list", 0, "FILE", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, "list",
     "Export the streams that FILE names as well, one a line. Empty lines, and those that begin "
     "with #, are left out. - is standard input.",
     set_text, AT(list)},
    {"sqlite", 0, "DB", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, "sqlite",
     "Write to a database of SQLite, which is made where it is not there: a row for each message, "
     "or "
     "piece of bytes, and the position in the same transaction. With --reset, --overwrite removes "
     "the rows of the stream, and --append keeps them. --count and --bytes are for each stream.",
     set_text, AT(sqlite)},
    {"table", 0, "NAME", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, "table",
     "The table of --sqlite that the rows go to. The default is messages.", set_text, AT(table)},
    {"overwrite", 0, NULL, false, false, DS_GROUP_OUTPUT,
     DS_CMD_READ | DS_CMD_EXPORT | DS_CMD_RECORD, "overwrite",
     "Replace a file that exists. An export that goes on from a state needs no such option, and "
     "does not replace anything.",
     set_flag, AT(overwrite)},
    {"append", 0, NULL, false, false, DS_GROUP_OUTPUT, DS_CMD_READ | DS_CMD_EXPORT, "append",
     "Write behind what a file that exists has.", set_flag, AT(append)},
    {"format", 'F', "FORMAT", false, false, DS_GROUP_OUTPUT, PRINTING | DS_CMD_REPLAY, "format",
     "raw, ndjson, lines, envelope, sse, a template as '%o %s\\n', or auto: ndjson for a JSON "
     "stream, "
     "else raw. See FORMATS.",
     set_format, 0},
    {"sync", 0, "WHEN", false, false, DS_GROUP_OUTPUT, PRINTING | DS_CMD_RECORD, "sync",
     "How often the state is made durable: a duration, a size of output, or batch, for each "
     "answer. The default is 1s, and the end in any case. It bounds what has to be read again "
     "after a crash.",
     set_sync, 0},
    {"compress", 'z', "HOW", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, "compress",
     "Write compressed files: gzip or zstd. They can be read by gunzip or zstd at any time, up to "
     "the last commit. In a directory their names end in .gz or .zst.",
     set_pack, 0},
    {"rotate-size", 0, "SIZE", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, "rotate-size",
     "Write segments: once FILE.partial has SIZE bytes, and when the stream is closed, it gets a "
     "name of its own, which does not change any more, and a line in FILE.manifest.ndjson, or "
     "the directory's MANIFEST.ndjson, that says from where to where it goes. A message is never "
     "cut.",
     set_size, AT(rotate_size)},
    {"rotate-time", 0, "DURATION", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, "rotate-time",
     "The same once the first data of a segment are so old, whether more comes or not. There are "
     "no empty segments.",
     set_age, AT(rotate_time)},
    {"rotate-name", 0, "PATTERN", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, "rotate-name",
     "How segments are called: %b is the name of FILE up to its ending, %e the ending, %n the "
     "number of the segment, %t when its data began. The default is %b-%n%e, as "
     "orders-000001.ndjson. There has to be %n, with --directory %b and %e as well.",
     set_segment, AT(rotate_name)},
    {"exec", 0, "COMMAND", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, "exec",
     "Run COMMAND, by the shell, for each portion of the stream, one after another: the portion is "
     "its standard input, the environment says where it lies, and the state moves behind it when "
     "the command ends with 0. With --state.",
     set_text, AT(exec)},
    {"ack-fd", 0, "N", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORT, NULL,
     "Print envelopes on standard output, and behind each portion a line with the position there; "
     "who reads them writes the position to what is descriptor N here, and the state moves to it. "
     "With --state.",
     set_ack_fd, 0},
    {"verify-resume", 0, "HOW", false, false, DS_GROUP_OUTPUT, DS_CMD_EXPORTS | DS_CMD_COPY,
     "verify-resume",
     "strict: do not go on from a state where the server no longer keeps what shows that the "
     "stream is still the same one. Without it that is a warning.",
     set_verify, 0},

    {"url", 0, "URL", false, false, DS_GROUP_NETWORK, NETWORK, "url",
     "The base that names of streams without a scheme are joined to.", set_url, AT(base_url)},
    {"header", 'H', "HEADER", false, true, DS_GROUP_NETWORK, SENDING, "header",
     "Send a request header, as 'Name: value', or those in a file, one a line, as @FILE. Sent to "
     "one origin only: that of the base URL, else that of the first URL.",
     set_header, 0},
    {"to-header", 0, "HEADER", false, true, DS_GROUP_NETWORK, DS_CMD_REPLAY | DS_CMD_COPY,
     "to-header",
     "Send a request header to the stream that is written, as 'Name: value', or those in a file, "
     "as "
     "@FILE. It gets no other ones, also where both streams are of one server.",
     set_to_header, 0},
    {"to-auth-file", 0, "FILE", false, false, DS_GROUP_NETWORK, DS_CMD_REPLAY | DS_CMD_COPY,
     "to-auth-file",
     "The first line of FILE is the value of the Authorization header for the stream that is "
     "written, as Bearer TOKEN.",
     set_to_auth_file, 0},
    {"auth-file", 0, "FILE", false, false, DS_GROUP_NETWORK, NETWORK, "auth-file",
     "The first line of FILE is the value of the Authorization header, as Bearer TOKEN. It is read "
     "again where the server refuses it, and after HUP. Sent to one origin, as --header.",
     set_text, AT(auth_file)},
    {"auth-command", 0, "COMMAND", false, false, DS_GROUP_NETWORK, NETWORK, "auth-command",
     "The same of what COMMAND prints, which the shell runs; it is run again then. It may take "
     "30 s, during which nothing is read or written.",
     set_text, AT(auth_command)},
    {"cacert", 0, "FILE", false, false, DS_GROUP_NETWORK, NETWORK, "cacert",
     "Trust the certificates in FILE (PEM) instead of the system's.", set_text, AT(cacert)},
    {"insecure", 0, NULL, false, false, DS_GROUP_NETWORK, NETWORK, "insecure",
     "Accept any certificate. For tests only.", set_flag, AT(insecure)},
    {"cert", 0, "FILE", false, false, DS_GROUP_NETWORK, NETWORK, "cert",
     "The certificate (PEM) to show to a server that asks for one. Like headers it is for one "
     "origin only.",
     set_text, AT(cert)},
    {"key", 0, "FILE", false, false, DS_GROUP_NETWORK, NETWORK, "key",
     "Its key (PEM, without a pass phrase), where that is not in the same file.", set_text,
     AT(key)},
    {"netrc", 0, NULL, false, false, DS_GROUP_NETWORK, NETWORK, "netrc",
     "Take the name and password for a URL's host from $NETRC, else ~/.netrc. They are never sent "
     "to where a server redirects to. What is in the URL or a header goes first.",
     set_flag, AT(netrc)},
    {"proxy", 0, "URL", false, true, DS_GROUP_NETWORK, NETWORK, "proxy",
     "Connect by a proxy, [SCHEME://]HOST[:PORT], with a scheme of http (the default), https, "
     "socks4, socks4a, socks5 or socks5h. Without it http_proxy (for http URLs), https_proxy and "
     "all_proxy in the environment count; an empty URL is no proxy. Hosts in no_proxy are "
     "connected "
     "to directly.",
     set_proxy, 0},
    {"resolve", 0, "HOST:PORT:ADDRESS", false, false, DS_GROUP_NETWORK, NETWORK, "resolve",
     "Connect to this address, or these, joined by commas, for HOST and PORT.", set_resolve, 0},
    {"http1.1", 0, NULL, false, false, DS_GROUP_NETWORK, NETWORK, "http1.1",
     "Use HTTP/1.1 alone. Without it HTTP/2 is used over https where the server offers it.",
     set_flag, AT(http1)},
    {"compressed", 0, NULL, false, false, DS_GROUP_NETWORK, READING, "compressed",
     "Let the server compress its answers by gzip. Positions, --bytes and all limits are for what "
     "they are decompressed to.",
     set_flag, AT(compressed)},
    {"retry", 0, "N", false, false, DS_GROUP_NETWORK, NETWORK, "retry",
     "How often what failed is tried again, in a row and within 20s: 5 times by default, 0 is not "
     "at "
     "all. A stream that is followed, once it was reached, is asked for again for ever. What "
     "a producer sends (write --producer, copy, replay --to) is bounded by --delivery-timeout "
     "instead.",
     set_retry, 0},
    {"retry-max-delay", 0, "DURATION", false, false, DS_GROUP_NETWORK, NETWORK, "retry-max-delay",
     "The longest wait before that. The waits begin with 0.1s and double. The default is 30s. What "
     "a server asks for (Retry-After) is waited for in any case.",
     set_positive, AT(retry_max_delay)},
    {"connect-timeout", 0, "DURATION", false, false, DS_GROUP_NETWORK, NETWORK, "connect-timeout",
     "For making a connection. The default is 10s.", set_positive, AT(connect_timeout)},
    {"header-timeout", 0, "DURATION", false, false, DS_GROUP_NETWORK, NETWORK, "header-timeout",
     "Until an answer begins. The default is 10s, for SSE 30s. Answers to long-polls, which "
     "servers hold back, have 90s.",
     set_positive, AT(header_timeout)},
    {"stall-timeout", 0, "DURATION", false, false, DS_GROUP_NETWORK, NETWORK, "stall-timeout",
     "How long an answer may be silent. The default is 30s, for SSE 90s.", set_positive,
     AT(stall_timeout)},

    {"replica-lag", 0, "DURATION", false, false, DS_GROUP_NETWORK, READING, "replica-lag",
     "How long an answer that does not fit what was read before may come from a replica that is "
     "behind, before the stream is taken for one made anew. The default is 10s.",
     set_duration, AT(replica_lag)},
    {"on-gone", 0, "WHAT", false, false, DS_GROUP_RANGE, READING, "on-gone",
     "Where the server no longer keeps what comes next: fail (the default), earliest, to go on "
     "with what it still has, or now, to go on at the end. The gap is said.",
     set_on_gone, 0},

    {"type", 0, "TYPE", false, false, DS_GROUP_WRITING,
     DS_CMD_CREATE | DS_CMD_WRITE | DS_CMD_DECODE | DS_CMD_SERVE, "type",
     "The stream's content type, as application/json. write asks the server where it is not given; "
     "serve goes by the name of a file that is loaded.",
     set_text, AT(type)},
    {"ttl", 0, "DURATION", false, false, DS_GROUP_WRITING, DS_CMD_CREATE | PRODUCING, "ttl",
     "The stream goes when it was not used for this long: whole seconds. write: with --create.",
     set_ttl, 0},
    {"expires", 0, "TIME", false, false, DS_GROUP_WRITING, DS_CMD_CREATE, "expires",
     "The stream goes at this time, as 2030-01-02T03:04:05Z.", set_text, AT(expires)},
    {"data", 0, "FILE", false, false, DS_GROUP_WRITING, DS_CMD_CREATE | DS_CMD_CLOSE, "data",
     "What the stream begins with, or ends with, in the same step. - is standard input. For a "
     "JSON stream: JSON values, one after another.",
     set_text, AT(data)},
    {"closed", 0, NULL, false, false, DS_GROUP_WRITING, DS_CMD_CREATE, NULL,
     "Create it closed: its data is all there will be.", set_flag, AT(closed)},
    {"create", 0, "TYPE", true, false, DS_GROUP_WRITING, PRODUCING, NULL,
     "Create the stream first, where it is not there, with this content type: without one, that of "
     "--type, else application/octet-stream; for replay and copy, that of what is written. One "
     "that is there has to be of the type that is named.",
     set_create, 0},
    {"close", 0, NULL, false, false, DS_GROUP_WRITING, PRODUCING, NULL,
     "Close the stream after the last byte, in the same request where that can be. For replay and "
     "copy: where what is written was closed.",
     set_flag, AT(close_after)},
    {"print-offset", 0, NULL, false, false, DS_GROUP_WRITING, PRODUCING, NULL,
     "Print the offset behind what was written, on standard output.", set_flag, AT(print_offset)},
    {"producer", 0, "ID", false, false, DS_GROUP_WRITING, PRODUCING, "producer",
     "Write exactly once, as the producer of this name: a lost answer is asked for again, and "
     "never stores anything twice. Each writer of a stream needs an id of its own; one that "
     "starts under the id of another takes over from it.",
     set_text, AT(producer)},
    {"epoch", 0, "N|claim", false, false, DS_GROUP_WRITING, PRODUCING, NULL,
     "The producer's epoch: a number that no earlier run has used, or claim, one above that which "
     "the server has. Without it each run draws one from the clock, which is above all before.",
     set_epoch, 0},
    {"linger", 0, "DURATION", false, false, DS_GROUP_WRITING, PRODUCING, "linger",
     "How long a message waits for others to share a request with it. The default is 5ms.",
     set_duration, AT(linger)},
    {"batch-bytes", 0, "SIZE", false, false, DS_GROUP_WRITING, PRODUCING, "batch-bytes",
     "The most that goes into one request. The default is 1MiB. With --producer no message may be "
     "larger; without it, one that is goes alone.",
     set_size, AT(batch_bytes)},
    {"in-flight", 0, "N", false, false, DS_GROUP_WRITING, PRODUCING, "in-flight",
     "How many requests of a producer are under way at once, 64 at most. The default is 5.",
     set_in_flight, 0},
    {"split", 0, "HOW", false, false, DS_GROUP_WRITING, DS_CMD_WRITE, "split",
     "newline: on a stream that is not JSON, a line is a message, and no request ends inside of "
     "one. For --producer.",
     set_split, 0},
    {"delivery-timeout", 0, "DURATION", false, false, DS_GROUP_WRITING, PRODUCING,
     "delivery-timeout", "After how long without progress a producer gives up. The default is 2m.",
     set_duration, AT(delivery_timeout)},
    {"journal-max-age", 0, "DURATION", false, false, DS_GROUP_WRITING, PRODUCING, "journal-max-age",
     "How old may be what a journal holds without a fate: servers forget producers after a while, "
     "and then would store it once more. The default is 6d.",
     set_duration, AT(journal_max_age)},
    {"force", 0, NULL, false, false, DS_GROUP_WRITING, PRODUCING, NULL,
     "Send what is older than that all the same.", set_flag, AT(force)},
    {"tee", 0, NULL, false, false, DS_GROUP_WRITING, DS_CMD_WRITE, NULL,
     "Print the messages on standard output as well, as they are taken in. For --producer.",
     set_flag, AT(tee)},
    {"yes", 0, NULL, false, false, DS_GROUP_WRITING, DS_CMD_DELETE, NULL, "Do not ask.", set_flag,
     AT(yes)},
    {"json", 0, NULL, false, false, DS_GROUP_OUTPUT, DS_CMD_STAT | DS_CMD_STATE, NULL,
     "Print one JSON object.", set_flag, AT(json)},

    {"listen", 0, "HOST:PORT", false, false, DS_GROUP_SERVER, DS_CMD_SERVE, NULL,
     "Where to listen. The default is 127.0.0.1:4437; port 0 is any that is free.", set_text,
     AT(listen)},
    {"page-size", 0, "SIZE", false, false, DS_GROUP_SERVER, DS_CMD_SERVE, NULL,
     "How much one answer holds at most. The default is 1MiB.", set_size, AT(page_size)},
    {"sse-time", 0, "DURATION", false, false, DS_GROUP_SERVER, DS_CMD_SERVE, NULL,
     "How long an SSE connection lasts. The default is 60s.", set_duration, AT(sse_time)},
    {"poll-time", 0, "DURATION", false, false, DS_GROUP_SERVER, DS_CMD_SERVE, NULL,
     "How long a long-poll is held. The default is 30s.", set_duration, AT(poll_time)},
    {"load", 0, "FILE=PATH", false, false, DS_GROUP_SERVER, DS_CMD_SERVE, NULL,
     "Make a stream at PATH of what FILE has. JSON (.json, .ndjson, .jsonl, or by --type): values "
     "that become messages. May be given repeatedly.",
     set_load, 0},
    {"replay", 0, "FILE[=PATH]", false, false, DS_GROUP_SERVER, DS_CMD_SERVE, NULL,
     "Play a recording, with its timing, as a stream at PATH; without one, at the path of the "
     "stream that was recorded. It begins when it is first read. May be given repeatedly.",
     set_replay, 0},
    {"fault", 0, "FAULTS", false, false, DS_GROUP_SERVER, DS_CMD_SERVE, NULL,
     "Trouble for who tests a client, joined by commas. Each second read (every=N: each N-th): "
     "status=CODE, it is answered so; drop-after=BYTES, its connection is cut behind so many bytes "
     "of the body; stall=DURATION, its body begins so late. All reads: split=BYTES, bodies go out "
     "in pieces of at most so many bytes.",
     set_fault, 0},

    {"batches", 0, NULL, false, false, DS_GROUP_DECODING, DS_CMD_DECODE, NULL,
     "Print what a reader would deliver instead of the events.", set_flag, AT(batches)},
    {"encoding", 0, "ENCODING", false, false, DS_GROUP_DECODING, DS_CMD_DECODE, NULL,
     "base64: the data events are that. With --batches.", set_text, AT(encoding)},
};
const size_t ds_option_count = sizeof ds_option_table / sizeof *ds_option_table;

/* --- walking over argv ------------------------------------------------------------------------ */

enum token_kind { TOKEN_END, TOKEN_OPERAND, TOKEN_OPTION, TOKEN_UNKNOWN, TOKEN_BARE, TOKEN_EXTRA };

struct token {
    enum token_kind kind;
    const struct ds_option *option; /* but for UNKNOWN; BARE lacks its argument, EXTRA has one */
    char *text;                     /* operand, or value (NULL: none), or what is unknown */
    char letter;                    /* UNKNOWN: the letter of a cluster, else 0 */
};

struct walk {
    char **argv; /* ends with NULL */
    char *cluster;
    bool no_more_options;
};

static const struct ds_option *by_name(const char *name, size_t n)
{
    for (size_t i = 0; i < ds_option_count; i++) {
        const struct ds_option *opt = &ds_option_table[i];
        if (strlen(opt->name) == n && memcmp(opt->name, name, n) == 0)
            return opt;
    }
    return NULL;
}

static const struct ds_option *by_letter(char letter)
{
    for (size_t i = 0; i < ds_option_count; i++) {
        if (ds_option_table[i].letter == letter && letter)
            return &ds_option_table[i];
    }
    return NULL;
}

/* The option's argument: `joined`, or where it must have one, the next word. */
static struct token with_value(struct walk *w, const struct ds_option *opt, char *joined)
{
    struct token t = {TOKEN_OPTION, opt, joined, 0};
    if (joined || !opt->arg || opt->optional)
        return t;
    if (*w->argv)
        t.text = *w->argv++;
    else
        t.kind = TOKEN_BARE;
    return t;
}

static struct token next_long(struct walk *w, char *word)
{
    char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) : strlen(word);
    const struct ds_option *opt = by_name(word + 2, n - 2);
    if (!opt)
        return (struct token){TOKEN_UNKNOWN, NULL, word, 0};
    if (equals && !opt->arg)
        return (struct token){TOKEN_EXTRA, opt, equals + 1, 0};
    return with_value(w, opt, equals ? equals + 1 : NULL);
}

static struct token next_short(struct walk *w)
{
    char letter = *w->cluster++;
    const struct ds_option *opt = by_letter(letter);
    if (!opt)
        return (struct token){TOKEN_UNKNOWN, NULL, NULL, letter};
    char *rest = w->cluster;
    if (opt->arg)
        w->cluster = NULL;
    return with_value(w, opt, opt->arg && *rest ? rest : NULL);
}

static struct token walk_next(struct walk *w)
{
    if (w->cluster && *w->cluster)
        return next_short(w);
    w->cluster = NULL;
    char *word = *w->argv;
    if (!word)
        return (struct token){.kind = TOKEN_END};
    w->argv++;
    if (w->no_more_options || word[0] != '-' || !word[1])
        return (struct token){TOKEN_OPERAND, NULL, word, 0};
    if (strcmp(word, "--") == 0) {
        w->no_more_options = true;
        return walk_next(w);
    }
    if (word[1] == '-')
        return next_long(w, word);
    w->cluster = word + 1;
    return next_short(w);
}

/* --- parsing ---------------------------------------------------------------------------------- */

static enum dstream_code unknown(const struct token *t, struct ds_buf *why)
{
    if (t->letter)
        ds_buf_addf(why, "there is no option -%c", t->letter);
    else
        ds_buf_addf(why, "there is no option %.*s", (int)strcspn(t->text, "="), t->text);
    return DSTREAM_ERR_ARGUMENT;
}

/* Adds the names of the commands in the mask. */
static void add_commands(struct ds_buf *out, unsigned commands)
{
    size_t left = 0;
    for (size_t i = 0; i < DS_COMMANDS; i++)
        left += (commands & ds_command_table[i].command) != 0;
    for (size_t i = 0; i < DS_COMMANDS; i++) {
        if (!(commands & ds_command_table[i].command))
            continue;
        left--;
        ds_buf_addf(out, "%s%s", ds_command_table[i].name,
                    left > 1    ? ", "
                    : left == 1 ? " and "
                                : "");
    }
}

static enum dstream_code apply(struct ds_cli_options *o, const struct token *t, struct ds_buf *why)
{
    const struct ds_option *opt = t->option;
    if (t->kind == TOKEN_BARE)
        ds_buf_addf(why, "--%s needs an argument, %s", opt->name, opt->arg);
    if (t->kind == TOKEN_EXTRA)
        ds_buf_addf(why, "--%s takes no argument", opt->name);
    if (t->kind != TOKEN_OPTION)
        return DSTREAM_ERR_ARGUMENT;
    if (opt->commands != EVERYWHERE && !(opt->commands & o->command)) {
        ds_buf_addf(why, "--%s is an option of ", opt->name);
        add_commands(why, opt->commands);
        return DSTREAM_ERR_ARGUMENT;
    }
    const char *wanted = opt->set(o, opt, t->text);
    if (!wanted)
        return DSTREAM_OK;
    ds_buf_addf(why, "--%s%s%.200s: wanted is %s", opt->name,
                opt->secret || !t->text || !*t->text ? "" : " ",
                opt->secret || !t->text ? "" : t->text, wanted);
    return DSTREAM_ERR_ARGUMENT;
}

/* The command is the first operand, wherever it stands: which options it takes is known before any
 * is looked at. */
static enum dstream_code find_command(struct ds_cli_options *o, char **argv, struct ds_buf *why)
{
    struct walk w = {.argv = argv};
    struct token t;
    do
        t = walk_next(&w);
    while (t.kind == TOKEN_OPTION);
    if (t.kind != TOKEN_OPERAND)
        return DSTREAM_OK;
    const struct ds_command_info *info = ds_command_find(t.text);
    if (info) {
        o->command = info->command;
        return DSTREAM_OK;
    }
    ds_buf_addf(why, "there is no command %.200s", t.text);
    return DSTREAM_ERR_ARGUMENT;
}

static enum dstream_code operand(struct ds_cli_options *o, char *text, const char **arg,
                                 struct ds_buf *why)
{
    *arg = take_url(o, text);
    if (*arg)
        return DSTREAM_OK;
    ds_buf_adds(why, "no memory for the command line");
    return DSTREAM_ERR_NOMEM;
}

/* How errors are shown is to be known before the first one, which may be about what stands before.
 */
static void find_errors_form(struct ds_cli_options *o, char **argv)
{
    struct walk w = {.argv = argv};
    for (struct token t = walk_next(&w); t.kind != TOKEN_END; t = walk_next(&w)) {
        if (t.kind == TOKEN_OPTION && strcmp(t.option->name, "errors") == 0)
            (void)set_errors(o, t.option, t.text);
    }
}

enum dstream_code ds_cli_options_parse(struct ds_cli_options *o, int argc, char **argv,
                                       const char **args, size_t *nargs, struct ds_buf *why)
{
    *nargs = 0;
    if (argc < 1)
        return DSTREAM_OK;
    find_errors_form(o, argv + 1);
    enum dstream_code rc = find_command(o, argv + 1, why);
    struct walk w = {.argv = argv + 1};
    bool named = false;
    while (rc == DSTREAM_OK) {
        struct token t = walk_next(&w);
        if (t.kind == TOKEN_END)
            break;
        if (t.kind == TOKEN_UNKNOWN)
            rc = unknown(&t, why);
        else if (t.kind != TOKEN_OPERAND)
            rc = apply(o, &t, why);
        else if (named)
            rc = operand(o, t.text, &args[(*nargs)++], why);
        else
            named = true;
    }
    return rc;
}

void ds_cli_options_init(struct ds_cli_options *o)
{
    *o = (struct ds_cli_options){.max_time = -1,
                                 .idle = -1,
                                 .live = DSTREAM_LIVE_AUTO,
                                 .sync_ms = 1000,
                                 .rotate_time = -1,
                                 .ack_fd = -1,
                                 .speed = DS_PACE_UNIT,
                                 .retry = -1,
                                 .retry_max_delay = -1,
                                 .connect_timeout = -1,
                                 .stall_timeout = -1,
                                 .header_timeout = -1,
                                 .replica_lag = -1,
                                 .linger = 5,
                                 .batch_bytes = (uint64_t)1 << 20,
                                 .journal_max_age = -1,
                                 .delivery_timeout = -1,
                                 .sse_time = -1,
                                 .poll_time = -1};
}

void ds_cli_options_free(struct ds_cli_options *o)
{
    for (size_t i = 0; i < o->nowned; i++)
        ds_free(o->owned[i]);
    ds_free(o->owned);
    ds_free(o->headers.at);
    ds_free(o->to_headers.at);
    ds_free(o->loads.at);
    ds_free(o->replays.at);
    ds_free(o->resolve);
    o->owned = NULL;
    o->resolve = NULL;
    o->headers = o->to_headers = o->loads = o->replays = (struct ds_texts){.n = 0};
    o->proxy = NULL;
    o->nowned = o->nresolve = 0;
}
