-- SPDX-License-Identifier: Apache-2.0
-- Who is told of events, and what became of it: an event makes a delivery for each endpoint that wants
-- it, and the collector's sender takes those that are due (docs/notifications.md).

create table nullspend.endpoints (
    endpoint_id bigint generated always as identity primary key,
    name text not null,
    kind text not null,
    url text not null,
    recipients text[] not null default '{}',
    sender text,
    kinds text[] not null default '{}',
    entity text,
    payload text not null default 'full',
    allow_private boolean not null default false,
    enabled boolean not null default true,
    created_at timestamptz not null default now(),
    constraint "an endpoint of that name is there already" unique (name),
    constraint "an endpoint's name is 1 to 64 of letters, digits, dot, dash, underscore"
        check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    constraint "kind is webhook, slack, pagerduty or mail"
        check (kind in ('webhook', 'slack', 'pagerduty', 'mail')),
    constraint "a URL has no blanks, no control characters, at most 2048 bytes"
        check (url !~ '[\x01-\x20\x7f-\x9f]' and octet_length(url) <= 2048),
    constraint "a URL is https://HOST..., http:// only with allow_private, no user in it"
        check (kind = 'mail' or (url ~ '^https://[^/?#@]+([/?#].*)?$')
               or (allow_private and url ~ '^http://[^/?#@]+([/?#].*)?$')),
    constraint "a mail goes by smtp://HOST or smtps://HOST"
        check (kind <> 'mail' or url ~ '^smtps?://[^/?#:]+(:[0-9]+)?/?$'),
    constraint "a mail has a sender and 1 to 20 recipients, each NAME@HOST"
        check (case when kind = 'mail' then
                   sender ~ '^[A-Za-z0-9.!#$%&''*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$'
                   and cardinality(recipients) between 1 and 20
                   and array_to_string(recipients, ',', '?')
                       ~ '^[A-Za-z0-9.!#$%&''*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+(,[A-Za-z0-9.!#$%&''*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+)*$'
                   and octet_length(sender) <= 254
               else sender is null and recipients = '{}' end),
    constraint "kinds are words of small letters, like threshold"
        check (array_to_string(kinds, ',', '?') ~ '^([a-z]+(_[a-z]+)*(,[a-z]+(_[a-z]+)*)*)?$'),
    constraint "payload is thin or full" check (payload in ('thin', 'full'))
);
comment on table nullspend.endpoints is
    'Who is told of events: webhooks, Slack, on-call services, mail. Made by `nullspend endpoint`.';
comment on column nullspend.endpoints.endpoint_id is 'Number of the endpoint.';
comment on column nullspend.endpoints.name is 'What people call it.';
comment on column nullspend.endpoints.kind is 'webhook, slack, pagerduty or mail.';
comment on column nullspend.endpoints.url is
    'Where it is sent. Of kind slack only the server: the whole URL is a secret. Of kind mail the server that takes it, with the user if it wants one.';
comment on column nullspend.endpoints.recipients is 'Kind mail: to whom.';
comment on column nullspend.endpoints.sender is 'Kind mail: from whom.';
comment on column nullspend.endpoints.kinds is 'Which kinds of events it wants; empty: all.';
comment on column nullspend.endpoints.entity is
    'Events of which entities it wants, * stands for any characters; null: of all, and those of none.';
comment on column nullspend.endpoints.payload is
    'Kind webhook: full tells the event, thin only its id, its kind and of what it is.';
comment on column nullspend.endpoints.allow_private is
    'Whether it may be at an address that is not public, and reached without TLS.';
comment on column nullspend.endpoints.enabled is
    'Whether events are for it. While it is not, none are, and what was not sent yet waits.';
comment on column nullspend.endpoints.created_at is 'When it was made.';

create table nullspend.endpoint_secrets (
    secret_id bigint generated always as identity primary key,
    endpoint_id bigint not null references nullspend.endpoints on delete cascade,
    secret text not null,
    created_at timestamptz not null default now(),
    ends_at timestamptz not null default 'infinity',
    constraint "a secret has 1 to 2048 characters, no blanks or control characters at its ends"
        check (secret ~ '^[^\x01-\x20\x7f]([^\x01-\x1f\x7f]*[^\x01-\x20\x7f])?$' and octet_length(secret) <= 2048)
);
create index endpoint_secrets_by_endpoint on nullspend.endpoint_secrets (endpoint_id);
revoke all on nullspend.endpoint_secrets from public;
comment on table nullspend.endpoint_secrets is
    'What only the sender reads, apart so that everything else can be shown to everybody. Of kind webhook the keys that sign, slack the URL, pagerduty the routing key, mail the password.';
comment on column nullspend.endpoint_secrets.secret_id is 'Number of the secret; the highest is the newest.';
comment on column nullspend.endpoint_secrets.endpoint_id is 'Whose: nullspend.endpoints.endpoint_id.';
comment on column nullspend.endpoint_secrets.secret is 'The secret.';
comment on column nullspend.endpoint_secrets.created_at is 'When it was made.';
comment on column nullspend.endpoint_secrets.ends_at is 'Until when it is used: while secrets rotate, two are.';

create table nullspend.deliveries (
    delivery_id bigint generated always as identity primary key,
    endpoint_id bigint not null references nullspend.endpoints on delete cascade,
    event_id uuid not null references nullspend.events on delete cascade,
    state text not null default 'pending',
    attempts integer not null default 0,
    created_at timestamptz not null default now(),
    next_attempt_at timestamptz not null default now(),
    last_attempt_at timestamptz,
    last_status integer,
    last_error text not null default '',
    sent_at timestamptz,
    unique (endpoint_id, event_id),
    constraint "state is pending, sent or dead" check (state in ('pending', 'sent', 'dead'))
);
create index deliveries_pending on nullspend.deliveries (endpoint_id, next_attempt_at) where state = 'pending';
create index deliveries_dead on nullspend.deliveries (delivery_id) where state = 'dead';
create index deliveries_by_event on nullspend.deliveries (event_id);
create index deliveries_by_time on nullspend.deliveries (created_at);
comment on table nullspend.deliveries is
    'What is told to whom, and what became of it: a row for each event and endpoint.';
comment on column nullspend.deliveries.delivery_id is 'Number of the delivery.';
comment on column nullspend.deliveries.endpoint_id is 'To whom: nullspend.endpoints.endpoint_id.';
comment on column nullspend.deliveries.event_id is 'What: nullspend.events.event_id.';
comment on column nullspend.deliveries.state is
    'pending: to be sent, at next_attempt_at. sent: the receiver took it. dead: given up; `nullspend deliveries retry` tries again.';
comment on column nullspend.deliveries.attempts is 'How often it was tried, an attempt under way included.';
comment on column nullspend.deliveries.created_at is 'When the event was written.';
comment on column nullspend.deliveries.next_attempt_at is
    'When it is tried next. While an attempt is under way, when it is given up for lost.';
comment on column nullspend.deliveries.last_attempt_at is 'When it was tried last.';
comment on column nullspend.deliveries.last_status is 'HTTP status, or reply of the mail server, of the last attempt; null: it did not answer.';
comment on column nullspend.deliveries.last_error is 'Why the last attempt failed.';
comment on column nullspend.deliveries.sent_at is 'When the receiver took it.';

-- --- which events are for whom -------------------------------------------------------------------

create function nullspend.text_fits(value text, pattern text) returns boolean
language sql immutable parallel safe as $$
    select pattern is null
        or coalesce(value like replace(regexp_replace(pattern, '([\\%_])', '\\\1', 'g'), '*', '%'), false)
$$;
comment on function nullspend.text_fits(text, text) is
    'True where * of the pattern stand for what is in the text; where there is no pattern, of every text.';

create function nullspend.events_deliver() returns trigger
language plpgsql as $$
begin
    insert into nullspend.deliveries (endpoint_id, event_id)
    select p.endpoint_id, e.event_id
    from written e
    join nullspend.endpoints p
        on case when e.kind = 'test' then p.name = e.details->>'endpoint'
                else p.enabled and (p.kinds = '{}' or e.kind = any (p.kinds))
                     and nullspend.text_fits(e.entity, p.entity) end
    order by e.happened_at, e.event_id
    on conflict do nothing;
    return null;
end
$$;
comment on function nullspend.events_deliver() is
    'Trigger of events: a delivery for each endpoint that wants the event; of kind test, for the one that it names.';
create trigger events_deliver after insert on nullspend.events
    referencing new table as written for each statement execute function nullspend.events_deliver();

-- --- what they are told ----------------------------------------------------------------------------

create function nullspend.event_sentence(event nullspend.events) returns text
language sql stable as $$
    select case
        when event.kind = 'threshold' then format(
            '%s has spent %s %% of its %s: %s of %s USD', event.entity, event.threshold,
            case when event.period = 'total' then 'limit' else 'limit for the ' || event.period end,
            trim_scale(event.spent_usd), trim_scale(event.limit_usd))
        when event.kind = 'velocity' then format(
            '%s is paused until %s: more than %s USD went within its window', event.entity,
            to_char(event.paused_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
            trim_scale(event.limit_usd))
        when event.what = '' then concat_ws(': ', event.entity, replace(event.kind, '_', ' '))
        when position(event.entity in event.what) > 0 then event.what
        else concat_ws(': ', event.entity, event.what)
    end
$$;
comment on function nullspend.event_sentence(nullspend.events) is 'An event in one sentence.';

create function nullspend.event_severity(event nullspend.events) returns text
language sql immutable parallel safe as $$
    select case
        when event.details->>'severity' in ('info', 'warning', 'error', 'critical') then event.details->>'severity'
        when event.kind = 'test' then 'info'
        when event.kind = 'velocity' or event.threshold >= 100 then 'critical'
        when event.threshold >= 90 then 'error'
        else 'warning'
    end
$$;
comment on function nullspend.event_severity(nullspend.events) is
    'info, warning, error or critical: what the event''s details say, else by its kind.';

create function nullspend.event_condition(event nullspend.events) returns text
language sql stable set timezone = 'UTC' as $$
    select case when octet_length(condition) <= 255 then condition
                else left(condition, 50) || '/' || encode(sha256(convert_to(condition, 'UTF8')), 'hex') end
    from (select 'nullspend/' || coalesce(event.details->>'condition', concat_ws('/',
              coalesce(event.details->>'resolves', event.kind), event.entity, event.budget_id, event.period,
              event.period_start))) as c (condition)
$$;
comment on function nullspend.event_condition(nullspend.events) is
    'What on-call services take for one incident: details.condition, else kind (or what details.resolves says that the event ends), entity, budget and period.';

create function nullspend.delivery_body(endpoint nullspend.endpoints, event nullspend.events,
                                        routing_key text default null) returns text
language sql stable set timezone = 'UTC' as $$
    select case endpoint.kind
    when 'webhook' then
        case endpoint.payload when 'full' then json_build_object(
            'id', event.event_id, 'type', event.kind,
            'created_at', moment,
            'data', json_build_object('object', row_to_json(event)))
        else json_build_object(
            'id', event.event_id, 'type', event.kind,
            'created_at', moment,
            'related_object', case when event.entity is not null then json_build_object(
                'type', split_part(event.entity, ':', 1),
                'id', nullif(substr(event.entity, strpos(event.entity || ':', ':') + 1), '')) end)
        end::text
    when 'slack' then json_build_object(
        -- Only the first text is read as markup; names must not become links, or call people.
        'text', replace(replace(replace(left(sentence, 2900), '&', '&amp;'), '<', '&lt;'), '>', '&gt;'),
        'blocks', json_build_array(
            json_build_object('type', 'section', 'text', json_build_object(
                'type', 'plain_text', 'emoji', false, 'text', left(sentence, 2900))),
            json_build_object('type', 'context', 'elements', json_build_array(json_build_object(
                'type', 'plain_text', 'emoji', false, 'text', left(concat_ws(' · ', event.kind, event.entity,
                    to_char(event.happened_at, 'YYYY-MM-DD HH24:MI:SS "UTC"')), 1900)))))
        )::text
    when 'pagerduty' then (
        case when event.details->>'resolves' is not null then json_build_object(
            'routing_key', routing_key, 'event_action', 'resolve',
            'dedup_key', nullspend.event_condition(event))
        else json_build_object(
            'routing_key', routing_key, 'event_action', 'trigger',
            'dedup_key', nullspend.event_condition(event),
            'payload', json_build_object(
                'summary', left(sentence, 1024), 'source', coalesce(event.entity, 'nullspend'),
                'severity', nullspend.event_severity(event), 'timestamp', event.happened_at,
                'class', event.kind, 'custom_details', row_to_json(event)))
        end)::text
    else sentence || E'\n\n' || (
        select string_agg(key || ': ' || regexp_replace(value, '[\x01-\x1f\x7f]+', ' ', 'g'), E'\n')
        from json_each_text(row_to_json(event)) where value is not null and value <> '') || E'\n'
    end
    from nullspend.event_sentence(event) as sentence,
         floor(extract(epoch from case when isfinite(event.happened_at) then event.happened_at end)) as moment
$$;
comment on function nullspend.delivery_body(nullspend.endpoints, nullspend.events, text) is
    'What an endpoint is sent of an event: JSON, or the text of a mail.';

create function nullspend.delivery_subject(event nullspend.events) returns text
language sql stable as $$
    select left('[NullSpend] ' || regexp_replace(nullspend.event_sentence(event), '[\x01-\x1f\x7f]+', ' ', 'g'), 200)
$$;
comment on function nullspend.delivery_subject(nullspend.events) is 'The subject of a mail that tells an event.';

-- --- what people look at ---------------------------------------------------------------------------

create view nullspend.endpoint_status as
select p.name, p.kind, p.url, p.recipients, p.sender, p.kinds, p.entity, p.payload, p.allow_private, p.enabled,
       (select count(*) from nullspend.deliveries d where d.endpoint_id = p.endpoint_id and d.state = 'pending') as pending,
       (select count(*) from nullspend.deliveries d where d.endpoint_id = p.endpoint_id and d.state = 'dead') as dead,
       (select max(d.sent_at) from nullspend.deliveries d where d.endpoint_id = p.endpoint_id) as last_sent_at,
       p.created_at
from nullspend.endpoints p
order by p.name;
comment on view nullspend.endpoint_status is 'Endpoints without their secrets, and what waits for them.';
comment on column nullspend.endpoint_status.name is 'What people call it.';
comment on column nullspend.endpoint_status.kind is 'webhook, slack, pagerduty or mail.';
comment on column nullspend.endpoint_status.url is 'Where it is sent; of kind slack only the server.';
comment on column nullspend.endpoint_status.recipients is 'Kind mail: to whom.';
comment on column nullspend.endpoint_status.sender is 'Kind mail: from whom.';
comment on column nullspend.endpoint_status.kinds is 'Which kinds of events it wants; empty: all.';
comment on column nullspend.endpoint_status.entity is 'Events of which entities it wants; null: all.';
comment on column nullspend.endpoint_status.payload is 'Kind webhook: full or thin.';
comment on column nullspend.endpoint_status.allow_private is 'Whether its address may be private.';
comment on column nullspend.endpoint_status.enabled is 'Whether events are for it.';
comment on column nullspend.endpoint_status.pending is 'Deliveries that are to be sent.';
comment on column nullspend.endpoint_status.dead is 'Deliveries that were given up.';
comment on column nullspend.endpoint_status.last_sent_at is 'When it took one last.';
comment on column nullspend.endpoint_status.created_at is 'When it was made.';

create view nullspend.delivery_status as
select d.delivery_id, d.created_at, p.name as endpoint, e.kind, e.entity, e.customer, d.state, d.attempts,
       case when d.state = 'pending' then d.next_attempt_at end as next_attempt_at,
       d.last_attempt_at, d.last_status, d.last_error, d.sent_at, d.event_id
from nullspend.deliveries d
join nullspend.endpoints p using (endpoint_id)
join nullspend.events e using (event_id);
comment on view nullspend.delivery_status is 'Deliveries with their endpoints'' names and what they tell.';
comment on column nullspend.delivery_status.delivery_id is 'Number of the delivery.';
comment on column nullspend.delivery_status.created_at is 'When the event was written.';
comment on column nullspend.delivery_status.endpoint is 'To whom: the endpoint''s name.';
comment on column nullspend.delivery_status.kind is 'Kind of the event.';
comment on column nullspend.delivery_status.entity is 'Of what the event is.';
comment on column nullspend.delivery_status.customer is 'Of customer:ID, the ID.';
comment on column nullspend.delivery_status.state is 'pending, sent or dead.';
comment on column nullspend.delivery_status.attempts is 'How often it was tried.';
comment on column nullspend.delivery_status.next_attempt_at is 'Of what is pending, when it is tried next.';
comment on column nullspend.delivery_status.last_attempt_at is 'When it was tried last.';
comment on column nullspend.delivery_status.last_status is 'HTTP status, or reply of the mail server, of the last attempt.';
comment on column nullspend.delivery_status.last_error is 'Why the last attempt failed.';
comment on column nullspend.delivery_status.sent_at is 'When the receiver took it.';
comment on column nullspend.delivery_status.event_id is 'The event: nullspend.events.event_id.';
