/** `larger`, begun with what `smaller` holds. */
export function grown<T extends Int32Array | Float64Array | Uint8Array>(smaller: T, larger: T): T {
  larger.set(smaller);
  return larger;
}
