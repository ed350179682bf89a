import assert from "node:assert/strict";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { FREE_PORTS, IS_SLOWNESS, isInstalled, shell, Tailrace, temporaryFolder } from "./harness.ts";

Deno.test("one command brings a screen, closed windows over REST and in PostgreSQL, and commands that work", async (t) => {
  await using folder = temporaryFolder();
  const began = performance.now();
  await using tailrace = await Tailrace.start(["dev", "--data", `${folder.path}/data`, ...FREE_PORTS]);

  await t.step("the first closed window is over REST and in PostgreSQL", async () => {
    await tailrace.until("a final row over REST", async () => {
      const response = await fetch(`${tailrace.url}/v1/pipelines/account_minute/results?final=true&limit=1`);
      const page = await response.json();
      return response.ok && page.rows.length > 0;
    });
    const sql = postgresClient(tailrace.databaseUrl);
    try {
      await tailrace.until("a final row in PostgreSQL", async () => {
        const [{ n }] = await sql`SELECT count(*)::int AS n FROM account_minute WHERE final`;
        return n > 0;
      });
    } finally {
      await sql.end();
    }
    // 20 s are what it may take on a machine that does nothing else.
    console.log(`the first closed window after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  });

  await t.step("the screen names everything that runs, what to paste, and no password", async () => {
    for (
      const words of [
        /^ +Dashboard +http:\/\/127\.0\.0\.1:\d+$/m,
        /^ +Kafka +127\.0\.0\.1:\d+ \(embedded\)$/m,
        /^ +Schema registry +http:\/\/127\.0\.0\.1:\d+ \(embedded\)$/m,
        /^ +PostgreSQL +postgres:\/\/tailrace:\*\*\*@127\.0\.0\.1:\d+\/tailrace \(embedded\)$/m,
        /account_minute: transactions by account_id/,
        /category_declines: transactions by category, currency/,
        /flights: flights by origin/,
        /3000 transactions a second/,
        /^ +results +curl /m,
        /^ +live +curl /m,
        /^ +SQL +.*psql /m,
        /^ +Kafka +kcat /m,
      ]
    ) assert.match(tailrace.screen, words);
    const password = (await Deno.readTextFile(`${folder.path}/data/postgres/password`)).trim();
    assert.ok(password.length > 8 && !tailrace.screen.includes(password));
  });

  await t.step("the line for results gives newest rows as JSON", async () => {
    const { code, stdout } = await shell(pasted(tailrace.screen, "results"));
    assert.equal(code, 0);
    const { pipeline, rows } = JSON.parse(stdout);
    assert.equal(pipeline, "account_minute");
    assert.equal(rows.length, 3);
    assert.match(rows[0].key?.account_id ?? rows[0].account_id, /^acc-\d{5}$/);
  });

  await t.step("the line for live results streams events", async () => {
    await tailrace.until("events with rows", async () => {
      // A person would press Ctrl-C; here it is cut off after some seconds.
      const { stdout } = await shell(`timeout 2.5 ${pasted(tailrace.screen, "live")}`);
      assert.ok(stdout.length < 50_000, "a terminal is not flooded with it");
      const lines = stdout.split("\n");
      return lines.some((line) => /^id: \w+-\d+$/.test(line)) &&
        lines.some((line) => line.startsWith('data: {"pipeline":"account_minute","rows":[{'));
    });
  });

  await t.step({
    name: "the line for SQL shows rows",
    ignore: !await isInstalled("psql"),
    fn: async () => {
      const { code, stdout, stderr } = await shell(pasted(tailrace.screen, "SQL"));
      assert.equal(code, 0, stderr);
      assert.match(stdout, /account_id +\| +window_start/);
      assert.match(stdout, /\(5 rows\)/);
    },
  });

  await t.step({
    name: "the line for Kafka shows the last results with their headers",
    ignore: !await isInstalled("kcat"),
    fn: async () => {
      const { code, stdout, stderr } = await shell(pasted(tailrace.screen, "Kafka"));
      assert.equal(code, 0, stderr);
      assert.match(stdout, /acc-\d{5}/);
    },
  });

  await t.step("nothing warns, and standard error holds JSON lines only", () => {
    const lines = tailrace.child.stderr.trimEnd().split("\n");
    assert.ok(lines.length > 3);
    for (const line of lines) {
      const { time, level, message } = JSON.parse(line);
      assert.ok(!Number.isNaN(Date.parse(time)));
      assert.ok(message.length > 0);
      if (!IS_SLOWNESS.test(message)) assert.equal(level, "info", line);
    }
  });

  await t.step("an operator's probes say that all is well", async () => {
    const health = await fetch(`${tailrace.url}/healthz`);
    assert.equal(health.status, 200, await health.text());
    let text = "";
    await tailrace.until("it is ready", async () => {
      const response = await fetch(`${tailrace.url}/readyz`);
      text = await response.text();
      return response.ok;
    }).catch((error) => assert.fail(`${error.message}\n${text}`));
    for (const part of ["kafka", "schema registry", "postgres", "pipeline account_minute"]) {
      assert.ok(text.includes(part), text);
    }
  });
});

/** The command of a line of the screen's second part. */
function pasted(screen: string, name: string): string {
  const [, commands] = screen.split(/^ +Try$/m);
  const line = commands.match(new RegExp(`^ +${name} +(.+)$`, "m"));
  assert.ok(line, `the screen has no line "${name}"`);
  return line[1];
}
