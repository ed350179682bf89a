/**
 * Certificates for servers on loopback, made by Java's keytool: an authority of its own, and one that it signed.
 *
 * @module
 */
import { join } from "node:path";

const PASSWORD = "changeit";

export interface Certificates {
  /** PKCS#12 with the server's key and its chain. */
  readonly keystore: { readonly file: string; readonly password: string };
  /** PEM of the authority, for who is to trust the server. */
  readonly authorityFile: string;
}

/** For 127.0.0.1, in a folder of yours. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const authority = join(folder, "authority.p12");
  const file = join(folder, "server.p12");
  const authorityFile = join(folder, "authority.pem");
  const chainFile = join(folder, "server.pem");
  const request = join(folder, "server.csr");
  const made = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"];
  await keytool(authority, "ca", ["-genkeypair", ...made, "-dname", "CN=Authority of tests", "-ext", "bc:c"]);
  await keytool(authority, "ca", ["-exportcert", "-rfc", "-file", authorityFile]);
  await keytool(file, "server", ["-genkeypair", ...made, "-dname", "CN=127.0.0.1"]);
  await keytool(file, "server", ["-certreq", "-file", request]);
  const signed = ["-infile", request, "-outfile", chainFile, "-ext", "san=ip:127.0.0.1", "-validity", "2"];
  await keytool(authority, "ca", ["-gencert", "-rfc", ...signed]);
  await keytool(file, "ca", ["-importcert", "-noprompt", "-file", authorityFile]);
  await keytool(file, "server", ["-importcert", "-file", chainFile]);
  return { keystore: { file, password: PASSWORD }, authorityFile };
}

async function keytool(store: string, alias: string, args: readonly string[]): Promise<void> {
  const [command, ...more] = args;
  const common = ["-keystore", store, "-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", alias];
  const { success, stdout, stderr } = await new Deno.Command("keytool", {
    args: [command, ...common, ...more],
    stdin: "null",
  }).output();
  if (success) return;
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  throw new Error(`keytool ${command} failed:\n${text(stdout)}${text(stderr)}`);
}
