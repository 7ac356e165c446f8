/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's state, for its own files.
 *
 *   reader.c   what the driver calls: the next step, requests, watchdogs
 *   answer.c   judges what comes back of a request: head, body, end -> an outcome
 *   deliver.c  makes batches of it, and moves the position once they are taken
 *   settle.c   decides what follows an outcome: go on, wait and retry, fall back, end
 *   verify.c   finds a checkpoint's witness again
 */
#ifndef DS_READER_SESSION_H
#define DS_READER_SESSION_H

#include "base/reason.h"
#include "reader/reader.h"
#include "sse/events.h"

#define DS_READER_KEEP ((size_t)1 << 20) /* memory kept from one batch to the next */
#define DS_READER_URL  ((size_t)64 * 1024)
/* Bytes of an error's or redirect's body that are waited for, so that its connection can be kept.
 */
#define DS_READER_JUNK ((size_t)16 * 1024)

enum ds_request_kind {
    DS_ASK_NOW,    /* plain GET of "now", which makes the position concrete */
    DS_ASK_PLAIN,  /* plain GET */
    DS_ASK_TAIL,   /* HEAD: where the stream ends as of now */
    DS_ASK_VERIFY, /* plain GET of the witness */
    DS_ASK_POLL,   /* long-poll */
    DS_ASK_SSE
};

enum ds_outcome {
    DS_OUT_NONE, /* under way, or nothing was asked */
    DS_OUT_DONE, /* answered; what it said has been taken in, and its batch, if any, delivered */
    DS_OUT_REDIRECT,
    DS_OUT_FAILED,  /* `failure` says how */
    DS_OUT_SSE_END, /* an event stream came to a clean end, or said nothing at all */
    DS_OUT_NO_SSE   /* the server does not do SSE here; `failure` is for who insists on it */
};

/* One request and its answer. Made new for each in one function, so that nothing of one attempt
 * reaches the next. Times are the driver's; -1: not yet. */
struct ds_attempt {
    enum ds_request_kind kind;
    enum ds_outcome outcome;
    bool in_flight;
    bool connected, headed, any_byte;
    bool quiet;     /* SSE: given up because not one byte came */
    bool delivered; /* data of it was */
    bool moved;     /* the position did */
    int64_t started, touched, headed_at, control_at, ended_at;
    int status;
    int64_t retry_after;
    char start[DS_TOKEN_MAX + 1]; /* the position asked for */
    char next[DS_TOKEN_MAX + 1];
    char cursor[DS_TOKEN_MAX + 1];
    bool up_to_date, closed;
    size_t body;    /* bytes of it so far */
    char media[64]; /* of an error's body */
    struct ds_reason reason;
};

struct ds_failure {
    struct dstream_error error;
    bool retry;
    bool wait_create; /* a stream that is awaited: no limit to the retries */
};

struct ds_verify {
    bool running;
    char at[DS_TOKEN_MAX + 1];
    uint64_t left; /* units that are not hashed yet */
    struct ds_hash *hash;
};

#define DS_NOTICES 8

struct ds_reader {
    /* configuration */
    char *url;
    enum dstream_live live;
    bool stop_at_tail, seen_before, wait_create, recheck;
    struct ds_limits limits;

    /* the session */
    char pos[DS_TOKEN_MAX + 1];
    uint64_t skip;
    char cursor[DS_TOKEN_MAX + 1];
    char type[256]; /* "": not known yet */
    bool json, text;
    bool seen;         /* the stream is known to exist, or to have existed */
    bool any_complete; /* an answer was complete */
    bool told_up_to_date;
    bool closed_seen; /* a live answer said so, but not that all before it was read */
    bool catching;    /* plain GETs, until one reaches the tail */
    bool sse_off;     /* fallen back to long-poll */
    bool finished;
    bool paused;
    struct dstream_error error;
    char named[DS_TOKEN_MAX + 1]; /* what an empty plain GET named beyond the position */
    bool tail_due;
    char tail[DS_TOKEN_MAX + 1]; /* where to stop; "": not known */

    /* retries and pacing */
    int64_t wake; /* no request before this */
    struct ds_failure failure;
    unsigned failures, bad_answers;
    int64_t failing_since;
    unsigned short_sse;
    unsigned without_control; /* of those short connections, since one brought a control event */
    unsigned idle, moves;
    int64_t idle_since;
    bool said_paced, said_lossy;

    struct ds_notice notices[DS_NOTICES];
    size_t notice_first, notice_count;

    /* what must be found again */
    struct ds_witness witness;
    bool verify_due;
    struct ds_verify verify;

    /* the request under way */
    struct ds_attempt a;
    struct ds_buf request_url, location;
    bool own_headers; /* the user's headers go along */
    unsigned hops;
    const char *headers[1];
    struct ds_items items; /* of a plain body */
    struct ds_json_cut cut;
    struct ds_events events;

    /* the batch on offer */
    bool offered;
    struct dstream_batch batch;
    uint64_t skip_left; /* once it is taken */
    bool has_payload;
};

/* --- reader.c --------------------------------------------------------------------------------- */

void ds_reader_notice(struct ds_reader *r, enum ds_notice_kind kind, int64_t delay);
int64_t ds_later(int64_t t, int64_t by); /* saturates */

/* --- answer.c --------------------------------------------------------------------------------- */

/* The request has failed. The message begins with the words; its circumstances are added. */
void ds_reader_fail(struct ds_reader *r, enum dstream_code code, bool retry, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The stream under the URL is another one than before. */
void ds_reader_reset(struct ds_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void ds_reader_set_type(struct ds_reader *r, const char *type);
/* An answer that a server should not give, tried again a few times. */
void ds_reader_bad_answer(struct ds_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* --- deliver.c -------------------------------------------------------------------------------- */

/* A plain GET or long-poll is complete, with its items. */
void ds_reader_take_body(struct ds_reader *r);
/* A control event came. False where nothing is on offer and reading goes on. */
bool ds_reader_take_control(struct ds_reader *r);

/* --- settle.c --------------------------------------------------------------------------------- */

void ds_reader_settle(struct ds_reader *r, int64_t now, uint64_t random);
void ds_reader_finish(struct ds_reader *r, const struct dstream_error *error);

/* --- verify.c --------------------------------------------------------------------------------- */

bool ds_verify_begin(struct ds_reader *r); /* false without memory */
/* More of the body of the witness's GET has come. */
void ds_verify_more(struct ds_reader *r);
/* That answer is complete. */
void ds_verify_complete(struct ds_reader *r);
/* The server no longer keeps what the witness is about. */
void ds_verify_gone(struct ds_reader *r);

#endif
