import type { Clock } from "../../pipeline/clock.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { Random } from "./random.ts";
import type { Server, World } from "./world.ts";

/** How long a process waits for an answer. */
const ANSWER_MS_MAX = 400;
/** How much later a request that was given up may still arrive. */
const LATE_MS_MAX = 5_000;

/** Waits for ever. Each wait has a promise of its own: one for all would hold everything that ever waited for it. */
function never(): Promise<never> {
  return new Promise(() => {});
}

/**
 * One process: what it waits for comes only while it lives and is not frozen. It dies at a point: when it asks for something, or
 * when the answer is there. Between two of them it changes nothing but its own memory.
 */
export class SimProcess {
  readonly name: string;
  readonly #world: World;
  readonly #random: Random;
  readonly #onDeath: () => void;
  #isAlive = true;
  #isFrozen = false;
  #held: (() => void)[] = [];
  /** Points until it dies; of those only that have this in their names. */
  #fuse: number;
  readonly #fatal: string;

  constructor(
    name: string,
    world: World,
    { random, fuse, fatal, onDeath }: { random: Random; fuse: number; fatal: string; onDeath: () => void },
  ) {
    this.name = name;
    this.#world = world;
    this.#random = random;
    this.#fuse = fuse;
    this.#fatal = fatal;
    this.#onDeath = onDeath;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  readonly clock: Clock = {
    now: () => this.#world.clock.now,
    monotonic: () => this.#world.clock.now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const onAbort = () => {
          cancel();
          reject(signal!.reason);
        };
        const cancel = this.#world.clock.after(ms, () => {
          this.#deliver(() => {
            if (signal?.aborted) return;
            signal?.removeEventListener("abort", onAbort);
            resolve();
          });
        });
        signal?.addEventListener("abort", onAbort, { once: true });
      }),
  };

  /** It dies no more by itself. */
  calm(): void {
    this.#fuse = Infinity;
  }

  kill(): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.#held = [];
    this.#world.note(this.name, "dies");
    this.#onDeath();
  }

  freeze(): void {
    this.#isFrozen = true;
    this.#world.note(this.name, "is frozen");
  }

  thaw(): void {
    this.#isFrozen = false;
    this.#world.note(this.name, "goes on");
    for (const wake of this.#held.splice(0)) this.#deliver(wake);
  }

  /** Where it may die, or stand still. */
  point(what: string): Promise<void> {
    if (!this.#isAlive) return never();
    this.#world.note(this.name, what);
    if (what.includes(this.#fatal) && --this.#fuse === 0) {
      this.kill();
      return never();
    }
    if (!this.#isFrozen) return Promise.resolve();
    return new Promise((resolve) => this.#held.push(resolve));
  }

  /** A point of the disk, which may refuse to take more. */
  async diskPoint(what: string): Promise<void> {
    await this.point(what);
    if (what.includes(" write ") && this.#random.chance(this.#world.faults.disk)) {
      throw new Error("No space left on device");
    }
  }

  /**
   * Asks a server: `serve` is what it does when the request arrives, in the server's time, whatever has become of the asker.
   *
   * @throws UnavailableError when no answer came, whether or not the request arrived
   * @throws the signal's reason when it ends the waiting, the same
   */
  async call<T>(server: Server, what: string, serve: () => T, signal?: AbortSignal): Promise<T> {
    await this.point(`asks ${server} ${what}`);
    signal?.throwIfAborted();
    const { clock, faults, away } = this.#world;
    const random = this.#random;
    let onAbort = () => {};
    const answer = new Promise<T>((resolve, reject) => {
      onAbort = () => reject(signal!.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      const gaveUp = new UnavailableError(`no answer from ${server} ${what}`);
      if (away.has(server)) {
        clock.after(random.int(1, 50), () => this.#deliver(() => reject(new UnavailableError(`${server} is away`))));
        return;
      }
      const isLost = random.chance(faults.lostRequest);
      const isDelayed = random.chance(faults.delayed);
      if (isLost || isDelayed) {
        clock.after(ANSWER_MS_MAX, () => this.#deliver(() => reject(gaveUp)));
        if (isLost) return;
      }
      const isRepeated = random.chance(faults.repeated);
      const isUnanswered = random.chance(faults.lostAnswer);
      if (isUnanswered && !isDelayed) clock.after(ANSWER_MS_MAX, () => this.#deliver(() => reject(gaveUp)));
      const arrival = isDelayed ? random.int(ANSWER_MS_MAX, LATE_MS_MAX) : random.int(0, 3);
      clock.after(arrival, () => {
        let deliver: () => void;
        try {
          const result = serve();
          deliver = () => resolve(result);
        } catch (error) {
          deliver = () => reject(error);
        }
        this.#world.note(server, `serves ${this.name} ${what}`);
        if (!isUnanswered) clock.after(random.int(0, 3), () => this.#deliver(deliver));
      });
      if (isRepeated) {
        clock.after(arrival + random.int(1, LATE_MS_MAX), () => {
          this.#world.note(server, `serves ${this.name} ${what} again`);
          try {
            serve();
          } catch {
            // Nobody waits for this answer.
          }
        });
      }
    });
    const result = await answer.finally(() => signal?.removeEventListener("abort", onAbort));
    await this.point(`has the answer of ${server} ${what}`);
    return result;
  }

  #deliver(wake: () => void): void {
    if (!this.#isAlive) return;
    if (this.#isFrozen) this.#held.push(wake);
    else wake();
  }
}
