/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows a stream by callbacks with a consumer that is not always ready: what it refuses is
 * offered again, the connection is not read meanwhile, and memory stays as it is. Here it takes one
 * batch every tenth of a second, until the stream is closed.
 *
 *   cc -o slowly slowly.c $(pkg-config --cflags --libs libdstream)
 *   ./slowly URL
 */
#include <dstream.h>
#include <stdio.h>
#include <time.h>

#define EVERY_MS 100

static long long ready_at; /* when the consumer takes the next one */
static int refused, ended;

static long long now_ms(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static enum dstream_flow on_batch(void *ctx, dstream_reader *reader, const dstream_batch *batch)
{
    size_t len;
    const char *data = dstream_batch_data(batch, &len);
    (void)ctx, (void)reader;
    if (now_ms() < ready_at) {
        refused = 1;
        return DSTREAM_FLOW_HOLD; /* the position stays before it */
    }
    if (fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0)
        return DSTREAM_FLOW_STOP;
    ready_at = now_ms() + EVERY_MS;
    return DSTREAM_FLOW_NEXT;
}

static void on_end(void *ctx, dstream_reader *reader, enum dstream_code code)
{
    int *failed = ctx;
    ended = 1;
    if (code == DSTREAM_OK)
        return;
    *failed = 1;
    fprintf(stderr, "%s\n", dstream_error_message(dstream_reader_error(reader)));
}

static void run(dstream_loop *loop, dstream_reader *reader)
{
    while (!ended) {
        long long left = ready_at - now_ms();
        /* -1: nothing of ours is due. */
        dstream_loop_turn(loop, !refused ? -1 : left > 0 ? left : 0);
        if (refused && now_ms() >= ready_at) {
            refused = 0;
            dstream_reader_resume(reader);
        }
    }
}

int main(int argc, char **argv)
{
    int failed = 0;
    dstream_loop *loop = dstream_loop_new();
    dstream_options *options = dstream_options_new();
    dstream_reader *reader = NULL;
    if (argc == 2 && loop && options && dstream_options_set_live(options, DSTREAM_LIVE_AUTO) == 0 &&
        dstream_reader_open(&reader, loop, argv[1], options) == 0 &&
        dstream_reader_start(reader, on_batch, on_end, &failed) == 0)
        run(loop, reader);
    else
        failed = fprintf(stderr, "usage: slowly URL\n");
    dstream_reader_free(reader);
    dstream_options_free(options);
    dstream_loop_free(loop);
    return failed != 0;
}
