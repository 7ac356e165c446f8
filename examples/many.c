/* SPDX-License-Identifier: Apache-2.0 */
/* Follows many streams on one thread, in a poll(2) loop of its own, until all are closed:
 *   cc -o many many.c $(pkg-config --cflags --libs libdstream) && ./many URL... */
#include <dstream.h>
#include <poll.h>
#include <stdio.h>
#define MOST 1000                    /* streams */
static struct pollfd fds[MOST + 64]; /* by descriptor */
static dstream_reader *readers[MOST + 1];
static int running, failed;

static void on_watch(void *ctx, int fd, unsigned what)
{
    static const short events[] = {0, POLLIN, POLLOUT, POLLIN | POLLOUT}; /* enum dstream_watch */
    (void)ctx;
    fds[fd] = (struct pollfd){what ? fd : -1, events[what], 0};
}
static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *batch)
{
    size_t len;
    const char *data = dstream_batch_data(batch, &len);
    (void)ctx, (void)r;
    return fwrite(data, 1, len, stdout) == len && fflush(stdout) == 0 ? DSTREAM_FLOW_NEXT
                                                                      : DSTREAM_FLOW_STOP;
}
static void on_end(void *url, dstream_reader *r, enum dstream_code code)
{
    if (code != DSTREAM_OK)
        failed |= fprintf(stderr, "%s: %s\n", (char *)url,
                          dstream_error_message(dstream_reader_error(r)));
    running--;
}
int main(int argc, char **argv)
{
    for (int i = 0; i < MOST + 64; i++)
        fds[i].fd = -1; /* which poll() leaves out */
    dstream_loop *loop = dstream_loop_new();
    dstream_options *options = dstream_options_new();
    if (!loop || !options || argc > MOST || dstream_options_set_live(options, DSTREAM_LIVE_AUTO))
        return 1;
    dstream_loop_drive(loop, on_watch, NULL);
    for (int i = 1; i < argc; i++, running++)
        if (dstream_reader_open(&readers[i], loop, argv[i], options) ||
            dstream_reader_start(readers[i], on_batch, on_end, argv[i]))
            return 1;
    while (running > 0) {
        poll(fds, MOST + 64, (int)dstream_loop_timeout(loop));
        for (int i = 0, r; i < MOST + 64; i++)
            if ((r = fds[i].revents) != 0) /* an error is for both */
                dstream_loop_ready(loop, i,
                                   (r & ~POLLOUT ? DSTREAM_WATCH_READ : 0) |
                                       (r & ~POLLIN ? DSTREAM_WATCH_WRITE : 0));
        dstream_loop_expire(loop);
    }
    for (int i = 1; i < argc; i++)
        dstream_reader_free(readers[i]);
    dstream_options_free(options);
    dstream_loop_free(loop);
    return failed != 0;
}
