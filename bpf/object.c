/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/object.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is longer is not read: of headers, of a table of symbols or their names, of a function. */
#define HEADERS_MAX 4096
#define TABLE_BYTES_MAX ((uint64_t)256 << 20)
#define CODE_BYTES_MAX ((uint64_t)65536)

/* Of a function whose length nobody knows. */
#define CODE_BYTES_UNKNOWN ((uint64_t)2048)

/* Code that was read. */
struct piece {
    struct piece *next;
    uint8_t code[];
};

struct ns_object {
    int fd;
    Elf64_Phdr *segments;
    Elf64_Shdr *sections;
    size_t segment_count, section_count;
    struct piece *pieces;
};

/* Owned bytes of the file, or NULL. */
static void *
take(const struct ns_object *object, uint64_t offset, uint64_t bytes)
{
    if (bytes == 0 || bytes > TABLE_BYTES_MAX || offset > INT64_MAX - TABLE_BYTES_MAX) {
        return NULL;
    }
    char *taken = malloc(bytes);
    uint64_t got = 0;
    while (taken != NULL && got < bytes) {
        ssize_t more = pread(object->fd, taken + got, bytes - got, (off_t)(offset + got));
        if (more <= 0) {
            free(taken);
            return NULL;
        }
        got += (uint64_t)more;
    }
    return taken;
}

static bool
read_headers(struct ns_object *object)
{
    Elf64_Ehdr header;
    if (pread(object->fd, &header, sizeof header, 0) != sizeof header ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64 ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > HEADERS_MAX ||
        header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shnum > HEADERS_MAX) {
        return false;
    }
    object->segments = take(object, header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr));
    object->sections = take(object, header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr));
    object->segment_count = header.e_phnum;
    object->section_count = header.e_shnum;
    return object->segments != NULL && object->sections != NULL;
}

struct ns_object *
ns_object_open(const char *path)
{
    struct ns_object *object = calloc(1, sizeof *object);
    if (object == NULL) {
        return NULL;
    }
    object->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int error = object->fd < 0 ? errno : read_headers(object) ? 0 : ENOEXEC;
    if (error != 0) {
        ns_object_close(object);
        errno = error;
        return NULL;
    }
    return object;
}

void
ns_object_close(struct ns_object *object)
{
    while (object->pieces != NULL) {
        struct piece *piece = object->pieces;
        object->pieces = piece->next;
        free(piece);
    }
    if (object->fd >= 0) {
        close(object->fd);
    }
    free(object->segments);
    free(object->sections);
    free(object);
}

/* A symbol that this object defines, as a function. */
static bool
is_function(const Elf64_Sym *symbol)
{
    return ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_UNDEF &&
           symbol->st_value != 0;
}

static size_t
find_in(const struct ns_object *object, const Elf64_Shdr *table, const char *const names[],
        size_t count, struct ns_function functions[])
{
    size_t found = 0;
    if (table->sh_link >= object->section_count) {
        return 0;
    }
    uint64_t string_bytes = object->sections[table->sh_link].sh_size;
    Elf64_Sym *symbols = take(object, table->sh_offset, table->sh_size);
    char *strings = take(object, object->sections[table->sh_link].sh_offset, string_bytes);
    size_t symbol_count =
        symbols == NULL || strings == NULL ? 0 : table->sh_size / sizeof(Elf64_Sym);
    if (symbol_count > 0) {
        strings[string_bytes - 1] = '\0';
    }
    for (size_t i = 0; i < symbol_count; i++) {
        if (!is_function(&symbols[i]) || symbols[i].st_name >= string_bytes) {
            continue;
        }
        const char *name = strings + symbols[i].st_name;
        for (size_t j = 0; j < count; j++) {
            if (functions[j].address == 0 && strcmp(name, names[j]) == 0) {
                functions[j].address = symbols[i].st_value;
                functions[j].bytes = symbols[i].st_size;
                found++;
            }
        }
    }
    free(symbols);
    free(strings);
    return found;
}

size_t
ns_object_find(struct ns_object *object, const char *const names[], size_t count,
               struct ns_function functions[])
{
    static const uint32_t kinds[] = {SHT_DYNSYM, SHT_SYMTAB};
    size_t found = 0;
    memset(functions, 0, count * sizeof *functions);
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0] && found == 0; kind++) {
        for (size_t i = 0; i < object->section_count; i++) {
            if (object->sections[i].sh_type == kinds[kind]) {
                found += find_in(object, &object->sections[i], names, count, functions);
            }
        }
    }
    return found;
}

/* The segment with the code at an address, or NULL. */
static const Elf64_Phdr *
segment_of(const struct ns_object *object, uint64_t address)
{
    for (size_t i = 0; i < object->segment_count; i++) {
        const Elf64_Phdr *segment = &object->segments[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) != 0 &&
            address >= segment->p_vaddr && address - segment->p_vaddr < segment->p_filesz) {
            return segment;
        }
    }
    return NULL;
}

uint64_t
ns_object_offset(const struct ns_object *object, uint64_t address)
{
    const Elf64_Phdr *segment = segment_of(object, address);
    return segment == NULL ? 0 : address - segment->p_vaddr + segment->p_offset;
}

bool
ns_object_code(struct ns_object *object, struct ns_function *function)
{
    const Elf64_Phdr *segment = segment_of(object, function->address);
    if (segment == NULL) {
        return false;
    }
    uint64_t from = function->address - segment->p_vaddr;
    uint64_t room = segment->p_filesz - from;
    uint64_t bytes = function->bytes == 0 ? CODE_BYTES_UNKNOWN : function->bytes;
    bytes = bytes < room ? bytes : room;
    bytes = bytes < CODE_BYTES_MAX ? bytes : CODE_BYTES_MAX;
    uint8_t *code = take(object, segment->p_offset + from, bytes);
    struct piece *piece = code == NULL ? NULL : malloc(sizeof *piece + bytes);
    if (piece != NULL) {
        memcpy(piece->code, code, bytes);
        piece->next = object->pieces;
        object->pieces = piece;
        function->code = piece->code;
        function->bytes = bytes;
    }
    free(code);
    return piece != NULL;
}
