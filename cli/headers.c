/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/headers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/header.h"

#define FILE_MAX ((size_t)256 * 1024) /* of a file of headers */

static bool is_named(const char *header, size_t n, const char *name)
{
    size_t len = strlen(name);
    return n > len && header[len] == ':' && strncasecmp(header, name, len) == 0;
}

static bool is_secret(const char *header, size_t n)
{
    return is_named(header, n, "authorization") || is_named(header, n, "cookie") ||
           is_named(header, n, "proxy-authorization");
}

/* NULL, or what is wanted instead. */
static const char *add(struct ds_cli_options *o, struct ds_texts *list, const char *header,
                       size_t n)
{
    const char **at = ds_realloc(list->at, (list->n + 1) * sizeof *at);
    if (at)
        list->at = at;
    const char *copy = at ? ds_cli_own(o, header, n) : NULL;
    if (!copy)
        return "more memory";
    list->at[list->n++] = copy;
    const char *why;
    return memchr(header, '\0', n) || ds_header_check(copy, &why) != DSTREAM_OK
               ? "'Name: value' of a header that dstream does not set itself, or @FILE"
               : NULL;
}

const char *ds_headers_add(struct ds_cli_options *o, const char *header)
{
    return add(o, &o->headers, header, strlen(header));
}

bool ds_headers_have(const struct ds_cli_options *o, const char *name)
{
    for (size_t i = 0; i < o->headers.n; i++) {
        if (is_named(o->headers.at[i], strlen(o->headers.at[i]), name))
            return true;
    }
    return false;
}

static const char *add_lines(struct ds_cli_options *o, struct ds_texts *list, const char *p,
                             size_t n)
{
    const char *wanted = NULL;
    while (n > 0 && !wanted) {
        const char *lf = memchr(p, '\n', n);
        size_t line = lf ? (size_t)(lf - p) : n;
        size_t len = line > 0 && p[line - 1] == '\r' ? line - 1 : line;
        if (len > 0)
            wanted = add(o, list, p, len);
        p += line + (lf != NULL);
        n -= line + (lf != NULL);
    }
    return wanted ? "@ and a file of lines that are all 'Name: value'" : NULL;
}

/* Appends what the file has. The same. */
static const char *read_file(struct ds_buf *b, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return "@ and the name of a file that can be read";
    char part[4096];
    size_t n;
    const char *wanted = NULL;
    while (!wanted && (n = fread(part, 1, sizeof part, f)) > 0) {
        if (ds_buf_add(b, part, n) != DSTREAM_OK)
            wanted = "@ and the name of a file of at most 256 KiB";
    }
    if (!wanted && ferror(f))
        wanted = "@ and the name of a file that can be read";
    fclose(f);
    return wanted;
}

static const char *take_file(struct ds_cli_options *o, struct ds_texts *list, const char *path)
{
    struct ds_buf b;
    ds_buf_init(&b, FILE_MAX);
    const char *wanted = read_file(&b, path);
    if (!wanted)
        wanted = add_lines(o, list, b.data, b.len);
    ds_buf_free(&b);
    return wanted;
}

static const char *take(struct ds_cli_options *o, struct ds_texts *list, char *value)
{
    if (value[0] == '@')
        return take_file(o, list, value + 1);
    size_t n = strlen(value);
    const char *wanted = add(o, list, value, n);
    if (is_secret(value, n)) {
        o->secret_in_argv = true;
        char *secret = strchr(value, ':') + 1;
        memset(secret, '*', strlen(secret));
    }
    return wanted;
}

const char *ds_headers_take(struct ds_cli_options *o, char *value)
{
    return take(o, &o->headers, value);
}

const char *ds_headers_take_to(struct ds_cli_options *o, char *value)
{
    return take(o, &o->to_headers, value);
}

const char *ds_headers_auth_to(struct ds_cli_options *o, const char *path)
{
    static const char wants[] =
        "the name of a file whose first line is the value of an Authorization header";
    struct ds_buf file, line;
    ds_buf_init(&file, FILE_MAX);
    ds_buf_init(&line, FILE_MAX);
    const char *text = read_file(&file, path) ? NULL : ds_buf_str(&file);
    size_t n = text ? strcspn(text, "\r\n") : 0;
    bool ok = n > 0 && ds_buf_adds(&line, "Authorization: ") == DSTREAM_OK &&
              ds_buf_add(&line, text, n) == DSTREAM_OK &&
              !add(o, &o->to_headers, line.data, line.len);
    ds_buf_free(&file);
    ds_buf_free(&line);
    return ok ? NULL : wants;
}
