/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cli/filename.h"

static void expect(const char *url, const char *base, const char *want)
{
    struct ds_buf b;
    struct dstream_error err = {0};
    ds_buf_init(&b, 100000);
    cr_expect_eq(ds_filename_of(&b, url, base, &err), DSTREAM_OK, "%s", err.message);
    cr_expect_str_eq(b.data, want, "%s: %s", url, b.data);
    ds_buf_free(&b);
}

Test(filename, is_what_tells_the_stream_from_others)
{
    static const struct {
        const char *url, *base, *want;
    } cases[] = {
        {"http://h/orders", NULL, "orders"},
        {"http://h:8080/v1/orders", NULL, "v1%2Forders"},
        {"http://h/v1/orders", "http://h/v1", "orders"},
        {"http://h/v1/orders", "http://h/v1/", "orders"},
        {"http://h/v1/orders", "http://h/v1/?x=1", "orders"},
        {"http://h/v10/orders", "http://h/v1", "v10%2Forders"},
        {"http://other/v1/orders", "http://h/v1", "v1%2Forders"},
        {"http://me:secret@h/a", NULL, "a"},
        {"http://h/a?token=secret&b=1", NULL, "a%3Fb=1"},
        {"http://h", NULL, "%2F"},
        {"http://h/", NULL, "%2F"},
        {"http://h/a%2Fb", NULL, "a%2Fb"},
        {"http://h/../../etc/passwd", NULL, "%2E.%2F..%2Fetc%2Fpasswd"},
        {"http://h/.", NULL, "%2E"},
        {"http://h/..", NULL, "%2E."},
        {"http://h/.hidden", NULL, "%2Ehidden"},
        {"http://h/a b\"'\\c", NULL, "a%20b%22%27%5Cc"},
        {"http://h/\xC3\xA4\xFF", NULL, "%C3%A4%FF"},
        {"http://h/MANIFEST.ndjson", NULL, "MANIFEST%2Endjson"},
        {"http://h/xMANIFEST.ndjson", NULL, "xMANIFEST.ndjson"},
        {"http://h/export.dstate", NULL, "export%2Edstate"},
        {"http://h/export.dstate.lock", NULL, "export.dstate%2Elock"},
        {"http://h/export.dstate.tmp", NULL, "export.dstate%2Etmp"},
        {"http://h/a.partial", NULL, "a%2Epartial"},
        {"http://h/a.lock/", NULL, "a.lock%2F"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i].url, cases[i].base, cases[i].want);
}

/* Whatever the bytes, it is the name of a file in the directory, and a long one stays itself. */
Test(filename, is_a_name_whatever_the_url)
{
    char url[DS_FILENAME_MAX * 3], other[sizeof url];
    for (size_t n = 1; n < sizeof url - 20; n += 7) {
        struct ds_buf a, b;
        struct dstream_error err = {0};
        ds_buf_init(&a, 100000);
        ds_buf_init(&b, 100000);
        strcpy(url, "http://h/");
        for (size_t i = 0; i < n; i++)
            url[9 + i] = (char)(1 + (i * 37 + n) % 255);
        url[9 + n] = '\0';
        strcpy(other, url);
        other[8 + n] = url[8 + n] == 'x' ? 'y' : 'x';
        cr_expect_eq(ds_filename_of(&a, url, NULL, &err), DSTREAM_OK, "%s", err.message);
        cr_expect_eq(ds_filename_of(&b, other, NULL, &err), DSTREAM_OK, "%s", err.message);
        cr_expect_leq(a.len, DS_FILENAME_MAX + 2);
        cr_expect_gt(a.len, 0);
        cr_expect_null(strchr(a.data, '/'));
        cr_expect_neq(a.data[0], '.');
        if (!strpbrk(url + 9, "#?")) /* what is behind them is dropped, or may be */
            cr_expect_str_neq(a.data, b.data);
        ds_buf_free(&a);
        ds_buf_free(&b);
    }
}
