/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can have happened to the files of an export between two runs: removed, emptied, cut, changed
 * by hand, of another export, not to be written to. Each has its own message and exit code, and
 * nothing is touched; once it is put back, the export goes on, and nothing is lost.
 */
#include "config.h"

#include "tests/e2e/killing.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum damage { REMOVED, EMPTY, CUT, CHANGED, ANOTHER, READ_ONLY, A_LINK, A_DIRECTORY };
static const char *const damage_names[] = {"removed", "empty",     "cut",    "changed",
                                           "another", "read-only", "a link", "a directory"};

struct damaged {
    const char *file;
    enum damage how;
    int status;
    const char *says;
};

/* The first state would be one that is complete, so the streams stay open. */
static struct subject exported_once(const struct form *f, const char *base, const char *dir,
                                    size_t bytes)
{
    struct subject s = subject_begin(f, base);
    s.dir = dir;
    for (size_t i = 0; i < f->streams; i++) {
        written_add(&s.w[i], bytes);
        written_add(&s.w[i], bytes);
    }
    e2e_status(e2e_finished(subject_export(&s, "", "1s", NULL)), 0);
    return s;
}

static void put(const char *path, struct e2e_bytes b, size_t n)
{
    b.n = n;
    e2e_write_file(path, b);
}

static void do_damage(const struct damaged *d, const char *path, const char *other)
{
    struct e2e_bytes b = e2e_read_file(path);
    if (d->how == READ_ONLY)
        cr_assert_eq(chmod(path, 0444), 0);
    else if (d->how == EMPTY || d->how == CUT)
        put(path, b, d->how == CUT ? b.n / 2 : 0);
    else if (d->how == CHANGED) {
        b.p[b.n / 2] ^= 1;
        put(path, b, b.n);
    } else if (d->how == ANOTHER) {
        b = e2e_read_file(other);
        put(path, b, b.n);
    } else {
        cr_assert_eq(unlink(path), 0);
        if (d->how == A_LINK)
            cr_assert_eq(symlink("elsewhere", path), 0);
        if (d->how == A_DIRECTORY)
            cr_assert_eq(mkdir(path, 0777), 0);
    }
}

static void undo(const struct damaged *d, const char *path, struct e2e_bytes was)
{
    if (d->how == READ_ONLY) {
        cr_assert_eq(chmod(path, 0644), 0);
        return;
    }
    if (d->how == A_DIRECTORY)
        cr_assert_eq(rmdir(path), 0);
    else if (d->how != REMOVED)
        cr_assert_eq(unlink(path), 0);
    e2e_write_file(path, was);
}

/* Whoever may write to any file gives that up for it. */
static struct e2e_process *export_without_rights(const struct subject *s)
{
    const char *const *command = subject_command(s, "1s", NULL);
    const char *argv[64] = {"setpriv", "--bounding-set=-dac_override", "--inh-caps=-all"};
    for (size_t i = 0; command[i]; i++)
        argv[3 + i] = command[i];
    return e2e_finished(e2e_spawn(&(struct e2e_run){.argv = geteuid() == 0 ? argv : command}));
}

/* Of several streams the others go on, and are committed. */
static struct e2e_bytes untouched(const struct subject *s, const char *home, const char *file)
{
    if (s->f->streams == 1 || file[0] != 's')
        return snapshot(home);
    struct stat st;
    const char *path = e2e_printf("%s/%s", home, file);
    if (lstat(path, &st) < 0)
        return e2e_text("none");
    return S_ISREG(st.st_mode) ? e2e_read_file(path) : e2e_text("no file");
}

static void meets(struct subject *s, const struct damaged *d, const char *home, const char *other)
{
    const char *path = e2e_printf("%s/%s", home, d->file);
    struct e2e_bytes was = e2e_read_file(path);
    do_damage(d, path, e2e_printf("%s/%s", other, d->file));
    struct e2e_bytes before = untouched(s, home, d->file);
    struct e2e_process *p = export_without_rights(s);
    const char *what = e2e_printf("%s, %s: %s", s->f->name, d->file, damage_names[d->how]);
    if (p->status != d->status || !strstr(p->err_data.p, d->says))
        cr_assert_fail("%s: ended with %d, not %d and \"%s\": %s", what, p->status, d->status,
                       d->says, p->err_data.p);
    if (d->status != 0)
        e2e_same(what, untouched(s, home, d->file), before);
    undo(d, path, was);
}

static void all(const struct form *f, const struct damaged *cases, size_t n)
{
    const char *here = e2e_path("here"), *there = e2e_path("there"),
               *sub = f->streams > 1 ? "/d" : "";
    cr_assert_eq(mkdir(here, 0777) | mkdir(there, 0777), 0);
    struct subject s = exported_once(f, e2e_base(), here, 400);
    /* Other streams, with other data: whose they are is said, not that they differ. */
    (void)exported_once(f, e2e_serve(NULL, NULL), there, 500);
    for (size_t i = 0; i < n; i++)
        meets(&s, &cases[i], e2e_printf("%s%s", here, sub), e2e_printf("%s%s", there, sub));
    for (size_t i = 0; i < f->streams; i++)
        written_add(&s.w[i], 400);
    subject_close(&s);
    e2e_status(e2e_finished(subject_export(&s, "", "1s", NULL)), 0);
    subject_same(&s, "all put back");
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

#define STATE(name)                                                                                \
    {name, EMPTY, 13, "the state file is empty"}, {name, CUT, 13, "the state file"},               \
        {name, CHANGED, 13, "the state file"}, {name, A_LINK, 74, "symbolic link"},                \
        {name, A_DIRECTORY, 74, "it is a directory"},                                              \
    {                                                                                              \
        name, REMOVED, 73, "has no state file"                                                     \
    }

E2E_EMBEDDED(damage, to_a_file)
{
    static const struct damaged cases[] = {
        {"out", REMOVED, 13, "it is gone, but"},
        {"out", EMPTY, 13, "it has 0 bytes where"},
        {"out", CUT, 13, "bytes where"},
        {"out", CHANGED, 13, "its contents are not those"},
        {"out", READ_ONLY, 74, "cannot open it for writing: Permission denied"},
        {"out", A_LINK, 74, "symbolic link"},
        {"out", A_DIRECTORY, 74, "it is a directory"},
        STATE("out.dstate"),
        {"out.dstate", ANOTHER, 13, "is of another stream"},
    };
    all(&(struct form){"one file", 1, NULL, NULL, NULL}, cases, COUNT(cases));
}

E2E_EMBEDDED(damage, to_a_compressed_file)
{
    static const struct damaged cases[] = {
        {"out.gz", REMOVED, 13, "it is gone, but"},
        {"out.gz", CUT, 13, "bytes where"},
        {"out.gz", CHANGED, 13, "its contents are not those"},
    };
    all(&(struct form){"gzip", 1, NULL, "gzip", NULL}, cases, COUNT(cases));
}

/* Segments belong to who takes them; the manifest and what is not finished do not. */
E2E_EMBEDDED(damage, to_segments)
{
    static const struct damaged cases[] = {
        {"out.partial", REMOVED, 13, "it is gone, but"},
        {"out.partial", CUT, 13, "bytes where"},
        {"out.partial", CHANGED, 13, "its contents are not those"},
        {"out.partial", READ_ONLY, 74, "cannot open it for writing: Permission denied"},
        {"out.manifest.ndjson", REMOVED, 13, "out.manifest.ndjson: "},
        {"out.manifest.ndjson", EMPTY, 13, "out.manifest.ndjson: "},
        {"out.manifest.ndjson", CUT, 13, "out.manifest.ndjson: "},
        {"out.manifest.ndjson", READ_ONLY, 74, "out.manifest.ndjson: "},
        {"out.manifest.ndjson", A_LINK, 74, "symbolic link"},
        STATE("out.dstate"),
        {"out.dstate", ANOTHER, 13, "is of another stream"},
        {"out-000001", REMOVED, 0, ""},
        {"out-000001", EMPTY, 0, ""},
    };
    all(&(struct form){"rotated", 1, "500", NULL, NULL}, cases, COUNT(cases));
}

E2E_EMBEDDED(damage, to_a_directory)
{
    static const struct damaged cases[] = {
        {"s1", REMOVED, 13, "it is gone, but"},
        {"s1", EMPTY, 13, "it has 0 bytes where"},
        {"s1", CUT, 13, "bytes where"},
        {"s1", CHANGED, 13, "its contents are not those"},
        {"s1", READ_ONLY, 74, "cannot open it for writing: Permission denied"},
        {"s1", A_LINK, 74, "symbolic link"},
        {"s1", A_DIRECTORY, 74, "it is a directory"},
        {"MANIFEST.ndjson", REMOVED, 13, "MANIFEST.ndjson: "},
        {"MANIFEST.ndjson", EMPTY, 13, "MANIFEST.ndjson: "},
        {"MANIFEST.ndjson", CUT, 13, "MANIFEST.ndjson: "},
        {"MANIFEST.ndjson", READ_ONLY, 74, "MANIFEST.ndjson: "},
        STATE("export.dstate"),
        {"export.dstate", ANOTHER, 13, "is of another stream"},
    };
    all(&(struct form){"directory", 3, NULL, NULL, NULL}, cases, COUNT(cases));
}
