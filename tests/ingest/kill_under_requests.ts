import assert from "node:assert/strict";
import { sendUntilAnswered } from "./client.ts";
import { lines } from "./world.ts";

const CHILD = new URL("./serve_child.ts", import.meta.url).pathname;
const REQUESTS = 48;
const RECORDS = 400;

async function startChild(args: readonly string[]) {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", CHILD, ...args],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = process.stdout.getReader();
  const port = Number(new TextDecoder().decode((await reader.read()).value));
  reader.releaseLock();
  await process.stdout.cancel();
  return {
    origin: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      process.kill("SIGKILL");
      await process.status;
    },
  };
}

/** Sends requests to a process that is killed again and again, each until it is answered. @returns how many records they had */
export async function killUnderRequests(
  { brokers, registryUrl, topic }: {
    readonly brokers: readonly string[];
    readonly registryUrl: string;
    readonly topic: string;
  },
): Promise<number> {
  const args = [brokers[0], registryUrl];
  let child = await startChild(args);
  let waiting = REQUESTS;
  const tries: number[] = [];
  const client = async (from: number) => {
    for (let n = from; n < REQUESTS; n += 6) {
      const url = () => `${child.origin}/v1/topics/${topic}/bulk`;
      const answer = await sendUntilAnswered(url, { body: lines(0, RECORDS, `${n}-`), key: `${topic}-${n}` });
      assert.equal(answer.records, RECORDS);
      tries.push(answer.tries);
      waiting--;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const clients = Array.from({ length: 6 }, (_, from) => client(from));
  let kills = 0;
  try {
    // Each time somewhere else: before the first transaction, inside one, between its end and the answer.
    for (; kills < 4 && waiting > 0; kills++) {
      await new Promise((resolve) => setTimeout(resolve, 60 + 40 * kills));
      await child[Symbol.asyncDispose]();
      child = await startChild(args);
    }
    await Promise.all(clients);
  } finally {
    await child[Symbol.asyncDispose]();
  }
  assert.ok(kills >= 3, `${kills} kills`);
  assert.ok(tries.some((n) => n > 1), "requests were repeated");
  return REQUESTS * RECORDS;
}
