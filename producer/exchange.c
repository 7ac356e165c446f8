/* SPDX-License-Identifier: Apache-2.0 */
#include "producer/exchange.h"

#include <string.h>

#include "base/redirect.h"
#include "base/status.h"
#include "base/url.h"

/* The slowest upload that is waited for, bytes a millisecond: a limit on the time until the head of
 * an answer would else be a limit on the size of a body. */
#define SLOWEST 32
/* An error answer is only looked at for its reason. */
#define BODY_MAX ((uint64_t)64 * 1024)

void ds_exchange_init(struct ds_exchange *x, enum ds_method method, const char *url)
{
    memset(x, 0, sizeof *x);
    x->method = method;
    x->url = url;
    ds_buf_init(&x->target, DS_URL_MAX);
    ds_buf_init(&x->moved, DS_URL_MAX);
}

void ds_exchange_free(struct ds_exchange *x)
{
    ds_buf_free(&x->target);
    ds_buf_free(&x->moved);
}

void ds_exchange_rewind(struct ds_exchange *x)
{
    x->hops = 0;
    x->stripped = false;
    x->target.len = 0;
}

int64_t ds_exchange_upload_time(uint64_t body_len)
{
    return (int64_t)(body_len / SLOWEST);
}

void ds_exchange_send(struct ds_exchange *x, const struct ds_limits *l, int64_t now,
                      uint64_t body_len)
{
    x->upload = ds_exchange_upload_time(body_len);
    /* Transport limits the time for connecting; this is in case that does not hold. */
    x->due = ds_later(ds_later(now, l->connect), l->header);
    x->left = x->head = x->too_long = x->no_memory = x->closed = false;
    x->status = 0;
    x->retry_after = -1;
    x->body = 0;
    x->next[0] = x->content_type[0] = '\0';
    x->reason = (struct ds_reason){.len = 0};
    x->moved.len = 0;
}

const char *ds_exchange_target(const struct ds_exchange *x)
{
    return x->target.len > 0 ? x->target.data : x->url;
}

/* --- what comes back -------------------------------------------------------------------------- */

void ds_exchange_connected(struct ds_exchange *x, const struct ds_limits *l, int64_t now)
{
    if (x->left)
        return;
    x->left = true;
    if (!x->head)
        x->due = ds_later(ds_later(now, l->header), x->upload);
}

void ds_exchange_field(struct ds_exchange *x, const struct ds_head *head, const char *name,
                       char *out, size_t size)
{
    const char *value = ds_head_get(head, name);
    size_t n = value ? strlen(value) : 0;
    if (n >= size) {
        x->too_long = true;
        n = 0;
    }
    if (n > 0)
        memcpy(out, value, n);
    out[n] = '\0';
}

bool ds_exchange_head(struct ds_exchange *x, const struct ds_head *head, const struct ds_limits *l,
                      int64_t now)
{
    if (x->head)
        return false;
    x->head = x->left = true;
    x->due = ds_later(now, l->header);
    x->status = head->status;
    x->retry_after = head->retry_after_ms;
    x->closed = ds_head_is_true(head, "stream-closed");
    ds_exchange_field(x, head, "stream-next-offset", x->next, sizeof x->next);
    ds_exchange_field(x, head, "content-type", x->content_type, sizeof x->content_type);
    if (!head->redirect)
        return true;
    enum dstream_code rc = ds_buf_adds(&x->moved, head->redirect);
    if (rc == DSTREAM_ERR_LIMIT)
        x->moved.len = 0;
    else if (rc != DSTREAM_OK || !ds_buf_str(&x->moved))
        x->no_memory = true;
    return true;
}

void ds_exchange_body(struct ds_exchange *x, const char *p, size_t n)
{
    x->body += n;
    ds_reason_add(&x->reason, p, n);
}

int64_t ds_exchange_due(const struct ds_exchange *x)
{
    return x->body > BODY_MAX ? INT64_MIN : x->due;
}

/* --- what it means ---------------------------------------------------------------------------- */

bool ds_exchange_has_next(const struct ds_exchange *x)
{
    return ds_token_check(x->next, strlen(x->next)) == DSTREAM_OK && !ds_token_is_sentinel(x->next);
}

bool ds_exchange_follow(struct ds_exchange *x, const struct ds_limits *l, struct dstream_error *err)
{
    const char *from = ds_exchange_target(x), *to = x->moved.len > 0 ? x->moved.data : NULL;
    enum ds_redirect how =
        ds_redirect_decide(x->method, x->status, from, to, x->hops, l->redirects);
    if (how == DS_REDIRECT_REFUSE) {
        char shown[200] = "";
        if (to)
            ds_url_redact(to, shown, sizeof shown);
        ds_error_set(err, DSTREAM_ERR_REDIRECT, "a redirect%s%s is not followed (%d): %s",
                     shown[0] ? " to " : "", shown, x->status,
                     ds_redirect_reason(x->status, from, to, x->hops, l->redirects));
        return false;
    }
    struct ds_buf old = x->target;
    x->target = x->moved;
    x->moved = old;
    x->stripped |= how == DS_REDIRECT_STRIPPED;
    x->hops++;
    return true;
}

bool ds_exchange_unanswered(const struct ds_exchange *x, const struct ds_result *result,
                            struct dstream_error *err)
{
    err->status = result && result->end == DS_END_PROXY_AUTH ? 407 : 0;
    if (!result) {
        ds_error_set(err, x->left ? DSTREAM_ERR_TIMEOUT : DSTREAM_ERR_CONNECT, "%s",
                     x->left ? "no answer came in time" : "no connection came about in time");
        return true;
    }
    /* Whole, and yet without a head: not HTTP. */
    enum dstream_code code =
        result->end == DS_END_COMPLETE ? DSTREAM_ERR_PROTOCOL : ds_end_code(result->end);
    const char *detail = result->detail && result->detail[0] ? result->detail : NULL;
    ds_error_set(err, code, "%s%s%.300s", dstream_code_text(code), detail ? ": " : "",
                 detail ? detail : "");
    return ds_end_retryable(result->end);
}

void ds_exchange_refused(struct ds_exchange *x, enum dstream_code code, const char *words,
                         struct dstream_error *err)
{
    const char *reason = ds_reason_line(&x->reason, x->content_type);
    if (code == DSTREAM_ERR_CLOSED && ds_exchange_has_next(x)) {
        ds_error_set_offset(err, x->next);
        ds_error_set(err, code, "%s (%d), and ends at %.300s", words, x->status, x->next);
    } else if (reason[0]) {
        ds_error_set(err, code, "%s (%d): \"%s\"", words, x->status, reason);
    } else {
        ds_error_set(err, code, "%s (%d)", words, x->status);
    }
}
