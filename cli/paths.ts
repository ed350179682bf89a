/** The absolute path of something in this project. */
export function projectPath(path: string): string {
  return decodeURIComponent(new URL(`../${path}`, import.meta.url).pathname);
}
