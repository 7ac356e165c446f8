/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints a stream as it grows, until it is closed, and on standard error the offset behind each
 * batch: given as the second argument the next time, it goes on there.
 *
 *   cc -o follow follow.c $(pkg-config --cflags --libs libdstream)
 *   ./follow URL [OFFSET]
 */
#include <dstream.h>
#include <stdio.h>

/* Data comes with the position behind it. Who stores both in one step has each byte exactly once.
 */
static int print(const dstream_batch *batch)
{
    size_t len;
    const char *data = dstream_batch_data(batch, &len);
    if (fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0) {
        perror("standard output");
        return 0;
    }
    fprintf(stderr, "%s\n", dstream_batch_next(batch));
    return 1;
}

static int follow(dstream_reader *reader)
{
    const dstream_batch *batch;
    enum dstream_next next;
    /* Cut connections and busy servers are the reader's business; an error is one that stays. */
    while ((next = dstream_reader_next(reader, -1, &batch)) == DSTREAM_NEXT_BATCH) {
        if (!print(batch))
            return 1;
    }
    if (next == DSTREAM_NEXT_END)
        return 0;
    const dstream_error *e = dstream_reader_error(reader);
    fprintf(stderr, "%s: %s\n", dstream_code_name(dstream_error_code(e)), dstream_error_message(e));
    return 1;
}

int main(int argc, char **argv)
{
    int status = 1;
    dstream_reader *reader = NULL;
    dstream_options *options = dstream_options_new();
    if (argc >= 2 && options && dstream_options_set_live(options, DSTREAM_LIVE_AUTO) == 0 &&
        dstream_options_set_start(options, argc > 2 ? argv[2] : "-1", 0) == 0 &&
        dstream_reader_open(&reader, NULL, argv[1], options) == 0)
        status = follow(reader);
    else
        fprintf(stderr, "usage: follow URL [OFFSET]\n");
    dstream_reader_free(reader);
    dstream_options_free(options);
    return status;
}
