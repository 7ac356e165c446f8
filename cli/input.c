/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

#define WITNESSED   4096 /* bytes */
#define OTHER_INPUT "name another --state file for another input"

void ds_input_init(struct ds_input *in, dstream_loop *loop, const char *const *files, size_t n)
{
    *in = (struct ds_input){.loop = loop, .files = files, .nfiles = n, .fd = -1};
    in->name = in->witness = "";
}

enum dstream_code ds_input_go_on(struct ds_input *in, uint64_t skip, const char *witness)
{
    in->skip = skip;
    in->witness = witness;
    in->from = ds_calloc(in->nfiles + 1, sizeof *in->from);
    return in->from ? DSTREAM_OK : DSTREAM_ERR_NOMEM;
}

void ds_input_free(struct ds_input *in)
{
    ds_input_stop(in);
    ds_free(in->from);
    in->from = NULL;
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

/* --- what was taken in before ----------------------------------------------------------------- */

static bool is_standard(const struct ds_input *in, size_t i)
{
    return strcmp(in->files[i], "-") == 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* `n` bytes before the place `at` of file `i`, which may have been closed since. */
static bool read_before(const struct ds_input *in, size_t i, uint64_t at, char *p, size_t n)
{
    struct stat st;
    bool standard = is_standard(in, i);
    int fd = standard ? STDIN_FILENO : open(in->files[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    uint64_t place = (standard ? in->base : 0) + (at - in->from[i]) - n;
    bool good =
        fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && pread(fd, p, n, (off_t)place) == (ssize_t)n;
    if (!standard)
        close(fd);
    return good;
}

void ds_input_witness(const struct ds_input *in, uint64_t at, char out[DS_INPUT_WITNESS])
{
    char p[WITNESSED], hash[DS_HASH_HEX];
    size_t i = in->from ? in->opened : 0;
    out[0] = '\0';
    while (i > 0 && in->from[i - 1] >= at)
        i--;
    if (i == 0)
        return;
    size_t n = (size_t)least(at - in->from[i - 1], WITNESSED);
    if (!read_before(in, i - 1, at, p, n))
        return;
    ds_hash_of(p, n, hash);
    snprintf(out, DS_INPUT_WITNESS, "%zu:%s", n, hash);
}

/* Whether what was skipped is what was taken in. */
static bool is_witnessed(const struct ds_input *in)
{
    char now[DS_INPUT_WITNESS];
    if (!in->witness[0])
        return true;
    ds_input_witness(in, in->at, now);
    return strcmp(now, in->witness) == 0;
}

/* Passes over what an earlier run has taken in of this file. */
static void skip_taken(struct ds_input *in)
{
    struct stat st;
    uint64_t part = in->skip;
    bool regular = fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode);
    off_t at = regular ? lseek(in->fd, 0, SEEK_CUR) : 0;
    if (regular && is_standard(in, in->opened - 1))
        in->base = at > 0 ? (uint64_t)at : 0;
    if (part == 0)
        return;
    if (regular) {
        part = least(part, st.st_size > at ? (uint64_t)(st.st_size - at) : 0);
        if (lseek(in->fd, (off_t)part, SEEK_CUR) < 0)
            part = 0;
    }
    in->skip -= part;
    in->skipped += part;
    in->at += part;
    if (in->skip > 0 && in->opened == in->nfiles)
        (void)fail(in, DSTREAM_ERR_STATE_MISMATCH,
                   "it is shorter than what an earlier run has taken in of it: " OTHER_INPUT);
    else if (in->skip == 0 && regular && !is_witnessed(in))
        (void)fail(in, DSTREAM_ERR_STATE_MISMATCH,
                   "it is not what an earlier run has taken in: " OTHER_INPUT);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Opens the next file. A FIFO is opened without waiting for who writes it: that is waited for like
 * any input. */
static bool open_next(struct ds_input *in)
{
    if (in->ended || in->opened == in->nfiles) {
        in->ended = true;
        return false;
    }
    bool standard = is_standard(in, in->opened);
    if (in->from)
        in->from[in->opened] = in->at;
    const char *file = in->files[in->opened++];
    in->name = standard ? "standard input" : file;
    in->fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (in->fd < 0)
        (void)fail_io(in, DSTREAM_ERR_NOT_FOUND, "cannot open");
    else
        skip_taken(in);
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
        in->at += (uint64_t)count;
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
