/* SPDX-License-Identifier: Apache-2.0 */
#include "base/url.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* A piece of somebody else's text. */
struct span {
    const char *p;
    size_t n;
};

/* By hand: what the C library calls lower case depends on the locale. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same(struct span a, struct span b)
{
    size_t i = 0;
    while (i < a.n && i < b.n && lower(a.p[i]) == lower(b.p[i]))
        i++;
    return i == a.n && i == b.n;
}

static bool is(struct span s, const char *word)
{
    return same(s, (struct span){word, strlen(word)});
}

static const char *last_at(const char *p, size_t n)
{
    while (n > 0) {
        if (p[--n] == '@')
            return p + n;
    }
    return NULL;
}

/* --- parts ------------------------------------------------------------------------------------ */

struct parts {
    struct span scheme; /* without "://"; n 0: there is none, and no authority */
    struct span userinfo, host, port;
    struct span path;  /* to the query, the fragment or the end */
    struct span query; /* without its '?'; p NULL: none */
};

/* The part of `url` before its "://", where it is a scheme (RFC 3986, section 3.1). */
static size_t scheme_length(const char *url)
{
    static const char alpha[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.";
    size_t n = strspn(url, alpha) > 0 ? strspn(url, more) : 0;
    return strncmp(url + n, "://", 3) == 0 ? n : 0;
}

/* An IPv6 literal stands in brackets, which hold its colons. */
static void split_host(struct parts *u, struct span s)
{
    const char *end = s.n > 0 && s.p[0] == '[' ? memchr(s.p, ']', s.n) : s.p;
    const char *colon = end ? memchr(end, ':', s.n - (size_t)(end - s.p)) : NULL;
    u->host = s;
    u->port = (struct span){s.p + s.n, 0};
    if (colon) {
        u->host.n = (size_t)(colon - s.p);
        u->port = (struct span){colon + 1, s.n - u->host.n - 1};
    }
}

/* Takes anything: what is not there is empty. */
static struct parts split(const char *url)
{
    struct parts u = {.scheme = {url, scheme_length(url)}};
    const char *p = url;
    if (u.scheme.n > 0) {
        p += u.scheme.n + 3;
        struct span s = {p, strcspn(p, "/?#")};
        p += s.n;
        const char *at = last_at(s.p, s.n);
        if (at) {
            u.userinfo = (struct span){s.p, (size_t)(at - s.p)};
            s = (struct span){at + 1, s.n - u.userinfo.n - 1};
        }
        split_host(&u, s);
    }
    u.path = (struct span){p, strcspn(p, "?#")};
    p += u.path.n;
    if (*p == '?')
        u.query = (struct span){p + 1, strcspn(p + 1, "#")};
    return u;
}

static bool is_http(const struct parts *u)
{
    return is(u->scheme, "http") || is(u->scheme, "https");
}

/* The port's number, the scheme's where it is empty; -1 where it is none. */
static long port_number(const struct parts *u)
{
    long n = 0;
    if (u->port.n == 0)
        return is(u->scheme, "https") ? 443 : 80;
    for (size_t i = 0; i < u->port.n; i++) {
        char c = u->port.p[i];
        if (c < '0' || c > '9' || (n = n * 10 + (c - '0')) > 65535)
            return -1;
    }
    return n > 0 ? n : -1;
}

/* Whether it can be a name or an address, for every reader of URLs alike: what two of them take
 * for different hosts could carry credentials to the wrong one. */
static bool host_ok(struct span host)
{
    static const char never[] = "@\\\"<>^`{|}";
    bool literal = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        if (strchr(never, c) || (!literal && (c == '[' || c == ']')))
            return false;
        if (literal && i > 0 && i < host.n - 1 && (c == '[' || c == ']'))
            return false;
    }
    return host.n > 0;
}

/* Whether it is in order, but for the scheme. */
static bool usable_as(const struct parts *u)
{
    for (const char *p = u->scheme.p; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c <= ' ' || c == 0x7F)
            return false;
    }
    return host_ok(u->host) && port_number(u) >= 0 &&
           (u->userinfo.n == 0 || (!memchr(u->userinfo.p, '@', u->userinfo.n) &&
                                   !memchr(u->userinfo.p, '\\', u->userinfo.n)));
}

static bool usable(const struct parts *u)
{
    return is_http(u) && usable_as(u);
}

bool ds_url_valid(const char *url)
{
    struct parts u = split(url);
    return usable(&u);
}

bool ds_url_has_scheme(const char *url)
{
    return scheme_length(url) > 0;
}

bool ds_url_is_http(const char *url)
{
    struct parts u = split(url);
    return is_http(&u);
}

bool ds_url_is_https(const char *url)
{
    struct parts u = split(url);
    return is(u.scheme, "https");
}

/* --- other ways to a host --------------------------------------------------------------------- */

static bool is_proxy_scheme(struct span scheme)
{
    static const char *const known[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (is(scheme, known[i]))
            return true;
    }
    return false;
}

bool ds_proxy_valid(const char *url)
{
    struct parts u = split(url);
    struct ds_buf whole;
    if (!*url)
        return true;
    if (u.scheme.n > 0)
        return is_proxy_scheme(u.scheme) && usable_as(&u);
    ds_buf_init(&whole, strlen(url) + 16);
    const char *text =
        ds_buf_addf(&whole, "http://%s", url) == DSTREAM_OK ? ds_buf_str(&whole) : NULL;
    bool valid = text && ds_url_valid(text);
    ds_buf_free(&whole);
    return valid;
}

/* One of those behind the second colon, as inet_pton() takes it. */
static bool is_address(struct span s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char out[16];
    bool literal = s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';
    if (literal)
        s = (struct span){s.p + 1, s.n - 2};
    if (s.n == 0 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, out) == 1 || (!literal && inet_pton(AF_INET, text, out) == 1);
}

bool ds_resolve_valid(const char *s)
{
    struct parts u = {.scheme = {"http", 4}};
    const char *colon = strchr(s, ':'), *second = colon ? strchr(colon + 1, ':') : NULL;
    if (!second || second == colon + 1)
        return false;
    u.host = (struct span){s, (size_t)(colon - s)};
    u.port = (struct span){colon + 1, (size_t)(second - colon - 1)};
    /* These have a meaning of their own to libcurl in front. */
    if (u.host.n == 0 || strspn(s, "+-") > 0 || !host_ok(u.host) || port_number(&u) < 0)
        return false;
    for (const char *p = second + 1;; p++) {
        size_t n = strcspn(p, ",");
        if (!is_address((struct span){p, n}))
            return false;
        p += n;
        if (!*p)
            return true;
    }
}

/* --- origins ---------------------------------------------------------------------------------- */

bool ds_url_same_origin(const char *a, const char *b)
{
    struct parts u = split(a), v = split(b);
    return usable(&u) && usable(&v) && same(u.scheme, v.scheme) && same(u.host, v.host) &&
           port_number(&u) == port_number(&v);
}

bool ds_url_is_upgrade(const char *from, const char *to)
{
    struct parts u = split(from), v = split(to);
    return usable(&u) && usable(&v) && is(u.scheme, "http") && is(v.scheme, "https") &&
           same(u.host, v.host);
}

bool ds_url_is_downgrade(const char *from, const char *to)
{
    struct parts u = split(from), v = split(to);
    return is(u.scheme, "https") && is(v.scheme, "http");
}

/* --- queries ---------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes the next decoded byte off `s`, which is not empty, as servers decode queries: '+' is a
 * space, a '%' without two digits stands for itself. */
static unsigned char decode(struct span *s)
{
    char c = *s->p;
    size_t used = 1;
    if (c == '+') {
        c = ' ';
    } else if (c == '%' && s->n >= 3 && hex(s->p[1]) >= 0 && hex(s->p[2]) >= 0) {
        c = (char)(hex(s->p[1]) * 16 + hex(s->p[2]));
        used = 3;
    }
    s->p += used;
    s->n -= used;
    return (unsigned char)c;
}

/* Compares what the two decode to, bytewise. */
static int compare_decoded(struct span a, struct span b)
{
    while (a.n > 0 && b.n > 0) {
        int x = decode(&a), y = decode(&b);
        if (x != y)
            return x - y;
    }
    return (a.n > 0) - (b.n > 0);
}

static bool decodes_to(struct span s, const char *word)
{
    while (s.n > 0 && *word) {
        if (decode(&s) != (unsigned char)*word++)
            return false;
    }
    return s.n == 0 && !*word;
}

/* Takes the next parameter that is not empty off `query`. */
static bool next_param(struct span *query, struct span *param)
{
    while (query->n > 0) {
        const char *amp = memchr(query->p, '&', query->n);
        size_t n = amp ? (size_t)(amp - query->p) : query->n;
        *param = (struct span){query->p, n};
        query->p += n + (amp != NULL);
        query->n -= n + (amp != NULL);
        if (n > 0)
            return true;
    }
    return false;
}

static struct span key_of(struct span param)
{
    const char *eq = memchr(param.p, '=', param.n);
    return (struct span){param.p, eq ? (size_t)(eq - param.p) : param.n};
}

bool ds_url_has_param(const char *url, const char *key)
{
    struct span query = split(url).query, param;
    while (next_param(&query, &param)) {
        if (decodes_to(key_of(param), key))
            return true;
    }
    return false;
}

static enum dstream_code add_percent(struct ds_buf *out, unsigned char c)
{
    static const char digit[] = "0123456789ABCDEF";
    return ds_buf_add(out, (char[]){'%', digit[c >> 4], digit[c & 15]}, 3);
}

static enum dstream_code add_encoded(struct ds_buf *out, const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-._~";
    enum dstream_code rc = DSTREAM_OK;
    for (; *s && rc == DSTREAM_OK; s++)
        rc = strchr(plain, *s) ? ds_buf_addc(out, *s) : add_percent(out, (unsigned char)*s);
    return rc;
}

/* What is ASCII as it stands, all else as browsers and RFC 3987 encode it. libcurl would write
 * small digits, which some servers take for another stream. */
static enum dstream_code add_ascii(struct ds_buf *out, struct span s)
{
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < s.n && rc == DSTREAM_OK; i++) {
        unsigned char c = (unsigned char)s.p[i];
        rc = c < 0x80 ? ds_buf_addc(out, s.p[i]) : add_percent(out, c);
    }
    return rc;
}

enum dstream_code ds_url_path(struct ds_buf *out, const char *url)
{
    struct span path = split(url).path;
    return path.n > 0 ? add_ascii(out, path) : ds_buf_addc(out, '/');
}

/* All parameters behind one another as they are sent, each followed by '&'. */
static enum dstream_code gather(struct ds_buf *out, struct span query,
                                const struct ds_param *params, size_t n)
{
    enum dstream_code rc = ds_buf_add(out, query.p, query.n);
    if (rc == DSTREAM_OK)
        rc = ds_buf_addc(out, '&');
    for (size_t i = 0; i < n && rc == DSTREAM_OK; i++) {
        rc = add_encoded(out, params[i].key);
        if (rc == DSTREAM_OK)
            rc = ds_buf_addc(out, '=');
        if (rc == DSTREAM_OK)
            rc = add_encoded(out, params[i].value);
        if (rc == DSTREAM_OK)
            rc = ds_buf_addc(out, '&');
    }
    return rc;
}

/* By key, then as they came: pieces of one text lie in their order in memory. */
static int by_key(const void *x, const void *y)
{
    const struct span *a = x, *b = y;
    int c = compare_decoded(key_of(*a), key_of(*b));
    return c != 0 ? c : (a->p > b->p) - (a->p < b->p);
}

/* Appends "?a=1&b=2", sorted; nothing where there are none. */
static enum dstream_code add_sorted(struct ds_buf *out, struct span all)
{
    size_t n = 0;
    struct span rest = all, param;
    while (next_param(&rest, &param))
        n++;
    if (n == 0)
        return DSTREAM_OK;
    struct span *each = ds_malloc(n * sizeof *each);
    if (!each)
        return DSTREAM_ERR_NOMEM;
    for (size_t i = 0; i < n && next_param(&all, &each[i]); i++)
        ;
    qsort(each, n, sizeof *each, by_key);
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < n && rc == DSTREAM_OK; i++) {
        rc = ds_buf_addc(out, i == 0 ? '?' : '&');
        if (rc == DSTREAM_OK)
            rc = add_ascii(out, each[i]);
    }
    ds_free(each);
    return rc;
}

enum dstream_code ds_url_build(struct ds_buf *out, const char *url, const struct ds_param *params,
                               size_t n)
{
    struct parts u = split(url);
    struct ds_buf all;
    ds_buf_init(&all, SIZE_MAX / 2); /* `out` has the cap */
    enum dstream_code rc = gather(&all, u.query, params, n);
    if (rc == DSTREAM_OK)
        rc = ds_buf_add(out, url, (size_t)(u.path.p - url));
    if (rc == DSTREAM_OK)
        rc = add_ascii(out, u.path);
    if (rc == DSTREAM_OK)
        rc = add_sorted(out, (struct span){all.data, all.len});
    ds_buf_free(&all);
    return rc;
}

enum dstream_code ds_url_join(struct ds_buf *out, const char *base, const char *path)
{
    struct parts u = split(base);
    while (u.path.n > 0 && u.path.p[u.path.n - 1] == '/')
        u.path.n--;
    path += strspn(path, "/");
    size_t len = strcspn(path, "#");
    enum dstream_code rc = ds_buf_add(out, base, (size_t)(u.path.p + u.path.n - base));
    if (rc == DSTREAM_OK)
        rc = ds_buf_addc(out, '/');
    if (rc == DSTREAM_OK)
        rc = ds_buf_add(out, path, len);
    if (rc == DSTREAM_OK && u.query.n > 0)
        rc = ds_buf_addc(out, memchr(path, '?', len) ? '&' : '?');
    if (rc == DSTREAM_OK)
        rc = ds_buf_add(out, u.query.p, u.query.n);
    return rc;
}

/* --- showing ---------------------------------------------------------------------------------- */

/* An array that is filled up to its end, which holds a NUL. */
struct show {
    char *p, *end;
};

static void show(struct show *s, struct span text)
{
    for (size_t i = 0; i < text.n && s->p < s->end; i++) {
        unsigned char c = (unsigned char)text.p[i];
        *s->p++ = c < ' ' || c == 0x7F ? '?' : text.p[i];
    }
}

static void show_word(struct show *s, const char *word)
{
    show(s, (struct span){word, strlen(word)});
}

/* A value may be a secret, and so may a parameter without one. */
static void show_query(struct show *s, struct span query)
{
    struct span param;
    const char *before = "?";
    while (next_param(&query, &param)) {
        struct span key = key_of(param);
        show_word(s, before);
        before = "&";
        if (decodes_to(key, "offset") || decodes_to(key, "live") || decodes_to(key, "cursor")) {
            show(s, param);
        } else {
            if (key.n < param.n) {
                show(s, key);
                show_word(s, "=");
            }
            show_word(s, "...");
        }
    }
}

/* Where what may be shown of a URL that nothing can be sent to begins: a password with a '/', '?'
 * or '#' in it makes one, so that only what is behind the last '@' is surely none. */
static const char *behind_secrets(const char *p, bool authority)
{
    const char *at = strrchr(p, '@');
    return at && (authority || memchr(p, ':', (size_t)(at - p))) ? at + 1 : p;
}

void ds_url_secret(const char *url, size_t *at, size_t *n)
{
    struct parts u = split(url);
    struct span s = u.userinfo;
    *at = *n = 0;
    if (u.scheme.n > 0 && !usable(&u)) {
        s.p = u.scheme.p + u.scheme.n + 3;
        const char *end = behind_secrets(s.p, true);
        s.n = end > s.p ? (size_t)(end - s.p - 1) : 0;
    }
    if (s.n == 0 || !memchr(s.p, ':', s.n))
        return;
    *at = (size_t)(s.p - url);
    *n = s.n;
}

/* Takes the first bytes of a character that did not fit off the end. */
static void cut_whole(struct show *s, const char *start)
{
    char *p = s->p;
    while (p > start && ((unsigned char)p[-1] & 0xC0) == 0x80)
        p--;
    if (p == start || (unsigned char)p[-1] < 0xC0)
        return;
    unsigned char lead = (unsigned char)p[-1];
    int want = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (s->p - p < want)
        s->p = p - 1;
}

void ds_url_redact(const char *url, char *out, size_t size)
{
    if (size == 0)
        return;
    struct show s = {out, out + size - 1};
    struct parts u = split(url);
    const char *rest = url;
    if (u.scheme.n > 0) {
        show(&s, u.scheme);
        show_word(&s, "://");
        rest = u.scheme.p + u.scheme.n + 3;
    }
    if (!usable(&u))
        rest = behind_secrets(rest, u.scheme.n > 0);
    else
        rest = u.host.p;
    size_t n = strcspn(rest, "?#");
    show(&s, (struct span){rest, n});
    if (rest[n] == '?')
        show_query(&s, (struct span){rest + n + 1, strcspn(rest + n + 1, "#")});
    if (s.p == s.end)
        cut_whole(&s, out);
    *s.p = '\0';
}

/* --- tokens ----------------------------------------------------------------------------------- */

enum dstream_code ds_token_check(const char *s, size_t len)
{
    if (len > DS_TOKEN_MAX)
        return DSTREAM_ERR_LIMIT;
    if (len == 0)
        return DSTREAM_ERR_PROTOCOL;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c <= ' ' || c == 0x7F)
            return DSTREAM_ERR_PROTOCOL;
    }
    return DSTREAM_OK;
}

bool ds_token_is_sentinel(const char *s)
{
    return strcmp(s, "-1") == 0 || strcmp(s, "now") == 0;
}
