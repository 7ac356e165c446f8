/* SPDX-License-Identifier: Apache-2.0 */
#include "base/items.h"

#include "base/alloc.h"

void ds_items_init(struct ds_items *it, size_t max_bytes)
{
    *it = (struct ds_items){0};
    ds_buf_init(&it->bytes, max_bytes);
}

void ds_items_free(struct ds_items *it)
{
    ds_buf_free(&it->bytes);
    ds_free(it->ends);
    it->ends = NULL;
    it->count = it->cap = 0;
}

void ds_items_reset(struct ds_items *it, size_t keep)
{
    ds_buf_reset(&it->bytes, keep);
    it->count = 0;
    if (it->cap > keep / sizeof *it->ends) {
        ds_free(it->ends);
        it->ends = NULL;
        it->cap = 0;
    }
}

enum dstream_code ds_items_end(struct ds_items *it)
{
    size_t *ends = ds_grown(it->ends, &it->cap, it->count, sizeof *ends);
    if (!ends)
        return DSTREAM_ERR_NOMEM;
    it->ends = ends;
    it->ends[it->count++] = it->bytes.len;
    return DSTREAM_OK;
}

const char *ds_items_get(const struct ds_items *it, size_t i, size_t *len)
{
    size_t begin = i > 0 ? it->ends[i - 1] : 0;
    *len = it->ends[i] - begin - 1;
    return it->bytes.data + begin;
}

void ds_items_cut(struct ds_items *it, size_t count, size_t len)
{
    it->count = count;
    it->bytes.len = len;
}
