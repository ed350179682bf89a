/** The page that asks a browser's user for a key. No script: a form and its answer. */
export function signInPage({ next, fault }: { readonly next: string; readonly fault: string | null }): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Sign in - Tailrace</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/style.css">
<link rel="stylesheet" href="/assets/sign_in.css">
</head>
<body class="sign-in">
<main>
<form class="panel" method="post" action="/sign-in">
<h1>Tailrace</h1>
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus
 spellcheck="false" placeholder="trk_..."${fault === null ? "" : ' aria-invalid="true" aria-describedby="fault"'}>
${fault === null ? "" : `<p id="fault" class="notice bad" role="alert">${text(fault)}</p>`}
<input type="hidden" name="next" value="${text(next)}">
<button type="submit">Sign in</button>
<p class="quiet"><code>tailrace key new --role viewer</code> makes a key, on the machine that Tailrace runs on.</p>
</form>
</main>
</body>
</html>
`;
}

/** A page of this server to go to after signing in: never an address elsewhere. */
export function localPath(path: string | undefined): string {
  // Browsers take a backslash for a slash and leave tabs and line breaks out: "/\t/elsewhere" would lead elsewhere.
  if (path === undefined || !/^\/(?![/\\])[\x21-\x7e]*$/.test(path) || path.includes("\\")) return "/";
  return path.startsWith("/sign-in") ? "/" : path;
}

function text(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}
