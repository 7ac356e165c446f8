/* SPDX-License-Identifier: Apache-2.0 */
/* Times of RFC 3339. */
#include "config.h"

#include <string.h>

#include "devserver/store.h"

/* Takes `n` digits. -1: they are not. */
static int number(const char **s, int n)
{
    int v = 0;
    for (; n > 0; n--, (*s)++) {
        if (**s < '0' || **s > '9')
            return -1;
        v = v * 10 + (**s - '0');
    }
    return v;
}

static bool take(const char **s, const char *any)
{
    bool there = **s && strchr(any, **s);
    *s += there;
    return there;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01, in the proleptic Gregorian calendar: a year is taken to begin in March,
 * so that the leap day is its last. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t m = month > 2 ? month - 3 : month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool parse_date(const char **s, int64_t *days)
{
    int year = number(s, 4);
    if (year < 1 || !take(s, "-"))
        return false;
    int month = number(s, 2);
    if (month < 1 || month > 12 || !take(s, "-"))
        return false;
    int day = number(s, 2);
    if (day < 1 || day > days_in(year, month))
        return false;
    *days = days_since_1970(year, month, day);
    return true;
}

static bool parse_clock(const char **s, int64_t *ms)
{
    int h = number(s, 2);
    if (h < 0 || h > 23 || !take(s, ":"))
        return false;
    int m = number(s, 2);
    if (m < 0 || m > 59 || !take(s, ":"))
        return false;
    int sec = number(s, 2);
    if (sec < 0 || sec > 60) /* 60: a leap second */
        return false;
    *ms = ((h * 60 + m) * 60 + sec) * (int64_t)1000;
    if (!take(s, "."))
        return true;
    int64_t unit = 100;
    const char *first = *s;
    for (; **s >= '0' && **s <= '9'; (*s)++, unit /= 10)
        *ms += (**s - '0') * unit;
    return *s > first;
}

static bool parse_zone(const char **s, int64_t *ms)
{
    *ms = 0;
    if (take(s, "Zz"))
        return true;
    int sign = **s == '-' ? -1 : 1;
    if (!take(s, "+-"))
        return false;
    int h = number(s, 2);
    if (h < 0 || h > 23 || !take(s, ":"))
        return false;
    int m = number(s, 2);
    *ms = sign * (h * 60 + m) * (int64_t)60000;
    return m >= 0 && m <= 59;
}

bool ds_time_parse(const char *s, int64_t *ms)
{
    int64_t days, clock, zone;
    if (!parse_date(&s, &days) || !take(&s, "Tt ") || !parse_clock(&s, &clock) ||
        !parse_zone(&s, &zone) || *s)
        return false;
    *ms = days * 86400000 + clock - zone;
    return true;
}
