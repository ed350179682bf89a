import process from "node:process";

/** What one case prints. */
export interface Measured {
  readonly name: string;
  readonly records: number;
  readonly seconds: number;
  readonly rec_per_s: number;
  /** Largest resident memory of this process, embedded broker and producer included, PostgreSQL not. */
  readonly peak_rss_mb: number;
  /** User and system time of this process, all threads. */
  readonly cpu_s: number;
  /** What else the case has to tell. */
  readonly [detail: string]: number | string | boolean;
}

const SAMPLE_MS = 100;

/** Watches memory and processor time from its making to `stop`. */
export class Meter {
  readonly #cpu = process.cpuUsage();
  #peak = Deno.memoryUsage().rss;
  readonly #timer = setInterval(() => this.#sample(), SAMPLE_MS);
  readonly #began = performance.now();

  /** Resident memory now, MB. */
  get rssMb(): number {
    return Math.round(Deno.memoryUsage().rss / 1e6);
  }

  /** Ends the watch; `seconds` where the case itself knows better how long it took. */
  stop(name: string, records: number, seconds = (performance.now() - this.#began) / 1000): Measured {
    this.#sample();
    clearInterval(this.#timer);
    const { user, system } = process.cpuUsage(this.#cpu);
    return {
      name,
      records,
      seconds: round(seconds, 3),
      rec_per_s: Math.round(records / seconds),
      peak_rss_mb: Math.round(this.#peak / 1e6),
      cpu_s: round((user + system) / 1e6, 2),
    };
  }

  #sample(): void {
    this.#peak = Math.max(this.#peak, Deno.memoryUsage().rss);
  }
}

/** `value` with so many digits after the point. */
export function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
