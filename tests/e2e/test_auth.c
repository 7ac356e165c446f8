/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials that expire: --auth-file and --auth-command. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AT(n) "Content-Type: text/plain\r\nStream-Next-Offset: " n "\r\n"

/* Pages of a text stream, "123", to whoever has the token; each is good for two answers, the first
 * is t1. */
struct guarded {
    const char *file; /* where the next token is put when one is refused; NULL: nowhere */
    bool never;       /* none is good */
    _Atomic unsigned answers, refused;
};

static void play(void *ctx, struct exchange *x)
{
    struct guarded *g = ctx;
    const char *want = e2e_printf("\r\nAuthorization: Bearer t%u\r\n", g->answers / 2 + 1);
    static const char *const heads[] = {AT("1"), AT("2"), AT("3") "Stream-Up-To-Date: true\r\n"};
    if (g->never || !strstr(x->head, want)) {
        g->refused++;
        if (g->file)
            e2e_write_file(g->file, e2e_text(e2e_printf("Bearer t%u\nmore\n", g->answers / 2 + 1)));
        answer(x, "401 Unauthorized", "Content-Type: text/plain\r\n", "the token is old");
        return;
    }
    unsigned page = asks(x, "offset=1") ? 1 : asks(x, "offset=2") ? 2 : 0;
    if (strncmp(x->head, "HEAD", 4) == 0)
        page = 2;
    else
        g->answers++;
    answer(x, "200 OK", heads[page], page == 0 ? "1" : page == 1 ? "2" : "3");
}

/* Prints "Bearer t1", then "Bearer t2", ... */
static const char *counting(void)
{
    const char *runs = e2e_path("runs");
    return e2e_printf("echo >>'%s'; echo Bearer t$(wc -l <'%s')", runs, runs);
}

static void ran(size_t times)
{
    cr_assert_eq(e2e_read_file(e2e_path("runs")).n, times);
}

E2E(auth, a_command_is_run_again_where_its_token_is_refused)
{
    struct guarded g = {.never = false};
    struct scripted *s = scripted_start(play, &g);
    struct e2e_process *p = dstream_run("read", "--auth-command", counting(), scripted_url(s));
    e2e_status(p, 0);
    e2e_same("the stream", p->out_data, e2e_text("123"));
    cr_assert_eq(g.refused, 1);
    ran(2);
    scripted_stop(s);
}

E2E(auth, a_file_is_read_again_where_its_token_is_refused)
{
    struct guarded g = {.file = e2e_path("token")};
    struct scripted *s = scripted_start(play, &g);
    e2e_write_file(e2e_path("token"), e2e_text("Bearer t1 \r\n"));
    struct e2e_process *p = dstream_run("read", "--auth-file", g.file, scripted_url(s));
    e2e_status(p, 0);
    e2e_same("the stream", p->out_data, e2e_text("123"));
    cr_assert_eq(g.refused, 1);
    scripted_stop(s);
}

/* Asked for once more, and then it is what the server says. */
E2E(auth, another_token_that_is_refused_ends_it)
{
    struct guarded g = {.never = true};
    struct scripted *s = scripted_start(play, &g);
    struct e2e_process *p = dstream_run("read", "--auth-command", counting(), scripted_url(s));
    e2e_status(p, 77);
    e2e_says(p, "the token is old");
    cr_assert_eq(g.refused, 2);
    ran(2);
    scripted_stop(s);
}

E2E(auth, the_same_token_again_is_not_sent_again)
{
    struct guarded g = {.never = true};
    struct scripted *s = scripted_start(play, &g);
    struct e2e_process *p =
        dstream_run("read", "--auth-command", "echo Bearer same", scripted_url(s));
    e2e_status(p, 77);
    e2e_says(p, "the token is old");
    cr_assert_eq(g.refused, 1);
    scripted_stop(s);
}

E2E(auth, a_single_call_has_them_as_well)
{
    struct guarded g = {.answers = 2};
    struct scripted *s = scripted_start(play, &g);
    struct e2e_process *p = dstream_run("stat", "--auth-command", counting(), scripted_url(s));
    e2e_status(p, 0);
    cr_assert_eq(g.refused, 1);
    ran(2);
    scripted_stop(s);
}

/* One for all streams of a run: whoever comes second has what the first one got. */
E2E(auth, streams_share_them_and_another_origin_gets_none)
{
    struct guarded g = {.answers = 2}, other = {.never = true};
    struct scripted *s = scripted_start(play, &g), *t = scripted_start(play, &other);
    struct e2e_process *p =
        dstream_run("read", "-F", "envelope", "--auth-command", counting(),
                    e2e_printf("%s/a", scripted_url(s)), e2e_printf("%s/b", scripted_url(t)));
    e2e_status(p, 77);
    e2e_says(p, "--auth-command is not sent there");
    cr_assert_eq(other.refused, 1);
    cr_assert_null(strstr(scripted_log(t), "Authorization"));
    scripted_stop(s);
    scripted_stop(t);
}

E2E(auth, what_does_not_work)
{
    const char *url = "http://127.0.0.1:1/s";
    struct e2e_process *p = dstream_run("read", "--auth-file", e2e_path("none"), url);
    e2e_status(p, 74);
    e2e_says(p, "No such file");
    p = dstream_run("read", "--auth-command", "echo out; exit 3", url);
    e2e_status(p, 74);
    e2e_says(p, "exit code 3");
    e2e_status(dstream_run("read", "--auth-command", "true", url), 2);
    e2e_status(dstream_run("read", "--auth-command", "printf 'a\\001b'", url), 2);
    e2e_status(dstream_run("read", "--auth-command", "true", "--auth-file", "f", url), 2);
    e2e_status(dstream_run("read", "--auth-file", "f", "-H", "Authorization: x", url), 2);
}

static bool is_there(void *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > 0;
}

/* INT while the command runs, which first prints its pid into a file. */
static void interrupted(const char *command)
{
    char *pid = e2e_printf("%s", e2e_path("pid"));
    unlink(pid);
    struct e2e_process *p = dstream_start(
        "read", "--auth-command", e2e_printf("%s; echo $$ >'%s'; exec sleep 30", command, pid),
        "http://127.0.0.1:1/s");
    e2e_wait_for(is_there, pid, "the command runs");
    e2e_kill(p, SIGINT);
    e2e_status(p, 128 + SIGINT);
    e2e_says(p, "a signal came before it had ended");
    cr_expect(kill((pid_t)atol(e2e_read_file(pid).p), 0) != 0 && errno == ESRCH, "%s", command);
}

E2E(auth, a_command_that_goes_on_is_ended_by_a_signal)
{
    interrupted("true");
    interrupted("trap '' TERM");
    interrupted("echo Bearer x; exec >&-");
    interrupted("trap '' TERM; echo Bearer x; exec >&-");
}

/* The second time there is a connection, which libcurl does not hide. What this process would give
 * is none of that. */
E2E(auth, a_command_gets_no_descriptors_of_ours)
{
    struct guarded g = {.never = false};
    struct scripted *s = scripted_start(play, &g);
    const char *file = e2e_path("fds"), *ls = e2e_printf("ls -l /proc/self/fd >>'%s'", file);
    for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    e2e_status(dstream_run("read", "--auth-command", e2e_printf("%s; %s", ls, counting()),
                           scripted_url(s)),
               0);
    ran(2);
    const char *given = e2e_read_file(file).p;
    cr_assert(strstr(given, "/dev/null") && strstr(given, "pipe:"), "%s", given);
    cr_assert_not(strstr(given, "socket:") || strstr(given, "anon_inode:"), "%s", given);
    scripted_stop(s);
}

E2E(auth, a_file_that_is_a_pipe_is_not_waited_for)
{
    cr_assert_eq(mkfifo(e2e_path("pipe"), 0600), 0);
    struct e2e_process *p =
        dstream_run("read", "--auth-file", e2e_path("pipe"), "http://127.0.0.1:1/s");
    e2e_status(p, 74);
    e2e_says(p, "not a regular file");
}

/* --- HUP -------------------------------------------------------------------------------------- */

/* Nothing new, at once. */
static void play_polls(void *ctx, struct exchange *x)
{
    (void)ctx;
    answer(x, "200 OK", AT("1") "Stream-Up-To-Date: true\r\n", asks(x, "offset=-1") ? "1" : "");
}

struct sent {
    struct scripted *s;
    const char *token;
};

static bool was_sent(void *ctx)
{
    struct sent *sent = ctx;
    return strstr(scripted_log(sent->s), sent->token) != NULL;
}

E2E(auth, hup_reads_the_file_again)
{
    struct scripted *s = scripted_start(play_polls, NULL);
    struct sent one = {s, "Bearer one\r\n"}, two = {s, "Bearer two\r\n"};
    e2e_limits("idle_max=10,backoff_base=10");
    e2e_write_file(e2e_path("token"), e2e_text("Bearer one"));
    struct e2e_process *p =
        dstream_start("read", "-f", "-q", "--auth-file", e2e_path("token"), scripted_url(s));
    e2e_wait_for(was_sent, &one, "the first token was sent");
    e2e_write_file(e2e_path("token"), e2e_text("Bearer two"));
    e2e_kill(p, SIGHUP);
    e2e_wait_for(was_sent, &two, "the second token was sent");
    e2e_kill(p, SIGTERM);
    cr_assert_eq(e2e_wait(p), 128 + SIGTERM);
    scripted_stop(s);
}
