/**
 * One plot: curves or a stack over time on a canvas, with axes, a crosshair that all plots share, and a legend that says the
 * values under it. Colours and dashes come from the style sheet, so that both schemes and every eye are served.
 */

import * as figures from "./figures.js";
import { element, say } from "./elements.js";
import { linear, logarithmic, moments, nearest, runs } from "./scale.js";

/** What each unit looks like on an axis and in a legend, and the least that its axis spans. */
const UNITS = {
  rate: { axis: figures.count, legend: figures.rate, least: 4 },
  count: { axis: figures.count, legend: figures.count, least: 4 },
  bytes: { axis: figures.bytes, legend: figures.bytes, least: 4096, binary: true },
  cores: { axis: figures.cores, legend: figures.cores, least: 0.2 },
  time: { axis: figures.time, legend: figures.time },
};
const DASHES = { solid: [], dashed: [6, 3], dotted: [1.5, 3] };
/** Room for labels. */
const [TOP, BOTTOM, RIGHT] = [8, 20, 8];
const clock = new Intl.DateTimeFormat("en", { hourCycle: "h23", hour: "2-digit", minute: "2-digit" });
const exactClock = new Intl.DateTimeFormat("en", { hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {string} colour a custom property of the style sheet
 * @property {"solid" | "dashed" | "dotted"} [dash]
 * @property {(point: object) => number | null} value
 *
 * @typedef {object} Spec
 * @property {string} title
 * @property {string} [note] what it is, where the title does not say it
 * @property {keyof UNITS} unit
 * @property {"stack"} [kind] areas on top of each other, the first at the bottom
 * @property {boolean} [broad] as wide as two
 * @property {boolean} [log] decades instead of equal steps
 * @property {Series[]} series
 */

export class Plot {
  #points = [];
  #runs = [];
  #from = 0;
  #to = 1;
  #at = null;
  #left = 0;

  /** @param {Spec} spec @param {(at: number | null, aloud: boolean) => void} point where somebody points at; a null: nowhere */
  constructor(spec, point) {
    this.spec = spec;
    this.figure = element("figure", spec.broad ? "plot broad" : "plot");
    this.figure.tabIndex = 0;
    this.figure.setAttribute("aria-label", `${spec.title}. Arrow keys move along the time.`);
    const caption = element("figcaption");
    caption.append(element("h3", "", spec.title));
    if (spec.note) caption.append(element("p", "soft", spec.note));
    this.legend = element("ul", "legend");
    this.canvas = element("canvas");
    this.canvas.setAttribute("role", "presentation");
    this.figure.append(caption, this.canvas, this.legend);
    this.follow(spec.series);
    new ResizeObserver(() => this.#draw()).observe(this.canvas);
    const under = ({ offsetX }) => point(this.#moment(offsetX), false);
    this.canvas.addEventListener("pointermove", under);
    this.canvas.addEventListener("pointerdown", under);
    this.canvas.addEventListener("pointerleave", () => point(null, false));
    this.figure.addEventListener("keydown", (event) => {
      const at = this.#step(event.key);
      if (at === undefined) return;
      event.preventDefault();
      point(at, true);
    });
    this.figure.addEventListener("blur", () => point(null, false));
  }

  /** Other curves from now on: a node may come back with another number of shards. @param {Series[]} series */
  follow(series) {
    this.series = series;
    this.legend.replaceChildren(...series.map((one) => {
      const item = element("li");
      const mark = element("i", `mark ${one.dash ?? "solid"}`);
      mark.style.setProperty("--colour", `var(${one.colour})`);
      one.figure = element("b");
      item.append(mark, element("span", "", one.name), one.figure);
      return item;
    }));
  }

  /** @param {object[]} points rising by `at` @param {number} from unix milliseconds @param {number} to */
  show(points, from, to) {
    const first = points.findIndex(({ at }) => at >= from);
    this.#points = first < 0 ? [] : points.slice(Math.max(0, first - 1));
    this.#runs = runs(this.#points);
    [this.#from, this.#to] = [from, to];
    this.#draw();
  }

  /** Shows the values of that moment; of the newest one for a null. */
  pointAt(at) {
    if (this.#at === at) return;
    this.#at = at;
    this.#draw();
  }

  /** What the legend says, for somebody who hears it. */
  words() {
    const point = this.#pointed();
    if (!point) return "";
    const values = this.series.map((one) => `${one.name} ${this.#legend(one.value(point))}`);
    return `${exactClock.format(point.at)}: ${values.join(", ")}`;
  }

  #legend(value) {
    return UNITS[this.spec.unit].legend(value ?? null);
  }

  #pointed() {
    return this.#at === null ? this.#points.at(-1) : this.#points[nearest(this.#points, this.#at)];
  }

  #step(pressed) {
    const points = this.#points;
    const index = this.#at === null ? points.length - 1 : nearest(points, this.#at);
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: points.length - 1 }[pressed];
    if (pressed === "Escape") return null;
    if (to === undefined || points.length === 0) return undefined;
    return points[Math.min(points.length - 1, Math.max(0, to))].at;
  }

  #moment(x) {
    const width = this.canvas.clientWidth - this.#left - RIGHT;
    const part = Math.min(1, Math.max(0, (x - this.#left) / width));
    const index = nearest(this.#points, this.#from + part * (this.#to - this.#from));
    return index < 0 ? null : this.#points[index].at;
  }

  #draw() {
    const pointed = this.#pointed();
    for (const one of this.series) say(one.figure, this.#legend(pointed && one.value(pointed)));
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0 || height === 0) return;
    const dots = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * dots) || this.canvas.height !== Math.round(height * dots)) {
      [this.canvas.width, this.canvas.height] = [Math.round(width * dots), Math.round(height * dots)];
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.figure);
    const colour = (name) => style.getPropertyValue(name).trim();
    pen.font = `11px ${style.fontFamily}`;
    const axis = this.#axis();
    const labels = axis.ticks.map(UNITS[this.spec.unit].axis);
    this.#left = Math.ceil(Math.max(...labels.map((label) => pen.measureText(label).width))) + 8;
    const area = { left: this.#left, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
    const x = (at) => area.left + ((at - this.#from) / (this.#to - this.#from)) * (area.right - area.left);
    const y = (value) => area.bottom - axis.place(value) * (area.bottom - area.top);
    this.#grid(pen, colour, area, axis.ticks.map((tick, nth) => [y(tick), labels[nth]]), x);
    pen.save();
    pen.beginPath();
    pen.rect(area.left, 0, area.right - area.left + 2, height);
    pen.clip();
    if (this.spec.kind === "stack") this.#stack(pen, colour, x, y, area.bottom);
    else this.#curves(pen, colour, x, y);
    if (this.#at !== null && pointed) this.#cross(pen, colour, area, x(pointed.at));
    pen.restore();
  }

  #axis() {
    const { unit, log, kind } = this.spec;
    const seen = this.#points.filter(({ at }) => at >= this.#from);
    const values = kind === "stack"
      ? seen.map((point) => this.series.reduce((sum, one) => sum + (one.value(point) ?? 0), 0))
      : seen.flatMap((point) => this.series.map((one) => one.value(point)));
    const known = values.filter((value) => typeof value === "number" && (!log || value > 0));
    if (log) return logarithmic(Math.min(1e-5, ...known), Math.max(1e-3, ...known));
    const scale = UNITS[unit].binary ? 1024 ** Math.floor(Math.log2(Math.max(1, ...known)) / 10) : 1;
    const { ticks, place } = linear(Math.max(0, ...known) / scale, UNITS[unit].least / scale);
    return { ticks: ticks.map((tick) => tick * scale), place: (value) => place(value / scale) };
  }

  #grid(pen, colour, area, rows, x) {
    pen.lineWidth = 1;
    pen.strokeStyle = colour("--line");
    pen.fillStyle = colour("--soft");
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    // As many labels as there is room for.
    const every = Math.ceil(rows.length / Math.max(2, Math.floor((area.bottom - area.top) / 18)));
    rows.forEach(([row, label], nth) => {
      if (nth % every !== 0) return;
      const sharp = Math.round(row) + 0.5;
      pen.beginPath();
      pen.moveTo(area.left, sharp);
      pen.lineTo(area.right, sharp);
      pen.stroke();
      pen.fillText(label, area.left - 6, sharp);
    });
    const { list, exact } = moments(this.#from, this.#to, Math.max(2, Math.floor((area.right - area.left) / 62)));
    pen.textBaseline = "alphabetic";
    for (const at of list) {
      const label = (exact ? exactClock : clock).format(at);
      const half = pen.measureText(label).width / 2;
      if (x(at) - half < 0 || x(at) + half > area.right + RIGHT) continue;
      pen.textAlign = "center";
      pen.fillText(label, x(at), area.bottom + 15);
    }
  }

  #curves(pen, colour, x, y) {
    pen.lineJoin = "round";
    for (const one of this.series) {
      pen.strokeStyle = pen.fillStyle = colour(one.colour);
      pen.lineWidth = one.dash === "dotted" ? 1.5 : 1.75;
      pen.setLineDash(DASHES[one.dash ?? "solid"]);
      for (const piece of this.#pieces(one)) {
        if (piece.length === 1) {
          // Alone between two moments without any.
          pen.beginPath();
          pen.arc(x(piece[0].at), y(piece[0].value), 1.75, 0, 2 * Math.PI);
          pen.fill();
          continue;
        }
        pen.beginPath();
        piece.forEach(({ at, value }, nth) => (nth === 0 ? pen.moveTo(x(at), y(value)) : pen.lineTo(x(at), y(value))));
        pen.stroke();
      }
    }
    pen.setLineDash([]);
  }

  /** Values that follow each other. */
  *#pieces(one) {
    for (const run of this.#runs) {
      let piece = [];
      for (const index of run) {
        const value = one.value(this.#points[index]);
        if (typeof value === "number") piece.push({ at: this.#points[index].at, value });
        else if (piece.length > 0) {
          yield piece;
          piece = [];
        }
      }
      if (piece.length > 0) yield piece;
    }
  }

  #stack(pen, colour, x, y, ground) {
    for (const run of this.#runs) {
      const points = run.map((index) => this.#points[index]);
      let below = points.map(() => 0);
      for (const one of this.series) {
        const above = points.map((point, nth) => below[nth] + (one.value(point) ?? 0));
        const edge = (heights) => points.map((point, nth) => [x(point.at), Math.min(ground, y(heights[nth]))]);
        // A moment alone is as wide as its interval.
        const wide = points.length === 1 ? x(points[0].at - points[0].span_ms) : null;
        const [upper, lower] = [edge(above), edge(below).reverse()];
        if (wide !== null) {
          upper.unshift([wide, upper[0][1]]);
          lower.push([wide, lower[0][1]]);
        }
        pen.fillStyle = pen.strokeStyle = colour(one.colour);
        pen.globalAlpha = 0.5;
        trace(pen, [...upper, ...lower]);
        pen.fill();
        pen.globalAlpha = 1;
        pen.lineWidth = 1.5;
        trace(pen, upper);
        pen.stroke();
        below = above;
      }
    }
  }

  #cross(pen, colour, area, at) {
    pen.strokeStyle = colour("--text");
    pen.globalAlpha = 0.6;
    pen.lineWidth = 1;
    trace(pen, [[Math.round(at) + 0.5, area.top], [Math.round(at) + 0.5, area.bottom]]);
    pen.stroke();
    pen.globalAlpha = 1;
    const label = exactClock.format(this.#at);
    const width = pen.measureText(label).width + 8;
    const left = Math.min(area.right - width, Math.max(area.left, at - width / 2));
    pen.fillStyle = colour("--text");
    pen.fillRect(left, area.bottom + 3, width, 16);
    pen.fillStyle = colour("--surface");
    pen.textAlign = "left";
    pen.textBaseline = "alphabetic";
    pen.fillText(label, left + 4, area.bottom + 15);
  }
}

function trace(pen, corners) {
  pen.beginPath();
  corners.forEach(([x, y], nth) => (nth === 0 ? pen.moveTo(x, y) : pen.lineTo(x, y)));
}
