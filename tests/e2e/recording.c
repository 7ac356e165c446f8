/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/recording.h"

#include <string.h>

#include "decode/recording.h"

/* Where the next entry has to begin. */
struct chain {
    char offset[DS_TOKEN_MAX + 1];
    uint64_t skip;
};

static void follow(struct chain *c, const struct ds_recording_entry *e, uint64_t line)
{
    bool json = e->flags & DSTREAM_BATCH_JSON;
    if (c->offset[0])
        cr_assert(strcmp(c->offset, e->offset) == 0 && c->skip == e->skip,
                  "line %llu begins at %s,%llu and not at %s,%llu", (unsigned long long)line,
                  e->offset, (unsigned long long)e->skip, c->offset, (unsigned long long)c->skip);
    bool part = e->flags & DSTREAM_BATCH_PARTIAL;
    strcpy(c->offset, part ? e->offset : e->next);
    c->skip = part ? e->skip + (json ? e->items.count : e->items.bytes.len) : 0;
}

static void take(struct recorded *r, const struct ds_recording_entry *e)
{
    cr_assert_not(r->closed, "an entry behind the end");
    e2e_add(&r->data, e->items.bytes.data, e->items.bytes.len);
    r->entries++;
    r->answers += e->begins;
    r->by[e->by]++;
    r->last = e->time;
    r->closed = e->flags & DSTREAM_BATCH_CLOSED;
}

struct recorded recorded_read(const char *path)
{
    struct recorded r = {0};
    struct chain c = {.offset = ""};
    struct ds_recording in;
    struct dstream_error err = {0};
    struct e2e_bytes all = e2e_read_file(path);
    bool got = true;
    e2e_add(&r.data, "", 0);
    ds_recording_init(&in, path, 512);
    cr_assert_eq(ds_recording_feed(&in, all.p, all.n, &err), DSTREAM_OK);
    while (got) {
        cr_assert_eq(ds_recording_next(&in, &got, &err), DSTREAM_OK, "%s", err.message);
        if (!got)
            break;
        follow(&c, &in.entry, in.line);
        take(&r, &in.entry);
    }
    r.torn = ds_recording_torn(&in) > 0;
    ds_recording_free(&in);
    return r;
}
