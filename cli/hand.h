/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is handed portions of a stream, one at a time, and says how much of it is done: a command
 * that is run for each (--exec), or a process that reads them from a pipe and acknowledges them by
 * another one (--ack-fd). They know nothing of streams and states.
 */
#ifndef DS_CLI_HAND_H
#define DS_CLI_HAND_H

#include "cli/cli.h"
#include "client/loop.h"

/* What is handed out at once. Lent until all of it is done, or the hand is freed. */
struct ds_portion {
    const char *offset; /* it begins here, */
    uint64_t skip;      /* leaving out so many units of what is there */
    const char *next;   /* and what follows here */
    uint64_t next_skip;
    uint64_t count; /* units: messages of JSON, else bytes */
    bool closed;    /* nothing follows */
    const char *stream, *content_type;
    struct ds_buf *data; /* formatted; the hand may add to it */
};

struct ds_hand;
struct ds_hand_ops {
    enum dstream_code (*give)(struct ds_hand *h, const struct ds_portion *p,
                              struct dstream_error *err);
    /* How many units of the portion are done by now. Called after each turn of the loop.
     * ERR_CANCELLED where it was stopped by a signal, and the rest will not be done. */
    enum dstream_code (*look)(struct ds_hand *h, uint64_t *done, struct dstream_error *err);
    /* Nothing more will be given. `sig`: what ends us, which the portion under way need not be
     * waited for longer than that takes; 0: it is waited for. */
    void (*stop)(struct ds_hand *h, int sig);
    void (*free)(struct ds_hand *h);
};

struct ds_hand {
    const struct ds_hand_ops *ops;
    const char *name; /* its option */
    bool gone;        /* nobody is there any more who could be given anything */
};

/* `lock` is a descriptor that each command inherits, so that no other one is run on the same state
 * while it lives, whatever becomes of us. ERR_NOMEM. */
enum dstream_code ds_hand_exec(struct ds_hand **out, struct ds_cli *c, dstream_loop *loop, int lock,
                               struct dstream_error *err);
/* ERR_NOMEM. */
enum dstream_code ds_hand_ack(struct ds_hand **out, struct ds_cli *c, dstream_loop *loop,
                              struct dstream_error *err);

/* "OFFSET,SKIP"; without the skip where `brief` and it is 0. */
enum dstream_code ds_hand_position(struct ds_buf *out, const char *offset, uint64_t skip,
                                   bool brief);

#endif
