/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/format.h"

#include <string.h>

#include "base/http.h"
#include "base/text.h"
#include "cli/template.h"
#include "cli/wall.h"

static const struct {
    const char *name;
    enum ds_format_kind kind;
} formats[] = {
    {"raw", DS_FORMAT_RAW},
    {"ndjson", DS_FORMAT_NDJSON},
    {"lines", DS_FORMAT_LINES},
    {"envelope", DS_FORMAT_ENVELOPE},
    {"sse", DS_FORMAT_SSE},
    {"template", DS_FORMAT_TEMPLATE}, /* in states; the user gives what it is */
};

const char *ds_format_name(enum ds_format_kind format)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (formats[i].kind == format)
            return formats[i].name;
    }
    return "";
}

bool ds_format_is_data(enum ds_format_kind format)
{
    return format == DS_FORMAT_RAW || format == DS_FORMAT_NDJSON || format == DS_FORMAT_LINES;
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

enum dstream_code ds_format_of_state(const char *name, const char *path, enum ds_format_kind *out,
                                     struct dstream_error *err)
{
    if (ds_format_of(name, out))
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                        "%s: the state is of format %s, which this release does not know", path,
                        name);
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
                            "format ndjson is for JSON streams only: use --format raw or lines");
    return DSTREAM_OK;
}

enum dstream_code ds_format_check_count(const struct ds_left *left, bool json,
                                        struct dstream_error *err)
{
    if (json || left->lines || !left->has_count)
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                        "--count counts messages, which only JSON streams have: use --bytes, or "
                        "--format lines, of which it counts the lines");
}

enum dstream_code ds_format_check_terminal(enum ds_format_kind format, const char *type,
                                           struct dstream_error *err)
{
    if (format == DS_FORMAT_ENVELOPE || format == DS_FORMAT_SSE || ds_type_is_text(type) ||
        ds_type_is_json(type))
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                        "a binary stream is not shown on a terminal: use --format envelope, or "
                        "send the output to a file or pipe");
}

enum dstream_code ds_format_exact(bool sse, const char *content_type, struct dstream_error *err)
{
    if (!sse || !ds_type_is_text(content_type))
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                        "SSE changes the bytes of a text stream, so it is not exported by it: use "
                        "--live long-poll, or auto");
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

static void put_head(struct ds_json_out *o, const dstream_batch *b, uint64_t index,
                     const char *received)
{
    ds_json_out_add(o, "{\"offset\":\"");
    ds_json_out_token(o, b->start);
    ds_json_out_add(o, "\",\"index\":");
    ds_json_out_u64(o, index);
    if (b->flags & DSTREAM_BATCH_PARTIAL) {
        ds_json_out_add(o, ",\"next\":null");
    } else {
        ds_json_out_add(o, ",\"next\":\"");
        ds_json_out_token(o, b->next);
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
    put_head(o, b, b->skip - b->first_byte + from, received);
    ds_json_out_add(o, "\",");
    ds_json_out_data(o, b->items->bytes.data + from, to - from);
    ds_json_out_add(o, "}\n");
}

static void put_envelopes(struct ds_json_out *o, const dstream_batch *b, size_t from, size_t to,
                          const char *received)
{
    if (b->flags & DSTREAM_BATCH_JSON)
        put_messages(o, b, from, to, received);
    else
        put_bytes(o, b, from, to, received);
}

static void put_template(struct ds_json_out *o, const struct ds_format *f, const dstream_batch *b,
                         size_t from, size_t to, const char *received)
{
    bool json = b->flags & DSTREAM_BATCH_JSON;
    struct ds_template_unit u = {.url = f->url,
                                 .offset = b->start,
                                 .next = b->flags & DSTREAM_BATCH_PARTIAL ? "" : b->next,
                                 .received = received,
                                 .index = b->skip - (json ? b->first : b->first_byte) + from,
                                 .message = json};
    if (!json) {
        u.p = b->items->bytes.data + from;
        u.n = to - from;
        ds_template_put(o, f->template, &u);
    }
    for (size_t i = from; json && i < to && o->rc == DSTREAM_OK; i++, u.index++) {
        u.p = ds_items_get(b->items, i, &u.n);
        ds_template_put(o, f->template, &u);
    }
}

enum dstream_code ds_format_cut(struct ds_format *f, dstream_batch *b, bool *none,
                                struct dstream_error *err)
{
    *none = false;
    if (f->kind != DS_FORMAT_SSE || !f->text)
        return DSTREAM_OK;
    return ds_sse_cut(&f->sse, b, none, err);
}

void ds_format_taken(struct ds_format *f, const dstream_batch *b)
{
    ds_sse_taken(&f->sse, b);
}

enum dstream_code ds_format_put(struct ds_format *f, const dstream_batch *b, size_t from, size_t to,
                                int64_t received, ds_put put, void *ctx)
{
    struct ds_json_out o;
    char time[DS_TIME_SIZE];
    if (from == to && f->kind != DS_FORMAT_SSE)
        return DSTREAM_OK;
    ds_json_out_begin(&o, put, ctx);
    ds_print_time(received, time);
    if (f->kind == DS_FORMAT_ENVELOPE)
        put_envelopes(&o, b, from, to, time);
    else if (f->kind == DS_FORMAT_SSE)
        ds_sse_put(&o, f->text ? &f->sse : NULL, b, from, to);
    else if (f->kind == DS_FORMAT_TEMPLATE)
        put_template(&o, f, b, from, to, time);
    else if (b->flags & DSTREAM_BATCH_JSON)
        put_ndjson(&o, b, from, to);
    else
        ds_json_out_raw(&o, b->items->bytes.data + from, to - from);
    return ds_json_out_end(&o);
}
