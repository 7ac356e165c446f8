/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"

/* --- starting --------------------------------------------------------------------------------- */

#define FDS 1024 /* what is given has lower numbers */
static bool given[FDS];
static bool noted;

void ds_child_note_given(void)
{
    noted = true;
    for (int fd = 0; fd < FDS; fd++)
        given[fd] = fcntl(fd, F_GETFD) >= 0;
}

/* All that have so great a number. A kernel that does not know it (before 5.11) leaves them. */
static void hide_from(unsigned fd)
{
#ifdef SYS_close_range
    (void)syscall(SYS_close_range, fd, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
#else
    (void)fd;
#endif
}

static void hide_our_own(void)
{
    for (int fd = STDERR_FILENO + 1; noted && fd < FDS; fd++) {
        if (!given[fd])
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    if (noted)
        hide_from(FDS);
}

/* In the child. What was ignored when we began (nohup) stays so; what we ignore does not. */
static void become(const struct ds_child_how *how)
{
    int in = how->in >= 0 ? how->in : open("/dev/null", O_RDONLY);
    if (how->group)
        (void)setpgid(0, 0);
    (void)dup2(in, STDIN_FILENO);
    if (how->out >= 0)
        (void)dup2(how->out, STDOUT_FILENO);
    hide_our_own();
    if (how->keep >= 0)
        (void)fcntl(how->keep, F_SETFD, 0);
    if (how->env)
        environ = (char **)(uintptr_t)how->env;
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGXFSZ, SIG_DFL);
    execl("/bin/sh", "sh", "-c", how->command, (char *)NULL);
    _exit(127);
}

pid_t ds_child_start(const struct ds_child_how *how)
{
    pid_t pid = fork();
    if (pid == 0)
        become(how);
    if (pid > 0 && how->group)
        (void)setpgid(pid, pid); /* here as well, so that it is there when we signal it */
    return pid;
}

/* --- ending ----------------------------------------------------------------------------------- */

bool ds_child_ended(pid_t pid, int *status)
{
    pid_t ended = waitpid(pid, status, WNOHANG);
    bool unknown = ended < 0 && errno != EINTR;
    if (unknown)
        *status = -1;
    return ended == pid || unknown;
}

void ds_child_fate(int status, char out[DS_CHILD_FATE])
{
    if (WIFSIGNALED(status))
        (void)snprintf(out, DS_CHILD_FATE, "killed by signal %d", WTERMSIG(status));
    else
        (void)snprintf(out, DS_CHILD_FATE, "exit code %d", WEXITSTATUS(status));
}

/* --- what it is given ------------------------------------------------------------------------- */

/* "NAME=" of both. */
static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(b, "=");
    return strncmp(a, b, n) == 0 && a[n] == '=';
}

static bool replaced(const char *var, char *const *vars, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (same_name(var, vars[i]))
            return true;
    }
    return false;
}

char **ds_child_env(char *const *vars, size_t n)
{
    size_t have = 0, k = 0;
    while (environ && environ[have])
        have++;
    char **env = ds_calloc(have + n + 1, sizeof *env);
    for (size_t i = 0; env && i < have; i++) {
        if (!replaced(environ[i], vars, n))
            env[k++] = environ[i];
    }
    for (size_t i = 0; env && i < n; i++)
        env[k++] = vars[i];
    return env;
}

int ds_child_input(const void *p, size_t n)
{
    const char *at = p;
    size_t done = 0;
    int fd = memfd_create("dstream", MFD_CLOEXEC);
    while (fd >= 0 && done < n) {
        /* Where it is read from stays the beginning. */
        ssize_t k = pwrite(fd, at + done, n - done, (off_t)done);
        if (k > 0) {
            done += (size_t)k;
        } else if (k == 0 || errno != EINTR) {
            int why = k == 0 ? EIO : errno;
            close(fd);
            errno = why;
            fd = -1;
        }
    }
    return fd;
}
