/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Envelopes to standard output, behind those of a portion a line that names the position behind it,
 * and acknowledgements from a descriptor. Neither waits for the other, so that a consumer that does
 * not read before what it has written is taken cannot bring both to a stop.
 */
#include "config.h"

#include "cli/hand.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/text.h"
#include "cli/acks.h"
#include "cli/jsonout.h"

/* A pipe that poll() calls writable takes so much without waiting; more of it in one turn. */
#define PIECE  ((size_t)PIPE_BUF)
#define PIECES 64

struct acked {
    struct ds_hand hand;
    dstream_loop *loop;
    int fd; /* -1: no acknowledgements come any more */
    struct ds_acks acks;
    const struct ds_portion *portion; /* NULL: none is out */
    size_t written;                   /* of its data */
    uint64_t done;                    /* of its units */
    char last[DS_TOKEN_MAX + 1];      /* the position behind the portion before */
    uint64_t last_skip;
    bool stopped; /* by a signal: no acknowledgement is waited for */
    struct dstream_error error;
};

/* --- handing out ------------------------------------------------------------------------------ */

/* Who reads has gone. It may yet acknowledge what it has read. */
static void on_gone(struct acked *a)
{
    a->hand.gone = true;
    (void)ds_loop_watch(a->loop, STDOUT_FILENO, 0, NULL, NULL);
}

static void write_more(struct acked *a)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    const struct ds_buf *b = a->portion->data;
    for (int i = 0; i < PIECES && a->written < b->len && poll(&p, 1, 0) > 0; i++) {
        size_t left = b->len - a->written;
        ssize_t n = write(STDOUT_FILENO, b->data + a->written, left < PIECE ? left : PIECE);
        if (n > 0)
            a->written += (size_t)n;
        else if (n < 0 && errno == EPIPE)
            on_gone(a);
        else if (n < 0 && errno != EINTR && errno != EAGAIN)
            ds_error_set(&a->error, DSTREAM_ERR_IO, "standard output: cannot write: %s",
                         strerror(errno));
        if (a->hand.gone || a->error.code != DSTREAM_OK)
            return;
    }
}

static void watch_output(struct acked *a);
static void on_output(void *ctx, int fd, unsigned what)
{
    struct acked *a = ctx;
    (void)fd;
    if (what & DS_LOOP_HANGUP)
        on_gone(a);
    else if (a->portion)
        write_more(a);
    if (!a->hand.gone)
        watch_output(a);
}

static void watch_output(struct acked *a)
{
    bool more = a->portion && a->written < a->portion->data->len && a->error.code == DSTREAM_OK;
    if (ds_loop_watch(a->loop, STDOUT_FILENO, DS_LOOP_HANGUP | (more ? DS_LOOP_WRITE : 0),
                      on_output, a) != DSTREAM_OK)
        ds_error_set(&a->error, DSTREAM_ERR_NOMEM, "no memory to watch the output");
}

/* {"ack":"OFFSET[,SKIP]"} */
static enum dstream_code add_mark(struct ds_buf *out, const struct ds_portion *p)
{
    struct ds_buf position, text;
    ds_buf_init(&position, 2 * DS_TOKEN_MAX);
    ds_buf_init(&text, 6 * DS_TOKEN_MAX);
    enum dstream_code rc = ds_hand_position(&position, p->next, p->next_skip, true);
    if (rc == DSTREAM_OK)
        rc = ds_utf8_replace(&text, position.data, position.len);
    if (rc == DSTREAM_OK)
        rc = ds_buf_adds(out, "{\"ack\":\"");
    if (rc == DSTREAM_OK)
        rc = ds_json_escape(out, text.data, text.len);
    if (rc == DSTREAM_OK)
        rc = ds_buf_adds(out, "\"}\n");
    ds_buf_free(&position);
    ds_buf_free(&text);
    return rc;
}

static enum dstream_code give(struct ds_hand *h, const struct ds_portion *p,
                              struct dstream_error *err)
{
    struct acked *a = (struct acked *)(void *)h;
    enum dstream_code rc = add_mark(p->data, p);
    if (rc != DSTREAM_OK)
        return ds_error_set(err, rc, "no memory for output");
    a->portion = p;
    a->written = 0;
    a->done = 0;
    watch_output(a);
    return DSTREAM_OK;
}

/* --- acknowledgements ------------------------------------------------------------------------- */

static enum dstream_code take_ack(void *ctx, const char *line, const char *offset, uint64_t skip)
{
    struct acked *a = ctx;
    const struct ds_portion *p = a->portion;
    if (p && skip == p->next_skip && strcmp(offset, p->next) == 0)
        a->done = p->count;
    else if (p && strcmp(offset, p->offset) == 0 &&
             (skip < p->skip || skip - p->skip <= p->count)) {
        /* An older one says nothing new. */
        if (skip > p->skip && skip - p->skip > a->done)
            a->done = skip - p->skip;
    } else if (strcmp(offset, a->last) != 0 || skip != a->last_skip)
        return ds_error_set(&a->error, DSTREAM_ERR_INPUT,
                            "--ack-fd: \"%.200s\" was acknowledged, which is no position in what "
                            "was handed out%s%.200s",
                            line, p ? ": that begins at " : "", p ? p->offset : "");
    return DSTREAM_OK;
}

static void end_acks(struct acked *a)
{
    (void)ds_loop_watch(a->loop, a->fd, 0, NULL, NULL);
    a->fd = -1;
}

static void on_acks(void *ctx, int fd, unsigned what)
{
    struct acked *a = ctx;
    char piece[4096];
    (void)what;
    ssize_t n = read(fd, piece, sizeof piece);
    if (n > 0)
        (void)ds_acks_add(&a->acks, piece, (size_t)n, take_ack, a, &a->error);
    else if (n < 0 && errno != EINTR && errno != EAGAIN)
        ds_error_set(&a->error, DSTREAM_ERR_IO, "--ack-fd: cannot read: %s", strerror(errno));
    if (n == 0 || a->error.code != DSTREAM_OK)
        end_acks(a);
}

/* Where nothing is out, it may yet be that nothing more comes, or that who reads has gone as well.
 */
static void check_ended(struct acked *a)
{
    const struct ds_portion *p = a->portion;
    if (p && a->fd < 0 && a->done < p->count)
        ds_error_set(&a->error, DSTREAM_ERR_IO,
                     "--ack-fd: it was closed before all from %.200s,%llu on was acknowledged: "
                     "the same command line hands out again what was not",
                     p->offset, (unsigned long long)(p->skip + a->done));
    else if (p && a->stopped)
        ds_error_set(&a->error, DSTREAM_ERR_CANCELLED, "--ack-fd: stopped");
}

static enum dstream_code look(struct ds_hand *h, uint64_t *done, struct dstream_error *err)
{
    struct acked *a = (struct acked *)(void *)h;
    const struct ds_portion *p = a->portion;
    *done = a->done;
    if (p && a->done == p->count) {
        /* The mark behind it may not be out yet. */
        if (a->written == p->data->len || a->hand.gone) {
            strcpy(a->last, p->next);
            a->last_skip = p->next_skip;
            a->portion = NULL;
        } else {
            *done = 0;
        }
    }
    if (a->error.code == DSTREAM_OK)
        check_ended(a);
    if (a->error.code != DSTREAM_OK)
        *err = a->error;
    return err->code;
}

/* --- from beginning to end -------------------------------------------------------------------- */

static void stop(struct ds_hand *h, int sig)
{
    struct acked *a = (struct acked *)(void *)h;
    struct pollfd p = {.fd = a->fd, .events = POLLIN};
    if (sig == 0 || a->stopped)
        return;
    a->stopped = true;
    while (a->fd >= 0 && poll(&p, 1, 0) > 0)
        on_acks(a, a->fd, 0);
}

static void free_acked(struct ds_hand *h)
{
    struct acked *a = (struct acked *)(void *)h;
    (void)ds_loop_watch(a->loop, STDOUT_FILENO, 0, NULL, NULL);
    if (a->fd >= 0)
        end_acks(a);
    ds_acks_free(&a->acks);
    ds_free(a);
}

enum dstream_code ds_hand_ack(struct ds_hand **out, struct ds_cli *c, dstream_loop *loop,
                              struct dstream_error *err)
{
    static const struct ds_hand_ops ops = {give, look, stop, free_acked};
    struct acked *a = ds_calloc(1, sizeof *a);
    if (!a)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for acknowledgements");
    a->hand = (struct ds_hand){.ops = &ops, .name = "--ack-fd"};
    a->loop = loop;
    a->fd = c->opt.ack_fd;
    ds_acks_init(&a->acks);
    if (ds_loop_watch(loop, a->fd, DS_LOOP_READ, on_acks, a) != DSTREAM_OK) {
        ds_free(a);
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for acknowledgements");
    }
    watch_output(a);
    *out = &a->hand;
    return DSTREAM_OK;
}
