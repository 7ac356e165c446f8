/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a callback may begin: another thread may cancel at any moment, and after that none may.
 */
#ifndef DS_CLIENT_GATE_H
#define DS_CLIENT_GATE_H

#include <stdatomic.h>
#include <stdbool.h>

/* Zeroed to begin with. */
struct ds_gate {
    _Atomic int state;
};

enum { DS_GATE_OPEN, DS_GATE_CALLING, DS_GATE_CANCELLED };

/* True: the callback is called now, and ds_gate_leave() follows it. */
static inline bool ds_gate_enter(struct ds_gate *g)
{
    int open = DS_GATE_OPEN;
    return atomic_compare_exchange_strong(&g->state, &open, DS_GATE_CALLING);
}

static inline void ds_gate_leave(struct ds_gate *g)
{
    int calling = DS_GATE_CALLING;
    (void)atomic_compare_exchange_strong(&g->state, &calling, DS_GATE_OPEN);
}

/* From any thread. */
static inline void ds_gate_cancel(struct ds_gate *g)
{
    atomic_store(&g->state, DS_GATE_CANCELLED);
}

static inline bool ds_gate_cancelled(const struct ds_gate *g)
{
    return atomic_load(&g->state) == DS_GATE_CANCELLED;
}

#endif
