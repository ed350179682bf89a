import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import type { PipelineControl } from "../../api/deps.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { fakeDeps } from "../api/fake_deps.ts";
import { Child, commandLine, until } from "../e2e/harness.ts";

const REWOUND = { pipeline: "account_minute", fromWindowMs: null, generation: 2, isNewTopic: false, partitions: [] };

/** The API over a pipeline that notes what is done to it. */
function served(changes: Partial<PipelineControl> = {}) {
  const done: string[] = [];
  const note = (what: string) => () => {
    done.push(what);
    return Promise.resolve();
  };
  const { control } = fakeDeps().deps.engine!;
  const fake = fakeDeps({
    control: {
      ...control,
      stop: note("stop"),
      start: note("start"),
      rewind: () => note("rewind")().then(() => REWOUND),
      ...changes,
    },
  });
  const app = createApp(fake.deps);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const env = { TAILRACE_API: `http://127.0.0.1:${server.addr.port}`, NO_COLOR: "1" };
  return {
    done,
    start: (...args: string[]) => new Child(commandLine(args), { env }),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("a rewind stops the pipeline and starts it again; without --yes it only tells", async () => {
  await using api = served();
  await using asked = api.start("rewind", "account_minute", "--earliest");
  assert.match((await asked.exited()).stdout, /^All windows would be computed again, .* add --yes/m);
  assert.deepEqual(api.done, []);
  await using meant = api.start("rewind", "account_minute", "--earliest", "--yes");
  assert.match((await meant.exited()).stdout, /^All windows are being computed again, as generation 2/m);
  assert.deepEqual(api.done, ["stop", "rewind", "start"]);
});

Deno.test("what cannot be rewound is told, and the pipeline goes on, also where that fails", async () => {
  const refused = { rewind: () => Promise.reject(new ConfigError({ where: "log", problem: "begins later" })) };
  await using api = served(refused);
  await using child = api.start("rewind", "account_minute", "--earliest", "--yes");
  const { code, stderr } = await child.exited();
  assert.equal(code, 2);
  assert.match(stderr, /begins later/);
  assert.deepEqual(api.done, ["stop", "start"]);

  await using broken = served({ ...refused, start: () => Promise.reject(new Error("no")) });
  await using second = broken.start("rewind", "account_minute", "--earliest", "--yes");
  const ended = await second.exited();
  assert.match(ended.stderr, /account_minute may rest; tailrace pipelines start account_minute starts it/);
  assert.match(ended.stderr, /begins later/);
});

Deno.test("Ctrl-C in the middle of a rewind does not leave the pipeline at rest", async () => {
  const begun = Promise.withResolvers<void>();
  const never = Promise.withResolvers<typeof REWOUND>();
  await using api = served({
    rewind: () => {
      begun.resolve();
      return never.promise;
    },
  });
  await using child = api.start("rewind", "account_minute", "--earliest", "--yes");
  await begun.promise;
  child.kill("SIGINT");
  await child.exited();
  never.resolve(REWOUND);
  await until("the pipeline was started again", () => api.done.includes("start"));
});

Deno.test("a command that cannot be done ends with code 2 and says why", async () => {
  await using api = served();
  const cases: readonly [readonly string[], RegExp][] = [
    [["rewind", "nope", "--earliest"], /there is no pipeline "nope"; there are: account_minute/],
    [["rewind", "account_minute"], /name one of --to TIME, --offset N and --earliest/],
    [["rewind", "account_minute", "--offset", "x"], /--offset: must be a whole number; "x" is not/],
    [["pipelines", "pause", "account_minute"], /takes stop, start or limit, not "pause"/],
    [["pipelines", "limit", "account_minute"], /N or none is missing/],
    [["pipelines", "limit", "account_minute", "fast"], /limit: must be a number of records a second above 0, or none/],
    [["pipelines", "stop", "account_minute", "now"], /"now" is one argument too many/],
    [["explain", "transactions", "0"], /OFFSET is missing/],
  ];
  await Promise.all(cases.map(async ([args, told]) => {
    await using child = api.start(...args);
    const { code, stderr } = await child.exited();
    assert.equal(code, 2, stderr);
    assert.match(stderr, told);
  }));
  assert.deepEqual(api.done, []);
});
