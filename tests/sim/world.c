/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "decode/base64.h"

/* --- draws ------------------------------------------------------------------------------------ */

uint64_t draw(struct rng *g)
{
    uint64_t z = (g->s += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

int64_t between(struct rng *g, int64_t lo, int64_t hi)
{
    return hi <= lo ? lo : lo + (int64_t)(draw(g) % (uint64_t)(hi - lo + 1));
}

bool one_in(struct rng *g, unsigned n)
{
    return n > 0 && draw(g) % n == 0;
}

/* --- streams ---------------------------------------------------------------------------------- */

const char *type_name(enum type t)
{
    static const char *const names[TYPES] = {"application/octet-stream", "text/plain",
                                             "application/json"};
    return names[t];
}

size_t stream_length(const struct stream *s, int64_t now)
{
    size_t length = 0;
    for (size_t i = 0; i < s->n && s->at[i] <= now; i++)
        length = s->upto[i];
    return length;
}

size_t stream_kept(const struct stream *s, int64_t now)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->ndrops; i++) {
        size_t upto = s->drops[i] <= now ? stream_length(s, s->drops[i] - s->keeps) : 0;
        kept = upto > kept ? upto : kept;
    }
    return kept;
}

size_t stream_final(const struct stream *s)
{
    return s->n > 0 ? s->upto[s->n - 1] : 0;
}

bool stream_closed(const struct stream *s, int64_t now)
{
    return s->closes <= now;
}

static uint32_t mix(unsigned incarnation, size_t i)
{
    struct rng g = {.s = (uint64_t)incarnation << 40 | i};
    return (uint32_t)draw(&g);
}

static void add_message(const struct stream *s, size_t i, struct ds_buf *out)
{
    uint32_t m = mix(s->incarnation, i);
    ds_buf_addf(out, "{\"%u\":[%zu,%u]", s->incarnation, i, m);
    for (uint32_t n = m % 23; n > 0; n--)
        ds_buf_adds(out, " ");
    ds_buf_adds(out, "}");
}

void stream_units(const struct stream *s, size_t from, size_t to, struct ds_buf *out)
{
    for (size_t i = from; i < to; i++) {
        uint32_t m = mix(s->incarnation, i);
        if (s->type == TYPE_JSON) {
            add_message(s, i, out);
            ds_buf_addc(out, '\n');
        } else if (s->type == TYPE_TEXT) {
            ds_buf_addc(out, m % 11 == 0 ? '\n' : (char)(' ' + m % 94));
        } else {
            ds_buf_addc(out, (char)m);
        }
    }
}

void token_of(size_t units, char out[32])
{
    snprintf(out, 32, "%08zu", units);
}

size_t token_units(const char *token)
{
    return strcmp(token, "-1") == 0 ? 0 : strtoul(token, NULL, 10);
}

unsigned world_credentials(const struct world *w, int64_t now)
{
    return 1U + (w->rotates[0] <= now) + (w->rotates[1] <= now);
}

/* --- answers ---------------------------------------------------------------------------------- */

void answer_free(struct answer *a)
{
    ds_head_free(&a->head);
    ds_buf_free(&a->body);
}

static void field(struct answer *a, const char *name, const char *value)
{
    ds_head_add(&a->head, name, strlen(name), value, strlen(value));
}

static void status(struct answer *a, int code, int64_t at)
{
    a->head.status = code;
    a->head_at = a->end_at = at;
    a->end = DS_END_COMPLETE;
}

static void no_answer(struct answer *a, enum ds_end how, int64_t at, const char *what)
{
    a->head_at = DS_NEVER;
    a->end_at = at;
    a->end = how;
    a->what = what;
}

/* The stream that answers at this time; NULL: there is none, which is said. */
static const struct stream *find(const struct world *w, struct answer *a, int64_t now)
{
    bool soft = false;
    for (size_t i = w->nstreams; i-- > 0;) {
        const struct stream *s = &w->streams[i];
        if (s->born > now)
            continue;
        if (now < s->dies) {
            a->incarnation = (int)s->incarnation;
            return s;
        }
        soft = s->soft;
        break;
    }
    status(a, soft ? 410 : 404, now);
    return NULL;
}

/* Where an answer to this offset begins; SIZE_MAX: that is no longer kept, which is said. */
static size_t begin(const struct stream *s, struct answer *a, const char *offset, int64_t now)
{
    size_t kept = stream_kept(s, now), from = token_units(offset);
    if (strcmp(offset, "now") == 0)
        return stream_length(s, now);
    if (from >= kept)
        return from;
    if (strcmp(offset, "-1") == 0)
        return kept;
    status(a, 410, now);
    return SIZE_MAX;
}

/* What was added to the body since the last piece arrives at `at`. */
static void piece(struct answer *a, int64_t at)
{
    size_t sent = 0;
    for (size_t i = 0; i < a->npieces; i++)
        sent += a->pieces[i].len;
    if (a->body.len > sent && a->npieces < PIECES)
        a->pieces[a->npieces++] = (struct piece){at, a->body.len - sent};
}

static void position(struct answer *a, size_t units)
{
    char token[32];
    token_of(units, token);
    field(a, "stream-next-offset", token);
}

static void cursor(struct world *w, struct answer *a)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)(draw(&w->rng) % 1000));
    if (one_in(&w->rng, 2))
        field(a, "stream-cursor", text);
}

static void add_array(const struct stream *s, size_t from, size_t to, struct ds_buf *out)
{
    ds_buf_addc(out, '[');
    for (size_t i = from; i < to; i++) {
        ds_buf_adds(out, i > from ? "," : "");
        add_message(s, i, out);
    }
    ds_buf_addc(out, ']');
}

static void add_body(const struct stream *s, size_t from, size_t to, struct ds_buf *out)
{
    if (s->type == TYPE_JSON)
        add_array(s, from, to, out);
    else
        stream_units(s, from, to, out);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Where an answer that begins at `from` ends. */
static size_t page_end(struct world *w, size_t from, size_t length)
{
    size_t page = w->page;
    if (w->pages_vary && length > from)
        page = (size_t)between(&w->rng, 1, (int64_t)smaller(page, length - from));
    return smaller(length, from + page);
}

/* The whole of a plain answer with `to` - `from` units. */
static void plain_200(struct world *w, const struct stream *s, struct answer *a, size_t from,
                      size_t to, int64_t at)
{
    size_t length = stream_length(s, at);
    bool nothing = to == from && one_in(&w->rng, 4);
    status(a, nothing ? 204 : 200, at);
    a->from = from;
    field(a, "content-type", type_name(s->type));
    position(a, to);
    if (to >= length && !w->no_up_to_date)
        field(a, "stream-up-to-date", "true");
    if (to >= length && stream_closed(s, at))
        field(a, "stream-closed", "true");
    cursor(w, a);
    if (to > from || (s->type == TYPE_JSON && !nothing))
        add_body(s, from, to, &a->body);
    int64_t t = at;
    size_t len = a->body.len;
    /* It arrives in up to four pieces. */
    for (size_t i = 0, done = 0; i < 4 && done < len; i++) {
        size_t n = i == 3 ? len - done : (size_t)between(&w->rng, 1, (int64_t)(len - done));
        t += between(&w->rng, 0, 20);
        a->pieces[a->npieces++] = (struct piece){t, n};
        done += n;
    }
    a->end_at = t;
}

static void plain(struct world *w, struct answer *a, const char *offset, int64_t at)
{
    const struct stream *s = find(w, a, at);
    size_t from = s ? begin(s, a, offset, at) : SIZE_MAX;
    if (from == SIZE_MAX)
        return;
    size_t length = stream_length(s, at);
    /* One that was made anew may be shorter: it answers with its own tail. */
    if (from > length)
        plain_200(w, s, a, length, length, at);
    else
        plain_200(w, s, a, from, page_end(w, from, length), at);
}

static void head_200(struct world *w, struct answer *a, int64_t at)
{
    const struct stream *s = find(w, a, at);
    if (!s)
        return;
    status(a, 200, at);
    field(a, "content-type", type_name(s->type));
    position(a, stream_length(s, at));
}

/* When something is there to be told of a stream read up to `from`; DS_NEVER: not any more. */
static int64_t news_at(const struct stream *s, size_t from, int64_t now)
{
    if (stream_length(s, now) > from || stream_closed(s, now) || from > stream_length(s, now))
        return now;
    for (size_t i = 0; i < s->n; i++) {
        if (s->at[i] > now && s->upto[i] > from)
            return s->at[i] < s->closes ? s->at[i] : s->closes;
    }
    return s->closes;
}

static void poll(struct world *w, struct answer *a, const char *offset, int64_t now)
{
    const struct stream *s = find(w, a, now);
    size_t from = s ? begin(s, a, offset, now) : SIZE_MAX;
    if (from == SIZE_MAX)
        return;
    int64_t at = news_at(s, from, now), until = now + (w->instant_poll ? 0 : w->hold);
    if (at > until)
        at = until;
    if (s->dies < at) {
        status(a, s->soft ? 410 : 404, s->dies);
        return;
    }
    size_t length = stream_length(s, at);
    bool early = w->early_tail && length > from && one_in(&w->rng, 3);
    if (length > from && !early && !(w->instant_poll && one_in(&w->rng, 2))) {
        plain_200(w, s, a, from, page_end(w, from, length), at);
        return;
    }
    bool closed = stream_closed(s, at) && (early || length <= from);
    status(a, 204, at);
    position(a, early || from > length ? length : from);
    field(a, "stream-up-to-date", "true");
    if (closed)
        field(a, "stream-closed", "true");
    cursor(w, a);
}

/* --- SSE -------------------------------------------------------------------------------------- */

struct sse {
    struct world *w;
    const struct stream *s;
    struct answer *a;
    const char *eol;
};

static void line(struct sse *e, const char *name, const char *value, size_t n)
{
    struct ds_buf *b = &e->a->body;
    ds_buf_adds(b, name);
    ds_buf_adds(b, ": ");
    ds_buf_add(b, value, n);
    ds_buf_adds(b, e->eol);
}

static void event(struct sse *e, const char *name, const char *payload, size_t n)
{
    bool after = one_in(&e->w->rng, 8);
    if (!after)
        line(e, "event", name, strlen(name));
    while (true) {
        const char *lf = n > 0 ? memchr(payload, '\n', n) : NULL;
        size_t len = lf ? (size_t)(lf - payload) : n;
        line(e, "data", payload, len);
        if (!lf)
            break;
        payload = lf + 1;
        n -= len + 1;
    }
    if (after)
        line(e, "event", name, strlen(name));
    ds_buf_adds(&e->a->body, e->eol);
}

static void data_event(struct sse *e, size_t from, size_t to)
{
    struct ds_buf raw, coded;
    ds_buf_init(&raw, 1 << 22);
    ds_buf_init(&coded, 1 << 22);
    add_body(e->s, from, to, &raw);
    if (e->s->type == TYPE_BINARY) {
        ds_base64_encode(&coded, raw.data, raw.len);
        event(e, "data", coded.data, coded.len);
    } else {
        event(e, "data", raw.data, raw.len);
    }
    ds_buf_free(&raw);
    ds_buf_free(&coded);
}

static void control_event(struct sse *e, size_t next, bool up_to_date, bool closed)
{
    char token[32], text[256];
    token_of(next, token);
    size_t n = (size_t)snprintf(text, sizeof text, "{\"streamNextOffset\":\"%s\"", token);
    if (!closed && one_in(&e->w->rng, 2))
        n += (size_t)snprintf(text + n, sizeof text - n, ",\"streamCursor\":\"%llu\"",
                              (unsigned long long)(draw(&e->w->rng) % 1000));
    if (up_to_date)
        n += (size_t)snprintf(text + n, sizeof text - n, ",\"upToDate\":true");
    if (closed)
        n += (size_t)snprintf(text + n, sizeof text - n, ",\"streamClosed\":true");
    n += (size_t)snprintf(text + n, sizeof text - n, "}");
    event(e, "control", text, n);
}

/* Units [from, to) in one or more data events and their control event. */
static void batch(struct sse *e, size_t from, size_t to, int64_t at)
{
    bool up_to_date = to >= stream_length(e->s, at);
    bool closed = up_to_date && stream_closed(e->s, at);
    if (e->w->early_tail && one_in(&e->w->rng, 3)) {
        control_event(e, to, false, closed && one_in(&e->w->rng, 2));
        piece(e->a, at);
    }
    while (from < to) {
        size_t n = one_in(&e->w->rng, 2) ? to - from
                                         : (size_t)between(&e->w->rng, 1, (int64_t)(to - from));
        data_event(e, from, from + n);
        from += n;
    }
    if (one_in(&e->w->rng, 4))
        piece(e->a, at);
    if (!e->w->sse_no_control)
        control_event(e, to, up_to_date, closed);
}

static void sse_200(struct world *w, const struct stream *s, struct answer *a, size_t from,
                    int64_t now)
{
    bool ahead = from > stream_length(s, now), too_short = now < w->sse_short_until;
    from = smaller(from, stream_length(s, now));
    static const char *const eols[] = {"\n", "\r\n", "\r"};
    struct sse e = {w, s, a, eols[draw(&w->rng) % 3]};
    int64_t t = now, until = now + (too_short ? between(&w->rng, 0, 500) : w->sse_time);
    /* To who is ahead of it, it says so first. */
    bool greeted = too_short && one_in(&w->rng, 2) && !ahead;
    if (s->dies < until)
        until = s->dies;
    for (size_t guard = 0; guard < 100 && a->npieces + 8 < PIECES; guard++) {
        size_t length = stream_length(s, t);
        if (length > from) {
            size_t to = page_end(w, from, length);
            batch(&e, from, to, t);
            from = to;
            piece(a, t);
            if (to == length && stream_closed(s, t))
                break;
            t += between(&w->rng, 0, 3);
            continue;
        }
        if (stream_closed(s, t) || !greeted) {
            control_event(&e, length, true, stream_closed(s, t));
            piece(a, t);
            if (stream_closed(s, t))
                break;
        }
        greeted = true;
        int64_t next = news_at(s, from, t);
        if (next > until)
            break;
        if (next - t > 30000) {
            ds_buf_adds(&a->body, ": still here\n");
            piece(a, t + 29000);
            t += 29000;
        } else {
            t = next;
        }
    }
    int64_t last = a->npieces > 0 ? a->pieces[a->npieces - 1].at : t;
    bool over = stream_closed(s, last) && from >= stream_length(s, last);
    a->end_at = over || until < last ? last : until;
    a->end = s->dies <= a->end_at && one_in(&w->rng, 2) ? DS_END_CUT : DS_END_COMPLETE;
}

static void sse(struct world *w, struct answer *a, const char *offset, int64_t now)
{
    const struct stream *s = find(w, a, now);
    size_t from = s ? begin(s, a, offset, now) : SIZE_MAX;
    if (from == SIZE_MAX)
        return;
    status(a, 200, now);
    if (w->sse_refused) {
        static const int codes[] = {400, 405, 406, 409, 412, 415, 416,
                                    431, 501, 505, 204, 204, 200};
        status(a, codes[draw(&w->rng) % (sizeof codes / sizeof *codes)], now);
        field(a, "content-type", "text/html");
        return;
    }
    field(a, "content-type", "text/event-stream");
    if (w->sse_uncoded && s->type == TYPE_TEXT)
        field(a, "stream-sse-data-encoding", "gzip");
    else if ((s->type == TYPE_BINARY) != w->sse_uncoded)
        field(a, "stream-sse-data-encoding", one_in(&w->rng, 2) ? "base64" : "Base64");
    if (w->sse_silent) {
        a->end_at = now + 60000;
        return;
    }
    a->from = from;
    sse_200(w, s, a, from, now);
}

/* --- the network ------------------------------------------------------------------------------ */

/* Of the body `keep` bytes arrive. */
static void cut_pieces(struct answer *a, size_t keep)
{
    size_t n = 0;
    while (n < a->npieces && keep > 0) {
        if (a->pieces[n].len > keep)
            a->pieces[n].len = keep;
        keep -= a->pieces[n++].len;
    }
    a->npieces = n;
}

static int64_t last_sign(const struct answer *a)
{
    return a->npieces > 0 ? a->pieces[a->npieces - 1].at : a->head_at;
}

/* Where a redirect leads: to another path, another scheme, another host. */
static void redirect(struct rng *g, struct answer *a, const struct ds_request *req, int64_t at)
{
    static const int codes[] = {301, 302, 303, 307, 308};
    bool tls = strncmp(req->url, "https:", 6) == 0, other = strstr(req->url, "//other/");
    const char *query = strchr(req->url, '?');
    status(a, codes[draw(g) % (sizeof codes / sizeof *codes)], at);
    tls = tls ? !one_in(g, 20) : one_in(g, 3);
    snprintf(a->location, sizeof a->location, "%s://%s/%c%s", tls ? "https" : "http",
             other || one_in(g, 3) ? "other" : "h", one_in(g, 2) ? 's' : 't', query ? query : "");
    a->head.redirect = one_in(g, 40) ? NULL : a->location;
}

/* A page of somebody else's, or what is not asked for. */
static void bare(struct rng *g, struct answer *a, int64_t at)
{
    status(a, one_in(g, 4) ? 304 : 200, at);
    a->final = a->head.status == 304;
    field(a, "content-type", "text/html");
    if (a->final)
        return;
    ds_buf_adds(&a->body, "<html>");
    piece(a, at);
}

static bool before(struct world *w, struct answer *a, const struct ds_request *req, int64_t at)
{
    static const int codes[] = {500, 502, 503, 504, 429, 408, 425, 599};
    struct faults *f = &w->faults;
    struct rng *g = &w->rng;
    if (one_in(g, f->refuse)) {
        static const enum ds_end ends[] = {DS_END_CONNECT, DS_END_RESOLVE, DS_END_TLS, DS_END_CUT};
        no_answer(a, ends[draw(g) % 4], at, "refused");
    } else if (one_in(g, f->lost)) {
        no_answer(a, DS_END_CUT, DS_NEVER, "lost");
    } else if (one_in(g, f->status)) {
        status(a, codes[draw(g) % (sizeof codes / sizeof *codes)], at);
        if (one_in(g, f->retry_after))
            a->head.retry_after_ms = between(g, 0, 5) * 1000;
    } else if (one_in(g, f->redirect)) {
        redirect(g, a, req, at);
    } else if (one_in(g, f->auth)) {
        status(a, w->forbids ? 403 : 401, at);
    } else if (one_in(g, f->bare)) {
        bare(g, a, at);
    } else {
        return false;
    }
    return true;
}

static void after(struct world *w, struct answer *a)
{
    struct rng *g = &w->rng;
    if (a->head_at == DS_NEVER)
        return;
    if (one_in(g, w->faults.cut)) {
        cut_pieces(a, (size_t)between(g, 0, (int64_t)a->body.len));
        a->end_at = last_sign(a);
        /* Of an event stream, a proxy's clean end looks like any other. */
        const char *type = ds_head_get(&a->head, "content-type");
        bool sse = type && strcmp(type, "text/event-stream") == 0, clean = sse && one_in(g, 2);
        a->unmarked = !sse && a->body.len > 0 && one_in(g, w->faults.unmarked);
        a->end = clean || a->unmarked ? DS_END_COMPLETE : DS_END_CUT;
        a->what = a->unmarked ? "cut unseen" : "cut";
    } else if (one_in(g, w->faults.stall)) {
        cut_pieces(a, (size_t)between(g, 0, (int64_t)a->body.len));
        a->end_at = DS_NEVER;
        a->what = "stalled";
    }
}

static const char *param(const char *url, const char *key, char *out, size_t size)
{
    const char *p = strstr(url, key);
    size_t n = p ? strcspn(p + strlen(key), "&") : 0;
    snprintf(out, size, "%.*s", (int)n, p ? p + strlen(key) : "");
    return out;
}

/* A replica that is behind answers the same, only later. */
static void delay(struct answer *a, int64_t by)
{
    a->head_at = ds_later(a->head_at, by);
    a->end_at = ds_later(a->end_at, by);
    for (size_t i = 0; i < a->npieces; i++)
        a->pieces[i].at += by;
}

static void new_answer(struct answer *a)
{
    *a = (struct answer){.what = ""};
    a->head.retry_after_ms = -1;
    ds_buf_init(&a->head.fields, 1 << 16);
    ds_buf_init(&a->body, 1 << 24);
}

void world_final(unsigned which, int64_t now, struct answer *a)
{
    static const int codes[] = {304, 400, 405, 406, 409, 412, 413, 414, 415, 416, 431, 501, 505};
    static const enum ds_end ends[] = {DS_END_TLS_REFUSED, DS_END_PROXY_AUTH, DS_END_BAD,
                                       DS_END_PROTOCOL, DS_END_LIMIT};
    size_t ncodes = sizeof codes / sizeof *codes;
    new_answer(a);
    which %= (unsigned)(ncodes + sizeof ends / sizeof *ends);
    if (which < ncodes)
        status(a, codes[which], now);
    else
        no_answer(a, ends[which - ncodes], now, "useless");
    a->final = true;
}

void world_answer(struct world *w, const struct ds_request *req, int64_t now, struct answer *a)
{
    char offset[64], live[16];
    new_answer(a);
    param(req->url, "offset=", offset, sizeof offset);
    param(req->url, "live=", live, sizeof live);
    int64_t at = now + between(&w->rng, 0, 40);
    bool faulty = now < w->faults_until;
    if (faulty && before(w, a, req, at))
        return;
    if (!strstr(req->url, "//other/") && w->given != world_credentials(w, at)) {
        status(a, w->forbids ? 403 : 401, at);
        return;
    }
    int64_t lag = one_in(&w->rng, 8) ? between(&w->rng, 0, w->lag) : 0;
    at -= lag;
    if (req->method == DS_HEAD)
        head_200(w, a, at);
    else if (strcmp(live, "sse") == 0)
        sse(w, a, offset, at);
    else if (strcmp(live, "long-poll") == 0)
        poll(w, a, offset, at);
    else
        plain(w, a, offset, at);
    delay(a, lag);
    if (faulty)
        after(w, a);
}
