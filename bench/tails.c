/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many streams followed at once by one process on one thread: what it takes.
 *
 *   tails [-n STREAMS] [-r ROUNDS] [-i SECONDS] [-p] [-c] DSTREAM
 *
 * Starts `DSTREAM serve` and a writer, which are processes of their own. Follows STREAMS (1000)
 * JSON streams, by long-poll with -p; has a message written to each of them ROUNDS (10) times,
 * which must all come, once and in order; then stands idle for SECONDS (60), and prints time,
 * memory, CPU and requests. With -c it fails where that is over 64 MiB, 1 % of a core, or two
 * requests a minute of any stream.
 */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/loop.h"
#include "client/reader.h"

#define MOST_KIB    (64 * 1024)
#define MOST_CPU    1.0 /* % */
#define MOST_ASKED  2   /* a minute */
#define PATIENCE_MS 60000

static unsigned streams = 1000, rounds = 10, idle_s = 60;
static bool long_poll, check;
static pid_t server, writer;
static char base[256];

static void stop(void)
{
    if (writer > 0)
        kill(writer, SIGKILL);
    if (server > 0)
        kill(server, SIGKILL);
}

static void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "tails: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    stop();
    exit(1);
}

/* --- the server and the writer ---------------------------------------------------------------- */

static void start_server(const char *dstream)
{
    int out[2];
    if (pipe(out) != 0 || (server = fork()) < 0)
        fail("cannot start the server");
    if (server == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        /* A short idle time must not fall together with the end of all connections. */
        const char *time = idle_s < 60 ? "10m" : NULL;
        execlp(dstream, dstream, "serve", "--listen", "127.0.0.1:0", time ? "--sse-time" : NULL,
               time, "--poll-time", time, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    if (!f || !fgets(base, sizeof base, f))
        fail("%s does not serve", dstream);
    base[strcspn(base, "\n")] = '\0';
    fclose(f);
}

static int connected(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)atoi(strrchr(base, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        _exit(3);
    return fd;
}

/* One request whose answer is a head alone. */
static void ask(int fd, const char *method, unsigned stream, const char *body)
{
    char text[4096];
    size_t have = 0;
    int n = snprintf(text, sizeof text,
                     "%s /%u HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     method, stream, strlen(body), body);
    if (write(fd, text, (size_t)n) != n)
        _exit(3);
    do {
        ssize_t got = read(fd, text + have, sizeof text - 1 - have);
        if (got <= 0)
            _exit(3);
        have += (size_t)got;
        text[have] = '\0';
    } while (!strstr(text, "\r\n\r\n") && have < sizeof text - 1);
    if (strncmp(text, "HTTP/1.1 20", 11) != 0)
        _exit(3);
}

/* For each byte that comes: the first makes the streams, each other one is a round. */
static void write_rounds(int orders, int done)
{
    int fd = connected();
    char byte;
    for (unsigned round = 0; read(orders, &byte, 1) == 1; round++) {
        for (unsigned i = 0; i < streams; i++) {
            char body[64];
            snprintf(body, sizeof body, "[[%u,%u]]", i, round - 1);
            ask(fd, round == 0 ? "PUT" : "POST", i, round == 0 ? "" : body);
        }
        if (write(done, "", 1) != 1)
            break;
    }
    _exit(0);
}

static int orders, done;

static void start_writer(void)
{
    int to[2], from[2];
    if (pipe(to) != 0 || pipe(from) != 0 || (writer = fork()) < 0)
        fail("cannot start the writer");
    if (writer == 0) {
        close(to[1]);
        close(from[0]);
        write_rounds(to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    orders = to[1];
    done = from[0];
}

static void order_round(void)
{
    if (write(orders, "", 1) != 1)
        fail("the writer has gone");
}

static void await_round(void)
{
    char byte;
    if (read(done, &byte, 1) != 1)
        fail("the writer has failed");
}

/* --- the readers ------------------------------------------------------------------------------ */

struct tail {
    dstream_reader *reader;
    unsigned number, messages, asked;
    bool up_to_date;
};

static struct tail *tails;
static unsigned long messages, live;

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    struct tail *t = ctx;
    (void)r;
    for (size_t i = 0; i < dstream_batch_count(b); i++) {
        char want[64];
        size_t n, len = (size_t)snprintf(want, sizeof want, "[%u,%u]", t->number, t->messages);
        const char *got = dstream_batch_message(b, i, &n);
        if (n != len || memcmp(got, want, n) != 0)
            fail("stream %u: '%.*s' came and not '%s'", t->number, (int)n, got, want);
        t->messages++;
        messages++;
    }
    live += !t->up_to_date && (dstream_batch_flags(b) & DSTREAM_BATCH_UP_TO_DATE);
    t->up_to_date |= (dstream_batch_flags(b) & DSTREAM_BATCH_UP_TO_DATE) != 0;
    return DSTREAM_FLOW_NEXT;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct tail *t = ctx;
    (void)code;
    fail("stream %u: %s", t->number, dstream_error_message(dstream_reader_error(r)));
}

static void on_trace(void *ctx, const char *method, const char *url, int status)
{
    struct tail *t = ctx;
    (void)method, (void)url;
    t->asked += status == 0;
}

static void start_tails(dstream_loop *loop)
{
    dstream_options *o = dstream_options_new();
    tails = calloc(streams, sizeof *tails);
    if (!tails || !o)
        fail("no memory");
    dstream_options_set_live(o, long_poll ? DSTREAM_LIVE_LONG_POLL : DSTREAM_LIVE_AUTO);
    for (unsigned i = 0; i < streams; i++) {
        struct tail *t = &tails[i];
        char url[300];
        t->number = i;
        snprintf(url, sizeof url, "%s/%u", base, i);
        ds_options_set_trace(o, on_trace, t);
        if (dstream_reader_open(&t->reader, loop, url, o) != DSTREAM_OK ||
            dstream_reader_start(t->reader, on_batch, on_end, t) != DSTREAM_OK)
            fail("stream %u cannot be read", i);
    }
    dstream_options_free(o);
}

/* --- what it takes ---------------------------------------------------------------------------- */

static long status_kib(const char *name)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, name, strlen(name)) == 0)
            kib = atol(line + strlen(name) + 1);
    }
    if (f)
        fclose(f);
    return kib;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int64_t turn_until(dstream_loop *loop, const unsigned long *what, unsigned long want)
{
    int64_t from = ds_loop_update(loop);
    while (*what < want) {
        dstream_loop_turn(loop, 1000);
        if (ds_loop_update(loop) - from > PATIENCE_MS)
            fail("%lu of %lu came", *what, want);
    }
    return ds_loop_update(loop) - from;
}

static void stand_idle(dstream_loop *loop)
{
    int64_t end = ds_loop_update(loop) + idle_s * 1000LL;
    unsigned most = 0;
    unsigned long all = 0;
    for (unsigned i = 0; i < streams; i++)
        tails[i].asked = 0;
    double before = cpu_s();
    for (int64_t left; (left = end - ds_loop_update(loop)) > 0;)
        dstream_loop_turn(loop, left);
    double cpu = (cpu_s() - before) / idle_s * 100;
    for (unsigned i = 0; i < streams; i++) {
        all += tails[i].asked;
        most = tails[i].asked > most ? tails[i].asked : most;
    }
    printf("idle for %u s: %.2f %% of a core; %lu requests, at most %u of one stream\n", idle_s,
           cpu, all, most);
    if (check && (cpu > MOST_CPU || most > (MOST_ASKED * idle_s + 59) / 60))
        fail("that is too much");
}

static void measure(dstream_loop *loop)
{
    printf("%u streams are live after %lld ms\n", streams,
           (long long)turn_until(loop, &live, streams));
    int64_t ms = 0;
    for (unsigned r = 1; r <= rounds; r++) {
        order_round();
        ms += turn_until(loop, &messages, (unsigned long)r * streams);
        await_round();
    }
    printf("%lu messages came in %lld ms, written one after another\n", messages, (long long)ms);
    if (idle_s > 0)
        stand_idle(loop);
    long now = status_kib("VmRSS"), peak = status_kib("VmHWM");
    printf("resident: %.1f MiB, %.1f at most; threads: %ld\n", (double)now / 1024,
           (double)peak / 1024, status_kib("Threads"));
    if (check && (peak > MOST_KIB || status_kib("Threads") != 1))
        fail("that is too much");
}

static const char *options(int argc, char **argv)
{
    int o;
    while ((o = getopt(argc, argv, "n:r:i:pc")) != -1) {
        unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (o) {
        case 'n':
            streams = n;
            break;
        case 'r':
            rounds = n;
            break;
        case 'i':
            idle_s = n;
            break;
        case 'p':
            long_poll = true;
            break;
        case 'c':
            check = true;
            break;
        default:
            exit(2);
        }
    }
    if (optind + 1 != argc)
        fail("usage: tails [-n STREAMS] [-r ROUNDS] [-i SECONDS] [-p] [-c] DSTREAM");
    return argv[optind];
}

int main(int argc, char **argv)
{
    struct rlimit files;
    const char *dstream = options(argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    start_server(dstream);
    start_writer();
    order_round();
    await_round();
    dstream_loop *loop = dstream_loop_new();
    if (!loop)
        fail("no loop");
    start_tails(loop);
    measure(loop);
    for (unsigned i = 0; i < streams; i++)
        dstream_reader_free(tails[i].reader);
    free(tails);
    dstream_loop_free(loop);
    stop();
    return 0;
}
