/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/unit/home.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char home[1024];

void home_enter(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(home, sizeof home, "%s/dstream-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(home));
    cr_assert_eq(chdir(home), 0);
    cr_assert_not_null(getcwd(home, sizeof home));
}

void home_leave(void)
{
    char command[sizeof home + 16];
    snprintf(command, sizeof command, "rm -rf -- '%s'", home);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(system(command), 0);
}
