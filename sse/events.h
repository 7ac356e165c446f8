/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Durable Streams layer over the event stream: data events are staged until their control
 * event, which makes them one batch. What no control event has covered is never handed out.
 *
 * Data goes to the staged bytes as it comes and is decoded there, in place, when its event ends; an
 * event that turns out to be another kind is rolled back to the mark where it began.
 */
#ifndef DS_SSE_EVENTS_H
#define DS_SSE_EVENTS_H

#include "base/error.h"
#include "base/items.h"
#include "base/limits.h"
#include "decode/jsoncut.h"
#include "sse/parser.h"

#define DS_CONTROL_MAX 65536 /* bytes of a control event's JSON text */

enum ds_sse_kind {
    DS_SSE_TEXT,  /* the bytes of the wire */
    DS_SSE_JSON,  /* each data event is one array; its items are the messages */
    DS_SSE_BASE64 /* each data event is one base64 text */
};

/* What a control event said. */
struct ds_control {
    char next[DS_TOKEN_MAX + 1];   /* never empty, never a sentinel */
    char cursor[DS_TOKEN_MAX + 1]; /* "" where there was none */
    bool up_to_date, closed;       /* closed implies up to date */
};

enum ds_events_result {
    DS_EVENTS_MORE,  /* all bytes used; feed more */
    DS_EVENTS_BATCH, /* a control event came: staged data and control are complete */
    DS_EVENTS_ERROR  /* see error; it sticks */
};

struct ds_events {
    struct ds_sse_parser parser;
    enum ds_sse_kind kind;
    const struct ds_limits *limits;
    struct ds_items staged; /* the decoded data since the last ds_events_take() */
    struct ds_control control;
    struct dstream_error
        error;      /* code, and a message that says what and where (byte of the connection) */
    bool any;       /* a byte has come on this connection */
    bool too_large; /* the error is that staged data is over max_event */
    /* private */
    struct ds_json_cut cut;
    size_t mark;       /* where the event under way began in the staged bytes */
    size_t mark_count; /* and how many messages there were */
    bool batch;        /* the control event has come */
    bool ended;        /* it was the one that closes the stream */
};

/* `limits` is lent and must outlive it. */
void ds_events_init(struct ds_events *e, const struct ds_limits *limits);
void ds_events_free(struct ds_events *e);
/* Begins a new connection: staged data, carry-over and error are dropped, in this one function. */
void ds_events_reset(struct ds_events *e, enum ds_sse_kind kind);
/* Takes bytes up to and including the next control event. ERR_PARSE for a malformed control event,
 * base64 or JSON; ERR_PROTOCOL for a control event without a usable offset; ERR_LIMIT where staged
 * bytes exceed max_event or a token its cap. Events of other names are ignored. After BATCH, call
 * ds_events_take() before feeding on. Behind a control event that closes the stream nothing is
 * read: further bytes are used up and ignored. */
enum ds_events_result ds_events_feed(struct ds_events *e, const char *bytes, size_t n,
                                     size_t *consumed);
/* The batch was handed over: empties the staged data, keeping the memory for the next one. */
void ds_events_take(struct ds_events *e);

/* Reads the JSON text of a control event, strictly (RFC 8259, no known key twice, no NUL in a
 * token, types checked, null for an optional field means absent, unknown fields ignored). On
 * failure sets code and message of *err. */
enum dstream_code ds_control_parse(const char *json, size_t n, struct ds_control *out,
                                   struct dstream_error *err);

#endif
