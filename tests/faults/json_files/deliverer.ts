/** A process that delivers to JSON files until it is killed. Arguments: brokers, data folder, partitions, consumers. @module */
import { jsonFiles } from "../../../pipeline/mod.ts";
import { supervise } from "../../../pipeline/runtime/supervisor.ts";
import { systemClock } from "../../../pipeline/clock.ts";
import { processOver } from "../../deliveries/world.ts";

const [brokers, dataDir, partitions, consumers] = Deno.args;
await using own = processOver([brokers], { dataDir, partitions: Number(partitions) });
const delivery = await own.delivery({
  to: [jsonFiles("items")],
  consumers: Number(consumers),
  batchRows: 40,
  batchEvery: "20ms",
});
const stop = new AbortController();
Deno.addSignalListener("SIGTERM", () => stop.abort());
await supervise("delivery", (signal) => delivery.run(signal), {
  clock: systemClock,
  log: (level, message) => console.error(level, message),
  signal: stop.signal,
});
Deno.exit(0);
