/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol as a server sees it: what a request does to the store, and what is answered. No
 * HTTP library, no clock, no waiting: a read that has to wait says so.
 */
#ifndef DS_DEVSERVER_API_H
#define DS_DEVSERVER_API_H

#include "devserver/store.h"
#include "devserver/target.h"

#define DS_TYPE_MAX 1024 /* bytes of a content type */

struct ds_api {
    struct ds_store *store;
    size_t page;     /* bytes of a page, > 0 */
    uint64_t random; /* state of the draws; a seed to begin with, not 0 */
    uint64_t boot;   /* tells the streams of one run of the server from those of another */
};

struct ds_call {
    const char *method;
    const struct ds_target *target;
    /* NULL where it is missing; a text lives as long as the call. */
    const char *(*header)(void *ctx, const char *name);
    void *ctx;
    const char *base; /* "http://HOST:PORT", for the Location of what is created */
    const char *body;
    size_t body_len;
    int64_t now;
};

enum ds_reply_kind {
    DS_REPLY_TEXT,  /* `text` */
    DS_REPLY_PAGE,  /* stream[start..end); JSON: as an array. To a HEAD, only its length */
    DS_REPLY_WAIT,  /* not yet: call ds_api_resume() when the stream has changed or time is up */
    DS_REPLY_EVENTS /* an event stream, from `start` on */
};

struct ds_reply {
    enum ds_reply_kind kind;
    int status;
    struct ds_buf fields;     /* name NUL value NUL, again and again */
    const char *text;         /* static */
    struct ds_stream *stream; /* held; NULL where the kind needs none */
    size_t start, end;
    uint64_t cursor; /* events: that of the first control event */
    bool failed;     /* no memory: answer 500 and nothing else */
};

/* Free the reply with ds_reply_free(), whatever its kind. */
void ds_api_answer(struct ds_api *api, const struct ds_call *call, struct ds_reply *r);
/* Goes on with a read that waits: turns the reply of the kind WAIT into another. */
void ds_api_resume(struct ds_api *api, const struct ds_call *call, struct ds_reply *r);
void ds_reply_free(struct ds_reply *r);
/* An answer without any regard to the call, with the headers that every answer has. */
void ds_reply_error(struct ds_reply *r, int status, const char *text);
void ds_reply_add(struct ds_reply *r, const char *name, const char *value);

/* The cursor to answer with: that of the current interval of 20 s, or, where the client's is not
 * below that, one above the client's, so that no cache answers the same request for ever.
 * `client` may be NULL. */
uint64_t ds_cursor(int64_t now, const char *client, uint64_t *random);

#endif
