/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/segment.h"

#include <string.h>
#include <time.h>

bool ds_segment_valid(const char *pattern)
{
    bool numbered = false;
    if (!pattern[0] || pattern[0] == '.' || strchr(pattern, '/'))
        return false;
    for (const char *p = pattern; *p; p++) {
        if (*p != '%')
            continue;
        p++;
        if (!*p || !strchr("bent%", *p))
            return false;
        numbered = numbered || *p == 'n';
    }
    return numbered;
}

bool ds_segment_has_file(const char *pattern)
{
    bool name = false, ending = false;
    for (const char *p = pattern; (p = strchr(p, '%')) != NULL; p += 2) {
        name = name || p[1] == 'b';
        ending = ending || p[1] == 'e';
    }
    return name && ending;
}

/* Where the name's ending begins. */
static size_t ending_of(const char *file)
{
    size_t n = strlen(file), end = n;
    const char *dot = strrchr(file, '.');
    if (dot && dot > file)
        end = (size_t)(dot - file);
    if (strcmp(file + end, ".gz") != 0 && strcmp(file + end, ".zst") != 0)
        return end;
    size_t i = end;
    while (i > 0 && file[i - 1] != '.')
        i--;
    return i > 1 ? i - 1 : end;
}

static enum dstream_code add_time(struct ds_buf *out, int64_t ms)
{
    char text[32];
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &tm) == 0)
        text[0] = '\0';
    return ds_buf_adds(out, text);
}

static enum dstream_code add_part(struct ds_buf *out, char what, const char *file,
                                  const struct ds_checkpoint_segment *s)
{
    size_t ending = ending_of(file);
    switch (what) {
    case 'b':
        return ds_buf_add(out, file, ending);
    case 'e':
        return ds_buf_adds(out, file + ending);
    case 'n':
        return ds_buf_addf(out, "%06llu", (unsigned long long)s->number);
    case 't':
        return add_time(out, s->since);
    default:
        return ds_buf_addc(out, what);
    }
}

enum dstream_code ds_segment_name(struct ds_buf *out, const char *pattern, const char *file,
                                  const struct ds_checkpoint_segment *s)
{
    size_t begin = out->len;
    enum dstream_code rc = DSTREAM_OK;
    for (const char *p = pattern; *p && rc == DSTREAM_OK; p++) {
        if (*p == '%' && p[1])
            rc = add_part(out, *++p, file, s);
        else
            rc = ds_buf_addc(out, *p);
    }
    if (rc == DSTREAM_OK && out->len - begin > DS_SEGMENT_MAX)
        rc = DSTREAM_ERR_LIMIT;
    return rc;
}
