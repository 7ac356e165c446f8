/* SPDX-License-Identifier: Apache-2.0 */
/* What HTTP statuses and ends of transfers mean, the same for reading and writing. */
#ifndef DS_BASE_STATUS_H
#define DS_BASE_STATUS_H

#include "base/http.h"

/* DSTREAM_OK for 2xx. A 409 is ERR_CONFLICT: whether it says "closed" stands in its fields. */
enum dstream_code ds_status_code(int status);
/* Whether a request that is safe to repeat is tried again by itself: 408, 425, 429 and 5xx but 501
 * and 505. */
bool ds_status_retryable(int status);
/* Whether a write that got this answer is certainly not stored. Any other answer but 2xx (a 5xx of
 * a proxy, a 408) may come after the server has stored it. */
bool ds_status_definite(int status);

/* DSTREAM_OK for DS_END_COMPLETE. */
enum dstream_code ds_end_code(enum ds_end end);
bool ds_end_retryable(enum ds_end end);

#endif
