/* SPDX-License-Identifier: Apache-2.0 */
#include "sse/parser.h"

#include <string.h>

/* How far a line's end is looked for at once. It bounds what is looked at in vain where the line
 * ends are all of one kind, or where the caller stops after each event. */
#define WINDOW 4096

#define RETRY_MAX (UINT64_MAX / 10 - 1)

enum state {
    ST_BOM,   /* nothing but a part of the byte order mark has come */
    ST_LINE,  /* at the beginning of a line */
    ST_NAME,  /* in the name of a field */
    ST_SPACE, /* behind the colon: one space is dropped */
    ST_VALUE  /* in the value of a field */
};

enum field { FIELD_NONE, FIELD_DATA, FIELD_EVENT, FIELD_ID, FIELD_RETRY };

/* One call of ds_sse_feed(). */
struct feeding {
    struct ds_sse_parser *s;
    const char *p;
    size_t n;
    size_t i;              /* the next byte */
    size_t window, lf, cr; /* no CR or LF between i and the lesser of lf and cr, if i is below */
    bool stop;
};

void ds_sse_init(struct ds_sse_parser *s, const struct ds_sse_ops *ops, void *ctx)
{
    *s = (struct ds_sse_parser){.ops = ops, .ctx = ctx};
    ds_buf_init(&s->name, DS_SSE_NAME_MAX);
    ds_buf_init(&s->id, DS_SSE_ID_MAX);
    ds_buf_init(&s->id_new, DS_SSE_ID_MAX);
}

void ds_sse_free(struct ds_sse_parser *s)
{
    ds_buf_free(&s->name);
    ds_buf_free(&s->id);
    ds_buf_free(&s->id_new);
}

void ds_sse_reset(struct ds_sse_parser *s)
{
    struct ds_sse_parser fresh = {.ops = s->ops, .ctx = s->ctx, .has_id = s->has_id};
    fresh.name = s->name;
    fresh.id = s->id;
    fresh.id_new = s->id_new;
    fresh.name.len = fresh.id_new.len = 0;
    *s = fresh;
}

bool ds_sse_retry(const struct ds_sse_parser *s, uint64_t *ms)
{
    *ms = s->retry;
    return s->has_retry;
}

bool ds_sse_midway(const struct ds_sse_parser *s)
{
    return s->has_data || s->name.len > 0 || (s->state == ST_NAME && s->field_len > 0) ||
           (s->state > ST_NAME && s->field == FIELD_EVENT);
}

uint64_t ds_sse_pos(const struct ds_sse_parser *s)
{
    return s->pos;
}

uint64_t ds_sse_event_pos(const struct ds_sse_parser *s)
{
    return s->event_pos;
}

/* --- fields ----------------------------------------------------------------------------------- */

static enum field field_of(const struct ds_sse_parser *s)
{
    static const char *const names[] = {
        [FIELD_DATA] = "data", [FIELD_EVENT] = "event", [FIELD_ID] = "id", [FIELD_RETRY] = "retry"};
    for (unsigned f = FIELD_DATA; f <= FIELD_RETRY; f++) {
        if (strlen(names[f]) == s->field_len && memcmp(names[f], s->field_name, s->field_len) == 0)
            return (enum field)f;
    }
    return FIELD_NONE;
}

/* The name of the field is complete: its value begins, empty so far. */
static enum dstream_code begin_field(struct ds_sse_parser *s)
{
    s->field = field_of(s);
    s->bad = false;
    switch ((enum field)s->field) {
    case FIELD_DATA:
        if (s->has_data)
            return s->ops->data(s->ctx, "\n", 1);
        s->has_data = true;
        return DSTREAM_OK;
    case FIELD_EVENT:
        s->name.len = 0;
        return DSTREAM_OK;
    case FIELD_ID:
        s->id_new.len = 0;
        return DSTREAM_OK;
    case FIELD_RETRY:
        s->retry_new = 0;
        s->bad = true; /* until there is a digit */
        return DSTREAM_OK;
    case FIELD_NONE:
        break;
    }
    return DSTREAM_OK;
}

static enum dstream_code add(struct ds_sse_parser *s, struct ds_buf *b, const char *p, size_t n)
{
    enum dstream_code rc = ds_buf_add(b, p, n);
    if (rc == DSTREAM_ERR_LIMIT)
        s->why = b == &s->name ? "an event name that is too long" : "an event id that is too long";
    else if (rc != DSTREAM_OK)
        s->why = "no memory";
    return rc;
}

/* An id with a NUL in it is ignored, but what comes before that must fit all the same: whether it
 * does must not depend on how the bytes were cut. */
static enum dstream_code add_id(struct ds_sse_parser *s, const char *p, size_t n)
{
    const char *nul = s->bad ? NULL : memchr(p, '\0', n);
    if (s->bad)
        return DSTREAM_OK;
    s->bad = nul != NULL;
    return add(s, &s->id_new, p, nul ? (size_t)(nul - p) : n);
}

static void add_retry(struct ds_sse_parser *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            s->field = FIELD_NONE; /* not only digits: the whole line is ignored */
            return;
        }
        s->bad = false;
        if (s->retry_new <= RETRY_MAX)
            s->retry_new = s->retry_new * 10 + (uint64_t)(p[i] - '0');
    }
}

/* Takes a piece of the value, not empty. */
static enum dstream_code add_value(struct ds_sse_parser *s, const char *p, size_t n)
{
    switch ((enum field)s->field) {
    case FIELD_DATA:
        return s->ops->data(s->ctx, p, n);
    case FIELD_EVENT:
        return add(s, &s->name, p, n);
    case FIELD_ID:
        return add_id(s, p, n);
    case FIELD_RETRY:
        add_retry(s, p, n);
        return DSTREAM_OK;
    case FIELD_NONE:
        break;
    }
    return DSTREAM_OK;
}

/* The line is at its end. */
static void finish_field(struct ds_sse_parser *s)
{
    if (s->field == FIELD_ID && !s->bad) {
        struct ds_buf old = s->id;
        s->id = s->id_new;
        s->id_new = old;
        s->has_id = true;
    } else if (s->field == FIELD_RETRY && !s->bad) {
        s->retry = s->retry_new;
        s->has_retry = true;
    }
}

/* --- lines ------------------------------------------------------------------------------------ */

/* The blank line. */
static enum dstream_code dispatch(struct feeding *f)
{
    struct ds_sse_parser *s = f->s;
    enum dstream_code rc = DSTREAM_OK;
    if (s->has_data) {
        struct ds_sse_event ev = {.name = ds_buf_str(&s->name), .name_len = s->name.len};
        if (s->has_id)
            ev = (struct ds_sse_event){ev.name, ev.name_len, ds_buf_str(&s->id), s->id.len};
        if (!ev.name || (s->has_id && !ev.id)) {
            s->why = "no memory";
            return DSTREAM_ERR_NOMEM;
        }
        rc = s->ops->event(s->ctx, &ev, &f->stop);
    }
    s->name.len = 0;
    s->has_data = s->begun = false;
    return rc;
}

static enum dstream_code end_line(struct feeding *f)
{
    struct ds_sse_parser *s = f->s;
    enum dstream_code rc = DSTREAM_OK;
    if (s->state == ST_LINE) {
        rc = dispatch(f);
    } else {
        if (s->state == ST_NAME)
            rc = begin_field(s); /* a field without a colon */
        if (rc == DSTREAM_OK)
            finish_field(s);
    }
    s->state = ST_LINE;
    return rc;
}

/* The next CR or LF, or the end of the window. */
static size_t find_line_end(struct feeding *f)
{
    if (f->i >= f->window) {
        f->window = f->n - f->i > WINDOW ? f->i + WINDOW : f->n;
        f->lf = f->cr = 0;
    }
    size_t left = f->window - f->i;
    if (f->lf <= f->i) {
        const char *q = memchr(f->p + f->i, '\n', left);
        f->lf = q ? (size_t)(q - f->p) : f->window;
    }
    if (f->cr <= f->i) {
        const char *q = memchr(f->p + f->i, '\r', left);
        f->cr = q ? (size_t)(q - f->p) : f->window;
    }
    return f->lf < f->cr ? f->lf : f->cr;
}

static enum dstream_code in_value(struct feeding *f)
{
    f->s->state = ST_VALUE;
    size_t begin = f->i;
    f->i = find_line_end(f);
    return f->i > begin ? add_value(f->s, f->p + begin, f->i - begin) : DSTREAM_OK;
}

static void begin_line(struct ds_sse_parser *s, uint64_t at)
{
    if (!s->begun)
        s->event_pos = at;
    s->begun = true;
    s->field_len = 0;
    s->state = ST_NAME;
}

/* Takes a byte of a field's name, or the colon. A name that is too long for any field that there is
 * makes the rest of the line a value that is ignored. */
static enum dstream_code in_name(struct ds_sse_parser *s, char b)
{
    if (b == ':') {
        s->state = ST_SPACE;
        return begin_field(s);
    }
    if (s->field_len == sizeof s->field_name) {
        s->state = ST_VALUE;
        s->field = FIELD_NONE;
        return DSTREAM_OK;
    }
    s->field_name[s->field_len++] = b;
    return DSTREAM_OK;
}

/* Whether the byte went into the byte order mark. What began like it and was none belongs to the
 * name of a field. */
static bool in_bom(struct ds_sse_parser *s, char b)
{
    static const char mark[] = "\xEF\xBB\xBF";
    if (b == mark[s->bom]) {
        if (++s->bom == 3)
            s->state = ST_LINE;
        return true;
    }
    s->state = ST_LINE;
    if (s->bom > 0) {
        begin_line(s, 0);
        memcpy(s->field_name, mark, s->bom);
        s->field_len = s->bom;
    }
    return false;
}

/* Takes the next byte; for a value, all that are there. */
static enum dstream_code advance(struct feeding *f)
{
    struct ds_sse_parser *s = f->s;
    char b = f->p[f->i];
    if (s->pending_cr) {
        s->pending_cr = false;
        if (b == '\n') {
            f->i++;
            return DSTREAM_OK;
        }
    }
    if (s->state == ST_BOM && in_bom(s, b)) {
        f->i++;
        return DSTREAM_OK;
    }
    if (b == '\n' || b == '\r') {
        s->pending_cr = b == '\r';
        f->i++;
        return end_line(f);
    }
    if (s->state == ST_VALUE || (s->state == ST_SPACE && b != ' '))
        return in_value(f);
    if (s->state == ST_LINE)
        begin_line(s, s->pos + f->i);
    f->i++;
    if (s->state == ST_NAME)
        return in_name(s, b);
    s->state = ST_VALUE; /* it was the space behind the colon */
    return DSTREAM_OK;
}

enum dstream_code ds_sse_feed(struct ds_sse_parser *s, const char *bytes, size_t n,
                              size_t *consumed)
{
    struct feeding f = {.s = s, .p = bytes, .n = n};
    while (f.i < n && !f.stop && s->failed == DSTREAM_OK)
        s->failed = advance(&f);
    s->pos += f.i;
    *consumed = f.i;
    return s->failed;
}
