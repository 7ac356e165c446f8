/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "transport/head.h"

static enum ds_head_line line(struct ds_head_lines *l, const char *s)
{
    return ds_head_line(l, s, strlen(s));
}

Test(head, fields_are_those_of_the_last_head_without_trailers)
{
    struct ds_head_lines l;
    ds_head_lines_init(&l, 4096);
    cr_expect_eq(line(&l, "HTTP/1.1 103 Early Hints\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "Link: </x>\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "HTTP/1.1 429 Too Many\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "Retry-After: 3\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "X-Odd : a\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "   \t b  \r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "  \r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "HTTP/1.1 200: no status here\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "none\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, ": none\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "\r\n"), DS_HEAD_READY);
    cr_expect_eq(l.head.status, 429);
    cr_expect_eq(l.head.retry_after_ms, 3000);
    cr_expect_str_eq(ds_head_get(&l.head, "x-odd"), "a b");
    cr_expect_null(ds_head_get(&l.head, "link"));
    cr_expect_eq(line(&l, "X-Odd: trailer\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "\r\n"), DS_HEAD_MORE);
    cr_expect_str_eq(ds_head_get(&l.head, "x-odd"), "a b");
    ds_head_lines_free(&l);
}

Test(head, the_cap_counts_every_byte_and_memory_may_be_missing)
{
    struct ds_head_lines l;
    ds_head_lines_init(&l, 26);
    cr_expect_eq(line(&l, "HTTP/1.1 200 OK\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "A: 1234\r\n"), DS_HEAD_MORE);
    cr_expect_eq(line(&l, "\r\n"), DS_HEAD_OVER);
    ds_head_lines_free(&l);
    ds_head_lines_init(&l, 28);
    cr_expect_eq(line(&l, "HTTP/1.1 200 OK\r\n"), DS_HEAD_MORE);
    ds_alloc_fail_after(0);
    cr_expect_eq(line(&l, "A: 1234\r\n"), DS_HEAD_NO_MEMORY);
    ds_alloc_fail_after(-1);
    ds_head_lines_free(&l);
    ds_head_lines_init(&l, 0);
    cr_expect_eq(line(&l, "HTTP/1.1 200 OK\r\n"), DS_HEAD_OVER);
    ds_head_lines_free(&l);
}

Test(head, retry_after_is_seconds_or_a_date)
{
    static const int64_t year = INT64_C(365) * 86400 * 1000;
    static const struct {
        const char *value, *date;
        int64_t ms;
    } row[] = {
        {NULL, NULL, -1},
        {"", NULL, -1},
        {"0", NULL, 0},
        {"1", NULL, 1000},
        {"007", NULL, 7000},
        {"31536000", NULL, year},
        {"31536001", NULL, year},
        {"99999999999999999999999999", NULL, year},
        {"-1", NULL, -1},
        {"+1", NULL, -1},
        {"1.5", NULL, -1},
        {"1s", NULL, -1},
        {"soon", NULL, -1},
        {"20260101", "Thu, 01 Jan 2026 00:00:00 GMT", INT64_C(20260101) * 1000},
        {"Thu, 01 Jan 2026 00:00:30 GMT", "Thu, 01 Jan 2026 00:00:00 GMT", 30000},
        {"Thursday, 01-Jan-26 00:00:30 GMT", "Thu Jan  1 00:00:00 2026", 30000},
        {"Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:30 GMT", 0},
        {"Thu, 01 Jan 2032 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:00 GMT", year},
        {"Thu, 01 Jan 1970 00:01:00 GMT", NULL, 0},
        {"Thu, 99 Jan 2026 00:00:00 GMT", NULL, -1},
        {"Thu", "Thu", -1},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        cr_expect_eq(ds_retry_after(row[i].value, row[i].date), row[i].ms, "row %zu: %lld", i,
                     (long long)ds_retry_after(row[i].value, row[i].date));
}

Test(head, a_date_is_compared_with_our_clock_where_the_answer_has_none)
{
    char when[64];
    time_t then = time(NULL) + 100;
    strftime(when, sizeof when, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then));
    int64_t ms = ds_retry_after(when, "no date");
    cr_expect_leq(ms, 100000);
    cr_expect_geq(ms, 90000);
}

Test(head, the_target_of_a_redirect_is_absolute)
{
    static const char base[] = "http://user:pw@h:8080/a/b/c?q=1";
    static const struct {
        const char *location, *want;
    } row[] = {
        {"https://other/x?y", "https://other/x?y"},
        {"/x", "http://user:pw@h:8080/x"},
        {"x", "http://user:pw@h:8080/a/b/x"},
        {"../x", "http://user:pw@h:8080/a/x"},
        {"?z=2", "http://user:pw@h:8080/a/b/c?z=2"},
        {"//other/x", "http://other/x"},
        {"/a b", "http://user:pw@h:8080/a%20b"},
        {"ftp://other/x", "ftp://other/x"},
        {"http://", NULL},
        {"http://[", NULL},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char *got = ds_redirect_target(base, row[i].location);
        if (row[i].want)
            cr_expect_str_eq(got ? got : "none", row[i].want);
        else
            cr_expect_null(got, "%s", got);
        ds_free(got);
    }
    cr_expect_null(ds_redirect_target("nonsense", "/x"));
    ds_alloc_fail_after(0);
    cr_expect_null(ds_redirect_target(base, "/x"));
    ds_alloc_fail_after(-1);
}
