-- A sink makes its view here when it makes its table.

CREATE SCHEMA IF NOT EXISTS bi;

COMMENT ON SCHEMA bi IS 'One view per pipeline, for BI tools: plain column types, one row per key and window. tailrace.pipelines lists them.';
