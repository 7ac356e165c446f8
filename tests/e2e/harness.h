/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the end-to-end tests stand on: servers, the command under test, HTTP, files and bytes.
 *
 * Each test is a process of its own, so its context is global: one temporary directory, one server,
 * the processes it started and the memory it uses, all of which go at its end. Whatever fails,
 * fails the test; no call returns an error. Nothing here waits without a limit.
 */
#ifndef DS_E2E_HARNESS_H
#define DS_E2E_HARNESS_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- tests ------------------------------------------------------------------------------------ */

enum e2e_server { E2E_NONE, E2E_EMBEDDED, E2E_REFERENCE };

void e2e_begin(enum e2e_server server);
void e2e_end(void);

#define E2E_ON(kind, prefix, suite, name)                                                          \
    Test(prefix##suite, name, .fini = e2e_end, .timeout = E2E_TEST_SECONDS)                        \
    {                                                                                              \
        e2e_begin(kind);                                                                           \
        suite##_##name();                                                                          \
    }

/* A test that needs no server of ours. */
#define E2E(suite, name)                                                                           \
    static void suite##_##name(void);                                                              \
    E2E_ON(E2E_NONE, , suite, name)                                                                \
    static void suite##_##name(void)

/* A test that runs against the embedded server only. */
#define E2E_EMBEDDED(suite, name)                                                                  \
    static void suite##_##name(void);                                                              \
    E2E_ON(E2E_EMBEDDED, embedded_, suite, name)                                                   \
    static void suite##_##name(void)

/* The same against the reference server. It is skipped unless DSTREAM_E2E_REFERENCE names the
 * folder that is installed in. */
#define E2E_REFERENCE(suite, name)                                                                 \
    static void suite##_##name(void);                                                              \
    E2E_ON(E2E_REFERENCE, reference_, suite, name)                                                 \
    static void suite##_##name(void)

/* One that runs against each server. */
#define E2E_BOTH(suite, name)                                                                      \
    static void suite##_##name(void);                                                              \
    E2E_ON(E2E_EMBEDDED, embedded_, suite, name)                                                   \
    E2E_ON(E2E_REFERENCE, reference_, suite, name)                                                 \
    static void suite##_##name(void)

#define E2E_TEST_SECONDS 600
#define E2E_MS           20000 /* how long any single thing may take */

enum e2e_server e2e_kind(void);
/* Sanitizers change sizes and times. */
bool e2e_sanitized(void);
/* For tests that meet each step in turn: on to the next one, or under sanitizers, where starting a
 * program is dear, to the fifth (an odd number, so that both of what alternates are met). */
unsigned e2e_stride(void);
/* The same for tests that end a process at each step in turn, each of which is a process or three:
 * to the eleventh, or under sanitizers and with the reference server, where the steps are the same,
 * the 31st. With DSTREAM_SOAK every step is met. */
unsigned e2e_step_stride(void);
/* DSTREAM_SOAK, by how much to do more of what is random or slow; 1 where it is not set. */
unsigned long e2e_soak(void);
/* A seed that no run had before, or the one that DSTREAM_SEED repeats. */
uint64_t e2e_fresh_seed(void);

/* --- memory and bytes ------------------------------------------------------------------------- */

/* Lives until the test ends. May be called by any thread of the test. */
void *e2e_alloc(size_t n);
void *e2e_realloc(void *p, size_t n);
char *e2e_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct e2e_bytes {
    char *p; /* never NULL once something was added; a NUL follows the last byte */
    size_t n, cap;
};

void e2e_add(struct e2e_bytes *b, const void *p, size_t n);
void e2e_add_text(struct e2e_bytes *b, const char *text);
struct e2e_bytes e2e_text(const char *text);
/* The same bytes for the same seed. */
struct e2e_bytes e2e_random(size_t n, uint64_t seed);
uint64_t e2e_draw(uint64_t *state);
/* 0..n-1 */
uint64_t e2e_below(uint64_t *state, uint64_t n);
/* Fails with the first difference and what surrounds it. */
void e2e_same(const char *what, struct e2e_bytes got, struct e2e_bytes want);

/* --- files ------------------------------------------------------------------------------------ */

/* A path in the test's directory. */
char *e2e_path(const char *name);
struct e2e_bytes e2e_read_file(const char *path);
void e2e_write_file(const char *path, struct e2e_bytes b);
bool e2e_exists(const char *path);

/* --- processes -------------------------------------------------------------------------------- */

struct e2e_process {
    pid_t pid;
    int in, out, err;                    /* our ends; -1 where closed */
    struct e2e_bytes out_data, err_data; /* what came so far */
    bool ended;
    int status;   /* exit code, or 128 + the signal it died of */
    long max_rss; /* KiB */
    const char *line;
    struct e2e_process *next;
};

struct e2e_run {
    const char *const *argv; /* ended by NULL */
    const char *out;         /* file to write standard output to; NULL: collect it */
    const char *const *env;  /* "NAME=value"..., ended by NULL; NULL: nothing added */
    bool input;              /* standard input is a pipe (`in`), else empty */
    uint64_t max_file;       /* RLIMIT_FSIZE; 0: none */
    size_t max_files;        /* RLIMIT_NOFILE; 0: as it is */
};

struct e2e_process *e2e_spawn(const struct e2e_run *run);
/* Collects output until both streams have ended and it has, and returns its status. */
int e2e_wait(struct e2e_process *p);
/* Collects output until `done(p, ctx)`; fails if it ends before that. */
void e2e_until(struct e2e_process *p, bool (*done)(const struct e2e_process *p, const void *ctx),
               const void *ctx, const char *what);
/* Until so many bytes have come on standard output; until a text is in the messages. */
void e2e_until_out(struct e2e_process *p, size_t n);
void e2e_until_err(struct e2e_process *p, const char *text);
void e2e_give(struct e2e_process *p, struct e2e_bytes b);
void e2e_end_input(struct e2e_process *p);
void e2e_kill(struct e2e_process *p, int signal);

/* The command under test. Its limits of time and the like are shortened by this; "" to begin with.
 */
void e2e_limits(const char *text);
#define dstream_start(...)                                                                         \
    e2e_spawn(&(struct e2e_run){.argv = e2e_command((const char *const[]){__VA_ARGS__, NULL})})
#define dstream_run(...) e2e_finished(dstream_start(__VA_ARGS__))
/* argv of the command with these arguments. */
const char *const *e2e_command(const char *const *args);
/* Waits for the process and returns it. */
struct e2e_process *e2e_finished(struct e2e_process *p);
/* Fails, showing the command and its messages, unless it ended with `status`. */
#define e2e_status(p, want) e2e_check_status((p), (want), __FILE__, __LINE__)
void e2e_check_status(struct e2e_process *p, int want, const char *file, int line);
/* Fails unless the text is in its messages. */
void e2e_says(struct e2e_process *p, const char *text);

/* Polls a condition that no descriptor tells about, with growing pauses; fails when the limit is
 * over. */
void e2e_wait_for(bool (*done)(void *ctx), void *ctx, const char *what);

/* --- servers and HTTP ------------------------------------------------------------------------- */

/* Starts one more embedded server with these arguments (ended by NULL) and returns its base URL. */
const char *e2e_serve(struct e2e_process **p, const char *const *args);
const char *e2e_base(void);
/* The URL of the test server's stream `name`. */
char *e2e_url(const char *name);
/* The same path on another base URL. */
char *e2e_url_at(const char *base, const char *name);

struct e2e_answer {
    long status;
    struct e2e_bytes head, body;
    char *next, *type; /* "" where missing */
    bool closed, up_to_date;
};
/* `headers` ended by NULL, or NULL. body.p NULL: none. A network error is status 0. */
struct e2e_answer e2e_http(const char *method, const char *url, const char *const *headers,
                           struct e2e_bytes body);

void e2e_create(const char *url, const char *type);
/* Appends as the stream's type `type` has it (a JSON message as it stands), and returns the offset
 * after it. */
char *e2e_append(const char *url, const char *type, struct e2e_bytes body);
void e2e_close(const char *url);
void e2e_delete(const char *url);
/* All bodies of plain GETs from `offset` on, joined. JSON: of one answer only. */
struct e2e_bytes e2e_get(const char *url, const char *offset);

#endif
