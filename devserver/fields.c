/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "devserver/fields.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"

static const char *const known[DS_FIELDS] = {
    "Content-Type",       "If-None-Match",          "Producer-Epoch",    "Producer-Id",
    "Producer-Seq",       "Stream-Closed",          "Stream-Expires-At", "Stream-Fork-Offset",
    "Stream-Forked-From", "Stream-Fork-Sub-Offset", "Stream-Seq",        "Stream-TTL",
};

/* DS_FIELDS: none. */
static size_t place(const char *name)
{
    size_t i = 0;
    while (i < DS_FIELDS && strcasecmp(known[i], name) != 0)
        i++;
    return i;
}

static size_t trimmed(const char **s)
{
    *s += strspn(*s, " \t");
    size_t n = strlen(*s);
    while (n > 0 && ((*s)[n - 1] == ' ' || (*s)[n - 1] == '\t'))
        n--;
    return n;
}

bool ds_fields_add(struct ds_fields *f, const char *name, const char *value)
{
    size_t i = place(name), n = trimmed(&value);
    if (i == DS_FIELDS)
        return true;
    size_t before = f->value[i] ? strlen(f->value[i]) : 0;
    char *all = ds_realloc(f->value[i], before + 2 + n + 1);
    if (!all)
        return false;
    if (f->value[i]) {
        memcpy(all + before, ", ", 2);
        before += 2;
    }
    memcpy(all + before, value, n);
    all[before + n] = '\0';
    f->value[i] = all;
    return true;
}

const char *ds_fields_get(const struct ds_fields *f, const char *name)
{
    size_t i = place(name);
    return i < DS_FIELDS ? f->value[i] : NULL;
}

void ds_fields_free(struct ds_fields *f)
{
    for (size_t i = 0; i < DS_FIELDS; i++)
        ds_free(f->value[i]);
    *f = (struct ds_fields){0};
}
