/**
 * Seconds that processes had a processor to themselves, which other programs on a machine change less than how long things take.
 * By /proc, so on Linux only, and read by the shell: programs are let look there, and this one's runtime asks for every right for it.
 *
 * @module
 */

/** Of /proc/PID/stat, whatever the kernel's own clock. */
const TICKS_PER_SECOND = 100;

/** The seconds of a process so far, its threads and the kernel's work for it in them; null when it cannot be told. */
export function processorSeconds(pid: number | "self"): number | null {
  const stat = shell(`cat /proc/${pid === "self" ? Deno.pid : pid}/stat`);
  // pid (name) state ..: the name may hold anything, also parentheses. utime and stime are fields 14 and 15.
  const words = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return stat === "" ? null : (Number(words[11]) + Number(words[12])) / TICKS_PER_SECOND;
}

/** The process of this machine that listens on a port, as far as this user may see; null when there is none. */
export function listenerOf(port: number): number | null {
  const [inode] = ["tcp", "tcp6"].flatMap((file) => listening(shell(`cat /proc/net/${file}`), port));
  if (inode === undefined) return null;
  // `lrwx------ 1 root root 64 Nov 21 09:00 /proc/123/fd/4 -> socket:[inode]`
  const links = shell(`ls -l /proc/[0-9]*/fd/* | grep -F 'socket:[${inode}]'`);
  const found = /\/proc\/(\d+)\/fd\//.exec(links);
  return found === null ? null : Number(found[1]);
}

/** `sl local_address rem_address st .. uid timeout inode`, addresses and states in hexadecimal; 0A is LISTEN. */
function listening(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return table.split("\n").slice(1).flatMap((line) => {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    return state === "0A" && local.endsWith(suffix) ? [inode] : [];
  });
}

/** What a line of ours prints; nothing where it fails. */
function shell(line: string): string {
  const { stdout } = new Deno.Command("/bin/sh", { args: ["-c", line], stdin: "null", stderr: "null" }).outputSync();
  return new TextDecoder().decode(stdout);
}
