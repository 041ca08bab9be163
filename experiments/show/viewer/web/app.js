// The page: its state, its controls, and what of the scene they show. `window.nemo` lets others look in.

const STEP = 0.01; // of phase, by an arrow key
const MOST_AT_FIRST = 12;
const VEILED = 0.55;
// Metres of a body beyond its hips, upwards and sideways, and of ground below its feet.
const [HEAD_ROOM, ARM_ROOM, FOOT_ROOM] = [0.95, 0.68, 0.15];
const PATH_JOINTS = [0, 22, 23]; // pelvis and hands
const PATH_STEPS = 160;
const NOBODY = { centre: [0, 0.9, 0], reach: [1.2, 1.2] };

/** A person's own path beside that of the field, at a phase: points [x, y, z, x, ...] at evenly spaced phases. */
function wayAt(way, phase) {
  const last = way.length / 3 - 1;
  const at = clamp(phase, 0, 1) * last;
  const from = Math.min(Math.floor(at), last - 1);
  return [0, 1, 2].map((axis) => mix(way[3 * from + axis], way[3 * from + 3 + axis], at - from));
}

class Page {
  constructor(data) {
    this.data = data;
    this.clips = new Clips(data);
    this.field = new Field(data.field, this.clips.codes[0].length);
    this.body = new Body(data.body);
    this.contacts = data.contact ? new Contacts(data.contact) : null;
    this.films = new FilmCameras(data.cameras, data.ground);
    this.keypoints = unpack(data.keypoints);
    this.visible = unpack(data.visible);
    this.others = { initial: given(data.initial), truth: given(data.truth) };
    this.people = this.clips.names.map((_, n) => this.clips.person(n));
    this.rooms = this.people.map((person) => this.room(person));
    this.state = {
      playing: !window.matchMedia("(prefers-reduced-motion: reduce)").matches,
      speed: 1,
      sync: "phase",
      phase: 0,
      time: 0,
      layout: this.clips.count > 1 ? "cells" : "overlaid",
      shown: this.clips.names.map((_, n) => n < MOST_AT_FIRST),
      fit: true,
      initial: false,
      truth: false,
      cameras: false,
      contacts: true,
      paths: false,
      own: false,
      between: false,
      from: 0,
      to: Math.min(1, this.clips.count - 1),
      share: 0.5,
      point: null, // on the map of codes; null = between the two instances
    };
    this.drawn = 0;
    this.paths = new Map(); // by code
    this.renderer = new Renderer(element("scene"), this.body);
    const [x, , z] = data.across;
    this.orbit = new Orbit(element("stage"), Math.atan2(-z, x), () => this.change());
    this.controls = new Controls(this);
    this.change();
  }

  /** The room that a person's hips take: middle and half size, metres. */
  room(person) {
    const root = this.body.restJoints(person.betas);
    const places = Array.from({ length: 17 }, (_, i) => {
      const { translation } = this.motion(person, i / 16);
      return add(translation, [root[0], root[1] - person.ground, root[2]]);
    });
    const ends = (axis) => [Math.min(...places.map((p) => p[axis])), Math.max(...places.map((p) => p[axis]))];
    return [0, 1, 2].map(ends);
  }

  /** The field's motion for a person, on the person's own side. */
  motion(person, phase) {
    const motion = this.field.at(phase, person.code);
    const { rotations, translation } = person.mirrored ? mirrorMotion(motion, this.body.twins) : motion;
    return { rotations, translation: person.way ? add(translation, wayAt(person.way, phase)) : translation };
  }

  set(values) {
    Object.assign(this.state, values);
    this.change();
  }

  /** Switches between phase and clip time without moving the first person shown. */
  setSync(sync) {
    const { state } = this;
    if (sync === state.sync) return;
    const leader = this.visiblePeople()[0] ?? this.people[0];
    const now = this.moment(leader);
    this.set({ sync, phase: now.phase, time: now.raw * leader.duration });
  }

  change() {
    this.dirty = true;
  }

  /** Seconds that the clock of the present mode takes from end to end. */
  length() {
    const durations = this.visiblePeople().map((person) => person.duration).sort((a, b) => a - b);
    if (!durations.length) return 1;
    const chosen = this.state.sync === "phase" ? Math.floor(durations.length / 2) : durations.length - 1;
    return Math.max(durations[chosen], 1e-3);
  }

  advance(seconds) {
    const { state } = this;
    const length = this.length();
    const step = seconds * state.speed;
    if (state.sync === "phase") state.phase = (state.phase + step / length) % 1;
    else state.time = (state.time + step) % length;
    this.change();
  }

  /** Moves by hand: a step of phase, or a frame. */
  step(count) {
    const { state } = this;
    const fps = Math.max(...this.clips.fps);
    this.set({
      playing: false,
      phase: state.sync === "phase" ? clamp(state.phase + count * STEP, 0, 1) : state.phase,
      time: state.sync === "time" ? clamp(state.time + count / fps, 0, this.length()) : state.time,
    });
  }

  /** Phase, raw phase and whether the clip is over, of a person now. */
  moment(person) {
    const { state } = this;
    if (state.sync === "phase") return { phase: state.phase, raw: person.rawAt(state.phase), over: false };
    const raw = clamp(person.duration > 0 ? state.time / person.duration : 0, 0, 1);
    return { phase: person.phaseAt(raw), raw, over: state.time > person.duration + 1e-6 };
  }

  visiblePeople() {
    const shown = this.people.filter((_, n) => this.state.shown[n]);
    return this.state.between ? [...shown, this.betweenPerson()] : shown;
  }

  betweenPerson() {
    const { from, to, share, point } = this.state;
    const weights = this.people.map(() => 0);
    weights[from] += 1 - share;
    weights[to] += share;
    const person = point ? this.clips.personAt(point) : this.clips.blend(weights);
    return { ...person, name: point ? "between all" : `between ${from + 1} and ${to + 1}` };
  }

  colour(person) {
    return person.instance === null ? this.data.other_colours.between : this.data.colours[person.instance];
  }

  /** What is drawn of a person now: posed bodies in their colours. */
  bodiesOf(person) {
    const { state, clips } = this;
    const { phase, raw } = this.moment(person);
    const motion = this.motion(person, phase);
    const pose = this.body.pose(motion, person.betas, -person.ground);
    const out = [];
    if (state.fit || person.instance === null) out.push({ pose, colour: rgb(this.colour(person)), alpha: 1 });
    const discs = out.length ? this.discsOf(person, phase, pose) : [];
    if (person.instance === null) return { bodies: out, joints: pose.joints, discs };
    const n = person.instance;
    const frame = Math.round(raw * (clips.frames[n] - 1));
    for (const kind of ["initial", "truth"]) {
      const source = this.others[kind];
      if (!state[kind] || !source) continue;
      const row = n * source.frames + frame;
      if (!source.mask[row]) continue;
      const rotations = rotationsOf(source.pose, row * JOINTS * 3);
      const translation = source.translation ? source.translation.subarray(3 * row, 3 * row + 3) : motion.translation;
      const betas = source.betas ? source.betas.subarray(n * this.body.numShapes, (n + 1) * this.body.numShapes) : person.betas;
      const other = this.body.pose({ rotations, translation }, betas, -person.ground);
      out.push({ pose: other, colour: rgb(this.data.other_colours[kind]), alpha: out.length ? VEILED : 1 });
    }
    return { bodies: out, joints: pose.joints, discs };
  }

  /** Discs [[x, y, z], colour] on the ground under the toes, heels and wrists that stand. */
  discsOf(person, phase, pose) {
    if (!this.contacts || !this.state.contacts) return [];
    const stands = this.contacts.at(phase, person.code, person.mirrored);
    const points = this.contacts.points(pose, this.body.restJoints(person.betas));
    const colour = rgb(this.colour(person));
    return points.filter((_, i) => stands[i] > 0.5).map(([x, , z]) => [[x, 0, z], colour]);
  }

  /** Middle of these people, and how far they reach from it: {centre, reach: [sideways, upwards]}, metres. */
  frame(people) {
    const rooms = people.map(({ weights }) => blendRooms(this.rooms, weights));
    const ends = [0, 1, 2].map((axis) => [
      Math.min(...rooms.map((room) => room[axis][0])), Math.max(...rooms.map((room) => room[axis][1])),
    ]);
    const [x, , z] = ends.map(([low, high]) => (low + high) / 2);
    const sideways = Math.max(...[0, 2].map((axis) => (ends[axis][1] - ends[axis][0]) / 2));
    const top = ends[1][1] + HEAD_ROOM;
    return { centre: [x, top / 2, z], reach: [sideways + ARM_ROOM, top / 2 + FOOT_ROOM] };
  }

  draw() {
    const { state } = this;
    const { context, width, height } = paper(element("marks"));
    const people = this.visiblePeople();
    const groups = state.layout === "cells" || state.own ? people.map((person) => [person]) : [people];
    const frames = groups.map((group) => (group.length ? this.frame(group) : NOBODY));
    const reach = [0, 1].map((i) => Math.max(...frames.map((frame) => frame.reach[i])));
    const boxes = arrange(groups.length, width, height, reach);
    const cells = groups.map((group, i) => {
      const [, , w, h] = boxes[i];
      const own = state.own && group[0]?.instance !== null && group.length === 1;
      const camera = own
        ? this.films.camera(group[0].instance, this.frameOf(group[0]), this.shownPart(group[0].instance), w, h)
        : this.orbit.camera(frames[i].centre, reach, w, h);
      const posed = group.map((person) => this.bodiesOf(person));
      const lines = state.paths ? group.flatMap((person) => this.pathLines(person)) : [];
      if (state.cameras && !own) lines.push(...group.flatMap((person) => this.cameraLines(person, frames[i].centre)));
      const [bodies, discs] = ["bodies", "discs"].map((kind) => posed.flatMap((each) => each[kind]));
      return { box: boxes[i], camera, bodies, discs, lines, ground: true, own };
    });
    this.renderer.draw(cells.length ? cells : [this.emptyCell(width, height)]);
    cells.forEach((cell, i) => this.label(context, cell, groups[i]));
    if (!people.length) {
      context.textAlign = "center";
      context.fillStyle = SOFT;
      context.fillText("Choose an instance to show.", width / 2, height / 2);
    }
    this.controls.refresh(people);
    this.drawn += 1;
  }

  emptyCell(width, height) {
    const camera = this.orbit.camera(NOBODY.centre, NOBODY.reach, width, height);
    return { box: [0, 0, width, height], camera, bodies: [], discs: [], lines: [], ground: true };
  }

  label(context, cell, group) {
    const [x, y, w, h] = cell.box;
    if (this.state.layout === "cells" || this.state.own) {
      context.strokeStyle = "#e3e6e9";
      context.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
      const [person] = group;
      const { raw, over } = this.moment(person);
      const number = person.instance === null ? "" : String(person.instance + 1);
      const error = person.instance === null ? "" : `, ± ${this.clips.expectedAt(person.instance, raw).toFixed(0)} mm`;
      const note = over ? "ended" : `${(raw * person.duration).toFixed(2)} s${error}`;
      if (cell.own) drawJoints(context, cell.box, this.jointsOf(person, raw, cell), this.data.limbs);
      cellLabel(context, cell.box, { name: person.name, number, colour: this.colour(person), note });
    }
    if (!this.state.cameras || cell.own) return;
    for (const { instance } of group) {
      if (instance === null) continue;
      const [cx, cy, , cw] = project(cell.camera.viewProjection, this.films.place(instance));
      if (cw <= 0.1) continue;
      const at = [x + (w * (1 + cx / cw)) / 2, y + (h * (1 - cy / cw)) / 2];
      if (at[0] > x && at[0] < x + w - 30 && at[1] > y + 30 && at[1] < y + h)
        chip(context, at[0] + 5, at[1] - 12, String(instance + 1), this.data.colours[instance]);
    }
  }

  /** The frame of its film in which a person is now. */
  frameOf(person) {
    return Math.round(this.moment(person).raw * (this.clips.frames[person.instance] - 1));
  }

  cameraLines(person, centre) {
    const { instance } = person;
    if (instance === null) return [];
    const away = Math.hypot(...add(this.films.place(instance), centre, -1));
    const colour = rgb(this.data.colours[instance]);
    return this.films.frustum(instance, this.frameOf(person), clamp(0.12 * away, 0.25, 1.2)).map(([from, to]) => [from, to, colour]);
  }

  /** Where the hips and the hands of a person are from phase 0 to 1. */
  pathLines(person) {
    const key = person.code.join();
    if (!this.paths.has(key)) {
      if (this.paths.size > 2 * this.people.length + 8) this.paths.clear();
      const joints = Array.from({ length: PATH_STEPS + 1 }, (_, i) => {
        return this.body.pose(this.motion(person, i / PATH_STEPS), person.betas, -person.ground).joints;
      });
      const colour = rgb(this.colour(person));
      const place = (i, joint) => [...joints[i].subarray(3 * joint, 3 * joint + 3)];
      const segments = joints.slice(1).flatMap((_, i) => PATH_JOINTS.map((j) => [place(i, j), place(i + 1, j), colour]));
      this.paths.set(key, segments);
    }
    return this.paths.get(key);
  }

  /** Far enough back to see the shown cameras, or home again. */
  frameCameras(on) {
    const people = this.visiblePeople().filter((person) => person.instance !== null);
    if (!on || !people.length) return this.orbit.reset({ azimuth: this.orbit.azimuth });
    const { centre, reach } = this.frame(people);
    const away = people.map(({ instance }) => Math.hypot(...add(this.films.place(instance), centre, -1)));
    return this.orbit.reset({ azimuth: this.orbit.azimuth, elevation: 0.5, zoom: Math.max(...away) / Math.max(...reach) });
  }

  /** The part of the image in which an instance's joints are, with a margin: [left, top, right, bottom]. */
  shownPart(n) {
    const frames = this.visible.length / this.clips.count;
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = n * frames; i < (n + 1) * frames; i++) {
      if (!this.visible[i]) continue;
      const [x, y] = [this.keypoints[2 * i], this.keypoints[2 * i + 1]];
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
    }
    if (left > right) return [0, 0, ...this.data.cameras.image_size[n]];
    const margin = 0.12 * Math.max(right - left, bottom - top, 20);
    return [left - margin, top - 1.5 * margin, right + margin, bottom + margin];
  }

  jointsOf(person, raw, cell) {
    const count = this.data.keypoints.shape[2];
    const frame = Math.round(raw * (this.clips.frames[person.instance] - 1));
    const row = (person.instance * this.data.keypoints.shape[1] + frame) * count;
    return Array.from({ length: count }, (_, k) => {
      const [x, y] = cell.camera.place([this.keypoints[2 * (row + k)], this.keypoints[2 * (row + k) + 1]]);
      return [cell.box[0] + x, cell.box[1] + y, this.visible[row + k]];
    });
  }

  /** Starts the clock; it draws only what changed. */
  run() {
    let before = performance.now();
    const tick = (now) => {
      requestAnimationFrame(tick);
      if (this.state.playing) this.advance(Math.min((now - before) / 1000, 0.25));
      before = now;
      if (!this.dirty) return;
      this.dirty = false;
      this.draw();
    };
    requestAnimationFrame(tick);
    new ResizeObserver(() => this.change()).observe(element("stage"));
    const canvas = element("scene");
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.renderer.load();
      this.change();
    });
  }
}

function element(id) {
  return document.getElementById(id);
}

function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
}

/** Room between instances: the mean of theirs. */
function blendRooms(rooms, weights) {
  const mean = (axis, end) => rooms.reduce((sum, room, n) => sum + weights[n] * room[axis][end], 0);
  return [0, 1, 2].map((axis) => [mean(axis, 0), mean(axis, 1)]);
}

function given(packed) {
  if (!packed) return null;
  const values = Object.fromEntries(Object.entries(packed).map(([key, value]) => [key, unpack(value)]));
  return { ...values, frames: packed.pose.shape[1] };
}

/** Boxes [x, y, width, height] of a grid whose cells show bodies that reach so far sideways and upwards as large as can be. */
function arrange(count, width, height, reach) {
  const sizes = Array.from({ length: Math.max(count, 1) }, (_, i) => {
    const rowCount = Math.ceil(count / (i + 1));
    return { columns: i + 1, rowCount, scale: Math.min(width / (i + 1) / reach[0], height / rowCount / reach[1]) };
  });
  const { columns, rowCount } = sizes.reduce((best, size) => (size.scale > best.scale + 1e-9 ? size : best));
  return Array.from({ length: count }, (_, i) => {
    const [column, row] = [i % columns, Math.floor(i / columns)];
    return [(column * width) / columns, (row * height) / rowCount, width / columns, height / rowCount];
  });
}

function start() {
  const fail = (error) => {
    element("problem").hidden = false;
    element("problem").textContent = error.message;
  };
  window.addEventListener("error", (event) => fail(event.error ?? event));
  const page = new Page(JSON.parse(element("data").textContent));
  page.run();
  window.nemo = {
    /** A copy of the page's state, and how many pictures it has drawn. */
    get state() {
      return { ...structuredClone(page.state), drawn: page.drawn };
    },
    set: (values) => page.set(values),
    field: (phase, code) => page.field.at(phase, code),
    page,
  };
}
