// The panel, the transport bar and the keyboard.

const CHECKS = ["fit", "initial", "truth", "contacts", "paths", "own", "between"];

class Controls {
  constructor(page) {
    this.page = page;
    this.describe();
    this.listInstances();
    this.wireTransport();
    this.wirePanel();
    this.wireCharts();
    this.wireKeys();
  }

  describe() {
    const { data, clips } = this.page;
    const words = data.action.replaceAll("_", " ");
    element("title").textContent = words.charAt(0).toUpperCase() + words.slice(1);
    const kind = data.synthetic ? "synthetic clips" : "clips";
    const what = clips.count === 1 ? kind.replace("clips", "clip") : kind;
    element("about").textContent = `${clips.count} ${what}, one motion field`;
    for (const swatch of document.querySelectorAll("[data-colour]"))
      swatch.style.background = data.other_colours[swatch.dataset.colour];
    for (const kind of ["initial", "truth"]) element(`${kind}-row`).hidden = !data[kind];
    element("contacts-row").hidden = !data.contact;
    element("between-section").hidden = clips.count < 2;
  }

  listInstances() {
    const { data, clips, state } = this.page;
    const list = element("instances");
    this.boxes = clips.names.map((name, n) => {
      const item = document.createElement("li");
      item.innerHTML =
        '<label><input type="checkbox"><i class="chip"></i><span></span></label><small></small><button>only</button>';
      const [box, mark, label] = item.querySelectorAll("input, i, span");
      mark.textContent = n + 1;
      mark.style.background = data.colours[n];
      label.textContent = label.title = name;
      item.querySelector("small").textContent = `${clips.durations[n].toFixed(1)} s`;
      box.addEventListener("change", () => this.show(state.shown.map((on, i) => (i === n ? box.checked : on))));
      item.querySelector("button").addEventListener("click", () => this.only(n));
      list.append(item);
      for (const id of ["from", "to"]) element(id).append(new Option(`${n + 1}  ${name}`, n));
      return box;
    });
    element("all").addEventListener("click", () => this.show(state.shown.map(() => true)));
    element("none").addEventListener("click", () => this.show(state.shown.map(() => false)));
  }

  show(shown) {
    this.page.set({ shown });
  }

  only(n) {
    this.show(this.page.state.shown.map((_, i) => i === n));
  }

  wireTransport() {
    const { page } = this;
    element("play").addEventListener("click", () => page.set({ playing: !page.state.playing }));
    element("speed").addEventListener("change", (event) => page.set({ speed: Number(event.target.value) }));
    element("scrub").addEventListener("input", (event) => this.seek(Number(event.target.value)));
  }

  /** Goes to a share of the clock and stays there. */
  seek(share) {
    const { page } = this;
    const key = page.state.sync === "phase" ? { phase: share } : { time: share * page.length() };
    page.set({ playing: false, ...key });
  }

  wirePanel() {
    const { page } = this;
    for (const button of document.querySelectorAll("[data-set]"))
      button.addEventListener("click", () => {
        if (button.dataset.set === "sync") page.setSync(button.dataset.to);
        else page.set({ layout: button.dataset.to, own: false });
      });
    for (const id of CHECKS)
      element(id).addEventListener("change", (event) => page.set({ [id]: event.target.checked }));
    element("cameras").addEventListener("change", (event) => {
      page.set({ cameras: event.target.checked });
      page.frameCameras(event.target.checked);
    });
    const { azimuth } = page.orbit.home;
    const views = {
      front: { azimuth: 0, elevation: 0.08 }, side: { azimuth: Math.PI / 2, elevation: 0.08 },
      top: { azimuth, elevation: Math.PI / 2 }, home: {},
    };
    for (const button of document.querySelectorAll("[data-view]"))
      button.addEventListener("click", () => {
        const { view } = button.dataset;
        page.set({ own: false });
        const zoom = view === "home" ? 1 : page.orbit.zoom;
        page.orbit.reset({ ...views[view], zoom });
      });
    for (const id of ["from", "to"])
      element(id).addEventListener("change", (event) =>
        page.set({ [id]: Number(event.target.value), point: null, between: true }));
    element("share").addEventListener("input", (event) =>
      page.set({ share: Number(event.target.value), point: null, between: true }));
  }

  wireCharts() {
    const { page } = this;
    dragging(element("map"), (x, y) => page.set({ point: page.clips.reachable(this.mapPoint(x, y)), between: true }));
    dragging(element("curves"), (x, y) => {
      const { state } = page;
      if (state.sync === "phase") page.set({ playing: false, phase: this.curvePoint.phase(y) });
      else page.set({ playing: false, time: Math.min(this.curvePoint.seconds(x), page.length()) });
    });
  }

  wireKeys() {
    const { page } = this;
    // A click leaves the keyboard to the page, not to the button that was clicked.
    document.addEventListener("pointerup", () => {
      const { activeElement } = document;
      if (activeElement && activeElement.tagName !== "SELECT") activeElement.blur();
    });
    document.addEventListener("keydown", (event) => {
      const typing = /^(INPUT|SELECT|BUTTON)$/.test(event.target.tagName);
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      const many = event.shiftKey ? 10 : 1;
      const keys = {
        " ": () => page.set({ playing: !page.state.playing }),
        ArrowLeft: () => page.step(-many),
        ArrowRight: () => page.step(many),
        ArrowUp: () => this.next(-1),
        ArrowDown: () => this.next(1),
        Home: () => this.seek(0),
        End: () => this.seek(1),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  /** The next instance alone; the first one, or the last, after several. */
  next(step) {
    const { shown } = this.page.state;
    const count = shown.length;
    const alone = shown.filter(Boolean).length === 1 ? shown.indexOf(true) : step > 0 ? -1 : count;
    this.only((alone + step + count) % count);
  }

  /** Brings everything on the panel in line with the state. */
  refresh(people) {
    const { page } = this;
    const { state, clips, data } = page;
    element("play").textContent = state.playing ? "Pause" : "Play";
    const share = state.sync === "phase" ? state.phase : state.time / page.length();
    element("scrub").value = share;
    element("position").textContent =
      state.sync === "phase" ? `phase ${state.phase.toFixed(2)}` : `${state.time.toFixed(2)} of ${page.length().toFixed(2)} s`;
    for (const button of document.querySelectorAll("[data-set]")) {
      const value = button.dataset.set === "layout" && state.own ? "cells" : state[button.dataset.set];
      button.setAttribute("aria-pressed", value === button.dataset.to);
    }
    this.boxes.forEach((box, n) => (box.checked = state.shown[n]));
    for (const id of [...CHECKS, "cameras"]) element(id).checked = state[id];
    for (const id of ["from", "to", "share"]) if (element(id) !== document.activeElement) element(id).value = state[id];
    const each = page.people.map((person, n) => ({
      ...person, ...page.moment(person), colour: data.colours[n], shown: state.shown[n],
    }));
    const between = people.find((person) => person.instance === null);
    if (between) each.push({ ...between, ...page.moment(between), colour: data.other_colours.between, shown: true });
    this.curvePoint = drawCurves(element("curves"), each, state.sync);
    if (clips.count > 1) {
      const { points } = clips.plane;
      const chosen = state.point ?? [0, 1].map((i) => mix(points[state.from][i], points[state.to][i], state.share));
      this.mapPoint = drawMap(element("map"), points, data.colours, chosen, state.between);
    }
  }
}

/** Calls with the pointer's place on an element while it is pressed. */
function dragging(target, call) {
  const report = (event) => {
    const box = target.getBoundingClientRect();
    call(event.clientX - box.left, event.clientY - box.top);
  };
  target.addEventListener("pointerdown", (event) => {
    target.setPointerCapture(event.pointerId);
    report(event);
  });
  target.addEventListener("pointermove", (event) => {
    if (target.hasPointerCapture(event.pointerId)) report(event);
  });
}
