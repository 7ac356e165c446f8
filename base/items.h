/* SPDX-License-Identifier: Apache-2.0 */
/* The data of a batch: bytes, and on a JSON stream where each message in them ends. */
#ifndef DS_BASE_ITEMS_H
#define DS_BASE_ITEMS_H

#include "base/buf.h"

/* JSON: bytes are messages, each followed by one LF; ends[i] is the position just behind the LF of
 * message i. Else: plain bytes, count 0. */
struct ds_items {
    struct ds_buf bytes;
    size_t *ends;
    size_t count, cap;
};

void ds_items_init(struct ds_items *it, size_t max_bytes);
void ds_items_free(struct ds_items *it);
/* Empties it, keeping at most `keep` bytes of memory for the next use. */
void ds_items_reset(struct ds_items *it, size_t keep);
/* Records that a message (its LF included) ends where the bytes end now. */
enum dstream_code ds_items_end(struct ds_items *it);
/* Message i without its LF. */
const char *ds_items_get(const struct ds_items *it, size_t i, size_t *len);
/* Cuts back to `count` messages and `len` bytes, as they were at an earlier moment. */
void ds_items_cut(struct ds_items *it, size_t count, size_t len);

#endif
