// The player of one episode: pictures of all cameras, traces and a predicted chunk, all on one cursor.
// Pictures are the stored JPEGs, fetched SEGMENT frames at a time when the cursor comes near; all else is in `data`.

const SEGMENT = 16;
const KEPT_SEGMENTS = 64;
const AHEAD = { still: 1, playing: 4 };
const COLOURS = ["#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#a16207", "#db2777", "#4b5563", "#65a30d", "#7c3aed", "#0d9488"];

const players = new WeakMap();

export default function (component) {
  const { parentElement, data } = component;
  let player = players.get(parentElement);
  if (!player) players.set(parentElement, (player = new Player(parentElement)));
  player.update(data);
  return () => { player.stop(); players.delete(parentElement); };
}

class Player {
  constructor(root) {
    this.root = root;
    this.at = (name) => root.querySelector(`.${name}`);
    this.frame = 0;
    this.at("play").onclick = () => this.toggle();
    this.at("copy").onclick = () => this.copy();
    this.speed = 1;
    this.at("speed").onchange = (event) => { this.speed = Number(event.target.value); this.restartClock(); event.target.blur(); };
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey);
  }

  // ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────

  update(data) {
    const isNew = this.data?.key !== data.key;
    this.data = data;
    if (isNew) {
      this.pause();
      this.frame = data.frame;
      this.segments = new Map();
      this.ticket = this.drawn = 0;
      this.timestamps = floats(data.timestamps);
      this.points = floats(data.points);
    }
    this.cursors = [];
    this.cells = [];
    this.layCameras();
    this.layTold();
    this.layChunk();
    this.layPanels();
    this.at("foot").textContent = (data.thinned > 1 ? `Traces are drawn by the extremes of every ${data.thinned} frames. ` : "")
      + "Space plays · ← → step · shift + ← → ten frames · home, end · drag on any trace";
    this.show(this.frame);
  }

  layCameras() {
    const { cameras, absent } = this.data;
    this.canvases = cameras.map((camera) => element("canvas", { width: camera.width, height: camera.height, ariaLabel: `camera ${camera.name}` }));
    this.at("cameras").replaceChildren(
      ...cameras.map((camera, i) => figure(camera.name, [camera.role, camera.skew_ms >= 0.5 ? `≤ ${camera.skew_ms.toFixed(0)} ms off` : ""].filter(Boolean).join(" · "), this.canvases[i])),
      ...absent.map((camera) => figure(camera.name, "absent", element("div", { className: "absent", textContent: camera.reason || "absent" }))),
    );
  }

  layTold() {
    const { instructions, steps } = this.data;
    const spans = instructions.map((one) => {
      const span = element("div", { className: "span", textContent: one.text, title: `${one.text} (frames ${one.start} to ${one.stop ?? "the end"})` });
      span.style.left = percent(one.start / steps);
      span.style.width = percent(((one.stop ?? steps) - one.start) / steps);
      return span;
    });
    const track = this.at("told");
    track.replaceChildren(...spans);
    track.ariaValueMin = 0;
    track.ariaValueMax = steps - 1;
    this.follow(track, 0, steps - 1);
  }

  layPanels() {
    const { panels, steps } = this.data;
    this.at("panels").replaceChildren(...panels.flatMap((panel) => this.panel(panel)), this.times(0, steps - 1));
  }

  panel(panel) {
    const { steps, chunk } = this.data;
    const dims = [...new Set(panel.lines.map((line) => line.dim))];
    const roles = ["state", "action", "extra"].filter((role) => panel.lines.some((line) => line.role === role));
    const colour = (dim) => COLOURS[dims.indexOf(dim) % COLOURS.length];
    const lines = panel.lines.map((line) => ({ ...line, values: floats(line.values) }));
    const paths = lines.map((line) => path(line.role, colour(line.dim), this.points, line.values));
    for (const line of lines) {
      const small = chunk?.panels.find((one) => one.name === line.name);
      if (!small) continue;
      const predicted = floats(small.predicted);
      paths.push(path("predicted", colour(line.dim), predicted.map((_, i) => chunk.start + i), predicted));
    }
    const plot = this.plot({ paths, first: 0, last: steps - 1, bounds: panel.bounds, height: Math.max(64, 20 + 18 * dims.length) });
    const legend = element("div", { className: "legend" });
    legend.append(element("span"), element("span"), ...roles.slice(0, 2).map((role) => element("span", { className: `head ${role}`, textContent: role })));
    if (roles.length === 1) legend.append(element("span"));
    for (const dim of dims) {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = colour(dim);
      legend.append(swatch, element("span", { textContent: dim, title: dim }));
      for (const role of [roles[0], roles[1]]) {
        const line = role && lines.find((one) => one.dim === dim && one.role === role);
        const cell = element("span", { className: "value" });
        if (line) this.cells.push({ cell, values: line.values });
        legend.append(cell);
      }
    }
    const heading = element("h4", { textContent: panel.title });
    heading.append(element("span", { textContent: ` (${panel.unit})` }));
    const row = element("div", { className: "row" });
    row.append(axis(panel.bounds, plot.style.getPropertyValue("--height")), plot, legend);
    return [heading, row];
  }

  layChunk() {
    const { chunk } = this.data;
    if (!chunk) return this.at("chunk").replaceChildren();
    const grid = element("div", { className: "chunks" });
    chunk.panels.forEach((one, i) => {
      const recorded = floats(one.recorded), predicted = floats(one.predicted), colour = COLOURS[i % COLOURS.length];
      const paths = [
        path("action", "currentColor", recorded.map((_, k) => chunk.first + k), recorded),
        path("predicted", colour, predicted.map((_, k) => chunk.start + k), predicted),
      ];
      const small = element("div", { className: "small" });
      const title = element("div");
      const error = one.error === null ? "not recorded" : `${one.error.toPrecision(2)} ${one.unit === "1" ? "" : one.unit}`;
      title.append(element("b", { textContent: one.label, title: `${one.name} (${one.unit})` }), element("span", { className: "unit", textContent: error }));
      small.append(title, this.plot({ paths, first: chunk.first, last: chunk.last, bounds: one.bounds, height: 58 }));
      grid.append(small);
    });
    const heading = element("h4", { textContent: `Predicted chunk, frames ${chunk.start} to ${chunk.stop - 1}` });
    heading.append(element("span", { textContent: " (solid: predicted, dashed: recorded; number: mean absolute difference)" }));
    this.at("chunk").replaceChildren(heading, grid);
  }

  // ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────

  plot({ paths, first, last, bounds, height }) {
    const [low, high] = bounds, span = Math.max(1, last - first);
    const svg = vector("svg", { viewBox: `${first} 0 ${span} 1`, preserveAspectRatio: "none" });
    for (const tick of ticks(low, high)) {
      const y = (high - tick) / (high - low);
      svg.append(vector("path", { class: tick === 0 ? "zero" : "grid", d: `M${first} ${y}H${last}` }));
    }
    for (const { className, colour, frames, values } of paths) {
      let d = "", pen = "M";
      for (let i = 0; i < values.length; i++) {
        if (!Number.isFinite(values[i])) { pen = "M"; continue; }
        d += `${pen}${frames[i]} ${((high - values[i]) / (high - low)).toFixed(4)}`;
        pen = "L";
      }
      svg.append(vector("path", { class: className, d, stroke: colour }));
    }
    const plot = element("div", { className: "plot frame" });
    plot.style.setProperty("--height", `${height}px`);
    plot.append(svg);
    this.follow(plot, first, last);
    return plot;
  }

  follow(plot, first, last) {
    const cursor = element("div", { className: "cursor" });
    plot.append(cursor);
    this.cursors.push({ cursor, first, last });
    const seek = (event) => {
      const box = plot.getBoundingClientRect();
      this.pause();
      this.show(Math.round(first + ((event.clientX - box.left) / box.width) * (last - first)));
    };
    plot.onpointerdown = (event) => { plot.setPointerCapture(event.pointerId); seek(event); };
    plot.onpointermove = (event) => { if (event.buttons & 1) seek(event); };
  }

  times(first, last) {
    const row = element("div", { className: "row" }), scale = element("div", { className: "times" });
    const end = this.timestamps[last] ?? 0;
    for (const time of ticks(0, end, 8)) {
      const label = element("span", { textContent: `${Number(time.toFixed(3))} s` });
      label.style.left = percent(this.frameAt(time) / Math.max(1, last - first));
      scale.append(label);
    }
    row.append(element("div"), scale, element("div"));
    return row;
  }

  show(frame) {
    const { steps } = this.data;
    this.frame = Math.max(0, Math.min(steps - 1, frame));
    const point = this.points.length === steps ? this.frame : Math.max(0, this.points.findLastIndex((at) => at <= this.frame));
    for (const { cursor, first, last } of this.cursors) {
      cursor.style.left = percent((this.frame - first) / Math.max(1, last - first));
      cursor.style.display = this.frame < first || this.frame > last ? "none" : "";
    }
    for (const { cell, values } of this.cells) cell.textContent = number(values[point]);
    this.at("now").textContent = `${this.frame} / ${steps - 1} · ${(this.timestamps[this.frame] ?? 0).toFixed(2)} s`;
    this.at("told").ariaValueNow = this.frame;
    if (this.canvases.length && steps) this.picture(this.frame);
  }

  // ── pictures ────────────────────────────────────────────────────────────────────────────────────────────────────

  async picture(frame) {
    const ticket = ++this.ticket, key = this.data.key, segment = Math.floor(frame / SEGMENT);
    try {
      const jpegs = await this.segment(segment).pictures;
      const bitmaps = await Promise.all(jpegs[frame % SEGMENT].map((jpeg) => createImageBitmap(jpeg)));
      if (ticket < this.drawn || key !== this.data.key) return;
      this.drawn = ticket;
      bitmaps.forEach((bitmap, i) => {
        const canvas = this.canvases[i];
        Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        canvas.dataset.frame = frame;
      });
      this.at("fault").hidden = true;
      const last = Math.floor((this.data.steps - 1) / SEGMENT);
      for (let next = segment + 1; next <= Math.min(last, segment + (this.isPlaying ? AHEAD.playing : AHEAD.still)); next++) this.segment(next).pictures.catch(() => {});
    } catch (error) {
      if (error.name === "AbortError" || key !== this.data.key) return;
      this.pause();
      Object.assign(this.at("fault"), { hidden: false, textContent: `The pictures cannot be shown: ${error.message}` });
    }
  }

  segment(index) {
    let found = this.segments.get(index);
    if (found) this.segments.delete(index);
    else {
      for (const [other, one] of this.segments) if (!one.isHere && (other < index - 1 || other > index + AHEAD.playing)) { one.abort.abort(); this.segments.delete(other); }
      found = this.fetch(index);
    }
    this.segments.set(index, found);
    if (this.segments.size > KEPT_SEGMENTS) this.segments.delete(this.segments.keys().next().value);
    return found;
  }

  fetch(index) {
    const { key, steps, cameras, url } = this.data, start = index * SEGMENT, stop = Math.min(steps, start + SEGMENT);
    const abort = new AbortController(), found = { abort, isHere: false };
    found.pictures = fetch(`${url}/${key}/${start}-${stop}`, { signal: abort.signal }).then(async (response) => {
      if (!response.ok) throw new Error(await response.text());
      if (response.headers.get("content-type") !== "application/octet-stream") throw new Error("this server has no pictures; start it with `robomix dash LAKE`");
      const bytes = await response.arrayBuffer(), sizes = new DataView(bytes), jpegs = [];
      let at = (stop - start) * cameras.length * 4;
      for (let i = 0; i < stop - start; i++) {
        jpegs.push(cameras.map((_, camera) => {
          const size = sizes.getUint32((i * cameras.length + camera) * 4, true);
          return new Blob([new Uint8Array(bytes, (at += size) - size, size)], { type: "image/jpeg" });
        }));
      }
      found.isHere = true;
      return jpegs;
    });
    found.pictures.catch(() => this.segments.delete(index));
    return found;
  }

  // ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────

  toggle() { this.isPlaying ? this.pause() : this.play(); }

  play() {
    if (this.frame >= this.data.steps - 1) this.frame = 0;
    this.isPlaying = true;
    Object.assign(this.at("play"), { textContent: "❚❚", ariaLabel: "Pause" });
    this.restartClock();
    this.tick();
  }

  pause() {
    this.isPlaying = false;
    cancelAnimationFrame(this.request);
    Object.assign(this.at("play"), { textContent: "▶", ariaLabel: "Play" });
  }

  restartClock() { this.clock = { at: performance.now(), from: this.timestamps?.[this.frame] ?? 0 }; }

  tick() {
    this.request = requestAnimationFrame(() => {
      if (!this.isPlaying) return;
      const wanted = this.frameAt(this.clock.from + ((performance.now() - this.clock.at) / 1000) * this.speed);
      const segment = this.canvases.length ? this.segment(Math.floor(wanted / SEGMENT)) : { isHere: true };
      if (!segment.isHere) { segment.pictures.catch(() => {}); if (wanted !== this.frame) this.restartClock(); }
      else if (wanted !== this.frame) this.show(wanted);
      if (this.frame >= this.data.steps - 1) this.pause();
      else this.tick();
    });
  }

  frameAt(time) {
    let low = 0, high = this.timestamps.length - 1;
    while (low < high) { const middle = (low + high + 1) >> 1; this.timestamps[middle] <= time + 1e-4 ? (low = middle) : (high = middle - 1); }
    return low;
  }

  key(event) {
    const focus = document.activeElement, isElsewhere = focus && focus !== document.body && !focus.contains(this.root.host ?? this.root);
    if (isElsewhere || event.metaKey || event.ctrlKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const action = {
      ArrowLeft: () => this.show(this.frame - step), ArrowRight: () => this.show(this.frame + step),
      Home: () => this.show(0), End: () => this.show(this.data.steps - 1), " ": () => this.toggle(),
    }[event.key];
    if (!action || (event.key === " " && this.root.activeElement?.tagName === "BUTTON")) return;
    if (event.key !== " ") this.pause();
    event.preventDefault();
    action();
  }

  async copy() {
    const link = new URL(location.href);
    link.searchParams.set("frame", this.frame);
    await navigator.clipboard?.writeText(link.href);
    this.at("copy").textContent = "Copied";
    setTimeout(() => { this.at("copy").textContent = "Copy link"; }, 1200);
  }

  stop() {
    this.pause();
    document.removeEventListener("keydown", this.onKey);
    for (const segment of this.segments?.values() ?? []) segment.abort.abort();
  }
}

// ── small things ──────────────────────────────────────────────────────────────────────────────────────────────────

const percent = (share) => `${(share * 100).toFixed(4)}%`;
const element = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
const path = (className, colour, frames, values) => ({ className, colour, frames, values });
const number = (value) => (Number.isFinite(value) ? (Math.abs(value) >= 1000 ? value.toFixed(0) : value.toFixed(3)).replace("-", "−") : "–");

function floats(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Array.from(new Float32Array(bytes.buffer));
}

function vector(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function figure(name, note, content) {
  const made = element("figure", { className: "camera" }), caption = element("figcaption", { textContent: name });
  caption.append(element("span", { textContent: note }));
  made.append(content, caption);
  return made;
}

function axis([low, high], height) {
  const made = element("div", { className: "axis" });
  made.style.height = height;
  for (const tick of ticks(low, high)) {
    const share = (high - tick) / (high - low);
    if (share < 0.04 || share > 0.96) continue;
    const label = element("span", { textContent: String(Number(tick.toPrecision(4))).replace("-", "−") });
    label.style.top = percent(share);
    made.append(label);
  }
  return made;
}

function ticks(low, high, count = 4) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= raw) ?? 10), found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-6; i++) found.push(i === 0 ? 0 : i * step);
  return found;
}
