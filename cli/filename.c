/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/filename.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "store/checkpoint.h"
#include "store/exports.h"

/* The URL as state files show it. Free it with ds_free(). */
static char *shown(const char *url, struct dstream_error *err)
{
    struct ds_checkpoint *c = ds_calloc(1, sizeof *c);
    char *copy = NULL;
    if (!c)
        ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
    else if (ds_checkpoint_set_url(c, url, err) == DSTREAM_OK && !(copy = ds_strdup(c->url)))
        ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
    ds_free(c);
    return copy;
}

/* Where the part of the URL begins that tells it from others of its host, or of the base. */
static const char *own_part(const char *url, const char *base)
{
    size_t n = base ? strcspn(base, "?") : 0;
    while (n > 0 && base[n - 1] == '/')
        n--;
    if (n > 0 && strncmp(url, base, n) == 0 && (url[n] == '/' || url[n] == '?'))
        url += n;
    else if (strstr(url, "://"))
        url = strstr(url, "://") + 3 + strcspn(strstr(url, "://") + 3, "/?");
    return url + strspn(url, "/");
}

static bool has_end(const struct ds_buf *b, size_t begin, const char *end)
{
    size_t n = strlen(end);
    return b->len - begin >= n && memcmp(b->data + b->len - n, end, n) == 0;
}

/* The last dot of a name that would mean something here is escaped. */
static enum dstream_code disarm(struct ds_buf *out, size_t begin)
{
    static const char *const ends[] = {".lock", ".tmp", ".partial", ".dstate"};
    const char *end = NULL;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (has_end(out, begin, ends[i]))
            end = ends[i] + 1;
    }
    size_t manifest = sizeof DS_EXPORTS_MANIFEST - 1;
    if (out->len - begin == manifest && has_end(out, begin, DS_EXPORTS_MANIFEST))
        end = strchr(DS_EXPORTS_MANIFEST, '.') + 1;
    if (!end)
        return DSTREAM_OK;
    out->len -= strlen(end) + 1;
    return ds_buf_addf(out, "%%2E%s", end);
}

static enum dstream_code shorten(struct ds_buf *out, size_t begin)
{
    char hash[DS_HASH_HEX];
    if (out->len - begin <= DS_FILENAME_MAX)
        return DSTREAM_OK;
    ds_hash_of(out->data + begin, out->len - begin, hash);
    out->len = begin + DS_FILENAME_MAX - DS_HASH_HEX;
    return ds_buf_addf(out, "~%s", hash);
}

static enum dstream_code add_name(struct ds_buf *out, const char *p)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_.~%=+,@";
    size_t begin = out->len;
    enum dstream_code rc = *p ? DSTREAM_OK : ds_buf_adds(out, "%2F");
    for (; *p && rc == DSTREAM_OK; p++) {
        bool hidden = *p == '.' && out->len == begin;
        rc = strchr(plain, *p) && !hidden ? ds_buf_addc(out, *p)
                                          : ds_buf_addf(out, "%%%02X", (unsigned char)*p);
    }
    if (rc == DSTREAM_OK)
        rc = shorten(out, begin);
    return rc == DSTREAM_OK ? disarm(out, begin) : rc;
}

enum dstream_code ds_filename_of(struct ds_buf *out, const char *url, const char *base,
                                 struct dstream_error *err)
{
    char *of = shown(url, err), *under = of && base ? shown(base, err) : NULL;
    enum dstream_code rc = err->code;
    if (of && (under || !base)) {
        rc = add_name(out, own_part(of, under));
        if (rc == DSTREAM_OK && !ds_buf_str(out))
            rc = DSTREAM_ERR_NOMEM;
        if (rc != DSTREAM_OK)
            ds_error_set(err, rc, "no memory for a file name");
    }
    ds_free(of);
    ds_free(under);
    return rc;
}
