/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The producer's state, for its own files.
 *
 *   producer.c  what the driver calls: made and freed, the next step, requests, results
 *   batch.c     messages into batches: append, seal, split
 *   judge.c     what an answer, or its absence, says of its batch
 *   settle.c    what follows: acknowledged, tried again, numbered anew, the end
 *   record.c    the journal's records, and going on from a journal
 *
 * The rules, each of which is there because without it messages were lost, doubled or reported
 * falsely:
 *   - One (epoch, number) always has the same bytes. Numbers are given in order, at the first send.
 *   - A batch with an ambiguous attempt is only ever sent again under the same (epoch, number).
 *   - Numbering anew always means a new epoch, which fences copies that are still under way.
 *   - Before that, and before a stop, nothing is under way any more.
 */
#ifndef DS_PRODUCER_PIPELINE_H
#define DS_PRODUCER_PIPELINE_H

#include "base/buf.h"
#include "producer/call.h"
#include "producer/exchange.h"
#include "producer/producer.h"

enum ds_batch_state {
    DS_BATCH_OPEN,      /* takes messages: only the last one */
    DS_BATCH_QUEUED,    /* sealed, and never sent under this epoch */
    DS_BATCH_IN_FLIGHT, /* a request for it is under way */
    DS_BATCH_AGAIN,     /* has to be sent again */
    DS_BATCH_PARKED,    /* has to be sent again once it is base */
    DS_BATCH_CONFIRM,   /* the stream's close: a HEAD has to tell whether it is */
    DS_BATCH_ACKED      /* waits for those before it */
};

struct ds_batch {
    struct ds_batch *next;
    uint64_t first, count;
    uint64_t mark;
    bool cut; /* it was split from what the mark is the end of */
    struct ds_buf body;
    uint32_t *ends; /* of message i in the body; NULL: of a journal, cannot be split */
    size_t ends_cap;
    size_t cost;    /* of what is buffered */
    uint64_t bytes; /* of its messages */
    int64_t opened_at, sealed_at;
    bool close;
    enum ds_batch_state state;

    /* under this epoch */
    bool numbered;
    uint64_t epoch, seq;
    unsigned sent;   /* attempts that may have reached the server */
    bool ambiguous;  /* one of them was */
    unsigned parked; /* PARKED: the mishaps so far */
    bool journalled; /* a record lists it, */
    uint64_t record; /* this one; 0: of an earlier run */

    /* for good */
    bool in_doubt; /* it was ambiguous under an earlier epoch (allow_duplicates) */
    bool duplicate, earlier;
    enum ds_fate fate;           /* in the queue: decided, whatever comes. Settled: its fate, */
    bool fate_listed;            /* which a record lists, */
    uint64_t fate_record;        /* this one; 0: of an earlier run */
    char *offset;                /* NULL: not known */
    struct dstream_error *error; /* its own; NULL: that of the producer */
};

struct ds_number {
    bool present, good;
    uint64_t value;
};

/* One request for a batch. */
struct ds_post {
    struct ds_batch *batch; /* NULL: free */
    uint64_t id;
    struct ds_exchange x;
    bool as_base;         /* it was the first without a fate when it was sent */
    bool first;           /* it had never been sent before */
    unsigned credentials; /* which ones were sent */
    bool cancelling;
    bool later;    /* a redirect that may not be followed at once */
    uint64_t over; /* it has ended, as the n-th; 0: not yet */
    bool retry;    /* without a head: may be tried again */
    struct dstream_error error;
    struct ds_number epoch, seq, expected;
    struct ds_buf seq_line;
    const char *headers[5];
};

enum ds_plan {
    DS_PLAN_NONE,
    DS_PLAN_CLAIM, /* above the epoch that the server has */
    DS_PLAN_LOST,  /* the server has forgotten us */
    DS_PLAN_SPLIT, /* the first batch is too large */
    DS_PLAN_SKIP,  /* the first batch is refused */
    DS_PLAN_STOP
};

enum ds_auth { DS_AUTH_NONE, DS_AUTH_DUE, DS_AUTH_ASKED };

struct ds_producer {
    struct ds_producer_config c; /* strings: our own */
    bool json;
    struct ds_buf type_line, id_line, epoch_line;

    /* Without a fate, in order: the first is base. The last may be open. */
    struct ds_batch *queue, *last;
    /* With one that was not told, in order. */
    struct ds_batch *settled, *settled_last;
    struct ds_batch *spare;
    size_t spares;
    uint64_t next_id;
    size_t batch_limit; /* bytes: less than configured once the server has refused as much */
    bool pressed;       /* an append had to be refused: nothing lingers */
    uint64_t flush_to, restart_to;
    uint64_t restart_ms;
    bool restart_due, detaching, closing, force;
    int64_t detach_at;

    /* the epoch */
    uint64_t epoch, highest;
    enum ds_epoch_kind kind;
    bool known; /* a 200 under it was seen */
    uint64_t next_seq;
    bool any_sent;
    uint64_t highest_sent;
    bool opening; /* nothing under it is acknowledged yet: one at a time */
    bool reached; /* something was acknowledged: claims nothing any more */
    unsigned claims;

    /* requests */
    struct ds_post *posts;
    unsigned in_flight;
    unsigned width;    /* how many may be, as long as they do not overtake each other */
    unsigned in_order; /* so many did not, since the width was changed */
    uint64_t narrowed; /* the highest number sent when that was */
    unsigned mishaps;  /* failures of requests */
    uint64_t next_request, ended;
    /* HEAD, for a close */
    struct ds_call *confirm;
    uint64_t confirm_id;
    bool confirm_out; /* a request is */
    unsigned confirm_tries;
    int64_t confirm_at;

    /* trouble */
    int64_t gate; /* nothing is sent before this */
    unsigned failures;
    bool recovering;
    int64_t progress_at;
    bool asked; /* the server has asked for that gate */
    struct dstream_error trouble;
    enum ds_auth auth;
    bool auth_spent; /* asked since the last success */
    struct dstream_error auth_error;
    unsigned credentials;
    bool proven; /* the server has producers */

    enum ds_plan plan;
    uint64_t plan_epoch;
    struct dstream_error plan_error;
    bool clean;      /* base is refused: nothing behind it can be stored */
    bool keeps;      /* STOP: what a journal holds stays there */
    bool cancel_all; /* nothing is waited for */
    bool stopped;    /* by the driver */
    enum ds_producer_phase stop_phase;

    /* the journal */
    bool epoch_recorded, epoch_due, broken;
    uint64_t records, durable;
    uint64_t opened_record; /* says that the epoch's first batch is acknowledged */
    bool opened;
    uint64_t untold; /* told, but not recorded as that */
    uint64_t mark;
    struct ds_record record;

    /* the end */
    bool finished;
    bool doubtful;    /* some fate is unknown, */
    uint64_t unknown; /* of so many messages */
    bool closed;      /* the stream is, by us */
    enum ds_producer_phase phase;
    struct dstream_error error, cause, first_error;
    char *final_offset;
    bool retry_notice, epoch_notice;
    int64_t retry_delay;
    bool result_out;
    struct ds_producer_result result;
    struct ds_producer_status counts;
    char *offset;
};

/* --- batch.c ---------------------------------------------------------------------------------- */

struct ds_batch *ds_batch_new(struct ds_producer *p);
void ds_batch_drop(struct ds_producer *p, struct ds_batch *b);
void ds_batch_free(struct ds_batch *b);
/* Behind the last one of the queue. */
void ds_batch_queue(struct ds_producer *p, struct ds_batch *b);
void ds_batch_seal(struct ds_producer *p, int64_t now);
/* A close of the stream, along with the last one or behind it; false without memory. */
bool ds_batch_add_close(struct ds_producer *p, int64_t now);
bool ds_batch_is_open(const struct ds_producer *p);
/* Cuts what is longer than `limit` and has more than one message; false without memory, when what
 * there is then stays good. */
bool ds_batch_split_all(struct ds_producer *p, size_t limit);
/* Of the input at its end; 0: not known. */
uint64_t ds_batch_mark(const struct ds_batch *b);
/* Why it was not acknowledged; NULL where it was. */
const struct dstream_error *ds_batch_error(const struct ds_producer *p, const struct ds_batch *b);
/* Of the larger half of it. */
size_t ds_batch_half(const struct ds_producer *p, const struct ds_batch *b);

/* --- judge.c ---------------------------------------------------------------------------------- */

void ds_producer_read_head(struct ds_producer *p, struct ds_post *post, const struct ds_head *head,
                           int64_t now);
/* The request has ended. True: it goes on, to where it was redirected. */
bool ds_producer_judge(struct ds_producer *p, struct ds_post *post, int64_t now, uint64_t random);
/* The HEAD for a close has ended. */
void ds_producer_judge_confirm(struct ds_producer *p, int64_t now, uint64_t random);

/* --- settle.c --------------------------------------------------------------------------------- */

/* Whether a batch that would have to be numbered anew must not be, since it may be stored. */
bool ds_producer_in_doubt(const struct ds_producer *p);
/* Stored, before `offset` ("": not said). */
void ds_producer_acked(struct ds_producer *p, struct ds_batch *b, const char *offset, int64_t now);
/* It has to be sent again, for a failure that p->trouble tells of. */
void ds_producer_retry(struct ds_producer *p, struct ds_batch *b, int64_t now, uint64_t random);
/* The server wants to be left alone for so long (-1: it does not say). */
void ds_producer_pause(struct ds_producer *p, int64_t retry_after, int64_t now);
/* Its fate is that, whatever comes. */
void ds_producer_decide(struct ds_producer *p, struct ds_batch *b, enum ds_fate fate,
                        const struct dstream_error *error);
/* As soon as nothing is under way any more; p->trouble tells why. A stop goes before all else. */
void ds_producer_plan(struct ds_producer *p, enum ds_plan plan);
void ds_producer_plan_stop(struct ds_producer *p, enum ds_producer_phase phase,
                           const struct dstream_error *cause);
/* The same where the server wants other credentials and there are none. */
void ds_producer_lack_credentials(struct ds_producer *p, const struct dstream_error *cause);
/* Nothing is under way: it is done. */
void ds_producer_execute(struct ds_producer *p, int64_t now, uint64_t random);

/* Nothing was sent under it. Of what kind it is, p->kind says. */
void ds_producer_open_epoch(struct ds_producer *p, uint64_t epoch);
/* The first epoch, as configured; false where none is left. */
bool ds_producer_first_epoch(struct ds_producer *p);
/* What was asked for by the verbs, as far as its time has come: true where something was done. */
bool ds_producer_follow_up(struct ds_producer *p, uint64_t random);
/* When base is given up. */
int64_t ds_producer_deadline(const struct ds_producer *p);
/* Gives up what is out of time. */
void ds_producer_check_time(struct ds_producer *p, int64_t now);

/* --- record.c --------------------------------------------------------------------------------- */

/* Whether a record is due; p->record is it then, and counts as written. `b`: the batch that is to
 * be sent next, or NULL. */
bool ds_producer_record(struct ds_producer *p, struct ds_batch *b);
/* Whether it may be sent, as far as the journal is concerned. */
bool ds_producer_is_durable(const struct ds_producer *p, const struct ds_batch *b);
/* Whether its fate may be told. */
bool ds_producer_is_reportable(const struct ds_producer *p, const struct ds_batch *b);
enum dstream_code ds_producer_resume(struct ds_producer *p, const struct ds_producer_journal *j,
                                     int64_t now);

#endif
