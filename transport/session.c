/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/session.h"

#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/header.h"
#include "base/url.h"

/* --- lists ------------------------------------------------------------------------------------ */

enum dstream_code ds_slist_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    if (!more)
        return DSTREAM_ERR_NOMEM;
    *list = more;
    return DSTREAM_OK;
}

/* "Name:" asks libcurl to leave a header out, "Name;" to send it empty. */
enum dstream_code ds_slist_header(struct curl_slist **list, const char *line)
{
    size_t name = strcspn(line, ":");
    if (line[name] == ':' && line[name + 1 + strspn(line + name + 1, " \t")] != '\0')
        return ds_slist_line(list, line);
    char *empty = ds_strndup(line, name + 1);
    if (!empty)
        return DSTREAM_ERR_NOMEM;
    if (empty[name] == ':')
        empty[name] = ';';
    enum dstream_code rc = ds_slist_line(list, empty);
    ds_free(empty);
    return rc;
}

/* --- made and freed --------------------------------------------------------------------------- */

static enum dstream_code take_headers(struct ds_session *s, const struct ds_transport_options *o,
                                      struct dstream_error *err)
{
    for (size_t i = 0; i < o->nheaders; i++) {
        const char *why;
        enum dstream_code rc = ds_header_check(o->headers[i], &why);
        if (rc != DSTREAM_OK)
            return ds_error_set(err, rc, "a header cannot be sent: %s", why);
        rc = ds_slist_header(&s->headers, o->headers[i]);
        if (rc != DSTREAM_OK)
            return ds_error_set(err, rc, "no memory for a header");
    }
    return DSTREAM_OK;
}

static bool copied(char **to, const char *from)
{
    *to = ds_strdup(from);
    return *to || !from;
}

static enum dstream_code take_strings(struct ds_session *s, const struct ds_transport_options *o,
                                      struct dstream_error *err)
{
    bool all = copied(&s->cacert, o->cacert) && copied(&s->cert, o->cert) &&
               copied(&s->key, o->key) && copied(&s->netrc, o->netrc) &&
               copied(&s->proxy, o->proxy);
    for (size_t i = 0; i < o->nresolve && all; i++)
        all = ds_slist_line(&s->resolve, o->resolve[i]) == DSTREAM_OK;
    return all ? DSTREAM_OK : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a session");
}

enum dstream_code ds_session_new(struct ds_session **out, struct ds_transport *t,
                                 const struct ds_transport_options *o, struct dstream_error *err)
{
    struct ds_session *s = ds_calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a session");
    s->transport = t;
    s->insecure = o->insecure;
    s->http1 = o->http1;
    s->compressed = o->compressed;
    /* 0 would mean five minutes to libcurl. */
    s->connect_ms = o->connect_ms > 0 && o->connect_ms < INT_MAX ? (long)o->connect_ms : INT_MAX;
    s->max_head = o->max_head;
    enum dstream_code rc = take_headers(s, o, err);
    if (rc == DSTREAM_OK)
        rc = take_strings(s, o, err);
    if (rc != DSTREAM_OK) {
        ds_session_free(s);
        return rc;
    }
    *out = s;
    return DSTREAM_OK;
}

void ds_session_free(struct ds_session *s)
{
    if (!s)
        return;
    curl_slist_free_all(s->headers);
    curl_slist_free_all(s->resolve);
    ds_free(s->cacert);
    ds_free(s->cert);
    ds_free(s->key);
    ds_free(s->netrc);
    ds_free(s->proxy);
    ds_free(s);
}

/* --- connections ------------------------------------------------------------------------------ */

/* Sets an option, keeping the first error. A macro, for libcurl checks the types. */
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (rc == CURLE_OK)                                                                        \
            rc = curl_easy_setopt(easy, (option), (value));                                        \
    } while (0)

/* HTTP/2 where TLS negotiates it, and then all on one connection: who comes while that is being
 * made waits for it. Cleartext HTTP/2 is for nobody, and nobody waits for it. */
static CURLcode set_version(const struct ds_session *s, CURL *easy, const char *url)
{
    CURLcode rc = CURLE_OK;
    bool two = !s->http1 && ds_url_is_https(url);
    SET(CURLOPT_HTTP_VERSION, two ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PIPEWAIT, two ? 1L : 0L);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    return rc;
}

/* Whom to trust, and who we are. A proxy that is spoken to by TLS has to be trusted by the same
 * authorities, always, and never learns who we are. */
static CURLcode set_tls(const struct ds_session *s, CURL *easy, bool own)
{
    CURLcode rc = CURLE_OK;
    if (s->cacert) {
        SET(CURLOPT_CAINFO, s->cacert);
        SET(CURLOPT_CAPATH, NULL); /* instead of the system's, not besides */
        SET(CURLOPT_PROXY_CAINFO, s->cacert);
        SET(CURLOPT_PROXY_CAPATH, NULL);
    }
    SET(CURLOPT_SSL_VERIFYPEER, s->insecure ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, s->insecure ? 0L : 2L);
    if (s->cert && own) {
        SET(CURLOPT_SSLCERT, s->cert);
        if (s->key)
            SET(CURLOPT_SSLKEY, s->key);
        SET(CURLOPT_KEYPASSWD, ""); /* or the terminal would be asked, by a call that waits */
    }
    return rc;
}

static CURLcode set_credentials(const struct ds_session *s, CURL *easy, bool own)
{
    CURLcode rc = CURLE_OK;
    if (s->netrc && own) {
        SET(CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
        SET(CURLOPT_NETRC_FILE, s->netrc);
    } else {
        SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    }
    /* What is for the server is not for the proxy that connects to it. */
    SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    return rc;
}

CURLcode ds_session_connection(const struct ds_session *s, CURL *easy, const char *url, bool own)
{
    CURLcode rc = set_version(s, easy, url);
    if (rc == CURLE_OK)
        rc = set_tls(s, easy, own);
    if (rc == CURLE_OK)
        rc = set_credentials(s, easy, own);
    if (s->proxy)
        SET(CURLOPT_PROXY, s->proxy);
    if (s->resolve)
        SET(CURLOPT_RESOLVE, s->resolve);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, s->connect_ms);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    return rc;
}
