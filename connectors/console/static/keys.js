// Keys: "/" goes to the search, "j" and "k" from one row of a list to the next, as the arrows do within one.
"use strict";

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/") {
    const box = document.querySelector(".everything input[type=search]");
    if (!box) return;
    box.focus();
    box.select();
  } else if (event.key === "j" || event.key === "k") {
    const links = [...document.querySelectorAll("main tbody tr")]
      .map((row) => row.querySelector("a[href]"))
      .filter((link) => link !== null);
    if (links.length === 0) return;
    const row = document.activeElement.closest("main tbody tr");
    const here = links.findIndex((link) => row !== null && row.contains(link));
    const next = here < 0 ? 0 : here + (event.key === "j" ? 1 : -1);
    links[Math.min(Math.max(next, 0), links.length - 1)].focus();
  } else {
    return;
  }
  event.preventDefault();
});
