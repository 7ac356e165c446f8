/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that the shell runs for us. They get the signals that we began with. */
#ifndef DS_CLI_CHILD_H
#define DS_CLI_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ds_child_how {
    const char *command;
    int in;           /* its standard input; -1: there is none */
    int out;          /* its standard output; -1: ours */
    int keep;         /* one more descriptor that it gets, under the same number; -1: none */
    char *const *env; /* as of ds_child_env(); NULL: ours */
    bool group;       /* a process group of its own, named by its pid: all that it starts */
};

/* Before anything is opened: what is open now was given to us, and is passed on to commands; what
 * is opened from now on is not, whether or not it is close-on-exec (not all of libcurl's is). */
void ds_child_note_given(void);
/* Its process. -1: none, see errno. */
pid_t ds_child_start(const struct ds_child_how *how);
/* Whether it has ended, *status being that of waitpid(), or -1 where that cannot be known. */
bool ds_child_ended(pid_t pid, int *status);

#define DS_CHILD_FATE 48
/* "exit code 3", "killed by signal 9". */
void ds_child_fate(int status, char out[DS_CHILD_FATE]);

/* Our environment with these set, each "NAME=value". Lent strings; free it with ds_free(). NULL
 * without memory. */
char **ds_child_env(char *const *vars, size_t n);
/* A descriptor to read these bytes from, all of which are there already: whatever becomes of us, no
 * child takes less for the whole. -1: see errno. */
int ds_child_input(const void *p, size_t n);

#endif
