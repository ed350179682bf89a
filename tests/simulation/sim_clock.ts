import { setImmediate } from "node:timers";

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly wake: () => void;
  cancelled: boolean;
}

/** The world's time: moves to the next thing that is due, once all that can run without time passing has run. */
export class SimClock {
  readonly #heap: Timer[] = [];
  #now: number;
  #order = 0;

  constructor(startMs: number) {
    this.#now = startMs;
  }

  get now(): number {
    return this.#now;
  }

  /** Calls `wake` in `ms`, after what is due then already; gives what undoes it. */
  after(ms: number, wake: () => void): () => void {
    const timer = { at: this.#now + Math.ceil(Math.max(0, ms)), order: this.#order++, wake, cancelled: false };
    this.#push(timer);
    return () => {
      timer.cancelled = true;
    };
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Lets time pass until `done`, or until `untilMs`; false when that came first. `step` is called after each instant. */
  async run(done: () => boolean, { untilMs, step }: { untilMs: number; step: () => void }): Promise<boolean> {
    for (;;) {
      // All promises that can go on have gone on when the event loop turns: nothing here waits for anything but this clock.
      await new Promise<void>((resolve) => setImmediate(resolve));
      step();
      if (done()) return true;
      let timer = this.#pop();
      while (timer?.cancelled) timer = this.#pop();
      if (timer === undefined) throw new Error("everything waits, and nothing is due");
      if (timer.at > untilMs) {
        this.#push(timer);
        return false;
      }
      this.#now = timer.at;
      timer.wake();
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (isBefore(heap[above], timer)) break;
      heap[at] = heap[above];
      at = above;
    }
    heap[at] = timer;
  }

  #pop(): Timer | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1], heap[below])) below++;
      if (isBefore(last, heap[below])) break;
      heap[at] = heap[below];
      at = below;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || a.at === b.at && a.order < b.order;
}
