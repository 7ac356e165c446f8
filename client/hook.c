/* SPDX-License-Identifier: Apache-2.0 */
#include "client/hook.h"

#include <string.h>

#include "base/alloc.h"
#include "base/header.h"

#define URL_MAX       ((size_t)64 * 1024)
#define ADDITIONS_MAX 256 /* headers, and parameters, of one request */

enum dstream_code dstream_options_set_on_request(dstream_options *o, dstream_on_request on_request,
                                                 void *ctx)
{
    o->on_request = on_request;
    o->request_ctx = ctx;
    return DSTREAM_OK;
}

static enum dstream_code keep(dstream_request *q, enum dstream_code rc)
{
    if (q->failed == DSTREAM_OK)
        q->failed = rc;
    return rc;
}

enum dstream_code dstream_request_add_header(dstream_request *q, const char *header)
{
    const char *why;
    enum dstream_code rc = ds_header_check(header, &why);
    if (rc != DSTREAM_OK)
        return keep(q, rc);
    if (q->nheaders == ADDITIONS_MAX)
        return keep(q, DSTREAM_ERR_LIMIT);
    char *copy = ds_strdup(header);
    char **all = copy ? ds_realloc(q->headers, (q->nheaders + 1) * sizeof *all) : NULL;
    if (!all) {
        ds_free(copy);
        return keep(q, DSTREAM_ERR_NOMEM);
    }
    q->headers = all;
    q->headers[q->nheaders++] = copy;
    return DSTREAM_OK;
}

static bool is_reserved(const char *key)
{
    return strcmp(key, "offset") == 0 || strcmp(key, "live") == 0 || strcmp(key, "cursor") == 0;
}

enum dstream_code dstream_request_add_param(dstream_request *q, const char *key, const char *value)
{
    if (!key[0] || is_reserved(key))
        return keep(q, DSTREAM_ERR_ARGUMENT);
    if (q->nparams == ADDITIONS_MAX)
        return keep(q, DSTREAM_ERR_LIMIT);
    struct ds_param *all = ds_realloc(q->params, (q->nparams + 1) * sizeof *all);
    if (!all)
        return keep(q, DSTREAM_ERR_NOMEM);
    q->params = all;
    struct ds_param p = {ds_strdup(key), ds_strdup(value)};
    q->params[q->nparams++] = p;
    return p.key && p.value ? DSTREAM_OK : keep(q, DSTREAM_ERR_NOMEM);
}

/* The request's own headers, then the additions. */
static enum dstream_code join_headers(dstream_request *q, struct ds_request *req)
{
    size_t n = req->nheaders + q->nheaders;
    q->all = ds_calloc(n + 1, sizeof *q->all);
    if (!q->all)
        return DSTREAM_ERR_NOMEM;
    for (size_t i = 0; i < req->nheaders; i++)
        q->all[i] = req->headers[i];
    for (size_t i = 0; i < q->nheaders; i++)
        q->all[req->nheaders + i] = q->headers[i];
    req->headers = q->all;
    req->nheaders = n;
    return DSTREAM_OK;
}

static enum dstream_code join_params(dstream_request *q, struct ds_request *req)
{
    if (q->nparams == 0)
        return DSTREAM_OK;
    ds_buf_init(&q->url, URL_MAX);
    enum dstream_code rc = ds_url_build(&q->url, req->url, q->params, q->nparams);
    const char *url = rc == DSTREAM_OK ? ds_buf_str(&q->url) : NULL;
    if (!url)
        return rc == DSTREAM_OK ? DSTREAM_ERR_NOMEM : rc;
    req->url = url;
    return DSTREAM_OK;
}

enum dstream_code ds_hook_begin(dstream_request *q, const dstream_options *o,
                                struct ds_request *req, bool refused)
{
    /* A redirect to elsewhere takes along nothing of the user's. */
    if (!o->on_request || !req->send_user_headers)
        return DSTREAM_OK;
    enum dstream_code rc = o->on_request(o->request_ctx, q, refused);
    if (rc == DSTREAM_OK)
        rc = q->failed;
    if (rc == DSTREAM_OK)
        rc = join_headers(q, req);
    return rc == DSTREAM_OK ? join_params(q, req) : rc;
}

void ds_hook_end(dstream_request *q)
{
    for (size_t i = 0; i < q->nheaders; i++)
        ds_free(q->headers[i]);
    for (size_t i = 0; i < q->nparams; i++) {
        ds_free((char *)(uintptr_t)q->params[i].key);
        ds_free((char *)(uintptr_t)q->params[i].value);
    }
    ds_free(q->headers);
    ds_free(q->params);
    ds_free(q->all);
    ds_buf_free(&q->url);
    memset(q, 0, sizeof *q);
}
