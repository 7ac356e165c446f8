/* SPDX-License-Identifier: Apache-2.0 */
/* URLs as text: queries, origins, and what of them may be shown. No network, no libcurl. */
#ifndef DS_BASE_URL_H
#define DS_BASE_URL_H

#include <stdbool.h>

#include "base/buf.h"

struct ds_param {
    const char *key, *value; /* not encoded */
};

/* http or https (any case), a host, a port that is none or a number, no control characters or
 * spaces, and nothing that another reader of URLs could take for another host. */
bool ds_url_valid(const char *url);
/* Whether the URL has a scheme, as "http://...". */
bool ds_url_has_scheme(const char *url);
/* Whether the URL's query has a parameter of this (decoded) name. */
bool ds_url_has_param(const char *url, const char *key);
/* `url` with `params` added to its own query, all sorted by key (bytewise; equal keys keep their
 * order), the added values percent-encoded (all but RFC 3986 unreserved), the URL's own left as
 * they stand, but for bytes of path and query that are not ASCII; a fragment is dropped. */
enum dstream_code ds_url_build(struct ds_buf *out, const char *url, const struct ds_param *params,
                               size_t n);
/* Its path, encoded the same way; "/" where it has none. */
enum dstream_code ds_url_path(struct ds_buf *out, const char *url);
/* base + "/" + path, with exactly one slash between; the base's query stays at the end (behind that
 * of `path`, if it has one), fragments are dropped. */
enum dstream_code ds_url_join(struct ds_buf *out, const char *base, const char *path);
/* The URL as it may be shown and stored: no user info, no fragment, each query value (and each
 * parameter without one) replaced by "..." except those of offset, live and cursor. Cut at the
 * array's end, not inside a character; control characters become '?'. Takes any text: of one that
 * is no valid URL, what may hold a password is left out as well. */
void ds_url_redact(const char *url, char *out, size_t size);
/* Where the URL has user info with a password, and how long that is; *n 0: nowhere. Takes any text,
 * the same. */
void ds_url_secret(const char *url, size_t *at, size_t *n);
/* Same scheme, host (any case) and port (defaults known). False where one of them is not valid. */
bool ds_url_same_origin(const char *a, const char *b);
/* `to` is https on the same host where `from` is http. */
bool ds_url_is_upgrade(const char *from, const char *to);
/* `to` is http where `from` is https. */
bool ds_url_is_downgrade(const char *from, const char *to);
/* Whether it is http: or https: at all. */
bool ds_url_is_http(const char *url);
bool ds_url_is_https(const char *url);

/* What names a proxy: [SCHEME://][USER:PASSWORD@]HOST[:PORT], with a scheme of http (the default),
 * https, socks4, socks4a, socks5 or socks5h. "" is none. */
bool ds_proxy_valid(const char *url);
/* "HOST:PORT:ADDRESS", with several addresses joined by commas, those of IPv6 in brackets or
 * without. */
bool ds_resolve_valid(const char *s);

/* An offset or cursor as a server may send it: 1..DS_TOKEN_MAX bytes, none of them a control
 * character, a space or 0x7F. ERR_PROTOCOL, or ERR_LIMIT for one that is too long. */
enum dstream_code ds_token_check(const char *s, size_t len);
/* "-1" or "now": legal in requests, never in answers. */
bool ds_token_is_sentinel(const char *s);

#endif
