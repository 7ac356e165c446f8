/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller adds to each request as it is sent: credentials that change, above all. */
#ifndef DS_CLIENT_HOOK_H
#define DS_CLIENT_HOOK_H

#include "base/url.h"
#include "client/options.h"

/* Zeroed to begin with, and between two requests. */
struct dstream_request {
    char **headers;
    size_t nheaders;
    struct ds_param *params; /* both strings its own */
    size_t nparams;
    struct ds_buf url;
    const char **all;
    enum dstream_code failed; /* an addition could not be made */
};

/* Asks the options' callback, where there is one and the request may carry what it adds, and makes
 * *req the request with that. `refused`: the server refused the last one (401, 403). What *req
 * points to then is valid until ds_hook_end(). ERR_NOMEM, or what the callback or an addition of it
 * returned. */
enum dstream_code ds_hook_begin(dstream_request *q, const dstream_options *o,
                                struct ds_request *req, bool refused);
void ds_hook_end(dstream_request *q);

#endif
