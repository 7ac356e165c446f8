/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/unit/home.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char home[64];

void home_enter(void)
{
    snprintf(home, sizeof home, "/tmp/dstream-test-XXXXXX");
    cr_assert_not_null(mkdtemp(home));
    cr_assert_eq(chdir(home), 0);
}

void home_leave(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf -- '%s'", home);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(system(command), 0);
}
