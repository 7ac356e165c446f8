/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects a stream up to where it ends now, and prints what it is: the messages of a JSON stream,
 * a line each with its number; text as it is; of anything else the number of bytes.
 *
 *   cc -o collect collect.c $(pkg-config --cflags --libs libdstream)
 *   ./collect URL
 */
#include <dstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *all;
static size_t have;

static int collect_bytes(const dstream_batch *batch)
{
    size_t len;
    const char *data = dstream_batch_data(batch, &len);
    char *more = len > 0 ? realloc(all, have + len) : all;
    if (len > 0 && !more)
        return 0;
    all = more;
    if (len > 0)
        memcpy(all + have, data, len);
    have += len;
    return 1;
}

/* Each is the writer's own bytes, lent until the next batch is asked for. Nothing was parsed. */
static void print_messages(const dstream_batch *batch)
{
    static size_t before;
    for (size_t i = 0; i < dstream_batch_count(batch); i++) {
        size_t len;
        const char *message = dstream_batch_message(batch, i, &len);
        printf("%zu %.*s\n", before + i, (int)len, message);
    }
    before += dstream_batch_count(batch);
}

static int collect(dstream_reader *reader)
{
    const dstream_batch *batch;
    enum dstream_next next;
    while ((next = dstream_reader_next(reader, -1, &batch)) == DSTREAM_NEXT_BATCH) {
        if (dstream_batch_flags(batch) & DSTREAM_BATCH_JSON)
            print_messages(batch);
        else if (!collect_bytes(batch))
            return 1;
    }
    if (next != DSTREAM_NEXT_END) {
        fprintf(stderr, "%s\n", dstream_error_message(dstream_reader_error(reader)));
        return 1;
    }
    if (strncmp(dstream_reader_content_type(reader), "text/", 5) == 0)
        fwrite(all, 1, have, stdout);
    else if (have > 0)
        printf("%zu bytes\n", have);
    return fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
    dstream_reader *reader = NULL;
    int status = 1;
    /* Without options: from the beginning, and not live. */
    if (argc == 2 && dstream_reader_open(&reader, NULL, argv[1], NULL) == DSTREAM_OK)
        status = collect(reader);
    else
        fprintf(stderr, "usage: collect URL\n");
    dstream_reader_free(reader);
    free(all);
    return status;
}
