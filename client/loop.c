/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "client/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"

struct watch {
    int fd;
    unsigned what;
    uint64_t serial; /* never used twice: tells it from an earlier watch of the same number */
    ds_on_fd on_fd;
    void *ctx;
};

/* The heap is ordered by `due`, then by the order of arming. */
struct due {
    struct ds_timer *timer;
    int64_t due; /* timer->at, but never before the moment of arming */
    uint64_t serial;
};

struct dstream_loop {
    int wake[2]; /* a pipe: [0] is polled, [1] is written to */
    int64_t now;
    struct timespec glance; /* the coarse clock, when it was looked at last */
    uint64_t random;
    uint64_t serial; /* the next one */
    bool turning;
    bool broken; /* the transport's wish could not be kept for want of memory */

    struct watch *watches;
    size_t nwatches, watches_cap;
    size_t *slots; /* by descriptor: place in `watches`, plus one; 0: none */
    size_t nslots;

    /* What poll() gets: the wake-up, then the watches as they were when this was built. */
    struct pollfd *polled;
    uint64_t *polled_serial;
    size_t npolled, polled_cap;
    bool changed; /* the watches are no longer what was polled */

    struct due *heap;
    size_t nheap, heap_cap;

    struct ds_transport *transport;
    struct ds_timer transport_timer;

    dstream_on_watch on_watch; /* NULL: it waits by itself */
    void *watch_ctx;
    _Atomic(struct ds_posted *) posted; /* the last one first */
    struct ds_posted *taken;            /* of those, what is yet to be run in this turn */
};

/* --- time and chance -------------------------------------------------------------------------- */

static int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t ds_loop_now(const dstream_loop *l)
{
    return l->now;
}

int64_t ds_loop_update(dstream_loop *l)
{
    return l->now = clock_ms();
}

/* Linux has a clock that is advanced at each tick, and is read in a fraction of the time. */
#ifdef CLOCK_MONOTONIC_COARSE
#define COARSE CLOCK_MONOTONIC_COARSE
#else
#define COARSE CLOCK_MONOTONIC
#endif

int64_t ds_loop_glance(dstream_loop *l)
{
    struct timespec t;
    clock_gettime(COARSE, &t);
    if (t.tv_nsec == l->glance.tv_nsec && t.tv_sec == l->glance.tv_sec)
        return l->now;
    l->glance = t;
    return ds_loop_update(l);
}

static uint64_t seed(const void *unlike)
{
    uint64_t s;
    if (getrandom(&s, sizeof s, GRND_NONBLOCK) == (ssize_t)sizeof s)
        return s;
    struct timespec t; /* an early boot: good enough to spread retries */
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_nsec ^ (uint64_t)t.tv_sec << 30 ^ (uint64_t)getpid() << 48 ^
           (uint64_t)(uintptr_t)unlike;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t ds_loop_random(dstream_loop *l)
{
    uint64_t z = l->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

void ds_loop_random_id(dstream_loop *l, char out[DS_RANDOM_ID])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t id[2];
    if (getrandom(id, sizeof id, GRND_NONBLOCK) != (ssize_t)sizeof id) {
        id[0] = ds_loop_random(l);
        id[1] = ds_loop_random(l);
    }
    for (size_t i = 0; i < DS_RANDOM_ID - 1; i++)
        out[i] = digits[id[i / 16] >> i % 16 * 4 & 15];
    out[DS_RANDOM_ID - 1] = '\0';
}

/* --- timers ----------------------------------------------------------------------------------- */

static bool sooner(const struct due *a, const struct due *b)
{
    return a->due != b->due ? a->due < b->due : a->serial < b->serial;
}

static void place(dstream_loop *l, size_t i, struct due d)
{
    l->heap[i] = d;
    d.timer->slot = i + 1;
}

/* Puts `d` into the hole at `i`, moving the hole to where the order is right. */
static void settle(dstream_loop *l, size_t i, struct due d)
{
    while (i > 0 && sooner(&d, &l->heap[(i - 1) / 2])) {
        place(l, i, l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (size_t child; (child = 2 * i + 1) < l->nheap; i = child) {
        if (child + 1 < l->nheap && sooner(&l->heap[child + 1], &l->heap[child]))
            child++;
        if (!sooner(&l->heap[child], &d))
            break;
        place(l, i, l->heap[child]);
    }
    place(l, i, d);
}

enum dstream_code ds_timer_set(dstream_loop *l, struct ds_timer *t, int64_t at)
{
    if (t->slot == 0) {
        struct due *heap = ds_grown(l->heap, &l->heap_cap, l->nheap, sizeof *heap);
        if (!heap)
            return DSTREAM_ERR_NOMEM;
        l->heap = heap;
        t->slot = ++l->nheap;
    }
    t->at = at;
    /* One that is armed again and again for a time gone by must not get before others. */
    struct due d = {.timer = t, .due = at > l->now ? at : l->now, .serial = l->serial++};
    settle(l, t->slot - 1, d);
    return DSTREAM_OK;
}

void ds_timer_stop(dstream_loop *l, struct ds_timer *t)
{
    if (t->slot == 0)
        return;
    size_t i = t->slot - 1;
    struct due last = l->heap[--l->nheap];
    if (i < l->nheap)
        settle(l, i, last);
    t->slot = 0;
}

/* Fires what is due, but nothing that was armed meanwhile. */
static void fire_timers(dstream_loop *l)
{
    uint64_t end = l->serial;
    while (l->nheap > 0 && l->heap[0].due <= l->now && l->heap[0].serial < end) {
        struct ds_timer *t = l->heap[0].timer;
        ds_timer_stop(l, t);
        t->fire(t->ctx);
    }
}

/* --- descriptors ------------------------------------------------------------------------------ */

static struct watch *find(dstream_loop *l, int fd)
{
    size_t slot = (size_t)fd < l->nslots ? l->slots[fd] : 0;
    return slot > 0 ? &l->watches[slot - 1] : NULL;
}

static enum dstream_code reserve_slot(dstream_loop *l, int fd)
{
    size_t n = l->nslots ? l->nslots : 64;
    while (n <= (size_t)fd)
        n *= 2;
    if (n == l->nslots)
        return DSTREAM_OK;
    size_t *slots = ds_realloc(l->slots, n * sizeof *slots);
    if (!slots)
        return DSTREAM_ERR_NOMEM;
    while (l->nslots < n)
        slots[l->nslots++] = 0;
    l->slots = slots;
    return DSTREAM_OK;
}

static enum dstream_code add_watch(dstream_loop *l, struct watch w)
{
    if (reserve_slot(l, w.fd) != DSTREAM_OK)
        return DSTREAM_ERR_NOMEM;
    struct watch *all = ds_grown(l->watches, &l->watches_cap, l->nwatches, sizeof *all);
    if (!all)
        return DSTREAM_ERR_NOMEM;
    l->watches = all;
    all[l->nwatches++] = w;
    l->slots[w.fd] = l->nwatches;
    return DSTREAM_OK;
}

static void remove_watch(dstream_loop *l, struct watch *w)
{
    struct watch *last = &l->watches[--l->nwatches];
    l->slots[w->fd] = 0;
    if (w != last) {
        *w = *last;
        l->slots[w->fd] = (size_t)(w - l->watches) + 1;
    }
}

static void tell_driver(const dstream_loop *l, int fd, unsigned what)
{
    if (l->on_watch)
        l->on_watch(l->watch_ctx, fd, what & (DS_LOOP_READ | DS_LOOP_WRITE));
}

static enum dstream_code set_watch(dstream_loop *l, int fd, unsigned what, ds_on_fd on_fd,
                                   void *ctx)
{
    struct watch *w = find(l, fd);
    l->changed = true;
    if (!w)
        return add_watch(l, (struct watch){fd, what, l->serial++, on_fd, ctx});
    if (what == 0) {
        remove_watch(l, w);
        return DSTREAM_OK;
    }
    w->what = what;
    w->on_fd = on_fd;
    w->ctx = ctx;
    return DSTREAM_OK;
}

enum dstream_code ds_loop_watch(dstream_loop *l, int fd, unsigned what, ds_on_fd on_fd, void *ctx)
{
    if (fd < 0)
        return DSTREAM_ERR_ARGUMENT;
    if (what == 0 && !find(l, fd))
        return DSTREAM_OK;
    enum dstream_code rc = set_watch(l, fd, what, on_fd, ctx);
    if (rc == DSTREAM_OK)
        tell_driver(l, fd, what);
    return rc;
}

static short poll_events(unsigned what)
{
    return (short)((what & DS_LOOP_READ ? POLLIN : 0) | (what & DS_LOOP_WRITE ? POLLOUT : 0));
}

/* A descriptor in error is ready for everything: the next call on it says what is wrong. */
static unsigned ready_for(short revents)
{
    if (revents & (POLLHUP | POLLERR | POLLNVAL))
        return DS_LOOP_READ | DS_LOOP_WRITE | DS_LOOP_HANGUP;
    return (revents & POLLIN ? DS_LOOP_READ : 0) | (revents & POLLOUT ? DS_LOOP_WRITE : 0);
}

static enum dstream_code reserve_polled(dstream_loop *l, size_t n)
{
    if (n <= l->polled_cap)
        return DSTREAM_OK;
    struct pollfd *polled = ds_realloc(l->polled, n * 2 * sizeof *polled);
    if (!polled)
        return DSTREAM_ERR_NOMEM;
    l->polled = polled;
    uint64_t *serial = ds_realloc(l->polled_serial, n * 2 * sizeof *serial);
    if (!serial)
        return DSTREAM_ERR_NOMEM;
    l->polled_serial = serial;
    l->polled_cap = n * 2;
    return DSTREAM_OK;
}

static enum dstream_code build_polled(dstream_loop *l)
{
    if (!l->changed)
        return DSTREAM_OK;
    if (reserve_polled(l, l->nwatches + 1) != DSTREAM_OK)
        return DSTREAM_ERR_NOMEM;
    l->polled[0] = (struct pollfd){.fd = l->wake[0], .events = POLLIN};
    for (size_t i = 0; i < l->nwatches; i++) {
        const struct watch *w = &l->watches[i];
        l->polled[i + 1] = (struct pollfd){.fd = w->fd, .events = poll_events(w->what)};
        l->polled_serial[i + 1] = w->serial;
    }
    l->npolled = l->nwatches + 1;
    l->changed = false;
    return DSTREAM_OK;
}

/* Calls whoever is still watching what poll() found. A callback may change any watch. */
static void dispatch(dstream_loop *l, int ready)
{
    for (size_t i = 1; i < l->npolled && ready > 0; i++) {
        const struct pollfd *p = &l->polled[i];
        if (p->revents == 0)
            continue;
        ready--;
        const struct watch *w = find(l, p->fd);
        if (!w || w->serial != l->polled_serial[i])
            continue;
        unsigned what = ready_for(p->revents) & w->what;
        if (what != 0)
            w->on_fd(w->ctx, p->fd, what);
    }
}

/* --- the transport ---------------------------------------------------------------------------- */

static void transport_ready(void *ctx, int fd, unsigned what)
{
    dstream_loop *l = ctx;
    ds_transport_ready(l->transport, fd, what);
}

static void transport_watch(void *ctx, int fd, unsigned what)
{
    dstream_loop *l = ctx;
    if (ds_loop_watch(l, fd, what, transport_ready, l) != DSTREAM_OK)
        l->broken = true;
}

static void transport_due(void *ctx)
{
    dstream_loop *l = ctx;
    ds_transport_timeout(l->transport);
}

/* Counted from the true time, not from the turn's: a time that comes too soon is no use. */
static void transport_time(void *ctx, int64_t ms)
{
    dstream_loop *l = ctx;
    if (ms < 0)
        ds_timer_stop(l, &l->transport_timer);
    else if (ds_timer_set(l, &l->transport_timer, ms == 0 ? l->now : clock_ms() + ms + 1) !=
             DSTREAM_OK)
        l->broken = true;
}

struct ds_transport *ds_loop_transport(dstream_loop *l)
{
    return l->transport;
}

/* --- other threads ---------------------------------------------------------------------------- */

void ds_loop_post(dstream_loop *l, struct ds_posted *p)
{
    if (atomic_exchange(&p->pending, true))
        return;
    p->next = atomic_load(&l->posted);
    while (!atomic_compare_exchange_weak(&l->posted, &p->next, p))
        continue;
    dstream_loop_wake(l);
}

/* Takes all at once, so that none can come back under the feet of another thread: behind those
 * that were taken before, in the order of posting. */
static void take_posted(dstream_loop *l)
{
    struct ds_posted *all = atomic_exchange(&l->posted, NULL), *first = NULL, **end = &l->taken;
    while (all) {
        struct ds_posted *next = all->next;
        all->next = first;
        first = all;
        all = next;
    }
    while (*end)
        end = &(*end)->next;
    *end = first;
}

/* What is run may take others back, and free them. */
static void run_posted(dstream_loop *l)
{
    take_posted(l);
    while (l->taken) {
        struct ds_posted *p = l->taken;
        l->taken = p->next;
        atomic_store(&p->pending, false);
        p->run(p->ctx);
    }
}

void ds_loop_unpost(dstream_loop *l, struct ds_posted *p)
{
    if (!atomic_load(&p->pending))
        return;
    take_posted(l);
    for (struct ds_posted **at = &l->taken; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    atomic_store(&p->pending, false);
}

/* --- turns ------------------------------------------------------------------------------------ */

/* Milliseconds that poll() may wait, -1 for ever. */
static int wait_ms(const dstream_loop *l, int64_t timeout_ms)
{
    int64_t ms = timeout_ms;
    if (l->nheap > 0) {
        int64_t due = l->heap[0].due, in = due > l->now ? due - l->now : 0;
        if (due != DS_NEVER && (ms < 0 || in < ms))
            ms = in;
    }
    return ms < 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
}

static void drain_wake(dstream_loop *l)
{
    char piece[64];
    while (read(l->wake[0], piece, sizeof piece) > 0)
        ;
}

static enum dstream_code turn(dstream_loop *l, int64_t timeout_ms)
{
    if (build_polled(l) != DSTREAM_OK)
        return DSTREAM_ERR_NOMEM;
    ds_loop_update(l);
    int ready = poll(l->polled, (nfds_t)l->npolled, wait_ms(l, timeout_ms));
    if (ready < 0 && errno != EINTR && errno != EAGAIN)
        return DSTREAM_ERR_NOMEM; /* the kernel's; nothing else can be wrong */
    ds_loop_update(l);
    if (ready > 0 && l->polled[0].revents != 0) {
        drain_wake(l);
        ready--;
    }
    run_posted(l);
    /* Descriptors first: what has arrived after a long sleep counts before a time limit does. */
    dispatch(l, ready);
    fire_timers(l);
    return l->broken ? DSTREAM_ERR_NOMEM : DSTREAM_OK;
}

/* Callbacks come only from within one call at a time. */
static enum dstream_code enter(dstream_loop *l)
{
    if (l->turning)
        return DSTREAM_ERR_STATE;
    if (l->broken)
        return DSTREAM_ERR_NOMEM;
    l->turning = true;
    return DSTREAM_OK;
}

static enum dstream_code leave(dstream_loop *l)
{
    l->turning = false;
    return l->broken ? DSTREAM_ERR_NOMEM : DSTREAM_OK;
}

enum dstream_code dstream_loop_turn(dstream_loop *loop, int64_t timeout_ms)
{
    enum dstream_code rc = enter(loop);
    if (rc != DSTREAM_OK)
        return rc;
    rc = turn(loop, timeout_ms);
    loop->turning = false;
    return rc;
}

/* --- a caller's own loop ---------------------------------------------------------------------- */

void dstream_loop_drive(dstream_loop *loop, dstream_on_watch on_watch, void *ctx)
{
    loop->on_watch = on_watch;
    loop->watch_ctx = ctx;
    tell_driver(loop, loop->wake[0], DS_LOOP_READ);
    for (size_t i = 0; i < loop->nwatches; i++)
        tell_driver(loop, loop->watches[i].fd, loop->watches[i].what);
}

int64_t dstream_loop_timeout(dstream_loop *loop)
{
    ds_loop_update(loop);
    if (loop->taken || atomic_load(&loop->posted))
        return 0;
    return wait_ms(loop, -1);
}

enum dstream_code dstream_loop_ready(dstream_loop *loop, int fd, unsigned what)
{
    enum dstream_code rc = enter(loop);
    if (rc != DSTREAM_OK)
        return rc;
    ds_loop_update(loop);
    const struct watch *w = fd >= 0 ? find(loop, fd) : NULL;
    if (fd == loop->wake[0])
        drain_wake(loop);
    else if (w && (what & w->what) != 0)
        w->on_fd(w->ctx, fd, what & w->what);
    return leave(loop);
}

enum dstream_code dstream_loop_expire(dstream_loop *loop)
{
    enum dstream_code rc = enter(loop);
    if (rc != DSTREAM_OK)
        return rc;
    ds_loop_update(loop);
    run_posted(loop);
    fire_timers(loop);
    return leave(loop);
}

/* A pipe that is full wakes as well. */
void dstream_loop_wake(dstream_loop *loop)
{
    int saved = errno;
    while (write(loop->wake[1], "", 1) < 0 && errno == EINTR)
        ;
    errno = saved;
}

/* --- life ------------------------------------------------------------------------------------- */

dstream_loop *dstream_loop_new(void)
{
    static const struct ds_transport_ops ops = {.watch = transport_watch, .timer = transport_time};
    dstream_loop *l = ds_calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->changed = true;
    l->random = seed(l);
    l->transport_timer = (struct ds_timer){.fire = transport_due, .ctx = l};
    ds_loop_update(l);
    if (pipe2(l->wake, O_CLOEXEC | O_NONBLOCK) < 0) {
        ds_free(l);
        return NULL;
    }
    l->transport = ds_transport_new(&ops, l);
    if (!l->transport) {
        dstream_loop_free(l);
        return NULL;
    }
    return l;
}

void dstream_loop_free(dstream_loop *loop)
{
    if (!loop)
        return;
    ds_transport_free(loop->transport);
    close(loop->wake[0]);
    close(loop->wake[1]);
    ds_free(loop->watches);
    ds_free(loop->slots);
    ds_free(loop->polled);
    ds_free(loop->polled_serial);
    ds_free(loop->heap);
    ds_free(loop);
}
