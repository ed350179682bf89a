import { looked, runArchive } from "../lake/run_archive.ts";
import { type Measured, round } from "../measure.ts";
import type { Servers } from "../servers.ts";
import { drain, DRAINED, fill } from "./drain.ts";

const TABLE = "bench_drained";

/**
 * A full topic read from its start, aggregated to PostgreSQL and archived: until the last row is durable in PostgreSQL and the last
 * record is committed to the table. Beside it the same without the archive.
 */
export async function archiveDrain(servers: Servers): Promise<Measured> {
  await fill(servers);
  const without = await drain(servers);
  const folder = `${servers.folder}/archive-drain-${Date.now()}`;
  let pipelineSeconds = 0;
  const measured = await drain(servers, {
    async alongside(drained) {
      const began = performance.now();
      const archiving = runArchive(servers, { topic: DRAINED.topic, table: TABLE, folder });
      drained.then(() => pipelineSeconds = (performance.now() - began) / 1000, () => {});
      try {
        await archiving.holds(DRAINED.records);
      } finally {
        await archiving.stop();
      }
    },
  });
  const { rows, places, bytes } = await looked(folder, TABLE);
  await Deno.remove(folder, { recursive: true });
  if (rows !== DRAINED.records || places !== DRAINED.records) {
    throw new Error(`the archive has ${rows} rows of ${places} records instead of ${DRAINED.records}`);
  }
  return {
    ...measured,
    name: "archive-drain",
    pipeline_s: round(pipelineSeconds, 3),
    without_s: without.seconds,
    rec_per_s_without: without.rec_per_s,
    ratio: round(measured.seconds / without.seconds, 2),
    table_mb: Math.round(bytes / 1e6),
  };
}
