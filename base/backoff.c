/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

int64_t ds_backoff(const struct ds_limits *l, unsigned n, uint64_t random)
{
    int64_t d = l->backoff_base;
    while (n-- > 0 && d > 0 && d < l->backoff_max)
        d = d > INT64_MAX / 2 ? INT64_MAX : d * 2;
    if (d > l->backoff_max)
        d = l->backoff_max;
    if (d <= 0)
        return 0;
    uint64_t drawn = random % ((uint64_t)(d - d / 2) + 1);
    return d / 2 + (int64_t)drawn;
}
