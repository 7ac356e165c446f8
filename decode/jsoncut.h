/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts JSON messages out of a body, byte-exact, incrementally, validating them fully: RFC 8259
 * grammar, strings of valid UTF-8 without raw control characters, escapes (lone surrogates are
 * legal and stay), numbers of any size, a nesting limit, nothing behind the end. Never parses into
 * values, never prints anew.
 */
#ifndef DS_DECODE_JSONCUT_H
#define DS_DECODE_JSONCUT_H

#include "base/items.h"
#include "base/text.h"

enum ds_json_shape {
    DS_JSON_ARRAY, /* one array; its elements are the messages (an empty array has none) */
    /* Values one after another to the end of input, each a message. Numbers and words (true, false,
     * null) need white space between them; what has quotes or brackets needs none. */
    DS_JSON_VALUES
};

struct ds_json_cut {
    enum ds_json_shape shape;
    unsigned max_depth;
    uint64_t pos;    /* bytes consumed */
    const char *why; /* after ERR_PARSE / ERR_LIMIT: a static text; pos is where */
    /* private */
    unsigned state;
    unsigned depth;       /* containers open, the outer array of DS_JSON_ARRAY not counted */
    unsigned char *stack; /* one bit a level: object or array */
    struct ds_utf8 utf8;
    const char *literal; /* what is left of "true", "false" or "null" */
    unsigned hex_left;
    bool key;        /* the string under way is a key */
    bool in_message; /* bytes belong to a message */
    bool in_place;
    enum dstream_code failed;
};

/* Nothing is allocated before it is needed. max_depth counts containers inside a message. */
void ds_json_cut_init(struct ds_json_cut *c, enum ds_json_shape shape, unsigned max_depth);
void ds_json_cut_free(struct ds_json_cut *c);
void ds_json_cut_reset(struct ds_json_cut *c);
/* Takes `n` bytes, all of them. Bytes of messages are appended to out->bytes as they come, an LF
 * behind each whole one, which ds_items_end() then records: a message under way lies behind the
 * last end. White space around messages and between them is dropped, inside a message all bytes
 * stay. ERR_PARSE; ERR_LIMIT for nesting or where out is full; ERR_NOMEM. */
enum dstream_code ds_json_cut_feed(struct ds_json_cut *c, const char *p, size_t n,
                                   struct ds_items *out);
/* The same, up to where the first message ends: *used of the bytes were taken, maybe none where
 * they only show that a number has ended. */
enum dstream_code ds_json_cut_next(struct ds_json_cut *c, const char *p, size_t n,
                                   struct ds_items *out, size_t *used);
/* The end of the input: ERR_PARSE where something is unfinished. Ends a number of DS_JSON_VALUES.
 */
enum dstream_code ds_json_cut_finish(struct ds_json_cut *c, struct ds_items *out);
/* One whole array that lies at the end of out->bytes, from `mark` on, is cut in place: the messages
 * take its place. */
enum dstream_code ds_json_cut_in_place(struct ds_json_cut *c, struct ds_items *out, size_t mark);
/* Whether `p` is exactly one JSON text (white space around it allowed). */
bool ds_json_valid(const char *p, size_t n, unsigned max_depth);

#endif
