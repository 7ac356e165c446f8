/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before trying again. */
#ifndef DS_BASE_BACKOFF_H
#define DS_BASE_BACKOFF_H

#include "base/limits.h"

/* min(max, base * 2^n). */
int64_t ds_doubled(int64_t base, unsigned n, int64_t max);

/* The wait before retry number `n` (from 0), milliseconds: of d = min(backoff_max, backoff_base *
 * (backoff_growth / 1000)^n) one half is always waited and the other is drawn, so that clients that
 * failed together do not come back together. */
int64_t ds_backoff(const struct ds_limits *l, unsigned n, uint64_t random);

#endif
