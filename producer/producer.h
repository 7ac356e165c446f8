/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exactly-once producer: messages in, batches out, each stored once and in order, or its fate
 * reported truly.
 *
 * A pure state machine. It is given messages, fed the heads, bytes and ends of answers, the time
 * and random draws, and says what to do next. It does no I/O, asks no clock, and knows neither
 * transport nor files.
 *
 *   loop:  step = ds_producer_step(p, now, random)
 *          REQUEST  start it, feed what comes back under its id, then step again
 *          ABORT    cancel the request of that id, ds_producer_aborted(), then step again
 *          JOURNAL  write the record down. Once it and all before it are durable, whenever that is,
 *                   ds_producer_durable(); a WAIT may be waiting for that. Step again
 *          RESULT   tell the user what became of these messages, ds_producer_told(), step again
 *          AUTH     the credentials are not accepted: ds_producer_auth(), step again
 *          NOTICE   tell the user, then step again
 *          WAIT     step again at `until` at the latest, or as soon as something was given or fed
 *          DONE     the end: detached, closed, or failed as the error says
 *
 * Results come in the order of the messages, each message in exactly one of them, but for those
 * that are kept in a journal.
 *
 * With a journal, what is in the file decides after a crash, so that the driver
 *   - writes each record whole or not at all, in the order of their numbers,
 *   - keeps what the records come to: the epoch with its kind, whether `known`, the batches that
 *     have no fate (an EPOCH record lists them all and voids those before), the fates that were not
 *     told, and the mark of the input that was taken in (it never goes back),
 *   - hands that to the next producer (ds_producer_config.journal, .from).
 */
#ifndef DS_PRODUCER_PRODUCER_H
#define DS_PRODUCER_PRODUCER_H

#include "base/backoff.h"
#include "base/error.h"
#include "base/http.h"
#include "base/limits.h"

#define DS_EPOCH_MAX  (((uint64_t)1 << 53) - 1) /* of epochs and sequence numbers */
#define DS_WINDOW_MAX 64
#define DS_BATCH_MAX  ((size_t)1 << 30) /* bytes of a request: positions in it are of 32 bits */
#define DS_ID_MAX     1024              /* bytes of a producer id */

/* What (id, epoch) meets on the server. */
enum ds_epoch_kind {
    DS_EPOCH_USED,  /* somebody may have written under it */
    DS_EPOCH_FRESH, /* the caller says that nobody has */
    DS_EPOCH_DRAWN  /* nobody can have: it was drawn from the clock */
};

enum ds_fate {
    DS_FATE_NONE,        /* not known yet */
    DS_FATE_ACKED,       /* stored, once */
    DS_FATE_NOT_WRITTEN, /* not stored, and never will be */
    DS_FATE_UNKNOWN,     /* stored once, or not */
    DS_FATE_KEPT         /* stays in the journal: the next run goes on with it */
};

/* --- the journal ------------------------------------------------------------------------------ */

struct ds_record_batch {
    uint64_t first, count; /* ids of its messages */
    uint64_t seq;
    uint64_t mark; /* of the input at its end */
    bool close;    /* Stream-Closed: true goes along */
    bool maybe_duplicate;
    bool acked; /* stored: its fate is only waiting for those before it */
    const char *body;
    size_t len;
};

struct ds_record_fate {
    uint64_t first, count;
    uint64_t epoch, seq;
    uint64_t mark; /* of the input at its end; 0: not known */
    enum ds_fate fate;
    bool close, duplicate, maybe_duplicate;
    const char *offset; /* ACKED: the stream's, after it; "" where the server did not say */
    enum dstream_code code;
    int status;
};

struct ds_producer;

enum ds_record_kind {
    DS_RECORD_EPOCH, /* opens `epoch`: lists all batches without a fate, with their new numbers */
    DS_RECORD_BATCH, /* lists one batch more, with the next number */
    DS_RECORD_FATE,  /* lists the next batches' fates, in order; they are no longer without one */
    DS_RECORD_TOLD   /* the user has been told of all messages (and closes) listed before `told` */
};

struct ds_record {
    enum ds_record_kind kind;
    uint64_t number; /* from 1 on, no gaps */
    uint64_t epoch;
    enum ds_epoch_kind epoch_kind;
    bool known;    /* a 200 under the epoch has been seen, in this run or an earlier one */
    uint64_t mark; /* of the input that is taken in by now */
    uint64_t told; /* TOLD: how many fates, from the oldest untold on */
    /* private: where the iterators are */
    const void *at, *fate_at;
    const struct ds_producer *producer;
};

/* The next batch (EPOCH, BATCH), the next fate (EPOCH, FATE) that the record lists; false behind
 * the last. Lent until the next call on the producer. An EPOCH record's fates are of batches that
 * it does not list any more. */
bool ds_record_next_batch(struct ds_record *r, struct ds_record_batch *out);
bool ds_record_next_fate(struct ds_record *r, struct ds_record_fate *out);

/* What a journal came to. */
struct ds_producer_journal {
    uint64_t epoch;
    enum ds_epoch_kind epoch_kind;
    bool known;
    uint64_t mark;
    const struct ds_record_batch *batches; /* without a fate, in order. Copied */
    size_t nbatches;
    const struct ds_record_fate *fates; /* not told, in order. Copied */
    size_t nfates;
};

/* --- configuration ---------------------------------------------------------------------------- */

struct ds_producer_config {
    const char *url;
    const char *content_type;
    const char *id; /* of the producer */
    /* The epoch: drawn from the clock, or the caller's own. */
    bool fixed;
    uint64_t epoch;   /* fixed */
    bool fresh;       /* fixed: (id, epoch) was never used; it must be above the highest then */
    bool claim;       /* fixed: outrank whoever holds a higher one, as drawn ones do at the start */
    uint64_t highest; /* of the epochs used, seen or stored before; a drawn one lies above */
    uint64_t unix_ms, random; /* what an epoch is drawn from */

    unsigned window;        /* batches under way at once */
    size_t max_batch_bytes; /* of a request's body */
    size_t max_batch_items;
    int64_t linger;           /* ms that a message waits for company */
    size_t max_buffered;      /* bytes of memory for messages without a fate */
    int64_t delivery_timeout; /* ms without progress; -1: no limit */
    bool trusted;             /* JSON messages are not validated */
    bool skip_refused;     /* go on behind a message that the server refuses, instead of stopping */
    bool allow_duplicates; /* go on where a message could be stored twice: it is marked */
    bool resubmit;  /* fixed, without claim: the batches of an earlier run are repeated unchanged */
    bool proof;     /* a lost answer is asked for again only of a server that is known to have
                       producers */
    bool auth_hook; /* AUTH is answered */
    bool journal;   /* records are written */
    const struct ds_producer_journal *from; /* what it holds; NULL: it is new */
    uint64_t first_id;                      /* of the first message */
    struct ds_limits limits;
};

/* All that has a default; url, content_type, id, unix_ms and random have none. */
struct ds_producer_config ds_producer_config_default(void);

/* --- steps ------------------------------------------------------------------------------------ */

struct ds_producer_result {
    uint64_t first, count; /* ids; none where only the stream's close is meant */
    enum ds_fate fate;
    bool close;           /* the stream's close went along */
    bool duplicate;       /* resubmitted, and had been stored before */
    bool maybe_duplicate; /* stored, and maybe once more: only under allow_duplicates */
    bool earlier;         /* of an earlier run, which could not tell it any more */
    bool journalled;      /* a journal has heard of it, */
    bool unsure;          /* but could not be written, so that this may be in it or not */
    bool retryable;       /* to append the same again is safe, and may help */
    uint64_t epoch, seq;
    uint64_t mark;                     /* of the input at their end; 0: not known */
    const char *offset;                /* ACKED: the stream's, after it; "" where not known */
    const struct dstream_error *error; /* NULL with ACKED */
};

enum ds_producer_notice {
    DS_PRODUCER_RETRY, /* a failure that is tried again in `delay` ms; the error says which */
    DS_PRODUCER_EPOCH  /* another epoch is used from now on; the error says why */
};

enum ds_producer_step_kind {
    DS_PRODUCER_STEP_REQUEST,
    DS_PRODUCER_STEP_ABORT,
    DS_PRODUCER_STEP_JOURNAL,
    DS_PRODUCER_STEP_RESULT,
    DS_PRODUCER_STEP_AUTH,
    DS_PRODUCER_STEP_NOTICE,
    DS_PRODUCER_STEP_WAIT,
    DS_PRODUCER_STEP_DONE
};

struct ds_producer_step {
    enum ds_producer_step_kind kind;
    uint64_t id; /* REQUEST, ABORT: never used twice */
    bool silent; /* ABORT: no answer came in time */
    union {
        struct ds_request request;
        struct ds_record *record;                /* lent until the next call */
        const struct ds_producer_result *result; /* lent until ds_producer_told() */
        struct {
            enum ds_producer_notice kind;
            int64_t delay;
            const struct dstream_error *error;
        } notice;
        int64_t until; /* DS_NEVER: only when something is given or fed */
    } u;
};

/* Copies the configuration. ERR_ARGUMENT, ERR_LIMIT (no epoch is left), ERR_NOMEM. */
enum dstream_code ds_producer_new(struct ds_producer **out, const struct ds_producer_config *c,
                                  int64_t now, struct dstream_error *err);
/* What has no fate yet is forgotten: ds_producer_status() tells how much that is. */
void ds_producer_free(struct ds_producer *p);

struct ds_producer_step ds_producer_step(struct ds_producer *p, int64_t now, uint64_t random);

/* What comes of the request `id`. From connected on its answer is waited for. */
void ds_producer_connected(struct ds_producer *p, uint64_t id, int64_t now);
void ds_producer_head(struct ds_producer *p, uint64_t id, const struct ds_head *head, int64_t now);
void ds_producer_body(struct ds_producer *p, uint64_t id, const char *data, size_t n);
void ds_producer_end(struct ds_producer *p, uint64_t id, const struct ds_result *result);
/* It was cancelled; `left`: bytes of it may have left for the server. */
void ds_producer_aborted(struct ds_producer *p, uint64_t id, bool left);

/* Records up to `number` are durable. */
void ds_producer_durable(struct ds_producer *p, uint64_t number);
/* The user was told of the RESULT. */
void ds_producer_told(struct ds_producer *p);
/* There are other credentials now, or (false) there are none. */
void ds_producer_auth(struct ds_producer *p, bool renewed);
/* What the server said when it was last due. */
const struct dstream_error *ds_producer_refusal(const struct ds_producer *p);

/* --- verbs ------------------------------------------------------------------------------------ */

enum ds_append {
    DS_APPEND_TAKEN,
    DS_APPEND_AGAIN,  /* as much is buffered as may be: after the next RESULT */
    DS_APPEND_REFUSED /* *err says why. The producer goes on, unless it is that which failed */
};

/* Takes one message, which is copied. On a JSON stream it is one JSON text. `mark` is how much
 * input has been read with it (see the journal). Refused: ERR_ARGUMENT (empty), ERR_INPUT (not
 * JSON), ERR_LIMIT (no batch can hold it), ERR_STATE (detaching, closing), ERR_CLOSED, ERR_NOMEM,
 * or what the producer failed of. */
enum ds_append ds_producer_append(struct ds_producer *p, const void *message, size_t n,
                                  uint64_t mark, int64_t now, uint64_t *id,
                                  struct dstream_error *err);
/* Nothing appended so far lingers. Returns the id that ds_producer_status().settled reaches once
 * all of it has its fate and was told. */
uint64_t ds_producer_flush(struct ds_producer *p, int64_t now);
/* Flushes, and is done. What has no fate after `timeout` ms (-1: no limit) is given up, as by
 * delivery_timeout. The stream stays as it is. */
void ds_producer_detach(struct ds_producer *p, int64_t now, int64_t timeout);
/* Flushes, closes the stream with the last batch, and is done. `message` (NULL: none) is the last.
 * Refused as an append is, and with ERR_STATE where a message was not written, unless `force`; so
 * is the close by itself where one is not written later. Again: no effect. */
enum dstream_code ds_producer_close_stream(struct ds_producer *p, const void *message, size_t n,
                                           uint64_t mark, bool force, int64_t now,
                                           struct dstream_error *err);
/* Flushes, and writes what is appended from now on under a new epoch. ERR_STATE. */
enum dstream_code ds_producer_restart(struct ds_producer *p, int64_t now, uint64_t unix_ms,
                                      struct dstream_error *err);
/* Stops at once, of something that is not the server's doing (a file that cannot be written, a
 * signal). With a broken journal no more records are written, and what was not reported is kept. */
void ds_producer_stop(struct ds_producer *p, const struct dstream_error *why, bool journal_broken);

/* --- what is known ---------------------------------------------------------------------------- */

enum ds_producer_phase {
    DS_PRODUCER_CLAIMING, /* nothing was acknowledged so far: one batch at a time */
    DS_PRODUCER_RUNNING,
    DS_PRODUCER_RECOVERING, /* after a failure: one batch at a time */
    DS_PRODUCER_DETACHED,
    DS_PRODUCER_CLOSED, /* the stream is: by us, or (ERR_CLOSED) by another */
    DS_PRODUCER_FENCED,
    DS_PRODUCER_FAILED
};

struct ds_producer_status {
    enum ds_producer_phase phase;
    uint64_t epoch;
    uint64_t server_epoch; /* the highest one that the server has named; 0: none */
    uint64_t taken;        /* messages appended */
    uint64_t taken_bytes;
    uint64_t acked; /* messages */
    uint64_t acked_bytes;
    uint64_t not_written, unknown, kept; /* messages, as told */
    uint64_t settled;                    /* all ids below have a fate that was told */
    uint64_t retries;                    /* requests for what was sent before */
    uint64_t mark;                       /* of the input that is taken in */
    size_t buffered;                     /* bytes of memory for messages without a fate */
    unsigned in_flight;                  /* requests */
    const char *offset; /* after the last batch acknowledged; "" where not known. Lent */
};
void ds_producer_status(const struct ds_producer *p, struct ds_producer_status *out);
/* How it ended; DSTREAM_OK while it has not failed. ERR_OUTCOME_UNKNOWN where any message is. */
const struct dstream_error *ds_producer_error(const struct ds_producer *p);
/* What lies behind an ERR_OUTCOME_UNKNOWN; else the same. */
const struct dstream_error *ds_producer_cause(const struct ds_producer *p);
/* Of the first message that was not acknowledged, under skip_refused; DSTREAM_OK: none. */
const struct dstream_error *ds_producer_first_error(const struct ds_producer *p);
/* Where the stream ended, once it was closed by us; else NULL. */
const char *ds_producer_final_offset(const struct ds_producer *p);

#endif
