/** The start of the tumbling window that holds `timeMs`: the last multiple of `sizeMs` after `offsetMs` not after it. */
export function tumblingStart(timeMs: number, sizeMs: number, offsetMs: number): number {
  return Math.floor((timeMs - offsetMs) / sizeMs) * sizeMs + offsetMs;
}
