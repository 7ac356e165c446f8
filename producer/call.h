/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One unary call: a stream is created, appended to, closed, deleted or looked at, with the
 * redirects and retries that this takes.
 *
 * A pure state machine. It is fed the heads, bytes and ends of answers, the time and random draws,
 * and says what to do next. It does no I/O and asks no clock.
 *
 *   loop:  step = ds_call_step(c, now, random)
 *          REQUEST  start it, feed what comes back with head/body/end, then step again
 *          ABORT    cancel the request under way, ds_call_aborted(), then step again
 *          NOTICE   tell the user, then step again
 *          AUTH     the credentials were not accepted: the next request needs other ones. Step
 * again WAIT     step again at `until` at the latest, or as soon as something was fed DONE     the
 * end; error.code says how
 *
 * All but an append can be sent again, whatever became of an earlier try. An append is sent again
 * only where the earlier try is certainly not stored: nothing of it left, or the answer says so.
 * Else it ends as ERR_OUTCOME_UNKNOWN. With a producer identity it is also sent again after an
 * answer that asks for it (429, 5xx), and, where the server is known to have producers, after a
 * lost one.
 */
#ifndef DS_PRODUCER_CALL_H
#define DS_PRODUCER_CALL_H

#include "base/backoff.h"
#include "base/error.h"
#include "base/http.h"
#include "base/limits.h"
#include "producer/exchange.h"

enum ds_call_kind {
    DS_CALL_CREATE, /* PUT */
    DS_CALL_APPEND, /* POST with a body */
    DS_CALL_CLOSE,  /* POST without one, Stream-Closed: true */
    DS_CALL_DELETE,
    DS_CALL_STAT /* HEAD: a GET would prolong a TTL */
};

struct ds_call_config {
    enum ds_call_kind kind;
    const char *url;
    const char *content_type; /* CREATE, APPEND; NULL: none is said */
    const char *ttl;          /* CREATE: seconds, as on the wire; NULL: none */
    const char *expires;      /* CREATE: RFC 3339; NULL: none */
    const char *fork_from;    /* CREATE: the path of the stream that it begins as; NULL: none */
    const char *fork_offset;  /* CREATE: up to where; NULL: its tail */
    uint64_t fork_skip;       /* CREATE: and so many messages or bytes more */
    const char *seq;          /* APPEND: Stream-Seq; NULL: none */
    const char *producer_id;  /* APPEND: an identity of epoch 0 that nobody else has; NULL: none */
    uint64_t producer_seq;
    bool proven;      /* the server has echoed such an identity before */
    bool auth_hook;   /* AUTH is of use, once */
    bool close;       /* CREATE: made closed. APPEND: closed in the same step */
    const void *body; /* CREATE, APPEND. Lent until the call is freed */
    size_t body_len;
    struct ds_limits limits;
};

/* What an answer said; "" for what it did not. */
struct ds_call_result {
    int status;                  /* of the last answer; 0: there was none */
    char next[DS_TOKEN_MAX + 1]; /* Stream-Next-Offset; with ERR_CLOSED the final offset */
    char content_type[DS_TYPE_MAX + 1];
    char ttl[32], expires[64], etag[DS_ETAG_MAX + 1];
    bool closed;
    bool echoed;         /* Producer-Seq: the server has producers */
    bool gap;            /* Producer-Expected-Seq: it has forgotten this one */
    int64_t retry_after; /* ms; -1: not said */
    /* A try whose answer was lost may have been carried out. A CREATE that is answered 200 after it
     * does not tell whether this call made the stream, nor does a DELETE whether it was there. An
     * APPEND that succeeded may be stored twice. */
    bool ambiguous;
};

enum ds_call_step_kind {
    DS_CALL_STEP_REQUEST,
    DS_CALL_STEP_ABORT,
    DS_CALL_STEP_NOTICE,
    DS_CALL_STEP_AUTH,
    DS_CALL_STEP_WAIT,
    DS_CALL_STEP_DONE
};

struct ds_call_step {
    enum ds_call_step_kind kind;
    struct ds_request request; /* REQUEST */
    int64_t delay;             /* NOTICE: tried again after this; ds_call_error() says why */
    int64_t until;             /* WAIT */
    bool silent;               /* ABORT: no answer came in time */
};

struct ds_call;

/* Copies the configuration but for the body. ERR_ARGUMENT (URL, a value that no header may have, an
 * append of nothing), ERR_NOMEM. */
enum dstream_code ds_call_new(struct ds_call **out, const struct ds_call_config *c,
                              struct dstream_error *err);
void ds_call_free(struct ds_call *c);

struct ds_call_step ds_call_step(struct ds_call *c, int64_t now, uint64_t random);
/* A connection stands: from now on bytes of the request may have left, and time is counted for the
 * answer. */
void ds_call_connected(struct ds_call *c, int64_t now);
/* The answer to the request under way. */
void ds_call_head(struct ds_call *c, const struct ds_head *head, int64_t now);
void ds_call_body(struct ds_call *c, const char *p, size_t n);
void ds_call_end(struct ds_call *c, const struct ds_result *result);
/* The request that was stepped to is not sent: the call ends with that, unless an earlier try of it
 * leaves an append in doubt. ERR_AUTH behind an AUTH: with what the server said. */
void ds_call_refuse(struct ds_call *c, enum dstream_code code, const char *why);
/* The request was cancelled after ABORT. */
void ds_call_aborted(struct ds_call *c);
/* The caller gives up, having cancelled what was under way. The call is done: by the answer where
 * its head had come, else as ERR_CANCELLED, or ERR_OUTCOME_UNKNOWN for an append that may be
 * stored.
 */
void ds_call_cancel(struct ds_call *c);

const struct ds_call_result *ds_call_result(const struct ds_call *c);
/* Once it is done: what lies behind an ERR_OUTCOME_UNKNOWN; else the same as the error. */
const struct dstream_error *ds_call_cause(const struct ds_call *c);
/* How it ended, or why it is tried again. */
const struct dstream_error *ds_call_error(const struct ds_call *c);

#endif
