/* SPDX-License-Identifier: Apache-2.0 */
/* Request headers that a user may add. */
#ifndef DS_BASE_HEADER_H
#define DS_BASE_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "dstream.h"

#define DS_HEADER_MAX 65536 /* bytes of one "Name: value" line */

/* Whether `line` is a "Name: value" that can be sent as it is: a name of HTTP's token characters,
 * a value (maybe empty) without control characters but TAB, so that no line break smuggles in a
 * header of its own; and a name that neither the protocol nor HTTP's framing sets. ERR_ARGUMENT,
 * *why then being a static text that does not show the value, which may be a secret. */
enum dstream_code ds_header_check(const char *line, const char **why);
/* Whether `value` may stand in a header: no control character but TAB. */
bool ds_header_value_ok(const char *value);

#endif
