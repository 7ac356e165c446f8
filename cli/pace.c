/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pace.h"

#include <string.h>

#include "base/text.h"

#define SPEED_MAX UINT64_C(1000000) /* times as fast */

int64_t ds_pace_due(struct ds_pace *p, int64_t time, int64_t now)
{
    if (!p->begun) {
        p->begun = true;
        p->first = time;
        p->start = now;
    }
    if (p->speed == DS_PACE_MAX || time <= p->first)
        return p->start;
    uint64_t wait = (uint64_t)(time - p->first) * DS_PACE_UNIT / p->speed;
    return wait > (uint64_t)(INT64_MAX - p->start) ? INT64_MAX : p->start + (int64_t)wait;
}

bool ds_pace_parse(const char *s, uint64_t *speed)
{
    static const uint64_t scale[] = {0, 100, 10, 1};
    char whole[8] = "";
    uint64_t n = 0, thousandths = 0;
    size_t len = strcspn(s, ".");
    *speed = DS_PACE_MAX;
    if (strcmp(s, "max") == 0)
        return true;
    if (len >= sizeof whole)
        return false;
    memcpy(whole, s, len);
    if (!ds_parse_u64(whole, SPEED_MAX, &n))
        return false;
    if (s[len] == '.') {
        const char *digits = s + len + 1;
        if (strlen(digits) > 3 || !ds_parse_u64(digits, 999, &thousandths))
            return false;
        thousandths *= scale[strlen(digits)];
    }
    *speed = n * DS_PACE_UNIT + thousandths;
    return *speed > 0;
}
