/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy between the command and a server that ends chosen answers early, and counts requests. */
#ifndef DS_E2E_PROXY_H
#define DS_E2E_PROXY_H

#include <stddef.h>

struct proxy;

enum proxy_how {
    PROXY_WHOLE, /* passed as it is */
    PROXY_CLEAN, /* ends after `at` bytes of the body as if that were all: a body until close */
    PROXY_BREAK, /* the connection is closed there, inside the answer's framing */
    PROXY_RESET  /* the connection is reset there */
};
struct proxy_plan {
    enum proxy_how how;
    size_t at; /* bytes of the body, framing not counted */
};
/* What happens to the answer of the `k`-th request (from 0) that matches. Called on a thread of the
 * proxy, never by two at once. */
typedef struct proxy_plan (*proxy_planner)(void *ctx, unsigned k);

/* To the server with this base URL. Requests whose first line contains `match` are planned. */
struct proxy *proxy_start(const char *server, const char *match, proxy_planner plan, void *ctx);
const char *proxy_url(const struct proxy *p);
/* How many requests have come whose first line contains `match`. */
unsigned proxy_count(struct proxy *p, const char *match);
/* Waits until so many have. */
void proxy_await(struct proxy *p, const char *match, unsigned n);
/* The first lines of all requests so far, a line each. Valid until the test ends. */
const char *proxy_log(struct proxy *p);
void proxy_stop(struct proxy *p);

#endif
