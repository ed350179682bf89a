import assert from "node:assert/strict";
import { ConfigError } from "../../pipeline/errors.ts";
import { ManagedTask } from "../../pipeline/runtime/managed_task.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

/** A pipeline whose runs last until they are ended, or fail when told. */
function setup() {
  const clock = new VirtualClock(0);
  const ended = new AbortController();
  const events: string[] = [];
  let fail: (error: Error) => void = () => {};
  const pipeline = new ManagedTask("p", {
    clock,
    log: (level) => events.push(level),
    onRest: () => events.push("rests"),
    run: (signal) => {
      events.push("runs");
      return new Promise((resolve, reject) => {
        fail = reject;
        if (signal.aborted) return resolve();
        signal.addEventListener("abort", () => {
          events.push("ends");
          resolve();
        }, { once: true });
      });
    },
  });
  return { clock, ended, events, pipeline, fail: (error: Error) => fail(error) };
}

Deno.test("a pipeline runs, rests when it is stopped, and runs again when it is started", async () => {
  const { clock, ended, events, pipeline } = setup();
  const done = pipeline.run(ended.signal);
  await clock.settle();
  await pipeline.stop();
  assert.deepEqual([events, pipeline.isRunning], [["runs", "ends", "rests"], false]);
  await pipeline.stop();
  await pipeline.start();
  await pipeline.start();
  assert.equal(pipeline.isRunning, true);
  await clock.settle();
  assert.deepEqual(events.slice(3), ["runs"]);
  ended.abort();
  await done;
  assert.deepEqual(events.slice(4), ["ends", "rests"]);
});

Deno.test("what must not meet a run does not meet one that was started a moment ago", async () => {
  const { clock, ended, events, pipeline } = setup();
  const done = pipeline.run(ended.signal);
  await clock.settle();
  await pipeline.stop();
  const work = () => {
    events.push("works");
    return Promise.resolve("done");
  };
  assert.equal(await pipeline.whileResting(work), "done");
  // Without a pause in between: commands take turns.
  const commands = [pipeline.start(), pipeline.whileResting(work), pipeline.stop(), pipeline.whileResting(work)];
  assert.deepEqual(await Promise.all(commands), [undefined, false, undefined, "done"]);
  await clock.settle();
  assert.equal(pipeline.isRunning, false);
  ended.abort();
  await done;
});

Deno.test("a start waits for what must not meet it", async () => {
  const { clock, ended, events, pipeline } = setup();
  const done = pipeline.run(ended.signal);
  await clock.settle();
  await pipeline.stop();
  const working = Promise.withResolvers<void>();
  const work = pipeline.whileResting(() => working.promise);
  const starting = pipeline.start();
  await clock.settle();
  assert.equal(events.filter((event) => event === "runs").length, 1);
  working.resolve();
  await Promise.all([work, starting]);
  await clock.settle();
  assert.equal(events.filter((event) => event === "runs").length, 2);
  ended.abort();
  await done;
});

Deno.test("a command that fails does not hold up the next", async () => {
  const { clock, ended, pipeline } = setup();
  const done = pipeline.run(ended.signal);
  await clock.settle();
  await pipeline.stop();
  await assert.rejects(pipeline.whileResting(() => Promise.reject(new Error("no brokers"))), /no brokers/);
  await pipeline.start();
  assert.equal(pipeline.isRunning, true);
  ended.abort();
  await done;
});

Deno.test("a pipeline that gave up is at rest, says so, and can be started again", async () => {
  const { clock, ended, events, pipeline, fail } = setup();
  const done = pipeline.run(ended.signal);
  await clock.settle();
  fail(new ConfigError({ where: "x", problem: "wrong" }));
  await clock.settle();
  assert.deepEqual([pipeline.isGivenUp, pipeline.isRunning, events], [true, false, ["runs", "error"]]);
  await pipeline.start();
  await clock.settle();
  assert.deepEqual([pipeline.isGivenUp, pipeline.isRunning], [false, true]);
  ended.abort();
  await done;
});

Deno.test("a stop between two tries ends the pause", async () => {
  const { clock, ended, events, pipeline, fail } = setup();
  const done = pipeline.run(ended.signal);
  await clock.settle();
  fail(new Error("a bug"));
  await clock.settle();
  await pipeline.stop();
  assert.deepEqual(events, ["runs", "warn", "ends", "rests"]);
  ended.abort();
  await done;
});

Deno.test("no command waits for a process that ends, or is over", async () => {
  const { clock, ended, events, pipeline } = setup();
  const done = pipeline.run(ended.signal);
  await clock.settle();
  await pipeline.stop();
  const starting = pipeline.start();
  ended.abort();
  await Promise.all([starting, pipeline.stop(), done]);
  await pipeline.start();
  await pipeline.stop();
  assert.equal(pipeline.isRunning, false);
  assert.equal(await pipeline.whileResting(() => Promise.resolve("done")), "done");
  assert.equal(events.filter((event) => event === "runs").length, 1);
});
