-- SPDX-License-Identifier: Apache-2.0
-- Of a budget, what is kept for calls that end an agent's work (X-NullSpend-Finalize); of a soft one, by
-- how much its limit may be passed before it denies; and how much may go within a window, beyond which
-- everything is denied until a cool-down is over.

alter table nullspend.budgets
    add column finalize_reserve_usd numeric not null default 0,
    add constraint "finalize_reserve_usd is 0, or below the limit (9 places)"
        check (finalize_reserve_usd = 0
               or finalize_reserve_usd > 0 and finalize_reserve_usd < limit_usd
                  and scale(trim_scale(finalize_reserve_usd)) <= 9),
    add column overdraft_usd numeric,
    add constraint "overdraft_usd is above 0 (9 places), for policy soft alone"
        check (overdraft_usd is null
               or policy = 'soft' and overdraft_usd > 0 and overdraft_usd <= 9223372036.854775807
                  and scale(trim_scale(overdraft_usd)) <= 9),
    add column overdraft_percent numeric,
    add constraint "overdraft_percent is 0.01 to 1000 (2 places), for policy soft"
        check (overdraft_percent is null
               or policy = 'soft' and overdraft_percent > 0 and overdraft_percent <= 1000
                  and scale(trim_scale(overdraft_percent)) <= 2),
    add constraint "an overdraft is overdraft_usd or overdraft_percent, not both"
        check (num_nonnulls(overdraft_usd, overdraft_percent) < 2),
    add column velocity_usd numeric,
    add column velocity_window_s integer,
    add column velocity_cooldown_s integer,
    add constraint "velocity_usd is above 0, its window and cooldown 10 to 3600 s"
        check (num_nulls(velocity_usd, velocity_window_s, velocity_cooldown_s) = 3
               or num_nulls(velocity_usd, velocity_window_s, velocity_cooldown_s) = 0
                  and velocity_usd > 0 and velocity_usd <= 9223372036.854775807
                  and scale(trim_scale(velocity_usd)) <= 9
                  and velocity_window_s between 10 and 3600
                  and velocity_cooldown_s between 10 and 3600);
comment on column nullspend.budgets.finalize_reserve_usd is
    'Of the limit, what only calls with X-NullSpend-Finalize may use, so that an agent can end its work; 0: nothing.';
comment on column nullspend.budgets.overdraft_usd is
    'Policy soft: what passes the limit by more is denied; null: nothing is.';
comment on column nullspend.budgets.overdraft_percent is
    'In place of overdraft_usd: so much of the limit.';

create function nullspend.overdraft_usd(budget nullspend.budgets) returns numeric
language sql immutable as $$
    -- Never 0, which would deny nothing.
    select coalesce(budget.overdraft_usd,
                    least(greatest(trunc(budget.limit_usd * budget.overdraft_percent / 100, 9), 0.000000001),
                          9223372036.854775807))
    where budget.overdraft_usd is not null or budget.overdraft_percent is not null
$$;
comment on function nullspend.overdraft_usd(nullspend.budgets) is
    'By how much a budget''s limit may be passed: an amount, or a part of the limit; null: it has no overdraft.';
comment on column nullspend.budgets.velocity_usd is
    'What may go within velocity_window_s: what would pass it is denied, and all calls for velocity_cooldown_s; null: any amount.';
comment on column nullspend.budgets.velocity_window_s is 'The window of velocity_usd, in seconds.';
comment on column nullspend.budgets.velocity_cooldown_s is
    'For how many seconds calls are denied when more than velocity_usd would go.';

alter table nullspend.budget_counters add column paused_until timestamptz;
comment on column nullspend.budget_counters.paused_until is
    'Until when calls are denied because too much went within the window of velocity_usd; null: it was not so.';

create or replace view nullspend.budget_status as
with counted as (
    -- A budget's own line, and for customer:* and its like one for each customer seen this period.
    select b.id, b.entity, true as own from nullspend.budgets b
    union
    select c.budget_id, c.entity, false
    from nullspend.budget_counters c
    join nullspend.budgets b on b.id = c.budget_id and c.entity <> b.entity
    where nullspend.entity_is_pattern(b.entity)
      and c.period_start <= now() and c.period_end > now()
)
select n.entity, b.period,
       nullspend.period_start(b.period) as period_start,
       nullspend.period_end(b.period) as period_end,
       b.policy,
       b.limit_usd,
       case when n.own and nullspend.entity_is_pattern(b.entity) then null
            else nullspend.usd(coalesce(c.spent_nanousd, 0)) end as spent_usd,
       case when n.own and nullspend.entity_is_pattern(b.entity) then null
            else nullspend.usd(coalesce(c.held_nanousd, 0)) end as held_usd,
       case when n.own and nullspend.entity_is_pattern(b.entity) then null
            else greatest(b.limit_usd - nullspend.usd(coalesce(c.spent_nanousd, 0))
                          - nullspend.usd(coalesce(c.held_nanousd, 0)), 0) end as remaining_usd,
       case when n.own and nullspend.entity_is_pattern(b.entity) then null
            else nullspend.usd(coalesce(c.overshoot_nanousd, 0)) end as overshoot_usd,
       b.id as budget_id, b.reserve, b.on_unreachable, b.deny_status,
       b.finalize_reserve_usd, nullspend.overdraft_usd(b) as overdraft_usd, b.overdraft_percent,
       b.velocity_usd, b.velocity_window_s, b.velocity_cooldown_s,
       case when c.paused_until > now() then c.paused_until end as paused_until
from counted n
join nullspend.budgets b on b.id = n.id
left join nullspend.budget_counters c
    on c.budget_id = n.id and c.entity = n.entity
   and c.period_start <= now() and c.period_end > now()
order by n.entity, b.period;
comment on column nullspend.budget_status.finalize_reserve_usd is
    'Of what remains, what only calls with X-NullSpend-Finalize may use.';

comment on column nullspend.budget_status.velocity_usd is
    'What may go within velocity_window_s; null: any amount.';
comment on column nullspend.budget_status.velocity_window_s is 'The window of velocity_usd, in seconds.';
comment on column nullspend.budget_status.velocity_cooldown_s is
    'For how many seconds calls are denied when more than velocity_usd would go.';
comment on column nullspend.budget_status.paused_until is
    'Until when all calls are denied, because too much went within the window; null: they are not.';
comment on column nullspend.budget_status.overdraft_percent is
    'How much of the limit overdraft_usd is, where it was set so.';
comment on column nullspend.budget_status.overdraft_usd is
    'Policy soft: what passes the limit by more is denied; null: nothing is.';

alter table nullspend.denied_calls
    add column finalize_reserve_nanousd bigint,
    add column overdraft_nanousd bigint;
comment on column nullspend.denied_calls.overdraft_nanousd is
    'By how much that limit could be passed, in nano-dollars; null: not at all, or without end.';
comment on column nullspend.denied_calls.finalize_reserve_nanousd is
    'Of that limit, kept from this call for those that finalize, in nano-dollars.';

create or replace view nullspend.denials as
select denial_id, denied_at, reason, entity,
       nullspend.usd(limit_nanousd) as limit_usd,
       nullspend.usd(spent_nanousd) as spent_usd,
       nullspend.usd(held_nanousd) as held_usd,
       nullspend.usd(needed_nanousd) as needed_usd,
       http_status, call_id, started_at, source, provider, family, operation,
       requested_model as model, requested_model, customer, agent, feature, session, tags, trace_id,
       key_hint, host, pid, process, streamed, hostname, uid, enforced,
       nullspend.usd(finalize_reserve_nanousd) as finalize_reserve_usd,
       nullspend.usd(overdraft_nanousd) as overdraft_usd
from nullspend.denied_calls;
comment on column nullspend.denials.needed_usd is
    'What the call would have held: it would have passed with limit + overdraft - finalize_reserve - spent - held at least this. Reason velocity: limit is what may go within the window, spent what went, needed what such calls typically cost; and it would not have passed during a pause.';
comment on column nullspend.denials.overdraft_usd is
    'By how much that limit could be passed; null: not at all, or without end.';
comment on column nullspend.denials.finalize_reserve_usd is
    'Of that limit, kept from this call for those that finalize; 0: nothing, or this one did.';
