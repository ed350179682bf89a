/** An embedded broker in a process of its own, to be killed: takes a folder, a port and perhaps the address to tell clients, prints a line when it listens. */
import { startBrokerWorker } from "../../broker/kafka/mod.ts";

const [dataDir, port, advertisedHost] = Deno.args;
const broker = await startBrokerWorker({
  host: "127.0.0.1",
  advertisedHost,
  port: Number(port),
  dataDir,
  defaultPartitions: 4,
  log: console.error,
});
console.log(`listening on ${broker.port}`);
