/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's code without the breakpoints that are in it.
 *
 * A uprobe (perf, bpftrace, an eBPF agent) lies in the memory of each process that maps the probed
 * file, as an int3 in place of an instruction's first byte (kernel/events/uprobes.c). It belongs to
 * the mapping of the file: the kernel does not know it in a copy of the page, where it would kill
 * the process. A debugger's breakpoint looks the same but is the debugger's to take away.
 */
#ifndef NS_SHIM_DETOUR_TEXT_H
#define NS_SHIM_DETOUR_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/elf_symbols.h"

struct ns_detour_text {
    const uint8_t *file; /* what is mapped at begin, as it is in the file */
    uintptr_t begin;
    size_t bytes;
    bool is_traced;
};

/* The executable segment of the running program that holds this address. False where its file
 * cannot be read. To be closed if true. */
bool ns_detour_text_open(struct ns_detour_text *text, const struct ns_elf *program,
                         uintptr_t address);
void ns_detour_text_close(struct ns_detour_text *text);

/* Copies what is at an address to another place, breakpoints replaced by what they replaced. False
 * where they may be a debugger's, or it is not certain that they are breakpoints. */
bool ns_detour_text_copy(const struct ns_detour_text *text, uintptr_t from, size_t bytes,
                         uint8_t *to);

#endif
