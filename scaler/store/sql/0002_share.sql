-- The part of the source that an execution was handed, as JSON; null for one that may take from all of it.
ALTER TABLE executions ADD COLUMN share TEXT;
