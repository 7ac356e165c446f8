/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

int ds_cli_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return DS_EXIT_USAGE;
}
