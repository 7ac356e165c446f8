/* SPDX-License-Identifier: Apache-2.0 */
/* dstream close URL: for good, maybe with a last message. */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#include "cli/unary.h"

/* The last data go in one request with the closing. The stream says which type they are of. */
static enum dstream_code read_data(struct ds_unary *u, struct ds_call_config *call,
                                   char type[DS_TYPE_MAX + 1], struct ds_buf *body)
{
    const char *path = u->cli->opt.data;
    if (!path)
        return DSTREAM_OK;
    enum dstream_code rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT});
    if (rc != DSTREAM_OK)
        return rc;
    if (u->result.closed)
        return ds_error_set(&u->error, DSTREAM_ERR_CLOSED,
                            "the stream is closed already, so that nothing can be appended to it");
    strcpy(type, u->result.content_type);
    rc = ds_unary_data(u, path, type, body);
    if (rc != DSTREAM_OK || body->len == 0)
        return rc;
    call->kind = DS_CALL_APPEND;
    call->close = true;
    call->content_type = type[0] ? type : "application/octet-stream";
    call->body = body->data;
    call->body_len = body->len;
    return DSTREAM_OK;
}

static int close_stream(struct ds_unary *u)
{
    struct ds_cli *c = u->cli;
    struct ds_call_config call = {.kind = DS_CALL_CLOSE};
    char type[DS_TYPE_MAX + 1], end[DS_TOKEN_MAX + 1];
    struct ds_buf body;
    ds_buf_init(&body, c->limits.max_body);
    enum dstream_code rc = read_data(u, &call, type, &body);
    if (rc == DSTREAM_OK)
        rc = ds_unary_call(u, call);
    if (rc == DSTREAM_OK) {
        strcpy(end, u->result.next);
        rc = ds_unary_check_closed(u);
    }
    ds_buf_free(&body);
    if (rc != DSTREAM_OK)
        return ds_cli_fail(c, &u->error);
    ds_cli_say(c, "%s: closed; its end is %s", u->name, end);
    return DS_EXIT_OK;
}

int ds_cmd_close(struct ds_cli *c)
{
    struct ds_unary u;
    if (c->nargs != 1)
        return ds_cli_usage(c, "close takes one stream");
    enum dstream_code rc = ds_unary_begin(&u, c);
    return ds_unary_end(&u, rc == DSTREAM_OK ? close_stream(&u) : ds_cli_fail(c, &u.error));
}
