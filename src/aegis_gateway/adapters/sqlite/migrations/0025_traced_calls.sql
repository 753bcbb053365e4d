-- Calls say where they stand in a trace: their own span, or the caller's where none is made here.

alter table call add column traceparent text;
