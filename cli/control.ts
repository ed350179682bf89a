import type { PipelineControl } from "../api/deps.ts";
import { atMost } from "./at_most.ts";
import type { PipelineUnit } from "./pipeline_unit.ts";

/** Each reads the log with shards of its own, and with `dedupe` remembers what those that run remember. */
const EXPLANATIONS_MAX = 4;

/** What the API may ask of the pipelines of this process, and do to them. */
export function createControl(units: readonly PipelineUnit[]): PipelineControl {
  const named = (name: string) => {
    const unit = units.find(({ plan }) => plan.name === name);
    if (!unit) throw new Error(`There is no pipeline ${name}`);
    return unit;
  };
  const inTurn = atMost(EXPLANATIONS_MAX);
  return {
    ledger: (name) => named(name).ledger(),
    explain: ({ topic, partition, offset }, { signal }) =>
      Promise.all(
        units.filter(({ plan }) => plan.topic === topic).map((unit) =>
          inTurn(signal, () => unit.explain({ partition, offset }, signal))
        ),
      ),
    stop: (name) => named(name).stop(),
    start: (name) => named(name).start(),
    limit: (name, perSecond) => named(name).runner.limit(perSecond),
    previewRewind: (name, target) => named(name).previewRewind(target),
    rewind: (name, target) => named(name).rewind(target),
  };
}
