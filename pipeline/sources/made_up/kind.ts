import type { Clock } from "../../clock.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import { createRecordMaker, type RecordMaker } from "../record_maker.ts";
import type { ReadOptions, Source, SourceBatch, SourcePosition } from "../source.ts";
import type { SourceKind } from "../source_spec.ts";
import type { MadeUpSpec } from "./definition.ts";
import { MADE_UP, type MakeUp } from "./kinds_of_data.ts";

/** From one batch to the next. */
const TICK_MS = 200;
const BATCH_RECORDS_MAX = 5_000;
/** Records of a bounded reading: a stream that is made up has no end. */
const BOUNDED_RECORDS = 1_000;

const OPTIONS: KnownOptions<MadeUpSpec> = { data: true, perSecond: true };

export const madeUpKind: SourceKind<MadeUpSpec> = {
  to: "topic",
  check(spec) {
    const { data, perSecond } = spec;
    const known = Object.keys(MADE_UP).join(", ");
    return [
      ...unknownOptions(spec, OPTIONS, "from"),
      ...data in MADE_UP ? [] : [{ where: "from", problem: `nobody knows how to make up ${data}; there are ${known}` }],
      ...perSecond > 0 && perSecond <= 1e6
        ? []
        : [{ where: "from.perSecond", problem: `${perSecond} is no number above 0 and up to 1,000,000` }],
    ];
  },
  describe: ({ data, perSecond }) => `made-up ${data}s, ${perSecond} a second`,
  missing: (_, { makesUp }) => makesUp ? null : "records are only made up in dev, and not with --rate 0",
  open({ data, perSecond }, { plan: { to }, schemaId }) {
    if (to.kind !== "topic") throw new Error("A made-up stream goes to one topic");
    const maker = createRecordMaker({ schema: to.schema, schemaId, key: to.key });
    return Promise.resolve(new MadeUpSource(MADE_UP[data as keyof typeof MADE_UP], { maker, perSecond }));
  },
};

class MadeUpSource implements Source {
  readonly #makeUp: MakeUp;
  readonly #maker: RecordMaker;
  readonly #perSecond: number;

  constructor(makeUp: MakeUp, { maker, perSecond }: { readonly maker: RecordMaker; readonly perSecond: number }) {
    this.#makeUp = makeUp;
    this.#maker = maker;
    this.#perSecond = perSecond;
  }

  async *read(position: SourcePosition | null, { clock, signal, isBounded }: ReadOptions): AsyncGenerator<SourceBatch> {
    const first = Number(position?.next ?? 0);
    if (isBounded) {
      yield this.#batch({ from: first, to: first + BOUNDED_RECORDS, clock });
      return;
    }
    const began = clock.monotonic();
    for (let next = first; !signal.aborted;) {
      const due = first + Math.floor((clock.monotonic() - began) * this.#perSecond / 1_000);
      const to = Math.min(due, next + BATCH_RECORDS_MAX);
      if (to > next) yield this.#batch({ from: next, to, clock });
      next = Math.max(next, to);
      if (next >= due) await clock.sleep(TICK_MS, signal).catch(() => {});
    }
  }

  #batch({ from, to, clock }: { readonly from: number; readonly to: number; readonly clock: Clock }): SourceBatch {
    const timeMs = clock.now();
    const made = Array.from({ length: to - from }, (_, i) => {
      const value = this.#makeUp(from + i, timeMs);
      return { value, made: this.#maker.make(value, timeMs) };
    });
    return {
      records: made.flatMap(({ made }) => "record" in made ? [made.record] : []),
      rejected: made.flatMap(({ value, made }, i) =>
        "reason" in made
          ? [{ raw: new TextEncoder().encode(JSON.stringify(value)), reason: made.reason, where: `number ${from + i}` }]
          : []
      ),
      position: { next: to },
    };
  }

  /** It holds nothing. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
