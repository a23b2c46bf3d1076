/* SPDX-License-Identifier: Apache-2.0 */
/* A file that says it is of Go: whatever is in it, what is found lies in it. */
#include <stdlib.h>

#include "bpf/go.h"
#include "tests/unit/bpf_go_support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ns_go_program program;
    int fd = go_open(data, size);
    if (fd < 0) {
        return 0;
    }
    (void)ns_go_find(fd, &program);
    close(fd);
    for (size_t i = 0; i < program.place_count; i++) {
        if (program.places[i].offset >= size) {
            abort();
        }
    }
    return 0;
}
