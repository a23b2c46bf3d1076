/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a revenue file: rows and complaints, nothing else. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/csv.h"
#include "cli/revenue_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t complaints;
    size_t line_max;
};

static void
note(void *context, size_t line, const char *why)
{
    struct seen *seen = context;
    if (why == NULL || line == 0 || line > seen->line_max) {
        abort();
    }
    seen->complaints++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen seen = {0, 1};
    struct ns_revenue_rows rows;
    for (size_t i = 0; i < size; i++) {
        seen.line_max += data[i] == '\n' || data[i] == '\r';
    }
    char *text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    size_t bad = ns_revenue_read(text, size, &rows, note, &seen);
    if (bad != seen.complaints) {
        abort();
    }
    for (size_t i = 0; i < rows.count; i++) {
        const struct ns_revenue_row *row = &rows.row[i];
        if (strlen(row->date) != 10 || row->customer[0] == '\0' || row->amount_usd == NULL) {
            abort();
        }
    }
    free(rows.row);
    free(text);
    return 0;
}
