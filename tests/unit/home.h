/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of its own for each test, which is where it then is. */
#ifndef DS_UNIT_HOME_H
#define DS_UNIT_HOME_H

extern char home[1024];

/* For the beginning and the end of each test. */
void home_enter(void);
void home_leave(void);

#endif
