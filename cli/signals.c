/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/signals.h"

#include <signal.h>

static volatile sig_atomic_t ending, hung_up, asked;
static dstream_loop *volatile woken;

static void on_signal(int sig)
{
    if (sig == SIGHUP)
        hung_up = 1;
    else if (sig == SIGUSR1)
        asked = 1;
    else if (sig != SIGCHLD)
        ending = sig;
    dstream_loop *loop = woken;
    if (loop)
        dstream_loop_wake(loop);
}

/* No SA_RESTART: a write that blocks must end so that the flag is seen. */
static void catch_one(int sig, bool once)
{
    struct sigaction sa = {.sa_handler = on_signal}, was;
    sa.sa_flags = once ? (int)SA_RESETHAND : 0;
    sigemptyset(&sa.sa_mask);
    if (sigaction(sig, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
        sigaction(sig, &sa, NULL);
}

void ds_signals_catch(dstream_loop *loop)
{
    ending = hung_up = asked = 0;
    woken = loop;
    catch_one(SIGINT, true);
    catch_one(SIGTERM, true);
    catch_one(SIGHUP, false);
    catch_one(SIGUSR1, false);
    /* A file at its size limit is an error of the write, which is reported. */
    signal(SIGXFSZ, SIG_IGN);
}

/* Whoever started us may have had it ignored or blocked, and then we would wait for ever. */
void ds_signals_catch_children(void)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    sigset_t set;
    sigemptyset(&sa.sa_mask);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaction(SIGCHLD, &sa, NULL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void ds_signals_release(void)
{
    woken = NULL;
}

int ds_signals_ending(void)
{
    return ending;
}

bool ds_signals_take(int sig)
{
    volatile sig_atomic_t *flag = sig == SIGHUP ? &hung_up : &asked;
    bool came = *flag;
    *flag = 0;
    return came;
}
