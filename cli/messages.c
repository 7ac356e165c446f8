/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/messages.h"

#include <string.h>

#include "base/alloc.h"

/* What may be held beside a message of the largest size: the piece that makes it too large, and a
 * separator. */
#define SLACK (DS_MESSAGES_PIECE + 16)
#define KEEP  ((size_t)1 << 20) /* memory that is kept for the next message */

enum dstream_code ds_messages_init(struct ds_messages *m, enum ds_messages_how how, size_t max,
                                   unsigned json_depth)
{
    *m = (struct ds_messages){.how = how, .max = max};
    ds_json_cut_init(&m->cut, DS_JSON_VALUES, json_depth);
    ds_items_init(&m->items, max > SIZE_MAX - SLACK ? SIZE_MAX : max + SLACK);
    m->piece = ds_malloc(DS_MESSAGES_PIECE);
    return m->piece ? DSTREAM_OK : DSTREAM_ERR_NOMEM;
}

void ds_messages_free(struct ds_messages *m)
{
    ds_json_cut_free(&m->cut);
    ds_items_free(&m->items);
    ds_free(m->piece);
    m->piece = NULL;
}

char *ds_messages_room(struct ds_messages *m)
{
    return m->piece;
}

void ds_messages_add(struct ds_messages *m, size_t n)
{
    m->at = 0;
    m->len = n;
}

/* --- errors ----------------------------------------------------------------------------------- */

static unsigned long long place(const struct ds_messages *m)
{
    return (unsigned long long)(m->taken - m->file_from);
}

static void fail(struct ds_messages *m, enum dstream_code code, const char *why)
{
    bool malformed = code == DSTREAM_ERR_PARSE;
    ds_error_set(&m->error, malformed ? DSTREAM_ERR_INPUT : code, "%sat byte %llu: %s",
                 malformed ? "not JSON " : "", place(m), why);
}

static void fail_large(struct ds_messages *m)
{
    ds_error_set(&m->error, DSTREAM_ERR_LIMIT,
                 "a message that goes up to byte %llu, or on, is larger than %zu bytes: see "
                 "--batch-bytes",
                 place(m), m->max);
}

/* --- cutting ---------------------------------------------------------------------------------- */

static void take(struct ds_messages *m, size_t n)
{
    m->at += n;
    m->taken += n;
}

static void show(struct ds_messages *m, const char *p, size_t n)
{
    m->ready = true;
    m->message = p;
    m->message_len = n;
}

static void show_item(struct ds_messages *m)
{
    if (m->items.count > 0)
        m->message = ds_items_get(&m->items, 0, &m->message_len);
    m->ready = m->items.count > 0;
}

static void cut_json(struct ds_messages *m)
{
    size_t used = 0;
    enum dstream_code rc =
        ds_json_cut_next(&m->cut, m->piece + m->at, m->len - m->at, &m->items, &used);
    take(m, used);
    if (rc != DSTREAM_OK && !(rc == DSTREAM_ERR_LIMIT && m->items.bytes.len > m->max))
        fail(m, rc, m->cut.why);
    else if (m->items.bytes.len > m->max + m->items.count) /* the LF behind it is ours */
        fail_large(m);
    else
        show_item(m);
}

static void cut_bytes(struct ds_messages *m)
{
    size_t n = m->len - m->at;
    if (n > m->max)
        n = m->max;
    show(m, m->piece + m->at, n);
    take(m, n);
}

/* A line that lies in one piece is not copied. */
static void cut_line(struct ds_messages *m)
{
    const char *from = m->piece + m->at;
    struct ds_buf *line = &m->items.bytes;
    const char *lf = memchr(from, '\n', m->len - m->at);
    size_t n = lf ? (size_t)(lf - from) + 1 : m->len - m->at;
    take(m, n);
    if (line->len + n > m->max) {
        fail_large(m);
    } else if (lf && line->len == 0) {
        show(m, from, n);
    } else if (ds_buf_add(line, from, n) != DSTREAM_OK) {
        fail(m, DSTREAM_ERR_NOMEM, "no memory for a line");
    } else if (lf) {
        show(m, line->data, line->len);
    }
}

bool ds_messages_next(struct ds_messages *m, const char **p, size_t *n, uint64_t *end)
{
    while (!m->ready && m->error.code == DSTREAM_OK && m->at < m->len) {
        if (m->how == DS_MESSAGES_JSON)
            cut_json(m);
        else if (m->how == DS_MESSAGES_LINES)
            cut_line(m);
        else
            cut_bytes(m);
    }
    *p = m->message;
    *n = m->message_len;
    *end = m->taken;
    return m->ready;
}

void ds_messages_drop(struct ds_messages *m)
{
    if (m->how != DS_MESSAGES_BYTES)
        ds_items_reset(&m->items, KEEP);
    m->ready = false;
}

void ds_messages_end_file(struct ds_messages *m)
{
    enum dstream_code rc = DSTREAM_OK;
    if (m->how == DS_MESSAGES_JSON && m->error.code == DSTREAM_OK) {
        rc = ds_json_cut_finish(&m->cut, &m->items);
        if (rc != DSTREAM_OK) {
            fail(m, rc, m->cut.why);
            return;
        }
        show_item(m);
        ds_json_cut_reset(&m->cut);
    } else if (m->how == DS_MESSAGES_LINES && m->items.bytes.len > 0) {
        show(m, m->items.bytes.data, m->items.bytes.len);
    }
    m->file_from = m->taken;
}
