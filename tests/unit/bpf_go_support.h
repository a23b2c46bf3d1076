/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that look like Go's, in any of the shapes that toolchains and linkers give them. */
#ifndef NS_TESTS_BPF_GO_SUPPORT_H
#define NS_TESTS_BPF_GO_SUPPORT_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GO_FILE_BYTES_MAX 8192
#define GO_TEXT_ADDRESS UINT64_C(0x401000)
#define GO_DATA_ADDRESS UINT64_C(0x600000)
#define GO_FUNCTION_BYTES 64
#define GO_FUNCTIONS 7

/* Of every function: the stack is checked, the arguments are kept, and it returns in two places. */
static const uint8_t go_function[] = {
    0x49, 0x3b, 0x66, 0x10,             /* cmp 0x10(%r14), %rsp */
    0x0f, 0x86, 0x20, 0x00, 0x00, 0x00, /* jbe */
    0x55,                               /* push %rbp */
    0x48, 0x89, 0xe5,                   /* mov %rsp, %rbp */
    0x48, 0x83, 0xec, 0x58,             /* sub $0x58, %rsp */
    0x48, 0x89, 0x44, 0x24, 0x68,       /* mov %rax, 0x68(%rsp) */
    0x48, 0x89, 0x5c, 0x24, 0x70,       /* mov %rbx, 0x70(%rsp) */
    0x48, 0x83, 0xc4, 0x58,             /* add $0x58, %rsp */
    0x5d,                               /* pop %rbp */
    0xc3,                               /* ret */
    0x31, 0xc0,                         /* xor %eax, %eax */
    0xc3,                               /* ret */
};
#define GO_ENTRY 10
#define GO_FIRST_RETURN 33
#define GO_SECOND_RETURN 36

enum go_told { TOLD_NOWHERE, TOLD_IN_HEADER, TOLD_IN_DATA, TOLD_BY_RELOCATIONS };

struct go_shape {
    uint32_t magic;
    const char *version;
    bool points_to_version; /* before 1.18 */
    enum go_told told;      /* where Go's text begins */
    uint32_t other_code;    /* bytes before it that are not Go's */
    bool has_symbols;
    bool has_no_section;  /* for the table */
    const char *replaced; /* a name that no function has */
    bool has_no_check;    /* of the stack */
};

struct go_image {
    uint8_t bytes[GO_FILE_BYTES_MAX];
    size_t count;
    Elf64_Shdr sections[10];
    char names[160];
    size_t section_count, name_bytes;
    uint64_t text, text_offset; /* Go's */
};

static const char *const go_names[GO_FUNCTIONS] = {"runtime.first",
                                                   "crypto/tls.(*Conn).Write",
                                                   "crypto/tls.(*Conn).clientHandshake",
                                                   "crypto/tls.(*Conn).Read",
                                                   "crypto/tls.(*Conn).Close",
                                                   "crypto/tls.hostnameInSNI",
                                                   "runtime.last"};

static inline Elf64_Shdr *
go_section(struct go_image *image, const char *name, uint32_t type, const void *bytes, size_t count)
{
    Elf64_Shdr *section = &image->sections[image->section_count++];
    size_t name_bytes = strlen(name) + 1;
    memcpy(image->names + image->name_bytes, name, name_bytes);
    *section = (Elf64_Shdr){.sh_name = (uint32_t)image->name_bytes,
                            .sh_type = type,
                            .sh_flags = SHF_ALLOC,
                            .sh_offset = image->count,
                            .sh_size = count};
    image->name_bytes += name_bytes;
    memcpy(image->bytes + image->count, bytes, count);
    image->count = (image->count + count + 15) / 16 * 16;
    return section;
}

static inline const char *
go_name(const struct go_shape *shape, size_t index)
{
    return shape->replaced != NULL && strcmp(shape->replaced, go_names[index]) == 0
               ? "somebody.else"
               : go_names[index];
}

static inline void
go_add_text(struct go_image *image, const struct go_shape *shape)
{
    uint8_t text[1024];
    size_t bytes = shape->other_code + (size_t)GO_FUNCTIONS * GO_FUNCTION_BYTES;
    memset(text, 0xcc, sizeof text);
    for (size_t i = 0; i < GO_FUNCTIONS; i++) {
        uint8_t *at = text + shape->other_code + i * GO_FUNCTION_BYTES;
        memcpy(at, go_function, sizeof go_function);
        at[0] = shape->has_no_check ? 0x90 : at[0];
    }
    Elf64_Shdr *section = go_section(image, ".text", SHT_PROGBITS, text, bytes);
    section->sh_addr = GO_TEXT_ADDRESS;
    image->text = GO_TEXT_ADDRESS + shape->other_code;
    image->text_offset = section->sh_offset + shape->other_code;
}

static inline void
go_put(uint8_t *table, size_t *at, uint64_t value, size_t bytes)
{
    memcpy(table + *at, &value, bytes);
    *at += bytes;
}

/* As the linker of Go writes it: header, names, the list of functions, and of each its name. */
static inline size_t
go_table(uint8_t *table, const struct go_image *image, const struct go_shape *shape)
{
    bool absolute = shape->magic == 0xfffffffa;
    size_t field = absolute ? 8 : 4;
    size_t names = 72, at = names, name_at[GO_FUNCTIONS];
    for (size_t i = 0; i < GO_FUNCTIONS; i++) {
        const char *name = go_name(shape, i);
        name_at[i] = at - names;
        memcpy(table + at, name, strlen(name) + 1);
        at += strlen(name) + 1;
    }
    size_t list = at = (at + 7) / 8 * 8;
    size_t told = (2 * GO_FUNCTIONS + 1) * field;
    for (size_t i = 0; i <= GO_FUNCTIONS; i++) {
        go_put(table, &at, (absolute ? image->text : 0) + i * GO_FUNCTION_BYTES, field);
        if (i < GO_FUNCTIONS) {
            go_put(table, &at, told + i * 16, field);
        }
    }
    for (size_t i = 0; i < GO_FUNCTIONS; i++) {
        at = list + told + i * 16 + field;
        go_put(table, &at, name_at[i], 4);
    }
    size_t bytes = list + told + (size_t)GO_FUNCTIONS * 16;
    at = 0;
    go_put(table, &at, shape->magic, 4);
    go_put(table, &at, UINT64_C(0x08010000), 4);
    go_put(table, &at, GO_FUNCTIONS, 8);
    go_put(table, &at, 1, 8);
    if (!absolute) {
        go_put(table, &at, shape->told == TOLD_IN_HEADER ? image->text : 0, 8);
    }
    go_put(table, &at, names, 8);
    at += (size_t)3 * 8;
    go_put(table, &at, list, 8);
    return bytes;
}

static inline void
go_add_table(struct go_image *image, const struct go_shape *shape)
{
    uint8_t table[2048] = {0};
    size_t before = shape->has_no_section ? 48 : 0; /* other constants */
    size_t bytes = go_table(table + before, image, shape);
    go_section(image, shape->has_no_section ? ".data.rel.ro" : ".gopclntab", SHT_PROGBITS, table,
               before + bytes);
}

static inline void
go_add_build_info(struct go_image *image, const struct go_shape *shape)
{
    uint8_t info[128] = "\xff Go buildinf:\x08";
    size_t bytes = strlen(shape->version);
    uint64_t at = GO_DATA_ADDRESS + 32;
    uint64_t string[2] = {GO_DATA_ADDRESS + 48, bytes};
    info[15] = shape->points_to_version ? 0 : 2;
    if (shape->points_to_version) {
        memcpy(info + 16, &at, sizeof at);
        memcpy(info + 32, string, sizeof string);
        memcpy(info + 48, shape->version, bytes);
    } else {
        info[32] = (uint8_t)bytes;
        memcpy(info + 33, shape->version, bytes);
    }
    go_section(image, ".go.buildinfo", SHT_PROGBITS, info, sizeof info)->sh_addr = GO_DATA_ADDRESS;
}

/* The runtime is told of its first and last instruction. */
static inline void
go_add_extent(struct go_image *image, const struct go_shape *shape)
{
    uint64_t end = image->text + (uint64_t)GO_FUNCTIONS * GO_FUNCTION_BYTES;
    uint64_t data[6] = {7, image->text + 8, image->text, end, end, 0};
    Elf64_Rela relocations[3] = {
        {.r_offset = 64, .r_info = R_X86_64_RELATIVE, .r_addend = 1},
        {.r_offset = 72, .r_info = R_X86_64_RELATIVE, .r_addend = (int64_t)image->text},
        {.r_offset = 80, .r_info = R_X86_64_RELATIVE, .r_addend = (int64_t)end}};
    if (shape->told == TOLD_IN_DATA) {
        go_section(image, ".go.module", SHT_PROGBITS, data, sizeof data)->sh_flags |= SHF_WRITE;
    } else if (shape->told == TOLD_BY_RELOCATIONS) {
        go_section(image, ".rela.dyn", SHT_RELA, relocations, sizeof relocations);
    }
}

static inline void
go_add_symbols(struct go_image *image, const struct go_shape *shape)
{
    char strings[512] = "";
    Elf64_Sym symbols[1 + GO_FUNCTIONS] = {{0}};
    uint32_t at = 1;
    for (size_t i = 0; i < GO_FUNCTIONS; i++) {
        const char *name = go_name(shape, i);
        symbols[1 + i] = (Elf64_Sym){.st_name = at,
                                     .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                                     .st_value = image->text + i * GO_FUNCTION_BYTES,
                                     .st_size = sizeof go_function};
        memcpy(strings + at, name, strlen(name) + 1);
        at += (uint32_t)strlen(name) + 1;
    }
    Elf64_Shdr *section = go_section(image, ".symtab", SHT_SYMTAB, symbols, sizeof symbols);
    section->sh_link = (uint32_t)image->section_count;
    go_section(image, ".strtab", SHT_STRTAB, strings, at);
}

static inline void
go_build(struct go_image *image, const struct go_shape *shape)
{
    memset(image, 0, sizeof *image);
    image->section_count = 1;
    image->name_bytes = 1;
    /* What tells where all is comes first, so that a file that is cut still tells it. */
    image->count = sizeof(Elf64_Ehdr) + sizeof image->sections + sizeof image->names;
    go_add_text(image, shape);
    go_add_table(image, shape);
    go_add_build_info(image, shape);
    go_add_extent(image, shape);
    if (shape->has_symbols) {
        go_add_symbols(image, shape);
    }
    size_t end = image->count;
    image->count = sizeof(Elf64_Ehdr) + sizeof image->sections;
    go_section(image, ".shstrtab", SHT_STRTAB, "", 0)->sh_size = sizeof image->names;
    memcpy(image->bytes + image->count, image->names, sizeof image->names);
    image->count = end;
    Elf64_Ehdr header = {.e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_shoff = sizeof header,
                         .e_ehsize = sizeof header,
                         .e_shentsize = sizeof(Elf64_Shdr),
                         .e_shnum = (uint16_t)image->section_count,
                         .e_shstrndx = (uint16_t)(image->section_count - 1)};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    memcpy(image->bytes, &header, sizeof header);
    memcpy(image->bytes + sizeof header, image->sections, sizeof image->sections);
}

/* An owned descriptor of a file of these bytes; -1 without memory. */
static inline int
go_open(const uint8_t *bytes, size_t count)
{
    int fd = memfd_create("go", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, bytes, count) != (ssize_t)count) {
        close(fd);
        return -1;
    }
    return fd;
}

#endif
