// The drawing: only what is in view, from the state and the axis.

const HEAD = 30, CLOCK = 122, TRACK = 16, TRACKS_MAX = 6, MAP = 46, LANE_MIN = 44, FOOT = 14;
// Above the first event, when all of them are in view: its label is not cut off.
const BROW = 10;
const FRAME_COLOURS = 8;
// More lines than this are a blur that takes long to draw: then only every so-maniest is drawn, and all lost ones.
const LINES_MAX = 5000;
const FONT = "system-ui, sans-serif";

// Side by side: faults that overlap in time get different columns; beyond the last they share it.
function tracksOf(faults) {
  const free = [];
  return faults.map((band) => {
    let track = free.findIndex((until) => until <= band.from);
    if (track < 0) track = Math.min(free.length, TRACKS_MAX - 1);
    free[track] = Math.max(free[track] ?? 0, band.until ?? Infinity);
    return track;
  });
}
const TRACKS = tracksOf(DATA.faults);
const GUTTER = DATA.faults.length ? (Math.max(...TRACKS) + 1) * TRACK + 6 : 0;

class Painter {
  constructor(canvas, state) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.state = state;
    this.hits = [];
  }
  resize() {
    const box = this.canvas.getBoundingClientRect(), ratio = Math.max(window.devicePixelRatio || 1, this.state.printing ? 2 : 1);
    [this.width, this.height] = [box.width, box.height];
    [this.canvas.width, this.canvas.height] = [box.width * ratio, box.height * ratio];
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const nodes = NODES.map((_, no) => no).filter((no) => !this.state.hiddenNodes.has(no));
    const left = CLOCK + GUTTER, room = this.width - left - MAP;
    this.laneWidth = Math.max(LANE_MIN, Math.min(260, room / Math.max(nodes.length, 1)));
    this.sidewaysMax = Math.max(0, this.laneWidth * nodes.length - room);
    this.state.sideways = Math.min(this.state.sideways, this.sidewaysMax);
    this.lanes = new Map(nodes.map((no, nth) => [no, left + this.laneWidth * (nth + 0.5) - this.state.sideways]));
    this.left = left;
    this.right = this.width - MAP;
  }
  get plot() { return this.height - HEAD - BROW - FOOT; }
  y(pos) { return HEAD + (pos - this.state.top) * this.state.scale; }
  posAt(y) { return (y - HEAD) / this.state.scale + this.state.top; }
  yTime(time) { return this.y(this.state.axis.posOf(time)); }
  // Where an event lies: its own row if it is shown.
  yEvent(index, time) {
    const row = index >= 0 ? this.state.rowOf.get(index) : undefined;
    return row === undefined ? this.yTime(time) : this.y(this.state.axis.pos[row]);
  }
  colours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["bg", "panel", "ink", "muted", "line", "faint", "good", "bad", "warn", "mark", "network", "process", "disk", "clock", "down"];
    this.colour = Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
    this.frameColours = Array.from({ length: FRAME_COLOURS }, (_, i) => style.getPropertyValue("--f" + i).trim());
  }
  frameColour(letter) { return letter.frame < 0 ? this.colour.muted : this.frameColours[letter.frame % FRAME_COLOURS]; }

  draw() {
    this.resize();
    this.colours();
    const c = this.context;
    this.hits = [];
    this.labels = [];
    c.fillStyle = this.colour.bg;
    c.fillRect(0, 0, this.width, this.height);
    const rows = this.rowsInView();
    c.save();
    c.beginPath();
    c.rect(this.left, HEAD, this.right - this.left, this.height - HEAD);
    c.clip();
    this.drawGaps(rows);
    this.drawLanes();
    const lines = this.drawLetters();
    this.drawWrites();
    this.drawMarks(rows);
    const moments = this.drawMoments();
    this.nameViolation(moments);
    this.nameFaults();
    this.nameWrites(rows);
    this.nameMoments(moments);
    this.nameLetters(lines);
    this.drawChosen();
    c.restore();
    this.drawClock(rows);
    this.drawFaults();
    this.drawMap();
    this.drawHead();
  }
  // The shown events from the first to the one after the last that is in view.
  rowsInView() {
    const { axis, top, scale } = this.state;
    return [Math.max(0, Axis.after(axis.pos, top - 20 / scale) - 1), Axis.after(axis.pos, top + (this.height - HEAD) / scale)];
  }
  line(x1, y1, x2, y2) {
    const c = this.context;
    c.beginPath();
    c.moveTo(x1, y1);
    c.lineTo(x2, y2);
    c.stroke();
  }
  // Text where no other text is yet. Says whether there was room.
  label(text, x, y, colour, align = "left", size = 11) {
    const c = this.context;
    c.font = `${size}px ${FONT}`;
    const width = c.measureText(text).width, left = align === "left" ? x : align === "right" ? x - width : x - width / 2;
    const box = [left - 2, y - size * 0.6, left + width + 2, y + size * 0.6];
    if (this.labels.some((b) => b[0] < box[2] && box[0] < b[2] && b[1] < box[3] && box[1] < b[3])) return false;
    this.labels.push(box);
    c.fillStyle = this.colour.bg;
    c.globalAlpha = 0.8;
    c.fillRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    c.globalAlpha = 1;
    c.fillStyle = colour;
    c.textAlign = "left";
    c.textBaseline = "middle";
    c.fillText(text, left, y);
    return true;
  }
  // Long silences, where the picture does not show how long they were.
  drawGaps([first, last]) {
    const { axis } = this.state, c = this.context;
    if (axis.spacing === "true") return;
    for (let i = Math.max(1, first); i <= last && i < axis.pos.length; i++) {
      const gap = axis.times[i] - axis.times[i - 1], y1 = this.y(axis.pos[i - 1]), y2 = this.y(axis.pos[i]);
      if (gap < 5e6 || y2 - y1 < 16) continue;
      const y = (y1 + y2) / 2;
      c.strokeStyle = this.colour.line;
      c.setLineDash([1, 5]);
      this.line(this.left, y, this.right, y);
      c.setLineDash([]);
      this.label(`⋮ ${span(gap)}`, this.right - 8, y, this.colour.muted, "right", 10);
    }
  }
  drawLanes() {
    const c = this.context;
    for (const [no, x] of this.lanes) {
      c.strokeStyle = this.colour.line;
      c.lineWidth = 2;
      this.line(x, HEAD, x, this.height);
      c.lineWidth = 1;
      for (const band of DATA.faults) {
        const near = band.nodes.includes(no);
        if ((!near && !band.peers.includes(no)) || this.outside(band.from, band.until)) continue;
        c.fillStyle = this.colour[band.group];
        this.band(x, near ? 13 : 9, band.from, band.until, near ? 0.26 : 0.12);
      }
    }
    for (const [node, from, until] of DATA.down) {
      const x = this.lanes.get(node);
      if (x === undefined || this.outside(from, until)) continue;
      const [y1, y2] = this.between(from, until);
      if (y2 < HEAD || y1 > this.height) continue;
      c.fillStyle = this.colour.bg;
      c.fillRect(x - 2, y1, 4, y2 - y1);
      c.strokeStyle = this.colour.down;
      c.setLineDash([2, 4]);
      this.line(x, Math.max(y1, HEAD), x, Math.min(y2, this.height));
      c.setLineDash([]);
    }
  }
  // Whether a stretch of time lies before or after all that is shown.
  outside(from, until) {
    const { times } = this.state.axis;
    return !times.length || (until !== null && until < times[0]) || from > times[times.length - 1];
  }
  between(from, until) {
    const y1 = this.yTime(from), y2 = until === null ? this.y(this.state.axis.end) + FOOT : this.yTime(until);
    return [y1, Math.max(y2, y1 + 3)];
  }
  band(x, half, from, until, alpha) {
    const [y1, y2] = this.between(from, until), c = this.context;
    if (y2 < HEAD || y1 > this.height) return;
    c.globalAlpha = alpha;
    c.fillRect(x - half, Math.max(y1, 0), half * 2, Math.min(y2, this.height) - Math.max(y1, 0));
    c.globalAlpha = 1;
  }
  // The two ends of a message on the screen. A lost one stops on its way; one that was never heard of is a stub.
  ends(letter) {
    const x1 = this.lanes.get(letter.from), x2 = this.lanes.get(letter.to);
    if (x1 === undefined || x2 === undefined) return null;
    const y1 = letter.sent < 0 ? HEAD - 10 : this.yEvent(letter.sentEvent, letter.sent);
    if (letter.received >= 0) return [x1, y1, x2, this.yEvent(letter.endEvent, letter.received), "received"];
    if (letter.lost >= 0) {
      const y2 = this.yEvent(letter.endEvent, letter.lost);
      return [x1, y1, x1 + (x2 - x1) * 0.55, Math.min(y2, y1 + 50), "lost"];
    }
    return [x1, y1, x1 + (x2 - x1) * 0.2, y1 + 5, "open"];
  }
  drawLetters() {
    let lines = [];
    for (const letter of this.state.letters) {
      const ends = this.ends(letter);
      if (ends && Math.max(ends[1], ends[3]) > HEAD - 5 && Math.min(ends[1], ends[3]) < this.height) lines.push([letter, ends]);
    }
    const every = Math.ceil(lines.length / LINES_MAX);
    if (every > 1) lines = lines.filter(([letter], nth) => letter.lost >= 0 || nth % every === 0);
    const c = this.context, alpha = Math.max(0.15, Math.min(0.85, 12 / Math.sqrt(lines.length + 1)));
    for (const [letter, [x1, y1, x2, y2, fate]] of lines) {
      const colour = fate === "lost" ? this.colour.bad : this.frameColour(letter);
      c.strokeStyle = colour;
      c.globalAlpha = fate === "lost" ? Math.max(alpha, 0.5) : alpha;
      c.setLineDash(letter.frame >= FRAME_COLOURS || fate === "open" ? [5, 3] : []);
      this.line(x1, y1, x2, y2);
      c.setLineDash([]);
      if (fate === "lost") this.cross(x2, y2, 4);
      if (fate === "received" && lines.length < 600) this.arrow(x1, y1, x2, y2, colour);
      const event = letter.endEvent >= 0 ? letter.endEvent : letter.sentEvent;
      this.hits.push({ x1, y1, x2, y2, event: this.state.rowOf.has(letter.sentEvent) ? letter.sentEvent : event });
    }
    c.globalAlpha = 1;
    return lines;
  }
  nameLetters(lines) {
    if (lines.length > 160) return;
    for (const [letter, [x1, y1, x2, y2, fate]] of lines) {
      if (Math.abs(x2 - x1) < 50) continue;
      this.label(frameName(letter), x1 + (x2 - x1) * 0.3, y1 + (y2 - y1) * 0.3, fate === "lost" ? this.colour.bad : this.frameColour(letter), "middle", 10);
    }
  }
  cross(x, y, size) {
    this.line(x - size, y - size, x + size, y + size);
    this.line(x - size, y + size, x + size, y - size);
  }
  arrow(x1, y1, x2, y2, colour) {
    const c = this.context, angle = Math.atan2(y2 - y1, x2 - x1);
    c.fillStyle = colour;
    c.beginPath();
    c.moveTo(x2, y2);
    for (const turn of [-0.35, 0.35]) c.lineTo(x2 - 8 * Math.cos(angle + turn), y2 - 8 * Math.sin(angle + turn));
    c.fill();
  }
  // A bar left of the lane from a write to its answer.
  drawWrites() {
    const c = this.context;
    for (const [asked, answer] of ANSWERS) {
      const event = EVENTS[asked], x = this.lanes.get(event.node);
      if (x === undefined || !this.state.rowOf.has(asked)) continue;
      const y1 = this.yEvent(asked, event.at), y2 = this.yEvent(answer.index, answer.at);
      if (y2 < HEAD || y1 > this.height) continue;
      c.fillStyle = answer.args[1] === null ? this.colour.good : this.colour.warn;
      c.fillRect(x - 9, y1, 3, Math.max(2, y2 - y1));
    }
  }
  drawMarks([first, last]) {
    const { axis, shown } = this.state;
    this.size = last - first < 500 ? 1 : last - first < 1500 ? 0.6 : 0.35;
    for (let row = first; row < last; row++) {
      const event = shown[row], x = this.lanes.get(event.node), y = this.y(axis.pos[row]);
      if (x === undefined) continue;
      this.mark(event, x, y);
      if (event.what !== "sent" && event.what !== "received") this.hits.push({ x1: x - 6, y1: y, x2: x + 6, y2: y, event: event.index });
    }
  }
  nameWrites([first, last]) {
    if (last - first > 400) return;
    const most = Math.max(3, Math.floor(this.laneWidth / 6));
    for (let row = first; row < last; row++) {
      const event = this.state.shown[row], x = this.lanes.get(event.node);
      if (event.what !== "asked" || x === undefined) continue;
      // The space is in the list; here is little room.
      const full = `w${event.args[0]} ${(DATA.writes[event.args[0]] ?? "").replace(/^[^:]*: /, "")}`;
      const text = full.length > most ? full.slice(0, most) + "…" : full, left = x + this.laneWidth > this.right + 30;
      this.label(text, left ? x - 16 : x + 8, this.y(this.state.axis.pos[row]), this.colour.ink, left ? "right" : "left", 10);
    }
  }
  // At the start of a fault, beside the first lane it concerns.
  nameFaults() {
    for (const band of DATA.faults) {
      const [y1, y2] = this.between(band.from, band.until), x = this.lanes.get(band.nodes.find((no) => this.lanes.has(no)));
      if (x === undefined || y2 < HEAD || y1 > this.height || this.outside(band.from, band.until)) continue;
      const left = x + this.laneWidth > this.right + 30;
      this.label(band.words, left ? x - 17 : x + 17, Math.max(y1, HEAD + 2) + 7, this.colour[band.group], left ? "right" : "left");
    }
  }
  mark(event, x, y) {
    const c = this.context, colour = this.colour;
    c.lineWidth = 1;
    if (event.letter) {
      c.fillStyle = this.frameColour(event.letter);
      c.fillRect(x - 1.5 * this.size, y - 1.5 * this.size, 3 * this.size, 3 * this.size);
    } else if (event.what === "asked" || event.what === "answered") {
      const refused = event.what === "answered" && event.args[1] !== null;
      c.fillStyle = event.what === "asked" ? colour.ink : refused ? colour.warn : colour.good;
      const way = event.what === "asked" ? 1 : -1;
      const size = 4 * this.size;
      c.beginPath();
      c.moveTo(x - 7.5 + size * way, y);
      c.lineTo(x - 7.5 - size * way, y - size);
      c.lineTo(x - 7.5 - size * way, y + size);
      c.fill();
    } else if (event.what === "commit" || event.what === "step") {
      const half = (event.what === "commit" ? 5 : 3) * this.size;
      c.fillStyle = event.what === "commit" ? colour.ink : colour.muted;
      c.fillRect(x - half, y - 0.75, half * 2, 1.5);
    } else if (event.what === "died" || event.what === "not_started") {
      c.strokeStyle = colour.bad;
      c.lineWidth = 3;
      this.cross(x, y, 6);
      c.lineWidth = 1;
      this.label(event.what === "died" ? "died" : "not started", x + 11, y, colour.bad);
    } else if (event.what === "started") {
      c.fillStyle = colour.bg;
      c.strokeStyle = colour.good;
      c.lineWidth = 3;
      c.beginPath();
      c.arc(x, y, 5, 0, 7);
      c.fill();
      c.stroke();
      c.lineWidth = 1;
      this.label("started", x + 11, y, colour.good);
    } else if (event.what === "connected" || event.what === "closed") {
      c.strokeStyle = c.fillStyle = colour.muted;
      if (event.what === "connected") c.fillRect(x + 4, y - 2.5, 5, 5); else c.strokeRect(x + 4.5, y - 2, 4, 4);
    }
  }
  // What concerns everybody: healing, the end, the violation.
  drawMoments() {
    const kinds = ["violated", "quiet", "healed"], y = (event) => this.y(this.state.axis.pos[this.state.rowOf.get(event.index)]);
    const seen = this.state.shown.filter((event) => kinds.includes(event.what)).map((event) => [event, y(event)]);
    const moments = seen.filter(([, y]) => y > HEAD - 20 && y < this.height + 20);
    moments.forEach(([event, y]) => this.drawMoment(event, y));
    return moments;
  }
  // Before all other labels, and over those that are there.
  nameViolation(moments) {
    for (const [event, y] of moments.filter(([event]) => event.what === "violated")) {
      const text = words(event), most = Math.floor((this.right - this.left) / 6.5);
      this.labels = this.labels.filter((box) => box[1] > y + 4 || box[3] < y - 18);
      this.label(text.length > most ? text.slice(0, most) + "…" : text, this.left + 6, y - 10, this.colour.bad, "left", 12);
    }
  }
  // What a write says matters more than that all is well: these labels take what room is left.
  nameMoments(moments) {
    for (const [event, y] of moments.filter(([event]) => event.what !== "violated")) {
      const put = (x, y, align) => this.label(words(event), x, y, this.colour.good, align, 12);
      put(this.left + 6, y - 10, "left") || put(this.right - 8, y - 10, "right");
    }
  }
  drawMoment(event, y) {
    const c = this.context, bad = event.what === "violated", x = this.lanes.get(event.node);
    c.strokeStyle = c.fillStyle = bad ? this.colour.bad : this.colour.good;
    this.hits.push({ x1: this.left, y1: y, x2: this.right, y2: y, event: event.index });
    if (!bad) c.setLineDash([6, 3]);
    c.lineWidth = bad ? 2 : 1;
    this.line(this.left, y, this.right, y);
    c.setLineDash([]);
    if (bad) {
      c.globalAlpha = 0.13;
      c.fillRect(this.left, y - 8, this.right - this.left, 16);
      c.globalAlpha = 1;
    }
    if (bad && x !== undefined) {
      c.lineWidth = 3;
      c.beginPath();
      c.arc(x, y, 9, 0, 7);
      c.stroke();
    }
    c.lineWidth = 1;
  }
  // The event under the pointer and the selected one.
  drawChosen() {
    const c = this.context;
    for (const index of new Set([this.state.selected, this.state.hover])) {
      const event = EVENTS[index];
      if (!event) continue;
      const ends = event.letter && this.ends(event.letter), x = this.lanes.get(event.node), y = this.yEvent(index, event.at);
      c.strokeStyle = ends ? this.frameColour(event.letter) : this.colour.ink;
      c.lineWidth = index === this.state.selected ? 3 : 2;
      if (ends) {
        this.line(ends[0], ends[1], ends[2], ends[3]);
        this.labels = [];
        this.label(`${frameName(event.letter)}, ${event.letter.bytes} B`, (ends[0] + ends[2]) / 2, (ends[1] + ends[3]) / 2, this.colour.ink, "middle");
      }
      if (x !== undefined) {
        c.beginPath();
        c.arc(x, y, 7, 0, 7);
        c.stroke();
      }
      c.lineWidth = 1;
    }
  }
}
