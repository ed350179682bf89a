import { type Child, sleep } from "../../e2e/harness.ts";
import type { FaultRun, Kind } from "../kind.ts";
import type { StartOptions, World } from "../world.ts";

const CHECK_EVERY = 20;
/** How long the counting run works between its start and Ctrl-C. */
const COUNT_MS = 2_500;
/** With so many records a second windows close all the time, and rows of theirs are committed. */
const LAKE_RATE = 600;
const LAKE_TABLES = ["faults", "faults_plain"];
const MAINTAIN_EVERY_MS = 500;
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
    await killAtPoints(run, world, {});
  },
};

/** The same for what is written into the lake: data files taken in, commits, checkpoints of the log, and what removes them. */
export const lakeKillPoints: Kind = {
  name: "lake-kill-points",
  what: "kill -9 at every write, link, rename and removal in the lake that a counting run finds, maintenance included",
  counts: { full: Infinity, short: 4 },
  async run(run) {
    await using world = await run.world({ rate: LAKE_RATE });
    await world.tailrace!.until("results are in the lake", () => {
      const [, table] = LAKE_TABLES;
      return Deno.stat(`${world.lake.folder}/${table}/_delta_log/${"1".padStart(20, "0")}.json`).then(
        () => true,
        () => false,
      );
    });
    await killAtPoints(run, world, { within: world.lake.folder, maintain: maintainLake });
  },
};

interface PointOptions {
  /** Only points at files of this folder. */
  readonly within?: string;
  /** What is done meanwhile with a process that is up; ends when the process does. */
  readonly maintain?: (child: Child) => Promise<void>;
}

async function killAtPoints(run: FaultRun, world: World, options: PointOptions): Promise<void> {
  const points = await countPoints(world, options);
  if (points.length === 0) throw new Error("The counting run found no such point");
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
    if (await killAt(world, `${point.thread}:${point.number}:${when}`, options)) {
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
}

function preloaded(world: World, env: Record<string, string>): StartOptions {
  const wrap = ([deno, command, ...words]: readonly string[]) => [deno, command, "--preload", PRELOAD, ...words];
  return { wrap, env: { ...env, FAULTS_BOOT_FOLDER: world.folder } };
}

/** A start, some work and Ctrl-C, with all points written down. */
async function countPoints(world: World, { within = "", maintain }: PointOptions): Promise<Point[]> {
  await world.stop();
  const file = `${world.folder}/points`;
  const { child } = await world.start(preloaded(world, { FAULTS_POINTS_FILE: file, FAULTS_POINTS_IN: within }));
  const maintaining = maintain?.(child);
  await sleep(COUNT_MS);
  await world.stop();
  await maintaining;
  const lines = (await Deno.readTextFile(file)).trim().split("\n");
  await world.start();
  return lines.map((line) => {
    const [thread, number, ...what] = line.split(" ");
    return { thread, number: Number(number), what: what.join(" ") };
  });
}

/** False when the process never came to the point. */
async function killAt(world: World, at: string, { within = "", maintain }: PointOptions): Promise<boolean> {
  await using child = world.spawn(preloaded(world, { FAULTS_KILL_AT: at, FAULTS_POINTS_IN: within }));
  const maintaining = maintain?.(child);
  try {
    await child.exited(REACH_WITHIN_MS);
    return true;
  } catch {
    child.kill("SIGKILL");
    await child.exited();
    return false;
  } finally {
    await maintaining;
  }
}

/** Asks for compactions and vacuums again and again. */
async function maintainLake(child: Child): Promise<void> {
  while (!child.hasEnded) {
    await sleep(MAINTAIN_EVERY_MS);
    const [, url] = /^ *Dashboard +(\S+)/m.exec(child.stdout) ?? [];
    if (url === undefined) continue;
    for (const table of LAKE_TABLES) {
      await ask(`${url}/v1/lake/${table}/compact`, {});
      await ask(`${url}/v1/lake/${table}/vacuum`, { retentionHours: 0, force: true });
    }
  }
}

async function ask(url: string, body: unknown): Promise<void> {
  try {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    await answer.body?.cancel();
  } catch {
    // It was killed meanwhile.
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
