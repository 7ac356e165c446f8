/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/format.h"

#include <string.h>
#include <time.h>

#include "base/text.h"
#include "decode/base64.h"

/* What is converted at once; a multiple of 3, so that base64 can be put together from slices. */
#define SLICE ((size_t)48 * 1024)
/* A byte becomes at most \u00NN. */
#define CONVERTED_MAX (SLICE * 6)

static const struct {
    const char *name;
    enum ds_format_kind kind;
} formats[] = {
    {"raw", DS_FORMAT_RAW}, {"ndjson", DS_FORMAT_NDJSON}, {"envelope", DS_FORMAT_ENVELOPE}};

const char *ds_format_name(enum ds_format_kind format)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (formats[i].kind == format)
            return formats[i].name;
    }
    return "";
}

bool ds_format_of(const char *name, enum ds_format_kind *out)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            *out = formats[i].kind;
            return true;
        }
    }
    return false;
}

enum dstream_code ds_format_resolve(enum ds_format_kind *format, bool json,
                                    struct dstream_error *err)
{
    if (*format == DS_FORMAT_AUTO)
        *format = json ? DS_FORMAT_NDJSON : DS_FORMAT_RAW;
    if (json && *format == DS_FORMAT_RAW)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "format raw is not for a JSON stream, whose bytes depend on where the "
                            "server cuts its pages: use --format ndjson");
    if (!json && *format == DS_FORMAT_NDJSON)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "format ndjson is for JSON streams only: use --format raw");
    return DSTREAM_OK;
}

/* --- output ----------------------------------------------------------------------------------- */

/* The first error sticks, so that a line is written as one list and checked once. */
struct out {
    ds_put put;
    void *ctx;
    enum dstream_code rc;
};

static void add(struct out *o, const void *p, size_t n)
{
    if (o->rc == DSTREAM_OK && n > 0)
        o->rc = o->put(o->ctx, p, n);
}

static void add_text(struct out *o, const char *s)
{
    add(o, s, strlen(s));
}

/* A message without the line breaks in it, which can stand only between tokens. */
static void add_message(struct out *o, const char *p, size_t n)
{
    while (n > 0) {
        size_t run = 0;
        while (run < n && p[run] != '\n' && p[run] != '\r')
            run++;
        add(o, p, run);
        run += run < n;
        p += run;
        n -= run;
    }
}

static void put_ndjson(struct out *o, const dstream_batch *b, size_t from, size_t to)
{
    for (size_t i = from; i < to && o->rc == DSTREAM_OK; i++) {
        size_t len;
        const char *p = ds_items_get(b->items, i, &len);
        add_message(o, p, len);
        add(o, "\n", 1);
    }
}

/* --- envelopes -------------------------------------------------------------------------------- */

struct envelope {
    struct out *o;
    struct ds_buf b; /* a piece that is converted */
    char time[40];
};

static void stamp(struct envelope *e)
{
    struct timespec now;
    struct tm tm;
    size_t n = 0;
    if (clock_gettime(CLOCK_REALTIME, &now) == 0 && gmtime_r(&now.tv_sec, &tm))
        n = strftime(e->time, sizeof e->time - 5, "%Y-%m-%dT%H:%M:%S", &tm);
    if (n == 0)
        return;
    unsigned ms = (unsigned)(now.tv_nsec / 1000000);
    const char rest[] = {
        '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', '\0'};
    memcpy(e->time + n, rest, sizeof rest);
}

/* Puts what was converted, and keeps the memory for the next piece. */
static void pass(struct envelope *e, enum dstream_code rc)
{
    if (e->o->rc == DSTREAM_OK)
        e->o->rc = rc;
    add(e->o, e->b.data, e->b.len);
    e->b.len = 0;
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

static void put_string(struct envelope *e, const char *p, size_t n)
{
    while (n > 0 && e->o->rc == DSTREAM_OK) {
        size_t end = slice_end(p, n);
        pass(e, ds_json_escape(&e->b, p, end));
        p += end;
        n -= end;
    }
}

static void put_base64(struct envelope *e, const char *p, size_t n)
{
    while (n > 0 && e->o->rc == DSTREAM_OK) {
        size_t end = n < SLICE ? n : SLICE;
        pass(e, ds_base64_encode(&e->b, p, end));
        p += end;
        n -= end;
    }
}

/* An offset may hold any byte; what is not UTF-8 of it can only be shown replaced. */
static void put_token(struct envelope *e, const char *before, const char *token)
{
    char copy[3 * DS_TOKEN_MAX + 1];
    enum dstream_code rc = ds_utf8_replace(&e->b, token, strlen(token));
    size_t n = e->b.len;
    if (n > 0)
        memcpy(copy, e->b.data, n);
    e->b.len = 0;
    add_text(e->o, before);
    if (rc == DSTREAM_OK)
        rc = ds_json_escape(&e->b, copy, n);
    pass(e, rc);
}

static void put_head(struct envelope *e, const dstream_batch *b, uint64_t index)
{
    put_token(e, "{\"offset\":\"", b->start);
    pass(e, ds_buf_addf(&e->b, "\",\"index\":%llu", (unsigned long long)index));
    if (b->flags & DSTREAM_BATCH_PARTIAL) {
        pass(e, DSTREAM_OK);
        add_text(e->o, ",\"next\":null");
    } else {
        put_token(e, ",\"next\":\"", b->next);
        add_text(e->o, "\"");
    }
    add_text(e->o, ",\"received\":\"");
    add_text(e->o, e->time);
}

static void put_messages(struct envelope *e, const dstream_batch *b, size_t from, size_t to)
{
    uint64_t before = b->skip - b->first;
    for (size_t i = from; i < to && e->o->rc == DSTREAM_OK; i++) {
        size_t len;
        const char *p = ds_items_get(b->items, i, &len);
        put_head(e, b, before + i);
        add_text(e->o, "\",\"json\":");
        add_message(e->o, p, len);
        add_text(e->o, "}\n");
    }
}

static void put_bytes(struct envelope *e, const dstream_batch *b, size_t from, size_t to)
{
    const char *p = b->items->bytes.data + from;
    bool text = ds_utf8_valid(p, to - from);
    put_head(e, b, b->skip - b->first_byte + from);
    add_text(e->o, text ? "\",\"text\":\"" : "\",\"base64\":\"");
    if (text)
        put_string(e, p, to - from);
    else
        put_base64(e, p, to - from);
    add_text(e->o, "\"}\n");
}

static void put_envelopes(struct out *o, const dstream_batch *b, size_t from, size_t to)
{
    struct envelope e = {.o = o};
    ds_buf_init(&e.b, CONVERTED_MAX);
    stamp(&e);
    if (b->flags & DSTREAM_BATCH_JSON)
        put_messages(&e, b, from, to);
    else
        put_bytes(&e, b, from, to);
    ds_buf_free(&e.b);
}

enum dstream_code ds_format_put(enum ds_format_kind format, const dstream_batch *b, size_t from,
                                size_t to, ds_put put, void *ctx)
{
    struct out o = {.put = put, .ctx = ctx, .rc = DSTREAM_OK};
    if (from == to)
        return DSTREAM_OK;
    if (format == DS_FORMAT_ENVELOPE)
        put_envelopes(&o, b, from, to);
    else if (format == DS_FORMAT_NDJSON)
        put_ndjson(&o, b, from, to);
    else
        add(&o, b->items->bytes.data + from, to - from);
    return o.rc;
}
