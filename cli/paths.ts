import { fileURLToPath } from "node:url";

/** The absolute path of something in this project. */
export function projectPath(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}
