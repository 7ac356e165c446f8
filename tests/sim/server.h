/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of a server that appends are posted to: producers validated to the protocol's letter,
 * atomically with the append, and what real ones do beside that.
 */
#ifndef DS_SIM_SERVER_H
#define DS_SIM_SERVER_H

#include "base/http.h"
#include "tests/sim/world.h"

#define MESSAGES 96 /* of one life: 0, 1, 2 ... */
#define BODY_MAX 2048
#define LOG_MAX  1024
#define FOREIGN  SIZE_MAX

struct post {
    bool head; /* HEAD */
    uint64_t epoch, seq;
    bool close;
    bool redirected; /* it comes from where a redirect has led */
    unsigned credentials;
    size_t len;
    char body[BODY_MAX];
};

struct reply {
    int status;
    bool echo, expects, closed, next;
    uint64_t epoch, seq, expected;
    size_t offset;
    int64_t retry_after; /* ms; -1: none */
    const char *to;      /* redirect */
    bool stored;         /* for the trace */
};

/* What was stored. */
struct entry {
    size_t message; /* or FOREIGN */
    bool again;     /* by a server that had forgotten that it has it */
};

struct server {
    struct rng rng;
    bool json;
    /* the producer's state */
    bool has;
    uint64_t epoch, last;
    uint64_t foreign; /* epoch of the other writer under the same id */
    bool closed, closed_by_us;
    uint64_t closed_epoch, closed_seq;
    struct entry log[LOG_MAX];
    size_t n;
    unsigned copies[MESSAGES]; /* of each message in the log, */
    bool tolerated[MESSAGES];  /* of which one came of the server's forgetting */
    bool forgot;               /* it has, some time */

    /* once in so many; 0: never */
    unsigned before; /* 5xx, 408, 429 ... without storing */
    unsigned after;  /* 5xx, 408 after it */
    unsigned retry_after;
    unsigned redirect; /* 307 */
    unsigned moved;    /* 302, stored or not */
    bool check_first;  /* bodies are looked at before numbers */
    bool close_204;    /* a close with a body is answered 204 */
    bool no_seq;       /* echoes lack the number */
    bool no_producers;
    size_t max_body;
    bool poison[MESSAGES]; /* refused: 400 */
    unsigned credentials;  /* that are accepted */
    bool forbids;          /* 403 instead of 401 */
    bool out;              /* nothing works for a while */
    bool near;             /* others claim the next epochs, */
    bool rival;            /* whenever we do */
    int final;             /* a status that everything is answered with; 0: none */
    bool bug;              /* a body that is none */
    const char *why;
};

void server_answer(struct server *s, const struct post *p, struct reply *r);
/* Another writer under the same id takes over, or writes on, or closes the stream. */
void server_claimed(struct server *s);
void server_written(struct server *s);
void server_closed(struct server *s);
/* Its memory of producers is lost, or set back. */
void server_forget(struct server *s, bool back);
/* Message `i` as it is appended. */
size_t message_of(size_t i, bool json, size_t pad, char *out, size_t size);

#endif
