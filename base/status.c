/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

enum dstream_code ds_status_code(int status)
{
    switch (status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        return DSTREAM_ERR_REDIRECT;
    case 401:
    case 403:
    case 407:
        return DSTREAM_ERR_AUTH;
    case 404:
        return DSTREAM_ERR_NOT_FOUND;
    case 408:
        return DSTREAM_ERR_TIMEOUT;
    case 409:
        return DSTREAM_ERR_CONFLICT;
    case 410:
        return DSTREAM_ERR_GONE;
    case 413:
        return DSTREAM_ERR_TOO_LARGE;
    case 425:
    case 429:
        return DSTREAM_ERR_BUSY;
    case 501:
    case 505:
        return DSTREAM_ERR_BAD_REQUEST;
    default:
        break;
    }
    if (status >= 200 && status < 300)
        return DSTREAM_OK;
    if (status >= 400 && status < 500)
        return DSTREAM_ERR_BAD_REQUEST;
    if (status >= 500 && status < 600)
        return DSTREAM_ERR_SERVER;
    return DSTREAM_ERR_PROTOCOL;
}

bool ds_status_retryable(int status)
{
    if (status == 408 || status == 425 || status == 429)
        return true;
    return status >= 500 && status < 600 && status != 501 && status != 505;
}

bool ds_status_definite(int status)
{
    static const int definite[] = {400, 401, 403, 404, 409, 410, 413, 415, 429};
    for (size_t i = 0; i < sizeof definite / sizeof *definite; i++) {
        if (definite[i] == status)
            return true;
    }
    return false;
}

enum dstream_code ds_end_code(enum ds_end end)
{
    switch (end) {
    case DS_END_COMPLETE:
        return DSTREAM_OK;
    case DS_END_RESOLVE:
        return DSTREAM_ERR_RESOLVE;
    case DS_END_CONNECT:
        return DSTREAM_ERR_CONNECT;
    case DS_END_CUT:
        return DSTREAM_ERR_NETWORK;
    case DS_END_TLS:
    case DS_END_TLS_REFUSED:
        return DSTREAM_ERR_TLS;
    case DS_END_PROXY_AUTH:
        return DSTREAM_ERR_AUTH;
    case DS_END_BAD:
        return DSTREAM_ERR_ARGUMENT;
    case DS_END_PROTOCOL:
        return DSTREAM_ERR_PROTOCOL;
    case DS_END_LIMIT:
        return DSTREAM_ERR_LIMIT;
    case DS_END_NOMEM:
        return DSTREAM_ERR_NOMEM;
    }
    return DSTREAM_ERR_INTERNAL;
}

bool ds_end_retryable(enum ds_end end)
{
    return end == DS_END_RESOLVE || end == DS_END_CONNECT || end == DS_END_CUT || end == DS_END_TLS;
}
