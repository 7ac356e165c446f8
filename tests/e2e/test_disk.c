/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exports on disks of their own: an ext4 file system that loses power behind each step of an
 * export, and disks that fill. They are mounted in a namespace of the test's, which takes root and
 * loop devices; where these are not to be had, the tests are skipped and say so.
 *
 * Some of the steps are taken; with DSTREAM_SOAK=N all are.
 */
#include "config.h"

#include "tests/e2e/killing.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* As the kernel has them: all that is not on the disk yet is lost, the journal included. */
#define SHUTDOWN            _IOR('X', 125, uint32_t)
#define SHUTDOWN_NO_JOURNAL 2

static const char *disk(void)
{
    return e2e_path("disk");
}

static struct e2e_process *shell(const char *command)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    return e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv}));
}

/* Mounts of this test are its own from here on. */
static void enter(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        cr_skip("nothing can be mounted here (not root?): %s", strerror(errno));
    cr_assert_eq(mkdir(disk(), 0777), 0);
}

static bool mounted(const char *how)
{
    return shell(e2e_printf("mount %s '%s'", how, disk()))->status == 0;
}

static void leave(void)
{
    if (umount2(disk(), 0) < 0)
        cr_assert_fail("umount: %s", strerror(errno));
}

/* --- power ------------------------------------------------------------------------------------ */

static void mount_image(const char *options)
{
    if (!mounted(e2e_printf("-o loop,%s '%s'", options, e2e_path("image"))))
        cr_skip("no file system of a file can be mounted here (no loop devices?)");
}

static void make_image(const char *options)
{
    struct e2e_process *p = shell(
        e2e_printf("command -v mkfs.ext4 && truncate -s 24M '%s' && mkfs.ext4 -q -F -m 0 '%s'",
                   e2e_path("image"), e2e_path("image")));
    if (p->status != 0)
        cr_skip("no ext4 file system can be made here: %s", p->err_data.p);
    mount_image(options);
}

static void lose_power(const char *options)
{
    uint32_t how = SHUTDOWN_NO_JOURNAL;
    int fd = open(disk(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    int rc = ioctl(fd, SHUTDOWN, &how), why = errno;
    close(fd);
    if (rc < 0)
        cr_skip("this kernel cannot cut a file system off: %s", strerror(why));
    leave();
    mount_image(options);
}

/* The directory that the n-th life of an export has; it is there for good before that begins. */
static const char *begin_in(const char *name)
{
    const char *dir = e2e_printf("%s/%s", disk(), name);
    cr_assert_eq(mkdir(dir, 0777), 0);
    int fd = open(disk(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert(fd >= 0 && syncfs(fd) == 0);
    close(fd);
    return dir;
}

/* Killed behind a step, sometimes once more in the recovery from that; then power fails. */
static bool cut_off(struct subject *s, unsigned n, const char *options, struct tally *t)
{
    s->dir = begin_in(e2e_printf("n%u", n));
    struct e2e_process *p = NULL;
    for (unsigned i = 0; i < 1 + n % 2; i++) {
        p = e2e_finished(subject_export(s, e2e_printf("kill_after=%u", n), "batch", NULL));
        if (p->status == 0)
            break;
        e2e_status(p, KILLED);
        tally_add(t, p);
    }
    bool killed = p->status != 0;
    lose_power(options);
    p = e2e_finished(subject_export(s, "", "batch", NULL));
    if (p->status != 0)
        cr_assert_fail("%s, power lost after step %u: %s", s->f->name, n, p->err_data.p);
    subject_same(s, e2e_printf("power lost after step %u", n));
    return killed;
}

static void lives_without_power(const struct form *f, const char *options)
{
    struct tally t = {.n = 0};
    struct subject s =
        subject_begin(f, e2e_serve(NULL, (const char *const[]){"--page-size", "240", NULL}));
    enter();
    make_image(options);
    for (size_t i = 0; i < f->streams; i++) {
        written_add(&s.w[i], 100);
        written_add(&s.w[i], 100);
    }
    subject_close(&s);
    unsigned by = e2e_soak() > 1 ? 1 : 41;
    for (unsigned n = 1 + 10 % by; cut_off(&s, n, options, &t); n += by)
        continue;
    leave();
    tally_say(&t, "power lost", f->name);
}

#define WITHOUT_POWER(name, options, ...)                                                          \
    E2E(disk, loses_power_under_##name)                                                            \
    {                                                                                              \
        lives_without_power(&(struct form){__VA_ARGS__}, options);                                 \
    }

/* In the order of the journal, and with as little order as there is. */
#define ORDERED "data=ordered"
#define LOOSE   "data=writeback,noauto_da_alloc,commit=60"

WITHOUT_POWER(messages, ORDERED, "one file", 1, NULL, NULL, NULL)
WITHOUT_POWER(rotated_gzip, LOOSE, "rotated gzip", 1, "150", "gzip", NULL)
WITHOUT_POWER(a_directory, LOOSE, "directory", 3, NULL, NULL, NULL)
WITHOUT_POWER(a_rotated_directory, LOOSE, "directory, rotated zstd", 2, "150", "zstd", NULL)

/* --- full disks ------------------------------------------------------------------------------- */

/* A disk that is too small until what lies on it goes. */
static void fills(const struct form *f, const char *kind)
{
    struct subject s = subject_begin(f, e2e_base());
    enter();
    if (!mounted(kind))
        cr_skip("no such disk can be mounted here: %s", kind);
    for (size_t i = 0; i < f->streams; i++) {
        for (int k = 0; k < 20; k++)
            written_add(&s.w[i], 10000);
    }
    s.dir = disk();
    e2e_status(shell(e2e_printf("head -c 900k /dev/zero >'%s/ballast'", disk())), 0);
    /* More than once: what a full disk has left is nothing that stops the next run. */
    for (int i = 0; i < 3; i++) {
        struct e2e_process *p = e2e_finished(subject_export(&s, "", "batch", NULL));
        e2e_status(p, 74);
        e2e_says(p, "the disk is full");
    }
    cr_assert_eq(unlink(e2e_printf("%s/ballast", disk())), 0);
    for (size_t i = 0; i < f->streams; i++)
        written_add(&s.w[i], 100);
    subject_close(&s);
    e2e_status(e2e_finished(subject_export(&s, "", "batch", NULL)), 0);
    subject_same(&s, "when there was room");
    leave();
}

#define SMALL "-t tmpfs -o size=1m none"

#define FULL(name, ...)                                                                            \
    E2E_EMBEDDED(disk, full_of_##name)                                                             \
    {                                                                                              \
        fills(&(struct form){__VA_ARGS__}, SMALL);                                                 \
    }

FULL(messages, "one file", 1, NULL, NULL, NULL)
FULL(segments, "rotated", 1, "10000", NULL, NULL)
FULL(a_directory, "directory", 3, NULL, NULL, NULL)
FULL(a_rotated_directory, "directory, rotated zstd", 3, "20000", "zstd", NULL)
