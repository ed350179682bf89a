/**
 * The lines of a commit in a table's log, each one action under its name.
 *
 *     {"commitInfo":{"timestamp":1795235800285,"operation":"WRITE",...}}
 *     {"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
 *     {"metaData":{"id":"...","format":{...},"schemaString":"...","partitionColumns":[...],"configuration":{}}}
 *     {"txn":{"appId":"...","version":700,"lastUpdated":1795235800285}}
 *     {"remove":{"path":"...","deletionTimestamp":1795235800285,"dataChange":true,...}}
 *     {"add":{"path":"...","partitionValues":{...},"size":3944,"modificationTime":1795235800285,"dataChange":true,"stats":"{...}"}}
 *
 * Source: the Delta Transaction Log Protocol, "Actions".
 *
 * @module
 */
import { ConfigError } from "../../../errors.ts";

export interface Protocol {
  readonly minReaderVersion: number;
  readonly minWriterVersion: number;
}

export interface MetaData {
  readonly id: string;
  readonly name?: string | null;
  readonly description?: string | null;
  readonly format: { readonly provider: string; readonly options: Readonly<Record<string, string>> };
  readonly schemaString: string;
  readonly partitionColumns: readonly string[];
  readonly configuration: Readonly<Record<string, string>>;
  readonly createdTime?: number | null;
}

export interface Txn {
  readonly appId: string;
  readonly version: number;
  readonly lastUpdated?: number | null;
}

export interface Add {
  readonly path: string;
  readonly partitionValues: Readonly<Record<string, string | null>>;
  readonly size: number;
  readonly modificationTime: number;
  readonly dataChange: boolean;
  /** JSON in JSON, kept as it is: numbers in it may be more exact than ours. */
  readonly stats?: string | null;
  readonly tags?: Readonly<Record<string, string>> | null;
}

export interface Remove {
  readonly path: string;
  readonly deletionTimestamp?: number | null;
  readonly dataChange: boolean;
  readonly extendedFileMetadata?: boolean | null;
  readonly partitionValues?: Readonly<Record<string, string | null>> | null;
  readonly size?: number | null;
}

export interface CommitInfo {
  readonly timestamp?: number;
  readonly operation?: string;
  readonly operationParameters?: Readonly<Record<string, unknown>>;
  readonly operationMetrics?: Readonly<Record<string, string>>;
  readonly isBlindAppend?: boolean;
  readonly engineInfo?: string;
  /** Made for one try of one commit: whoever does not know whether it happened finds out by it. */
  readonly txnId?: string;
}

/** All of one commit. Actions of kinds that this protocol version may ignore are left out. */
export interface Commit {
  readonly version: number;
  readonly commitInfo: CommitInfo | null;
  readonly protocol: Protocol | null;
  readonly metaData: MetaData | null;
  readonly txns: readonly Txn[];
  readonly adds: readonly Add[];
  readonly removes: readonly Remove[];
}

const VERSION_DIGITS = 20;

export function logFolder(table: string): string {
  return `${table}/_delta_log/`;
}

export function versionText(version: number): string {
  return String(version).padStart(VERSION_DIGITS, "0");
}

export function commitKey(table: string, version: number): string {
  return `${logFolder(table)}${versionText(version)}.json`;
}

export function renderCommit(commit: Commit): Uint8Array {
  const lines: unknown[] = [];
  if (commit.commitInfo !== null) lines.push({ commitInfo: commit.commitInfo });
  if (commit.protocol !== null) lines.push({ protocol: commit.protocol });
  if (commit.metaData !== null) lines.push({ metaData: commit.metaData });
  for (const txn of commit.txns) lines.push({ txn });
  for (const remove of commit.removes) lines.push({ remove });
  for (const add of commit.adds) lines.push({ add });
  return new TextEncoder().encode(lines.map((line) => JSON.stringify(line) + "\n").join(""));
}

/**
 * Reads a commit; `where` is its place, for what is said of faults.
 *
 * @throws ConfigError when it is not one, wholly
 */
export function parseCommit(bytes: Uint8Array, version: number, where: string): Commit {
  const refuse = (line: number, problem: string): never => {
    throw new ConfigError({ where, problem: `line ${line} ${problem}: restore the file as it was written` });
  };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return refuse(1, "and following are not UTF-8");
  }
  const commit = {
    version,
    commitInfo: null as CommitInfo | null,
    protocol: null as Protocol | null,
    metaData: null as MetaData | null,
    txns: [] as Txn[],
    adds: [] as Add[],
    removes: [] as Remove[],
  };
  let lines = 0;
  let actions = 0;
  for (const line of text.split("\n")) {
    lines++;
    if (line.trim() === "") continue;
    actions++;
    let parts: Partial<Record<string, Record<string, unknown>>>;
    try {
      parts = JSON.parse(line);
    } catch {
      return refuse(lines, "is not JSON");
    }
    const { commitInfo, protocol, metaData, txn, add, remove } = parts ?? {};
    if (commitInfo) commit.commitInfo = commitInfo as CommitInfo;
    if (protocol) commit.protocol = checkProtocol(protocol) ?? refuse(lines, "has a protocol without versions");
    if (metaData) commit.metaData = checkMetaData(metaData) ?? refuse(lines, "has metaData without a schema");
    if (txn) commit.txns.push(checkTxn(txn) ?? refuse(lines, "has a txn without appId and version"));
    if (add) {
      commit.adds.push(checkAdd(add) ?? refuse(lines, "adds a file without path and size, or with a deletion vector"));
    }
    if (remove) commit.removes.push(checkRemove(remove) ?? refuse(lines, "removes a file without a path"));
  }
  if (actions === 0) return refuse(1, "is missing: there is nothing in it");
  return commit;
}

export function checkProtocol(value: object): Protocol | null {
  const { minReaderVersion, minWriterVersion } = value as Partial<Protocol>;
  return Number.isInteger(minReaderVersion) && Number.isInteger(minWriterVersion) ? value as Protocol : null;
}

export function checkMetaData(value: object): MetaData | null {
  const metaData = value as Partial<MetaData>;
  if (typeof metaData.schemaString !== "string" || !Array.isArray(metaData.partitionColumns)) return null;
  return { ...metaData as MetaData, configuration: metaData.configuration ?? {} };
}

export function checkTxn(value: object): Txn | null {
  const { appId, version } = value as Partial<Txn>;
  return typeof appId === "string" && Number.isInteger(version) ? value as Txn : null;
}

export function checkAdd(value: object): Add | null {
  const add = value as Partial<Add> & { deletionVector?: unknown };
  if (typeof add.path !== "string" || !Number.isInteger(add.size) || add.deletionVector) return null;
  return { ...add as Add, partitionValues: add.partitionValues ?? {}, modificationTime: add.modificationTime ?? 0 };
}

export function checkRemove(value: object): Remove | null {
  return typeof (value as Partial<Remove>).path === "string" ? value as Remove : null;
}
