/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go programs: where in them probes are to be put, so that what crypto/tls writes and reads is
 * seen.
 *
 * No probe is ever put on the return of a function by its return address, which Go's runtime looks
 * at when it moves a stack: each return instruction gets one of its own. One thread.
 */
#ifndef NS_BPF_GO_H
#define NS_BPF_GO_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/capture.h"
#include "bpf/go_code.h"
#include "bpf/go_file.h"

/* Five entries, and the returns of one function. */
#define NS_GO_PLACES_MAX (5 + NS_GO_RETURNS_MAX)

struct ns_go_program {
    struct ns_capture_place places[NS_GO_PLACES_MAX];
    size_t place_count;
    char version[NS_GO_VERSION_BYTES];
    const char *refusal; /* why it is not reached, though it has crypto/tls; NULL where it is */
};

/* Looks at a file. Returns 0, and then there are places or there is a refusal; -ENOENT where it is
 * no program of Go with crypto/tls; another negative errno where it cannot be read. */
int ns_go_find(int fd, struct ns_go_program *program);

/* Attaches to a file, if it is such a program; what is refused is told on stderr. name: what people
 * call it. Returns how many places, 0 where there are none, -1 with errno where the kernel does not
 * take them (then it is attached to none). */
int ns_go_attach(struct ns_capture *capture, const char *path, const char *name);

#endif
