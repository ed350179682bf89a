import type { Random } from "./random.ts";
import type { SimClock } from "./sim_clock.ts";
import type { Trace } from "./trace.ts";

/** What a process talks to over the network. */
export type Server = "kafka" | "postgres" | "registry";

/** How often something goes wrong with a message, and for how long. All zero once the faults have stopped. */
export interface Faults {
  /** Share of requests that never arrive; of answers that are lost; of requests that arrive after everybody gave up, or twice. */
  readonly lostRequest: number;
  readonly lostAnswer: number;
  readonly delayed: number;
  readonly repeated: number;
  /** Share of operations on the disk that fail. */
  readonly disk: number;
}

export const CALM: Faults = { lostRequest: 0, lostAnswer: 0, delayed: 0, repeated: 0, disk: 0 };

/** Time, chance, and the state of the network: what all parts of a simulation share. */
export class World {
  readonly clock: SimClock;
  readonly random: Random;
  readonly trace: Trace;
  faults: Faults;
  /** Servers that cannot be reached now. */
  readonly away = new Set<Server>();

  constructor({ clock, random, trace, faults }: { clock: SimClock; random: Random; trace: Trace; faults: Faults }) {
    this.clock = clock;
    this.random = random;
    this.trace = trace;
    this.faults = faults;
  }

  note(who: string, what: string): void {
    this.trace.note(`${this.clock.now} ${who}: ${what}`);
  }
}
