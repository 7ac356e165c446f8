/* SPDX-License-Identifier: Apache-2.0 */
/* dstream stat URL: what a stream is and where it ends, by one HEAD. */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#include "base/text.h"
#include "cli/unary.h"

/* More than all fields can take, each byte of them escaped. */
#define SHOWN_MAX ((size_t)64 * 1024)

static void add_line(struct ds_buf *b, const char *name, const char *value)
{
    ds_buf_addf(b, "%s: ", name);
    ds_terminal_escape(b, value, strlen(value));
    ds_buf_addc(b, '\n');
}

static void add_lines(struct ds_buf *b, const struct ds_unary *u)
{
    const struct ds_call_result *r = &u->result;
    add_line(b, "url", u->name);
    add_line(b, "content type", r->content_type[0] ? r->content_type : "not told");
    add_line(b, "offset", r->next);
    add_line(b, "closed", r->closed ? "yes" : "no");
    if (r->ttl[0])
        add_line(b, "ttl", r->ttl);
    if (r->expires[0])
        add_line(b, "expires", r->expires);
}

/* A field of what the server sent, which need not be UTF-8; null where it did not. */
static void add_string(struct ds_buf *b, const char *key, const char *value)
{
    struct ds_buf clean;
    ds_buf_addf(b, "\"%s\":", key);
    if (!value[0]) {
        ds_buf_adds(b, "null,");
        return;
    }
    ds_buf_init(&clean, SHOWN_MAX);
    ds_utf8_replace(&clean, value, strlen(value));
    ds_buf_addc(b, '"');
    ds_json_escape(b, clean.data, clean.len);
    ds_buf_adds(b, "\",");
    ds_buf_free(&clean);
}

static void add_json(struct ds_buf *b, const struct ds_unary *u)
{
    const struct ds_call_result *r = &u->result;
    uint64_t ttl;
    ds_buf_addc(b, '{');
    add_string(b, "url", u->name);
    add_string(b, "contentType", r->content_type);
    add_string(b, "offset", r->next);
    if (ds_parse_u64(r->ttl, UINT64_MAX, &ttl))
        ds_buf_addf(b, "\"ttl\":%llu,", (unsigned long long)ttl);
    else
        add_string(b, "ttl", r->ttl);
    add_string(b, "expiresAt", r->expires);
    add_string(b, "etag", r->etag);
    ds_buf_addf(b, "\"closed\":%s}\n", r->closed ? "true" : "false");
}

static int print(struct ds_unary *u)
{
    struct ds_buf b;
    ds_buf_init(&b, SHOWN_MAX);
    if (ds_buf_reserve(&b, SHOWN_MAX / 2) == DSTREAM_OK) {
        if (u->cli->opt.json)
            add_json(&b, u);
        else
            add_lines(&b, u);
        (void)fwrite(b.data, 1, b.len, stdout);
    } else {
        ds_error_set(&u->error, DSTREAM_ERR_NOMEM, "no memory for the answer");
    }
    ds_buf_free(&b);
    return u->error.code == DSTREAM_OK ? ds_cli_flush(u->cli) : ds_cli_fail(u->cli, &u->error);
}

int ds_cmd_stat(struct ds_cli *c)
{
    struct ds_unary u;
    if (c->nargs != 1)
        return ds_cli_usage(c, "stat takes one stream");
    enum dstream_code rc = ds_unary_begin(&u, c);
    if (rc == DSTREAM_OK)
        rc = ds_unary_call(&u, (struct ds_call_config){.kind = DS_CALL_STAT});
    return ds_unary_end(&u, rc == DSTREAM_OK ? print(&u) : ds_cli_fail(c, &u.error));
}
