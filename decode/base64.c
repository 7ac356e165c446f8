/* SPDX-License-Identifier: Apache-2.0 */
#include "decode/base64.h"

#include <b64/cdecode.h>
#include <b64/cencode.h>
#include <string.h>

/* What libb64 is given at once: its lengths are ints. A multiple of 4 and of 3. */
#define SLICE 3072

enum { PAD = 65, SKIP = 66 };

/* One more than the value of each byte of the alphabet, or what else the byte is; 0 for nothing
 * that belongs here. */
static const unsigned char kinds[256] = {
    ['+'] = 63, ['/'] = 64,  ['A'] = 1,     ['B'] = 2,     ['C'] = 3,  ['D'] = 4,  ['E'] = 5,
    ['F'] = 6,  ['G'] = 7,   ['H'] = 8,     ['I'] = 9,     ['J'] = 10, ['K'] = 11, ['L'] = 12,
    ['M'] = 13, ['N'] = 14,  ['O'] = 15,    ['P'] = 16,    ['Q'] = 17, ['R'] = 18, ['S'] = 19,
    ['T'] = 20, ['U'] = 21,  ['V'] = 22,    ['W'] = 23,    ['X'] = 24, ['Y'] = 25, ['Z'] = 26,
    ['a'] = 27, ['b'] = 28,  ['c'] = 29,    ['d'] = 30,    ['e'] = 31, ['f'] = 32, ['g'] = 33,
    ['h'] = 34, ['i'] = 35,  ['j'] = 36,    ['k'] = 37,    ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42,  ['q'] = 43,    ['r'] = 44,    ['s'] = 45, ['t'] = 46, ['u'] = 47,
    ['v'] = 48, ['w'] = 49,  ['x'] = 50,    ['y'] = 51,    ['z'] = 52, ['0'] = 53, ['1'] = 54,
    ['2'] = 55, ['3'] = 56,  ['4'] = 57,    ['5'] = 58,    ['6'] = 59, ['7'] = 60, ['8'] = 61,
    ['9'] = 62, ['='] = PAD, ['\r'] = SKIP, ['\n'] = SKIP,
};

struct scan {
    char *p;
    size_t len;     /* bytes kept, padding included */
    unsigned pads;  /* padding bytes among them */
    size_t last_at; /* index in the input of the last byte that is not padding */
};

/* The length of the run of bytes of the alphabet at `p`. */
static size_t alphabet_run(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && kinds[(unsigned char)p[i]] - 1u < 64)
        i++;
    return i;
}

/* Takes a padding byte at index `i`; NULL, or what is wrong and where. */
static const char *take_pad(struct scan *s, size_t i, size_t *error_at)
{
    *error_at = i;
    if (s->len % 4 < 2) /* also where the padding is complete */
        return "padding where none belongs";
    if (s->pads == 0) {
        unsigned last = kinds[(unsigned char)s->p[s->len - 1]] - 1u;
        if ((last & (s->len % 4 == 2 ? 0x0F : 0x03)) != 0) { /* bits that carry no data */
            *error_at = s->last_at;
            return "trailing bits that are not zero";
        }
    }
    s->pads++;
    s->p[s->len++] = '=';
    return NULL;
}

/* Checks everything and drops CR and LF; NULL, or what is wrong and where. */
static const char *check(struct scan *s, size_t n, size_t *error_at)
{
    for (size_t i = 0; i < n;) {
        size_t run = alphabet_run(s->p + i, n - i);
        *error_at = i;
        if (run > 0) {
            if (s->pads > 0)
                return "data behind the padding";
            memmove(s->p + s->len, s->p + i, run);
            s->len += run;
            s->last_at = i + run - 1;
            i += run;
            continue;
        }
        unsigned kind = kinds[(unsigned char)s->p[i]];
        const char *why = kind == PAD    ? take_pad(s, i, error_at)
                          : kind == SKIP ? NULL
                                         : "a byte that is not of the alphabet";
        if (why)
            return why;
        i++;
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
    struct scan s = {.p = p};
    *out_len = 0;
    *why = check(&s, n, error_at);
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
