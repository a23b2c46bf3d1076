/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listing.h"

static const struct ns_listing calls = {
    .view = "nullspend.calls",
    .moment = "started_at",
    .columns = "to_char(started_at, 'YYYY-MM-DD HH24:MI:SS') as \"started (UTC)\", customer,"
               " provider, coalesce(model, requested_model) as model, outcome,"
               " http_status as status, input_tokens as input, cached_input_tokens as cached,"
               " output_tokens as output, trim_scale(cost_usd) as cost_usd, evidence",
    .nothing = "No calls.",
};

int
ns_calls_main(const struct ns_command *command, int argc, char **argv)
{
    return ns_listing_main(command, argc, argv, &calls);
}
