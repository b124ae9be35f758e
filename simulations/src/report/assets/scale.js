// Time: in words, and as positions on the screen. All times are microseconds.

const UNITS = [["d", 86400e6], ["h", 3600e6], ["min", 60e6], ["s", 1e6], ["ms", 1e3], ["µs", 1]];

// A length of time: two units from a minute on, three decimals below.
function span(us) {
  if (us < 0) return "−" + span(-us);
  const nth = UNITS.findIndex(([, size]) => us >= size);
  if (nth < 0) return "0";
  const [name, size] = UNITS[nth];
  if (nth > 2) return parseFloat((us / size).toFixed(3)) + " " + name;
  const [smaller, small] = UNITS[nth + 1];
  const rest = Math.floor((us % size) / small);
  return Math.floor(us / size) + " " + name + (rest ? ` ${rest} ${smaller}` : "");
}

// A moment as a clock shows it, with so many digits after the second.
function clock(us, digits = 6) {
  const two = (n) => String(n).padStart(2, "0");
  const s = Math.floor(us / 1e6), days = Math.floor(s / 86400);
  const text = (days ? days + "d " : "") + [Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, s % 60].map(two).join(":");
  return digits ? text + "." + String(Math.floor(us % 1e6)).padStart(6, "0").slice(0, digits) : text;
}

// Digits after the second that tell two moments so far apart from each other.
const digitsFor = (us) => (us >= 1e6 ? 0 : us >= 1e3 ? 3 : 6);

// Steps of a ruler, in microseconds: 1, 2, 5 of each decade, then what clocks know.
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500].flatMap((n) => [n, n * 1e3]).concat(
  [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400].map((s) => s * 1e6),
  [2, 5, 10, 20, 50, 100, 200, 500].map((d) => d * 86400e6)).sort((a, b) => a - b);

// Where each of the shown events lies, in rows: an ordinary event is some rows after the one before it.
class Axis {
  // `times` ascend. Spacing: "true" to scale; "events": one row each; "squeezed": a row for each tenfold of waiting.
  constructor(times, spacing) {
    const count = times.length, total = count ? times[count - 1] - times[0] : 0;
    this.times = times;
    this.spacing = spacing;
    this.rowTime = total / Math.max(count, 1) || 1;
    this.pos = new Float64Array(count);
    for (let i = 1; i < count; i++) this.pos[i] = this.pos[i - 1] + this.advance(times[i] - times[i - 1]);
  }
  advance(us) {
    if (this.spacing === "true") return us / this.rowTime;
    if (this.spacing === "events") return 1;
    return 0.25 + Math.log10(1 + us / 100);
  }
  get end() { return this.pos.length ? this.pos[this.pos.length - 1] : 0; }
  // Number of events whose key is at most `value`.
  static after(keys, value) {
    let low = 0, high = keys.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (keys[mid] <= value) low = mid + 1; else high = mid;
    }
    return low;
  }
  between(from, to, value) {
    const next = Axis.after(from, value);
    if (next === 0) return to[0] || 0;
    if (next === from.length) return to[next - 1];
    const [a, b] = [from[next - 1], from[next]];
    return to[next - 1] + (to[next] - to[next - 1]) * (value - a) / (b - a);
  }
  // Position of a moment, and the other way round; outside of what is shown: its first or last.
  posOf(time) { return this.between(this.times, this.pos, time); }
  timeAt(pos) { return this.between(this.pos, this.times, pos); }
}
