/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "decode/jsoncut.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/unit/share.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define DEPTH    4

/* One way of feeding: `first` bytes, then the rest in pieces of `piece`. */
struct cutting {
    size_t first, piece;
};

struct result {
    enum dstream_code rc;
    uint64_t pos;
    struct ds_items out;
};

static void feed(struct ds_json_cut *c, const char *p, size_t n, struct result *r)
{
    /* In memory of exactly that size, so that a sanitizer sees an access outside. */
    char *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, p, n);
    r->rc = ds_json_cut_feed(c, copy, n, &r->out);
    free(copy);
}

static struct result run(enum ds_json_shape shape, const char *p, size_t n, struct cutting cut,
                         size_t max)
{
    struct result r;
    struct ds_json_cut c;
    ds_items_init(&r.out, max);
    ds_json_cut_init(&c, shape, DEPTH);
    size_t i = cut.first < n ? cut.first : n;
    feed(&c, p, i, &r);
    while (i < n && r.rc == DSTREAM_OK) {
        size_t piece = n - i < cut.piece ? n - i : cut.piece;
        feed(&c, p + i, piece, &r);
        i += piece;
    }
    if (r.rc == DSTREAM_OK)
        r.rc = ds_json_cut_finish(&c, &r.out);
    r.pos = c.pos;
    cr_expect_eq(r.rc != DSTREAM_OK, c.why != NULL);
    ds_json_cut_free(&c);
    if (r.rc != DSTREAM_OK) /* a message under way is nobody's */
        r.out.bytes.len = r.out.count > 0 ? r.out.ends[r.out.count - 1] : 0;
    return r;
}

static void expect_same(const struct result *a, const struct result *b, const char *text,
                        size_t cut)
{
    cr_expect_eq(a->rc, b->rc, "%s cut at %zu: %d, %d", text, cut, a->rc, b->rc);
    cr_expect_eq(a->pos, b->pos, "%s cut at %zu: %lu, %lu", text, cut, (unsigned long)a->pos,
                 (unsigned long)b->pos);
    cr_expect(a->out.count == b->out.count && a->out.bytes.len == b->out.bytes.len, "%s cut at %zu",
              text, cut);
    if (a->out.count == b->out.count && a->out.count > 0) {
        cr_expect_arr_eq(a->out.ends, b->out.ends, a->out.count * sizeof *a->out.ends);
        cr_expect_arr_eq(a->out.bytes.data, b->out.bytes.data, a->out.bytes.len, "%s", text);
    }
}

static void expect_in_place(const struct result *want, const char *p, size_t n)
{
    struct result r;
    struct ds_json_cut c;
    ds_items_init(&r.out, 100000);
    ds_json_cut_init(&c, DS_JSON_ARRAY, DEPTH);
    cr_assert_eq(ds_buf_adds(&r.out.bytes, "0\n"), DSTREAM_OK);
    cr_assert_eq(ds_items_end(&r.out), DSTREAM_OK);
    cr_assert_eq(ds_buf_add(&r.out.bytes, p, n), DSTREAM_OK);
    r.rc = ds_json_cut_in_place(&c, &r.out, 2);
    cr_expect_eq(r.rc, want->rc, "%s in place", p);
    if (r.rc != DSTREAM_OK) {
        cr_expect_eq(c.pos, want->pos, "%s in place", p);
        cr_expect(r.out.count == 1 && r.out.bytes.len == 2, "%s in place", p);
    } else if (want->rc == DSTREAM_OK) {
        cr_expect_eq(r.out.count, want->out.count + 1, "%s in place", p);
        cr_expect_eq(r.out.bytes.len, want->out.bytes.len + 2, "%s in place", p);
        if (want->out.bytes.len > 0)
            cr_expect_arr_eq(r.out.bytes.data + 2, want->out.bytes.data, want->out.bytes.len);
    }
    ds_json_cut_free(&c);
    ds_items_free(&r.out);
}

/* Cuts `p` in every way; all ways must agree with the whole, whose result is returned. */
static struct result every_way(enum ds_json_shape shape, const char *p, size_t n, size_t max)
{
    struct result whole = run(shape, p, n, (struct cutting){n, n}, max);
    for (size_t piece = 1; piece <= n; piece += piece < 9 ? 1 : n) {
        for (size_t first = 0; first <= n; first++) {
            struct result r = run(shape, p, n, (struct cutting){first, piece < 9 ? piece : n}, max);
            expect_same(&r, &whole, p, first);
            ds_items_free(&r.out);
        }
    }
    return whole;
}

struct text_case {
    const char *text;
    size_t n;
    bool valid;
};
#define Y(s)                                                                                       \
    {                                                                                              \
        s, sizeof(s) - 1, true                                                                     \
    }
#define N(s)                                                                                       \
    {                                                                                              \
        s, sizeof(s) - 1, false                                                                    \
    }

/* Single JSON texts, in the manner of the JSON test suite. */
static const struct text_case texts[] = {
    /* numbers */
    Y("0"),
    Y("-0"),
    Y("1"),
    Y("-1"),
    Y("10"),
    Y("123456789012345678901234567890"),
    Y("0.0"),
    Y("0.10"),
    Y("-0.5"),
    Y("1.25e3"),
    Y("1e0"),
    Y("1E5"),
    Y("1e+5"),
    Y("1e-5"),
    Y("0e1"),
    Y("0E+1"),
    Y("1e400"),
    Y("9007199254740993"),
    Y("1.0"),
    Y("1.7976931348623157e308"),
    Y("123.456e00078"),
    Y("-0e-0"),
    Y("1e0000000000000000000000000001"),
    N("01"),
    N("00"),
    N("-01"),
    N("+1"),
    N("-"),
    N("--1"),
    N("-a"),
    N("1."),
    N(".1"),
    N("-.1"),
    N("1.e1"),
    N("0.e1"),
    N("1e"),
    N("1e+"),
    N("1eE2"),
    N("1e1.5"),
    N("1.5.5"),
    N("0x10"),
    N("1_000"),
    N("1e1e1"),
    N("Infinity"),
    N("-Infinity"),
    N("NaN"),
    N("-NaN"),
    N("1a"),
    N("1-2"),
    N("- 1"),
    N("1 .5"),
    N("0e"),
    N("0.3e"),
    N("0.3e+"),
    N("\xEF\xBC\x91"),
    N("1\0"),
    N("-0x1"),
    N("2.e3"),
    N("9.e+"),
    N("1+2"),
    N("++1"),
    N("-1x"),
    N("123\xE5"),
    /* literals */
    Y("true"),
    Y("false"),
    Y("null"),
    N("True"),
    N("TRUE"),
    N("tru"),
    N("truex"),
    N("nul"),
    N("nulll"),
    N("fals"),
    N("f"),
    N("truefalse"),
    N("null1"),
    N("undefined"),
    N("tr ue"),
    N("nan"),
    N("true\0"),
    /* strings */
    Y("\"\""),
    Y("\"a\""),
    Y("\"a longer string, of more than one word of eight bytes\""),
    Y("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    Y("\"\\u0000\""),
    Y("\"\\u005C\\u0022\""),
    Y("\"\\uD834\\uDD1E\""),
    Y("\"\\uD800\""),
    Y("\"\\uDFFF\""),
    Y("\"\\uDC00\\uD800\""),
    Y("\"\\uD800\\n\""),
    Y("\"\\uABCD\\uabcd\""),
    Y("\"\x7F\""),
    Y("\"\xC2\x80\""),
    Y("\"\xE2\x80\xA8\xE2\x80\xA9\""),
    Y("\"\xF0\x9F\x98\x80\""),
    Y("\"\xF4\x8F\xBF\xBF\""),
    Y("\"\xEF\xBF\xBF\""),
    Y("\"\xEF\xBB\xBF\""),
    Y("\"/*comment*/\""),
    Y("\"[{,:}]\""),
    Y("\"1234567\\\"90123456\\\\\""),
    N("\""),
    N("\"a"),
    N("\"\\\""),
    N("\"\\"),
    N("\"\\a\""),
    N("\"\\'\""),
    N("\"\\x00\""),
    N("\"\\0\""),
    N("\"\\U0041\""),
    N("\"\\u\""),
    N("\"\\u0\""),
    N("\"\\u00\""),
    N("\"\\u000\""),
    N("\"\\u00g0\""),
    N("\"\\u 041\""),
    N("\"\\uD800\\\""),
    N("\"\\uD800\\u\""),
    N("\"\\uD800\\u1\""),
    N("\"\\\0\""),
    N("\"\0\""),
    N("\"\x1F\""),
    N("\"\n\""),
    N("\"\r\""),
    N("\"\t\""),
    N("\"a longer string with a raw \x01 in it\""),
    N("'a'"),
    N("a"),
    N("\"a\"b"),
    N("\"\x80\""),
    N("\"\xFF\""),
    N("\"\xC0\xAF\""),
    N("\"\xC3\""),
    N("\"\xC3\\n\""),
    N("\"\xE2\x82\""),
    N("\"\xE2\x82x\""),
    N("\"\xED\xA0\x80\""),
    N("\"\xF4\x90\x80\x80\""),
    N("\"\xF0\x80\x80\x80\""),
    N("\"\xE0\x80\x80\""),
    N("\"\xFC\x80\x80\x80\x80\x80\""),
    N("\"more than eight plain bytes, then \xE9\""),
    N("\"\xF0\x9F\x98\x1F\""),
    N("\\u0022"),
    N("\"\\\xE5\""),
    N("\"\\u\xE5\""),
    N("\xC3\xA9"),
    /* arrays */
    Y("[]"),
    Y("[ ]"),
    Y("[1]"),
    Y("[1,2]"),
    Y("[ 1 , 2 ]"),
    Y("[[]]"),
    Y("[[],[]]"),
    Y("[null,1,\"a\",{}]"),
    Y("[\n1\r,\t2 ]"),
    Y("[[[[]]]]"),
    Y("[1,[2,[3]]]"),
    Y("[{}]"),
    Y("[-0]"),
    Y("[1e1]"),
    N("["),
    N("[1"),
    N("[1,"),
    N("[1,]"),
    N("[,1]"),
    N("[,]"),
    N("[1,,2]"),
    N("[1 2]"),
    N("[1}"),
    N("[\"a\""),
    N("[1:2]"),
    N("[]x"),
    N("[]]"),
    N("[a]"),
    N("[\v1]"),
    N("[\f]"),
    N("[1\xA0]"),
    N("[1,\n1\n,1"),
    N("[*]"),
    N("[\"\",]"),
    N("[,\"\"]"),
    N("[3[4]]"),
    N("[[]"),
    N("[1]]"),
    N("[\xFF]"),
    N("[<null>]"),
    N("[1],"),
    N("[\0]"),
    /* objects */
    Y("{}"),
    Y("{ }"),
    Y("{\"a\":1}"),
    Y("{\"a\" : 1 , \"b\":2}"),
    Y("{\"a\":1,\"a\":2}"),
    Y("{\"\":0}"),
    Y("{\"a\":{\"b\":{}}}"),
    Y("{\"a\":[]}"),
    Y("{\"\\u0000\":1}"),
    Y("{\"a\":\"b\",\"a\":\"b\"}"),
    Y("{\n\"a\":\r\n1}"),
    Y("{\"\xC3\xA9\":\"\xC3\xA9\"}"),
    N("{"),
    N("{\"a\""),
    N("{\"a\":"),
    N("{\"a\":1"),
    N("{\"a\":1,"),
    N("{\"a\":1,}"),
    N("{,}"),
    N("{\"a\" 1}"),
    N("{\"a\"}"),
    N("{\"a\",1}"),
    N("{\"a\"::1}"),
    N("{a:1}"),
    N("{'a':1}"),
    N("{1:1}"),
    N("{null:1}"),
    N("{\"a\":}"),
    N("{:1}"),
    N("{\"a\":1]"),
    N("{\"a\":1 \"b\":2}"),
    N("{\"a\":1,,\"b\":2}"),
    N("{}x"),
    N("{}}"),
    N("{\"a\":1}#"),
    N("{\"a\":1}//"),
    N("{[]:1}"),
    N("{\"a\":/**/1}"),
    N("{\"a\":\"b\"]"),
    N("{\"\xFF\":1}"),
    N("{\"a\n\":1}"),
    N("{\"a\":1}{"),
    N("{\"a\":b}"),
    N("{\"x\", null}"),
    /* nesting: up to 4 inside a message */
    Y("{\"a\":[{\"b\":[]}]}"),
    /* white space */
    Y(" 1"),
    Y("1 "),
    Y("\t\r\n 1 \n"),
    Y("\n\"a\"\n"),
    N("\v1"),
    N("\f1"),
    N("1\f"),
    N("\xC2\xA0"
      "1"),
    N("\xEF\xBB\xBF"
      "1"),
    N("\xEF\xBB\xBF"),
    N("\0"),
    N("\xE2\x80\x83"
      "1"),
    N("\xFE\xFF"),
    N("/**/1"),
    N("1//"),
    N("#1"),
    N("\x1B"
      "1"),
    N("\xEF\xBB"
      "1"),
};

/* The text without white space around it. */
static size_t trim(const char **p, size_t n)
{
    while (n > 0 && **p && strchr(" \t\r\n", **p)) {
        ++*p;
        n--;
    }
    while (n > 0 && (*p)[n - 1] && strchr(" \t\r\n", (*p)[n - 1]))
        n--;
    return n;
}

static void expect_text(const struct text_case *t, enum ds_json_shape shape, const char *before,
                        const char *after)
{
    struct ds_buf b;
    ds_buf_init(&b, 1000);
    ds_buf_adds(&b, before);
    ds_buf_add(&b, t->text, t->n);
    ds_buf_adds(&b, after);
    struct result r = every_way(shape, ds_buf_str(&b), b.len, 100000);
    cr_expect_eq(r.rc == DSTREAM_OK, t->valid, "%s", b.data);
    if (shape == DS_JSON_ARRAY)
        expect_in_place(&r, b.data, b.len);
    if (r.rc == DSTREAM_OK && t->valid) {
        const char *message = t->text;
        size_t n = trim(&message, t->n), len;
        cr_assert_eq(r.out.count, 1, "%s", b.data);
        const char *got = ds_items_get(&r.out, 0, &len);
        cr_expect(len == n && memcmp(got, message, n) == 0, "%s: %.*s", b.data, (int)len, got);
    }
    ds_items_free(&r.out);
    ds_buf_free(&b);
}

Test(jsoncut, a_text_is_valid_or_not_alone_in_an_array_and_as_a_value)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        const struct text_case *t = &texts[i];
        cr_expect_eq(ds_json_valid(t->text, t->n, DEPTH), t->valid, "%s", t->text);
        expect_text(t, DS_JSON_VALUES, "", "");
        expect_text(t, DS_JSON_ARRAY, "[", "]");
        expect_text(t, DS_JSON_ARRAY, " [\n", "\r\n]\t");
    }
}

struct shape_case {
    const char *in, *out; /* the messages, each with its LF; NULL: an error */
    uint64_t pos;         /* of the error */
    enum dstream_code code;
};

static void expect_shape(const struct shape_case *t, enum ds_json_shape shape)
{
    struct result r = every_way(shape, t->in, strlen(t->in), 100000);
    if (shape == DS_JSON_ARRAY)
        expect_in_place(&r, t->in, strlen(t->in));
    if (t->out) {
        cr_expect_eq(r.rc, DSTREAM_OK, "%s", t->in);
        cr_expect_str_eq(ds_buf_str(&r.out.bytes), t->out, "%s", t->in);
    } else {
        cr_expect_eq(r.rc, t->code ? t->code : DSTREAM_ERR_PARSE, "%s: %d", t->in, r.rc);
        cr_expect_eq(r.pos, t->pos, "%s: at %lu", t->in, (unsigned long)r.pos);
    }
    ds_items_free(&r.out);
}

Test(jsoncut, takes_messages_out_of_an_array)
{
    static const struct shape_case cases[] = {
        {"[]", "", 0, 0},
        {" [ \n] ", "", 0, 0},
        {"[1,2,3]", "1\n2\n3\n", 0, 0},
        {"[ 1 ,\n 2\t]", "1\n2\n", 0, 0},
        {"[{\"a\": 1 , \"a\":1.0},[ ],\"x\"]", "{\"a\": 1 , \"a\":1.0}\n[ ]\n\"x\"\n", 0, 0},
        {"[9007199254740993,1e400,1.0,\"\\u2028\\/\"]",
         "9007199254740993\n1e400\n1.0\n\"\\u2028\\/\"\n", 0, 0},
        {"[{\n\"a\":\r\n1}]", "{\n\"a\":\r\n1}\n", 0, 0},
        {"[[[]],[[],[]]]", "[[]]\n[[],[]]\n", 0, 0},
        {"[[[[[]]]]]", "[[[[]]]]\n", 0, 0},
        {"[[[[[[]]]]]]", NULL, 5, DSTREAM_ERR_LIMIT},
        {"[1,{\"a\":[[[{}]]]}]", NULL, 11, DSTREAM_ERR_LIMIT},
        {"", NULL, 0, 0},
        {"  ", NULL, 2, 0},
        {"[", NULL, 1, 0},
        {"[1", NULL, 2, 0},
        {"[1,", NULL, 3, 0},
        {"[1,]", NULL, 3, 0},
        {"[1,2}", NULL, 4, 0},
        {"{}", NULL, 0, 0},
        {"1", NULL, 0, 0},
        {"null", NULL, 0, 0},
        {"\"a\"", NULL, 0, 0},
        {"[1]x", NULL, 3, 0},
        {"[1][2]", NULL, 3, 0},
        {"[1],", NULL, 3, 0},
        {"[1] ]", NULL, 4, 0},
        {"[01]", NULL, 2, 0},
        {"[\"abc\xC3\x28\"]", NULL, 6, 0},
        {"[\"0123456789\xE2\x82\"]", NULL, 14, 0},
        {"[\"\\q\"]", NULL, 3, 0},
        {"\xEF\xBB\xBF[]", NULL, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        expect_shape(&cases[i], DS_JSON_ARRAY);
}

Test(jsoncut, takes_values_one_after_another)
{
    static const struct shape_case cases[] = {
        {"", "", 0, 0},
        {" \n\t", "", 0, 0},
        {"1 2", "1\n2\n", 0, 0},
        {"1\n2\r\n", "1\n2\n", 0, 0},
        {"12", "12\n", 0, 0},
        {"{}{}", "{}\n{}\n", 0, 0},
        {"\"a\"\"b\"", "\"a\"\n\"b\"\n", 0, 0},
        {"[1,2][3]", "[1,2]\n[3]\n", 0, 0},
        {"1[2]3\"4\"5{}6", "1\n[2]\n3\n\"4\"\n5\n{}\n6\n", 0, 0},
        {"true{}false[]null\"\"", "true\n{}\nfalse\n[]\nnull\n\"\"\n", 0, 0},
        {"true false", "true\nfalse\n", 0, 0},
        {"-1 -2", "-1\n-2\n", 0, 0},
        {"1e5 0.5 ", "1e5\n0.5\n", 0, 0},
        {"{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n", 0, 0},
        {"[[[[]]]]", "[[[[]]]]\n", 0, 0},
        {"[[[[[]]]]]", NULL, 4, DSTREAM_ERR_LIMIT},
        {"1-2", NULL, 1, 0},
        {"00", NULL, 1, 0},
        {"1true", NULL, 1, 0},
        {"true1", NULL, 4, 0},
        {"truefalse", NULL, 4, 0},
        {"1,2", NULL, 1, 0},
        {"1]", NULL, 1, 0},
        {"{},{}", NULL, 2, 0},
        {"]", NULL, 0, 0},
        {"1 -", NULL, 3, 0},
        {"1 1.", NULL, 4, 0},
        {"1 1e", NULL, 4, 0},
        {"tru", NULL, 3, 0},
        {"{} [", NULL, 4, 0},
        {"\"a", NULL, 2, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        expect_shape(&cases[i], DS_JSON_VALUES);
}

Test(jsoncut, a_full_output_is_found_at_the_same_byte_however_the_input_is_cut)
{
    static const char *const inputs[] = {"[1,22,\"333\"]", "[[1,2,3], x]", "[12345678901]",
                                         "[\"a\xC3\xA9\",\"\xFF\"]"};
    for (size_t i = 0; i < COUNT(inputs); i++) {
        size_t n = strlen(inputs[i]);
        for (size_t max = 0; max < n; max++) {
            struct result r = every_way(DS_JSON_ARRAY, inputs[i], n, max);
            cr_expect_leq(r.out.bytes.len, max);
            ds_items_free(&r.out);
        }
        struct result r = every_way(DS_JSON_ARRAY, inputs[i], n, 2);
        cr_expect_eq(r.rc, DSTREAM_ERR_LIMIT, "%s", inputs[i]);
        ds_items_free(&r.out);
    }
}

Test(jsoncut, messages_before_an_error_stay)
{
    struct result r = every_way(DS_JSON_ARRAY, "[1,{\"a\":2},oops]", 16, 1000);
    cr_expect_eq(r.rc, DSTREAM_ERR_PARSE);
    cr_expect_eq(r.pos, 11);
    cr_expect_eq(r.out.count, 2);
    cr_expect_str_eq(ds_buf_str(&r.out.bytes), "1\n{\"a\":2}\n");
    ds_items_free(&r.out);
}

Test(jsoncut, an_error_sticks_until_the_reset)
{
    struct ds_json_cut c;
    struct ds_items out;
    ds_items_init(&out, 100);
    ds_json_cut_init(&c, DS_JSON_ARRAY, 10);
    cr_expect_eq(ds_json_cut_feed(&c, "[[[x", 4, &out), DSTREAM_ERR_PARSE);
    cr_expect_eq(ds_json_cut_feed(&c, "]", 1, &out), DSTREAM_ERR_PARSE);
    cr_expect_eq(ds_json_cut_finish(&c, &out), DSTREAM_ERR_PARSE);
    cr_expect_eq(c.pos, 3);
    ds_json_cut_reset(&c);
    ds_items_reset(&out, 0);
    cr_expect_eq(ds_json_cut_feed(&c, "[[[]]]", 6, &out), DSTREAM_OK);
    cr_expect_eq(ds_json_cut_finish(&c, &out), DSTREAM_OK);
    cr_expect_str_eq(ds_buf_str(&out.bytes), "[[]]\n");
    ds_json_cut_free(&c);
    ds_items_free(&out);
}

/* Strings are looked at eight bytes at a time: each byte at each place of two words. */
Test(jsoncut, each_byte_in_a_string_is_judged_at_every_place)
{
    for (unsigned byte = 0; byte < 0x100; byte++) {
        bool good = byte >= 0x20 && byte != '"' && byte != '\\' && byte < 0x80;
        for (size_t at = 0; at < 17; at++) {
            char text[] = "\"0123456789abcdefg\"";
            text[1 + at] = (char)byte;
            bool escape = byte == '\\' && strchr("bf", text[2 + at]);
            cr_expect_eq(ds_json_valid(text, sizeof text - 1, 1), good || escape, "%02x at %zu",
                         byte, at);
        }
    }
}

/* Deep nesting is a count, never recursion. */
Test(jsoncut, nesting_is_limited_exactly)
{
    enum { MAX = 100000 };
    static char text[2 * MAX + 4];
    for (unsigned depth = MAX - 1; depth <= MAX + 1; depth++) {
        size_t n = 0;
        for (unsigned i = 0; i < depth; i++)
            text[n++] = '[';
        for (unsigned i = 0; i < depth; i++)
            text[n++] = ']';
        cr_expect_eq(ds_json_valid(text, n, MAX), depth <= MAX);
    }
}

/* Not by the clock: what is quadratic would not end. */
Test(jsoncut, a_message_of_64_mib_in_single_bytes_completes, .timeout = 120)
{
    const size_t n = ((size_t)64 << 20) / UNIT_SHARE;
    struct ds_json_cut c;
    struct ds_items out;
    ds_items_init(&out, n + 10);
    ds_json_cut_init(&c, DS_JSON_ARRAY, 10);
    cr_assert_eq(ds_json_cut_feed(&c, "[\"", 2, &out), DSTREAM_OK);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ds_json_cut_feed(&c, "x", 1, &out), DSTREAM_OK);
    cr_assert_eq(ds_json_cut_feed(&c, "\"]", 2, &out), DSTREAM_OK);
    cr_assert_eq(ds_json_cut_finish(&c, &out), DSTREAM_OK);
    cr_expect_eq(out.bytes.len, n + 3);
    ds_json_cut_free(&c);
    ds_items_free(&out);
}

Test(jsoncut, each_allocation_may_fail)
{
    const char text[] = "[{\"a\":[1]},\"a message that is longer than the first allocation of a "
                        "buffer, so that it must grow at least once more\",3]";
    for (long n = 0;; n++) {
        struct ds_json_cut c;
        struct ds_items out;
        ds_items_init(&out, 1000);
        ds_json_cut_init(&c, DS_JSON_ARRAY, 10);
        ds_alloc_fail_after(n);
        enum dstream_code rc = ds_json_cut_feed(&c, text, sizeof text - 1, &out);
        if (rc == DSTREAM_OK)
            rc = ds_json_cut_finish(&c, &out);
        ds_alloc_fail_after(-1);
        size_t count = out.count;
        ds_json_cut_free(&c);
        ds_items_free(&out);
        if (rc == DSTREAM_OK) {
            cr_expect_eq(count, 3);
            cr_expect_geq(n, 3);
            break;
        }
        cr_assert_eq(rc, DSTREAM_ERR_NOMEM);
    }
}

Test(jsoncut, next_stops_where_a_message_ends)
{
    static const char text[] = " {\"a\":1} 12[3]\"x\"true ";
    static const uint64_t ends[] = {8, 11, 14, 17, 21};
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        struct ds_json_cut c;
        struct ds_items out;
        ds_items_init(&out, 1000);
        ds_json_cut_init(&c, DS_JSON_VALUES, DEPTH);
        for (size_t i = 0; i < sizeof text - 1;) {
            size_t n = sizeof text - 1 - i < piece ? sizeof text - 1 - i : piece, used;
            size_t count = out.count;
            cr_assert_eq(ds_json_cut_next(&c, text + i, n, &out, &used), DSTREAM_OK);
            cr_expect(out.count == count + 1 || (out.count == count && used == n));
            i += used;
            cr_expect_eq(c.pos, i);
            if (out.count > count)
                cr_expect_eq(c.pos, ends[count], "message %zu: %lu", count, (unsigned long)c.pos);
        }
        cr_expect_eq(ds_json_cut_finish(&c, &out), DSTREAM_OK);
        cr_expect_eq(out.count, COUNT(ends));
        ds_json_cut_free(&c);
        ds_items_free(&out);
    }
}
