"use strict";
(function () {
  window.addEventListener("beforeprint", () => document.querySelectorAll("details.print").forEach((item) => (item.open = true)));
  const table = document.getElementById("findings");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const search = document.getElementById("search");
  const boxes = Array.from(document.querySelectorAll("input[data-severity]"));
  const fixed = document.getElementById("fixed");
  const exploited = document.getElementById("exploited");
  const fresh = document.getElementById("fresh");
  const shown = document.getElementById("shown");
  const none = document.getElementById("none");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.severity));
    let count = 0;
    for (const row of rows) {
      const text = texts.get(row);
      const keep =
        wanted.has(row.dataset.severity) &&
        (!fixed.checked || row.dataset.fixed === "1") &&
        (!exploited.checked || row.dataset.kev === "1") &&
        (!fresh.checked || row.dataset.fresh === "1") &&
        words.every((word) => text.includes(word));
      row.hidden = !keep;
      count += keep ? 1 : 0;
    }
    const told = (number) => number.toLocaleString("en");
    shown.textContent = count === rows.length ? told(count) : told(count) + " of " + told(rows.length);
    none.hidden = count > 0;
  }

  function key(row, column) {
    const cell = row.cells[column];
    return cell.dataset.sort === undefined ? cell.textContent.trim().toLowerCase() : Number(cell.dataset.sort);
  }

  function compare(left, right) {
    if (typeof left === "number" && typeof right === "number") return left - right;
    return String(left).localeCompare(String(right), undefined, { numeric: true });
  }

  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending" || (head.dataset.first === "down" && !head.hasAttribute("aria-sort"));
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const keyed = rows.map((row, place) => [key(row, column), place, row]);
      keyed.sort((left, right) => (descending ? -1 : 1) * compare(left[0], right[0]) || left[1] - right[1]);
      body.append(...keyed.map((item) => item[2]));
    });
  });

  for (const control of [search, fixed, exploited, fresh, ...boxes]) control.addEventListener("input", filter);
  filter();
})();
