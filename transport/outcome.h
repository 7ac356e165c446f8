/* SPDX-License-Identifier: Apache-2.0 */
/* What libcurl's errors mean to those who asked. */
#ifndef DS_TRANSPORT_OUTCOME_H
#define DS_TRANSPORT_OUTCOME_H

#include <curl/curl.h>

#include "base/http.h"

/* How a transfer on `easy` ended that libcurl reports `code` for; `text` is what it said in its
 * error buffer. */
enum ds_end ds_outcome(CURL *easy, CURLcode code, const char *text, bool connected, bool head_done);
/* One line on it into `out`, without credentials. */
void ds_outcome_detail(CURL *easy, CURLcode code, const char *text, char *out, size_t size);

#endif
