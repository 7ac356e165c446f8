/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "sse/parser.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/unit/share.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* What the parser said, as text: "name(data)id;" an event, '-' for no id. */
struct log {
    struct ds_buf data, text;
    bool stop_always;
};

static enum dstream_code on_data(void *ctx, const char *p, size_t n)
{
    struct log *l = ctx;
    cr_expect_gt(n, 0);
    return ds_buf_add(&l->data, p, n);
}

static enum dstream_code on_event(void *ctx, const struct ds_sse_event *ev, bool *stop)
{
    struct log *l = ctx;
    cr_expect_eq(ev->name[ev->name_len], '\0');
    cr_expect(!ev->id || ev->id[ev->id_len] == '\0');
    enum dstream_code rc = ds_buf_add(&l->text, ev->name, ev->name_len);
    const struct ds_buf *d = &l->data;
    if (rc == DSTREAM_OK)
        rc = ds_buf_adds(&l->text, "(");
    if (rc == DSTREAM_OK)
        rc = ds_buf_add(&l->text, d->data, d->len);
    if (rc == DSTREAM_OK)
        rc = ds_buf_adds(&l->text, ")");
    if (rc == DSTREAM_OK)
        rc = ds_buf_add(&l->text, ev->id ? ev->id : "-", ev->id ? ev->id_len : 1);
    l->data.len = 0;
    *stop = l->stop_always;
    return rc == DSTREAM_OK ? ds_buf_adds(&l->text, ";") : rc;
}

static const struct ds_sse_ops ops = {on_data, on_event};

static void log_init(struct log *l)
{
    *l = (struct log){0};
    ds_buf_init(&l->data, (size_t)70 << 20);
    ds_buf_init(&l->text, (size_t)70 << 20);
}

static void log_free(struct log *l)
{
    ds_buf_free(&l->data);
    ds_buf_free(&l->text);
}

/* Feeds one piece, from memory of exactly that size, until all is used. */
static enum dstream_code feed(struct ds_sse_parser *s, const char *p, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, p, n);
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0, used; i < n && rc == DSTREAM_OK; i += used) {
        rc = ds_sse_feed(s, copy + i, n - i, &used);
        cr_assert(rc != DSTREAM_OK || used > 0);
        cr_assert_leq(used, n - i);
    }
    free(copy);
    return rc;
}

/* The log of input that is cut at `a` and `b` and from there on in pieces; the result ends in what
 * retry said, or in the error with the beginning of its event. */
static void run(struct log *l, const char *p, size_t n, size_t a, size_t b, size_t piece)
{
    struct ds_sse_parser s;
    ds_sse_init(&s, &ops, l);
    enum dstream_code rc = feed(&s, p, a);
    if (rc == DSTREAM_OK)
        rc = feed(&s, p + a, b - a);
    for (size_t i = b; i < n && rc == DSTREAM_OK; i += piece)
        rc = feed(&s, p + i, n - i < piece ? n - i : piece);
    uint64_t ms;
    if (rc != DSTREAM_OK)
        ds_buf_addf(&l->text, "!%d@%lu %s", rc, (unsigned long)ds_sse_event_pos(&s), s.why);
    else if (ds_sse_retry(&s, &ms))
        ds_buf_addf(&l->text, "retry=%llu", (unsigned long long)ms);
    if (rc == DSTREAM_OK)
        cr_expect_eq(ds_sse_pos(&s), n);
    ds_sse_free(&s);
}

static void expect_cut(const struct log *want, const char *p, size_t n, size_t a, size_t b,
                       size_t piece, bool stop)
{
    struct log l;
    log_init(&l);
    l.stop_always = stop;
    run(&l, p, n, a, b, piece);
    cr_expect(l.text.len == want->text.len &&
                  (l.text.len == 0 || memcmp(l.text.data, want->text.data, l.text.len) == 0),
              "cut at %zu, %zu, then every %zu: %s: %s", a, b, piece, p, ds_buf_str(&l.text));
    log_free(&l);
}

/* Feeds it whole, bytewise, cut at every place and, where it is short, at every two. */
static void every_way(const char *p, size_t n, const char *want, size_t want_n)
{
    struct log whole;
    log_init(&whole);
    run(&whole, p, n, 0, 0, n);
    cr_expect(whole.text.len == want_n && memcmp(ds_buf_str(&whole.text), want, want_n) == 0,
              "%s: %s, not %s", p, ds_buf_str(&whole.text), want);
    for (size_t piece = 1; piece < 8; piece++) {
        expect_cut(&whole, p, n, 0, 0, piece, false);
        expect_cut(&whole, p, n, 0, 0, piece, true);
    }
    for (size_t a = 0; a <= n; a++) {
        for (size_t b = a; b <= (n <= 64 ? n : a); b++)
            expect_cut(&whole, p, n, a, b, n, false);
    }
    log_free(&whole);
}

#define BOM "\xEF\xBB\xBF"

struct sse_case {
    const char *in, *out;
    size_t in_n, out_n;
};
#define C(in, out)                                                                                 \
    {                                                                                              \
        in, out, sizeof(in) - 1, sizeof(out) - 1                                                   \
    }

static const struct sse_case cases[] = {
    C("", ""),
    C("\n\n\n", ""),
    C("data: a\n\n", "(a)-;"),
    C("data: a\n", ""),
    C("data: a", ""),
    C("data: a\n\ndata: b\n", "(a)-;"),
    /* line ends */
    C("data: a\r\r", "(a)-;"),
    C("data: a\r\n\r\n", "(a)-;"),
    C("data: a\r\ndata: b\rdata: c\ndata: d\r\n\r", "(a\nb\nc\nd)-;"),
    C("data: a\n\rdata: b\n\n", "(a)-;(b)-;"),
    C("data: a\r\n\ndata: b\r\r\n", "(a)-;(b)-;"),
    C("data: a\r\n\rdata: b\n\n\r\n", "(a)-;(b)-;"),
    C("data: a\r\rdata: b\r\r\n\n", "(a)-;(b)-;"),
    C("data: a\xE2\x80\xA8\x62\xC2\x85\x0B\x0C\n\n", "(a\xE2\x80\xA8\x62\xC2\x85\x0B\x0C)-;"),
    /* the value */
    C("data:a\n\n", "(a)-;"),
    C("data:  a \n\n", "( a )-;"),
    C("data:\ta\n\n", "(\ta)-;"),
    C("data: \n\n", "()-;"),
    C("data:\n\n", "()-;"),
    C("data\n\n", "()-;"),
    C("data\ndata\n\n", "(\n)-;"),
    C("data:\ndata: \ndata:  \n\n", "(\n\n )-;"),
    C("data: a\ndata\ndata: b\n\n", "(a\n\nb)-;"),
    C("data: a: b:\n\n", "(a: b:)-;"),
    C("data:: a\n\n", "(: a)-;"),
    C("data: a\0b\n\n", "(a\0b)-;"),
    C("data:\0\n\n", "(\0)-;"),
    C("data: \xFF\xC3\n\n", "(\xFF\xC3)-;"),
    /* the field */
    C(" data: a\n\n", ""),
    C("data : a\n\n", ""),
    C("Data: a\n\n", ""),
    C("dat: a\n\n", ""),
    C("datax: a\n\n", ""),
    C("data\0: a\n\n", ""),
    C("datadata: a\n\n", ""),
    C("datadatadatadata:data: a\n\n", ""),
    C("unknownfield\ndata: a\n\n", "(a)-;"),
    C("unknownf\ndata: a\n\n", "(a)-;"),
    C("unknownf:\ndata: a\n\n", "(a)-;"),
    C("x\ndata: a\n\n", "(a)-;"),
    /* comments */
    C(":\n\n: ping\n\n:data: a\n\n", ""),
    C(": x\ndata: a\n:\ndata: b\n: y\n\n", "(a\nb)-;"),
    /* names */
    C("event: e\ndata: a\n\ndata: b\n\n", "e(a)-;(b)-;"),
    C("data: a\nevent: e\n\n", "e(a)-;"),
    C("event: e\nevent: f\ndata: a\n\n", "f(a)-;"),
    C("event: e\ndata: a\nevent\n\n", "(a)-;"),
    C("event: e\ndata: a\nevent:\n\n", "(a)-;"),
    C("event: e\n\ndata: a\n\n", "(a)-;"),
    C("event:e x \ndata: a\n\n", "e x (a)-;"),
    C("event:  e\ndata: a\n\n", " e(a)-;"),
    C("event: a\0b\ndata: a\n\n", "a\0b(a)-;"),
    C("event: e\n", ""),
    /* ids */
    C("id: 1\ndata: a\n\ndata: b\n\n", "(a)1;(b)1;"),
    C("id: 1\n\ndata: a\n\n", "(a)1;"),
    C("id: 1\ndata: a\n\nid\ndata: b\n\n", "(a)1;(b);"),
    C("id: 1\ndata: a\n\nid:\ndata: b\n\n", "(a)1;(b);"),
    C("data: a\nid: 1\nid: 2\n\n", "(a)2;"),
    C("id: 1\nid: 2\0x\ndata: a\n\n", "(a)1;"),
    C("id: \0\ndata: a\n\n", "(a)-;"),
    C("id:  x \ndata: a\n\n", "(a) x ;"),
    C("data: a\n\nid: 1", "(a)-;"),
    /* retry */
    C("retry: 100\n", "retry=100"),
    C("retry: 100", ""),
    C("retry:0\n\n", "retry=0"),
    C("retry: 1\nretry: 2\n", "retry=2"),
    C("retry: 1\nretry: 2x\n", "retry=1"),
    C("retry: 1\nretry: -2\nretry: +2\nretry: 2 \nretry:  2\nretry: 2.0\n", "retry=1"),
    C("retry\n", ""),
    C("retry:\n", ""),
    C("retry: \n", ""),
    C("retry: 007\n", "retry=7"),
    C("retry: 9007199254740993\n", "retry=9007199254740993"),
    /* the byte order mark */
    C(BOM "data: a\n\n", "(a)-;"),
    C(BOM BOM "data: a\n\n", ""),
    C("\n" BOM "data: a\n\n", ""),
    C("data: a\n\n" BOM "data: b\n\n", "(a)-;"),
    C("\xEF\xBB"
      "data: a\n\ndata: b\n\n",
      "(b)-;"),
    C("\xEF"
      "data: a\ndata: b\n\n",
      "(b)-;"),
    C("\xEF\xBB\n\ndata: b\n\n", "(b)-;"),
    C("\xEF\ndata: b\n\n", "(b)-;"),
    C("\xEF:\ndata: b\n\n", "(b)-;"),
    C(BOM, ""),
    C(BOM "\ndata: a\n\n", "(a)-;"),
    C(BOM "\r\n:\r\ndata: a\r\n\r\n", "(a)-;"),
    C("\xFE\xFF"
      "data: a\n\n",
      ""),
    /* the examples of the specification */
    C("data: YHOO\ndata: +2\ndata: 10\n\n", "(YHOO\n+2\n10)-;"),
    C(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third "
      "event\n\n",
      "(first event)1;(second event);( third event);"),
    C("data\n\ndata\ndata\n\ndata:", "()-;(\n)-;"),
    C("data:test\n\ndata: test\n\n", "(test)-;(test)-;"),
    /* as a server of streams writes it */
    C("event: data\ndata:[1,\ndata:2]\n\nevent: control\ndata:{\"streamNextOffset\":\"1\"}\n\n",
      "data([1,\n2])-;control({\"streamNextOffset\":\"1\"})-;"),
};

Test(sse, the_same_events_however_the_bytes_are_cut)
{
    for (size_t i = 0; i < COUNT(cases); i++)
        every_way(cases[i].in, cases[i].in_n, cases[i].out, cases[i].out_n);
}

/* `n` times `c` between two texts. */
static void expect_filled(const char *before, size_t n, char c, const char *after, bool wants_fill,
                          const char *out_before, const char *out_after)
{
    struct ds_buf in, out;
    ds_buf_init(&in, 100000);
    ds_buf_init(&out, 100000);
    ds_buf_adds(&in, before);
    ds_buf_adds(&out, out_before);
    for (size_t i = 0; i < n; i++) {
        ds_buf_addc(&in, c);
        if (wants_fill)
            ds_buf_addc(&out, c);
    }
    ds_buf_adds(&in, after);
    ds_buf_adds(&out, out_after);
    struct log l;
    log_init(&l);
    run(&l, in.data, in.len, 0, 0, in.len);
    cr_expect_str_eq(ds_buf_str(&l.text), ds_buf_str(&out));
    const size_t pieces[] = {1, 2, 3, 7, 64, 255, 256, 257, 4095, 4096, 4097};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        expect_cut(&l, in.data, in.len, 0, 0, pieces[i], false);
        expect_cut(&l, in.data, in.len, 0, 0, pieces[i], true);
    }
    log_free(&l);
    ds_buf_free(&in);
    ds_buf_free(&out);
}

Test(sse, names_and_ids_are_bounded)
{
    char limit[100];
    struct ds_buf b;
    ds_buf_init(&b, sizeof limit);
    ds_buf_addf(&b, "(a)-;!%d@9 an event name that is too long", DSTREAM_ERR_LIMIT);
    expect_filled("event:", DS_SSE_NAME_MAX, 'e', "\ndata: a\n\n", true, "", "(a)-;");
    expect_filled("data: a\n\n: x\nevent:", DS_SSE_NAME_MAX + 1, 'e', "\ndata: a\n\n", false,
                  ds_buf_str(&b), "");
    b.len = 0;
    ds_buf_addf(&b, "(a)-;!%d@10 an event id that is too long", DSTREAM_ERR_LIMIT);
    expect_filled("data: a\nid:", DS_SSE_ID_MAX, 'i', "\n\n", true, "(a)", ";");
    expect_filled("data: a\n\n\nid:", DS_SSE_ID_MAX + 1, 'i', "\n\n", false, ds_buf_str(&b), "");
    ds_buf_free(&b);
}

Test(sse, fields_that_nobody_knows_may_have_any_length)
{
    expect_filled("", 10000, 'x', ": y\ndata: a\n\n", false, "(a)-;", "");
    expect_filled("x:", 10000, 'x', "\ndata: a\n\n", false, "(a)-;", "");
    expect_filled(":", 10000, ':', "\rdata: a\n\n", false, "(a)-;", "");
    expect_filled("retry:", 10000, 'x', "\rdata: a\n\n", false, "(a)-;", "");
    expect_filled("retry: 5\nretry:1", 10000, 'x', "\ndata: a\n\n", false, "(a)-;retry=5", "");
}

Test(sse, lines_longer_than_the_window_come_whole)
{
    for (size_t n = 4080; n < 4110; n++) {
        expect_filled("data:", n, 'x', "\n\n", true, "(", ")-;");
        expect_filled("data: a\rdata: ", n, 'x', "\r\r", true, "(a\n", ")-;");
    }
    expect_filled("data:", 10000, 'x', "\r\n\r\n", true, "(", ")-;");
    expect_filled("data: a\n", 10000, '\n', "data: b\n\n", false, "(a)-;(b)-;", "");
    expect_filled("data: a\r", 10000, '\r', "data: b\n\n", false, "(a)-;(b)-;", "");
}

Test(sse, a_feed_stops_right_behind_an_event_where_asked_to)
{
    struct log l;
    struct ds_sse_parser s;
    size_t used;
    log_init(&l);
    l.stop_always = true;
    ds_sse_init(&s, &ops, &l);
    cr_expect_eq(ds_sse_feed(&s, "data: a\n\ndata: b\r\n\r\n", 19, &used), DSTREAM_OK);
    cr_expect_eq(used, 9);
    cr_expect_eq(ds_sse_feed(&s, "data: b\r\n\r\n", 11, &used), DSTREAM_OK);
    cr_expect_eq(used, 10);
    cr_expect_eq(ds_sse_feed(&s, "\n", 1, &used), DSTREAM_OK);
    cr_expect_eq(used, 1);
    cr_expect_eq(ds_sse_pos(&s), 20);
    cr_expect_str_eq(ds_buf_str(&l.text), "(a)-;(b)-;");
    ds_sse_free(&s);
    log_free(&l);
}

Test(sse, a_new_connection_keeps_the_last_id_and_nothing_else)
{
    struct log l;
    struct ds_sse_parser s;
    static const char first[] = "retry: 5\nid: 1\nevent: e\ndata: cut";
    log_init(&l);
    ds_sse_init(&s, &ops, &l);
    for (size_t n = 0; n < sizeof first; n++) {
        uint64_t ms;
        cr_expect_eq(feed(&s, first, n), DSTREAM_OK);
        ds_sse_reset(&s);
        l.data.len = l.text.len = 0;
        cr_expect_not(ds_sse_retry(&s, &ms));
        cr_expect_eq(ds_sse_pos(&s), 0);
        cr_expect_eq(feed(&s, BOM "data: new\r\n\r", 15), DSTREAM_OK);
        ds_sse_reset(&s);
        cr_expect_eq(feed(&s, "\ndata: b\n\n", 10), DSTREAM_OK);
        cr_expect_str_eq(ds_buf_str(&l.text), n < 15 ? "(new)-;(b)-;" : "(new)1;(b)1;", "%zu", n);
    }
    ds_sse_free(&s);
    log_free(&l);
}

static enum dstream_code refuse_data(void *ctx, const char *p, size_t n)
{
    (void)ctx, (void)p, (void)n;
    return DSTREAM_ERR_LIMIT;
}

Test(sse, the_error_of_a_callback_ends_it_for_good)
{
    static const struct ds_sse_ops refusing = {refuse_data, on_event};
    struct ds_sse_parser s;
    size_t used;
    ds_sse_init(&s, &refusing, NULL);
    cr_expect_eq(ds_sse_feed(&s, "data: a\n\n", 9, &used), DSTREAM_ERR_LIMIT);
    cr_expect_eq(ds_sse_feed(&s, "\n\n", 2, &used), DSTREAM_ERR_LIMIT);
    cr_expect_eq(used, 0);
    ds_sse_free(&s);
}

/* The three that follow check no time: what is quadratic would not end. */
Test(sse, a_line_of_64_mib_in_single_bytes_completes, .timeout = 120)
{
    const size_t n = ((size_t)64 << 20) / UNIT_SHARE;
    struct log l;
    struct ds_sse_parser s;
    size_t used;
    log_init(&l);
    ds_sse_init(&s, &ops, &l);
    ds_sse_feed(&s, "data:", 5, &used);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ds_sse_feed(&s, "x", 1, &used), DSTREAM_OK);
    cr_expect_eq(l.data.len, n);
    ds_sse_feed(&s, "\n\n", 2, &used);
    cr_expect_eq(l.text.len, n + 4);
    ds_sse_free(&s);
    log_free(&l);
}

static void expect_many(const char *line, size_t n, bool stop)
{
    size_t len = strlen(line);
    char *all = malloc(n * len);
    cr_assert_not_null(all);
    for (size_t i = 0; i < n; i++)
        memcpy(all + i * len, line, len);
    struct log l;
    log_init(&l);
    l.stop_always = stop;
    run(&l, all, n * len, 0, 0, n * len);
    cr_expect_eq(l.text.len, n * 5);
    log_free(&l);
    free(all);
}

Test(sse, a_million_events_in_one_piece_complete, .timeout = 120)
{
    expect_many("data:x\n\n", 1000000, false);
    expect_many("data:x\r\r", 1000000, false);
    expect_many("data:x\r\n\r\n", 1000000, false);
}

Test(sse, stopping_after_each_of_a_hundred_thousand_events_completes, .timeout = 120)
{
    expect_many("data:x\n\n", 100000, true);
    expect_many("data:x\r\r", 100000, true);
}

Test(sse, each_allocation_may_fail)
{
    static const char text[] =
        "id: 12\nevent: a name that is longer than the first allocation of a buffer, sixty-four\n"
        "data: x\n\nid: another id that is longer than the first allocation of a buffer, "
        "sixty-four bytes\ndata: a\n\n";
    for (long n = 0;; n++) {
        struct log l;
        struct ds_sse_parser s;
        size_t used;
        log_init(&l);
        ds_sse_init(&s, &ops, &l);
        ds_alloc_fail_after(n);
        enum dstream_code rc = ds_sse_feed(&s, text, sizeof text - 1, &used);
        ds_alloc_fail_after(-1);
        ds_sse_free(&s);
        log_free(&l);
        if (rc == DSTREAM_OK) {
            cr_expect_geq(n, 5);
            break;
        }
        cr_assert_eq(rc, DSTREAM_ERR_NOMEM);
    }
}
