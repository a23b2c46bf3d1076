/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/go_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The largest programs of Go, of some 500 MB, stay below. Who makes a file to waste the agent's
 * time gets no more of it. */
#define SECTIONS_MAX 1024
#define SECTION_NAMES_BYTES_MAX 65536
#define READ_BYTES_MAX (UINT64_C(512) << 20)

/* Go's information about the build (debug/buildinfo). */
#define BUILD_INFO_MAGIC "\xff Go buildinf:"
#define BUILD_INFO_MAGIC_BYTES 14
#define BUILD_INFO_FLAGS 15
#define BUILD_INFO_INLINE 2
#define BUILD_INFO_VERSION 16
#define BUILD_INFO_HEADER_BYTES 32

bool
ns_go_file_read(const struct ns_go_file *file, uint64_t offset, void *to, size_t bytes)
{
    if (offset > file->bytes || bytes > file->bytes - offset) {
        return false;
    }
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(file->fd, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (got <= 0 && (got == 0 || errno != EINTR)) {
            return false; /* it has become shorter, too */
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

uint8_t *
ns_go_file_contents(struct ns_go_file *file, const Elf64_Shdr *section, size_t *bytes)
{
    if (section == NULL || section->sh_type == SHT_NOBITS || section->sh_size == 0 ||
        section->sh_size > file->left || section->sh_size > file->bytes) {
        return NULL;
    }
    file->left -= section->sh_size;
    uint8_t *contents = malloc(section->sh_size);
    if (contents != NULL &&
        !ns_go_file_read(file, section->sh_offset, contents, section->sh_size)) {
        free(contents);
        contents = NULL;
    }
    *bytes = contents == NULL ? 0 : section->sh_size;
    return contents;
}

const Elf64_Shdr *
ns_go_file_section(const struct ns_go_file *file, const char *name)
{
    for (size_t i = 0; i < file->section_count; i++) {
        uint32_t at = file->sections[i].sh_name;
        if (at < file->name_bytes && strcmp(file->names + at, name) == 0) {
            return &file->sections[i];
        }
    }
    return NULL;
}

static int
read_sections(struct ns_go_file *file, const Elf64_Ehdr *header)
{
    size_t bytes = header->e_shnum * sizeof *file->sections;
    file->sections = calloc(header->e_shnum, sizeof *file->sections);
    if (file->sections == NULL) {
        return -ENOMEM;
    }
    if (!ns_go_file_read(file, header->e_shoff, file->sections, bytes)) {
        return -ENOENT;
    }
    file->section_count = header->e_shnum;
    const Elf64_Shdr *section = &file->sections[header->e_shstrndx];
    size_t name_bytes = 0;
    char *names = section->sh_size > SECTION_NAMES_BYTES_MAX
                      ? NULL
                      : (char *)ns_go_file_contents(file, section, &name_bytes);
    if (names == NULL) {
        return -ENOENT;
    }
    names[name_bytes - 1] = '\0'; /* as it is in every file that is in order */
    file->names = names;
    file->name_bytes = name_bytes;
    file->text = ns_go_file_section(file, ".text");
    bool is_go = ns_go_file_section(file, ".go.buildinfo") != NULL ||
                 ns_go_file_section(file, ".note.go.buildid") != NULL;
    return is_go && file->text != NULL ? 0 : -ENOENT;
}

int
ns_go_file_open(struct ns_go_file *file, int fd)
{
    struct stat status;
    Elf64_Ehdr header;
    *file = (struct ns_go_file){.fd = fd, .left = READ_BYTES_MAX};
    if (fstat(fd, &status) != 0) {
        return -errno;
    }
    file->bytes = (uint64_t)status.st_size;
    if (!ns_go_file_read(file, 0, &header, sizeof header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64 ||
        header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shnum > SECTIONS_MAX ||
        header.e_shstrndx >= header.e_shnum) {
        return -ENOENT;
    }
    int error = read_sections(file, &header);
    if (error != 0) {
        ns_go_file_close(file);
    }
    return error;
}

void
ns_go_file_close(struct ns_go_file *file)
{
    free(file->sections);
    free(file->names);
    file->sections = NULL;
    file->names = NULL;
}

/* --- symbols -------------------------------------------------------------------------------- */

static void
look_up(const Elf64_Sym *symbol, const char *strings, size_t string_bytes, const char *const *names,
        size_t count, struct ns_go_range *ranges)
{
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_name >= string_bytes ||
        symbol->st_size > UINT64_MAX - symbol->st_value) {
        return;
    }
    const char *name = strings + symbol->st_name;
    size_t room = string_bytes - symbol->st_name;
    for (size_t n = 0; n < count; n++) {
        size_t bytes = strlen(names[n]) + 1;
        if (bytes <= room && memcmp(name, names[n], bytes) == 0) {
            ranges[n] = (struct ns_go_range){symbol->st_value, symbol->st_value + symbol->st_size};
        }
    }
}

bool
ns_go_file_symbols(struct ns_go_file *file, const char *const *names, size_t count,
                   struct ns_go_range *ranges)
{
    const Elf64_Shdr *section = ns_go_file_section(file, ".symtab");
    memset(ranges, 0, count * sizeof *ranges);
    if (section == NULL || section->sh_link >= file->section_count) {
        return false;
    }
    size_t bytes = 0, string_bytes = 0;
    uint8_t *symbols = ns_go_file_contents(file, section, &bytes);
    uint8_t *strings = ns_go_file_contents(file, &file->sections[section->sh_link], &string_bytes);
    bool read = symbols != NULL && strings != NULL;
    for (size_t at = 0; read && at + sizeof(Elf64_Sym) <= bytes; at += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;
        memcpy(&symbol, symbols + at, sizeof symbol);
        look_up(&symbol, (const char *)strings, string_bytes, names, count, ranges);
    }
    free(symbols);
    free(strings);
    return read;
}

/* --- the text -------------------------------------------------------------------------------- */

static bool
in_text(const struct ns_go_file *file, uint64_t address)
{
    return address - file->text->sh_addr < file->text->sh_size;
}

/* Addresses as they are in the file. */
static uint64_t
find_in_data(struct ns_go_file *file, const Elf64_Shdr *section, uint64_t extent_bytes)
{
    size_t bytes;
    uint8_t *contents = ns_go_file_contents(file, section, &bytes);
    uint64_t found = 0;
    for (size_t at = 0; contents != NULL && found == 0 && bytes - at >= 16; at += 8) {
        uint64_t pair[2];
        memcpy(pair, contents + at, sizeof pair);
        if (in_text(file, pair[0]) && pair[1] - pair[0] == extent_bytes) {
            found = pair[0];
        }
    }
    free(contents);
    return found;
}

/* Addresses that are made when the program is loaded. */
static uint64_t
find_in_relocations(struct ns_go_file *file, const Elf64_Shdr *section, uint64_t extent_bytes)
{
    size_t bytes;
    uint8_t *contents = ns_go_file_contents(file, section, &bytes);
    uint64_t found = 0;
    Elf64_Rela last = {0}, next;
    for (size_t at = 0; contents != NULL && found == 0 && bytes - at >= sizeof next;
         at += sizeof next) {
        memcpy(&next, contents + at, sizeof next);
        if (next.r_info == R_X86_64_RELATIVE && last.r_info == R_X86_64_RELATIVE &&
            next.r_offset - last.r_offset == 8 && in_text(file, (uint64_t)last.r_addend) &&
            (uint64_t)next.r_addend - (uint64_t)last.r_addend == extent_bytes) {
            found = (uint64_t)last.r_addend;
        }
        last = next;
    }
    free(contents);
    return found;
}

uint64_t
ns_go_file_text_address(struct ns_go_file *file, uint64_t extent_bytes)
{
    uint64_t found = 0;
    for (size_t i = 0; found == 0 && i < file->section_count; i++) {
        const Elf64_Shdr *section = &file->sections[i];
        if (section->sh_type == SHT_PROGBITS && (section->sh_flags & SHF_WRITE) != 0) {
            found = find_in_data(file, section, extent_bytes);
        } else if (section->sh_type == SHT_RELA) {
            found = find_in_relocations(file, section, extent_bytes);
        }
    }
    return found;
}

/* --- the version ----------------------------------------------------------------------------- */

/* Bytes at an address of the program. */
static bool
read_at(const struct ns_go_file *file, uint64_t address, void *to, size_t bytes)
{
    for (size_t i = 0; i < file->section_count; i++) {
        const Elf64_Shdr *section = &file->sections[i];
        uint64_t at = address - section->sh_addr;
        if ((section->sh_flags & SHF_ALLOC) != 0 && section->sh_type != SHT_NOBITS &&
            at < section->sh_size && bytes <= section->sh_size - at) {
            return ns_go_file_read(file, section->sh_offset + at, to, bytes);
        }
    }
    return false;
}

void
ns_go_file_version(const struct ns_go_file *file, char version[static NS_GO_VERSION_BYTES])
{
    const Elf64_Shdr *section = ns_go_file_section(file, ".go.buildinfo");
    uint8_t header[BUILD_INFO_HEADER_BYTES + 1];
    uint64_t string[2] = {0}; /* of Go's: where, and how many bytes */
    memset(version, 0, NS_GO_VERSION_BYTES);
    if (section == NULL || !ns_go_file_read(file, section->sh_offset, header, sizeof header) ||
        memcmp(header, BUILD_INFO_MAGIC, BUILD_INFO_MAGIC_BYTES) != 0) {
        return;
    }
    bool told = false;
    if ((header[BUILD_INFO_FLAGS] & BUILD_INFO_INLINE) != 0) {
        string[1] = header[BUILD_INFO_HEADER_BYTES]; /* a varint, of one byte below 128 */
        told = string[1] < NS_GO_VERSION_BYTES &&
               ns_go_file_read(file, section->sh_offset + sizeof header, version, string[1]);
    } else {
        uint64_t address;
        memcpy(&address, header + BUILD_INFO_VERSION, sizeof address);
        told = read_at(file, address, string, sizeof string) && string[1] < NS_GO_VERSION_BYTES &&
               read_at(file, string[0], version, string[1]);
    }
    if (!told) {
        memset(version, 0, NS_GO_VERSION_BYTES);
    }
}
