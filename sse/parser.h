/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event-stream parser to the rules of WHATWG HTML, section 9.2.6, as a byte machine: each byte
 * is seen once, all carry-over is in the struct, and the result does not depend on how the bytes
 * were cut.
 *
 * Payload is not gathered here. The bytes of `data` fields are passed on as they come, with an LF
 * between two data lines, so that an event of any size costs no copy and no memory in the parser.
 */
#ifndef DS_SSE_PARSER_H
#define DS_SSE_PARSER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define DS_SSE_NAME_MAX 256  /* bytes of an event name; a longer one is an error */
#define DS_SSE_ID_MAX   4096 /* bytes of an id; a longer one is an error */

struct ds_sse_event {
    const char *name; /* the event name, NUL-terminated, "" where none was given */
    size_t name_len;
    const char *id; /* the last event id seen on the stream so far; NULL where there was none */
    size_t id_len;
};

/* Each returns DSTREAM_OK to go on. Any other code ends ds_sse_feed() with it, for good. */
struct ds_sse_ops {
    /* A piece of the data of the event under way, never empty. Its name may still come. */
    enum dstream_code (*data)(void *ctx, const char *p, size_t n);
    /* The blank line: an event whose data (perhaps empty) has been passed on. *stop may be set to
     * end this feed right after it, so that what follows can wait. */
    enum dstream_code (*event)(void *ctx, const struct ds_sse_event *ev, bool *stop);
};

struct ds_sse_parser {
    const struct ds_sse_ops *ops;
    void *ctx;
    const char *why; /* after an error of the parser's own: a static text */
    /* The rest is private. */
    unsigned state, field; /* the field under way */
    enum dstream_code failed;
    uint8_t bom;     /* bytes of the byte order mark matched */
    bool pending_cr; /* the last byte was CR: an LF now belongs to it */
    bool begun;      /* a line of the event under way has been seen, maybe only a comment */
    bool has_data;   /* the event under way has a data line */
    bool has_id;     /* an id was seen on the stream */
    bool bad;        /* the id or retry line under way is to be ignored */
    bool has_retry;
    char field_name[8];
    uint8_t field_len;
    struct ds_buf name, id, id_new;
    uint64_t retry, retry_new;
    uint64_t pos;       /* bytes consumed since the start */
    uint64_t event_pos; /* where the event under way began */
};

void ds_sse_init(struct ds_sse_parser *p, const struct ds_sse_ops *ops, void *ctx);
void ds_sse_free(struct ds_sse_parser *p);
/* Begins a new connection: everything but the last event id is as after ds_sse_init(). */
void ds_sse_reset(struct ds_sse_parser *p);
/* Takes `n` bytes; *consumed says how many were used: all of them, unless the event callback set
 * *stop or an error came. ERR_LIMIT for a name or id over its cap, ERR_NOMEM, or what a callback
 * returned. At the end of a connection nothing is called: an event without its blank line is
 * dropped (WHATWG). */
enum dstream_code ds_sse_feed(struct ds_sse_parser *p, const char *bytes, size_t n,
                              size_t *consumed);
/* An event is under way that has data or a name, or part of a line that may be: dropped, were this
 * the end. */
bool ds_sse_midway(const struct ds_sse_parser *p);
/* The last `retry` field, in milliseconds; false where there was none. */
bool ds_sse_retry(const struct ds_sse_parser *p, uint64_t *ms);
/* Bytes consumed since ds_sse_init() or ds_sse_reset(). */
uint64_t ds_sse_pos(const struct ds_sse_parser *p);
/* Where the first line of the event under way began, for error messages: unlike the bytes consumed
 * it does not depend on how the bytes were cut. */
uint64_t ds_sse_event_pos(const struct ds_sse_parser *p);

#endif
