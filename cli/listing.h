/* SPDX-License-Identifier: Apache-2.0 */
/* What `calls`, `denials`, `events` and `deliveries` share: the newest rows of a view, by customer
 * and age. */
#ifndef NS_CLI_LISTING_H
#define NS_CLI_LISTING_H

#include "cli/cli.h"

struct ns_listing {
    const char *view;    /* "nullspend.calls" */
    const char *moment;  /* the column that is newest first */
    const char *columns; /* select list of the table for people */
    const char *nothing; /* said where there is no row */
    const char *choice;  /* a flag of its own ("--dead"), or NULL */
    const char *chosen;  /* the rows that it chooses: a condition */
};

/* Reads the options and prints the rows. Returns an exit code. */
int ns_listing_main(const struct ns_command *command, int argc, char **argv,
                    const struct ns_listing *listing);

#endif
