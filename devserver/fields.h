/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of a request that mean something here, as RFC 9110 (5.3, 5.5) has their values:
 * without the white space around them, and those of one name joined. */
#ifndef DS_DEVSERVER_FIELDS_H
#define DS_DEVSERVER_FIELDS_H

#include <stdbool.h>

#define DS_FIELDS 12 /* names that are known */

/* Zeroed to start with. */
struct ds_fields {
    char *value[DS_FIELDS]; /* NULL: missing */
};

/* False without memory. */
bool ds_fields_add(struct ds_fields *f, const char *name, const char *value);
/* NULL where it is missing, and for a name that is not known. Valid as long as the fields. */
const char *ds_fields_get(const struct ds_fields *f, const char *name);
void ds_fields_free(struct ds_fields *f);

#endif
