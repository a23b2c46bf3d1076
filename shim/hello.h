/* SPDX-License-Identifier: Apache-2.0 */
/* Who this process is: what a HELLO says, and the name that a REPORT carries. */
#ifndef NS_SHIM_HELLO_H
#define NS_SHIM_HELLO_H

#include "protocol/protocol.h"
#include "shim/config.h"

#define NS_NAME_BYTES_MAX 256

struct ns_hello_text {
    char process[NS_NAME_BYTES_MAX + 1];
    char hostname[NS_NAME_BYTES_MAX + 1];
};

/* The base name of the executable, "" where it cannot be told. */
void ns_process_name(char name[static NS_NAME_BYTES_MAX + 1]);

/* The base name of what a link to an executable (/proc/PID/exe) leads to; that of `otherwise` where
 * it cannot be told. "" where it is no text that a message takes. */
void ns_executable_name(const char *link, const char *otherwise,
                        char name[static NS_NAME_BYTES_MAX + 1]);

/* How this process sees calls: where hello.c is linked, that is said. */
enum ns_source ns_process_source(void);

/* Makes message a HELLO; its texts live in text and config. */
void ns_hello_fill(struct ns_message *message, struct ns_hello_text *text,
                   const struct ns_config *config);

#endif
