/* SPDX-License-Identifier: Apache-2.0 */
#include "decode/walk.h"

#include <stdint.h>
#include <string.h>

/* --- values ----------------------------------------------------------------------------------- */

const char *ds_json_skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
        p++;
    return p;
}

static const char *skip_string(const char *p)
{
    for (p++; *p != '"'; p++)
        p += *p == '\\';
    return p + 1;
}

static const char *skip_container(const char *p)
{
    size_t depth = 0;
    do {
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        if (*p == '{' || *p == '[')
            depth++;
        else if (*p == '}' || *p == ']')
            depth--;
        p++;
    } while (depth > 0);
    return p;
}

const char *ds_json_skip_value(const char *p)
{
    if (*p == '"')
        return skip_string(p);
    if (*p == '{' || *p == '[')
        return skip_container(p);
    return p + strcspn(p, ",}] \t\n\r");
}

bool ds_json_member(const char **at, struct ds_slice *key, struct ds_slice *value)
{
    const char *p = ds_json_skip_space(*at);
    if (*p == '{' || *p == ',')
        p = ds_json_skip_space(p + 1);
    if (*p != '"')
        return false;
    key->p = p;
    p = skip_string(p);
    key->n = (size_t)(p - key->p);
    p = ds_json_skip_space(p);
    value->p = ds_json_skip_space(p + 1); /* the colon */
    p = ds_json_skip_value(value->p);
    value->n = (size_t)(p - value->p);
    *at = p;
    return true;
}

bool ds_json_is_key(struct ds_slice key, const char *name)
{
    return key.n == strlen(name) + 2 && memcmp(key.p + 1, name, key.n - 2) == 0;
}

/* --- strings ---------------------------------------------------------------------------------- */

static unsigned hex4(const char *p)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        v = v << 4 | (c <= '9' ? c - '0' + 0U : (c | 0x20U) - 'a' + 10);
    }
    return v;
}

static enum dstream_code add_code_point(struct ds_buf *out, uint32_t c)
{
    char b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (char)c;
    } else if (c < 0x800) {
        b[n++] = (char)(0xC0 | c >> 6);
    } else if (c < 0x10000) {
        b[n++] = (char)(0xE0 | c >> 12);
        b[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    } else {
        b[n++] = (char)(0xF0 | c >> 18);
        b[n++] = (char)(0x80 | (c >> 12 & 0x3F));
        b[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    }
    if (c >= 0x80)
        b[n++] = (char)(0x80 | (c & 0x3F));
    return ds_buf_add(out, b, n);
}

/* The escape behind the backslash at *p, which moves behind it. */
static enum dstream_code add_escape(struct ds_buf *out, const char **p)
{
    static const char names[] = "bfnrt", means[] = "\b\f\n\r\t";
    char c = *(*p)++;
    if (c != 'u') {
        const char *k = strchr(names, c);
        return ds_buf_addc(out, k ? means[k - names] : c);
    }
    uint32_t point = hex4(*p);
    *p += 4;
    if (point < 0xD800 || point > 0xDFFF)
        return add_code_point(out, point);
    if (point > 0xDBFF || (*p)[0] != '\\' || (*p)[1] != 'u')
        return DSTREAM_ERR_PARSE;
    uint32_t low = hex4(*p + 2);
    if (low < 0xDC00 || low > 0xDFFF)
        return DSTREAM_ERR_PARSE;
    *p += 6;
    return add_code_point(out, 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00));
}

enum dstream_code ds_json_text(struct ds_buf *out, struct ds_slice string)
{
    if (*string.p != '"')
        return DSTREAM_ERR_PARSE;
    const char *p = string.p + 1, *end = string.p + string.n - 1;
    enum dstream_code rc = DSTREAM_OK;
    while (p < end && rc == DSTREAM_OK) {
        const char *escape = memchr(p, '\\', (size_t)(end - p));
        const char *stop = escape ? escape : end;
        rc = ds_buf_add(out, p, (size_t)(stop - p));
        p = stop + 1;
        if (escape && rc == DSTREAM_OK)
            rc = add_escape(out, &p);
    }
    return rc;
}

/* In place, since a byte takes no more room than its code point. */
enum dstream_code ds_json_bytes(struct ds_buf *out, struct ds_slice string)
{
    size_t to = out->len, from = to;
    enum dstream_code rc = ds_json_text(out, string);
    while (rc == DSTREAM_OK && from < out->len) {
        unsigned char c = (unsigned char)out->data[from++];
        if (c >= 0xC4)
            return DSTREAM_ERR_PARSE;
        if (c >= 0x80)
            c = (unsigned char)((c & 3) << 6 | (out->data[from++] & 0x3F));
        out->data[to++] = (char)c;
    }
    if (rc == DSTREAM_OK)
        out->len = to;
    return rc;
}
