// Where the scene is seen from: a camera that people turn, and the fitted cameras of the films.

const FIELD_OF_VIEW = (32 * Math.PI) / 180; // of the narrower side

class Orbit {
  constructor(element, azimuth, onChange) {
    this.home = { azimuth, elevation: 0.16, zoom: 1, pan: [0, 0, 0] };
    this.onChange = onChange;
    this.reset();
    this.listen(element);
  }

  reset(change = {}) {
    Object.assign(this, this.home, { pan: [0, 0, 0] }, change);
    this.onChange();
  }

  axes() {
    const [ca, sa] = [Math.cos(this.azimuth), Math.sin(this.azimuth)];
    const [ce, se] = [Math.cos(this.elevation), Math.sin(this.elevation)];
    return { right: [ca, 0, -sa], up: [-sa * se, ce, -ca * se], back: [sa * ce, se, ca * ce] };
  }

  /** A camera that shows `reach` [sideways, upwards] metres about `centre` in a cell of the given size. */
  camera(centre, reach, width, height) {
    const { right, up, back } = this.axes();
    const narrow = Math.min(width, height);
    const focal = 1 / Math.tan(FIELD_OF_VIEW / 2);
    // What is near is larger: sideways reach is also depth, as the scene can be turned.
    const distance = this.zoom * (0.5 * reach[0] + focal * Math.max((reach[0] * narrow) / width, (reach[1] * narrow) / height));
    const target = add(centre, this.pan);
    const eye = add(target, back, distance);
    this.metresPerPixel = (2 * distance) / focal / narrow;
    const far = distance + 60;
    const projection = projectionMatrix((focal * narrow) / width, (focal * narrow) / height, 0, 0, far / 4000, far);
    const viewProjection = multiply(projection, viewMatrix(right, up, back, eye));
    return { viewProjection, eye, centre: target, reach: Math.max(6, 2 * distance) };
  }

  turn(dx, dy) {
    this.azimuth -= 0.008 * dx;
    this.elevation = clamp(this.elevation + 0.008 * dy, -0.3, Math.PI / 2);
    this.onChange();
  }

  move(dx, dy) {
    const { right, up } = this.axes();
    this.pan = add(add(this.pan, right, -dx * this.metresPerPixel), up, dy * this.metresPerPixel);
    this.onChange();
  }

  scale(factor) {
    this.zoom = clamp(this.zoom * factor, 0.1, 12);
    this.onChange();
  }

  listen(element) {
    const fingers = new Map();
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.scale(Math.exp(clamp(event.deltaY, -100, 100) * 0.0015));
    }, { passive: false });
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    for (const kind of ["pointerup", "pointercancel"])
      element.addEventListener(kind, (event) => fingers.delete(event.pointerId));
    element.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY];
      const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, now);
      if (other) {
        const apart = (point) => Math.max(Math.hypot(point[0] - other[0], point[1] - other[1]), 1);
        this.move(dx / 2, dy / 2);
        this.scale(apart(before) / apart(now));
      } else if (event.buttons & 2 || event.shiftKey) this.move(dx, dy);
      else this.turn(dx, dy);
    });
  }
}

class FilmCameras {
  constructor(data, ground) {
    this.rotation = unpack(data.rotation);
    this.translation = unpack(data.translation);
    // How cameras that turn and zoom differ from frame to frame; null where all stand still.
    this.turn = data.turn && unpack(data.turn);
    this.zoom = data.zoom && unpack(data.zoom);
    this.frames = data.zoom ? data.zoom.shape[1] : 0;
    Object.assign(this, { focal: data.focal, principal: data.principal, size: data.image_size, ground });
  }

  /** Rows of the rotation of camera n as it is in its reference: its axes right, down and into the scene. */
  still(n) {
    return [0, 1, 2].map((row) => [...this.rotation.subarray(9 * n + 3 * row, 9 * n + 3 * row + 3)]);
  }

  /** The same in a frame. */
  axes(n, frame) {
    const rows = this.still(n);
    if (!this.turn) return rows;
    const at = 9 * (n * this.frames + frame);
    return [0, 1, 2].map((i) => [0, 1, 2].map((k) => rows.reduce((sum, row, j) => sum + this.turn[at + 3 * i + j] * row[k], 0)));
  }

  /** The focal length of camera n in a frame, pixels. */
  length(n, frame) {
    return this.focal[n] * (this.zoom ? this.zoom[n * this.frames + frame] : 1);
  }

  /** The place of camera n in the scene, in which instance n stands on height 0. */
  place(n) {
    const translation = this.translation.subarray(3 * n, 3 * n + 3);
    const centre = this.still(n).reduce((sum, axis, i) => add(sum, axis, -translation[i]), [0, 0, 0]);
    return [centre[0], centre[1] - this.ground[n], centre[2]];
  }

  /** Edges of the pyramid that camera n sees in a frame, `depth` metres long: [from, to] pairs. */
  frustum(n, frame, depth) {
    const [right, down, into] = this.axes(n, frame);
    const focal = this.length(n, frame);
    const apex = this.place(n);
    const corner = (u, v) => {
      const x = (u - this.principal[n][0]) / focal;
      const y = (v - this.principal[n][1]) / focal;
      return [0, 1, 2].map((i) => apex[i] + depth * (into[i] + x * right[i] + y * down[i]));
    };
    const [width, height] = this.size[n];
    const corners = [corner(0, 0), corner(width, 0), corner(width, height), corner(0, height)];
    const top = corner(width / 2, -0.25 * height); // a roof over the upper edge says which way is up
    return [
      ...corners.map((point) => [apex, point]),
      ...corners.map((point, i) => [point, corners[(i + 1) % 4]]),
      [corners[0], top], [corners[1], top],
    ];
  }

  /** Camera n in a frame, with the part `shown` [left, top, right, bottom] of its image, in pixels, fitted into a cell. */
  camera(n, frame, shown, width, height) {
    const [right, down, into] = this.axes(n, frame);
    const scale = Math.min(width / (shown[2] - shown[0]), height / (shown[3] - shown[1]));
    const corner = [
      (shown[0] + shown[2]) / 2 - width / 2 / scale,
      (shown[1] + shown[3]) / 2 - height / 2 / scale,
    ];
    const eye = this.place(n);
    const cx = (2 * scale * (this.principal[n][0] - corner[0])) / width - 1;
    const cy = 1 - (2 * scale * (this.principal[n][1] - corner[1])) / height;
    const focal = 2 * scale * this.length(n, frame);
    const projection = projectionMatrix(focal / width, focal / height, cx, cy, 0.05, 300);
    const negative = (axis) => axis.map((value) => -value);
    const viewProjection = multiply(projection, viewMatrix(right, negative(down), negative(into), eye));
    return { viewProjection, eye, centre: [0, 0, 0], reach: 12, place: ([u, v]) => [(u - corner[0]) * scale, (v - corner[1]) * scale] };
  }
}
