"use strict";
(() => {
  const all = (where, what) => [...where.querySelectorAll(what)];
  const order = new Intl.Collator("en", { numeric: true }).compare;

  // Light or dark: as the system has it until the reader chooses.
  const root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a file */ } };
  if (remembered()) root.dataset.theme = remembered();
  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme || (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    remember(root.dataset.theme);
  });

  // Tables: a button in each head sorts by its column, up and then down.
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.order || cell.textContent.trim();
  };
  const sort = (table, column) => {
    const heads = all(table, "thead th");
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = all(table, "tbody tr");
    rows.sort((a, b) => (down ? -1 : 1) * order(key(a, column), key(b, column)));
    table.tBodies[0].append(...rows);
  };
  for (const table of all(document, "table[data-sortable]")) {
    all(table, "thead th").forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column));
    });
  }

  // Filters: rows that have every chosen attribute and all words stay.
  for (const form of all(document, "form[data-filters]")) {
    const rows = all(document.getElementById(form.dataset.filters), "tbody tr");
    const filter = () => {
      const words = form.querySelector("input").value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !(
          all(form, "select").every((s) => !s.value || row.dataset[s.dataset.attribute] === s.value)
          && words.every((word) => text.includes(word))
        );
        shown += !row.hidden;
      }
      form.querySelector("[role=status]").textContent = `${shown} of ${rows.length} ${form.dataset.what}`;
    };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    filter();
  }
})();
