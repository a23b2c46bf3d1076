/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded object's own dynamic symbol table. */
#ifndef NS_SHIM_ELF_SYMBOLS_H
#define NS_SHIM_ELF_SYMBOLS_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ns_elf {
    uintptr_t base;
    uintptr_t begin; /* of its mappings */
    uintptr_t end;
    const Elf64_Phdr *segments;
    size_t segment_count;
    const Elf64_Dyn *dynamic;
    const Elf64_Sym *symbols;
    const char *strings;
    const uint32_t *gnu_hash; /* one of the two, or neither */
    const uint32_t *sysv_hash;
    const Elf64_Rela *relocations[2]; /* those of data, and those of calls */
    size_t relocation_counts[2];
    const char *soname; /* NULL where it has none */
};

/* Reads the tables of an object that dl_iterate_phdr names. False where it has none. */
bool ns_elf_open(struct ns_elf *elf, const struct dl_phdr_info *info);

/* The address of a function that the object defines and shows, or NULL. */
void *ns_elf_function(const struct ns_elf *elf, const char *name);

/* The same, with the length of its code (0 where the table has none). */
void *ns_elf_function_sized(const struct ns_elf *elf, const char *name, size_t *bytes);

/* Visits what the object takes from others: each symbol's name and the address that its references
 * lead to (within the object itself while a call is not bound yet). Ends where visit returns true,
 * and returns that. */
typedef bool ns_elf_visit(const char *name, uintptr_t address, void *data);
bool ns_elf_imports(const struct ns_elf *elf, ns_elf_visit *visit, void *data);

static inline bool
ns_elf_holds(const struct ns_elf *elf, uintptr_t address)
{
    return address >= elf->begin && address < elf->end;
}

/* The object that this library is, or is part of. */
bool ns_elf_is_ours(const struct ns_elf *elf);

/* The n-th object that it needs (DT_NEEDED), or NULL. */
const char *ns_elf_needed(const struct ns_elf *elf, unsigned n);

/* The first function of this name behind our own in the order of loading: libc's, or that of
 * another preload object. NULL where there is none. Takes the loader's lock. */
void *ns_elf_next(const char *name);

#endif
