import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { table } from "../../cli/table.ts";
import { runToEnd } from "../e2e/harness.ts";
import { fakeDeps } from "../api/fake_deps.ts";
import { bytes, Desk } from "../letters/desk.ts";

/** The API over a desk, and the command line that asks it. */
function served(desk: Desk) {
  const app = createApp(fakeDeps({ letters: desk.letters }).deps);
  const keys: (string | null)[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    keys.push(request.headers.get("authorization"));
    return app.fetch(request);
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  return {
    keys,
    run: (...args: string[]) =>
      runToEnd(["letters", ...args], { env: { TAILRACE_API: url, TAILRACE_API_KEY: "a-key", NO_COLOR: "1" } }),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("a list of any length is read page by page, as a table or a line of JSON each", async () => {
  const desk = new Desk();
  desk.many(1_200);
  await using api = served(desk);
  const { stdout, stderr, code } = await api.run("list", "--limit", "1100");
  assert.equal(code, 0, stderr);
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines.length, 1_101);
  assert.match(lines[0], /^LETTER +RECORD'S TIME +PIPELINE +RECORD +REDRIVEN +KEY +CAUSE$/);
  assert.match(lines[1], /^dead\/in\/1\/599 +2026-11-20T21:00:01.199Z +p +1\/599 +no +- +cut off$/);
  assert.match(stderr, /1100 shown; there are more/);
  const { stdout: json } = await api.run("list", "--json", "--limit", "2", "--order", "oldest", "--offsets", "5");
  assert.deepEqual(json.trim().split("\n").map((line) => JSON.parse(line).originalOffset), [5, 5]);
  assert.ok(api.keys.every((key) => key === "Bearer a-key"));
});

Deno.test("what others wrote into a record cannot steer the terminal", async () => {
  const desk = new Desk();
  await desk.setAside({ key: bytes("\x1b]0;owned\x07"), headers: [["\x1b[2J", bytes("a\r\nb")]] });
  await using api = served(desk);
  for (const args of [["list"], ["show", "late/in/0/0"]]) {
    const { stdout } = await api.run(...args);
    assert.match(stdout, /\\x1b\]0;owned\\x07/);
    // deno-lint-ignore no-control-regex -- that is what must not be there
    assert.doesNotMatch(stdout, /[\x00-\x09\x0b-\x1f\x7f]/);
  }
});

Deno.test("a large cap takes several requests, and all is counted", async () => {
  const desk = new Desk();
  desk.many(1_300);
  await using api = served(desk);
  const { stdout, code, stderr } = await api.run(
    "redrive",
    "--pipeline",
    "p",
    "--cap",
    "1200",
    "--rate",
    "100000",
    "--yes",
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^1200 redriven, 0 skipped, 0 refused\.\nMore are left: a higher --cap/m);
  assert.match(stdout, /\.\.\. and 1150 more/);
  assert.equal(desk.log.records("in.redriven").length, 1_200);
  const rest = await api.run("redrive", "--pipeline", "p", "--cap", "5000", "--rate", "100000", "--yes", "--json");
  const reports = rest.stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual([reports.at(-1).redriven, reports.at(-1).skipped, reports.at(-1).next], [100, 1_200, null]);
});

Deno.test("the decoded value alone is what --edit takes back", async () => {
  const desk = new Desk();
  await desk.setAside();
  await using api = served(desk);
  const { stdout } = await api.run("show", "late/in/0/0", "--value");
  assert.deepEqual(JSON.parse(stdout), { shop: "a", pieces: 1, at: "2026-11-20T21:00:05.000Z" });
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, stdout.replace('"pieces": 1', '"pieces": 6'));
    const { stdout: report } = await api.run("redrive", "late/in/0/0", "--edit", path, "--yes");
    assert.match(report, /counts in the window from 2026-11-20T21:00:00\.000Z\n1 redriven/);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a command line that cannot mean what it says ends with code 2 and says why", async () => {
  await using api = served(new Desk());
  const cases: [string[], RegExp][] = [
    [[], /say what to do/],
    [["burn"], /there is no "letters burn"/],
    [["list", "x"], /"x" is not expected/],
    [["show"], /name one letter/],
    [["show", "late/in/0"], /is no letter's place/],
    [["show", "late/in/0/5"], /There is no such letter/],
    [["redrive"], /say which/],
    [["redrive", "late/in/0/0", "--pipeline", "p"], /not both/],
    [["redrive", "--pipeline", "p", "--edit", "x.json"], /--edit: is for one letter/],
    [["redrive", "late/in/0/0", "--edit", "/nowhere.json"], /cannot be read as JSON/],
    [["list", "--topic", "bank"], /topic: no pipeline reads "bank"/],
    [["list", "--from", "yesterday"], /from: is neither ISO 8601/],
    [["list", "--api", "ftp://x"], /must be an http/],
  ];
  await Promise.all(cases.map(async ([args, told]) => {
    const { code, stderr } = await api.run(...args);
    assert.equal(code, 2, `${args}: ${stderr}`);
    assert.match(stderr, told, args.join(" "));
  }));
});

Deno.test("a table's last column is cut to the terminal, and to nothing else", () => {
  const rows = [["a", "x".repeat(100)], ["bcd", "é😀"]];
  assert.equal(table(["n", "text"], rows), `N    TEXT\na    ${"x".repeat(100)}\nbcd  é😀`);
  assert.equal(table(["n", "text"], rows, { width: 70 }).split("\n")[1], `a    ${"x".repeat(64)}…`);
});
