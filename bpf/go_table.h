/* SPDX-License-Identifier: Apache-2.0 */
/* Go's table of functions (.gopclntab), which stays in a stripped program: formats 1.16, 1.18 and
 * 1.20, as debug/gosym reads them. It comes from whoever made the file: nothing in it is believed.
 * Any thread. */
#ifndef NS_BPF_GO_TABLE_H
#define NS_BPF_GO_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ns_go_table {
    const uint8_t *bytes;
    size_t count;
    bool absolute;         /* 1.16: of functions the addresses are told, not where in the text */
    uint64_t text_address; /* 0 where it is not told, as by 1.26 */
    uint64_t functions;    /* how many */
    size_t names, functions_at; /* where */
};

/* A function, in the text or by its addresses. */
struct ns_go_range {
    uint64_t begin, end; /* both 0 where there is none */
};

/* Returns whether this is a table that can be read. The bytes must outlive it. */
bool ns_go_table_open(struct ns_go_table *table, const uint8_t *bytes, size_t count);

/* The next place from `at` on at which such a table may begin; count where there is none. */
size_t ns_go_table_seek(const uint8_t *bytes, size_t count, size_t at);

/* Where functions of these names are. */
void ns_go_table_find(const struct ns_go_table *table, const char *const *names, size_t count,
                      struct ns_go_range *ranges);

/* From the first function's first byte to behind the last one; false where the table is broken. */
bool ns_go_table_extent(const struct ns_go_table *table, struct ns_go_range *extent);

#endif
