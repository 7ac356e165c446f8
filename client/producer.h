/* SPDX-License-Identifier: Apache-2.0 */
/* What the command uses of a producer beyond the public header. */
#ifndef DS_CLIENT_PRODUCER_H
#define DS_CLIENT_PRODUCER_H

#include "client/reader.h"
#include "producer/producer.h"

/* Where the producer's records are written down. */
struct ds_journal_ops {
    /* Takes a record, whole or not at all. It is lent for the call. */
    enum dstream_code (*write)(void *ctx, struct ds_record *r, struct dstream_error *err);
    /* All that was written so far is durable once this has returned. Called before anything that
     * depends on it, so that records that come together share it. */
    enum dstream_code (*sync)(void *ctx, struct dstream_error *err);
};

/* What a producer can be given beside its options. Zeroed: nothing. */
struct ds_producing {
    const struct ds_journal_ops
        *journal; /* NULL: none. The producer ends where a call of it fails */
    void *journal_ctx;
    const struct ds_producer_journal *from; /* what the journal held; NULL: it is new. Lent for the
                                               call */
    uint64_t first_id;                      /* of the first message */
    /* Told of retries and other epochs, from within the loop's turn; NULL: nobody wants to know. */
    void (*on_notice)(void *ctx, dstream_producer *p, enum ds_producer_notice kind, int64_t delay,
                      const struct dstream_error *why);
    void *notice_ctx;
};

/* dstream_producer_open(). What *err says of a failure. */
enum dstream_code ds_producing_open(dstream_producer **out, dstream_loop *loop, const char *url,
                                    const char *content_type, const char *id,
                                    const dstream_options *o, const struct ds_producing *more,
                                    struct dstream_error *err);
/* The public calls, with the mark of the input that a journal keeps. */
enum dstream_append ds_producing_append(dstream_producer *p, const void *message, size_t len,
                                        uint64_t mark, int64_t timeout_ms, uint64_t *id);
enum dstream_code ds_producing_close_stream(dstream_producer *p, const void *message, size_t len,
                                            uint64_t mark, bool force);
/* ds_producer_stop(): ends at once, of something that is not the server's doing. The results and
 * the end are called back. */
void ds_producing_stop(dstream_producer *p, const struct dstream_error *why);
void ds_producing_status(const dstream_producer *p, struct ds_producer_status *out);
/* What a result is made of, with the fate that only a journal knows (DS_FATE_KEPT). */
const struct ds_producer_result *ds_producing_result(const dstream_result *r);
/* Of the first message that was not stored, while the producer goes on (or DSTREAM_OK). */
const struct dstream_error *ds_producing_first_error(const dstream_producer *p);

#endif
