/* SPDX-License-Identifier: Apache-2.0 */
#include "decode/recording.h"

#include <string.h>

#include "base/http.h"
#include "base/text.h"
#include "base/url.h"
#include "decode/base64.h"
#include "decode/jsoncut.h"
#include "decode/walk.h"

#define TIME_MAX ((UINT64_C(1) << 53) - 1) /* what JSON readers keep of a number */
#define KEEP     ((size_t)1 << 20)         /* memory kept from one entry to the next */

static const char *const names[] = {[DS_RECORDED_CATCH_UP] = "catch-up",
                                    [DS_RECORDED_LONG_POLL] = "long-poll",
                                    [DS_RECORDED_SSE] = "sse"};

const char *ds_recorded_name(enum ds_recorded by)
{
    return names[by];
}

/* --- a line under way ------------------------------------------------------------------------- */

struct line {
    struct ds_recording *r;
    struct dstream_error *err;
    const char *key; /* of the member under way */
    bool has_time, has_offset, has_next, has_body, has_version, has_type, has_begun;
};

static enum dstream_code fail(const struct line *l, const char *what)
{
    return ds_error_set(l->err, DSTREAM_ERR_INPUT, "%s: line %llu: %s%s%s", l->r->name,
                        (unsigned long long)l->r->line, l->key ? l->key : "", l->key ? " " : "",
                        what);
}

static enum dstream_code no_memory(const struct line *l, enum dstream_code rc)
{
    return rc == DSTREAM_OK ? rc
                            : ds_error_set(l->err, rc, "%s: line %llu: no memory for it",
                                           l->r->name, (unsigned long long)l->r->line);
}

/* The bytes that stand in a string, in r->text. */
static enum dstream_code take_text(struct line *l, struct ds_slice v)
{
    struct ds_buf *out = &l->r->text;
    ds_buf_reset(out, KEEP);
    enum dstream_code rc = ds_json_bytes(out, v);
    if (rc == DSTREAM_ERR_PARSE)
        return fail(l, "is not text, or has a character above U+00FF in it");
    return no_memory(l, rc);
}

static enum dstream_code take_string(struct line *l, struct ds_slice v, char *out, size_t size)
{
    enum dstream_code rc = take_text(l, v);
    const struct ds_buf *text = &l->r->text;
    if (rc != DSTREAM_OK)
        return rc;
    if (text->len >= size || (text->len > 0 && memchr(text->data, '\0', text->len)))
        return fail(l, "is too long, or has a NUL in it");
    memcpy(out, text->len > 0 ? text->data : "", text->len);
    out[text->len] = '\0';
    return DSTREAM_OK;
}

/* An offset or a cursor. */
static enum dstream_code take_token(struct line *l, struct ds_slice v, char *out)
{
    enum dstream_code rc = take_text(l, v);
    const struct ds_buf *text = &l->r->text;
    if (rc != DSTREAM_OK)
        return rc;
    if (text->len == 0 || ds_token_check(text->data, text->len) != DSTREAM_OK)
        return fail(l, "cannot be an offset or cursor");
    memcpy(out, text->data, text->len);
    out[text->len] = '\0';
    return DSTREAM_OK;
}

static enum dstream_code take_number(struct line *l, struct ds_slice v, uint64_t max, uint64_t *out)
{
    char digits[24];
    if (v.n >= sizeof digits)
        return fail(l, "is not a number in its range");
    memcpy(digits, v.p, v.n);
    digits[v.n] = '\0';
    return ds_parse_u64(digits, max, out) ? DSTREAM_OK : fail(l, "is not a number in its range");
}

static enum dstream_code take_flag(struct line *l, struct ds_slice v, unsigned flag)
{
    if (*v.p != 't' && *v.p != 'f')
        return fail(l, "is neither true nor false");
    l->r->entry.flags |= *v.p == 't' ? flag : 0;
    return DSTREAM_OK;
}

/* --- the first line --------------------------------------------------------------------------- */

static enum dstream_code take_version(struct line *l, struct ds_slice v)
{
    uint64_t n;
    enum dstream_code rc = take_number(l, v, UINT64_MAX, &n);
    l->has_version = true;
    if (rc == DSTREAM_OK && n != DS_RECORDING_VERSION)
        return fail(l, "is not a version that this release knows");
    return rc;
}

static enum dstream_code take_url(struct line *l, struct ds_slice v)
{
    return take_string(l, v, l->r->about.url, sizeof l->r->about.url);
}

static enum dstream_code take_type(struct line *l, struct ds_slice v)
{
    l->has_type = true;
    return take_string(l, v, l->r->about.content_type, sizeof l->r->about.content_type);
}

static enum dstream_code take_begun(struct line *l, struct ds_slice v)
{
    uint64_t ms = 0;
    enum dstream_code rc = take_number(l, v, TIME_MAX, &ms);
    l->has_begun = true;
    l->r->about.begun = (int64_t)ms;
    return rc;
}

/* --- an entry --------------------------------------------------------------------------------- */

static enum dstream_code take_time(struct line *l, struct ds_slice v)
{
    struct ds_recording_entry *e = &l->r->entry;
    uint64_t ms = 0;
    enum dstream_code rc = take_number(l, v, TIME_MAX, &ms);
    l->has_time = true;
    if (rc == DSTREAM_OK && (int64_t)ms < e->time)
        return fail(l, "is before that of the line before");
    e->time = (int64_t)ms;
    return rc;
}

static enum dstream_code take_by(struct line *l, struct ds_slice v)
{
    char name[16];
    enum dstream_code rc = take_string(l, v, name, sizeof name);
    for (size_t i = 0; rc == DSTREAM_OK && i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) {
            l->r->entry.by = (enum ds_recorded)i;
            return DSTREAM_OK;
        }
    }
    return rc == DSTREAM_OK ? fail(l, "is not catch-up, long-poll or sse") : rc;
}

static enum dstream_code take_status(struct line *l, struct ds_slice v)
{
    uint64_t n = 0;
    enum dstream_code rc = take_number(l, v, 999, &n);
    l->r->entry.status = (int)n;
    l->r->entry.begins = true;
    return rc;
}

static enum dstream_code add_field(struct line *l, struct ds_slice v)
{
    enum dstream_code rc = take_text(l, v);
    const struct ds_buf *text = &l->r->text;
    struct ds_buf *out = &l->r->entry.headers;
    if (rc == DSTREAM_OK && text->len > 0 && memchr(text->data, '\0', text->len))
        return fail(l, "has a NUL in it");
    if (rc == DSTREAM_OK)
        rc = no_memory(l, ds_buf_add(out, text->data, text->len));
    return rc == DSTREAM_OK ? no_memory(l, ds_buf_addc(out, '\0')) : rc;
}

static enum dstream_code take_headers(struct line *l, struct ds_slice v)
{
    struct ds_slice name, value;
    const char *at = v.p;
    enum dstream_code rc = DSTREAM_OK;
    l->r->entry.headers.len = 0;
    if (*at != '{')
        return fail(l, "is not an object");
    while (rc == DSTREAM_OK && ds_json_member(&at, &name, &value)) {
        rc = add_field(l, name);
        if (rc == DSTREAM_OK)
            rc = add_field(l, value);
    }
    return rc;
}

static enum dstream_code take_offset(struct line *l, struct ds_slice v)
{
    l->has_offset = true;
    return take_token(l, v, l->r->entry.offset);
}

static enum dstream_code take_skip(struct line *l, struct ds_slice v)
{
    return take_number(l, v, UINT64_MAX, &l->r->entry.skip);
}

static enum dstream_code take_next(struct line *l, struct ds_slice v)
{
    l->has_next = true;
    if (*v.p == 'n') {
        l->r->entry.flags |= DSTREAM_BATCH_PARTIAL;
        return DSTREAM_OK;
    }
    return take_token(l, v, l->r->entry.next);
}

static enum dstream_code take_cursor(struct line *l, struct ds_slice v)
{
    return take_token(l, v, l->r->entry.cursor);
}

static enum dstream_code take_up_to_date(struct line *l, struct ds_slice v)
{
    return take_flag(l, v, DSTREAM_BATCH_UP_TO_DATE);
}

static enum dstream_code take_closed(struct line *l, struct ds_slice v)
{
    return take_flag(l, v, DSTREAM_BATCH_CLOSED);
}

/* The text is the array as it came; `json` is the same embedded in the line. */
static enum dstream_code cut(struct line *l)
{
    struct ds_json_cut c;
    ds_json_cut_init(&c, DS_JSON_ARRAY, l->r->json_depth);
    enum dstream_code rc = ds_json_cut_in_place(&c, &l->r->entry.items, 0);
    ds_json_cut_free(&c);
    return rc == DSTREAM_ERR_PARSE ? fail(l, "is not an array of messages") : no_memory(l, rc);
}

static enum dstream_code begin_body(struct line *l)
{
    if (l->has_body)
        return fail(l, "is a second body");
    l->has_body = true;
    return DSTREAM_OK;
}

static enum dstream_code take_json(struct line *l, struct ds_slice v)
{
    enum dstream_code rc = begin_body(l);
    if (rc == DSTREAM_OK && !l->r->about.json)
        rc = fail(l, "is for a JSON stream");
    if (rc == DSTREAM_OK)
        rc = no_memory(l, ds_buf_add(&l->r->entry.items.bytes, v.p, v.n));
    return rc == DSTREAM_OK ? cut(l) : rc;
}

static enum dstream_code take_body_text(struct line *l, struct ds_slice v)
{
    enum dstream_code rc = begin_body(l);
    if (rc == DSTREAM_OK)
        rc = ds_json_text(&l->r->entry.items.bytes, v);
    if (rc == DSTREAM_ERR_PARSE)
        return fail(l, "is not text, or has half of a surrogate pair in it");
    if (rc != DSTREAM_OK)
        return rc == DSTREAM_ERR_INPUT ? rc : no_memory(l, rc);
    return l->r->about.json ? cut(l) : DSTREAM_OK;
}

static enum dstream_code take_base64(struct line *l, struct ds_slice v)
{
    struct ds_buf *out = &l->r->entry.items.bytes;
    size_t len = 0, at;
    const char *why = "is not text";
    enum dstream_code rc = begin_body(l);
    if (rc != DSTREAM_OK)
        return rc;
    if (l->r->about.json)
        return fail(l, "is not for a JSON stream");
    rc = ds_json_text(out, v);
    if (rc == DSTREAM_OK && out->len > 0)
        rc = ds_base64_decode(out->data, out->len, &len, &at, &why);
    out->len = len;
    if (rc == DSTREAM_ERR_PARSE)
        return fail(l, why);
    return no_memory(l, rc);
}

/* --- lines ------------------------------------------------------------------------------------ */

struct member {
    const char *key;
    enum dstream_code (*take)(struct line *l, struct ds_slice value);
};

static const struct member head_members[] = {{"dstream-recording", take_version},
                                             {"url", take_url},
                                             {"contentType", take_type},
                                             {"begun", take_begun},
                                             {NULL, NULL}};
static const struct member entry_members[] = {
    {"time", take_time},           {"by", take_by},
    {"status", take_status},       {"headers", take_headers},
    {"offset", take_offset},       {"skip", take_skip},
    {"next", take_next},           {"cursor", take_cursor},
    {"upToDate", take_up_to_date}, {"closed", take_closed},
    {"json", take_json},           {"text", take_body_text},
    {"base64", take_base64},       {NULL, NULL}};

/* Keys that are not known are passed over: a later release may add some. */
static enum dstream_code take_member(struct line *l, const struct member *members,
                                     struct ds_slice key, struct ds_slice value)
{
    for (const struct member *m = members; m->key; m++) {
        if (key.n != strlen(m->key) + 2 || memcmp(key.p + 1, m->key, key.n - 2) != 0)
            continue;
        l->key = m->key;
        enum dstream_code rc = m->take(l, value);
        l->key = NULL;
        return rc;
    }
    return DSTREAM_OK;
}

static enum dstream_code take_members(struct line *l, const struct member *members, const char *p,
                                      size_t n)
{
    struct ds_slice key, value;
    enum dstream_code rc = DSTREAM_OK;
    /* The line's object, and the array of messages in it. */
    if (!ds_json_valid(p, n, l->r->json_depth + 2))
        return fail(l, "it is not valid JSON");
    p = ds_json_skip_space(p);
    if (*p != '{')
        return fail(l, "it is not a JSON object");
    while (rc == DSTREAM_OK && ds_json_member(&p, &key, &value))
        rc = take_member(l, members, key, value);
    return rc;
}

static enum dstream_code take_head(struct line *l, const char *p, size_t n)
{
    struct ds_recording *r = l->r;
    if (n > DS_RECORDING_HEAD_MAX)
        return fail(l, "it is not the first line of a recording");
    enum dstream_code rc = take_members(l, head_members, p, n);
    if (rc == DSTREAM_OK && !l->has_version)
        return fail(l, "it is not the first line of a recording");
    if (rc == DSTREAM_OK && (!l->has_type || !l->has_begun))
        return fail(l, "contentType and begun have to be there");
    if (rc == DSTREAM_OK) {
        r->about.json = ds_type_is_json(r->about.content_type);
        r->begun = true;
    }
    return rc;
}

static void reset_entry(struct ds_recording_entry *e)
{
    e->begins = false;
    e->skip = 0;
    e->next[0] = e->cursor[0] = '\0';
    e->flags = 0;
    ds_items_reset(&e->items, KEEP);
}

static enum dstream_code take_entry(struct line *l, const char *p, size_t n)
{
    struct ds_recording_entry *e = &l->r->entry;
    reset_entry(e);
    e->flags = l->r->about.json ? DSTREAM_BATCH_JSON : 0;
    enum dstream_code rc = take_members(l, entry_members, p, n);
    if (rc == DSTREAM_OK && (!l->has_time || !l->has_offset || !l->has_next))
        return fail(l, "time, offset and next have to be there");
    if (rc == DSTREAM_OK && (e->flags & DSTREAM_BATCH_CLOSED) && (e->flags & DSTREAM_BATCH_PARTIAL))
        return fail(l, "a part of an answer cannot be the stream's end");
    return rc;
}

/* --- the file --------------------------------------------------------------------------------- */

void ds_recording_init(struct ds_recording *r, const char *name, unsigned json_depth)
{
    *r = (struct ds_recording){.name = name, .json_depth = json_depth};
    ds_buf_init(&r->in, DS_RECORDING_LINE_MAX);
    ds_buf_init(&r->text, DS_RECORDING_HEAD_MAX);
    ds_buf_init(&r->entry.headers, DS_RECORDING_HEAD_MAX);
    ds_items_init(&r->entry.items, DS_RECORDING_LINE_MAX);
}

void ds_recording_free(struct ds_recording *r)
{
    ds_buf_free(&r->in);
    ds_buf_free(&r->text);
    ds_buf_free(&r->entry.headers);
    ds_items_free(&r->entry.items);
}

enum dstream_code ds_recording_feed(struct ds_recording *r, const void *p, size_t n,
                                    struct dstream_error *err)
{
    if (r->used > 0) {
        ds_buf_drop(&r->in, r->used);
        r->scanned -= r->used;
        r->used = 0;
    }
    enum dstream_code rc = ds_buf_add(&r->in, p, n);
    if (rc == DSTREAM_ERR_LIMIT)
        ds_error_set(err, rc, "%s: line %llu is over %zu MiB", r->name,
                     (unsigned long long)r->line + 1, DS_RECORDING_LINE_MAX >> 20);
    else if (rc != DSTREAM_OK)
        ds_error_set(err, rc, "%s: no memory for a line", r->name);
    return rc;
}

enum dstream_code ds_recording_next(struct ds_recording *r, bool *got, struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    *got = false;
    while (rc == DSTREAM_OK && !*got && r->scanned < r->in.len) {
        const char *from = r->in.data + r->scanned;
        const char *lf = memchr(from, '\n', r->in.len - r->scanned);
        r->scanned = lf ? (size_t)(lf - r->in.data) + 1 : r->in.len;
        if (!lf)
            break;
        const char *p = r->in.data + r->used;
        struct line l = {.r = r, .err = err};
        r->line++;
        *got = r->begun;
        rc = r->begun ? take_entry(&l, p, (size_t)(lf - p)) : take_head(&l, p, (size_t)(lf - p));
        r->used = r->scanned;
    }
    *got = *got && rc == DSTREAM_OK;
    return rc;
}

size_t ds_recording_torn(const struct ds_recording *r)
{
    return r->in.len - r->used;
}
