/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the library's handles on real connections begin with. */
#ifndef DS_UNIT_CLIENTS_H
#define DS_UNIT_CLIENTS_H

#include <criterion/criterion.h>

#include "client/loop.h"
#include "dstream.h"

#define LIMIT_MS 20000

/* For the beginning of each test: no proxies, and an end to it. */
void clients_start(void);
/* Options whose retries wait for nearly nothing, and nobody lingers for. */
dstream_options *quick(void);
/* The same, without a limit to any time. */
dstream_options *patient(void);

#define turn_until(loop, condition)                                                                \
    for (int64_t limit = ds_loop_update(loop) + LIMIT_MS; !(condition);) {                         \
        cr_assert_lt(ds_loop_update(loop), limit, "line %d: waited in vain", __LINE__);            \
        cr_assert_eq(dstream_loop_turn(loop, 20), DSTREAM_OK);                                     \
    }

#endif
