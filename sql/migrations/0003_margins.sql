-- SPDX-License-Identifier: Apache-2.0
-- Revenue, and what remains of it after the cost of language models.

create table nullspend.revenue (
    id bigint generated always as identity primary key,
    customer text not null,
    earned_on date not null,
    amount numeric not null,
    currency text not null default 'USD',
    amount_usd numeric not null,
    source text not null default 'manual',
    external_id text,
    created_at timestamptz not null default now(),
    constraint "customer is 1 to 128 bytes without control characters"
        check (octet_length(customer) between 1 and 128 and customer !~ '[\x01-\x1f\x7f]'),
    constraint "amount is a number with at most 9 decimal places"
        check (amount::text not in ('NaN', 'Infinity', '-Infinity') and scale(trim_scale(amount)) <= 9
               and abs(amount) <= 9223372036854775),
    constraint "amount_usd is a number with at most 9 decimal places"
        check (amount_usd::text not in ('NaN', 'Infinity', '-Infinity')
               and scale(trim_scale(amount_usd)) <= 9 and abs(amount_usd) <= 9223372036.854775807),
    constraint "currency is an ISO 4217 code of three capital letters"
        check (currency ~ '^[A-Z]{3}$'),
    constraint "amount_usd of an amount in USD is that amount"
        check (currency <> 'USD' or amount_usd = amount),
    constraint "source is not empty" check (source <> ''),
    constraint "external_id is not empty" check (external_id <> ''),
    constraint "earned_on is a day" check (isfinite(earned_on))
);
create unique index revenue_external_id on nullspend.revenue (source, customer, external_id)
    where external_id is not null;
create index revenue_earned_on on nullspend.revenue (earned_on, customer);
comment on table nullspend.revenue is
    'What customers paid. Filled by nullspend revenue import, or by plain SQL. Refunds are negative amounts.';
comment on column nullspend.revenue.id is 'Number of the row.';
comment on column nullspend.revenue.customer is 'The customer, by the same name as in calls.';
comment on column nullspend.revenue.earned_on is 'Day on which it was earned.';
comment on column nullspend.revenue.amount is 'The amount in its own currency; negative: a refund.';
comment on column nullspend.revenue.currency is 'ISO 4217 code of the currency.';
comment on column nullspend.revenue.amount_usd is
    'The amount in dollars. Filled in for USD; for other currencies it must be given, at the rate that you book.';
comment on column nullspend.revenue.source is 'Where the row is from: a file name, stripe, manual, …';
comment on column nullspend.revenue.external_id is
    'Id of the row at its source (an invoice number): importing it again changes the row, and adds none.';
comment on column nullspend.revenue.created_at is 'When the row was added.';

create function nullspend.revenue_fill() returns trigger
language plpgsql as $$
begin
    if new.currency = 'USD' and (new.amount_usd is null
        or (tg_op = 'UPDATE' and new.amount_usd is not distinct from old.amount_usd)) then
        new.amount_usd := new.amount;
    elsif new.amount_usd is null then
        raise exception 'amount_usd is missing: NullSpend keeps no exchange rates, so give the dollars of this % amount',
            new.currency using errcode = 'not_null_violation';
    end if;
    return new;
end
$$;
comment on function nullspend.revenue_fill() is 'Trigger of revenue: dollars of a dollar amount need not be given.';
create trigger revenue_fill before insert or update on nullspend.revenue
    for each row execute function nullspend.revenue_fill();

create table nullspend.margin_tiers (
    tier text primary key,
    margin_pct_from numeric not null unique,
    description text,
    constraint "margin_pct_from is a percentage of at most 100, or -Infinity"
        check (margin_pct_from <= 100 and margin_pct_from <> 'NaN'::numeric),
    constraint "tier is not empty" check (tier <> '')
);
comment on table nullspend.margin_tiers is
    'Names and limits of the margin tiers: change the rows as you see fit. A margin belongs to the highest tier whose margin_pct_from it reaches.';
comment on column nullspend.margin_tiers.tier is 'Name of the tier.';
comment on column nullspend.margin_tiers.margin_pct_from is
    'Lowest margin in percent that belongs to it; -Infinity for the lowest tier.';
comment on column nullspend.margin_tiers.description is 'What it means.';
insert into nullspend.margin_tiers (tier, margin_pct_from, description) values
    ('healthy', 50, 'Half of the revenue or more remains.'),
    ('moderate', 20, 'A fifth of the revenue or more remains.'),
    ('at-risk', 0, 'Still no loss.'),
    ('critical', '-Infinity', 'Costs more than it earns.');

create function nullspend.margin_pct(revenue_usd numeric, cost_usd numeric) returns numeric
language sql immutable parallel safe as $$
    select case when revenue_usd > 0 then round((revenue_usd - cost_usd) / revenue_usd * 100, 2) end
$$;
comment on function nullspend.margin_pct(numeric, numeric) is
    'Margin in percent of revenue, to 2 places; null without revenue.';

create function nullspend.margin_tier(revenue_usd numeric, cost_usd numeric) returns text
language sql stable parallel safe as $$
    select t.tier
    from nullspend.margin_tiers t
    where t.margin_pct_from <= case when revenue_usd > 0
                                    then (revenue_usd - cost_usd) / revenue_usd * 100
                                    when cost_usd > 0 or revenue_usd < 0 then '-Infinity'::numeric end
    order by t.margin_pct_from desc
    limit 1
$$;
comment on function nullspend.margin_tier(numeric, numeric) is
    'Tier of a margin (by its exact value, not the rounded one): the lowest for cost without revenue, null for neither.';

-- Costs of a span of days, by everything that a margin is asked by.
create function nullspend.costs_between(from_date date, to_date date)
returns table (customer text, feature text, agent text, cost_nanousd numeric, calls bigint)
language sql stable parallel safe as $$
    select c.customer, c.feature, c.agent, sum(coalesce(c.cost_nanousd, 0)), count(*)
    from nullspend.calls c
    where c.started_at >= from_date::timestamp at time zone 'UTC'
      and c.started_at < (to_date + 1)::timestamp at time zone 'UTC'
    group by c.customer, c.feature, c.agent
$$;
comment on function nullspend.costs_between(date, date) is
    'Cost in nano-dollars and number of calls by customer, feature and agent, from one UTC day to another, both included.';

create function nullspend.margins_between(from_date date, to_date date)
returns table (customer text, revenue_usd numeric, cost_usd numeric, margin_usd numeric,
               margin_pct numeric, tier text, calls bigint)
language sql stable parallel safe as $$
    with cost as (
        select k.customer, sum(k.cost_nanousd) * 0.000000001 as usd, sum(k.calls)::bigint as calls
        from nullspend.costs_between(from_date, to_date) k
        group by k.customer
    ), earned as (
        select r.customer, sum(r.amount_usd) as usd
        from nullspend.revenue r
        where r.earned_on between from_date and to_date
        group by r.customer
    ), joined as (
        -- Spelled as a union because a full join cannot match null with null.
        select s.customer, sum(s.revenue) as revenue, sum(s.cost) as cost, sum(s.calls)::bigint as calls
        from (select cost.customer, 0::numeric as revenue, cost.usd as cost, cost.calls from cost
              union all
              select earned.customer, earned.usd, 0, 0 from earned) s
        group by s.customer
    )
    select j.customer, round(j.revenue, 9), round(j.cost, 9), round(j.revenue - j.cost, 9),
           nullspend.margin_pct(j.revenue, j.cost), nullspend.margin_tier(j.revenue, j.cost), j.calls
    from joined j
    order by nullspend.margin_pct(j.revenue, j.cost) nulls first, j.cost desc, j.customer
$$;
comment on function nullspend.margins_between(date, date) is
    'What remains of each customer''s revenue after the cost of its calls, from one UTC day to another, both included, worst first. '
    'customer null: calls that name no customer. margin_pct null: no revenue.';

-- Revenue is known by customer. Here it is shared out over a customer's features (or agents) in
-- proportion to their cost, or to their number of calls where nothing cost anything; what a
-- customer without calls paid stands at null. Rounding by running sums makes the shares add up to
-- the revenue to the last nano-dollar.
create function nullspend.margins_shared(from_date date, to_date date, by_agent boolean)
returns table (name text, revenue_usd numeric, cost_usd numeric, margin_usd numeric,
               margin_pct numeric, tier text, calls bigint)
language sql stable parallel safe as $$
    with cost as (
        select k.customer, case when by_agent then k.agent else k.feature end as name,
               sum(k.cost_nanousd) as nanousd, sum(k.calls)::bigint as calls
        from nullspend.costs_between(from_date, to_date) k
        group by 1, 2
    ), earned as (
        select r.customer, sum(r.amount_usd) as usd
        from nullspend.revenue r
        where r.earned_on between from_date and to_date
        group by r.customer
    ), weighed as (
        select c.*, e.usd as revenue,
               case when sum(c.nanousd) over whole > 0 then c.nanousd else c.calls end as weight
        from cost c
        left join earned e on e.customer = c.customer
        window whole as (partition by c.customer)
    ), running as (
        select w.*, sum(w.weight) over upto as upto, sum(w.weight) over whole as whole
        from weighed w
        window upto as (partition by w.customer order by w.name
                        rows between unbounded preceding and current row),
               whole as (partition by w.customer)
    ), shared as (
        select s.name, s.nanousd, s.calls,
               case when s.revenue is null then 0
                    else round(s.revenue * s.upto / s.whole, 9)
                         - round(s.revenue * (s.upto - s.weight) / s.whole, 9) end as revenue
        from running s
        union all
        select null, 0, 0, e.usd
        from earned e
        where not exists (select from cost c where c.customer = e.customer)
    ), joined as (
        select s.name, sum(s.revenue) as revenue, sum(s.nanousd) * 0.000000001 as cost,
               sum(s.calls)::bigint as calls
        from shared s
        group by s.name
    )
    select j.name, round(j.revenue, 9), round(j.cost, 9), round(j.revenue - j.cost, 9),
           nullspend.margin_pct(j.revenue, j.cost), nullspend.margin_tier(j.revenue, j.cost), j.calls
    from joined j
    order by nullspend.margin_pct(j.revenue, j.cost) nulls first, j.cost desc, j.name
$$;
comment on function nullspend.margins_shared(date, date, boolean) is
    'Margins by feature or by agent: each customer''s revenue shared out in proportion to cost. Use margins_by_feature_between and margins_by_agent_between.';

create function nullspend.margins_by_feature_between(from_date date, to_date date)
returns table (feature text, revenue_usd numeric, cost_usd numeric, margin_usd numeric,
               margin_pct numeric, tier text, calls bigint)
language sql stable parallel safe as $$
    select * from nullspend.margins_shared(from_date, to_date, false)
$$;
comment on function nullspend.margins_by_feature_between(date, date) is
    'Margins by feature from one UTC day to another, both included. A customer''s revenue is shared out over its features in proportion to their cost.';

create function nullspend.margins_by_agent_between(from_date date, to_date date)
returns table (agent text, revenue_usd numeric, cost_usd numeric, margin_usd numeric,
               margin_pct numeric, tier text, calls bigint)
language sql stable parallel safe as $$
    select * from nullspend.margins_shared(from_date, to_date, true)
$$;
comment on function nullspend.margins_by_agent_between(date, date) is
    'Margins by agent from one UTC day to another, both included. A customer''s revenue is shared out over its agents in proportion to their cost.';

-- The last 30 days: today and the 29 before it, and the date that has begun already east of UTC.
create function nullspend.margin_days_from() returns date
language sql stable parallel safe as $$ select (now() at time zone 'UTC')::date - 29 $$;
comment on function nullspend.margin_days_from() is 'First UTC day that the margin views cover: 29 days before today.';
create function nullspend.margin_days_to() returns date
language sql stable parallel safe as $$ select (now() at time zone 'UTC')::date + 1 $$;
comment on function nullspend.margin_days_to() is
    'Last day that the margin views cover: tomorrow in UTC, which is today where the day begins earlier.';

create view nullspend.margins as
select * from nullspend.margins_between(nullspend.margin_days_from(), nullspend.margin_days_to());
create view nullspend.margins_by_feature as
select * from nullspend.margins_by_feature_between(nullspend.margin_days_from(), nullspend.margin_days_to());
create view nullspend.margins_by_agent as
select * from nullspend.margins_by_agent_between(nullspend.margin_days_from(), nullspend.margin_days_to());

comment on view nullspend.margins is
    'What remains of each customer''s revenue after the cost of its calls, over the last 30 days, worst first. '
    'For another span: select * from nullspend.margins_between(''2026-01-01'', ''2026-01-31'');';
comment on column nullspend.margins.customer is 'The customer; null: calls that name none.';
comment on view nullspend.margins_by_feature is
    'The same by feature. A customer''s revenue is shared out over its features in proportion to their cost.';
comment on column nullspend.margins_by_feature.feature is
    'The feature; null: calls that name none, and revenue of customers without calls.';
comment on view nullspend.margins_by_agent is
    'The same by agent. A customer''s revenue is shared out over its agents in proportion to their cost.';
comment on column nullspend.margins_by_agent.agent is
    'The agent; null: calls that name none, and revenue of customers without calls.';
do $$
declare
    name text;
begin
    foreach name in array array['margins', 'margins_by_feature', 'margins_by_agent'] loop
        execute format('comment on column nullspend.%I.revenue_usd is %L', name, 'Revenue in dollars.');
        execute format('comment on column nullspend.%I.cost_usd is %L', name,
                       'Cost of the calls in dollars, of those whose cost is known.');
        execute format('comment on column nullspend.%I.margin_usd is %L', name, 'Revenue less cost.');
        execute format('comment on column nullspend.%I.margin_pct is %L', name,
                       'Margin in percent of revenue; null without revenue.');
        execute format('comment on column nullspend.%I.tier is %L', name,
                       'Tier of the margin by margin_tiers; cost without revenue is in the lowest.');
        execute format('comment on column nullspend.%I.calls is %L', name, 'Number of calls.');
    end loop;
end
$$;
