// Numbers, spans and times as this page shows them. Times are UTC, as everywhere in Tailrace.

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

/** 1.2K, for axes. */
export function short(value) {
  return value === null ? "" : Math.abs(value) < 10 ? fine.format(value) : compact.format(value);
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

/** 1 minute, 15 minutes, 1 day: the largest unit that divides it. */
export function size(ms) {
  const units = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000], ["ms", 1]];
  const [name, unit] = units.find(([, unit]) => ms % unit === 0);
  const count = ms / unit;
  return `${count} ${name}${count === 1 || name === "ms" ? "" : "s"}`;
}
