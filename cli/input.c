/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void ds_input_init(struct ds_input *in, dstream_loop *loop, const char *const *files, size_t n)
{
    *in = (struct ds_input){.loop = loop, .files = files, .nfiles = n, .name = "", .fd = -1};
}

void ds_input_hold(struct ds_input *in)
{
    if (in->watched)
        (void)ds_loop_watch(in->loop, in->fd, 0, NULL, NULL);
    in->watched = false;
}

static void close_file(struct ds_input *in)
{
    ds_input_hold(in);
    if (in->fd > STDIN_FILENO)
        close(in->fd);
    in->fd = -1;
}

void ds_input_stop(struct ds_input *in)
{
    close_file(in);
    in->ended = true;
}

void ds_input_fail(struct ds_input *in, const struct dstream_error *why)
{
    ds_error_set(&in->error, why->code, "%.200s: %s", in->name, why->message);
    ds_input_stop(in);
}

static enum ds_input_got fail(struct ds_input *in, enum dstream_code code, const char *what)
{
    struct dstream_error e = {0};
    ds_error_set(&e, code, "%s", what);
    ds_input_fail(in, &e);
    return DS_INPUT_END;
}

static enum ds_input_got fail_io(struct ds_input *in, enum dstream_code code, const char *what)
{
    struct dstream_error e = {0};
    ds_error_set(&e, code, "%s: %s", what, strerror(errno));
    ds_input_fail(in, &e);
    return DS_INPUT_END;
}

/* What an earlier run has taken in of it. False where it is not there any more. */
static bool skip_taken(struct ds_input *in)
{
    struct stat st;
    uint64_t part = in->skip;
    if (in->skip == 0)
        return true;
    if (fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        off_t at = lseek(in->fd, 0, SEEK_CUR);
        uint64_t there = at >= 0 && st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
        if (part > there)
            part = there;
        if (lseek(in->fd, (off_t)part, SEEK_CUR) < 0)
            part = 0;
    }
    in->skip -= part;
    in->skipped += part;
    return in->skip == 0 || in->opened < in->nfiles;
}

/* Opens the next file. A FIFO is opened without waiting for who writes it: that is waited for like
 * any input. */
static bool open_next(struct ds_input *in)
{
    if (in->ended || in->opened == in->nfiles) {
        in->ended = true;
        return false;
    }
    const char *file = in->files[in->opened++];
    bool standard = strcmp(file, "-") == 0;
    in->name = standard ? "standard input" : file;
    in->fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (in->fd < 0)
        (void)fail_io(in, DSTREAM_ERR_NOT_FOUND, "cannot open");
    else if (!skip_taken(in))
        (void)fail(in, DSTREAM_ERR_STATE_MISMATCH,
                   "it is shorter than what an earlier run has taken in of it: name another "
                   "--state file for another input");
    return in->fd >= 0;
}

static bool is_readable(const struct ds_input *in)
{
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void on_readable(void *ctx, int fd, unsigned what)
{
    (void)fd;
    (void)what;
    ds_input_hold(ctx); /* who reads watches again where it has to wait */
}

static enum ds_input_got wait_for_more(struct ds_input *in)
{
    if (!in->watched)
        in->watched = ds_loop_watch(in->loop, in->fd, DS_LOOP_READ, on_readable, in) == DSTREAM_OK;
    return in->watched ? DS_INPUT_WAIT : fail(in, DSTREAM_ERR_NOMEM, "no memory to wait for input");
}

enum ds_input_got ds_input_read(struct ds_input *in, char *room, size_t n, size_t *got)
{
    if (in->fd < 0 && !open_next(in))
        return DS_INPUT_END;
    if (!is_readable(in))
        return wait_for_more(in);
    ssize_t count = read(in->fd, room, n);
    if (count > 0) {
        *got = (size_t)count;
        return DS_INPUT_DATA;
    }
    if (count == 0) {
        close_file(in);
        return DS_INPUT_FILE_END;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return wait_for_more(in);
    return fail_io(in, DSTREAM_ERR_IO, "cannot read");
}
