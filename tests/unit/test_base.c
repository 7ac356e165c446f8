/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/buf.h"

Test(buf, a_cap_is_an_error_of_its_own_and_changes_nothing)
{
    struct ds_buf b;
    ds_buf_init(&b, 4);
    cr_assert_eq(ds_buf_add(&b, "abc", 3), DSTREAM_OK);
    cr_assert_eq(ds_buf_add(&b, "de", 2), DSTREAM_ERR_LIMIT);
    cr_assert_str_eq(ds_buf_str(&b), "abc");
    ds_buf_free(&b);
}
