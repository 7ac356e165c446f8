/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A proxy between the command and a server that does to chosen answers what networks, caches and
 * replicas do to them, and counts requests.
 */
#ifndef DS_E2E_PROXY_H
#define DS_E2E_PROXY_H

#include <stddef.h>

struct proxy;

enum proxy_how {
    PROXY_WHOLE, /* passed as it is */
    PROXY_CLEAN, /* ends after `at` bytes of the body as if that were all: a body until close */
    PROXY_BREAK, /* the connection is closed there, inside the answer's framing */
    PROXY_RESET, /* the connection is reset there */
    PROXY_STALL, /* nothing more comes, though the connection stays */
    PROXY_LOST,  /* the server is asked, and the connection reset instead of an answer */
    PROXY_MUTE,  /* the same, but nothing ever comes */
    PROXY_PAUSE, /* nothing comes for a while after `at` bytes */
    PROXY_DRIP,  /* the first `at` bytes come one by one */
    PROXY_STALE, /* what an earlier request with the same first line got, where there was one */
    PROXY_EARLY, /* no data, and the tail as of now: live answers, and once a plain one, since
                  * saying so twice would make it true */
    PROXY_HOWS
};
struct proxy_plan {
    enum proxy_how how;
    size_t at;   /* bytes of the body, framing not counted */
    size_t most; /* where it is passed, delayed or not: it is broken after so many; 0: it is not */
};
const char *proxy_name(enum proxy_how how);
/* What happens to the answer of the `k`-th request (from 0) that matches. Called on a thread of the
 * proxy, never by two at once. */
typedef struct proxy_plan (*proxy_planner)(void *ctx, unsigned k);

/* To the server with this base URL. Requests whose first line contains `match` are planned. */
struct proxy *proxy_start(const char *server, const char *match, proxy_planner plan, void *ctx);
const char *proxy_url(const struct proxy *p);
/* How many requests have come whose first line contains `match`. */
unsigned proxy_count(struct proxy *p, const char *match);
/* How many answers were made so: a plan for what is not there leaves them whole. */
unsigned proxy_befell(struct proxy *p, enum proxy_how how);
/* Waits until so many have. */
void proxy_await(struct proxy *p, const char *match, unsigned n);
/* The first lines of all requests so far, a line each. Valid until the test ends. */
const char *proxy_log(struct proxy *p);
void proxy_stop(struct proxy *p);

#endif
