/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "devserver/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/http.h"
#include "base/limits.h"
#include "decode/jsoncut.h"
#include "devserver/producers.h"

#define TYPE_MAX 256 /* bytes of a media type that are compared */

struct ds_store {
    struct ds_stream **slots; /* a power of two of lists */
    size_t nslots, count;
    size_t used, max; /* bytes of all streams */
    uint64_t last_id;
    ds_stream_changed changed;
    void *ctx;
};

/* --- the table -------------------------------------------------------------------------------- */

static struct ds_stream **slot(const struct ds_store *st, const char *path)
{
    struct ds_stream **p = &st->slots[ds_text_hash(path) & (st->nslots - 1)];
    while (*p && strcmp((*p)->path, path) != 0)
        p = &(*p)->next;
    return p;
}

/* A table that could not grow is slower, and works. */
static void grow(struct ds_store *st)
{
    struct ds_store bigger = *st;
    bigger.nslots *= 2;
    bigger.slots = ds_calloc(bigger.nslots, sizeof(struct ds_stream *));
    if (!bigger.slots)
        return;
    for (size_t i = 0; i < st->nslots; i++) {
        struct ds_stream *s = st->slots[i];
        while (s) {
            struct ds_stream *next = s->next;
            struct ds_stream **at = slot(&bigger, s->path);
            s->next = NULL;
            *at = s;
            s = next;
        }
    }
    ds_free(st->slots);
    *st = bigger;
}

struct ds_store *ds_store_new(size_t max, ds_stream_changed changed, void *ctx)
{
    struct ds_store *st = ds_calloc(1, sizeof *st);
    if (!st)
        return NULL;
    *st = (struct ds_store){.nslots = 64, .max = max, .changed = changed, .ctx = ctx};
    st->slots = ds_calloc(st->nslots, sizeof(struct ds_stream *));
    if (!st->slots) {
        ds_free(st);
        return NULL;
    }
    return st;
}

void ds_store_free(struct ds_store *st)
{
    for (size_t i = 0; st && i < st->nslots; i++) {
        struct ds_stream *s = st->slots[i];
        while (s) {
            struct ds_stream *next = s->next;
            s->gone = true;
            ds_stream_release(s);
            s = next;
        }
    }
    if (st)
        ds_free(st->slots);
    ds_free(st);
}

/* --- one stream ------------------------------------------------------------------------------- */

struct ds_stream *ds_stream_hold(struct ds_stream *s)
{
    s->refs++;
    return s;
}

/* A fork holds its source. */
void ds_stream_release(struct ds_stream *s)
{
    while (s && --s->refs == 0) {
        struct ds_stream *source = s->source;
        ds_free(s->path);
        ds_free(s->type);
        ds_free(s->expires);
        ds_free(s->seq);
        ds_free(s->fork_of);
        ds_producers_free(s->producers);
        ds_writer_free(s->closer);
        ds_items_free(&s->data);
        ds_buf_free(&s->appends);
        ds_free(s);
        s = source;
    }
}

/* What counts against the store's bound: the data, the indices of messages and of appends, the
 * producers and what every stream takes. */
static size_t weight(const struct ds_stream *s)
{
    return s->data.bytes.len + s->data.count * sizeof *s->data.ends + s->appends.len + sizeof *s +
           strlen(s->path) + strlen(s->type) + (s->fork_of ? strlen(s->fork_of) : 0) +
           ds_producers_size(s->producers) + ds_writer_size(s->closer);
}

int64_t ds_stream_expiry(const struct ds_stream *s)
{
    int64_t at = s->expires ? s->expires_at : DS_NEVER;
    if (!s->has_ttl || s->ttl > (uint64_t)(INT64_MAX - s->touched) / 1000)
        return at;
    int64_t ttl = s->touched + (int64_t)s->ttl * 1000;
    return ttl < at ? ttl : at;
}

void ds_stream_touch(struct ds_stream *s, int64_t now)
{
    s->touched = now;
}

bool ds_stream_expired(const struct ds_stream *s, int64_t now)
{
    return now >= ds_stream_expiry(s);
}

/* --- positions -------------------------------------------------------------------------------- */

size_t ds_stream_tail(const struct ds_stream *s)
{
    return s->from + s->data.bytes.len;
}

/* The stream among `s` and its sources that has the byte at `pos`. */
static const struct ds_stream *owner(const struct ds_stream *s, size_t pos)
{
    while (pos < s->from)
        s = s->source;
    return s;
}

const char *ds_stream_bytes(const struct ds_stream *s, size_t pos, size_t *n)
{
    size_t end = ds_stream_tail(s);
    while (pos < s->from) {
        end = s->from < end ? s->from : end;
        s = s->source;
    }
    *n = end - pos;
    return s->data.bytes.data + (pos - s->from);
}

void ds_stream_copy(const struct ds_stream *s, size_t pos, size_t n, char *to)
{
    while (n > 0) {
        size_t run;
        const char *p = ds_stream_bytes(s, pos, &run);
        run = run < n ? run : n;
        memcpy(to, p, run);
        to += run;
        pos += run;
        n -= run;
    }
}

/* The first of `n` ascending positions that lies behind `pos`; `n`: none. */
static size_t first_behind(const size_t *at, size_t n, size_t pos)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (at[mid] <= pos)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Where the message with the byte at `pos` begins and ends. No message lies on both sides of a
 * fork.
 */
static size_t message_at(const struct ds_stream *s, size_t pos, size_t *end)
{
    const struct ds_stream *o = owner(s, pos);
    size_t i = first_behind(o->data.ends, o->data.count, pos - o->from);
    *end = o->from + o->data.ends[i];
    return o->from + (i > 0 ? o->data.ends[i - 1] : 0);
}

size_t ds_stream_begin(const struct ds_stream *s, uint64_t pos)
{
    size_t tail = ds_stream_tail(s), end;
    if (pos >= tail || !s->json)
        return pos >= tail ? tail : (size_t)pos;
    return message_at(s, (size_t)pos, &end);
}

size_t ds_stream_page(const struct ds_stream *s, size_t pos, size_t max)
{
    size_t tail = ds_stream_tail(s), end;
    if (tail - pos <= max)
        return tail;
    if (!s->json)
        return pos + max;
    /* The last message that ends within the page, or else the one at its beginning. */
    size_t last = message_at(s, pos + max, &end);
    if (last <= pos)
        message_at(s, pos, &last);
    return last;
}

/* --- forks ------------------------------------------------------------------------------------ */

/* Where the append ends that `pos` (before the tail) lies in. A fork's beginning ends one. */
static size_t append_end(const struct ds_stream *s, size_t pos)
{
    size_t bound = ds_stream_tail(s);
    while (pos < s->from) {
        bound = s->from < bound ? s->from : bound;
        s = s->source;
    }
    const size_t *ends = (const size_t *)(const void *)s->appends.data;
    size_t n = s->appends.len / sizeof *ends, i = first_behind(ends, n, pos);
    return i < n && ends[i] < bound ? ends[i] : bound;
}

/* Where a fork leaves its source. */
static enum ds_stored fork_point(const struct ds_stream *source, const struct ds_stream_spec *spec,
                                 uint64_t *at, size_t *from)
{
    size_t tail = ds_stream_tail(source);
    *at = tail;
    if (spec->fork_at && (!ds_offset_parse(spec->fork_at, at) || *at > tail))
        return DS_STORED_FORK_AT;
    *from = ds_stream_begin(source, *at);
    if (spec->fork_sub == 0)
        return DS_STORED_OK;
    size_t end = *from < tail ? append_end(source, *from) : tail;
    if (!source->json) {
        if (spec->fork_sub > end - *from)
            return DS_STORED_FORK_SUB;
        *from += (size_t)spec->fork_sub;
        return DS_STORED_OK;
    }
    for (uint64_t i = 0; i < spec->fork_sub; i++) {
        if (*from >= end)
            return DS_STORED_FORK_SUB;
        message_at(source, *from, from);
    }
    return DS_STORED_OK;
}

/* --- storing ---------------------------------------------------------------------------------- */

static enum ds_stored stored(enum dstream_code rc)
{
    switch (rc) {
    case DSTREAM_OK:
        return DS_STORED_OK;
    case DSTREAM_ERR_PARSE:
        return DS_STORED_JSON;
    case DSTREAM_ERR_LIMIT:
        return DS_STORED_FULL;
    default:
        return DS_STORED_NOMEM;
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The elements of an array, which was found valid. */
static enum dstream_code put_elements(struct ds_items *it, const char *p, size_t n, unsigned depth)
{
    struct ds_json_cut cut;
    ds_json_cut_init(&cut, DS_JSON_ARRAY, depth);
    enum dstream_code rc = ds_json_cut_feed(&cut, p, n, it);
    if (rc == DSTREAM_OK)
        rc = ds_json_cut_finish(&cut, it);
    ds_json_cut_free(&cut);
    return rc;
}

static enum dstream_code put_one(struct ds_items *it, const char *p, size_t n)
{
    enum dstream_code rc = ds_buf_add(&it->bytes, p, n);
    if (rc == DSTREAM_OK)
        rc = ds_buf_addc(&it->bytes, '\n');
    return rc == DSTREAM_OK ? ds_items_end(it) : rc;
}

/* Validates a JSON text and appends its messages: the elements of an array, else itself. What a
 * failure leaves behind is the caller's to cut off. */
static enum ds_stored put_json(struct ds_items *it, const char *p, size_t n)
{
    unsigned depth = ds_limits_default().json_depth;
    size_t first = it->count;
    while (n > 0 && is_space(*p))
        p++, n--;
    while (n > 0 && is_space(p[n - 1]))
        n--;
    bool array = n > 0 && *p == '[';
    if (!ds_json_valid(p, n, array ? depth + 1 : depth))
        return DS_STORED_JSON;
    enum dstream_code rc = array ? put_elements(it, p, n, depth) : put_one(it, p, n);
    for (size_t i = first; i < it->count; i++)
        it->bytes.data[it->ends[i] - 1] = ',';
    return rc == DSTREAM_OK && it->count == first ? DS_STORED_EMPTY : stored(rc);
}

/* The index of messages may have taken more than the bound, which only the data is held against. */
static size_t room(const struct ds_store *st)
{
    return st->used < st->max ? st->max - st->used : 0;
}

/* An append ends where the stream does now. */
static enum dstream_code note_append(struct ds_stream *s)
{
    size_t end = ds_stream_tail(s);
    return ds_buf_add(&s->appends, &end, sizeof end);
}

/* Appends a body that is not empty, all or nothing. */
static enum ds_stored put(struct ds_store *st, struct ds_stream *s, const char *p, size_t n)
{
    size_t count = s->data.count, len = s->data.bytes.len;
    if (n > room(st))
        return DS_STORED_FULL;
    enum ds_stored rc =
        s->json ? put_json(&s->data, p, n) : stored(ds_buf_add(&s->data.bytes, p, n));
    if (rc == DS_STORED_OK)
        rc = stored(note_append(s));
    if (rc != DS_STORED_OK)
        ds_items_cut(&s->data, count, len);
    return rc;
}

/* --- creating and deleting -------------------------------------------------------------------- */

static bool same_type(const char *a, const char *b)
{
    char x[TYPE_MAX], y[TYPE_MAX];
    ds_media_type(a, x, sizeof x);
    ds_media_type(b, y, sizeof y);
    return strcmp(x, y) == 0;
}

/* Whether a fork that is there is the one that is asked for. What was not said is not compared. */
static bool same_fork(const struct ds_stream *s, const struct ds_stream_spec *spec)
{
    uint64_t at;
    if (!s->fork_of || !spec->fork_of)
        return !s->fork_of && !spec->fork_of;
    return strcmp(s->fork_of, spec->fork_of) == 0 && s->fork_sub == spec->fork_sub &&
           (!spec->fork_at || (ds_offset_parse(spec->fork_at, &at) && at == s->fork_at));
}

static bool same_spec(const struct ds_stream *s, const struct ds_stream_spec *spec)
{
    int64_t at = 0;
    if (spec->expires && !ds_time_parse(spec->expires, &at))
        return false;
    return same_type(s->type, spec->type) && s->has_ttl == spec->has_ttl && s->ttl == spec->ttl &&
           !s->expires == !spec->expires && s->expires_at == at && s->closed == spec->closed &&
           same_fork(s, spec);
}

/* What a fork is not told, it takes from its source. */
static struct ds_stream_spec inherited(const struct ds_stream_spec *spec,
                                       const struct ds_stream *source)
{
    struct ds_stream_spec all = *spec;
    if (!all.type)
        all.type = source ? source->type : "application/octet-stream";
    if (source && !spec->has_ttl && !spec->expires) {
        all.has_ttl = source->has_ttl;
        all.ttl = source->ttl;
        all.expires = source->expires;
    }
    return all;
}

static struct ds_stream *new_stream(struct ds_store *st, const struct ds_stream_spec *spec,
                                    int64_t now)
{
    struct ds_stream *s = ds_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->refs = 1;
    s->path = ds_strdup(spec->path);
    s->type = ds_strdup(spec->type);
    s->expires = ds_strdup(spec->expires);
    s->fork_of = ds_strdup(spec->fork_of);
    if (!s->path || !s->type || (spec->expires && !s->expires) || (spec->fork_of && !s->fork_of)) {
        ds_stream_release(s);
        return NULL;
    }
    if (s->expires)
        ds_time_parse(s->expires, &s->expires_at);
    s->json = ds_type_is_json(s->type);
    s->has_ttl = spec->has_ttl;
    s->ttl = spec->has_ttl ? spec->ttl : 0;
    s->closed = spec->closed;
    s->touched = now;
    ds_items_init(&s->data, st->max);
    ds_buf_init(&s->appends, st->max);
    return s;
}

/* Takes it out of the store. */
static void take_out(struct ds_store *st, struct ds_stream *s)
{
    struct ds_stream **at = slot(st, s->path);
    *at = s->next;
    s->next = NULL;
    s->gone = true;
    st->count--;
    st->used -= weight(s);
    st->changed(st->ctx, s);
}

void ds_store_delete(struct ds_store *st, struct ds_stream *s)
{
    if (s->forks > 0) {
        s->deleted = true;
        st->changed(st->ctx, s);
        return;
    }
    /* With the last fork goes a source that was kept for it, and so on. */
    for (bool last = true; last;) {
        struct ds_stream *source = s->source;
        take_out(st, s);
        last = source && --source->forks == 0 && source->deleted;
        ds_stream_release(s); /* the source lives: the store has it, too */
        s = source;
    }
}

struct ds_stream *ds_store_find(struct ds_store *st, const char *path, int64_t now)
{
    struct ds_stream *s = *slot(st, path);
    if (!s || s->deleted || !ds_stream_expired(s, now))
        return s;
    ds_store_delete(st, s);
    return *slot(st, path);
}

/* Streams that nobody asks for again after their time go when room is looked for, and producers
 * that nobody has heard of for long. */
static void sweep(struct ds_store *st, int64_t now)
{
    for (size_t i = 0; i < st->nslots; i++) {
        for (struct ds_stream *s = st->slots[i]; s;) {
            size_t before = weight(s);
            ds_producers_expire(s->producers, now);
            st->used += weight(s) - before;
            bool over = !s->deleted && ds_stream_expired(s, now);
            if (over)
                ds_store_delete(st, s);
            /* Others of the list may have gone with it. */
            s = over ? st->slots[i] : s->next;
        }
    }
}

/* The stream to fork, or NULL where the spec asks for no fork. */
static enum ds_stored find_source(struct ds_store *st, const struct ds_stream_spec *spec,
                                  int64_t now, struct ds_stream **source)
{
    *source = spec->fork_of ? ds_store_find(st, spec->fork_of, now) : NULL;
    if (!spec->fork_of)
        return DS_STORED_OK;
    if (!*source)
        return DS_STORED_SOURCE;
    if ((*source)->deleted)
        return DS_STORED_DELETED;
    if (spec->type && !same_type(spec->type, (*source)->type))
        return DS_STORED_SOURCE_TYPE;
    return (*source)->depth < DS_FORKS_MAX ? DS_STORED_OK : DS_STORED_DEEP;
}

/* Stores the first body and enters the stream into the table. */
static enum ds_stored enter(struct ds_store *st, struct ds_stream *s,
                            const struct ds_stream_spec *spec)
{
    enum ds_stored rc = DS_STORED_OK;
    if (spec->body_len > 0)
        rc = put(st, s, spec->body, spec->body_len);
    if (rc == DS_STORED_EMPTY) /* `[]` creates a stream without messages */
        rc = DS_STORED_OK;
    if (rc == DS_STORED_OK && weight(s) > room(st))
        rc = DS_STORED_FULL;
    if (rc != DS_STORED_OK)
        return rc;
    s->id = ++st->last_id;
    st->used += weight(s);
    if (++st->count > st->nslots)
        grow(st);
    *slot(st, s->path) = s;
    return DS_STORED_OK;
}

static enum ds_stored create(struct ds_store *st, const struct ds_stream_spec *spec,
                             struct ds_stream *source, int64_t now, struct ds_stream **out)
{
    uint64_t at = 0;
    size_t from = 0;
    enum ds_stored rc = source ? fork_point(source, spec, &at, &from) : DS_STORED_OK;
    if (rc != DS_STORED_OK)
        return rc;
    struct ds_stream_spec all = inherited(spec, source);
    struct ds_stream *s = new_stream(st, &all, now);
    if (!s)
        return DS_STORED_NOMEM;
    s->fork_at = at;
    s->fork_sub = spec->fork_sub;
    s->from = from;
    s->source = source ? ds_stream_hold(source) : NULL;
    s->depth = source ? source->depth + 1 : 0;
    rc = enter(st, s, spec);
    if (rc != DS_STORED_OK) {
        ds_stream_release(s);
        return rc;
    }
    if (source)
        source->forks++;
    *out = s;
    return DS_STORED_OK;
}

enum ds_stored ds_store_create(struct ds_store *st, const struct ds_stream_spec *spec, int64_t now,
                               struct ds_stream **out)
{
    struct ds_stream *s = ds_store_find(st, spec->path, now), *source;
    *out = s;
    if (s && s->deleted)
        return DS_STORED_TAKEN;
    if (s) {
        struct ds_stream_spec all = inherited(spec, s->source);
        return same_spec(s, &all) ? DS_STORED_EXISTS : DS_STORED_DIFFERS;
    }
    /* Before the source is looked for, which a sweep may take. */
    if (st->count >= st->nslots || spec->body_len + sizeof *s + strlen(spec->path) > room(st))
        sweep(st, now);
    enum ds_stored rc = find_source(st, spec, now, &source);
    return rc == DS_STORED_OK ? create(st, spec, source, now, out) : rc;
}

/* --- appending -------------------------------------------------------------------------------- */

/* Of a closed stream, only the request that closed it is a success. */
static enum ds_stored is_closed(const struct ds_stream *s, struct ds_producer *p)
{
    if (!p || !s->closer || !ds_writer_is(s->closer, p))
        return DS_STORED_CLOSED;
    p->known = p->seq;
    return DS_STORED_DUPLICATE;
}

/* What a producer's batch leaves behind is made before it is stored, so that the end cannot fail.
 */
static enum ds_stored prepare(struct ds_store *st, struct ds_stream *s, struct ds_producer *p,
                              int64_t now, struct ds_writer **w)
{
    size_t cost;
    if (!s->producers)
        s->producers = ds_producers_new();
    if (!s->producers)
        return DS_STORED_NOMEM;
    enum ds_stored rc = ds_producers_judge(s->producers, p, now);
    if (rc != DS_STORED_OK)
        return rc;
    *w = ds_producers_prepare(s->producers, p->id, &cost);
    if (!*w)
        return DS_STORED_NOMEM;
    if (cost > room(st))
        sweep(st, now);
    return cost > room(st) ? DS_STORED_FULL : DS_STORED_OK;
}

/* No batch of a closed stream is judged any more but the one that closed it. */
static void closes(struct ds_stream *s, struct ds_writer *w)
{
    s->closed = true;
    s->closer = w ? ds_producers_take(s->producers, w) : NULL;
    ds_producers_free(s->producers);
    s->producers = NULL;
}

static void finish(struct ds_stream *s, struct ds_writer *w, const struct ds_producer *p,
                   bool close, int64_t now)
{
    if (w)
        ds_producers_commit(s->producers, w, p, now);
    if (close)
        closes(s, w);
    s->touched = now;
}

/* A producer's batch that was stored before is one whatever else is said with it. */
static enum ds_stored append(struct ds_store *st, struct ds_stream *s, const struct ds_append *a,
                             int64_t now, struct ds_writer **w)
{
    if (!same_type(s->type, a->type))
        return DS_STORED_TYPE;
    enum ds_stored rc = a->producer ? prepare(st, s, a->producer, now, w) : DS_STORED_OK;
    if (rc != DS_STORED_OK)
        return rc;
    if (a->seq && s->seq && strcmp(a->seq, s->seq) <= 0)
        return DS_STORED_SEQ;
    char *seq = ds_strdup(a->seq);
    if (a->seq && !seq)
        return DS_STORED_NOMEM;
    if (a->body_len > room(st))
        sweep(st, now);
    rc = put(st, s, a->body, a->body_len);
    if (rc != DS_STORED_OK) {
        ds_free(seq);
        return rc;
    }
    if (seq) {
        ds_free(s->seq);
        s->seq = seq;
    }
    return DS_STORED_OK;
}

enum ds_stored ds_store_append(struct ds_store *st, struct ds_stream *s, const struct ds_append *a,
                               int64_t now)
{
    struct ds_writer *w = NULL;
    if (s->closed)
        return is_closed(s, a->producer);
    size_t before = weight(s);
    ds_producers_expire(s->producers, now); /* so that a sweep meanwhile does not */
    enum ds_stored rc = append(st, s, a, now, &w);
    if (rc == DS_STORED_OK)
        finish(s, w, a->producer, a->close, now);
    else
        ds_producers_drop(w);
    st->used += weight(s) - before;
    if (rc == DS_STORED_OK)
        st->changed(st->ctx, s);
    return rc;
}

enum ds_stored ds_store_close(struct ds_store *st, struct ds_stream *s, struct ds_producer *p,
                              int64_t now)
{
    struct ds_writer *w = NULL;
    if (s->closed)
        return p ? is_closed(s, p) : DS_STORED_OK;
    size_t before = weight(s);
    ds_producers_expire(s->producers, now);
    enum ds_stored rc = p ? prepare(st, s, p, now, &w) : DS_STORED_OK;
    if (rc == DS_STORED_OK)
        finish(s, w, p, true, now);
    else
        ds_producers_drop(w);
    st->used += weight(s) - before;
    if (rc == DS_STORED_OK)
        st->changed(st->ctx, s);
    return rc;
}

/* --- offsets ---------------------------------------------------------------------------------- */

#define DIGITS 16

void ds_offset_print(size_t pos, char out[DS_OFFSET_SIZE])
{
    snprintf(out, DS_OFFSET_SIZE, "%0*d_%0*" PRIu64, DIGITS, 0, DIGITS, (uint64_t)pos);
}

static bool digits(const char *s, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < DIGITS; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t)(s[i] - '0');
    }
    return true;
}

/* The first number is always 0 in what we print; a greater one is behind every tail. */
bool ds_offset_parse(const char *s, uint64_t *pos)
{
    uint64_t high, low;
    if (strlen(s) != DS_OFFSET_SIZE - 1 || s[DIGITS] != '_' || !digits(s, &high) ||
        !digits(s + DIGITS + 1, &low))
        return false;
    *pos = high > 0 ? UINT64_MAX : low;
    return true;
}
