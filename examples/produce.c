/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appends the lines of standard input to a text stream, each of them once, and prints the offset
 * behind the last one.
 *
 *   cc -o produce produce.c $(pkg-config --cflags --libs libdstream)
 *   ./produce URL <LINES
 */
#include <dstream.h>
#include <stdio.h>
#include <string.h>

/* Lost answers and busy servers are the producer's business; a failure here is one that stays. */
static void on_failure(void *ctx, dstream_producer *p, const dstream_result *r)
{
    (void)ctx;
    (void)p;
    fprintf(stderr, "lines %llu to %llu %s: %s\n", (unsigned long long)dstream_result_first(r) + 1,
            (unsigned long long)(dstream_result_first(r) + dstream_result_count(r)),
            dstream_result_fate(r) == DSTREAM_FATE_UNKNOWN ? "may be stored" : "are not stored",
            dstream_error_message(dstream_result_error(r)));
}

static int produce(dstream_producer *p)
{
    char line[65536];
    while (fgets(line, sizeof line, stdin)) {
        if (dstream_producer_append(p, line, strlen(line), -1, NULL) != DSTREAM_APPEND_TAKEN) {
            fprintf(stderr, "%s\n", dstream_error_message(dstream_producer_refusal(p)));
            return 1;
        }
    }
    /* Only now is it known of all of them. */
    if (dstream_producer_detach(p, -1) != DSTREAM_OK) {
        const dstream_error *e = dstream_producer_error(p);
        fprintf(stderr, "%s: %s\n", dstream_code_name(dstream_error_code(e)),
                dstream_error_message(e));
        return 1;
    }
    printf("%s\n", dstream_producer_offset(p));
    return 0;
}

int main(int argc, char **argv)
{
    dstream_producer *p = NULL;
    if (argc != 2 ||
        dstream_producer_open(&p, NULL, argv[1], "text/plain", NULL, NULL) != DSTREAM_OK) {
        fprintf(stderr, "usage: produce URL <LINES\n");
        return 1;
    }
    dstream_producer_on_failure(p, on_failure, NULL);
    int status = produce(p);
    dstream_producer_free(p);
    return status;
}
