/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listing.h"

static const struct ns_listing events = {
    .view = "nullspend.events",
    .moment = "happened_at",
    .columns = "date_trunc('second', happened_at at time zone 'UTC') as \"happened (UTC)\", kind,"
               " entity, period, case when kind = 'threshold' then threshold || ' % of the limit'"
               " when kind = 'velocity'"
               " then 'paused until ' || to_char(paused_until at time zone 'UTC', 'HH24:MI:SS')"
               " else what end as what, trim_scale(spent_usd) as spent_usd,"
               " trim_scale(limit_usd) as limit_usd",
    .nothing = "No events.",
};

int
ns_events_main(const struct ns_command *command, int argc, char **argv)
{
    return ns_listing_main(command, argc, argv, &events);
}
