/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "devserver/fields.h"

#include <string.h>

#include "base/alloc.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

Test(devserver_fields, values_are_trimmed_and_joined)
{
    static const struct {
        const char *given[6]; /* names and values, in pairs */
        const char *name, *want;
    } row[] = {
        {{NULL}, "Producer-Id", NULL},
        {{"Producer-Id", "p"}, "Producer-Id", "p"},
        {{"producer-ID", "p"}, "Producer-Id", "p"},
        {{"Producer-Id", "p"}, "PRODUCER-ID", "p"},
        {{"Producer-Id", ""}, "Producer-Id", ""},
        {{"Producer-Id", " \t "}, "Producer-Id", ""},
        {{"Producer-Id", " p\t"}, "Producer-Id", "p"},
        {{"Producer-Id", " p q  "}, "Producer-Id", "p q"},
        {{"Producer-Seq", "1", "Producer-Seq", "1"}, "Producer-Seq", "1, 1"},
        {{"Producer-Seq", " 1 ", "producer-seq", "\t", "Producer-Seq", "3"},
         "Producer-Seq",
         "1, , 3"},
        {{"Producer-Seq", "1"}, "Producer-Epoch", NULL},
        {{"X-Unknown", "1"}, "X-Unknown", NULL},
        {{"If-None-Match", "\"a\"", "If-None-Match", "\"b\""}, "If-None-Match", "\"a\", \"b\""},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_fields f = {0};
        for (size_t k = 0; k < COUNT(row[i].given) && row[i].given[k]; k += 2)
            cr_assert(ds_fields_add(&f, row[i].given[k], row[i].given[k + 1]));
        const char *got = ds_fields_get(&f, row[i].name);
        cr_expect(row[i].want ? got && strcmp(got, row[i].want) == 0 : !got, "row %zu: %s", i,
                  got ? got : "missing");
        ds_fields_free(&f);
    }
}

/* Everything that the answers look at. */
Test(devserver_fields, what_is_known)
{
    static const char *const name[] = {
        "Content-Type",           "If-None-Match", "Producer-Epoch",    "Producer-Id",
        "Producer-Seq",           "Stream-Closed", "Stream-Expires-At", "Stream-Fork-Offset",
        "Stream-Fork-Sub-Offset", "Stream-Seq",    "Stream-TTL",        "Stream-Forked-From"};
    struct ds_fields f = {0};
    for (size_t i = 0; i < COUNT(name); i++) {
        cr_assert(ds_fields_add(&f, name[i], name[i]));
        cr_expect_str_eq(ds_fields_get(&f, name[i]), name[i]);
    }
    ds_fields_free(&f);
}

Test(devserver_fields, without_memory_it_says_so)
{
    struct ds_fields f = {0};
    cr_assert(ds_fields_add(&f, "Producer-Id", "p"));
    ds_alloc_fail_after(0);
    cr_expect_not(ds_fields_add(&f, "Producer-Id", "q"));
    ds_alloc_fail_after(0);
    cr_expect_not(ds_fields_add(&f, "Producer-Seq", "1"));
    ds_alloc_fail_after(-1);
    cr_expect_str_eq(ds_fields_get(&f, "Producer-Id"), "p");
    cr_expect_null(ds_fields_get(&f, "Producer-Seq"));
    ds_fields_free(&f);
}
