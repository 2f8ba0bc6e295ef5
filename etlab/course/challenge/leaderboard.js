// Sorting, places and what is read out. Which tier and which rows are seen is the style sheet's affair.
(() => {
  const root = document.currentScript.parentElement;
  const table = root.querySelector("table");
  const headings = [...root.querySelectorAll("th[data-column]")];
  const tiers = [...root.querySelectorAll("input[type=radio]")];
  const baselines = root.querySelector("input[type=checkbox]");
  const said = root.querySelector("[role=status]");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const alphabet = new Intl.Collator("en", { numeric: true });
  const rows = [...root.querySelectorAll(".etlab-entry")];
  let sorted = headings[0];
  let direction = sorted.dataset.first;

  const tier = () => tiers.find((input) => input.checked);
  const shown = (row) => !baselines || baselines.checked || !row.classList.contains("etlab-baseline");
  const cell = (row, column) => row.rows[0].cells[column]; // a row's problems, if any, are in a line under it
  const title = (heading) => {
    const group = heading.classList.contains("etlab-published") ? "published " : "";
    return group + heading.textContent;
  };

  /** Of two rows which comes first: what is missing comes last in both directions. */
  function comparison(heading, sign) {
    const { key, column } = heading.dataset;
    return (one, other) => {
      const [a, b] = [one, other].map((row) => cell(row, column).dataset.value);
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return sign * (key === "name" ? alphabet.compare(a, b) : a - b);
    };
  }

  /** Sorts the rows as they stand, so that equals keep the order that an earlier column gave them. */
  function sort() {
    const order = [...root.querySelectorAll(".etlab-entry")];
    table.append(...order.sort(comparison(sorted, direction === "ascending" ? 1 : -1)));
    for (const heading of headings) heading.removeAttribute("aria-sort");
    sorted.setAttribute("aria-sort", direction);
  }

  /** Sorts, and lets the eye follow the rows to where they go. */
  function glide() {
    const top = (row) => row.getBoundingClientRect().top;
    const from = rows.map(top);
    sort();
    const to = rows.map(top);
    rows.forEach((row, i) => {
      const way = Math.max(-innerHeight, Math.min(innerHeight, from[i] - to[i]));
      if (way === 0 || to[i] < -innerHeight || to[i] > 2 * innerHeight) return;
      row.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }], { duration: 220, easing: "ease-out" });
    });
  }

  /** Places by the score of the chosen tier among the rows that are shown; equals share one. */
  function rank() {
    const score = (row) => Number(cell(row, tier().dataset.column).dataset.value);
    const scores = rows.filter(shown).map(score).sort((a, b) => b - a);
    const there = scores.filter((value) => !Number.isNaN(value));
    for (const row of rows) {
      const place = 1 + there.indexOf(score(row));
      const { dataset } = cell(row, 0);
      cell(row, 0).textContent = place || "—";
      if (place) dataset.value = place;
      else delete dataset.value;
    }
  }

  /** After a change of tier the same quantity of the new tier is sorted by, or the place. */
  function follow() {
    const key = sorted.dataset.key;
    const seen = ({ classList }) => !classList.value.includes("in-") || classList.contains(`in-${tier().value}`);
    const same = headings.find((heading) => seen(heading) && heading.dataset.key === key);
    if (!same) direction = headings[0].dataset.first;
    sorted = same || headings[0];
  }

  function tell() {
    const name = tier().value === "all" ? "all tiers" : `${tier().value} tier`;
    said.textContent = `${name}, ${rows.filter(shown).length} rows, sorted by ${title(sorted)}, ${direction}`;
  }

  function changed() {
    rank();
    follow();
    sort();
    tell();
  }

  function pressed(heading) {
    const other = { ascending: "descending", descending: "ascending" };
    direction = heading === sorted ? other[direction] : heading.dataset.first;
    sorted = heading;
    if (still.matches) sort();
    else glide();
    tell();
  }

  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => pressed(heading));
    heading.append(button);
  }
  root.querySelector("form").addEventListener("change", changed);
  rank();
  follow();
  sort();
})();
