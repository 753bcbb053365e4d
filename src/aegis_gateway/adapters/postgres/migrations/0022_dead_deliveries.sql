-- What was given up is looked for among all that was ever sent.
create index delivery_dead on delivery (tenant, made_ns) where state = 'dead';
