/* SPDX-License-Identifier: Apache-2.0 */
/* dstream decode: raw event-stream bytes in, a line of JSON for each event or batch out. */
#include "config.h"

#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/http.h"
#include "base/text.h"
#include "decode/base64.h"
#include "sse/events.h"

/* What is converted at once on its way out; a multiple of 3, so that base64 can be put together
 * from slices. */
#define SLICE ((size_t)48 * 1024)
/* A byte becomes at most U+FFFD (3 bytes), an ASCII one at most \u00NN (6). */
#define TEXT_MAX (SLICE * 6)

struct decoding {
    struct dstream_error error;   /* the first one */
    struct ds_buf data;           /* of the event under way */
    struct ds_buf whole, escaped; /* a slice on its way out */
    int write_errno;              /* of the first write that failed */
};

/* --- output ----------------------------------------------------------------------------------- */

/* A failed write is looked at before the next read. */
static void put(struct decoding *d, const char *p, size_t n)
{
    if (d->write_errno == 0 && n > 0 && fwrite(p, 1, n, stdout) != n)
        d->write_errno = errno ? errno : EIO;
}

static void puts_raw(struct decoding *d, const char *s)
{
    put(d, s, strlen(s));
}

/* The end of the first slice of `p`, not inside of a UTF-8 sequence. A byte behind three others
 * that continue one cannot itself continue one. */
static size_t slice_end(const char *p, size_t n)
{
    if (n <= SLICE)
        return n;
    for (size_t end = SLICE; end > SLICE - 4; end--) {
        if (((unsigned char)p[end] & 0xC0) != 0x80)
            return end;
    }
    return SLICE;
}

/* Writes bytes as a JSON string, U+FFFD in the place of what is not UTF-8. */
static enum dstream_code put_string(struct decoding *d, const char *p, size_t n)
{
    enum dstream_code rc = DSTREAM_OK;
    puts_raw(d, "\"");
    while (n > 0 && rc == DSTREAM_OK) {
        size_t end = slice_end(p, n);
        d->whole.len = d->escaped.len = 0;
        rc = ds_utf8_replace(&d->whole, p, end);
        if (rc == DSTREAM_OK)
            rc = ds_json_escape(&d->escaped, d->whole.data, d->whole.len);
        if (rc == DSTREAM_OK)
            put(d, d->escaped.data, d->escaped.len);
        p += end;
        n -= end;
    }
    puts_raw(d, "\"");
    return rc;
}

static enum dstream_code put_base64(struct decoding *d, const char *p, size_t n)
{
    enum dstream_code rc = DSTREAM_OK;
    puts_raw(d, "\"");
    while (n > 0 && rc == DSTREAM_OK) {
        size_t end = n < SLICE ? n : SLICE;
        d->escaped.len = 0;
        rc = ds_base64_encode(&d->escaped, p, end);
        if (rc == DSTREAM_OK)
            put(d, d->escaped.data, d->escaped.len);
        p += end;
        n -= end;
    }
    puts_raw(d, "\"");
    return rc;
}

static void put_flag(struct decoding *d, const char *key, bool value)
{
    puts_raw(d, key);
    puts_raw(d, value ? "true" : "false");
}

static enum dstream_code no_memory(struct decoding *d)
{
    return ds_error_set(&d->error, DSTREAM_ERR_NOMEM, "no memory");
}

static enum dstream_code check_output(struct decoding *d)
{
    if (d->write_errno == 0 && fflush(stdout) != 0)
        d->write_errno = errno;
    if (d->write_errno == 0)
        return DSTREAM_OK;
    return ds_error_set(&d->error, DSTREAM_ERR_IO, "standard output: cannot write: %s",
                        strerror(d->write_errno));
}

/* --- events ----------------------------------------------------------------------------------- */

static enum dstream_code on_data(void *ctx, const char *p, size_t n)
{
    struct decoding *d = ctx;
    return ds_buf_add(&d->data, p, n);
}

static enum dstream_code on_event(void *ctx, const struct ds_sse_event *ev, bool *stop)
{
    struct decoding *d = ctx;
    bool named = ev->name_len > 0;
    (void)stop;
    puts_raw(d, "{\"event\":");
    enum dstream_code rc =
        named ? put_string(d, ev->name, ev->name_len) : put_string(d, "message", 7);
    puts_raw(d, ",\"data\":");
    if (rc == DSTREAM_OK)
        rc = put_string(d, d->data.data, d->data.len);
    puts_raw(d, ",\"id\":");
    if (ev->id && rc == DSTREAM_OK)
        rc = put_string(d, ev->id, ev->id_len);
    else
        puts_raw(d, "null");
    puts_raw(d, "}\n");
    ds_buf_reset(&d->data, SLICE);
    return rc == DSTREAM_OK ? rc : no_memory(d);
}

static enum dstream_code feed_parser(void *machine, struct decoding *d, const char *p, size_t n)
{
    struct ds_sse_parser *s = machine;
    size_t used;
    enum dstream_code rc = ds_sse_feed(s, p, n, &used);
    if (rc == DSTREAM_ERR_LIMIT)
        ds_error_set(&d->error, rc, "%s, in the event at byte %llu of the event stream",
                     s->why ? s->why : "more data than fits in memory",
                     (unsigned long long)ds_sse_event_pos(s));
    else if (rc != DSTREAM_OK)
        no_memory(d);
    return rc;
}

/* --- batches ---------------------------------------------------------------------------------- */

/* Takes the line breaks out of each message, so that the LF behind it is the only one: within a
 * message they can only stand between tokens. */
static void unbreak(struct ds_items *it)
{
    size_t to = 0;
    for (size_t i = 0; i < it->count; i++) {
        size_t n;
        const char *p = ds_items_get(it, i, &n);
        for (size_t k = 0; k < n; k++) {
            if (p[k] != '\n' && p[k] != '\r')
                it->bytes.data[to++] = p[k];
        }
        it->bytes.data[to++] = '\n';
    }
    it->bytes.len = to;
}

static enum dstream_code put_batch(struct decoding *d, struct ds_events *e)
{
    const struct ds_control *c = &e->control;
    if (e->kind == DS_SSE_JSON)
        unbreak(&e->staged);
    puts_raw(d, "{\"data\":");
    enum dstream_code rc = put_base64(d, e->staged.bytes.data, e->staged.bytes.len);
    puts_raw(d, ",\"offset\":");
    if (rc == DSTREAM_OK)
        rc = put_string(d, c->next, strlen(c->next));
    puts_raw(d, ",\"cursor\":");
    if (c->cursor[0] && rc == DSTREAM_OK)
        rc = put_string(d, c->cursor, strlen(c->cursor));
    else
        puts_raw(d, "null");
    put_flag(d, ",\"upToDate\":", c->up_to_date);
    put_flag(d, ",\"closed\":", c->closed);
    puts_raw(d, "}\n");
    return rc == DSTREAM_OK ? rc : no_memory(d);
}

static enum dstream_code feed_events(void *machine, struct decoding *d, const char *p, size_t n)
{
    struct ds_events *e = machine;
    enum dstream_code rc = DSTREAM_OK;
    for (size_t used; n > 0 && rc == DSTREAM_OK; p += used, n -= used) {
        enum ds_events_result r = ds_events_feed(e, p, n, &used);
        if (r == DS_EVENTS_ERROR) {
            d->error = e->error;
            return e->error.code;
        }
        if (r == DS_EVENTS_BATCH) {
            rc = put_batch(d, e);
            ds_events_take(e);
        }
    }
    return rc;
}

/* --- input ------------------------------------------------------------------------------------ */

typedef enum dstream_code (*feed_function)(void *machine, struct decoding *d, const char *p,
                                           size_t n);

/* Feeds what can be read until the end. What was decoded is written before the next read, which may
 * wait. */
static enum dstream_code decode_all(struct decoding *d, int fd, feed_function feed, void *machine)
{
    char bytes[64 * 1024];
    enum dstream_code rc = DSTREAM_OK;
    while (rc == DSTREAM_OK) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ds_error_set(&d->error, DSTREAM_ERR_IO, "cannot read the input: %s",
                                strerror(errno));
        rc = feed(machine, d, bytes, (size_t)n);
        enum dstream_code written = check_output(d);
        if (written != DSTREAM_OK)
            rc = written;
    }
    return rc;
}

static enum dstream_code decode_events(struct decoding *d, int fd)
{
    static const struct ds_sse_ops ops = {on_data, on_event};
    struct ds_sse_parser s;
    ds_sse_init(&s, &ops, d);
    enum dstream_code rc = decode_all(d, fd, feed_parser, &s);
    ds_sse_free(&s);
    return rc;
}

static enum ds_sse_kind kind_of(const struct ds_cli_options *o)
{
    if (o->encoding)
        return DS_SSE_BASE64;
    return o->type && ds_type_is_json(o->type) ? DS_SSE_JSON : DS_SSE_TEXT;
}

/* What no control event has covered is not delivered, and here nobody will send it again. */
static enum dstream_code check_end(struct decoding *d, const struct ds_events *e)
{
    if (e->ended)
        return DSTREAM_OK;
    if (ds_sse_midway(&e->parser))
        return ds_error_set(&d->error, DSTREAM_ERR_PARSE,
                            "the input is cut off in the event at byte %llu of the event stream",
                            (unsigned long long)ds_sse_event_pos(&e->parser));
    if (e->staged.bytes.len > 0)
        return ds_error_set(&d->error, DSTREAM_ERR_PARSE,
                            "the input is cut off: no control event covers the last %zu bytes of "
                            "data, so they are no batch",
                            e->staged.bytes.len);
    return DSTREAM_OK;
}

static enum dstream_code decode_batches(struct ds_cli *c, struct decoding *d, int fd)
{
    struct ds_events e;
    ds_events_init(&e, &c->limits);
    ds_events_reset(&e, kind_of(&c->opt));
    enum dstream_code rc = decode_all(d, fd, feed_events, &e);
    if (rc == DSTREAM_OK)
        rc = check_end(d, &e);
    ds_events_free(&e);
    return rc;
}

static int decode_from(struct ds_cli *c, int fd)
{
    struct decoding d = {0};
    ds_buf_init(&d.data, c->limits.max_event);
    ds_buf_init(&d.whole, TEXT_MAX);
    ds_buf_init(&d.escaped, TEXT_MAX);
    enum dstream_code rc = c->opt.batches ? decode_batches(c, &d, fd) : decode_events(&d, fd);
    ds_buf_free(&d.data);
    ds_buf_free(&d.whole);
    ds_buf_free(&d.escaped);
    return rc == DSTREAM_OK ? DS_EXIT_OK : ds_cli_fail(c, &d.error);
}

static int check_options(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    if (c->nargs > 1)
        return ds_cli_usage(c, "decode takes one file at most");
    if (!o->batches && (o->encoding || o->type))
        return ds_cli_usage(c, "--encoding and --type need --batches");
    if (o->encoding && strcmp(o->encoding, "base64") != 0)
        return ds_cli_usage(c, "--encoding can only be base64");
    if (o->encoding && o->type && ds_type_is_json(o->type))
        return ds_cli_usage(c, "the events of a JSON stream are never base64");
    return DS_EXIT_OK;
}

int ds_cmd_decode(struct ds_cli *c)
{
    int rc = check_options(c);
    if (rc != DS_EXIT_OK)
        return rc;
    if (c->nargs == 0 || strcmp(c->args[0], "-") == 0)
        return decode_from(c, STDIN_FILENO);
    int fd = open(c->args[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        struct dstream_error e = {0};
        ds_error_set(&e, errno == ENOENT ? DSTREAM_ERR_NOT_FOUND : DSTREAM_ERR_IO,
                     "%s: cannot open: %s", c->args[0], strerror(errno));
        return ds_cli_fail(c, &e);
    }
    rc = decode_from(c, fd);
    close(fd);
    return rc;
}
