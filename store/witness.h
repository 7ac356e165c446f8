/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps a checkpoint's witness current while batches are taken. Pure: no files, no clock. */
#ifndef DS_STORE_WITNESS_H
#define DS_STORE_WITNESS_H

#include "store/checkpoint.h"

struct ds_witness_keeper {
    size_t max_bytes; /* of the stream, that a witness covers */
    struct ds_hash *hash;
    size_t bytes; /* hashed so far */
    bool growing; /* `hash` is that of the current witness and may take what follows */
};

/* A piece of a batch: what of its data is at hand. */
struct ds_witness_piece {
    const char *start; /* where the batch began */
    uint64_t at;       /* units (bytes, or messages of JSON) of the batch before this piece */
    const char *data;
    size_t len;
    const size_t *ends; /* JSON: the end of each message in `data`, its LF included; else NULL */
    size_t count;
};

/* ERR_NOMEM. */
enum dstream_code ds_witness_begin(struct ds_witness_keeper *k, size_t max_bytes);
void ds_witness_end(struct ds_witness_keeper *k);
/* The piece was taken: `w` becomes what a checkpoint written now has to say. A batch whose first
 * message alone is over the cap, and one whose beginning was not seen, leave the witness of an
 * earlier batch as it is, since a hash of something is better than of nothing. */
void ds_witness_add(struct ds_witness_keeper *k, struct ds_checkpoint_witness *w,
                    const struct ds_witness_piece *p);

#endif
