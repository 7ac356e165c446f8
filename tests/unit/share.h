/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of what takes long a build does: everything where it is fast. Under sanitizers, and
 * where the compiler did not optimize, a share of it shows what such a build can show.
 */
#ifndef DS_UNIT_SHARE_H
#define DS_UNIT_SHARE_H

/* One of so many; odd, so that both of what alternates are met. */
#if defined(__SANITIZE_ADDRESS__)
enum { UNIT_SHARE = 21 };
#elif !defined(__OPTIMIZE__)
enum { UNIT_SHARE = 7 };
#else
enum { UNIT_SHARE = 1 };
#endif

#endif
