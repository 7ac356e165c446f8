/* SPDX-License-Identifier: Apache-2.0 */
/* The test's context: memory, bytes, files, its beginning and its end. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* In front of each piece of memory, so that the end can free them all. */
struct block {
    struct block *prev, *next;
    max_align_t data[];
};

/* Servers that a test plays take memory on their own threads. */
static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block blocks = {&blocks, &blocks};
static enum e2e_server kind;
static char directory[256];

enum e2e_server e2e_kind(void)
{
    return kind;
}

bool e2e_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return true;
#elif defined(__has_feature)
    return __has_feature(address_sanitizer); /* clang's way to tell */
#else
    return false;
#endif
}

unsigned e2e_stride(void)
{
    return e2e_sanitized() && e2e_soak() == 1 ? 5 : 1;
}

unsigned e2e_step_stride(void)
{
    if (e2e_soak() > 1)
        return 1;
    return e2e_sanitized() || kind == E2E_REFERENCE ? 31 : 11;
}

unsigned long e2e_soak(void)
{
    const char *n = getenv("DSTREAM_SOAK");
    return n && *n ? strtoul(n, NULL, 10) : 1;
}

uint64_t e2e_fresh_seed(void)
{
    const char *given = getenv("DSTREAM_SEED");
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return given && *given ? strtoull(given, NULL, 10)
                           : (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int64_t e2e_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- memory and bytes ------------------------------------------------------------------------- */

void *e2e_realloc(void *p, size_t n)
{
    struct block *b = NULL;
    pthread_mutex_lock(&blocks_lock);
    if (p) {
        b = (struct block *)(void *)((char *)p - offsetof(struct block, data));
        b->prev->next = b->next;
        b->next->prev = b->prev;
    }
    b = realloc(b, sizeof *b + n);
    if (!b)
        abort();
    b->prev = &blocks;
    b->next = blocks.next;
    b->next->prev = b;
    blocks.next = b;
    pthread_mutex_unlock(&blocks_lock);
    return b->data;
}

void *e2e_alloc(size_t n)
{
    return memset(e2e_realloc(NULL, n), 0, n);
}

char *e2e_printf(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *s = e2e_alloc((size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, args);
    va_end(args);
    return s;
}

void e2e_add(struct e2e_bytes *b, const void *p, size_t n)
{
    if (b->n + n + 1 > b->cap) {
        b->cap = (b->n + n + 1) * 2;
        b->p = e2e_realloc(b->p, b->cap);
    }
    if (n > 0)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void e2e_add_text(struct e2e_bytes *b, const char *text)
{
    e2e_add(b, text, strlen(text));
}

struct e2e_bytes e2e_text(const char *text)
{
    struct e2e_bytes b = {0};
    e2e_add_text(&b, text);
    return b;
}

/* xorshift64*. */
uint64_t e2e_draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DULL;
}

uint64_t e2e_below(uint64_t *state, uint64_t n)
{
    return (e2e_draw(state) >> 16) % n;
}

struct e2e_bytes e2e_random(size_t n, uint64_t seed)
{
    struct e2e_bytes b = {e2e_alloc(n + 1), n, n + 1};
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < n; i++)
        b.p[i] = (char)(e2e_draw(&state) >> 56);
    return b;
}

/* What is around place `at`, printable. */
static const char *around(struct e2e_bytes b, size_t at)
{
    size_t from = at > 24 ? at - 24 : 0, to = at + 24 < b.n ? at + 24 : b.n;
    struct e2e_bytes s = {0};
    e2e_add(&s, "", 0);
    for (size_t i = from; i < to; i++) {
        unsigned char c = (unsigned char)b.p[i];
        e2e_add_text(&s, c >= ' ' && c < 127 ? e2e_printf("%c", c) : e2e_printf("\\x%02x", c));
    }
    return s.p;
}

void e2e_same(const char *what, struct e2e_bytes got, struct e2e_bytes want)
{
    size_t n = got.n < want.n ? got.n : want.n, i = 0;
    while (i < n && got.p[i] == want.p[i])
        i++;
    if (i < n || got.n != want.n)
        cr_assert_fail("%s: differs at %zu of %zu bytes, %zu wanted\n  got  \"%s\"\n  want \"%s\"",
                       what, i, got.n, want.n, around(got, i), around(want, i));
}

/* --- files ------------------------------------------------------------------------------------ */

char *e2e_path(const char *name)
{
    return e2e_printf("%s/%s", directory, name);
}

bool e2e_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

struct e2e_bytes e2e_read_file(const char *path)
{
    struct e2e_bytes b = {0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        cr_assert_fail("%s: %s", path, strerror(errno));
    b.cap = (size_t)st.st_size + 1;
    b.p = e2e_alloc(b.cap);
    ssize_t n;
    char piece[65536];
    while ((n = read(fd, piece, sizeof piece)) > 0)
        e2e_add(&b, piece, (size_t)n);
    close(fd);
    if (n < 0)
        cr_assert_fail("%s: %s", path, strerror(errno));
    return b;
}

void e2e_write_file(const char *path, struct e2e_bytes b)
{
    FILE *f = fopen(path, "wbe");
    if (!f || fwrite(b.p, 1, b.n, f) != b.n || fclose(f) != 0)
        cr_assert_fail("%s: %s", path, strerror(errno));
}

/* Removes a directory and what is in it; directories in it as well. */
static void remove_all(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    if (!d)
        return;
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) < 0)
            remove_all(fd, e->d_name);
    }
    closedir(d);
    unlinkat(parent, name, AT_REMOVEDIR);
}

/* --- begin and end ---------------------------------------------------------------------------- */

void e2e_begin(enum e2e_server server)
{
    const char *tmp = getenv("TMPDIR"), *reference = getenv("DSTREAM_E2E_REFERENCE");
    /* Before anything is made, since a test that is skipped has no end. */
    if (server == E2E_REFERENCE && (!reference || !*reference))
        cr_skip("DSTREAM_E2E_REFERENCE names no reference server");
    kind = server;
    snprintf(directory, sizeof directory, "%s/dstream-e2e-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(directory))
        cr_assert_fail("%s: %s", directory, strerror(errno));
    e2e_web_begin(server);
}

void e2e_end(void)
{
    e2e_web_end();
    e2e_processes_end();
    remove_all(AT_FDCWD, directory);
    while (blocks.next != &blocks) {
        struct block *b = blocks.next;
        blocks.next = b->next;
        free(b);
    }
    blocks.prev = &blocks;
}

void e2e_wait_for(bool (*done)(void *ctx), void *ctx, const char *what)
{
    int64_t limit = e2e_now() + E2E_MS;
    for (long pause = 200000; !done(ctx); pause = pause < 20000000 ? pause * 2 : pause) {
        if (e2e_now() > limit)
            cr_assert_fail("waited for %s in vain", what);
        nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
    }
}
