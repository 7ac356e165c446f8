/* SPDX-License-Identifier: Apache-2.0 */
/* A small server in a thread that takes writes to one stream, "/s", and, where a test wants it,
 * does something else than it should. */
#ifndef DS_UNIT_TAKER_H
#define DS_UNIT_TAKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/e2e/listener.h"

enum take {
    TAKE,      /* as it should */
    DROP,      /* the connection is reset, nothing is stored */
    LOSE,      /* carried out; the connection is reset instead of an answer */
    HOLD,      /* nothing is stored, nothing is said, until the peer goes */
    SAY,       /* nothing is stored; asked.answer is the status line's end and the headers */
    TAKE_WRONG /* carried out, and then asked.answer instead of what is true */
};

struct asked {
    unsigned k; /* how many requests came before it */
    const char *method;
    const char *head;
    const char *body;
    size_t len;
    /* "503 Busy\r\nRetry-After: 0\r\n", for SAY and TAKE_WRONG */
    char answer[512];
};

typedef enum take (*taker_plan)(void *ctx, struct asked *a);

struct taker {
    struct listener *l;
    char url[128];
    taker_plan plan; /* NULL: all as it should. Called by one thread at a time */
    void *ctx;
    bool no_producers; /* takes their headers for none */

    pthread_mutex_t lock;
    bool exists, closed;
    char type[64];
    char *data; /* all bodies, joined; NUL behind them */
    size_t len;
    char *bodies; /* a line each, for text without line breaks */
    char *log;    /* the heads of all requests */
    struct {
        char id[64];
        uint64_t epoch;
        int64_t last;
    } producers[32];
    size_t nproducers;
    char seq[64]; /* the last Stream-Seq */
    _Atomic unsigned connections, requests, at_once, most_at_once;
};

/* A stream of this type; NULL: there is none yet. */
struct taker *taker_new(const char *type);
void taker_free(struct taker *t);
/* Another writer closes the stream; the server forgets its producers. */
void taker_close(struct taker *t);
void taker_forget(struct taker *t);
/* All of it, or the bodies a line each; valid until the next request. */
const char *taker_data(struct taker *t);
const char *taker_bodies(struct taker *t);
/* How often a text is in the heads of the requests. */
unsigned taker_count(struct taker *t, const char *text);
/* The value of a header in a head, into out; "" where there is none. */
void asked_header(const char *head, const char *name, char *out, size_t size);

#endif
