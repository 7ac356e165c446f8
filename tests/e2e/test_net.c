/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to a server: names, proxies, certificates, and credentials that stay with their origin. */
#include "config.h"

#include "tests/e2e/front.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"
#include "tests/e2e/tunnel.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECRET "hunter2"
#define ANSWER                                                                                     \
    "Content-Type: application/json\r\nStream-Next-Offset: o1\r\nStream-Up-To-Date: true\r\n"

static void play(void *ctx, struct exchange *x)
{
    (void)ctx;
    answer(x, "200 OK", ANSWER, "[1]");
}

static void play_redirect(void *to, struct exchange *x)
{
    answer(x, "307 Temporary Redirect", e2e_printf("Location: %s/s?offset=-1\r\n", (char *)to), "");
}

static const char *port_of(const struct scripted *s)
{
    return strrchr(scripted_url(s), ':') + 1;
}

/* Reads one message, and tells no secret. */
static void reads(struct e2e_process *p)
{
    e2e_status(p, 0);
    e2e_same("it", p->out_data, e2e_text("1\n"));
    cr_assert_not(strstr(p->err_data.p, SECRET), "it told a secret: %s", p->err_data.p);
}

static struct e2e_process *run_with(const char *variable, const char *const *args)
{
    const char *const env[] = {variable, NULL};
    return e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .env = env}));
}

E2E(net, a_name_is_resolved_as_it_is_told)
{
    struct scripted *s = scripted_start(play, NULL);
    const char *port = port_of(s), *url = e2e_printf("http://stream.test:%s/s", port);
    reads(dstream_run("read", "--resolve", e2e_printf("stream.test:%s:127.0.0.1", port), url));
    /* Nobody listens at the first address. */
    reads(
        dstream_run("read", "--resolve", e2e_printf("stream.test:%s:[::1],127.0.0.1", port), url));
    cr_assert(strstr(scripted_log(s), "Host: stream.test:"));
    e2e_status(dstream_run("read", "--resolve", "stream.test:127.0.0.1", url), 2);
    scripted_stop(s);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && bind(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

/* By address and by name; also a redirect to it from an address of the other kind. */
E2E(net, ipv6)
{
    if (!has_ipv6())
        cr_skip("this machine has no IPv6");
    const char *base = e2e_serve(NULL, (const char *const[]){"--listen", "[::1]:0", NULL});
    cr_assert_eq(strncmp(base, "http://[::1]:", 13), 0, "%s", base);
    const char *url = e2e_printf("%s/s", base), *port = strrchr(base, ':') + 1;
    struct scripted *s = scripted_start(play_redirect, (void *)(uintptr_t)base);
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("1"));
    e2e_close(url);
    reads(dstream_run("read", url));
    reads(dstream_run("read", "--until", "closed", "--live", "sse", url));
    reads(dstream_run("read", "--resolve", e2e_printf("stream.test:%s:[::1]", port),
                      e2e_printf("http://stream.test:%s/s", port)));
    reads(dstream_run("read", e2e_printf("%s/s", scripted_url(s))));
    scripted_stop(s);
}

E2E(net, a_proxy_learns_its_own_password_and_nobody_else_does)
{
    struct scripted *s = scripted_start(play, NULL);
    const char *proxy = e2e_printf("http://user:" SECRET "@127.0.0.1:%s", port_of(s));
    reads(dstream_run("read", "-vv", "--proxy", proxy, "http://stream.test/s"));
    cr_assert(strstr(scripted_log(s), "GET http://stream.test/s?offset=-1 HTTP/1.1"));
    cr_assert(strstr(scripted_log(s), "Proxy-Authorization: Basic "));
    struct e2e_process *p = dstream_run("read", "--proxy", "ftp://user:" SECRET "@x", "http://a/s");
    e2e_status(p, 2);
    cr_assert_not(strstr(p->err_data.p, SECRET));
    /* None, whatever the environment says. */
    unsigned before = scripted_count(s, "stream.test");
    const char *const args[] = {"read", "--proxy", "", scripted_url(s), NULL};
    reads(run_with(e2e_printf("http_proxy=http://127.0.0.1:1"), args));
    cr_assert_eq(scripted_count(s, "stream.test"), before);
    scripted_stop(s);
}

/* --- proxies of connections ------------------------------------------------------------------- */

#define USER TUNNEL_USER ":" TUNNEL_PASSWORD "@"

/* Reads from `url`, whose name is resolved to 127.0.0.1 where that is done here. */
static struct e2e_process *read_by(const char *proxy, const char *url)
{
    const char *host = strstr(url, "://") + 3, *end = host + strcspn(host, "/");
    const char *known = e2e_printf("%.*s:127.0.0.1", (int)(end - host), host);
    e2e_write_file(e2e_path("headers"), e2e_text("Authorization: Bearer " SECRET "\n"));
    return dstream_run("read", "-vv", "--proxy", proxy, "--resolve", known, "--cacert",
                       cert_file("ca"), "-H", e2e_printf("@%s", e2e_path("headers")), url);
}

/* The proxy connects; what is for the server is not for it, and the other way round. */
E2E(net, a_proxy_that_connects)
{
    struct front f;
    struct scripted *s = scripted_start(play, NULL);
    struct tunnel *open = tunnel_start(TUNNEL_CONNECT, 0, false),
                  *guarded = tunnel_start(TUNNEL_CONNECT, 0, true);
    cert_authority("ca");
    cert_issue("server", "ca", "DNS:stream.test", 1);
    front_start(&f, "server", scripted_url(s), "");
    const char *url = e2e_printf("https://stream.test:%u/s", f.port);
    reads(read_by(e2e_printf("http://%s", tunnel_at(open)), url));
    reads(read_by(e2e_printf("http://" USER "%s", tunnel_at(guarded)), url));
    cr_assert(strstr(tunnel_log(open), e2e_printf("CONNECT stream.test:%u HTTP/1.1", f.port)));
    cr_assert_not(strstr(tunnel_log(open), "uthorization:"), "%s", tunnel_log(open));
    cr_assert_not(strstr(tunnel_log(guarded), "\nAuthorization:"), "%s", tunnel_log(guarded));
    cr_assert(strstr(scripted_log(s), "uthorization: Bearer " SECRET), "%s", scripted_log(s));
    cr_assert_not(strstr(scripted_log(s), "roxy-"), "%s", scripted_log(s));
    tunnel_stop(open);
    tunnel_stop(guarded);
    scripted_stop(s);
}

static void says_who_are_you(void *ctx, struct exchange *x)
{
    (void)ctx;
    answer(x, "407 Who are you", "", "");
}

/* Tells neither its password nor ours, and that it is the proxy's that is amiss. */
static void refused_by(const char *proxy, const char *url, const char *words)
{
    struct e2e_process *p = read_by(proxy, url);
    e2e_status(p, 77);
    e2e_says(p, words);
    e2e_says(p, "give the proxy's credentials in its URL");
    cr_assert_not(strstr(p->err_data.p, SECRET), "it told a secret: %s", p->err_data.p);
}

E2E(net, a_proxy_that_wants_credentials)
{
    struct tunnel *connect = tunnel_start(TUNNEL_CONNECT, 0, true),
                  *socks = tunnel_start(TUNNEL_SOCKS, 0, true);
    struct scripted *s = scripted_start(says_who_are_you, NULL);
    cert_authority("ca");
    refused_by(scripted_url(s), "http://stream.test:1/s", "407");
    refused_by(e2e_printf("http://%s", tunnel_at(connect)), "https://stream.test:1/s", "407");
    refused_by(e2e_printf("http://u:no" SECRET "@%s", tunnel_at(connect)),
               "https://stream.test:1/s", "407");
    refused_by(e2e_printf("socks5h://%s", tunnel_at(socks)), "http://stream.test:1/s", "SOCKS5");
    refused_by(e2e_printf("socks5h://u:no" SECRET "@%s", tunnel_at(socks)),
               "http://stream.test:1/s", "SOCKS5");
    cr_assert_eq(tunnel_connections(connect) + tunnel_connections(socks), 0);
    scripted_stop(s);
    tunnel_stop(connect);
    tunnel_stop(socks);
}

/* socks5h names the host to the proxy, socks5 its address. */
E2E(net, a_proxy_of_socks)
{
    struct scripted *s = scripted_start(play, NULL);
    struct tunnel *open = tunnel_start(TUNNEL_SOCKS, 0, false),
                  *guarded = tunnel_start(TUNNEL_SOCKS, 0, true);
    cert_authority("ca");
    const char *url = e2e_printf("http://stream.test:%s/s", port_of(s));
    reads(read_by(e2e_printf("socks5h://%s", tunnel_at(open)), url));
    reads(read_by(e2e_printf("socks5://" USER "%s", tunnel_at(guarded)), url));
    cr_assert_str_eq(tunnel_log(open), e2e_printf("name stream.test:%s\n", port_of(s)));
    cr_assert_str_eq(tunnel_log(guarded), e2e_printf("address 127.0.0.1:%s\n", port_of(s)));
    tunnel_stop(open);
    tunnel_stop(guarded);
    scripted_stop(s);
}

/* --- credentials and certificates ------------------------------------------------------------- */

/* The other server is another origin of a host that is in the file as well. */
E2E(net, what_netrc_has_is_not_sent_to_where_a_redirect_leads)
{
    struct scripted *other = scripted_start(play, NULL);
    struct scripted *s =
        scripted_start(play_redirect, e2e_printf("http://localhost:%s", port_of(other)));
    const char *file = e2e_path("netrc");
    e2e_write_file(file, e2e_text("machine 127.0.0.1 login u password " SECRET
                                  "\nmachine localhost login u password " SECRET "\n"));
    const char *url = e2e_printf("%s/s", scripted_url(s));
    const char *const args[] = {"read", "--netrc", url, NULL};
    reads(run_with(e2e_printf("NETRC=%s", file), args));
    cr_assert(strstr(scripted_log(s), "Authorization: Basic dTpodW50ZXIy"));
    cr_assert_not(strstr(scripted_log(other), "Authorization"));
    struct e2e_process *p = run_with("NETRC=/nonexistent", args);
    e2e_status(p, 74);
    e2e_says(p, "/nonexistent");
    scripted_stop(s);
    scripted_stop(other);
}

E2E_EMBEDDED(net, certificates_of_ours)
{
    struct front f;
    e2e_create(e2e_url("s"), TYPE_JSON);
    cert_authority("ca");
    cert_authority("foreign");
    cert_issue("server", "ca", "IP:127.0.0.1", 1);
    cert_issue("me", "ca", "", 1);
    cert_issue("stranger", "foreign", "", 1);
    front_start(&f, "server", e2e_base(),
                e2e_printf("ssl_client_certificate %s;\nssl_verify_client on;", cert_file("ca")));
    const char *url = e2e_url_at(f.url, "s"), *ca = cert_file("ca");
    e2e_status(dstream_run("read", "--cacert", ca, "--cert", cert_file("me"), "--key",
                           cert_key("me"), url),
               0);
    e2e_status(dstream_run("read", "--cacert", ca, "--cert", cert_file("stranger"), "--key",
                           cert_key("stranger"), url),
               14);
    e2e_status(dstream_run("read", "--cacert", ca, url), 14);
    e2e_status(dstream_run("read", "--cacert", ca, "--cert", cert_file("none"), url), 69);
    e2e_status(dstream_run("read", "--cacert", ca, "--key", cert_key("me"), url), 2);
}
