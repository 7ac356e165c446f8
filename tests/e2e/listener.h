/* SPDX-License-Identifier: Apache-2.0 */
/* Accepts connections on a free port of 127.0.0.1, each on a thread of its own: for servers that
 * misbehave. */
#ifndef DS_E2E_LISTENER_H
#define DS_E2E_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

struct listener;

/* Talks on `fd`, which is closed after it returns. */
typedef void (*on_connection)(void *ctx, int fd);

/* Whoever fails, fails the test. */
struct listener *listener_start(on_connection serve, void *ctx);
/* "http://127.0.0.1:PORT". */
const char *listener_url(const struct listener *l);
/* Shuts every connection down and waits for their threads. */
void listener_stop(struct listener *l);

/* Helpers for the connections. Each false where the peer has gone. */
bool listener_send(int fd, const char *p, size_t n);
/* One request's head with its empty line, NUL-terminated, into buf; what came after it (a body)
 * stays in the socket. */
bool listener_head(int fd, char *buf, size_t size);
/* The value of a head's field, up to its end of line; NULL where it is missing. */
const char *listener_field(const char *head, const char *name, size_t *n);
/* Waits until the peer closes. */
void listener_linger(int fd);
/* Makes the close to come a reset. */
void listener_reset(int fd);

#endif
