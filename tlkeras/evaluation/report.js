"use strict";

// Tables: a press on a column's name sorts up, the next one down, the third brings the first order back.
// Python marks the columns of numbers; theirs go by the number a cell begins with. What has none comes last either way.
const collator = new Intl.Collator("en", { numeric: true });
const numberIn = (text) => parseFloat(text.replace(/^<\s*/, "").replaceAll(",", "").replace("−", "-"));
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

function sortedRows(rows, column, numeric, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const keyed = rows.map((row) => {
    const text = row.cells[column].textContent;
    const key = numeric ? numberIn(text) : text;
    return { row, key, last: numeric ? Number.isNaN(key) : key === "" };
  });
  const compare = numeric ? (a, b) => a - b : collator.compare;
  keyed.sort((a, b) => a.last - b.last || (a.last ? 0 : sign * compare(a.key, b.key)));
  return keyed.map(({ row }) => row);
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const firstOrder = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  if (firstOrder.length < 2) return;
  headers.forEach((header, column) => {
    if (header.textContent === "") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const direction = NEXT[header.getAttribute("aria-sort") ?? "none"];
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      if (direction === "none") return body.append(...firstOrder);
      header.setAttribute("aria-sort", direction);
      body.append(...sortedRows(firstOrder, column, header.classList.contains("number"), direction));
    });
  });
}

// Code: a button that copies it, or selects it where the browser gives no clipboard.
function makeCopyable(box) {
  const code = box.querySelector("code");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  box.append(button);
}

document.querySelectorAll("table").forEach(makeSortable);
document.querySelectorAll(".code").forEach(makeCopyable);

// Figures: a press shows one at the size it was drawn for, in a box that scrolls where the screen is narrower.
document.querySelectorAll("figure").forEach((figure) => {
  figure.querySelector("img").addEventListener("click", () => figure.classList.toggle("full"));
});
