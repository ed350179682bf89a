// The newest windows of one pipeline: rows by window and key, and one figure per window for the chart.

const WINDOWS_MAX = 120;
/** Rows kept for the table and for later revisions; older windows keep their figures only. */
const ROWS_MAX = 30_000;

/** How rows of different keys become one figure, by the aggregate that made them; in words for the note. */
const FOLDS = {
  count: { words: "summed over all keys", start: 0, add: (sum, value) => sum + value },
  sum: { words: "summed over all keys", start: 0, add: (sum, value) => sum + value },
  min: { words: "the smallest of all keys", start: Infinity, add: (least, value) => Math.min(least, value) },
  max: { words: "the largest of all keys", start: -Infinity, add: (most, value) => Math.max(most, value) },
  avg: { words: "the mean of all keys, each counting once", start: 0, add: (sum, value) => sum + value, mean: true },
};

const NUMERIC = /^(int|long|float|double|decimal)/;

export class WindowStore {
  #keys;
  #select;
  #windows = new Map();
  #rows = 0;
  #ignoredMs = -Infinity;

  constructor(pipeline) {
    const { columns, definition } = pipeline;
    this.#keys = columns.filter((column) => column.role === "key").map((column) => column.name);
    this.#select = definition.select;
    /** Value columns that a chart can show. */
    this.charted = columns.filter((column) => column.role === "value" && NUMERIC.test(column.type)).map((c) => c.name);
  }

  /** Takes rows in any order; a row is replaced by a later revision of itself only. */
  add(rows) {
    for (const row of rows) {
      const window = this.#window(Date.parse(row.window_start));
      if (!window || window.figures) continue;
      const key = JSON.stringify(this.#keys.map((name) => row[name]));
      const before = window.rows.get(key);
      if (before && before.revision > row.revision) continue;
      if (!before) this.#rows++;
      window.rows.set(key, row);
      window.cache = null;
    }
    this.#trim();
  }

  /** Forgets this window and all before it, for good: not all of their rows were read, so their figures would be wrong. */
  ignoreUpTo(start) {
    this.#ignoredMs = Date.parse(start);
    for (const startMs of this.#windows.keys()) {
      if (startMs <= this.#ignoredMs) this.#delete(startMs);
    }
  }

  /** True when there are windows that this page did not read to the end. */
  get ignores() {
    return this.#ignoredMs > -Infinity;
  }

  /** As many windows as are kept. */
  get full() {
    return this.#windows.size >= WINDOWS_MAX;
  }

  get empty() {
    return this.#windows.size === 0;
  }

  words(column) {
    return this.#keys.length === 0 ? "" : this.#fold(column).words;
  }

  /** Per window, oldest first: start in seconds, the figure, and whether it is final. */
  series(column) {
    return [...this.#windows.entries()].sort(([a], [b]) => a - b).map(([startMs, window]) => {
      const { figures, final } = window.figures ? window : this.#summary(window);
      return { start: startMs / 1000, figure: figures[column] ?? null, final };
    });
  }

  /** Rows of the newest windows, in each the largest of `column` first. */
  newest(column, limit) {
    const rows = [];
    for (const [, window] of [...this.#windows.entries()].sort(([a], [b]) => b - a)) {
      if (!window.rows || rows.length >= limit) break;
      const value = (row) => row[column] === null ? -Infinity : Number(row[column]);
      rows.push(...[...window.rows.values()].sort((a, b) => value(b) - value(a)).slice(0, limit - rows.length));
    }
    return rows;
  }

  #window(startMs) {
    if (startMs <= this.#ignoredMs) return null;
    let window = this.#windows.get(startMs);
    if (!window) {
      window = { rows: new Map(), figures: null, final: false, cache: null };
      this.#windows.set(startMs, window);
    }
    return window;
  }

  #fold(column) {
    return FOLDS[/^\w+/.exec(this.#select[column] ?? "")?.[0]] ?? FOLDS.avg;
  }

  #summary(window) {
    if (window.cache) return window.cache;
    const rows = [...window.rows.values()];
    const figures = {};
    for (const column of this.charted) {
      const fold = this.#fold(column);
      const values = rows.filter((row) => row[column] !== null).map((row) => Number(row[column])).filter(
        Number.isFinite,
      );
      const folded = values.reduce(fold.add, fold.start);
      figures[column] = values.length === 0 ? null : fold.mean ? folded / values.length : folded;
    }
    return window.cache = { figures, final: rows.every((row) => row.final) };
  }

  #delete(startMs) {
    this.#rows -= this.#windows.get(startMs).rows?.size ?? 0;
    this.#windows.delete(startMs);
  }

  #trim() {
    const starts = [...this.#windows.keys()].sort((a, b) => a - b);
    for (const start of starts.splice(0, Math.max(0, starts.length - WINDOWS_MAX))) {
      this.#delete(start);
    }
    for (const start of starts.slice(0, -1)) {
      if (this.#rows <= ROWS_MAX) break;
      const window = this.#windows.get(start);
      if (!window.rows) continue;
      this.#rows -= window.rows.size;
      Object.assign(window, this.#summary(window), { rows: null, cache: null });
    }
  }
}
