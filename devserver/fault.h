/* SPDX-License-Identifier: Apache-2.0 */
/* Trouble that the server makes on purpose, for who tests a client. */
#ifndef DS_DEVSERVER_FAULT_H
#define DS_DEVSERVER_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: none. */
struct ds_fault {
    unsigned every; /* of how many reads each last one has the first three */
    int status;     /* it is answered with this one instead; 0: no */
    bool drops;     /* its connection is cut behind so many bytes of the body: */
    uint64_t drop_after;
    int64_t stall; /* its body begins so many ms late */
    size_t split;  /* the body of every read goes out in pieces of so many bytes at most; 0: no */
};

/* "drop-after=BYTES,status=CODE,stall=DURATION,split=BYTES,every=N", any of them. False for what is
 * none. */
bool ds_fault_parse(const char *s, struct ds_fault *f);

#endif
