-- Where the results of each pipeline are, for people and tools that come to the database first.

CREATE TABLE tailrace.pipelines (
  name text PRIMARY KEY,
  fingerprint text NOT NULL,
  table_name text,
  started_at timestamptz NOT NULL,
  definition jsonb NOT NULL
);

COMMENT ON TABLE tailrace.pipelines IS 'Pipelines that have run against this database, one row each.';
COMMENT ON COLUMN tailrace.pipelines.fingerprint IS 'SHA-256 of everything in the definition that decides results.';
COMMENT ON COLUMN tailrace.pipelines.table_name IS 'Table of the results; null when the pipeline writes elsewhere only. The view of the same name in schema bi has plain columns.';
COMMENT ON COLUMN tailrace.pipelines.started_at IS 'When the pipeline last started.';
COMMENT ON COLUMN tailrace.pipelines.definition IS 'What the pipeline computes, as checked data.';
