import type { Plan } from "../plan/plan.ts";
import { PipelineRunner } from "../runtime/pipeline_runner.ts";
import { MemoryShardHost, type MemoryTopic } from "./memory_topic.ts";
import type { Life, Outside } from "./outside.ts";
import type { VirtualClock } from "./virtual_clock.ts";

/** Wall time that the end of a run may take, in steps of `STOP_STEP_MS`. */
const STOP_STEPS_MAX = 100;
const STOP_STEP_MS = 100;

/** A run of a pipeline, from a start to its end. */
export class TestRun {
  readonly host: MemoryShardHost;
  readonly #clock: VirtualClock;
  readonly #life: Life = { ended: false };
  readonly #stop = new AbortController();
  readonly #over: Promise<void>;
  /** What it ended with. */
  failure: Error | null = null;
  isOver = false;

  constructor(
    plan: Plan,
    { clock, topic, outside }: {
      readonly clock: VirtualClock;
      readonly topic: MemoryTopic;
      readonly outside: Outside;
    },
  ) {
    this.#clock = clock;
    this.host = new MemoryShardHost(topic, clock);
    const life = this.#life;
    const runner = new PipelineRunner(plan, {
      clock,
      hosts: [this.host],
      cluster: () => topic.cluster(),
      sink: outside.sink(life),
      setAside: outside.setAside(life),
      checkpoints: outside.checkpoints(life),
      history: outside.history(life),
      checkpointEveryMs: 0,
      generation: 0,
      onRows: () => {},
      onSaved: () => {},
    });
    this.#over = runner.run(this.#stop.signal)
      .catch((error: Error) => {
        this.failure = error;
      })
      .finally(() => {
        this.isOver = true;
      });
  }

  /** Reads what is in the topic, and lets everything run that waits for no time. */
  async read(): Promise<void> {
    await this.host.read();
    await this.#clock.settle();
  }

  /** Stops it, and resolves when it is over. */
  async end(reason: string): Promise<void> {
    this.#stop.abort(new Error(reason));
    for (let step = 0; step < STOP_STEPS_MAX && !this.isOver; step++) {
      await this.#clock.settle();
      if (!this.isOver) await this.#clock.pass(STOP_STEP_MS);
    }
    if (!this.isOver) throw new Error("The pipeline does not stop: this is a bug");
    await this.#over;
  }

  /** Ends it without a last word: nothing that it still writes gets anywhere. */
  async crash(): Promise<void> {
    this.#life.ended = true;
    await this.end("the test restarts the pipeline");
  }
}
