/* SPDX-License-Identifier: Apache-2.0 */
/* What the watchdog of a service manager does not hear of. */
#include "config.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/exporting.h"
#include "cli/notify.h"
#include "cli/status.h"

Test(watchdog, a_commit_is_overdue_when_it_and_all_others_are_long_ago)
{
    static const struct {
        int64_t due, synced, now;
        bool overdue;
    } row[] = {
        {DS_NEVER, 0, 1000000, false},      /* there is nothing to commit */
        {2000000, 0, 1000000, false},       /* not yet */
        {1000000, 0, 1030000, false},       /* late */
        {1000000, 0, 1030001, true},        /* too late */
        {0, 1000000, 1030000, false},       /* others are being committed */
        {0, 1000000, 1030001, true},        /* and that was long ago */
        {1000000, 1000001, 1030001, false}, /* the later of the two counts */
        {1000001, 1000000, 1030001, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        cr_expect_eq(ds_exporting_overdue(row[i].due, row[i].synced, row[i].now), row[i].overdue,
                     "row %zu", i);
}

/* --- what is said of it ----------------------------------------------------------------------- */

/* A run that is asked how it is. */
struct asked {
    bool stuck;
    unsigned times;
};

static void ask(void *ctx, struct ds_status_now *out)
{
    struct asked *a = ctx;
    out->stuck = a->stuck;
    a->times++;
}

static int manager(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int n = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "dstream-unit-%ld", (long)getpid());
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, len), 0);
    char name[sizeof at.sun_path + 1];
    snprintf(name, sizeof name, "@%s", at.sun_path + 1);
    cr_assert_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    cr_assert_eq(setenv("WATCHDOG_USEC", "2000", 1), 0);
    return fd;
}

/* Whether it was told that all is well, of all that it was told. */
static bool heard(int fd)
{
    char text[4096];
    bool alive = false;
    for (ssize_t n; (n = recv(fd, text, sizeof text - 1, 0)) > 0;) {
        text[n] = '\0';
        alive = alive || strcmp(text, "WATCHDOG=1") == 0;
    }
    return alive;
}

/* Turns the loop until the run was asked so often. */
static void turn(dstream_loop *l, struct asked *a, unsigned times)
{
    a->times = 0;
    while (a->times < times)
        cr_assert_eq(dstream_loop_turn(l, -1), DSTREAM_OK);
}

Test(watchdog, does_not_hear_that_all_is_well_while_a_run_is_stuck)
{
    int fd = manager();
    struct ds_cli c = {.limits = ds_limits_default(), .err = stderr, .notify = ds_notify_new()};
    c.opt.progress = DS_PROGRESS_NONE;
    dstream_loop *l = dstream_loop_new();
    struct ds_status s;
    struct asked a = {.stuck = true};
    cr_assert(l && c.notify);
    ds_status_start(&s, &c, l, ask, &a);
    turn(l, &a, 20);
    cr_assert_not(heard(fd));
    a.stuck = false;
    turn(l, &a, 20);
    cr_assert(heard(fd));
    a.stuck = true;
    turn(l, &a, 20);
    cr_assert_not(heard(fd));
    ds_status_end(&s);
    dstream_loop_free(l);
    ds_notify_free(c.notify);
    close(fd);
}
