import type { DeliveryKind, DeliveryPlan } from "../../deliveries/delivery_spec.ts";
import type { Fault } from "../../errors.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import { parquetRefusal, RowsParquet } from "../lake/rows_parquet.ts";
import type { ParquetFilesSpec } from "./definition.ts";
import { filesFaults, filesUrl, openFilesStore } from "./kind.ts";
import { createFilesSink } from "./sink.ts";

const OPTIONS: KnownOptions<ParquetFilesSpec> = { folder: true, url: true, s3: true };

export const parquetFilesKind: DeliveryKind<ParquetFilesSpec> = {
  check: (spec, plan) => [
    ...unknownOptions(spec, OPTIONS, "to"),
    ...filesFaults(spec, plan),
    ...caseFaults(plan),
  ],

  describe: (spec) => `Parquet files in ${filesUrl(spec)}`,

  claim: (spec) => `files ${filesUrl(spec)}`,

  open: async (spec, context) => {
    const { plan, consumer, log } = context;
    const store = await openFilesStore(spec, context);
    const parquet = new RowsParquet(store.scratch);
    return createFilesSink({
      name: `files ${spec.folder}`,
      store,
      consumer,
      log,
      format: {
        extension: "parquet",
        encode: (rows, first) => parquet.encode(rows, { first, hasDeleted: plan.key.length > 0 }),
        refusal: ({ type }, value) => parquetRefusal(type, value),
        [Symbol.asyncDispose]: () => parquet[Symbol.asyncDispose](),
      },
    });
  },
};

/** Names of columns are the same to DuckDB, and to most who read Parquet, whatever their case. */
function caseFaults({ columns }: Pick<DeliveryPlan, "columns">): Fault[] {
  const same = [...Map.groupBy(columns, ({ name }) => name.toLowerCase()).values()].filter(({ length }) => length > 1);
  return same.map((list) => ({
    where: "from.schema",
    problem: `${list.map(({ name }) => name).join(" and ")} are one column in Parquet, which looks at no case`,
  }));
}
