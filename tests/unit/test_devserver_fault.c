/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "devserver/fault.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

Test(fault, is_read)
{
    static const struct {
        const char *text;
        struct ds_fault want; /* every 0: refused */
    } cases[] = {
        {"drop-after=0", {.every = 2, .drops = true}},
        {"drop-after=1k", {.every = 2, .drops = true, .drop_after = 1024}},
        {"status=503", {.every = 2, .status = 503}},
        {"status=429,every=5", {.every = 5, .status = 429}},
        {"stall=1.5s", {.every = 2, .stall = 1500}},
        {"split=1", {.every = 2, .split = 1}},
        {"split=7,stall=10ms,every=1,drop-after=9",
         {.every = 1, .split = 7, .stall = 10, .drops = true, .drop_after = 9}},
        {"", {.every = 0}},
        {"every=1", {.every = 0}},
        {"split=0", {.every = 0}},
        {"stall=0", {.every = 0}},
        {"status=200", {.every = 0}},
        {"status=600", {.every = 0}},
        {"status", {.every = 0}},
        {"split=1,", {.every = 0}},
        {",split=1", {.every = 0}},
        {"split=1,every=0", {.every = 0}},
        {"split=-1", {.every = 0}},
        {"crash=1", {.every = 0}},
        {"drop-after=x", {.every = 0}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct ds_fault *w = &cases[i].want;
        struct ds_fault f;
        bool good = ds_fault_parse(cases[i].text, &f);
        cr_expect_eq(good, w->every > 0, "'%s'", cases[i].text);
        if (good)
            cr_expect(f.every == w->every && f.status == w->status && f.drops == w->drops &&
                          f.drop_after == w->drop_after && f.stall == w->stall &&
                          f.split == w->split,
                      "'%s'", cases[i].text);
    }
}
