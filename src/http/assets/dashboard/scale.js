/**
 * Axes: where values stand, and which of them get a line and a label. Pure.
 */

/** Seconds between two labels of a time axis. */
const STEPS = [10, 15, 30, 60, 120, 300, 600];

/** From zero to a round number that is not below `max`. @param {number} [least] the axis ends there or above */
export function linear(max, least = 1) {
  const top = Math.max(max, least);
  const power = 10 ** Math.floor(Math.log10(top / 4));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((wide) => wide * 4 >= top * 0.999_999) ?? 10 * power;
  const ticks = [];
  for (let nth = 0; ticks.length === 0 || ticks.at(-1) < top * 0.999_999; nth++) ticks.push(nth * step);
  const end = ticks.at(-1);
  return { ticks, place: (value) => Math.min(1, Math.max(0, value / end)) };
}

/** From decade to decade: for times, whose small differences matter where they are small. */
export function logarithmic(min, max) {
  const floor = Math.floor(Math.log10(min) + 1e-9);
  const ceiling = Math.max(Math.ceil(Math.log10(max) - 1e-9), floor + 2);
  const ticks = [];
  for (let decade = floor; decade <= ceiling; decade++) ticks.push(10 ** decade);
  const place = (value) => (value <= 0 ? 0 : Math.min(1, Math.max(0, (Math.log10(value) - floor) / (ceiling - floor))));
  return { ticks, place };
}

/** Moments between `from` and `to` (unix milliseconds) for labels, at most `most`, on the round ones of the viewer's clock. */
export function moments(from, to, most) {
  const seconds = (to - from) / 1000;
  const step = (STEPS.find((wide) => seconds / wide <= most) ?? STEPS.at(-1)) * 1000;
  const offset = new Date(to).getTimezoneOffset() * 60_000;
  const list = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) list.push(at);
  return { list, exact: step < 60_000 };
}

/** The index of the point nearest to a moment; -1 where there is none. @param {{ at: number }[]} points rising */
export function nearest(points, at) {
  if (points.length === 0) return -1;
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].at < at) low = middle + 1;
    else high = middle;
  }
  return low > 0 && at - points[low - 1].at < points[low].at - at ? low - 1 : low;
}

/** Points that follow each other without a pause, as runs of indexes; where nobody watched, a curve has a gap. */
export function runs(points) {
  const list = [];
  points.forEach((point, index) => {
    const before = points[index - 1];
    const follows = before && point.at - before.at <= 2.5 * Math.max(point.span_ms, before.span_ms);
    if (follows) list.at(-1).push(index);
    else list.push([index]);
  });
  return list;
}
