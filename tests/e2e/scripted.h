/* SPDX-License-Identifier: Apache-2.0 */
/* A server whose answers a test writes itself, on a listener: for what no server in order says. */
#ifndef DS_E2E_SCRIPTED_H
#define DS_E2E_SCRIPTED_H

#include "tests/e2e/harness.h"

struct scripted;

/* One request, to be answered. */
struct exchange {
    int fd;
    unsigned k;       /* how many requests came before it, on any connection */
    const char *head; /* its head, with the empty line; it has no body */
    bool last;        /* set by the script: the connection ends with this answer */
};

/* Answers. Runs on the connection's thread, so that several may run at once; it must not fail the
 * test, but can note what the test then judges. */
typedef void (*script)(void *ctx, struct exchange *x);

struct scripted *scripted_start(script play, void *ctx);
const char *scripted_url(const struct scripted *s);
/* The heads of all requests so far, joined. Valid until the test ends. */
const char *scripted_log(struct scripted *s);
/* How many requests have come; of those, whose first line contains `match`. */
unsigned scripted_count(struct scripted *s, const char *match);
/* How many connections there were. */
unsigned scripted_connections(struct scripted *s);
/* Waits until so many requests have come. */
void scripted_await(struct scripted *s, const char *match, unsigned n);
/* Every test stops what it started. */
void scripted_stop(struct scripted *s);

/* For scripts. Whether the request's first line contains a text. */
bool asks(const struct exchange *x, const char *text);
/* Sends it as it is. False (and `last`) where the peer has gone. */
bool say(struct exchange *x, const char *text);
bool say_bytes(struct exchange *x, const char *p, size_t n);
/* A whole answer: "HTTP/1.1 " status, the header lines (each with its CR LF; may be ""),
 * Content-Length and body. To a HEAD: without the body. */
bool answer(struct exchange *x, const char *status, const char *headers, const char *body);
/* The head of an event stream that ends with the connection. */
bool answer_events(struct exchange *x, const char *headers);
/* Keeps the connection open and silent until the peer closes it. */
void keep_open(struct exchange *x);

#endif
