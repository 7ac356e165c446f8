/* SPDX-License-Identifier: Apache-2.0 */
/* Against `openssl s_server`, with certificates made for the occasion. */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/e2e/listener.h"
#include "tests/unit/asking.h"

static char dir[] = "/tmp/dstream-tls-XXXXXX";
static char path[4][64];
static pid_t server;
static char url[64];

static const char *file(int slot, const char *name, const char *end)
{
    snprintf(path[slot], sizeof path[slot], "%s/%s%s", dir, name, end);
    return path[slot];
}

/* One that signs itself, and is good for `days` (not at all where that is negative). */
static void certificate(const char *name, const char *subject, int days)
{
    char command[1024];
    snprintf(command, sizeof command,
             "cd %s && exec 2>/dev/null && "
             "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
             "-keyout %s.key -out %s.req -subj /CN=test && "
             "echo 'subjectAltName=%s' >%s.ext && "
             "openssl x509 -req -in %s.req -signkey %s.key -days %d -extfile %s.ext -out %s.pem",
             dir, name, name, subject, name, name, name, days, name, name);
    cr_assert_eq(system(command), 0, "openssl is needed to make certificates");
}

/* Starts it on a free port, which it prints. */
static void serve(const char *name)
{
    int out[2];
    char said[256] = "", *port = NULL;
    const char *cert = file(0, name, ".pem"), *key = file(1, name, ".key");
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    server = fork();
    cr_assert_geq(server, 0);
    if (server == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(out[1], 1);
        dup2(null, 2);
        execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key",
               key, "-www", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    cr_assert_not_null(f);
    while (!port && fgets(said, sizeof said, f)) {
        if (strncmp(said, "ACCEPT", 6) == 0)
            port = strrchr(said, ':');
    }
    cr_assert_not_null(port, "openssl s_server has not started");
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", atoi(port + 1));
    fclose(f); /* it says no more that it would have to be able to write */
}

static void stop(void)
{
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    server = 0;
}

static void begin(void)
{
    ask_start();
    cr_assert_not_null(mkdtemp(dir));
}

static void finish(void)
{
    char command[64];
    stop();
    ask_end();
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_expect_eq(system(command), 0);
}

TestSuite(tls, .init = begin, .fini = finish);

static void fetch(struct call *c, const char *cacert, bool insecure)
{
    struct ds_session *s =
        ask_session_with((struct ds_transport_options){.cacert = cacert, .insecure = insecure});
    ask_done(c);
    ask_run(c, s, DS_GET, url, NULL);
    ds_session_free(s);
    cr_expect_null(strchr(c->detail, '\n'));
}

static void expect_refused(const char *cacert, const char *why)
{
    struct call c = {.heads = 0};
    fetch(&c, cacert, false);
    cr_expect_eq(c.end, DS_END_TLS_REFUSED, "%d %s", c.end, c.detail);
    cr_expect_not(c.connected);
    cr_expect_eq(c.heads, 0);
    cr_expect_not_null(strstr(c.detail, why), "%s", c.detail);
    ask_done(&c);
}

static void expect_good(const char *cacert, bool insecure)
{
    struct call c = {.heads = 0};
    fetch(&c, cacert, insecure);
    cr_expect_eq(c.end, DS_END_COMPLETE, "%d %s", c.end, c.detail);
    cr_expect_eq(c.status, 200);
    cr_expect_not_null(strstr(ask_body_of(&c), "s_server"), "its page");
    ask_done(&c);
}

Test(tls, only_a_certificate_of_a_known_authority_is_accepted)
{
    certificate("good", "IP:127.0.0.1", 1);
    certificate("other", "IP:127.0.0.1", 1);
    serve("good");
    expect_good(file(0, "good", ".pem"), false);
    expect_refused(NULL, "self-signed");
    expect_refused(file(0, "other", ".pem"), "certificate");
    expect_good(NULL, true);
    expect_good(file(0, "other", ".pem"), true);
    /* A connection that was made without a check is not used again with one. */
    expect_refused(NULL, "self-signed");
}

Test(tls, a_certificate_for_another_name_is_refused)
{
    certificate("name", "DNS:other.test", 1);
    serve("name");
    expect_refused(file(0, "name", ".pem"), "127.0.0.1");
    expect_good(NULL, true);
}

Test(tls, a_certificate_that_has_expired_is_refused)
{
    certificate("old", "IP:127.0.0.1", -1);
    serve("old");
    expect_refused(file(0, "old", ".pem"), "expired");
    expect_good(NULL, true);
}

Test(tls, a_file_of_authorities_that_is_unusable_is_named)
{
    certificate("good", "IP:127.0.0.1", 1);
    serve("good");
    expect_refused(file(0, "missing", ".pem"), path[0]);
    expect_refused(file(0, "good", ".req"), path[0]);
}

Test(tls, a_server_that_speaks_nothing_but_tls_is_no_http_server)
{
    certificate("good", "IP:127.0.0.1", 1);
    serve("good");
    struct call c = {.heads = 0};
    char plain[64];
    snprintf(plain, sizeof plain, "http%s", url + 5);
    ask_run(&c, ask_session, DS_GET, plain, NULL);
    cr_expect_eq(c.end, DS_END_CUT, "%d %s", c.end, c.detail);
    ask_done(&c);
}

static void speak_plainly(void *ctx, int fd)
{
    (void)ctx;
    listener_send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    listener_linger(fd);
}

Test(tls, a_handshake_that_breaks_off_may_pass)
{
    struct listener *l = listener_start(speak_plainly, NULL);
    struct call c = {.heads = 0};
    snprintf(url, sizeof url, "https%s", listener_url(l) + 4);
    ask_run(&c, ask_session, DS_GET, url, NULL);
    cr_expect_eq(c.end, DS_END_TLS, "%d %s", c.end, c.detail);
    cr_expect_not(c.connected);
    ask_done(&c);
    listener_stop(l);
}

static void stop_server(void *ctx)
{
    (void)ctx;
    stop();
}

Test(tls, a_server_that_dies_under_a_request_ends_it_and_not_the_process)
{
    size_t n = (size_t)64 * 1024 * 1024; /* more than it reads before it is stopped */
    certificate("good", "IP:127.0.0.1", 1);
    serve("good");
    struct ds_session *s =
        ask_session_with((struct ds_transport_options){.cacert = file(0, "good", ".pem")});
    struct ds_transfer_ops ops = ask_ops;
    struct call c = {.heads = 0};
    char *body = ds_calloc(n, 1);
    cr_assert_not_null(body);
    signal(SIGPIPE, SIG_DFL);
    ops.connected = stop_server;
    ds_buf_init(&c.body, 65536);
    c.connections = 1;
    struct ds_request req = {.method = DS_POST, .url = url, .body = body, .body_len = n};
    c.x = ds_transfer_start(s, &req, &ops, &c);
    cr_assert_not_null(c.x);
    ask_finish(&c);
    cr_expect_eq(c.end, DS_END_CUT, "%d %s", c.end, c.detail);
    cr_expect(c.connected);
    ask_done(&c);
    ds_free(body);
    ds_session_free(s);
}
