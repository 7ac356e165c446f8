/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "client/loop.h"

#define FAR 60000 /* a wait that no test lives to see the end of */

static dstream_loop *loop;

static void start(void)
{
    loop = dstream_loop_new();
    cr_assert_not_null(loop);
    alarm(30);
}

static void end(void)
{
    dstream_loop_free(loop);
}

TestSuite(loop, .init = start, .fini = end);

static void turn(int64_t ms)
{
    cr_assert_eq(dstream_loop_turn(loop, ms), DSTREAM_OK);
}

/* --- timers ----------------------------------------------------------------------------------- */

static char fired[64];

static void note(const char *name)
{
    strncat(fired, name, sizeof fired - strlen(fired) - 1);
}

struct named {
    struct ds_timer timer;
    const char *name;
    struct named *other;
    void (*also)(struct named *n);
};

static void on_named(void *ctx)
{
    struct named *n = ctx;
    cr_assert_eq(n->timer.slot, 0);
    note(n->name);
    if (n->also)
        n->also(n);
}

#define NAMED(n)                                                                                   \
    {                                                                                              \
        .timer = {.fire = on_named, .ctx = &n}, .name = #n                                         \
    }

static void set(struct named *n, int64_t at)
{
    cr_assert_eq(ds_timer_set(loop, &n->timer, at), DSTREAM_OK);
}

Test(loop, timers_fire_by_time_and_then_by_the_order_of_arming)
{
    struct named a = NAMED(a), b = NAMED(b), c = NAMED(c), d = NAMED(d), e = NAMED(e);
    int64_t now = ds_loop_update(loop);
    set(&d, now + 2);
    set(&a, now + 9);
    set(&c, now + 1);
    set(&e, now + 2);
    set(&a, now); /* the last time counts */
    set(&b, now);
    while (strlen(fired) < 5)
        turn(-1);
    cr_expect_str_eq(fired, "abcde");
    cr_expect_geq(ds_loop_now(loop), now + 2);
}

Test(loop, many_timers_armed_moved_and_stopped_fire_in_order)
{
    enum { N = 500 };
    static struct named t[N];
    int64_t now = ds_loop_update(loop), last = 0;
    for (size_t i = 0; i < N; i++) {
        t[i] = (struct named){.timer = {.fire = on_named, .ctx = &t[i]}, .name = ""};
        set(&t[i], now + (int64_t)(ds_loop_random(loop) % 1000));
    }
    for (size_t i = 0; i < N; i += 3)
        ds_timer_stop(loop, &t[i].timer);
    for (size_t i = 1; i < N; i += 3)
        set(&t[i], now + (int64_t)(ds_loop_random(loop) % 1000));
    /* Looks at the first one through the time that the loop would wait for it. */
    for (size_t left = N - (N + 2) / 3; left > 0; left--) {
        struct named *first = NULL;
        for (size_t i = 0; i < N; i++) {
            if (t[i].timer.slot == 1)
                first = &t[i];
        }
        cr_assert_not_null(first);
        cr_assert_geq(first->timer.at, last);
        last = first->timer.at;
        ds_timer_stop(loop, &first->timer);
    }
    for (size_t i = 0; i < N; i++)
        cr_assert_eq(t[i].timer.slot, 0);
}

Test(loop, a_timer_is_not_fired_before_its_time)
{
    struct named a = NAMED(a);
    int64_t at = ds_loop_update(loop) + 20;
    set(&a, at);
    while (!fired[0]) {
        turn(-1);
        cr_assert(!fired[0] || ds_loop_now(loop) >= at);
    }
    turn(0);
    cr_expect_str_eq(fired, "a", "once");
}

static void stop_other(struct named *n)
{
    ds_timer_stop(loop, &n->other->timer);
}

Test(loop, a_timer_that_is_stopped_by_another_of_the_same_turn_does_not_fire)
{
    struct named a = NAMED(a), b = NAMED(b), c = NAMED(c);
    int64_t now = ds_loop_now(loop);
    set(&a, now);
    set(&b, now);
    set(&c, now);
    a.also = stop_other;
    a.other = &b;
    turn(0);
    cr_expect_str_eq(fired, "ac");
    ds_timer_stop(loop, &b.timer);
}

static void again(struct named *n)
{
    set(n, 0);
}

static void arm_other(struct named *n)
{
    set(n->other, 0);
}

Test(loop, a_timer_armed_in_a_turn_waits_for_the_next_and_keeps_nobody_out)
{
    struct named a = NAMED(a), b = NAMED(b), c = NAMED(c);
    set(&a, 0);
    set(&b, 0);
    a.also = again;
    b.also = arm_other;
    b.other = &c;
    turn(-1);
    cr_expect_str_eq(fired, "ab");
    turn(-1);
    cr_expect_str_eq(fired, "abac");
    turn(-1);
    cr_expect_str_eq(fired, "abaca");
    ds_timer_stop(loop, &a.timer);
    turn(0);
    cr_expect_str_eq(fired, "abaca");
}

Test(loop, a_timer_set_to_never_does_not_fire_nor_end_a_wait)
{
    struct named a = NAMED(a), b = NAMED(b);
    set(&a, DS_NEVER);
    set(&b, ds_loop_update(loop) + 5);
    while (!fired[0])
        turn(-1);
    turn(2);
    cr_expect_str_eq(fired, "b");
    cr_expect_eq(a.timer.at, DS_NEVER);
    cr_expect_neq(a.timer.slot, 0);
}

/* --- descriptors ------------------------------------------------------------------------------ */

struct pipe {
    int r, w;
    unsigned seen;
    int calls;
    struct pipe *other;
};

static struct pipe pipe_new(void)
{
    int fd[2];
    cr_assert_eq(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
    return (struct pipe){.r = fd[0], .w = fd[1]};
}

static void count(void *ctx, int fd, unsigned what)
{
    struct pipe *p = ctx;
    (void)fd;
    p->seen = what;
    p->calls++;
}

static void watch(int fd, unsigned what, ds_on_fd on_fd, struct pipe *p)
{
    cr_assert_eq(ds_loop_watch(loop, fd, what, on_fd, p), DSTREAM_OK);
}

static void unwatch(int fd)
{
    cr_assert_eq(ds_loop_watch(loop, fd, 0, NULL, NULL), DSTREAM_OK);
}

static void put(const struct pipe *p)
{
    cr_assert_eq(write(p->w, "x", 1), 1);
}

Test(loop, a_descriptor_is_reported_for_what_it_is_watched_for)
{
    struct pipe p = pipe_new();
    watch(p.r, DS_LOOP_READ, count, &p);
    turn(0);
    cr_expect_eq(p.calls, 0);
    put(&p);
    turn(-1);
    turn(-1);
    cr_expect_eq(p.calls, 2, "as long as it is ready");
    cr_expect_eq(p.seen, (unsigned)DS_LOOP_READ);
    unwatch(p.r);
    watch(p.w, DS_LOOP_WRITE, count, &p);
    turn(-1);
    cr_expect_eq(p.seen, (unsigned)DS_LOOP_WRITE);
    watch(p.w, DS_LOOP_HANGUP, count, &p); /* replaces it */
    turn(0);
    cr_expect_eq(p.calls, 3);
    unwatch(p.w);
    unwatch(p.w);
    turn(0);
    cr_expect_eq(p.calls, 3);
    close(p.r);
    close(p.w);
}

Test(loop, the_end_of_a_pipe_can_be_read)
{
    struct pipe p = pipe_new();
    watch(p.r, DS_LOOP_READ, count, &p);
    close(p.w);
    turn(-1);
    cr_expect_eq(p.seen, (unsigned)DS_LOOP_READ);
    unwatch(p.r);
    close(p.r);
}

Test(loop, the_writing_end_of_a_pipe_hangs_up_when_its_reader_goes)
{
    struct pipe p = pipe_new();
    while (write(p.w, "xxxxxxxx", 8) > 0)
        ; /* full: no room, and nobody takes anything out */
    watch(p.w, DS_LOOP_HANGUP, count, &p);
    turn(0);
    cr_expect_eq(p.calls, 0);
    close(p.r);
    turn(-1);
    cr_expect_eq(p.seen, (unsigned)DS_LOOP_HANGUP);
    watch(p.w, DS_LOOP_WRITE | DS_LOOP_HANGUP, count, &p);
    turn(-1);
    cr_expect_eq(p.seen, (unsigned)(DS_LOOP_WRITE | DS_LOOP_HANGUP));
    unwatch(p.w);
    close(p.w);
}

static void remove_other(void *ctx, int fd, unsigned what)
{
    struct pipe *p = ctx;
    count(ctx, fd, what);
    unwatch(p->other->r);
}

Test(loop, a_watch_that_is_removed_by_another_of_the_same_turn_is_not_called)
{
    struct pipe p[3] = {pipe_new(), pipe_new(), pipe_new()};
    for (int i = 0; i < 3; i++) {
        watch(p[i].r, DS_LOOP_READ, i == 2 ? count : remove_other, &p[i]);
        put(&p[i]);
    }
    p[0].other = &p[1];
    p[1].other = &p[0];
    turn(-1);
    cr_expect_eq(p[0].calls + p[1].calls, 1);
    cr_expect_eq(p[2].calls, 1);
    turn(-1);
    cr_expect_eq(p[0].calls + p[1].calls, 2, "the one that is left, again");
    for (int i = 0; i < 3; i++) {
        unwatch(p[i].r);
        close(p[i].r);
        close(p[i].w);
    }
}

/* Closes the other one's descriptor and watches a new pipe under the same number. */
static void replace_other(void *ctx, int fd, unsigned what)
{
    struct pipe *p = ctx, *other = p->other;
    count(ctx, fd, what);
    if (!other)
        return;
    struct pipe fresh = pipe_new();
    unwatch(other->r);
    cr_assert_eq(dup3(fresh.r, other->r, O_CLOEXEC), other->r);
    close(fresh.r);
    close(other->w);
    other->w = fresh.w;
    watch(other->r, DS_LOOP_READ, count, other);
    p->other = other->other = NULL;
}

Test(loop, a_new_watch_under_the_number_of_an_old_one_is_not_called_for_it)
{
    struct pipe p[2] = {pipe_new(), pipe_new()};
    for (int i = 0; i < 2; i++) {
        watch(p[i].r, DS_LOOP_READ, replace_other, &p[i]);
        put(&p[i]);
        p[i].other = &p[1 - i];
    }
    turn(-1);
    turn(0);
    struct pipe *fresh = p[0].calls == 0 ? &p[0] : &p[1];
    cr_expect_eq(fresh->calls, 0);
    put(fresh);
    turn(-1);
    cr_expect_eq(fresh->calls, 1);
    for (int i = 0; i < 2; i++) {
        unwatch(p[i].r);
        close(p[i].r);
        close(p[i].w);
    }
}

static struct pipe crowd[100];

static void add_crowd(void *ctx, int fd, unsigned what)
{
    count(ctx, fd, what);
    unwatch(fd);
    for (size_t i = 0; i < 100; i++) {
        crowd[i] = pipe_new();
        watch(crowd[i].r, DS_LOOP_READ, count, &crowd[i]);
        put(&crowd[i]);
    }
}

Test(loop, watches_may_be_added_from_inside_a_callback)
{
    struct pipe p = pipe_new();
    watch(p.r, DS_LOOP_READ, add_crowd, &p);
    put(&p);
    turn(-1);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(crowd[i].calls, 0, "polled from the next turn on");
    turn(-1);
    for (size_t i = 0; i < 100; i++) {
        cr_assert_eq(crowd[i].calls, 1);
        unwatch(crowd[i].r);
        close(crowd[i].r);
        close(crowd[i].w);
    }
    cr_expect_eq(p.calls, 1);
    close(p.r);
    close(p.w);
}

static void turn_inside(void *ctx, int fd, unsigned what)
{
    count(ctx, fd, what);
    cr_expect_eq(dstream_loop_turn(loop, 0), DSTREAM_ERR_STATE);
}

Test(loop, a_turn_inside_a_turn_is_refused)
{
    struct pipe p = pipe_new();
    watch(p.r, DS_LOOP_READ, turn_inside, &p);
    put(&p);
    turn(-1);
    cr_expect_eq(p.calls, 1);
    unwatch(p.r);
    close(p.r);
    close(p.w);
    cr_expect_eq(ds_loop_watch(loop, -1, DS_LOOP_READ, count, &p), DSTREAM_ERR_ARGUMENT);
}

static void on_data_stop(void *ctx, int fd, unsigned what)
{
    struct named *n = ctx;
    (void)what;
    unwatch(fd);
    note("data");
    ds_timer_stop(loop, &n->timer);
}

Test(loop, what_has_arrived_counts_before_a_time_limit_does)
{
    struct named a = NAMED(a);
    struct pipe p = pipe_new();
    set(&a, 0);
    cr_assert_eq(ds_loop_watch(loop, p.r, DS_LOOP_READ, on_data_stop, &a), DSTREAM_OK);
    put(&p);
    turn(-1);
    turn(0);
    cr_expect_str_eq(fired, "data");
    close(p.r);
    close(p.w);
}

/* --- waking ----------------------------------------------------------------------------------- */

Test(loop, waking_ends_the_next_turn_once)
{
    for (int i = 0; i < 100000; i++) /* more than a pipe holds */
        dstream_loop_wake(loop);
    turn(-1);
    int64_t before = ds_loop_update(loop);
    turn(5);
    cr_expect_geq(ds_loop_now(loop), before + 5, "nothing is left of it");
}

static void *wake_it(void *arg)
{
    dstream_loop_wake(arg);
    return NULL;
}

Test(loop, another_thread_ends_a_turn)
{
    pthread_t thread;
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(pthread_create(&thread, NULL, wake_it, loop), 0);
        turn(-1);
        pthread_join(thread, NULL);
    }
}

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
    (void)sig;
    signals++;
    errno = 12345;
    dstream_loop_wake(loop);
    cr_assert_eq(errno, 12345);
}

Test(loop, a_signal_handler_ends_a_turn)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval in = {.it_value = {.tv_usec = 2000}};
    sigaction(SIGVTALRM, &sa, NULL);
    raise(SIGVTALRM); /* before the turn: as good as inside it */
    turn(-1);
    cr_expect_eq(signals, 1);
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &in, NULL);
    while (signals < 2)
        turn(-1);
}

Test(loop, a_turn_waits_no_longer_than_it_is_told)
{
    struct named a = NAMED(a);
    int64_t before = ds_loop_update(loop);
    set(&a, before + FAR);
    turn(0);
    turn(10);
    cr_expect_geq(ds_loop_now(loop), before + 10);
    cr_expect_lt(ds_loop_now(loop), before + FAR / 2);
    cr_expect_str_eq(fired, "");
}

/* --- what other threads post ------------------------------------------------------------------ */

struct item {
    struct ds_posted posted;
    const char *name;
    struct item *takes_back, *posts;
};

static void on_item(void *ctx)
{
    struct item *i = ctx;
    note(i->name);
    if (i->takes_back) {
        ds_loop_unpost(loop, &i->takes_back->posted);
        memset(i->takes_back, 0xAA, sizeof *i->takes_back); /* its owner may have freed it */
    }
    if (i->posts)
        ds_loop_post(loop, &i->posts->posted);
}

#define ITEM(n)                                                                                    \
    {                                                                                              \
        .posted = {.run = on_item, .ctx = &n}, .name = #n                                          \
    }

Test(loop, what_is_posted_runs_once_and_in_order)
{
    struct item a = ITEM(a), b = ITEM(b), c = ITEM(c);
    ds_loop_post(loop, &a.posted);
    ds_loop_post(loop, &b.posted);
    ds_loop_post(loop, &a.posted);
    ds_loop_post(loop, &c.posted);
    turn(-1);
    turn(0);
    cr_expect_str_eq(fired, "abc");
}

Test(loop, what_is_taken_back_does_not_run)
{
    struct item a = ITEM(a), b = ITEM(b), c = ITEM(c), d = ITEM(d);
    ds_loop_post(loop, &a.posted);
    ds_loop_post(loop, &b.posted);
    ds_loop_unpost(loop, &a.posted);
    ds_loop_unpost(loop, &a.posted);
    turn(-1);
    cr_expect_str_eq(fired, "b", "and the other one does");
    ds_loop_post(loop, &a.posted);
    ds_loop_post(loop, &b.posted);
    ds_loop_post(loop, &c.posted);
    ds_loop_post(loop, &d.posted);
    b.takes_back = &c;
    turn(-1);
    turn(0);
    cr_expect_str_eq(fired, "babd");
}

Test(loop, what_is_posted_from_inside_waits_for_the_next_turn)
{
    struct item a = ITEM(a);
    a.posts = &a;
    ds_loop_post(loop, &a.posted);
    turn(-1);
    cr_expect_str_eq(fired, "a");
    turn(-1);
    cr_expect_str_eq(fired, "aa");
    ds_loop_unpost(loop, &a.posted);
    turn(0);
    cr_expect_str_eq(fired, "aa");
}

/* --- memory and chance ------------------------------------------------------------------------ */

Test(loop, random_draws_differ)
{
    dstream_loop *other = dstream_loop_new();
    uint64_t ones = 0, all = UINT64_MAX;
    cr_assert_not_null(other);
    cr_expect_neq(ds_loop_random(loop), ds_loop_random(other));
    for (int i = 0; i < 200; i++) {
        uint64_t x = ds_loop_random(loop);
        ones |= x;
        all &= x;
    }
    cr_expect_eq(ones, UINT64_MAX);
    cr_expect_eq(all, 0);
    dstream_loop_free(other);
    dstream_loop_free(NULL);
}

Test(loop, without_memory_it_says_so_and_goes_on_later)
{
    struct pipe p = pipe_new();
    struct named a = NAMED(a);
    for (long i = 0; i < 8; i++) {
        ds_alloc_fail_after(i);
        enum dstream_code rc = ds_loop_watch(loop, p.r, DS_LOOP_READ, count, &p);
        if (rc == DSTREAM_OK)
            rc = ds_timer_set(loop, &a.timer, 0);
        if (rc == DSTREAM_OK)
            rc = dstream_loop_turn(loop, 0);
        ds_alloc_fail_after(-1);
        cr_assert_eq(rc, i < 5 ? DSTREAM_ERR_NOMEM : DSTREAM_OK, "%ld", i);
        dstream_loop_free(loop);
        loop = dstream_loop_new();
        a.timer.slot = 0;
    }
    for (long i = 0;; i++) {
        ds_alloc_fail_after(i);
        dstream_loop *l = dstream_loop_new();
        ds_alloc_fail_after(-1);
        dstream_loop_free(l);
        if (l) {
            cr_expect_gt(i, 1);
            break;
        }
    }
    close(p.r);
    close(p.w);
}
