"use strict";
document.documentElement.classList.add("js");

// Sort a table when one of its column heads is pressed; numbers by value, everything else as text.
document.querySelectorAll("table.sortable").forEach((table) => {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        const x = key(a), y = key(b), order = x !== "" && y !== "" && !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y);
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
});

// Copy a script to the clipboard; where the browser forbids it, select the text instead.
document.querySelectorAll("button.copy").forEach((button) => {
  const source = button.parentElement.querySelector("pre");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch (error) {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy script"; }, 2500);
  });
});

// Show the values under the pointer in an equity chart.
document.querySelectorAll("script.hover-data").forEach((holder) => {
  const data = JSON.parse(holder.textContent), figure = holder.parentElement, svg = figure.querySelector("svg");
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor"); cursor.setAttribute("y1", "18"); cursor.setAttribute("y2", "396");
  const tip = document.createElement("div");
  tip.className = "tip"; tip.hidden = true; figure.append(tip);
  const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const nearest = (series, x) => {
    let low = 0, high = series.x.length - 1;
    while (high - low > 1) { const mid = (low + high) >> 1; if (series.x[mid] <= x) low = mid; else high = mid; }
    return x - series.x[low] <= series.x[high] - x ? low : high;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const lines = [];
    let when = "", at = x;
    data.series.forEach((series) => {
      if (x < series.x[0] - 6 || x > series.x[series.x.length - 1] + 6) return;
      const i = nearest(series, x);
      if (!when) { when = series.t[i]; at = series.x[i]; }
      const line = document.createElement("div");
      line.textContent = `${series.label}: ${money.format(series.v[i])} ${data.unit} (drawdown ${series.d[i].toFixed(2)} %)`;
      lines.push(line);
    });
    tip.hidden = !lines.length;
    if (!lines.length) { cursor.remove(); return; }
    cursor.setAttribute("x1", at); cursor.setAttribute("x2", at); svg.append(cursor);
    const title = document.createElement("b"); title.textContent = `${when} UTC`;
    tip.replaceChildren(title, ...lines);
    const left = event.clientX - figure.getBoundingClientRect().left;
    tip.style.left = `${Math.max(0, Math.min(left + 14, figure.clientWidth - tip.offsetWidth - 4))}px`;
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; cursor.remove(); });
});
