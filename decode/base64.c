/* SPDX-License-Identifier: Apache-2.0 */
#include "decode/base64.h"

#include <b64/cdecode.h>
#include <b64/cencode.h>
#include <string.h>

/* What libb64 is given at once: its lengths are ints. A multiple of 4 and of 3. */
#define SLICE 3072

enum { PAD = 64, SKIP = 65, BAD = 66 };

/* The value of a byte, or what else it is. */
static unsigned value_of(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 0u;
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    switch (c) {
    case '+':
        return 62;
    case '/':
        return 63;
    case '=':
        return PAD;
    case '\r':
    case '\n':
        return SKIP;
    default:
        return BAD;
    }
}

struct scan {
    size_t len;     /* bytes kept, padding included */
    unsigned pads;  /* padding bytes among them */
    unsigned last;  /* value of the last byte that is not padding, */
    size_t last_at; /* and its index in the input */
};

/* Takes a padding byte at index `i`; NULL, or what is wrong and where. */
static const char *take_pad(struct scan *s, size_t i, size_t *error_at)
{
    *error_at = i;
    if (s->pads == 0 ? s->len % 4 < 2 : s->len % 4 == 0)
        return "padding where none belongs";
    unsigned rest = s->len % 4 == 2 ? 0x0F : 0x03; /* bits that carry no data */
    if (s->pads == 0 && (s->last & rest) != 0) {
        *error_at = s->last_at;
        return "trailing bits that are not zero";
    }
    s->pads++;
    return NULL;
}

/* Checks everything and drops CR and LF; NULL, or what is wrong and where. */
static const char *check(char *p, size_t n, struct scan *s, size_t *error_at)
{
    for (size_t i = 0; i < n; i++) {
        unsigned v = value_of((unsigned char)p[i]);
        if (v == SKIP)
            continue;
        if (v >= PAD || s->pads > 0) {
            *error_at = i;
            const char *why = v == BAD   ? "a byte that is not of the alphabet"
                              : v == PAD ? take_pad(s, i, error_at)
                                         : "data behind the padding";
            if (why)
                return why;
        } else {
            s->last = v;
            s->last_at = i;
        }
        p[s->len++] = p[i];
    }
    *error_at = n;
    return s->len % 4 == 0 ? NULL : "its length is no multiple of four";
}

/* Each slice is decoded beside its place first: libb64 stores a byte before it reads one, and one
 * behind the last. */
static size_t decode_checked(char *p, size_t n)
{
    char out[SLICE / 4 * 3 + 1];
    size_t len = 0;
    base64_decodestate state;
    base64_init_decodestate(&state);
    for (size_t i = 0; i < n;) {
        size_t slice = n - i < SLICE ? n - i : SLICE;
        size_t got = (size_t)base64_decode_block(p + i, (int)slice, out, &state);
        memcpy(p + len, out, got);
        len += got;
        i += slice;
    }
    return len;
}

enum dstream_code ds_base64_decode(char *p, size_t n, size_t *out_len, size_t *error_at,
                                   const char **why)
{
    struct scan s = {0};
    *out_len = 0;
    *why = check(p, n, &s, error_at);
    if (*why)
        return DSTREAM_ERR_PARSE;
    *out_len = decode_checked(p, s.len - s.pads);
    return DSTREAM_OK;
}

/* Appends what libb64 made, but for the line breaks that it puts in. */
static void add_unbroken(struct ds_buf *out, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != '\n')
            out->data[out->len++] = p[i];
    }
}

enum dstream_code ds_base64_encode(struct ds_buf *out, const void *data, size_t n)
{
    if (n > SIZE_MAX / 4 * 3 - 3)
        return DSTREAM_ERR_LIMIT;
    enum dstream_code rc = ds_buf_reserve(out, (n + 2) / 3 * 4);
    if (rc != DSTREAM_OK)
        return rc;
    const char *p = data;
    char code[SLICE * 2]; /* four thirds, the line breaks, and the end */
    base64_encodestate state;
    base64_init_encodestate(&state);
    while (n > 0) {
        size_t slice = n < SLICE ? n : SLICE;
        add_unbroken(out, code, (size_t)base64_encode_block(p, (int)slice, code, &state));
        p += slice;
        n -= slice;
    }
    add_unbroken(out, code, (size_t)base64_encode_blockend(code, &state));
    return DSTREAM_OK;
}
