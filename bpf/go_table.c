/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/go_table.h"

#include <string.h>

#define MAGIC_1_16 0xfffffffaU
#define MAGIC_1_18 0xfffffff0U
#define MAGIC_1_20 0xfffffff1U

#define HEADER_BYTES ((size_t)8)
#define WORD_BYTES ((size_t)8)

/* Some ten times what the largest programs have; going through them takes a tenth of a second. */
#define FUNCTIONS_MAX (UINT64_C(1) << 22)

/* Little-endian numbers where there is room for them; 0 elsewhere. */
static uint64_t
number(const struct ns_go_table *table, uint64_t at, size_t bytes)
{
    uint64_t value = 0;
    if (table->bytes != NULL && at <= table->count && bytes <= table->count - at) {
        memcpy(&value, table->bytes + at, bytes);
    }
    return value;
}

static uint64_t
word(const struct ns_go_table *table, unsigned index)
{
    return number(table, HEADER_BYTES + index * WORD_BYTES, WORD_BYTES);
}

/* An entry of the list of functions is an address and where the rest is told. */
static size_t
field_bytes(const struct ns_go_table *table)
{
    return table->absolute ? 8 : 4;
}

bool
ns_go_table_open(struct ns_go_table *table, const uint8_t *bytes, size_t count)
{
    *table = (struct ns_go_table){.bytes = bytes, .count = count};
    uint64_t magic = number(table, 0, 4);
    table->absolute = magic == MAGIC_1_16;
    unsigned names_word = table->absolute ? 2 : 3;
    unsigned functions_word = table->absolute ? 6 : 7;
    if ((!table->absolute && magic != MAGIC_1_18 && magic != MAGIC_1_20) ||
        count < HEADER_BYTES + (functions_word + 1) * WORD_BYTES ||
        bytes[HEADER_BYTES - 1] != WORD_BYTES) {
        return false;
    }
    uint64_t names = word(table, names_word);
    uint64_t functions_at = word(table, functions_word);
    table->functions = word(table, 0);
    table->text_address = table->absolute ? 0 : word(table, 2);
    if (names >= count || functions_at >= count || table->functions == 0 ||
        table->functions > FUNCTIONS_MAX) {
        return false;
    }
    table->names = (size_t)names;
    table->functions_at = (size_t)functions_at;
    return (2 * table->functions + 1) * field_bytes(table) <= count - functions_at;
}

size_t
ns_go_table_seek(const uint8_t *bytes, size_t count, size_t at)
{
    /* Behind the magic number: nothing, instructions of any length, and words of 8 bytes. */
    static const uint8_t rest[] = {0, 0, 1, WORD_BYTES};
    if (at > count) {
        return count;
    }
    for (at = (at + WORD_BYTES - 1) / WORD_BYTES * WORD_BYTES;
         at < count && count - at >= HEADER_BYTES; at += WORD_BYTES) {
        if (memcmp(bytes + at + 4, rest, sizeof rest) == 0 && bytes[at + 3] == 0xff) {
            return at;
        }
    }
    return count;
}

static uint64_t
begin_of(const struct ns_go_table *table, uint64_t index)
{
    size_t field = field_bytes(table);
    return number(table, table->functions_at + 2 * index * field, field);
}

/* The name of a function, at most up to the end of the table; NULL where there is none. */
static const char *
name_of(const struct ns_go_table *table, uint64_t index, size_t *room)
{
    size_t field = field_bytes(table);
    uint64_t told = number(table, table->functions_at + (2 * index + 1) * field, field);
    uint64_t left = table->count - table->functions_at;
    if (told > left || 2 * field > left - told) {
        return NULL;
    }
    /* Behind the function's address, which has the size of a field again. */
    uint64_t at = number(table, table->functions_at + told + field, 4);
    if (at >= table->count - table->names) {
        return NULL;
    }
    *room = table->count - table->names - at;
    return (const char *)table->bytes + table->names + at;
}

void
ns_go_table_find(const struct ns_go_table *table, const char *const *names, size_t count,
                 struct ns_go_range *ranges)
{
    memset(ranges, 0, count * sizeof *ranges);
    for (uint64_t i = 0; i < table->functions; i++) {
        size_t room;
        const char *name = name_of(table, i, &room);
        for (size_t n = 0; name != NULL && n < count; n++) {
            size_t bytes = strlen(names[n]) + 1;
            if (bytes <= room && memcmp(name, names[n], bytes) == 0) {
                struct ns_go_range range = {begin_of(table, i), begin_of(table, i + 1)};
                ranges[n] = range.begin < range.end ? range : (struct ns_go_range){0};
            }
        }
    }
}

bool
ns_go_table_extent(const struct ns_go_table *table, struct ns_go_range *extent)
{
    *extent = (struct ns_go_range){begin_of(table, 0), begin_of(table, table->functions)};
    return extent->begin < extent->end;
}
