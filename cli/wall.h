/* SPDX-License-Identifier: Apache-2.0 */
/* The time of day, which is shown and recorded, but never reckoned with. */
#ifndef DS_CLI_WALL_H
#define DS_CLI_WALL_H

#include <stdint.h>

/* Milliseconds since 1970. */
int64_t ds_wall_now(void);

#define DS_TIME_SIZE 40
/* As "2026-01-02T03:04:05.678Z"; "" for a time that has no such form. */
void ds_print_time(int64_t ms, char out[DS_TIME_SIZE]);

#endif
