/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/url.h"

Test(url, only_what_a_request_can_be_sent_to_is_valid)
{
    static const struct {
        const char *url;
        bool valid;
    } row[] = {
        {"http://h", true},
        {"https://h/", true},
        {"HTTP://h/p", true},
        {"http://h:1/p?q#f", true},
        {"http://h:/p", true},
        {"http://h:65535", true},
        {"http://h?q", true},
        {"http://u:p@h/", true},
        {"http://u@h", true},
        {"http://[::1]", true},
        {"http://[::1]:80/", true},
        {"http://[fe80::1%25eth0]/", true},
        {"http://h/a@b", true},
        {"http://\xC3\xA4.example/\xC3\xA4", true},
        {"", false},
        {"h", false},
        {"//h/", false},
        {"ftp://h/", false},
        {"httpx://h/", false},
        {"http:/h", false},
        {"http:h", false},
        {"http://", false},
        {"http:///p", false},
        {"http://?q", false},
        {"http://:80/", false},
        {"http://u@/", false},
        {"http://u@:80/", false},
        {"http://h:0/", false},
        {"http://h:65536/", false},
        {"http://h:99999999999999999999/", false},
        {"http://h:8a/", false},
        {"http://h:-1/", false},
        {"http://h:80:80/", false},
        {"http://a@b@h/", false},
        {"http://h\\@evil/", false},
        {"http://[::1", false},
        {"http://[]/", false},
        {"http://::1/", false},
        {"http://[::1]x/", false},
        {"http://h/a b", false},
        {" http://h/", false},
        {"http://h/\n", false},
        {"http://h/\x7F", false},
        {"http://h\t/", false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        cr_expect_eq(ds_url_valid(row[i].url), row[i].valid, "%s", row[i].url);
}

Test(url, a_scheme_is_what_stands_before_two_slashes)
{
    cr_expect(ds_url_has_scheme("http://h"));
    cr_expect(ds_url_has_scheme("a+b-c.1://"));
    cr_expect_not(ds_url_has_scheme("1a://h"));
    cr_expect_not(ds_url_has_scheme("://h"));
    cr_expect_not(ds_url_has_scheme("a/b://c"));
    cr_expect_not(ds_url_has_scheme("name"));
    cr_expect_not(ds_url_has_scheme("h:80/x"));
    cr_expect(ds_url_is_http("HTTPS://h"));
    cr_expect_not(ds_url_is_http("ftp://h"));
    cr_expect_not(ds_url_is_http("h"));
}

Test(url, a_parameter_is_known_by_its_decoded_name)
{
    static const struct {
        const char *url, *key;
        bool has;
    } row[] = {
        {"http://h/?offset=1", "offset", true},   {"http://h/?a=1&offset", "offset", true},
        {"http://h?o%66fset=1", "offset", true},  {"http://h/?a+b=1", "a b", true},
        {"http://h/?a%20b=1", "a b", true},       {"http://h/?a%2Bb=1", "a+b", true},
        {"http://h/?100%=1", "100%", true},       {"http://h/?%4=1", "%4", true},
        {"http://h/?offsets=1", "offset", false}, {"http://h/?offse=1", "offset", false},
        {"http://h/?Offset=1", "offset", false},  {"http://h/?offset%00=1", "offset", false},
        {"http://h/?a=offset", "offset", false},  {"http://h/offset=1", "offset", false},
        {"http://h/#?offset=1", "offset", false}, {"http://h/?a=1#&offset=1", "offset", false},
        {"http://h/", "offset", false},           {"http://h/?", "offset", false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        cr_expect_eq(ds_url_has_param(row[i].url, row[i].key), row[i].has, "%s", row[i].url);
}

static const struct ds_param live[] = {{"offset", "a/b c"}, {"live", "sse"}, {"cursor", "1&2=~"}};

static void builds(const char *url, size_t n, const char *want)
{
    struct ds_buf out;
    ds_buf_init(&out, 4096);
    cr_assert_eq(ds_url_build(&out, url, live, n), DSTREAM_OK);
    cr_expect_str_eq(ds_buf_str(&out), want);
    ds_buf_free(&out);
}

Test(url, parameters_are_sorted_by_key_and_only_the_added_ones_are_encoded)
{
    builds("http://h/p", 0, "http://h/p");
    builds("http://h/p?", 0, "http://h/p");
    builds("http://h/p#f", 0, "http://h/p");
    builds("http://h", 1, "http://h?offset=a%2Fb%20c");
    builds("http://h/p", 3, "http://h/p?cursor=1%262%3D~&live=sse&offset=a%2Fb%20c");
    builds("http://h/p?z=1&a=2", 1, "http://h/p?a=2&offset=a%2Fb%20c&z=1");
    builds("http://h/p?z=1&a=2#f?x=3", 1, "http://h/p?a=2&offset=a%2Fb%20c&z=1");
    /* The user's own way of writing stays, and so does the order of equal keys. */
    builds("http://h/?b=%7e+%zz&a&&a=&b=1&%61=3&", 0, "http://h/?a&a=&%61=3&b=%7e+%zz&b=1");
    /* Sorted by what is meant, not by what is written: o and %7A. */
    builds("http://h/?%7A=1&p=2", 1, "http://h/?offset=a%2Fb%20c&p=2&%7A=1");
    /* Bytewise: upper case before lower case before UTF-8; a prefix comes first. */
    builds("http://h/?\xC3\xA4=1&b=2&B=3&bb=4", 0, "http://h/?B=3&b=2&bb=4&%C3%A4=1");
    /* What is not ASCII is written as browsers do, the host excepted. */
    builds("http://\xC3\xA4/\xC3\xB6%c3%b6?k=\xFF", 0, "http://\xC3\xA4/%C3%B6%c3%b6?k=%FF");
    builds("http://h/?b=x=y?/&a=b", 0, "http://h/?a=b&b=x=y?/");
}

Test(url, the_path_as_it_is_sent)
{
    static const char *const row[][2] = {{"http://h", "/"},
                                         {"http://h?q", "/"},
                                         {"http://u:p@h:1/a%20b/c?q#f", "/a%20b/c"},
                                         {"http://h/\xC3\xA4", "/%C3%A4"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct ds_buf out;
        ds_buf_init(&out, 4096);
        cr_assert_eq(ds_url_path(&out, row[i][0]), DSTREAM_OK);
        cr_expect_str_eq(ds_buf_str(&out), row[i][1]);
        ds_buf_free(&out);
    }
}

Test(url, each_byte_but_the_unreserved_ones_is_encoded)
{
    struct ds_buf out;
    char value[256], want[1024] = "http://h/?k=";
    ds_buf_init(&out, 4096);
    for (int c = 1; c < 256; c++) {
        bool plain = strchr("-._~", c) || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                     (c >= 'a' && c <= 'z');
        value[c - 1] = (char)c;
        snprintf(want + strlen(want), sizeof want - strlen(want), plain ? "%c" : "%%%02X", c);
    }
    value[255] = '\0';
    cr_assert_eq(ds_url_build(&out, "http://h/", &(struct ds_param){"k", value}, 1), DSTREAM_OK);
    cr_expect_str_eq(ds_buf_str(&out), want);
    ds_buf_free(&out);
}

Test(url, building_reports_a_full_buffer_and_missing_memory)
{
    struct ds_buf out;
    ds_buf_init(&out, 20);
    cr_expect_eq(ds_url_build(&out, "http://h/path?query", live, 3), DSTREAM_ERR_LIMIT);
    ds_buf_free(&out);
    for (long i = 0;; i++) {
        ds_buf_init(&out, 4096);
        ds_alloc_fail_after(i);
        enum dstream_code rc = ds_url_build(&out, "http://h/path?query", live, 3);
        ds_alloc_fail_after(-1);
        ds_buf_free(&out);
        if (rc == DSTREAM_OK) {
            cr_expect_gt(i, 2);
            break;
        }
        cr_assert_eq(rc, DSTREAM_ERR_NOMEM);
    }
}

Test(url, joining_leaves_one_slash_and_the_query_at_the_end)
{
    static const struct {
        const char *base, *path, *want;
    } row[] = {
        {"http://h", "a", "http://h/a"},
        {"http://h/", "a", "http://h/a"},
        {"http://h//", "//a/", "http://h/a/"},
        {"http://h/v1/stream", "a/b", "http://h/v1/stream/a/b"},
        {"http://h/v1/stream/", "/a", "http://h/v1/stream/a"},
        {"http://h/v1?k=1", "a", "http://h/v1/a?k=1"},
        {"http://h/v1/?k=1#f", "a#g", "http://h/v1/a?k=1"},
        {"http://h?k=1", "a?j=2", "http://h/a?j=2&k=1"},
        {"http://h?", "a?j=2", "http://h/a?j=2"},
        {"http://h", "", "http://h/"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct ds_buf out;
        ds_buf_init(&out, 4096);
        cr_assert_eq(ds_url_join(&out, row[i].base, row[i].path), DSTREAM_OK);
        cr_expect_str_eq(ds_buf_str(&out), row[i].want);
        ds_buf_free(&out);
    }
}

Test(url, what_is_shown_holds_no_secret)
{
    static const struct {
        const char *url, *want;
    } row[] = {
        {"http://h/p", "http://h/p"},
        {"HTTP://h:80", "HTTP://h:80"},
        {"http://user:secret@h/p", "http://h/p"},
        {"http://secret@h/p", "http://h/p"},
        {"http://h/p#secret", "http://h/p"},
        {"http://user:secret@h?token=secret", "http://h?token=..."},
        {"http://h/?token=secret&offset=1_2&b=", "http://h/?token=...&offset=1_2&b=..."},
        {"http://h/?live=sse&cursor=7&o%66fset=3", "http://h/?live=sse&cursor=7&o%66fset=3"},
        {"http://h/?secret", "http://h/?..."},
        {"http://h/?&secret&live", "http://h/?...&live"},
        {"http://h/?a=secret=secret?secret", "http://h/?a=..."},
        {"http://h/?a=secret#offset=secret", "http://h/?a=..."},
        {"http://h/user@name", "http://h/user@name"},
        {"http://[::1]:8/p", "http://[::1]:8/p"},
        {"http://user:secret@[::1]:8/p", "http://[::1]:8/p"},
        /* Nothing can be sent to these, but they are shown. */
        {"http://user:secret@other:secret@h/p", "http://h/p"},
        {"http://user:sec/ret@h/p", "http://h/p"},
        {"http://user:sec?ret@h/p", "http://h/p"},
        {"http://user:sec#ret@h/p", "http://h/p"},
        {"ftp://user:secret@h/p?x=secret", "ftp://h/p?x=..."},
        {"user:secret@h/p", "h/p"},
        {"http:/user:secret@h/p", "h/p"},
        {"a@b", "a@b"},
        {"name?key=secret", "name?key=..."},
        {"", ""},
        /* Terminals obey control characters. */
        {"http://h/\x1B[2J\n\x7F", "http://h/?[2J??"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char shown[128];
        ds_url_redact(row[i].url, shown, sizeof shown);
        cr_expect_str_eq(shown, row[i].want);
    }
}

Test(url, what_is_shown_is_cut_at_the_end_of_the_array_but_not_inside_a_character)
{
    static const char *const url = "http://u:p@h/\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80?t=secret";
    static const char *const whole = "http://h/\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80?t=...";
    char shown[64];
    ds_url_redact(url, NULL, 0);
    for (size_t size = 1; size < sizeof shown; size++) {
        memset(shown, 'x', sizeof shown);
        ds_url_redact(url, shown, size);
        size_t n = strlen(shown);
        cr_assert_lt(n, size);
        cr_expect_eq(memcmp(shown, whole, n), 0);
        cr_expect(n == strlen(whole) || ((unsigned char)whole[n] & 0xC0) != 0x80);
        cr_expect(n == strlen(whole) || n + 4 >= size);
        cr_expect_eq(shown[size], 'x');
    }
}

Test(url, an_origin_is_scheme_host_and_port)
{
    static const struct {
        const char *a, *b;
        bool same;
    } row[] = {
        {"http://h", "http://h", true},
        {"http://h", "HTTP://H/p?q#f", true},
        {"http://h", "http://h:80", true},
        {"http://h:/p", "http://h:080", true},
        {"https://h", "https://h:443/", true},
        {"http://u:p@h", "http://other@h", true},
        {"http://h?@evil", "http://h", true},
        {"http://[::1]", "http://[::1]:80/x", true},
        {"http://[fe80::A]:8", "http://[FE80::a]:8", true},
        {"http://h", "https://h", false},
        {"http://h:443", "https://h", false},
        {"http://h", "http://h:81", false},
        {"https://h:80", "https://h", false},
        {"http://h", "http://h.evil", false},
        {"http://h", "http://evil", false},
        {"http://h", "http://h@evil", false},
        {"http://h", "http://h:80@evil", false},
        {"http://h", "http://evil/@h", false},
        {"http://h", "http://evil#@h", false},
        {"http://h", "http://evil?@h", false},
        {"http://h", "http://evil\\@h", false},
        {"http://h", "http://x@evil@h", false},
        {"http://[::1]", "http://[::2]", false},
        {"http://[::1]:80", "http://[::1]:81", false},
        {"http://h", "/p", false},
        {"/p", "/p", false},
        {"http://h:99999", "http://h:99999", false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        cr_expect_eq(ds_url_same_origin(row[i].a, row[i].b), row[i].same, "%s %s", row[i].a,
                     row[i].b);
        cr_expect_eq(ds_url_same_origin(row[i].b, row[i].a), row[i].same, "%s %s", row[i].b,
                     row[i].a);
    }
}

/* "scheme://host:port/" as libcurl reads `url`; false where it refuses it. */
static bool origin_for_curl(CURLU *u, const char *url, char *out, size_t size)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    if (ok)
        snprintf(out, size, "%s://%s:%s/", scheme, host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return ok;
}

/* Where the two disagreed, credentials could go to a host that we took for another. */
Test(url, what_is_sent_goes_to_the_host_that_is_compared)
{
    static const char *const piece[] = {
        "http", "https", "HTTP", "://", ":",     "/",   "//",   "@",       "h",
        "evil", ".",     "[",    "]",   "[::1]", ":80", ":443", ":0",      "?",
        "#",    "\\",    ";",    "&",   "=",     "-",   "a.b",  "http://", "http://h"};
    enum { PIECES = sizeof piece / sizeof *piece, TRIES = 200000 };
    CURLU *u = curl_url();
    unsigned x = 1, compared = 0;
    for (int i = 0; i < TRIES; i++) {
        char url[256] = "", origin[512];
        for (int n = 0; n < 10; n++) {
            x = x * 1103515245 + 12345;
            strcat(url, n == 0 ? "http://" : piece[(x >> 16) % PIECES]);
            if ((x >> 8) % 8 == 0)
                break;
        }
        if (!ds_url_valid(url) || !origin_for_curl(u, url, origin, sizeof origin))
            continue;
        compared++;
        cr_assert(ds_url_same_origin(url, origin), "%s is %s", url, origin);
    }
    cr_expect_gt(compared, 10000);
    curl_url_cleanup(u);
}

Test(url, from_http_to_https_of_the_same_host_is_an_upgrade)
{
    cr_expect(ds_url_is_upgrade("http://h/p", "https://H/q"));
    cr_expect(ds_url_is_upgrade("http://h:8080", "HTTPS://h:8443"));
    cr_expect_not(ds_url_is_upgrade("http://h", "https://h.evil"));
    cr_expect_not(ds_url_is_upgrade("http://h", "https://h@evil"));
    cr_expect_not(ds_url_is_upgrade("http://h", "http://h"));
    cr_expect_not(ds_url_is_upgrade("https://h", "https://h"));
    cr_expect_not(ds_url_is_upgrade("https://h", "http://h"));
    cr_expect(ds_url_is_downgrade("https://h", "http://h"));
    cr_expect(ds_url_is_downgrade("HTTPS://h", "HTTP://other"));
    cr_expect_not(ds_url_is_downgrade("http://h", "https://h"));
    cr_expect_not(ds_url_is_downgrade("https://h", "https://h"));
    cr_expect_not(ds_url_is_downgrade("http://h", "http://h"));
}

Test(url, a_token_is_not_empty_not_long_and_visible)
{
    char token[DS_TOKEN_MAX + 2];
    memset(token, 'x', sizeof token);
    cr_expect_eq(ds_token_check(token, DS_TOKEN_MAX), DSTREAM_OK);
    cr_expect_eq(ds_token_check(token, DS_TOKEN_MAX + 1), DSTREAM_ERR_LIMIT);
    cr_expect_eq(ds_token_check("", 0), DSTREAM_ERR_PROTOCOL);
    cr_expect_eq(ds_token_check("-1", 2), DSTREAM_OK);
    cr_expect_eq(ds_token_check("\xC3\xA4", 2), DSTREAM_OK);
    cr_expect_eq(ds_token_check("a b", 3), DSTREAM_ERR_PROTOCOL);
    cr_expect_eq(ds_token_check("a\0b", 3), DSTREAM_ERR_PROTOCOL);
    cr_expect_eq(ds_token_check("a\x7F", 2), DSTREAM_ERR_PROTOCOL);
    cr_expect(ds_token_is_sentinel("-1"));
    cr_expect(ds_token_is_sentinel("now"));
    cr_expect_not(ds_token_is_sentinel("Now"));
    cr_expect_not(ds_token_is_sentinel(""));
    cr_expect_not(ds_token_is_sentinel("-10"));
}

Test(url, what_names_a_proxy_and_what_an_address)
{
    static const char *const proxies[] = {"",
                                          "proxy.test",
                                          "proxy.test:3128",
                                          "http://proxy.test",
                                          "HTTPS://u:p@proxy.test:1",
                                          "socks5h://[::1]:1080",
                                          "u:p@proxy.test"};
    static const char *const no_proxies[] = {"ftp://h", "http://",        "h:port",     "h:0",
                                             "a b",     "http://u:p@h@i", "socks6://h", "h:1\n"};
    static const char *const known[] = {"h.test:80:127.0.0.1", "h:1:::1", "h:65535:[::1],10.0.0.1"};
    static const char *const unknown[] = {
        "",           "h",         "h:80",           "h:80:",      ":80:::1",
        "h:x:::1",    "h:0:::1",   "-h:80:::1",      "+h:80:::1",  "h:80:name",
        "h:80:1.2.3", "h:80:::1,", "h:80:[1.2.3.4]", "h:65536:::1"};
    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        cr_expect(ds_proxy_valid(proxies[i]), "%s", proxies[i]);
    for (size_t i = 0; i < sizeof no_proxies / sizeof *no_proxies; i++)
        cr_expect_not(ds_proxy_valid(no_proxies[i]), "%s", no_proxies[i]);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        cr_expect(ds_resolve_valid(known[i]), "%s", known[i]);
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        cr_expect_not(ds_resolve_valid(unknown[i]), "%s", unknown[i]);
}
