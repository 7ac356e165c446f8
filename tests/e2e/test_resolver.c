/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server that never answers: cancelling does not wait for it. Names are resolved by the C
 * library, as its own files have it, so the test moves to a network and a mount namespace of its
 * own, where the system allows for that.
 */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"

#include <arpa/inet.h>
#include <dstream.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define URL "http://silent.test/s"

/* --- the name server -------------------------------------------------------------------------- */

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

static bool bring_up(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    strcpy(r.ifr_name, name);
    bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
    if (fd >= 0)
        close(fd);
    return up;
}

/* Who is not root becomes it, among nobody else. */
static bool become_root(void)
{
    const char *uid = e2e_printf("0 %u 1", (unsigned)getuid()),
               *gid = e2e_printf("0 %u 1", (unsigned)getgid());
    return geteuid() == 0 || (unshare(CLONE_NEWUSER) == 0 && put("/proc/self/setgroups", "deny") &&
                              put("/proc/self/uid_map", uid) && put("/proc/self/gid_map", gid));
}

/* False where the system does not allow for it; errno says why. */
static bool move_away(void)
{
    const char *conf = e2e_path("resolv.conf");
    e2e_write_file(conf, e2e_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n"));
    return become_root() && unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(conf, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0 && bring_up("lo");
}

/* Takes questions and answers none. */
static int silent_server(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0, "port 53: %s",
              strerror(errno));
    return fd;
}

static bool was_asked(void *ctx)
{
    char question[512];
    ssize_t n = recv(*(int *)ctx, question, sizeof question, 0);
    return n > 0 && memmem(question, (size_t)n, "silent", 6);
}

static void forget_questions(int server)
{
    while (recv(server, (char[512]){0}, 512, 0) > 0)
        ;
}

/* --- who gives up ----------------------------------------------------------------------------- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    (void)r;
    cr_assert_fail("%s: %s", (const char *)ctx, dstream_code_text(code));
}

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    (void)ctx;
    (void)r;
    (void)b;
    return DSTREAM_FLOW_NEXT;
}

/* How long it takes to cancel a reader whose name is being resolved, and to free all of it. */
static double cancelled_in(int server)
{
    char what[] = "it ended by itself";
    dstream_reader *r;
    dstream_loop *loop = dstream_loop_new();
    forget_questions(server);
    cr_assert_eq(dstream_reader_open(&r, loop, URL, NULL), DSTREAM_OK);
    cr_assert_eq(dstream_reader_start(r, on_batch, on_end, what), DSTREAM_OK);
    int64_t limit = e2e_now() + E2E_MS;
    while (!was_asked(&server)) {
        cr_assert_lt(e2e_now(), limit, "nobody asked");
        cr_assert_eq(dstream_loop_turn(loop, 1), DSTREAM_OK);
    }
    double start = now_ms();
    dstream_reader_cancel(r);
    cr_assert_eq(dstream_loop_turn(loop, 0), DSTREAM_OK);
    cr_assert_eq(dstream_error_code(dstream_reader_error(r)), DSTREAM_ERR_CANCELLED);
    dstream_reader_free(r);
    dstream_loop_free(loop);
    return now_ms() - start;
}

static double command_ends_in(int server)
{
    forget_questions(server);
    struct e2e_process *p = dstream_start("tail", URL);
    e2e_wait_for(was_asked, &server, "the name to be asked for");
    double start = now_ms();
    e2e_kill(p, SIGTERM);
    e2e_wait(p);
    return now_ms() - start;
}

/* The best of several, since others use this machine too. */
static void is_quick(double (*how)(int), int server, double least, const char *what)
{
    double best = 1e9;
    for (int i = 0; i < 5 || (i < 100 && best >= least); i++) {
        double ms = how(server);
        cr_assert_lt(ms, 20000, "%s took %.1f ms", what, ms); /* it did not wait for the resolver */
        best = ms < best ? ms : best;
    }
    fprintf(stderr, "a silent name server: %s takes %.2f ms\n", what, best);
    cr_expect_lt(best, least, "%s took %.1f ms", what, best);
}

E2E(resolver, that_never_answers_is_not_waited_for)
{
    if (!move_away())
        cr_skip("no namespaces here: %s", strerror(errno));
    int server = silent_server();
    is_quick(cancelled_in, server, 10, "cancelling");
    is_quick(command_ends_in, server, 100, "the end of the command");
    close(server);
}
