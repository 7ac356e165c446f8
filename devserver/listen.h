/* SPDX-License-Identifier: Apache-2.0 */
/* Where the server listens. */
#ifndef DS_DEVSERVER_LISTEN_H
#define DS_DEVSERVER_LISTEN_H

#include "base/error.h"

struct ds_place {
    char url[128];  /* "http://HOST:PORT" */
    bool is_public; /* others than this machine can reach it */
};

/* Listens on "HOST:PORT" or "[ADDRESS]:PORT"; port 0 is any that is free. *fd is the caller's. */
enum dstream_code ds_place_listen(struct ds_place *p, const char *where, int *fd,
                                  struct dstream_error *err);

#endif
