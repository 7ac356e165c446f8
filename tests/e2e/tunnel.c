/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/tunnel.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BASIC "Basic dXNlcjpodW50ZXIy" /* TUNNEL_USER, TUNNEL_PASSWORD */

struct tunnel {
    struct listener *listener;
    enum tunnel_kind kind;
    unsigned port;
    bool guarded;
    pthread_mutex_t lock; /* guards what follows */
    struct e2e_bytes log;
    unsigned connections;
    unsigned frozen; /* of these, the first ones */
};

static void note(struct tunnel *t, const char *text)
{
    pthread_mutex_lock(&t->lock);
    e2e_add_text(&t->log, text);
    pthread_mutex_unlock(&t->lock);
}

static unsigned count(struct tunnel *t)
{
    pthread_mutex_lock(&t->lock);
    unsigned k = t->connections++;
    pthread_mutex_unlock(&t->lock);
    return k;
}

static bool is_frozen(struct tunnel *t, unsigned k)
{
    pthread_mutex_lock(&t->lock);
    bool yes = k < t->frozen;
    pthread_mutex_unlock(&t->lock);
    return yes;
}

/* --- what a proxy is told --------------------------------------------------------------------- */

static bool take(int fd, unsigned char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static bool say(int fd, const char *text)
{
    return listener_send(fd, text, strlen(text));
}

/* The port asked for; 0 where it comes to nothing. */
static unsigned by_connect(struct tunnel *t, int fd)
{
    static _Thread_local char head[65536];
    size_t n;
    if (!listener_head(fd, head, sizeof head))
        return 0;
    note(t, head);
    const char *end = strchr(head, ' ') ? strstr(strchr(head, ' ') + 1, " HTTP/") : NULL;
    const char *auth = listener_field(head, "Proxy-Authorization", &n);
    if (t->guarded && (!auth || strncmp(auth, BASIC, n) != 0)) {
        say(fd, "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"x\"\r\n"
                "Content-Length: 0\r\n\r\n");
        return 0;
    }
    if (strncmp(head, "CONNECT ", 8) != 0 || !end)
        return 0;
    while (end[-1] != ':')
        end--;
    say(fd, "HTTP/1.1 200 Connected\r\n\r\n");
    return (unsigned)atoi(end);
}

/* Of RFC 1929. */
static bool knows_password(int fd)
{
    unsigned char n[2];
    char user[256] = "", password[256] = "";
    if (!take(fd, n, 2) || !take(fd, (unsigned char *)user, n[1]) || !take(fd, n, 1) ||
        !take(fd, (unsigned char *)password, n[0]))
        return false;
    bool right = strcmp(user, TUNNEL_USER) == 0 && strcmp(password, TUNNEL_PASSWORD) == 0;
    listener_send(fd, right ? "\1\0" : "\1\1", 2);
    return right;
}

/* RFC 1928. */
static unsigned by_socks(struct tunnel *t, int fd)
{
    unsigned char b[256], to[256] = {0}, port[2];
    if (!take(fd, b, 2) || b[0] != 5 || !take(fd, b + 2, b[1]) ||
        !listener_send(fd, t->guarded ? "\5\2" : "\5\0", 2))
        return 0;
    if (t->guarded && !knows_password(fd))
        return 0;
    if (!take(fd, b, 4) || b[1] != 1)
        return 0;
    bool name = b[3] == 3;
    unsigned char n = 4;
    if ((name && !take(fd, &n, 1)) || !take(fd, to, n) || !take(fd, port, 2))
        return 0;
    unsigned number = port[0] * 256U + port[1];
    const char *host = name ? (char *)to : e2e_printf("%u.%u.%u.%u", to[0], to[1], to[2], to[3]);
    note(t, e2e_printf("%s %s:%u\n", name ? "name" : "address", host, number));
    listener_send(fd, "\5\0\0\1\0\0\0\0\0\0", 10);
    return number;
}

/* --- what passes ------------------------------------------------------------------------------ */

static int reach(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((in_port_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool move(int from, int to)
{
    char buf[16384];
    ssize_t n = recv(from, buf, sizeof buf, 0);
    return n > 0 && listener_send(to, buf, (size_t)n);
}

static void relay(struct tunnel *t, unsigned k, int client, int server)
{
    struct pollfd fds[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    bool open = true;
    while (open && poll(fds, 2, -1) >= 0) {
        if (is_frozen(t, k)) {
            struct pollfd gone = {.fd = client, .events = POLLRDHUP};
            poll(&gone, 1, -1);
            return;
        }
        open =
            (!fds[0].revents || move(client, server)) && (!fds[1].revents || move(server, client));
    }
}

static void serve(void *ctx, int client)
{
    struct tunnel *t = ctx;
    unsigned port = t->kind == TUNNEL_CONNECT ? by_connect(t, client)
                    : t->kind == TUNNEL_SOCKS ? by_socks(t, client)
                                              : t->port;
    int server = port > 0 ? reach(port) : -1;
    if (server < 0)
        return;
    relay(t, count(t), client, server);
    close(server);
}

/* --- the tunnel ------------------------------------------------------------------------------- */

struct tunnel *tunnel_start(enum tunnel_kind kind, unsigned port, bool guarded)
{
    struct tunnel *t = e2e_alloc(sizeof *t);
    t->kind = kind;
    t->port = port;
    t->guarded = guarded;
    e2e_add_text(&t->log, "");
    pthread_mutex_init(&t->lock, NULL);
    t->listener = listener_start(serve, t);
    return t;
}

const char *tunnel_at(const struct tunnel *t)
{
    return listener_url(t->listener) + 7;
}

const char *tunnel_log(struct tunnel *t)
{
    pthread_mutex_lock(&t->lock);
    const char *copy = e2e_printf("%s", t->log.p);
    pthread_mutex_unlock(&t->lock);
    return copy;
}

unsigned tunnel_connections(struct tunnel *t)
{
    pthread_mutex_lock(&t->lock);
    unsigned n = t->connections;
    pthread_mutex_unlock(&t->lock);
    return n;
}

void tunnel_freeze(struct tunnel *t)
{
    pthread_mutex_lock(&t->lock);
    t->frozen = t->connections;
    pthread_mutex_unlock(&t->lock);
}

void tunnel_stop(struct tunnel *t)
{
    listener_stop(t->listener);
    pthread_mutex_destroy(&t->lock);
}
