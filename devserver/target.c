/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "devserver/target.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that `s` escapes; -1 where it is not "%XX", or NUL, which no text of ours can hold. */
static int escaped(const char *s)
{
    int high = hex(s[1]), low = high < 0 ? -1 : hex(s[2]);
    int c = high * 16 + low;
    return low < 0 || c == 0 ? -1 : c;
}

static bool unreserved(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("-._~", c);
}

/* RFC 3986, 6.2.2: what need not be escaped is not, the rest in upper case; what a path cannot
 * hold as it is, is. */
static bool put_path(char **out, const char *s, const char *end)
{
    static const char digit[] = "0123456789ABCDEF";
    char *o = *out;
    while (s < end) {
        int c = *s == '%' ? escaped(s) : (unsigned char)*s;
        bool plain = *s == '%' ? false : c > ' ' && c < 0x7F && !strchr("\"<>\\^`{|}", c);
        if (c < 0)
            return false;
        s += *s == '%' ? 3 : 1;
        if (plain || unreserved(c)) {
            *o++ = (char)c;
        } else {
            *o++ = '%';
            *o++ = digit[c / 16];
            *o++ = digit[c % 16];
        }
    }
    *o++ = '\0';
    *out = o;
    return true;
}

/* A key or a value of a query, as forms have it: "+" is a space. */
static const char *put_decoded(char **out, const char *s, const char *end)
{
    char *begin = *out, *o = begin;
    while (s < end) {
        int c = *s == '%' ? escaped(s) : *s == '+' ? ' ' : (unsigned char)*s;
        if (c < 0)
            return NULL;
        s += *s == '%' ? 3 : 1;
        *o++ = (char)c;
    }
    *o++ = '\0';
    *out = o;
    return begin;
}

static void take(struct ds_target *t, const char *key, const char *value)
{
    if (strcmp(key, "offset") == 0) {
        t->offset = t->offsets++ == 0 ? value : t->offset;
    } else if (strcmp(key, "cursor") == 0) {
        t->cursor = t->cursor ? t->cursor : value;
    } else if (strcmp(key, "live") == 0 && t->mode == DS_MODE_CATCH_UP) {
        if (strcmp(value, "long-poll") == 0)
            t->mode = DS_MODE_LONG_POLL;
        else if (strcmp(value, "sse") == 0)
            t->mode = DS_MODE_SSE;
    }
}

static bool parse_query(struct ds_target *t, char **out, const char *s)
{
    while (*s) {
        const char *end = s + strcspn(s, "&#");
        const char *eq = memchr(s, '=', (size_t)(end - s));
        const char *key = put_decoded(out, s, eq ? eq : end);
        const char *value = key ? put_decoded(out, eq ? eq + 1 : end, end) : NULL;
        if (!value)
            return false;
        take(t, key, value);
        s = *end == '&' ? end + 1 : strchr(end, '\0');
    }
    return true;
}

/* Skips the scheme and the authority of a whole URL. */
static const char *behind_authority(const char *s)
{
    if (strncasecmp(s, "http://", 7) != 0)
        return s;
    return s + 7 + strcspn(s + 7, "/?#");
}

enum dstream_code ds_target_parse(struct ds_target *t, const char *s)
{
    *t = (struct ds_target){0};
    size_t n = strlen(s);
    if (n > DS_TARGET_MAX)
        return DSTREAM_ERR_LIMIT;
    /* A path grows threefold at most; a key and a value take one more byte each for their NULs, of
     * which their separators were. */
    t->text = ds_malloc(3 * n + 8);
    if (!t->text)
        return DSTREAM_ERR_NOMEM;
    static const char root[] = "/";
    char *out = t->text;
    s = behind_authority(s);
    const char *end = s + strcspn(s, "?#");
    t->path = out;
    if (put_path(&out, s == end ? root : s, s == end ? root + 1 : end) &&
        (*end != '?' || parse_query(t, &out, end + 1)))
        return DSTREAM_OK;
    ds_target_free(t);
    return DSTREAM_ERR_PARSE;
}

void ds_target_free(struct ds_target *t)
{
    ds_free(t->text);
    *t = (struct ds_target){0};
}
