/**
 * All the tiles of a stage: who has one, in which order, where it stands, which is large.
 *
 * Called by stage.js.
 *
 * @import {Call} from '/sdk/call.js'
 * @import {Other} from '/sdk/roster.js'
 */
import { problemText, t } from '../words.js';
import { announce, toast } from './announce.js';
import { arrange, bringForward } from './arrange.js';
import { iconButton } from './dialog.js';
import { h, reconcile, setText } from './element.js';
import { ScreenTile, Tile, keyOf } from './tile.js';

/** Loudness from which somebody counts as the one who speaks. */
const SPEAKING = 0.05;
/** The large picture follows another voice only after this: a cough is not a speech. */
const SPEAKER_HOLD_MS = 1_500;
/** All alike; who speaks with a strip of the others; who speaks alone. */
const LAYOUTS = /** @type {const} */ (['grid', 'speaker', 'alone']);
const SMALL_WIDTH = 260;
const TINY_HEIGHT = 84;

/** @typedef {typeof LAYOUTS[number]} Layout */
/** @typedef {{key: string, other: Other, screen: boolean}} Place */

/** Events: `layout` (another layout, pin or page). */
export class Tiles extends EventTarget {
  /** @type {Map<string, Tile|ScreenTile>} */ #tiles = new Map();
  /** @type {string[]} keys of people's tiles, as they stand */ #order = [];
  /** @type {Map<string, number>} */ #spokenAt = new Map();
  /** @type {Layout} */ layout = 'grid';
  /** @type {string|null} */ #pinned = null;
  /** @type {string|null} */ #speaker = null;
  #speakerSince = 0;
  #page = 0;
  #room = 0;

  /** @param {Call} call */
  constructor(call) {
    super();
    this.call = call;
    this.area = h('div', { class: 'tiles' });
    this.count = h('span', { class: 'pager-count', role: 'status' });
    this.pager = h('nav', { class: 'pager', hidden: true, 'aria-label': t('pages'), test: 'pager' },
      iconButton('back', t('page_before'), () => this.turn(-1)), this.count, iconButton('forward', t('page_after'), () => this.turn(1)));
    this.element = h('div', { class: 'tiles-area' }, this.area, this.pager);
    this.resize = new ResizeObserver(() => this.#arrange());
    this.resize.observe(this.area);
  }

  close() {
    this.resize.disconnect();
  }

  /** @returns {number} */
  get size() {
    return this.#tiles.size;
  }

  /** @param {string} key session, or `user` and the id of one who rings @returns {Tile|null} */
  person(key) {
    const tile = this.#tiles.get(key);
    return tile instanceof Tile ? tile : null;
  }

  draw() {
    const places = this.#places();
    const keys = new Set(places.map((place) => place.key));
    for (const key of this.#tiles.keys()) if (!keys.has(key)) this.#tiles.delete(key);
    if (this.#pinned && !keys.has(this.#pinned)) this.#pinned = null;
    reconcile(this.area, places, (place) => place.key, (place) => this.#create(place), (_, place) => this.#tiles.get(place.key)?.update(place.other));
    this.#arrange();
  }

  /** @returns {Layout} the next of the three */
  cycle() {
    this.layout = LAYOUTS[(LAYOUTS.indexOf(this.layout) + 1) % LAYOUTS.length];
    this.#pinned = null;
    this.#page = 0;
    this.#changed();
    return this.layout;
  }

  /** @param {number} step pages on, or back */
  turn(step) {
    this.#page += step;
    this.#changed();
    announce(this.count.textContent ?? '');
  }

  /** Who is heard just now. @param {Map<string, number>} levels loudness by session, 0 to 1 @param {number} now ms */
  hear(levels, now) {
    for (const [id, level] of levels) {
      this.person(id)?.hear(level, now);
      if (level > SPEAKING) this.#spokenAt.set(id, now);
    }
    for (const tile of this.#tiles.values()) if (tile instanceof Tile) tile.refresh(now);
    const [loudest, level] = [...levels].reduce((most, one) => (one[1] > most[1] ? one : most), ['', 0]);
    if (level <= SPEAKING || loudest === this.#speaker || now - this.#speakerSince < SPEAKER_HOLD_MS) return;
    this.#speaker = loudest;
    this.#speakerSince = now;
    const order = bringForward(this.#order, loudest, this.#room, this.#spokenAt);
    const moved = order !== this.#order && this.#page === 0;
    if (moved) this.#order = order;
    if (moved) this.draw();
    else if (this.layout !== 'grid') this.#arrange();
  }

  /** @returns {Place[]} screens first, then people; who came before stays where they are */
  #places() {
    const others = this.call.others();
    const known = new Map(others.map((other) => [keyOf(other), other]));
    this.#order = this.#order.filter((key) => known.has(key));
    for (const key of known.keys()) if (!this.#order.includes(key)) this.#order.push(key);
    const screens = others.filter((other) => other.media.screen_share && other.peer);
    return [
      ...screens.map((other) => ({ key: `${keyOf(other)} screen`, other, screen: true })),
      ...this.#order.map((key) => ({ key, other: /** @type {Other} */ (known.get(key)), screen: false })),
    ];
  }

  /** @param {Place} place @returns {HTMLElement} */
  #create({ key, other, screen }) {
    const tile = screen ? new ScreenTile(other, () => this.#pin(key)) : new Tile(other, () => this.#pin(key), this.#isHost && other.session_id ? () => void this.#silence(other) : null);
    this.#tiles.set(key, tile);
    if (screen) toast(t('shares_screen', { name: other.display_name }));
    return tile.element;
  }

  get #isHost() {
    return this.call.record.caller_id === this.call.api.user?.user_id;
  }

  /** @param {Other} other */
  async #silence(other) {
    try {
      await this.call.mute(other.user_id, ['audio']);
      announce(t('was_muted', { name: other.display_name }));
    } catch (error) {
      toast(problemText(error), 'bad');
    }
  }

  /** @param {string} key */
  #pin(key) {
    this.#pinned = this.#pinned === key ? null : key;
    const name = this.#tiles.get(key)?.element.getAttribute('aria-label') ?? '';
    announce(t(this.#pinned ? 'pinned' : 'unpinned', { name }));
    this.#changed();
  }

  #changed() {
    this.#arrange();
    this.dispatchEvent(new Event('layout'));
  }

  #arrange() {
    const paged = !this.pager.hidden;
    this.#place();
    this.#report();
    if (paged === this.pager.hidden) this.dispatchEvent(new Event('layout'));
  }

  #place() {
    const tiles = /** @type {HTMLElement[]} */ ([...this.area.children]);
    const { clientWidth: width, clientHeight: height } = this.area;
    const spot = this.#spot(tiles);
    const { boxes, page, pages, room } = arrange({ count: tiles.length, spot, alone: this.layout === 'alone', page: this.#page, width, height });
    this.#page = page;
    this.#room = room + (spot < 0 ? 0 : 1);
    this.pager.hidden = pages < 2;
    setText(this.count, t('page_of', { n: page + 1, m: pages }));
    tiles.forEach((tile, index) => {
      const box = boxes[index];
      tile.hidden = box === null;
      this.#tiles.get(tile.dataset.key ?? '')?.showPinned(tile.dataset.key === this.#pinned);
      if (!box) return;
      Object.assign(tile.style, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px` });
      tile.classList.toggle('small', box.width < SMALL_WIDTH);
      tile.classList.toggle('tiny', box.height < TINY_HEIGHT);
    });
  }

  /** Tell the SFU what is looked at, in device pixels. */
  #report() {
    const shown = /** @type {HTMLElement[]} */ ([...this.area.children]).filter((tile) => !tile.hidden);
    this.call.show(shown.flatMap((element) => {
      const other = this.#tiles.get(element.dataset.key ?? '')?.other;
      if (!other?.session_id) return [];
      const source = /** @type {'camera'|'screen'} */ (element.classList.contains('screen') ? 'screen' : 'camera');
      const scale = globalThis.devicePixelRatio || 1;
      return [{ session_id: other.session_id, source, width: parseFloat(element.style.width) * scale, height: parseFloat(element.style.height) * scale }];
    }));
  }

  /** Which tile is large: the pinned one, a screen, whoever speaks. @param {HTMLElement[]} tiles @returns {number} -1 for none */
  #spot(tiles) {
    const at = (/** @type {string|null} */ key) => tiles.findIndex((tile) => key !== null && tile.dataset.key === key);
    if (tiles.length < 2) return -1;
    if (at(this.#pinned) >= 0) return at(this.#pinned);
    const screen = tiles.findIndex((tile) => tile.classList.contains('screen'));
    if (screen >= 0 || this.layout === 'grid') return screen;
    return Math.max(0, at(this.#speaker));
  }
}
