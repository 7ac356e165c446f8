/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit of time, size and count that reading and writing know, in one place. */
#ifndef DS_BASE_LIMITS_H
#define DS_BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#define DS_NEVER INT64_MAX /* a time that does not come */

struct ds_limits {
    /* Time, milliseconds. */
    int64_t connect;          /* to make a connection, TLS included */
    int64_t header;           /* until the head of an answer */
    int64_t header_sse;       /* the same for SSE */
    int64_t header_long_poll; /* the same for long-poll: servers hold 30 s, some 60 */
    int64_t silence;          /* between two pieces of a body */
    int64_t silence_sse;      /* between two bytes of an event stream */
    int64_t first_byte_sse;   /* from the head to the first byte of an event stream */
    int64_t backoff_base, backoff_max;
    int64_t retry_after_max; /* a server cannot make us wait longer */
    int64_t retry_time;      /* give up after so long without progress (not while live) */
    int64_t healthy_sse;     /* an SSE connection that ends sooner without progress is short */
    int64_t short_base, short_max; /* waits between short SSE connections */
    int64_t idle_within; /* answers sooner than this without payload count as no progress */
    int64_t hold_shared; /* a consumer may hold up a transfer of HTTP/2 */
    int64_t idle_max;    /* longest pace between such answers */
    int64_t replica_lag; /* how long what looks like another stream may be a replica that lags */
    int64_t probe_base, probe_max; /* after falling back to long-poll, until SSE is tried again */
    int64_t db_locked;             /* another program may keep a database locked so long */
    int64_t exec_grace;            /* a command may take so long to end once it was asked to */
    /* Counts. */
    unsigned backoff_growth; /* each wait after a failure is so many thousandths of the last one */
    unsigned retries;        /* failures in a row before giving up (not while live) */
    unsigned short_count;    /* short SSE connections in a row before long-poll */
    unsigned idle_count;     /* answers without progress before pacing */
    unsigned moves_free;     /* plain GETs that move without payload, exempt in a row */
    unsigned protocol_tries; /* tries at an answer without a next offset */
    unsigned redirects;      /* hops */
    unsigned json_depth;     /* nesting of a JSON message */
    /* Sizes, bytes. */
    size_t max_event;   /* staged payload of one SSE batch */
    size_t max_body;    /* one HTTP body, or one message where bodies come in parts */
    size_t max_part;    /* a part of a body that is handed out before its end */
    size_t max_head;    /* one answer's head */
    size_t max_witness; /* bytes of the stream that a witness covers */
};

/* t + by, at most DS_NEVER. */
int64_t ds_later(int64_t t, int64_t by);

/* The defaults, as the manual states them. */
struct ds_limits ds_limits_default(void);

#endif
