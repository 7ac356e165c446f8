/* SPDX-License-Identifier: Apache-2.0 */
/* The system's file operations, of which the n-th fails or is where the process dies. */
#ifndef DS_TESTS_FAULTY_H
#define DS_TESTS_FAULTY_H

#include "store/fileops.h"

enum { DS_FAULTY_FDS = 1024 };
enum ds_fault { DS_FAULT_FAIL, DS_FAULT_KILL_BEFORE, DS_FAULT_KILL_AFTER };

struct ds_faulty {
    struct ds_fileops ops; /* what to hand out */
    enum ds_fault fault;
    long at;          /* which call, from 0; -1: none */
    int error;        /* DS_FAULT_FAIL: the errno */
    const char *only; /* count calls of this name only, as "rename"; NULL: all that change or sync
                         something, or open it */
    long calls;       /* counted so far */
    char last[16];    /* the name of the last one counted, */
    const char *of;   /* and what it was done to: "data", "the state", ... */
    bool tell;        /* says on standard error where it dies */
    int sync_ms;      /* how long each sync takes, at least */
    const char *kinds[DS_FAULTY_FDS]; /* what each descriptor is of */
};

/* It must stay where it is. */
void ds_faulty_init(struct ds_faulty *f, enum ds_fault fault, long at);

#endif
