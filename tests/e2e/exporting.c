/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/scripted.h"

#include "store/pack.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the stream ------------------------------------------------------------------------------- */

struct written written_begin(char *url, const char *type)
{
    struct written w = {.url = url, .type = type};
    e2e_create(url, type);
    e2e_add(&w.want, "", 0);
    return w;
}

static void add_messages(struct written *w, size_t size)
{
    struct e2e_bytes body = e2e_text("[");
    for (unsigned i = 0; i < 3; i++) {
        const char *message = e2e_printf("{\"append\":%u,\"message\":%u,\"fill\":\"%0*d\"}", w->n,
                                         i, (int)(size / 3), 0);
        e2e_add_text(&body, e2e_printf("%s%s", i ? "," : "", message));
        e2e_add_text(&w->want, e2e_printf("%s\n", message));
    }
    e2e_add_text(&body, "]");
    e2e_append(w->url, w->type, body);
}

void written_add(struct written *w, size_t size)
{
    w->n++;
    if (strcmp(w->type, TYPE_JSON) == 0) {
        add_messages(w, size);
        return;
    }
    struct e2e_bytes body = {0};
    bool text = strcmp(w->type, TYPE_TEXT) == 0;
    while (text && body.n < size)
        e2e_add_text(&body, e2e_printf("append %u, byte %zu%s", w->n, body.n,
                                       body.n % 3 == 0   ? "\r\n"
                                       : body.n % 3 == 1 ? "\r"
                                                         : "\n "));
    if (!text)
        body = e2e_random(size, w->n);
    e2e_append(w->url, w->type, body);
    e2e_add(&w->want, body.p, body.n);
}

/* --- the files -------------------------------------------------------------------------------- */

const char *exported(void)
{
    return e2e_path("out");
}

void exported_same(const char *what, struct e2e_bytes want)
{
    e2e_same(what, e2e_read_file(exported()), want);
}

void exported_remove(void)
{
    const char *const suffixes[] = {"", ".dstate", ".dstate.tmp", ".partial", ".manifest.ndjson"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (unlink(e2e_printf("%s%s", exported(), suffixes[i])) < 0 && errno != ENOENT)
            cr_assert_fail("unlink: %s", strerror(errno));
    }
    for (size_t i = 1; unlink(e2e_printf("%s-%06zu", exported(), i)) == 0; i++)
        continue;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted. */
static char **names_in(const char *path, size_t *n)
{
    char **names = e2e_alloc(64 * sizeof *names);
    struct dirent *e;
    DIR *d = opendir(path);
    if (!d)
        cr_assert_fail("%s: %s", path, strerror(errno));
    for (*n = 0; (e = readdir(d)) && *n < 64;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            names[(*n)++] = e2e_printf("%s", e->d_name);
    }
    closedir(d);
    qsort(names, *n, sizeof *names, by_name);
    return names;
}

void exported_alone(void)
{
    struct e2e_bytes all = {0};
    size_t n;
    char **names = names_in(e2e_path(""), &n);
    for (size_t i = 0; i < n; i++)
        e2e_add_text(&all, e2e_printf("%s ", names[i]));
    e2e_same("names", all, e2e_text("out out.dstate out.dstate.lock out.lock "));
}

static bool is_lock(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".lock") == 0;
}

struct e2e_bytes snapshot(const char *directory)
{
    struct e2e_bytes all = {0};
    size_t n;
    char **names = names_in(directory, &n);
    e2e_add(&all, "", 0);
    for (size_t i = 0; i < n; i++) {
        char *path = e2e_printf("%s/%s", directory, names[i]);
        struct stat st;
        if (is_lock(names[i]))
            continue;
        cr_assert_eq(lstat(path, &st), 0);
        e2e_add_text(&all, e2e_printf("%s: inode %ju, changed %jd.%09ld, %jd bytes\n", names[i],
                                      (uintmax_t)st.st_ino, (intmax_t)st.st_mtim.tv_sec,
                                      st.st_mtim.tv_nsec, (intmax_t)st.st_size));
        if (S_ISREG(st.st_mode)) {
            struct e2e_bytes b = e2e_read_file(path);
            e2e_add(&all, b.p, b.n);
        }
    }
    return all;
}

struct e2e_bytes snapshot_all(void)
{
    return snapshot(e2e_path(""));
}

static int add_unpacked(void *ctx, const void *p, size_t n)
{
    e2e_add(ctx, p, n);
    return 0;
}

struct e2e_bytes unpacked(const char *path)
{
    struct e2e_bytes packed = e2e_read_file(path), all = e2e_text("");
    bool zstd = strstr(path, ".zst") != NULL;
    struct ds_unpack *u = ds_unpack_new(zstd ? DS_PACK_ZSTD : DS_PACK_GZIP);
    cr_assert_eq(ds_unpack_add(u, packed.p, packed.n, add_unpacked, &all), 0, "%s", path);
    cr_assert(ds_unpack_is_whole(u), "%s ends in the middle of a member", path);
    ds_unpack_free(u);
    return all;
}

struct e2e_bytes rotated(const char *path, const char *suffix, size_t *n)
{
    struct e2e_bytes all = e2e_text("");
    for (*n = 0;; ++*n) {
        const char *name = e2e_printf("%s-%06zu%s", path, *n + 1, suffix);
        if (!e2e_exists(name))
            break;
        struct e2e_bytes b = e2e_read_file(name);
        cr_assert_gt(b.n, 0, "%s is empty", name);
        e2e_add(&all, b.p, b.n);
    }
    const char *last = e2e_printf("%s%s.partial", path, suffix);
    if (e2e_exists(last)) {
        struct e2e_bytes b = e2e_read_file(last);
        e2e_add(&all, b.p, b.n);
    }
    return all;
}

/* --- the state -------------------------------------------------------------------------------- */

/* What it says, or NULL while there is no state. */
static char *state_line(const char *name)
{
    if (!e2e_exists(e2e_printf("%s.dstate", exported())))
        return NULL;
    struct e2e_process *p = dstream_run("state", "show", exported());
    e2e_status(p, 0);
    const char *line = strstr(p->out_data.p, e2e_printf("\n%s: ", name));
    cr_assert_not_null(line, "no %s in: %s", name, p->out_data.p);
    line += strlen(name) + 3;
    return e2e_printf("%.*s", (int)strcspn(line, "\n"), line);
}

char *exported_state(const char *name)
{
    char *value = state_line(name);
    cr_assert_not_null(value, "there is no state");
    return value;
}

size_t exported_state_length(void)
{
    const char *value = state_line("output length");
    return value ? strtoul(value, NULL, 10) : 0;
}

size_t file_length(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

static bool file_is_long(void *n)
{
    return file_length(exported()) >= *(size_t *)n;
}

static bool partial_is_long(void *n)
{
    return file_length(e2e_printf("%s.partial", exported())) >= *(size_t *)n;
}

void exported_until_partial(size_t n)
{
    e2e_wait_for(partial_is_long, &n, e2e_printf("%zu bytes in the segment", n));
}

static bool state_is_long(void *n)
{
    return exported_state_length() >= *(size_t *)n;
}

void exported_until_length(size_t n)
{
    e2e_wait_for(file_is_long, &n, e2e_printf("%zu bytes in the file", n));
}

void exported_until_state_length(size_t n)
{
    e2e_wait_for(state_is_long, &n, e2e_printf("%zu bytes in the state", n));
}

/* --- a small disk ----------------------------------------------------------------------------- */

static void need_a_mount(const char *at)
{
    cr_assert_eq(mkdir(at, 0777), 0);
    const char *const try[] = {"unshare", "-m", "mount", "-t", "tmpfs", "none", at, NULL};
    struct e2e_process *p = e2e_finished(e2e_spawn(&(struct e2e_run){.argv = try}));
    if (p->status != 0)
        cr_skip("no tmpfs can be mounted here (not root?): a full disk is tested by a file's size "
                "limit only: %s",
                p->err_data.p);
}

/* In a mount namespace of its own, which goes with the shell. */
struct e2e_process *exported_on_small_disk(const char *size, const char *file,
                                           const char *const *arguments)
{
    static const char twice[] = "cd \"$1\" && mount -t tmpfs -o size=$2 none . && "
                                "cd . && cd \"$PWD\" && file=$3 && shift 3 || exit 90\n"
                                "\"$@\"\n"
                                "echo \"status $?, then:\" >&2; ls >&2\n"
                                "mount -o remount,size=16m \"$PWD\" || exit 91\n"
                                "\"$@\" || exit 92\n"
                                "cat \"$file\"\n";
    const char *disk = e2e_path("disk");
    need_a_mount(disk);
    const char *const *command = e2e_command(arguments);
    const char *argv[24] = {"unshare", "-m", "sh", "-c", twice, "sh", disk, size, file};
    for (size_t i = 0; command[i]; i++)
        argv[9 + i] = command[i];
    struct e2e_process *p = e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv}));
    e2e_status(p, 0);
    e2e_says(p, "the disk is full");
    cr_assert_not(e2e_exists(e2e_printf("%s/%s", disk, file)), "it was not on the small disk");
    return p;
}

/* --- a stream that is replaced ---------------------------------------------------------------- */

void exported_replaced(void *ctx, struct exchange *x)
{
    bool *live = ctx;
    const char *head = "Content-Type: application/json\r\nStream-Next-Offset: %s\r\n"
                       "Stream-Up-To-Date: true\r\n";
    char fields[256];
    if (asks(x, "live=sse")) {
        *live = true;
        answer_events(x, "");
        say(x, "event: data\ndata: [3]\n\nevent: control\n"
               "data: {\"streamNextOffset\":\"c\",\"upToDate\":true}\n\n");
        x->last = true;
        return;
    }
    snprintf(fields, sizeof fields, head, *live ? "e" : "b");
    answer(x, "200 OK", fields, *live ? "[30,40]" : "[1,2]");
}
