import assert from "node:assert/strict";
import { ConfigError, ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { fanOut } from "../../pipeline/sinks/fan_out.ts";
import { withRetry } from "../../pipeline/sinks/retry.ts";
import {
  NO_POSITION,
  type ResultRows,
  type Sink,
  type SinkPosition,
  type WriteOptions,
} from "../../pipeline/sinks/sink.ts";
import { sinkContract } from "../contracts/sink_contract.ts";
import { MemorySink } from "./memory_sink.ts";

const NO_ROWS: ResultRows = { columns: [], length: 0, values: [] };
const live = new AbortController().signal;

function sinkOf(name: string, write: (options: WriteOptions) => Promise<void>): Sink & { disposed: boolean } {
  return {
    ...NO_POSITION,
    name,
    disposed: false,
    write: (_rows, options) => write(options),
    [Symbol.asyncDispose]() {
      this.disposed = true;
      return Promise.resolve();
    },
  };
}

for (const which of [0, 1]) {
  sinkContract(`fan-out, its ${which === 0 ? "first" : "second"} sink`, (columns) => {
    const sinks = ["one", "two"].map((name) => new MemorySink(columns, { name }));
    const sink = fanOut(sinks);
    return Promise.resolve({
      sink,
      read: () => Promise.resolve(sinks[which].rows()),
      reopen: () => Promise.resolve(fanOut(sinks.map((sink) => sink.reopen()))),
      loseAnswer: () => sinks[which].losesAnswer = true,
      [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
    });
  }, { noOutage: "its sinks in memory have no other side" });
}

/** A sink that keeps a number and tells what it was resumed with. */
function numbered(name: string, number: number): Sink & { resumed: SinkPosition[] } {
  return {
    ...sinkOf(name, () => Promise.resolve()),
    resumed: [],
    position: () => ({ number }),
    resume(position) {
      this.resumed.push(position);
      return Promise.resolve();
    },
  };
}

Deno.test("each sink gets its own position back, also when the definition gained one or lost one", async () => {
  const saved = fanOut([numbered("a", 1), numbered("b", 2), numbered("c", 3)]).position();
  assert.deepEqual(saved, { a: { number: 1 }, b: { number: 2 }, c: { number: 3 } });
  const next = [numbered("c", 0), numbered("new", 0), numbered("a", 0)];
  const sink = fanOut(next);
  await sink.resume(JSON.parse(JSON.stringify(saved)), { signal: live });
  assert.deepEqual(next.map(({ resumed }) => resumed), [[{ number: 3 }], [null], [{ number: 1 }]]);
  await sink.resume(null, { signal: live });
  assert.deepEqual(next.map(({ resumed }) => resumed.at(-1)), [null, null, null]);
});

Deno.test("a sink that lost its destination ends the waiting of the others as they resume", async () => {
  const lost = new ConflictError("another process is the owner now");
  const waiting = withRetry({
    ...numbered("away", 0),
    resume: () => Promise.reject(new UnavailableError("away")),
  }, { firstDelayMs: 60_000 });
  const fenced = { ...numbered("fenced", 0), resume: () => Promise.reject(lost) };
  await assert.rejects(fanOut([waiting, fenced]).resume(null, { signal: live }), lost);
});

Deno.test("a fan-out resolves only when its slowest sink has", async () => {
  const slow = Promise.withResolvers<void>();
  const events: string[] = [];
  const sink = fanOut([
    sinkOf("fast", () => Promise.resolve().then(() => void events.push("fast"))),
    sinkOf("slow", () => slow.promise.then(() => void events.push("slow"))),
  ]);
  assert.equal(sink.name, "fast + slow");
  const written = Promise.resolve(sink.write(NO_ROWS, { epoch: 1, signal: new AbortController().signal }))
    .then(() => void events.push("all"));
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(events, ["fast"]);
  slow.resolve();
  await written;
  assert.deepEqual(events, ["fast", "slow", "all"]);
});

Deno.test("an outage of one sink is reported only when the others are at rest", async () => {
  let atRest = false;
  const sink = fanOut([
    sinkOf("away", () => Promise.reject(new UnavailableError("away"))),
    sinkOf("slow", ({ signal }) =>
      new Promise((resolve) =>
        setTimeout(() => {
          atRest = !signal.aborted;
          resolve();
        }, 20)
      )),
  ]);
  await assert.rejects(async () => await sink.write(NO_ROWS, { epoch: 1, signal: new AbortController().signal }), {
    name: "UnavailableError",
  });
  assert.ok(atRest, "the other write went on to its end, not aborted");
});

Deno.test("an error that no repeat mends ends the endless waiting of the others", async () => {
  const broken = new ConfigError({ where: "table", problem: "gone" });
  const sink = fanOut([
    withRetry(sinkOf("away", () => Promise.reject(new UnavailableError("away"))), { firstDelayMs: 60_000 }),
    sinkOf("broken", () => Promise.reject(broken)),
  ]);
  await assert.rejects(
    async () => await sink.write(NO_ROWS, { epoch: 1, signal: new AbortController().signal }),
    broken,
  );
});

Deno.test("an abort reaches every sink and comes out as the signal's reason", async () => {
  const controller = new AbortController();
  const reason = new Error("stopping");
  const waiting = () =>
    sinkOf(
      "waiting",
      ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true })),
    );
  const written = fanOut([waiting(), waiting()]).write(NO_ROWS, { epoch: 1, signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(async () => await written, reason);
});

Deno.test("disposing a fan-out disposes every sink, also when one fails to", async () => {
  const sinks = [sinkOf("a", () => Promise.resolve()), sinkOf("b", () => Promise.resolve())];
  const failing: Sink = { ...sinks[0], [Symbol.asyncDispose]: () => Promise.reject(new Error("stuck")) };
  await assert.rejects(async () => await fanOut([failing, ...sinks])[Symbol.asyncDispose](), { message: "stuck" });
  assert.deepEqual(sinks.map(({ disposed }) => disposed), [true, true]);
});
