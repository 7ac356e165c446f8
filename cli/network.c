/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/url.h"
#include "cli/credentials.h"

#define URL_MAX ((size_t)64 * 1024)

enum dstream_code ds_cli_url(struct ds_cli *c, const char *name, struct ds_buf *out,
                             struct dstream_error *err)
{
    const char *base = c->opt.base_url;
    enum dstream_code rc;
    if (!*name) /* a variable that is not set, say: that is not to name the base itself */
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "the name of a stream is empty");
    char shown[256]; /* it may be a URL without its scheme, with a password */
    ds_url_redact(name, shown, sizeof shown);
    if (!ds_url_has_scheme(name) && !base)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%.200s is not a whole URL, as https://host/name, and there is no base "
                            "URL to join it to: give --url, or set DSTREAM_URL",
                            shown);
    if (ds_url_has_scheme(name))
        rc = ds_buf_adds(out, name);
    else if (!ds_url_valid(base))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "the base URL (--url, DSTREAM_URL, STREAM_URL) is not one of http or "
                            "https");
    else
        rc = ds_url_join(out, base, name);
    if (rc == DSTREAM_ERR_LIMIT)
        return ds_error_set(err, rc, "%.100s...: a URL of more than 64 KiB", shown);
    const char *url = rc == DSTREAM_OK ? ds_buf_str(out) : NULL;
    if (!url)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a URL");
    if (ds_url_valid(url))
        return DSTREAM_OK;
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

static void say_foreign(struct ds_cli *c, const char *what, const char *url)
{
    char shown[256];
    ds_url_redact(url, shown, sizeof shown);
    ds_cli_warn(c, "%s: %s not sent there: it is of another origin", shown, what);
}

static enum dstream_code put_headers(dstream_options *o, const struct ds_texts *list,
                                     struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < list->n && rc == DSTREAM_OK; i++)
        rc = dstream_options_add_header(o, list->at[i]);
    return rc == DSTREAM_OK ? rc : ds_error_set(err, rc, "a request header cannot be used");
}

static enum dstream_code add_headers(struct ds_cli *c, dstream_options *o, const char *url,
                                     struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    if (c->opt.headers.n == 0)
        return rc;
    if (!takes_headers(c, url)) {
        say_foreign(c, "--header and STREAM_AUTH are", url);
        return rc;
    }
    return put_headers(o, &c->opt.headers, err);
}

static void on_trace(void *ctx, const char *method, const char *url, int status)
{
    struct ds_cli *c = ctx;
    if (status != 0)
        ds_cli_say(c, "%s %s: %d", method, url, status);
    else if (c->opt.verbose > 1)
        ds_cli_say(c, "%s %s", method, url);
}

/* What is ours to show to a server: only where it is of the origin that such things are for. */
static enum dstream_code add_identity(struct ds_cli *c, dstream_options *o, const char *url,
                                      struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    if (c->opt.key && !c->opt.cert)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "--key is of no use without --cert");
    if (!c->opt.cert)
        return rc;
    if (takes_headers(c, url))
        rc = dstream_options_set_cert(o, c->opt.cert, c->opt.key);
    else
        say_foreign(c, "--cert is", url);
    return rc == DSTREAM_OK ? rc : ds_error_set(err, rc, "--cert cannot be used");
}

static enum dstream_code add_credentials(struct ds_cli *c, dstream_options *o, const char *url,
                                         struct dstream_error *err)
{
    if (!c->opt.auth_file && !c->opt.auth_command)
        return DSTREAM_OK;
    if (takes_headers(c, url))
        return ds_credentials_add(c, o, err);
    say_foreign(c, c->opt.auth_file ? "--auth-file is" : "--auth-command is", url);
    return DSTREAM_OK;
}

/* By host, so that it needs no origin. One that is asked for and not there is a mistake. */
static enum dstream_code add_netrc(struct ds_cli *c, dstream_options *o, struct dstream_error *err)
{
    const char *path = getenv("NETRC"), *home = getenv("HOME");
    struct ds_buf b;
    if (!c->opt.netrc)
        return DSTREAM_OK;
    ds_buf_init(&b, URL_MAX);
    if (!path || !path[0])
        path = home && ds_buf_addf(&b, "%s/.netrc", home) == DSTREAM_OK ? ds_buf_str(&b) : NULL;
    enum dstream_code rc;
    if (!path)
        rc = ds_error_set(err, DSTREAM_ERR_ARGUMENT, "--netrc: there is no NETRC and no HOME");
    else if (access(path, R_OK) < 0)
        rc = ds_error_set(err, DSTREAM_ERR_IO, "--netrc: %.200s: %s", path, strerror(errno));
    else
        rc = dstream_options_set_netrc(o, path);
    ds_buf_free(&b);
    return rc == DSTREAM_OK || err->code != DSTREAM_OK ? rc : ds_error_set(err, rc, "no memory");
}

static enum dstream_code set_connection(struct ds_cli *c, dstream_options *o)
{
    enum dstream_code rc = dstream_options_set_cacert(o, c->opt.cacert);
    if (rc == DSTREAM_OK)
        rc = dstream_options_set_proxy(o, c->opt.proxy);
    for (size_t i = 0; i < c->opt.nresolve && rc == DSTREAM_OK; i++)
        rc = dstream_options_add_resolve(o, c->opt.resolve[i]);
    (void)dstream_options_set_insecure(o, c->opt.insecure);
    (void)dstream_options_set_http1(o, c->opt.http1);
    (void)dstream_options_set_compressed(o, c->opt.compressed);
    return rc;
}

/* What does not depend on whose the credentials are. */
static enum dstream_code set_common(struct ds_cli *c, dstream_options *o, struct dstream_error *err)
{
    enum dstream_code rc = add_netrc(c, o, err);
    if (rc != DSTREAM_OK)
        return rc;
    rc = set_connection(c, o);
    if (rc != DSTREAM_OK)
        return ds_error_set(err, rc, "an option for connections cannot be used");
    ds_options_set_limits(o, &c->limits);
    if (c->opt.verbose > 0)
        ds_options_set_trace(o, on_trace, c);
    return rc;
}

enum dstream_code ds_cli_network(struct ds_cli *c, dstream_options *o, const char *url,
                                 struct dstream_error *err)
{
    enum dstream_code rc = add_headers(c, o, url, err);
    if (rc == DSTREAM_OK)
        rc = add_identity(c, o, url, err);
    if (rc == DSTREAM_OK)
        rc = add_credentials(c, o, url, err);
    return rc == DSTREAM_OK ? set_common(c, o, err) : rc;
}

enum dstream_code ds_cli_network_to(struct ds_cli *c, dstream_options *o, struct dstream_error *err)
{
    enum dstream_code rc = put_headers(o, &c->opt.to_headers, err);
    return rc == DSTREAM_OK ? set_common(c, o, err) : rc;
}
