import assert from "node:assert/strict";
import { Guard } from "../../pipeline/net/guarded_fetch.ts";
import { UnavailableError } from "../../pipeline/errors.ts";

Deno.test("over TLS the certificate is that of the name, whichever address it is at", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "tailrace_tls_" });
  const args =
    `req -x509 -newkey rsa:2048 -nodes -keyout ${dir}/key.pem -out ${dir}/cert.pem -days 2 -subj /CN=api.example ` +
    "-addext subjectAltName=DNS:api.example -addext basicConstraints=CA:TRUE";
  const made = await new Deno.Command("openssl", { args: args.split(" "), stderr: "null" }).output().catch(() => null);
  if (!made?.success) {
    console.log("skipped: there is no openssl to make a certificate with");
    return await Deno.remove(dir, { recursive: true });
  }
  const cert = await Deno.readTextFile(`${dir}/cert.pem`);
  const key = await Deno.readTextFile(`${dir}/key.pem`);
  await Deno.remove(dir, { recursive: true });
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} },
    (request) => new Response(request.headers.get("host")),
  );
  const { port } = server.addr;
  const ask = async (host: string, ca?: string) => {
    using guard = new Guard({
      hosts: [`${host}:${port}`],
      allowPrivate: true,
      lookup: () => Promise.resolve(["127.0.0.1"]),
      ...(ca === undefined ? {} : { ca }),
    });
    using response = await guard.fetch(`https://${host}:${port}/`, { signal: new AbortController().signal });
    return await response.text();
  };
  await t.step("a trusted certificate of the name", async () => {
    assert.equal(await ask("api.example", cert), `api.example:${port}`);
  });
  await t.step("another name, and a certificate that nobody vouches for", async () => {
    await assert.rejects(ask("other.example", cert), UnavailableError);
    await assert.rejects(ask("api.example"), UnavailableError);
  });
  await server.shutdown();
});
