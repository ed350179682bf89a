/** A deliberate breakage: a text of a source file that is replaced. */
export interface Fault {
  readonly name: string;
  readonly file: string;
  /** Occurs once in the file. */
  readonly find: string;
  readonly replace: string;
  /** The test that has to catch it, where it lies below what is simulated. */
  readonly test?: { readonly file: string; readonly filter?: string };
}

const RUNNER = "pipeline/runtime/pipeline_runner.ts";
const RESTORE = "pipeline/runtime/restore.ts";
const LEDGER = "pipeline/runtime/partition_ledger.ts";
const STATE = "pipeline/runtime/partition_state.ts";
const SHARD = "pipeline/runtime/shard.ts";
const WINDOWS = "pipeline/runtime/window_state.ts";
const WRITER = "pipeline/sinks/topic_writer.ts";
const FOLDERS = "pipeline/checkpoint/pipeline_folders.ts";
const HISTORY = "pipeline/checkpoint/file_history.ts";

export const FAULTS: readonly Fault[] = [
  {
    name: "no fsync before the rename",
    file: FOLDERS,
    find: "    await file.sync();\n",
    replace: "",
  },
  {
    name: "no sync of the folder after the rename",
    file: FOLDERS,
    find: `  await disk.syncFolder(path.slice(0, path.lastIndexOf("/")));\n`,
    replace: "",
    test: { file: "tests/checkpoint/power_cut_test.ts" },
  },
  {
    name: "the checkpoint is written in place",
    file: FOLDERS,
    find: "const temporary = `${path}.new`;",
    replace: "const temporary = path;",
    test: { file: "tests/checkpoint/power_cut_test.ts" },
  },
  {
    name: "a frozen owner can still save",
    file: FOLDERS,
    find: "const [from, to] = [this.#path(pipeline, number), this.#path(pipeline, number + 1)];",
    replace:
      "if (number > 0) return number;\n      const [from, to] = [this.#path(pipeline, 0), this.#path(pipeline, 1)];",
  },
  {
    name: "the torn end of the history is not cut off",
    file: HISTORY,
    find: "if (length !== null) await file.truncate(length);",
    replace: "",
  },
  {
    name: "offsets are saved before the sinks have the rows",
    file: RUNNER,
    find: "await this.#write(this.#windows.publish(this.#watermarkMs(), early || isQuiet), options);",
    replace: "const rows = this.#windows.publish(this.#watermarkMs(), early || isQuiet);\n" +
      "    if (rows.length > 0) await this.#save();\n    await this.#write(rows, options);",
  },
  {
    name: "the last epoch is not published at a stop",
    file: RUNNER,
    find: "      await this.#runEpoch(shards, { early: this.plan.emitEveryMs !== null, signal: writing.signal });\n",
    replace: "",
  },
  {
    name: "records set aside are left out",
    file: RUNNER,
    find: "if (aside.length > 0) await setAside.write(aside, options);",
    replace: "",
  },
  {
    name: "the watermark is the wall clock",
    file: RUNNER,
    find: "    return leastWatermark(this.#partitions);\n",
    replace: "    return this.#deps.clock.now();\n",
  },
  {
    name: "the watermark is that of the fastest partition",
    file: RESTORE,
    find: "Math.min(...partitions.map(({ watermarkMs }) => watermarkMs))",
    replace: "Math.max(...partitions.map(({ watermarkMs }) => watermarkMs))",
  },
  {
    name: "open panes are not taken up at a restart",
    file: RESTORE,
    find: "  for (const batch of checkpoint?.panes ?? []) windows.restore(batch);\n",
    replace: "",
  },
  {
    name: "history that was never committed is believed",
    file: RESTORE,
    find: "return saved !== undefined && sample.position <= saved.position &&",
    replace: "return saved !== undefined || sample.position <= saved!.position &&",
  },
  {
    name: "an idle decision binds before it is saved",
    file: LEDGER,
    find: "return Math.max(this.#maxEventTimeMs - this.#plan.allowedLatenessMs, this.#savedRaiseMs);",
    replace: "return Math.max(this.#maxEventTimeMs - this.#plan.allowedLatenessMs, this.#raisedToMs);",
  },
  {
    name: "an idle decision is forgotten at a restart",
    file: LEDGER,
    find: "this.#raisedToMs = this.#savedRaiseMs = saved.raisedToMs ?? -Infinity;",
    replace: "this.#raisedToMs = this.#savedRaiseMs = -Infinity;",
  },
  {
    name: "event time begins anew at a restart",
    file: LEDGER,
    find: "this.#maxEventTimeMs = saved.maxEventTimeMs ?? -Infinity;",
    replace: "this.#maxEventTimeMs = -Infinity;",
  },
  {
    name: "the ledger is off by one",
    file: LEDGER,
    find: "consumed: before.consumed + progress.consumed,",
    replace: "consumed: before.consumed + progress.consumed + (progress.late > 0 ? 1 : 0),",
  },
  {
    name: "the ledger adds up, but calls late what is dead",
    file: LEDGER,
    find: "late: before.late + progress.late,\n      dead: before.dead + progress.dead,",
    replace: "late: before.late + progress.late + progress.dead,\n      dead: before.dead,",
  },
  {
    name: "redriven records are forgotten at a restart",
    file: LEDGER,
    find: "this.#redriven = [...saved.redriven];",
    replace: "this.#redriven = [];",
  },
  {
    name: "a redriven record counts twice",
    file: STATE,
    find: "return known !== undefined && known.offset !== offset;",
    replace: "return known !== undefined && known.offset === -1 - offset;",
  },
  {
    name: "late records are dropped",
    file: SHARD,
    find: "    if (state.isLearning) return;\n    const records = this.#records;",
    replace: `    if (state.isLearning || cause.why === "late") return;\n    const records = this.#records;`,
  },
  {
    name: "a window that ends at the watermark is still open for late records",
    file: "pipeline/operators/window_aggregate.ts",
    find: "if (windowEnd <= currentMs) {",
    replace: "if (windowEnd < currentMs) {",
  },
  {
    name: "filtered records do not tell the time",
    file: "pipeline/operators/window_aggregate.ts",
    find: "      if (time > maxEventTimeMs) {",
    replace: "      if (time > maxEventTimeMs && next < selected && selection[next] === row) {",
  },
  {
    name: "dedupe forgets too early",
    file: "pipeline/operators/deduplicate.ts",
    find: "const until = watermarkMs - this.#windowMs - this.#withinMs;",
    replace: "const until = watermarkMs;",
  },
  {
    name: "dedupe begins anew at a restart",
    file: "pipeline/runtime/lookback.ts",
    find: "    if (from.position >= sample.position) return undefined;",
    replace: "    if (from.position >= sample.position || true) return undefined;",
  },
  {
    name: "a reopened window lacks what came back after it had closed",
    file: "pipeline/runtime/recompute.ts",
    find: "offset >= until && wanted.has(windowStartMs)",
    replace: "offset < 0 && wanted.has(windowStartMs)",
  },
  {
    name: "a closed window is published again and again",
    file: WINDOWS,
    find: "        this.#windows.delete(start);\n",
    replace: "",
  },
  {
    name: "what was published before a restart is published again",
    file: WINDOWS,
    find:
      "    window.dirtySlots = [...batch.unpublished];\n    for (const slot of window.dirtySlots) window.dirty[slot] = 1;\n",
    replace:
      "    window.dirtySlots = Array.from({ length: batch.length }, (_, slot) => slot);\n    window.dirty.fill(1);\n",
  },
  {
    name: "what was not published before a restart is not published after it",
    file: WINDOWS,
    find: "    window.dirtySlots = [...batch.unpublished];\n",
    replace: "    window.dirtySlots = [];\n",
  },
  {
    name: "a part that is read again goes on to the next idle decision",
    file: STATE,
    find: "return Math.min(this.#stops[0]?.offset ?? Infinity, this.#start.until ?? Infinity);",
    replace: "return this.#stops[0]?.offset ?? this.#start.until ?? Infinity;",
  },
  {
    name: "early rows are called final",
    file: WINDOWS,
    find: "this.#row(values, window.panes, { slot, start, final: false });",
    replace: "this.#row(values, window.panes, { slot, start, final: true });",
  },
  {
    name: "revisions without the generation",
    file: WINDOWS,
    find: "this.#firstRevision = generation * REVISIONS_PER_GENERATION;",
    replace: "this.#firstRevision = 0 * generation;",
    test: { file: "tests/runtime/rewind_test.ts" },
  },
  {
    name: "the tail is not read at a resume",
    file: WRITER,
    find: "    this.#undecided = true;\n    await this.#readTails(signal);\n",
    replace: "",
  },
  {
    name: "skips what is there in any version, instead of replacing it",
    file: WRITER,
    find: "return order <= 0;",
    replace: "return true;",
  },
  {
    name: "an unknown outcome is taken for a failure",
    file: WRITER,
    find: "onCommit: () => this.#undecided = true,",
    replace: "onCommit: () => {},",
  },
  {
    name: "what is remembered of a tail is forgotten at the next checkpoint",
    file: WRITER,
    find: "if (this.#remembered.size === 0) return { topics };",
    replace: "if (this.#remembered.size >= 0) return { topics };",
  },
  {
    name: "records set aside are not looked for",
    file: "pipeline/sinks/set_aside.ts",
    find: "        if (write.isThere(written(record))) continue;\n",
    replace: "",
  },
  {
    name: "a write that failed is taken for done",
    file: "pipeline/sinks/retry.ts",
    find:
      "write: (rows, write) => untilAvailable(() => sink.write(rows, write), { ...options, signal: write.signal }),",
    replace: "write: (rows, write) => sink.write(rows, write).catch(() => {}),",
  },
  {
    name: "PostgreSQL's guard is the wrong way round",
    file: "pipeline/sinks/postgres_upsert.ts",
    find: ">= (t.${revision}, t.${final})`",
    replace: "<= (t.${revision}, t.${final})`",
    test: { file: "tests/sinks/postgres_test.ts", filter: "a lower revision does not replace" },
  },
  {
    name: "PostgreSQL takes rows of whoever was replaced",
    file: "pipeline/sinks/postgres_upsert.ts",
    find: "const fence = isFenced ?",
    replace: "const fence = isFenced && names.length === 0 ?",
    test: { file: "tests/sinks/postgres_test.ts", filter: "an older owner" },
  },
  {
    name: "a fenced writer takes its transactional id back",
    file: "pipeline/log/transactional_publisher.ts",
    find: "    this.#hold(await this.#nextEpoch(holding, signal));\n",
    replace: "    this.#hold(await this.#coordinator.initialize(null, signal));\n",
    test: { file: "tests/log/transactions_test.ts" },
  },
  {
    name: "aborted transactions are read",
    file: "pipeline/log/record_batch.ts",
    find: "return (attributes & TRANSACTIONAL) !== 0 && this.#voids.has(producerId);",
    replace: "return false;",
    test: { file: "tests/log/aborted_test.ts" },
  },
];
