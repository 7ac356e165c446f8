/* SPDX-License-Identifier: Apache-2.0 */
/* What the requests of one stream have in common, as libcurl takes it. */
#ifndef DS_TRANSPORT_SESSION_H
#define DS_TRANSPORT_SESSION_H

#include <curl/curl.h>

#include "transport/transport.h"

struct ds_session {
    struct ds_transport *transport;
    struct curl_slist *headers;
    struct curl_slist *resolve;
    char *cacert, *cert, *key, *netrc; /* files; NULL: none */
    char *proxy;                       /* NULL: the environment's */
    bool insecure, http1, compressed;
    long connect_ms;
    size_t max_head;
};

/* Sets how `url` is connected to. `own` says that the request is still for the origin that the
 * session's credentials are for: a certificate or password of the user goes nowhere else. */
CURLcode ds_session_connection(const struct ds_session *s, CURL *easy, const char *url, bool own);

/* Appends "Name: value" as libcurl has to be given it, or a line that is none of a header. */
enum dstream_code ds_slist_header(struct curl_slist **list, const char *line);
enum dstream_code ds_slist_line(struct curl_slist **list, const char *line);

#endif
