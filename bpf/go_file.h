/* SPDX-License-Identifier: Apache-2.0 */
/* An ELF file that a Go toolchain has made: its sections and what they hold. It comes from whoever
 * made it: sizes and offsets are checked against the file. Any thread. */
#ifndef NS_BPF_GO_FILE_H
#define NS_BPF_GO_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/go_table.h"

#define NS_GO_VERSION_BYTES 64

struct ns_go_file {
    int fd;
    uint64_t bytes;
    uint64_t left; /* that may still be read of its sections */
    Elf64_Shdr *sections;
    size_t section_count;
    char *names; /* of sections, with a NUL behind them */
    size_t name_bytes;
    const Elf64_Shdr *text;
};

/* Returns 0; -ENOENT where it is no program of Go for amd64; -ENOMEM; what read(2) says. The
 * descriptor stays the caller's. To be closed only after 0. */
int ns_go_file_open(struct ns_go_file *file, int fd);
void ns_go_file_close(struct ns_go_file *file);

/* The section with this name; NULL where there is none. */
const Elf64_Shdr *ns_go_file_section(const struct ns_go_file *file, const char *name);

/* What a section holds, from malloc; NULL where it holds nothing, more than the file or too much,
 * or without memory. */
uint8_t *ns_go_file_contents(struct ns_go_file *file, const Elf64_Shdr *section, size_t *bytes);

/* Reads all of these bytes or none. */
bool ns_go_file_read(const struct ns_go_file *file, uint64_t offset, void *to, size_t bytes);

/* Where functions of these names are, by the table of symbols: addresses. Returns whether there is
 * such a table. */
bool ns_go_file_symbols(struct ns_go_file *file, const char *const *names, size_t count,
                        struct ns_go_range *ranges);

/* Where two addresses stand side by side in what the program may write to, the first in its text
 * and the second this much higher: the first, or 0. So the runtime is told where its functions are.
 */
uint64_t ns_go_file_text_address(struct ns_go_file *file, uint64_t extent_bytes);

/* The toolchain, as it calls itself ("go1.26.1"); "" where that is not told. */
void ns_go_file_version(const struct ns_go_file *file, char version[static NS_GO_VERSION_BYTES]);

#endif
