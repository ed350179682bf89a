/**
 * A call that many ask for at the same time, such as putting a file on disk. Who asks while one is under way shares the next one:
 * the one under way may have begun before what they wait for.
 */
export class SharedCall {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Resolves, or rejects, with a call that began after this one. */
  run(): Promise<void> {
    if (this.#running === null) return this.#start();
    return this.#next ??= this.#running.then(() => this.#start(), () => this.#start());
  }

  #start(): Promise<void> {
    this.#next = null;
    const running = this.#work().finally(() => {
      if (this.#running === running) this.#running = null;
    });
    this.#running = running;
    return running;
  }
}
