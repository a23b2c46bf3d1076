/* SPDX-License-Identifier: Apache-2.0 */
/* A mail in plain text (RFC 5322, 2045, 2047). */
#ifndef NS_COLLECTOR_NOTIFIER_MAIL_H
#define NS_COLLECTOR_NOTIFIER_MAIL_H

#include <time.h>

#include "collector/buffer.h"

struct ns_mail {
    const char *from;    /* NAME@HOST */
    const char *to;      /* "NAME@HOST, NAME@HOST" */
    const char *subject; /* UTF-8, anything */
    const char *text;    /* UTF-8, lines end in \n */
    const char *id;      /* the event's; makes the Message-ID, with the sender's host */
    time_t date;
};

/* Adds the message, with its headers, to a buffer. Whatever subject and text hold, it becomes no
 * header: what is not plain ASCII is coded. Addresses are checked where they are stored, and here:
 * returns 0, -EINVAL where one has a character that none may have, or -ENOMEM. */
int ns_mail_format(const struct ns_mail *mail, struct ns_buffer *buffer);

/* Base64 (RFC 4648), without line ends. */
void ns_base64(const char *bytes, size_t count, struct ns_buffer *buffer);

#endif
