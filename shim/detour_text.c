/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/detour_text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_BYTES ((uintptr_t)4096)
#define INT3 0xcc

/* By TracerPid of /proc/self/status; true where that cannot be read. */
static bool
is_traced(void)
{
    static const char none[] = "\nTracerPid:\t0\n";
    char text[1024];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0) {
        close(fd);
    }
    return bytes <= 0 || memmem(text, (size_t)bytes, none, sizeof none - 1) == NULL;
}

bool
ns_detour_text_open(struct ns_detour_text *text, const struct ns_elf *program, uintptr_t address)
{
    const Elf64_Phdr *segment = NULL;
    for (size_t i = 0; i < program->segment_count; i++) {
        const Elf64_Phdr *header = &program->segments[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X) != 0 &&
            address - (program->base + header->p_vaddr) < header->p_filesz) {
            segment = header;
        }
    }
    if (segment == NULL) {
        return false;
    }
    uintptr_t ahead = segment->p_vaddr % PAGE_BYTES;
    size_t bytes = (segment->p_filesz + ahead + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    /* Shared: uprobes are put into private mappings alone (valid_vma in kernel/events/uprobes.c).
     */
    void *file =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)(segment->p_offset - ahead));
    if (fd >= 0) {
        close(fd);
    }
    if (file == MAP_FAILED) {
        return false;
    }
    *text = (struct ns_detour_text){.file = file,
                                    .begin = program->base + segment->p_vaddr - ahead,
                                    .bytes = bytes,
                                    .is_traced = is_traced()};
    return true;
}

void
ns_detour_text_close(struct ns_detour_text *text)
{
    munmap((void *)text->file, text->bytes);
}

bool
ns_detour_text_copy(const struct ns_detour_text *text, uintptr_t from, size_t bytes, uint8_t *to)
{
    size_t at = from - text->begin;
    if (at >= text->bytes || bytes > text->bytes - at) {
        return false;
    }
    const uint8_t *file = text->file + at;
    const uint8_t *memory = (const uint8_t *)from;
    bool changed = false; /* was the byte before this one? */
    memcpy(to, memory, bytes);
    for (size_t i = 0; i < bytes; i++) {
        bool breakpoint = memory[i] == INT3 && file[i] != INT3;
        /* A byte of somebody's own code may be the same by chance: that comes with others. */
        if (breakpoint &&
            (text->is_traced || changed || (i + 1 < bytes && memory[i + 1] != file[i + 1]))) {
            return false;
        }
        if (breakpoint) {
            to[i] = file[i];
        }
        changed = memory[i] != file[i];
    }
    return true;
}
