/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* On its owner's list while its descriptor is open. */
struct connection {
    struct listener *owner;
    struct connection *prev, *next;
    int fd;
};

struct listener {
    on_connection serve;
    void *ctx;
    int fd;
    char url[64];
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t gone;  /* a connection left the list */
    struct connection *connections;
    bool stopping;
};

static void *serve_one(void *arg)
{
    struct connection *c = arg;
    struct listener *l = c->owner;
    l->serve(l->ctx, c->fd);
    pthread_mutex_lock(&l->lock);
    close(c->fd);
    if (c->prev)
        c->prev->next = c->next;
    else
        l->connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    free(c);
    pthread_cond_signal(&l->gone);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Under the lock, so that listener_stop() sees every connection. */
static void adopt(struct listener *l, int fd)
{
    struct connection *c = calloc(1, sizeof *c);
    pthread_t thread;
    const int at_once = 1; /* small pieces do not wait for each other */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    pthread_mutex_lock(&l->lock);
    if (c && !l->stopping) {
        *c = (struct connection){.owner = l, .next = l->connections, .fd = fd};
        if (pthread_create(&thread, NULL, serve_one, c) == 0) {
            pthread_detach(thread);
            if (c->next)
                c->next->prev = c;
            l->connections = c;
            c = NULL;
            fd = -1;
        }
    }
    pthread_mutex_unlock(&l->lock);
    free(c);
    if (fd >= 0)
        close(fd);
}

static void *accept_all(void *arg)
{
    struct listener *l = arg;
    int fd;
    while ((fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == ECONNABORTED ||
           errno == EINTR) {
        if (fd >= 0)
            adopt(l, fd);
    }
    return NULL;
}

struct listener *listener_start(on_connection serve, void *ctx)
{
    struct listener *l = calloc(1, sizeof *l);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (!l)
        abort();
    l->serve = serve;
    l->ctx = ctx;
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->gone, NULL);
    if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&a, n) < 0 || listen(l->fd, 64) < 0 ||
        getsockname(l->fd, (struct sockaddr *)&a, &n) < 0 ||
        pthread_create(&l->thread, NULL, accept_all, l) != 0)
        abort(); /* fails the test */
    snprintf(l->url, sizeof l->url, "http://127.0.0.1:%d", ntohs(a.sin_port));
    return l;
}

const char *listener_url(const struct listener *l)
{
    return l->url;
}

void listener_stop(struct listener *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    for (struct connection *c = l->connections; c; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    while (l->connections)
        pthread_cond_wait(&l->gone, &l->lock);
    pthread_mutex_unlock(&l->lock);
    shutdown(l->fd, SHUT_RDWR);
    pthread_join(l->thread, NULL);
    close(l->fd);
    pthread_cond_destroy(&l->gone);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* --- talking ---------------------------------------------------------------------------------- */

bool listener_send(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Byte by byte: heads are short, and nothing behind them may be taken. */
bool listener_head(int fd, char *buf, size_t size)
{
    for (size_t n = 0; n + 1 < size;) {
        ssize_t got = recv(fd, buf + n, 1, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        buf[++n] = '\0';
        if (n >= 4 && memcmp(buf + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

const char *listener_field(const char *head, const char *name, size_t *n)
{
    size_t len = strlen(name);
    for (const char *line = head; (line = strstr(line, "\r\n")); line += 2) {
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
            const char *v = line + 2 + len + 1 + strspn(line + 2 + len + 1, " ");
            *n = strcspn(v, "\r");
            return v;
        }
    }
    return NULL;
}

void listener_linger(int fd)
{
    char piece[4096];
    ssize_t n;
    do
        n = recv(fd, piece, sizeof piece, 0);
    while (n > 0 || (n < 0 && errno == EINTR));
}

void listener_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}
