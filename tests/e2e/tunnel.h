/* SPDX-License-Identifier: Apache-2.0 */
/* What connections go through: a proxy that speaks CONNECT or SOCKS5, or a plain way to one port.
 * All of them lead to 127.0.0.1, whatever host was named. */
#ifndef DS_E2E_TUNNEL_H
#define DS_E2E_TUNNEL_H

#include <stdbool.h>

#define TUNNEL_USER     "user"
#define TUNNEL_PASSWORD "hunter2"

enum tunnel_kind { TUNNEL_PLAIN, TUNNEL_CONNECT, TUNNEL_SOCKS };

struct tunnel;

/* `port` is where a plain one leads to. A guarded one asks for user and password. */
struct tunnel *tunnel_start(enum tunnel_kind kind, unsigned port, bool guarded);
/* "127.0.0.1:PORT" */
const char *tunnel_at(const struct tunnel *t);
/* What was asked of it: the heads of CONNECT; "name HOST:PORT" or "address A:PORT", a line each.
 * Valid until the test ends. */
const char *tunnel_log(struct tunnel *t);
/* How many connections have gone through. */
unsigned tunnel_connections(struct tunnel *t);
/* Nothing passes any more on the connections that there are, though they stay. New ones are made.
 */
void tunnel_freeze(struct tunnel *t);
void tunnel_stop(struct tunnel *t);

#endif
