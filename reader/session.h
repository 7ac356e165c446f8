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

#define DS_READER_KEEP  ((size_t)1 << 20)   /* memory kept from one batch to the next, */
#define DS_READER_IDLE  ((size_t)4096)      /* and while it waits for more at the tail */
#define DS_READER_PIECE ((size_t)64 * 1024) /* of a body at a time, where parts are made of it */
#define DS_READER_URL   ((size_t)64 * 1024)
/* Bytes of an error's or redirect's body that are waited for, so that its connection can be kept.
 */
#define DS_READER_JUNK ((size_t)16 * 1024)

enum ds_request_kind {
    DS_ASK_NOW,    /* plain GET of "now", which makes the position concrete */
    DS_ASK_PLAIN,  /* plain GET */
    DS_ASK_TAIL,   /* HEAD: where the stream ends as of now, or what type it is */
    DS_ASK_GONE,   /* HEAD: whether a stream whose position is gone is there at all */
    DS_ASK_VERIFY, /* plain GET of the witness */
    DS_ASK_POLL,   /* long-poll */
    DS_ASK_SSE
};

enum ds_outcome {
    DS_OUT_NONE, /* under way, or nothing was asked */
    DS_OUT_DONE, /* answered; what it said has been taken in, and its batch, if any, delivered */
    DS_OUT_REDIRECT,
    DS_OUT_FAILED,  /* `failure` says how */
    DS_OUT_SUSPECT, /* `failure` says what it looks like */
    DS_OUT_AUTH,    /* `failure` is for where there are no other credentials */
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
    size_t body;     /* bytes of it so far */
    uint64_t before; /* units of it that were dealt with in parts */
    bool comparing;  /* what is left out of it has to be what was handed out before */
    char media[64];  /* of an error's body */
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

/* While parts of an answer are handed out before its position is known: what was seen since the
 * last known one, so that an answer that has to take the place of this one can be compared. As long
 * as there is any, units == base_units + the reader's skip. */
struct ds_trail {
    uint64_t units; /* handed out and acknowledged, with what was left out before; 0: nothing */
    struct ds_hash *hash;
    uint64_t base_units; /* of these before `pos`, which can come to lie inside */
    struct ds_hash *base;
    struct ds_hash *pass; /* of what the answer under way repeats, up to now */
    size_t fresh;         /* in the items on offer: from here on they are not in `hash` yet */
    size_t open;          /* bytes of a message under way behind the items on offer */
};

#define DS_NOTICES 8

struct ds_reader {
    /* configuration */
    char *url;
    enum dstream_live live;
    bool stop_at_tail, seen_before, wait_create, recheck, parts, auth_hook;
    enum dstream_gone on_gone;
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
    int said_status; /* of the last whole answer; 0: none yet */
    char said_next[DS_TOKEN_MAX + 1];
    char etag[DS_ETAG_MAX + 1]; /* of the last plain answer */
    bool closed_seen;           /* a live answer said so, but not that all before it was read */
    bool catching;              /* plain GETs, until one reaches the tail */
    bool sse_off;               /* fallen back to long-poll */
    bool finished, failed;      /* failed: of `failure` */
    bool paused;
    char named[DS_TOKEN_MAX + 1]; /* what an empty plain GET named beyond the position */
    bool tail_due, gone_due;
    char gone[DS_TOKEN_MAX + 1]; /* what is left lies behind this; "" once there is a position */
    char tail[DS_TOKEN_MAX + 1]; /* where to stop; "": not known */

    /* retries and pacing */
    int64_t wake; /* no request before this */
    struct ds_failure failure;
    unsigned failures; /* since there was progress: how long the next wait is */
    unsigned tries;    /* of these, since a stream that is awaited was last said not to be there */
    int64_t failing_since;
    unsigned bad_answers;
    unsigned short_sse;
    unsigned without_control; /* of those short connections, since one brought a control event */
    unsigned idle, moves;
    int64_t idle_since;
    bool too_large; /* an event stream was at this position: plain GETs have to bring its data */
    bool said_paced, said_lossy, said_fallback;
    int64_t suspect_since; /* -1: it looks like itself */
    unsigned suspicions;
    int64_t probe_at, probe_wait; /* SSE again, after it was given up; wait 0: it works */
    bool auth_asked;              /* and nothing has succeeded since */

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
    struct ds_trail trail;
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
enum ds_method ds_reader_method(enum ds_request_kind kind);

/* --- answer.c --------------------------------------------------------------------------------- */

/* The request has failed. The message begins with the words; its circumstances are added. */
void ds_reader_fail(struct ds_reader *r, enum dstream_code code, bool retry, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The stream under the URL is another one than before. */
void ds_reader_reset(struct ds_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void ds_reader_set_type(struct ds_reader *r, const char *type);
/* The same, where it may be a replica that lags: to be asked again. */
void ds_reader_suspect(struct ds_reader *r, enum dstream_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Neither data nor nothing new: an error, a redirect, or what makes no sense here. */
void ds_reader_judge_status(struct ds_reader *r);
bool ds_reader_has_data(const struct ds_attempt *a); /* by its status */
/* An answer is whole, and names `next`. */
void ds_reader_note_said(struct ds_reader *r, const char *next);
/* The answer was as it should be. */
void ds_reader_good_answer(struct ds_reader *r);
/* An answer that a server should not give, tried again a few times. */
void ds_reader_bad_answer(struct ds_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* --- parts.c ---------------------------------------------------------------------------------- */

/* Whether the answer under way may be handed out in parts. */
bool ds_parts_apply(const struct ds_reader *r);
/* More of it has come. True where a part is on offer. */
bool ds_parts_more(struct ds_reader *r);
/* The part on offer was taken. */
void ds_parts_taken(struct ds_reader *r);
/* The answer's items, the last of it, are about to be offered, `first` of them left out. False
 * where they are not what was handed out before. */
bool ds_parts_last(struct ds_reader *r, size_t first);
/* The answer ended before all was left out that is to be, and the position is about to move to its
 * end, over `units`. */
void ds_parts_moved(struct ds_reader *r, uint64_t units);
/* The position is known again. */
void ds_parts_forget(struct ds_reader *r);
/* The attempt is new. */
void ds_parts_reset(struct ds_reader *r);
void ds_parts_free(struct ds_reader *r);

/* --- deliver.c -------------------------------------------------------------------------------- */

size_t ds_reader_units(const struct ds_reader *r, const struct ds_items *it);
/* How many of the next `units` units of the answer are to be left out. */
size_t ds_reader_left_out(const struct ds_reader *r, size_t units);
/* Whether the answer under way, which has data, ends behind where reading has got to. Where it does
 * not, that has been judged. */
bool ds_reader_leads_on(struct ds_reader *r);
/* Puts items on offer, without those that are to be left out. */
void ds_reader_offer(struct ds_reader *r, const struct ds_items *it, const char *next,
                     const char *cursor, unsigned flags);
/* A plain GET or long-poll is complete, with its items. */
void ds_reader_take_body(struct ds_reader *r);
/* A control event came. False where nothing is on offer and reading goes on. */
bool ds_reader_take_control(struct ds_reader *r);

/* --- settle.c --------------------------------------------------------------------------------- */

void ds_reader_settle(struct ds_reader *r, int64_t now, uint64_t random);
/* The end: of `failure`, or a regular one. */
void ds_reader_finish(struct ds_reader *r, bool failed);
/* The request is dropped before its answer was judged: what that asks for holds all the same. */
void ds_reader_heed(struct ds_reader *r);
/* Between two requests the stream may have been made anew: where it is to be made sure, the witness
 * is due. */
void ds_reader_recheck(struct ds_reader *r);

/* --- verify.c --------------------------------------------------------------------------------- */

bool ds_verify_begin(struct ds_reader *r); /* false without memory */
/* More of the body of the witness's GET has come. */
void ds_verify_more(struct ds_reader *r);
/* That answer is complete. */
void ds_verify_complete(struct ds_reader *r);
/* The server no longer keeps what the witness is about. */
void ds_verify_gone(struct ds_reader *r);

#endif
