/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/elf_symbols.h"

#include <elf.h>
#include <stddef.h>
#include <string.h>

/* glibc relocates the pointers of the dynamic section in place, but not those of objects whose
 * section is read-only, and musl relocates none: below the base means not relocated. */
static uintptr_t
address(const struct ns_elf *elf, Elf64_Addr value)
{
    return value < elf->base ? elf->base + value : value;
}

bool
ns_elf_open(struct ns_elf *elf, const struct dl_phdr_info *info)
{
    memset(elf, 0, sizeof *elf);
    elf->base = info->dlpi_addr;
    elf->begin = UINTPTR_MAX;
    elf->segments = info->dlpi_phdr;
    elf->segment_count = info->dlpi_phnum;
    for (Elf64_Half i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *header = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_DYNAMIC) {
            elf->dynamic = (const Elf64_Dyn *)begin;
        } else if (header->p_type == PT_LOAD) {
            elf->begin = begin < elf->begin ? begin : elf->begin;
            elf->end = begin + header->p_memsz > elf->end ? begin + header->p_memsz : elf->end;
        }
    }
    if (elf->dynamic == NULL) {
        return false;
    }
    Elf64_Xword soname = 0;
    for (const Elf64_Dyn *entry = elf->dynamic; entry->d_tag != DT_NULL; entry++) {
        uintptr_t where = address(elf, entry->d_un.d_ptr);
        if (entry->d_tag == DT_SYMTAB) {
            elf->symbols = (const Elf64_Sym *)where;
        } else if (entry->d_tag == DT_STRTAB) {
            elf->strings = (const char *)where;
        } else if (entry->d_tag == DT_GNU_HASH) {
            elf->gnu_hash = (const uint32_t *)where;
        } else if (entry->d_tag == DT_HASH) {
            elf->sysv_hash = (const uint32_t *)where;
        } else if (entry->d_tag == DT_SONAME) {
            soname = entry->d_un.d_val;
        } else if (entry->d_tag == DT_RELA) {
            elf->relocations[0] = (const Elf64_Rela *)where;
        } else if (entry->d_tag == DT_RELASZ) {
            elf->relocation_counts[0] = entry->d_un.d_val / sizeof(Elf64_Rela);
        } else if (entry->d_tag == DT_JMPREL) {
            elf->relocations[1] = (const Elf64_Rela *)where;
        } else if (entry->d_tag == DT_PLTRELSZ) {
            elf->relocation_counts[1] = entry->d_un.d_val / sizeof(Elf64_Rela);
        }
    }
    if (elf->symbols == NULL || elf->strings == NULL) {
        return false;
    }
    elf->soname = soname != 0 ? elf->strings + soname : NULL;
    return true;
}

static const Elf64_Sym *
function_at(const struct ns_elf *elf, uint32_t index, const char *name)
{
    const Elf64_Sym *symbol = &elf->symbols[index];
    unsigned type = symbol->st_info & 0xf;
    unsigned binding = symbol->st_info >> 4;
    if (symbol->st_shndx == SHN_UNDEF || symbol->st_value == 0 || type != STT_FUNC ||
        (binding != STB_GLOBAL && binding != STB_WEAK) ||
        strcmp(elf->strings + symbol->st_name, name) != 0) {
        return NULL;
    }
    return symbol;
}

/* https://flapenguin.me/elf-dt-gnu-hash and glibc's elf/dl-lookup.c: header, Bloom filter, buckets,
 * chains whose last hash has its lowest bit set. */
static const Elf64_Sym *
find_gnu(const struct ns_elf *elf, const char *name)
{
    uint32_t hash = 5381;
    for (const char *at = name; *at != '\0'; at++) {
        hash = hash * 33 + (unsigned char)*at;
    }
    const uint32_t bucket_count = elf->gnu_hash[0];
    const uint32_t first_index = elf->gnu_hash[1];
    const uint32_t bloom_words = elf->gnu_hash[2];
    const uint32_t bloom_shift = elf->gnu_hash[3];
    if (bucket_count == 0 || bloom_words == 0) {
        return NULL;
    }
    const Elf64_Addr *bloom = (const Elf64_Addr *)(elf->gnu_hash + 4);
    const uint32_t bits = 8 * sizeof(Elf64_Addr);
    Elf64_Addr word = bloom[hash / bits % bloom_words];
    if ((word >> (hash % bits) & word >> ((hash >> bloom_shift) % bits) & 1) == 0) {
        return NULL;
    }
    const uint32_t *buckets = (const uint32_t *)(bloom + bloom_words);
    const uint32_t *chains = buckets + bucket_count;
    uint32_t index = buckets[hash % bucket_count];
    if (index < first_index) {
        return NULL;
    }
    for (;; index++) {
        uint32_t entry = chains[index - first_index];
        if ((entry | 1) == (hash | 1)) {
            const Elf64_Sym *function = function_at(elf, index, name);
            if (function != NULL) {
                return function;
            }
        }
        if (entry & 1) {
            return NULL;
        }
    }
}

static const Elf64_Sym *
find_sysv(const struct ns_elf *elf, const char *name)
{
    uint32_t hash = 0;
    for (const char *at = name; *at != '\0'; at++) {
        hash = (hash << 4) + (unsigned char)*at;
        hash ^= hash >> 24 & 0xf0;
        hash &= 0x0fffffff;
    }
    const uint32_t bucket_count = elf->sysv_hash[0];
    const uint32_t *buckets = elf->sysv_hash + 2;
    const uint32_t *chains = buckets + bucket_count;
    for (uint32_t index = bucket_count ? buckets[hash % bucket_count] : 0; index != 0;
         index = chains[index]) {
        const Elf64_Sym *function = function_at(elf, index, name);
        if (function != NULL) {
            return function;
        }
    }
    return NULL;
}

void *
ns_elf_function_sized(const struct ns_elf *elf, const char *name, size_t *bytes)
{
    const Elf64_Sym *symbol = NULL;
    if (elf->gnu_hash != NULL) {
        symbol = find_gnu(elf, name);
    } else if (elf->sysv_hash != NULL) {
        symbol = find_sysv(elf, name);
    }
    if (symbol == NULL) {
        return NULL;
    }
    *bytes = symbol->st_size;
    return (void *)(elf->base + symbol->st_value);
}

bool
ns_elf_is_ours(const struct ns_elf *elf)
{
    static const char here;
    return ns_elf_holds(elf, (uintptr_t)&here);
}

void *
ns_elf_function(const struct ns_elf *elf, const char *name)
{
    size_t bytes;
    return ns_elf_function_sized(elf, name, &bytes);
}

struct next {
    const char *name;
    bool past_us;
    void *before; /* where all are before us: the library was opened itself, late */
    void *found;
};

static int
find_next(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct next *next = data;
    struct ns_elf elf;
    if (!ns_elf_open(&elf, info)) {
        return 0;
    }
    if (ns_elf_is_ours(&elf)) {
        next->past_us = true;
        return 0;
    }
    void *function = ns_elf_function(&elf, next->name);
    if (next->past_us) {
        next->found = function;
    } else if (next->before == NULL) {
        next->before = function;
    }
    return next->found != NULL;
}

void *
ns_elf_next(const char *name)
{
    struct next next = {.name = name};
    dl_iterate_phdr(find_next, &next);
    return next.found != NULL ? next.found : next.before;
}

#if defined(__x86_64__)
#define RELOCATION_DATA R_X86_64_GLOB_DAT
#define RELOCATION_CALL R_X86_64_JUMP_SLOT
#elif defined(__aarch64__)
#define RELOCATION_DATA R_AARCH64_GLOB_DAT
#define RELOCATION_CALL R_AARCH64_JUMP_SLOT
#endif

bool
ns_elf_imports(const struct ns_elf *elf, ns_elf_visit *visit, void *data)
{
    for (size_t table = 0; table < 2; table++) {
        const Elf64_Rela *relocations = elf->relocations[table];
        size_t count = relocations == NULL ? 0 : elf->relocation_counts[table];
        for (size_t i = 0; i < count; i++) {
            Elf64_Xword type = ELF64_R_TYPE(relocations[i].r_info);
            uintptr_t place = elf->base + relocations[i].r_offset;
            if ((type != RELOCATION_DATA && type != RELOCATION_CALL) || !ns_elf_holds(elf, place)) {
                continue;
            }
            const Elf64_Sym *symbol = &elf->symbols[ELF64_R_SYM(relocations[i].r_info)];
            uintptr_t address;
            memcpy(&address, (const void *)place, sizeof address);
            if (address != 0 && visit(elf->strings + symbol->st_name, address, data)) {
                return true;
            }
        }
    }
    return false;
}

const char *
ns_elf_needed(const struct ns_elf *elf, unsigned n)
{
    for (const Elf64_Dyn *entry = elf->dynamic; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_NEEDED && n-- == 0) {
            return elf->strings + entry->d_un.d_val;
        }
    }
    return NULL;
}
