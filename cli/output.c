/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/signals.h"
#include "store/fileops.h"

#define GATHER ((size_t)64 * 1024)
/* A byte becomes at most \u{NNNN}, or \xNN. */
#define SHOWN_MAX (8 * GATHER)
/* After INT or TERM: how long a reader that takes nothing is waited for. */
#define DRAIN_MS 1000
/* A pipe that poll() calls writable takes so much without waiting. */
#define DRAIN_PIECE ((size_t)PIPE_BUF)

void ds_output_init(struct ds_output *o, const char *path, bool overwrite, bool append)
{
    *o = (struct ds_output){.fd = -1, .path = path, .overwrite = overwrite, .append = append};
    ds_buf_init(&o->pending, GATHER);
    ds_buf_init(&o->shown, SHOWN_MAX);
}

static enum dstream_code fail(const struct ds_output *o, const char *what, int err,
                              struct dstream_error *e)
{
    return ds_file_error(e, o->path ? o->path : "standard output", what, -err);
}

static enum dstream_code exists(const struct ds_output *o, struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_EXISTS,
                        "%.200s: the file exists: use --overwrite or --append, or export, which "
                        "goes on where it was",
                        o->path);
}

enum dstream_code ds_output_check(const struct ds_output *o, struct dstream_error *err)
{
    struct stat st;
    bool taken =
        o->path && !o->overwrite && !o->append && stat(o->path, &st) == 0 && S_ISREG(st.st_mode);
    return taken ? exists(o, err) : DSTREAM_OK;
}

enum dstream_code ds_output_open(struct ds_output *o, struct dstream_error *err)
{
    if (o->fd >= 0)
        return DSTREAM_OK;
    if (!o->path) {
        o->fd = STDOUT_FILENO;
        o->terminal = isatty(o->fd);
        return DSTREAM_OK;
    }
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY;
    struct stat st;
    if (o->append)
        flags |= O_APPEND;
    else if (o->overwrite)
        flags |= O_TRUNC;
    else if (stat(o->path, &st) != 0 || S_ISREG(st.st_mode))
        flags |= O_EXCL; /* a device or FIFO has nothing to be lost */
    do
        o->fd = open(o->path, flags, 0666);
    while (o->fd < 0 && errno == EINTR && ds_signals_ending() == 0);
    if (o->fd >= 0)
        o->terminal = isatty(o->fd);
    else if (errno == EEXIST)
        return exists(o, err);
    else
        return fail(o, "open the output", errno, err);
    return DSTREAM_OK;
}

/* Until it can be written to, or for as long as that is waited for. */
static bool wait_writable(const struct ds_output *o)
{
    struct pollfd p = {.fd = o->fd, .events = POLLOUT};
    for (;;) {
        bool draining = ds_signals_ending() != 0;
        int n = poll(&p, 1, draining ? DRAIN_MS : -1);
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return n != 0;
    }
}

static enum dstream_code write_all(struct ds_output *o, const char *p, size_t n,
                                   struct dstream_error *err)
{
    while (n > 0) {
        bool draining = ds_signals_ending() != 0;
        if (draining && !wait_writable(o))
            return ds_error_set(err, DSTREAM_ERR_CANCELLED, "the output is not taken");
        ssize_t done = write(o->fd, p, draining && n > DRAIN_PIECE ? DRAIN_PIECE : n);
        if (done >= 0) {
            p += done;
            n -= (size_t)done;
            continue;
        }
        if (errno == EPIPE) {
            o->gone = true;
            return ds_error_set(err, DSTREAM_ERR_CANCELLED, "the reader of the output has gone");
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_writable(o))
                return ds_error_set(err, DSTREAM_ERR_CANCELLED, "the output is not taken");
        } else if (errno != EINTR) {
            return fail(o, "write", errno, err);
        }
    }
    return DSTREAM_OK;
}

static enum dstream_code write_pending(struct ds_output *o, bool last, struct dstream_error *err)
{
    struct ds_buf *b = &o->pending;
    if (!o->terminal) {
        enum dstream_code rc = write_all(o, b->data, b->len, err);
        b->len = 0;
        return rc;
    }
    size_t n = b->len - (last || b->len == 0 ? 0 : ds_utf8_open_end(b->data, b->len));
    o->shown.len = 0;
    enum dstream_code rc = ds_terminal_escape(&o->shown, b->data, n);
    if (rc != DSTREAM_OK)
        return ds_error_set(err, rc, "no memory for output");
    ds_buf_drop(b, n);
    return write_all(o, o->shown.data, o->shown.len, err);
}

enum dstream_code ds_output_put(struct ds_output *o, const void *p, size_t n,
                                struct dstream_error *err)
{
    const char *bytes = p;
    enum dstream_code rc = DSTREAM_OK;
    while (n > 0 && rc == DSTREAM_OK) {
        size_t room = o->pending.max - o->pending.len;
        if (room == 0) {
            rc = write_pending(o, false, err);
            continue;
        }
        if (!o->terminal && o->pending.len == 0 && n >= o->pending.max)
            return write_all(o, bytes, n, err);
        size_t part = n < room ? n : room;
        if (ds_buf_add(&o->pending, bytes, part) != DSTREAM_OK)
            return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for output");
        bytes += part;
        n -= part;
    }
    return rc;
}

enum dstream_code ds_output_flush(struct ds_output *o, struct dstream_error *err)
{
    return o->pending.len > 0 ? write_pending(o, false, err) : DSTREAM_OK;
}

/* What can be synced is a file; a device or pipe says EINVAL or EROFS. */
static enum dstream_code sync_file(const struct ds_output *o, struct dstream_error *err)
{
    struct stat st;
    if (!o->path || fstat(o->fd, &st) != 0 || !S_ISREG(st.st_mode) || fsync(o->fd) == 0)
        return DSTREAM_OK;
    return fail(o, "sync", errno, err);
}

enum dstream_code ds_output_close(struct ds_output *o, struct dstream_error *err)
{
    if (o->fd < 0)
        return DSTREAM_OK;
    enum dstream_code rc = o->pending.len > 0 ? write_pending(o, true, err) : DSTREAM_OK;
    if (rc == DSTREAM_OK)
        rc = sync_file(o, err);
    int fd = o->fd;
    o->fd = -1;
    if (close(fd) != 0 && errno != EINTR && rc == DSTREAM_OK)
        rc = fail(o, "close", errno, err);
    return rc;
}

void ds_output_free(struct ds_output *o)
{
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
    ds_buf_free(&o->pending);
    ds_buf_free(&o->shown);
}
