/* SPDX-License-Identifier: Apache-2.0 */
/* What `budget` and `mandate` share: entities as people write them, and changes that are in force
 * when they return. */
#ifndef NS_CLI_SETTINGS_H
#define NS_CLI_SETTINGS_H

#include <libpq-fe.h>

#include "cli/cli.h"

/* Could it be counted? The schema has the same rules, but can only say that one is broken. Returns
 * -1 to go on, else the exit code; what is wrong has been said. */
int ns_check_entity(const struct ns_command *command, const char *entity);

/* Runs a statement that changes budgets or mandates and waits until the collector says that the
 * revision it made is in force. *changed: how many rows it touched. Returns an exit code; what is
 * wrong has been said. */
int ns_settings_change(PGconn *database, const char *sql, int parameter_count,
                       const char *const *parameters, int *changed);

#endif
