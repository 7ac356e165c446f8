/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/conformance/adapter/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void no_memory(void)
{
    fputs("adapter: no memory\n", stderr);
    abort();
}

void *take_memory(size_t n)
{
    void *p = calloc(1, n > 0 ? n : 1);
    if (!p)
        no_memory();
    return p;
}

char *copy_text(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(take_memory(n), s, n);
}

static void reserve(struct text *t, size_t more)
{
    if (t->n + more + 1 <= t->cap)
        return;
    t->cap = (t->n + more + 1) * 2;
    t->p = realloc(t->p, t->cap);
    if (!t->p)
        no_memory();
}

void text_add(struct text *t, const char *p, size_t n)
{
    reserve(t, n);
    if (n > 0)
        memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = '\0';
}

void text_adds(struct text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_addv(struct text *t, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return;
    reserve(t, (size_t)n);
    vsnprintf(t->p + t->n, (size_t)n + 1, fmt, ap);
    t->n += (size_t)n;
}

void text_addf(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    text_addv(t, fmt, ap);
    va_end(ap);
}

void text_free(struct text *t)
{
    free(t->p);
    *t = (struct text){.n = 0};
}

/* --- what bytes are --------------------------------------------------------------------------- */

/* The length of the character at p, 0 where there is none. Neither overlong, nor a surrogate, nor
 * above U+10FFFF. */
static size_t character(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (len == 0 || len > n || p[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    bool low = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    bool high = (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF4 && p[1] > 0x8F);
    return low || high ? 0 : len;
}

bool is_utf8(const char *p, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        len = character((const unsigned char *)p + i, n - i);
        if (len == 0)
            return false;
    }
    return true;
}

bool is_json_type(const char *type)
{
    static const char json[] = "application/json";
    type += strspn(type, " \t");
    size_t n = strcspn(type, ";");
    while (n > 0 && (type[n - 1] == ' ' || type[n - 1] == '\t'))
        n--;
    return n == sizeof json - 1 && strncasecmp(type, json, n) == 0;
}

/* --- base64 ----------------------------------------------------------------------------------- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_add_base64(struct text *t, const char *p, size_t n)
{
    const unsigned char *b = (const unsigned char *)p;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) |
                     (left > 2 ? (uint32_t)b[i + 2] : 0);
        const char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
                              left > 1 ? alphabet[v >> 6 & 63] : '=',
                              left > 2 ? alphabet[v & 63] : '='};
        text_add(t, four, 4);
    }
}

bool text_add_decoded(struct text *t, const char *p, size_t n)
{
    if (n % 4 != 0)
        return false;
    for (size_t i = 0; i < n; i += 4) {
        uint32_t v = 0;
        size_t pad = i + 4 < n || p[i + 3] != '=' ? 0 : p[i + 2] != '=' ? 1 : 2;
        for (size_t k = 0; k < 4 - pad; k++) {
            const char *at = p[i + k] ? strchr(alphabet, p[i + k]) : NULL;
            if (!at)
                return false;
            v |= (uint32_t)(at - alphabet) << (18 - 6 * k);
        }
        const char three[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
        text_add(t, three, 3 - pad);
    }
    return true;
}
