/* SPDX-License-Identifier: Apache-2.0 */
/* What a person reads when a call is denied: whose budget, its numbers, and the way out. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/money.h"
#include "base/utf8.h"
#include "collector/gate.h"

/* An entity twice and the numbers must fit 512 bytes. */
#define ENTITY_SHOWN_BYTES 70

static void
shorten(const char *entity, char *into, size_t bytes)
{
    size_t count = ns_utf8_cut(entity, strlen(entity), bytes);
    snprintf(into, bytes + 4, "%.*s%s", (int)count, entity, entity[count] != '\0' ? "..." : "");
}

/* " ($0.50 what)"; nothing where there is none. */
static void
aside(int64_t nanousd, const char *what, char *text, size_t room)
{
    char amount[NS_MONEY_TEXT_BYTES];
    ns_money_format_short(nanousd, amount);
    snprintf(text, nanousd > 0 ? room : 1, " ($%s %s)", amount, what);
}

/* What snprintf wrote, or would have. */
static struct ns_text
text_of(const struct ns_gate *gate, int count)
{
    size_t room = sizeof gate->denial_text;
    return (struct ns_text){gate->denial_text,
                            (uint32_t)((size_t)count < room ? (size_t)count : room - 1)};
}

static struct ns_text
velocity_text(struct ns_gate *gate, const struct ns_ledger_numbers *numbers)
{
    char entity[ENTITY_SHOWN_BYTES + 4];
    char what[160];
    char amount[NS_MONEY_TEXT_BYTES];
    char needed[NS_MONEY_TEXT_BYTES];
    unsigned window_s = numbers->velocity_window_s;
    shorten(numbers->entity, entity, ENTITY_SHOWN_BYTES);
    ns_money_format_short(numbers->velocity_nanousd, amount);
    ns_money_format_short(numbers->needed_nanousd, needed);
    if (numbers->paused_until_ns > gate->now_ns) {
        int64_t left_ns = numbers->paused_until_ns - gate->now_ns;
        int64_t left_s = left_ns / 1000000000 + (left_ns % 1000000000 != 0);
        snprintf(what, sizeof what,
                 "spends faster than $%s in %u s, and is paused for %" PRId64 " s", amount,
                 window_s, left_s);
    } else {
        snprintf(what, sizeof what, "may spend $%s in %u s, and this call typically needs $%s",
                 amount, window_s, needed);
    }
    int count = snprintf(gate->denial_text, sizeof gate->denial_text,
                         "nullspend: %s %s. Request not sent. Raise it: nullspend budget set %s "
                         "--limit USD --period %s --velocity USD/%us",
                         entity, what, entity, ns_period_name(numbers->period), window_s);
    return text_of(gate, count);
}

struct ns_text
ns_gate_breach_text(struct ns_gate *gate, const struct ns_mandate_breach *breach)
{
    char entity[ENTITY_SHOWN_BYTES + 4];
    shorten(breach->entity, entity, ENTITY_SHOWN_BYTES);
    int count = snprintf(gate->denial_text, sizeof gate->denial_text,
                         "nullspend: this call does not keep to the mandate of %s: %s. Request not "
                         "sent. See: nullspend mandate show %s",
                         entity, breach->rule, entity);
    return text_of(gate, count);
}

struct ns_text
ns_gate_denial_text(struct ns_gate *gate, const struct ns_ledger_numbers *numbers, bool cut)
{
    if (numbers->reason == NS_REASON_VELOCITY) {
        return velocity_text(gate, numbers);
    }
    char entity[ENTITY_SHOWN_BYTES + 4];
    char spent[NS_MONEY_TEXT_BYTES];
    char held[NS_MONEY_TEXT_BYTES];
    char limit[NS_MONEY_TEXT_BYTES];
    char needed[NS_MONEY_TEXT_BYTES];
    shorten(numbers->entity, entity, ENTITY_SHOWN_BYTES);
    ns_money_format_short(numbers->spent_nanousd, spent);
    ns_money_format_short(numbers->held_nanousd, held);
    ns_money_format_short(numbers->limit_nanousd, limit);
    ns_money_format_short(numbers->needed_nanousd, needed);
    char kept[NS_MONEY_TEXT_BYTES + 32], overdraft[NS_MONEY_TEXT_BYTES + 32];
    char granted[NS_MONEY_TEXT_BYTES + 32];
    aside(numbers->finalize_nanousd, "of it to finalize", kept, sizeof kept);
    aside(numbers->overdraft_nanousd, "more as overdraft", overdraft, sizeof overdraft);
    aside(numbers->granted_nanousd, "left of a grant", granted, sizeof granted);
    const char *period = ns_period_name(numbers->period);
    int count =
        snprintf(gate->denial_text, sizeof gate->denial_text,
                 "nullspend: %s has spent $%s and holds $%s of its $%s %s budget%s%s%s; this "
                 "%s $%s%s. Raise it: "
                 "nullspend budget set %s --limit USD --period %s",
                 entity, spent, held, limit, period, kept, overdraft, granted,
                 cut ? "answer needs" : "call needs up to", needed,
                 cut ? " more, and ends here" : ". Request not sent", entity, period);
    return text_of(gate, count);
}
