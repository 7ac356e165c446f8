/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <string.h>

#include "base/alloc.h"
#include "base/header.h"

Test(header, only_what_can_be_sent_as_it_is_and_is_not_ours_passes)
{
    static const struct {
        const char *line;
        bool ok;
    } row[] = {
        {"X-Trace: 1", true},
        {"Authorization: Bearer abc.def", true},
        {"Cookie:a=b", true},
        {"X-Empty:", true},
        {"X-Tab: a\tb", true},
        {"X-Utf8: \xC3\xA4", true},
        {"Accept-Language: de", true},
        {"", false},
        {":", false},
        {": value", false},
        {"X-Trace", false},
        {"X-Trace ; 1", false},
        {"X Trace: 1", false},
        {"X-Trace : 1", false},
        {"X-Tr\xC3\xA4: 1", false},
        {"X-Trace: 1\r\nX-Evil: 2", false},
        {"X-Trace: 1\n", false},
        {"X-Trace: 1\r", false},
        {"X-Trace:\x01", false},
        {"X-Trace:\x7F", false},
        {"content-type: text/plain", false},
        {"Content-Length: 0", false},
        {"Transfer-Encoding: chunked", false},
        {"STREAM-CLOSED: true", false},
        {"Stream-Seq: 1", false},
        {"Producer-Id: me", false},
        {"If-None-Match: x", false},
        {"Expect: 100-continue", false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *why = NULL;
        enum dstream_code want = row[i].ok ? DSTREAM_OK : DSTREAM_ERR_ARGUMENT;
        cr_expect_eq(ds_header_check(row[i].line, &why), want, "%s", row[i].line);
        cr_expect_eq(why == NULL, row[i].ok, "%s", row[i].line);
    }
}

Test(header, a_line_has_a_greatest_length)
{
    const char *why;
    char *line = ds_malloc(DS_HEADER_MAX + 2);
    memset(line, 'x', DS_HEADER_MAX + 1);
    memcpy(line, "X:", 2);
    line[DS_HEADER_MAX] = '\0';
    cr_expect_eq(ds_header_check(line, &why), DSTREAM_OK);
    line[DS_HEADER_MAX] = 'x';
    line[DS_HEADER_MAX + 1] = '\0';
    cr_expect_eq(ds_header_check(line, &why), DSTREAM_ERR_ARGUMENT);
    ds_free(line);
}
