/* SPDX-License-Identifier: Apache-2.0 */
#include "client/options.h"

#include <string.h>

#include "base/alloc.h"
#include "base/header.h"
#include "base/url.h"

dstream_options *dstream_options_new(void)
{
    dstream_options *o = ds_calloc(1, sizeof *o);
    if (!o)
        return NULL;
    strcpy(o->offset, "-1");
    o->limits = ds_limits_default();
    return o;
}

void dstream_options_free(dstream_options *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->nheaders; i++)
        ds_free(o->headers[i]);
    ds_free(o->headers);
    ds_free(o->cacert);
    ds_free(o->content_type);
    ds_free(o);
}

enum dstream_code dstream_options_set_start(dstream_options *o, const char *offset, uint64_t skip)
{
    size_t n = strlen(offset);
    if (ds_token_check(offset, n) != DSTREAM_OK || (skip > 0 && strcmp(offset, "now") == 0))
        return DSTREAM_ERR_ARGUMENT;
    memcpy(o->offset, offset, n + 1);
    o->skip = skip;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_live(dstream_options *o, enum dstream_live live)
{
    switch (live) {
    case DSTREAM_LIVE_OFF:
    case DSTREAM_LIVE_AUTO:
    case DSTREAM_LIVE_SSE:
    case DSTREAM_LIVE_LONG_POLL:
        o->live = live;
        return DSTREAM_OK;
    }
    return DSTREAM_ERR_ARGUMENT;
}

static enum dstream_code append_header(dstream_options *o, const char *header)
{
    char *copy = ds_strdup(header);
    char **all = copy ? ds_realloc(o->headers, (o->nheaders + 1) * sizeof *all) : NULL;
    if (!all) {
        ds_free(copy);
        return DSTREAM_ERR_NOMEM;
    }
    o->headers = all;
    o->headers[o->nheaders++] = copy;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_add_header(dstream_options *o, const char *header)
{
    const char *why;
    enum dstream_code rc = ds_header_check(header, &why);
    return rc == DSTREAM_OK ? append_header(o, header) : rc;
}

/* Replaces *slot by a copy of `s`; NULL empties it. */
static enum dstream_code set_string(char **slot, const char *s)
{
    char *copy = ds_strdup(s);
    if (s && !copy)
        return DSTREAM_ERR_NOMEM;
    ds_free(*slot);
    *slot = copy;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_cacert(dstream_options *o, const char *path)
{
    return set_string(&o->cacert, path);
}

enum dstream_code dstream_options_set_parts(dstream_options *o, bool on)
{
    o->parts = on;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_live_at_once(dstream_options *o, bool on)
{
    o->live_at_once = on;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_on_gone(dstream_options *o, enum dstream_gone what)
{
    switch (what) {
    case DSTREAM_GONE_FAIL:
    case DSTREAM_GONE_EARLIEST:
    case DSTREAM_GONE_NOW:
        o->on_gone = what;
        return DSTREAM_OK;
    }
    return DSTREAM_ERR_ARGUMENT;
}

enum dstream_code dstream_options_set_insecure(dstream_options *o, bool insecure)
{
    o->insecure = insecure;
    return DSTREAM_OK;
}

void ds_options_set_limits(dstream_options *o, const struct ds_limits *l)
{
    o->limits = *l;
}

void ds_options_set_stop_at_tail(dstream_options *o, bool on)
{
    o->stop_at_tail = on;
}

void ds_options_set_wait_create(dstream_options *o, bool on)
{
    o->wait_create = on;
}

void ds_options_set_recheck(dstream_options *o, bool on)
{
    o->recheck = on;
}

enum dstream_code ds_options_set_seen(dstream_options *o, const char *content_type,
                                      const struct ds_witness *witness)
{
    enum dstream_code rc = set_string(&o->content_type, content_type);
    if (rc != DSTREAM_OK)
        return rc;
    o->seen = true;
    o->witness = witness ? *witness : (struct ds_witness){.units = 0};
    return DSTREAM_OK;
}

void ds_options_set_notice(dstream_options *o, ds_on_notice on_notice, void *ctx)
{
    o->on_notice = on_notice;
    o->notice_ctx = ctx;
}

void ds_options_set_trace(dstream_options *o, ds_on_trace on_trace, void *ctx)
{
    o->on_trace = on_trace;
    o->trace_ctx = ctx;
}

static enum dstream_code copy_strings(dstream_options *to, const dstream_options *from)
{
    enum dstream_code rc = set_string(&to->cacert, from->cacert);
    if (rc == DSTREAM_OK)
        rc = set_string(&to->content_type, from->content_type);
    for (size_t i = 0; i < from->nheaders && rc == DSTREAM_OK; i++)
        rc = append_header(to, from->headers[i]);
    return rc;
}

dstream_options *ds_options_copy(const dstream_options *o)
{
    dstream_options *copy = dstream_options_new();
    if (!copy || !o)
        return copy;
    *copy = *o;
    copy->headers = NULL;
    copy->nheaders = 0;
    copy->cacert = copy->content_type = NULL;
    if (copy_strings(copy, o) != DSTREAM_OK) {
        dstream_options_free(copy);
        return NULL;
    }
    return copy;
}

enum dstream_code ds_options_session(struct ds_session **out, dstream_loop *l,
                                     const dstream_options *o, struct dstream_error *err)
{
    struct ds_transport_options t = {
        .headers = (const char *const *)o->headers,
        .nheaders = o->nheaders,
        .cacert = o->cacert,
        .insecure = o->insecure,
        .connect_ms = o->limits.connect,
        .max_head = o->limits.max_head,
    };
    return ds_session_new(out, ds_loop_transport(l), &t, err);
}
