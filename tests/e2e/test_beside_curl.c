/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each case of TLS and of redirects, and what `curl -L` does in the same one, where there is a
 * curl. What dstream does is tested; script/compare-curl prints the table of both.
 */
#include "config.h"

#include "tests/e2e/front.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/listener.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void print_row(const char *what, const char *dstream, const char *curl)
{
    fprintf(stderr, "| %-38s | %-48s | %-48s |\n", what, dstream, curl);
}

/* curl with these arguments and some that each run has; NULL where there is none. */
static struct e2e_process *curl(const char *const *args)
{
    const char *all[32] = {"curl", "-q", "-sS", "-L", "-f", "--max-time", "20", "-o", "/dev/null"};
    for (size_t n = 0; args[n]; n++)
        all[9 + n] = args[n];
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = all});
    e2e_wait(p);
    return p->status == 127 ? NULL : p;
}

/* --- TLS -------------------------------------------------------------------------------------- */

static const char *accepts(const struct e2e_process *p)
{
    if (!p)
        return "-";
    return p->status == 0 ? "accepts" : e2e_printf("refuses (%d)", p->status);
}

static void meets(const char *what, const char *url, const char *option, const char *value,
                  const char *words)
{
    struct e2e_process *p = dstream_run("read", "-q", option, value ? value : "--", url);
    const char *const args[] = {option, value ? value : url, value ? url : NULL, NULL};
    const char *did = accepts(p);
    if (words)
        e2e_says(p, words);
    cr_expect_str_eq(did, words ? "refuses (69)" : "accepts", "%s: %s: %s", what, did,
                     p->err_data.p);
    print_row(what, did, accepts(curl(args)));
}

static const char *certified(const char *name)
{
    struct front f;
    front_start(&f, name, e2e_base(), "");
    return e2e_url_at(f.url, "s");
}

static void plain_text(void *ctx, int fd)
{
    (void)ctx;
    listener_send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    listener_linger(fd);
}

E2E_EMBEDDED(beside_curl, certificates)
{
    e2e_limits("retries=0");
    e2e_create(e2e_url("s"), TYPE_JSON);
    cert_authority("ca");
    cert_authority("other");
    cert_issue("good", "ca", "IP:127.0.0.1", 1);
    cert_issue("old", "ca", "IP:127.0.0.1", -1);
    cert_issue("self", NULL, "IP:127.0.0.1", 1);
    cert_issue("name", "ca", "DNS:other.test", 1);
    const char *good = certified("good"), *old = certified("old"), *self = certified("self"),
               *name = certified("name"), *ca = cert_file("ca");
    struct listener *l = listener_start(plain_text, NULL);
    const char *none = e2e_printf("https%s/s", listener_url(l) + 4);
    meets("its authority is trusted", good, "--cacert", ca, NULL);
    meets("another authority is trusted", good, "--cacert", cert_file("other"), "--cacert");
    meets("the system's authorities are trusted", good, "--http1.1", NULL, "--cacert");
    meets("expired", old, "--cacert", ca, "expired");
    meets("self-signed", self, "--cacert", ca, "self-signed");
    meets("self-signed, and trusted", self, "--cacert", cert_file("self"), NULL);
    meets("for another name", name, "--cacert", ca, "127.0.0.1");
    meets("expired, --insecure", old, "--insecure", NULL, NULL);
    meets("self-signed, --insecure", self, "--insecure", NULL, NULL);
    meets("for another name, --insecure", name, "--insecure", NULL, NULL);
    meets("no TLS, --insecure", none, "--insecure", NULL, "TLS");
    listener_stop(l);
}

/* --- redirects -------------------------------------------------------------------------------- */

enum place {
    SAME,    /* the same origin */
    PORT,    /* another port of the same host */
    HOST,    /* another host */
    UPGRADE, /* from http to https of the same host */
    AWAY,    /* from http to https of another host */
    DOWN,    /* from https to http */
    FTP
};

struct row {
    const char *what;
    const char *method, *status;
    enum place place;
    unsigned hops;
    const char *want, *says;
};

#define ALL     "follows, sends Authorization Cookie X-Key"
#define NOTHING "follows, sends nothing"
#define REFUSES "refuses (69)"

static const struct row rows[] = {
    {"301, same origin", "GET", "301 M", SAME, 1, ALL, ""},
    {"302, same origin", "GET", "302 F", SAME, 1, ALL, ""},
    {"303, same origin", "GET", "303 S", SAME, 1, ALL, ""},
    {"307, same origin", "GET", "307 T", SAME, 1, ALL, ""},
    {"308, same origin", "GET", "308 P", SAME, 1, ALL, ""},
    {"301, other port", "GET", "301 M", PORT, 1, NOTHING, ""},
    {"307, other port", "GET", "307 T", PORT, 1, NOTHING, ""},
    {"302, other host", "GET", "302 F", HOST, 1, NOTHING, ""},
    {"308, other host", "GET", "308 P", HOST, 1, NOTHING, ""},
    {"307, http to https, same host", "GET", "307 T", UPGRADE, 1, ALL, ""},
    {"307, http to https, other host", "GET", "307 T", AWAY, 1, NOTHING, ""},
    {"307, https to http, same host", "GET", "307 T", DOWN, 1, REFUSES, "https to http"},
    {"302, to ftp", "GET", "302 F", FTP, 1, REFUSES, "not a usable http"},
    {"five in a row", "GET", "307 T", SAME, 5, ALL, ""},
    {"six in a row", "GET", "307 T", SAME, 6, REFUSES, "too many redirects"},
    {"in a circle", "GET", "307 T", SAME, 1000, REFUSES, "too many redirects"},
    {"300, same origin", "GET", "300 C", SAME, 1, "refuses (76)", "300"},
    {"a write, 301, same origin", "POST", "301 M", SAME, 1, REFUSES, "would make a write a GET"},
    {"a write, 302, same origin", "POST", "302 F", SAME, 1, REFUSES, "would make a write a GET"},
    {"a write, 303, same origin", "POST", "303 S", SAME, 1, REFUSES, "would make a write a GET"},
    {"a write, 307, same origin", "POST", "307 T", SAME, 1, ALL, ""},
    {"a write, 308, same origin", "POST", "308 P", SAME, 1, ALL, ""},
    {"a write, 307, other port", "POST", "307 T", PORT, 1, REFUSES, "not sent on to another host"},
    {"a write, 308, other host", "POST", "308 P", HOST, 1, REFUSES, "not sent on to another host"},
    {"a write, 307, http to https, same host", "POST", "307 T", UPGRADE, 1, ALL, ""},
};

/* From /0 on. */
struct way {
    const struct row *row;
    const char *to; /* the base that the first one leads to; "": where it came from */
};

static void take_body(struct exchange *x)
{
    size_t n;
    char buf[4096];
    const char *length = listener_field(x->head, "Content-Length", &n);
    for (size_t left = length ? strtoul(length, NULL, 10) : 0; left > 0;) {
        ssize_t got = recv(x->fd, buf, left < sizeof buf ? left : sizeof buf, 0);
        if (got <= 0)
            break;
        left -= (size_t)got;
    }
}

static void play(void *ctx, struct exchange *x)
{
    const struct way *w = ctx;
    unsigned at = 0;
    sscanf(x->head, "%*s /%u", &at);
    const char *path = strchr(x->head, '/'), *query = strpbrk(path, "? ");
    take_body(x);
    if (strncmp(x->head, "HEAD ", 5) != 0 && w && at < w->row->hops)
        answer(x, w->row->status,
               e2e_printf("Location: %s/%u%.*s\r\n", at == 0 ? w->to : "",
                          w->row->hops == 1000 ? 0 : at + 1, (int)strcspn(query, " "), query),
               "moved");
    else
        answer(x, "200 OK",
               "Content-Type: application/json\r\nStream-Next-Offset: o1\r\n"
               "Stream-Up-To-Date: true\r\nProducer-Epoch: 0\r\nProducer-Seq: 0\r\n",
               strncmp(x->head, "POST ", 5) == 0 ? "" : "[1]");
}

/* Its last request, and what of the user's headers it had. */
static const char *follows(const struct e2e_process *p, struct scripted *last, const struct row *r)
{
    static const char *const names[] = {"Authorization", "Cookie", "X-Key"};
    if (!p)
        return "-";
    if (p->status != 0)
        return e2e_printf("refuses (%d)", p->status);
    const char *head = scripted_log(last), *next;
    while ((next = strstr(head, "\r\n\r\n")) && next[4])
        head = next + 4;
    struct e2e_bytes sent = {0};
    for (size_t i = 0, n; i < 3; i++) {
        if (listener_field(head, names[i], &n))
            e2e_add_text(&sent, e2e_printf(" %s", names[i]));
    }
    bool same = strncmp(head, r->method, strlen(r->method)) == 0;
    return e2e_printf("follows%s, sends%s",
                      same ? "" : e2e_printf(" by %.*s", (int)strcspn(head, " "), head),
                      sent.n > 0 ? sent.p : " nothing");
}

/* One run to a server of its own, and one that it is led to. */
struct scene {
    struct way way;
    struct scripted *first, *last;
    const char *url;
};

static void build(struct scene *s, const struct row *r)
{
    struct front f;
    s->way = (struct way){.row = r, .to = ""};
    s->first = scripted_start(play, &s->way);
    s->last = r->place == SAME || r->place == FTP ? s->first : scripted_start(play, NULL);
    const char *to = scripted_url(s->last), *port = strrchr(to, ':');
    s->url = scripted_url(s->first);
    if (r->place == PORT || r->place == DOWN)
        s->way.to = to;
    else if (r->place == HOST)
        s->way.to = e2e_printf("http://localhost%s", port);
    else if (r->place == FTP)
        s->way.to = "ftp://127.0.0.1:1";
    else if (r->place == UPGRADE || r->place == AWAY || r->place == DOWN) {
        front_start(&f, "good", to, "");
        s->way.to = r->place == UPGRADE ? f.url : e2e_printf("https://localhost:%u", f.port);
    }
    if (r->place == DOWN) {
        front_start(&f, "good", s->url, "proxy_redirect off;");
        s->url = f.url;
    }
    s->url = e2e_printf("%s/0", s->url);
}

static void raze(struct scene *s)
{
    if (s->last != s->first)
        scripted_stop(s->last);
    scripted_stop(s->first);
}

static const char *dstream_goes(const struct row *r, const char *headers, const char **said)
{
    struct scene s;
    build(&s, r);
    bool reads = strcmp(r->method, "GET") == 0;
    struct e2e_process *p =
        reads ? dstream_run("read", "-vv", "--cacert", cert_file("ca"), "-H", headers, s.url)
              : dstream_run("write", "-vv", "--type", TYPE_JSON, "--cacert", cert_file("ca"), "-H",
                            headers, s.url, e2e_path("one"));
    const char *did = follows(p, s.last, r);
    *said = p->err_data.p;
    raze(&s);
    return did;
}

static const char *curl_goes(const struct row *r, const char *headers)
{
    struct scene s;
    build(&s, r);
    bool reads = strcmp(r->method, "GET") == 0;
    const char *const gets[] = {"--cacert", cert_file("ca"), "-H", headers, s.url, NULL};
    const char *const posts[] = {"--cacert", cert_file("ca"), "-H", headers, s.url, "-d", "1",
                                 NULL};
    const char *did = follows(curl(reads ? gets : posts), s.last, r);
    raze(&s);
    return did;
}

E2E(beside_curl, redirects)
{
    e2e_limits("retries=0");
    cert_authority("ca");
    cert_issue("good", "ca", "IP:127.0.0.1,DNS:localhost", 1);
    e2e_write_file(e2e_path("one"), e2e_text("1\n"));
    e2e_write_file(e2e_path("headers"), e2e_text("Authorization: Bearer hunter2\n"
                                                 "Cookie: a=hunter2\nX-Key: hunter2\n"));
    const char *headers = e2e_printf("@%s", e2e_path("headers"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        const char *said, *did = dstream_goes(r, headers, &said);
        cr_expect_str_eq(did, r->want, "%s: %s: %s", r->what, did, said);
        cr_expect_not_null(strstr(said, r->says), "%s: it said: %s", r->what, said);
        cr_expect_not(strstr(said, "hunter2"), "it told a secret: %s", said);
        print_row(r->what, did, curl_goes(r, headers));
    }
}
