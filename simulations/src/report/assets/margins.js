// What surrounds the lanes: clock and faults on the left, the whole run on the right, names at the top.

Object.assign(Painter.prototype, {
  drawClock([first, last]) {
    const { axis } = this.state, c = this.context;
    c.fillStyle = this.colour.panel;
    c.fillRect(0, HEAD, CLOCK, this.height - HEAD);
    c.font = `11px ui-monospace, monospace`;
    c.textAlign = "right";
    c.textBaseline = "middle";
    const put = (y, time, digits) => {
      c.fillStyle = this.colour.muted;
      c.fillText(clock(time, digits), CLOCK - 8, y);
      c.strokeStyle = this.colour.line;
      this.line(CLOCK - 5, y, CLOCK, y);
    };
    if (axis.spacing === "true") return this.drawRuler(put);
    // Rows are not to scale: say when the events are, with as many digits as tell neighbours apart.
    const marks = [];
    for (let row = first; row < last; row++) {
      const y = this.y(axis.pos[row]);
      if (y > HEAD + 6 && y < this.height - 6 && (!marks.length || y - marks[marks.length - 1].y >= 24)) marks.push({ y, time: axis.times[row] });
    }
    marks.forEach(({ y, time }, nth) => {
      const next = marks[nth + 1]?.time ?? Infinity, before = marks[nth - 1]?.time ?? -Infinity;
      put(y, time, digitsFor(Math.min(next - time, time - before)));
    });
  },
  drawRuler(put) {
    const { axis } = this.state, from = Math.max(0, axis.timeAt(this.posAt(HEAD))), to = axis.timeAt(this.posAt(this.height));
    const perPixel = axis.rowTime / this.state.scale, step = STEPS.find((us) => us / perPixel >= 28) ?? STEPS[STEPS.length - 1];
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      const y = this.yTime(time);
      if (y > HEAD + 6 && y < this.height - 6) put(y, time, digitsFor(step));
    }
  },
  drawFaults() {
    const c = this.context;
    c.fillStyle = this.colour.panel;
    c.fillRect(CLOCK, HEAD, GUTTER, this.height - HEAD);
    DATA.faults.forEach((band, nth) => {
      const x = CLOCK + 3 + TRACKS[nth] * TRACK, [y1, y2] = this.between(band.from, band.until);
      if (y2 < HEAD || y1 > this.height || this.outside(band.from, band.until)) return;
      const [top, bottom] = [Math.max(y1, HEAD), Math.min(y2, this.height)];
      c.fillStyle = this.colour[band.group];
      c.globalAlpha = 0.3;
      c.fillRect(x, top, TRACK - 3, bottom - top);
      c.globalAlpha = 1;
      c.fillRect(x, top, 2, bottom - top);
      if (y1 >= HEAD) c.fillRect(x, y1, TRACK - 3, 2);
      this.hits.push({ x1: x + 6, y1: top, x2: x + 6, y2: bottom, band });
      if (bottom - top < 40) return;
      c.save();
      c.beginPath();
      c.rect(x, top, TRACK, bottom - top);
      c.clip();
      c.translate(x + TRACK / 2, top + 5);
      c.rotate(Math.PI / 2);
      c.fillStyle = this.colour.ink;
      c.font = `11px ${FONT}`;
      c.textAlign = "left";
      c.textBaseline = "middle";
      c.fillText(band.words, 0, 0);
      c.restore();
    });
    c.strokeStyle = this.colour.line;
    this.line(this.left - 0.5, HEAD, this.left - 0.5, this.height);
  },
  // Height and position of the whole run in the map.
  mapY(pos) { return HEAD + 2 + (pos / (this.state.axis.end || 1)) * (this.height - HEAD - 4); },
  mapPos(y) { return ((y - HEAD - 2) / (this.height - HEAD - 4)) * this.state.axis.end; },
  drawMap() {
    const { axis, shown, top } = this.state, c = this.context, x = this.right + 4;
    c.fillStyle = this.colour.panel;
    c.fillRect(this.right, HEAD, MAP, this.height - HEAD);
    const counts = new Uint32Array(Math.ceil(this.height) + 1), lost = new Uint8Array(counts.length);
    shown.forEach((event, row) => {
      const y = Math.round(this.mapY(axis.pos[row]));
      counts[y]++;
      if (event.what === "lost" || event.what === "died") lost[y] = 1;
    });
    const most = counts.reduce((a, b) => Math.max(a, b), 1);
    for (const band of DATA.faults) {
      if (this.outside(band.from, band.until)) continue;
      const y1 = this.mapY(axis.posOf(band.from)), y2 = band.until === null ? this.height : this.mapY(axis.posOf(band.until));
      c.fillStyle = this.colour[band.group];
      c.globalAlpha = 0.35;
      c.fillRect(this.right, y1, 4, Math.max(2, y2 - y1));
      c.globalAlpha = 1;
    }
    counts.forEach((count, y) => {
      if (!count) return;
      c.fillStyle = lost[y] ? this.colour.bad : this.colour.line;
      c.fillRect(x + 2, y, 2 + (MAP - 12) * (count / most), 1);
    });
    c.fillStyle = this.colour.bad;
    const end = this.state.rowOf.get(FOCUS);
    if (VIOLATION >= 0 && end !== undefined) c.fillRect(this.right, this.mapY(axis.pos[end]) - 1, MAP, 3);
    const y1 = this.mapY(Math.max(0, top)), y2 = this.mapY(Math.min(axis.end, this.posAt(this.height - FOOT)));
    c.strokeStyle = this.colour.ink;
    c.strokeRect(this.right + 1.5, y1 - 1, MAP - 3, Math.max(6, y2 - y1 + 2));
  },
  drawHead() {
    const c = this.context;
    c.fillStyle = this.colour.panel;
    c.fillRect(0, 0, this.width, HEAD);
    c.textBaseline = "middle";
    c.textAlign = "center";
    c.font = `600 ${this.laneWidth < 80 ? 11 : 13}px ${FONT}`;
    for (const [no, x] of this.lanes) {
      if (x < this.left + 4 || x > this.right) continue;
      // Of a long name the end stays: there are the numbers.
      let name = nodeName(no), end = Math.min(3, name.length);
      for (let begin = name.length - end; begin > 0 && c.measureText(name).width > this.laneWidth - 4; begin--) {
        name = nodeName(no).slice(0, begin - 1) + "…" + nodeName(no).slice(-end);
      }
      c.fillStyle = this.colour.ink;
      c.fillText(name, x, HEAD / 2);
    }
    c.font = `11px ${FONT}`;
    c.fillStyle = this.colour.panel;
    c.fillRect(0, 0, this.left, HEAD);
    c.fillStyle = this.colour.muted;
    c.fillText("virtual time", CLOCK / 2, HEAD / 2);
    if (GUTTER > 34) c.fillText("faults", CLOCK + GUTTER / 2, HEAD / 2);
    // There are more lanes on that side.
    c.font = `700 20px ${FONT}`;
    c.fillStyle = this.colour.ink;
    if (this.state.sideways > 0) c.fillText("‹", this.left - 6, HEAD / 2);
    if (this.state.sideways < this.sidewaysMax) c.fillText("›", this.right + 8, HEAD / 2);
    c.strokeStyle = this.colour.line;
    this.line(0, HEAD - 0.5, this.width, HEAD - 0.5);
  },
  // What is nearest to a point, within a few pixels.
  pick(x, y) {
    let best = null, least = 7;
    for (const hit of this.hits) {
      const [dx, dy] = [hit.x2 - hit.x1, hit.y2 - hit.y1], length = dx * dx + dy * dy;
      const along = length ? Math.max(0, Math.min(1, ((x - hit.x1) * dx + (y - hit.y1) * dy) / length)) : 0;
      const distance = Math.hypot(x - hit.x1 - along * dx, y - hit.y1 - along * dy);
      if (distance < least) [best, least] = [hit, distance];
    }
    return best;
  },
});
