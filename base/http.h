/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP as data: the request that protocol code decides on, and the answer's head and end as
 * transport feeds them back. */
#ifndef DS_BASE_HTTP_H
#define DS_BASE_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum ds_method { DS_GET, DS_HEAD, DS_PUT, DS_POST, DS_DELETE };

/* All pointers are lent by who decided on the request and stay valid until its end is fed back. */
struct ds_request {
    enum ds_method method;
    const char *url;            /* complete, with its query */
    const char *const *headers; /* the protocol's own "Name: value" lines */
    size_t nheaders;
    bool send_user_headers; /* false once a redirect has left the origin */
    bool little;            /* not much of its answer is expected to come at once */
    const void *body;       /* PUT, POST */
    size_t body_len;
};

/* The head of an answer. Lent during the callback only. */
struct ds_head {
    int status;
    struct ds_buf
        fields; /* name NUL value NUL, again and again; names in lower case, values trimmed */
    int64_t retry_after_ms; /* from Retry-After, saturated to a year; -1: absent or malformed */
    const char *redirect;   /* the absolute URL a 3xx points to, or NULL */
};

/* The value of the first field `name` (lower case), or NULL. */
const char *ds_head_get(const struct ds_head *h, const char *name);
/* Whether the field is there with the value "true" in any case. */
bool ds_head_is_true(const struct ds_head *h, const char *name);
/* The ETag of the answer; "" where it has none, or one too long to be kept. */
#define DS_ETAG_MAX 255
void ds_head_etag(const struct ds_head *h, char out[DS_ETAG_MAX + 1]);
/* Adds a field, for transport and tests: lower-cases the name, trims the value. `fields` must have
 * been given its cap. ERR_LIMIT over it, ERR_PROTOCOL for an empty name or a NUL, ERR_NOMEM. */
enum dstream_code ds_head_add(struct ds_head *h, const char *name, size_t name_len,
                              const char *value, size_t value_len);
void ds_head_free(struct ds_head *h);

/* How a transfer ended. */
enum ds_end {
    DS_END_COMPLETE,    /* whole, by HTTP's own framing (Content-Length, last chunk, or close where
                           neither was announced) */
    DS_END_RESOLVE,     /* name not resolved */
    DS_END_CONNECT,     /* refused, unreachable, or not within the time for connecting */
    DS_END_CUT,         /* reset, closed early, framing broken */
    DS_END_TLS,         /* handshake broken off: may be passing trouble */
    DS_END_TLS_REFUSED, /* certificate not acceptable or the TLS files unusable: final */
    DS_END_PROXY_AUTH,  /* the proxy wants other credentials (407): final */
    DS_END_BAD,         /* URL, header or option not usable: final */
    DS_END_PROTOCOL,    /* an answer that is of no use, as in a coding not asked for: final */
    DS_END_LIMIT,       /* head over its cap */
    DS_END_NOMEM
};

struct ds_result {
    enum ds_end end;
    bool connected;     /* bytes may have left for the server */
    bool unmarked;      /* complete, but only the connection's end says so: it may have been cut */
    const char *detail; /* one line on what happened; lent during the callback */
};

/* The media type alone: the part before ';', trimmed, in lower case, cut at the array's end. */
void ds_media_type(const char *content_type, char *out, size_t size);
/* Whether a content type is application/json / text/anything. */
bool ds_type_is_json(const char *content_type);
bool ds_type_is_text(const char *content_type);

#endif
