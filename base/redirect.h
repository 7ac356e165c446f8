/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a redirect is followed, and what may be taken along. */
#ifndef DS_BASE_REDIRECT_H
#define DS_BASE_REDIRECT_H

#include "base/http.h"

enum ds_redirect {
    DS_REDIRECT_FOLLOW,   /* the same request to the new URL */
    DS_REDIRECT_STRIPPED, /* the same, without the user's headers: it leaves the origin */
    DS_REDIRECT_REFUSE
};

/* `from` answered `status` and points to `to` (NULL or "": nowhere); `hops` redirects were followed
 * before. GET and HEAD go anywhere but from https to http. A write goes on to the same origin, or
 * from http to https of the same host, and only where the status keeps its method and body (307,
 * 308): a POST must never become a GET whose 200 looks like success. */
enum ds_redirect ds_redirect_decide(enum ds_method method, int status, const char *from,
                                    const char *to, unsigned hops, unsigned max_hops);
/* Why that was refused; a static text. Meaningful only where it was. */
const char *ds_redirect_reason(int status, const char *from, const char *to, unsigned hops,
                               unsigned max_hops);

#endif
