/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appends messages to a stream by a producer, and says how fast that was: from the first one
 * taken in until the last one is acknowledged.
 *
 *   append URL TYPE BYTES MESSAGES [LOST]
 *
 * BYTES: of each message. LOST: of 1000 answers so many are lost, by a proxy in between, which is
 * there from 0 on. Prints seconds, retries and the processor's seconds.
 */
#include "config.h"

#include <dstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/e2e/fault_proxy.h"

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const dstream_error *e)
{
    fprintf(stderr, "append: %s\n", dstream_error_message(e));
    exit(1);
}

/* A JSON string, which is as good as any bytes. */
static char *message_of(size_t n)
{
    char *m = malloc(n + 1);
    if (!m || n < 2)
        exit(2);
    memset(m, 'x', n);
    m[0] = m[n - 1] = '"';
    m[n] = '\0';
    return m;
}

/* The same path on the proxy. */
static char *by_way_of(const struct fault_proxy *proxy, const char *url)
{
    const char *path = strchr(url + strlen("http://"), '/');
    char *moved = malloc(strlen(fault_proxy_url(proxy)) + strlen(path) + 1);
    if (!moved)
        exit(2);
    strcpy(moved, fault_proxy_url(proxy));
    return strcat(moved, path);
}

static struct fault_proxy *proxy_to(const char *url, unsigned lost)
{
    static char server[128];
    struct fault_plan plan = {.seed = 1};
    plan.rate[FAULT_LOST_ANSWER] = lost;
    snprintf(server, sizeof server, "%.*s", (int)(7 + strcspn(url + 7, "/")), url);
    return fault_proxy_start(server, &plan);
}

static void append_all(dstream_producer *p, size_t bytes, unsigned long n)
{
    char *m = message_of(bytes);
    double start = seconds(CLOCK_MONOTONIC);
    while (n-- > 0) {
        if (dstream_producer_append(p, m, bytes, -1, NULL) != DSTREAM_APPEND_TAKEN)
            fail(dstream_producer_refusal(p));
    }
    if (dstream_producer_detach(p, -1) != DSTREAM_OK)
        fail(dstream_producer_error(p));
    printf("%.4f %llu %.4f\n", seconds(CLOCK_MONOTONIC) - start,
           (unsigned long long)dstream_producer_count(p, DSTREAM_COUNT_RETRIES),
           seconds(CLOCK_PROCESS_CPUTIME_ID));
    free(m);
}

int main(int argc, char **argv)
{
    dstream_producer *p;
    struct fault_proxy *proxy = NULL;
    if (argc < 5)
        return 2;
    char *url = strdup(argv[1]);
    if (argc > 5) {
        proxy = proxy_to(argv[1], (unsigned)strtoul(argv[5], NULL, 10));
        free(url);
        url = by_way_of(proxy, argv[1]);
    }
    if (dstream_producer_open(&p, NULL, url, argv[2], NULL, NULL) != DSTREAM_OK)
        return 2;
    append_all(p, strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
    dstream_producer_free(p);
    if (proxy)
        fault_proxy_stop(proxy);
    free(url);
    return 0;
}
