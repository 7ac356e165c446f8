/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storing.h"

#include <string.h>

unsigned changes;
struct ds_stream *changed_last;

void changed(void *ctx, struct ds_stream *s)
{
    (void)ctx;
    changes++;
    changed_last = s;
}

struct ds_store *new_store(size_t max)
{
    changes = 0;
    struct ds_store *st = ds_store_new(max, changed, NULL);
    cr_assert_not_null(st);
    return st;
}

struct ds_stream *make(struct ds_store *st, const char *path, const char *type)
{
    struct ds_stream *s;
    struct ds_stream_spec spec = {.path = path, .type = type};
    cr_assert_eq(ds_store_create(st, &spec, NOW, &s), DS_STORED_OK);
    return s;
}

const char *field(const struct ds_reply *r, const char *name)
{
    const char *p = r->fields.data, *end = p + r->fields.len;
    while (p < end) {
        const char *v = p + strlen(p) + 1;
        if (strcmp(p, name) == 0)
            return v;
        p = v + strlen(v) + 1;
    }
    return NULL;
}
