// The run as the page got it, in words, and what of it is shown.

const DATA = JSON.parse(document.getElementById("data").textContent);

// What can be switched off. Off at first: what the engine does without effect.
const GROUPS = {
  writes: { name: "writes", kinds: ["asked", "answered"], on: true },
  commits: { name: "commits", kinds: ["commit"], on: true },
  steps: { name: "idle steps", kinds: ["step"], on: false },
  timers: { name: "timers", kinds: ["timer"], on: false },
  connections: { name: "connections", kinds: ["connected", "closed"], on: true },
  processes: { name: "processes", kinds: ["died", "started", "not_started"], on: true },
  faults: { name: "faults", kinds: ["fault", "fault_end"], on: true },
};
const GROUP_OF = Object.fromEntries(Object.entries(GROUPS).flatMap(([id, group]) => group.kinds.map((kind) => [kind, id])));
const LETTERS = ["sent", "received", "lost"];

const NODES = DATA.nodes;
const nodeName = (no) => (no < 0 ? "" : NODES[no] ?? "node " + no);

const MESSAGES = DATA.messages.map(([from, to, frame, bytes, sent, received, lost]) =>
  ({ from, to, frame, bytes, sent, received, lost, sentEvent: -1, endEvent: -1 }));
const frameName = (message) => (message.frame < 0 ? "a frame" : DATA.frames[message.frame]);

const EVENTS = DATA.events.map(([at, node, what, ...args], index) => {
  const event = { index, at, node, what, args, letter: LETTERS.includes(what) ? MESSAGES[args[0]] : null };
  if (what === "sent") event.letter.sentEvent = index;
  if (what === "received" && event.letter.endEvent < 0) event.letter.endEvent = index;
  if (what === "lost") event.letter.endEvent = index;
  return event;
});

// From a write that was asked to its answer, on the same node.
const ANSWERS = new Map();
const ASKED = new Map();
for (const event of EVENTS) {
  if (event.what === "asked") ASKED.set(event.args[0], event);
  if (event.what === "answered" && ASKED.has(event.args[0])) ANSWERS.set(ASKED.get(event.args[0]).index, event);
}

// The end point: the violation, or the last event.
const VIOLATION = EVENTS.findLastIndex((event) => event.what === "violated");
const FOCUS = VIOLATION >= 0 ? VIOLATION
  : DATA.verdict.kind === "violated" ? Math.max(0, Axis.after(EVENTS.map((event) => event.at), DATA.verdict.at) - 1)
  : EVENTS.length - 1;

const bandOf = (event) => (event.args[0] === null ? null : DATA.faults[event.args[0]]);

const WORDS = {
  asked: (e) => `w${e.args[0]} asked: ${DATA.writes[e.args[0]] ?? ""}`,
  answered: (e) => (e.args[1] === null ? `w${e.args[0]} acknowledged` : `w${e.args[0]} refused: ${e.args[1]}`),
  step: (e) => `step of ${e.args[0]} inputs`,
  commit: (e) => `commit: ${e.args[1]} entries, ${e.args[0]} inputs, ${span(e.args[2])}`,
  sent: (e) => `→ ${nodeName(e.letter.to)} ${frameName(e.letter)} ${e.letter.bytes} B`,
  received: (e) => `← ${nodeName(e.letter.from)} ${frameName(e.letter)}`,
  lost: (e) => `✕ lost: ${frameName(e.letter)} ${nodeName(e.letter.from)} → ${nodeName(e.letter.to)}`,
  connected: (e) => `connected with ${nodeName(e.args[0])}`,
  closed: (e) => `connection with ${nodeName(e.args[0])} closed: ${e.args[1]}`,
  timer: () => "timer",
  fault: (e) => `fault ${e.args[1]} begins: ${bandOf(e)?.words ?? ""}`,
  fault_end: (e) => `fault ${e.args[1]} ends: ${bandOf(e)?.words ?? ""}`,
  died: () => "process died",
  started: (e) => `process started on state ${e.args[0].slice(0, 12)}`,
  not_started: (e) => `process could not start: ${e.args[0]}`,
  healed: () => "faults are over, survivors healed",
  quiet: () => "survivors equal and silent",
  violated: (e) => `violated ${e.args[0]}: ${e.args[1]}`,
};
const words = (event) => (WORDS[event.what] ?? (() => event.what))(event);

// Everything that is known of an event, as pairs.
function details(event) {
  const pairs = [["what", words(event)], ["where", nodeName(event.node) || "the world"], ["when", clock(event.at)]];
  const distance = event.at - EVENTS[FOCUS].at;
  if (VIOLATION >= 0 && distance) pairs.push(["", span(Math.abs(distance)) + (distance < 0 ? " before" : " after") + " the violation"]);
  const letter = event.letter;
  if (letter) {
    pairs.push(["frame", `${frameName(letter)}, ${letter.bytes} bytes, ${nodeName(letter.from)} → ${nodeName(letter.to)}`]);
    if (letter.sent >= 0) pairs.push(["sent", clock(letter.sent)]);
    if (letter.received >= 0) pairs.push(["received", `${clock(letter.received)}${letter.sent >= 0 ? ", after " + span(letter.received - letter.sent) : ""}`]);
    if (letter.lost >= 0) pairs.push(["lost", clock(letter.lost)]);
  }
  if (event.what === "answered") {
    pairs.push(["write", DATA.writes[event.args[0]] ?? ""]);
    if (ASKED.has(event.args[0])) pairs.push(["asked", clock(ASKED.get(event.args[0]).at)]);
  }
  if (event.what === "asked") {
    const answer = ANSWERS.get(event.index);
    pairs.push(["answer", answer ? `${words(answer)}, after ${span(answer.at - event.at)}` : "none"]);
  }
  const band = GROUP_OF[event.what] === "faults" && bandOf(event);
  if (band) pairs.push(["lasts", band.until === null ? "to the end" : span(band.until - band.from)]);
  if (event.what === "started") pairs.push(["state", event.args[0]]);
  return pairs;
}

// The events that pass the filters, in order.
function select(state) {
  const on = (event) => {
    if (event.node >= 0 && state.hiddenNodes.has(event.node)) return false;
    if (event.letter) {
      const { from, to, frame } = event.letter;
      return !state.hiddenFrames.has(frame) && !state.hiddenNodes.has(from) && !state.hiddenNodes.has(to);
    }
    const group = GROUP_OF[event.what];
    return !group || !state.hiddenGroups.has(group);
  };
  const shown = EVENTS.filter(on);
  if (!state.near || shown.length <= state.near) return shown;
  const focus = shown.findLastIndex((event) => event.index <= FOCUS);
  const start = Math.max(0, Math.min(focus - (state.near >> 1), shown.length - state.near));
  return shown.slice(start, start + state.near);
}
