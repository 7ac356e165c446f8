/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world for simulations: a stream with its whole future, a server that answers from it, and a
 * network between that loses, cuts and delays. All of it is drawn from one seed, so that a life
 * that fails is the same one when it is played again.
 *
 * Since the future is known, the whole of an answer, with the time at which each piece of it
 * arrives, is made when the request is.
 */
#ifndef DS_SIM_WORLD_H
#define DS_SIM_WORLD_H

#include "base/buf.h"
#include "base/http.h"
#include "base/limits.h"

/* --- draws ------------------------------------------------------------------------------------ */

struct rng {
    uint64_t s;
};
uint64_t draw(struct rng *g);
/* lo..hi, both possible. */
int64_t between(struct rng *g, int64_t lo, int64_t hi);
/* True once in `n`; never for 0. */
bool one_in(struct rng *g, unsigned n);

/* --- streams ---------------------------------------------------------------------------------- */

enum type { TYPE_BINARY, TYPE_TEXT, TYPE_JSON, TYPES };
#define APPENDS 24
#define DROPS   3

/* Units are bytes, or messages of JSON. */
struct stream {
    enum type type;
    unsigned incarnation;
    int64_t born, dies, closes; /* DS_NEVER: does not */
    size_t n;
    int64_t at[APPENDS];  /* when each append is stored, in order, */
    size_t upto[APPENDS]; /* and how many units the stream has from then on */
    /* Old data is dropped: at these times, what was stored this long before. */
    size_t ndrops;
    int64_t drops[DROPS], keeps;
    bool soft; /* once it is deleted it is answered by 410 */
};

/* Units before this are no longer kept. */
size_t stream_kept(const struct stream *s, int64_t now);
size_t stream_length(const struct stream *s, int64_t now);
bool stream_closed(const struct stream *s, int64_t now);
size_t stream_final(const struct stream *s);
/* Appends units [from, to) as they are delivered: JSON each followed by an LF. */
void stream_units(const struct stream *s, size_t from, size_t to, struct ds_buf *out);
const char *type_name(enum type t);

/* --- the server and the network --------------------------------------------------------------- */

/* "Once in so many"; 0: never. */
struct faults {
    unsigned refuse, lost, cut, stall, status, retry_after, redirect, auth;
    unsigned bare;     /* 200 without position, or 304 */
    unsigned unmarked; /* cut, and nothing says so */
};

struct world {
    struct rng rng;
    struct stream streams[2];
    size_t nstreams;
    struct faults faults;
    int64_t faults_until;
    size_t page;             /* units of one answer at most, */
    bool pages_vary;         /* and now and then fewer */
    int64_t hold;            /* of a long-poll */
    int64_t sse_time;        /* of an SSE connection; */
    int64_t sse_short_until; /* it ends right away instead, */
    bool sse_refused;        /* or is refused, */
    bool sse_silent;         /* or never says anything, */
    bool sse_no_control;     /* or has data only, */
    bool sse_uncoded;        /* or is in the coding of another type */
    bool early_tail;         /* live answers may name a tail whose data comes later */
    int64_t lag;             /* answers may come from a replica that is behind, up to so long */
    bool no_up_to_date;      /* never says it */
    bool instant_poll;       /* answers long-polls at once, with nothing */
    /* Credentials: which ones the server wants, since when; and which come with the requests. */
    int64_t rotates[2];
    bool forbids; /* 403 instead of 401 */
    unsigned given;
};

struct piece {
    int64_t at;
    size_t len;
};
#define PIECES 512

struct answer {
    struct ds_head head;
    int64_t head_at; /* DS_NEVER: nothing ever comes */
    struct ds_buf body;
    struct piece pieces[PIECES];
    size_t npieces;
    int64_t end_at; /* DS_NEVER: it stands still */
    enum ds_end end;
    bool unmarked;   /* only the connection's end says that it is whole */
    size_t from;     /* the unit that its data begins with */
    int incarnation; /* of the stream that answers; 0: none does */
    bool final;      /* asking again cannot help */
    char location[512];
    const char *what; /* for the trace: static */
};

/* The credentials that are wanted. */
unsigned world_credentials(const struct world *w, int64_t now);
/* One of the answers that asking again cannot help. */
void world_final(unsigned which, int64_t now, struct answer *a);
/* What this request would see. `a` is overwritten; answer_free() it before and after. */
void world_answer(struct world *w, const struct ds_request *req, int64_t now, struct answer *a);
void answer_free(struct answer *a);
/* A position as the server writes it, and back; -1 is 0. */
void token_of(size_t units, char out[32]);
size_t token_units(const char *token);

#endif
