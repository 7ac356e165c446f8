/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/format.h"

#include <string.h>

#include "base/text.h"
#include "cli/wall.h"

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

/* --- formats ---------------------------------------------------------------------------------- */

static void put_ndjson(struct ds_json_out *o, const dstream_batch *b, size_t from, size_t to)
{
    for (size_t i = from; i < to && o->rc == DSTREAM_OK; i++) {
        size_t len;
        const char *p = ds_items_get(b->items, i, &len);
        ds_json_out_message(o, p, len);
        ds_json_out_raw(o, "\n", 1);
    }
}

/* An offset may hold any byte; what is not UTF-8 of it can only be shown replaced. */
static void put_token(struct ds_json_out *o, const char *token)
{
    struct ds_buf text;
    ds_buf_init(&text, 3 * DS_TOKEN_MAX);
    enum dstream_code rc = ds_utf8_replace(&text, token, strlen(token));
    if (o->rc == DSTREAM_OK)
        o->rc = rc;
    ds_json_out_text(o, text.data, text.len);
    ds_buf_free(&text);
}

static void put_head(struct ds_json_out *o, const dstream_batch *b, uint64_t index,
                     const char *received)
{
    ds_json_out_add(o, "{\"offset\":\"");
    put_token(o, b->start);
    ds_json_out_add(o, "\",\"index\":");
    ds_json_out_u64(o, index);
    if (b->flags & DSTREAM_BATCH_PARTIAL) {
        ds_json_out_add(o, ",\"next\":null");
    } else {
        ds_json_out_add(o, ",\"next\":\"");
        put_token(o, b->next);
        ds_json_out_add(o, "\"");
    }
    ds_json_out_add(o, ",\"received\":\"");
    ds_json_out_add(o, received);
}

static void put_messages(struct ds_json_out *o, const dstream_batch *b, size_t from, size_t to,
                         const char *received)
{
    uint64_t before = b->skip - b->first;
    for (size_t i = from; i < to && o->rc == DSTREAM_OK; i++) {
        size_t len;
        const char *p = ds_items_get(b->items, i, &len);
        put_head(o, b, before + i, received);
        ds_json_out_add(o, "\",\"json\":");
        ds_json_out_message(o, p, len);
        ds_json_out_add(o, "}\n");
    }
}

static void put_bytes(struct ds_json_out *o, const dstream_batch *b, size_t from, size_t to,
                      const char *received)
{
    const char *p = b->items->bytes.data + from;
    bool text = ds_utf8_valid(p, to - from);
    put_head(o, b, b->skip - b->first_byte + from, received);
    ds_json_out_add(o, text ? "\",\"text\":\"" : "\",\"base64\":\"");
    if (text)
        ds_json_out_text(o, p, to - from);
    else
        ds_json_out_base64(o, p, to - from);
    ds_json_out_add(o, "\"}\n");
}

static void put_envelopes(struct ds_json_out *o, const dstream_batch *b, size_t from, size_t to,
                          int64_t received)
{
    char text[DS_TIME_SIZE];
    ds_print_time(received, text);
    if (b->flags & DSTREAM_BATCH_JSON)
        put_messages(o, b, from, to, text);
    else
        put_bytes(o, b, from, to, text);
}

enum dstream_code ds_format_put(enum ds_format_kind format, const dstream_batch *b, size_t from,
                                size_t to, int64_t received, ds_put put, void *ctx)
{
    struct ds_json_out o;
    if (from == to)
        return DSTREAM_OK;
    ds_json_out_begin(&o, put, ctx);
    if (format == DS_FORMAT_ENVELOPE)
        put_envelopes(&o, b, from, to, received);
    else if (format == DS_FORMAT_NDJSON)
        put_ndjson(&o, b, from, to);
    else
        ds_json_out_raw(&o, b->items->bytes.data + from, to - from);
    return ds_json_out_end(&o);
}
