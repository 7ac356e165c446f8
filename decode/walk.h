/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over text that is known to be JSON (ds_json_valid()), without making values of it: numbers,
 * the order of keys and equal keys stay as they were written. What follows the text is never looked
 * at, since its last bracket or quote stops every walk.
 */
#ifndef DS_DECODE_WALK_H
#define DS_DECODE_WALK_H

#include <stdbool.h>

#include "base/buf.h"

/* A part of the text: a value, or a key with its quotes. */
struct ds_slice {
    const char *p;
    size_t n;
};

/* Behind white space; behind the value that begins at `p`, which is not a number or word that ends
 * the text. */
const char *ds_json_skip_space(const char *p);
const char *ds_json_skip_value(const char *p);
/* The next member of an object. *at is where the object begins for the first one, and moves on.
 * False behind the last. */
bool ds_json_member(const char **at, struct ds_slice *key, struct ds_slice *value);

/* A key that is written without escapes. */
bool ds_json_is_key(struct ds_slice key, const char *name);

/* Appends what a string (with its quotes) says, as UTF-8; it may hold NULs. ERR_PARSE for a value
 * that is none, or has half of a surrogate pair in it; ERR_LIMIT, ERR_NOMEM. */
enum dstream_code ds_json_text(struct ds_buf *out, struct ds_slice string);
/* The same for bytes as ds_json_escape_bytes() writes them: each is the code point of its number.
 * ERR_PARSE for a code point above 255 as well. */
enum dstream_code ds_json_bytes(struct ds_buf *out, struct ds_slice string);

#endif
