/* SPDX-License-Identifier: Apache-2.0 */
#include "sse/events.h"

#include <string.h>

#include "decode/base64.h"

/* Memory that is kept from one batch to the next, and where none is due; more is given back. */
#define KEEP ((size_t)1 << 20)
#define IDLE ((size_t)4096)

typedef unsigned long long ull; /* for printing */

/* --- errors ----------------------------------------------------------------------------------- */

static ull event_pos(const struct ds_events *e)
{
    return ds_sse_event_pos(&e->parser);
}

static enum dstream_code no_memory(struct ds_events *e)
{
    return ds_error_set(&e->error, DSTREAM_ERR_NOMEM, "no memory for the event at byte %llu",
                        event_pos(e));
}

static enum dstream_code too_large(struct ds_events *e)
{
    e->too_large = true;
    return ds_error_set(&e->error, DSTREAM_ERR_LIMIT,
                        "more than %zu bytes of data before a control event, with the event at "
                        "byte %llu of the event stream",
                        e->limits->max_event, event_pos(e));
}

static enum dstream_code bad_data(struct ds_events *e, enum dstream_code code, const char *form,
                                  const char *why, ull at)
{
    return ds_error_set(&e->error, code,
                        "the data event at byte %llu of the event stream is not valid %s: %s, at "
                        "byte %llu of its payload",
                        event_pos(e), form, why, at);
}

/* --- events ----------------------------------------------------------------------------------- */

static enum dstream_code on_data(void *ctx, const char *p, size_t n)
{
    struct ds_events *e = ctx;
    enum dstream_code rc = ds_buf_add(&e->staged.bytes, p, n);
    if (rc == DSTREAM_OK)
        return rc;
    return rc == DSTREAM_ERR_LIMIT ? too_large(e) : no_memory(e);
}

static enum dstream_code decode_base64(struct ds_events *e)
{
    struct ds_buf *b = &e->staged.bytes;
    size_t n = b->len - e->mark, at;
    const char *why;
    if (n == 0)
        return DSTREAM_OK;
    enum dstream_code rc = ds_base64_decode(b->data + e->mark, n, &n, &at, &why);
    if (rc != DSTREAM_OK)
        return bad_data(e, rc, "base64", why, at);
    b->len = e->mark + n;
    return DSTREAM_OK;
}

static enum dstream_code decode_json(struct ds_events *e)
{
    enum dstream_code rc = ds_json_cut_in_place(&e->cut, &e->staged, e->mark);
    if (rc == DSTREAM_OK)
        return rc;
    return rc == DSTREAM_ERR_NOMEM ? no_memory(e) : bad_data(e, rc, "JSON", e->cut.why, e->cut.pos);
}

/* The payload lies behind the mark: it becomes data, in place. */
static enum dstream_code end_data(struct ds_events *e)
{
    enum dstream_code rc = DSTREAM_OK;
    if (e->kind == DS_SSE_BASE64)
        rc = decode_base64(e);
    else if (e->kind == DS_SSE_JSON)
        rc = decode_json(e);
    if (rc == DSTREAM_OK && e->staged.bytes.len > e->limits->max_event)
        rc = too_large(e);
    return rc;
}

/* The payload lies behind the mark: it is read and taken away. */
static enum dstream_code end_control(struct ds_events *e)
{
    size_t n = e->staged.bytes.len - e->mark;
    struct dstream_error err = {0};
    if (n > DS_CONTROL_MAX)
        return ds_error_set(&e->error, DSTREAM_ERR_LIMIT,
                            "the control event at byte %llu of the event stream is over %d bytes "
                            "long",
                            event_pos(e), DS_CONTROL_MAX);
    const char *p = n > 0 ? e->staged.bytes.data + e->mark : "";
    enum dstream_code rc = ds_control_parse(p, n, &e->control, &err);
    if (rc != DSTREAM_OK)
        return ds_error_set(&e->error, rc, "the control event at byte %llu of the event stream: %s",
                            event_pos(e), err.message);
    e->batch = true;
    e->ended = e->control.closed;
    return DSTREAM_OK;
}

static bool is_named(const struct ds_sse_event *ev, const char *name)
{
    return ev->name_len == strlen(name) && memcmp(ev->name, name, ev->name_len) == 0;
}

static enum dstream_code on_event(void *ctx, const struct ds_sse_event *ev, bool *stop)
{
    struct ds_events *e = ctx;
    enum dstream_code rc = DSTREAM_OK;
    if (is_named(ev, "data")) {
        rc = end_data(e);
        e->mark = e->staged.bytes.len;
        e->mark_count = e->staged.count;
        return rc;
    }
    if (is_named(ev, "control"))
        rc = end_control(e);
    ds_items_cut(&e->staged, e->mark_count, e->mark);
    *stop = e->batch;
    return rc;
}

/* --- life ------------------------------------------------------------------------------------- */

/* The cap of the staged bytes leaves room for a control event behind data that just fit; that the
 * data itself fit is checked at the end of each event. */
static size_t staged_max(const struct ds_limits *limits)
{
    return limits->max_event < SIZE_MAX - DS_CONTROL_MAX ? limits->max_event + DS_CONTROL_MAX
                                                         : SIZE_MAX;
}

void ds_events_init(struct ds_events *e, const struct ds_limits *limits)
{
    static const struct ds_sse_ops ops = {on_data, on_event};
    memset(e, 0, sizeof *e);
    e->limits = limits;
    ds_sse_init(&e->parser, &ops, e);
    ds_items_init(&e->staged, staged_max(limits));
    ds_json_cut_init(&e->cut, DS_JSON_ARRAY, limits->json_depth);
}

void ds_events_free(struct ds_events *e)
{
    ds_sse_free(&e->parser);
    ds_items_free(&e->staged);
    ds_json_cut_free(&e->cut);
}

static void drop_staged(struct ds_events *e)
{
    ds_items_reset(&e->staged, e->control.up_to_date ? IDLE : KEEP);
    e->mark = e->mark_count = 0;
    e->batch = false;
}

void ds_events_reset(struct ds_events *e, enum ds_sse_kind kind)
{
    ds_sse_reset(&e->parser);
    drop_staged(e);
    ds_error_clear(&e->error);
    e->control = (struct ds_control){0};
    e->kind = kind;
    e->any = e->ended = e->too_large = false;
}

void ds_events_take(struct ds_events *e)
{
    drop_staged(e);
}

enum ds_events_result ds_events_feed(struct ds_events *e, const char *bytes, size_t n,
                                     size_t *consumed)
{
    *consumed = 0;
    if (e->error.code != DSTREAM_OK)
        return DS_EVENTS_ERROR;
    if (e->batch)
        return DS_EVENTS_BATCH;
    e->any |= n > 0;
    if (e->ended) {
        *consumed = n;
        return DS_EVENTS_MORE;
    }
    enum dstream_code rc = ds_sse_feed(&e->parser, bytes, n, consumed);
    if (rc != DSTREAM_OK && e->error.code == DSTREAM_OK)
        ds_error_set(&e->error, rc, "%s, in the event at byte %llu of the event stream",
                     e->parser.why, event_pos(e));
    if (rc != DSTREAM_OK)
        return DS_EVENTS_ERROR;
    return e->batch ? DS_EVENTS_BATCH : DS_EVENTS_MORE;
}
