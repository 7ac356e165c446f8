/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows several JSON streams at once, by callbacks on one loop, until all are closed, and prints
 * each message behind the URL of its stream.
 *
 *   cc -o merge merge.c $(pkg-config --cflags --libs libdstream)
 *   ./merge URL...
 */
#include <dstream.h>
#include <stdio.h>
#include <stdlib.h>

static int running, failed;

static enum dstream_flow on_batch(void *url, dstream_reader *reader, const dstream_batch *batch)
{
    (void)reader;
    for (size_t i = 0; i < dstream_batch_count(batch); i++) {
        size_t len;
        const char *message = dstream_batch_message(batch, i, &len);
        printf("%s\t%.*s\n", (char *)url, (int)len, message);
    }
    return fflush(stdout) == 0 ? DSTREAM_FLOW_NEXT : DSTREAM_FLOW_STOP;
}

/* One that fails leaves the others alone. */
static void on_end(void *url, dstream_reader *reader, enum dstream_code code)
{
    running--;
    if (code == DSTREAM_OK)
        return;
    failed = 1;
    fprintf(stderr, "%s: %s\n", (char *)url, dstream_error_message(dstream_reader_error(reader)));
}

int main(int argc, char **argv)
{
    dstream_loop *loop = dstream_loop_new();
    dstream_options *options = dstream_options_new();
    dstream_reader **readers = calloc((size_t)argc, sizeof *readers);
    if (!loop || !options || !readers || dstream_options_set_live(options, DSTREAM_LIVE_AUTO) != 0)
        return 1;
    for (int i = 1; i < argc; i++) {
        if (dstream_reader_open(&readers[i], loop, argv[i], options) == 0 &&
            dstream_reader_start(readers[i], on_batch, on_end, argv[i]) == 0)
            running++;
        else
            failed = fprintf(stderr, "%s: cannot be read\n", argv[i]);
    }
    while (running > 0 && dstream_loop_turn(loop, -1) == DSTREAM_OK)
        continue;
    for (int i = 1; i < argc; i++)
        dstream_reader_free(readers[i]);
    free(readers);
    dstream_options_free(options);
    dstream_loop_free(loop);
    return failed != 0;
}
