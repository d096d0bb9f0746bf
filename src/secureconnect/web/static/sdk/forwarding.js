/**
 * What passes between a client and the SFU beside the media: what is looked at here, what is sent therefore, who talks.
 *
 * Called by call.js. Must not touch the document.
 *
 * @import {Frame} from './shapes.js'
 * @typedef {'camera'|'screen'} Picture
 * @typedef {{session_id: string, source: Picture, width: number, height: number}} Tile  a picture on the screen, in device pixels
 * @typedef {{substream: number|null, paused: boolean, reason: 'size'|'bandwidth'|null}} Layer  what the SFU sends of a picture
 */

/** Tiles that move or grow are told of at most so often. */
const TELL_EVERY_MS = 300;
/** A size that differs by less is the same to an SFU that has three. */
const STEP_PX = 40;
/** How loud somebody counts of whom is known only that they talk. */
const TALKING_LEVEL = 0.2;

/** Which pictures are on the screen, and how large: told to the server when it changes, so that nothing is sent that nobody sees. */
export class Viewport {
  /** @type {Tile[]} */ #tiles = [];
  #told = '';
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;

  /** @param {(frame: Frame) => void} send @param {() => boolean} open whether there is an SFU to tell */
  constructor(send, open) {
    this.send = send;
    this.open = open;
  }

  /** @param {Tile[]} tiles all that are shown; what is not among them is not */
  show(tiles) {
    this.#tiles = tiles;
    this.#timer ??= setTimeout(() => this.#flush(), TELL_EVERY_MS);
  }

  /** Whoever is told now has not heard it before. */
  repeat() {
    this.#told = '';
    this.show(this.#tiles);
  }

  close() {
    clearTimeout(this.#timer);
  }

  #flush() {
    this.#timer = undefined;
    const rounded = this.#tiles.map((tile) => [tile.session_id, tile.source, Math.round(tile.width / STEP_PX), Math.round(tile.height / STEP_PX)]);
    const words = JSON.stringify(rounded.sort());
    if (words === this.#told || !this.open()) return;
    this.#told = words;
    this.send({ type: 'view', tiles: this.#tiles.map((tile) => ({ ...tile, width: Math.round(tile.width), height: Math.round(tile.height) })) });
  }
}

/** What the server says of the others' media: what it sends of their pictures, and who talks. */
export class Forwarding {
  /** @type {Map<string, Layer>} by session and picture */ #layers = new Map();
  /** @type {Set<string>} sessions */ #talking = new Set();

  /** @param {Frame} frame @returns {boolean} false when it is not for here */
  receive(frame) {
    if (frame.type === 'layers') for (const one of frame.streams ?? []) this.#layers.set(`${one.session_id} ${one.source}`, one);
    else if (frame.type !== 'speaker') return false;
    else if (frame.talking) this.#talking.add(frame.session_id);
    else this.#talking.delete(frame.session_id);
    return true;
  }

  /** The media goes another way: nothing of it holds any more. */
  forget() {
    this.#layers.clear();
    this.#talking.clear();
  }

  /** @param {string} sessionId @returns {'size'|'bandwidth'|null} why no picture of their camera is sent; null while it is, or when nothing was said of it */
  paused(sessionId) {
    const layer = this.#layers.get(`${sessionId} camera`);
    return layer?.paused ? layer.reason ?? 'size' : null;
  }

  /** Whether pictures are smaller than their tiles for want of bandwidth. */
  get isLimited() {
    return [...this.#layers.values()].some((layer) => layer.reason === 'bandwidth');
  }

  /** As far as the SFU has told, 0 to 1. @param {string} sessionId @returns {number} */
  loudness(sessionId) {
    return this.#talking.has(sessionId) ? TALKING_LEVEL : 0;
  }
}
