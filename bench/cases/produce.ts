import { Cluster } from "../../pipeline/log/cluster.ts";
import { type Measured, Meter } from "../measure.ts";
import { ensureTopic, load, NO_SECURITY, type Servers } from "../servers.ts";

const RECORDS = 5_000_000;

/** One producing thread, acks=all, four partitions: transactions made, encoded as Avro, sent, acknowledged. */
export async function produce(servers: Servers): Promise<Measured> {
  const topic = `bench.produce.${Date.now()}`;
  await ensureTopic(servers, topic);
  await load(servers, topic, 500_000);
  const meter = new Meter();
  await load(servers, topic, RECORDS);
  const measured = meter.stop("produce", RECORDS);
  await using cluster = new Cluster(servers.brokers, { clientId: "tailrace-bench", ...NO_SECURITY });
  const ends = await cluster.offsets(topic, [0, 1, 2, 3], "latest");
  const stored = [...ends.values()].reduce((sum, end) => sum + end, 0);
  if (stored !== RECORDS + 500_000) throw new Error(`${stored} records are in the log instead of ${RECORDS + 500_000}`);
  return measured;
}
