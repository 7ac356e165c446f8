/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/text.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct utf8_case {
    const char *bytes, *replaced; /* replaced as the WHATWG decoder has it */
    size_t n, replaced_n;
    bool valid;
};
#define BAD(s, r)                                                                                  \
    {                                                                                              \
        s, r, sizeof(s) - 1, sizeof(r) - 1, false                                                  \
    }
#define GOOD(s)                                                                                    \
    {                                                                                              \
        s, s, sizeof(s) - 1, sizeof(s) - 1, true                                                   \
    }
#define R "\xEF\xBF\xBD"

static const struct utf8_case utf8_cases[] = {
    GOOD(""),
    GOOD("plain text that is longer than one word of eight bytes"),
    GOOD("\x7F"),
    GOOD("\xC2\x80\xDF\xBF"),
    GOOD("\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF"),
    GOOD("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"),
    GOOD("abcdefg\xC3\xA9hijklmnop\xF0\x9F\x98\x80"),
    BAD("\x80", R),
    BAD("\xBF\xBF", R R),
    BAD("\xC0\x80", R R),
    BAD("\xC1\xBF", R R),
    BAD("\xC2", R),
    BAD("\xC2\x41", R "A"),
    BAD("\xE0\x80\x80", R R R),
    BAD("\xE0\x9F\xBF", R R R),
    BAD("\xE2\x82", R),
    BAD("\xE2\x82\x41", R "A"),
    BAD("\xED\xA0\x80", R R R),
    BAD("\xED\xBF\xBF", R R R),
    BAD("\xF0\x80\x80\x80", R R R R),
    BAD("\xF0\x8F\xBF\xBF", R R R R),
    BAD("\xF0\x9F\x98", R),
    BAD("\xF0\x9F\x98\xF0\x9F\x98\x80", R "\xF0\x9F\x98\x80"),
    BAD("\xF4\x90\x80\x80", R R R R),
    BAD("\xF5\x80\x80\x80", R R R R),
    BAD("\xFF\xFE", R R),
    BAD("longer than eight \xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41 end",
        "longer than eight " R R R R "A end"),
    BAD("nul\0\xFF", "nul\0" R),
};

Test(text, utf8_is_valid_or_not_however_it_is_cut)
{
    for (size_t i = 0; i < COUNT(utf8_cases); i++) {
        const struct utf8_case *c = &utf8_cases[i];
        cr_expect_eq(ds_utf8_valid(c->bytes, c->n), c->valid, "case %zu", i);
        for (size_t cut = 0; cut <= c->n; cut++) {
            struct ds_utf8 u = {0};
            bool ok = ds_utf8_feed(&u, c->bytes, cut) &&
                      ds_utf8_feed(&u, c->bytes + cut, c->n - cut) && ds_utf8_whole(&u);
            cr_expect_eq(ok, c->valid, "case %zu cut at %zu", i, cut);
        }
        struct ds_utf8 u = {0};
        bool ok = true;
        for (size_t k = 0; k < c->n && ok; k++)
            ok = ds_utf8_feed(&u, c->bytes + k, 1);
        cr_expect_eq(ok && ds_utf8_whole(&u), c->valid, "case %zu bytewise", i);
    }
}

Test(text, each_maximal_bad_part_becomes_one_replacement_character)
{
    for (size_t i = 0; i < COUNT(utf8_cases); i++) {
        const struct utf8_case *c = &utf8_cases[i];
        struct ds_buf b;
        ds_buf_init(&b, 1000);
        cr_assert_eq(ds_utf8_replace(&b, c->bytes, c->n), DSTREAM_OK);
        cr_expect(ds_utf8_valid(b.data, b.len), "case %zu", i);
        cr_expect(b.len == c->replaced_n && memcmp(ds_buf_str(&b), c->replaced, b.len) == 0,
                  "case %zu", i);
        ds_buf_free(&b);
    }
}

/* Every code point, and every pair of a lead byte with any second byte, against the definition. */
Test(text, every_code_point_but_the_surrogates_is_valid)
{
    for (unsigned cp = 0x80; cp < 0x120000; cp++) {
        char s[4];
        size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
        for (size_t i = n - 1, v = cp; i > 0; i--, v >>= 6)
            s[i] = (char)(0x80 | (v & 0x3F));
        unsigned top = cp >> (6 * (n - 1));
        s[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | top);
        bool legal = (cp < 0xD800 || cp > 0xDFFF) && cp < 0x110000;
        if (ds_utf8_valid(s, n) != legal)
            cr_assert_fail("U+%04X", cp);
    }
}

typedef enum dstream_code (*transform)(struct ds_buf *out, const void *p, size_t n);

static void expect_text(transform f, const char *in, size_t n, const char *want)
{
    struct ds_buf b;
    ds_buf_init(&b, 1000);
    cr_assert_eq(f(&b, in, n), DSTREAM_OK);
    cr_expect_str_eq(ds_buf_str(&b), want);
    ds_buf_free(&b);
}
#define EXPECT_TEXT(f, in, want) expect_text(f, in, sizeof(in) - 1, want)

Test(text, json_escaping)
{
    EXPECT_TEXT(ds_json_escape, "", "");
    EXPECT_TEXT(ds_json_escape, "plain/'", "plain/'");
    EXPECT_TEXT(ds_json_escape, "\"\\\b\f\n\r\t", "\\\"\\\\\\b\\f\\n\\r\\t");
    EXPECT_TEXT(ds_json_escape, "a\0b\x1F\x0B", "a\\u0000b\\u001f\\u000b");
    EXPECT_TEXT(ds_json_escape, "\xE2\x80\xA7\xE2\x80\xA8x\xE2\x80\xA9\xE2\x80\xAA",
                "\xE2\x80\xA7\\u2028x\\u2029\\u202a");
    EXPECT_TEXT(ds_json_escape, "\x7F\xC2\x85\xC2\x9F\xC2\xA0\xC3\x85",
                "\\u007f\\u0085\\u009f\xC2\xA0\xC3\x85");
    EXPECT_TEXT(ds_json_escape, "\xE2\x82\xAC\xF0\x9F\x98\x80", "\xE2\x82\xAC\xF0\x9F\x98\x80");
}

Test(text, terminal_escaping)
{
    EXPECT_TEXT(ds_terminal_escape, "", "");
    EXPECT_TEXT(ds_terminal_escape, "line\n\ttab \xC3\xA9 \xF0\x9F\x98\x80",
                "line\n\ttab \xC3\xA9 \xF0\x9F\x98\x80");
    EXPECT_TEXT(ds_terminal_escape, "\x1B[31m\r\a\0\x7F", "\\x1b[31m\\x0d\\x07\\x00\\x7f");
    EXPECT_TEXT(ds_terminal_escape, "\xC2\x85\xC2\x9B\xC2\xA0", "\\xc2\\x85\\xc2\\x9b\xC2\xA0");
    EXPECT_TEXT(ds_terminal_escape, "\xFF\xC3(\xE2\x82", "\\xff\\xc3(\\xe2\\x82");
    EXPECT_TEXT(ds_terminal_escape,
                "a\xE2\x80\xAE"
                "b\xE2\x81\xA6",
                "a\\u{202e}b\\u{2066}");
}

Test(text, escaping_stops_at_the_cap)
{
    const transform all[] = {ds_json_escape, ds_terminal_escape, ds_utf8_replace};
    for (size_t i = 0; i < COUNT(all); i++) {
        for (size_t cap = 0; cap < 8; cap++) {
            struct ds_buf b;
            ds_buf_init(&b, cap);
            cr_expect_eq(all[i](&b,
                                "ab\x01\xFF"
                                "cdefgh",
                                10),
                         DSTREAM_ERR_LIMIT);
            cr_expect_leq(b.len, cap);
            ds_buf_free(&b);
        }
    }
}

Test(text, decimal_numbers)
{
    static const struct {
        const char *s;
        uint64_t max;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"007", 7, true, 7},
        {"8", 7, false, 0},
        {"10", 9, false, 0},
        {"10", 10, true, 10},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999999", UINT64_MAX, false, 0},
        {"", 9, false, 0},
        {"+1", 9, false, 0},
        {"-1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"0x1", 9, false, 0},
        {"1.0", 9, false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t v = 0;
        cr_expect_eq(ds_parse_u64(cases[i].s, cases[i].max, &v), cases[i].ok, "%s", cases[i].s);
        cr_expect_eq(v, cases[i].value, "%s", cases[i].s);
    }
}

Test(text, durations)
{
    static const struct {
        const char *s;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"0", 0},
        {"500ms", 500},
        {"5s", 5000},
        {"5", 5000},
        {"1.5s", 1500},
        {"0.25", 250},
        {"2m", 120000},
        {"1h", 3600000},
        {"1d", 86400000},
        {"1.5d", 129600000},
        {"0.0001s", 1},
        {"0.000000001d", 1},
        {"1.000s", 1000},
        {"", -1},
        {"s", -1},
        {"-1s", -1},
        {"1.s", -1},
        {".5s", -1},
        {"1.5.5s", -1},
        {"1.0000000001s", -1},
        {"5 s", -1},
        {"5S", -1},
        {"5sec", -1},
        {"1e3", -1},
        {"2305843009213693951ms", -1},
        {"2305843009213693950ms", 2305843009213693950},
        {"99999999999999999d", -1},
        {"99999999999999999999s", -1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = -1;
        bool ok = ds_parse_duration(cases[i].s, &ms);
        cr_expect_eq(ok, cases[i].ms >= 0, "%s", cases[i].s);
        cr_expect_eq(ms, cases[i].ms, "%s", cases[i].s);
    }
}

Test(text, sizes)
{
    static const struct {
        const char *s;
        bool ok;
        uint64_t bytes;
    } cases[] = {
        {"0", true, 0},
        {"1024", true, 1024},
        {"64k", true, 65536},
        {"64K", true, 65536},
        {"1KiB", true, 1024},
        {"1MiB", true, 1048576},
        {"2GiB", true, 2147483648},
        {"1M", true, 1048576},
        {"1G", true, 1073741824},
        {"5kB", true, 5000},
        {"5MB", true, 5000000},
        {"5GB", true, UINT64_C(5000000000)},
        {"7B", true, 7},
        {"17179869183G", true, UINT64_C(18446744072635809792)},
        {"17179869184G", false, 0},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"", false, 0},
        {"k", false, 0},
        {"1.5M", false, 0},
        {"-1", false, 0},
        {"1 M", false, 0},
        {"1m", false, 0},
        {"1Mi", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t v = 0;
        cr_expect_eq(ds_parse_size(cases[i].s, &v), cases[i].ok, "%s", cases[i].s);
        cr_expect_eq(v, cases[i].bytes, "%s", cases[i].s);
    }
}
