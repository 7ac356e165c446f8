/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: descriptors, timers and a wake-up, over poll(2), with the transport that lives on it.
 * The clock and the random draws that protocol code is fed with come from here.
 */
#ifndef DS_CLIENT_LOOP_H
#define DS_CLIENT_LOOP_H

#include "dstream.h"
#include "transport/transport.h"

enum {
    DS_LOOP_READ = DSTREAM_WATCH_READ,
    DS_LOOP_WRITE = DSTREAM_WATCH_WRITE,
    DS_LOOP_HANGUP = 4 /* not seen while a caller's own loop does the waiting */
};

typedef void (*ds_on_fd)(void *ctx, int fd, unsigned what);
/* Watches `fd` for `what` (DS_LOOP_*); 0 removes it. DS_LOOP_HANGUP alone waits for nothing but the
 * other end going away (POLLHUP, POLLERR). A descriptor in error is ready for all that it is
 * watched for, in every turn until the watch is removed. Another `what` for the same fd replaces
 * the last. A caller's watch and the transport's never share an fd. Remove a watch before its fd
 * is closed. ERR_ARGUMENT, ERR_NOMEM. */
enum dstream_code ds_loop_watch(dstream_loop *l, int fd, unsigned what, ds_on_fd on_fd, void *ctx);

/* A timer, owned by its user and zeroed to begin with. */
struct ds_timer {
    int64_t at;  /* when it is due, by ds_loop_now(); meaningful while armed */
    size_t slot; /* private: place in the heap, plus one; 0: not armed */
    void (*fire)(void *ctx);
    void *ctx;
};
/* Arms it for `at` (replacing an earlier time), once; DS_NEVER is a time too. Those that are due
 * fire in the order of their times, then of arming. One that is armed from inside a timer fires in
 * the next turn at the earliest. ERR_NOMEM, not where it was armed already. */
enum dstream_code ds_timer_set(dstream_loop *l, struct ds_timer *t, int64_t at);
void ds_timer_stop(dstream_loop *l, struct ds_timer *t);

/* Something that another thread asks the loop's to do. Owned by its user and zeroed to begin with
 * but for `run` and `ctx`. */
struct ds_posted {
    void (*run)(void *ctx);
    void *ctx;
    _Atomic bool pending; /* private */
    struct ds_posted *next;
};
/* Runs it in the loop's next turn, once however often it is posted until then. From any thread. */
void ds_loop_post(dstream_loop *l, struct ds_posted *p);
/* Takes it back: it is not run after this. On the loop's thread, and not while it may be posted. */
void ds_loop_unpost(dstream_loop *l, struct ds_posted *p);

/* Milliseconds of a monotonic clock, as of the last time the loop woke up or ds_loop_update() was
 * called. */
int64_t ds_loop_now(const dstream_loop *l);
int64_t ds_loop_update(dstream_loop *l);
/* ds_loop_now(), updated where that is more than a few milliseconds ago: for what is called
 * millions of times a second. */
int64_t ds_loop_glance(dstream_loop *l);
/* A random draw. */
uint64_t ds_loop_random(dstream_loop *l);
/* 128 random bits that nobody else draws, as 32 hexadecimal digits. */
#define DS_RANDOM_ID 33
void ds_loop_random_id(dstream_loop *l, char out[DS_RANDOM_ID]);
struct ds_transport *ds_loop_transport(dstream_loop *l);

#endif
