-- How many calls of the last minute were decided how, at a thousand a second: all of them are counted by the index on time
-- alone, and those that were not allowed by this one, which costs calls that are allowed nothing.
create index call_not_allowed on call (tenant, decided_ns, effect) where effect <> 'allow';
