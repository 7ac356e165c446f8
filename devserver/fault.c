/* SPDX-License-Identifier: Apache-2.0 */
#include "devserver/fault.h"

#include <string.h>

#include "base/text.h"

#define EVERY_DEFAULT 2 /* so that a client that tries again gets through */

static bool take_size(const char *value, uint64_t max, uint64_t *out)
{
    return ds_parse_size(value, out) && *out <= max;
}

static bool take(struct ds_fault *f, const char *key, const char *value)
{
    uint64_t n = 0;
    bool good = false;
    if (strcmp(key, "drop-after") == 0) {
        good = f->drops = take_size(value, UINT64_MAX, &f->drop_after);
    } else if (strcmp(key, "status") == 0) {
        good = ds_parse_u64(value, 599, &n) && n >= 400;
        f->status = (int)n;
    } else if (strcmp(key, "stall") == 0) {
        good = ds_parse_duration(value, &f->stall) && f->stall > 0;
    } else if (strcmp(key, "split") == 0) {
        good = take_size(value, SIZE_MAX, &n) && n > 0;
        f->split = (size_t)n;
    } else if (strcmp(key, "every") == 0) {
        good = ds_parse_u64(value, 1000000, &n) && n > 0;
        f->every = (unsigned)n;
    }
    return good;
}

bool ds_fault_parse(const char *s, struct ds_fault *f)
{
    *f = (struct ds_fault){.every = EVERY_DEFAULT};
    while (*s) {
        char part[64];
        size_t n = strcspn(s, ",");
        if (n >= sizeof part)
            return false;
        memcpy(part, s, n);
        part[n] = '\0';
        char *equals = strchr(part, '=');
        if (!equals)
            return false;
        *equals = '\0';
        if (!take(f, part, equals + 1))
            return false;
        s += n;
        if (*s == ',' && !*++s)
            return false;
    }
    return f->drops || f->status || f->stall > 0 || f->split > 0;
}
