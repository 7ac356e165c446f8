/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: started, watched, fed and ended. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct e2e_process *processes;
static const char *limits = "";

void e2e_limits(const char *text)
{
    limits = text;
}

/* --- starting --------------------------------------------------------------------------------- */

struct ends {
    int in[2], out[2], err[2]; /* read end, write end */
};

/* The resource's type is an enumeration or an int, as the system has it, so it is no parameter. */
static void set_limits(const struct e2e_run *run)
{
    const struct rlimit size = {run->max_file, run->max_file};
    const struct rlimit files = {run->max_files, run->max_files};
    if ((run->max_file > 0 && setrlimit(RLIMIT_FSIZE, &size) < 0) ||
        (run->max_files > 0 && setrlimit(RLIMIT_NOFILE, &files) < 0))
        _exit(126);
}

/* To look for leaks takes a sanitized program as long as all the rest of a short run: two of so
 * many do, the first two of a test among them, which mostly are a server and what is tested. */
#define LEAKS_EACH 8

static void look_for_leaks(bool look)
{
    const char *options = getenv("ASAN_OPTIONS");
    char text[1024];
    if (look || !e2e_sanitized())
        return;
    int n = snprintf(text, sizeof text, "%s:detect_leaks=0", options ? options : "");
    if (n >= (int)sizeof text || setenv("ASAN_OPTIONS", text, 1) < 0)
        _exit(126);
}

/* In the child. Nothing that is started outlives the test. */
static void become(const struct e2e_run *run, const struct ends *e, pid_t parent, unsigned nth)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    int in = run->input ? e->in[0] : open("/dev/null", O_RDONLY);
    int out = run->out ? open(run->out, O_WRONLY | O_CREAT | O_TRUNC, 0666) : e->out[1];
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(e->err[1], 2) < 0)
        _exit(126);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A shell starts what runs in the background with some of them ignored. */
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    set_limits(run);
    look_for_leaks(nth % LEAKS_EACH < 2);
    for (const char *const *v = run->env; v && *v; v++) {
        if (putenv((char *)(uintptr_t)*v) != 0)
            _exit(126);
    }
    /* What looks like another stream is not looked at for long. */
    char text[1024];
    snprintf(text, sizeof text, "replica_lag=100%s%s", *limits ? "," : "", limits);
    if (setenv("DSTREAM_TEST", text, 1) < 0)
        _exit(126);
    execvp(run->argv[0], (char *const *)(uintptr_t)run->argv);
    dprintf(2, "%s: %s\n", run->argv[0], strerror(errno));
    _exit(127);
}

struct e2e_process *e2e_spawn(const struct e2e_run *run)
{
    static unsigned count;
    struct e2e_process *p = e2e_alloc(sizeof *p);
    struct ends e;
    struct e2e_bytes line = {0};
    unsigned nth = count++;
    for (const char *const *a = run->argv; *a; a++)
        e2e_add_text(&line, e2e_printf("%s%s", a == run->argv ? "" : " ", *a));
    p->line = line.p;
    if (pipe2(e.in, O_CLOEXEC) < 0 || pipe2(e.out, O_CLOEXEC) < 0 || pipe2(e.err, O_CLOEXEC) < 0)
        cr_assert_fail("pipe: %s", strerror(errno));
    pid_t parent = getpid();
    p->pid = fork();
    if (p->pid < 0)
        cr_assert_fail("fork: %s", strerror(errno));
    if (p->pid == 0)
        become(run, &e, parent, nth);
    close(e.in[0]);
    close(e.out[1]);
    close(e.err[1]);
    p->in = e.in[1];
    p->out = e.out[0];
    p->err = e.err[0];
    fcntl(p->out, F_SETFL, O_NONBLOCK);
    fcntl(p->err, F_SETFL, O_NONBLOCK);
    if (!run->input)
        e2e_end_input(p);
    e2e_add(&p->out_data, "", 0);
    e2e_add(&p->err_data, "", 0);
    p->next = processes;
    processes = p;
    return p;
}

const char *const *e2e_command(const char *const *args)
{
    const char *program = getenv("DSTREAM_E2E_COMMAND");
    size_t n = 0;
    while (args[n])
        n++;
    const char **argv = e2e_alloc((n + 2) * sizeof *argv);
    argv[0] = program ? program : E2E_BUILDDIR "/tests/dstream";
    memcpy(argv + 1, args, n * sizeof *argv);
    return argv;
}

/* --- watching --------------------------------------------------------------------------------- */

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Takes what is there. */
static void drain(int *fd, struct e2e_bytes *into)
{
    char piece[65536];
    ssize_t n = *fd < 0 ? 0 : read(*fd, piece, sizeof piece);
    if (n > 0)
        e2e_add(into, piece, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_end(fd);
}

/* One wait for output. False once both streams have ended. */
static bool pump(struct e2e_process *p, int64_t until)
{
    struct pollfd fds[2] = {{.fd = p->out, .events = POLLIN}, {.fd = p->err, .events = POLLIN}};
    int64_t left = until - e2e_now();
    if (p->out < 0 && p->err < 0)
        return false;
    if (left <= 0)
        cr_assert_fail("%s: took too long; it said: %s", p->line, p->err_data.p);
    if (poll(fds, 2, (int)left) > 0) {
        if (fds[0].revents)
            drain(&p->out, &p->out_data);
        if (fds[1].revents)
            drain(&p->err, &p->err_data);
    }
    return true;
}

static void reap(struct e2e_process *p)
{
    struct rusage usage;
    int status;
    while (wait4(p->pid, &status, 0, &usage) < 0) {
        if (errno != EINTR)
            cr_assert_fail("wait4: %s", strerror(errno));
    }
    p->ended = true;
    p->max_rss = usage.ru_maxrss;
    p->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reaping waits without a limit, but only for a process that has closed its streams. */
int e2e_wait(struct e2e_process *p)
{
    int64_t until = e2e_now() + 6 * E2E_MS;
    if (p->ended)
        return p->status;
    while (pump(p, until))
        ;
    e2e_end_input(p);
    reap(p);
    return p->status;
}

struct e2e_process *e2e_finished(struct e2e_process *p)
{
    e2e_wait(p);
    return p;
}

void e2e_until(struct e2e_process *p, bool (*done)(const struct e2e_process *p, const void *ctx),
               const void *ctx, const char *what)
{
    int64_t until = e2e_now() + 3 * E2E_MS;
    while (!done(p, ctx)) {
        if (!pump(p, until) && !done(p, ctx)) {
            e2e_wait(p);
            cr_assert_fail("%s: ended with %d before %s; it said: %s", p->line, p->status, what,
                           p->err_data.p);
        }
    }
}

static bool has_out(const struct e2e_process *p, const void *n)
{
    return p->out_data.n >= *(const size_t *)n;
}

void e2e_until_out(struct e2e_process *p, size_t n)
{
    e2e_until(p, has_out, &n, e2e_printf("%zu bytes came", n));
}

static bool has_err(const struct e2e_process *p, const void *text)
{
    return strstr(p->err_data.p, text) != NULL;
}

void e2e_until_err(struct e2e_process *p, const char *text)
{
    e2e_until(p, has_err, text, e2e_printf("it said \"%s\"", text));
}

void e2e_give(struct e2e_process *p, struct e2e_bytes b)
{
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < b.n;) {
        ssize_t n = write(p->in, b.p + i, b.n - i);
        if (n < 0 && errno != EINTR)
            cr_assert_fail("%s: takes no input: %s", p->line, strerror(errno));
        i += n > 0 ? (size_t)n : 0;
    }
}

void e2e_end_input(struct e2e_process *p)
{
    close_end(&p->in);
}

void e2e_kill(struct e2e_process *p, int signal)
{
    if (!p->ended)
        kill(p->pid, signal);
}

void e2e_processes_end(void)
{
    for (struct e2e_process *p = processes; p; p = p->next) {
        e2e_kill(p, SIGKILL);
        close_end(&p->in);
        close_end(&p->out);
        close_end(&p->err);
        if (!p->ended)
            reap(p);
    }
    processes = NULL;
    limits = "";
}

/* --- judging ---------------------------------------------------------------------------------- */

void e2e_check_status(struct e2e_process *p, int want, const char *file, int line)
{
    e2e_wait(p);
    if (p->status != want)
        cr_assert_fail("%s:%d: %s: ended with %d, not %d; it said: %s", file, line, p->line,
                       p->status, want, p->err_data.p);
}

void e2e_says(struct e2e_process *p, const char *text)
{
    if (!strstr(p->err_data.p, text))
        cr_assert_fail("%s: did not say \"%s\" but: %s", p->line, text, p->err_data.p);
}
