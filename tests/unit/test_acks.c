/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/acks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

struct seen {
    char text[400];
    int n, end_after;
};

static enum dstream_code see(void *ctx, const char *line, const char *offset, uint64_t skip)
{
    struct seen *s = ctx;
    size_t n = strlen(s->text);
    snprintf(s->text + n, sizeof s->text - n, "[%s|%s|%llu]", line, offset,
             (unsigned long long)skip);
    return ++s->n == s->end_after ? DSTREAM_ERR_CANCELLED : DSTREAM_OK;
}

static enum dstream_code feed(const char *text, size_t n, size_t piece, struct seen *s)
{
    struct ds_acks a;
    struct dstream_error err = {0};
    enum dstream_code rc = DSTREAM_OK;
    ds_acks_init(&a);
    for (size_t at = 0; at < n && rc == DSTREAM_OK; at += piece)
        rc = ds_acks_add(&a, text + at, n - at < piece ? n - at : piece, see, s, &err);
    ds_acks_free(&a);
    cr_assert(rc != DSTREAM_ERR_INPUT || strstr(err.message, "is not a position"));
    return rc;
}

Test(acks, lines_are_positions_however_they_come)
{
    static const struct {
        const char *in, *seen;
        enum dstream_code rc;
    } cases[] = {
        {"", "", DSTREAM_OK},
        {"abc", "", DSTREAM_OK},
        {"abc\n", "[abc|abc|0]", DSTREAM_OK},
        {"abc,5\n-1,0\n", "[abc,5|abc|5][-1,0|-1|0]", DSTREAM_OK},
        {"beginning,2\n", "[beginning,2|-1|2]", DSTREAM_OK},
        {"a\nb\nc", "[a|a|0][b|b|0]", DSTREAM_OK},
        {"\n", "", DSTREAM_ERR_INPUT},
        {"a\n\n", "[a|a|0]", DSTREAM_ERR_INPUT},
        {",5\n", "", DSTREAM_ERR_INPUT},
        {"a,\n", "", DSTREAM_ERR_INPUT},
        {"a,x\n", "", DSTREAM_ERR_INPUT},
        {"a,-1\n", "", DSTREAM_ERR_INPUT},
        {"a,99999999999999999999\n", "", DSTREAM_ERR_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].in);
        for (size_t piece = 1; piece <= n + 1; piece++) {
            struct seen s = {.n = 0};
            cr_assert_eq(feed(cases[i].in, n, piece, &s), cases[i].rc, "%s", cases[i].in);
            cr_assert_str_eq(s.text, cases[i].seen);
        }
    }
}

Test(acks, what_is_no_text_is_no_position)
{
    struct seen s = {.n = 0};
    cr_assert_eq(feed("a\0b\n", 4, 4, &s), DSTREAM_ERR_INPUT);
}

Test(acks, a_line_has_an_end)
{
    static char text[3 * DS_TOKEN_MAX];
    struct seen s = {.n = 0};
    memset(text, 'a', sizeof text);
    cr_assert_eq(feed(text, sizeof text, 100, &s), DSTREAM_ERR_INPUT);
    cr_assert_eq(s.n, 0);
}

Test(acks, whoever_takes_them_can_end_it)
{
    struct seen s = {.end_after = 2};
    cr_assert_eq(feed("a\nb\nc\n", 6, 6, &s), DSTREAM_ERR_CANCELLED);
    cr_assert_eq(s.n, 2);
}
