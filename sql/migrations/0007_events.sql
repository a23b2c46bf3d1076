-- SPDX-License-Identifier: Apache-2.0
-- What people want to hear of: a budget's thresholds, once a period each, and its pauses.

create function nullspend.thresholds_are_valid(thresholds integer[]) returns boolean
language sql immutable parallel safe as $$
    select cardinality(thresholds) <= 10
       and coalesce(bool_and(t between 1 and 1000 and t > before), true)
    from (select t, coalesce(lag(t) over (order by place), 0) as before
          from unnest(thresholds) with ordinality as u (t, place)) as pairs
$$;
comment on function nullspend.thresholds_are_valid(integer[]) is
    'True for at most 10 numbers from 1 to 1000, each larger than the one before.';

alter table nullspend.budgets
    add column thresholds integer[] not null default '{50,80,90,95}',
    add constraint "thresholds are 1 to 1000, ascending, at most 10"
        check (nullspend.thresholds_are_valid(thresholds));
comment on column nullspend.budgets.thresholds is
    'Percents of the limit: where what is spent reaches one, a row of events tells it, once a period.';

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
       case when c.paused_until > now() then c.paused_until end as paused_until,
       to_jsonb(b.thresholds) as thresholds
from counted n
join nullspend.budgets b on b.id = n.id
left join nullspend.budget_counters c
    on c.budget_id = n.id and c.entity = n.entity
   and c.period_start <= now() and c.period_end > now()
order by n.entity, b.period;
comment on column nullspend.budget_status.thresholds is
    'Percents of the limit of which events tell when they are reached.';

create table nullspend.events (
    event_id uuid primary key default gen_random_uuid(),
    happened_at timestamptz not null default now(),
    kind text not null check (kind in ('threshold', 'velocity')),
    entity text not null,
    customer text generated always as (case when entity like 'customer:%' then substr(entity, 10) end) stored,
    budget_id bigint not null,
    period text not null,
    period_start timestamptz not null,
    period_end timestamptz not null,
    threshold integer,
    paused_until timestamptz,
    limit_usd numeric not null,
    spent_usd numeric not null
);
create unique index events_threshold_once on nullspend.events (budget_id, entity, period_start, threshold)
    where kind = 'threshold';
create unique index events_velocity_once on nullspend.events (budget_id, entity, paused_until)
    where kind = 'velocity';
create index events_by_time on nullspend.events (happened_at);
comment on table nullspend.events is
    'What happened to budgets, once each. NOTIFY nullspend_events tells of new rows.';
comment on column nullspend.events.event_id is 'Number of the event.';
comment on column nullspend.events.happened_at is 'When it was noticed: when the counter was written that shows it.';
comment on column nullspend.events.kind is
    'threshold: what is spent has reached so much of the limit. velocity: too much went within the window, and all calls are denied until paused_until.';
comment on column nullspend.events.entity is 'The entity counted; for a budget on customer:* one of the customers.';
comment on column nullspend.events.customer is 'Of customer:ID, the ID.';
comment on column nullspend.events.budget_id is 'The budget: nullspend.budgets.id.';
comment on column nullspend.events.period is 'hour, day, week, month or total.';
comment on column nullspend.events.period_start is 'Start of the period; -infinity for a total.';
comment on column nullspend.events.period_end is 'End of the period; infinity for a total.';
comment on column nullspend.events.threshold is 'Kind threshold: the percent of the limit that was reached.';
comment on column nullspend.events.paused_until is 'Kind velocity: until when calls are denied.';
comment on column nullspend.events.limit_usd is 'The limit at that moment; of velocity what may go within the window.';
comment on column nullspend.events.spent_usd is 'What was spent in the period at that moment.';

create function nullspend.events_written() returns trigger
language plpgsql as $$
begin
    if exists (select from written) then
        notify nullspend_events;
    end if;
    return null;
end
$$;
comment on function nullspend.events_written() is 'Trigger of events: tells who listens.';
create trigger events_written after insert on nullspend.events
    referencing new table as written for each statement execute function nullspend.events_written();

create view nullspend.thresholds_reached as
select c.budget_id, c.entity, b.period, c.period_start, c.period_end, t.threshold, b.limit_usd,
       nullspend.usd(c.spent_nanousd) as spent_usd
from nullspend.budget_counters c
join nullspend.budgets b on b.id = c.budget_id
cross join unnest(b.thresholds) as t (threshold)
where b.limit_nanousd > 0
  and c.spent_nanousd::numeric * 100 >= b.limit_nanousd::numeric * t.threshold;
comment on view nullspend.thresholds_reached is
    'Each threshold that what was spent has reached, in each period that is kept.';
comment on column nullspend.thresholds_reached.budget_id is 'The budget: nullspend.budgets.id.';
comment on column nullspend.thresholds_reached.entity is 'The entity counted.';
comment on column nullspend.thresholds_reached.period is 'hour, day, week, month or total.';
comment on column nullspend.thresholds_reached.period_start is 'Start of the period; -infinity for a total.';
comment on column nullspend.thresholds_reached.period_end is 'End of the period; infinity for a total.';
comment on column nullspend.thresholds_reached.threshold is 'The percent of the limit that was reached.';
comment on column nullspend.thresholds_reached.limit_usd is 'The limit, as it is now.';
comment on column nullspend.thresholds_reached.spent_usd is 'What was spent in the period.';

create function nullspend.counters_changed() returns trigger
language plpgsql as $$
begin
    insert into nullspend.events (kind, entity, budget_id, period, period_start, period_end, threshold,
                                  limit_usd, spent_usd)
    select 'threshold', r.entity, r.budget_id, r.period, r.period_start, r.period_end, r.threshold,
           r.limit_usd, r.spent_usd
    from changed d
    join nullspend.thresholds_reached r
        on r.budget_id = d.budget_id and r.entity = d.entity and r.period_start = d.period_start
    on conflict do nothing;
    insert into nullspend.events (kind, entity, budget_id, period, period_start, period_end, paused_until,
                                  limit_usd, spent_usd)
    select 'velocity', d.entity, b.id, b.period, d.period_start, d.period_end, d.paused_until,
           b.velocity_usd, nullspend.usd(d.spent_nanousd)
    from changed d
    join nullspend.budgets b on b.id = d.budget_id
    where d.paused_until > now() and b.velocity_usd is not null
    on conflict do nothing;
    return null;
end
$$;
comment on function nullspend.counters_changed() is
    'Trigger of budget_counters: writes events.';
create trigger counters_inserted after insert on nullspend.budget_counters
    referencing new table as changed for each statement execute function nullspend.counters_changed();
create trigger counters_updated after update on nullspend.budget_counters
    referencing new table as changed for each statement execute function nullspend.counters_changed();

create function nullspend.budget_limits_changed() returns trigger
language plpgsql as $$
begin
    insert into nullspend.events (kind, entity, budget_id, period, period_start, period_end, threshold,
                                  limit_usd, spent_usd)
    select 'threshold', r.entity, r.budget_id, r.period, r.period_start, r.period_end, r.threshold,
           r.limit_usd, r.spent_usd
    from changed d
    join nullspend.thresholds_reached r on r.budget_id = d.id
    where r.period_start <= now() and r.period_end > now()
    on conflict do nothing;
    return null;
end
$$;
comment on function nullspend.budget_limits_changed() is
    'Trigger of budgets: a lower limit may have been reached already.';
create trigger budget_limits_changed after update on nullspend.budgets
    referencing new table as changed for each statement execute function nullspend.budget_limits_changed();
