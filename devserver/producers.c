/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "devserver/producers.h"

#include <string.h>

#include "base/alloc.h"

struct ds_writer {
    uint64_t epoch, seq; /* the last batch that was stored */
    int64_t at;          /* when that was */
    bool listed;
    struct ds_writer *next;          /* of its slot */
    struct ds_writer *older, *newer; /* by when they were last heard of */
    char id[];
};

struct ds_producers {
    struct ds_writer **slots; /* a power of two of lists */
    size_t nslots, count;
    size_t bytes; /* of the writers */
    struct ds_writer *oldest, *newest;
};

size_t ds_text_hash(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

/* --- the table -------------------------------------------------------------------------------- */

static struct ds_writer **slot(const struct ds_producers *ps, const char *id)
{
    struct ds_writer **p = &ps->slots[ds_text_hash(id) & (ps->nslots - 1)];
    while (*p && strcmp((*p)->id, id) != 0)
        p = &(*p)->next;
    return p;
}

/* A table that could not grow is slower, and works. */
static void grow(struct ds_producers *ps)
{
    struct ds_producers bigger = *ps;
    bigger.nslots *= 2;
    bigger.slots = ds_calloc(bigger.nslots, sizeof(struct ds_writer *));
    if (!bigger.slots)
        return;
    for (struct ds_writer *w = ps->oldest; w; w = w->newer) {
        w->next = NULL;
        *slot(&bigger, w->id) = w;
    }
    ds_free(ps->slots);
    *ps = bigger;
}

struct ds_producers *ds_producers_new(void)
{
    struct ds_producers *ps = ds_calloc(1, sizeof *ps);
    if (!ps)
        return NULL;
    ps->nslots = 4;
    ps->slots = ds_calloc(ps->nslots, sizeof(struct ds_writer *));
    if (ps->slots)
        return ps;
    ds_free(ps);
    return NULL;
}

void ds_producers_free(struct ds_producers *ps)
{
    if (!ps)
        return;
    for (struct ds_writer *w = ps->oldest, *newer; w; w = newer) {
        newer = w->newer;
        ds_free(w);
    }
    ds_free(ps->slots);
    ds_free(ps);
}

size_t ds_producers_size(const struct ds_producers *ps)
{
    return ps ? sizeof *ps + ps->nslots * sizeof *ps->slots + ps->bytes : 0;
}

/* --- one writer ------------------------------------------------------------------------------- */

size_t ds_writer_size(const struct ds_writer *w)
{
    return w ? sizeof *w + strlen(w->id) + 1 : 0;
}

bool ds_writer_is(const struct ds_writer *w, const struct ds_producer *p)
{
    return w->epoch == p->epoch && w->seq == p->seq && strcmp(w->id, p->id) == 0;
}

void ds_writer_free(struct ds_writer *w)
{
    ds_free(w);
}

static void put_newest(struct ds_producers *ps, struct ds_writer *w)
{
    w->newer = NULL;
    w->older = ps->newest;
    *(w->older ? &w->older->newer : &ps->oldest) = w;
    ps->newest = w;
}

static void take_from_order(struct ds_producers *ps, struct ds_writer *w)
{
    *(w->older ? &w->older->newer : &ps->oldest) = w->newer;
    *(w->newer ? &w->newer->older : &ps->newest) = w->older;
}

struct ds_writer *ds_producers_take(struct ds_producers *ps, struct ds_writer *w)
{
    *slot(ps, w->id) = w->next;
    take_from_order(ps, w);
    ps->count--;
    ps->bytes -= ds_writer_size(w);
    w->listed = false;
    return w;
}

static bool expired(const struct ds_writer *w, int64_t now)
{
    return now - w->at > DS_PRODUCER_AGE;
}

void ds_producers_expire(struct ds_producers *ps, int64_t now)
{
    while (ps && ps->oldest && expired(ps->oldest, now))
        ds_writer_free(ds_producers_take(ps, ps->oldest));
}

/* --- batches ---------------------------------------------------------------------------------- */

enum ds_stored ds_producers_judge(const struct ds_producers *ps, struct ds_producer *p, int64_t now)
{
    const struct ds_writer *w = *slot(ps, p->id);
    /* A clock that was set back lets one be older than those behind it in the order. */
    bool known = w && !expired(w, now);
    if (known && p->epoch < w->epoch) {
        p->known = w->epoch;
        return DS_STORED_FENCED;
    }
    if (known && p->epoch > w->epoch)
        return p->seq == 0 ? DS_STORED_OK : DS_STORED_EPOCH;
    if (known && p->seq <= w->seq) {
        p->known = w->seq;
        return DS_STORED_DUPLICATE;
    }
    p->known = known ? w->seq + 1 : 0;
    return p->seq == p->known ? DS_STORED_OK : DS_STORED_GAP;
}

struct ds_writer *ds_producers_prepare(struct ds_producers *ps, const char *id, size_t *cost)
{
    struct ds_writer *w = *slot(ps, id);
    *cost = 0;
    if (w)
        return w;
    size_t n = strlen(id) + 1;
    w = ds_calloc(1, sizeof *w + n);
    if (!w)
        return NULL;
    memcpy(w->id, id, n);
    *cost = ds_writer_size(w) + (ps->count == ps->nslots ? ps->nslots * sizeof *ps->slots : 0);
    return w;
}

void ds_producers_drop(struct ds_writer *w)
{
    if (w && !w->listed)
        ds_writer_free(w);
}

void ds_producers_commit(struct ds_producers *ps, struct ds_writer *w, const struct ds_producer *p,
                         int64_t now)
{
    if (w->listed) {
        take_from_order(ps, w);
    } else {
        if (ps->count == ps->nslots)
            grow(ps);
        *slot(ps, w->id) = w;
        w->listed = true;
        ps->count++;
        ps->bytes += ds_writer_size(w);
    }
    put_newest(ps, w);
    w->epoch = p->epoch;
    w->seq = p->seq;
    w->at = now;
}
