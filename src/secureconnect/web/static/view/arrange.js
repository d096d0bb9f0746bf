/**
 * Where the tiles of a stage stand. Pure geometry: counts and sizes in, rectangles out, in CSS pixels.
 *
 * Called by tiles.js.
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Box
 * @typedef {object} Arrangement
 * @property {(Box|null)[]} boxes one a tile, in order; null for those on another page
 * @property {number} page the one shown, from 0 @property {number} pages
 * @property {number} room how many tiles (without the large one) a page holds
 */

const RATIO = 16 / 9;
const GAP = 8;
const STRIP_WIDTH = 232;
const STRIP_HEIGHT = 104;
/** Below this width a face is not recognized any more: what does not fit goes to another page. */
const LEAST_WIDTH = 144;
const LEAST_STRIP_WIDTH = 104;
/** What the buttons that turn pages need below the tiles. */
const PAGER_HEIGHT = 48;
/** Areas at least so long across the strip have room for two lines of it. */
const TWO_LINES = { wide: 1_000, tall: 480 };

/**
 * @param {object} stage
 * @param {number} stage.count how many tiles
 * @param {number} stage.spot index of the large one, -1 for none
 * @param {boolean} stage.alone whether the large one stands alone, without a strip of the others
 * @param {number} stage.page wanted; the last one when there are fewer
 * @param {number} stage.width @param {number} stage.height
 * @returns {Arrangement}
 */
export function arrange({ count, spot, alone, page, width, height }) {
  if (alone && spot >= 0) return { boxes: only(count, spot, { left: 0, top: 0, width, height }), page: 0, pages: 1, room: 0 };
  const place = spot < 0 || count < 2 ? inGrid : inStrip;
  const whole = place(count, spot, page, width, height);
  return whole.pages > 1 ? place(count, spot, page, width, height - PAGER_HEIGHT) : whole;
}

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
 * Bring one who speaks on a later page to the first: in the place of the one there who has been silent for longest. Nobody else moves.
 * @param {string[]} order keys of the tiles @param {string} speaker @param {number} room of a page
 * @param {Map<string, number>} spokenAt when each was heard last
 * @returns {string[]} the same when nothing is to be done
 */
export function bringForward(order, speaker, room, spokenAt) {
  const at = order.indexOf(speaker);
  if (room < 1 || at < room) return order;
  const first = order.slice(0, room);
  const quiet = first.reduce((least, key, index) => ((spokenAt.get(key) ?? 0) < (spokenAt.get(first[least]) ?? 0) ? index : least), 0);
  const next = [...order];
  [next[quiet], next[at]] = [next[at], next[quiet]];
  return next;
}

/** @param {number} count @param {number} _spot @param {number} page @param {number} width @param {number} height @returns {Arrangement} */
function inGrid(count, _spot, page, width, height) {
  const columns = fits(width, LEAST_WIDTH);
  const turned = paging(count, columns * fits(height, LEAST_WIDTH / RATIO), page);
  // Every page stands as the first does: a tile keeps its size when pages are turned.
  const places = grid(turned.room, width, height);
  const boxes = Array.from({ length: count }, (_, index) => places[index - turned.first] ?? null);
  return { boxes, page: turned.page, pages: turned.pages, room: turned.room };
}

/**
 * One large, the others in a strip: at the side of a wide area, below in a tall one.
 * @param {number} count at least 2 @param {number} spot @param {number} page @param {number} width @param {number} height @returns {Arrangement}
 */
function inStrip(count, spot, page, width, height) {
  const wide = width > height;
  const along = wide ? height : width;
  const across = wide ? width : height;
  const inLine = fits(along, wide ? LEAST_STRIP_WIDTH / RATIO : LEAST_STRIP_WIDTH);
  const lines = count - 1 > inLine && across >= (wide ? TWO_LINES.wide : TWO_LINES.tall) ? 2 : 1;
  const turned = paging(count - 1, inLine * lines, page);
  const length = Math.ceil(turned.room / lines);
  const each = (along - GAP * (length - 1)) / length;
  const small = wide ? size(Math.min(STRIP_WIDTH, width * 0.25, each * RATIO)) : size(Math.min(STRIP_HEIGHT * RATIO, each));
  const strip = lines * (wide ? small.width : small.height) + GAP * (lines - 1);
  const large = wide ? { left: 0, top: 0, width: width - strip - GAP, height } : { left: 0, top: 0, width, height: height - strip - GAP };
  const boxes = Array.from({ length: count }, (_, index) => {
    if (index === spot) return large;
    const at = (index > spot ? index - 1 : index) - turned.first;
    if (at < 0 || at >= turned.room) return null;
    const line = Math.floor(at / length);
    const before = (along - length * (wide ? small.height : small.width) - GAP * (length - 1)) / 2 + (at % length) * ((wide ? small.height : small.width) + GAP);
    return wide
      ? { left: width - strip + line * (small.width + GAP), top: before, ...small }
      : { left: before, top: height - strip + line * (small.height + GAP), ...small };
  });
  return { boxes, page: turned.page, pages: turned.pages, room: turned.room };
}

/** Pages of equal size, so that the last one is not a single tile. @param {number} count @param {number} most on one page @param {number} wanted */
function paging(count, most, wanted) {
  const pages = Math.max(1, Math.ceil(count / most));
  const room = Math.ceil(count / pages);
  const page = Math.max(0, Math.min(wanted, pages - 1));
  return { pages, page, room, first: page * room };
}

/** @param {number} length @param {number} least @returns {number} how many of at least that size stand side by side; one at any rate */
function fits(length, least) {
  return Math.max(1, Math.floor((length + GAP) / (least + GAP)));
}

/** @param {number} count @param {number} spot @param {Box} box @returns {(Box|null)[]} */
function only(count, spot, box) {
  return Array.from({ length: count }, (_, index) => (index === spot ? box : null));
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
