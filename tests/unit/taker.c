/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/unit/taker.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* --- texts ------------------------------------------------------------------------------------ */

static void add(char **to, size_t *len, const void *p, size_t n)
{
    size_t at = len ? *len : *to ? strlen(*to) : 0;
    char *more = realloc(*to, at + n + 1);
    cr_assert_not_null(more);
    memcpy(more + at, p, n);
    more[at + n] = '\0';
    *to = more;
    if (len)
        *len = at + n;
}

void asked_header(const char *head, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    out[0] = '\0';
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, n) != 0 || line[2 + n] != ':')
            continue;
        const char *value = line + 3 + n + strspn(line + 3 + n, " ");
        size_t len = strcspn(value, "\r");
        snprintf(out, size, "%.*s", (int)len, value);
        return;
    }
}

static bool get_body(int fd, const char *head, char **body, size_t *len)
{
    char text[32];
    asked_header(head, "Content-Length", text, sizeof text);
    *len = strtoul(text, NULL, 10);
    *body = calloc(1, *len + 1);
    for (size_t at = 0; at < *len;) {
        ssize_t n = recv(fd, *body + at, *len - at, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

/* --- a server in order ------------------------------------------------------------------------ */

static void say(char *answer, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void say(char *answer, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(answer, size, fmt, ap);
    va_end(ap);
}

static bool is_true(const char *head, const char *name)
{
    char value[32];
    asked_header(head, name, value, sizeof value);
    return strcasecmp(value, "true") == 0;
}

/* True where the request is to be carried out; else *answer is the answer. */
static bool check_producer(struct taker *t, const struct asked *a, char *answer, size_t size,
                           size_t *which)
{
    char id[64], text[32];
    size_t i = 0;
    *which = SIZE_MAX;
    asked_header(a->head, "Producer-Id", id, sizeof id);
    if (!id[0] || t->no_producers)
        return true;
    asked_header(a->head, "Producer-Epoch", text, sizeof text);
    uint64_t epoch = strtoull(text, NULL, 10);
    asked_header(a->head, "Producer-Seq", text, sizeof text);
    int64_t seq = strtoll(text, NULL, 10);
    while (i < t->nproducers && strcmp(t->producers[i].id, id) != 0)
        i++;
    bool is_new = i == t->nproducers;
    if (!is_new && epoch < t->producers[i].epoch) {
        say(answer, size, "403 Fenced\r\nProducer-Epoch: %llu\r\n",
            (unsigned long long)t->producers[i].epoch);
        return false;
    }
    if ((is_new || epoch > t->producers[i].epoch) && seq != 0) {
        say(answer, size, is_new ? "409 Gap\r\nProducer-Expected-Seq: 0\r\n" : "400 Not 0\r\n");
        return false;
    }
    if (!is_new && epoch == t->producers[i].epoch && seq != t->producers[i].last + 1) {
        bool old = seq <= t->producers[i].last;
        say(answer, size,
            old ? "204 No Content\r\nProducer-Epoch: %llu\r\nProducer-Seq: %lld\r\n"
                : "409 Gap\r\nProducer-Received-Seq: %llu\r\nProducer-Expected-Seq: %lld\r\n",
            (unsigned long long)(old ? epoch : (uint64_t)seq),
            (long long)t->producers[i].last + (old ? 0 : 1));
        return false;
    }
    if (is_new) {
        cr_assert_lt(i, sizeof t->producers / sizeof *t->producers);
        t->nproducers++;
        strcpy(t->producers[i].id, id);
    }
    t->producers[i].epoch = epoch;
    t->producers[i].last = seq - 1;
    *which = i;
    return true;
}

static void post(struct taker *t, const struct asked *a, char *answer, size_t size)
{
    char type[64], seq[64];
    size_t which;
    bool close = is_true(a->head, "Stream-Closed");
    asked_header(a->head, "Content-Type", type, sizeof type);
    asked_header(a->head, "Stream-Seq", seq, sizeof seq);
    if (!t->exists) {
        say(answer, size, "404 Not Found\r\n");
    } else if (t->closed && !(close && a->len == 0)) {
        say(answer, size, "409 Closed\r\nStream-Closed: true\r\nStream-Next-Offset: %08zu\r\n",
            t->len);
    } else if (a->len > 0 && strcmp(type, t->type) != 0) {
        say(answer, size, "409 Type\r\n");
    } else if (check_producer(t, a, answer, size, &which)) {
        if (seq[0] && strcmp(seq, t->seq) <= 0) {
            say(answer, size, "409 Sequence\r\n");
            return;
        }
        if (seq[0])
            strcpy(t->seq, seq);
        add(&t->data, &t->len, a->body, a->len);
        add(&t->bodies, NULL, a->body, a->len);
        add(&t->bodies, NULL, "\n", 1);
        t->closed |= close;
        if (which == SIZE_MAX) {
            say(answer, size, "204 No Content\r\nStream-Next-Offset: %08zu\r\n%s", t->len,
                t->closed ? "Stream-Closed: true\r\n" : "");
            return;
        }
        t->producers[which].last++;
        say(answer, size,
            "200 OK\r\nStream-Next-Offset: %08zu\r\nProducer-Epoch: %llu\r\nProducer-Seq: "
            "%lld\r\n%s",
            t->len, (unsigned long long)t->producers[which].epoch,
            (long long)t->producers[which].last, t->closed ? "Stream-Closed: true\r\n" : "");
    }
}

static void put(struct taker *t, const struct asked *a, char *answer, size_t size)
{
    char type[64];
    asked_header(a->head, "Content-Type", type, sizeof type);
    bool made = !t->exists;
    if (!type[0])
        strcpy(type, "application/octet-stream");
    if (t->exists && (strcmp(type, t->type) != 0 || t->closed)) {
        say(answer, size, "409 Other\r\n%s", t->closed ? "Stream-Closed: true\r\n" : "");
        return;
    }
    if (made) {
        strcpy(t->type, type);
        t->exists = true;
        t->closed = is_true(a->head, "Stream-Closed");
        add(&t->data, &t->len, a->body, a->len);
    }
    say(answer, size, "%s\r\nContent-Type: %s\r\nStream-Next-Offset: %08zu\r\n%s",
        made ? "201 Created" : "200 OK", t->type, t->len,
        t->closed ? "Stream-Closed: true\r\n" : "");
}

static void head(struct taker *t, char *answer, size_t size)
{
    if (!t->exists)
        say(answer, size, "404 Not Found\r\n");
    else
        say(answer, size,
            "200 OK\r\nContent-Type: %s\r\nStream-Next-Offset: %08zu\r\nStream-TTL: 60\r\n"
            "ETag: \"%zu\"\r\n%s",
            t->type, t->len, t->len, t->closed ? "Stream-Closed: true\r\n" : "");
}

static void carry_out(struct taker *t, struct asked *a, char *answer, size_t size)
{
    if (strcmp(a->method, "POST") == 0) {
        post(t, a, answer, size);
    } else if (strcmp(a->method, "PUT") == 0) {
        put(t, a, answer, size);
    } else if (strcmp(a->method, "HEAD") == 0) {
        head(t, answer, size);
    } else if (strcmp(a->method, "DELETE") == 0) {
        say(answer, size, t->exists ? "204 No Content\r\n" : "404 Not Found\r\n");
        t->exists = false;
    } else {
        say(answer, size, "405 No\r\n");
    }
}

/* --- connections ------------------------------------------------------------------------------ */

static bool answer_one(struct taker *t, int fd, struct asked *a)
{
    char answer[512] = "", text[1024];
    pthread_mutex_lock(&t->lock);
    a->k = t->requests++;
    add(&t->log, NULL, a->head, strlen(a->head));
    enum take what = t->plan ? t->plan(t->ctx, a) : TAKE;
    if (what == TAKE || what == LOSE || what == TAKE_WRONG)
        carry_out(t, a, answer, sizeof answer);
    pthread_mutex_unlock(&t->lock);
    if (what == DROP || what == LOSE)
        listener_reset(fd);
    if (what == HOLD)
        listener_linger(fd);
    if (what == DROP || what == LOSE || what == HOLD)
        return false;
    const char *said = what == TAKE ? answer : a->answer;
    snprintf(text, sizeof text, "HTTP/1.1 %s%s\r\n", said,
             strncmp(said, "204", 3) == 0 ? "" : "Content-Length: 0\r\n");
    return listener_send(fd, text, strlen(text));
}

static void serve(void *ctx, int fd)
{
    struct taker *t = ctx;
    char text[8192], method[16];
    bool more = true;
    t->connections++;
    while (more && listener_head(fd, text, sizeof text)) {
        char *body;
        struct asked a = {.head = text, .method = method};
        snprintf(method, sizeof method, "%.*s", (int)strcspn(text, " "), text);
        unsigned now = ++t->at_once;
        if (now > t->most_at_once)
            t->most_at_once = now;
        more = get_body(fd, text, &body, &a.len);
        a.body = body;
        more = more && answer_one(t, fd, &a);
        t->at_once--;
        free(body);
    }
}

struct taker *taker_new(const char *type)
{
    struct taker *t = calloc(1, sizeof *t);
    cr_assert_not_null(t);
    pthread_mutex_init(&t->lock, NULL);
    t->exists = type != NULL;
    if (type)
        strcpy(t->type, type);
    add(&t->data, &t->len, "", 0);
    add(&t->bodies, NULL, "", 0);
    add(&t->log, NULL, "", 0);
    t->l = listener_start(serve, t);
    snprintf(t->url, sizeof t->url, "%s/s", listener_url(t->l));
    return t;
}

void taker_free(struct taker *t)
{
    listener_stop(t->l);
    pthread_mutex_destroy(&t->lock);
    free(t->data);
    free(t->bodies);
    free(t->log);
    free(t);
}

void taker_close(struct taker *t)
{
    pthread_mutex_lock(&t->lock);
    t->closed = true;
    pthread_mutex_unlock(&t->lock);
}

void taker_forget(struct taker *t)
{
    pthread_mutex_lock(&t->lock);
    t->nproducers = 0;
    pthread_mutex_unlock(&t->lock);
}

const char *taker_data(struct taker *t)
{
    return t->data;
}

const char *taker_bodies(struct taker *t)
{
    return t->bodies;
}

unsigned taker_count(struct taker *t, const char *text)
{
    unsigned n = 0;
    pthread_mutex_lock(&t->lock);
    for (const char *at = t->log; (at = strstr(at, text)); at++)
        n++;
    pthread_mutex_unlock(&t->lock);
    return n;
}
