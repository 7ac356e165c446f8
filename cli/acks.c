/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/acks.h"

#include <string.h>

#include "cli/options.h"

#define ACK_MAX ((size_t)2 * DS_TOKEN_MAX)

void ds_acks_init(struct ds_acks *a)
{
    ds_buf_init(&a->line, ACK_MAX);
}

void ds_acks_free(struct ds_acks *a)
{
    ds_buf_free(&a->line);
}

static enum dstream_code refuse(const struct ds_acks *a, struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_INPUT,
                        "--ack-fd: \"%.*s\" is not a position: a line each is wanted, as "
                        "OFFSET[,SKIP]",
                        (int)(a->line.len < 100 ? a->line.len : 100), a->line.data);
}

static enum dstream_code take(struct ds_acks *a, ds_on_ack on_ack, void *ctx,
                              struct dstream_error *err)
{
    char copy[ACK_MAX + 1];
    const char *line = ds_buf_str(&a->line), *offset;
    uint64_t skip;
    if (!line)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for an acknowledgement");
    memcpy(copy, line, a->line.len + 1);
    if (strlen(copy) != a->line.len || !ds_cli_parse_from(copy, &offset, &skip))
        return refuse(a, err);
    enum dstream_code rc = on_ack(ctx, line, offset, skip);
    a->line.len = 0;
    return rc;
}

enum dstream_code ds_acks_add(struct ds_acks *a, const char *p, size_t n, ds_on_ack on_ack,
                              void *ctx, struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    while (n > 0 && rc == DSTREAM_OK) {
        const char *lf = memchr(p, '\n', n);
        size_t part = lf ? (size_t)(lf - p) : n, used = part + (lf != NULL);
        rc = ds_buf_add(&a->line, p, part);
        if (rc == DSTREAM_ERR_LIMIT)
            return refuse(a, err);
        if (rc != DSTREAM_OK)
            return ds_error_set(err, rc, "no memory for an acknowledgement");
        if (lf)
            rc = take(a, on_ack, ctx, err);
        p += used;
        n -= used;
    }
    return rc;
}
