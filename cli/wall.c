/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/wall.h"

#include <string.h>
#include <time.h>

int64_t ds_wall_now(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void ds_print_time(int64_t ms, char out[DS_TIME_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    size_t n = 0;
    out[0] = '\0';
    if (ms >= 0 && gmtime_r(&seconds, &tm))
        n = strftime(out, DS_TIME_SIZE - 5, "%Y-%m-%dT%H:%M:%S", &tm);
    if (n == 0)
        return;
    unsigned rest = (unsigned)(ms % 1000);
    const char end[] = {
        '.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10), 'Z',
        '\0'};
    memcpy(out + n, end, sizeof end);
}
