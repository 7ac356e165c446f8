/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http.h"

#include <string.h>

/* By hand: what the C library calls lower case depends on the locale. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same(const char *p, size_t n, const char *word)
{
    size_t i = 0;
    while (i < n && word[i] && lower(p[i]) == lower(word[i]))
        i++;
    return i == n && !word[i];
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void trim(const char **p, size_t *n)
{
    while (*n > 0 && is_blank(**p)) {
        (*p)++;
        (*n)--;
    }
    while (*n > 0 && is_blank((*p)[*n - 1]))
        (*n)--;
}

/* --- heads ------------------------------------------------------------------------------------ */

const char *ds_head_get(const struct ds_head *h, const char *name)
{
    const char *p = h->fields.data, *end = h->fields.data ? p + h->fields.len : p;
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        if (strcmp(p, name) == 0)
            return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

void ds_head_etag(const struct ds_head *h, char out[DS_ETAG_MAX + 1])
{
    const char *tag = ds_head_get(h, "etag");
    size_t n = tag ? strlen(tag) : 0;
    if (n > DS_ETAG_MAX)
        n = 0;
    if (n > 0)
        memcpy(out, tag, n);
    out[n] = '\0';
}

bool ds_head_is_true(const struct ds_head *h, const char *name)
{
    const char *value = ds_head_get(h, name);
    return value && same(value, strlen(value), "true");
}

enum dstream_code ds_head_add(struct ds_head *h, const char *name, size_t name_len,
                              const char *value, size_t value_len)
{
    trim(&value, &value_len);
    if (name_len == 0 || memchr(name, '\0', name_len) ||
        (value_len > 0 && memchr(value, '\0', value_len)))
        return DSTREAM_ERR_PROTOCOL;
    size_t room = h->fields.max - h->fields.len;
    if (name_len > room || value_len > room - name_len)
        return DSTREAM_ERR_LIMIT;
    enum dstream_code rc = ds_buf_reserve(&h->fields, name_len + value_len + 2);
    if (rc != DSTREAM_OK)
        return rc;
    for (size_t i = 0; i < name_len; i++)
        (void)ds_buf_addc(&h->fields, lower(name[i]));
    (void)ds_buf_addc(&h->fields, '\0');
    (void)ds_buf_add(&h->fields, value, value_len);
    (void)ds_buf_addc(&h->fields, '\0');
    return DSTREAM_OK;
}

void ds_head_free(struct ds_head *h)
{
    ds_buf_free(&h->fields);
}

/* --- content types ---------------------------------------------------------------------------- */

/* The part before the parameters. */
static const char *media_type(const char *content_type, size_t *n)
{
    *n = strcspn(content_type, ";");
    trim(&content_type, n);
    return content_type;
}

void ds_media_type(const char *content_type, char *out, size_t size)
{
    size_t n;
    const char *p = media_type(content_type, &n);
    if (size == 0)
        return;
    if (n > size - 1)
        n = size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = lower(p[i]);
    out[n] = '\0';
}

bool ds_type_is_json(const char *content_type)
{
    size_t n;
    const char *p = media_type(content_type, &n);
    return same(p, n, "application/json");
}

bool ds_type_is_text(const char *content_type)
{
    static const char prefix[] = "text/";
    size_t n;
    const char *p = media_type(content_type, &n);
    return n >= sizeof prefix && same(p, sizeof prefix - 1, prefix);
}
