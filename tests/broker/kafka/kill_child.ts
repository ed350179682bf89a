/** A broker to be killed: prints its port and runs. */
import { startBrokerWorker } from "../../../broker/kafka/mod.ts";

const broker = await startBrokerWorker({
  host: "127.0.0.1",
  port: 0,
  dataDir: Deno.args[0],
  segmentBytes: 100_000,
  flushMs: 20,
});
console.log(broker.port);
