/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

int64_t ds_doubled(int64_t base, unsigned n, int64_t max)
{
    while (n-- > 0 && base > 0 && base < max)
        base = base > max / 2 ? max : base * 2;
    return base < max ? base : max;
}

int64_t ds_backoff(const struct ds_limits *l, unsigned n, uint64_t random)
{
    int64_t d = ds_doubled(l->backoff_base, n, l->backoff_max);
    if (d <= 0)
        return 0;
    uint64_t drawn = random % ((uint64_t)(d - d / 2) + 1);
    return d / 2 + (int64_t)drawn;
}
