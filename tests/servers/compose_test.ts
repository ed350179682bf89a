import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "yaml";
import { readConfig, SETTINGS } from "../../cli/config.ts";

const ROOT = join(import.meta.dirname!, "../..");

interface Service {
  image?: string;
  build?: string;
  environment?: Record<string, string>;
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  volumes?: string[];
}

const compose = parse(await Deno.readTextFile(join(ROOT, "compose.yaml"))) as {
  services: Record<string, Service>;
  volumes: Record<string, null>;
};
const dockerfile = await Deno.readTextFile(join(ROOT, "Dockerfile"));

/** The file's variables with their defaults put in, as compose does. */
function interpolated(values: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, value.replace(/\$\{\w+:-([^}]*)\}/g, "$1")]),
  );
}

Deno.test("What compose gives Tailrace is a whole configuration, and every name in it is a setting", () => {
  const { environment } = compose.services.tailrace;
  const known = Object.values(SETTINGS).map(({ variable }) => variable as string);
  assert.deepEqual(Object.keys(environment!).filter((name) => !known.includes(name)), []);
  const config = readConfig("run", { flags: {}, environment: interpolated(environment!), file: null });
  assert.deepEqual(config.brokers, ["kafka:19092"]);
  assert.equal(config.host, "0.0.0.0");
  const database = new URL(config.databaseUrl);
  const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = interpolated(compose.services.postgres.environment!);
  assert.deepEqual(
    [database.hostname, database.username, database.password, database.pathname],
    ["postgres", POSTGRES_USER, POSTGRES_PASSWORD, `/${POSTGRES_DB}`],
  );
});

Deno.test("Addresses between the containers agree with what their servers advertise", () => {
  const { kafka, registry, tailrace } = compose.services;
  const advertised = kafka.environment!.KAFKA_ADVERTISED_LISTENERS.split(",");
  assert.ok(advertised.includes(`INTERNAL://${tailrace.environment!.KAFKA_BROKERS}`));
  assert.ok(advertised.includes("EXTERNAL://127.0.0.1:9092"));
  assert.equal(registry.environment!.SCHEMA_REGISTRY_KAFKASTORE_BOOTSTRAP_SERVERS, "PLAINTEXT://kafka:19092");
  assert.equal(tailrace.environment!.SCHEMA_REGISTRY_URL, "http://registry:8081");
});

Deno.test("Every port is bound to loopback, every image has its version, every volume is declared", () => {
  for (const [name, service] of Object.entries(compose.services)) {
    for (const port of service.ports ?? []) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/, `${name} ${port}`);
    if (service.image) assert.match(service.image, /:\d+(\.\d+)*$/, service.image);
    for (const volume of service.volumes ?? []) assert.ok(volume.split(":")[0] in compose.volumes, volume);
  }
});

Deno.test("Every service waits until what it needs is healthy, and everything has a health check", () => {
  for (const [name, { depends_on = {}, healthcheck, build }] of Object.entries(compose.services)) {
    assert.ok(healthcheck?.test[0] === "CMD" || build, `${name} has a health check, of its own or in the Dockerfile`);
    for (const [other, { condition }] of Object.entries(depends_on)) {
      assert.ok(other in compose.services, `${name} waits for ${other}`);
      assert.equal(condition, "service_healthy");
    }
  }
  assert.deepEqual(Object.keys(compose.services.tailrace.depends_on!), ["kafka", "registry", "postgres"]);
});

Deno.test("The image installs exactly what is locked, runs as another user than root and answers for its readiness", async () => {
  const lines = dockerfile.split("\n");
  const user = lines.findLastIndex((line) => line.startsWith("USER "));
  assert.notEqual(lines[user], "USER root");
  assert.ok(user > 0 && user < lines.findIndex((line) => line.startsWith("COPY")));
  assert.ok(lines.filter((line) => /^RUN deno (install|cache)/.test(line)).every((line) => line.includes("--frozen")));
  assert.match(dockerfile, /HEALTHCHECK[\s\S]*\/readyz/);
  assert.match(dockerfile, /CMD \["deno", "task", "run"\]\s*$/);
  const [, version] = /^FROM denoland\/deno:(.+)$/m.exec(dockerfile)!;
  assert.match(await Deno.readTextFile(join(ROOT, ".ci/run")), new RegExp(`deno@${RegExp.escape(version)}\\b`));
  const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assert.ok("run" in tasks);
});

Deno.test("Docker Compose itself takes the file", async (t) => {
  const why = await whyNoCompose();
  if (why !== null) console.log(`skipped: ${why}`);
  await t.step({
    name: "docker compose config",
    ignore: why !== null,
    async fn() {
      const args = ["compose", "--file", join(ROOT, "compose.yaml"), "config", "--quiet"];
      const { success, stderr } = await new Deno.Command("docker", { args }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
    },
  });
});

async function whyNoCompose(): Promise<string | null> {
  try {
    const { success } = await new Deno.Command("docker", { args: ["compose", "version"] }).output();
    return success ? null : "docker has no compose command here";
  } catch {
    return "docker is not installed";
  }
}
