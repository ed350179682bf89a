import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from "node:crypto";
import { ConfigError } from "../../pipeline/errors.ts";
import { openConnection } from "../../pipeline/log/open_connection.ts";
import type { SaslOptions } from "../../pipeline/log/sasl.ts";
import { WireWriter } from "../../pipeline/log/wire.ts";
import { FakeBroker } from "./fake_broker.ts";

type Hash = "sha256" | "sha512";

/** The proof a SCRAM client sends and the signature a server answers with (RFC 5802, section 3), by node:crypto. */
function scram(hash: Hash, password: string, salt: Buffer, iterations: number, signed: string) {
  const hmac = (key: Uint8Array, text: string) => createHmac(hash, key).update(text).digest();
  const salted = pbkdf2Sync(password, salt, iterations, hash === "sha256" ? 32 : 64, hash);
  const clientKey = hmac(salted, "Client Key");
  const signature = hmac(createHash(hash).update(clientKey).digest(), signed);
  return {
    proof: Buffer.from(clientKey.map((byte, i) => byte ^ signature[i])).toString("base64"),
    verifier: hmac(hmac(salted, "Server Key"), signed).toString("base64"),
  };
}

Deno.test("the server of these tests computes what RFC 7677 says", () => {
  const { proof, verifier } = scram(
    "sha256",
    "pencil",
    Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"),
    4096,
    "n=user,r=rOprNGfwEbeRWgbNEkqO," +
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
  );
  assert.equal(proof, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  assert.equal(verifier, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
});

interface Server {
  readonly offers: readonly string[];
  readonly username: string;
  readonly password: string;
  /** Changes the server's messages, to see what a client does about it. */
  readonly first?: (message: string) => string;
  readonly final?: (message: string) => string;
}

/** A broker that only speaks SaslHandshake and SaslAuthenticate, and does what Kafka does with what it is told. */
function saslBroker(server: Server): FakeBroker & { accepted: number } {
  const broker = new FakeBroker(async (next, send) => {
    const answer = async (id: number, write: (writer: WireWriter) => unknown) => {
      const writer = new WireWriter();
      const size = writer.reserveInt32();
      writer.int32(id);
      write(writer);
      await send(writer.patchLength(size).bytes().slice());
    };
    const authenticated = (id: number, message: string) =>
      answer(id, (w) => w.int16(0).string(null).byteField(new TextEncoder().encode(message)));
    const refused = (id: number) => answer(id, (w) => w.int16(58).string("wrong").byteField(new Uint8Array(0)));
    const handshake = (await next())!;
    assert.equal(handshake.apiKey, 17);
    const mechanism = handshake.body.string();
    const offered = server.offers.includes(mechanism);
    await answer(handshake.correlationId, (w) => {
      w.int16(offered ? 0 : 33).arrayLength(server.offers.length);
      for (const name of server.offers) w.string(name);
    });
    if (!offered) return;
    const first = (await next())!;
    assert.equal(first.apiKey, 36);
    const message = new TextDecoder().decode(first.body.bytes());
    if (mechanism === "PLAIN") {
      const right = message === `\0${server.username}\0${server.password}`;
      if (!right) return await refused(first.correlationId);
      broker.accepted++;
      return await authenticated(first.correlationId, "");
    }
    const bare = message.replace(/^n,,/, "");
    const [, name, nonce] = /^n=([^,]*),r=(.*)$/.exec(bare)!;
    if (name.replaceAll("=2C", ",").replaceAll("=3D", "=") !== server.username) {
      return await refused(first.correlationId);
    }
    const salt = crypto.getRandomValues(Buffer.alloc(16));
    const challenge = `r=${nonce}server%nonce,s=${salt.toString("base64")},i=4096`;
    const serverFirst = server.first?.(challenge) ?? challenge;
    await authenticated(first.correlationId, serverFirst);
    const last = (await next())!;
    const proven = new TextDecoder().decode(last.body.bytes());
    const [, withoutProof, proof] = /^(.*),p=(.*)$/.exec(proven)!;
    assert.equal(withoutProof, `c=biws,r=${nonce}server%nonce`);
    const hash = mechanism === "SCRAM-SHA-256" ? "sha256" : "sha512";
    const expected = scram(hash, server.password, salt, 4096, `${bare},${serverFirst},${withoutProof}`);
    const right = proof.length === expected.proof.length &&
      timingSafeEqual(Buffer.from(proof), Buffer.from(expected.proof));
    if (!right) return await refused(last.correlationId);
    broker.accepted++;
    await authenticated(last.correlationId, (server.final ?? String)(`v=${expected.verifier}`));
  }) as FakeBroker & { accepted: number };
  broker.accepted = 0;
  return broker;
}

const MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const;
const USER = { username: "us,er=1", password: "pässword, with = signs" };

async function open(broker: FakeBroker, sasl: SaslOptions): Promise<void> {
  const connection = await openConnection(broker.hostname, broker.port, { clientId: "t", ssl: false, sasl });
  connection.close();
}

for (const mechanism of MECHANISMS) {
  Deno.test(`${mechanism}: the right password enters, a wrong one is told without being shown`, async () => {
    await using broker = saslBroker({ offers: MECHANISMS, ...USER });
    await open(broker, { mechanism, ...USER });
    assert.equal(broker.accepted, 1);
    for (const wrong of [{ ...USER, password: "hunter2hunter2" }, { ...USER, username: "somebody" }]) {
      await assert.rejects(open(broker, { mechanism, ...wrong }), (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, /KAFKA_SASL: the broker refused the credentials \(wrong\)/);
        assert.ok(!error.message.includes(wrong.password));
        return true;
      });
    }
    assert.equal(broker.accepted, 1);
  });
}

Deno.test("a mechanism that is not offered is told with those that are", async () => {
  await using broker = saslBroker({ offers: ["PLAIN", "GSSAPI"], ...USER });
  await assert.rejects(
    open(broker, { mechanism: "SCRAM-SHA-256", ...USER }),
    /the broker does not offer SCRAM-SHA-256; it offers PLAIN, GSSAPI/,
  );
});

Deno.test("a server that cannot prove itself, or whose challenge makes no sense, is left", async () => {
  const changes: [Pick<Server, "first" | "final">, RegExp][] = [
    [{ final: () => "v=AAAA" }, /could not prove that it knows the password/],
    [{ final: () => "e=other-error" }, /could not prove/],
    [{ first: (m) => m.replace(/^r=./, "r=#") }, /makes no sense/],
    [{ first: (m) => m.replace("i=4096", "i=2000000000") }, /makes no sense/],
    [{ first: (m) => m.replace("i=4096", "i=0") }, /makes no sense/],
    [{ first: (m) => m.replace(/s=[^,]*/, "s=not base64!") }, /makes no sense/],
    [{ first: () => "" }, /makes no sense/],
  ];
  for (const [change, message] of changes) {
    await using broker = saslBroker({ offers: MECHANISMS, ...USER, ...change });
    await assert.rejects(open(broker, { mechanism: "SCRAM-SHA-256", ...USER }), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, message);
      return true;
    });
  }
});
