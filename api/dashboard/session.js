// Who is signed in, and the way out. Nothing is shown where no keys are set.

/** Goes to the page that asks for a key, and comes back here afterwards. */
export function askForKey() {
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
}

export async function showSession() {
  const response = await fetch("/v1/whoami", { cache: "no-store" }).catch(() => null);
  if (!response?.ok) return;
  const { name, role, keys } = await response.json();
  document.getElementById("session").hidden = !keys;
  document.getElementById("session-name").textContent = `${name}, ${role}`;
}
