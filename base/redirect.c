/* SPDX-License-Identifier: Apache-2.0 */
#include "base/redirect.h"

#include "base/status.h"
#include "base/url.h"

/* What holds for every method: NULL where nothing is wrong. */
static const char *objection(int status, const char *from, const char *to, unsigned hops,
                             unsigned max_hops)
{
    if (ds_status_code(status) != DSTREAM_ERR_REDIRECT)
        return "not a kind of redirect that a stream has";
    if (!to || !to[0])
        return "it names no new URL";
    if (!ds_url_valid(to))
        return "its URL is not a usable http or https URL";
    if (hops >= max_hops)
        return "too many redirects in a row";
    if (ds_url_is_downgrade(from, to))
        return "it leads from https to http";
    return NULL;
}

static bool stays(const char *from, const char *to)
{
    return ds_url_same_origin(from, to) || ds_url_is_upgrade(from, to);
}

enum ds_redirect ds_redirect_decide(enum ds_method method, int status, const char *from,
                                    const char *to, unsigned hops, unsigned max_hops)
{
    if (objection(status, from, to, hops, max_hops))
        return DS_REDIRECT_REFUSE;
    bool same = stays(from, to);
    if (method == DS_GET || method == DS_HEAD)
        return same ? DS_REDIRECT_FOLLOW : DS_REDIRECT_STRIPPED;
    return same && (status == 307 || status == 308) ? DS_REDIRECT_FOLLOW : DS_REDIRECT_REFUSE;
}

const char *ds_redirect_reason(int status, const char *from, const char *to, unsigned hops,
                               unsigned max_hops)
{
    const char *why = objection(status, from, to, hops, max_hops);
    if (why)
        return why;
    return stays(from, to) ? "this status would make a write a GET"
                           : "a write is not sent on to another host";
}
