/**
 * The running call on the screen: tiles, own picture, what state it is in, the bar.
 *
 * Called by main.js, once a call. Draws what the Call says; decides nothing about it.
 *
 * @import {Active} from '../switchboard.js'
 * @import {User} from '/sdk/shapes.js'
 * @import {Other} from '/sdk/call.js'
 */
import { duration } from '../format.js';
import { icon } from '../icons.js';
import { preferences } from '../preferences.js';
import { play } from '../tones.js';
import { t } from '../words.js';
import { announce, toast } from './announce.js';
import { grid, spotlight } from './arrange.js';
import { Bar } from './bar.js';
import { protectionWords } from './call-details.js';
import { h, reconcile, setText } from './element.js';
import { SelfView } from './self-view.js';
import { ScreenTile, Tile, keyOf } from './tile.js';

const HIDE_AFTER_MS = 3_000;
const REFRESH_MS = 200;
/** Loudness of one's own voice from which the page says that the microphone is off. */
const TALKING = 0.06;

/** @typedef {{messages: () => void, devices: () => void, details: () => void, invite: () => void}} StageActions */
/** @typedef {{key: string, other: Other, screen: boolean}} Place */

export class Stage {
  /** @type {Map<string, Tile|ScreenTile>} */ #tiles = new Map();
  /** @type {'grid'|'spotlight'} */ #layout = 'grid';
  /** @type {string|null} */ #pinned = null;
  /** @type {string|null} */ #speaker = null;
  /** @type {(() => void)|null} */ #ringback = null;
  #hideAt = 0;
  #saidMutedAt = 0;
  #talkedTicks = 0;

  /** @param {Active} active @param {string} title of the conversation @param {User} me @param {StageActions} actions */
  constructor({ call, media }, title, me, actions) {
    this.call = call;
    this.media = media;
    this.state = h('span', { class: 'stage-state', test: 'state-text', role: 'status' });
    this.time = h('span', { class: 'stage-time', test: 'call-time' });
    this.protection = h('button', { type: 'button', class: 'chip', test: 'protection', on: { click: actions.details } });
    this.tiles = h('div', { class: 'tiles' });
    this.self = new SelfView(media, me);
    this.bar = new Bar(call, media, { ...actions, layout: () => this.#switchLayout(), react: (emoji) => this.#react(null, emoji) });
    this.sound = h('button', { type: 'button', class: 'button primary sound-on', hidden: true, on: { click: () => this.#playAll() } }, icon('volume'), t('turn_sound_on'));
    this.top = h('header', { class: 'stage-top' },
      h('button', { type: 'button', class: 'icon-button', 'aria-label': t('back_to_messages'), title: t('back_to_messages'), test: 'to-messages', on: { click: actions.messages } }, icon('back')),
      h('div', { class: 'stage-title grow' }, h('h1', { class: 'ellipsis' }, title), this.state), this.time, this.protection);
    this.element = h('section', { class: 'stage', test: 'stage', 'aria-label': t('call_with', { name: title }) },
      this.top, this.tiles, this.self.element, this.sound, this.bar.element, h('div', { class: 'toasts' }));
    this.stop = new AbortController();
    this.resize = new ResizeObserver(() => this.#arrange());
    this.timer = setInterval(() => this.#refresh(), REFRESH_MS);
    this.#listen(this.stop.signal);
    this.#wake();
    this.#draw();
  }

  /** Take it off the screen for good. */
  close() {
    this.stop.abort();
    clearInterval(this.timer);
    this.resize.disconnect();
    this.#ringback?.();
    for (const dialog of this.element.querySelectorAll('dialog')) dialog.close();
    this.element.remove();
  }

  /** @param {AbortSignal} signal */
  #listen(signal) {
    const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ act) => this.call.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail), { signal });
    for (const type of ['change', 'state', 'peer', 'quality']) on(type, () => this.#draw());
    on('joined', ({ display_name: name }) => announce(t('joined', { name })));
    on('left', ({ display_name: name }) => toast(t('left', { name })));
    on('hand', ({ display_name: name, raised }) => { if (raised !== false) toast(t('raised_hand', { name })); });
    on('reaction', ({ session_id: id, emoji, display_name: name }) => { this.#react(id, emoji); announce(`${name}: ${emoji}`); });
    on('problem', ({ detail }) => console.warn('secureconnect:', detail));
    this.media.addEventListener('lost', (event) => toast(t(`lost_${/** @type {'microphone'|'camera'} */ (/** @type {CustomEvent} */ (event).detail.source)}`), 'bad'), { signal });
    this.media.addEventListener('ended-share', () => announce(t('sharing_stopped')), { signal });
    for (const type of ['pointermove', 'pointerdown', 'focusin', 'keydown']) this.element.addEventListener(type, () => this.#wake(), { signal });
    document.addEventListener('keydown', (event) => this.#key(event), { signal });
    this.resize.observe(this.tiles);
  }

  #draw() {
    const places = this.#places();
    reconcile(this.tiles, places, (place) => place.key, (place) => this.#create(place), (_, place) => this.#tiles.get(place.key)?.update(place.other));
    const keys = new Set(places.map((place) => place.key));
    for (const key of this.#tiles.keys()) if (!keys.has(key)) this.#tiles.delete(key);
    this.element.dataset.tiles = String(places.length);
    this.self.update(this.call.handRaised);
    this.bar.update(this.#layout);
    this.#arrange();
    this.#showState();
    this.#ring();
    this.#playAll();
  }

  /** @returns {Place[]} screens first, then people */
  #places() {
    const others = this.call.others();
    const screens = others.filter((other) => other.media.screen_share && other.peer);
    return [
      ...screens.map((other) => ({ key: `${keyOf(other)} screen`, other, screen: true })),
      ...others.map((other) => ({ key: keyOf(other), other, screen: false })),
    ];
  }

  /** @param {Place} place @returns {HTMLElement} */
  #create(place) {
    const pin = (/** @type {string} */ key) => {
      this.#pinned = this.#pinned === key ? null : key;
      this.#arrange();
    };
    const tile = place.screen ? new ScreenTile(place.other, pin) : new Tile(place.other, pin);
    this.#tiles.set(place.key, tile);
    if (place.screen) toast(t('shares_screen', { name: place.other.display_name }));
    return tile.element;
  }

  #arrange() {
    const tiles = /** @type {HTMLElement[]} */ ([...this.tiles.children]);
    const { clientWidth: width, clientHeight: height } = this.tiles;
    const spot = this.#spot(tiles);
    const boxes = spot < 0 ? grid(tiles.length, width, height) : spotlight(tiles.length, spot, width, height);
    tiles.forEach((tile, index) => {
      const box = boxes[index];
      Object.assign(tile.style, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px` });
      tile.classList.toggle('small', box.width < 260);
      tile.classList.toggle('pinned', tile.dataset.key === this.#pinned);
    });
  }

  /** Which tile is large: the pinned one, a screen, whoever speaks. @param {HTMLElement[]} tiles @returns {number} -1 for none */
  #spot(tiles) {
    const at = (/** @type {string|null} */ key) => tiles.findIndex((tile) => key !== null && tile.dataset.key === key);
    if (tiles.length < 2) return -1;
    if (at(this.#pinned) >= 0) return at(this.#pinned);
    const screen = tiles.findIndex((tile) => tile.classList.contains('screen'));
    if (screen >= 0 || this.#layout === 'grid') return screen;
    return Math.max(0, at(this.#speaker));
  }

  #switchLayout() {
    this.#layout = this.#layout === 'grid' ? 'spotlight' : 'grid';
    this.#pinned = null;
    this.#draw();
  }

  /** Five times a second: voices, clocks, the bar that hides. */
  #refresh() {
    const now = Date.now();
    const levels = [...this.call.loudness()].sort((a, b) => b[1] - a[1]);
    for (const [id, level] of levels) /** @type {Tile|undefined} */ (this.#tiles.get(id))?.hear(level, now);
    for (const tile of this.#tiles.values()) if (tile instanceof Tile) tile.refresh(now);
    const [loudest] = levels;
    if (loudest && loudest[1] > 0.05 && loudest[0] !== this.#speaker) {
      this.#speaker = loudest[0];
      if (this.#layout === 'spotlight') this.#arrange();
    }
    this.#listenToSelf(now);
    this.#showState();
    const idle = now > this.#hideAt && !this.element.querySelector(':focus-visible, :popover-open, dialog[open]') && this.call.state === 'active';
    this.element.classList.toggle('idle', idle);
  }

  /** @param {number} now */
  #listenToSelf(now) {
    const level = this.media.level();
    this.self.hear(level > 0.02 && !this.media.audioMuted);
    this.#talkedTicks = this.media.muted && level > TALKING ? this.#talkedTicks + 1 : 0;
    if (this.#talkedTicks < 3 || now - this.#saidMutedAt < 10_000) return;
    this.#saidMutedAt = now;
    toast(t('you_are_muted'));
    this.#wake();
  }

  #showState() {
    setText(this.state, this.#stateWords());
    const { answered_at: answered } = this.call.record;
    setText(this.time, answered ? duration(Date.now() - Date.parse(answered)) : '');
    const words = protectionWords(this.call.snapshot.topology);
    if (this.protection.dataset.words === words.short) return;
    this.protection.dataset.words = words.short;
    this.protection.title = words.long;
    this.protection.replaceChildren(icon('lock'), h('span', {}, words.short));
  }

  #stateWords() {
    const { state } = this.call;
    const others = this.call.others();
    if (state === 'reconnecting') return t('state_lost', { n: Math.max(1, Math.round((Date.now() - (this.call.signaling.lostAt ?? Date.now())) / 1000)) });
    if (state === 'connecting') return t('state_connecting');
    if (state === 'ringing') return t('state_ringing');
    if (others.length === 0) return t('state_alone');
    const lost = others.find((other) => other.state === 'reconnecting');
    if (lost) return t('state_other_lost', { name: lost.display_name, n: Math.max(1, Math.round((Date.now() - (lost.lost_at ?? Date.now())) / 1000)) });
    if (!others.some((other) => other.peer?.connectedAt)) return t('state_connecting');
    const weak = others.find((other) => /** @type {Tile|undefined} */ (this.#tiles.get(keyOf(other)))?.weak);
    return weak ? t('state_weak', { name: weak.display_name }) : t('state_active');
  }

  #ring() {
    const own = this.call.record.caller_id === this.call.api.user?.user_id;
    const rings = this.call.state === 'ringing' && own;
    if (rings && !this.#ringback) this.#ringback = play('ringback', preferences().speaker);
    if (rings) return;
    this.#ringback?.();
    this.#ringback = null;
  }

  /** Sound may wait for a click when the page was opened without one. */
  #playAll() {
    const speaker = preferences().speaker;
    for (const element of this.tiles.querySelectorAll('audio, video')) {
      const media = /** @type {HTMLMediaElement} */ (element);
      if (speaker && media.tagName === 'AUDIO' && 'setSinkId' in media && media.sinkId !== speaker) void media.setSinkId(speaker).catch(() => {}); // gone: the default one plays
      if (!media.paused || !media.srcObject) continue;
      media.play().then(() => { this.sound.hidden = true; }, (error) => { if (error.name === 'NotAllowedError') this.sound.hidden = false; });
    }
  }

  /** @param {string|null} sessionId null for one's own @param {string} emoji */
  #react(sessionId, emoji) {
    const tile = sessionId ? this.#tiles.get(sessionId) : null;
    if (tile instanceof Tile) tile.react(emoji);
    if (sessionId) return;
    const element = h('span', { class: 'reaction', 'aria-hidden': 'true' }, emoji);
    element.addEventListener('animationend', () => element.remove());
    this.self.element.append(element);
  }

  #wake() {
    this.#hideAt = Date.now() + HIDE_AFTER_MS;
    this.element.classList.remove('idle');
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const typing = event.target instanceof HTMLElement && event.target.closest('input, textarea, select, [contenteditable]');
    if (typing || this.element.hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector('dialog[open]')) return;
    const act = {
      m: () => this.bar.toggleMicrophone(), v: () => this.bar.toggleCamera(), s: () => this.bar.toggleShare(), h: () => this.bar.toggleHand(),
    }[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    this.#wake();
    void act();
  }
}
