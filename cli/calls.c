/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listing.h"

static const struct ns_listing calls = {
    .view = "nullspend.calls",
    .moment = "started_at",
    .columns = "date_trunc('second', started_at at time zone 'UTC') as \"started (UTC)\", customer,"
               " coalesce(model, requested_model) as model, trim_scale(cost_usd) as cost_usd,"
               " outcome, input_tokens as input, cached_input_tokens as cached,"
               " output_tokens as output, evidence, http_status as status, provider",
    .nothing = "No calls.",
};

int
ns_calls_main(const struct ns_command *command, int argc, char **argv)
{
    return ns_listing_main(command, argc, argv, &calls);
}
