import type { Clock } from "../../pipeline/clock.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { launch, type LaunchOptions, probeWrappers } from "./launch.ts";
import { ChildEnded, SqlChild } from "./sql_child.ts";

/** A start takes a third of a second; on a machine that is busy with other things, more. */
const START_WITHIN_MS = 30_000;

export interface ChildPoolOptions extends LaunchOptions {
  readonly clock: Clock;
  readonly log: (message: string) => void;
}

/** Children that have answered nothing yet: one is kept ready. */
export class ChildPool implements AsyncDisposable {
  readonly #options: ChildPoolOptions;
  #wrappers: Promise<string> | null = null;
  #warm: Promise<SqlChild> | null = null;
  #isClosed = false;

  constructor(options: ChildPoolOptions) {
    this.#options = options;
  }

  /** One that is ready; whoever takes it ends it, or gives it back. @throws UnavailableError when none can be started */
  async take(): Promise<SqlChild> {
    const warm = this.#warm;
    this.#warm = null;
    const child = await warm?.catch(() => null);
    // Something may have ended it while it waited: the machine, when its memory ran out.
    if (child && !child.isEnded) return child;
    await child?.kill();
    return await this.#start();
  }

  /** Gives back one that has only parsed. */
  async giveBack(child: SqlChild): Promise<void> {
    if (this.#warm !== null || this.#isClosed || child.isEnded) await child.kill();
    else this.#warm = Promise.resolve(child);
  }

  /** Starts one to have it ready, unless one is. */
  prepare(): void {
    if (this.#isClosed || this.#warm !== null) return;
    const started = this.#start();
    this.#warm = started;
    started.catch((error) => {
      if (this.#warm === started) this.#warm = null;
      if (!this.#isClosed) this.#options.log((error as Error).message);
    });
  }

  async #start(): Promise<SqlChild> {
    let child: SqlChild;
    try {
      this.#wrappers ??= probeWrappers();
      child = new SqlChild(launch(await this.#wrappers, this.#options));
    } catch (error) {
      this.#wrappers = null;
      throw new UnavailableError(`no process can be started for a question: ${(error as Error).message}`);
    }
    const late = new AbortController();
    this.#options.clock.sleep(START_WITHIN_MS, late.signal).then(() => child.kill(), () => {});
    try {
      const message = await child.hear();
      if (message.say === "ready") return child;
      throw new UnavailableError(`the process of a question began with "${message.say}"`);
    } catch (error) {
      await child.kill();
      if (!(error instanceof ChildEnded)) throw error;
      throw new UnavailableError(
        `${error.message} before it was ready: ${error.lastWords.trim() || "it said nothing"}`,
      );
    } finally {
      late.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const warm = this.#warm;
    this.#warm = null;
    await (await warm?.catch(() => null))?.kill();
  }
}
