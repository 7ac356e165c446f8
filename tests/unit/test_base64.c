/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "decode/base64.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* In memory of exactly that size, so that a sanitizer sees an access outside. */
static char *copy(const char *s, size_t n)
{
    char *p = malloc(n > 0 ? n : 1);
    cr_assert_not_null(p);
    memcpy(p, s, n);
    return p;
}

Test(base64, decodes)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"Zg==", "f"},
        {"Zm8=", "fo"},
        {"Zm9v", "foo"},
        {"Zm9vYg==", "foob"},
        {"Zm9vYmE=", "fooba"},
        {"Zm9vYmFy", "foobar"},
        {"Zm9v\nYmFy", "foobar"},
        {"\r\nZ\rm\n9\r\nvYmFy\n\n", "foobar"},
        {"\n", ""},
        {"Zg=\n=", "f"},
        {"Zg==\r\n", "f"},
        {"+/+/", "\xFB\xFF\xBF"},
        {"____", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = strlen(cases[i].in), len = 99, at = 0;
        const char *why = NULL;
        char *p = copy(cases[i].in, n);
        enum dstream_code rc = ds_base64_decode(p, n, &len, &at, &why);
        cr_expect_eq(rc, cases[i].out ? DSTREAM_OK : DSTREAM_ERR_PARSE, "%s", cases[i].in);
        if (cases[i].out)
            cr_expect(len == strlen(cases[i].out) && memcmp(p, cases[i].out, len) == 0, "%s",
                      cases[i].in);
        free(p);
    }
}

Test(base64, refuses_and_says_where)
{
    static const struct {
        const char *in;
        size_t at;
        const char *why;
    } cases[] = {
        {"Z", 1, "length"},
        {"Zg", 2, "length"},
        {"Zm8", 3, "length"},
        {"Zg=", 3, "length"},
        {"Zm9vZ", 5, "length"},
        {"Z\n\n", 3, "length"},
        {"Zm 9v", 2, "alphabet"},
        {"Zm9v\t", 4, "alphabet"},
        {"Zm-_", 2, "alphabet"},
        {"\xFF"
         "m9v",
         0, "alphabet"},
        {"Zg==\x80", 4, "alphabet"},
        {"=", 0, "padding"},
        {"Z===", 1, "padding"},
        {"Zm9v=", 4, "padding"},
        {"Zm9v====", 4, "padding"},
        {"Zg===", 4, "padding"},
        {"Zm8==", 4, "padding"},
        {"Zg=g", 3, "behind"},
        {"Zg==Zg==", 4, "behind"},
        {"Zg==\nZ", 5, "behind"},
        {"Zh==", 1, "trailing"},
        {"Zm9=", 2, "trailing"},
        {"Z\nh==", 2, "trailing"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = strlen(cases[i].in), len = 0, at = 99;
        const char *why = "";
        char *p = copy(cases[i].in, n);
        cr_expect_eq(ds_base64_decode(p, n, &len, &at, &why), DSTREAM_ERR_PARSE, "%s", cases[i].in);
        cr_expect_eq(at, cases[i].at, "%s: at %zu", cases[i].in, at);
        cr_expect(why && strstr(why, cases[i].why), "%s: %s", cases[i].in, why);
        free(p);
    }
    char nul[] = "Zm\0v";
    size_t len, at;
    const char *why;
    cr_expect_eq(ds_base64_decode(nul, 4, &len, &at, &why), DSTREAM_ERR_PARSE);
    cr_expect_eq(at, 2);
}

/* Each quantum of four characters, compared with the definition. */
Test(base64, only_canonical_endings_pass)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t a = 0; a < 64; a++) {
        for (size_t b = 0; b < 64; b++) {
            char one[] = {alphabet[a], alphabet[b], '=', '='};
            char two[] = {'Z', alphabet[a], alphabet[b], '='};
            size_t len, at;
            const char *why;
            cr_expect_eq(ds_base64_decode(one, 4, &len, &at, &why) == DSTREAM_OK, b % 16 == 0);
            if (b % 16 == 0)
                cr_expect_eq((unsigned char)one[0], a << 2 | b >> 4);
            cr_expect_eq(ds_base64_decode(two, 4, &len, &at, &why) == DSTREAM_OK, b % 4 == 0);
        }
    }
}

static void expect_round_trip(const char *bytes, size_t n)
{
    struct ds_buf b;
    ds_buf_init(&b, 1 << 20);
    cr_assert_eq(ds_buf_adds(&b, "x"), DSTREAM_OK);
    cr_assert_eq(ds_base64_encode(&b, bytes, n), DSTREAM_OK);
    cr_assert_eq(b.len, 1 + (n + 2) / 3 * 4);
    cr_assert_null(memchr(b.data, '\n', b.len));
    char *p = copy(b.data + 1, b.len - 1);
    size_t len, at;
    const char *why;
    cr_assert_eq(ds_base64_decode(p, b.len - 1, &len, &at, &why), DSTREAM_OK, "length %zu", n);
    cr_assert(len == n && memcmp(p, bytes, n) == 0, "length %zu", n);
    free(p);
    ds_buf_free(&b);
}

Test(base64, what_is_encoded_comes_back_at_every_length_around_a_slice)
{
    char bytes[3 * 3072 + 7];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 167 + i / 256);
    for (size_t n = 0; n < 200; n++)
        expect_round_trip(bytes, n);
    for (size_t n = 2200; n < sizeof bytes; n += n % 3072 < 4 || n % 3072 > 3068 ? 1 : 13)
        expect_round_trip(bytes, n);
}

Test(base64, line_breaks_anywhere_change_nothing)
{
    char bytes[5000], want[5000];
    for (size_t i = 0; i < sizeof bytes; i++)
        want[i] = (char)(i * 31);
    struct ds_buf b, broken;
    ds_buf_init(&b, 10000);
    ds_buf_init(&broken, 20000);
    cr_assert_eq(ds_base64_encode(&b, want, sizeof bytes), DSTREAM_OK);
    for (size_t step = 1; step < 9; step++) {
        broken.len = 0;
        for (size_t i = 0; i < b.len; i += step) {
            ds_buf_add(&broken, b.data + i, b.len - i < step ? b.len - i : step);
            ds_buf_adds(&broken, step % 2 ? "\n" : "\r\n");
        }
        size_t len, at;
        const char *why;
        cr_assert_eq(ds_base64_decode(broken.data, broken.len, &len, &at, &why), DSTREAM_OK);
        cr_assert(len == sizeof want && memcmp(broken.data, want, len) == 0);
    }
    ds_buf_free(&b);
    ds_buf_free(&broken);
}

Test(base64, encoding_stops_at_the_cap)
{
    struct ds_buf b;
    ds_buf_init(&b, 7);
    cr_expect_eq(ds_base64_encode(&b, "abc", 3), DSTREAM_OK);
    cr_expect_eq(ds_base64_encode(&b, "abc", 3), DSTREAM_ERR_LIMIT);
    cr_expect_eq(b.len, 4);
    ds_buf_free(&b);
}
