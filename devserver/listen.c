/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "devserver/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

struct name {
    char host[256];
    char port[8];
};

static bool split(const char *where, struct name *n)
{
    const char *colon = strrchr(where, ':');
    uint64_t port;
    if (!colon || !ds_parse_u64(colon + 1, 65535, &port))
        return false;
    const char *host = where;
    size_t len = (size_t)(colon - where);
    bool brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    if (brackets)
        host++, len -= 2;
    if (len == 0 || len >= sizeof n->host || (!brackets && memchr(host, ':', len)))
        return false;
    memcpy(n->host, host, len);
    n->host[len] = '\0';
    snprintf(n->port, sizeof n->port, "%u", (unsigned)port);
    return true;
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

/* -1 with errno. */
static int listen_on(const struct addrinfo *a)
{
    const int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    /* The port of a server that was killed a moment ago is free. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 511) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

/* The address that it came to, as it is reached. */
static bool describe(struct ds_place *p, int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    char host[INET6_ADDRSTRLEN], port[8];
    const struct sockaddr *sa = (const struct sockaddr *)(const void *)&a;
    if (getsockname(fd, (struct sockaddr *)(void *)&a, &len) != 0 ||
        getnameinfo(sa, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    const char *fmt = a.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s";
    p->is_public = !is_loopback(sa);
    return snprintf(p->url, sizeof p->url, fmt, host, port) < (int)sizeof p->url;
}

enum dstream_code ds_place_listen(struct ds_place *p, const char *where, int *fd,
                                  struct dstream_error *err)
{
    struct name n;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *list;
    if (!split(where, &n))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%s is not HOST:PORT", where);
    int rc = getaddrinfo(n.host, n.port, &hints, &list);
    if (rc != 0)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "cannot listen on %s: %s", where,
                            gai_strerror(rc));
    *fd = listen_on(list);
    int e = errno;
    freeaddrinfo(list);
    if (*fd < 0)
        return ds_error_set(err, DSTREAM_ERR_CONNECT, "cannot listen on %s: %s", where,
                            strerror(e));
    if (describe(p, *fd))
        return DSTREAM_OK;
    close(*fd);
    return ds_error_set(err, DSTREAM_ERR_INTERNAL, "cannot name the address of %s", where);
}
