/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager is told, by a socket as systemd has it; and the journal's prefixes. */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- the manager ------------------------------------------------------------------------------ */

struct manager {
    int fd;
    const char *name; /* NOTIFY_SOCKET=... */
    struct sockaddr_un at;
    socklen_t len;
    struct e2e_bytes heard; /* each message, and behind it a line end */
};

/* `path` NULL, or too long for a socket: it is in the abstract name space. */
static struct manager manager_start(const char *path)
{
    struct manager m = {.at = {.sun_family = AF_UNIX}};
    static unsigned names;
    if (path && strlen(path) >= sizeof m.at.sun_path)
        path = NULL;
    const char *name = path ? path : e2e_printf("@dstream-e2e-%ld-%u", (long)getpid(), names++);
    size_t n = strlen(name);
    memcpy(m.at.sun_path, name, n + 1);
    if (!path)
        m.at.sun_path[0] = '\0';
    m.name = e2e_printf("NOTIFY_SOCKET=%s", name);
    m.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path != NULL));
    m.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(m.fd, (struct sockaddr *)&m.at, m.len), 0, "%s", strerror(errno));
    e2e_add(&m.heard, "", 0);
    return m;
}

/* One more message, if there is one by then. */
static bool hear(struct manager *m, int ms)
{
    char text[8192];
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    if (poll(&p, 1, ms) <= 0)
        return false;
    ssize_t n = recv(m->fd, text, sizeof text, 0);
    cr_assert_gt(n, 0);
    e2e_add(&m->heard, text, (size_t)n);
    e2e_add(&m->heard, "\n", 1);
    return true;
}

/* Until it was told something that holds `text`, so often in all. */
static void until_told(struct manager *m, const char *text, unsigned times)
{
    for (;;) {
        unsigned n = 0;
        for (const char *p = m->heard.p; (p = strstr(p, text)) != NULL; p++)
            n++;
        if (n >= times)
            return;
        cr_assert(hear(m, E2E_MS), "not told %s, but: %s", text, m->heard.p);
    }
}

/* All of what a process that has ended has said. */
static const char *told(struct manager *m)
{
    while (hear(m, 0))
        continue;
    return m->heard.p;
}

/* What was told before is over. */
static void forget(struct manager *m)
{
    (void)told(m);
    m->heard.n = 0;
    e2e_add(&m->heard, "", 0);
}

static void in_order(struct manager *m, const char *const *texts)
{
    const char *all = told(m), *at = all;
    for (; *texts; texts++) {
        at = strstr(at, *texts);
        cr_assert_not_null(at, "no %s, or not in its place, in: %s", *texts, all);
        at++;
    }
}

#define told_in_order(m, ...) in_order((m), (const char *const[]){__VA_ARGS__, NULL})

static struct e2e_process *start_with(const char *const *env, const char *const *args)
{
    return e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .env = env});
}

#define managed_start(m, ...)                                                                      \
    start_with((const char *const[]){(m)->name, NULL}, (const char *const[]){__VA_ARGS__, NULL})

/* --- being ready ------------------------------------------------------------------------------ */

/* A server that takes its time for the first answer. */
struct slow {
    const struct manager *m;
    int go[2];
};

static void answer_late(void *ctx, struct exchange *x)
{
    struct slow *s = ctx;
    char c;
    if (x->k > 0) {
        keep_open(x);
        return;
    }
    (void)!read(s->go[0], &c, 1);
    (void)sendto(s->m->fd, "(answered)", 10, 0, (const struct sockaddr *)&s->m->at, s->m->len);
    answer(x, "200 OK",
           "Content-Type: text/plain\r\nStream-Next-Offset: 1\r\nStream-Up-To-Date: true\r\n", "a");
}

E2E(service, it_is_ready_once_the_first_request_was_answered)
{
    struct manager m = manager_start(NULL);
    struct slow slow = {.m = &m};
    cr_assert_eq(pipe(slow.go), 0);
    struct scripted *s = scripted_start(answer_late, &slow);
    char *url = e2e_printf("%s/s", scripted_url(s));
    struct e2e_process *p = managed_start(&m, "export", "-f", "-o", exported(), url);
    until_told(&m, "STATUS=connecting", 1);
    scripted_await(s, "", 1);
    cr_assert_eq(write(slow.go[1], "g", 1), 1);
    until_told(&m, "READY=1", 1);
    until_told(&m, "STATUS=live, at 1, 1 B", 1);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    told_in_order(&m, "STATUS=connecting", "(answered)", "READY=1", "STOPPING=1");
    scripted_stop(s);
}

/* What it cannot do, it is never ready for. */
E2E_EMBEDDED(service, it_is_not_ready_without_its_locks_or_its_stream)
{
    struct manager m = manager_start(NULL);
    char *url = e2e_url("s");
    e2e_status(managed_start(&m, "export", "-f", "-o", exported(), url), 66);
    e2e_create(url, TYPE_TEXT);
    cr_assert_null(strstr(told(&m), "READY=1"), "%s", m.heard.p);
    struct e2e_process *first = dstream_start("export", "-vv", "-f", "-o", exported(), url);
    reading_until_live(first);
    e2e_status(managed_start(&m, "export", "-f", "-o", exported(), url), 73);
    e2e_kill(first, SIGTERM);
    e2e_wait(first);
    e2e_append(url, TYPE_TEXT, e2e_text("x"));
    e2e_status(dstream_run("export", "-o", exported(), url), 0);
    e2e_write_file(exported(), e2e_text("changed"));
    e2e_status(managed_start(&m, "export", "-f", "-o", exported(), url), 13);
    cr_assert_null(strstr(told(&m), "READY=1"), "%s", m.heard.p);
}

/* To wait for a server that is away is what it is for; so it is to wait for a stream. */
E2E_EMBEDDED(service, it_is_ready_to_wait)
{
    struct manager m = manager_start(NULL);
    e2e_limits("backoff_base=50,backoff_max=50");
    char *url = e2e_url("s");
    struct e2e_process *p =
        managed_start(&m, "export", "-f", "--wait-create", "-o", exported(), url);
    until_told(&m, "STATUS=waiting to try again", 1);
    until_told(&m, "READY=1", 1);
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("came"));
    until_told(&m, "4 B", 1);
    e2e_close(url);
    e2e_status(p, 0);
    told_in_order(&m, "READY=1", "STATUS=live, at ", "STOPPING=1");
}

/* One stream that is not there does not keep the others from it. */
E2E_EMBEDDED(service, a_directory_is_ready_when_its_streams_are)
{
    struct manager m = manager_start(NULL);
    char *url = e2e_url("there");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p =
        managed_start(&m, "export", "-f", "-d", e2e_path("d"), url, e2e_url("not-there"),
                      "--status-file", e2e_path("status"));
    until_told(&m, "READY=1", 1);
    e2e_append(url, TYPE_JSON, e2e_text("[1,2]"));
    until_told(&m, "2 messages", 1);
    e2e_kill(p, SIGTERM);
    e2e_wait(p);
    told_in_order(&m, "READY=1", "2 messages, 1 of 2 streams failed", "STOPPING=1");
    const char *status = e2e_read_file(e2e_path("status")).p;
    cr_assert_not_null(strstr(status, "{\"state\":\"ended\",\"bytes\":4,"), "%s", status);
    cr_assert_not_null(strstr(status, ",\"streams\":2,\"failed\":1,"), "%s", status);
    cr_assert_not(e2e_exists(e2e_path("status.new")));
    forget(&m);
    p = managed_start(&m, "export", "-d", e2e_path("d"), e2e_url("not-there"));
    e2e_status(p, 66);
    cr_assert_null(strstr(told(&m), "READY=1"), "%s", m.heard.p);
}

/* Also what has come to its end, or had nothing to do. */
E2E_EMBEDDED(service, what_ends_well_was_ready)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("x"));
    e2e_close(url);
    struct manager m = manager_start(e2e_path("notify"));
    for (unsigned i = 1; i <= 2; i++) { /* the second time it is complete */
        e2e_status(managed_start(&m, "export", "-o", exported(), url), 0);
        until_told(&m, "READY=1", i);
        until_told(&m, "STOPPING=1", i);
    }
    struct manager other = manager_start(NULL);
    e2e_status(managed_start(&other, "stat", url), 0);
    told_in_order(&other, "READY=1");
}

/* --- while it runs ---------------------------------------------------------------------------- */

E2E_EMBEDDED(service, the_status_says_where_it_is)
{
    struct manager m = manager_start(NULL);
    char *url = e2e_url("s"), *to = e2e_url("to");
    e2e_create(url, TYPE_JSON);
    char *at = e2e_append(url, TYPE_JSON, e2e_text("[1,2]"));
    const char *const commands[][8] = {
        {"export", "-f", "-o", exported(), url},
        {"record", "-f", "-o", e2e_path("recording"), url},
        {"tail", "--from", "-1", url},
        {"read", "-f", url},
        {"export", "-f", "--sqlite", e2e_path("db"), url},
        {"copy", "-f", "--create", url, to},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        forget(&m);
        struct e2e_process *p = start_with((const char *const[]){m.name, NULL}, commands[i]);
        until_told(&m, " B, 2 messages", 1);
        until_told(&m, "READY=1", 1);
        if (i < 5)
            cr_assert_not_null(strstr(m.heard.p, e2e_printf("STATUS=live, at %s, 4 B", at)), "%s",
                               m.heard.p);
        e2e_kill(p, SIGTERM);
        e2e_status(p, 128 + SIGTERM);
        told_in_order(&m, "READY=1", "STOPPING=1");
        cr_assert_null(strstr(strstr(m.heard.p, "READY=1") + 1, "READY=1"), "%s", m.heard.p);
    }
}

E2E_EMBEDDED(service, a_status_is_said_when_it_is_another)
{
    struct manager m = manager_start(NULL);
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p = managed_start(&m, "export", "-f", "-o", exported(), url);
    until_told(&m, "STATUS=live", 1);
    e2e_append(url, TYPE_JSON, e2e_text("[1,2]"));
    until_told(&m, "4 B, 2 messages", 1);
    /* HUP: what waits for it to be done is told when it is. */
    e2e_kill(p, SIGHUP);
    until_told(&m, "RELOADING=1\nMONOTONIC_USEC=", 1);
    until_told(&m, "READY=1", 2);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    const char *last = "";
    for (const char *line = told(&m); *line; line += strcspn(line, "\n") + 1) {
        size_t n = strcspn(line, "\n");
        cr_assert(strncmp(line, "STATUS=", 7) != 0 || strncmp(line, last, n + 1) != 0, "twice: %s",
                  m.heard.p);
        last = strncmp(line, "STATUS=", 7) == 0 ? line : last;
    }
    told_in_order(&m, "READY=1", "STATUS=live", "2 messages", "RELOADING=1", "READY=1",
                  "STOPPING=1");
}

/* The last of what is told is what was said, without the name. */
static void ended_with_its_error(struct manager *m, struct e2e_process *p, const char *has)
{
    e2e_wait(p);
    cr_assert_gt(p->status, 0, "%s", p->line);
    const char *all = told(m), *last = all, *at = all;
    while ((at = strstr(at, "STATUS=")))
        last = at++ + 7;
    size_t n = strcspn(last, "\n");
    cr_assert(strstr(last, has) && last[n + 1] == '\0', "%s: %s", p->line, all);
    e2e_says(p, e2e_printf("dstream: %.*s\n", (int)n, last));
}

E2E_EMBEDDED(service, what_fails_says_why_last_of_all)
{
    struct manager m = manager_start(NULL);
    char *none = e2e_url("none"), *there = e2e_url("there");
    const char *const commands[][8] = {
        {"export", "-o", exported(), none},
        {"read", none},
        {"stat", none},
        {"export", "-S", e2e_path("st"), "--exec", ":", none},
        {"export", "-d", e2e_path("d"), there, none},
        {"export", "--sqlite", e2e_path("db"), there, none},
        {"read", "-F", "envelope", there, none},
    };
    e2e_create(there, TYPE_TEXT);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        ended_with_its_error(&m, start_with((const char *const[]){m.name, NULL}, commands[i]),
                             "404");
    ended_with_its_error(&m, managed_start(&m, "read", "--no-such-option"), "--no-such-option");
}

/* A shell becomes the command, so that what is its own can be said before: its pid is $$. */
static struct e2e_process *shell_start(const struct manager *m, const char *before,
                                       const char *const *args)
{
    const char *const *argv = e2e_command(args);
    size_t n = 0;
    while (argv[n])
        n++;
    const char **all = e2e_alloc((n + 4) * sizeof *all);
    all[0] = "sh";
    all[1] = "-c";
    all[2] = e2e_printf("%s; exec \"$0\" \"$@\"", before);
    memcpy(all + 3, argv, (n + 1) * sizeof *all);
    return e2e_spawn(
        &(struct e2e_run){.argv = all, .env = (const char *const[]){m ? m->name : NULL, NULL}});
}

#define shell_run(m, before, ...)                                                                  \
    shell_start((m), (before), (const char *const[]){__VA_ARGS__, NULL})

/* It hears that all is well, also while the server is away; one that watches another process
 * does not. */
E2E_EMBEDDED(service, the_watchdog_hears_that_all_is_well)
{
    struct manager m = manager_start(NULL);
    char *url = e2e_url("s");
    e2e_create(url, TYPE_TEXT);
    struct e2e_process *p = shell_run(&m, "export WATCHDOG_USEC=20000 WATCHDOG_PID=$$", "export",
                                      "-f", "--wait-create", "-o", exported(), e2e_url("none"));
    until_told(&m, "STATUS=waiting", 1);
    until_told(&m, "WATCHDOG=1", 3);
    e2e_kill(p, SIGKILL);
    e2e_wait(p);
    forget(&m);
    const char *const others[] = {"export WATCHDOG_USEC=20000 WATCHDOG_PID=1", ":",
                                  "export WATCHDOG_USEC=0", "export WATCHDOG_USEC=20000x"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        p = shell_run(&m, others[i], "export", "-f", "-o", exported(), url);
        until_told(&m, "STATUS=live", (unsigned)i + 1);
        e2e_kill(p, SIGTERM);
        e2e_wait(p);
    }
    cr_assert_null(strstr(told(&m), "WATCHDOG=1"), "%s", m.heard.p);
    p = shell_run(&m, "export WATCHDOG_USEC=20000", "export", "-f", "-o", exported(), url);
    until_told(&m, "WATCHDOG=1", 3);
    e2e_kill(p, SIGTERM);
    e2e_wait(p);
}

/* What is told is of this process alone. */
E2E_EMBEDDED(service, commands_do_not_have_the_socket)
{
    struct manager m = manager_start(NULL);
    char *url = e2e_url("s"), *seen = e2e_path("seen");
    e2e_create(url, TYPE_TEXT);
    e2e_status(shell_run(&m, "export WATCHDOG_USEC=1000000 WATCHDOG_PID=$$", "export",
                         "--auth-command", e2e_printf("env >'%s'; echo Bearer x", seen), "-o",
                         exported(), url),
               0);
    const char *env = e2e_read_file(seen).p;
    cr_assert_not_null(strstr(env, "DSTREAM_TEST="));
    cr_assert_null(strstr(env, "NOTIFY_SOCKET"), "%s", env);
    cr_assert_null(strstr(env, "WATCHDOG_"), "%s", env);
    until_told(&m, "READY=1", 1);
}

E2E_EMBEDDED(service, a_manager_that_is_not_there_does_no_harm)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("x"));
    const char *const sockets[] = {"NOTIFY_SOCKET=/none/of/it", "NOTIFY_SOCKET=@none-of-dstream",
                                   "NOTIFY_SOCKET=vsock:2:1234",
                                   "NOTIFY_SOCKET=", e2e_printf("NOTIFY_SOCKET=/%0200d", 0)};
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++) {
        struct e2e_process *p =
            start_with((const char *const[]){sockets[i], "WATCHDOG_USEC=2000", NULL},
                       (const char *const[]){"export", "-o", exported(), url, NULL});
        e2e_status(p, 0);
        cr_assert_eq(p->err_data.n, 0, "%s: %s", sockets[i], p->err_data.p);
    }
}

/* --- the journal ------------------------------------------------------------------------------ */

#define IN_THE_JOURNAL "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)"

E2E_EMBEDDED(service, lines_for_the_journal_say_how_grave_they_are)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_TEXT);
    struct e2e_process *p = shell_run(NULL, IN_THE_JOURNAL, "read", e2e_url("none"));
    e2e_status(p, 66);
    cr_assert_eq(strncmp(p->err_data.p, "<3>dstream: http", 16), 0, "%s", p->err_data.p);
    p = shell_run(NULL, IN_THE_JOURNAL, "read", "--no-such-option");
    e2e_status(p, 2);
    cr_assert_eq(strncmp(p->err_data.p, "<3>dstream: ", 12), 0, "%s", p->err_data.p);
    p = shell_run(NULL, IN_THE_JOURNAL, "read", "--errors", "json", e2e_url("none"));
    e2e_status(p, 66);
    cr_assert_eq(strncmp(p->err_data.p, "<3>{\"level\":\"error\"", 19), 0, "%s", p->err_data.p);
    p = shell_run(NULL, IN_THE_JOURNAL, "read", "-v", "-H", "Cookie: x", url);
    e2e_status(p, 0);
    cr_assert_eq(strncmp(p->err_data.p, "<4>dstream: warning: ", 21), 0, "%s", p->err_data.p);
    e2e_says(p, "\n<6>dstream: ");
    /* One that is not this one. */
    const char *const others[] = {"export JOURNAL_STREAM=1:2", "export JOURNAL_STREAM=",
                                  "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/0)"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        p = shell_run(NULL, others[i], "read", e2e_url("none"));
        e2e_status(p, 66);
        cr_assert_eq(strncmp(p->err_data.p, "dstream: http", 13), 0, "%s", p->err_data.p);
    }
}
