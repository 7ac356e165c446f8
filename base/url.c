/* SPDX-License-Identifier: Apache-2.0 */
#include "base/url.h"

#include <string.h>

#include "base/error.h"

void ds_url_redact(const char *url, char *out, size_t size)
{
    (void)url;
    if (size > 0)
        out[0] = '\0';
}

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
