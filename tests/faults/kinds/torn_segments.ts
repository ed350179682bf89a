import { sleep } from "../../e2e/harness.ts";
import { readFrom } from "../../e2e/topic_reader.ts";
import { freePort } from "../../servers/free_port.ts";
import type { FaultRun, Kind } from "../kind.ts";
import { BrokerApart, TOPIC, type World } from "../world.ts";

const CHECK_EVERY = 10;
/** Where base offset and length stand in a record batch, and the bytes that the length does not count. */
const BATCH_LENGTH_AT = 8;
const BATCH_PREFIX_BYTES = 12;

/** What a power cut leaves behind the last whole batch, and what a bad disk does to acknowledged ones. */
export const tornSegments: Kind = {
  name: "torn-segments",
  what: "unfinished writes at the end of the embedded broker's segments; flipped bits in acknowledged ones",
  counts: { full: 100, short: 3 },
  async run(run) {
    await using world = await run.world({ broker: "apart" });
    while (run.injected < run.count) {
      await sleep(run.between(100, 500));
      await world.broker!.kill();
      const segment = lastSegment(`${world.broker!.folder}/topics`, Math.floor(run.random() * 4));
      if (run.injected % 2 === 0) await tear(segment, run);
      else await flip(segment, world, run);
      run.inject();
      await world.broker!.up();
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};

/** The newest segment of a partition of the topic. */
function lastSegment(topics: string, partition: number): string {
  const folder = [...Deno.readDirSync(topics)].find(({ name }) =>
    name.startsWith(`${TOPIC}.`) && name.split(".").length === 2
  );
  const path = `${topics}/${folder!.name}/${partition}`;
  const names = [...Deno.readDirSync(path)].map(({ name }) => name).filter((name) => name.endsWith(".log")).sort();
  return `${path}/${names.at(-1)}`;
}

/** Adds what looks like the beginning of one more batch, noise, or zeros. */
async function tear(segment: string, run: FaultRun): Promise<void> {
  const bytes = await Deno.readFile(segment);
  const batch = bytes.slice(batchStarts(bytes).at(-1) ?? 0);
  const length = 1 + Math.floor(run.random() * Math.max(1, batch.length - 1));
  const tail = run.pick([
    () => batch.subarray(0, length),
    () => crypto.getRandomValues(new Uint8Array(length)),
    () => new Uint8Array(4096),
  ])();
  await Deno.writeFile(segment, tail, { append: true });
}

/** Flips a bit in a copy and looks what a broker on it says and serves: not less than was acknowledged without a word. */
async function flip(segment: string, world: World, run: FaultRun): Promise<void> {
  const { folder } = world.broker!;
  const copy = `${folder}-flipped`;
  const { success } = await new Deno.Command("cp", { args: ["-r", folder, copy] }).output();
  if (!success) throw new Error(`${folder} cannot be copied`);
  const path = segment.replace(folder, copy);
  const bytes = await Deno.readFile(path);
  const starts = batchStarts(bytes);
  // Not the last batch: nobody may have been told of that one.
  const end = starts.at(-1) ?? 0;
  const at = Math.floor(run.random() * end);
  bytes[at] ^= 1 << Math.floor(run.random() * 8);
  await Deno.writeFile(path, bytes);
  await using broker = new BrokerApart(copy, freePort());
  const partition = Number(path.split("/").at(-2));
  try {
    await broker.up();
    const { ends } = await readFrom(`127.0.0.1:${broker.port}`, TOPIC, { within: 20_000 });
    const wanted = world.load.ends.get(partition) ?? 0;
    const isShort = (ends.get(partition) ?? 0) < wanted;
    if (isShort && !/damaged|corrupt|checksum/i.test(broker.said)) {
      const told = broker.said.trim().split("\n").slice(0, 3).join(" | ");
      const example =
        `bit flipped at ${at} of ${bytes.length}: partition ${partition} ends at ${ends.get(partition)} instead of ` +
        `${wanted}, and the broker only says: ${told}`;
      run.findings.note("lost", "behaviour", example);
    }
  } catch (error) {
    // It refused to start, or the client refused what it served: loud enough.
    run.remarks.push(`a flipped bit: ${(error as Error).message.split("\n")[0].slice(0, 80)}`);
  } finally {
    await broker.kill();
    await Deno.remove(copy, { recursive: true });
  }
}

/** Where the batches of a segment start. */
function batchStarts(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer);
  const starts: number[] = [];
  for (let at = 0; at + BATCH_PREFIX_BYTES <= bytes.length;) {
    starts.push(at);
    at += BATCH_PREFIX_BYTES + view.getInt32(at + BATCH_LENGTH_AT);
  }
  return starts;
}
