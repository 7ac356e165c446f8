/* SPDX-License-Identifier: Apache-2.0 */
/* What a consumer acknowledges: positions, OFFSET[,SKIP], a line each. Pure: it is given pieces of
 * its input. */
#ifndef DS_CLI_ACKS_H
#define DS_CLI_ACKS_H

#include "base/buf.h"
#include "base/error.h"

struct ds_acks {
    struct ds_buf line; /* one that has not ended yet */
};

/* `line` is without its end, and is called once for each. What it returns but DSTREAM_OK ends the
 * taking with that. */
typedef enum dstream_code (*ds_on_ack)(void *ctx, const char *line, const char *offset,
                                       uint64_t skip);

void ds_acks_init(struct ds_acks *a);
void ds_acks_free(struct ds_acks *a);
/* ERR_INPUT for a line that is no position, NOMEM, or what `on_ack` returned. */
enum dstream_code ds_acks_add(struct ds_acks *a, const char *p, size_t n, ds_on_ack on_ack,
                              void *ctx, struct dstream_error *err);

#endif
