/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as the lines have it: integers of 64 bits, and strings in which NUL is a character. */
#ifndef ADAPTER_JSON_H
#define ADAPTER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/conformance/adapter/text.h"

/* Memory that is given back all at once. */
struct pool {
    struct block *blocks;
};
void pool_free(struct pool *p);

enum json_kind {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json {
    enum json_kind kind;
    const char *p; /* STRING: the characters, in UTF-8; NUMBER: as written. A NUL follows */
    size_t n;
    const char *key;                 /* in an object; one with a NUL inside is cut there */
    const struct json *first, *next; /* elements or members */
};

/* One value, and nothing but white space behind it. NULL, and *why, for anything else. Lone
 * surrogates become U+FFFD. */
const struct json *json_parse(struct pool *pool, const char *p, size_t n, const char **why);
/* The member; NULL where there is none, or it is null. Of equal ones the last. */
const struct json *json_get(const struct json *object, const char *key);
/* False where it is no integer of 64 bits. */
bool json_int(const struct json *number, int64_t *out);
double json_double(const struct json *number);

/* Writes a string with its quotes. The bytes are UTF-8. */
void json_add_string(struct text *out, const char *p, size_t n);
/* A valid JSON text, without white space between its tokens. */
void json_add_compact(struct text *out, const char *p, size_t n);

#endif
