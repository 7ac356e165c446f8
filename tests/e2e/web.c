/* SPDX-License-Identifier: Apache-2.0 */
/* Servers, and HTTP by libcurl's easy interface. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static CURL *curl;
static const char *base = "";

/* --- servers ---------------------------------------------------------------------------------- */

static bool has_line(const struct e2e_process *p, const void *ctx)
{
    (void)ctx;
    return memchr(p->out_data.p, '\n', p->out_data.n) != NULL;
}

/* The first line that it prints. */
static const char *started(struct e2e_process *p)
{
    e2e_until(p, has_line, NULL, "its URL came");
    return e2e_printf("%.*s", (int)strcspn(p->out_data.p, "\n"), p->out_data.p);
}

const char *e2e_serve(struct e2e_process **p, const char *const *args)
{
    const char *all[16] = {"serve", "--listen", "127.0.0.1:0"};
    for (size_t n = 0; args && args[n]; n++)
        all[3 + n] = args[n];
    struct e2e_process *server = e2e_spawn(&(struct e2e_run){.argv = e2e_command(all)});
    if (p)
        *p = server;
    return started(server);
}

static const char *serve_reference(void)
{
    const char *argv[] = {"node", E2E_SRCDIR "/tests/e2e/reference.mjs",
                          getenv("DSTREAM_E2E_REFERENCE"), NULL};
    return started(e2e_spawn(&(struct e2e_run){.argv = argv, .input = true}));
}

void e2e_web_begin(enum e2e_server server)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    curl = curl_easy_init();
    if (server == E2E_EMBEDDED)
        base = e2e_serve(NULL, (const char *const[]){"--poll-time", "500ms", NULL});
    else if (server == E2E_REFERENCE)
        base = serve_reference();
}

void e2e_web_end(void)
{
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    curl = NULL;
}

const char *e2e_base(void)
{
    return base;
}

char *e2e_url_at(const char *at, const char *name)
{
    return e2e_printf("%s/v1/stream/%s", at, name);
}

char *e2e_url(const char *name)
{
    return e2e_url_at(base, name);
}

/* --- HTTP ------------------------------------------------------------------------------------- */

static size_t take(char *p, size_t size, size_t n, void *into)
{
    e2e_add(into, p, size * n);
    return size * n;
}

/* The value of a header, trimmed; "" where it is missing. The head has CR LF ends. */
static char *header(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = head; *line; line += strcspn(line, "\n") + 1) {
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *v = line + n + 1 + strspn(line + n + 1, " \t");
            return e2e_printf("%.*s", (int)strcspn(v, "\r\n"), v);
        }
        if (!strchr(line, '\n'))
            break;
    }
    return e2e_printf("%s", "");
}

struct e2e_answer e2e_http(const char *method, const char *url, const char *const *headers,
                           struct e2e_bytes body)
{
    struct e2e_answer a = {0};
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; headers && headers[i]; i++)
        list = curl_slist_append(list, headers[i]);
    e2e_add(&a.head, "", 0);
    e2e_add(&a.body, "", 0);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOBODY, strcmp(method, "HEAD") == 0 ? 1L : 0L);
    if (body.p) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.p);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &a.body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &a.head);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)E2E_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &a.status);
    curl_slist_free_all(list);
    a.next = header(a.head.p, "Stream-Next-Offset");
    a.type = header(a.head.p, "Content-Type");
    a.closed = strcasecmp(header(a.head.p, "Stream-Closed"), "true") == 0;
    a.up_to_date = strcasecmp(header(a.head.p, "Stream-Up-To-Date"), "true") == 0;
    return a;
}

static struct e2e_answer demand(const char *method, const char *url, const char *line,
                                struct e2e_bytes body)
{
    const char *const headers[] = {line, NULL};
    struct e2e_answer a = e2e_http(method, url, line ? headers : NULL, body);
    if (a.status < 200 || a.status > 299)
        cr_assert_fail("%s %s: status %ld: %s", method, url, a.status, a.body.p);
    return a;
}

void e2e_create(const char *url, const char *type)
{
    demand("PUT", url, e2e_printf("Content-Type: %s", type), (struct e2e_bytes){0});
}

char *e2e_append(const char *url, const char *type, struct e2e_bytes body)
{
    return demand("POST", url, e2e_printf("Content-Type: %s", type), body).next;
}

void e2e_close(const char *url)
{
    /* An empty body, since a POST without a length is not one to every server. */
    demand("POST", url, "Stream-Closed: true", e2e_text(""));
}

void e2e_delete(const char *url)
{
    demand("DELETE", url, NULL, (struct e2e_bytes){0});
}

struct e2e_bytes e2e_get(const char *url, const char *offset)
{
    struct e2e_bytes all = {0};
    const char *at = offset;
    e2e_add(&all, "", 0);
    for (;;) {
        char *escaped = curl_easy_escape(curl, at, 0);
        char *whole = e2e_printf("%s?offset=%s", url, escaped);
        curl_free(escaped);
        struct e2e_answer a = demand("GET", whole, NULL, (struct e2e_bytes){0});
        e2e_add(&all, a.body.p, a.body.n);
        if (a.up_to_date || a.closed)
            return all;
        at = a.next;
    }
}
