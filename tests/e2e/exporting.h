/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of exports have in common: a stream that is written, and the files of an export.
 */
#ifndef DS_E2E_EXPORTING_H
#define DS_E2E_EXPORTING_H

#include "tests/e2e/reading.h"

/* A stream, and what an export of it has to look like. */
struct written {
    char *url;
    const char *type;
    unsigned n; /* appends so far */
    struct e2e_bytes want;
};

/* Creates it. */
struct written written_begin(char *url, const char *type);
/* Appends something that only this append has: a few messages, or `size` bytes, text with line ends
 * of every kind. */
void written_add(struct written *w, size_t size);

/* The file that is exported to. */
const char *exported(void);
/* Its bytes are those of the stream. */
void exported_same(const char *what, struct e2e_bytes want);
/* Beside it there are its state and their locks, and nothing else. */
void exported_alone(void);
/* Removes it and its state. */
void exported_remove(void);
/* What is in a file that gzip or zstd (by its ending) has compressed, all of which must be whole.
 */
struct e2e_bytes unpacked(const char *path);
/* The segments of an output that is rotated, and what is not finished of it, joined. *n: how many
 * there are with names. `suffix` is behind their numbers. */
struct e2e_bytes rotated(const char *path, const char *suffix, size_t *n);
/* What `dstream state show` says of its state behind "name: ". */
char *exported_state(const char *name);
size_t exported_state_length(void);
size_t file_length(const char *path);
/* Waits until the file, or its state, is so long. */
void exported_until_length(size_t n);
void exported_until_partial(size_t n); /* the segment that is written to */
void exported_until_state_length(size_t n);

/* All names in a directory but those of locks, with contents, inodes and times: compared before and
 * after what must change nothing. */
struct e2e_bytes snapshot(const char *directory);
struct e2e_bytes snapshot_all(void); /* of the test's directory */

/* What `dstream ARGUMENTS...` does on a disk of this size, and again once that has room: that ends
 * with 0, and prints `file`; standard error has that the disk was full, how the first one ended,
 * and what it has left. The test is skipped where nothing can be mounted. */
struct e2e_process *exported_on_small_disk(const char *size, const char *file,
                                           const char *const *arguments);

/* A scripted server, whose `ctx` is a bool, false to begin with: an event stream of the messages 1,
 * 2 and 3 ends, at offset c; before it is opened again, the stream is another one, which is longer.
 */
struct exchange;
void exported_replaced(void *ctx, struct exchange *x);

#endif
