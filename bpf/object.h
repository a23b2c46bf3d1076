/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program or shared library as a file: which functions it shows, and their code. Read, not
 * mapped, for whoever has it may make it shorter meanwhile. ELF, 64 bits, x86-64. One thread.
 */
#ifndef NS_BPF_OBJECT_H
#define NS_BPF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/points.h"

struct ns_object;

/* Opens a file. NULL with errno; ENOEXEC: it is no such file. */
struct ns_object *ns_object_open(const char *path);
void ns_object_close(struct ns_object *object);

/* Looks for functions that the object defines, first among those that it shows to others, then,
 * where it has none of them there, among all that it has names of. Fills address and bytes of each,
 * 0 where there is none (code: see ns_object_code); returns how many there are. */
size_t ns_object_find(struct ns_object *object, const char *const names[], size_t count,
                      struct ns_function functions[]);

/* Fills the code at function->address, as much as function->bytes says, or what may belong to it
 * where that is 0. It is the object's. False where there is none. */
bool ns_object_code(struct ns_object *object, struct ns_function *function);

/* Where in the file an address of code is; 0: nowhere. */
uint64_t ns_object_offset(const struct ns_object *object, uint64_t address);

#endif
