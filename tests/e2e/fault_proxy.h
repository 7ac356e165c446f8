/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A proxy between a writer and a server that, by a seed, does to requests what networks and servers
 * do to them. What happens to a batch depends on the seed, on its number and on how often it has
 * come, and not on when: a seed that failed fails again.
 */
#ifndef DS_E2E_FAULT_PROXY_H
#define DS_E2E_FAULT_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault {
    FAULT_NONE,
    FAULT_LOST_REQUEST, /* the connection is reset, nothing was forwarded */
    FAULT_LOST_ANSWER,  /* the server takes it; the connection is reset instead of an answer */
    FAULT_CUT_ANSWER,   /* the server takes it; the connection ends within the answer's head */
    FAULT_LATE_REQUEST, /* held back while later requests overtake it */
    FAULT_LATE_ANSWER,  /* the server takes it; its answer is held back */
    FAULT_STRAGGLER,    /* the connection is reset, and the request forwarded after later ones */
    FAULT_500,          /* answered by the proxy; the server never sees it */
    FAULT_503,          /* the same, with Retry-After */
    FAULT_429,          /* the same */
    FAULT_500_AFTER,    /* the server takes it; the proxy answers 500 */
    FAULTS,
    /* Not one that is drawn: its body is over the limit; answered by the proxy. */
    FAULT_413 = FAULTS
};

struct fault_plan {
    uint64_t seed;
    unsigned rate[FAULTS]; /* how many of 1000 requests each befalls; the rest pass */
    const char *match;     /* what a request's first line contains that is planned; NULL: "POST " */
    /* How often in a row a batch may be hit before it passes, so that every writer gets done; 0: 4.
     * What delays it only does not count. */
    unsigned most;
    const char *retry_after; /* of 503 and 429; NULL: "0" */
    int hold_ms;             /* the longest that anything is held back; 0: 20 */
    size_t limit;            /* of a body, bytes; 0: none */
};

/* Every kind, `rate` of 1000 requests each; and nothing at all for 0. */
struct fault_plan fault_everything(uint64_t seed, unsigned rate);
/* The seed that DSTREAM_SEED names, to repeat what failed; else `seed`. */
uint64_t fault_seed(uint64_t seed);
const char *fault_name(enum fault f);

struct fault_proxy;

/* To the server with this base URL, "http://127.0.0.1:PORT". Requests whose length is not given by
 * Content-Length are none of ours. Texts of the plan are lent until the proxy stops. */
struct fault_proxy *fault_proxy_start(const char *server, const struct fault_plan *plan);
const char *fault_proxy_url(const struct fault_proxy *p);

struct fault_counts {
    unsigned requests;           /* planned ones that have come */
    unsigned forwarded;          /* of these, that went to the server */
    unsigned befell[FAULTS + 1]; /* what happened to them; their sum is `requests` */
};
struct fault_counts fault_proxy_counts(struct fault_proxy *p);
/* Waits until nothing is held back any more: what may still reach the server has reached it. */
void fault_proxy_settle(struct fault_proxy *p);
/* The same, and lets no planned request pass from then on until it is thawed: meanwhile the test
 * has the server to itself. */
void fault_proxy_freeze(struct fault_proxy *p);
void fault_proxy_thaw(struct fault_proxy *p);
/* A line for each planned request, in the order they came: which it was, what befell it, and the
 * status that the server gave. The caller's to free. */
char *fault_proxy_story(struct fault_proxy *p);
void fault_proxy_stop(struct fault_proxy *p);

#endif
