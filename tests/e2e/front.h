/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in front of servers: certificates with an authority of their own, and nginx, which
 * speaks TLS with HTTP/2 and passes on to a server of ours. */
#ifndef DS_E2E_FRONT_H
#define DS_E2E_FRONT_H

#include "tests/e2e/harness.h"

/* --- certificates ----------------------------------------------------------------------------- */

/* In the test's directory: NAME.pem and NAME.key. An authority; a certificate that one issued
 * (NULL: it signs itself) for `subject`, as "IP:127.0.0.1" or "DNS:name.test", and that is good for
 * `days` (expired where that is negative). A client's needs no subject: "". */
void cert_authority(const char *name);
void cert_issue(const char *name, const char *authority, const char *subject, int days);
/* Their paths. */
const char *cert_file(const char *name);
const char *cert_key(const char *name);

/* --- nginx ------------------------------------------------------------------------------------ */

struct front {
    struct e2e_process *process;
    const char *url; /* "https://127.0.0.1:PORT" */
    unsigned port;
    const char *log; /* path of its log */
};

/* Starts it with the certificate `name`, in front of the server at `upstream`. `more` are lines for
 * its server's configuration, may be "". HTTP/2 is offered; a client may do without. */
void front_start(struct front *f, const char *name, const char *upstream, const char *more);
/* How many connections of this process to it are open. */
size_t front_open(const struct front *f);
/* Cuts them all, at our end. */
void front_cut(const struct front *f);
/* Of the requests that it has finished: on how many connections those came that were of this
 * protocol, as "HTTP/2.0"; how many have `text` in method or URL. */
size_t front_connections(const struct front *f, const char *protocol);
size_t front_finished(const struct front *f, const char *text);

/* A port of 127.0.0.1 that is free now. */
unsigned front_free_port(void);

#endif
