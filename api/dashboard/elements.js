// Elements of a page, made from text.

/** An element with text or children; never markup from data. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Fills a table; its cells are changed in place so that a selection or a screen reader's place in it survives. */
export function drawTable(table, { caption, head, rows, empty = "" }) {
  const shape = head.map(([name]) => name).join("\n");
  if (table.dataset.shape !== shape) {
    table.dataset.shape = shape;
    const cells = head.map(([name, right]) => el("th", { scope: "col", ...(right ? { class: "right" } : {}) }, name));
    table.replaceChildren(el("caption", {}, caption), el("thead", {}, el("tr", {}, ...cells)), el("tbody"));
  }
  table.hidden = rows.length === 0 && !empty;
  const body = table.tBodies[0];
  const shown = rows.length === 0 && empty ? [[empty]] : rows;
  while (body.rows.length > shown.length) body.deleteRow(-1);
  shown.forEach((values, r) => {
    const row = body.rows[r] ?? body.insertRow();
    while (row.cells.length > values.length) row.deleteCell(-1);
    values.forEach((value, c) => {
      const cell = row.cells[c] ?? row.insertCell();
      if (cell.textContent !== value) cell.textContent = value;
      cell.className = rows.length === 0 ? "quiet" : head[c][1] ? "right" : "";
      cell.colSpan = rows.length === 0 ? head.length : 1;
    });
  });
}
