/**
 * Where the tiles of a stage stand. Pure geometry: sizes in, rectangles out, in CSS pixels.
 *
 * Called by stage.js.
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Box
 */

const RATIO = 16 / 9;
const GAP = 8;
const STRIP_WIDTH = 232;
const STRIP_HEIGHT = 104;

/**
 * All of one size, 16:9, as large as the area allows; one or two fill an upright screen.
 * @param {number} count @param {number} width @param {number} height @returns {Box[]}
 */
export function grid(count, width, height) {
  if (count === 0) return [];
  if (width < height && count <= 2) return upright(count, width, height);
  let best = { columns: 1, tile: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const tile = Math.min((width - GAP * (columns - 1)) / columns, ((height - GAP * (rows - 1)) / rows) * RATIO);
    if (tile > best.tile) best = { columns, tile };
  }
  return rowsOf(count, best.columns, best.tile, width, height);
}

/**
 * One large, the others in a strip: at the side of a wide area, below in a tall one.
 * @param {number} count @param {number} spot index of the large one @param {number} width @param {number} height @returns {Box[]}
 */
export function spotlight(count, spot, width, height) {
  if (count < 2) return grid(count, width, height);
  const wide = width > height;
  const others = count - 1;
  const room = wide ? (height - GAP * (others - 1)) / others : (width - GAP * (others - 1)) / others;
  const small = wide ? size(Math.min(STRIP_WIDTH, width * 0.25, room * RATIO)) : size(Math.min(STRIP_HEIGHT * RATIO, room));
  const large = wide
    ? { left: 0, top: 0, width: width - small.width - GAP, height }
    : { left: 0, top: 0, width, height: height - small.height - GAP };
  const length = others * (wide ? small.height : small.width) + GAP * (others - 1);
  let at = ((wide ? height : width) - length) / 2;
  return Array.from({ length: count }, (_, index) => {
    if (index === spot) return large;
    const box = wide ? { left: width - small.width, top: at, ...small } : { left: at, top: height - small.height, ...small };
    at += (wide ? small.height : small.width) + GAP;
    return box;
  });
}

/** @param {number} width */
function size(width) {
  return { width, height: width / RATIO };
}

/** @param {number} count @param {number} width @param {number} height @returns {Box[]} */
function upright(count, width, height) {
  const each = (height - GAP * (count - 1)) / count;
  return Array.from({ length: count }, (_, index) => ({ left: 0, top: index * (each + GAP), width, height: each }));
}

/** @param {number} count @param {number} columns @param {number} tile width of one @param {number} width @param {number} height @returns {Box[]} */
function rowsOf(count, columns, tile, width, height) {
  const rows = Math.ceil(count / columns);
  const each = size(tile);
  const top = (height - rows * each.height - GAP * (rows - 1)) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = (width - inRow * each.width - GAP * (inRow - 1)) / 2;
    return { left: left + (index % columns) * (each.width + GAP), top: top + row * (each.height + GAP), ...each };
  });
}
