/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

int64_t ds_doubled(int64_t base, unsigned n, int64_t max)
{
    while (n-- > 0 && base > 0 && base < max)
        base = base > max / 2 ? max : base * 2;
    return base < max ? base : max;
}

/* min(max, base * growth^n), rounded up so that it grows from anywhere. */
static int64_t grown(const struct ds_limits *l, unsigned n)
{
    const int64_t growth = l->backoff_growth;
    int64_t d = l->backoff_base;
    while (growth > 1000 && n-- > 0 && d > 0 && d < l->backoff_max)
        d = d > INT64_MAX / growth - 1 ? l->backoff_max : (d * growth + 999) / 1000;
    return d < l->backoff_max ? d : l->backoff_max;
}

int64_t ds_backoff(const struct ds_limits *l, unsigned n, uint64_t random)
{
    int64_t d = grown(l, n);
    if (d <= 0)
        return 0;
    uint64_t drawn = random % ((uint64_t)(d - d / 2) + 1);
    return d / 2 + (int64_t)drawn;
}
