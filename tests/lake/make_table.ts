/** Delta tables made by hand, for tests of what reads them. */
import { queried } from "./rows.ts";
import { withDuckDb } from "./plain_table.ts";

export interface MadeFile {
  /** The rows, in SQL; with the partition column, which the file leaves out. */
  readonly sql: string;
  readonly path: string;
  readonly partitionValues?: Readonly<Record<string, string | null>>;
}

const DELTA_TYPES: Readonly<Record<string, string>> = {
  VARCHAR: "string",
  BIGINT: "long",
  INTEGER: "integer",
  DOUBLE: "double",
  BOOLEAN: "boolean",
  BLOB: "binary",
  DATE: "date",
  "TIMESTAMP WITH TIME ZONE": "timestamp",
};

/** Writes a table in an empty folder with one commit. `actions` are added to it. */
export async function makeTable(
  folder: string,
  files: readonly MadeFile[],
  options: { readonly partitionColumns?: readonly string[]; readonly actions?: readonly unknown[] } = {},
): Promise<void> {
  const { partitionColumns = [], actions = [] } = options;
  await Deno.mkdir(`${folder}/_delta_log`, { recursive: true });
  await withDuckDb(async (connection) => {
    const described = await queried(connection, `SELECT column_name, column_type FROM (DESCRIBE ${files[0].sql})`);
    const fields = described.map(({ column_name: name, column_type: type }) => ({
      name,
      type: DELTA_TYPES[type as string] ?? nestedType(type as string),
      nullable: true,
      metadata: {},
    }));
    const lines: unknown[] = [
      { protocol: { minReaderVersion: 1, minWriterVersion: 2 } },
      {
        metaData: {
          id: crypto.randomUUID(),
          format: { provider: "parquet", options: {} },
          schemaString: JSON.stringify({ type: "struct", fields }),
          partitionColumns,
          configuration: {},
          createdTime: 0,
        },
      },
    ];
    for (const { sql, path, partitionValues = {} } of files) {
      const file = `${folder}/${path}`;
      await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
      const left = partitionColumns.length === 0 ? "*" : `* EXCLUDE (${partitionColumns.join(", ")})`;
      await connection.run(`COPY (SELECT ${left} FROM (${sql})) TO '${file}' (FORMAT parquet)`);
      const { size } = await Deno.stat(file);
      lines.push({ add: { path, partitionValues, size, modificationTime: 0, dataChange: true } });
    }
    const text = [...lines, ...actions].map((line) => `${JSON.stringify(line)}\n`).join("");
    await Deno.writeTextFile(`${folder}/_delta_log/${"0".repeat(20)}.json`, text);
  });
}

/** Of a Kafka record's headers, the only nested ones. */
function nestedType(type: string): unknown {
  if (!/^STRUCT\("?key"? VARCHAR, "?value"? BLOB\)\[\]$/.test(type)) throw new TypeError(`${type} is not expected`);
  const field = (name: string, fieldType: string) => ({ name, type: fieldType, nullable: true, metadata: {} });
  return {
    type: "array",
    containsNull: true,
    elementType: { type: "struct", fields: [field("key", "string"), field("value", "binary")] },
  };
}
