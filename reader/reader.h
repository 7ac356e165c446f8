/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where to read next and what may be delivered: catch-up, then live by SSE or long-poll, to the
 * end.
 *
 * A pure state machine. It is fed the heads, bytes and ends of answers, the time and random draws,
 * and says what to do next. It does no I/O, asks no clock, and knows neither transport nor files.
 *
 *   loop:  step = ds_reader_step(r, now, random)
 *          REQUEST  start it, feed what comes back with head/body/end, then step again
 *          ABORT    cancel the request under way (feed nothing more of it), then step again
 *          DELIVER  hand the batch over, then ds_reader_ack(), then step again
 *          NOTICE   tell the user, then step again
 *          AUTH     credentials were refused: ask for new ones, ds_reader_auth(), then step again
 *          WAIT     step again at `until` at the latest, or as soon as something was fed
 *          DONE     the end; error.code says how
 */
#ifndef DS_READER_READER_H
#define DS_READER_READER_H

#include "base/backoff.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/http.h"
#include "base/items.h"
#include "base/limits.h"

/* One batch: the data with its position. */
struct dstream_batch {
    const struct ds_items *items;      /* lent by the reader until ds_reader_ack() */
    size_t first;                      /* messages at its beginning that are left out (skip) */
    size_t first_byte;                 /* and bytes */
    const char *start, *next, *cursor; /* the same */
    uint64_t skip;
    unsigned flags;
};

/* What must be found again from `start` on before anything is delivered (a checkpoint's witness).
 */
struct ds_witness {
    char start[DS_TOKEN_MAX + 1];
    uint64_t units; /* stream bytes, or messages of a JSON stream, that the hash covers; 0: none */
    char hash[DS_HASH_HEX]; /* of them (JSON: as ndjson prints them) */
};

struct ds_reader_config {
    const char *url; /* the stream's, with the user's own parameters */
    const char *offset;
    uint64_t skip;
    enum dstream_live live;
    /* Live off only: stop at the tail as it was at the start instead of chasing a stream that grows
     * faster than it is read. Asks one HEAD, only where the first answer is not up to date. */
    bool stop_at_tail;
    /* What an earlier session knew of the stream, NULL or "" where nothing: guards against one made
     * anew. */
    const char *content_type;
    const struct ds_witness *witness; /* NULL: none */
    /* Large bodies are handed out in parts (DSTREAM_BATCH_PARTIAL) instead of being refused over
     * max_body: memory stays near max_part. */
    bool parts;
    /* Go live at `offset` without catching up by plain GETs first. */
    bool live_at_once;
    enum dstream_gone on_gone;
    bool auth; /* DS_STEP_AUTH can be answered */
    bool
        recheck; /* look for the witness again after each end of an SSE connection and each error */
    bool seen;   /* an earlier session has read it: a 404 is "deleted" */
    bool wait_create; /* a stream that is not there yet is awaited */
    struct ds_limits limits;
};

enum ds_step_kind {
    DS_STEP_REQUEST,
    DS_STEP_ABORT,
    DS_STEP_DELIVER,
    DS_STEP_NOTICE,
    DS_STEP_AUTH,
    DS_STEP_WAIT,
    DS_STEP_DONE
};

enum ds_notice_kind {
    DS_NOTICE_RETRY = DSTREAM_NOTICE_RETRY,
    DS_NOTICE_RECONNECT = DSTREAM_NOTICE_RECONNECT,
    DS_NOTICE_FALLBACK = DSTREAM_NOTICE_FALLBACK,
    DS_NOTICE_PACED = DSTREAM_NOTICE_PACED,
    DS_NOTICE_LOSSY = DSTREAM_NOTICE_LOSSY,
    DS_NOTICE_GAP = DSTREAM_NOTICE_GAP,
    DS_NOTICE_SUSPECT = DSTREAM_NOTICE_SUSPECT,
    /* The witness can no longer be read (410): going on unverified. */
    DS_NOTICE_WITNESS_GONE = DSTREAM_NOTICE_WITNESS_GONE
};

struct ds_notice {
    enum ds_notice_kind kind;
    int64_t delay;
    const struct dstream_error *error;
};

struct ds_step {
    enum ds_step_kind kind;
    union {
        struct ds_request request;
        const struct dstream_batch *batch;
        struct ds_notice notice;
        int64_t until; /* DS_NEVER: only when fed */
        bool silent;   /* ABORT: nothing came for too long */
    } u;
};

enum ds_phase { DS_PHASE_INIT, DS_PHASE_CATCHUP, DS_PHASE_LONG_POLL, DS_PHASE_SSE, DS_PHASE_DONE };

struct ds_reader;

/* Copies the configuration. ERR_ARGUMENT (url, a reserved parameter, offset, skip with now),
 * ERR_NOMEM. */
enum dstream_code ds_reader_new(struct ds_reader **out, const struct ds_reader_config *c,
                                struct dstream_error *err);
void ds_reader_free(struct ds_reader *r);

struct ds_step ds_reader_step(struct ds_reader *r, int64_t now, uint64_t random);
/* What comes of the request under way. A connection stands: from here on its answer is waited for.
 * May be left out. */
void ds_reader_connected(struct ds_reader *r, int64_t now);
void ds_reader_head(struct ds_reader *r, const struct ds_head *head, int64_t now);
/* Returns how many bytes were used: fewer than `n` where a batch is ready; step, and feed the rest
 * afterwards unless the request was aborted. */
size_t ds_reader_body(struct ds_reader *r, const char *p, size_t n, int64_t now);
void ds_reader_end(struct ds_reader *r, const struct ds_result *result, int64_t now);
/* Whether there are new credentials for the request that was refused. Asked once until something
 * succeeds. */
void ds_reader_auth(struct ds_reader *r, bool renewed);
/* What the server said to the credentials of the last request, until the next one is answered. */
const struct dstream_error *ds_reader_refusal(const struct ds_reader *r);
/* The batch was taken: the position moves behind it. */
void ds_reader_ack(struct ds_reader *r, int64_t now);
/* What a checkpoint would now say was delivered last, for `recheck`. Copied. */
void ds_reader_set_witness(struct ds_reader *r, const struct ds_witness *w);
/* The consumer (or a pause) kept us from reading until now: watchdogs start anew. */
void ds_reader_held(struct ds_reader *r, int64_t now);

/* Whoever performs the request under way has cancelled it, and feeds no more of it. A batch on
 * offer stays so; then a plain GET comes next. */
void ds_reader_drop(struct ds_reader *r);
/* No request until resumed. The one under way is dropped: whoever performs it cancels it and feeds
 * no more of it. A batch on offer stays so. Once resumed a plain GET comes first. */
void ds_reader_pause(struct ds_reader *r);
void ds_reader_resume(struct ds_reader *r, int64_t now);

/* The position after the last acknowledged batch. */
const char *ds_reader_offset(const struct ds_reader *r);
uint64_t ds_reader_skip(const struct ds_reader *r);
const char *ds_reader_content_type(const struct ds_reader *r);
enum ds_phase ds_reader_phase(const struct ds_reader *r);
const struct dstream_error *ds_reader_error(const struct ds_reader *r);
/* The last answer to a GET (of an event stream: the last control event), whatever came of it: its
 * status, 0 before there was any, and the offset that it named. */
int ds_reader_said_status(const struct ds_reader *r);
const char *ds_reader_said_next(const struct ds_reader *r);
/* The ETag of the last answer to a plain GET or a long-poll, "": it had none. */
const char *ds_reader_etag(const struct ds_reader *r);

#endif
