/* SPDX-License-Identifier: Apache-2.0 */
#include "store/witness.h"

#include <string.h>

enum dstream_code ds_witness_begin(struct ds_witness_keeper *k, size_t max_bytes)
{
    *k = (struct ds_witness_keeper){.max_bytes = max_bytes, .hash = ds_hash_new()};
    return k->hash ? DSTREAM_OK : DSTREAM_ERR_NOMEM;
}

void ds_witness_end(struct ds_witness_keeper *k)
{
    if (k->hash)
        ds_hash_free(k->hash);
    *k = (struct ds_witness_keeper){0};
}

/* How much of the piece still fits: *units of it, and their bytes. */
static size_t fitting(const struct ds_witness_piece *p, size_t room, uint64_t *units)
{
    if (!p->ends) {
        size_t n = p->len < room ? p->len : room;
        *units = n;
        return n;
    }
    size_t n = 0, i = 0;
    while (i < p->count && p->ends[i] <= room)
        n = p->ends[i++];
    *units = i;
    return n;
}

static void take(struct ds_witness_keeper *k, struct ds_checkpoint_witness *w,
                 const struct ds_witness_piece *p)
{
    uint64_t units;
    size_t n = fitting(p, k->max_bytes - k->bytes, &units);
    if (p->ends)
        ds_hash_messages(k->hash, p->data, p->ends, (size_t)units);
    else
        ds_hash_add(k->hash, p->data, n);
    k->bytes += n;
    w->hashed += units;
    k->growing = n == p->len;
    ds_hash_hex(k->hash, w->hash);
}

void ds_witness_add(struct ds_witness_keeper *k, struct ds_checkpoint_witness *w,
                    const struct ds_witness_piece *p)
{
    uint64_t total = p->ends ? p->count : p->len, first;
    if (total == 0)
        return;
    if (p->at > 0) {
        /* More of a batch: of the one that the witness is about, or else of one whose beginning is
         * not known. */
        if (strcmp(w->start, p->start) != 0 || p->at > w->delivered)
            return;
        if (k->growing && w->hashed == p->at)
            take(k, w, p);
        if (p->at + total > w->delivered)
            w->delivered = p->at + total;
        return;
    }
    fitting(p, k->max_bytes, &first);
    if (first == 0) {
        k->growing = false;
        return;
    }
    *w = (struct ds_checkpoint_witness){.delivered = total};
    memcpy(w->start, p->start, strlen(p->start) + 1);
    k->bytes = 0;
    ds_hash_reset(k->hash);
    take(k, w, p);
}
