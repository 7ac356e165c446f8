/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Performs the HTTP requests that others decide on: one libcurl multi handle for many transfers at
 * once. The only folder that includes curl.h. It retries nothing, follows no redirect and judges no
 * status.
 *
 * It owns no loop: it names descriptors to watch and a time, and is told when they are ready.
 *
 * HTTP/1.1 (and 1.0) over TCP; over TLS HTTP/2 as well, where the server agrees to it by ALPN: then
 * all transfers to it go on one connection. Of the environment it heeds what libcurl does:
 * http_proxy, https_proxy, all_proxy and no_proxy. No cookies, no coding of bodies.
 */
#ifndef DS_TRANSPORT_TRANSPORT_H
#define DS_TRANSPORT_TRANSPORT_H

#include "base/error.h"
#include "base/http.h"

struct ds_transport;
struct ds_transfer;

enum { DS_WATCH_READ = 1, DS_WATCH_WRITE = 2 };

/* What transport needs of its loop. */
struct ds_transport_ops {
    /* Watch `fd` for `what` (DS_WATCH_*, or-ed; 0: no longer) from now on. */
    void (*watch)(void *ctx, int fd, unsigned what);
    /* Call ds_transport_timeout() in `ms` from now; -1: not any more. Replaces the last one. */
    void (*timer)(void *ctx, int64_t ms);
};

/* What every request of one stream (or one side of a copy) has in common. Copied. */
struct ds_transport_options {
    const char *const *headers; /* the user's own "Name: value" lines */
    size_t nheaders;
    const char *cacert; /* instead of the system's; NULL: the system's */
    bool insecure;
    /* Who we are: PEM files; key NULL: it is in `cert`. And a file as ~/.netrc. Neither is used for
     * a request without send_user_headers. NULL: none. */
    const char *cert, *key, *netrc;
    const char *proxy; /* see ds_proxy_valid(); NULL: the environment's; "": none */
    /* What names resolve to, see ds_resolve_valid(). What is resolved is common to all sessions of
     * a transport. */
    const char *const *resolve;
    size_t nresolve;
    bool http1;         /* no HTTP/2 */
    bool compressed;    /* answers may come compressed; what is fed is not */
    int64_t connect_ms; /* for resolving, connecting and TLS; -1: no limit */
    size_t max_head;    /* bytes of all heads of one answer, with those of 1xx and trailers */
};
struct ds_session; /* those options, made ready for use */

/* What a transfer calls back. None of it is called after ds_transfer_cancel(). All are called from
 * within ds_transport_ready() and ds_transport_timeout(), never from ds_transfer_start() or
 * ds_transfer_resume(). They may start, resume and cancel other transfers, and the end may free its
 * session. */
struct ds_transfer_ops {
    /* A connection stands, and the request is about to be sent on it. May be NULL. It comes again
     * where a connection that was kept turned out to be dead; a POST ends there instead. */
    void (*connected)(void *ctx);
    /* The head of the answer, once; not for 1xx. */
    void (*head)(void *ctx, const struct ds_head *head);
    /* A piece of the body. All of it counts as taken. False pauses the transfer: no more comes
     * until ds_transfer_resume(); the server feels the back-pressure. */
    bool (*body)(void *ctx, const char *p, size_t n);
    /* The end, once. The transfer is freed by transport after this returns. Never while paused. */
    void (*end)(void *ctx, const struct ds_result *result);
};

/* NULL without memory. Several transports may exist in a process and are independent. */
struct ds_transport *ds_transport_new(const struct ds_transport_ops *ops, void *ctx);
/* Every session and transfer must be gone. */
void ds_transport_free(struct ds_transport *t);
/* `fd` is ready for `what`; 0 with an error condition on it. */
void ds_transport_ready(struct ds_transport *t, int fd, unsigned what);
void ds_transport_timeout(struct ds_transport *t);

/* ERR_ARGUMENT for a header with a line break, without a colon, or of a name that the protocol
 * sets. */
enum dstream_code ds_session_new(struct ds_session **out, struct ds_transport *t,
                                 const struct ds_transport_options *o, struct dstream_error *err);
void ds_session_free(struct ds_session *s);

/* Starts it. The request and its strings are copied but for the body, which must stay until the
 * end. NULL without memory. */
struct ds_transfer *ds_transfer_start(struct ds_session *s, const struct ds_request *req,
                                      const struct ds_transfer_ops *ops, void *ctx);
/* Goes on after a body callback returned false. */
void ds_transfer_resume(struct ds_transfer *x);
/* Whether the connection that its answer comes on is one of HTTP/2. Its pause does not stop the
 * server before libcurl has kept a lot (32 MiB), so one that lasts should end in a cancel. */
bool ds_transfer_shares(const struct ds_transfer *x);
/* Whether bytes of the request may have left for the server so far, as ds_result has it at the end:
 * for who is about to cancel it. */
bool ds_transfer_left(const struct ds_transfer *x);
/* Closes its connection unless it can be kept, and frees it. Calls nothing back and does not wait
 * for a resolver. Not from inside its own callbacks. */
void ds_transfer_cancel(struct ds_transfer *x);
/* The same for one that was silent for too long. Where others share its connection, and that
 * brought nothing for any of them meanwhile, it is taken for dead and closed under them all: a
 * connection whose other end is gone would be used again and again otherwise. */
void ds_transfer_abandon(struct ds_transfer *x);

#endif
