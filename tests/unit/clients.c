/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/unit/clients.h"

#include <stdlib.h>
#include <unistd.h>

#include "client/options.h"

void clients_start(void)
{
    static const char *const proxies[] = {"http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY",
                                          "ALL_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        unsetenv(proxies[i]);
    alarm(60);
}

dstream_options *quick(void)
{
    struct ds_limits l = ds_limits_default();
    dstream_options *o = dstream_options_new();
    l.backoff_base = 1;
    ds_options_set_limits(o, &l);
    dstream_options_set_linger(o, 0);
    return o;
}

dstream_options *patient(void)
{
    dstream_options *o = quick();
    for (int what = DSTREAM_LIMIT_CONNECT; what < DSTREAM_LIMIT_EVENT_BYTES; what++)
        dstream_options_set_limit(o, (enum dstream_limit)what, -1);
    dstream_options_set_delivery_timeout(o, INT64_MAX);
    return o;
}
