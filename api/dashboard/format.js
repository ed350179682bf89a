// Numbers, spans and times as this page shows them. Times are UTC, as everywhere in Tailrace.

const DAY_MS = 86_400_000;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 12,345 or 1.25; a dash for what is not known. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return (Math.abs(value) < 100 && !Number.isInteger(value) ? fine : whole).format(value);
}

/** A value in a table: two digits after the point whatever its size. */
export function precise(value) {
  return fine.format(value);
}

/** A number that came as text, a decimal or a very large long: 12,345.50 with every digit as it is; other text unchanged. */
export function exact(text) {
  const [, sign, digits, rest = ""] = /^(-?)(\d+)(\.\d+)?$/.exec(text) ?? [];
  return digits === undefined ? text : `${sign}${digits.replace(/\B(?=(\d{3})+$)/g, ",")}${rest}`;
}

/** True for columns of figures: aligned to the right and with separators. A key is a name, even one of digits. */
export function numeric(column) {
  return column.role !== "key" && /^(int|long|float|double|decimal)/.test(column.type);
}

/** A value of a result row as its table shows it; `sizeMs` is the size of the pipeline's windows. */
export function cell(column, value, { sizeMs, now = new Date() }) {
  if (column.role === "window_start") return windowTime(value, sizeMs, now);
  if (column.role === "final") return value ? "final" : "open";
  if (value === null) return "–";
  if (!numeric(column)) return String(value);
  return typeof value === "number" ? precise(value) : exact(String(value));
}

/** 1.2K, for axes. */
export function short(value) {
  return value === null ? "" : Math.abs(value) < 10 ? fine.format(value) : compact.format(value);
}

/** 512 B, 4.2 kB, 1.3 MB, 2 GB; a dash for what is not known. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${new Intl.NumberFormat("en", { maximumFractionDigits: 1 }).format(value / 1000 ** unit)} ${units[unit]}`;
}

/** 0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 4 d 3 h. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** 21:04:05, with the day when it is not today. */
export function clock(iso, now = new Date()) {
  if (!iso) return "–";
  const text = new Date(iso).toISOString();
  const time = text.slice(11, 19);
  return text.slice(0, 10) === now.toISOString().slice(0, 10) ? time : `${text.slice(0, 10)} ${time}`;
}

/** Start of a window: the day alone for windows of whole days, else as {@linkcode clock}. */
export function windowTime(iso, sizeMs, now = new Date()) {
  const start = Date.parse(iso);
  return sizeMs > 0 && sizeMs % DAY_MS === 0 && start % DAY_MS === 0
    ? new Date(start).toISOString().slice(0, 10)
    : clock(iso, now);
}

/**
 * Labels of a time axis whose ticks (seconds) are `step` seconds apart: 21:04, with seconds or as a day where the step asks for
 * it. Unless all of them are of today, the day stands below the first tick and wherever it changes.
 */
export function timeTicks(splits, step, now = new Date()) {
  const times = splits.map((seconds) => new Date(seconds * 1000).toISOString());
  const days = times.map((time) => time.slice(0, 10));
  if (step * 1000 >= DAY_MS) return days;
  const today = now.toISOString().slice(0, 10);
  const dated = days.some((day) => day !== today);
  return times.map((time, i) => {
    const label = time.slice(11, step < 60 ? 19 : 16);
    return dated && days[i] !== days[i - 1] ? `${label}\n${days[i]}` : label;
  });
}

/** 1 minute, 15 minutes, 1 day: the largest unit that divides it. */
export function size(ms) {
  const units = [["day", DAY_MS], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000], ["ms", 1]];
  const [name, unit] = units.find(([, unit]) => ms % unit === 0);
  const count = ms / unit;
  return `${count} ${name}${count === 1 || name === "ms" ? "" : "s"}`;
}
