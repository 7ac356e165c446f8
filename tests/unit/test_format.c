/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "cli/template.h"
#include "cli/unwrap.h"
#include "decode/base64.h"
#include "decode/jsoncut.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct sink {
    struct ds_buf b;
    long fail_at; /* -1: never */
};

static enum dstream_code put(void *ctx, const void *p, size_t n)
{
    struct sink *s = ctx;
    cr_expect_gt(n, 0);
    if (s->fail_at-- == 0)
        return DSTREAM_ERR_IO;
    return ds_buf_add(&s->b, p, n);
}

static void messages(struct ds_items *it, const char *const *m, size_t n)
{
    ds_items_init(it, 10000);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(ds_buf_adds(&it->bytes, m[i]), DSTREAM_OK);
        cr_assert_eq(ds_buf_addc(&it->bytes, '\n'), DSTREAM_OK);
        cr_assert_eq(ds_items_end(it), DSTREAM_OK);
    }
}

static struct dstream_batch batch_of(const struct ds_items *it, const char *start, const char *next,
                                     unsigned flags)
{
    struct dstream_batch b = {.items = it, .flags = flags};
    b.start = start;
    b.next = next;
    return b;
}

static const char *template;

/* The output, with the time of an envelope replaced by T. Free it with ds_buf_free(). */
static struct ds_buf printed(enum ds_format_kind format, const dstream_batch *b, size_t from,
                             size_t to)
{
    struct sink s = {.fail_at = -1};
    ds_buf_init(&s.b, (size_t)1 << 24);
    struct ds_format f = {.kind = format, .template = template, .url = "http://host/s"};
    cr_assert_eq(ds_format_put(&f, b, from, to, 1767323045678, put, &s), DSTREAM_OK);
    static const char mark[] = "\"received\":\"", shape[] = "2026-01-02T03:04:05.678Z";
    cr_assert_not_null(ds_buf_str(&s.b));
    for (char *p = s.b.data; (p = strstr(p, mark));) {
        p += strlen(mark);
        for (size_t i = 0; i < strlen(shape); i++)
            cr_expect_eq(p[i], shape[i]);
        *p++ = 'T';
        size_t rest = s.b.len - (size_t)(p - s.b.data);
        memmove(p, p + strlen(shape) - 1, rest - (strlen(shape) - 1));
        s.b.len -= strlen(shape) - 1;
        ds_buf_str(&s.b);
    }
    return s.b;
}

static void expect_printed(enum ds_format_kind format, const dstream_batch *b, size_t from,
                           size_t to, const char *want)
{
    struct ds_buf got = printed(format, b, from, to);
    cr_expect_str_eq(ds_buf_str(&got), want);
    ds_buf_free(&got);
}

static const char *const some[] = {"{\"a\":\n [1e400,\r\n9007199254740993]}", "\"\\u2028\\n\"",
                                   "1.0", "{\"k\":1,\"k\":2}"};

Test(format, ndjson_is_a_message_a_line_with_its_own_bytes)
{
    struct ds_items it;
    messages(&it, some, COUNT(some));
    struct dstream_batch b = batch_of(&it, "a", "b", DSTREAM_BATCH_JSON);
    expect_printed(DS_FORMAT_NDJSON, &b, 0, 4,
                   "{\"a\": [1e400,9007199254740993]}\n\"\\u2028\\n\"\n1.0\n{\"k\":1,\"k\":2}\n");
    expect_printed(DS_FORMAT_NDJSON, &b, 1, 3, "\"\\u2028\\n\"\n1.0\n");
    expect_printed(DS_FORMAT_NDJSON, &b, 2, 2, "");
    ds_items_free(&it);
}

Test(format, raw_is_the_bytes)
{
    static const char bytes[] = "a\r\nb\0c\xFF\n d";
    struct ds_items it;
    ds_items_init(&it, 1000);
    cr_assert_eq(ds_buf_add(&it.bytes, bytes, sizeof bytes - 1), DSTREAM_OK);
    struct dstream_batch b = batch_of(&it, "a", "b", 0);
    struct ds_buf got = printed(DS_FORMAT_RAW, &b, 0, sizeof bytes - 1);
    cr_expect(got.len == sizeof bytes - 1 && memcmp(got.data, bytes, got.len) == 0);
    ds_buf_free(&got);
    expect_printed(DS_FORMAT_RAW, &b, 1, 4, "\r\nb");
    ds_items_free(&it);
}

Test(format, envelopes_of_messages_name_their_place)
{
    struct ds_items it;
    messages(&it, some, COUNT(some));
    struct dstream_batch b = batch_of(&it, "0\"1", "02", DSTREAM_BATCH_JSON);
    b.first = 1;
    b.first_byte = it.ends[0];
    b.skip = 9007199254740994; /* earlier parts of the batch came before these items */
    expect_printed(DS_FORMAT_ENVELOPE, &b, 1, 3,
                   "{\"offset\":\"0\\\"1\",\"index\":9007199254740994,\"next\":\"02\",\"received\":"
                   "\"T\",\"json\":\"\\u2028\\n\"}\n"
                   "{\"offset\":\"0\\\"1\",\"index\":9007199254740995,\"next\":\"02\",\"received\":"
                   "\"T\",\"json\":1.0}\n");
    expect_printed(DS_FORMAT_ENVELOPE, &b, 0, 1,
                   "{\"offset\":\"0\\\"1\",\"index\":9007199254740993,\"next\":\"02\",\"received\":"
                   "\"T\",\"json\":{\"a\": [1e400,9007199254740993]}}\n");
    ds_items_free(&it);
}

Test(format, envelopes_of_bytes_are_text_or_base64)
{
    static const struct {
        const char *bytes;
        size_t n, from, to;
        const char *want;
    } cases[] = {
        {"a\r\n\"b\"\0\xC3\xA9", 9, 0, 9,
         "\"index\":0,\"next\":\"b\",\"received\":\"T\","
         "\"text\":\"a\\r\\n\\\"b\\\"\\u0000\xC3\xA9\"}\n"},
        {"ab\xC3\xA9", 4, 0, 3,
         "\"index\":0,\"next\":\"b\",\"received\":\"T\","
         "\"base64\":\"YWLD\"}\n"},
        {"ab\xC3\xA9", 4, 3, 4,
         "\"index\":3,\"next\":\"b\",\"received\":\"T\","
         "\"base64\":\"qQ==\"}\n"},
        {"ab\xC3\xA9", 4, 1, 4,
         "\"index\":1,\"next\":\"b\",\"received\":\"T\","
         "\"text\":\"b\xC3\xA9\"}\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_items it;
        ds_items_init(&it, 1000);
        cr_assert_eq(ds_buf_add(&it.bytes, cases[i].bytes, cases[i].n), DSTREAM_OK);
        struct dstream_batch b = batch_of(&it, "\xFF", "b", 0);
        char want[300] = "{\"offset\":\"\xEF\xBF\xBD\",";
        strcat(want, cases[i].want);
        expect_printed(DS_FORMAT_ENVELOPE, &b, cases[i].from, cases[i].to, want);
        ds_items_free(&it);
    }
}

Test(format, lines_are_the_bytes_or_messages)
{
    struct ds_items it;
    messages(&it, some, COUNT(some));
    struct dstream_batch b = batch_of(&it, "a", "b", DSTREAM_BATCH_JSON);
    expect_printed(DS_FORMAT_LINES, &b, 0, 1, "{\"a\": [1e400,9007199254740993]}\n");
    b.flags = DSTREAM_BATCH_CLOSED;
    expect_printed(DS_FORMAT_LINES, &b, 0, 8, "{\"a\":\n [");
    ds_items_free(&it);
}

Test(format, templates_of_messages)
{
    static const struct {
        const char *template, *want;
    } cases[] = {
        {"%s", "\"\\u2028\\n\"1.0"},
        {"%o %i %n %S %u\\n", "0\"1 9 02 10 http://host/s\n0\"1 10 02 3 http://host/s\n"},
        {"%%%s\\t\\r\\\\|", "%\"\\u2028\\n\"\t\r\\|%1.0\t\r\\|"},
        {"a%%", "a%a%"},
    };
    struct ds_items it;
    messages(&it, some, COUNT(some));
    struct dstream_batch b = batch_of(&it, "0\"1", "02", DSTREAM_BATCH_JSON);
    b.first = 1;
    b.first_byte = it.ends[0];
    b.skip = 9;
    for (size_t i = 0; i < COUNT(cases); i++) {
        template = cases[i].template;
        cr_expect_null(ds_template_wrong(template));
        expect_printed(DS_FORMAT_TEMPLATE, &b, 1, 3, cases[i].want);
    }
    template = "%S %s\\n";
    expect_printed(DS_FORMAT_TEMPLATE, &b, 0, 1, "31 {\"a\": [1e400,9007199254740993]}\n");
    template = "\"received\":\"%t|";
    expect_printed(DS_FORMAT_TEMPLATE, &b, 1, 2, "\"received\":\"T|");
    ds_items_free(&it);
}

Test(format, templates_of_bytes)
{
    static const char bytes[] = "a\r\nb\0c\xFF\n d";
    struct ds_items it;
    ds_items_init(&it, 1000);
    cr_assert_eq(ds_buf_add(&it.bytes, bytes, sizeof bytes - 1), DSTREAM_OK);
    struct dstream_batch b = batch_of(&it, "a", "b", 0);
    template = "%i,%S,%n:%s\\0.";
    struct ds_buf got = printed(DS_FORMAT_TEMPLATE, &b, 1, 10);
    cr_expect(got.len == 17 && memcmp(got.data, "1,9,b:\r\nb\0c\xFF\n d\0.", 17) == 0, "%zu",
              got.len);
    ds_buf_free(&got);
    b.flags = DSTREAM_BATCH_PARTIAL; /* what is behind it is not known */
    template = "%o:%n:%%";
    expect_printed(DS_FORMAT_TEMPLATE, &b, 0, 2, "a::%");
    ds_items_free(&it);
}

Test(format, templates_that_mean_nothing)
{
    static const struct {
        const char *template, *wrong;
    } cases[] = {{"%", "%"},       {"%s%", "%"},   {"%s\\", "\\"},     {"%q %s", "%q %s"},
                 {"%%q", NULL},    {"%%%q", "%q"}, {"\\x%s", "\\x%s"}, {"\\\\x%s", NULL},
                 {"a\\n%S", NULL}, {"%o\\", "\\"}, {"", NULL},         {"%\\n", "%\\n"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *wrong = ds_template_wrong(cases[i].template);
        cr_expect((!wrong && !cases[i].wrong) ||
                      (wrong && cases[i].wrong && strcmp(wrong, cases[i].wrong) == 0),
                  "%s: %s", cases[i].template, wrong ? wrong : "nothing");
    }
}

/* Longer than what is converted at once, with characters across each boundary. */
Test(format, large_texts_and_bytes_come_through_whole)
{
    for (size_t shift = 0; shift < 5; shift++) {
        struct ds_items it;
        ds_items_init(&it, 1000000);
        for (size_t i = 0; i < shift; i++)
            cr_assert_eq(ds_buf_addc(&it.bytes, 'x'), DSTREAM_OK);
        while (it.bytes.len < 200000)
            cr_assert_eq(ds_buf_adds(&it.bytes, "\xF0\x9F\x98\x80\xE2\x82\xAC"), DSTREAM_OK);
        struct dstream_batch b = batch_of(&it, "a", "b", 0);
        struct ds_buf got = printed(DS_FORMAT_ENVELOPE, &b, 0, it.bytes.len);
        const char *text = strstr(ds_buf_str(&got), "\"text\":\"");
        cr_assert_not_null(text);
        cr_expect_eq(memcmp(text + 8, it.bytes.data, it.bytes.len), 0);
        cr_expect_str_eq(text + 8 + it.bytes.len, "\"}\n");
        cr_expect(ds_json_valid(got.data, got.len, 4));
        ds_buf_free(&got);
        it.bytes.data[100] = '\xFF';
        got = printed(DS_FORMAT_ENVELOPE, &b, 0, it.bytes.len);
        char *code = strstr(ds_buf_str(&got), "\"base64\":\"");
        cr_assert_not_null(code);
        code += 10;
        size_t n = strlen(code) - 3, at;
        const char *why;
        cr_assert_eq(ds_base64_decode(code, n, &n, &at, &why), DSTREAM_OK);
        cr_expect(n == it.bytes.len && memcmp(code, it.bytes.data, n) == 0);
        ds_buf_free(&got);
        ds_items_free(&it);
    }
}

Test(format, an_output_that_fails_ends_it)
{
    struct ds_items it;
    messages(&it, some, COUNT(some));
    struct dstream_batch b = batch_of(&it, "a", "b", DSTREAM_BATCH_JSON);
    static const enum ds_format_kind kinds[] = {DS_FORMAT_SSE, DS_FORMAT_NDJSON, DS_FORMAT_ENVELOPE,
                                                DS_FORMAT_TEMPLATE};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        enum dstream_code rc = DSTREAM_ERR_IO;
        for (long n = 0; rc != DSTREAM_OK; n++) {
            struct sink s = {.fail_at = n};
            ds_buf_init(&s.b, 10000);
            struct ds_format f = {.kind = kinds[k], .template = "%o %s\\n%S"};
            rc = ds_format_put(&f, &b, 0, 4, 0, put, &s);
            cr_expect(rc == DSTREAM_OK || (rc == DSTREAM_ERR_IO && s.fail_at == -1),
                      "nothing is put after a failure");
            ds_buf_free(&s.b);
        }
    }
    ds_items_free(&it);
}

Test(format, resolves_by_what_the_stream_is)
{
    static const struct {
        enum ds_format_kind in;
        bool json;
        enum dstream_code code;
        enum ds_format_kind out;
    } cases[] = {
        {DS_FORMAT_AUTO, true, DSTREAM_OK, DS_FORMAT_NDJSON},
        {DS_FORMAT_AUTO, false, DSTREAM_OK, DS_FORMAT_RAW},
        {DS_FORMAT_RAW, false, DSTREAM_OK, DS_FORMAT_RAW},
        {DS_FORMAT_RAW, true, DSTREAM_ERR_ARGUMENT, DS_FORMAT_RAW},
        {DS_FORMAT_NDJSON, true, DSTREAM_OK, DS_FORMAT_NDJSON},
        {DS_FORMAT_NDJSON, false, DSTREAM_ERR_ARGUMENT, DS_FORMAT_NDJSON},
        {DS_FORMAT_LINES, true, DSTREAM_OK, DS_FORMAT_LINES},
        {DS_FORMAT_LINES, false, DSTREAM_OK, DS_FORMAT_LINES},
        {DS_FORMAT_SSE, true, DSTREAM_OK, DS_FORMAT_SSE},
        {DS_FORMAT_SSE, false, DSTREAM_OK, DS_FORMAT_SSE},
        {DS_FORMAT_TEMPLATE, true, DSTREAM_OK, DS_FORMAT_TEMPLATE},
        {DS_FORMAT_TEMPLATE, false, DSTREAM_OK, DS_FORMAT_TEMPLATE},
        {DS_FORMAT_ENVELOPE, true, DSTREAM_OK, DS_FORMAT_ENVELOPE},
        {DS_FORMAT_ENVELOPE, false, DSTREAM_OK, DS_FORMAT_ENVELOPE},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum ds_format_kind f = cases[i].in;
        struct dstream_error err = {0};
        cr_expect_eq(ds_format_resolve(&f, cases[i].json, &err), cases[i].code);
        cr_expect_eq(f, cases[i].out);
        enum ds_format_kind back = DS_FORMAT_AUTO;
        cr_expect(ds_format_of(ds_format_name(f), &back));
        cr_expect_eq(back, f);
    }
    enum ds_format_kind f;
    cr_expect_not(ds_format_of("", &f));
    cr_expect_not(ds_format_of("RAW", &f));
}

/* --- envelopes the other way round ------------------------------------------------------------ */

#define HEAD "{\"offset\":\"a\",\"index\":0,\"next\":\"b\",\"received\":\"t\","

Test(unwrap, gives_the_data_however_it_is_cut)
{
    static const struct {
        const char *lines, *want; /* NULL: it is no envelope, at line `line` from 0 */
        unsigned line;
    } cases[] = {
        {"", "", 0},
        {HEAD "\"json\":{\"a\":[1.0, \"\\n\"]}}\n" HEAD "\"json\":2}\n",
         "{\"a\":[1.0, \"\\n\"]}\n2\n", 0},
        {HEAD "\"text\":\"a\\n\\u00e4\"}\n" HEAD "\"base64\":\"/w==\"}\n", "a\n\xC3\xA4\xFF", 0},
        {HEAD "\"base64\":\"\"}\n" HEAD "\"text\":\"\"}\n", "", 0},
        {HEAD "\"text\":\"x\"}\n{}\n", NULL, 1},
        {HEAD "\"text\":\"x\",\"json\":1}\n", NULL, 0},
        {HEAD "\"text\":1}\n", NULL, 0},
        {HEAD "\"base64\":\"?\"}\n", NULL, 0},
        {HEAD "\"json\":1}\n[1]\n", NULL, 1},
        {HEAD "\"json\":1}\n\n", NULL, 1},
        {HEAD "\"json\":1}}\n", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].lines);
        for (size_t at = 0; at <= n; at++) {
            struct ds_unwrap u;
            struct ds_buf out;
            ds_unwrap_init(&u, 9);
            ds_buf_init(&out, 1000);
            enum dstream_code rc = ds_unwrap_add(&u, cases[i].lines, at, &out);
            if (rc == DSTREAM_OK)
                rc = ds_unwrap_add(&u, cases[i].lines + at, n - at, &out);
            cr_assert_eq(rc, cases[i].want ? DSTREAM_OK : DSTREAM_ERR_PARSE, "%zu, %zu", i, at);
            if (cases[i].want) {
                cr_assert_str_eq(out.len > 0 ? ds_buf_str(&out) : "", cases[i].want);
                cr_assert(ds_unwrap_is_whole(&u));
            } else {
                cr_assert_eq(u.lines, cases[i].line, "%zu, %zu", i, at);
            }
            ds_unwrap_free(&u);
            ds_buf_free(&out);
        }
    }
}
