/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "devserver/sse.h"

#include <inttypes.h>
#include <string.h>

#include "base/http.h"
#include "base/limits.h"
#include "base/text.h"
#include "decode/base64.h"
#include "devserver/api.h"

/* Bytes of the stream that are printed at once: a multiple of three, so that the base64 of an
 * event's slices is that of the event. */
#define SLICE ((size_t)12 * 1024)
/* A slice of line breaks alone, which print as seven bytes each, and what stands around it. */
#define OUT_MAX (SLICE * 8 + 1024)

void ds_feed_init(struct ds_feed *f, struct ds_stream *s, size_t pos, size_t page, uint64_t cursor,
                  int64_t now, int64_t ends_at)
{
    *f = (struct ds_feed){.stream = s,
                          .pos = pos,
                          .told_pos = pos,
                          .page = page,
                          .base64 = !s->json && !ds_type_is_text(s->type),
                          .cursor = cursor,
                          .told_at = now,
                          .ends_at = ends_at};
    ds_buf_init(&f->out, OUT_MAX);
}

void ds_feed_free(struct ds_feed *f)
{
    ds_buf_free(&f->out);
    ds_stream_release(f->stream);
    f->stream = NULL;
}

/* --- where text may be cut -------------------------------------------------------------------- */

/* How many of the `n` bytes to take so that no character and no CR LF is cut in two; `more` bytes
 * follow them. What is no UTF-8 is cut anywhere. Never 0 where n is 4 or more. */
static size_t whole_text(const char *p, size_t n, size_t more)
{
    if (more == 0)
        return n;
    size_t back = 0;
    while (back < 3 && back < n && ((unsigned char)p[n - 1 - back] & 0xC0) == 0x80)
        back++;
    struct ds_utf8 u = {0};
    if (back < n && ds_utf8_feed(&u, p + n - 1 - back, back + 1) && !ds_utf8_whole(&u))
        n -= back + 1;
    else if (n > 1 && p[n - 1] == '\r' && p[n] == '\n')
        n--;
    return n;
}

static size_t event_end(const struct ds_feed *f)
{
    const struct ds_stream *s = f->stream;
    /* At least one character fits into an event. */
    size_t end = ds_stream_page(s, f->pos, f->page < 4 && !s->json && !f->base64 ? 4 : f->page);
    size_t tail = ds_stream_tail(s);
    if (s->json || f->base64 || end == tail)
        return end;
    /* A character is no longer than this. */
    char last[5];
    size_t n = end - f->pos < 4 ? end - f->pos : 4;
    ds_stream_copy(s, end - n, n + 1, last);
    return end - n + whole_text(last, n, tail - end);
}

/* --- printing --------------------------------------------------------------------------------- */

/* A piece of a line. The receiver drops one space behind the colon: where the line begins with a
 * space, that is one of ours. */
static enum dstream_code print_piece(struct ds_feed *f, const char *p, size_t n)
{
    if (n == 0)
        return DSTREAM_OK;
    bool space = f->at_start && *p == ' ';
    f->at_start = false;
    enum dstream_code rc = space ? ds_buf_addc(&f->out, ' ') : DSTREAM_OK;
    return rc == DSTREAM_OK ? ds_utf8_replace(&f->out, p, n) : rc;
}

/* Text as lines of data. CR, LF and CR LF all end a line: the receiver sees LF. */
static enum dstream_code print_text(struct ds_feed *f, const char *p, size_t n)
{
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < n && rc == DSTREAM_OK;) {
        size_t line = i;
        while (i < n && p[i] != '\n' && p[i] != '\r')
            i++;
        rc = print_piece(f, p + line, i - line);
        bool second = i < n && i == line && p[i] == '\n' && f->after_cr;
        if (rc == DSTREAM_OK && i < n && !second) {
            rc = ds_buf_adds(&f->out, "\ndata:");
            f->at_start = true;
        }
        f->after_cr = i < n && p[i] == '\r';
        i += i < n;
    }
    return rc;
}

static enum dstream_code begin_event(struct ds_feed *f)
{
    f->in_event = true;
    f->after_cr = false;
    f->at_start = !f->stream->json;
    f->event_end = event_end(f);
    return ds_buf_adds(&f->out, f->stream->json ? "event: data\ndata:[" : "event: data\ndata:");
}

/* The next slice of the event under way, and its end behind the last one. */
static enum dstream_code print_slice(struct ds_feed *f)
{
    char p[SLICE + 1]; /* what is told of the byte behind a slice is where to cut it */
    size_t left = f->event_end - f->pos, n = left > SLICE ? SLICE : left;
    enum dstream_code rc;
    ds_stream_copy(f->stream, f->pos, n + (n < left), p);
    if (f->base64) {
        rc = ds_base64_encode(&f->out, p, n);
    } else {
        n = whole_text(p, n, left - n);
        /* The comma behind the last message of an array is not printed. */
        rc = print_text(f, p, n - (f->stream->json && n == left));
    }
    f->pos += n;
    if (rc != DSTREAM_OK || f->pos < f->event_end)
        return rc;
    f->in_event = false;
    return ds_buf_adds(&f->out, f->stream->json ? "]\n\n" : "\n\n");
}

static enum dstream_code print_control(struct ds_feed *f, int64_t now, int64_t wall)
{
    char next[DS_OFFSET_SIZE];
    bool tail = f->pos == ds_stream_tail(f->stream);
    uint64_t cursor = ds_cursor(wall, NULL, NULL);
    ds_offset_print(f->pos, next);
    ds_stream_touch(f->stream, wall);
    f->cursor = cursor > f->cursor ? cursor : f->cursor;
    f->told = true;
    f->told_at = now;
    f->told_pos = f->pos;
    f->told_end = tail && f->stream->closed;
    if (f->told_end)
        return ds_buf_addf(&f->out,
                           "event: control\ndata:{\"streamNextOffset\":\"%s\",\"upToDate\":true,"
                           "\"streamClosed\":true}\n\n",
                           next);
    return ds_buf_addf(&f->out,
                       "event: control\ndata:{\"streamNextOffset\":\"%s\",\"streamCursor\":"
                       "\"%" PRIu64 "\"%s}\n\n",
                       next, f->cursor, tail ? ",\"upToDate\":true" : "");
}

/* A connection whose time is up has said at least where it stands. */
static bool over(const struct ds_feed *f, int64_t now, int64_t wall)
{
    return f->told_end || f->stream->gone || f->stream->deleted ||
           ds_stream_expired(f->stream, wall) || (f->told && now >= f->ends_at);
}

/* Prints what comes next. BYTES: there is something, or it was not for this time. */
static enum ds_feed_result print_next(struct ds_feed *f, int64_t now, int64_t wall)
{
    enum dstream_code rc;
    size_t tail = ds_stream_tail(f->stream);
    bool at_tail = f->pos == tail;
    /* What the last control event did not say: a page behind it; where we are; the end. */
    bool due = f->told_pos != f->pos || (at_tail && !f->told) ||
               (at_tail && f->stream->closed && !f->told_end);
    if (f->in_event)
        rc = print_slice(f);
    else if (due)
        rc = print_control(f, now, wall);
    else if (over(f, now, wall))
        return DS_FEED_END;
    else if (!at_tail)
        rc = begin_event(f);
    else if (now - f->told_at >= DS_KEEP_ALIVE)
        rc = print_control(f, now, wall);
    else
        return DS_FEED_WAIT;
    return rc == DSTREAM_OK ? DS_FEED_BYTES : DS_FEED_FAILED;
}

/* What is printed goes out in as few pieces as fit: a page with its control event, if they do. */
enum ds_feed_result ds_feed_take(struct ds_feed *f, char *to, size_t size, size_t *len, int64_t now,
                                 int64_t wall)
{
    enum ds_feed_result r = DS_FEED_BYTES;
    *len = 0;
    while (*len < size && r == DS_FEED_BYTES) {
        size_t n = f->out.len - f->out_at;
        n = n < size - *len ? n : size - *len;
        if (n > 0)
            memcpy(to + *len, f->out.data + f->out_at, n);
        *len += n;
        f->out_at += n;
        if (f->out_at < f->out.len)
            break;
        ds_buf_reset(&f->out, OUT_MAX);
        f->out_at = 0;
        r = print_next(f, now, wall);
    }
    if (*len > 0 && r != DS_FEED_FAILED)
        return DS_FEED_BYTES;
    if (r == DS_FEED_WAIT)
        ds_buf_reset(&f->out, 0);
    return r;
}

int64_t ds_feed_due(const struct ds_feed *f)
{
    int64_t alive = f->told_at + DS_KEEP_ALIVE;
    return f->ends_at < alive ? f->ends_at : alive;
}
