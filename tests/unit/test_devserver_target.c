/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "devserver/target.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

Test(devserver_target, equal_paths_are_equal_texts)
{
    static const struct {
        const char *target, *path; /* NULL: refused */
    } row[] = {
        {"/v1/stream/a", "/v1/stream/a"},
        {"/a/b//c/", "/a/b//c/"},
        {"/a%2Fb", "/a%2Fb"},
        {"/a%2fb", "/a%2Fb"},
        {"/%61%7E%2d", "/a~-"},
        {"/a%20b", "/a%20b"},
        {"/a b", "/a%20b"},
        {"/\xc3\xa4", "/%C3%A4"},
        {"/%c3%A4", "/%C3%A4"},
        {"/a+b:c@d!$&'()*,;=", "/a+b:c@d!$&'()*,;="},
        {"/a%3Fb?x", "/a%3Fb"},
        {"/a#b", "/a"},
        {"", "/"},
        {"?offset=now", "/"},
        {"http://example:80/a?x=1", "/a"},
        {"HTTP://example", "/"},
        {"/http://example/a", "/http://example/a"},
        {"*", "*"},
        {"/%00", NULL},
        {"/%", NULL},
        {"/%4", NULL},
        {"/%4g", NULL},
        {"/a?x=%zz", NULL},
        {"/a?offset=%00", NULL},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_target t;
        enum dstream_code rc = ds_target_parse(&t, row[i].target);
        cr_expect_eq(rc, row[i].path ? DSTREAM_OK : DSTREAM_ERR_PARSE, "%s", row[i].target);
        if (row[i].path && rc == DSTREAM_OK)
            cr_expect_str_eq(t.path, row[i].path, "%s: %s", row[i].target, t.path);
        ds_target_free(&t);
    }
}

static void check(const char *got, const char *want, const char *target)
{
    cr_expect(!got == !want && (!got || strcmp(got, want) == 0), "%s: %s", target, got);
}

Test(devserver_target, parameters_of_a_read)
{
    static const struct {
        const char *target, *offset;
        unsigned offsets;
        const char *cursor;
        enum ds_live_mode mode;
    } row[] = {
        {"/a", NULL, 0, NULL, DS_MODE_CATCH_UP},
        {"/a?", NULL, 0, NULL, DS_MODE_CATCH_UP},
        {"/a?offset", "", 1, NULL, DS_MODE_CATCH_UP},
        {"/a?offset=", "", 1, NULL, DS_MODE_CATCH_UP},
        {"/a?offset=-1&live=sse&cursor=9", "-1", 1, "9", DS_MODE_SSE},
        {"/a?live=long-poll&x=y&offset=%2D1", "-1", 1, NULL, DS_MODE_LONG_POLL},
        {"/a?%6fffset=a+b%2Cc", "a b,c", 1, NULL, DS_MODE_CATCH_UP},
        {"/a?offset=1&offset=2", "1", 2, NULL, DS_MODE_CATCH_UP},
        {"/a?offset=1&&offset", "1", 2, NULL, DS_MODE_CATCH_UP},
        {"/a?cursor=1&cursor=2&live=SSE", NULL, 0, "1", DS_MODE_CATCH_UP},
        {"/a?Offset=1&offsets=2", NULL, 0, NULL, DS_MODE_CATCH_UP},
        {"/a?offset=a=b#offset=c", "a=b", 1, NULL, DS_MODE_CATCH_UP},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_target t;
        cr_assert_eq(ds_target_parse(&t, row[i].target), DSTREAM_OK, "%s", row[i].target);
        check(t.offset, row[i].offset, row[i].target);
        check(t.cursor, row[i].cursor, row[i].target);
        cr_expect_eq(t.offsets, row[i].offsets, "%s", row[i].target);
        cr_expect_eq(t.mode, row[i].mode, "%s", row[i].target);
        ds_target_free(&t);
    }
}

/* The memory holds the longest that a target can become. */
Test(devserver_target, targets_are_bounded)
{
    static const char *const unit[] = {" ", "a", "&", "=", "?&", "%FF", "&a=b"};
    static char text[DS_TARGET_MAX + 2];
    for (size_t i = 0; i < COUNT(unit); i++) {
        for (size_t query = 0; query < 2; query++) {
            size_t n = strlen(unit[i]), len = 0;
            text[len++] = query ? '?' : '/';
            while (len + n <= DS_TARGET_MAX) {
                memcpy(text + len, unit[i], n);
                len += n;
            }
            text[len] = '\0';
            struct ds_target t;
            cr_expect_eq(ds_target_parse(&t, text), DSTREAM_OK, "%s", unit[i]);
            ds_target_free(&t);
        }
    }
    struct ds_target t;
    memset(text, 'a', DS_TARGET_MAX + 1);
    cr_expect_eq(ds_target_parse(&t, text), DSTREAM_ERR_LIMIT);
    ds_alloc_fail_after(0);
    cr_expect_eq(ds_target_parse(&t, "/a"), DSTREAM_ERR_NOMEM);
    ds_alloc_fail_after(-1);
}
