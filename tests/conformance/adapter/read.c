/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/adapter/adapter.h"

struct reading {
    struct command *c;
    dstream_reader *reader;
    enum dstream_live live;
    bool again;   /* begun a second time */
    int64_t most; /* chunks */
    bool up_to_date_is_enough;
    int64_t count;
    struct text chunks; /* as they are to be answered, without the brackets */
    char offset[1025];  /* behind the last unit */
    char cursor[1025];  /* of it */
    bool up_to_date, closed;
};

/* --- the reader ------------------------------------------------------------------------------- */

/* A mode that is asked for by name is gone into at once, by what is known of the type. */
static dstream_options *options(const struct reading *r)
{
    dstream_options *o = new_options(r->c->a);
    const struct path *p = find_path(r->c->a, get_text(r->c, "path", ""));
    bool at_once = r->live == DSTREAM_LIVE_SSE || r->live == DSTREAM_LIVE_LONG_POLL;
    dstream_options_set_live(o, r->live);
    dstream_options_set_live_at_once(o, at_once);
    if (at_once && p && !r->again && dstream_options_set_type(o, p->type) != DSTREAM_OK)
        abort();
    return o;
}

/* False: it has failed, and that is answered. */
static bool open_reader(struct reading *r, const char *offset)
{
    struct command *c = r->c;
    dstream_options *o = options(r);
    enum dstream_code rc = dstream_options_set_start(o, offset, 0);
    if (rc != DSTREAM_OK) /* the library does not send it; a server would say 400 */
        fail(c, "INVALID_OFFSET", 400, "offset %s: %s", offset, dstream_code_text(rc));
    else if ((rc = dstream_reader_open(&r->reader, c->a->loop, c->url.p, o)) != DSTREAM_OK)
        fail_code(c, rc, "the reader");
    else
        snprintf(r->offset, sizeof r->offset, "%s", offset);
    dstream_options_free(o);
    return r->reader;
}

/* It looks like another stream than the one asked for: its tail lies before the offset, or it is of
 * another type than was known. Here offsets are the server's to judge, and somebody else may have
 * made it anew. */
static bool is_other(const struct reading *r)
{
    enum dstream_code code = dstream_error_code(dstream_reader_error(r->reader));
    return code == DSTREAM_ERR_STREAM_RESET && r->count == 0 && !r->again;
}

/* From where the server says that it ends, by whatever type it has. */
static bool begin_again(struct reading *r)
{
    char offset[sizeof r->offset];
    const char *tail = dstream_reader_last_offset(r->reader);
    bool beyond = tail[0] && strcmp(tail, r->offset) < 0;
    snprintf(offset, sizeof offset, "%s", beyond ? tail : r->offset);
    dstream_reader_free(r->reader);
    r->reader = NULL;
    r->again = true;
    return open_reader(r, offset);
}

/* --- units ------------------------------------------------------------------------------------ */

/* All messages as one array. */
static void add_array(struct text *to, const dstream_batch *b)
{
    size_t count = dstream_batch_count(b), n;
    for (size_t i = 0; i < count; i++) {
        const char *message = dstream_batch_message(b, i, &n);
        text_add(to, i == 0 ? "[" : ",", 1);
        json_add_compact(to, message, n);
    }
    text_adds(to, "]");
}

static void add_chunk(struct reading *r, const char *p, size_t n)
{
    struct text coded = {.n = 0};
    bool binary = !is_utf8(p, n);
    if (binary)
        text_add_base64(&coded, p, n);
    text_adds(&r->chunks, r->count++ > 0 ? ",{\"data\":" : "{\"data\":");
    json_add_string(&r->chunks, binary ? coded.p : p, binary ? coded.n : n);
    text_adds(&r->chunks, ",\"offset\":");
    json_add_string(&r->chunks, r->offset, strlen(r->offset));
    text_adds(&r->chunks, binary ? ",\"binary\":true}" : "}");
    text_free(&coded);
}

static void take_unit(struct reading *r, const dstream_batch *b)
{
    size_t n;
    const char *p = dstream_batch_data(b, &n);
    unsigned flags = dstream_batch_flags(b);
    strcpy(r->offset, dstream_batch_next(b));
    strcpy(r->cursor, dstream_batch_cursor(b));
    r->up_to_date = flags & DSTREAM_BATCH_UP_TO_DATE;
    r->closed = flags & DSTREAM_BATCH_CLOSED;
    if (n > 0 && flags & DSTREAM_BATCH_JSON) {
        struct text array = {.n = 0};
        add_array(&array, b);
        add_chunk(r, array.p, array.n);
        text_free(&array);
    } else if (n > 0) {
        add_chunk(r, p, n);
    }
}

static bool is_enough(const struct reading *r)
{
    bool tail = r->up_to_date && (r->up_to_date_is_enough || r->live == DSTREAM_LIVE_OFF);
    return r->closed || r->count >= r->most || tail;
}

/* False: it has failed, and that is answered. */
static bool take_units(struct reading *r)
{
    const dstream_batch *b;
    for (;;) {
        switch (dstream_reader_next(r->reader, time_left(r->c), &b)) {
        case DSTREAM_NEXT_BATCH:
            take_unit(r, b);
            if (is_enough(r))
                return true;
            break;
        case DSTREAM_NEXT_END:
            return true;
        case DSTREAM_NEXT_TIMEOUT:
            if (r->live != DSTREAM_LIVE_OFF) {
                r->up_to_date = true; /* nothing came that was waited for */
                return true;
            }
            fail(r->c, "TIMEOUT", 0, "the end was not reached in time");
            return false;
        case DSTREAM_NEXT_ERROR:
            if (is_other(r) && begin_again(r))
                break;
            if (!r->reader)
                return false;
            fail_with(r->c, dstream_reader_error(r->reader), NULL);
            return false;
        }
    }
}

/* --- the command ------------------------------------------------------------------------------ */

static bool take_live(struct reading *r)
{
    const struct json *v = json_get(r->c->in, "live");
    r->live = DSTREAM_LIVE_OFF;
    if (!v || v->kind == JSON_FALSE)
        return true;
    if (v->kind == JSON_TRUE)
        r->live = DSTREAM_LIVE_AUTO;
    else if (v->kind == JSON_STRING && strcmp(v->p, "sse") == 0)
        r->live = DSTREAM_LIVE_SSE;
    else if (v->kind == JSON_STRING && strcmp(v->p, "long-poll") == 0)
        r->live = DSTREAM_LIVE_LONG_POLL;
    else
        fail(r->c, INVALID_ARGUMENT, 0, "there is no such mode of live");
    return r->live != DSTREAM_LIVE_OFF;
}

static void take_limits(struct reading *r)
{
    struct command *c = r->c;
    bool live = r->live != DSTREAM_LIVE_OFF;
    int64_t most = live ? LIVE_MS : ANSWER_MS, began = c->deadline - ANSWER_MS;
    int64_t limit = get_int(c, "timeoutMs", live ? 5000 : most);
    c->deadline = began + (limit < most ? limit : most);
    r->most = get_int(c, "maxChunks", 100);
    r->up_to_date_is_enough = get_bool(c, "waitForUpToDate");
}

/* Of the answers with data; without any, of the last. Where there was none a long-poll has ended
 * empty. */
static int status(const struct reading *r)
{
    int said = dstream_reader_last_status(r->reader);
    if (r->count > 0 || r->live == DSTREAM_LIVE_SSE)
        return 200;
    return said > 0 ? said : 204;
}

/* An empty stream read from its beginning has a tail, too. */
static const char *offset_of(const struct reading *r)
{
    const char *said = dstream_reader_last_offset(r->reader);
    bool asked = strcmp(r->offset, "-1") == 0 || strcmp(r->offset, "now") == 0;
    return asked && said[0] ? said : r->offset;
}

static void answer(struct reading *r)
{
    struct command *c = r->c;
    reply(c);
    reply_int(c, "status", status(r));
    struct text *out = reply_member(c, "chunks");
    text_adds(out, "[");
    text_add(out, r->chunks.p, r->chunks.n);
    text_adds(out, "]");
    reply_text(c, "offset", offset_of(r));
    reply_bool(c, "upToDate", r->up_to_date);
    reply_bool(c, "streamClosed", r->closed);
    if (r->cursor[0])
        reply_text(c, "cursor", r->cursor);
    reply_dynamic(c);
}

void run_read(struct command *c)
{
    struct reading r = {.c = c};
    c->dynamic = true;
    if (!take_live(&r))
        return;
    take_limits(&r);
    if (open_reader(&r, get_text(c, "offset", "-1")) && take_units(&r))
        answer(&r);
    dstream_reader_free(r.reader);
    text_free(&r.chunks);
}
