import { hideSecret } from "../api/security/redact.ts";
import type { DeliveryPlan } from "../pipeline/deliveries/delivery_spec.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { loadAll } from "../pipeline/plan/load.ts";
import { createSecrets } from "../pipeline/secrets.ts";
import type { FilesSpec } from "../pipeline/sinks/files/definition.ts";
import { filesUrl, openFilesStore } from "../pipeline/sinks/files/kind.ts";
import { connectSnowflake } from "../pipeline/sinks/snowflake/connect.ts";
import { snowflakeNames, snowflakeScript } from "../pipeline/sinks/snowflake/scripts.ts";
import { upload } from "../pipeline/sinks/snowflake/upload.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit.ts";
import { projectPath } from "./paths.ts";

/** `tailrace snowflake`: what it takes to have a delivery's files in a Snowflake table, as a script, or done. */
export async function snowflake({ flags, positionals, signal }: Call): Promise<number> {
  const [name] = positionals;
  if (name === undefined) {
    throw new ConfigError({ where: "DELIVERY", problem: "name a delivery to JSON or Parquet files" });
  }
  const { plan, spec } = await deliveryToFiles(name);
  const names = snowflakeNames(flags.table ?? plan.name, spec.kind === "jsonFiles" ? "json" : "parquet");
  if (flags.upload === undefined) {
    const script = snowflakeScript(names, plan, { files: filesUrl(spec) });
    if (flags.out === undefined) console.log(script);
    else await Deno.writeTextFile(flags.out, script);
    return Exit.ok;
  }
  const secrets = createSecrets({ env: (name) => Deno.env.get(name), onFound: hideSecret });
  const dataDir = Deno.env.get("TAILRACE_DATA") || projectPath("data");
  await using store = await openFilesStore(spec, { plan, consumer: 0, secrets, dataDir });
  await using connection = await connectSnowflake(secrets);
  const { files, rows } = await upload({ plan, names, store, connection, signal });
  console.log(`${rows.toLocaleString("en")} records of ${files} files are in ${names.table}`);
  return Exit.ok;
}

async function deliveryToFiles(name: string): Promise<{ plan: DeliveryPlan; spec: FilesSpec }> {
  const { deliveries } = await loadAll(projectPath("streams"), { only: [name] });
  const plan = deliveries[0]?.plan;
  const spec = plan?.to.find(({ kind }) => kind === "jsonFiles" || kind === "parquetFiles");
  if (plan === undefined || spec === undefined) {
    throw new ConfigError({
      where: name,
      problem: "is no delivery to jsonFiles(..) or parquetFiles(..), whose files Snowflake could take",
    });
  }
  return { plan, spec: spec as FilesSpec };
}
