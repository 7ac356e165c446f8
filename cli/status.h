/* SPDX-License-Identifier: Apache-2.0 */
/* The status line: what a command that reads has done so far, and what it is doing. What a service
 * manager is told comes from the same. */
#ifndef DS_CLI_STATUS_H
#define DS_CLI_STATUS_H

#include "cli/cli.h"
#include "client/loop.h"

/* What the line says. Asked for whenever it is drawn. */
struct ds_status_now {
    uint64_t bytes, messages;
    const char *offset; /* "" where it says nothing: several streams */
    const char *doing;  /* "catching up", "live" */
    uint64_t retries;   /* of writing; 0: nothing is said of them */
    int64_t retry_at;   /* by ds_loop_now(); DS_NEVER: not waiting for a retry */
    size_t streams;     /* of several, how many there are; else 0 */
    size_t failed;      /* and of those, how many have come to nothing */
    bool answered;      /* its first requests were, or they wait to be made again */
    bool stuck;         /* what is due was not done */
};
typedef void (*ds_status_ask)(void *ctx, struct ds_status_now *out);

enum ds_status_shown {
    DS_STATUS_NOTHING,
    DS_STATUS_DRAWN,  /* on a terminal, in its place */
    DS_STATUS_LINES,  /* a message now and then */
    DS_STATUS_OBJECTS /* the same in JSON */
};

struct ds_status {
    struct ds_cli *cli;
    dstream_loop *loop;
    ds_status_ask ask;
    void *ctx;
    enum ds_status_shown shown;
    bool drawn;       /* it is on the screen */
    bool file_failed; /* --status-file could not be written, which was said */
    struct ds_timer timer;
    struct ds_timer tell, alive; /* for the service manager */
    int64_t rated_at;            /* when the rate was last measured */
    uint64_t rated_bytes;
    double rate; /* bytes a second */
};

/* As --progress has it: by default it is drawn, four times a second, on stderr where that is a
 * terminal and standard output not the same one, and gets out of the way of messages; not under -q.
 * Keeps --status-file. A service manager is told of all but a rate, of being ready once it has
 * answers, and that all is well as often as it wants. */
void ds_status_start(struct ds_status *s, struct ds_cli *c, dstream_loop *loop, ds_status_ask ask,
                     void *ctx);
/* Clears it for good. The service manager hears that it is ending. */
void ds_status_end(struct ds_status *s);
/* Prints it once, as a message (USR1). */
void ds_status_say(struct ds_status *s);

/* The line's text, appended to `out`. */
void ds_status_text(struct ds_buf *out, const struct ds_status_now *now, double rate,
                    int64_t retry_in);
/* The same for a service manager, without what changes all the time. */
void ds_status_tell(struct ds_buf *out, const struct ds_status_now *now);
/* The same as a JSON object; `time` is ms since 1970. */
void ds_status_json(struct ds_buf *out, const struct ds_status_now *now, double rate,
                    int64_t retry_in, int64_t time);
/* Bytes in words, as "1.4 MiB". Appended to `out`. */
void ds_status_bytes(struct ds_buf *out, double bytes);

#endif
