/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a producer is fed with: messages one after another, each with a mark, which says how far the
 * source has been taken at its end. A journal keeps the mark, and the next run goes on behind it.
 */
#ifndef DS_CLI_SUPPLY_H
#define DS_CLI_SUPPLY_H

#include "base/error.h"
#include "cli/messages.h"
#include "client/journal.h"
#include "client/loop.h"

enum ds_supplied {
    DS_SUPPLY_MESSAGE,
    DS_SUPPLY_AGAIN, /* ask again after a turn of the loop, which need not wait */
    DS_SUPPLY_WAIT,  /* the loop wakes up when there is something to ask for */
    DS_SUPPLY_END    /* no more comes; error() says why, where that is not its proper end */
};

struct ds_supply_ops {
    /* The next message: the same one until it is dropped, and valid until then. */
    enum ds_supplied (*next)(void *ctx, const char **p, size_t *n, uint64_t *mark);
    void (*drop)(void *ctx);
    /* Nothing is taken just now: the loop need not wake up for it. */
    void (*hold)(void *ctx);
    /* No more is taken: `why` (NULL: who takes it does not want more) becomes its error. */
    void (*stop)(void *ctx, const struct dstream_error *why);
    /* Its code is DSTREAM_OK where nothing went wrong. */
    const struct dstream_error *(*error)(void *ctx);
    /* Everything up to this mark is stored; may be left out. */
    void (*stored)(void *ctx, uint64_t mark);
    /* What the journal keeps with this mark, so that the next run knows the source again; "" for
     * nothing. May be left out. */
    void (*witness)(void *ctx, uint64_t mark, char out[DS_JOURNAL_WITNESS]);
    /* At the end: the mark behind all of it; and whether the stream that is written is to be closed
     * as well, where that was asked for. */
    uint64_t (*end)(void *ctx, bool *closes);
};

/* How large a message may be at the most that is made of bytes without borders, where `max` bytes
 * go into one. What is too large for the server is sent in smaller batches, but no message is cut.
 */
static inline size_t ds_supply_piece(size_t max)
{
    return max < DS_MESSAGES_PIECE ? max : DS_MESSAGES_PIECE;
}

struct ds_supply {
    const struct ds_supply_ops *ops;
    void *ctx;
    bool counted;         /* its messages have borders, and so numbers */
    const char *bytes_of; /* marks are bytes of this, for messages; NULL: they are not bytes */
    bool lf_behind;       /* a message is a line only with an LF behind it */
};

/* What is copied from another stream. */
static inline void ds_supply_copies(struct ds_supply *s, bool json)
{
    s->counted = s->lf_behind = json;
    s->bytes_of = json ? NULL : "what is copied";
}

#endif
