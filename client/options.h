/* SPDX-License-Identifier: Apache-2.0 */
/* What a dstream_options holds, for the files that act on it. */
#ifndef DS_CLIENT_OPTIONS_H
#define DS_CLIENT_OPTIONS_H

#include "client/reader.h"
#include "producer/producer.h"

struct ds_list {
    char **at;
    size_t n;
};

/* All strings are its own. */
struct dstream_options {
    char *offset; /* NULL: the beginning */
    uint64_t skip;
    enum dstream_live live;
    struct ds_list headers; /* checked: can be sent as they are */
    struct ds_list resolve; /* the same */
    char *cacert;           /* NULL: the system's */
    char *cert, *key;       /* NULL: none; in `cert` */
    char *netrc;            /* NULL: none */
    char *proxy;            /* NULL: the environment's; "": none */
    bool insecure, http1, compressed;
    struct ds_limits limits;
    bool stop_at_tail, wait_create, recheck, parts, live_at_once;
    enum dstream_gone on_gone;
    bool seen;                     /* an earlier session has read the stream */
    char *content_type;            /* NULL: not known */
    struct ds_witness *witness;    /* NULL: none */
    dstream_on_request on_request; /* NULL: nothing is added */
    void *request_ctx;
    ds_on_notice on_notice; /* the command's; NULL: nobody wants to know */
    void *notice_ctx;
    dstream_on_notice on_public_notice; /* the same of a user */
    void *public_notice_ctx;
    ds_on_trace on_trace; /* NULL: nobody wants to know */
    void *trace_ctx;
    ds_on_head on_head; /* the same */
    void *head_ctx;
    /* Of a producer; its strings, limits and draws are filled in when it is opened. */
    struct ds_producer_config producer;
    bool plain;           /* a call that appends carries no producer identity */
    bool producers_known; /* and the server is known to mind it */
};

/* A copy of its own; of NULL, the defaults. NULL without memory. */
dstream_options *ds_options_copy(const dstream_options *o);

#endif
