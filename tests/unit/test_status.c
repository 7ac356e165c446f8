/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/status.h"

Test(status, each_has_its_code_and_whether_it_passes)
{
    static const struct {
        int status;
        enum dstream_code code;
        bool retryable, definite;
    } row[] = {
        {0, DSTREAM_ERR_PROTOCOL, false, false},
        {100, DSTREAM_ERR_PROTOCOL, false, false},
        {200, DSTREAM_OK, false, false},
        {204, DSTREAM_OK, false, false},
        {299, DSTREAM_OK, false, false},
        {300, DSTREAM_ERR_PROTOCOL, false, false},
        {301, DSTREAM_ERR_REDIRECT, false, false},
        {302, DSTREAM_ERR_REDIRECT, false, false},
        {303, DSTREAM_ERR_REDIRECT, false, false},
        {304, DSTREAM_ERR_PROTOCOL, false, false},
        {307, DSTREAM_ERR_REDIRECT, false, false},
        {308, DSTREAM_ERR_REDIRECT, false, false},
        {400, DSTREAM_ERR_BAD_REQUEST, false, true},
        {401, DSTREAM_ERR_AUTH, false, true},
        {403, DSTREAM_ERR_AUTH, false, true},
        {404, DSTREAM_ERR_NOT_FOUND, false, true},
        {405, DSTREAM_ERR_BAD_REQUEST, false, false},
        {407, DSTREAM_ERR_AUTH, false, false},
        {408, DSTREAM_ERR_TIMEOUT, true, false},
        {409, DSTREAM_ERR_CONFLICT, false, true},
        {410, DSTREAM_ERR_GONE, false, true},
        {413, DSTREAM_ERR_TOO_LARGE, false, true},
        {415, DSTREAM_ERR_BAD_REQUEST, false, true},
        {418, DSTREAM_ERR_BAD_REQUEST, false, false},
        {425, DSTREAM_ERR_BUSY, true, false},
        {429, DSTREAM_ERR_BUSY, true, true},
        {431, DSTREAM_ERR_BAD_REQUEST, false, false},
        {500, DSTREAM_ERR_SERVER, true, false},
        {501, DSTREAM_ERR_BAD_REQUEST, false, false},
        {502, DSTREAM_ERR_SERVER, true, false},
        {503, DSTREAM_ERR_SERVER, true, false},
        {504, DSTREAM_ERR_SERVER, true, false},
        {505, DSTREAM_ERR_BAD_REQUEST, false, false},
        {599, DSTREAM_ERR_SERVER, true, false},
        {600, DSTREAM_ERR_PROTOCOL, false, false},
        {-1, DSTREAM_ERR_PROTOCOL, false, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        cr_expect_eq(ds_status_code(row[i].status), row[i].code, "%d", row[i].status);
        cr_expect_eq(ds_status_retryable(row[i].status), row[i].retryable, "%d", row[i].status);
        cr_expect_eq(ds_status_definite(row[i].status), row[i].definite, "%d", row[i].status);
    }
}

Test(status, each_end_has_its_code_and_whether_it_passes)
{
    static const struct {
        enum ds_end end;
        enum dstream_code code;
        bool retryable;
    } row[] = {
        {DS_END_COMPLETE, DSTREAM_OK, false},        {DS_END_RESOLVE, DSTREAM_ERR_RESOLVE, true},
        {DS_END_CONNECT, DSTREAM_ERR_CONNECT, true}, {DS_END_CUT, DSTREAM_ERR_NETWORK, true},
        {DS_END_TLS, DSTREAM_ERR_TLS, true},         {DS_END_TLS_REFUSED, DSTREAM_ERR_TLS, false},
        {DS_END_BAD, DSTREAM_ERR_ARGUMENT, false},   {DS_END_LIMIT, DSTREAM_ERR_LIMIT, false},
        {DS_END_NOMEM, DSTREAM_ERR_NOMEM, false},    {DS_END_PROTOCOL, DSTREAM_ERR_PROTOCOL, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        cr_expect_eq(ds_end_code(row[i].end), row[i].code, "row %zu", i);
        cr_expect_eq(ds_end_retryable(row[i].end), row[i].retryable, "row %zu", i);
    }
}
