/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

void ds_cli_hooks(struct ds_cli *c)
{
    (void)c;
}
