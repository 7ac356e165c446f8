/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

#define STATUS_MAX ((size_t)4096)

struct ds_notify {
    int fd;
    struct sockaddr_un to;
    socklen_t to_len; /* 0: there is a watchdog, and nobody to tell */
    int64_t interval;
    bool ready, stopping, reloading;
    struct ds_buf status; /* as it was said last */
};

/* --- from the environment --------------------------------------------------------------------- */

/* "/PATH", or "@NAME" in the abstract name space. Those of other kinds are not spoken to. */
static void set_address(struct ds_notify *n, const char *name)
{
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof n->to.sun_path)
        return;
    n->to.sun_family = AF_UNIX;
    memcpy(n->to.sun_path, name, len);
    if (name[0] == '@')
        n->to.sun_path[0] = '\0';
    n->to_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/' ? 1 : 0));
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static bool number(const char *text, unsigned long long *out)
{
    char *end;
    if (!text || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

/* Half of what the watchdog allows, as sd_watchdog_enabled(3) has it; 0 where it is that of another
 * process. */
static int64_t interval_of(const char *usec, const char *pid)
{
    unsigned long long us, id;
    if (!number(usec, &us) || us == 0 || us > INT64_MAX)
        return 0;
    if (pid && (!number(pid, &id) || id != (unsigned long long)getpid()))
        return 0;
    return us < 2000 ? 1 : (int64_t)(us / 2000);
}

struct ds_notify *ds_notify_new(void)
{
    const char *to = getenv("NOTIFY_SOCKET");
    struct ds_notify *n = to ? ds_calloc(1, sizeof *n) : NULL;
    if (n) {
        n->fd = -1;
        ds_buf_init(&n->status, STATUS_MAX);
        set_address(n, to);
        n->interval = interval_of(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    }
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return n;
}

void ds_notify_free(struct ds_notify *n)
{
    if (!n)
        return;
    if (n->fd >= 0)
        close(n->fd);
    ds_buf_free(&n->status);
    ds_free(n);
}

/* --- what is said ----------------------------------------------------------------------------- */

static bool say(struct ds_notify *n, const char *text, size_t len)
{
    return n->fd >= 0 && sendto(n->fd, text, len, MSG_NOSIGNAL, (const struct sockaddr *)&n->to,
                                n->to_len) == (ssize_t)len;
}

static bool say_text(struct ds_notify *n, const char *text)
{
    return say(n, text, strlen(text));
}

void ds_notify_ready(struct ds_notify *n)
{
    if (n && !n->ready)
        n->ready = say_text(n, "READY=1");
}

bool ds_notify_is_ready(const struct ds_notify *n)
{
    return !n || n->ready;
}

void ds_notify_status(struct ds_notify *n, const struct ds_buf *text)
{
    static const char name[] = "STATUS=";
    size_t name_len = sizeof name - 1;
    if (!n || (n->status.len == name_len + text->len &&
               memcmp(n->status.data + name_len, text->data, text->len) == 0))
        return;
    n->status.len = 0;
    if (ds_buf_adds(&n->status, name) != DSTREAM_OK ||
        ds_buf_add(&n->status, text->data, text->len) != DSTREAM_OK ||
        !say(n, n->status.data, n->status.len))
        n->status.len = 0;
}

void ds_notify_reloading(struct ds_notify *n, bool over)
{
    char text[64];
    struct timespec t;
    if (!n || !n->ready || n->stopping || n->reloading != over)
        return;
    clock_gettime(CLOCK_MONOTONIC, &t);
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
    if (say_text(n, over ? "READY=1" : text))
        n->reloading = !over;
}

void ds_notify_stopping(struct ds_notify *n)
{
    if (n && !n->stopping)
        n->stopping = say_text(n, "STOPPING=1");
}

int64_t ds_notify_interval(const struct ds_notify *n)
{
    return n ? n->interval : 0;
}

void ds_notify_alive(struct ds_notify *n)
{
    if (n)
        (void)say_text(n, "WATCHDOG=1");
}

bool ds_notify_journal(FILE *f)
{
    struct stat st;
    const char *is = getenv("JOURNAL_STREAM");
    char name[64];
    if (!is || fstat(fileno(f), &st) != 0)
        return false;
    (void)snprintf(name, sizeof name, "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    return strcmp(is, name) == 0;
}
