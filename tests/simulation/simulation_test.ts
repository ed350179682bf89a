import assert from "node:assert/strict";
import { simulate } from "./simulation.ts";

const SEEDS = 100;

Deno.test("a hundred simulated lives end as the oracle says, and nothing forbidden happens in them", async () => {
  const totals: Record<string, number> = {};
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, counts } = await simulate(seed);
    assert.equal(
      violation,
      null,
      `seed ${seed}: ${violation?.stack}\nagain: deno task sim --seed ${seed} --trace`,
    );
    for (const [name, value] of Object.entries(counts)) totals[name] = (totals[name] ?? 0) + value;
  }
  for (const [name, value] of Object.entries(totals)) assert.ok(value > 0, `no ${name} in ${SEEDS} seeds`);
});

Deno.test("the same seed does the same, step by step", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const [one, other] = [await simulate(seed), await simulate(seed)];
    assert.equal(one.hash, other.hash, `seed ${seed}`);
    assert.deepEqual(one.counts, other.counts);
  }
});

Deno.test("different seeds do different things", async () => {
  const hashes = new Set<string>();
  for (let seed = 1; seed <= 10; seed++) hashes.add((await simulate(seed)).hash);
  assert.equal(hashes.size, 10);
});
