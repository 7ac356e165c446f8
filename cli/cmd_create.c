/* SPDX-License-Identifier: Apache-2.0 */
/* dstream create URL: makes a stream, or says that it is there. */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#include "cli/unary.h"

/* --- times ------------------------------------------------------------------------------------ */

/* As many digits as `want` has '9's, and its other characters. Returns what follows, or NULL. */
static const char *match(const char *s, const char *want)
{
    for (; *want; s++, want++) {
        if (*want == '9' ? *s < '0' || *s > '9' : *s != *want)
            return NULL;
    }
    return s;
}

/* RFC 3339, section 5.6, in its shape: what it means is the server's to say. */
static bool is_time(const char *s)
{
    static const char digits[] = "0123456789";
    s = match(s, "9999-99-99T99:99:99");
    if (s && *s == '.') {
        size_t n = strspn(s + 1, digits);
        s = n > 0 ? s + 1 + n : NULL;
    }
    if (!s)
        return false;
    if (strcmp(s, "Z") == 0)
        return true;
    const char *end = *s == '+' || *s == '-' ? match(s + 1, "99:99") : NULL;
    return end && !*end;
}

/* --- the command ------------------------------------------------------------------------------ */

/* The server may take another type than it was asked for. */
static void compare_type(struct ds_unary *u)
{
    char got[DS_TYPE_MAX + 1], want[DS_TYPE_MAX + 1];
    const char *type = u->cli->opt.type;
    if (!type || !u->result.content_type[0])
        return;
    ds_media_type(u->result.content_type, got, sizeof got);
    ds_media_type(type, want, sizeof want);
    if (strcmp(got, want) != 0)
        ds_cli_warn(u->cli, "%s: its type is %s, not %s", u->name, got, want);
}

/* What became of it. A stream that was there has not taken the data: no success. */
static int report(struct ds_unary *u, bool data)
{
    struct ds_cli *c = u->cli;
    bool made = u->result.status == 201, doubt = u->result.ambiguous;
    compare_type(u);
    if (made || !data) {
        const char *fate = made    ? "created"
                           : doubt ? "is there now; an answer was lost, so it was made by this "
                                     "command, or was there before"
                                   : "was there already, with the same configuration";
        ds_cli_say(c, "%s: %s", u->name, fate);
        return DS_EXIT_OK;
    }
    ds_error_set_url(&u->error, u->url.data);
    if (doubt)
        ds_error_set(
            &u->error, DSTREAM_ERR_OUTCOME_UNKNOWN,
            "the stream is there now; an answer was lost, so it was made with the data, or "
            "was there before and does not have them");
    else
        ds_error_set(&u->error, DSTREAM_ERR_CONFLICT,
                     "the stream was there already, so the data were not written");
    return ds_cli_fail(c, &u->error);
}

static int create(struct ds_unary *u, const char *ttl)
{
    const struct ds_cli_options *o = &u->cli->opt;
    struct ds_call_config call = {.kind = DS_CALL_CREATE,
                                  .content_type = o->type,
                                  .ttl = o->ttl ? ttl : NULL,
                                  .expires = o->expires,
                                  .close = o->closed};
    struct ds_buf body;
    ds_buf_init(&body, u->cli->limits.max_body);
    enum dstream_code rc = DSTREAM_OK;
    if (o->data)
        rc = ds_unary_data(u, o->data, o->type, &body);
    call.body = body.data;
    call.body_len = body.len;
    if (rc == DSTREAM_OK)
        rc = ds_unary_call(u, call);
    int status = rc == DSTREAM_OK ? report(u, body.len > 0) : ds_cli_fail(u->cli, &u->error);
    ds_buf_free(&body);
    return status;
}

static int create_with(struct ds_cli *c, const char *ttl)
{
    struct ds_unary u;
    enum dstream_code rc = ds_unary_begin(&u, c);
    return ds_unary_end(&u, rc == DSTREAM_OK ? create(&u, ttl) : ds_cli_fail(c, &u.error));
}

int ds_cmd_create(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    struct ds_buf ttl;
    if (c->nargs != 1)
        return ds_cli_usage(c, "create takes one stream");
    if (o->ttl && o->expires)
        return ds_cli_usage(c, "--ttl and --expires exclude each other");
    if (o->expires && !is_time(o->expires))
        return ds_cli_usage(c, "--expires: wanted is a time as 2030-01-02T03:04:05Z");
    ds_buf_init(&ttl, 32);
    int status =
        ds_unary_ttl(o->ttl, &ttl) ? create_with(c, ttl.data) : ds_cli_usage(c, DS_UNARY_TTL);
    ds_buf_free(&ttl);
    return status;
}
