// The page: what is seen, and what the reader does.

const el = (id) => document.getElementById(id);

const state = {
  spacing: "squeezed", near: 0, hiddenNodes: new Set(), hiddenFrames: new Set(),
  hiddenGroups: new Set(Object.keys(GROUPS).filter((id) => !GROUPS[id].on)),
  shown: [], rowOf: new Map(), letters: [], axis: null,
  top: 0, scale: 1, sideways: 0, hover: null, selected: null, printing: false,
};
const painter = new Painter(el("canvas"), state);
const list = new EventList(el("list"), el("rows"), state, choose);

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    painter.draw();
    list.draw();
  });
}

// After a change of filters or spacing; the moment in the middle stays there.
function refilter() {
  const middle = state.axis ? state.axis.timeAt(state.top + painter.plot / 2 / state.scale) : null;
  const density = state.axis ? state.axis.end * state.scale : null;
  state.shown = select(state);
  state.rowOf = new Map(state.shown.map((event, row) => [event.index, row]));
  state.letters = [...new Set(state.shown.map((event) => event.letter).filter(Boolean))];
  state.axis = new Axis(state.shown.map((event) => event.at), state.spacing);
  el("count").textContent = `${state.shown.length.toLocaleString("en")} of ${EVENTS.length.toLocaleString("en")}`;
  if (middle !== null) {
    state.scale = density / (state.axis.end || 1);
    limitScale();
    state.top = state.axis.posOf(middle) - painter.plot / 2 / state.scale;
  }
  limitTop();
  redraw();
}

// From everything in one view to a hundred pixels per row, or to single microseconds.
const leastScale = () => painter.plot / (state.axis.end || 1);
function limitScale() {
  const most = state.axis.spacing === "true" ? Math.max(100, 20 * state.axis.rowTime) : 100;
  state.scale = Math.max(leastScale(), Math.min(state.scale, Math.max(most, leastScale())));
}
function limitTop() {
  const slack = 30 / state.scale, seen = painter.plot / state.scale;
  state.top = Math.max(-slack, Math.min(state.top, Math.max(-slack, state.axis.end - seen + slack)));
}
function zoom(factor, y = HEAD + painter.plot / 2) {
  const pos = painter.posAt(y);
  state.scale *= factor;
  limitScale();
  state.top = pos - (y - HEAD) / state.scale;
  limitTop();
  redraw();
}
function zoomAll() {
  state.scale = leastScale();
  state.top = -BROW / state.scale;
  limitTop();
  redraw();
}
function pan(pixels) {
  state.top += pixels / state.scale;
  limitTop();
  redraw();
}
function panSideways(pixels) {
  state.sideways = Math.max(0, Math.min(painter.sidewaysMax, state.sideways + pixels));
  redraw();
}
function centre(pos) {
  state.top = pos - painter.plot / 2 / state.scale;
  limitTop();
  redraw();
}

function choose(index, move) {
  state.selected = index;
  const row = state.rowOf.get(index);
  showDetails(el("detail"), EVENTS[index]);
  if (row !== undefined) {
    list.reveal(row);
    const y = painter.y(state.axis.pos[row]);
    if (move && (y < HEAD + 20 || y > painter.height - 20)) centre(state.axis.pos[row]);
  }
  redraw();
}
function step(by) {
  const now = state.rowOf.get(state.selected) ?? nearestRow(painter.posAt(HEAD + painter.plot / 2)) - by;
  const row = Math.max(0, Math.min(state.shown.length - 1, now + by));
  if (state.shown[row]) choose(state.shown[row].index, true);
}
function nearestRow(pos) {
  const next = Axis.after(state.axis.pos, pos);
  if (next === 0) return 0;
  return next < state.axis.pos.length && state.axis.pos[next] - pos < pos - state.axis.pos[next - 1] ? next : next - 1;
}
// The last shown event that is not after the end point.
function focusRow() {
  const row = state.shown.findLastIndex((event) => event.index <= FOCUS);
  return row < 0 ? 0 : row;
}
// To the violation, or to the end, with some rows before it in view.
function jump() {
  if (!state.shown.length) return;
  state.scale = Math.max(state.scale, Math.min(100, painter.plot / 70 / (state.spacing === "squeezed" ? 1.2 : 1)));
  if (state.spacing === "true") state.scale = Math.max(leastScale(), painter.plot / Math.min(70, state.shown.length));
  limitScale();
  const row = focusRow();
  choose(state.shown[row].index, false);
  state.top = state.axis.pos[row] - (painter.plot * 0.75) / state.scale;
  limitTop();
  redraw();
}

let found = -1;
function find() {
  const text = el("find").value.trim().toLowerCase();
  if (!text) return void (el("found").textContent = "");
  const hits = state.shown.filter((event) => (nodeName(event.node) + " " + words(event)).toLowerCase().includes(text));
  if (!hits.length) return void (el("found").textContent = "nothing");
  found = (found + 1) % hits.length;
  el("found").textContent = `${found + 1} of ${hits.length}`;
  choose(hits[found].index, true);
}

function checkbox(parent, text, colour, on, change) {
  const label = document.createElement("label"), input = document.createElement("input");
  [input.type, input.checked] = ["checkbox", on];
  input.addEventListener("change", () => {
    change(input.checked);
    refilter();
  });
  label.append(input);
  if (colour) {
    const swatch = document.createElement("span");
    swatch.className = "swatch line";
    swatch.style.background = colour;
    label.append(swatch);
  }
  label.append(text);
  parent.append(label);
}
const toggle = (set, key) => (on) => (on ? set.delete(key) : set.add(key));

function buildFilters() {
  const counts = (keep) => EVENTS.filter(keep).length.toLocaleString("en");
  NODES.forEach((name, no) => checkbox(el("nodes"), name, null, true, toggle(state.hiddenNodes, no)));
  for (const [id, group] of Object.entries(GROUPS)) {
    const count = counts((event) => GROUP_OF[event.what] === id);
    checkbox(el("kinds"), `${group.name} ${count}`, null, group.on, toggle(state.hiddenGroups, id));
  }
  DATA.frames.forEach((name, frame) => {
    const count = MESSAGES.filter((message) => message.frame === frame).length.toLocaleString("en");
    checkbox(el("frames"), `${name} ${count}`, `var(--f${frame % FRAME_COLOURS})`, true, toggle(state.hiddenFrames, frame));
  });
}

function pointer(event) {
  const box = el("canvas").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}
// What is under the pointer, in a box beside it; the list follows.
function look(event) {
  const [x, y] = pointer(event), hit = x < painter.right ? painter.pick(x, y) : null, tip = el("tip");
  const row = nearestRow(painter.posAt(y));
  state.hover = hit?.event ?? (state.shown[row] ? state.shown[row].index : null);
  if (state.rowOf.has(state.hover)) list.reveal(state.rowOf.get(state.hover));
  tip.hidden = !hit;
  if (hit) {
    tip.textContent = hit.band ? `fault ${hit.band.no}: ${hit.band.words}\n${clock(hit.band.from)}, ${hit.band.until === null ? "to the end" : "for " + span(hit.band.until - hit.band.from)}`
      : details(EVENTS[hit.event]).map(([name, value]) => (name ? name + ": " : "") + value).join("\n");
    const left = x + 16 + tip.offsetWidth > painter.width ? x - 12 - tip.offsetWidth : x + 16;
    tip.style.left = Math.max(0, left) + "px";
    tip.style.top = Math.max(0, Math.min(y + 12, painter.height - tip.offsetHeight - 4)) + "px";
  }
  redraw();
}

function listenToPointer() {
  const canvas = el("canvas");
  let drag = null;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
    if (event.ctrlKey || event.metaKey || event.altKey) return zoom(Math.exp(-pixels / 300), pointer(event)[1]);
    if (event.shiftKey) return panSideways(pixels || event.deltaX);
    panSideways(event.deltaX);
    pan(pixels);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = pointer(event);
    drag = { x, y, moved: false, map: x > painter.right };
    canvas.setPointerCapture(event.pointerId);
    if (drag.map) centre(painter.mapPos(y));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return look(event);
    const [x, y] = pointer(event);
    if (drag.map) return centre(painter.mapPos(y));
    if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < 4) return;
    canvas.classList.add("dragging");
    pan(drag.y - y);
    panSideways(drag.x - x);
    drag = { ...drag, x, y, moved: true };
  });
  canvas.addEventListener("pointerup", (event) => {
    canvas.classList.remove("dragging");
    const hit = drag && !drag.moved && !drag.map ? painter.pick(...pointer(event)) : null;
    if (hit?.event !== undefined) choose(hit.event, false);
    drag = null;
  });
  canvas.addEventListener("pointerleave", () => {
    el("tip").hidden = true;
    state.hover = null;
    redraw();
  });
  canvas.addEventListener("dblclick", (event) => zoom(2, pointer(event)[1]));
}

const KEYS = {
  ArrowDown: () => pan(60), ArrowUp: () => pan(-60), ArrowLeft: () => panSideways(-60), ArrowRight: () => panSideways(60),
  PageDown: () => pan(painter.plot * 0.8), PageUp: () => pan(-painter.plot * 0.8), Home: () => centre(0), End: () => centre(state.axis.end),
  "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: zoomAll, n: () => step(1), p: () => step(-1), v: jump,
};
function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const inList = event.target === el("list") && { ArrowDown: () => step(1), ArrowUp: () => step(-1) }[event.key];
    const action = inList || KEYS[event.key];
    if (!action || (event.target === el("detail"))) return;
    event.preventDefault();
    action();
  });
}

function listen() {
  listenToPointer();
  listenToKeys();
  el("spacing").addEventListener("change", (event) => { state.spacing = event.target.value; refilter(); });
  el("near").addEventListener("change", (event) => { state.near = Number(event.target.value); refilter(); jump(); });
  el("zoom-in").addEventListener("click", () => zoom(1.4));
  el("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
  el("zoom-all").addEventListener("click", zoomAll);
  el("jump").addEventListener("click", jump);
  el("to-violation")?.addEventListener("click", (event) => { event.preventDefault(); jump(); });
  el("find").addEventListener("input", () => { found = -1; find(); });
  el("find").addEventListener("keydown", (event) => event.key === "Enter" && find());
  new ResizeObserver(() => { if (state.printing) return; painter.resize(); limitScale(); limitTop(); redraw(); }).observe(el("stage"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const print = (on) => () => {
    document.documentElement.classList.toggle("printing", on);
    state.printing = on;
    painter.draw();
  };
  addEventListener("beforeprint", print(true));
  addEventListener("afterprint", print(false));
}

function start() {
  const { before, after, idle } = DATA.left_out, number = (n) => n.toLocaleString("en");
  if (before + after + idle) {
    const near = before + after ? ` Shown are the ${number(EVENTS.length)} others that are nearest the ${VIOLATION >= 0 ? "violation" : "end"}, `
      + `without ${number(before)} before and ${number(after)} after them.` : "";
    el("left-out").hidden = false;
    el("left-out").textContent = `Left out, so that the page stays quick: ${number(idle)} timers and steps without effect.${near} Faults are those of the whole run.`;
  }
  if (VIOLATION >= 0) {
    el("jump").textContent = "To the violation";
    for (const option of el("near").options) option.text = option.text.replace("end point", "violation");
  }
  el("canvas").setAttribute("aria-label", `Space-time diagram: ${NODES.length} nodes (${NODES.join(", ")}), ${EVENTS.length} events, `
    + `${DATA.faults.length} faults, ${clock(DATA.end)} of virtual time, ${DATA.verdict.kind}. The same events are in the list beside it.`);
  buildFilters();
  listen();
  painter.resize();
  refilter();
  zoomAll();
  if (EVENTS.length > 150) jump();
}
start();
