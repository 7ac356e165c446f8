/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <stdint.h>

#include "base/alloc.h"
#include "base/buf.h"

Test(alloc, arrays_grow_by_doubling_and_stay_as_they_were_without_memory)
{
    size_t cap = 0;
    uint64_t *a = NULL;
    for (size_t n = 0; n < 100; n++) {
        if (n == cap) {
            ds_alloc_fail_after(0);
            cr_assert_null(ds_grown(a, &cap, n, sizeof *a));
            cr_assert_eq(cap, n);
        }
        uint64_t *more = ds_grown(a, &cap, n, sizeof *a);
        cr_assert_not_null(more);
        a = more;
        a[n] = n;
    }
    cr_assert_eq(cap, 128);
    for (size_t n = 0; n < 100; n++)
        cr_assert_eq(a[n], n);
    /* More than can be addressed. */
    cap = SIZE_MAX / 2;
    cr_assert_null(ds_grown(a, &cap, cap, sizeof *a));
    cr_assert_eq(cap, SIZE_MAX / 2);
    ds_free(a);
}

Test(buf, a_cap_is_an_error_of_its_own_and_changes_nothing)
{
    struct ds_buf b;
    ds_buf_init(&b, 4);
    cr_assert_eq(ds_buf_add(&b, "abc", 3), DSTREAM_OK);
    cr_assert_eq(ds_buf_add(&b, "de", 2), DSTREAM_ERR_LIMIT);
    cr_assert_str_eq(ds_buf_str(&b), "abc");
    ds_buf_free(&b);
}
