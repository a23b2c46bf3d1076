/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_COLLECTOR_STORE_MIGRATE_H
#define NS_COLLECTOR_STORE_MIGRATE_H

#include "collector/store_link.h"

/*
 * Brings the schema to the version of this program: each migration that is missing in a transaction
 * of its own, under an advisory lock, so that any number of collectors may try at once. Returns 0,
 * or -EIO with link->error; a schema newer than this program is such an error.
 */
int ns_store_migrate(struct ns_link *link);

#endif
