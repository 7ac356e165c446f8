/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When an entry of a recording is due. Pure: it is given the time.
 *
 * All of them are reckoned from the first one, so that what makes one late makes no other one late,
 * and a day is a day: one that is late is due at once.
 */
#ifndef DS_CLI_PACE_H
#define DS_CLI_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define DS_PACE_MAX  UINT64_C(0) /* a speed: as fast as it goes */
#define DS_PACE_UNIT UINT64_C(1000)

struct ds_pace {
    uint64_t speed; /* in thousandths: 1000 as it was, 2000 twice as fast */
    bool begun;
    int64_t first; /* the time of the first entry, ms of the recording */
    int64_t start; /* and when that was due, ms of the caller's clock */
};

/* When an entry that was recorded at `time` is due; the first one that is asked about is at once.
 * Times of a recording are below 2^53. */
int64_t ds_pace_due(struct ds_pace *p, int64_t time, int64_t now);

/* "1", "0.5", "20" or "max": thousandths. False for what is none: 0, over 1e6, more than three
 * digits behind the point. */
bool ds_pace_parse(const char *s, uint64_t *speed);

#endif
