/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "devserver/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/header.h"
#include "base/http.h"
#include "base/text.h"

#define FIELDS_MAX ((size_t)64 * 1024)
#define SAFE_MAX   ((UINT64_C(1) << 53) - 1) /* the greatest integer that every JSON reader knows */

/* --- replies ---------------------------------------------------------------------------------- */

void ds_reply_add(struct ds_reply *r, const char *name, const char *value)
{
    if (ds_buf_add(&r->fields, name, strlen(name) + 1) != DSTREAM_OK ||
        ds_buf_add(&r->fields, value, strlen(value) + 1) != DSTREAM_OK)
        r->failed = true;
}

static void begin(struct ds_reply *r, int status)
{
    static const char *const always[][2] = {
        {"Access-Control-Allow-Origin", "*"},
        {"Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, HEAD, OPTIONS"},
        {"Access-Control-Allow-Headers",
         "content-type, authorization, if-none-match, Stream-Seq, Stream-TTL, Stream-Expires-At, "
         "Stream-Closed, Producer-Id, Producer-Epoch, Producer-Seq, Stream-Forked-From, "
         "Stream-Fork-Offset, Stream-Fork-Sub-Offset"},
        {"Access-Control-Expose-Headers",
         "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, Stream-TTL, "
         "Stream-Expires-At, Stream-SSE-Data-Encoding, Producer-Epoch, Producer-Seq, "
         "Producer-Expected-Seq, Producer-Received-Seq, etag, location, content-type, "
         "content-encoding, vary"},
        {"X-Content-Type-Options", "nosniff"},
        {"Cross-Origin-Resource-Policy", "cross-origin"},
    };
    *r = (struct ds_reply){.kind = DS_REPLY_TEXT, .status = status, .text = ""};
    ds_buf_init(&r->fields, FIELDS_MAX);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        ds_reply_add(r, always[i][0], always[i][1]);
}

void ds_reply_error(struct ds_reply *r, int status, const char *text)
{
    begin(r, status);
    ds_reply_add(r, "Content-Type", "text/plain");
    r->text = text;
}

void ds_reply_free(struct ds_reply *r)
{
    ds_buf_free(&r->fields);
    ds_stream_release(r->stream);
    r->stream = NULL;
}

static void add_offset(struct ds_reply *r, size_t pos)
{
    char text[DS_OFFSET_SIZE];
    ds_offset_print(pos, text);
    ds_reply_add(r, "Stream-Next-Offset", text);
}

static void add_number(struct ds_reply *r, const char *name, uint64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, n);
    ds_reply_add(r, name, text);
}

static void not_found(struct ds_reply *r)
{
    ds_reply_error(r, 404, "Stream not found");
}

static void is_gone(struct ds_reply *r)
{
    ds_reply_error(r, 410, "Stream is gone");
}

/* Where in a stream the answer ends, and what that means. */
static void add_position(struct ds_reply *r, const struct ds_stream *s, size_t pos)
{
    bool tail = pos == ds_stream_tail(s);
    add_offset(r, pos);
    if (tail)
        ds_reply_add(r, "Stream-Up-To-Date", "true");
    if (tail && s->closed)
        ds_reply_add(r, "Stream-Closed", "true");
}

/* What storing came to, where it is not a success. Of the producer's own, see refused(). */
static void stored_badly(struct ds_reply *r, enum ds_stored rc, const struct ds_stream *s)
{
    switch (rc) {
    case DS_STORED_DIFFERS:
        ds_reply_error(r, 409, "Stream already exists with different configuration");
        break;
    case DS_STORED_TAKEN:
        ds_reply_error(r, 409, "Stream was deleted, but forks still need it");
        break;
    case DS_STORED_SOURCE:
        ds_reply_error(r, 404, "Source stream not found");
        break;
    case DS_STORED_DELETED:
        ds_reply_error(r, 409, "Source stream was deleted, but other forks still need it");
        break;
    case DS_STORED_SOURCE_TYPE:
        ds_reply_error(r, 409, "Content-type mismatch with the source stream");
        break;
    case DS_STORED_FORK_AT:
        ds_reply_error(r, 400, "Fork offset beyond the source stream's length");
        break;
    case DS_STORED_FORK_SUB:
        ds_reply_error(r, 400, "Invalid Stream-Fork-Sub-Offset: beyond the append that it is in");
        break;
    case DS_STORED_DEEP:
        ds_reply_error(r, 400, "Too many forks of forks");
        break;
    case DS_STORED_CLOSED:
        ds_reply_error(r, 409, "Stream is closed");
        ds_reply_add(r, "Stream-Closed", "true");
        add_offset(r, ds_stream_tail(s));
        break;
    case DS_STORED_TYPE:
        ds_reply_error(r, 409, "Content-type mismatch");
        break;
    case DS_STORED_SEQ:
        ds_reply_error(r, 409, "Sequence conflict");
        break;
    case DS_STORED_JSON:
        ds_reply_error(r, 400, "Invalid JSON");
        break;
    case DS_STORED_EMPTY:
        ds_reply_error(r, 400, "Empty arrays are not allowed");
        break;
    case DS_STORED_FULL:
        ds_reply_error(r, 413, "The server's memory for streams is used up");
        break;
    default:
        ds_reply_error(r, 500, "Out of memory");
    }
}

/* --- draws and cursors ------------------------------------------------------------------------ */

static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state; /* xorshift64: caches are to be kept apart, not secrets kept */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

uint64_t ds_cursor(int64_t now, const char *client, uint64_t *random)
{
    const int64_t epoch = INT64_C(1728432000000), interval = 20000; /* 2024-10-09 */
    uint64_t current = now > epoch ? (uint64_t)((now - epoch) / interval) : 0, theirs;
    if (!client || !ds_parse_u64(client, SAFE_MAX, &theirs) || theirs < current)
        return current;
    /* 1 to 3600 s more, in intervals. */
    return theirs + (draw(random) % 3600 + 1 + 19) / 20;
}

/* --- creating --------------------------------------------------------------------------------- */

static const char *header(const struct ds_call *call, const char *name)
{
    return call->header(call->ctx, name);
}

static bool is_true(const struct ds_call *call, const char *name)
{
    const char *value = header(call, name);
    return value && strcasecmp(value, "true") == 0;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* Whether it begins like a media type. */
static bool type_ok(const char *type)
{
    size_t i = 0, slash;
    while (is_word(type[i]))
        i++;
    slash = i;
    return i > 0 && type[i] == '/' && is_word(type[slash + 1]) && ds_header_value_ok(type);
}

static bool ttl_ok(const char *text, uint64_t *ttl)
{
    return ds_parse_u64(text, SAFE_MAX, ttl) && (text[0] != '0' || text[1] == '\0');
}

/* False: an error was answered. */
static bool take_lifetime(const struct ds_call *call, struct ds_stream_spec *spec,
                          struct ds_reply *r)
{
    const char *ttl = header(call, "Stream-TTL");
    int64_t at;
    spec->expires = header(call, "Stream-Expires-At");
    spec->has_ttl = ttl != NULL;
    if (ttl && spec->expires)
        ds_reply_error(r, 400, "Cannot specify both Stream-TTL and Stream-Expires-At");
    else if (ttl && !ttl_ok(ttl, &spec->ttl))
        ds_reply_error(r, 400, "Invalid Stream-TTL value");
    else if (spec->expires && (strlen(spec->expires) > 64 || !ds_time_parse(spec->expires, &at)))
        ds_reply_error(r, 400, "Invalid Stream-Expires-At timestamp");
    else
        return true;
    return false;
}

static void created(const struct ds_call *call, const struct ds_stream *s, bool is_new,
                    struct ds_reply *r)
{
    begin(r, is_new ? 201 : 200);
    ds_reply_add(r, "Content-Type", s->type);
    add_offset(r, ds_stream_tail(s));
    if (s->closed)
        ds_reply_add(r, "Stream-Closed", "true");
    struct ds_buf location;
    ds_buf_init(&location, FIELDS_MAX);
    ds_buf_adds(&location, call->base);
    ds_buf_adds(&location, s->path);
    const char *text = ds_buf_str(&location);
    if (is_new && text)
        ds_reply_add(r, "Location", text);
    ds_buf_free(&location);
}

/* What a fork continues. False: an error was answered. `source` is to be freed. */
static bool take_fork(const struct ds_call *call, struct ds_stream_spec *spec,
                      struct ds_target *source, struct ds_reply *r)
{
    const char *of = header(call, "Stream-Forked-From"), *at = header(call, "Stream-Fork-Offset"),
               *sub = header(call, "Stream-Fork-Sub-Offset");
    bool fork = of && *of;
    uint64_t pos;
    spec->fork_at = at && *at ? at : NULL;
    if (spec->fork_at && !ds_offset_parse(at, &pos))
        ds_reply_error(r, 400, "Invalid Stream-Fork-Offset format");
    else if (sub && !fork)
        ds_reply_error(r, 400, "Stream-Fork-Sub-Offset requires Stream-Forked-From");
    else if (sub && !ttl_ok(sub, &spec->fork_sub))
        ds_reply_error(r, 400, "Invalid Stream-Fork-Sub-Offset format");
    else if (fork && (*of != '/' || ds_target_parse(source, of) != DSTREAM_OK))
        ds_reply_error(r, 404, "Source stream not found");
    else {
        spec->fork_of = fork ? source->path : NULL;
        return true;
    }
    return false;
}

/* NULL: none was given that could be one. */
static const char *given_type(const struct ds_call *call)
{
    const char *type = header(call, "Content-Type");
    return type && type_ok(type) ? type : NULL;
}

static void create(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    struct ds_stream_spec spec = {.path = call->target->path,
                                  .type = given_type(call),
                                  .closed = is_true(call, "Stream-Closed"),
                                  .body = call->body,
                                  .body_len = call->body_len};
    struct ds_target source = {0};
    struct ds_stream *s;
    if (spec.type && strlen(spec.type) > DS_TYPE_MAX) {
        ds_reply_error(r, 400, "Content-Type is too long");
        return;
    }
    if (!take_lifetime(call, &spec, r) || !take_fork(call, &spec, &source, r)) {
        ds_target_free(&source);
        return;
    }
    enum ds_stored rc = ds_store_create(api->store, &spec, call->now, &s);
    ds_target_free(&source);
    if (rc == DS_STORED_OK || rc == DS_STORED_EXISTS)
        created(call, s, rc == DS_STORED_OK, r);
    else
        stored_badly(r, rc, s);
}

/* --- appending, closing, deleting ------------------------------------------------------------- */

/* The stream that is asked for; NULL: an error was answered. */
static struct ds_stream *find(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    struct ds_stream *s = ds_store_find(api->store, call->target->path, call->now);
    if (s && !s->deleted)
        return s;
    if (s)
        is_gone(r);
    else
        not_found(r);
    return NULL;
}

/* What a request says of its producer. */
struct numbers {
    struct ds_producer producer;
    bool given;
};

static bool number_ok(const char *text, const char *name, uint64_t *n, struct ds_reply *r)
{
    if (ds_parse_u64(text, SAFE_MAX, n))
        return true;
    ds_reply_error(r, 400,
                   strcmp(name, "Producer-Epoch") == 0
                       ? "Invalid Producer-Epoch: must be a non-negative integer"
                       : "Invalid Producer-Seq: must be a non-negative integer");
    return false;
}

/* False: an error was answered. */
static bool take_producer(const struct ds_call *call, struct numbers *n, struct ds_reply *r)
{
    const char *id = header(call, "Producer-Id"), *epoch = header(call, "Producer-Epoch"),
               *seq = header(call, "Producer-Seq");
    *n = (struct numbers){.given = id || epoch || seq, .producer.id = id};
    if (!n->given)
        return true;
    if (!id || !epoch || !seq)
        ds_reply_error(r, 400,
                       "All producer headers (Producer-Id, Producer-Epoch, Producer-Seq) must be "
                       "provided together");
    else if (!*id)
        ds_reply_error(r, 400, "Invalid Producer-Id: must not be empty");
    else
        return number_ok(epoch, "Producer-Epoch", &n->producer.epoch, r) &&
               number_ok(seq, "Producer-Seq", &n->producer.seq, r);
    return false;
}

/* A success. 200: a producer's batch was stored just now, which a mere close is not. */
static void appended(struct ds_reply *r, int status, const struct ds_stream *s, bool closed,
                     const struct numbers *n)
{
    begin(r, status);
    add_offset(r, ds_stream_tail(s));
    if (closed)
        ds_reply_add(r, "Stream-Closed", "true");
    if (n->given) {
        add_number(r, "Producer-Epoch", n->producer.epoch);
        add_number(r, "Producer-Seq", n->producer.seq);
    }
}

/* A success as well. Where the batch ended is not known any more; where the stream does, is told to
 * who asks for its end. */
static void duplicate(struct ds_reply *r, const struct ds_stream *s, bool mere_close,
                      const struct ds_producer *p)
{
    begin(r, 204);
    if (s->closed || mere_close)
        add_offset(r, ds_stream_tail(s));
    if (s->closed)
        ds_reply_add(r, "Stream-Closed", "true");
    add_number(r, "Producer-Epoch", p->epoch);
    add_number(r, "Producer-Seq", p->known);
}

/* What is answered to a producer's batch that is not stored. */
static void refused(struct ds_reply *r, enum ds_stored rc, const struct ds_stream *s,
                    const struct ds_producer *p)
{
    if (rc == DS_STORED_FENCED) {
        ds_reply_error(r, 403, "Stale producer epoch");
        add_number(r, "Producer-Epoch", p->known);
    } else if (rc == DS_STORED_EPOCH) {
        ds_reply_error(r, 400, "New epoch must start with sequence 0");
    } else if (rc == DS_STORED_GAP) {
        ds_reply_error(r, 409, "Producer sequence gap");
        add_number(r, "Producer-Expected-Seq", p->known);
        add_number(r, "Producer-Received-Seq", p->seq);
    } else {
        stored_badly(r, rc, s);
    }
}

static void append(struct ds_api *api, const struct ds_call *call, bool close, struct numbers *n,
                   struct ds_reply *r)
{
    struct ds_append a = {.type = header(call, "Content-Type"),
                          .seq = header(call, "Stream-Seq"),
                          .body = call->body,
                          .body_len = call->body_len,
                          .close = close,
                          .producer = n->given ? &n->producer : NULL};
    if (!a.type || !*a.type) {
        ds_reply_error(r, 400, "Content-Type header is required");
        return;
    }
    struct ds_stream *s = find(api, call, r);
    if (!s)
        return;
    enum ds_stored rc = ds_store_append(api->store, s, &a, call->now);
    if (rc == DS_STORED_OK)
        appended(r, n->given ? 200 : 204, s, close, n);
    else if (rc == DS_STORED_DUPLICATE)
        duplicate(r, s, false, &n->producer);
    else
        refused(r, rc, s, &n->producer);
    if (rc == DS_STORED_OK || rc == DS_STORED_DUPLICATE)
        ds_stream_touch(s, call->now);
}

static void close_stream(struct ds_api *api, const struct ds_call *call, struct numbers *n,
                         struct ds_reply *r)
{
    struct ds_stream *s = find(api, call, r);
    if (!s)
        return;
    enum ds_stored rc = ds_store_close(api->store, s, n->given ? &n->producer : NULL, call->now);
    if (rc == DS_STORED_OK)
        appended(r, 204, s, true, n);
    else if (rc == DS_STORED_DUPLICATE)
        duplicate(r, s, true, &n->producer);
    else
        refused(r, rc, s, &n->producer);
    if (rc == DS_STORED_OK || rc == DS_STORED_DUPLICATE)
        ds_stream_touch(s, call->now);
}

static void post(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    bool close = is_true(call, "Stream-Closed");
    struct numbers n;
    if (!take_producer(call, &n, r))
        return;
    if (call->body_len > 0)
        append(api, call, close, &n, r);
    else if (close)
        close_stream(api, call, &n, r);
    else
        ds_reply_error(r, 400, "Empty body");
}

static void remove_stream(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    struct ds_stream *s = find(api, call, r);
    if (!s)
        return;
    ds_store_delete(api->store, s);
    begin(r, 204);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Of what lies between `from` (as the client named it) and `end`. A stream that was made anew has
 * other ones, though its offsets are the same. */
static void print_etag(const struct ds_api *api, const struct ds_stream *s, const char *from,
                       size_t end, char *out, size_t size)
{
    char pos[DS_OFFSET_SIZE];
    ds_offset_print(end, pos);
    snprintf(out, size, "\"%" PRIx64 "-%" PRIx64 ":%s:%s%s\"", api->boot, s->id, from, pos,
             s->closed && end == ds_stream_tail(s) ? ":c" : "");
}

/* RFC 9110, 13.1.2: "*", or a list with this tag in it, compared weakly. */
static bool tag_matches(const char *list, const char *tag)
{
    size_t n = strlen(tag);
    while (list && *list) {
        list += strspn(list, ", \t");
        if (*list == '*')
            return true;
        if (strncmp(list, "W/", 2) == 0)
            list += 2;
        if (strncmp(list, tag, n) == 0)
            return true;
        const char *end = *list == '"' ? strchr(list + 1, '"') : NULL;
        list = end ? end + 1 : strchr(list, ',');
    }
    return false;
}

static void head(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    struct ds_stream *s = find(api, call, r);
    char etag[128];
    if (!s)
        return;
    begin(r, 200);
    add_offset(r, ds_stream_tail(s));
    ds_reply_add(r, "Content-Type", s->type);
    ds_reply_add(r, "Cache-Control", "no-store");
    if (s->closed)
        ds_reply_add(r, "Stream-Closed", "true");
    if (s->has_ttl)
        add_number(r, "Stream-TTL", s->ttl);
    if (s->expires)
        ds_reply_add(r, "Stream-Expires-At", s->expires);
    print_etag(api, s, "-1", ds_stream_tail(s), etag, sizeof etag);
    ds_reply_add(r, "ETag", etag);
    /* The body is not sent; its length is that of what a GET would bring. */
    r->kind = DS_REPLY_PAGE;
    r->stream = ds_stream_hold(s);
    r->end = ds_stream_page(s, 0, api->page);
}

/* offset=now, without waiting. */
static void at_tail(struct ds_stream *s, struct ds_reply *r)
{
    begin(r, 200);
    ds_reply_add(r, "Content-Type", s->type);
    ds_reply_add(r, "Cache-Control", "no-store");
    add_position(r, s, ds_stream_tail(s));
    r->text = s->json ? "[]" : "";
}

static void add_cursor(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    add_number(r, "Stream-Cursor", ds_cursor(call->now, call->target->cursor, &api->random));
}

/* A page from `pos` on. */
static void page(struct ds_api *api, const struct ds_call *call, struct ds_stream *s, size_t pos,
                 struct ds_reply *r)
{
    const char *from = call->target->offset ? call->target->offset : "-1";
    char etag[128];
    size_t end = ds_stream_page(s, pos, api->page);
    print_etag(api, s, from, end, etag, sizeof etag);
    bool unchanged = tag_matches(header(call, "If-None-Match"), etag);
    begin(r, unchanged ? 304 : 200);
    if (!unchanged)
        ds_reply_add(r, "Content-Type", s->type);
    add_position(r, s, end);
    if (call->target->mode == DS_MODE_LONG_POLL)
        add_cursor(api, call, r);
    ds_reply_add(r, "ETag", etag);
    if (unchanged)
        return;
    r->kind = DS_REPLY_PAGE;
    r->stream = ds_stream_hold(s);
    r->start = pos;
    r->end = end;
}

static void wait_for_data(struct ds_stream *s, size_t pos, struct ds_reply *r)
{
    *r = (struct ds_reply){.kind = DS_REPLY_WAIT, .start = pos, .stream = ds_stream_hold(s)};
}

/* A long-poll that ends without data. */
static void no_data(struct ds_api *api, const struct ds_call *call, const struct ds_stream *s,
                    struct ds_reply *r)
{
    begin(r, 204);
    add_position(r, s, ds_stream_tail(s));
    if (!s->closed)
        add_cursor(api, call, r);
}

static void events(struct ds_api *api, const struct ds_call *call, struct ds_stream *s, size_t pos,
                   struct ds_reply *r)
{
    begin(r, 200);
    ds_reply_add(r, "Content-Type", "text/event-stream");
    ds_reply_add(r, "Cache-Control", "no-cache");
    if (!s->json && !ds_type_is_text(s->type))
        ds_reply_add(r, "Stream-SSE-Data-Encoding", "base64");
    r->kind = DS_REPLY_EVENTS;
    r->stream = ds_stream_hold(s);
    r->start = pos;
    r->cursor = ds_cursor(call->now, call->target->cursor, &api->random);
}

/* NULL, or what is wrong about the offset. */
static const char *offset_error(const struct ds_target *t, uint64_t *pos)
{
    *pos = 0;
    if (!t->offset)
        return t->mode == DS_MODE_CATCH_UP ? NULL
               : t->mode == DS_MODE_SSE    ? "SSE requires offset parameter"
                                           : "Long-poll requires offset parameter";
    if (!*t->offset)
        return "Empty offset parameter";
    if (t->offsets > 1)
        return "Multiple offset parameters not allowed";
    if (strcmp(t->offset, "-1") == 0 || strcmp(t->offset, "now") == 0)
        return NULL;
    return ds_offset_parse(t->offset, pos) ? NULL : "Invalid offset format";
}

static void get(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    const struct ds_target *t = call->target;
    struct ds_stream *s = find(api, call, r);
    uint64_t named;
    if (!s)
        return;
    const char *wrong = offset_error(t, &named);
    if (wrong) {
        ds_reply_error(r, 400, wrong);
        return;
    }
    bool now = t->offset && strcmp(t->offset, "now") == 0;
    size_t tail = ds_stream_tail(s);
    size_t pos = now ? tail : ds_stream_begin(s, named);
    ds_stream_touch(s, call->now);
    if (now && t->mode == DS_MODE_CATCH_UP)
        at_tail(s, r);
    else if (t->mode == DS_MODE_SSE)
        events(api, call, s, pos, r);
    else if (t->mode == DS_MODE_CATCH_UP || pos < tail || (!now && named > tail))
        page(api, call, s, pos, r); /* behind the tail: where the tail is, at once */
    else if (s->closed)
        no_data(api, call, s, r);
    else
        wait_for_data(s, pos, r);
}

void ds_api_resume(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    struct ds_stream *s = r->stream;
    size_t pos = r->start;
    r->stream = NULL;
    if (s->deleted) {
        is_gone(r);
    } else if (s->gone || ds_stream_expired(s, call->now)) {
        not_found(r);
    } else {
        ds_stream_touch(s, call->now);
        if (ds_stream_tail(s) > pos)
            page(api, call, s, pos, r);
        else
            no_data(api, call, s, r);
    }
    ds_stream_release(s);
}

/* --- all methods ------------------------------------------------------------------------------ */

void ds_api_answer(struct ds_api *api, const struct ds_call *call, struct ds_reply *r)
{
    const char *m = call->method;
    if (strcmp(m, "GET") == 0) {
        get(api, call, r);
    } else if (strcmp(m, "POST") == 0) {
        post(api, call, r);
    } else if (strcmp(m, "PUT") == 0) {
        create(api, call, r);
    } else if (strcmp(m, "HEAD") == 0) {
        head(api, call, r);
    } else if (strcmp(m, "DELETE") == 0) {
        remove_stream(api, call, r);
    } else if (strcmp(m, "OPTIONS") == 0) {
        begin(r, 204);
    } else {
        ds_reply_error(r, 405, "Method not allowed");
        ds_reply_add(r, "Allow", "GET, POST, PUT, DELETE, HEAD, OPTIONS");
    }
}
