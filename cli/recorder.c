/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/recorder.h"

#include <string.h>

#include "base/text.h"
#include "cli/jsonout.h"
#include "cli/wall.h"
#include "store/checkpoint.h"

/* What an entry begins with, so that its time is found without reading all of it. */
#define ENTRY_BEGINS "{\"time\":"

void ds_recorder_init(struct ds_recorder *r, const char *url)
{
    *r = (struct ds_recorder){.url = url};
    ds_buf_init(&r->headers, DS_RECORDING_HEAD_MAX / 2);
}

void ds_recorder_free(struct ds_recorder *r)
{
    ds_buf_free(&r->headers);
}

/* --- heads ------------------------------------------------------------------------------------ */

/* Those that say what an answer is and how it may be kept: nothing that could be a secret. */
static const char *const kept[] = {"age",
                                   "cache-control",
                                   "content-type",
                                   "date",
                                   "etag",
                                   "expires",
                                   "last-modified",
                                   "stream-closed",
                                   "stream-cursor",
                                   "stream-next-offset",
                                   "stream-sse-data-encoding",
                                   "stream-up-to-date",
                                   "vary"};

void ds_recorder_head(void *ctx, bool live, const struct ds_head *head)
{
    struct ds_recorder *r = ctx;
    if (head->status < 200 || head->status > 299)
        return; /* a redirect, or a failure, of which no entry comes */
    const char *type = ds_head_get(head, "content-type");
    char media[64];
    ds_media_type(type ? type : "", media, sizeof media);
    r->fresh = true;
    r->status = head->status;
    r->by = !live                                     ? DS_RECORDED_CATCH_UP
            : strcmp(media, "text/event-stream") == 0 ? DS_RECORDED_SSE
                                                      : DS_RECORDED_LONG_POLL;
    r->headers.len = 0;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const char *value = ds_head_get(head, kept[i]);
        size_t before = r->headers.len;
        if (!value)
            continue;
        /* One that does not fit is left out. */
        if (ds_buf_add(&r->headers, kept[i], strlen(kept[i]) + 1) != DSTREAM_OK ||
            ds_buf_add(&r->headers, value, strlen(value) + 1) != DSTREAM_OK)
            r->headers.len = before;
    }
}

/* --- lines ------------------------------------------------------------------------------------ */

static void put_member(struct ds_json_out *o, const char *before, const char *bytes)
{
    ds_json_out_add(o, before);
    ds_json_out_bytes(o, bytes, strlen(bytes));
    ds_json_out_add(o, "\"");
}

static enum dstream_code put_begin(void *ctx, const char *content_type, ds_put put, void *to)
{
    const struct ds_recorder *r = ctx;
    struct dstream_error err;
    struct ds_checkpoint shown = {.url = ""};
    struct ds_json_out o;
    enum dstream_code rc = ds_checkpoint_set_url(&shown, r->url, &err);
    if (rc != DSTREAM_OK)
        return rc;
    ds_json_out_begin(&o, put, to);
    ds_json_out_add(&o, "{\"dstream-recording\":");
    ds_json_out_u64(&o, DS_RECORDING_VERSION);
    put_member(&o, ",\"url\":\"", shown.url);
    put_member(&o, ",\"contentType\":\"", content_type);
    ds_json_out_add(&o, ",\"begun\":");
    ds_json_out_u64(&o, (uint64_t)r->begun);
    ds_json_out_add(&o, "}\n");
    return ds_json_out_end(&o);
}

static void put_head(struct ds_json_out *o, const struct ds_recorder *r)
{
    ds_json_out_add(o, ",\"by\":\"");
    ds_json_out_add(o, ds_recorded_name(r->by));
    ds_json_out_add(o, "\",\"status\":");
    ds_json_out_u64(o, (uint64_t)r->status);
    ds_json_out_add(o, ",\"headers\":{");
    const char *p = r->headers.data, *end = p ? p + r->headers.len : p;
    for (const char *before = "\""; p < end; before = ",\"") {
        put_member(o, before, p);
        p += strlen(p) + 1;
        put_member(o, ":\"", p);
        p += strlen(p) + 1;
    }
    ds_json_out_add(o, "}");
}

/* Messages stand in the line as they are. A line break in one, between two tokens, would end the
 * line: then the array is written as a string, so that no byte is lost. */
static void put_messages(struct ds_json_out *o, const struct ds_items *it, size_t from, size_t to)
{
    size_t len;
    bool broken = false;
    for (size_t i = from; i < to && !broken; i++) {
        const char *p = ds_items_get(it, i, &len);
        broken = memchr(p, '\n', len) || memchr(p, '\r', len);
    }
    ds_json_out_add(o, broken ? ",\"text\":\"[" : ",\"json\":[");
    for (size_t i = from; i < to; i++) {
        const char *p = ds_items_get(it, i, &len);
        if (i > from)
            ds_json_out_add(o, ",");
        if (broken)
            ds_json_out_text(o, p, len);
        else
            ds_json_out_raw(o, p, len);
    }
    ds_json_out_add(o, broken ? "]\"" : "]");
}

static void put_body(struct ds_json_out *o, const dstream_batch *b, size_t from, size_t to)
{
    if (from == to)
        return;
    if (b->flags & DSTREAM_BATCH_JSON) {
        put_messages(o, b->items, from, to);
        return;
    }
    ds_json_out_add(o, ",");
    ds_json_out_data(o, b->items->bytes.data + from, to - from);
}

/* What is behind the part that is wanted is not taken: the batch's end is not reached then. */
static void put_position(struct ds_json_out *o, const dstream_batch *b, size_t from, size_t to)
{
    bool json = b->flags & DSTREAM_BATCH_JSON;
    uint64_t skip = b->skip - (json ? b->first : b->first_byte) + from;
    bool whole = to == (json ? b->items->count : b->items->bytes.len);
    put_member(o, ",\"offset\":\"", b->start);
    if (skip > 0) {
        ds_json_out_add(o, ",\"skip\":");
        ds_json_out_u64(o, skip);
    }
    if (!whole || (b->flags & DSTREAM_BATCH_PARTIAL)) {
        ds_json_out_add(o, ",\"next\":null");
        return;
    }
    put_member(o, ",\"next\":\"", b->next);
    if (b->cursor[0])
        put_member(o, ",\"cursor\":\"", b->cursor);
    if (b->flags & DSTREAM_BATCH_UP_TO_DATE)
        ds_json_out_add(o, ",\"upToDate\":true");
    if (b->flags & DSTREAM_BATCH_CLOSED)
        ds_json_out_add(o, ",\"closed\":true");
}

static enum dstream_code put_entry(void *ctx, const dstream_batch *b, size_t from, size_t to,
                                   int64_t now, ds_put put, void *put_ctx)
{
    struct ds_recorder *r = ctx;
    struct ds_json_out o;
    ds_json_out_begin(&o, put, put_ctx);
    if (now + r->shift > r->last)
        r->last = now + r->shift;
    ds_json_out_add(&o, ENTRY_BEGINS);
    ds_json_out_u64(&o, (uint64_t)r->last);
    if (r->fresh)
        put_head(&o, r);
    put_position(&o, b, from, to);
    put_body(&o, b, from, to);
    ds_json_out_add(&o, "}\n");
    r->fresh = r->fresh && o.rc != DSTREAM_OK;
    return ds_json_out_end(&o);
}

void ds_recorder_form(struct ds_recorder *r, struct ds_exporter_form *out)
{
    *out = (struct ds_exporter_form){
        .name = "recording", .begin = put_begin, .put = put_entry, .ctx = r};
}

/* --- going on --------------------------------------------------------------------------------- */

static enum dstream_code not_a_recording(const struct ds_exporter *x, struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH, "%s: it is not a recording",
                        ds_exporter_path(x));
}

/* When it began, by the first line. */
static enum dstream_code read_begun(struct ds_recorder *r, struct ds_exporter *x, char *piece,
                                    size_t size, struct dstream_error *err)
{
    uint64_t length = ds_exporter_length(x);
    size_t n = length < size ? (size_t)length : size;
    struct ds_recording head;
    bool got;
    enum dstream_code rc = ds_exporter_read(x, 0, piece, n, err);
    const char *lf = rc == DSTREAM_OK ? memchr(piece, '\n', n) : NULL;
    if (rc == DSTREAM_OK && !lf)
        rc = not_a_recording(x, err);
    if (rc != DSTREAM_OK)
        return rc;
    ds_recording_init(&head, ds_exporter_path(x), 1);
    rc = ds_recording_feed(&head, piece, (size_t)(lf - piece) + 1, err);
    if (rc == DSTREAM_OK)
        rc = ds_recording_next(&head, &got, err);
    r->begun = head.about.begun;
    ds_recording_free(&head);
    return rc;
}

/* Where the last line begins: behind the last LF but that at the end. */
static enum dstream_code find_last(struct ds_exporter *x, char *piece, size_t size, uint64_t *at,
                                   struct dstream_error *err)
{
    *at = ds_exporter_length(x) - 1;
    while (*at > 0) {
        size_t n = *at < size ? (size_t)*at : size;
        enum dstream_code rc = ds_exporter_read(x, *at - n, piece, n, err);
        if (rc != DSTREAM_OK)
            return rc;
        for (size_t k = n; k > 0; k--) {
            if (piece[k - 1] == '\n') {
                *at -= n - k;
                return DSTREAM_OK;
            }
        }
        *at -= n;
    }
    return DSTREAM_OK;
}

static enum dstream_code read_last(struct ds_recorder *r, struct ds_exporter *x, char *piece,
                                   size_t size, struct dstream_error *err)
{
    uint64_t at, ms = 0, length = ds_exporter_length(x);
    enum dstream_code rc = find_last(x, piece, size, &at, err);
    if (rc != DSTREAM_OK || at == 0)
        return rc;
    char line[sizeof ENTRY_BEGINS + 24] = "";
    size_t n = length - at < sizeof line - 1 ? (size_t)(length - at) : sizeof line - 1;
    rc = ds_exporter_read(x, at, line, n, err);
    if (rc != DSTREAM_OK)
        return rc;
    char *digits = line + sizeof ENTRY_BEGINS - 1;
    if (n < sizeof ENTRY_BEGINS || memcmp(line, ENTRY_BEGINS, sizeof ENTRY_BEGINS - 1) != 0)
        return not_a_recording(x, err);
    digits[strspn(digits, "0123456789")] = '\0';
    if (!ds_parse_u64(digits, INT64_MAX, &ms))
        return not_a_recording(x, err);
    r->last = (int64_t)ms;
    return DSTREAM_OK;
}

/* Between two runs the time of day goes on for the recording. Where that was set back, the last
 * entry's time counts. */
enum dstream_code ds_recorder_start(struct ds_recorder *r, struct ds_exporter *x, int64_t now,
                                    struct dstream_error *err)
{
    struct ds_buf piece;
    int64_t wall = ds_wall_now();
    r->begun = wall;
    r->shift = -now;
    if (ds_exporter_length(x) == 0)
        return DSTREAM_OK;
    ds_buf_init(&piece, DS_RECORDING_HEAD_MAX);
    enum dstream_code rc = ds_buf_reserve(&piece, DS_RECORDING_HEAD_MAX);
    if (rc != DSTREAM_OK)
        return ds_error_set(err, rc, "no memory for a recording");
    rc = read_begun(r, x, piece.data, DS_RECORDING_HEAD_MAX, err);
    if (rc == DSTREAM_OK)
        rc = read_last(r, x, piece.data, DS_RECORDING_HEAD_MAX, err);
    ds_buf_free(&piece);
    int64_t passed = wall - r->begun;
    r->shift = (passed > r->last ? passed : r->last) - now;
    return rc;
}
