-- For people who look at one agent: its calls in order of time, however many others there are.
create index call_by_agent on call (tenant, agent, decided_ns);
