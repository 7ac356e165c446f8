/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of a write, over its redirects, and what of its answer matters: what unary calls and
 * the producer have in common. No retries: who uses it decides on those.
 */
#ifndef DS_PRODUCER_EXCHANGE_H
#define DS_PRODUCER_EXCHANGE_H

#include "base/error.h"
#include "base/http.h"
#include "base/limits.h"
#include "base/reason.h"

#define DS_TYPE_MAX 255 /* bytes of a content type */
#define DS_URL_MAX  ((size_t)64 * 1024)

struct ds_exchange {
    /* over all of its redirects */
    enum ds_method method;
    const char *url;      /* as configured; lent */
    struct ds_buf target; /* where a redirect led; empty: none did */
    unsigned hops;
    bool stripped; /* a redirect has left the origin */
    /* of the request under way; reset as a whole by the next */
    int64_t due; /* when it is given up: the connection, then its head, then its end */
    int64_t upload;
    bool left; /* bytes of it may have */
    bool head;
    bool too_long; /* a field over our limits */
    bool no_memory;
    bool closed; /* Stream-Closed: true */
    int status;
    int64_t retry_after; /* -1: not said */
    uint64_t body;       /* bytes of the answer's */
    char next[DS_TOKEN_MAX + 1];
    char content_type[DS_TYPE_MAX + 1];
    struct ds_reason reason;
    struct ds_buf moved; /* where the answer redirects to; empty: nowhere */
};

/* `url` stays the caller's, and must stay. Allocates nothing. */
void ds_exchange_init(struct ds_exchange *x, enum ds_method method, const char *url);
void ds_exchange_free(struct ds_exchange *x);
/* Back to the URL as it was given, for the next try. */
void ds_exchange_rewind(struct ds_exchange *x);
/* A request is sent now, to where ds_exchange_target() says; `body_len` bytes (those of others on
 * the same line included) have to go out before an answer can come. */
void ds_exchange_send(struct ds_exchange *x, const struct ds_limits *l, int64_t now,
                      uint64_t body_len);
const char *ds_exchange_target(const struct ds_exchange *x);
/* What a body of this size may take to be sent, milliseconds. */
int64_t ds_exchange_upload_time(uint64_t body_len);

/* A connection stands. */
void ds_exchange_connected(struct ds_exchange *x, const struct ds_limits *l, int64_t now);
/* The head and body of the answer. False where the head came before. */
bool ds_exchange_head(struct ds_exchange *x, const struct ds_head *head, const struct ds_limits *l,
                      int64_t now);
void ds_exchange_body(struct ds_exchange *x, const char *p, size_t n);
/* Copies a field of the head; one that does not fit counts as too long, and "" is copied. */
void ds_exchange_field(struct ds_exchange *x, const struct ds_head *head, const char *name,
                       char *out, size_t size);
/* When to give up waiting: what is past at once where the answer is too large. */
int64_t ds_exchange_due(const struct ds_exchange *x);

/* Whether it named a position that can be one. */
bool ds_exchange_has_next(const struct ds_exchange *x);
/* Takes a redirect: true where the next request goes to where it leads. Else *err says why not. */
bool ds_exchange_follow(struct ds_exchange *x, const struct ds_limits *l,
                        struct dstream_error *err);
/* It ended, or was given up (NULL), without a head: *err says how. Returns whether it may be tried
 * again. */
bool ds_exchange_unanswered(const struct ds_exchange *x, const struct ds_result *result,
                            struct dstream_error *err);
/* Sets *err to what the words say, the status and the server's reason. */
void ds_exchange_refused(struct ds_exchange *x, enum dstream_code code, const char *words,
                         struct dstream_error *err);

#endif
