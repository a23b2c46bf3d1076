/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/go.h"

#include <errno.h>

#include "bpf/record.h"
#include "tests/harness.h"
#include "tests/unit/bpf_go_support.h"

static struct go_image image;

static int
find(const uint8_t *bytes, size_t count, struct ns_go_program *program)
{
    int fd = go_open(bytes, count);
    int error = ns_go_find(fd, program);
    close(fd);
    return error;
}

static const struct go_shape usual = {
    .magic = 0xfffffff1, .version = "go1.26.8", .told = TOLD_NOWHERE};

/* The offset of a place for this program in the n-th of Go's functions, counted from its start; -1
 * where there is none. */
static int64_t
place_in(const struct ns_go_program *program, const char *name, size_t function)
{
    uint64_t begin = image.text_offset + function * GO_FUNCTION_BYTES;
    for (size_t i = 0; i < program->place_count; i++) {
        uint64_t at = program->places[i].offset - begin;
        if (strcmp(program->places[i].program, name) == 0 && at < GO_FUNCTION_BYTES) {
            return (int64_t)at;
        }
    }
    return -1;
}

static void
check_places(const struct ns_go_program *program)
{
    CHECK_INT(place_in(program, "on_go_write", 1), GO_ENTRY);
    CHECK_INT(place_in(program, "on_go_handshake", 2), GO_ENTRY);
    CHECK_INT(place_in(program, "on_go_read", 3), GO_ENTRY);
    CHECK_INT(place_in(program, "on_go_have_read", 3), GO_FIRST_RETURN);
    CHECK_INT(place_in(program, "on_go_close", 4), GO_ENTRY);
    CHECK_INT(place_in(program, "on_go_name", 5), GO_ENTRY);
    CHECK_INT(program->place_count, 5 + 2);
}

TEST(functions_are_found_in_every_shape_of_file)
{
    const struct go_shape shapes[] = {
        {.magic = 0xfffffff1, .version = "go1.26.8", .told = TOLD_NOWHERE},
        {.magic = 0xfffffff1, .version = "go1.26.8", .told = TOLD_IN_DATA, .other_code = 48},
        {.magic = 0xfffffff1, .version = "go1.26.8", .told = TOLD_BY_RELOCATIONS, .other_code = 80},
        {.magic = 0xfffffff1, .version = "go1.22.1", .told = TOLD_IN_HEADER, .other_code = 16},
        {.magic = 0xfffffff0, .version = "go1.19.8", .told = TOLD_IN_HEADER},
        {.magic = 0xfffffff0,
         .version = "go1.19.8",
         .told = TOLD_BY_RELOCATIONS,
         .other_code = 16,
         .has_no_section = true},
        {.magic = 0xfffffff1, .version = "go1.26.8", .other_code = 32, .has_symbols = true},
        {.magic = 0xfffffffa, .version = "go1.17.13", .points_to_version = true},
        {.magic = 0xfffffffa, .version = "go1.17", .other_code = 32},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct ns_go_program program;
        go_build(&image, &shapes[i]);
        CHECK_INT(find(image.bytes, image.count, &program), 0);
        CHECK(program.refusal == NULL);
        CHECK_STR(program.version, shapes[i].version);
        check_places(&program);
    }
}

TEST(arguments_on_the_stack_are_refused)
{
    const char *const versions[] = {"go1.16.15", "go1.9", "", "devel +1234"};
    for (size_t i = 0; i < 4; i++) {
        struct go_shape shape = {
            .magic = 0xfffffffa, .version = versions[i], .points_to_version = true};
        struct ns_go_program program;
        go_build(&image, &shape);
        CHECK_INT(find(image.bytes, image.count, &program), 0);
        CHECK(program.refusal != NULL && strstr(program.refusal, "stack") != NULL);
        CHECK_INT(program.place_count, 0);
    }
}

TEST(functions_that_do_not_begin_as_gos_are_refused)
{
    struct go_shape shape = usual;
    struct ns_go_program program;
    shape.has_no_check = true;
    go_build(&image, &shape);
    CHECK_INT(find(image.bytes, image.count, &program), 0);
    CHECK(program.refusal != NULL);
    CHECK_INT(program.place_count, 0);
}

TEST(functions_that_are_not_in_the_text_are_refused)
{
    struct go_shape shape = usual;
    shape.has_symbols = true;
    for (uint64_t bytes = 0; bytes < (uint64_t)GO_FUNCTIONS * GO_FUNCTION_BYTES; bytes++) {
        struct ns_go_program program;
        go_build(&image, &shape);
        ((Elf64_Shdr *)(image.bytes + sizeof(Elf64_Ehdr)))[1].sh_size = bytes;
        CHECK_INT(find(image.bytes, image.count, &program), 0);
        bool all = bytes >= (uint64_t)5 * GO_FUNCTION_BYTES + sizeof go_function;
        CHECK_INT(program.refusal == NULL, all);
        CHECK_INT(program.place_count > 0, all);
    }
}

TEST(what_has_no_client_of_tls_is_none)
{
    const char *const replaced[] = {"crypto/tls.(*Conn).Write",
                                    "crypto/tls.(*Conn).clientHandshake"};
    for (size_t i = 0; i < 2; i++) {
        struct go_shape shape = usual;
        struct ns_go_program program;
        shape.replaced = replaced[i];
        go_build(&image, &shape);
        CHECK_INT(find(image.bytes, image.count, &program), -ENOENT);
    }
    struct go_shape shape = usual;
    struct ns_go_program program;
    shape.replaced = "crypto/tls.(*Conn).Close"; /* a client, and yet not whole */
    go_build(&image, &shape);
    CHECK_INT(find(image.bytes, image.count, &program), 0);
    CHECK(program.refusal != NULL && program.place_count == 0);
}

TEST(a_program_that_is_none_of_gos_is_none)
{
    struct ns_go_program program;
    go_build(&image, &usual);
    uint8_t *name = memmem(image.bytes, image.count, ".go.buildinfo", 13);
    REQUIRE(name != NULL);
    name[1] = 'x';
    CHECK_INT(find(image.bytes, image.count, &program), -ENOENT);
    go_build(&image, &usual);
    image.bytes[EI_CLASS] = ELFCLASS32;
    CHECK_INT(find(image.bytes, image.count, &program), -ENOENT);
    go_build(&image, &usual);
    ((Elf64_Ehdr *)image.bytes)->e_machine = EM_AARCH64;
    CHECK_INT(find(image.bytes, image.count, &program), -ENOENT);
}

/* Whatever is found lies in the file. */
static void
check_bounded(const struct ns_go_program *program, size_t count)
{
    CHECK(program->place_count <= NS_GO_PLACES_MAX);
    for (size_t i = 0; i < program->place_count; i++) {
        CHECK(program->places[i].offset < count);
    }
}

TEST(a_file_that_is_cut_is_none_at_every_length)
{
    const struct go_shape shapes[] = {
        {.magic = 0xfffffff1, .version = "go1.26.8", .told = TOLD_IN_DATA, .other_code = 48},
        {.magic = 0xfffffffa, .version = "go1.17.13", .points_to_version = true},
        {.magic = 0xfffffff1, .version = "go1.26.8", .other_code = 32, .has_symbols = true}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        struct ns_go_program program;
        go_build(&image, &shapes[s]);
        const Elf64_Shdr *table = &image.sections[2];
        for (size_t count = 0; count < image.count; count++) {
            int error = find(image.bytes, count, &program);
            check_bounded(&program, count);
            if (count < table->sh_offset + table->sh_size) {
                CHECK_INT(error, -ENOENT);
            }
        }
    }
}

/* Numbers of the header, the list and of sections that lead outside. */
TEST(a_number_that_leads_outside_gives_none)
{
    const uint64_t wrong[] = {UINT64_MAX, UINT64_MAX - 7, INT64_MAX, UINT32_MAX, 0x10000, 4096};
    const unsigned words[] = {0, 3, 7}; /* functions, names, list */
    for (size_t w = 0; w < 3; w++) {
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            struct ns_go_program program;
            go_build(&image, &usual);
            uint8_t *header = image.bytes + image.sections[2].sh_offset + 8;
            memcpy(header + (size_t)words[w] * 8, &wrong[i], 8);
            CHECK_INT(find(image.bytes, image.count, &program), -ENOENT);
        }
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        for (size_t s = 0; s < 4; s++) {
            struct ns_go_program program;
            go_build(&image, &usual);
            Elf64_Shdr *sections = (Elf64_Shdr *)(image.bytes + sizeof(Elf64_Ehdr));
            sections[s].sh_offset = wrong[i];
            (void)find(image.bytes, image.count, &program);
            check_bounded(&program, image.count);
            sections[s].sh_offset = image.sections[s].sh_offset;
            sections[s].sh_size = wrong[i];
            (void)find(image.bytes, image.count, &program);
            check_bounded(&program, image.count);
        }
    }
}

TEST(no_byte_that_is_wrong_leads_outside)
{
    const struct go_shape shapes[] = {
        {.magic = 0xfffffff1, .version = "go1.26.8", .told = TOLD_BY_RELOCATIONS, .other_code = 48},
        {.magic = 0xfffffffa, .version = "go1.17.13", .points_to_version = true},
        {.magic = 0xfffffff0, .version = "go1.19.8", .has_no_section = true},
        {.magic = 0xfffffff1, .version = "go1.26.8", .has_symbols = true}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        go_build(&image, &shapes[s]);
        for (size_t i = 0; i < image.count; i++) {
            uint8_t right = image.bytes[i];
            const uint8_t wrong[] = {0, 0xff, 0x80, (uint8_t)(right + 1), (uint8_t)(right - 1)};
            for (size_t w = 0; w < sizeof wrong; w++) {
                struct ns_go_program program;
                image.bytes[i] = wrong[w];
                (void)find(image.bytes, image.count, &program);
                check_bounded(&program, image.count);
            }
            image.bytes[i] = right;
        }
    }
}

/* --- code --------------------------------------------------------------------------------------
 */

TEST(each_return_of_a_function_is_found)
{
    struct ns_go_code code;
    CHECK_INT(ns_go_code_read(go_function, sizeof go_function, &code), 0);
    CHECK_INT(code.entry, GO_ENTRY);
    CHECK_INT(code.return_count, 2);
    CHECK_INT(code.returns[0], GO_FIRST_RETURN);
    CHECK_INT(code.returns[1], GO_SECOND_RETURN);
    CHECK(code.keeps_arguments);
}

TEST(a_byte_within_an_instruction_is_no_return)
{
    uint8_t bytes[sizeof go_function];
    struct ns_go_code code;
    memcpy(bytes, go_function, sizeof bytes);
    bytes[6] = 0xc3; /* of the jump's distance */
    bytes[13] = 0xc3;
    bytes[12] = 0x89; /* mov %eax, %ebx */
    CHECK_INT(ns_go_code_read(bytes, sizeof bytes, &code), 0);
    CHECK_INT(code.return_count, 2);
}

/* With room for more than a page of locals, R12 is compared in the stack pointer's stead. */
TEST(the_check_of_a_large_frame_is_passed)
{
    static const uint8_t lea[] = {0x4c, 0x8d, 0x64, 0x24, 0xb8, 0x4d, 0x3b, 0x66, 0x10, 0x0f,
                                  0x86, 0x01, 0x00, 0x00, 0x00, 0x55, 0x48, 0x83, 0xc4, 0x80,
                                  0x48, 0x89, 0x84, 0x24, 0x90, 0x00, 0x00, 0x00, 0x48, 0x89,
                                  0x9c, 0x24, 0x98, 0x00, 0x00, 0x00, 0xc3};
    static const uint8_t sub[] = {0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0x00, 0x20, 0x00, 0x00,
                                  0x72, 0x08, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x02, 0xc3, 0x90};
    struct ns_go_code code;
    CHECK_INT(ns_go_code_read(lea, sizeof lea, &code), 0);
    CHECK_INT(code.entry, 15);
    CHECK(code.keeps_arguments); /* add $-128 makes the frame */
    CHECK_INT(ns_go_code_read(sub, sizeof sub, &code), 0);
    CHECK_INT(code.entry, 18);
    CHECK(!code.keeps_arguments);
}

TEST(arguments_elsewhere_are_not_relied_on)
{
    for (size_t at = 22; at <= 27; at += 5) { /* where either is stored */
        uint8_t bytes[sizeof go_function];
        struct ns_go_code code;
        memcpy(bytes, go_function, sizeof bytes);
        bytes[at] += 8;
        CHECK_INT(ns_go_code_read(bytes, sizeof bytes, &code), 0);
        CHECK(!code.keeps_arguments);
    }
}

TEST(code_that_cannot_be_read_to_its_end_is_refused)
{
    uint8_t bytes[sizeof go_function + NS_GO_RETURNS_MAX];
    struct ns_go_code code;
    memcpy(bytes, go_function, sizeof go_function);
    memset(bytes + sizeof go_function, 0xc3, NS_GO_RETURNS_MAX);
    CHECK_INT(ns_go_code_read(bytes, sizeof go_function + NS_GO_RETURNS_MAX - 2, &code), 0);
    CHECK_INT(code.return_count, NS_GO_RETURNS_MAX);
    CHECK_INT(ns_go_code_read(bytes, sizeof go_function + NS_GO_RETURNS_MAX - 1, &code), -EINVAL);
    bytes[34] = 0x06; /* no instruction */
    CHECK_INT(ns_go_code_read(bytes, sizeof go_function, &code), -EINVAL);
    CHECK_INT(ns_go_code_read(bytes, GO_FIRST_RETURN, &code), -EINVAL); /* it never returns */
    CHECK_INT(ns_go_code_read(bytes, 3, &code), -EINVAL);
    CHECK_INT(ns_go_code_read(bytes, 0, &code), -EINVAL);
}
