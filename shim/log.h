/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NULLSPEND_LOG: one line a problem, one write(2) a line, the file opened and closed for it, so
 * that no descriptor stays in the host. Nothing is ever written anywhere else. No content, no
 * credentials. Any thread; errno kept.
 */
#ifndef NS_SHIM_LOG_H
#define NS_SHIM_LOG_H

#include <stddef.h>
#include <stdint.h>

#define NS_LINE_BYTES_MAX 1024

struct ns_line {
    size_t bytes;
    char text[NS_LINE_BYTES_MAX];
};

/* path: kept by reference; NULL switches the log off. */
void ns_log_open(const char *path);

/* A line is built in pieces; what does not fit is cut. */
void ns_line_begin(struct ns_line *line, const char *what);
void ns_line_text(struct ns_line *line, const char *text);
void ns_line_number(struct ns_line *line, uint64_t number);
void ns_line_end(struct ns_line *line);

/* "what: detail" in one go; detail may be NULL. */
void ns_log(const char *what, const char *detail);

#endif
