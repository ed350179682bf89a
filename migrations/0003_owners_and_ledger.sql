-- Who runs each pipeline, so that two processes never write for one; and what became of every record it read.

CREATE TABLE tailrace.owners (
  pipeline text PRIMARY KEY,
  token bigint NOT NULL DEFAULT 0,
  generation bigint NOT NULL DEFAULT 0,
  process text,
  since timestamptz
);

COMMENT ON TABLE tailrace.owners IS 'Which process runs each pipeline. Every write checks the token: of a process that was replaced nothing is written any more.';
COMMENT ON COLUMN tailrace.owners.token IS 'Grows each time a process takes the pipeline over; only the newest may write.';
COMMENT ON COLUMN tailrace.owners.generation IS 'How often the pipeline was rewound; part of every revision.';
COMMENT ON COLUMN tailrace.owners.process IS 'Host and process id of the newest owner; null when none has run yet.';
COMMENT ON COLUMN tailrace.owners.since IS 'When the newest owner took over.';

-- Called in the statement or transaction that writes. The row stays locked until that ends, so nobody takes the pipeline over
-- in between. TR001 is in the part of the codes that the SQL standard leaves to others.
CREATE FUNCTION tailrace.hold_ownership(wanted_pipeline text, wanted_token bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  held tailrace.owners;
BEGIN
  SELECT * INTO held FROM tailrace.owners WHERE pipeline = wanted_pipeline FOR SHARE;
  IF held.token = wanted_token THEN
    RETURN true;
  END IF;
  IF held.pipeline IS NULL THEN
    RAISE EXCEPTION 'the owner of pipeline % was deleted from tailrace.owners: start this process again', wanted_pipeline
      USING ERRCODE = 'TR001';
  END IF;
  RAISE EXCEPTION 'another process (%, since %) runs pipeline % now', held.process,
    to_char(held.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), wanted_pipeline
    USING ERRCODE = 'TR001';
END
$$;

COMMENT ON FUNCTION tailrace.hold_ownership IS 'Keeps a pipeline from being taken over until the transaction ends; fails with TR001 when it was already.';

CREATE TABLE tailrace.partitions (
  pipeline text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  start_offset bigint NOT NULL,
  position bigint NOT NULL,
  consumed bigint NOT NULL,
  aggregated bigint NOT NULL,
  filtered bigint NOT NULL,
  late bigint NOT NULL,
  dead bigint NOT NULL,
  duplicate bigint NOT NULL,
  committed_at timestamptz NOT NULL,
  PRIMARY KEY (pipeline, topic, partition)
);

COMMENT ON TABLE tailrace.partitions IS 'What became of every record of a partition, as of the last commit of the pipeline. The view tailrace.ledger adds it up.';
COMMENT ON COLUMN tailrace.partitions.start_offset IS 'Offset of the first record that counts.';
COMMENT ON COLUMN tailrace.partitions.position IS 'Offset after the last record that counts.';
COMMENT ON COLUMN tailrace.partitions.consumed IS 'Records read.';
COMMENT ON COLUMN tailrace.partitions.aggregated IS 'Of these, counted in a result.';
COMMENT ON COLUMN tailrace.partitions.filtered IS 'Of these, left out by the where clause.';
COMMENT ON COLUMN tailrace.partitions.late IS 'Of these, set aside because their window had closed.';
COMMENT ON COLUMN tailrace.partitions.dead IS 'Of these, set aside because they cannot be read.';
COMMENT ON COLUMN tailrace.partitions.duplicate IS 'Of these, seen before.';
COMMENT ON COLUMN tailrace.partitions.committed_at IS 'When this was written.';

CREATE VIEW tailrace.ledger AS
SELECT
  pipeline, topic, partition, start_offset, position, consumed, aggregated, filtered, late, dead, duplicate,
  consumed - aggregated - filtered - late - dead - duplicate AS difference,
  committed_at
FROM tailrace.partitions;

COMMENT ON VIEW tailrace.ledger IS 'What became of every record of a partition, as of the last commit: each ended in exactly one of aggregated, filtered, late, dead and duplicate.';
COMMENT ON COLUMN tailrace.ledger.difference IS 'Records read less those of all five kinds: 0, always.';
