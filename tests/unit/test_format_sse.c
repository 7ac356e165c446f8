/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/exporter.h"
#include "home.h"
#include "sse/events.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static enum dstream_code put(void *ctx, const void *p, size_t n)
{
    return ds_buf_add(ctx, p, n);
}

struct fed {
    struct ds_format f;
    struct ds_buf out;
    struct dstream_error err;
};

static void begin(struct fed *x, bool text)
{
    *x = (struct fed){.f = {.kind = DS_FORMAT_SSE, .text = text}};
    ds_buf_init(&x->out, (size_t)1 << 24);
}

/* As a reader of batches would; *none as of ds_format_cut(). */
static enum dstream_code feed(struct fed *x, dstream_batch *b, bool *none)
{
    dstream_batch cut = *b;
    bool json = b->flags & DSTREAM_BATCH_JSON;
    enum dstream_code rc = ds_format_cut(&x->f, &cut, none, &x->err);
    if (rc != DSTREAM_OK || *none)
        return rc;
    size_t end = json ? cut.items->count : cut.items->bytes.len;
    rc = ds_format_put(&x->f, &cut, json ? cut.first : cut.first_byte, end, 0, put, &x->out);
    ds_format_taken(&x->f, b);
    return rc;
}

static enum dstream_code feed_bytes(struct fed *x, const char *p, size_t n, unsigned flags,
                                    const char *next, bool *none)
{
    struct ds_items it;
    ds_items_init(&it, (size_t)1 << 20);
    cr_assert_eq(ds_buf_add(&it.bytes, p, n), DSTREAM_OK);
    dstream_batch b = {.items = &it, .flags = flags, .start = "s", .next = next, .cursor = ""};
    enum dstream_code rc = feed(x, &b, none);
    ds_items_free(&it);
    return rc;
}

/* What a reader makes of it: the payload; *batches and the last control event. */
static struct ds_buf read_back(struct fed *x, enum ds_sse_kind kind, size_t *batches,
                               struct ds_control *last)
{
    struct ds_limits limits = ds_limits_default();
    struct ds_events e;
    struct ds_buf all;
    ds_events_init(&e, &limits);
    ds_events_reset(&e, kind);
    ds_buf_init(&all, (size_t)1 << 24);
    *batches = 0;
    for (size_t at = 0; at < x->out.len;) {
        size_t used;
        enum ds_events_result r = ds_events_feed(&e, x->out.data + at, x->out.len - at, &used);
        at += used;
        cr_assert_neq(r, DS_EVENTS_ERROR, "%s", e.error.message);
        if (r != DS_EVENTS_BATCH)
            continue;
        ++*batches;
        *last = e.control;
        cr_assert_eq(ds_buf_add(&all, e.staged.bytes.data, e.staged.bytes.len), DSTREAM_OK);
        ds_events_take(&e);
    }
    cr_assert_eq(e.staged.bytes.len, 0, "data without a control event");
    ds_events_free(&e);
    return all;
}

Test(format_sse, is_what_a_server_would_send)
{
    static const struct {
        const char *data;
        bool text;
        unsigned flags;
        const char *cursor, *want;
    } cases[] = {
        {"a\n b\n", true, 0, "",
         "event: data\ndata: a\ndata:  b\ndata: \n\nevent: control\ndata: "
         "{\"streamNextOffset\":\"n\"}\n\n"},
        {"\n", true, DSTREAM_BATCH_UP_TO_DATE, "c\"",
         "event: data\ndata: \ndata: \n\nevent: control\ndata: "
         "{\"streamNextOffset\":\"n\",\"streamCursor\":\"c\\\"\",\"upToDate\":true}\n\n"},
        {"", true, DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED, "",
         "event: control\ndata: "
         "{\"streamNextOffset\":\"n\",\"upToDate\":true,\"streamClosed\":true}\n\n"},
        {"a\r\n", false, 0, "",
         "event: data\ndata: YQ0K\n\nevent: control\ndata: {\"streamNextOffset\":\"n\"}\n\n"},
        {"part", false, DSTREAM_BATCH_PARTIAL, "", "event: data\ndata: cGFydA==\n\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fed x;
        struct ds_items it;
        bool none;
        begin(&x, cases[i].text);
        ds_items_init(&it, 100);
        ds_buf_adds(&it.bytes, cases[i].data);
        dstream_batch b = {.items = &it, .flags = cases[i].flags};
        b.start = "s";
        b.next = "n";
        b.cursor = cases[i].cursor;
        cr_expect_eq(feed(&x, &b, &none), DSTREAM_OK, "case %zu", i);
        cr_expect_str_eq(ds_buf_str(&x.out), cases[i].want, "case %zu", i);
        ds_items_free(&it);
        ds_buf_free(&x.out);
    }
}

Test(format_sse, messages_are_an_array_again)
{
    static const char *const messages[] = {"{\"a\":\n1}", "\"\\n\"", "9007199254740993"};
    struct fed x;
    struct ds_items it;
    struct ds_control last;
    size_t batches;
    bool none;
    begin(&x, false);
    ds_items_init(&it, 100);
    for (size_t i = 0; i < COUNT(messages); i++) {
        ds_buf_adds(&it.bytes, messages[i]);
        ds_buf_addc(&it.bytes, '\n');
        ds_items_end(&it);
    }
    dstream_batch b = {.items = &it, .flags = DSTREAM_BATCH_JSON | DSTREAM_BATCH_CLOSED};
    b.start = "s";
    b.next = "n";
    b.cursor = "";
    cr_assert_eq(feed(&x, &b, &none), DSTREAM_OK);
    static const char want[] = "event: data\ndata: [{\"a\":1},\"\\n\",9007199254740993]\n\n";
    cr_expect_eq(strncmp(ds_buf_str(&x.out), want, sizeof want - 1), 0);
    struct ds_buf back = read_back(&x, DS_SSE_JSON, &batches, &last);
    cr_expect_str_eq(ds_buf_str(&back), "{\"a\":1}\n\"\\n\"\n9007199254740993\n");
    cr_expect(batches == 1 && last.closed);
    ds_buf_free(&back);
    ds_items_free(&it);
    ds_buf_free(&x.out);
}

static const char text[] =
    "a\n b\xC3\xA9\xE2\x82\xAC\n\xF0\x9F\x98\x80\xF0\x9F\x98\x80x\n\n\xE2\x82"
    "\xAC\xEF\xBB\xBF:\xC3\xA9\n";

/* Answers of any size, with empty ones between them, and limits anywhere. */
Test(format_sse, text_cut_anywhere_comes_back)
{
    size_t n = sizeof text - 1;
    for (size_t first = 0; first <= n; first++) {
        for (size_t by = 1; by < 8; by++) {
            struct fed x;
            bool none;
            begin(&x, true);
            for (size_t at = 0, k = 0; at < n; k++) {
                size_t to = at == 0 && first > 0 ? first : at + by;
                to = to < n ? to : n;
                char next[16];
                snprintf(next, sizeof next, "n%zu", to);
                cr_assert_eq(feed_bytes(&x, text + at, to - at,
                                        to == n     ? DSTREAM_BATCH_CLOSED
                                        : k % 3 < 2 ? 0
                                                    : DSTREAM_BATCH_PARTIAL,
                                        next, &none),
                             DSTREAM_OK, "%s", x.err.message);
                cr_assert_eq(feed_bytes(&x, "", 0, DSTREAM_BATCH_UP_TO_DATE, next, &none),
                             DSTREAM_OK);
                at = to;
            }
            struct ds_control last;
            size_t batches;
            struct ds_buf back = read_back(&x, DS_SSE_TEXT, &batches, &last);
            cr_expect(back.len == n && memcmp(back.data, text, n) == 0, "first %zu, by %zu", first,
                      by);
            cr_expect(ds_utf8_valid(x.out.data, x.out.len));
            ds_buf_free(&back);
            ds_buf_free(&x.out);
        }
    }
}

Test(format_sse, refuses_what_it_cannot_carry)
{
    static const struct {
        const char *first, *second; /* the second one ends the stream */
        const char *why;
    } cases[] = {{"a\rb", NULL, "a carriage return"}, {"a\r\n", NULL, "a carriage return"},
                 {"a", "\r", "a carriage return"},    {"\xFF", NULL, "not UTF-8"},
                 {"a\xE2\x82", "x", "not UTF-8"},     {"a\xE2\x82", "", "not UTF-8"},
                 {"\xE2", "\x82", "not UTF-8"},       {"\xA9", NULL, "not UTF-8"},
                 {"\xED\xA0\x80", NULL, "not UTF-8"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fed x;
        bool none;
        begin(&x, true);
        enum dstream_code rc =
            feed_bytes(&x, cases[i].first, strlen(cases[i].first), 0, "n", &none);
        size_t before = x.out.len;
        if (cases[i].second) {
            cr_expect_eq(rc, DSTREAM_OK, "case %zu", i);
            rc = feed_bytes(&x, cases[i].second, strlen(cases[i].second), DSTREAM_BATCH_CLOSED, "n",
                            &none);
        }
        cr_expect_eq(rc, DSTREAM_ERR_ARGUMENT, "case %zu", i);
        cr_expect(strstr(x.err.message, cases[i].why), "%zu: %s", i, x.err.message);
        cr_expect_eq(x.out.len, before, "nothing is put of it");
        ds_buf_free(&x.out);
    }
}

/* --- exported --------------------------------------------------------------------------------- */

/* One run over the text in answers of `by` bytes, from where the exporter says. */
static enum dstream_code run(const struct ds_exporter_config *c, size_t by, bool *closed,
                             struct dstream_error *err)
{
    struct ds_exporter *x;
    uint64_t skip;
    enum dstream_code rc = ds_exporter_open(&x, c, err);
    if (rc != DSTREAM_OK)
        return rc;
    const char *offset = ds_exporter_offset(x, &skip);
    size_t at = offset[0] == '-' ? 0 : strtoul(offset, NULL, 10), n = sizeof text - 1;
    bool stop = false;
    for (; at < n && !stop && rc == DSTREAM_OK; skip = 0) {
        size_t to = at + by < n ? at + by : n;
        char start[16], next[16];
        snprintf(start, sizeof start, "%zu", at);
        snprintf(next, sizeof next, "%zu", to);
        struct ds_items it;
        ds_items_init(&it, 1000);
        cr_assert_eq(ds_buf_add(&it.bytes, text + at, to - at), DSTREAM_OK);
        dstream_batch b = {.items = &it, .skip = skip, .start = at == 0 ? "-1" : start};
        b.next = next;
        b.cursor = "";
        b.first_byte = (size_t)skip;
        b.flags = to == n ? DSTREAM_BATCH_CLOSED : 0;
        rc = ds_exporter_take(x, "text/plain", &b, 0, &stop, err);
        ds_items_free(&it);
        at = to;
    }
    *closed = ds_exporter_totals(x).closed;
    enum dstream_code last = ds_exporter_finish(x, rc == DSTREAM_OK, err);
    ds_exporter_free(x);
    return rc == DSTREAM_OK ? last : rc;
}

static void add_file(struct ds_buf *out, const char *name)
{
    char piece[4096];
    FILE *f = fopen(name, "rb");
    cr_assert_not_null(f, "%s", name);
    cr_assert_eq(ds_buf_add(out, piece, fread(piece, 1, sizeof piece, f)), DSTREAM_OK);
    fclose(f);
}

static void expect_text(struct fed *x, const char *what, size_t by, size_t n)
{
    struct ds_control last;
    size_t batches;
    struct ds_buf back = read_back(x, DS_SSE_TEXT, &batches, &last);
    cr_expect(back.len == sizeof text - 1 && memcmp(back.data, text, back.len) == 0,
              "%s: by %zu, %zu", what, by, n);
    cr_expect(last.closed);
    ds_buf_free(&back);
    ds_buf_free(&x->out);
}

/* Each run takes at most so many bytes, and a character never less than whole. */
Test(format_sse, exported_in_any_number_of_runs, .init = home_enter, .fini = home_leave)
{
    for (size_t by = 1; by < 9; by++) {
        for (uint64_t n = 4; n < 20; n++) {
            struct ds_exporter_config c = {
                .file = {.path = "out", .overwrite = true, .reset = true},
                .url = "http://host/s",
                .format = DS_FORMAT_SSE,
                .sync_ms = 1000,
                .max_witness = 1000,
                .left = {.has_bytes = true, .bytes = n}};
            struct dstream_error err = {0};
            struct fed x;
            bool closed = false;
            for (int runs = 0; !closed; runs++) {
                cr_assert_lt(runs, 60);
                cr_assert_eq(run(&c, by, &closed, &err), DSTREAM_OK, "%s", err.message);
                c.file.reset = false;
            }
            begin(&x, true);
            add_file(&x.out, "out");
            expect_text(&x, "runs", by, (size_t)n);
        }
    }
}

/* Each segment is an event stream by itself. */
Test(format_sse, exported_in_segments, .init = home_enter, .fini = home_leave)
{
    for (size_t by = 1; by < 9; by++) {
        for (uint64_t n = 1; n < 200; n += 40) {
            char path[32];
            snprintf(path, sizeof path, "o%zu_%u", by, (unsigned)n);
            struct ds_exporter_config c = {.file = {.path = path, .rotate = "%b.%n"},
                                           .url = "http://host/s",
                                           .format = DS_FORMAT_SSE,
                                           .sync_ms = 1000,
                                           .max_witness = 1000,
                                           .rotate_bytes = n};
            struct dstream_error err = {0};
            struct fed all, one;
            bool closed = false;
            cr_assert_eq(run(&c, by, &closed, &err), DSTREAM_OK, "%s", err.message);
            cr_assert(closed);
            begin(&all, true);
            for (int k = 1;; k++) {
                char name[64];
                struct ds_control last;
                size_t batches;
                snprintf(name, sizeof name, "%s.%06d", path, k);
                FILE *f = fopen(name, "rb");
                if (!f)
                    break;
                fclose(f);
                begin(&one, true);
                add_file(&one.out, name);
                struct ds_buf back = read_back(&one, DS_SSE_TEXT, &batches, &last);
                cr_expect_geq(batches, 1);
                ds_buf_free(&back);
                ds_buf_free(&one.out);
                add_file(&all.out, name);
            }
            expect_text(&all, "segments", by, (size_t)n);
        }
    }
}
