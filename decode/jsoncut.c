/* SPDX-License-Identifier: Apache-2.0 */
#include "decode/jsoncut.h"

#include <string.h>

#include "base/alloc.h"

/* One text and nothing behind it: what ds_json_valid() asks for. */
#define SHAPE_ONE ((enum ds_json_shape)(DS_JSON_VALUES + 1))

/* What may come next. */
enum state {
    ST_START,     /* DS_JSON_ARRAY: the outer '['; else a value, or the end */
    ST_GLUED,     /* the same behind a number or literal: no other of these without white space */
    ST_VALUE,     /* a value */
    ST_FIRST,     /* a value, or ']' */
    ST_FIRST_KEY, /* a key, or '}' */
    ST_KEY,       /* a key */
    ST_COLON,     /* ':' */
    ST_AFTER,     /* ',' or the end of the container */
    ST_DONE,      /* nothing */
    ST_STRING,    /* from here on inside a token */
    ST_ESCAPE,    /* behind a backslash */
    ST_HEX,       /* behind \u */
    ST_LITERAL,   /* in true, false, null */
    ST_MINUS,     /* a digit must follow: */
    ST_DOT,       /* the first of the fraction */
    ST_E,         /* or a sign */
    ST_SIGN,      /* the first of the exponent */
    ST_ZERO,      /* from here on a number may end: no digit may follow */
    ST_INT,       /* digits, a fraction or an exponent may follow */
    ST_FRACTION,  /* digits or an exponent */
    ST_EXPONENT   /* digits */
};

/* One call of ds_json_cut_feed(). */
struct feeding {
    struct ds_json_cut *c;
    const char *p;
    size_t n;
    size_t i;   /* the next byte */
    size_t run; /* where the bytes begin that belong to the message under way and are not yet out */
    struct ds_items *out; /* NULL: validating only */
};

void ds_json_cut_init(struct ds_json_cut *c, enum ds_json_shape shape, unsigned max_depth)
{
    *c = (struct ds_json_cut){.shape = shape, .max_depth = max_depth};
}

void ds_json_cut_free(struct ds_json_cut *c)
{
    ds_free(c->stack);
    c->stack = NULL;
}

void ds_json_cut_reset(struct ds_json_cut *c)
{
    *c = (struct ds_json_cut){.shape = c->shape, .max_depth = c->max_depth, .stack = c->stack};
}

/* --- output ----------------------------------------------------------------------------------- */

/* Appends to the output. In place, input and output lie in the same bytes: the output ends at or
 * before what is moved there, and the room is there. */
static enum dstream_code put(struct feeding *f, const char *p, size_t n)
{
    struct ds_buf *b = &f->out->bytes;
    if (!f->c->in_place)
        return ds_buf_add(b, p, n);
    memmove(b->data + b->len, p, n);
    b->len += n;
    return DSTREAM_OK;
}

static enum dstream_code set_failed(struct feeding *f, enum dstream_code code, size_t at,
                                    const char *why)
{
    f->c->pos += at;
    f->c->why = why;
    return f->c->failed = code;
}

/* Puts out what is read of the message under way. Where it does not fit, the position is that of
 * the first byte that does not, however the input was cut. */
static enum dstream_code flush(struct feeding *f)
{
    if (!f->out || !f->c->in_message || f->run == f->i)
        return DSTREAM_OK;
    size_t room = f->out->bytes.max - f->out->bytes.len;
    enum dstream_code rc = put(f, f->p + f->run, f->i - f->run);
    if (rc == DSTREAM_ERR_LIMIT)
        return set_failed(f, rc, f->run + room, "more data than fits");
    if (rc != DSTREAM_OK)
        return set_failed(f, rc, f->run, "no memory");
    f->run = f->i;
    return DSTREAM_OK;
}

/* Fails at the next byte, or before it where the message so far did not even fit. */
static enum dstream_code fail(struct feeding *f, enum dstream_code code, const char *why)
{
    enum dstream_code rc = flush(f);
    return rc != DSTREAM_OK ? rc : set_failed(f, code, f->i, why);
}

static enum dstream_code end_message(struct feeding *f)
{
    enum dstream_code rc = flush(f);
    f->c->in_message = false;
    if (rc != DSTREAM_OK || !f->out)
        return rc;
    rc = put(f, "\n", 1);
    if (rc == DSTREAM_OK)
        rc = ds_items_end(f->out);
    if (rc == DSTREAM_OK)
        return rc;
    return set_failed(f, rc, f->i, rc == DSTREAM_ERR_LIMIT ? "more data than fits" : "no memory");
}

/* --- structure -------------------------------------------------------------------------------- */

static enum dstream_code after_value(struct feeding *f, bool glued)
{
    struct ds_json_cut *c = f->c;
    c->state = ST_AFTER;
    if (c->depth > 0)
        return DSTREAM_OK;
    if (c->shape == DS_JSON_VALUES)
        c->state = glued ? ST_GLUED : ST_START;
    else if (c->shape == SHAPE_ONE)
        c->state = ST_DONE;
    return end_message(f);
}

static bool in_object(const struct ds_json_cut *c)
{
    unsigned level = c->depth - 1;
    return c->depth > 0 && (c->stack[level / 8] >> level % 8 & 1) != 0;
}

static enum dstream_code open_container(struct feeding *f, bool object)
{
    struct ds_json_cut *c = f->c;
    if (c->depth >= c->max_depth)
        return fail(f, DSTREAM_ERR_LIMIT, "nested too deeply");
    if (!c->stack && !(c->stack = ds_malloc(c->max_depth / 8 + 1)))
        return fail(f, DSTREAM_ERR_NOMEM, "no memory");
    unsigned level = c->depth++;
    unsigned bit = 1u << level % 8, byte = c->stack[level / 8];
    c->stack[level / 8] = (unsigned char)(object ? byte | bit : byte & ~bit);
    c->state = object ? ST_FIRST_KEY : ST_FIRST;
    f->i++;
    return DSTREAM_OK;
}

/* Takes the bracket that closes the innermost container, which is of the right kind. */
static enum dstream_code close_container(struct feeding *f)
{
    f->i++;
    if (f->c->depth == 0) {
        f->c->state = ST_DONE; /* the outer array */
        return DSTREAM_OK;
    }
    f->c->depth--;
    return after_value(f, false);
}

/* Moves over the byte that settles what comes next. */
static enum dstream_code step(struct feeding *f, enum state next)
{
    f->c->state = next;
    f->i++;
    return DSTREAM_OK;
}

static enum dstream_code begin_string(struct feeding *f, bool key)
{
    f->c->key = key;
    return step(f, ST_STRING);
}

static enum dstream_code begin_literal(struct feeding *f, const char *rest)
{
    f->c->literal = rest;
    return step(f, ST_LITERAL);
}

static enum dstream_code begin_value(struct feeding *f, char b)
{
    if (!f->c->in_message) {
        f->c->in_message = true;
        f->run = f->i;
    }
    switch (b) {
    case '{':
        return open_container(f, true);
    case '[':
        return open_container(f, false);
    case '"':
        return begin_string(f, false);
    case 't':
        return begin_literal(f, "rue");
    case 'f':
        return begin_literal(f, "alse");
    case 'n':
        return begin_literal(f, "ull");
    case '-':
        return step(f, ST_MINUS);
    case '0':
        return step(f, ST_ZERO);
    default:
        if (b >= '1' && b <= '9')
            return step(f, ST_INT);
        return fail(f, DSTREAM_ERR_PARSE, "a value was expected");
    }
}

/* Takes one byte between tokens, not white space. */
static enum dstream_code structure(struct feeding *f, char b)
{
    struct ds_json_cut *c = f->c;
    switch ((enum state)c->state) {
    case ST_START:
        if (c->shape != DS_JSON_ARRAY)
            return begin_value(f, b);
        return b == '[' ? step(f, ST_FIRST) : fail(f, DSTREAM_ERR_PARSE, "an array was expected");
    case ST_GLUED:
        if (b == '"' || b == '{' || b == '[')
            return begin_value(f, b);
        return fail(f, DSTREAM_ERR_PARSE, "white space was expected between two values");
    case ST_FIRST:
        return b == ']' ? close_container(f) : begin_value(f, b);
    case ST_VALUE:
        return begin_value(f, b);
    case ST_FIRST_KEY:
        if (b == '}')
            return close_container(f);
        /* fall through */
    case ST_KEY:
        return b == '"' ? begin_string(f, true)
                        : fail(f, DSTREAM_ERR_PARSE, "a quoted key was expected");
    case ST_COLON:
        return b == ':' ? step(f, ST_VALUE) : fail(f, DSTREAM_ERR_PARSE, "a colon was expected");
    case ST_AFTER:
        if (b == ',')
            return step(f, in_object(c) ? ST_KEY : ST_VALUE);
        if (b == (in_object(c) ? '}' : ']'))
            return close_container(f);
        return fail(f, DSTREAM_ERR_PARSE,
                    in_object(c) ? "a comma or '}' was expected" : "a comma or ']' was expected");
    default:
        return fail(f, DSTREAM_ERR_PARSE, "something behind the end");
    }
}

static bool is_space(char b)
{
    return b == ' ' || b == '\n' || b == '\r' || b == '\t';
}

static enum dstream_code between_tokens(struct feeding *f)
{
    char b = f->p[f->i];
    if (!is_space(b))
        return structure(f, b);
    if (f->c->state == ST_GLUED)
        f->c->state = ST_START;
    f->i++;
    return DSTREAM_OK;
}

/* --- tokens ----------------------------------------------------------------------------------- */

/* The length of the run of string bytes at `p`: up to a quote, a backslash or a control character.
 * Eight bytes at a time, by the arithmetic that finds a zero byte in a word. */
static size_t string_run(const char *p, size_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, 8);
        uint64_t quote = v ^ ones * '"', backslash = v ^ ones * '\\';
        uint64_t found = ((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) |
                         ((backslash - ones) & ~backslash);
        if (found & tops)
            break;
    }
    while (i < n && (unsigned char)p[i] >= 0x20 && p[i] != '"' && p[i] != '\\')
        i++;
    return i;
}

static enum dstream_code bad_utf8(struct feeding *f)
{
    return fail(f, DSTREAM_ERR_PARSE, "a string is not UTF-8");
}

static enum dstream_code in_string(struct feeding *f)
{
    struct ds_json_cut *c = f->c;
    struct ds_utf8 before = c->utf8;
    size_t run = string_run(f->p + f->i, f->n - f->i);
    if (!ds_utf8_feed(&c->utf8, f->p + f->i, run)) {
        while (ds_utf8_feed(&before, f->p + f->i, 1))
            f->i++; /* to the first byte that is wrong */
        return bad_utf8(f);
    }
    f->i += run;
    if (f->i == f->n)
        return DSTREAM_OK;
    if (!ds_utf8_whole(&c->utf8))
        return bad_utf8(f);
    char b = f->p[f->i];
    if (b == '\\')
        return step(f, ST_ESCAPE);
    if (b != '"')
        return fail(f, DSTREAM_ERR_PARSE, "a control character in a string");
    f->i++;
    if (!c->key)
        return after_value(f, false);
    c->state = ST_COLON;
    return DSTREAM_OK;
}

static enum dstream_code in_escape(struct feeding *f)
{
    char b = f->p[f->i];
    if (b == 'u') {
        f->c->hex_left = 4;
        return step(f, ST_HEX);
    }
    if (b == '\0' || !strchr("\"\\/bfnrt", b))
        return fail(f, DSTREAM_ERR_PARSE, "an unknown escape in a string");
    return step(f, ST_STRING);
}

static bool is_digit(char b)
{
    return b >= '0' && b <= '9';
}

static enum dstream_code in_hex(struct feeding *f)
{
    char b = f->p[f->i];
    if (!is_digit(b) && !(b >= 'a' && b <= 'f') && !(b >= 'A' && b <= 'F'))
        return fail(f, DSTREAM_ERR_PARSE, "four hexadecimal digits must follow \\u");
    return step(f, --f->c->hex_left > 0 ? ST_HEX : ST_STRING);
}

static enum dstream_code in_literal(struct feeding *f)
{
    if (f->p[f->i] != *f->c->literal)
        return fail(f, DSTREAM_ERR_PARSE, "an unknown word");
    f->i++;
    return *++f->c->literal ? DSTREAM_OK : after_value(f, true);
}

/* The state that byte `b` leads to in a number; ST_START: none. */
static enum state number_next(enum state s, char b)
{
    if (is_digit(b)) {
        if (s == ST_MINUS)
            return b == '0' ? ST_ZERO : ST_INT;
        if (s == ST_ZERO)
            return ST_START;
        if (s == ST_DOT)
            return ST_FRACTION;
        return s == ST_E || s == ST_SIGN ? ST_EXPONENT : s;
    }
    if (b == '.')
        return s == ST_ZERO || s == ST_INT ? ST_DOT : ST_START;
    if (b == 'e' || b == 'E')
        return s == ST_ZERO || s == ST_INT || s == ST_FRACTION ? ST_E : ST_START;
    return (b == '+' || b == '-') && s == ST_E ? ST_SIGN : ST_START;
}

static bool may_end(enum state s)
{
    return s >= ST_ZERO;
}

static enum dstream_code in_number(struct feeding *f)
{
    enum state s = (enum state)f->c->state;
    while (f->i < f->n) {
        enum state next = number_next(s, f->p[f->i]);
        if (next == ST_START)
            break;
        s = next;
        f->i++;
        if (s == ST_INT || s >= ST_FRACTION) {
            while (f->i < f->n && is_digit(f->p[f->i]))
                f->i++;
        }
    }
    f->c->state = s;
    if (f->i == f->n)
        return DSTREAM_OK;
    return may_end(s) ? after_value(f, true)
                      : fail(f, DSTREAM_ERR_PARSE, "a digit was expected in a number");
}

/* --- feeding ---------------------------------------------------------------------------------- */

static enum dstream_code advance(struct feeding *f)
{
    switch ((enum state)f->c->state) {
    case ST_STRING:
        return in_string(f);
    case ST_ESCAPE:
        return in_escape(f);
    case ST_HEX:
        return in_hex(f);
    case ST_LITERAL:
        return in_literal(f);
    case ST_START:
    case ST_GLUED:
    case ST_VALUE:
    case ST_FIRST:
    case ST_FIRST_KEY:
    case ST_KEY:
    case ST_COLON:
    case ST_AFTER:
    case ST_DONE:
        return between_tokens(f);
    default:
        return in_number(f);
    }
}

enum dstream_code ds_json_cut_feed(struct ds_json_cut *c, const char *p, size_t n,
                                   struct ds_items *out)
{
    struct feeding f = {.c = c, .p = p, .n = n, .out = out};
    enum dstream_code rc = c->failed;
    while (f.i < n && rc == DSTREAM_OK)
        rc = advance(&f);
    if (rc == DSTREAM_OK)
        rc = flush(&f);
    if (rc == DSTREAM_OK)
        c->pos += n;
    return rc;
}

enum dstream_code ds_json_cut_next(struct ds_json_cut *c, const char *p, size_t n,
                                   struct ds_items *out, size_t *used)
{
    struct feeding f = {.c = c, .p = p, .n = n, .out = out};
    enum dstream_code rc = c->failed;
    uint64_t pos = c->pos;
    size_t count = out->count;
    while (f.i < n && out->count == count && rc == DSTREAM_OK)
        rc = advance(&f);
    if (rc == DSTREAM_OK)
        rc = flush(&f);
    if (rc == DSTREAM_OK)
        c->pos += f.i;
    *used = (size_t)(c->pos - pos);
    return rc;
}

enum dstream_code ds_json_cut_finish(struct ds_json_cut *c, struct ds_items *out)
{
    struct feeding f = {.c = c, .p = "", .out = out};
    if (c->failed != DSTREAM_OK)
        return c->failed;
    if (c->depth == 0 && c->in_message && may_end((enum state)c->state)) {
        enum dstream_code rc = after_value(&f, true);
        if (rc != DSTREAM_OK)
            return rc;
    }
    bool whole = c->shape == DS_JSON_VALUES ? c->state == ST_START || c->state == ST_GLUED
                                            : c->state == ST_DONE;
    return whole ? DSTREAM_OK : set_failed(&f, DSTREAM_ERR_PARSE, 0, "the end came too early");
}

/* The messages and the LF behind each take no more room than they had with the bracket before the
 * first, the commas between them and the bracket behind the last: the output never overtakes the
 * input. */
enum dstream_code ds_json_cut_in_place(struct ds_json_cut *c, struct ds_items *out, size_t mark)
{
    size_t n = out->bytes.len - mark, count = out->count;
    ds_json_cut_reset(c);
    c->in_place = true;
    out->bytes.len = mark;
    enum dstream_code rc = DSTREAM_OK;
    if (n > 0)
        rc = ds_json_cut_feed(c, out->bytes.data + mark, n, out);
    if (rc == DSTREAM_OK)
        rc = ds_json_cut_finish(c, out);
    if (rc != DSTREAM_OK)
        ds_items_cut(out, count, mark);
    return rc;
}

bool ds_json_valid(const char *p, size_t n, unsigned max_depth)
{
    struct ds_json_cut c;
    unsigned char stack[128]; /* what is asked about is small, as a rule: no allocation */
    bool fits = max_depth / 8 < sizeof stack;
    ds_json_cut_init(&c, SHAPE_ONE, max_depth);
    if (fits)
        c.stack = stack;
    bool valid = ds_json_cut_feed(&c, p, n, NULL) == DSTREAM_OK &&
                 ds_json_cut_finish(&c, NULL) == DSTREAM_OK;
    if (!fits)
        ds_json_cut_free(&c);
    return valid;
}
