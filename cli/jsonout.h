/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on its way out, in pieces of bounded size however large a value is. */
#ifndef DS_CLI_JSONOUT_H
#define DS_CLI_JSONOUT_H

#include <stdint.h>

#include "base/buf.h"

/* Takes a piece of output, never an empty one. What it returns but DSTREAM_OK ends the output with
 * that. */
typedef enum dstream_code (*ds_put)(void *ctx, const void *p, size_t n);

/* The first error sticks in `rc`, so that a line is written as one list and checked once. */
struct ds_json_out {
    ds_put put;
    void *ctx;
    enum dstream_code rc;
    struct ds_buf b; /* a piece that is converted */
};

void ds_json_out_begin(struct ds_json_out *o, ds_put put, void *ctx);
/* Frees what it has. Returns `rc`. */
enum dstream_code ds_json_out_end(struct ds_json_out *o);

/* As it is. */
void ds_json_out_raw(struct ds_json_out *o, const void *p, size_t n);
void ds_json_out_add(struct ds_json_out *o, const char *text);
void ds_json_out_u64(struct ds_json_out *o, uint64_t n);
/* The inside of a string: UTF-8; bytes in base64; bytes, of which each is the code point of its
 * number. */
void ds_json_out_text(struct ds_json_out *o, const char *p, size_t n);
void ds_json_out_base64(struct ds_json_out *o, const char *p, size_t n);
void ds_json_out_bytes(struct ds_json_out *o, const char *p, size_t n);
/* The same for an offset or cursor, which may hold any byte; what is not UTF-8 of it can only be
 * shown replaced. */
void ds_json_out_token(struct ds_json_out *o, const char *token);
/* A member: "text":"..." where the bytes are UTF-8, else "base64":"...". */
void ds_json_out_data(struct ds_json_out *o, const char *p, size_t n);
/* A message without the line breaks in it, which can stand only between tokens. */
void ds_json_out_message(struct ds_json_out *o, const char *p, size_t n);

#endif
