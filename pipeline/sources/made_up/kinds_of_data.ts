/**
 * The kinds of data that are made up. Each record follows from its number alone, but for its time: so a stream that is read on
 * from a number is the stream that would have been.
 *
 * @module
 */

/** The record of a number, as `avroType` takes it; the schema of the same name in schemas/ fits it. */
export type MakeUp = (number: number, timeMs: number) => Readonly<Record<string, unknown>>;

const USERS = 20_000;
const SENSORS = 120;
const SITES = ["north", "south", "east", "west"];
const DEVICES = ["phone", "phone", "desktop", "desktop", "tablet", "other"];
const COUNTRIES = ["DE", "FR", "GB", "US", "US", "IN", "BR", "JP"];
const PAGES = ["/", "/search", "/product", "/cart", "/checkout", "/account", "/help"];
/** Few of those who look buy. */
const EVENT_TYPES = [
  ..."view ".repeat(12).trim().split(" "),
  "search",
  "search",
  "search",
  "cart",
  "cart",
  "purchase",
  "sign_up",
];

/** By name of schema. */
export const MADE_UP = {
  user_event: userEvent,
  sensor_reading: sensorReading,
} as const satisfies Record<string, MakeUp>;

function userEvent(number: number, timeMs: number) {
  const pick = (salt: number) => hash(number, salt);
  // A few users do most: the square of an even draw is mostly small.
  const draw = pick(1) / 2 ** 32;
  const user = Math.floor(draw * draw * USERS);
  return {
    event_id: uuid(number),
    user_id: `U-${String(user).padStart(6, "0")}`,
    session_id: `S-${user}-${Math.floor(timeMs / 1_800_000)}`,
    event_type: EVENT_TYPES[pick(2) % EVENT_TYPES.length],
    page: PAGES[pick(3) % PAGES.length],
    country: COUNTRIES[hash(user, 4) % COUNTRIES.length],
    device: DEVICES[hash(user, 5) % DEVICES.length],
    duration_ms: 200 + pick(6) % 30_000,
    event_time: timeMs,
  };
}

function sensorReading(number: number, timeMs: number) {
  const sensor = number % SENSORS;
  const hours = timeMs / 3_600_000;
  const warmth = 12 + sensor % 9 + 6 * Math.sin(2 * Math.PI * (hours - 9) / 24);
  const noise = hash(number, 1) / 2 ** 32 - 0.5;
  return {
    sensor_id: `sensor-${String(sensor).padStart(3, "0")}`,
    site: SITES[sensor % SITES.length],
    temperature: rounded(warmth + noise),
    humidity: rounded(Math.min(100, Math.max(0, 70 - warmth + 5 * noise))),
    battery: 100 - Math.floor(hours * 3 + sensor) % 80,
    measured_at: timeMs,
  };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

/** 32 even bits of a number. Source: the finalizer of MurmurHash3. */
function hash(number: number, salt: number): number {
  let h = Math.imul(number | 0, 0x9e3779b1) ^ Math.imul(salt, 0x85ebca6b) ^ Math.floor(number / 2 ** 32);
  h = Math.imul(h ^ h >>> 16, 0x85ebca6b);
  h = Math.imul(h ^ h >>> 13, 0xc2b2ae35);
  return (h ^ h >>> 16) >>> 0;
}

/** A UUID of version 8 (RFC 9562), of a number. */
function uuid(number: number): string {
  const hex = (salt: number) => hash(number, salt).toString(16).padStart(8, "0");
  const [a, b, c] = [hex(11), hex(12), hex(13)];
  const last = number.toString(16).padStart(12, "0").slice(-12);
  return `${a}-${b.slice(0, 4)}-8${b.slice(5)}-${(8 + Number.parseInt(c[0], 16) % 4).toString(16)}${
    c.slice(1, 4)
  }-${last}`;
}
