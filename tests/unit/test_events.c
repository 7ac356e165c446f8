/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "sse/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/unit/share.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ds_limits small_limits(void)
{
    struct ds_limits l = ds_limits_default();
    l.max_event = 64;
    l.json_depth = 4;
    return l;
}

/* Writes a batch down as "data|messages>next,cursor,flags;" (U up to date, C closed). */
static void note(struct ds_buf *log, const struct ds_events *e)
{
    const struct ds_control *c = &e->control;
    ds_buf_add(log, e->staged.bytes.data, e->staged.bytes.len);
    ds_buf_addf(log, "|%zu>%s,%s,%s%s;", e->staged.count, c->next, c->cursor,
                c->up_to_date ? "U" : "", c->closed ? "C" : "");
    for (size_t i = 0, end = 0; i < e->staged.count; i++) {
        cr_assert_gt(e->staged.ends[i], end);
        end = e->staged.ends[i];
        cr_assert_leq(end, e->staged.bytes.len);
        cr_assert_eq(e->staged.bytes.data[end - 1], '\n');
    }
}

/* Feeds a piece from memory of exactly that size; false once it failed. */
static bool feed(struct ds_events *e, const char *p, size_t n, struct ds_buf *log)
{
    char *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, p, n);
    enum ds_events_result r = DS_EVENTS_MORE;
    for (size_t i = 0, used; i < n && r != DS_EVENTS_ERROR; i += used) {
        r = ds_events_feed(e, copy + i, n - i, &used);
        cr_assert(used > 0 || r == DS_EVENTS_ERROR);
        if (r == DS_EVENTS_BATCH) {
            note(log, e);
            ds_events_take(e);
        } else if (r == DS_EVENTS_MORE) {
            cr_assert_eq(used, n - i);
        }
    }
    free(copy);
    return r != DS_EVENTS_ERROR;
}

static void run(struct ds_buf *log, enum ds_sse_kind kind, const char *p, size_t n, size_t a,
                size_t b, size_t piece)
{
    struct ds_limits limits = small_limits();
    struct ds_events e;
    ds_events_init(&e, &limits);
    ds_events_reset(&e, kind);
    bool ok = feed(&e, p, a, log) && feed(&e, p + a, b - a, log);
    for (size_t i = b; i < n && ok; i += piece)
        ok = feed(&e, p + i, n - i < piece ? n - i : piece, log);
    if (!ok) {
        size_t used = 1;
        ds_buf_addf(log, "!%d %s", e.error.code, e.error.message);
        cr_expect_eq(ds_events_feed(&e, "\n", 1, &used), DS_EVENTS_ERROR);
        cr_expect_eq(used, 0);
    }
    ds_events_free(&e);
}

static void expect_cut(const struct ds_buf *want, enum ds_sse_kind kind, const char *p, size_t n,
                       size_t a, size_t b, size_t piece)
{
    struct ds_buf log;
    ds_buf_init(&log, 100000);
    run(&log, kind, p, n, a, b, piece);
    cr_expect(log.len == want->len && (log.len == 0 || memcmp(log.data, want->data, log.len) == 0),
              "%s cut at %zu, %zu, then every %zu: %s", p, a, b, piece, ds_buf_str(&log));
    ds_buf_free(&log);
}

static void every_way(const struct ds_buf *want, enum ds_sse_kind kind, const char *p, size_t n)
{
    for (size_t piece = 1; piece < 8; piece++)
        expect_cut(want, kind, p, n, 0, 0, piece);
    for (size_t a = 0; a <= n; a++) {
        for (size_t b = a; b <= (n <= 90 ? n : a); b++)
            expect_cut(want, kind, p, n, a, b, n);
    }
}

#define NEXT1 "event: control\ndata: {\"streamNextOffset\":\"1\"}\n\n"
#define NEXT2                                                                                      \
    "event: control\ndata: "                                                                       \
    "{\"streamNextOffset\":\"2\",\"streamCursor\":\"c\",\"upToDate\":true}\n\n"
#define END3                                                                                       \
    "event: control\ndata: "                                                                       \
    "{\"streamNextOffset\":\"3\",\"upToDate\":true,\"streamClosed\":true}\n\n"

struct event_case {
    enum ds_sse_kind kind;
    const char *in, *out; /* out up to an error, of which `in` the code and a part of the text: */
    enum dstream_code code;
    const char *text;
};

static const struct event_case cases[] = {
    /* batches */
    {DS_SSE_TEXT, "", "", 0, NULL},
    {DS_SSE_TEXT, NEXT1, "|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "event: data\ndata: a\n\n" NEXT1, "a|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "event: data\ndata: a\ndata: b\n\nevent: data\ndata: c\n\n" NEXT2,
     "a\nbc|0>2,c,U;", 0, NULL},
    {DS_SSE_TEXT, "event: data\ndata: a\n\n" NEXT1 "event: data\ndata: b\n\n" NEXT2 NEXT2,
     "a|0>1,,;b|0>2,c,U;|0>2,c,U;", 0, NULL},
    {DS_SSE_TEXT,
     "event: data\r\ndata: a\r\n\r\nevent: control\rdata: {\"streamNextOffset\":\"1\"}\r\r",
     "a|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "event: data\ndata: \xFF\xC3\n\n" NEXT1, "\xFF\xC3|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "event: data\ndata\n\n" NEXT1, "|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "event: data\ndata: \n\nevent: data\ndata:\ndata:\n\n" NEXT1, "\n|0>1,,;", 0,
     NULL},
    /* what no control event covers is not delivered */
    {DS_SSE_TEXT, "event: data\ndata: a\n\n", "", 0, NULL},
    {DS_SSE_TEXT, NEXT1 "event: data\ndata: a\n\nevent: control\ndata: {}\n", "|0>1,,;", 0, NULL},
    /* the name may come last, and the last one counts */
    {DS_SSE_TEXT, "data: a\nevent: data\n\n" NEXT1, "a|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "data: {\"streamNextOffset\":\"7\"}\nevent: control\n\n", "|0>7,,;", 0, NULL},
    {DS_SSE_TEXT, "event: data\ndata: {\"streamNextOffset\":\ndata:\"7\"}\nevent: control\n\n",
     "|0>7,,;", 0, NULL},
    {DS_SSE_TEXT, "event: other\ndata: a\nevent: data\n\n" NEXT1, "a|0>1,,;", 0, NULL},
    /* other events and comments are ignored, also between data and control */
    {DS_SSE_TEXT, "event: data\ndata: a\n\n: ping\n\ndata: x\n\nevent: ping\ndata: y\n\n" NEXT1,
     "a|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "event: Data\ndata: x\n\nevent: data \ndata: x\n\nevent: dat\ndata: x\n\n" NEXT1,
     "|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "data: a\nevent: data\nevent: other\n\n" NEXT1, "|0>1,,;", 0, NULL},
    {DS_SSE_TEXT, "event: control\n\n" NEXT1, "|0>1,,;", 0, NULL},
    {DS_SSE_JSON, "event: data\ndata: [1]\n\nevent: x\ndata: [2]\n\n" NEXT1, "1\n|1>1,,;", 0, NULL},
    /* nothing is read behind the end */
    {DS_SSE_TEXT,
     "event: data\ndata: z\n\n" END3 "event: data\ndata: x\n\n" NEXT1 "event: control\ndata: x\n\n",
     "z|0>3,,UC;", 0, NULL},
    {DS_SSE_TEXT, "event: control\ndata: {\"streamNextOffset\":\"3\",\"streamClosed\":true}\n\n",
     "|0>3,,UC;", 0, NULL},
    /* JSON */
    {DS_SSE_JSON, "event: data\ndata: [1, 2 ,{\"a\":1.0}]\n\n" NEXT1, "1\n2\n{\"a\":1.0}\n|3>1,,;",
     0, NULL},
    {DS_SSE_JSON, "event: data\ndata: [1,\ndata: {\"a\":\ndata: 2}]\n\n" NEXT1,
     "1\n{\"a\":\n2}\n|2>1,,;", 0, NULL},
    {DS_SSE_JSON,
     "event: data\ndata: [1]\n\nevent: data\ndata: [2]\n\n" NEXT1
     "data: [3,4]\nevent: data\n\n" NEXT2,
     "1\n2\n|2>1,,;3\n4\n|2>2,c,U;", 0, NULL},
    {DS_SSE_JSON, "event: data\ndata: []\n\n" NEXT1, "|0>1,,;", 0, NULL},
    {DS_SSE_JSON, "event: data\ndata: [\"\\ud800\",9007199254740993,1e400]\n\n" NEXT1,
     "\"\\ud800\"\n9007199254740993\n1e400\n|3>1,,;", 0, NULL},
    {DS_SSE_JSON, NEXT1 "event: data\ndata: \n\n", "|0>1,,;", DSTREAM_ERR_PARSE,
     "data event at byte 47 of the event stream is not valid JSON: the end came too early, at byte "
     "0"},
    {DS_SSE_JSON, "event: data\ndata\n\n", "", DSTREAM_ERR_PARSE, "too early, at byte 0"},
    {DS_SSE_JSON, "event: data\ndata: {}\n\n", "", DSTREAM_ERR_PARSE,
     "an array was expected, at byte 0"},
    {DS_SSE_JSON, "event: data\ndata: 1\n\n", "", DSTREAM_ERR_PARSE, "an array was expected"},
    {DS_SSE_JSON, "event: data\ndata: [1] [2]\n\n", "", DSTREAM_ERR_PARSE,
     "behind the end, at byte 4"},
    {DS_SSE_JSON, "event: data\ndata: [1\n\n", "", DSTREAM_ERR_PARSE, "too early, at byte 2"},
    {DS_SSE_JSON, "event: data\ndata: [\"\xFF\"]\n\n", "", DSTREAM_ERR_PARSE,
     "not UTF-8, at byte 2"},
    {DS_SSE_JSON, "event: data\ndata: [\"a\ndata: b\"]\n\n", "", DSTREAM_ERR_PARSE,
     "control character"},
    {DS_SSE_JSON, "event: data\ndata: [[[[[1]]]]]\n\n" NEXT1, "[[[[1]]]]\n|1>1,,;", 0, NULL},
    {DS_SSE_JSON, "event: data\ndata: [[[[[[]]]]]]\n\n", "", DSTREAM_ERR_LIMIT,
     "nested too deeply, at byte 5"},
    /* base64 */
    {DS_SSE_BASE64, "event: data\ndata: Zm9v\n\n" NEXT1, "foo|0>1,,;", 0, NULL},
    {DS_SSE_BASE64, "event: data\ndata: Zg==\n\nevent: data\ndata: Zm\ndata: 8=\n\n" NEXT1,
     "ffo|0>1,,;", 0, NULL},
    {DS_SSE_BASE64, "event: data\ndata\n\n" NEXT1, "|0>1,,;", 0, NULL},
    {DS_SSE_BASE64, "event: data\ndata:\ndata:\n\nevent: data\ndata: Zg==\n\n" NEXT1, "f|0>1,,;", 0,
     NULL},
    {DS_SSE_BASE64, "data: Zm9v\nevent: x\n\nevent: data\ndata: Zg==\n\n" NEXT1, "f|0>1,,;", 0,
     NULL},
    {DS_SSE_BASE64, NEXT1 "event: data\ndata: Zm9\n\n", "|0>1,,;", DSTREAM_ERR_PARSE,
     "data event at byte 47 of the event stream is not valid base64: its length is no multiple of "
     "four, at byte 3"},
    {DS_SSE_BASE64, "event: data\ndata: Zm 9\n\n", "", DSTREAM_ERR_PARSE, "alphabet, at byte 2"},
    {DS_SSE_BASE64, "event: data\ndata: Zh==\n\n", "", DSTREAM_ERR_PARSE, "trailing bits"},
    {DS_SSE_BASE64, "event: data\ndata: Zg==Zg==\n\n", "", DSTREAM_ERR_PARSE, "behind the padding"},
    /* control events */
    {DS_SSE_TEXT, "event: data\ndata: a\n\n\n: x\nevent: control\ndata: {\n\n", "",
     DSTREAM_ERR_PARSE, "the control event at byte 22 of the event stream: not valid JSON"},
    {DS_SSE_TEXT, "event: control\ndata\n\n", "", DSTREAM_ERR_PARSE, "not valid JSON"},
    {DS_SSE_TEXT, "event: control\ndata: {}\n\n", "", DSTREAM_ERR_PROTOCOL,
     "the control event at byte 0 of the event stream: streamNextOffset is missing"},
    {DS_SSE_BASE64, "event: control\ndata: eyJzdHJlYW1OZXh0T2Zmc2V0IjoiMSJ9\n\n", "",
     DSTREAM_ERR_PARSE, "not valid"},
};

Test(events, the_same_batches_and_errors_however_the_bytes_are_cut)
{
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct event_case *c = &cases[i];
        struct ds_buf log;
        ds_buf_init(&log, 100000);
        size_t n = strlen(c->in), out_n = strlen(c->out);
        run(&log, c->kind, c->in, n, 0, 0, n);
        const char *got = ds_buf_str(&log);
        if (c->code) {
            char code[16];
            snprintf(code, sizeof code, "!%d ", c->code);
            cr_expect(strncmp(got, c->out, out_n) == 0 && strncmp(got + out_n, code, 5) == 0 &&
                          strstr(got, c->text),
                      "%s: %s", c->in, got);
        } else {
            cr_expect_str_eq(got, c->out, "%s: %s", c->in, got);
        }
        every_way(&log, c->kind, c->in, n);
        ds_buf_free(&log);
    }
}

struct control_case {
    const char *in;
    const char *out; /* "next,cursor,flags", NULL: */
    enum dstream_code code;
    const char *text;
};

static const struct control_case controls[] = {
    {"{\"streamNextOffset\":\"1\"}", "1,,", 0, NULL},
    {" { \"streamNextOffset\" : \"1\" , \"x\" : [ { } , \"}\" ] } \n", "1,,", 0, NULL},
    {"{\"streamNextOffset\":\"a_b-c.1\",\"streamCursor\":\"x y\"}", NULL, DSTREAM_ERR_PROTOCOL,
     "streamCursor has a space"},
    {"{\"streamNextOffset\":\"1\",\"streamCursor\":\"7\",\"upToDate\":true,\"streamClosed\":false}",
     "1,7,U", 0, NULL},
    {"{\"streamNextOffset\":\"1\",\"upToDate\":false,\"streamClosed\":true}", "1,,UC", 0, NULL},
    /* a cursor has no names of its own */
    {"{\"streamNextOffset\":\"1\",\"streamCursor\":\"-1\"}", "1,-1,", 0, NULL},
    {"{\"streamNextOffset\":\"1\",\"streamCursor\":\"now\"}", "1,now,", 0, NULL},
    {"{\"streamNextOffset\":\"1\",\"streamCursor\":null,\"upToDate\":null,\"streamClosed\":null}",
     "1,,", 0, NULL},
    {"{\"streamNextOffset\":\"1\",\"streamCursor\":\"\"}", "1,,", 0, NULL},
    {"{\"streamNextOffset\":\"\\u0031\\/\\u00e9\"}", "1/\xC3\xA9,,", 0, NULL},
    {"{\"streamNextOffset\":\"\\ud83d\\ude00\"}", "\xF0\x9F\x98\x80,,", 0, NULL},
    {"{\"stream\\u004eextOffset\":\"1\"}", "1,,", 0, NULL},
    {"{\"streamNextOffset\\u0000\":\"2\",\"streamNextOffset\":\"1\"}", "1,,", 0, NULL},
    {"{\"StreamNextOffset\":\"2\",\"streamNextOffset\":\"1\"}", "1,,", 0, NULL},
    /* unknown fields may hold whatever is JSON */
    {"{\"a\":\"\\u0000\\ud800\",\"\\udfff\":1,\"streamNextOffset\":\"1\",\"b\":["
     "\"streamNextOffset\"],"
     "\"c\":{\"streamNextOffset\":\"9\",\"d\":\"\\\\\\\"}\"},\"e\":null,\"a\":-1.5e+300}",
     "1,,", 0, NULL},
    {"{\"n\":1000000000000000000000000000000000000000000000000000000000000000000000000000000000000,"
     "\"streamNextOffset\":\"1\"}",
     "1,,", 0, NULL},
    {"{\"streamNextOffset\":\"\\\\u0000\"}", "\\u0000,,", 0, NULL},
    /* malformed */
    {"", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"{", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"null", NULL, DSTREAM_ERR_PARSE, "not a JSON object"},
    {"[]", NULL, DSTREAM_ERR_PARSE, "not a JSON object"},
    {"\"1\"", NULL, DSTREAM_ERR_PARSE, "not a JSON object"},
    {"{\"streamNextOffset\":\"1\"}x", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"{\"streamNextOffset\":\"1\",\"a\":01}", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"{\"streamNextOffset\":\"1\",\"a\":1.}", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"{\"streamNextOffset\":\"1\",}", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"{\"streamNextOffset\":\"1\x01\"}", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"{\"streamNextOffset\":\"1\xFF\"}", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"{\v\"streamNextOffset\":\"1\"}", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    {"{'streamNextOffset':'1'}", NULL, DSTREAM_ERR_PARSE, "not valid JSON"},
    /* lawful JSON that breaks the protocol */
    {"{}", NULL, DSTREAM_ERR_PROTOCOL, "streamNextOffset is missing"},
    {"{\"upToDate\":true}", NULL, DSTREAM_ERR_PROTOCOL, "streamNextOffset is missing"},
    {"{\"streamNextOffset\":null}", NULL, DSTREAM_ERR_PROTOCOL, "streamNextOffset is missing"},
    {"{\"streamNextOffset\":\"\"}", NULL, DSTREAM_ERR_PROTOCOL, "streamNextOffset is empty"},
    {"{\"streamNextOffset\":1}", NULL, DSTREAM_ERR_PROTOCOL, "streamNextOffset is not a string"},
    {"{\"streamNextOffset\":[\"1\"]}", NULL, DSTREAM_ERR_PROTOCOL, "is not a string"},
    {"{\"streamNextOffset\":\"-1\"}", NULL, DSTREAM_ERR_PROTOCOL, "\"-1\""},
    {"{\"streamNextOffset\":\"now\"}", NULL, DSTREAM_ERR_PROTOCOL, "\"now\""},
    {"{\"streamNextOffset\":\"\\u006eow\"}", NULL, DSTREAM_ERR_PROTOCOL, "\"now\""},
    {"{\"streamNextOffset\":\"1 2\"}", NULL, DSTREAM_ERR_PROTOCOL, "space"},
    {"{\"streamNextOffset\":\"1\\n\"}", NULL, DSTREAM_ERR_PROTOCOL, "control character"},
    {"{\"streamNextOffset\":\"1\\u007f\"}", NULL, DSTREAM_ERR_PROTOCOL, "control character"},
    {"{\"streamNextOffset\":\"1\\u0000\"}", NULL, DSTREAM_ERR_PROTOCOL, "plain text"},
    {"{\"streamNextOffset\":\"\\u00002\"}", NULL, DSTREAM_ERR_PROTOCOL, "plain text"},
    {"{\"streamNextOffset\":\"\\ud800\"}", NULL, DSTREAM_ERR_PROTOCOL, "plain text"},
    {"{\"streamNextOffset\":\"1\",\"streamCursor\":\"a\\u0000\"}", NULL, DSTREAM_ERR_PROTOCOL,
     "streamCursor"},
    {"{\"streamNextOffset\":\"1\",\"streamCursor\":7}", NULL, DSTREAM_ERR_PROTOCOL,
     "streamCursor is not a string"},
    {"{\"streamNextOffset\":\"1\",\"streamNextOffset\":\"1\"}", NULL, DSTREAM_ERR_PROTOCOL,
     "twice"},
    {"{\"streamNextOffset\":\"1\",\"stream\\u004eextOffset\":\"2\"}", NULL, DSTREAM_ERR_PROTOCOL,
     "twice"},
    {"{\"streamNextOffset\":null,\"streamNextOffset\":\"2\"}", NULL, DSTREAM_ERR_PROTOCOL, "twice"},
    {"{\"streamNextOffset\":\"1\",\"upToDate\":true,\"upToDate\":true}", NULL, DSTREAM_ERR_PROTOCOL,
     "upToDate is there twice"},
    {"{\"streamNextOffset\":\"1\",\"upToDate\":\"true\"}", NULL, DSTREAM_ERR_PROTOCOL,
     "upToDate is neither"},
    {"{\"streamNextOffset\":\"1\",\"upToDate\":1}", NULL, DSTREAM_ERR_PROTOCOL,
     "upToDate is neither"},
    {"{\"streamNextOffset\":\"1\",\"streamClosed\":\"yes\"}", NULL, DSTREAM_ERR_PROTOCOL,
     "streamClosed is neither"},
    {"{\"streamNextOffset\":\"1\",\"streamClosed\":{}}", NULL, DSTREAM_ERR_PROTOCOL,
     "streamClosed is neither"},
};

Test(events, control_events_are_read_strictly)
{
    for (size_t i = 0; i < COUNT(controls); i++) {
        const struct control_case *t = &controls[i];
        struct ds_control c;
        struct dstream_error err = {0};
        size_t n = strlen(t->in);
        char *copy = malloc(n + 1);
        cr_assert_not_null(copy);
        memcpy(copy, t->in, n);
        enum dstream_code rc = ds_control_parse(copy, n, &c, &err);
        free(copy);
        cr_expect_eq(rc, t->code, "%s: %d %s", t->in, rc, err.message);
        if (t->out && rc == DSTREAM_OK) {
            struct ds_buf b;
            ds_buf_init(&b, 3000);
            ds_buf_addf(&b, "%s,%s,%s%s", c.next, c.cursor, c.up_to_date ? "U" : "",
                        c.closed ? "C" : "");
            cr_expect_str_eq(ds_buf_str(&b), t->out, "%s", t->in);
            ds_buf_free(&b);
        } else if (!t->out) {
            cr_expect_eq(err.code, t->code);
            cr_expect(strstr(err.message, t->text), "%s: %s", t->in, err.message);
        }
    }
}

static void expect_token(const char *field, size_t n, enum dstream_code code)
{
    struct ds_buf b;
    struct ds_control c;
    struct dstream_error err = {0};
    ds_buf_init(&b, 10000);
    ds_buf_addf(&b, "{\"a\":0,\"%s\":\"", field);
    for (size_t i = 0; i < n; i++)
        ds_buf_addc(&b, 'x');
    ds_buf_adds(&b, "\"");
    if (strcmp(field, "streamNextOffset") != 0)
        ds_buf_adds(&b, ",\"streamNextOffset\":\"1\"");
    ds_buf_adds(&b, "}");
    cr_expect_eq(ds_control_parse(b.data, b.len, &c, &err), code, "%s %zu", field, n);
    if (code)
        cr_expect(strstr(err.message, field), "%s", err.message);
    else
        cr_expect_eq(strlen(strcmp(field, "streamNextOffset") == 0 ? c.next : c.cursor), n);
    ds_buf_free(&b);
}

Test(events, tokens_are_bounded)
{
    expect_token("streamNextOffset", DS_TOKEN_MAX, DSTREAM_OK);
    expect_token("streamNextOffset", DS_TOKEN_MAX + 1, DSTREAM_ERR_LIMIT);
    expect_token("streamCursor", DS_TOKEN_MAX, DSTREAM_OK);
    expect_token("streamCursor", DS_TOKEN_MAX + 1, DSTREAM_ERR_LIMIT);
}

/* An event of `n` bytes of data behind `before`, and what follows. */
static void expect_size(const char *before, const char *name, size_t n, const char *after,
                        const char *out)
{
    struct ds_buf in, log;
    ds_buf_init(&in, 1000000);
    ds_buf_init(&log, 100000);
    ds_buf_addf(&in, "%sevent: %s\ndata: ", before, name);
    for (size_t i = 0; i < n; i++)
        ds_buf_addc(&in, 'x');
    ds_buf_adds(&in, after);
    run(&log, DS_SSE_TEXT, in.data, in.len, 0, 0, in.len);
    cr_expect(strstr(ds_buf_str(&log), out), "%zu: %s", n, log.data);
    for (size_t piece = 1; piece < in.len; piece = piece * 3 + 1)
        expect_cut(&log, DS_SSE_TEXT, in.data, in.len, 0, 0, piece);
    ds_buf_free(&in);
    ds_buf_free(&log);
}

Test(events, staged_bytes_are_bounded)
{
    char limit[200];
    snprintf(limit, sizeof limit,
             "!%d more than 64 bytes of data before a control event, with the event at byte ",
             DSTREAM_ERR_LIMIT);
    expect_size("", "data", 64, "\n\n" NEXT1, "|0>1,,;");
    expect_size("", "data", 65, "\n\n" NEXT1, limit);
    expect_size("event: data\ndata: 4444\n\n", "data", 60, "\n\n" NEXT1, "|0>1,,;");
    expect_size("event: data\ndata: 4444\n\n", "data", 61, "\n\n" NEXT1, limit);
    expect_size("event: data\ndata: 4444\n\n" NEXT1, "data", 64, "\n\n" NEXT1, "4444|0>1,,;");
    /* one that never ends */
    expect_size("", "data", 65 + DS_CONTROL_MAX, "", limit);
    /* other events do not count, but are bounded as well */
    expect_size("", "other", 1000, "\n\n" NEXT1, "|0>1,,;");
    expect_size("", "other", 65 + DS_CONTROL_MAX, "\n\n", limit);
    snprintf(limit, sizeof limit, "!%d the control event at byte 0 of the event stream is over",
             DSTREAM_ERR_LIMIT);
    expect_size("", "control", DS_CONTROL_MAX + 1, "\n\n", limit);
    snprintf(limit, sizeof limit, "!%d an event name that is too long, in the event at byte 47",
             DSTREAM_ERR_LIMIT);
    expect_size(NEXT1 "event: "
                      "0123456789012345678901234567890123456789012345678901234567890123456789"
                      "0123456789012345678901234567890123456789012345678901234567890123456789"
                      "0123456789012345678901234567890123456789012345678901234567890123456789"
                      "0123456789012345678901234567890123456789012345678901234567890123456789"
                      "\n",
                "data", 1, "\n\n", limit);
}

Test(events, consumed_ends_right_behind_the_control_event)
{
    struct ds_limits limits = ds_limits_default();
    struct ds_events e;
    size_t used;
    static const char text[] = "event: data\ndata: a\n\n" END3 "event: data\n";
    ds_events_init(&e, &limits);
    ds_events_reset(&e, DS_SSE_TEXT);
    cr_expect_not(e.any);
    cr_expect_eq(ds_events_feed(&e, text, sizeof text - 1, &used), DS_EVENTS_BATCH);
    cr_expect_eq(used, sizeof text - 1 - strlen("event: data\n"));
    cr_expect(e.any);
    /* not taken yet: nothing more is read */
    cr_expect_eq(ds_events_feed(&e, "x", 1, &used), DS_EVENTS_BATCH);
    cr_expect_eq(used, 0);
    cr_expect_eq(e.staged.bytes.len, 1);
    ds_events_take(&e);
    cr_expect_eq(e.staged.bytes.len, 0);
    cr_expect_eq(ds_events_feed(&e, "event: control\ndata: x\n\n", 24, &used), DS_EVENTS_MORE);
    cr_expect_eq(used, 24);
    ds_events_free(&e);
}

Test(events, a_new_connection_begins_from_nothing)
{
    static const char *const first[] = {"event: data\ndata: staged\n\nevent: control\nda",
                                        "event: data\ndata: staged\n\nevent: control\ndata: x\n\n",
                                        "event: data\ndata: staged\n\n" END3 "x", "data: x\r", ""};
    struct ds_limits limits = ds_limits_default();
    struct ds_events e;
    struct ds_buf log;
    ds_buf_init(&log, 1000);
    ds_events_init(&e, &limits);
    for (size_t i = 0; i < COUNT(first); i++) {
        ds_events_reset(&e, DS_SSE_TEXT);
        feed(&e, first[i], strlen(first[i]), &log);
        ds_events_reset(&e, DS_SSE_BASE64);
        cr_expect_not(e.any);
        cr_expect_eq(e.error.code, DSTREAM_OK);
        log.len = 0;
        static const char second[] = "\nevent: data\ndata: Zg==\n\n" NEXT1;
        cr_expect(feed(&e, second, sizeof second - 1, &log));
        cr_expect_str_eq(ds_buf_str(&log), "f|0>1,,;");
        cr_expect_eq(e.parser.pos, sizeof second - 1);
    }
    ds_events_free(&e);
    ds_buf_free(&log);
}

/* Not by the clock: what is quadratic would not end. */
Test(events, a_payload_of_64_mib_in_single_bytes_completes, .timeout = 120)
{
    struct ds_limits limits = ds_limits_default();
    const size_t n = limits.max_event / UNIT_SHARE - 3;
    struct ds_events e;
    size_t used;
    static const char begin[] = "event: data\ndata: [\"", end[] = "\"]\n\n" NEXT1;
    ds_events_init(&e, &limits);
    ds_events_reset(&e, DS_SSE_JSON);
    cr_assert_eq(ds_events_feed(&e, begin, sizeof begin - 1, &used), DS_EVENTS_MORE);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ds_events_feed(&e, "x", 1, &used), DS_EVENTS_MORE);
    cr_assert_eq(ds_events_feed(&e, end, sizeof end - 1, &used), DS_EVENTS_BATCH);
    cr_expect_eq(e.staged.count, 1);
    cr_expect_eq(e.staged.bytes.len, n + 3);
    ds_events_free(&e);
}

/* One batch after another of about the same size: the memory of the first serves all. */
Test(events, the_steady_state_allocates_nothing)
{
    static const char text[] =
        "id: 7\nevent: data\ndata: [1,{\"a\":[2]}]\n\nevent: data\ndata: [\"3\"]\n\n" NEXT2;
    struct ds_limits limits = ds_limits_default();
    struct ds_events e;
    struct ds_buf log;
    ds_buf_init(&log, 10000);
    ds_events_init(&e, &limits);
    ds_events_reset(&e, DS_SSE_JSON);
    cr_assert(feed(&e, text, sizeof text - 1, &log) && feed(&e, text, sizeof text - 1, &log));
    log.len = 0;
    cr_assert_eq(ds_buf_reserve(&log, 1000), DSTREAM_OK);
    ds_alloc_fail_after(0);
    for (int i = 0; i < 10; i++)
        cr_expect(feed(&e, text, sizeof text - 1, &log));
    ds_alloc_fail_after(-1);
    cr_expect_eq(log.len, 10 * strlen("1\n{\"a\":[2]}\n\"3\"\n|3>2,c,U;"));
    ds_events_free(&e);
    ds_buf_free(&log);
}

Test(events, each_allocation_may_fail)
{
    static const char text[] = "id: 7\nevent: data\ndata: [1,{\"a\":[2]},\"and a message that is "
                               "longer than the first\"]\n\n"
                               "event: data\ndata: [\"3\"]\n\n" NEXT2;
    struct ds_limits limits = ds_limits_default();
    for (long n = 0;; n++) {
        struct ds_events e;
        size_t used;
        ds_events_init(&e, &limits);
        ds_events_reset(&e, DS_SSE_JSON);
        ds_alloc_fail_after(n);
        enum ds_events_result r = ds_events_feed(&e, text, sizeof text - 1, &used);
        ds_alloc_fail_after(-1);
        enum dstream_code code = e.error.code;
        ds_events_free(&e);
        if (r == DS_EVENTS_BATCH) {
            cr_expect_geq(n, 5);
            break;
        }
        cr_assert_eq(r, DS_EVENTS_ERROR);
        cr_assert_eq(code, DSTREAM_ERR_NOMEM);
    }
}
