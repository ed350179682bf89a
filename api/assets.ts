/**
 * The dashboard's files, read from this package and from uPlot's. The only part of the API that needs Deno.
 *
 * @module
 */

interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
}

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
};

/** Every file that can be asked for. A path is looked up here, never joined to a folder, so none leads outside. */
const FILES: Readonly<Record<string, () => URL>> = {
  ...Object.fromEntries(
    [
      "index.html",
      "app.js",
      "audit.js",
      "ask.js",
      "charts.js",
      "connector_strip.js",
      "connector_words.js",
      "connectors.html",
      "connectors.js",
      "connectors.css",
      "elements.js",
      "format.js",
      "lake.html",
      "lake.js",
      "lake.css",
      "letters.html",
      "letters.js",
      "letters.css",
      "session.js",
      "windows.js",
      "style.css",
      "sign_in.css",
    ].map((
      name,
    ) => [
      name,
      () => new URL(`./dashboard/${name}`, import.meta.url),
    ]),
  ),
  "uplot/uPlot.js": () => new URL("./uPlot.esm.js", import.meta.resolve("uplot")),
  "uplot/uPlot.css": () => new URL("./uPlot.min.css", import.meta.resolve("uplot")),
};

/**
 * Makes `AppDeps.asset`: each file is read once, when first asked for, and answered with an ETag. Browsers ask again every
 * time (`no-cache`) and get a 304, so a new version shows at once.
 */
export function createAssets(): (path: string) => Promise<Response | null> {
  const loaded = new Map<string, Promise<Asset>>();
  return async (path) => {
    if (!Object.hasOwn(FILES, path)) return null;
    let asset = loaded.get(path);
    if (!asset) {
      asset = load(path);
      loaded.set(path, asset);
    }
    const { body, headers } = await asset;
    return new Response(body, { headers });
  };
}

async function load(path: string): Promise<Asset> {
  const body = await Deno.readFile(FILES[path]());
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  const etag = `"${digest.toHex().slice(0, 32)}"`;
  const type = TYPES[path.slice(path.lastIndexOf(".") + 1)];
  return { body, headers: { "content-type": type, "cache-control": "no-cache", etag } };
}
