/* SPDX-License-Identifier: Apache-2.0 */
#include "client/options.h"

#include <string.h>

#include "base/alloc.h"
#include "base/header.h"
#include "base/url.h"

#define GROWTH_MAX 1000 /* of the waits between tries */

/* --- text ------------------------------------------------------------------------------------- */

static void list_free(struct ds_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        ds_free(l->at[i]);
    ds_free(l->at);
}

static enum dstream_code list_add(struct ds_list *l, const char *s)
{
    char *copy = ds_strdup(s);
    char **all = copy ? ds_realloc(l->at, (l->n + 1) * sizeof *all) : NULL;
    if (!all) {
        ds_free(copy);
        return DSTREAM_ERR_NOMEM;
    }
    l->at = all;
    l->at[l->n++] = copy;
    return DSTREAM_OK;
}

static enum dstream_code list_copy(struct ds_list *to, const struct ds_list *from)
{
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < from->n && rc == DSTREAM_OK; i++)
        rc = list_add(to, from->at[i]);
    return rc;
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

/* --- made and freed --------------------------------------------------------------------------- */

dstream_options *dstream_options_new(void)
{
    dstream_options *o = ds_calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->limits = ds_limits_default();
    o->producer = ds_producer_config_default();
    return o;
}

void dstream_options_free(dstream_options *o)
{
    if (!o)
        return;
    list_free(&o->headers);
    list_free(&o->resolve);
    ds_free(o->offset);
    ds_free(o->witness);
    ds_free(o->cacert);
    ds_free(o->cert);
    ds_free(o->key);
    ds_free(o->netrc);
    ds_free(o->proxy);
    ds_free(o->content_type);
    ds_free(o);
}

/* --- public options --------------------------------------------------------------------------- */

enum dstream_code dstream_options_set_start(dstream_options *o, const char *offset, uint64_t skip)
{
    size_t n = strlen(offset);
    if (ds_token_check(offset, n) != DSTREAM_OK || (skip > 0 && strcmp(offset, "now") == 0))
        return DSTREAM_ERR_ARGUMENT;
    enum dstream_code rc = set_string(&o->offset, offset);
    if (rc == DSTREAM_OK)
        o->skip = skip;
    return rc;
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

enum dstream_code dstream_options_add_header(dstream_options *o, const char *header)
{
    const char *why;
    enum dstream_code rc = ds_header_check(header, &why);
    return rc == DSTREAM_OK ? list_add(&o->headers, header) : rc;
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

enum dstream_code dstream_options_set_cert(dstream_options *o, const char *cert, const char *key)
{
    enum dstream_code rc = !cert && key ? DSTREAM_ERR_ARGUMENT : set_string(&o->cert, cert);
    return rc == DSTREAM_OK ? set_string(&o->key, key) : rc;
}

enum dstream_code dstream_options_set_netrc(dstream_options *o, const char *path)
{
    return set_string(&o->netrc, path);
}

enum dstream_code dstream_options_set_proxy(dstream_options *o, const char *url)
{
    return url && !ds_proxy_valid(url) ? DSTREAM_ERR_ARGUMENT : set_string(&o->proxy, url);
}

enum dstream_code dstream_options_add_resolve(dstream_options *o, const char *entry)
{
    return ds_resolve_valid(entry) ? list_add(&o->resolve, entry) : DSTREAM_ERR_ARGUMENT;
}

enum dstream_code dstream_options_set_http1(dstream_options *o, bool only)
{
    o->http1 = only;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_compressed(dstream_options *o, bool on)
{
    o->compressed = on;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_type(dstream_options *o, const char *content_type)
{
    return set_string(&o->content_type, content_type);
}

enum dstream_code dstream_options_set_retries(dstream_options *o, int retries)
{
    if (retries < 0)
        return DSTREAM_ERR_ARGUMENT;
    o->limits.retries = (unsigned)retries;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_backoff(dstream_options *o, int64_t first_ms, int64_t most_ms,
                                              double growth)
{
    if (first_ms < 1 || most_ms < first_ms || !(growth >= 1) || growth > GROWTH_MAX)
        return DSTREAM_ERR_ARGUMENT;
    o->limits.backoff_base = first_ms;
    o->limits.backoff_max = most_ms;
    o->limits.backoff_growth = (unsigned)(growth * 1000 + 0.5);
    return DSTREAM_OK;
}

/* Where a limit is kept: a time or a size. */
static const struct {
    size_t at;
    int64_t least;
    bool size;
} limits[] = {
#define TIME(field, least)                                                                         \
    {                                                                                              \
        offsetof(struct ds_limits, field), least, false                                            \
    }
#define SIZE(field)                                                                                \
    {                                                                                              \
        offsetof(struct ds_limits, field), 1, true                                                 \
    }
    [DSTREAM_LIMIT_CONNECT] = TIME(connect, 1),
    [DSTREAM_LIMIT_HEADER] = TIME(header, 1),
    [DSTREAM_LIMIT_HEADER_SSE] = TIME(header_sse, 1),
    [DSTREAM_LIMIT_HEADER_LONG_POLL] = TIME(header_long_poll, 1),
    [DSTREAM_LIMIT_SILENCE] = TIME(silence, 1),
    [DSTREAM_LIMIT_SILENCE_SSE] = TIME(silence_sse, 1),
    [DSTREAM_LIMIT_FIRST_BYTE_SSE] = TIME(first_byte_sse, 1),
    [DSTREAM_LIMIT_RETRY_TIME] = TIME(retry_time, 1),
    [DSTREAM_LIMIT_RETRY_AFTER] = TIME(retry_after_max, 1),
    [DSTREAM_LIMIT_REPLICA_LAG] = TIME(replica_lag, 0),
    [DSTREAM_LIMIT_PROBE] = TIME(probe_base, 1),
    [DSTREAM_LIMIT_EVENT_BYTES] = SIZE(max_event),
    [DSTREAM_LIMIT_BODY_BYTES] = SIZE(max_body),
    [DSTREAM_LIMIT_PART_BYTES] = SIZE(max_part),
#undef TIME
#undef SIZE
};

enum dstream_code dstream_options_set_limit(dstream_options *o, enum dstream_limit what,
                                            int64_t value)
{
    size_t i = (size_t)what;
    if (i < 1 || i >= sizeof limits / sizeof *limits)
        return DSTREAM_ERR_ARGUMENT;
    if (value < limits[i].least && (limits[i].size || value != -1))
        return DSTREAM_ERR_ARGUMENT;
    void *at = (char *)&o->limits + limits[i].at;
    if (limits[i].size)
        *(size_t *)at = (uint64_t)value > SIZE_MAX ? SIZE_MAX : (size_t)value;
    else
        *(int64_t *)at = value == -1 ? DS_NEVER : value;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_wait_create(dstream_options *o, bool on)
{
    o->wait_create = on;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_on_notice(dstream_options *o, dstream_on_notice on_notice,
                                                void *ctx)
{
    o->on_public_notice = on_notice;
    o->public_notice_ctx = ctx;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_replica_lag(dstream_options *o, int64_t ms)
{
    if (ms < 0)
        return DSTREAM_ERR_ARGUMENT;
    o->limits.replica_lag = ms;
    return DSTREAM_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

enum dstream_code dstream_options_set_epoch_auto(dstream_options *o, uint64_t highest)
{
    struct ds_producer_config *c = &o->producer;
    if (highest > DS_EPOCH_MAX)
        return DSTREAM_ERR_ARGUMENT;
    c->fixed = c->fresh = c->claim = c->resubmit = false;
    c->epoch = 0;
    c->highest = highest;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_epoch(dstream_options *o, uint64_t epoch, unsigned flags)
{
    const unsigned both = DSTREAM_EPOCH_CLAIM | DSTREAM_EPOCH_RESUBMIT;
    struct ds_producer_config *c = &o->producer;
    if (epoch > DS_EPOCH_MAX || (flags & both) == both || flags > (DSTREAM_EPOCH_FRESH | both))
        return DSTREAM_ERR_ARGUMENT;
    c->fixed = true;
    c->epoch = epoch;
    c->fresh = (flags & DSTREAM_EPOCH_FRESH) != 0;
    c->claim = (flags & DSTREAM_EPOCH_CLAIM) != 0;
    c->resubmit = (flags & DSTREAM_EPOCH_RESUBMIT) != 0;
    c->highest = 0;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_linger(dstream_options *o, int64_t ms)
{
    if (ms < 0)
        return DSTREAM_ERR_ARGUMENT;
    o->producer.linger = ms;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_batch(dstream_options *o, size_t bytes, size_t messages)
{
    if (bytes < 1 || bytes > DS_BATCH_MAX || messages < 1)
        return DSTREAM_ERR_ARGUMENT;
    o->producer.max_batch_bytes = bytes;
    o->producer.max_batch_items = messages;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_in_flight(dstream_options *o, unsigned requests)
{
    if (requests < 1 || requests > DS_WINDOW_MAX)
        return DSTREAM_ERR_ARGUMENT;
    o->producer.window = requests;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_buffer(dstream_options *o, size_t bytes)
{
    if (bytes < 1)
        return DSTREAM_ERR_ARGUMENT;
    o->producer.max_buffered = bytes;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_delivery_timeout(dstream_options *o, int64_t ms)
{
    if (ms < -1)
        return DSTREAM_ERR_ARGUMENT;
    o->producer.delivery_timeout = ms;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_on_refused(dstream_options *o, enum dstream_refused what)
{
    if (what != DSTREAM_REFUSED_STOP && what != DSTREAM_REFUSED_SKIP)
        return DSTREAM_ERR_ARGUMENT;
    o->producer.skip_refused = what == DSTREAM_REFUSED_SKIP;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_allow_duplicates(dstream_options *o, bool on)
{
    o->producer.allow_duplicates = on;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_trusted(dstream_options *o, bool on)
{
    o->producer.trusted = on;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_append_identity(dstream_options *o, bool on)
{
    o->plain = !on;
    return DSTREAM_OK;
}

enum dstream_code dstream_options_set_producers_known(dstream_options *o, bool known)
{
    o->producers_known = known;
    return DSTREAM_OK;
}

/* --- what the command sets -------------------------------------------------------------------- */

void ds_options_set_limits(dstream_options *o, const struct ds_limits *l)
{
    o->limits = *l;
}

void ds_options_set_stop_at_tail(dstream_options *o, bool on)
{
    o->stop_at_tail = on;
}

void ds_options_set_recheck(dstream_options *o, bool on)
{
    o->recheck = on;
}

static enum dstream_code set_witness(dstream_options *o, const struct ds_witness *witness)
{
    struct ds_witness *copy = witness ? ds_calloc(1, sizeof *copy) : NULL;
    if (witness && !copy)
        return DSTREAM_ERR_NOMEM;
    if (copy)
        *copy = *witness;
    ds_free(o->witness);
    o->witness = copy;
    return DSTREAM_OK;
}

enum dstream_code ds_options_set_seen(dstream_options *o, const char *content_type,
                                      const struct ds_witness *witness)
{
    enum dstream_code rc = set_string(&o->content_type, content_type);
    if (rc == DSTREAM_OK)
        rc = set_witness(o, witness);
    o->seen |= rc == DSTREAM_OK;
    return rc;
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

void ds_options_set_on_head(dstream_options *o, ds_on_head on_head, void *ctx)
{
    o->on_head = on_head;
    o->head_ctx = ctx;
}

/* --- copied and used -------------------------------------------------------------------------- */

static enum dstream_code copy_strings(dstream_options *to, const dstream_options *from)
{
    enum dstream_code rc = list_copy(&to->headers, &from->headers);
    if (rc == DSTREAM_OK)
        rc = set_string(&to->offset, from->offset);
    if (rc == DSTREAM_OK)
        rc = set_witness(to, from->witness);
    if (rc == DSTREAM_OK)
        rc = list_copy(&to->resolve, &from->resolve);
    if (rc == DSTREAM_OK)
        rc = set_string(&to->cacert, from->cacert);
    if (rc == DSTREAM_OK)
        rc = dstream_options_set_cert(to, from->cert, from->key);
    if (rc == DSTREAM_OK)
        rc = set_string(&to->netrc, from->netrc);
    if (rc == DSTREAM_OK)
        rc = set_string(&to->proxy, from->proxy);
    return rc == DSTREAM_OK ? set_string(&to->content_type, from->content_type) : rc;
}

dstream_options *ds_options_copy(const dstream_options *o)
{
    dstream_options *copy = dstream_options_new();
    if (!copy || !o)
        return copy;
    *copy = *o;
    copy->headers = copy->resolve = (struct ds_list){.n = 0};
    copy->cacert = copy->cert = copy->key = copy->netrc = copy->proxy = NULL;
    copy->offset = copy->content_type = NULL;
    copy->witness = NULL;
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
        .headers = (const char *const *)o->headers.at,
        .nheaders = o->headers.n,
        .cacert = o->cacert,
        .insecure = o->insecure,
        .cert = o->cert,
        .key = o->key,
        .netrc = o->netrc,
        .proxy = o->proxy,
        .resolve = (const char *const *)o->resolve.at,
        .nresolve = o->resolve.n,
        .http1 = o->http1,
        .compressed = o->compressed,
        .connect_ms = o->limits.connect,
        .max_head = o->limits.max_head,
    };
    return ds_session_new(out, ds_loop_transport(l), &t, err);
}
