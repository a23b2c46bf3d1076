/* SPDX-License-Identifier: Apache-2.0 */
/* What a function's machine code says of where probes are to be put. amd64. Any thread. */
#ifndef NS_BPF_GO_CODE_H
#define NS_BPF_GO_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one function; Go's Read has seven or so. */
#define NS_GO_RETURNS_MAX 64

struct ns_go_code {
    size_t entry; /* behind the check for room on the stack: it is passed once a call */
    size_t returns[NS_GO_RETURNS_MAX];
    size_t return_count;
    bool keeps_arguments; /* the first two are stored in the places that the ABI has for them */
};

/* Returns 0, or -EINVAL where this is no function that begins as those of Go's register ABI do, or
 * not all of it can be read, or it has too many returns or none. */
int ns_go_code_read(const uint8_t *bytes, size_t count, struct ns_go_code *code);

#endif
