/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/outcome.h"

#include <stdio.h>
#include <string.h>

static const struct {
    CURLcode code;
    enum ds_end end;
} table[] = {
    {CURLE_UNSUPPORTED_PROTOCOL, DS_END_BAD},
    {CURLE_FAILED_INIT, DS_END_BAD},
    {CURLE_URL_MALFORMAT, DS_END_BAD},
    {CURLE_NOT_BUILT_IN, DS_END_BAD},
    {CURLE_BAD_FUNCTION_ARGUMENT, DS_END_BAD},
    {CURLE_UNKNOWN_OPTION, DS_END_BAD},
    {CURLE_COULDNT_RESOLVE_PROXY, DS_END_RESOLVE},
    {CURLE_COULDNT_RESOLVE_HOST, DS_END_RESOLVE},
    {CURLE_COULDNT_CONNECT, DS_END_CONNECT},
    {CURLE_PROXY, DS_END_CONNECT},
    {CURLE_OPERATION_TIMEDOUT, DS_END_CONNECT}, /* the only time limit given to libcurl */
    {CURLE_SSL_CONNECT_ERROR, DS_END_TLS},
    {CURLE_USE_SSL_FAILED, DS_END_TLS},
    {CURLE_SSL_SHUTDOWN_FAILED, DS_END_TLS},
    {CURLE_SETOPT_OPTION_SYNTAX, DS_END_BAD},
    {CURLE_PEER_FAILED_VERIFICATION, DS_END_TLS_REFUSED},
    {CURLE_SSL_CACERT_BADFILE, DS_END_TLS_REFUSED},
    {CURLE_SSL_CERTPROBLEM, DS_END_TLS_REFUSED},
    {CURLE_SSL_CIPHER, DS_END_TLS_REFUSED},
    {CURLE_SSL_CRL_BADFILE, DS_END_TLS_REFUSED},
    {CURLE_SSL_ISSUER_ERROR, DS_END_TLS_REFUSED},
    {CURLE_SSL_INVALIDCERTSTATUS, DS_END_TLS_REFUSED},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, DS_END_TLS_REFUSED},
    {CURLE_SSL_ENGINE_NOTFOUND, DS_END_TLS_REFUSED},
    {CURLE_SSL_ENGINE_SETFAILED, DS_END_TLS_REFUSED},
    {CURLE_SSL_ENGINE_INITFAILED, DS_END_TLS_REFUSED},
    {CURLE_OUT_OF_MEMORY, DS_END_NOMEM},
};

static bool got_bytes(CURL *easy)
{
    curl_off_t first = 0;
    return curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME_T, &first) == CURLE_OK && first > 0;
}

static bool resolved(CURL *easy)
{
    curl_off_t t = 0;
    return curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &t) == CURLE_OK && t > 0;
}

/* libcurl has no code for what the server thinks of our certificate, and with TLS 1.3 it comes
 * after the handshake. What OpenSSL says of it then begins so. */
static bool refuses_us(const char *text)
{
    static const char *const alerts[] = {"alert certificate",    "alert bad certificate",
                                         "alert no certificate", "alert unsupported certificate",
                                         "alert unknown ca",     "alert access denied"};
    for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++) {
        if (strstr(text, alerts[i]))
            return true;
    }
    return false;
}

/* The status of the proxy's answer to CONNECT, 0: there was none. */
static long proxy_status(CURL *easy)
{
    long status = 0;
    return curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status) == CURLE_OK ? status : 0;
}

/* A proxy of SOCKS wants other credentials. */
static bool socks_refuses_us(CURL *easy)
{
    long why = CURLPX_OK;
    (void)curl_easy_getinfo(easy, CURLINFO_PROXY_ERROR, &why);
    return why == CURLPX_NO_AUTH || why == CURLPX_USER_REJECTED;
}

enum ds_end ds_outcome(CURL *easy, CURLcode code, const char *text, bool connected, bool head_done)
{
    enum ds_end end = DS_END_CUT;
    if (code == CURLE_OK)
        return head_done ? DS_END_COMPLETE : DS_END_CUT;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].code == code)
            end = table[i].end;
    }
    if ((end == DS_END_CUT || end == DS_END_TLS) && !head_done && refuses_us(text))
        return DS_END_TLS_REFUSED;
    if (end == DS_END_CUT && !connected && proxy_status(easy) >= 300)
        return proxy_status(easy) == 407 ? DS_END_PROXY_AUTH : DS_END_CONNECT;
    if (code == CURLE_PROXY && socks_refuses_us(easy))
        return DS_END_PROXY_AUTH;
    if (end == DS_END_BAD && connected)
        return DS_END_CUT; /* an answer that is not HTTP/1 */
    /* libcurl says "no memory" for a line of the head that is over a limit of its own. */
    if (end == DS_END_NOMEM && !head_done && got_bytes(easy))
        return DS_END_LIMIT;
    if (code == CURLE_OPERATION_TIMEDOUT && !resolved(easy))
        return DS_END_RESOLVE;
    return end;
}

/* Some of libcurl's texts quote URLs, proxies' among them, which may hold passwords. */
static bool may_quote_secrets(const char *text)
{
    return strchr(text, '@') || strstr(text, "://") || strstr(text, "proxy s");
}

void ds_outcome_detail(CURL *easy, CURLcode code, const char *text, char *out, size_t size)
{
    long error = 0;
    if (code == CURLE_OK)
        text = "the answer ended before its head did";
    else if (code == CURLE_SEND_FAIL_REWIND)
        text = "the connection was closed while the request was sent";
    else if (!text[0] || may_quote_secrets(text))
        text = curl_easy_strerror(code);
    (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &error);
    if (refuses_us(text))
        snprintf(out, size, "the server asks for another certificate of ours: %s", text);
    else if (proxy_status(easy) >= 300)
        snprintf(out, size, "the proxy does not connect: it answered %ld", proxy_status(easy));
    else if (code == CURLE_COULDNT_CONNECT && error > 0)
        snprintf(out, size, "%s: %s", text, strerror((int)error));
    else if (code == CURLE_SSL_CONNECT_ERROR)
        snprintf(out, size, "TLS could not be agreed on: %s", text);
    else
        snprintf(out, size, "%s", text);
    for (char *p = out; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7F)
            *p = '?';
    }
}
