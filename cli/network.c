/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/network.h"

#include "base/url.h"

#define URL_MAX ((size_t)64 * 1024)

enum dstream_code ds_cli_url(struct ds_cli *c, const char *name, struct ds_buf *out,
                             struct dstream_error *err)
{
    const char *base = c->opt.base_url;
    enum dstream_code rc;
    if (!ds_url_has_scheme(name) && !base)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%.200s is not a whole URL, as https://host/name, and there is no base "
                            "URL to join it to: give --url, or set DSTREAM_URL",
                            name);
    if (ds_url_has_scheme(name))
        rc = ds_buf_adds(out, name);
    else if (!ds_url_valid(base))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "the base URL (--url, DSTREAM_URL, STREAM_URL) is not one of http or "
                            "https");
    else
        rc = ds_url_join(out, base, name);
    const char *url = rc == DSTREAM_OK ? ds_buf_str(out) : NULL;
    if (!url)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a URL");
    if (ds_url_valid(url))
        return DSTREAM_OK;
    char shown[256];
    ds_url_redact(url, shown, sizeof shown);
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%s is not a URL of http or https", shown);
}

/* Whether the user's headers are for this URL: they go to one origin. */
static bool takes_headers(struct ds_cli *c, const char *url)
{
    struct ds_buf first;
    struct dstream_error ignored = {0};
    bool same = false;
    if (c->opt.base_url)
        return ds_url_same_origin(c->opt.base_url, url);
    ds_buf_init(&first, URL_MAX);
    if (c->nargs > 0 && ds_cli_url(c, c->args[0], &first, &ignored) == DSTREAM_OK)
        same = ds_url_same_origin(first.data, url);
    ds_buf_free(&first);
    return same;
}

static enum dstream_code add_headers(struct ds_cli *c, dstream_options *o, const char *url,
                                     struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    if (c->opt.nheaders == 0)
        return rc;
    if (!takes_headers(c, url)) {
        char shown[256];
        ds_url_redact(url, shown, sizeof shown);
        ds_cli_warn(c, "%s: --header and STREAM_AUTH are not sent there: it is of another origin",
                    shown);
        return rc;
    }
    for (size_t i = 0; i < c->opt.nheaders && rc == DSTREAM_OK; i++)
        rc = dstream_options_add_header(o, c->opt.headers[i]);
    return rc == DSTREAM_OK ? rc : ds_error_set(err, rc, "a request header cannot be used");
}

static void on_trace(void *ctx, const char *method, const char *url, int status)
{
    struct ds_cli *c = ctx;
    if (status != 0)
        ds_cli_say(c, "%s %s: %d", method, url, status);
    else if (c->opt.verbose > 1)
        ds_cli_say(c, "%s %s", method, url);
}

enum dstream_code ds_cli_network(struct ds_cli *c, dstream_options *o, const char *url,
                                 struct dstream_error *err)
{
    enum dstream_code rc = add_headers(c, o, url, err);
    if (rc == DSTREAM_OK && c->opt.cacert) {
        rc = dstream_options_set_cacert(o, c->opt.cacert);
        if (rc != DSTREAM_OK)
            ds_error_set(err, rc, "--cacert %.200s cannot be used", c->opt.cacert);
    }
    if (rc != DSTREAM_OK)
        return rc;
    if (c->opt.insecure)
        (void)dstream_options_set_insecure(o, true);
    ds_options_set_limits(o, &c->limits);
    if (c->opt.verbose > 0)
        ds_options_set_trace(o, on_trace, c);
    return rc;
}
