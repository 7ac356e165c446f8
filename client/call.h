/* SPDX-License-Identifier: Apache-2.0 */
/* Unary calls over the network: drives producer/call.h on a loop. */
#ifndef DS_CLIENT_CALL_H
#define DS_CLIENT_CALL_H

#include "client/gate.h"
#include "client/reader.h"
#include "producer/call.h"

/* What calls of one stream have in common. Lent while a call is under way. */
struct ds_caller {
    dstream_loop *loop;
    struct ds_session *session;     /* of `options`, as ds_options_session() makes it */
    const dstream_options *options; /* its limits, trace and request callback */
    struct ds_gate *gate;           /* what callbacks go through; NULL: nobody cancels */
    /* Told before each retry; may be NULL. */
    void (*on_retry)(void *ctx, const struct dstream_error *why, int64_t delay);
    void *ctx;
};

struct ds_calling; /* one call under way, or done */
typedef void (*ds_on_called)(void *ctx, struct ds_calling *x);

/* Starts it; `limits` of the configuration are those of the options. `on_called` is called once,
 * from within the loop's turn, and may free it. On failure *out is NULL. */
enum dstream_code ds_calling_start(struct ds_calling **out, const struct ds_caller *caller,
                                   const struct ds_call_config *config, ds_on_called on_called,
                                   void *ctx, struct dstream_error *err);
/* Gives up, without a callback: the result is what is known (ds_call_cancel()). */
void ds_calling_stop(struct ds_calling *x);
/* Once it is done or stopped. */
const struct ds_call_result *ds_calling_result(const struct ds_calling *x);
const struct dstream_error *ds_calling_error(const struct ds_calling *x);
const struct dstream_error *ds_calling_cause(const struct ds_calling *x);
/* Cancels what is under way; nothing is called back. */
void ds_calling_free(struct ds_calling *x);

/* The whole call, waiting. Gives up where `stop` (may be NULL) becomes true, which is asked
 * whenever the loop wakes up. Sets both *out and *err, the code being that of *err. */
enum dstream_code ds_call_wait(const struct ds_caller *caller, const struct ds_call_config *config,
                               bool (*stop)(void *ctx), void *ctx, struct ds_call_result *out,
                               struct dstream_error *err);

#endif
