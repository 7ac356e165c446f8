/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/format_sse.h"

#include <string.h>

#include "base/text.h"

/* --- characters ------------------------------------------------------------------------------- */

static enum dstream_code refuse(const struct dstream_batch *b, const char *what,
                                struct dstream_error *err)
{
    ds_error_set_offset(err, b->start);
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                        "format sse cannot carry %s, and there is one in this answer: use --format "
                        "envelope or raw",
                        what);
}

static void hold(struct ds_sse_text *t, const char *p, size_t n)
{
    memcpy(t->held + t->n, p, n);
    t->n += n;
}

enum dstream_code ds_sse_cut(struct ds_sse_text *t, struct dstream_batch *b, bool *none,
                             struct dstream_error *err)
{
    size_t n = b->items->bytes.len - b->first_byte;
    const char *p = n > 0 ? b->items->bytes.data + b->first_byte : "";
    struct ds_utf8 u = {0};
    t->cut = 0;
    *none = false;
    if (memchr(p, '\r', n))
        return refuse(b, "a carriage return", err);
    bool valid = ds_utf8_feed(&u, t->held, t->n) && ds_utf8_feed(&u, p, n);
    if (!valid || (!ds_utf8_whole(&u) && (b->flags & DSTREAM_BATCH_CLOSED)))
        return refuse(b, "a byte that is not UTF-8", err);
    if (ds_utf8_whole(&u))
        return DSTREAM_OK;
    t->cut = ds_utf8_open_end(p, n);
    *none = t->cut == 0 || t->cut == n; /* 0: it goes on with the character that is held */
    if (*none) {
        hold(t, p, n);
        t->cut = 0;
        return DSTREAM_OK;
    }
    t->view = *b->items;
    t->view.bytes.len -= t->cut;
    b->items = &t->view;
    b->flags |= DSTREAM_BATCH_PARTIAL;
    return DSTREAM_OK;
}

void ds_sse_taken(struct ds_sse_text *t, const struct dstream_batch *b)
{
    const struct ds_buf *bytes = &b->items->bytes;
    if (t->cut > 0)
        hold(t, bytes->data + bytes->len - t->cut, t->cut);
    t->cut = 0;
}

/* --- events ----------------------------------------------------------------------------------- */

static void put_lines(struct ds_json_out *o, const char *p, size_t n)
{
    while (n > 0 && o->rc == DSTREAM_OK) {
        const char *lf = memchr(p, '\n', n);
        size_t line = lf ? (size_t)(lf - p) : n;
        ds_json_out_raw(o, p, line);
        if (lf)
            ds_json_out_add(o, "\ndata: ");
        line += lf != NULL;
        p += line;
        n -= line;
    }
}

static void put_array(struct ds_json_out *o, const struct dstream_batch *b, size_t from, size_t to)
{
    for (size_t i = from; i < to && o->rc == DSTREAM_OK; i++) {
        size_t n;
        const char *p = ds_items_get(b->items, i, &n);
        ds_json_out_add(o, i == from ? "[" : ",");
        ds_json_out_message(o, p, n);
    }
    ds_json_out_add(o, "]");
}

static void put_data(struct ds_json_out *o, struct ds_sse_text *t, const struct dstream_batch *b,
                     size_t from, size_t to)
{
    ds_json_out_add(o, "event: data\ndata: ");
    if (b->flags & DSTREAM_BATCH_JSON) {
        put_array(o, b, from, to);
    } else if (t) {
        put_lines(o, t->held, t->n);
        put_lines(o, b->items->bytes.data + from, to - from);
        t->n = 0;
    } else {
        ds_json_out_base64(o, b->items->bytes.data + from, to - from);
    }
    ds_json_out_add(o, "\n\n");
}

static void put_control(struct ds_json_out *o, const struct dstream_batch *b)
{
    ds_json_out_add(o, "event: control\ndata: {\"streamNextOffset\":\"");
    ds_json_out_token(o, b->next);
    if (b->cursor && b->cursor[0]) {
        ds_json_out_add(o, "\",\"streamCursor\":\"");
        ds_json_out_token(o, b->cursor);
    }
    ds_json_out_add(o, "\"");
    if (b->flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED))
        ds_json_out_add(o, ",\"upToDate\":true");
    if (b->flags & DSTREAM_BATCH_CLOSED)
        ds_json_out_add(o, ",\"streamClosed\":true");
    ds_json_out_add(o, "}\n\n");
}

void ds_sse_put(struct ds_json_out *o, struct ds_sse_text *t, const struct dstream_batch *b,
                size_t from, size_t to)
{
    bool json = b->flags & DSTREAM_BATCH_JSON;
    if (from < to)
        put_data(o, t, b, from, to);
    if (to == (json ? b->items->count : b->items->bytes.len) && !(b->flags & DSTREAM_BATCH_PARTIAL))
        put_control(o, b);
}
