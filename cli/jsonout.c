/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/jsonout.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "decode/base64.h"

/* What is converted at once; a multiple of 3, so that base64 can be put together from slices. */
#define SLICE ((size_t)48 * 1024)
/* A byte becomes at most \u00NN. */
#define CONVERTED_MAX (SLICE * 6)

void ds_json_out_begin(struct ds_json_out *o, ds_put put, void *ctx)
{
    *o = (struct ds_json_out){.put = put, .ctx = ctx, .rc = DSTREAM_OK};
    ds_buf_init(&o->b, CONVERTED_MAX);
}

enum dstream_code ds_json_out_end(struct ds_json_out *o)
{
    ds_buf_free(&o->b);
    return o->rc;
}

void ds_json_out_raw(struct ds_json_out *o, const void *p, size_t n)
{
    if (o->rc == DSTREAM_OK && n > 0)
        o->rc = o->put(o->ctx, p, n);
}

void ds_json_out_add(struct ds_json_out *o, const char *text)
{
    ds_json_out_raw(o, text, strlen(text));
}

/* Puts what was converted, and keeps the memory for the next piece. */
static void pass(struct ds_json_out *o, enum dstream_code rc)
{
    if (o->rc == DSTREAM_OK)
        o->rc = rc;
    ds_json_out_raw(o, o->b.data, o->b.len);
    o->b.len = 0;
}

void ds_json_out_u64(struct ds_json_out *o, uint64_t n)
{
    pass(o, ds_buf_addf(&o->b, "%llu", (unsigned long long)n));
}

/* The end of the first slice of valid UTF-8, never inside a sequence. */
static size_t slice_end(const char *p, size_t n)
{
    if (n <= SLICE)
        return n;
    size_t end = SLICE;
    while (((unsigned char)p[end] & 0xC0) == 0x80)
        end--;
    return end;
}

typedef enum dstream_code (*encoder)(struct ds_buf *out, const void *p, size_t n);

static void put_encoded(struct ds_json_out *o, const char *p, size_t n, encoder encode, bool utf8)
{
    while (n > 0 && o->rc == DSTREAM_OK) {
        size_t end = utf8 ? slice_end(p, n) : n < SLICE ? n : SLICE;
        pass(o, encode(&o->b, p, end));
        p += end;
        n -= end;
    }
}

void ds_json_out_text(struct ds_json_out *o, const char *p, size_t n)
{
    put_encoded(o, p, n, ds_json_escape, true);
}

void ds_json_out_base64(struct ds_json_out *o, const char *p, size_t n)
{
    put_encoded(o, p, n, ds_base64_encode, false);
}

void ds_json_out_bytes(struct ds_json_out *o, const char *p, size_t n)
{
    put_encoded(o, p, n, ds_json_escape_bytes, false);
}

void ds_json_out_token(struct ds_json_out *o, const char *token)
{
    struct ds_buf text;
    ds_buf_init(&text, 3 * DS_TOKEN_MAX);
    enum dstream_code rc = ds_utf8_replace(&text, token, strlen(token));
    if (o->rc == DSTREAM_OK)
        o->rc = rc;
    ds_json_out_text(o, text.data, text.len);
    ds_buf_free(&text);
}

void ds_json_out_data(struct ds_json_out *o, const char *p, size_t n)
{
    bool text = ds_utf8_valid(p, n);
    ds_json_out_add(o, text ? "\"text\":\"" : "\"base64\":\"");
    if (text)
        ds_json_out_text(o, p, n);
    else
        ds_json_out_base64(o, p, n);
    ds_json_out_add(o, "\"");
}

void ds_json_out_message(struct ds_json_out *o, const char *p, size_t n)
{
    while (n > 0) {
        size_t run = 0;
        while (run < n && p[run] != '\n' && p[run] != '\r')
            run++;
        ds_json_out_raw(o, p, run);
        run += run < n;
        p += run;
        n -= run;
    }
}
