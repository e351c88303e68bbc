// Keeps the page fresh: what the server sends replaces the board, and elapsed times go on. Without it the page is complete, and loads itself anew.
"use strict";
const live = document.getElementById("live");
const board = document.getElementById("board");
let ahead = 0; // of this machine's clock, in milliseconds
let heard = Date.now();

function span(milliseconds) {
  let seconds = Math.max(Math.floor(milliseconds / 1000), 0);
  if (seconds >= 3600) seconds -= seconds % 60;
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]].map(([size, unit]) => {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    return count ? count + unit : "";
  });
  return parts.join("") || "0s";
}

function set() {
  const now = board.querySelector("#now");
  if (now) ahead = Date.now() - Number(now.dataset.now);
  tick();
}

function tick() {
  const now = Date.now() - ahead;
  for (const each of board.querySelectorAll("[data-since]")) each.textContent = span(now - Number(each.dataset.since));
  for (const each of board.querySelectorAll("[data-until]")) {
    const left = Number(each.dataset.until) - now;
    each.textContent = left > 0 ? "in " + span(left) : span(-left) + " overdue";
    each.classList.toggle("overdue", left <= 0);
  }
  if (live.classList.contains("away")) live.textContent = "NOT LIVE for " + span(Date.now() - heard);
}

function say(is_live) {
  if (is_live) heard = Date.now();
  live.classList.toggle("away", !is_live);
  if (is_live) live.textContent = "live";
}

if (live.dataset.events) {
  const events = new EventSource(live.dataset.events);
  events.addEventListener("board", (event) => {
    const fresh = new DOMParser().parseFromString(event.data, "text/html");
    board.replaceChildren(...document.importNode(fresh.body, true).childNodes);
    say(true);
    set();
  });
  events.addEventListener("open", () => say(true));
  events.addEventListener("trouble", () => say(false));
  events.addEventListener("error", () => say(false));
  events.addEventListener("still", () => say(true));
  events.addEventListener("gone", () => { events.close(); location.reload(); });
  setInterval(() => { if (Date.now() - heard > 40000) say(false); }, 5000);
}
setInterval(tick, 1000);
set();
