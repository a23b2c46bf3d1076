/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "bpf/go.h"

int
ns_go_attach(struct ns_capture *capture, const char *path, const char *name)
{
    struct ns_go_program program = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0; /* nobody can look at it: it is not known whether it is one */
    }
    int error = ns_go_find(fd, &program);
    close(fd);
    if (error == 0 && program.refusal != NULL) {
        fprintf(stderr, "nullspend-bpf: %s, built by %s, is dark: %s\n", name,
                program.version[0] == '\0' ? "an unnamed Go" : program.version, program.refusal);
    }
    if (error != 0 || program.place_count == 0) {
        return 0;
    }
    return ns_capture_attach_places(capture, path, program.places, program.place_count);
}
