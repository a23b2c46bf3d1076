/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/go.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/record.h"

/* Go's own have some 4 KiB. */
#define FUNCTION_BYTES_MAX ((size_t)65536)

/* So many places that look like the start of a table are tried; the first is one, but for chance.
 */
#define TABLES_TRIED_MAX 8

/* The first with arguments in registers. */
#define REGISTERS_SINCE_MINOR 17

enum function { HANDSHAKE, NAME, WRITE, READ, CLOSE, FUNCTIONS };

static const char *const symbols[FUNCTIONS] = {
    [HANDSHAKE] = "crypto/tls.(*Conn).clientHandshake",
    [NAME] = "crypto/tls.hostnameInSNI",
    [WRITE] = "crypto/tls.(*Conn).Write",
    [READ] = "crypto/tls.(*Conn).Read",
    [CLOSE] = "crypto/tls.(*Conn).Close",
};

static const char *const programs[FUNCTIONS] = {
    [HANDSHAKE] = "on_go_handshake", [NAME] = "on_go_name",   [WRITE] = "on_go_write",
    [READ] = "on_go_read",           [CLOSE] = "on_go_close",
};

static const char passes_on_stack[] = "it passes arguments on the stack, as Go did before 1.17";
static const char unknown_code[] = "its functions do not begin as Go's do, or are not all there";

static bool
are_all_there(const struct ns_go_range *ranges)
{
    bool all = true;
    for (size_t i = 0; i < FUNCTIONS; i++) {
        all &= ranges[i].begin < ranges[i].end;
    }
    return all;
}

/* --- code ------------------------------------------------------------------------------------ */

static int
read_code(const struct ns_go_file *file, const struct ns_go_range *range, struct ns_go_code *code)
{
    uint64_t at = range->begin - file->text->sh_addr;
    uint64_t bytes = range->end - range->begin;
    if (at >= file->text->sh_size || bytes > file->text->sh_size - at ||
        bytes > FUNCTION_BYTES_MAX) {
        return -EINVAL;
    }
    uint8_t *text = malloc(bytes);
    if (text == NULL) {
        return -ENOMEM;
    }
    int error = -EINVAL;
    if (ns_go_file_read(file, file->text->sh_offset + at, text, bytes)) {
        error = ns_go_code_read(text, bytes, code);
    }
    free(text);
    return error;
}

static void
add(struct ns_go_program *program, const char *name, uint64_t offset, uint64_t cookie)
{
    program->places[program->place_count++] =
        (struct ns_capture_place){.program = name, .offset = offset, .cookie = cookie};
}

/* With the functions at these addresses. */
static int
place(const struct ns_go_file *file, const struct ns_go_range *ranges,
      struct ns_go_program *program)
{
    program->place_count = 0;
    for (size_t i = 0; i < FUNCTIONS; i++) {
        struct ns_go_code code;
        int error = read_code(file, &ranges[i], &code);
        if (error != 0) {
            program->place_count = 0;
            return error;
        }
        uint64_t begin = ranges[i].begin - file->text->sh_addr + file->text->sh_offset;
        add(program, programs[i], begin + code.entry, 0);
        for (size_t n = 0; i == READ && n < code.return_count; n++) {
            add(program, "on_go_have_read", begin + code.returns[n],
                code.keeps_arguments ? NS_GO_KEEPS_ARGUMENTS : 0);
        }
    }
    return 0;
}

/* --- where functions are ---------------------------------------------------------------------- */

static int
place_from(const struct ns_go_file *file, const struct ns_go_range *ranges, uint64_t text_address,
           struct ns_go_program *program)
{
    struct ns_go_range moved[FUNCTIONS];
    for (size_t i = 0; i < FUNCTIONS; i++) {
        moved[i] =
            (struct ns_go_range){ranges[i].begin + text_address, ranges[i].end + text_address};
    }
    return place(file, moved, program);
}

/* The table tells addresses from that of the text on, and not always that: as the header has it,
 * as the runtime is told, or where the section begins. Where it is, functions begin as they must.
 */
static int
place_by_table(struct ns_go_file *file, const struct ns_go_table *table,
               const struct ns_go_range *ranges, struct ns_go_program *program)
{
    struct ns_go_range extent;
    if (table->absolute) {
        return place(file, ranges, program);
    }
    if (!ns_go_table_extent(table, &extent)) {
        return -EINVAL;
    }
    int error = place_from(file, ranges, table->text_address, program);
    if (error == -EINVAL) {
        error = place_from(file, ranges, file->text->sh_addr, program);
    }
    if (error == -EINVAL) {
        uint64_t first = ns_go_file_text_address(file, extent.end - extent.begin);
        error = place_from(file, ranges, first - extent.begin, program);
    }
    return error;
}

static bool
passes_in_registers(const struct ns_go_table *table, const char *version)
{
    int minor = 0;
    const char *number = strstr(version, "go1.");
    return !table->absolute || (number != NULL && sscanf(number, "go1.%d", &minor) == 1 &&
                                minor >= REGISTERS_SINCE_MINOR);
}

static int
find_by_table(struct ns_go_file *file, const uint8_t *bytes, size_t count,
              struct ns_go_program *program)
{
    struct ns_go_table table;
    struct ns_go_range ranges[FUNCTIONS], named[FUNCTIONS];
    if (!ns_go_table_open(&table, bytes, count)) {
        return -ENOENT;
    }
    ns_go_table_find(&table, symbols, FUNCTIONS, ranges);
    if (ranges[WRITE].end == 0 || ranges[HANDSHAKE].end == 0) {
        return -ENOENT; /* it has no TLS, or serves alone */
    }
    ns_go_file_version(file, program->version);
    if (!passes_in_registers(&table, program->version)) {
        program->refusal = passes_on_stack;
        return 0;
    }
    int error = -EINVAL;
    if (ns_go_file_symbols(file, symbols, FUNCTIONS, named) && are_all_there(named)) {
        error = place(file, named, program);
    } else if (are_all_there(ranges)) {
        error = place_by_table(file, &table, ranges, program);
    }
    program->refusal = error == -EINVAL ? unknown_code : NULL;
    return error == -EINVAL ? 0 : error;
}

/* The table has a section of its own, but in a position-independent program that the system's
 * linker has made of what 1.19 compiled: there it lies among other constants. */
static int
find_in_sections(struct ns_go_file *file, struct ns_go_program *program)
{
    const Elf64_Shdr *section = ns_go_file_section(file, ".gopclntab");
    if (section == NULL) { /* position-independent, as 1.19 makes it */
        section = ns_go_file_section(file, ".data.rel.ro.gopclntab");
    }
    size_t count, at = 0;
    int error = -ENOENT;
    uint8_t *bytes = ns_go_file_contents(file, section, &count);
    if (bytes != NULL) {
        error = find_by_table(file, bytes, count, program);
    } else if (section == NULL) {
        bytes = ns_go_file_contents(file, ns_go_file_section(file, ".data.rel.ro"), &count);
        for (int i = 0; bytes != NULL && error == -ENOENT && i < TABLES_TRIED_MAX; i++) {
            at = ns_go_table_seek(bytes, count, at);
            error = find_by_table(file, bytes + at, count - at, program);
            at++;
        }
    }
    free(bytes);
    return error;
}

int
ns_go_find(int fd, struct ns_go_program *program)
{
    struct ns_go_file file;
    *program = (struct ns_go_program){0};
    int error = ns_go_file_open(&file, fd);
    if (error == 0) {
        error = find_in_sections(&file, program);
        ns_go_file_close(&file);
    }
    return error;
}
