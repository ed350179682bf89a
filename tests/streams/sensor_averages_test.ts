import assert from "node:assert/strict";
import { loadStreams } from "../../pipeline/plan/load.ts";
import { resultColumns } from "../../pipeline/plan/plan.ts";
import { resultSchema } from "../../pipeline/sinks/result_schema.ts";

Deno.test("the schema that sensor_averages_cassandra reads by is the one of the results, so that either may start first", async () => {
  const streams = new URL("../../streams", import.meta.url).pathname;
  const [{ plan }] = await loadStreams(streams, { only: ["sensor_averages"] });
  const { doc: _, ...written } = resultSchema(resultColumns(plan), { pipeline: plan.name }) as Record<string, unknown>;
  const file = await Deno.readTextFile(new URL("../../schemas/sensor_average.avsc", import.meta.url));
  const { doc: __, ...read } = JSON.parse(file);
  assert.deepEqual(read, written);
});
