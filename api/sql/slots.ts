import { SqlError } from "./service.ts";

export interface SlotOptions {
  /** Questions asked at a time. */
  readonly questionsMax: number;
  /** Questions that wait for one of those to end. */
  readonly waitingMax: number;
}

/** Lets so many questions through at a time, and the others in the order they came. */
export class Slots {
  readonly #options: SlotOptions;
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(options: SlotOptions) {
    this.#options = options;
  }

  /**
   * Resolves when it is a question's turn, with what ends it; that may be called more than once.
   *
   * @throws SqlError (`busy`) when too many wait already
   * @throws the signal's reason
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const { questionsMax, waitingMax } = this.#options;
    if (this.#active >= questionsMax) {
      if (this.#waiting.length >= waitingMax) {
        throw new SqlError("busy", `${questionsMax} questions are being answered and ${waitingMax} wait already`);
      }
      await this.#turn(signal);
    } else this.#active++;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      const next = this.#waiting.shift();
      if (next) next(); // the place goes on to it
      else this.#active--;
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        const at = this.#waiting.indexOf(go);
        if (at >= 0) this.#waiting.splice(at, 1);
        reject(signal.reason);
      };
      this.#waiting.push(go);
      signal.addEventListener("abort", leave, { once: true });
    });
  }
}
