/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <limits.h>

#include "base/backoff.h"

Test(backoff, doubles_up_to_a_maximum)
{
    static const struct {
        int64_t base;
        unsigned n;
        int64_t max, want;
    } row[] = {
        {100, 0, 5000, 100},
        {100, 1, 5000, 200},
        {100, 5, 5000, 3200},
        {100, 6, 5000, 5000},
        {100, UINT_MAX, 5000, 5000},
        {1, 62, INT64_MAX, INT64_C(1) << 62},
        {1, 63, INT64_MAX, INT64_MAX},
        {7, 3, 5, 5},
        {0, UINT_MAX, 5, 0},
        {-3, UINT_MAX, 5, -3},
        {5, 1, -1, -1},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        cr_expect_eq(ds_doubled(row[i].base, row[i].n, row[i].max), row[i].want, "row %zu", i);
}

Test(backoff, half_is_waited_and_the_other_half_is_drawn)
{
    struct ds_limits l = {.backoff_base = 100, .backoff_max = 30000, .backoff_growth = 2000};
    static const struct {
        unsigned n;
        int64_t low, high;
    } row[] = {{0, 50, 100},       {1, 100, 200},      {2, 200, 400},
               {8, 12800, 25600},  {9, 15000, 30000},  {10, 15000, 30000},
               {63, 15000, 30000}, {64, 15000, 30000}, {1000000000, 15000, 30000}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        int64_t span = row[i].high - row[i].low;
        cr_expect_eq(ds_backoff(&l, row[i].n, 0), row[i].low, "n %u", row[i].n);
        cr_expect_eq(ds_backoff(&l, row[i].n, (uint64_t)span), row[i].high, "n %u", row[i].n);
        cr_expect_eq(ds_backoff(&l, row[i].n, (uint64_t)span + 1), row[i].low, "n %u", row[i].n);
        int64_t any = ds_backoff(&l, row[i].n, UINT64_MAX);
        cr_expect(any >= row[i].low && any <= row[i].high, "n %u", row[i].n);
    }
}

Test(backoff, any_limits_give_a_wait_between_nothing_and_the_most)
{
    static const int64_t value[] = {INT64_MIN, -1, 0, 1, 2, 3, INT64_MAX / 2, INT64_MAX};
    size_t n = sizeof value / sizeof *value;
    for (size_t i = 0; i < n * n; i++) {
        struct ds_limits l = {
            .backoff_base = value[i / n], .backoff_max = value[i % n], .backoff_growth = 2000};
        int64_t most = l.backoff_max > 0 ? l.backoff_max : 0;
        int64_t wait = ds_backoff(&l, 70, UINT64_MAX - 1);
        cr_expect(wait >= 0 && wait <= most, "row %zu", i);
    }
}

Test(backoff, grows_as_it_is_told)
{
    static const struct {
        unsigned growth, n;
        int64_t base, max, most;
    } row[] = {
        {1000, 0, 100, 5000, 100},      {1000, UINT32_MAX, 100, 5000, 100},
        {1500, 1, 100, 5000, 150},      {1500, 2, 100, 5000, 225},
        {1500, 3, 100, 5000, 338},      {1500, UINT32_MAX, 100, 5000, 5000},
        {1001, 1, 1, 5000, 2},          {1001, UINT32_MAX, 1, 5000, 5000},
        {10000, 1, 100, 5000, 1000},    {10000, 2, 100, 5000, 5000},
        {UINT32_MAX, 9, 1, 5000, 5000}, {UINT32_MAX, 9, 1, INT64_MAX, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct ds_limits l = {.backoff_base = row[i].base,
                              .backoff_max = row[i].max,
                              .backoff_growth = row[i].growth};
        int64_t half = row[i].most / 2;
        cr_expect_eq(ds_backoff(&l, row[i].n, 0), half, "row %zu", i);
        cr_expect_eq(ds_backoff(&l, row[i].n, (uint64_t)(row[i].most - half)), row[i].most,
                     "row %zu", i);
    }
}
