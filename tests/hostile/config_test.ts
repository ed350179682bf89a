import assert from "node:assert/strict";
import fc from "fast-check";
import { type Config, type ConfigSources, readConfig, SETTINGS, showSettings } from "../../cli/config.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { nasty, nastyJson, runs } from "./support.ts";

const settings = Object.values(SETTINGS) as readonly { readonly flag: string; readonly variable: string }[];
const almost = fc.constantFrom(
  "1",
  "0",
  "65536",
  "a:1",
  "a:1,b:2",
  "http://h",
  "postgres://u:p@h/d",
  "true",
  "max",
  "5s",
  "127.0.0.1",
);
const text = fc.oneof(nasty, almost);
const some = (names: readonly string[]) =>
  fc.dictionary(fc.oneof(fc.constantFrom(...names), nasty), text, { maxKeys: 8 });

const sources: fc.Arbitrary<ConfigSources> = fc.record({
  flags: some(settings.map(({ flag }) => flag)),
  environment: some(settings.map(({ variable }) => variable)),
  file: fc.oneof(
    fc.constant(null),
    fc.oneof(nastyJson, fc.dictionary(fc.constantFrom(...settings.map(({ flag }) => flag)), fc.oneof(nastyJson, text)))
      .map((content) => ({ path: "t.json", content })),
  ),
});

Deno.test("whatever flags, environment and file hold, it is a whole configuration or a list of faults with their places", () => {
  fc.assert(
    fc.property(fc.constantFrom<Config["mode"]>("dev", "run"), sources, (mode, given) => {
      for (const { value, origin } of showSettings(mode, given)) {
        assert.equal(typeof value, "string");
        assert.match(origin, /^(default|environment|file|flag)$/);
      }
      let config: Config;
      try {
        config = readConfig(mode, given);
      } catch (error) {
        assert.ok(error instanceof ConfigError, `${(error as Error).stack}`);
        for (const { where, problem } of error.faults) assert.ok(where !== "" && problem !== "");
        return;
      }
      for (const port of Object.values(config.ports)) assert.ok(Number.isInteger(port) && port >= 0 && port <= 65_535);
      assert.ok(config.workers >= 1 && config.partitions >= 1 && config.checkpointEveryMs >= 100);
      assert.ok(config.rate >= 0 && config.dataDir.trim() !== "" && config.host.trim() !== "");
      assert.equal(Object.getPrototypeOf(config), Object.prototype);
    }),
    runs(1_200),
  );
});
