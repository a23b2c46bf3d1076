-- SPDX-License-Identifier: Apache-2.0
-- Mandates may say how often calls repeat each other.

alter table nullspend.mandates
    add column repeats_max integer,
    add column repeats_window_s integer,
    add constraint "repeats_max is above 0, and repeats_window_s 1 to 86400, both or none"
        check (num_nulls(repeats_max, repeats_window_s) = 2
               or (num_nulls(repeats_max, repeats_window_s) = 0
                   and repeats_max > 0 and repeats_window_s between 1 and 86400));
comment on column nullspend.mandates.repeats_max is
    'How many calls within repeats_window_s may be the same request, or end with the same text while they grow; null: any number.';
comment on column nullspend.mandates.repeats_window_s is 'The window of repeats_max, in seconds.';

create or replace function nullspend.mandate_words(mandate nullspend.mandates)
returns table (list text, word text)
language sql stable as $$
    select l.list, w.word
    from (values
        ('allow_models', mandate.allow_models),
        ('deny_models', mandate.deny_models),
        ('allow_providers', mandate.allow_providers),
        ('deny_providers', mandate.deny_providers),
        ('allow_hosts', mandate.allow_hosts),
        ('deny_hosts', mandate.deny_hosts),
        ('allow_operations', mandate.allow_operations),
        ('deny_operations', mandate.deny_operations),
        ('allow_tiers', mandate.allow_tiers),
        ('deny_tiers', mandate.deny_tiers),
        ('allow_tools', mandate.allow_tools),
        ('deny_tools', mandate.deny_tools),
        ('require', mandate.require),
        ('repeats', array[mandate.repeats_max || '/' || mandate.repeats_window_s])
    ) as l (list, words), unnest(l.words) as w (word)
    where w.word is not null
$$;
