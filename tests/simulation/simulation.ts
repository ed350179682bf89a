/**
 * One simulated run: a pipeline's life under faults that follow from a seed, checked at every step, and at its end against the
 * oracle.
 *
 * @module
 */
import type { PipelineRunner } from "../../pipeline/runtime/pipeline_runner.ts";
import { setAsideTopics } from "../../pipeline/sinks/set_aside.ts";
import { checkReplaced, checkSaved, ResultReader, Violation } from "./checks.ts";
import { compareWithOracle } from "./compare.ts";
import { Lineage, raisesOf, type Saved } from "./lineage.ts";
import { judge, sumPanes } from "./oracle.ts";
import { runOwner, type Surroundings } from "./owner.ts";
import { anyPlan, RESULTS, TOPIC } from "./plans.ts";
import { Random } from "./random.ts";
import { SimClock } from "./sim_clock.ts";
import { SimDisk } from "./sim_disk.ts";
import { SimKafka } from "./sim_kafka.ts";
import { SimPostgres } from "./sim_postgres.ts";
import { SimProcess } from "./sim_process.ts";
import { SourcePartition } from "./source_log.ts";
import { Trace } from "./trace.ts";
import { START_MS, Workload } from "./workload.ts";
import { CALM, type Faults, type Server, World } from "./world.ts";

/** How long after the last fault everything has to be done, by the simulation's clock. */
const FINISH_WITHIN_MS = 40_000;

/** Points to die at: between two things that belong together. */
const FATAL = [
  "has the answer of postgres to take",
  "has the answer of kafka to commit",
  "asks kafka to commit",
  "after sync folder",
  "before open d/totals",
  "checkpoint.new",
  "checkpoint.new",
  "before rename",
  "write on",
];

export interface SimulationOptions {
  /** Keep a line per step. */
  readonly trace?: boolean;
  /** How long records are written and faults happen, milliseconds of the simulation's clock. */
  readonly spanMs?: number;
}

/** How a run went. `violation` is null when all was well. */
export interface Outcome {
  readonly seed: number;
  readonly violation: Error | null;
  readonly hash: string;
  readonly lines: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

export async function simulate(seed: number, options: SimulationOptions = {}): Promise<Outcome> {
  const trace = new Trace({ keep: options.trace });
  const simulation = new Simulation(seed, trace, options);
  let violation: Error | null = null;
  try {
    await simulation.run();
  } catch (error) {
    violation = error as Error;
  }
  return { seed, violation, hash: trace.hash, lines: trace.lines, counts: simulation.counts };
}

/** A process under way. */
interface Running {
  readonly process: SimProcess;
  readonly stop: AbortController;
  runner: PipelineRunner | null;
  /** The last it logged. */
  said: string;
}

class Simulation {
  readonly counts = {
    processes: 0,
    kills: 0,
    powerCuts: 0,
    frozen: 0,
    stops: 0,
    gaveUp: 0,
    checkpoints: 0,
    records: 0,
  };
  readonly #random: Random;
  readonly #clock = new SimClock(START_MS);
  readonly #world: World;
  readonly #around: Surroundings;
  readonly #workload: Workload;
  readonly #results = new ResultReader();
  readonly #spanMs: number;
  readonly #settings;
  #last: Saved | null = null;
  #violation: Error | null = null;
  #running: Running[] = [];
  #isCalm = false;
  #finishing: Running | null = null;
  #isOver = false;

  constructor(seed: number, trace: Trace, { spanMs }: SimulationOptions) {
    const random = this.#random = new Random(seed);
    this.#spanMs = spanMs ?? random.pick([2_500, 5_000]);
    const faults = anyFaults(random);
    this.#world = new World({ clock: this.#clock, random: random.fork(), trace, faults });
    this.#settings = {
      faults,
      ...anyPlan(random),
      checkpointEveryMs: random.pick([300, 1_000, 2_000]),
      hosts: random.int(1, 2),
      openWindowsMax: random.pick([24, 1_000]),
      fuse: random.pick([60, 250, 1_000, Infinity]),
    };
    const source = Array.from({ length: random.int(1, 3) }, () => new SourcePartition());
    const { late, dead } = setAsideTopics(TOPIC);
    this.#around = {
      source,
      kafka: new SimKafka(
        this.#clock,
        { [RESULTS]: random.int(1, 3), [late]: 2, [dead]: 1 },
        (topic, _, records) =>
          this.#watch(() => {
            for (const record of records) {
              if (topic === RESULTS) this.#results.take(record);
              else this.#workload.setAside(topic, record);
            }
          }),
      ),
      postgres: new SimPostgres((before, after) => this.#watch(() => checkReplaced(before, after))),
      disk: new SimDisk(),
      lineage: new Lineage((saved) =>
        this.#watch(() => {
          this.counts.checkpoints++;
          this.#last = saved;
          checkSaved(saved);
        })
      ),
    };
    this.#workload = new Workload(this.#world, source, {
      topic: TOPIC,
      pipeline: this.#settings.plan.name,
      windowMs: this.#settings.rules.windowMs,
      spanMs: this.#spanMs,
    });
  }

  async run(): Promise<void> {
    this.#workload.start();
    this.#start();
    this.#planFaults();
    const step = () => {
      if (this.#violation) throw this.#violation;
    };
    const calmAt = START_MS + this.#spanMs;
    await this.#clock.run(() => false, { untilMs: calmAt, step });
    this.#calm();
    const isDone = await this.#clock.run(() => this.#isOver, { untilMs: this.#clock.now + FINISH_WITHIN_MS, step });
    this.counts.records = this.#around.source.reduce((sum, { end }) => sum + end, 0);
    if (!isDone) throw new Violation(`not done ${FINISH_WITHIN_MS} ms after the last fault: ${this.#whyNot()}`);
    compareWithOracle(this.#last!, this.#results, { ...this.#around, rules: this.#settings.rules });
  }

  #watch(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#violation ??= error as Error;
    }
  }

  /** Starts a process, and another one when it has died. */
  #start(): void {
    const { plan, checkpointEveryMs, hosts, openWindowsMax, fuse } = this.#settings;
    const name = `process ${++this.counts.processes}`;
    const random = this.#random.fork();
    const stop = new AbortController();
    // Any point at all; or one of a kind, where much hangs on the order of things.
    const fatal = random.chance(0.5) ? "" : random.pick(FATAL);
    const most = fatal === "" ? fuse : Math.min(fuse, 12);
    const process = new SimProcess(name, this.#world, {
      random,
      fatal,
      fuse: this.#isCalm || fuse === Infinity ? Infinity : random.int(1, most),
      onDeath: () => {
        this.counts.kills++;
        if (random.chance(0.5) && this.#running.length === 1) {
          this.counts.powerCuts++;
          this.#around.disk.powerCut(random);
        }
        this.#gone(process);
      },
    });
    const entry: Running = { process, stop, runner: null, said: "" };
    this.#running.push(entry);
    this.#world.note(name, "starts");
    if (!this.#isCalm && random.chance(0.2)) {
      // Soon, while windows are open that the process before had begun.
      this.#clock.after(random.int(150, 900), () => {
        if (!this.#running.includes(entry)) return;
        this.counts.stops++;
        this.#stop(entry);
      });
    }
    runOwner(process, this.#around, {
      plan,
      random: random.fork(),
      signal: stop.signal,
      checkpointEveryMs,
      hosts,
      openWindowsMax,
      log: (message) => {
        entry.said = message;
        this.#world.note(name, message);
      },
      onRunner: (runner) => entry.runner = runner,
    }).then((isStopped) => {
      if (!process.isAlive) return;
      this.#world.note(name, isStopped ? "stopped" : "gave up");
      if (isStopped) this.#watch(() => this.#checkStopped(entry));
      if (!isStopped) {
        this.counts.gaveUp++;
        if (!this.#hasRival(process)) this.#watch(() => this.#checkGaveUp(entry.said));
      }
      this.#gone(process);
    }, (error) => {
      if (process.isAlive) this.#violation ??= error;
    });
  }

  /** Only another owner is a reason to give up; or a claim of its own that arrived long after it was made again. */
  #checkGaveUp(said: string): void {
    const isDelayed = this.#settings.faults.delayed > 0 && /another process holds|has taken over/.test(said);
    if (isDelayed || this.counts.processes > 1 && /another process|has taken over/.test(said)) return;
    throw new Violation(`the pipeline was given up: ${said}`);
  }

  #stop(running: Running): void {
    this.#world.note(running.process.name, "is asked to stop");
    running.stop.abort(new Error("stop"));
  }

  /** What a stop saved, it has published: all panes that the records up to there make, where open windows are published. */
  #checkStopped(running: Running): void {
    const { plan, rules } = this.#settings;
    const last = this.#last!;
    if (plan.emitEveryMs === null || !this.#hasSaved(running)) return;
    const raises = raisesOf(last);
    const panes = sumPanes(
      last.checkpoint.partitions.map(({ partition, position }) =>
        judge(this.#around.source[partition].told, rules, { raises: raises.get(partition) ?? [], until: position })
      ),
    );
    for (const [key, { n }] of panes) {
      const revision = this.#around.postgres.rows.get(key)?.at(-2) as number ?? 0;
      if (revision < n) throw new Violation(`a stop left ${key} at revision ${revision}, its records make ${n}`);
    }
  }

  #hasRival(process: SimProcess): boolean {
    return this.#running.some((other) => other.process !== process);
  }

  #gone(process: SimProcess): void {
    this.#running = this.#running.filter((other) => other.process !== process);
    if (this.#running.length > 0) return;
    const finishing = this.#finishing;
    if (finishing?.process === process) {
      this.#finishing = null;
      this.#isOver = this.#hasSaved(finishing);
      if (this.#isOver) return;
    }
    this.#clock.after(this.#random.int(1, 800), () => {
      if (this.#running.length === 0) this.#start();
    });
  }

  /**
   * Whether a process that stopped just now saved where it stopped. One that lost the pipeline, or was refused by the disk, did
   * not; and no time passes after the save that is the last.
   */
  #hasSaved({ process }: Running): boolean {
    const last = this.#last;
    return last !== null && last.isAcknowledged && last.by === process.name &&
      last.checkpoint.savedAtMs === this.#clock.now;
  }

  #planFaults(): void {
    const random = this.#random;
    const faults = random.pick([0, 2, 5, 9]);
    for (let i = 0; i < faults; i++) {
      this.#clock.after(random.int(50, this.#spanMs), () => this.#fault());
    }
  }

  #fault(): void {
    const random = this.#random;
    const newest = this.#running.at(-1);
    random.pick([
      () => {
        const server = random.pick<Server>(["kafka", "postgres", "registry"]);
        this.#world.away.add(server);
        this.#world.note(server, "goes away");
        this.#clock.after(random.int(20, 2_000), () => this.#world.away.delete(server));
      },
      () => newest?.process.kill(),
      () => {
        if (!newest || newest.process.isFrozen) return;
        this.counts.frozen++;
        newest.process.freeze();
        if (random.chance(0.7)) this.#clock.after(random.int(1, 1_000), () => this.#isCalm || this.#start());
        this.#clock.after(random.int(1, 4_000), () => newest.process.thaw());
      },
      () => {
        if (!newest) return;
        this.counts.stops++;
        this.#stop(newest);
      },
      // A second owner, started by mistake.
      () => this.#start(),
    ])();
  }

  /** No more faults; whoever is left finishes, and is stopped once all is read and every window that can close has closed. */
  #calm(): void {
    this.#isCalm = true;
    this.#world.faults = CALM;
    this.#world.away.clear();
    this.#world.note("world", "is calm");
    for (const { process } of this.#running) {
      process.calm();
      if (process.isFrozen) process.thaw();
    }
    const look = () => {
      if (this.#finishing === null && this.#isQuiet()) this.#stop(this.#finishing = this.#running[0]);
      this.#clock.after(200, look);
    };
    look();
  }

  #isQuiet(): boolean {
    const [only, ...others] = this.#running;
    const status = only?.runner?.status();
    return others.length === 0 && this.#workload.pending === 0 && status?.state === "running" &&
      status.openWindows === 0 &&
      this.#around.source.every(({ end }, partition) => status.partitions[partition]?.position === end);
  }

  #whyNot(): string {
    return JSON.stringify(
      this.#running.map(({ process, runner }) => {
        const status = runner?.status();
        return [process.name, status?.state, status?.reason, status?.openWindows, status?.partitions, process.isFrozen];
      }),
    ) + JSON.stringify(this.#around.source.map(({ end }) => end));
  }
}

function anyFaults(random: Random): Faults {
  const some = (most: number) => random.chance(0.5) ? 0 : random.unit() * most;
  return {
    lostRequest: some(0.05),
    lostAnswer: some(0.05),
    delayed: some(0.03),
    repeated: some(0.05),
    disk: some(0.02),
  };
}
