/* SPDX-License-Identifier: Apache-2.0 */
/* What `budget`, `mandate` and `approve` share: entities as people write them, and changes that are
 * in force when they return. */
#ifndef NS_CLI_SETTINGS_H
#define NS_CLI_SETTINGS_H

#include <libpq-fe.h>

#include "cli/cli.h"

enum ns_settings_verb { NS_VERB_SET, NS_VERB_LIST, NS_VERB_SHOW, NS_VERB_RM, NS_VERB_COUNT };

/* Reads the operands "set ENTITY", "list", "show ENTITY" or "rm ENTITY" (NULL after the last).
 * Returns -1 to go on, else the exit code; what is wrong has been said. */
int ns_settings_verb(const struct ns_command *command, const char *const *operands,
                     enum ns_settings_verb *verb);

/* Could this entity be counted? Returns -1, else NS_EXIT_USAGE with what is wrong said. */
int ns_settings_check_entity(const struct ns_command *command, const char *entity);

/* "set does not take one of these options"; returns NS_EXIT_USAGE. */
int ns_settings_not_taken(const struct ns_command *command, enum ns_settings_verb verb);

/* Runs a statement that changes budgets, mandates or grants and waits until the collector says that
 * the revision it made is in force. *changed: how many rows it touched. Returns an exit code; what
 * is wrong has been said. */
int ns_settings_change(PGconn *database, const char *sql, int parameter_count,
                       const char *const *parameters, int *changed);

#endif
