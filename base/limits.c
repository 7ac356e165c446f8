/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"

#define MIB ((size_t)1024 * 1024)

int64_t ds_later(int64_t t, int64_t by)
{
    return by > DS_NEVER - t ? DS_NEVER : t + by;
}

struct ds_limits ds_limits_default(void)
{
    return (struct ds_limits){
        .connect = 10000,
        .header = 10000,
        .header_sse = 30000,
        .header_long_poll = 90000,
        .silence = 30000,
        .silence_sse = 90000,
        .first_byte_sse = 10000,
        .backoff_base = 100,
        .backoff_max = 30000,
        .retry_after_max = 300000,
        .retry_time = 20000,
        .healthy_sse = 1000,
        .short_base = 100,
        .short_max = 5000,
        .idle_within = 1000,
        .idle_max = 5000,
        .replica_lag = 10000,
        .probe_base = 300000,
        .probe_max = 3600000,
        .hold_shared = 1000,
        .db_locked = 30000,
        .exec_grace = 5000,
        .backoff_growth = 2000,
        .retries = 5,
        .short_count = 3,
        .idle_count = 5,
        .moves_free = 1000,
        .protocol_tries = 3,
        .redirects = 5,
        .json_depth = 512,
        .max_event = 64 * MIB,
        .max_body = 64 * MIB,
        .max_part = MIB,
        .max_head = 64 * 1024,
        .max_witness = MIB,
    };
}
