/* SPDX-License-Identifier: Apache-2.0 */
/* dstream fork URL --from URL: makes a stream that begins as another one does. */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#include "base/url.h"
#include "cli/network.h"
#include "cli/unary.h"

#define URL_MAX ((size_t)64 * 1024)

/* What the server calls the stream at this URL: the path, since both are the same server's. */
static enum dstream_code path_of(struct ds_unary *u, const char *url, struct ds_buf *out)
{
    if (!ds_url_same_origin(u->url.data, url))
        return ds_error_set(&u->error, DSTREAM_ERR_ARGUMENT,
                            "--from: a fork is of the same server as what it is made from");
    if (ds_url_path(out, url) == DSTREAM_OK && ds_buf_str(out))
        return DSTREAM_OK;
    return ds_error_set(&u->error, DSTREAM_ERR_NOMEM, "no memory for a path");
}

static int report(struct ds_unary *u)
{
    bool made = u->result.status == 201;
    const char *fate = made                  ? "created"
                       : u->result.ambiguous ? "is there now; an answer was lost, so it was made "
                                               "by this command, or was there before"
                                             : "was there already, as the same fork";
    ds_cli_say(u->cli, "%s: %s; it ends at %s", u->name, fate, u->result.next);
    return DS_EXIT_OK;
}

static int fork_from(struct ds_unary *u)
{
    const struct ds_cli_options *o = &u->cli->opt;
    char type[DS_TYPE_MAX + 1];
    struct ds_buf source, path;
    ds_buf_init(&source, URL_MAX);
    ds_buf_init(&path, URL_MAX);
    enum dstream_code rc = ds_cli_url(u->cli, o->fork_from, &source, &u->error);
    if (rc == DSTREAM_OK)
        rc = path_of(u, source.data, &path);
    /* Servers compare the type when the same fork is asked for again, after a lost answer, say. */
    if (rc == DSTREAM_OK)
        rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT, .url = source.data});
    strcpy(type, u->result.content_type);
    if (rc == DSTREAM_OK)
        rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_CREATE,
                                                      .content_type = type[0] ? type : NULL,
                                                      .fork_from = path.data,
                                                      .fork_offset = o->fork_at,
                                                      .fork_skip = o->fork_skip});
    ds_buf_free(&source);
    ds_buf_free(&path);
    return rc == DSTREAM_OK ? report(u) : ds_cli_fail(u->cli, &u->error);
}

int ds_cmd_fork(struct ds_cli *c)
{
    struct ds_unary u;
    if (c->nargs != 1 || !c->opt.fork_from)
        return ds_cli_usage(c, "fork takes one stream to be made, and --from what");
    enum dstream_code rc = ds_unary_begin(&u, c);
    return ds_unary_end(&u, rc == DSTREAM_OK ? fork_from(&u) : ds_cli_fail(c, &u.error));
}
