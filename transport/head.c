/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/head.h"

#include <curl/curl.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/text.h"

void ds_head_lines_init(struct ds_head_lines *l, size_t max)
{
    *l = (struct ds_head_lines){.head.retry_after_ms = -1, .max = max};
    ds_buf_init(&l->head.fields, max);
}

void ds_head_lines_free(struct ds_head_lines *l)
{
    ds_head_free(&l->head);
}

/* "HTTP/1.1 200 OK": libcurl has checked it. */
static void take_status(struct ds_head_lines *l, const char *p, size_t n)
{
    size_t i = 0;
    l->head.status = 0;
    l->head.fields.len = 0;
    while (i < n && p[i] != ' ')
        i++;
    while (i < n && p[i] == ' ')
        i++;
    for (int digits = 0; i < n && p[i] >= '0' && p[i] <= '9' && digits < 3; i++, digits++)
        l->head.status = l->head.status * 10 + (p[i] - '0');
    l->at = DS_HEAD_FIELDS;
}

/* A line that goes on with the value before it (RFC 9112, section 5.2). */
static enum dstream_code take_folded(struct ds_head_lines *l, const char *p, size_t n)
{
    struct ds_buf *b = &l->head.fields;
    while (n > 0 && strchr(" \t\r\n", *p)) {
        p++;
        n--;
    }
    while (n > 0 && strchr(" \t\r\n", p[n - 1]))
        n--;
    if (n == 0 || b->len == 0)
        return DSTREAM_OK;
    enum dstream_code rc = ds_buf_reserve(b, n + 1);
    if (rc != DSTREAM_OK)
        return rc;
    b->data[b->len - 1] = ' ';
    (void)ds_buf_add(b, p, n);
    return ds_buf_addc(b, '\0');
}

static enum dstream_code take_field(struct ds_head_lines *l, const char *p, size_t n)
{
    if (*p == ' ' || *p == '\t')
        return memchr(p, '\0', n) ? DSTREAM_OK : take_folded(l, p, n);
    const char *colon = memchr(p, ':', n);
    size_t name = colon ? (size_t)(colon - p) : 0;
    while (name > 0 && (p[name - 1] == ' ' || p[name - 1] == '\t'))
        name--;
    if (name == 0)
        return DSTREAM_OK;
    enum dstream_code rc = ds_head_add(&l->head, p, name, colon + 1, n - (size_t)(colon - p) - 1);
    return rc == DSTREAM_ERR_PROTOCOL ? DSTREAM_OK : rc; /* a NUL: libcurl ends it */
}

static enum ds_head_line finish(struct ds_head_lines *l)
{
    if (l->head.status >= 100 && l->head.status < 200) {
        l->at = DS_HEAD_STATUS;
        return DS_HEAD_MORE;
    }
    l->at = DS_HEAD_DONE;
    l->head.retry_after_ms =
        ds_retry_after(ds_head_get(&l->head, "retry-after"), ds_head_get(&l->head, "date"));
    return DS_HEAD_READY;
}

enum ds_head_line ds_head_line(struct ds_head_lines *l, const char *p, size_t n)
{
    if (n > l->max - l->bytes)
        return DS_HEAD_OVER;
    l->bytes += n;
    if (l->at == DS_HEAD_STATUS)
        take_status(l, p, n);
    else if (l->at == DS_HEAD_FIELDS && (n == 0 || *p == '\r' || *p == '\n'))
        return finish(l);
    else if (l->at == DS_HEAD_FIELDS) {
        enum dstream_code rc = take_field(l, p, n);
        if (rc != DSTREAM_OK)
            return rc == DSTREAM_ERR_LIMIT ? DS_HEAD_OVER : DS_HEAD_NO_MEMORY;
    }
    return DS_HEAD_MORE;
}

/* --- what some fields mean -------------------------------------------------------------------- */

/* libcurl takes much for a date: one of HTTP's begins with the day's name. */
static time_t http_date(const char *s)
{
    bool letter = (*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z');
    return letter ? curl_getdate(s, NULL) : -1;
}

int64_t ds_retry_after(const char *value, const char *date)
{
    const int64_t year = INT64_C(365) * 24 * 60 * 60;
    if (!value || !*value)
        return -1;
    if (value[strspn(value, "0123456789")] == '\0') {
        uint64_t s;
        return (ds_parse_u64(value, (uint64_t)year, &s) ? (int64_t)s : year) * 1000;
    }
    time_t then = http_date(value), now = date ? http_date(date) : -1;
    if (then == -1)
        return -1;
    if (now == -1)
        now = time(NULL);
    int64_t wait = (int64_t)then - (int64_t)now;
    return (wait < 0 ? 0 : wait > year ? year : wait) * 1000;
}

char *ds_redirect_target(const char *base, const char *location)
{
    char *url = NULL, *copy = NULL;
    CURLU *u = curl_url();
    if (u && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE) ==
            CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &url, 0) == CURLUE_OK)
        copy = ds_strdup(url);
    curl_free(url);
    curl_url_cleanup(u);
    return copy;
}
