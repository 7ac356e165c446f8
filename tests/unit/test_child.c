/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/child.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"

/* What the command prints. */
static struct ds_buf output_of(const char *command)
{
    int ends[2], status;
    char part[4096];
    ssize_t n;
    struct ds_buf b;
    ds_buf_init(&b, 100000);
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = ds_child_start(
        &(struct ds_child_how){.command = command, .in = -1, .out = ends[1], .keep = -1});
    close(ends[1]);
    while ((n = read(ends[0], part, sizeof part)) > 0)
        cr_assert_eq(ds_buf_add(&b, part, (size_t)n), DSTREAM_OK);
    close(ends[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_assert_not_null(ds_buf_str(&b));
    return b;
}

static bool has(const struct ds_buf *listing, int fd)
{
    char line[32];
    snprintf(line, sizeof line, "\n%d\n", fd);
    return strstr(listing->data, line) != NULL;
}

/* Also where its number is a great one, as with thousands of streams. */
Test(child, gets_what_was_given_and_nothing_that_was_opened_since)
{
    struct rlimit files;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    int given = fcntl(open("/dev/null", O_RDONLY), F_DUPFD, 100);
    ds_child_note_given();
    int opened = fcntl(given, F_DUPFD, 200), great = fcntl(given, F_DUPFD, 1500);
    cr_assert(given >= 0 && opened >= 0 && (great >= 0 || files.rlim_max <= 1500));
    struct ds_buf b = output_of("for f in /proc/$$/fd/*; do echo ${f##*/}; done");
    cr_expect(has(&b, given), "%s", b.data);
    cr_expect_not(has(&b, opened), "%s", b.data);
    cr_expect_not(great >= 0 && has(&b, great), "%s", b.data);
    ds_buf_free(&b);
}
