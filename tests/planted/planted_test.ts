import assert from "node:assert/strict";
import { FAULTS } from "./faults.ts";
import { plantAll } from "./plant.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const SEEDS = 60;

Deno.test("every planted fault has its place in the sources, and a name of its own", async () => {
  for (const { name, file, find, replace, test } of FAULTS) {
    const source = await Deno.readTextFile(`${ROOT}${file}`);
    assert.equal(source.split(find).length - 1, 1, `"${name}": ${file} has to have this once: ${find}`);
    assert.notEqual(find, replace, name);
    if (test) await Deno.stat(`${ROOT}${test.file}`);
  }
  assert.equal(new Set(FAULTS.map(({ name }) => name)).size, FAULTS.length);
  assert.ok(FAULTS.length >= 20);
});

Deno.test("some of the planted faults, each caught by the simulation", async () => {
  const names = [
    "late records are dropped",
    "the tail is not read at a resume",
    "a redriven record counts twice",
    "offsets are saved before the sinks have the rows",
  ];
  const lines: string[] = [];
  const faults = FAULTS.filter(({ name }) => names.includes(name));
  assert.equal(faults.length, names.length);
  const isCaught = await plantAll({ faults, seeds: SEEDS, log: (line) => lines.push(line) });
  assert.ok(isCaught, lines.join("\n"));
  assert.equal(lines.at(-1), "4 of 4 planted faults caught");
});

Deno.test("what is no fault is not caught, and a text that is not there is told", async () => {
  const { find, file } = FAULTS.find(({ name }) => name === "late records are dropped")!;
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const harmless = { name: "harmless", file, find, replace: `${find} ` };
  assert.equal(await plantAll({ faults: [harmless], seeds: 5, log }), false);
  assert.deepEqual(lines, ["NOT CAUGHT  harmless", "0 of 1 planted faults caught"]);
  const gone = { name: "gone", file, find: "no such text", replace: "" };
  await assert.rejects(plantAll({ faults: [gone], seeds: 1, log }), /Cannot plant "gone": .* has its text 0 times/);
});
