import type { SavedPanes } from "../checkpoint/checkpoint.ts";
import { type PaneBatch, Panes } from "../operators/panes.ts";
import { createKeyReader } from "../operators/group_key.ts";
import { grown } from "../grown.ts";
import { type Plan, type ResultColumn, resultColumns } from "../plan/plan.ts";
import { type ResultRows, type ResultValue, REVISIONS_PER_GENERATION } from "../sinks/sink.ts";

/** Room a new window begins with: there may be many that have few panes. */
const SLOTS_FIRST = 16;

/** Which computation of the pipeline it is. */
export interface Computed {
  readonly generation?: number;
  readonly finalBeforeMs?: number | null;
  readonly floorMs?: number | null;
}

/** One open window: its panes, and which of them changed since they were last published. */
interface OpenWindow {
  readonly panes: Panes;
  dirty: Uint8Array;
  dirtySlots: number[];
}

/** The open windows of a pipeline over all its partitions: merged from what the shards flush, until their time has passed. */
export class WindowState {
  readonly columns: readonly ResultColumn[];
  readonly #plan: Plan;
  readonly #windows = new Map<number, OpenWindow>();
  readonly #readKey: ReturnType<typeof createKeyReader>;
  readonly #firstRevision: number;
  readonly #finalBeforeMs: number;
  readonly #floorMs: number;

  /**
   * @param computed.generation how often the pipeline was rewound, so that its rows replace those of the computation before
   * @param computed.finalBeforeMs windows that end at or before this are published when they are final, and not earlier
   * @param computed.floorMs of windows that start before this only what came back is here: see `takeEnded`
   */
  constructor(plan: Plan, { generation = 0, finalBeforeMs = null, floorMs = null }: Computed = {}) {
    this.#firstRevision = generation * REVISIONS_PER_GENERATION;
    this.#floorMs = floorMs ?? -Infinity;
    this.#finalBeforeMs = finalBeforeMs ?? -Infinity;
    this.#plan = plan;
    this.columns = resultColumns(plan);
    this.#readKey = createKeyReader(plan.groupBy.map(({ field }) => plan.fields[field].type));
  }

  get openWindows(): number {
    return this.#windows.size;
  }

  get openPanes(): number {
    let panes = 0;
    for (const window of this.#windows.values()) panes += window.panes.length;
    return panes;
  }

  /** The end of the latest open window, -Infinity when none is open. */
  get latestEndMs(): number {
    let latest = -Infinity;
    for (const start of this.#windows.keys()) latest = Math.max(latest, start);
    return latest + this.#plan.window.sizeMs;
  }

  /** The start of the earliest open window, Infinity when none is open. */
  get earliestStartMs(): number {
    let earliest = Infinity;
    for (const start of this.#windows.keys()) earliest = Math.min(earliest, start);
    return earliest;
  }

  has(windowStartMs: number): boolean {
    return this.#windows.has(windowStartMs);
  }

  /** Takes over the panes of one window from a checkpoint: what was published is not published again. */
  restore(batch: SavedPanes): void {
    this.merge(batch);
    const window = this.#windows.get(batch.windows[0])!;
    // Panes take their slots in the order of the batch.
    window.dirty.fill(0);
    window.dirtySlots = [...batch.unpublished];
    for (const slot of window.dirtySlots) window.dirty[slot] = 1;
  }

  /** Adds the panes of a flush that `known` has as well: the same key of the same window. */
  mergeKnown(batch: PaneBatch, known: WindowState): void {
    for (let row = 0; row < batch.length; row++) {
      if (known.#slotOf(batch, row) >= 0) this.#add(this.#windowAt(batch.windows[row]), batch, row);
    }
  }

  /** Adds the panes of a flush; only those of windows that `wanted` takes, if told. */
  merge(batch: PaneBatch, wanted: (windowStartMs: number) => boolean = () => true): void {
    let start = NaN;
    let isWanted = false;
    let window: OpenWindow | undefined;
    for (let row = 0; row < batch.length; row++) {
      if (batch.windows[row] !== start) {
        start = batch.windows[row];
        isWanted = wanted(start);
        if (!isWanted) continue;
        window = this.#windowAt(start);
      }
      if (isWanted) this.#add(window!, batch, row);
    }
  }

  /**
   * Takes out the windows that end at or before the watermark and start before the floor. Their results are of an earlier
   * computation, so they have to be computed again from all of their records.
   */
  takeEnded(watermarkMs: number): PaneBatch[] {
    if (this.#floorMs === -Infinity) return [];
    const ended = [...this.#windows].filter(([start]) =>
      start < this.#floorMs && start + this.#plan.window.sizeMs <= watermarkMs
    );
    for (const [start] of ended) this.#windows.delete(start);
    return ended.map(([, { panes }]) => panes.batch());
  }

  /**
   * Closes the windows that end at or before the watermark and gives all their panes as final rows; with `early` also the
   * changed panes of windows that stay open.
   */
  publish(watermarkMs: number, early: boolean): ResultRows {
    const values: ResultValue[][] = this.columns.map(() => []);
    for (const [start, window] of [...this.#windows].sort(([a], [b]) => a - b)) {
      if (start + this.#plan.window.sizeMs <= watermarkMs) {
        for (let slot = 0; slot < window.panes.length; slot++) {
          this.#row(values, window.panes, { slot, start, final: true });
        }
        this.#windows.delete(start);
      } else if (early && start + this.#plan.window.sizeMs > this.#finalBeforeMs) {
        for (const slot of window.dirtySlots) {
          window.dirty[slot] = 0;
          this.#row(values, window.panes, { slot, start, final: false });
        }
        window.dirtySlots = [];
      }
    }
    return { columns: this.columns, length: values[0].length, values };
  }

  /** Rows of all open panes as they are now, early ones; of windows before the floor there are none. They stay. */
  openRows(): ResultRows {
    const values: ResultValue[][] = this.columns.map(() => []);
    for (const [start, { panes }] of this.#windows) {
      if (start < this.#floorMs) continue;
      for (let slot = 0; slot < panes.length; slot++) this.#row(values, panes, { slot, start, final: false });
    }
    return { columns: this.columns, length: values[0].length, values };
  }

  /** Final rows of the panes with these keys and windows, all of which are here; they stay. */
  rowsOf(batches: readonly PaneBatch[]): ResultRows {
    const values: ResultValue[][] = this.columns.map(() => []);
    for (const keys of batches) {
      for (let row = 0; row < keys.length; row++) {
        const start = keys.windows[row];
        const slot = this.#slotOf(keys, row);
        if (slot < 0) {
          throw new Error(`A record of window ${start} came back, but is not found there again: this is a bug`);
        }
        this.#row(values, this.#windows.get(start)!.panes, { slot, start, final: true });
      }
    }
    return { columns: this.columns, length: values[0].length, values };
  }

  /** All open panes, for the checkpoint. */
  batches(): SavedPanes[] {
    return Array.from(this.#windows.values(), ({ panes, dirtySlots }) => ({
      ...panes.batch(),
      unpublished: Int32Array.from(dirtySlots),
    }));
  }

  #windowAt(start: number): OpenWindow {
    let window = this.#windows.get(start);
    if (!window) {
      window = { panes: new Panes(this.#plan, SLOTS_FIRST), dirty: new Uint8Array(0), dirtySlots: [] };
      this.#windows.set(start, window);
    }
    return window;
  }

  #add(window: OpenWindow, batch: PaneBatch, row: number): void {
    const slot = window.panes.merge(batch, row);
    if (slot >= window.dirty.length) window.dirty = grown(window.dirty, new Uint8Array(window.panes.table.capacity));
    if (window.dirty[slot] === 0) {
      window.dirty[slot] = 1;
      window.dirtySlots.push(slot);
    }
  }

  /** The slot of a batch's pane in its window here; -1 when it is not here. */
  #slotOf({ keys, keyEnds, hashes, windows }: PaneBatch, row: number): number {
    const start = windows[row];
    const table = this.#windows.get(start)?.panes.table;
    return table ? table.find(keys, row === 0 ? 0 : keyEnds[row - 1], keyEnds[row], hashes[row], start) : -1;
  }

  #row(values: ResultValue[][], panes: Panes, pane: { slot: number; start: number; final: boolean }): void {
    const { table } = panes;
    let column = 0;
    for (const key of this.#readKey(table.keys, table.keyStart(pane.slot), table.keyEnds[pane.slot])) {
      values[column++].push(key);
    }
    values[column++].push(pane.start);
    values[column++].push(pane.start + this.#plan.window.sizeMs);
    for (let i = 0; i < this.#plan.select.length; i++) values[column++].push(panes.result(i, pane.slot));
    values[column++].push(this.#firstRevision + panes.counts[pane.slot]);
    values[column].push(pane.final);
  }
}
