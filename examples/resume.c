/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a copy of a stream in a file, each byte once, over any number of runs: beside the copy it
 * stores the offset, together with how long the copy was there. What a run that was killed had
 * written behind that is cut off by the next one, which gets it again.
 *
 *   cc -o resume resume.c $(pkg-config --cflags --libs libdstream)
 *   ./resume URL COPY            the offset is in COPY.offset
 *
 * (dstream export does this with all that a loss of power and two runs at once ask for.)
 */
#define _POSIX_C_SOURCE 200809L
#include <dstream.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char state[4096], fresh[4096];
static char offset[1025] = "-1"; /* the longest there is, and its NUL */
static long length;

/* The old state or the new one is there at any moment, never half of one. */
static int store(const char *next)
{
    FILE *f = fopen(fresh, "w");
    if (!f)
        return 0;
    int ok = fprintf(f, "%ld %s\n", length, next) > 0;
    return fclose(f) == 0 && ok && rename(fresh, state) == 0;
}

static int load(void)
{
    FILE *f = fopen(state, "r");
    if (!f)
        return 1; /* the first run */
    int n = fscanf(f, "%ld %1024s", &length, offset);
    fclose(f);
    return n == 2;
}

/* Cuts what a run wrote behind the last state. A shorter file is not the one that the state is of.
 */
static int cut(FILE *out)
{
    return fseek(out, 0, SEEK_END) == 0 && ftell(out) >= length &&
           ftruncate(fileno(out), length) == 0;
}

static int copy(dstream_reader *reader, FILE *out)
{
    const dstream_batch *batch;
    enum dstream_next next;
    while ((next = dstream_reader_next(reader, -1, &batch)) == DSTREAM_NEXT_BATCH) {
        size_t len;
        const char *data = dstream_batch_data(batch, &len);
        if (fwrite(data, 1, len, out) != len || fflush(out) != 0)
            return 0;
        length += (long)len;
        if (!store(dstream_batch_next(batch)))
            return 0;
    }
    if (next != DSTREAM_NEXT_END)
        fprintf(stderr, "%s\n", dstream_error_message(dstream_reader_error(reader)));
    return next == DSTREAM_NEXT_END;
}

int main(int argc, char **argv)
{
    dstream_options *options = dstream_options_new();
    dstream_reader *reader = NULL;
    if (argc != 3 || !options || strlen(argv[2]) > sizeof state - 16) {
        fprintf(stderr, "usage: resume URL COPY\n");
        return 1;
    }
    snprintf(state, sizeof state, "%s.offset", argv[2]);
    snprintf(fresh, sizeof fresh, "%s.offset.new", argv[2]);
    FILE *out = fopen(argv[2], "a");
    int ok = out && load() && cut(out) && dstream_options_set_start(options, offset, 0) == 0 &&
             dstream_reader_open(&reader, NULL, argv[1], options) == 0 && copy(reader, out);
    if (out && fclose(out) != 0)
        ok = 0;
    dstream_reader_free(reader);
    dstream_options_free(options);
    return !ok;
}
