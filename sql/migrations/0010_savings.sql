-- SPDX-License-Identifier: Apache-2.0
-- What denials kept from being spent.

create view nullspend.savings as
select (denied_at at time zone 'UTC')::date as day, reason, entity, customer,
       sum(denials)::bigint as denials,
       count(*) as calls,
       nullspend.usd(sum(needed_nanousd)::bigint) as saved_usd,
       count(*) filter (where needed_nanousd is null) as calls_without_price
from (
    -- A program that tries again is not saved from twice: the same question of a process within a
    -- minute counts once.
    select min(denied_at) as denied_at, reason, entity, customer, count(*) as denials, needed_nanousd
    from nullspend.denied_calls
    where enforced
    group by reason, entity, customer, needed_nanousd, hostname, pid, provider, operation,
             requested_model, date_trunc('minute', denied_at)
) as calls
group by 1, reason, entity, customer;
comment on view nullspend.savings is
    'What calls that were denied would likely have cost, by day (UTC), reason, entity and customer. Example: select sum(saved_usd) from nullspend.savings where reason in (''velocity'', ''loop'')';
comment on column nullspend.savings.day is 'The day (UTC).';
comment on column nullspend.savings.reason is 'Why they were denied: velocity, loop, budget_exceeded, ….';
comment on column nullspend.savings.entity is 'Whose budget or mandate denied; null: none did.';
comment on column nullspend.savings.customer is 'For which customer the calls were; null: not said.';
comment on column nullspend.savings.denials is 'How many denials.';
comment on column nullspend.savings.calls is
    'How many calls these were: the same question of a process within a minute counts once.';
comment on column nullspend.savings.saved_usd is
    'What those calls would have held, in sum: likely more than they would have cost. Null: of none is it known.';
comment on column nullspend.savings.calls_without_price is 'Calls of which it is not known; they are not in saved_usd.';
