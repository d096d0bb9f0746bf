/**
 * The tiles of a stage: one for each other session, one for a shared screen, one for somebody who still rings.
 *
 * Called by stage.js.
 *
 * @import {Other} from '/sdk/roster.js'
 */
import { icon } from '../icons.js';
import { t } from '../words.js';
import { iconButton, relabel } from './dialog.js';
import { avatar, h, setText, showTrack } from './element.js';
import { Picture } from './picture.js';

/** Levels of quality up to which one says so. */
export const WEAK = 2;

/** One person's session. */
export class Tile {
  /** @type {Other|undefined} */ other;
  #speakingUntil = 0;

  /** @param {Other} other @param {() => void} pin @param {(() => void)|null} silence for the host: mutes them */
  constructor(other, pin, silence) {
    this.picture = new Picture(() => this.#showPicture());
    this.audio = h('audio', { autoplay: true });
    this.face = h('div', { class: 'tile-face' }, avatar(other.display_name, other.user_id, 'huge'), h('p', { class: 'tile-state' }));
    this.muted = h('span', { class: 'tile-mark', title: t('is_muted'), hidden: true }, icon('microphone-off'), h('span', { class: 'sr-only' }, t('is_muted')));
    this.hand = h('span', { class: 'tile-hand', title: t('hand_is_raised'), hidden: true }, icon('hand'), h('span', { class: 'sr-only' }, t('hand_is_raised')));
    this.quality = h('span', { class: 'bars', role: 'img' }, ...[1, 2, 3, 4].map(() => h('i')));
    this.name = h('span', { class: 'tile-name ellipsis', dir: 'auto' });
    this.note = h('p', { class: 'tile-note', hidden: true, test: 'tile-note' });
    this.pin = pinButton(pin);
    this.silence = silence && iconButton('microphone-off', t('mute_them', { name: other.display_name }), silence, { class: 'tile-pin tile-silence', test: 'mute-them' });
    const session = other.session_id ? { test: 'tile', 'data-session': other.session_id } : { test: 'tile-ringing' };
    this.element = h('article', { class: 'tile', tabIndex: 0, ...session, 'data-user': other.user_id, 'aria-label': other.display_name,
      on: { dblclick: pin, keydown: (/** @type {KeyboardEvent} */ event) => { if (event.key === 'Enter' && event.target === this.element) pin(); } } },
    this.picture.element, this.face, this.audio, this.hand, this.pin, this.silence, h('div', { class: 'tile-words' }, this.note, h('footer', { class: 'tile-foot' }, this.muted, this.name, this.quality)));
    this.update(other);
  }

  /** @param {Other} other */
  update(other) {
    this.other = other;
    const received = other.peer?.received;
    this.picture.show(received?.camera ?? null);
    showTrack(this.audio, received?.microphone ?? null);
    this.audio.muted = other.own; // two devices of one person often stand side by side: they would howl
    setText(this.name, other.own ? t('own_other_device') : other.display_name);
    this.muted.hidden = !other.session_id || !other.media.audio_muted;
    this.hand.hidden = !other.media.hand_raised;
    if (this.silence) this.silence.hidden = !this.muted.hidden || other.own;
    this.#showQuality();
    this.#showPicture();
    this.refresh(Date.now());
  }

  /** What changes with the clock. @param {number} now */
  refresh(now) {
    const state = this.#stateWords(now);
    setText(/** @type {Element} */ (this.face.querySelector('.tile-state')), state);
    this.element.classList.toggle('waiting', state !== '');
    this.element.classList.toggle('speaking', state === '' && now < this.#speakingUntil);
  }

  /** @param {number} loudness 0 to 1 @param {number} now */
  hear(loudness, now) {
    if (loudness > 0.015 && !this.other?.media.audio_muted) this.#speakingUntil = now + 500;
  }

  /** @param {boolean} pinned */
  showPinned(pinned) {
    showPin(this.element, this.pin, pinned);
  }

  /** @param {string} emoji */
  react(emoji) {
    const element = h('span', { class: 'reaction', 'aria-hidden': 'true' }, emoji);
    element.addEventListener('animationend', () => element.remove());
    this.element.append(element);
  }

  /** @returns {boolean} whether the connection is so weak that it should be said */
  get weak() {
    return this.other?.peer?.connectedAt != null && this.other.report !== null && this.other.report.level <= WEAK;
  }

  /** @param {number} now */
  #stateWords(now) {
    const { state, lost_at: lost, peer, session_id: session } = /** @type {Other} */ (this.other);
    if (state === 'ringing') return t('state_rung');
    if (state === 'reconnecting') return t('state_lost', { n: Math.max(1, Math.round((now - (lost ?? now)) / 1000)) });
    if (!session || !peer || !peer.connectedAt) return t('state_connecting');
    return peer.state === 'connected' ? '' : t('state_path_lost');
  }

  #showPicture() {
    const other = this.other;
    const { video } = this.picture;
    const shown = Boolean(other?.peer?.connectedAt) && !other?.media.video_muted && other?.paused !== 'bandwidth' && video.videoWidth > 2;
    this.element.classList.toggle('has-picture', shown);
    this.element.classList.toggle('upright', video.videoHeight > video.videoWidth);
  }

  #showQuality() {
    const level = this.other?.report?.level ?? null;
    this.quality.hidden = level === null;
    this.quality.dataset.level = String(level);
    if (level !== null) this.quality.setAttribute('aria-label', `${t('connection')}: ${t(qualityKey(level))}`);
    const note = this.#noteWords(level);
    this.note.hidden = note === '';
    setText(this.note, note);
  }

  /** What is wrong with their connection, or with one's own to the SFU, in words. @param {number|null} level @returns {string} */
  #noteWords(level) {
    const other = this.other;
    if (other?.paused === 'bandwidth' && !other.media.video_muted) return t('note_paused');
    if (!other?.peer?.connectedAt || level === null || level > WEAK) return '';
    return t(level <= 1 ? 'note_very_weak' : 'note_weak');
  }
}

/** A screen that somebody shares. */
export class ScreenTile {
  /** @type {Other|undefined} */ other;

  /** @param {Other} other @param {() => void} pin */
  constructor(other, pin) {
    this.picture = new Picture(() => {});
    this.pin = pinButton(pin);
    this.element = h('article', { class: 'tile screen has-picture', tabIndex: 0, test: 'tile-screen', 'data-session': other.session_id, 'aria-label': t('screen_of', { name: other.display_name }),
      on: { dblclick: pin, keydown: (/** @type {KeyboardEvent} */ event) => { if (event.key === 'Enter' && event.target === this.element) pin(); } } },
    this.picture.element, this.pin, h('footer', { class: 'tile-foot' }, icon('share'), h('span', { class: 'tile-name ellipsis' }, t('screen_of', { name: other.display_name }))));
    this.update(other);
  }

  /** @param {Other} other */
  update(other) {
    this.other = other;
    this.picture.show(other.peer?.received.screen ?? null);
  }

  /** @param {boolean} pinned */
  showPinned(pinned) {
    showPin(this.element, this.pin, pinned);
  }
}

/** @param {() => void} pin */
function pinButton(pin) {
  return iconButton('pin', t('pin'), pin, { class: 'tile-pin', 'aria-pressed': 'false', test: 'pin' });
}

/** @param {HTMLElement} tile @param {HTMLElement} button @param {boolean} pinned */
function showPin(tile, button, pinned) {
  tile.classList.toggle('pinned', pinned);
  button.setAttribute('aria-pressed', String(pinned));
  relabel(button, 'pin', t(pinned ? 'unpin' : 'pin'));
}

/** @param {Other} other @returns {string} one tile each */
export function keyOf(other) {
  return other.session_id ?? `user ${other.user_id}`;
}

/** @param {number} level 0 to 4 @returns {import('../words.js').Key} */
export function qualityKey(level) {
  return /** @type {const} */ (['quality_lost', 'quality_bad', 'quality_poor', 'quality_fair', 'quality_good'])[Math.max(0, Math.min(4, Math.round(level)))];
}
