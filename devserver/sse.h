/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints a stream as events: a data event for each page and a control event behind it. What is
 * printed and not yet taken is a slice of an event, however large the event is.
 */
#ifndef DS_DEVSERVER_SSE_H
#define DS_DEVSERVER_SSE_H

#include "devserver/store.h"

#define DS_KEEP_ALIVE 15000 /* ms between two control events of an idle connection */

enum ds_feed_result { DS_FEED_BYTES, DS_FEED_WAIT, DS_FEED_END, DS_FEED_FAILED };

struct ds_feed {
    struct ds_stream *stream; /* held */
    size_t pos;               /* what lies before it is printed */
    size_t page;
    bool base64;
    uint64_t cursor; /* of the last control event; grows */
    int64_t ends_at; /* when the connection is over */
    int64_t told_at; /* time of the last control event */
    bool told;       /* there was one */
    bool told_end;   /* it closed the stream */
    size_t told_pos;
    bool in_event;
    size_t event_end;
    bool at_start;     /* of a line of data */
    bool after_cr;     /* the last byte of the event so far is a CR: an LF now belongs to it */
    struct ds_buf out; /* printed, and taken up to out_at */
    size_t out_at;
};

/* Takes over one hold of the stream. Times are of one clock of the caller's; `ends_at` DS_NEVER for
 * a connection without an end. */
void ds_feed_init(struct ds_feed *f, struct ds_stream *s, size_t pos, size_t page, uint64_t cursor,
                  int64_t now, int64_t ends_at);
void ds_feed_free(struct ds_feed *f);
/* Puts up to `size` bytes into `to`. `wall` is the time since 1970, for cursors and expiry. WAIT:
 * call again when the stream has changed, or by ds_feed_due(). FAILED: no memory. */
enum ds_feed_result ds_feed_take(struct ds_feed *f, char *to, size_t size, size_t *len, int64_t now,
                                 int64_t wall);
/* When there is something to do though nothing changes. */
int64_t ds_feed_due(const struct ds_feed *f);

#endif
