/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/conformance/adapter/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX  256
#define BLOCK_SIZE ((size_t)64 * 1024)

/* --- memory ----------------------------------------------------------------------------------- */

struct block {
    struct block *next;
    size_t used, size;
    max_align_t data[];
};

static void *take(struct pool *p, size_t n)
{
    struct block *b = p->blocks;
    n = (n + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (!b || b->size - b->used < n) {
        size_t size = n > BLOCK_SIZE ? n : BLOCK_SIZE;
        b = take_memory(sizeof *b + size);
        b->size = size;
        b->next = p->blocks;
        p->blocks = b;
    }
    void *at = (char *)b->data + b->used;
    b->used += n;
    return at;
}

void pool_free(struct pool *p)
{
    while (p->blocks) {
        struct block *next = p->blocks->next;
        free(p->blocks);
        p->blocks = next;
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

struct parser {
    struct pool *pool;
    const char *p, *end;
    const char *why;
    unsigned depth;
};

static bool bad(struct parser *x, const char *why)
{
    if (!x->why)
        x->why = why;
    return false;
}

static char peek(const struct parser *x)
{
    return x->p < x->end ? *x->p : '\0';
}

static void skip_space(struct parser *x)
{
    while (x->p < x->end && (*x->p == ' ' || *x->p == '\t' || *x->p == '\n' || *x->p == '\r'))
        x->p++;
}

static bool take_char(struct parser *x, char c)
{
    skip_space(x);
    if (peek(x) != c)
        return false;
    x->p++;
    return true;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Four digits behind "\u". */
static bool unit(struct parser *x, uint32_t *out)
{
    *out = 0;
    if (x->end - x->p < 4)
        return bad(x, "an escape is cut");
    for (int i = 0; i < 4; i++) {
        int digit = hex(*x->p++);
        if (digit < 0)
            return bad(x, "an escape is not of four hexadecimal digits");
        *out = *out << 4 | (uint32_t)digit;
    }
    return true;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c >= 0x10000)
        *to++ = (char)(0xF0 | c >> 18);
    if (c >= 0x800)
        *to++ = (char)(c >= 0x10000 ? 0x80 | (c >> 12 & 0x3F) : 0xE0 | c >> 12);
    *to++ = (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3F) : 0xC0 | c >> 6);
    *to++ = (char)(0x80 | (c & 0x3F));
    return to;
}

static bool unicode(struct parser *x, char **to)
{
    uint32_t c, low;
    if (!unit(x, &c))
        return false;
    if (c >= 0xD800 && c < 0xDC00 && x->end - x->p >= 6 && x->p[0] == '\\' && x->p[1] == 'u') {
        const char *here = x->p;
        x->p += 2;
        if (!unit(x, &low))
            return false;
        if (low >= 0xDC00 && low < 0xE000)
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        else
            x->p = here;
    }
    *to = put_utf8(*to, c >= 0xD800 && c < 0xE000 ? 0xFFFD : c);
    return true;
}

static bool escape(struct parser *x, char **to)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    char c = peek(x);
    const char *at = c ? strchr(names, c) : NULL;
    if (x->p < x->end)
        x->p++;
    if (c == 'u')
        return unicode(x, to);
    if (!at)
        return bad(x, "an escape that there is not");
    *(*to)++ = means[at - names];
    return true;
}

/* Behind the quote. What an escape stands for is never longer than the escape. */
static bool string(struct parser *x, const char **out, size_t *n)
{
    const char *close = x->p;
    while (close < x->end && *close != '"')
        close += *close == '\\' && close + 1 < x->end ? 2 : 1;
    if (close >= x->end)
        return bad(x, "a string has no end");
    char *start = take(x->pool, (size_t)(close - x->p) + 1), *to = start;
    while (x->p < close) {
        char c = *x->p++;
        if ((unsigned char)c < 0x20)
            return bad(x, "a control character in a string");
        if (c != '\\')
            *to++ = c;
        else if (!escape(x, &to))
            return false;
    }
    x->p = close + 1;
    *to = '\0';
    *out = start;
    *n = (size_t)(to - start);
    return is_utf8(start, *n) || bad(x, "a string is not UTF-8");
}

static size_t digits(struct parser *x)
{
    const char *from = x->p;
    while (peek(x) >= '0' && peek(x) <= '9')
        x->p++;
    return (size_t)(x->p - from);
}

static bool number(struct parser *x, struct json *v)
{
    const char *from = x->p;
    x->p += peek(x) == '-';
    const char *whole = x->p;
    size_t n = digits(x);
    if (n == 0 || (n > 1 && *whole == '0'))
        return bad(x, "not a value");
    if (peek(x) == '.' && (x->p++, digits(x) == 0))
        return bad(x, "not a number");
    if (peek(x) == 'e' || peek(x) == 'E') {
        x->p++;
        x->p += peek(x) == '+' || peek(x) == '-';
        if (digits(x) == 0)
            return bad(x, "not a number");
    }
    v->kind = JSON_NUMBER;
    v->n = (size_t)(x->p - from);
    v->p = memcpy(take(x->pool, v->n + 1), from, v->n);
    return true;
}

static bool word(struct parser *x, struct json *v)
{
    static const char *const words[] = {"null", "false", "true"};
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(x->end - x->p) >= n && memcmp(x->p, words[i], n) == 0) {
            x->p += n;
            v->kind = (enum json_kind)i;
            return true;
        }
    }
    return number(x, v);
}

static struct json *value(struct parser *x);

static bool key(struct parser *x, const char **out)
{
    size_t n;
    if (!take_char(x, '"') || !string(x, out, &n))
        return bad(x, "a member has no name");
    return take_char(x, ':') || bad(x, "a member has no colon");
}

/* The elements or members, up to the bracket. */
static bool list(struct parser *x, struct json *v, char close)
{
    const struct json **last = &v->first;
    v->kind = close == '}' ? JSON_OBJECT : JSON_ARRAY;
    if (take_char(x, close))
        return true;
    do {
        const char *name = NULL;
        if (close == '}' && !key(x, &name))
            return false;
        struct json *item = value(x);
        if (!item)
            return false;
        item->key = name;
        *last = item;
        last = &item->next;
    } while (take_char(x, ','));
    return take_char(x, close) || bad(x, "a comma or the closing bracket is missing");
}

static bool fill(struct parser *x, struct json *v)
{
    char c = peek(x);
    if (c == '"') {
        x->p++;
        v->kind = JSON_STRING;
        return string(x, &v->p, &v->n);
    }
    if (c != '{' && c != '[')
        return word(x, v);
    x->p++;
    if (++x->depth > DEPTH_MAX)
        return bad(x, "nested too deeply");
    bool good = list(x, v, c == '{' ? '}' : ']');
    x->depth--;
    return good;
}

static struct json *value(struct parser *x)
{
    struct json *v = take(x->pool, sizeof *v);
    skip_space(x);
    return fill(x, v) ? v : NULL;
}

const struct json *json_parse(struct pool *pool, const char *p, size_t n, const char **why)
{
    struct parser x = {.pool = pool, .p = p, .end = p + n};
    const struct json *v = value(&x);
    skip_space(&x);
    if (v && x.p < x.end) {
        bad(&x, "something follows the value");
        v = NULL;
    }
    *why = x.why;
    return v;
}

const struct json *json_get(const struct json *object, const char *name)
{
    const struct json *found = NULL;
    for (const struct json *m = object->first; m && object->kind == JSON_OBJECT; m = m->next) {
        if (strcmp(m->key, name) == 0)
            found = m;
    }
    return found && found->kind != JSON_NULL ? found : NULL;
}

/* 5.0 and 1e3 are integers, as far as a double has them exactly. */
static bool from_double(double d, int64_t *out)
{
    const double most = 9007199254740992.0;
    if (!(d >= -most && d <= most))
        return false;
    *out = (int64_t)d;
    return !((double)*out < d) && !((double)*out > d);
}

bool json_int(const struct json *v, int64_t *out)
{
    char *end;
    if (v->kind != JSON_NUMBER)
        return false;
    errno = 0;
    long long n = strtoll(v->p, &end, 10);
    *out = n;
    return *end ? from_double(strtod(v->p, NULL), out) : errno == 0;
}

double json_double(const struct json *v)
{
    return strtod(v->p, NULL);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* How many bytes at p have to be written as an escape; 0: none. U+2028 and U+2029 end a line for
 * some readers of lines. */
static size_t special(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F)
        return 1;
    bool ends = n >= 3 && c == 0xE2 && (unsigned char)p[1] == 0x80 &&
                ((unsigned char)p[2] == 0xA8 || (unsigned char)p[2] == 0xA9);
    return ends ? 3 : 0;
}

static void add_escape(struct text *out, const char *p, size_t n)
{
    if (n == 3)
        text_addf(out, "\\u20%02x", (unsigned)(unsigned char)p[2] - 0x80);
    else if (*p == '"' || *p == '\\')
        text_addf(out, "\\%c", *p);
    else
        text_addf(out, "\\u%04x", (unsigned)(unsigned char)*p);
}

void json_add_string(struct text *out, const char *p, size_t n)
{
    text_add(out, "\"", 1);
    for (size_t i = 0, plain = 0; i <= n;) {
        size_t len = i < n ? special(p + i, n - i) : 0;
        if (i < n && len == 0) {
            i++;
            continue;
        }
        text_add(out, p + plain, i - plain);
        if (i == n)
            break;
        add_escape(out, p + i, len);
        i += len;
        plain = i;
    }
    text_add(out, "\"", 1);
}

void json_add_compact(struct text *out, const char *p, size_t n)
{
    bool quoted = false;
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if (quoted && p[i] == '\\') {
            i++;
        } else if (p[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r' || p[i] == '\n')) {
            text_add(out, p + from, i - from);
            from = i + 1;
        }
    }
    text_add(out, p + from, n - from);
}
