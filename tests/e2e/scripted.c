/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/scripted.h"
#include "tests/e2e/listener.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 65536

struct scripted {
    struct listener *listener;
    script play;
    void *ctx;
    pthread_mutex_t lock; /* guards what follows */
    struct e2e_bytes log;
    unsigned requests, connections;
};

static void serve(void *ctx, int fd)
{
    struct scripted *s = ctx;
    char *head = malloc(HEAD_MAX);
    struct exchange x = {.fd = fd, .head = head};
    pthread_mutex_lock(&s->lock);
    s->connections++;
    pthread_mutex_unlock(&s->lock);
    while (head && !x.last && listener_head(fd, head, HEAD_MAX)) {
        pthread_mutex_lock(&s->lock);
        x.k = s->requests++;
        e2e_add_text(&s->log, head);
        pthread_mutex_unlock(&s->lock);
        s->play(s->ctx, &x);
    }
    free(head);
}

struct scripted *scripted_start(script play, void *ctx)
{
    struct scripted *s = e2e_alloc(sizeof *s);
    s->play = play;
    s->ctx = ctx;
    e2e_add_text(&s->log, "");
    pthread_mutex_init(&s->lock, NULL);
    s->listener = listener_start(serve, s);
    return s;
}

const char *scripted_url(const struct scripted *s)
{
    return listener_url(s->listener);
}

const char *scripted_log(struct scripted *s)
{
    pthread_mutex_lock(&s->lock);
    char *copy = e2e_printf("%s", s->log.p);
    pthread_mutex_unlock(&s->lock);
    return copy;
}

unsigned scripted_connections(struct scripted *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->connections;
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned scripted_count(struct scripted *s, const char *match)
{
    unsigned n = 0;
    for (const char *head = scripted_log(s); *head;) {
        const char *found = strstr(head, match);
        n += found && found < head + strcspn(head, "\r");
        head = strstr(head, "\r\n\r\n") + 4;
    }
    return n;
}

struct awaited {
    struct scripted *s;
    const char *match;
    unsigned n;
};

static bool came(void *ctx)
{
    struct awaited *a = ctx;
    return scripted_count(a->s, a->match) >= a->n;
}

void scripted_await(struct scripted *s, const char *match, unsigned n)
{
    struct awaited a = {s, match, n};
    e2e_wait_for(came, &a, e2e_printf("%u requests with %s", n, match));
}

void scripted_stop(struct scripted *s)
{
    listener_stop(s->listener);
    pthread_mutex_destroy(&s->lock);
}

/* --- for scripts ------------------------------------------------------------------------------ */

bool asks(const struct exchange *x, const char *text)
{
    const char *found = strstr(x->head, text);
    return found && found < x->head + strcspn(x->head, "\r");
}

bool say_bytes(struct exchange *x, const char *p, size_t n)
{
    bool sent = listener_send(x->fd, p, n);
    x->last |= !sent;
    return sent;
}

bool say(struct exchange *x, const char *text)
{
    return say_bytes(x, text, strlen(text));
}

bool answer(struct exchange *x, const char *status, const char *headers, const char *body)
{
    bool bare = strncmp(x->head, "HEAD ", 5) == 0;
    return say(x, e2e_printf("HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers,
                             strlen(body), bare ? "" : body));
}

bool answer_events(struct exchange *x, const char *headers)
{
    bool open = say(x, e2e_printf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%s"
                                  "Connection: close\r\n\r\n",
                                  headers));
    x->last = true;
    return open;
}

void keep_open(struct exchange *x)
{
    listener_linger(x->fd);
    x->last = true;
}
