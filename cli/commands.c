/* SPDX-License-Identifier: Apache-2.0 */
/* The commands: their names, what they say of themselves, and what runs. */
#include "cli/cli.h"

#define EXITS                                                                                      \
    "\n"                                                                                           \
    "exit status: 0 done, 1 failed, 2 wrong usage, 3 no collector, 4 not found\n"

#define LISTING_OPTIONS                                                                            \
    "  --customer C   of this customer\n"                                                          \
    "  --since AGE    not older than AGE: 90s, 15m, 1h, 30d, 2w\n"                                 \
    "  --limit N      at most N\n"                                                                 \
    "  --json         one array, all columns\n"                                                    \
    "  --csv          all columns\n"

const struct ns_command ns_commands[] = {
    {
        "run",
        "runs a program governed",
        "usage: nullspend run [OPTION...] [--] CMD [ARG...]\n"
        "\n"
        "Executes CMD with the library preloaded: its calls to language models must find their\n"
        "money in every matching budget. Starts a collector of your own where none answers.\n"
        "\n"
        "  --customer C   for which customer; likewise --agent A, --feature F, --session S\n"
        "  --tag K=V      a tag; up to 16 times\n"
        "  --mode MODE    enforce, shadow (denials are only recorded), observe (calls are only\n"
        "                 counted), off\n"
        "\n"
        "environment of CMD, where set:\n"
        "  NULLSPEND_INJECT_USAGE=1  chat streams that would not tell their usage are made to;\n"
        "                            the chunk that tells it is taken out again\n"
        "\n"
        "examples:\n"
        "  nullspend run --customer acme -- python agent.py\n"
        "  nullspend run --tag env=ci --mode observe -- pytest\n"
        "\n"
        "exit status: that of CMD; 127 where CMD is not there, 126 where it cannot be executed\n",
        ns_run_main,
    },
    {
        "start",
        "starts your private collector",
        "usage: nullspend start\n"
        "\n"
        "Starts a collector of your own in the background, with a Postgres of its own unless\n"
        "NULLSPEND_DATABASE_URL is set, and returns when it is ready. 'run' does it by itself.\n"
        "It listens at NULLSPEND_COLLECTOR (default: your own socket) and keeps its state in\n"
        "NULLSPEND_STATE_DIR.\n"
        "\n"
        "example: nullspend start && nullspend status\n" EXITS,
        ns_start_main,
    },
    {
        "stop",
        "stops your private collector",
        "usage: nullspend stop\n"
        "\n"
        "Lets the collector flush its journal and Postgres, and waits until it has ended.\n"
        "\n"
        "example: nullspend stop\n" EXITS,
        ns_stop_main,
    },
    {
        "status",
        "what the collector is doing",
        "usage: nullspend status [--json]\n"
        "\n"
        "Version, uptime, connected processes, open holds, calls and denials, Postgres lag.\n"
        "Then, by reason, what passed unseen since the collector's start (what is no HTTP,\n"
        "upgrades, calls that nobody could be asked about) and what was denied because it could\n"
        "not be judged. Processes tell it with their reports, and at their end.\n"
        "\n"
        "example: nullspend status --json | jq .postgres.lag_s\n" EXITS,
        ns_status_main,
    },
    {
        "budget",
        "sets, lists and removes budgets",
        "usage: nullspend budget set ENTITY --limit USD --period PERIOD [OPTION...]\n"
        "       nullspend budget list\n"
        "       nullspend budget show ENTITY\n"
        "       nullspend budget rm ENTITY [--period PERIOD]\n"
        "\n"
        "A change returns when the collector enforces it. ENTITY is org, customer:ID, agent:ID,\n"
        "feature:ID, session:ID, key:ID, team:ID or tag:K=V; customer:* and its like is a default\n"
        "for every such entity, each with a count of its own.\n"
        "\n"
        "  --limit USD               a decimal with at most 9 places\n"
        "  --period PERIOD           hour, day, week, month (in UTC) or total\n"
        "  --policy POLICY           hard denies; soft, warn and shadow only record (hard)\n"
        "  --reserve HOW             typical: what such calls usually use; bound: the most that\n"
        "                            a call can cost (typical)\n"
        "  --on-unreachable WHAT     allow or deny where the collector cannot be asked (allow)\n"
        "  --deny-status STATUS      auto, 402, 403 or 429: HTTP status of a denial (auto)\n"
        "  --finalize-reserve USD    a part of the limit that only calls with the header\n"
        "                            X-NullSpend-Finalize: 1 may use, to end their work (0)\n"
        "  --overdraft USD|N%        policy soft (which is what a new budget gets with this):\n"
        "                            denies what passes the limit by more; none: denies nothing\n"
        "  --velocity USD/TIME       5/60s: denies what would pass 5 dollars in 60 seconds, and\n"
        "                            then all calls for a cool-down; none: any amount (none)\n"
        "  --cool-down TIME          for how long (60s)\n"
        "  --thresholds LIST         percents of the limit at which an event is written, once a\n"
        "                            period each (50,80,90,95); none\n"
        "  --json                    one array, the columns of nullspend.budget_status\n"
        "\n"
        "Options that are not given keep what they were.\n"
        "\n"
        "examples:\n"
        "  nullspend budget set customer:acme --limit 25 --period day\n"
        "  nullspend budget set 'customer:*' --limit 5 --period month --policy warn\n"
        "  nullspend budget list\n" EXITS,
        ns_budget_main,
    },
    {
        "mandate",
        "sets, lists and removes mandates: what may be called at all",
        "usage: nullspend mandate set ENTITY [OPTION...]\n"
        "       nullspend mandate list\n"
        "       nullspend mandate show ENTITY\n"
        "       nullspend mandate rm ENTITY\n"
        "\n"
        "Which calls an entity may make at all, whatever money there is. A call must keep to the\n"
        "mandates of all its entities; else it is denied (reason mandate, customer_required or "
        "loop).\n"
        "ENTITY is as for budgets; customer:* and its like hold for every such entity that has no\n"
        "mandate of its own. A change returns when the collector enforces it.\n"
        "\n"
        "  --allow-models LIST       models, as requests name them: one of these\n"
        "  --deny-models LIST        none of these, allowed or not\n"
        "  --allow-providers LIST    openai, anthropic, gemini, ...\n"
        "  --deny-providers LIST\n"
        "  --allow-hosts LIST        api.openai.com, ...\n"
        "  --deny-hosts LIST\n"
        "  --allow-operations LIST   chat, responses, messages, embeddings, ...\n"
        "  --deny-operations LIST\n"
        "  --allow-tiers LIST        service tiers, as requests name them; one that names none\n"
        "  --deny-tiers LIST         asks for 'default'\n"
        "  --allow-tools LIST        web_search, code_interpreter, mcp, ... as the provider calls\n"
        "  --deny-tools LIST         them; function is any tool of the program's own\n"
        "  --max-output-tokens N     requests must limit their answer to at most N tokens; none:\n"
        "                            they need not\n"
        "  --repeats N/TIME          within TIME at most N calls that are the same request, or "
        "end\n"
        "                            with the same text and grow (50/60s; 1s to 1d); none\n"
        "  --require LIST            what a call must name: customer, agent, feature, session,\n"
        "                            key, team, tag:KEY\n"
        "  --policy POLICY           hard denies; shadow only records (hard)\n"
        "  --json                    one array, the columns of nullspend.mandates\n"
        "\n"
        "A LIST has commas between its words; * stands for any characters, and case is of no\n"
        "matter. An empty list ('') says nothing. Options that are not given keep what they were.\n"
        "\n"
        "examples:\n"
        "  nullspend mandate set agent:bot --allow-models 'gpt-4o*,o4-mini' --max-output-tokens "
        "4096\n"
        "  nullspend mandate set org --require customer --deny-tiers priority\n"
        "  nullspend mandate list\n" EXITS,
        ns_mandate_main,
    },
    {
        "calls",
        "the newest calls and what they cost",
        "usage: nullspend calls [OPTION...]\n"
        "\n"
        "Calls, newest first.\n"
        "\n" LISTING_OPTIONS "\n"
        "examples:\n"
        "  nullspend calls --customer acme --since 1h\n"
        "  nullspend calls --since 1d --json | jq 'map(.cost_usd) | add'\n" EXITS,
        ns_calls_main,
    },
    {
        "denials",
        "the newest denials",
        "usage: nullspend denials [OPTION...]\n"
        "\n"
        "Calls that were denied, newest first, with the numbers of the budget at that moment.\n"
        "\n" LISTING_OPTIONS "\n"
        "example: nullspend denials --since 1d\n" EXITS,
        ns_denials_main,
    },
    {
        "explain",
        "why a call was denied",
        "usage: nullspend explain ID [--json]\n"
        "\n"
        "Which budget denied a call, its numbers at that moment, and what would have passed. ID "
        "is\n"
        "that of 'nullspend denials' and of the header X-NullSpend-Denial-Id, or the call's own.\n"
        "\n"
        "example: nullspend explain 019b0d5a-1f7e-7c3a-9d2b-6f1e2a3b4c5d\n" EXITS,
        ns_explain_main,
    },
    {
        "savings",
        "what denials kept from being spent",
        "usage: nullspend savings [OPTION...]\n"
        "\n"
        "What the calls that were denied would likely have cost, by day, reason, entity and\n"
        "customer, newest first. A program that asks the same again within a minute counts once;\n"
        "what is recorded only (shadow, soft, warn) is not counted. The amounts are what the "
        "calls\n"
        "would have held, which is mostly more than they would have cost.\n"
        "\n" LISTING_OPTIONS "\n"
        "example: nullspend savings --since 30d\n" EXITS,
        ns_savings_main,
    },
    {
        "events",
        "what happened that people want to hear of",
        "usage: nullspend events [OPTION...]\n"
        "\n"
        "What happened that people want to hear of, newest first, each thing once:\n"
        "  threshold         so many percent of a budget's limit are spent; once a period\n"
        "  exceeded          a budget denied a call, or would have; once a period\n"
        "  reset             a new period of a budget of which one of the above was told\n"
        "  velocity          too much went within a budget's window, and calls are paused\n"
        "  session_cap       a session's budget denied a call; once an hour\n"
        "  denied            a mandate, or a price that is not known, did; once an hour\n"
        "  unpriced          a model without a price was called; once a day\n"
        "  unknown_provider  a host was called that is no provider's that is known; once a day\n"
        "  dark              a program talks to a provider and nothing governs it; once a day\n"
        "  lag               calls reached Postgres more than five minutes late; once an hour\n"
        "  loop              calls of an entity repeat each other; once an hour\n"
        "  approval_...      a program asked for more money, and what became of it: _requested,\n"
        "                    _granted, _rejected, _expired\n"
        "  grant_revoked     money that was granted was taken back\n"
        "Who is told of them: 'nullspend endpoint'.\n"
        "Postgres notifies nullspend_events of new ones.\n"
        "\n" LISTING_OPTIONS "\n"
        "example: nullspend events --since 1d\n" EXITS,
        ns_events_main,
    },
    {
        "request",
        "asks a person for more money",
        "usage: nullspend request --budget ENTITY --amount USD --reason TEXT [OPTION...]\n"
        "\n"
        "Asks for so much more for a budget, for a while, and prints the request's number. A "
        "person\n"
        "decides: 'nullspend approve' makes a grant of it. nullspend_events is notified.\n"
        "\n"
        "  --budget ENTITY   whose budget: its own, or that of all of its kind (customer:*)\n"
        "  --period PERIOD   which one, where there are several\n"
        "  --amount USD      how much more\n"
        "  --reason TEXT     what for\n"
        "  --models LIST     for these models alone: patterns with commas between\n"
        "  --for TIME        for how long, from the decision on: 90s, 15m, 1h, at most 7d (1h)\n"
        "  --expires TIME    how long the request waits for a decision, at most 7d (1h)\n"
        "  --wait            waits for the decision; exit status 1 where it is no\n"
        "  --json            one array, the columns of nullspend.requests\n"
        "\n"
        "example: nullspend request --budget agent:bot --amount 5 --reason 'the last 40 files' \\\n"
        "           --models 'gpt-4o*' --for 2h --wait\n" EXITS,
        ns_request_main,
    },
    {
        "requests",
        "who asks for more money",
        "usage: nullspend requests [--state STATE] [--json]\n"
        "\n"
        "Requests, newest first.\n"
        "\n"
        "  --state STATE   pending, approved, rejected or expired\n"
        "  --json          one array, the columns of nullspend.requests\n"
        "\n"
        "example: nullspend requests --state pending\n" EXITS,
        ns_requests_main,
    },
    {
        "approve",
        "grants a request, or less",
        "usage: nullspend approve ID [OPTION...]\n"
        "\n"
        "Makes a grant of a request; returns when the collector enforces it. What is granted may "
        "be\n"
        "less, for less long, for fewer models, and never more than was asked for.\n"
        "\n"
        "  --amount USD         so much of it\n"
        "  --for TIME           for so long, from now on\n"
        "  --models LIST        for these models alone\n"
        "  --spend first|last   before the budget's own money, or what that has not (last)\n"
        "  --json               one array, the columns of nullspend.requests\n"
        "\n"
        "example: nullspend approve 7 --amount 2 --for 30m\n" EXITS,
        ns_approve_main,
    },
    {
        "reject",
        "refuses a request",
        "usage: nullspend reject ID [--reason TEXT] [--json]\n"
        "\n"
        "example: nullspend reject 7 --reason 'use the small model'\n" EXITS,
        ns_reject_main,
    },
    {
        "grant",
        "revokes a grant",
        "usage: nullspend grant revoke ID [--json]\n"
        "\n"
        "No call may take of it from now on; what running calls hold of it, they keep. Returns "
        "when\n"
        "the collector enforces it.\n"
        "\n"
        "example: nullspend grant revoke 12\n" EXITS,
        ns_grant_main,
    },
    {
        "grants",
        "grants, and what is left of each",
        "usage: nullspend grants [OPTION...]\n"
        "\n"
        "Grants, newest first.\n"
        "\n" LISTING_OPTIONS "\n"
        "example: nullspend grants --since 1d\n" EXITS,
        ns_grants_main,
    },
    {
        "audit",
        "who changed what, and whether that log is whole",
        "usage: nullspend audit list [OPTION...]\n"
        "       nullspend audit verify [--head HASH]\n"
        "\n"
        "Every change of budgets, mandates, requests and grants is an entry of nullspend.audit,\n"
        "written by Postgres itself. Entries are never changed, and each carries the hash of the "
        "one before it:\n"
        "'verify' walks that chain, says the first entry that is not as it was written, and the\n"
        "hash of the newest one, the head. Keep a head elsewhere: with --head, a chain that was "
        "cut\n"
        "or written anew since is found, too.\n"
        "\n"
        "  --head HASH    of 'verify': exit status 1 unless this hash is in the "
        "chain\n" LISTING_OPTIONS "\n"
        "examples:\n"
        "  nullspend audit list --since 1d\n"
        "  nullspend audit verify --head \"$(cat head-of-yesterday)\"\n" EXITS,
        ns_audit_main,
    },
    {
        "endpoint",
        "who is told of events: webhooks, Slack, on-call services, mail",
        "usage: nullspend endpoint add NAME --webhook URL [--secret-file FILE] [--thin] "
        "[OPTION...]\n"
        "       nullspend endpoint add NAME --slack URL [OPTION...]\n"
        "       nullspend endpoint add NAME --pagerduty KEY-FILE [--url URL] [OPTION...]\n"
        "       nullspend endpoint add NAME --mail TO[,TO...] --smtp URL --from ADDRESS\n"
        "                                   [--secret-file FILE] [OPTION...]\n"
        "       nullspend endpoint list\n"
        "       nullspend endpoint show|rm|enable|disable NAME\n"
        "       nullspend endpoint test NAME\n"
        "       nullspend endpoint rotate NAME [--grace TIME] [--secret-file FILE]\n"
        "\n"
        "Every event from then on is sent to each endpoint that wants it, and again until it is\n"
        "taken: see 'nullspend deliveries'. 'test' sends an event of kind test and says what came\n"
        "of it. 'rotate' gives a webhook a new secret; both sign during the grace.\n"
        "\n"
        "  --webhook URL        JSON, signed with HMAC-SHA256\n"
        "  --slack URL          an incoming webhook of Slack, or of what speaks like it\n"
        "  --pagerduty KEY-FILE the routing key of an Events API v2; --url for another's than\n"
        "                       PagerDuty's\n"
        "  --mail TO            by --smtp smtp://[USER@]HOST[:PORT] (STARTTLS) or smtps://...\n"
        "  --secret-file FILE   its first line signs (without: one is made, and shown once); of\n"
        "                       mail it is the user's password\n"
        "  --thin               only which event: the receiver asks for the rest\n"
        "  --kinds LIST         events of these kinds (all)\n"
        "  --entity PATTERN     events of entities like customer:acme or 'customer:*' (all)\n"
        "  --allow-private      the address may be private or loopback, and http:// or no\n"
        "                       STARTTLS is good enough\n"
        "  --grace TIME         for how long the old secret still signs (24h)\n"
        "  --json               one array, the columns of nullspend.endpoint_status\n"
        "\n"
        "examples:\n"
        "  nullspend endpoint add billing --webhook https://example.com/nullspend\n"
        "  nullspend endpoint add ops --pagerduty key.txt --kinds velocity\n"
        "  nullspend endpoint test billing\n" EXITS,
        ns_endpoint_main,
    },
    {
        "deliveries",
        "who was told what, and what was given up",
        "usage: nullspend deliveries [--dead] [OPTION...]\n"
        "       nullspend deliveries retry ID|--dead\n"
        "\n"
        "Events on their way to endpoints, newest first: pending, sent or dead. What a receiver\n"
        "does not take is tried again for six hours, ever more seldom, and is dead then. 'retry'\n"
        "begins anew with one, or with all that are dead.\n"
        "\n"
        "  --dead         only those that were given up\n" LISTING_OPTIONS "\n"
        "examples:\n"
        "  nullspend deliveries --since 1h\n"
        "  nullspend deliveries retry --dead\n" EXITS,
        ns_deliveries_main,
    },
    {
        "coverage",
        "who talks to providers, and what governs it",
        "usage: nullspend coverage [OPTION...]\n"
        "\n"
        "Every process that talks to a provider's host: governed by the library (preload, detour)\n"
        "or by the agent (ebpf), or dark, with the reason and the next step; unknown where the\n"
        "connection does not tell its server. Dark ones are found, and bytes counted, while\n"
        "nullspend-bpf runs (--attach or --watch) on the machine.\n"
        "\n"
        "  --dark        only what is dark; exit status 1 if there is any\n"
        "  --since AGE   seen not longer ago than AGE: 90s, 15m, 1h, 30d, 2w (1d)\n"
        "  --json        one array, the columns of nullspend.coverage\n"
        "  --csv         all columns\n"
        "\n"
        "examples:\n"
        "  nullspend coverage\n"
        "  nullspend coverage --dark --since 1h || echo 'something is dark'\n" EXITS,
        ns_coverage_main,
    },
    {
        "revenue",
        "imports what customers pay",
        "usage: nullspend revenue import FILE.csv [--dry-run]\n"
        "\n"
        "The first line names the columns: customer,date,amount[,currency][,id][,amount_usd]. All\n"
        "rows are imported or none; each bad row is named by its line. A row with an id that its\n"
        "customer has already takes the place of that one, so a file may be imported again. No\n"
        "exchange rates are kept: an amount in another currency than USD needs amount_usd.\n"
        "Refunds are negative.\n"
        "\n"
        "  --dry-run   checks everything, imports nothing\n"
        "\n"
        "example: nullspend revenue import invoices.csv --dry-run, where invoices.csv has\n"
        "  customer,date,amount,currency,id\n"
        "  acme,2026-01-31,250.00,USD,inv-1001\n" EXITS,
        ns_revenue_main,
    },
    {
        "margins",
        "what remains of revenue",
        "usage: nullspend margins [--by customer|feature|agent] [--since AGE] [--json|--csv]\n"
        "\n"
        "Revenue, cost of calls and margin, worst first; over the last 30 days unless --since "
        "says\n"
        "otherwise (whole days in UTC, today included).\n"
        "\n"
        "examples:\n"
        "  nullspend margins\n"
        "  nullspend margins --by feature --since 7d --csv > margins.csv\n" EXITS,
        ns_margins_main,
    },
    {
        "db",
        "says where the data is",
        "usage: nullspend db url\n"
        "\n"
        "Prints the URL of the Postgres database; the schema is nullspend.\n"
        "\n"
        "example: pg_dump -n nullspend \"$(nullspend db url)\"\n" EXITS,
        ns_db_main,
    },
    {
        "psql",
        "opens the data in psql",
        "usage: nullspend psql [ARG...]\n"
        "\n"
        "Runs psql on the database, with these arguments.\n"
        "\n"
        "example: nullspend psql -c 'select * from nullspend.margins'\n" EXITS,
        ns_psql_main,
    },
};

const size_t ns_command_count = sizeof ns_commands / sizeof ns_commands[0];
