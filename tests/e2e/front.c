/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/front.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- certificates ----------------------------------------------------------------------------- */

static void shell(const char *line)
{
    const char *const argv[] = {"sh", "-ec", line, NULL};
    e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv})), 0);
}

const char *cert_file(const char *name)
{
    return e2e_printf("%s.pem", e2e_path(name));
}

const char *cert_key(const char *name)
{
    return e2e_printf("%s.key", e2e_path(name));
}

void cert_authority(const char *name)
{
    shell(e2e_printf("cd '%s'\n"
                     "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                     "-days 2 -subj '/CN=%s' -keyout %s.key -out %s.pem",
                     e2e_path(""), name, name, name));
}

void cert_issue(const char *name, const char *authority, const char *subject, int days)
{
    const char *signer =
        authority ? e2e_printf("-CA %s.pem -CAkey %s.key -CAcreateserial", authority, authority)
                  : e2e_printf("-signkey %s.key", name);
    shell(e2e_printf("cd '%s'\n"
                     "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                     "-subj '/CN=%s' -keyout %s.key -out %s.req\n"
                     "echo '%s%s' >%s.ext\n"
                     "openssl x509 -req -in %s.req %s -days %d -extfile %s.ext -out %s.pem",
                     e2e_path(""), name, name, name, *subject ? "subjectAltName=" : "", subject,
                     name, name, signer, days, name, name));
}

/* --- nginx ------------------------------------------------------------------------------------ */

unsigned front_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        cr_assert_fail("a port: %s", strerror(errno));
    close(fd);
    return ntohs(a.sin_port);
}

static bool answers(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return yes;
}

/* It listens, or has ended. */
static bool settled(void *ctx)
{
    struct front *f = ctx;
    siginfo_t ended = {.si_pid = 0};
    return answers(f->port) ||
           (waitid(P_PID, (id_t)f->process->pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            ended.si_pid != 0);
}

static const char *configuration(const struct front *f, const char *dir, const char *name,
                                 const char *upstream, const char *more)
{
    return e2e_printf(
        "daemon off;\nmaster_process off;\npid %s/nginx.pid;\n"
        "events { worker_connections 1024; }\n"
        "http {\n"
        "log_format e2e '$connection $server_protocol $request_method $request_uri';\n"
        "access_log %s e2e;\n"
        "client_body_temp_path %s/t;\nproxy_temp_path %s/t;\n"
        "fastcgi_temp_path %s/t;\nuwsgi_temp_path %s/t;\nscgi_temp_path %s/t;\n"
        "server {\nlisten 127.0.0.1:%u ssl http2;\n"
        "ssl_certificate %s;\nssl_certificate_key %s;\n%s\n"
        "location / {\nproxy_pass %s;\nproxy_http_version 1.1;\n"
        "proxy_set_header Connection '';\nproxy_buffering off;\n"
        "proxy_read_timeout 120s;\n}\n}\n}\n",
        dir, f->log, dir, dir, dir, dir, dir, f->port, cert_file(name), cert_key(name), more,
        upstream);
}

/* The port was free a moment ago: another may have taken it since. */
void front_start(struct front *f, const char *name, const char *upstream, const char *more)
{
    static int count;
    for (int i = 0; i < 5; i++) {
        const char *dir = e2e_path(e2e_printf("front%d", count++));
        cr_assert_eq(mkdir(dir, 0700), 0);
        f->port = front_free_port();
        f->log = e2e_printf("%s/log", dir);
        const char *file = e2e_printf("%s/conf", dir);
        e2e_write_file(file, e2e_text(configuration(f, dir, name, upstream, more)));
        const char *const argv[] = {"nginx", "-e", "stderr", "-p", dir, "-c", file, NULL};
        f->process = e2e_spawn(&(struct e2e_run){.argv = argv});
        e2e_wait_for(settled, f, "nginx to listen");
        if (answers(f->port)) {
            f->url = e2e_printf("https://127.0.0.1:%u", f->port);
            return;
        }
        e2e_wait(f->process);
    }
    cr_assert_fail("nginx did not start: %s", f->process->err_data.p);
}

/* Whether it is a socket of ours to there. Others may have taken the same port for one where nobody
 * listens. */
static bool leads_to(const struct front *f, int fd)
{
    struct sockaddr_in a = {.sin_family = AF_UNSPEC};
    socklen_t n = sizeof a;
    return getpeername(fd, (struct sockaddr *)&a, &n) == 0 && a.sin_family == AF_INET &&
           ntohs(a.sin_port) == f->port;
}

size_t front_open(const struct front *f)
{
    size_t open = 0;
    for (int fd = 3; fd < 1024; fd++) {
        struct tcp_info info;
        socklen_t size = sizeof info;
        if (leads_to(f, fd) && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
            info.tcpi_state == TCP_ESTABLISHED)
            open++;
    }
    return open;
}

void front_cut(const struct front *f)
{
    for (int fd = 3; fd < 1024; fd++) {
        if (leads_to(f, fd))
            shutdown(fd, SHUT_RDWR);
    }
}

size_t front_connections(const struct front *f, const char *protocol)
{
    struct e2e_bytes log = e2e_read_file(f->log);
    unsigned long seen[256];
    size_t n = 0;
    for (char *line = log.p; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : 0) {
        char *end;
        unsigned long connection = strtoul(line, &end, 10);
        size_t i = 0;
        if (*end != ' ' || strncmp(end + 1, protocol, strlen(protocol)) != 0)
            continue;
        while (i < n && seen[i] != connection)
            i++;
        if (i == n && n < sizeof seen / sizeof *seen)
            seen[n++] = connection;
    }
    return n;
}

size_t front_finished(const struct front *f, const char *text)
{
    struct e2e_bytes log = e2e_read_file(f->log);
    size_t n = 0;
    for (char *p = log.n > 0 ? log.p : NULL; p && *p;
         p = strchr(p, '\n') ? strchr(p, '\n') + 1 : 0) {
        char *found = strstr(p, text);
        if (found && found < p + strcspn(p, "\n"))
            n++;
    }
    return n;
}
