/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server of streams in memory: one thread, which is the caller's. */
#ifndef DS_DEVSERVER_SERVER_H
#define DS_DEVSERVER_SERVER_H

#include <signal.h>

#include "base/error.h"
#include "devserver/fault.h"

struct ds_server;

struct ds_server_options {
    const char *listen; /* "HOST:PORT", "[ADDRESS]:PORT"; port 0: any that is free */
    uint64_t page_size; /* bytes of an answer; 0: 1 MiB */
    int64_t sse_time;   /* ms that an SSE connection lasts; -1: 60 s */
    int64_t poll_time;  /* ms that a long-poll is held; -1: 30 s */
    struct ds_fault fault;
    /* For who runs it; may be NULL. Times are ms of a monotonic clock. Called before each wait:
     * does what is due, and says when to call it again (DS_NEVER). */
    int64_t (*on_time)(void *ctx, struct ds_server *s, int64_t now);
    /* The stream of this path is read (GET); called before it is answered. Must not change it. */
    void (*on_read)(void *ctx, const char *path, int64_t now);
    void *ctx;
};

/* Listens. ERR_ARGUMENT for an address that is none, ERR_CONNECT where it cannot be listened on,
 * ERR_NOMEM; *err says what. */
enum dstream_code ds_server_new(struct ds_server **out, const struct ds_server_options *o,
                                struct dstream_error *err);
void ds_server_free(struct ds_server *s);
/* "http://HOST:PORT", valid as long as the server. */
const char *ds_server_url(const struct ds_server *s);
/* Whether others than this machine can reach it. */
bool ds_server_is_public(const struct ds_server *s);
/* What requests would do: creates a stream with a first body, appends to one, and closes it. JSON
 * bodies are arrays of messages. ERR_ARGUMENT for a path that cannot be one, ERR_CONFLICT where it
 * is taken, ERR_NOT_FOUND, ERR_CLOSED, ERR_INPUT, ERR_LIMIT, ERR_NOMEM. */
enum dstream_code ds_server_create(struct ds_server *s, const char *path, const char *type,
                                   const char *body, size_t len, struct dstream_error *err);
enum dstream_code ds_server_append(struct ds_server *s, const char *path, const char *body,
                                   size_t len, bool close, struct dstream_error *err);
/* Serves until `ending` says true, which is asked after each wait. `signals` is the mask while it
 * waits: what sets the flag that `ending` looks at is blocked outside of it. */
enum dstream_code ds_server_run(struct ds_server *s, const sigset_t *signals, bool (*ending)(void),
                                struct dstream_error *err);

#endif
