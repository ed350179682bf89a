/**
 * `deno task sim`: runs simulations and tells which seed failed.
 *
 *     deno task sim --seeds 1000             the seeds 1 to 1000
 *     deno task sim --seeds 100 --seed 5000  the seeds 5000 to 5099
 *     deno task sim --seed 17 --trace        one seed, told step by step
 *     deno task sim --seeds 1000 --first     up to the first that fails
 *     deno task sim --planted                breaks the engine on purpose in many ways, and shows that each is caught
 *     deno task sim --planted --only fsync   those with this in their names
 *
 * `--steps 8000` writes records and makes faults for 8,000 ms of the simulation's clock in each.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { simulate } from "./simulation.ts";

const USAGE = `Usage: deno task sim --seeds N [--seed S] [--steps MS] [--trace] [--first]
       deno task sim --planted [--only TEXT]

  --seeds N    simulate the lives that the seeds from 1 on, or from --seed on, give
  --seed S     the first seed; alone, only this one
  --steps MS   how long faults go on in a life, virtual milliseconds
  --trace      print what happens
  --first      end at the first failure
  --planted    break the sources in each planted way, and see that each is caught
  --only TEXT  only the planted faults with this in their names`;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    help: { type: "boolean", short: "h", default: false },
    seeds: { type: "string" },
    seed: { type: "string" },
    steps: { type: "string" },
    trace: { type: "boolean", default: false },
    first: { type: "boolean", default: false },
    planted: { type: "boolean", default: false },
    only: { type: "string" },
  },
});
if (values.help) {
  console.log(USAGE);
  Deno.exit(0);
}
if (values.planted) {
  const { plantAll } = await import("../planted/plant.ts");
  Deno.exit(await plantAll({ only: values.only, seeds: Number(values.seeds ?? 3_000) }) ? 0 : 1);
}
const first = Number(values.seed ?? 1);
const count = Number(values.seeds ?? (values.seed === undefined ? 200 : 1));
const spanMs = values.steps === undefined ? undefined : Number(values.steps);
const began = performance.now();
const totals: Record<string, number> = {};
let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  const outcome = await simulate(seed, { trace: values.trace, spanMs });
  for (const line of outcome.lines) console.log(line);
  for (const [name, value] of Object.entries(outcome.counts)) totals[name] = (totals[name] ?? 0) + value;
  if (count === 1) console.log(`seed ${seed}: trace ${outcome.hash}`);
  if (outcome.violation) {
    failed++;
    console.error(`seed ${seed} failed: ${outcome.violation.stack}`);
    console.error(`  again: deno task sim --seed ${seed}${spanMs === undefined ? "" : ` --steps ${spanMs}`} --trace`);
    if (values.first) break;
  }
}
const seconds = (performance.now() - began) / 1000;
console.log(
  `${count} seeds, ${failed} failed, ${seconds.toFixed(1)} s (${(1000 * seconds / count).toFixed(1)} ms each)`,
);
console.log(Object.entries(totals).map(([name, value]) => `${name} ${value}`).join(", "));
Deno.exit(failed > 0 ? 1 : 0);
