-- SPDX-License-Identifier: Apache-2.0
-- Budgets, written by people with the command line or with plain SQL, and what is spent of them.

create function nullspend.entity_is_pattern(entity text) returns boolean
language sql immutable strict parallel safe as $$
    select entity like '%:*' or entity like 'tag:%=*'
$$;
comment on function nullspend.entity_is_pattern(text) is
    'True for customer:* and its like, which stand for every such entity.';

-- The same rules as ns_entity_check in collector/entity.c; a test compares them.
create function nullspend.entity_is_valid(entity text) returns boolean
language sql immutable strict parallel safe as $$
    select octet_length(entity) <= 340
       and entity !~ '[\x01-\x1f\x7f-\x9f]'
       and (entity = 'org'
            or entity ~ '^(team|key|customer|agent|feature|session):([^ ]|[^ ].*[^ ])$'
               and (entity !~ '\*$' or entity ~ '^[a-z]+:\*$')
            or entity = 'tag:*'
            or entity ~ '^tag:[^= ][^=]*=(.*[^ ])$'
               and (entity !~ '\*$' or entity ~ '^tag:[^=]+=\*$'))
$$;
comment on function nullspend.entity_is_valid(text) is
    'True for org, customer:ID, agent:ID, feature:ID, session:ID, key:ID, team:ID and tag:K=V.';

create table nullspend.budgets (
    id bigint generated always as identity primary key,
    entity text not null,
    period text not null,
    policy text not null default 'hard',
    reserve text not null default 'typical',
    on_unreachable text not null default 'allow',
    deny_status integer not null default 0,
    limit_nanousd bigint not null,
    limit_usd numeric not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (entity, period),
    constraint "entity is org, customer:ID (or its like) or tag:K=V"
        check (nullspend.entity_is_valid(entity)),
    constraint "period is hour, day, week, month or total"
        check (period in ('hour', 'day', 'week', 'month', 'total')),
    constraint "policy is hard, soft, warn or shadow"
        check (policy in ('hard', 'soft', 'warn', 'shadow')),
    constraint "reserve is typical or bound"
        check (reserve in ('typical', 'bound')),
    constraint "on_unreachable is allow or deny"
        check (on_unreachable in ('allow', 'deny')),
    constraint "deny_status is 0 (auto), 402, 403 or 429"
        check (deny_status in (0, 402, 403, 429)),
    constraint "limit is not negative"
        check (limit_nanousd >= 0)
);
comment on table nullspend.budgets is
    'Limits on what an entity may spend in a period. Insert, update and delete with plain SQL: in force within a second. '
    'Example: insert into nullspend.budgets (entity, period, limit_usd) values (''customer:acme'', ''day'', 5);';
comment on column nullspend.budgets.id is 'Number of the budget.';
comment on column nullspend.budgets.entity is
    'What is limited: org, customer:ID, agent:ID, feature:ID, session:ID, key:ID, team:ID or tag:K=V. '
    'customer:* and its like stand for every such entity, each with a count of its own.';
comment on column nullspend.budgets.period is
    'After which the count starts anew, in UTC: hour, day, week (from Monday), month, or total (never).';
comment on column nullspend.budgets.policy is
    'hard denies; soft, warn and shadow let pass and record.';
comment on column nullspend.budgets.reserve is
    'What a running call holds: typical (its cap, or what such calls usually use) or bound (the most it could cost).';
comment on column nullspend.budgets.on_unreachable is 'What happens when the collector cannot be asked: allow or deny.';
comment on column nullspend.budgets.deny_status is 'HTTP status of a denial: 402, 403, 429, or 0 for the provider family''s usual one.';
comment on column nullspend.budgets.limit_nanousd is 'The limit in nano-dollars. Write this or limit_usd; the other follows.';
comment on column nullspend.budgets.limit_usd is 'The limit in dollars, with at most 9 places. Write this or limit_nanousd.';
comment on column nullspend.budgets.created_at is 'When the budget was made.';
comment on column nullspend.budgets.updated_at is 'When it was last changed.';

create table nullspend.budgets_revision (
    singleton boolean primary key default true check (singleton),
    revision bigint not null default 0
);
comment on table nullspend.budgets_revision is
    'One row: grows with every change of budgets, and NOTIFY nullspend_budgets tells of it.';
comment on column nullspend.budgets_revision.singleton is 'Always true: there is one row.';
comment on column nullspend.budgets_revision.revision is
    'How often budgets changed. A change is in force when collector_state.enforced_revision has reached it.';
insert into nullspend.budgets_revision default values;

create function nullspend.budget_fill() returns trigger
language plpgsql as $$
declare
    from_dollars boolean;
begin
    if tg_op = 'INSERT' then
        new.created_at := now();
        from_dollars := new.limit_usd is not null
                        and (new.limit_nanousd is null
                             or new.limit_usd is distinct from nullspend.usd(new.limit_nanousd));
        if from_dollars and new.limit_nanousd is not null then
            raise exception 'limit_usd % and limit_nanousd % are not the same amount: give one of them',
                new.limit_usd, new.limit_nanousd using errcode = 'check_violation';
        end if;
    else
        from_dollars := new.limit_usd is distinct from old.limit_usd;
        if from_dollars and new.limit_nanousd is distinct from old.limit_nanousd
           and new.limit_usd is distinct from nullspend.usd(new.limit_nanousd) then
            raise exception 'limit_usd % and limit_nanousd % are not the same amount: give one of them',
                new.limit_usd, new.limit_nanousd using errcode = 'check_violation';
        end if;
    end if;
    if from_dollars then
        if new.limit_usd is null or new.limit_usd::text in ('NaN', 'Infinity', '-Infinity') then
            raise exception 'limit_usd % is not an amount', coalesce(new.limit_usd::text, 'null')
                using errcode = 'check_violation';
        elsif new.limit_usd < 0 then
            raise exception 'limit_usd % is negative', new.limit_usd using errcode = 'check_violation';
        elsif scale(trim_scale(new.limit_usd)) > 9 then
            raise exception 'limit_usd % has more than 9 decimal places', new.limit_usd
                using errcode = 'check_violation';
        elsif new.limit_usd > 9223372036.854775807 then
            raise exception 'limit_usd % is too large: at most 9223372036.854775807', new.limit_usd
                using errcode = 'check_violation';
        end if;
        new.limit_nanousd := (new.limit_usd * 1000000000)::bigint;
    elsif new.limit_nanousd is null then
        raise exception 'a budget needs a limit: give limit_usd' using errcode = 'not_null_violation';
    end if;
    new.limit_usd := nullspend.usd(new.limit_nanousd);
    new.updated_at := now();
    return new;
end
$$;
comment on function nullspend.budget_fill() is
    'Trigger of budgets: keeps limit_usd and limit_nanousd the same amount.';
create trigger budget_fill before insert or update on nullspend.budgets
    for each row execute function nullspend.budget_fill();

create function nullspend.budgets_changed() returns trigger
language plpgsql as $$
declare
    now_at bigint;
begin
    -- The row lock puts the writers of budgets in order, so that a revision once seen is complete.
    update nullspend.budgets_revision set revision = revision + 1 returning revision into now_at;
    perform pg_notify('nullspend_budgets', now_at::text);
    return null;
end
$$;
comment on function nullspend.budgets_changed() is
    'Trigger of budgets: counts the revision and tells the collector.';
create trigger budgets_changed after insert or update or delete or truncate on nullspend.budgets
    for each statement execute function nullspend.budgets_changed();

create table nullspend.budget_counters (
    budget_id bigint not null,
    entity text not null,
    period_start timestamptz not null,
    period_end timestamptz not null,
    spent_nanousd bigint not null,
    held_nanousd bigint not null,
    overshoot_nanousd bigint not null,
    updated_at timestamptz not null default now(),
    primary key (budget_id, entity, period_start)
);
comment on table nullspend.budget_counters is
    'What was spent and held of each budget in each period, as the collector''s ledger has it. The view budget_status shows the current ones.';
comment on column nullspend.budget_counters.budget_id is 'The budget: nullspend.budgets.id.';
comment on column nullspend.budget_counters.entity is 'The entity counted; for a budget on customer:* one of the customers.';
comment on column nullspend.budget_counters.period_start is 'Start of the period; -infinity for a total.';
comment on column nullspend.budget_counters.period_end is 'End of the period; infinity for a total.';
comment on column nullspend.budget_counters.spent_nanousd is 'Spent in the period, in nano-dollars.';
comment on column nullspend.budget_counters.held_nanousd is 'Held by running calls, in nano-dollars.';
comment on column nullspend.budget_counters.overshoot_nanousd is
    'By how much calls cost more than they had held, in nano-dollars.';
comment on column nullspend.budget_counters.updated_at is 'When these numbers were written.';

create function nullspend.budget_counters_forget() returns trigger
language plpgsql as $$
begin
    delete from nullspend.budget_counters where budget_id in (select id from gone);
    return null;
end
$$;
comment on function nullspend.budget_counters_forget() is
    'Trigger of budgets: a removed budget takes its counters along.';
create trigger budget_counters_forget after delete on nullspend.budgets
    referencing old table as gone for each statement execute function nullspend.budget_counters_forget();

create function nullspend.period_start(period text, at timestamptz default now()) returns timestamptz
language sql stable parallel safe as $$
    select case when period in ('hour', 'day', 'week', 'month')
                then date_trunc(period, at at time zone 'UTC') at time zone 'UTC' end
$$;
comment on function nullspend.period_start(text, timestamptz) is
    'When the period around a moment began (UTC; weeks start on Monday); null for total.';

create function nullspend.period_end(period text, at timestamptz default now()) returns timestamptz
language sql stable parallel safe as $$
    select case when period in ('hour', 'day', 'week', 'month')
                then (date_trunc(period, at at time zone 'UTC') + ('1 ' || period)::interval)
                     at time zone 'UTC' end
$$;
comment on function nullspend.period_end(text, timestamptz) is
    'When the period around a moment ends (UTC); null for total.';

create view nullspend.budget_status as
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
       b.id as budget_id, b.reserve, b.on_unreachable, b.deny_status
from counted n
join nullspend.budgets b on b.id = n.id
left join nullspend.budget_counters c
    on c.budget_id = n.id and c.entity = n.entity
   and c.period_start <= now() and c.period_end > now()
order by n.entity, b.period;
comment on view nullspend.budget_status is
    'Each budget in its current period. A budget on customer:* has a line of its own without numbers, and one for each customer.';
comment on column nullspend.budget_status.entity is 'What is limited.';
comment on column nullspend.budget_status.period is 'hour, day, week, month or total.';
comment on column nullspend.budget_status.period_start is 'When the current period began; null for total.';
comment on column nullspend.budget_status.period_end is 'When the current period ends and the count starts anew; null for total.';
comment on column nullspend.budget_status.policy is 'hard, soft, warn or shadow.';
comment on column nullspend.budget_status.limit_usd is 'The limit.';
comment on column nullspend.budget_status.spent_usd is 'Spent in this period.';
comment on column nullspend.budget_status.held_usd is 'Held by running calls.';
comment on column nullspend.budget_status.remaining_usd is 'What can still be spent: limit less spent less held, never below zero.';
comment on column nullspend.budget_status.overshoot_usd is 'By how much calls cost more than they had held.';
comment on column nullspend.budget_status.budget_id is 'The budget: nullspend.budgets.id.';
comment on column nullspend.budget_status.reserve is 'What a running call holds: typical or bound.';
comment on column nullspend.budget_status.on_unreachable is 'What happens when the collector cannot be asked.';
comment on column nullspend.budget_status.deny_status is 'HTTP status of a denial; 0: the provider family''s usual one.';
