/* SPDX-License-Identifier: Apache-2.0 */
/* What the file of a stream is called in a directory. */
#ifndef DS_CLI_FILENAME_H
#define DS_CLI_FILENAME_H

#include "base/error.h"
#include "base/buf.h"

#define DS_FILENAME_MAX 200 /* bytes: room is left for what is added to it */

/* Appends a name for the stream at `url`: what of it stands behind that of `base` (NULL: none), or
 * else behind the host, without what looks like secrets. Letters, digits and -_.~%=+,@ stand for
 * themselves, all else is %XX, and so is a dot at the beginning, or where the name would else mean
 * something here. So it is a name in the directory whatever the URL holds; two URLs may have the
 * same one. One that is too long is cut, with a hash at its end. ERR_LIMIT, ERR_NOMEM. */
enum dstream_code ds_filename_of(struct ds_buf *out, const char *url, const char *base,
                                 struct dstream_error *err);

#endif
