/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "dstream.h"

const char *dstream_version(void)
{
    return PACKAGE_VERSION;
}
