// The events beside the diagram, as text. Only the rows in view exist: there may be thousands.

const ROW = 20;

class EventList {
  constructor(box, rows, state, choose) {
    [this.box, this.rows, this.state, this.choose] = [box, rows, state, choose];
    box.addEventListener("scroll", () => this.draw());
    box.addEventListener("click", (click) => {
      const row = click.target.closest(".row");
      if (row) choose(Number(row.dataset.event), true);
    });
  }
  // Brings a row into view; in the middle if it was not.
  reveal(row) {
    this.rows.style.height = this.state.shown.length * ROW + "px";
    const y = row * ROW, { scrollTop, clientHeight } = this.box;
    if (y < scrollTop || y + ROW > scrollTop + clientHeight) this.box.scrollTop = y - clientHeight / 2;
  }
  draw() {
    const { shown, selected, hover } = this.state;
    this.rows.style.height = shown.length * ROW + "px";
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 3), last = Math.min(shown.length, first + Math.ceil(this.box.clientHeight / ROW) + 6);
    this.rows.replaceChildren(...shown.slice(first, last).map((event, nth) => this.row(event, first + nth, selected, hover)));
    const active = selected === null ? "" : "event-" + selected;
    this.box.setAttribute("aria-activedescendant", active);
  }
  row(event, nth, selected, hover) {
    const row = document.createElement("div"), time = document.createElement("time"), node = document.createElement("b"), text = document.createElement("span");
    row.id = "event-" + event.index;
    row.className = "row" + (event.index === selected ? " selected" : event.index === hover ? " near" : "");
    if (["violated", "died", "not_started", "lost"].includes(event.what)) row.classList.add("bad");
    if (GROUP_OF[event.what] === "faults") row.classList.add("fault");
    row.style.top = nth * ROW + "px";
    row.dataset.event = event.index;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", event.index === selected);
    row.setAttribute("aria-setsize", this.state.shown.length);
    row.setAttribute("aria-posinset", nth + 1);
    [time.textContent, node.textContent, text.textContent] = [clock(event.at), nodeName(event.node), words(event)];
    row.append(time, node, text);
    return row;
  }
}

function showDetails(box, event) {
  const list = document.createElement("dl");
  for (const [name, value] of details(event)) {
    const term = document.createElement("dt"), text = document.createElement("dd");
    [term.textContent, text.textContent] = [name, value];
    list.append(term, text);
  }
  box.replaceChildren(list);
}
