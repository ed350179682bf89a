import { systemClock } from "../pipeline/clock.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { KafkaAdmin } from "../pipeline/log/admin.ts";
import { BatchingProducer } from "../pipeline/log/batching_producer.ts";
import { Cluster } from "../pipeline/log/cluster.ts";
import { Producer } from "../pipeline/log/producer.ts";
import { createRegistryClient } from "../pipeline/log/registry_client.ts";
import { loadStreams } from "../pipeline/plan/load.ts";
import { topicNameFault } from "../pipeline/plan/names.ts";
import type { AvroSchema, Plan } from "../pipeline/plan/plan.ts";
import { parseSpeed, replayFile } from "../pipeline/sources/file_replay.ts";
import type { Call } from "./call.ts";
import { hideSecrets, readConfig, readEnvironment } from "./config.ts";
import { Exit } from "./exit.ts";
import { projectPath } from "./paths.ts";

/** `tailrace replay`: plays a file into a topic. */
export async function replay({ flags, positionals, log, signal }: Call): Promise<number> {
  const topicFault = flags.topic ? topicNameFault(flags.topic) : "is needed";
  const faults = [
    ...positionals.length === 1
      ? []
      : [{ where: "FILE", problem: "name one file: tailrace replay FILE --topic TOPIC" }],
    ...topicFault === null ? [] : [{ where: "--topic", problem: topicFault }],
  ];
  if (faults.length > 0) throw new ConfigError(faults);
  const [file] = positionals;
  const topic = flags.topic!;
  const speed = parseSpeed(flags.speed ?? "max");
  const fromRow = parseFromRow(flags["from-row"] ?? "1");
  const sources = { flags, environment: readEnvironment(), file: null };
  hideSecrets(sources);
  const config = readConfig("dev", sources);
  const brokers = config.brokers.length > 0 ? config.brokers : [`127.0.0.1:${config.ports.broker}`];
  const registryUrl = config.registryUrl || `http://127.0.0.1:${config.ports.registry}`;
  const reader = await planReading(topic);
  await new KafkaAdmin(brokers, config.kafka, "tailrace-replay").ensureTopics([{
    topic,
    partitions: reader?.partitions ?? config.partitions,
  }]);
  await using cluster = new Cluster(brokers, { clientId: "tailrace-replay", ...config.kafka });
  const producer = new Producer(cluster, { clock: systemClock, signal, acks: -1 });
  const began = performance.now();
  const result = await replayFile({
    file,
    topic,
    speed,
    fromRow,
    partitions: await producer.partitionCount(topic),
    target: new BatchingProducer(producer, topic),
    registry: createRegistryClient({ url: registryUrl }),
    schema: flags.schema ? await readSchema(flags.schema) : reader?.schema,
    key: flags.key ?? (reader && reader.groupBy.length > 0 ? reader.fields[reader.groupBy[0].field].path : undefined),
    eventTime: flags["event-time"] ?? (reader && reader.fields[reader.eventTime].path),
    clock: systemClock,
    signal,
    onProgress: progressLine(file),
    onRenamed: (renamed) =>
      log.warn(`columns renamed for Avro: ${renamed.map(({ column, field }) => `${column} is ${field}`).join(", ")}`),
  });
  if (result.schemaId === null) {
    console.error(`${file} holds no rows`);
    return Exit.failed;
  }
  const seconds = (performance.now() - began) / 1000;
  const rate = Math.round(result.rows / seconds).toLocaleString("en");
  console.log(
    `${result.rows.toLocaleString("en")} of ${
      result.total.toLocaleString("en")
    } rows of ${file} in topic ${topic}, ${rate} a second`,
  );
  return result.rows === result.total ? Exit.ok : Exit.failed;
}

/** @throws ConfigError naming the flag */
function parseFromRow(text: string): number {
  const row = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (row >= 1) return row;
  throw new ConfigError({ where: "--from-row", problem: `${JSON.stringify(text)} is not the number of a row, from 1` });
}

/** The pipeline that reads the topic, when there is one: it knows schema, key and event time. */
async function planReading(topic: string): Promise<Plan | undefined> {
  return (await loadStreams(projectPath("streams"))).map(({ plan }) => plan).find((plan) => plan.topic === topic);
}

async function readSchema(path: string): Promise<AvroSchema> {
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    throw new ConfigError({ where: `--schema ${path}`, problem: `cannot be read: ${(error as Error).message}` });
  }
}

/** On a terminal, one line that is written over. */
function progressLine(file: string): ((progress: { rows: number; total: number }) => void) | undefined {
  if (!Deno.stderr.isTerminal()) return undefined;
  const encoder = new TextEncoder();
  return ({ rows, total }) => {
    const percent = total === 0 ? 100 : Math.floor(100 * rows / total);
    const end = rows === total ? "\r\x1b[K" : "";
    Deno.stderr.writeSync(
      encoder.encode(
        `\r${file}: ${rows.toLocaleString("en")} of ${total.toLocaleString("en")} rows, ${percent} %${end}`,
      ),
    );
  };
}
