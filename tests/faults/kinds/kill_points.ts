import { sleep } from "../../e2e/harness.ts";
import type { FaultRun, Kind } from "../kind.ts";
import type { StartOptions, World } from "../world.ts";

const CHECK_EVERY = 20;
/** How long the counting run works between its start and Ctrl-C. */
const COUNT_MS = 2_500;
/** A point that was not reached by then does not come in this run. */
const REACH_WITHIN_MS = 6_000;
const PRELOAD = new URL("../kill_points.ts", import.meta.url).href;
/** A full run has all points three times, each another way. */
const TIMES = 3;
const WHEN = ["before", "half", "after"];

interface Point {
  readonly thread: string;
  readonly number: number;
  readonly what: string;
}

/** Killed at each write, fsync, rename, send and answer of a run, one after the other: before it, half-way and after it. */
export const killPoints: Kind = {
  name: "kill-points",
  what: "kill -9 at every write, fsync, rename, send and answer that a counting run finds",
  counts: { full: Infinity, short: 6 },
  async run(run) {
    await using world = await run.world({ rate: 150 });
    const points = await countPoints(world);
    const all = Math.min(run.count, TIMES * points.length);
    run.count = all;
    run.remarks.push(`${points.length} points: ${describe(points)}`);
    // A selection is spread over all of them, and differs by seed.
    const step = (TIMES * points.length) / all;
    const first = Math.floor(run.random() * points.length);
    let missed = 0;
    let group = 0;
    await world.stop();
    for (let i = 0; i < all; i++) {
      const index = first + Math.floor(i * step);
      const point = points[index % points.length];
      const when = WHEN[(Math.floor(index / points.length) + i) % WHEN.length];
      if (await killAt(world, `${point.thread}:${point.number}:${when}`)) {
        run.inject();
        group++;
      } else missed++;
      if (group === CHECK_EVERY || i === all - 1) {
        await recover(world, run, group);
        group = 0;
        if (i < all - 1) await world.stop();
      }
    }
    if (missed > 0) run.remarks.push(`${missed} points did not come again`);
    await run.finish(world);
  },
};

function preloaded(world: World, env: Record<string, string>): StartOptions {
  const wrap = ([deno, command, ...words]: readonly string[]) => [deno, command, "--preload", PRELOAD, ...words];
  return { wrap, env: { ...env, FAULTS_BOOT_FOLDER: world.folder } };
}

/** A start, some work and Ctrl-C, with all points written down. */
async function countPoints(world: World): Promise<Point[]> {
  await world.stop();
  const file = `${world.folder}/points`;
  await world.start(preloaded(world, { FAULTS_POINTS_FILE: file }));
  await sleep(COUNT_MS);
  await world.stop();
  const lines = (await Deno.readTextFile(file)).trim().split("\n");
  await world.start();
  return lines.map((line) => {
    const [thread, number, ...what] = line.split(" ");
    return { thread, number: Number(number), what: what.join(" ") };
  });
}

/** False when the process never came to the point. */
async function killAt(world: World, at: string): Promise<boolean> {
  await using child = world.spawn(preloaded(world, { FAULTS_KILL_AT: at }));
  try {
    await child.exited(REACH_WITHIN_MS);
    return true;
  } catch {
    child.kill("SIGKILL");
    await child.exited();
    return false;
  }
}

async function recover(world: World, run: FaultRun, kills: number): Promise<void> {
  const began = performance.now();
  await world.start();
  await world.recovered();
  for (let i = 0; i < kills; i++) run.recoveredIn(performance.now() - began);
  await run.check(world);
}

/** How many of which. */
function describe(points: readonly Point[]): string {
  const counts = new Map<string, number>();
  for (const { thread, what } of points) {
    const name = `${thread} ${what.split(" ")[0]}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
}
