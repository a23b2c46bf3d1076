/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/vdso.h"

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "shim/elf_symbols.h"

/* vdso(7) */
static const char *const names[] = {"__vdso_clock_gettime", "__kernel_clock_gettime"};

ns_clock_source
ns_vdso_clock(void)
{
    uintptr_t begin = (uintptr_t)getauxval(AT_SYSINFO_EHDR);
    const ElfW(Ehdr) *head = (const void *)begin; /* NOLINT: the kernel says it as a number */
    if (head == NULL || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) {
        return NULL;
    }
    struct dl_phdr_info info = {
        .dlpi_phdr = (const void *)(begin + head->e_phoff), /* NOLINT: as above */
        .dlpi_phnum = head->e_phnum,
    };
    info.dlpi_addr = begin; /* it is linked for address 0 */
    struct ns_elf elf;
    ns_clock_source found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && found == NULL; i++) {
        void *function = ns_elf_open(&elf, &info) ? ns_elf_function(&elf, names[i]) : NULL;
        memcpy(&found, &function, sizeof found);
    }
    return found;
}
