/* SPDX-License-Identifier: Apache-2.0 */
/* Where the output goes: pipes whose reader has gone or is slow, terminals, closed descriptors; and
 * the signals. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* --- pipes ------------------------------------------------------------------------------------ */

/* A shell runs `line`, in which $D is the command and $1 the URL. */
static struct e2e_process *shell(const char *line, const char *url)
{
    const char *const none[] = {NULL};
    const char *const argv[] = {"sh", "-c", line, "sh", url, NULL};
    const char *const env[] = {e2e_printf("D=%s", e2e_command(none)[0]), NULL};
    return e2e_spawn(&(struct e2e_run){.argv = argv, .env = env});
}

/* No data ever comes again, so nothing but the hang-up can end the command. */
E2E_BOTH(output, head_ends_a_tail_at_once)
{
    const char *modes[] = {"sse", "long-poll"};
    for (size_t i = 0; i < 2; i++) {
        char *url = e2e_url(modes[i]);
        e2e_create(url, TYPE_JSON);
        struct e2e_process *p =
            shell(e2e_printf("\"$D\" tail -vv --live %s \"$1\" | head -n 1", modes[i]), url);
        reading_until_live(p);
        e2e_append(url, TYPE_JSON, e2e_text("[1,2,3]"));
        e2e_status(p, 0);
        e2e_same("one line", p->out_data, e2e_text("1\n"));
    }
}

E2E_BOTH(output, a_reader_that_goes_before_data_came_ends_a_tail)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p = dstream_start("tail", "-vv", url);
    reading_until_live(p);
    close(p->out);
    p->out = -1;
    e2e_status(p, 128 + SIGPIPE);
}

E2E_BOTH(output, head_ends_a_read)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_BINARY);
    struct e2e_bytes data = e2e_random(4 << 20, 1);
    e2e_append(url, TYPE_BINARY, data);
    struct e2e_process *p = shell("\"$D\" read \"$1\" | head -c 3", url);
    e2e_status(p, 0);
    e2e_same("three bytes", p->out_data, (struct e2e_bytes){data.p, 3, 3});
    cr_assert_eq(p->err_data.n, 0, "it said: %s", p->err_data.p);
}

/* What the state tells was taken by the pipe: with what comes from it on, the stream is whole. */
E2E_BOTH(output, the_state_after_a_reader_has_gone)
{
    char *url = e2e_url("s"), *state = e2e_path("state");
    struct e2e_bytes all = {0};
    e2e_create(url, TYPE_JSON);
    for (int i = 0; i < 4; i++)
        e2e_append(url, TYPE_JSON, e2e_text(e2e_printf("%d", i)));
    struct e2e_process *p = dstream_start("tail", "--from", "-1", "-S", state, "-vv", url);
    reading_until_live(p);
    e2e_until_out(p, 8);
    e2e_add(&all, p->out_data.p, p->out_data.n);
    close(p->out);
    p->out = -1;
    e2e_status(p, 128 + SIGPIPE);
    e2e_append(url, TYPE_JSON, e2e_text("4"));
    p = dstream_run("read", "-S", state, url);
    e2e_status(p, 0);
    e2e_add(&all, p->out_data.p, p->out_data.n);
    e2e_same("both", all, e2e_text("0\n1\n2\n3\n4\n"));
}

E2E_BOTH(output, a_slow_reader_gets_everything)
{
    char *url = e2e_url("s");
    struct e2e_bytes data = e2e_random(1 << 20, 2);
    e2e_create(url, TYPE_BINARY);
    e2e_append(url, TYPE_BINARY, data);
    struct e2e_process *p = shell("\"$D\" read \"$1\" | { dd bs=1000 count=3 iflag=fullblock "
                                  "2>/dev/null; sleep 0.3; dd bs=7 count=1000 iflag=fullblock "
                                  "2>/dev/null; cat; }",
                                  url);
    e2e_status(p, 0);
    e2e_same("all of it", p->out_data, data);
}

E2E_BOTH(output, closed_descriptors)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("text"));
    struct e2e_process *p = shell("exec \"$D\" read \"$1\" >&-", url);
    e2e_status(p, 74);
    e2e_says(p, "standard output");
    p = shell("exec \"$D\" read -v \"$1\" <&- 2>&-", url);
    e2e_status(p, 0);
    e2e_same("nothing but data", p->out_data, e2e_text("text"));
}

E2E_BOTH(output, a_full_device)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("text"));
    struct e2e_process *p = shell("exec \"$D\" read \"$1\" >/dev/full", url);
    e2e_status(p, 74);
    e2e_says(p, "disk is full");
}

/* --- signals ---------------------------------------------------------------------------------- */

E2E_BOTH(output, int_and_term_are_died_of)
{
    const int signals[] = {SIGINT, SIGTERM};
    const char *modes[] = {"sse", "long-poll"};
    for (size_t i = 0; i < 2; i++) {
        char *url = e2e_url(modes[i]), *state = e2e_path(modes[i]);
        e2e_create(url, TYPE_JSON);
        struct e2e_process *p = dstream_start("tail", "--live", modes[i], "-S", state, "-vv", url);
        reading_until_live(p);
        e2e_append(url, TYPE_JSON, e2e_text("[1,2]"));
        e2e_until_out(p, 4);
        e2e_kill(p, signals[i]);
        e2e_status(p, 128 + signals[i]);
        e2e_same("flushed", p->out_data, e2e_text("1\n2\n"));
        e2e_says(p, "to go on: --from ");
        e2e_append(url, TYPE_JSON, e2e_text("3"));
        p = dstream_run("read", "-S", state, url);
        e2e_status(p, 0);
        e2e_same("the rest", p->out_data, e2e_text("3\n"));
    }
}

/* A stream of 4 MiB, more than a pipe takes, of which nothing is taken. */
static struct e2e_process *stuck(const char *url, struct e2e_bytes data)
{
    e2e_create(url, TYPE_BINARY);
    e2e_append(url, TYPE_BINARY, data);
    struct e2e_process *p = dstream_start("read", url);
    struct pollfd full = {.fd = p->out, .events = POLLIN};
    int n = 0;
    cr_assert_eq(poll(&full, 1, E2E_MS), 1);
    /* As full as pipes are. */
    for (int i = 0; i < 2000 && n < 65536; i++) {
        cr_assert_eq(ioctl(p->out, FIONREAD, &n), 0);
        poll(NULL, 0, 5);
    }
    cr_assert_geq(n, 65536, "the pipe was never full");
    return p;
}

/* What is taken in the time it has is the beginning of the stream. */
E2E_BOTH(output, a_signal_ends_a_write_that_blocks)
{
    struct e2e_bytes data = e2e_random(4 << 20, 3);
    struct e2e_process *p = stuck(e2e_url("s"), data);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    cr_assert_leq(p->out_data.n, data.n);
    e2e_same("the beginning", p->out_data, (struct e2e_bytes){data.p, p->out_data.n, 0});
}

E2E_BOTH(output, a_second_signal_ends_it_at_once)
{
    struct e2e_process *p = stuck(e2e_url("s"), e2e_random(4 << 20, 4));
    e2e_kill(p, SIGINT);
    e2e_kill(p, SIGINT);
    /* Nothing is taken, so only the signal can end it. */
    struct pollfd gone = {.fd = p->err, .events = POLLIN};
    cr_assert_eq(poll(&gone, 1, E2E_MS), 1, "it did not end");
    e2e_status(p, 128 + SIGINT);
}

E2E_BOTH(output, usr1_is_answered_by_a_line)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("[1,2]"));
    struct e2e_process *p = dstream_start("read", "-f", "-vv", url);
    reading_until_live(p);
    e2e_until_out(p, 4);
    e2e_kill(p, SIGUSR1);
    e2e_until_err(p, "2 messages");
    e2e_until_err(p, ", live");
    e2e_append(url, TYPE_JSON, e2e_text("3"));
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("undisturbed", p->out_data, e2e_text("1\n2\n3\n"));
}

/* While it waits to try again as well. */
E2E(output, signals_while_it_waits_to_try_again)
{
    e2e_limits("backoff_base=60000,backoff_max=60000,retry_time=1000000");
    struct e2e_process *p = dstream_start("read", "-v", "http://127.0.0.1:1/s");
    e2e_until_err(p, "retry in");
    e2e_kill(p, SIGUSR1);
    e2e_until_err(p, "0 B");
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
}

/* --- terminals -------------------------------------------------------------------------------- */

/* A terminal: our side of it, and its name. */
static int terminal(const char **name)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0)
        cr_assert_fail("no terminal: %s", strerror(errno));
    *name = e2e_printf("%s", ptsname(fd));
    return fd;
}

/* What came on it, once nobody has it open any more. */
static struct e2e_bytes shown(int fd)
{
    struct e2e_bytes b = e2e_text("");
    char piece[4096];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, E2E_MS) > 0) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n <= 0)
            break;
        e2e_add(&b, piece, (size_t)n);
    }
    close(fd);
    return b;
}

/* Text that would move the cursor, change the title or hide itself. */
#define TRICKS                                                                                     \
    "a\033[2Jb\033]0;title\007c\x7f\xc2\x9b"                                                       \
    "31m\xff\b\r\nd\te\xe2\x82\xac\n"

E2E_BOTH(output, control_characters_are_shown_on_a_terminal)
{
    const char *name;
    char *url = e2e_url("s");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text(TRICKS));
    int fd = terminal(&name);
    const char *const args[] = {"read", url, NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .out = name});
    e2e_status(p, 0);
    struct e2e_bytes b = shown(fd);
    for (size_t i = 0; i < b.n; i++) {
        unsigned char c = (unsigned char)b.p[i];
        bool plain = c >= ' ' ? c != 0x7F : c == '\n' || c == '\r' || c == '\t';
        cr_assert(plain, "byte %02x at %zu of what a terminal got: %s", c, i, b.p);
    }
    cr_assert_not(strstr(b.p, "\xc2\x9b"), "a C1 control character: %s", b.p);
    cr_assert_not(strchr(b.p, '\xff'), "a byte that is not UTF-8: %s", b.p);
    cr_assert(strstr(b.p, "\\x1b[2J") || strstr(b.p, "\\u{1b}[2J"), "not shown: %s", b.p);
    cr_assert(strstr(b.p, "d\te\xe2\x82\xac"), "other characters are as they are: %s", b.p);
    p = dstream_run("read", url);
    e2e_same("into a pipe", p->out_data, e2e_text(TRICKS));
}

E2E_BOTH(output, binary_is_refused_on_a_terminal)
{
    const char *name;
    char *url = e2e_url("s");
    e2e_create(url, TYPE_BINARY);
    e2e_append(url, TYPE_BINARY, e2e_text("\x01\x02"));
    int fd = terminal(&name);
    const char *const args[] = {"read", url, NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .out = name});
    e2e_status(p, 2);
    e2e_says(p, "terminal");
    e2e_says(p, "--format envelope");
    e2e_same("nothing", shown(fd), e2e_text(""));
    fd = terminal(&name);
    const char *const enveloped[] = {"read", "-F", "envelope", url, NULL};
    p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(enveloped), .out = name});
    e2e_status(p, 0);
    cr_assert(strstr(shown(fd).p, "\"index\":0"));
}

/* stderr is a terminal and stdout is none: there is a status line, which goes when it ends. */
/* --- for who watches a service ---------------------------------------------------------------- */

static bool is_live(void *path)
{
    return e2e_exists(path) &&
           strstr(e2e_read_file(path).p, "\"state\":\"live\",\"bytes\":2,") != NULL;
}

E2E_EMBEDDED(output, the_status_is_kept_in_a_file)
{
    char *url = e2e_url("s"), *path = e2e_path("status");
    e2e_create(url, TYPE_JSON);
    char *at = e2e_append(url, TYPE_JSON, e2e_text("1"));
    struct e2e_process *p = dstream_start("read", "-f", "--status-file", path, url);
    e2e_wait_for(is_live, path, "the file says that it is live");
    e2e_close(url);
    e2e_status(p, 0);
    cr_assert_eq(p->err_data.n, 0, "%s", p->err_data.p);
    const char *text = e2e_read_file(path).p;
    const char *begin = e2e_printf("{\"state\":\"ended\",\"bytes\":2,\"messages\":1,\"rate\":");
    const char *end = e2e_printf(",\"offset\":\"%s\",\"retryIn\":null,\"retries\":0,\"time\":", at);
    cr_assert_eq(strncmp(text, begin, strlen(begin)), 0, "%s", text);
    cr_assert_not_null(strstr(text, end), "%s", text);
    cr_assert_eq(text[strlen(text) - 2], '}');
    cr_assert_not(e2e_exists(e2e_path("status.new")));
    /* One that cannot be written is said once, and does no harm. */
    p = dstream_run("read", "--status-file", e2e_path("none/status"), url);
    e2e_status(p, 0);
    e2e_says(p, "--status-file");
}

E2E_EMBEDDED(output, progress_is_shown_as_asked_for)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("[1,2]"));
    struct e2e_process *p = dstream_start("read", "-f", "--progress", "json", url);
    e2e_until_err(p, "{\"state\":\"live\",\"bytes\":4,\"messages\":2,");
    e2e_kill(p, SIGTERM);
    cr_assert_eq(e2e_wait(p), 128 + SIGTERM);
    p = dstream_start("read", "-f", "--progress=line", url);
    e2e_until_err(p, "dstream: 4 B, 2 messages, ");
    e2e_kill(p, SIGTERM);
    cr_assert_eq(e2e_wait(p), 128 + SIGTERM);
    p = dstream_run("read", "--progress", "none", url);
    e2e_status(p, 0);
    cr_assert_eq(p->err_data.n, 0);
    e2e_status(dstream_run("read", "--progress", "some", url), 2);
}

E2E_BOTH(output, a_status_line_on_a_terminal)
{
    const char *name;
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("[1,2,3]"));
    int fd = terminal(&name);
    struct e2e_process *p =
        shell(e2e_printf("TERM=xterm exec \"$D\" read -f \"$1\" 2>%s", name), url);
    e2e_until_out(p, 6);
    struct e2e_bytes b = {0};
    char piece[4096];
    struct pollfd in = {.fd = fd, .events = POLLIN};
    while (!b.p || !strstr(b.p, "3 messages")) {
        cr_assert_gt(poll(&in, 1, E2E_MS), 0, "no status line came but: %s", b.p ? b.p : "");
        ssize_t n = read(fd, piece, sizeof piece);
        cr_assert_gt(n, 0);
        e2e_add(&b, piece, (size_t)n);
    }
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("data alone", p->out_data, e2e_text("1\n2\n3\n"));
    struct e2e_bytes rest = shown(fd);
    cr_assert(strstr(rest.p, "\r\033[K"), "the status line stays: %s", rest.p);
}
