/**
 * Numbers as people read them. Pure; `dormouse top` says them the same way.
 */

/** Stands for what there is not. */
export const NOTHING = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Three digits at most after rounding, but never fewer than the whole part has. */
function digits(number) {
  if (number >= 99.95) return whole.format(number);
  const text = number.toFixed(number >= 9.995 ? 1 : 2);
  return text.replace(/\.?0+$/, "");
}

const known = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  return known(value) ? whole.format(value) : NOTHING;
}

/** Something a second. */
export function rate(value) {
  if (!known(value)) return NOTHING;
  return value >= 10 || value === 0 ? whole.format(value) : value.toFixed(1);
}

/** @param {number | null} seconds */
export function time(seconds) {
  if (!known(seconds)) return NOTHING;
  // Rounded first, so that nothing is ever 1,000 of a smaller unit.
  if (seconds < 0.999_5e-3) return `${digits(seconds * 1e6)} µs`;
  if (seconds < 0.999_5) return `${digits(seconds * 1e3)} ms`;
  return `${digits(seconds)} s`;
}

export function bytes(value) {
  if (!known(value)) return NOTHING;
  let [size, unit] = [value, 0];
  while (size >= 1024 && unit < SIZES.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${digits(size)} ${SIZES[unit]}`;
}

export function cores(value) {
  return known(value) ? value.toFixed(2) : NOTHING;
}

/** How long something lasts or is ago, in the two largest units. @param {number} ms */
export function age(ms) {
  if (!known(ms)) return NOTHING;
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${seconds % 60}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h ${Math.floor(seconds / 60) % 60}m`;
  return `${Math.floor(seconds / 86_400)}d ${Math.floor(seconds / 3600) % 24}h`;
}
