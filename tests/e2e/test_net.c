/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to a server: names, proxies, certificates, and credentials that stay with their origin. */
#include "config.h"

#include "tests/e2e/front.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <string.h>

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
