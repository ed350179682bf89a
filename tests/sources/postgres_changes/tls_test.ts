import assert from "node:assert/strict";
import { ConfigError } from "../../../pipeline/errors.ts";
import { postgresClient } from "../../../pipeline/postgres_client.ts";
import { startPostgres } from "../../sinks/postgres_server.ts";
import { type Fate, Topics } from "./topics.ts";

/** As who PostgreSQL runs where the tests are root's, who owns its key then. */
const NOBODY = 65534;

/** A certificate of our own for a host, its key and the one that signed it; null where there is no openssl. */
async function certificate(folder: string, host: string): Promise<{ cert: string; key: string; ca: string } | null> {
  const openssl = async (args: string) => {
    const made = await new Deno.Command("openssl", { args: args.split(" "), stderr: "null", cwd: folder }).output()
      .catch(() => null);
    return made?.success ?? false;
  };
  await Deno.writeTextFile(`${folder}/server.ext`, `subjectAltName=${host}\n`);
  const isMade =
    await openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=TestCA -keyout ca.key -out ca.crt") &&
    await openssl("req -newkey rsa:2048 -nodes -subj /CN=test -keyout server.key -out server.csr") &&
    await openssl("x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -extfile server.ext -out server.crt");
  if (!isMade) return null;
  if (Deno.uid() === 0) await Deno.chown(`${folder}/server.key`, NOBODY, NOBODY);
  await Deno.chmod(`${folder}/server.key`, 0o600);
  return { cert: `${folder}/server.crt`, key: `${folder}/server.key`, ca: `${folder}/ca.crt` };
}

Deno.test("over TLS the certificate is checked: one's own is named in the address, a stranger's and none are told", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.chmod(folder, 0o755);
  try {
    const made = await certificate(folder, "IP:127.0.0.1");
    if (made === null) return console.log("left out: there is no openssl to make a certificate with");
    await using server = await startPostgres({
      settings: ["ssl=on", `ssl_cert_file=${made.cert}`, `ssl_key_file=${made.key}`],
    });
    const sql = postgresClient(server.url);
    try {
      await sql.unsafe(`CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)`);
      const trusted = new Topics(`${server.url}?sslmode=verify-full&sslrootcert=${made.ca}`, { tables: ["t"] });
      await trusted.run();
      await sql`INSERT INTO t SELECT i, i FROM generate_series(3, 20000) i`;
      let isTls: boolean | null = null;
      await trusted.run({
        fate: async (): Promise<Fate> => {
          const [row] =
            await sql`SELECT bool_and(s.ssl) AS ssl FROM pg_stat_ssl s JOIN pg_stat_replication r USING (pid)`;
          isTls ??= row.ssl;
          return "commit";
        },
      });
      assert.equal(isTls, true, "the log goes over TLS");
      assert.equal((await trusted.applied()).get("cdc.public.t")!.size, 20_000);
      for (const mode of ["?sslmode=verify-full", "?sslmode=require", "?sslmode=prefer", ""]) {
        await assert.rejects(new Topics(`${server.url}${mode}`, { tables: ["t"] }).run(), (error: Error) => {
          assert.ok(error instanceof ConfigError, `${mode}: ${error}`);
          assert.match(error.message, /TLS: .*UnknownIssuer.*sslrootcert=FILE.*sslmode=disable/, mode);
          return true;
        });
      }
      const other = server.url.replace("127.0.0.1", "localhost");
      await assert.rejects(
        new Topics(`${other}?sslmode=verify-full&sslrootcert=${made.ca}`, { tables: ["t"] }).run(),
        /ConfigError: .*TLS: .*(NotValidForName|not valid for name)/,
      );
      await assert.rejects(
        new Topics(`${server.url}?sslmode=verify-full&sslrootcert=${folder}/nowhere.crt`, { tables: ["t"] }).run(),
        /ConfigError: .*nowhere\.crt/,
      );
      await trusted.run();
    } finally {
      await sql.end();
    }
    await using plain = await startPostgres();
    await assert.rejects(
      new Topics(`${plain.url}?sslmode=verify-full&sslrootcert=${made.ca}`, { tables: ["t"] }).run(),
      /ConfigError: .*the server has no TLS: turn ssl on there, or sslmode=disable/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
