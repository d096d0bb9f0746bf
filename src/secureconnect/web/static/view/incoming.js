/**
 * A call that rings: an overlay over whatever is open, or a quiet banner when one is in a call already.
 *
 * Called by main.js; follows the Switchboard.
 *
 * @import {Switchboard, Ringing, RingEnd} from '../switchboard.js'
 * @import {Chats} from '../chats.js'
 */
import { nameIn } from '/sdk/roster.js';
import { titleOf } from '../format.js';
import { isolate } from '../isolate.js';
import { icon } from '../icons.js';
import { preferences } from '../preferences.js';
import { canSound, play } from '../tones.js';
import { t } from '../words.js';
import { announce } from './announce.js';
import { host } from './dialog.js';
import { avatar, button, fill, h } from './element.js';
import { recordedNote } from './recording.js';

/** How long the words of an ended ring stay. */
const LAST_WORDS_MS = 2_400;
const TITLE = 'SecureConnect';

/**
 * @typedef {object} IncomingActions
 * @property {(ringing: Ringing, video: boolean) => void} accept
 * @property {(ringing: Ringing) => void} decline
 * @property {(ringing: Ringing) => void} shown once the person can see or hear it
 */

export class IncomingView {
  /** @type {Map<string, HTMLElement>} overlays and banners by call */ #shown = new Map();
  /** @type {Map<string, AbortController>} by call */ #ends = new Map();
  /** @type {(() => void)|null} */ #stopTone = null;
  /** @type {Set<string>} calls that nobody can see or hear yet */ #unnoticed = new Set();

  /** @param {Switchboard} switchboard @param {Chats} chats @param {IncomingActions} actions */
  constructor(switchboard, chats, actions) {
    this.switchboard = switchboard;
    this.chats = chats;
    this.actions = actions;
    switchboard.addEventListener('ringing', (event) => this.#ring(/** @type {CustomEvent} */ (event).detail));
    switchboard.addEventListener('silent', (event) => {
      const { call, why } = /** @type {CustomEvent} */ (event).detail;
      this.#silence(call.call_id, why);
    });
    switchboard.addEventListener('active', () => this.#update());
    document.addEventListener('visibilitychange', () => this.#notice());
  }

  /** Take a ring off the screen without a word. @param {string} callId */
  dismiss(callId) {
    this.#silence(callId, null);
  }

  /** @param {Ringing} ringing */
  #ring(ringing) {
    this.#ends.set(ringing.call.call_id, new AbortController());
    const quiet = ringing.waiting || this.#shown.size > 0;
    const element = quiet ? this.#banner(ringing) : this.#overlay(ringing);
    this.#shown.set(ringing.call.call_id, element);
    if (quiet) play('knock', preferences().speaker);
    announce(`${this.#kind(ringing)}: ${this.#who(ringing)}`);
    this.#update();
    this.#unnoticed.add(ringing.call.call_id);
    this.#notice();
  }

  /** A ring in a tab behind others that may make no sound has reached nobody: it is not reported as shown before it is. */
  #notice() {
    if (document.visibilityState !== 'visible' && !canSound()) return;
    for (const id of this.#unnoticed) {
      const ringing = this.switchboard.ringing.get(id);
      if (ringing) this.actions.shown(ringing);
    }
    this.#unnoticed.clear();
  }

  /** @param {string} callId @param {RingEnd|null} why */
  #silence(callId, why) {
    const element = this.#shown.get(callId);
    this.#shown.delete(callId);
    this.#ends.get(callId)?.abort();
    this.#ends.delete(callId);
    this.#update();
    if (!element) return;
    const close = () => {
      if (element instanceof HTMLDialogElement) element.close();
      element.remove();
    };
    if (!why) return close();
    const words = t(`ring_${why}`);
    element.classList.add('over');
    fill(/** @type {Element} */ (element.querySelector('.ring-actions')), h('p', { class: 'ring-end' }, words));
    announce(words);
    setTimeout(close, LAST_WORDS_MS);
    return undefined;
  }

  /** Tone, title and icon follow what rings loudly. */
  #update() {
    const loud = [...this.#shown.values()].some((one) => one instanceof HTMLDialogElement) && !this.switchboard.active;
    if (loud && !this.#stopTone) this.#stopTone = play('ring', preferences().speaker);
    if (!loud) {
      this.#stopTone?.();
      this.#stopTone = null;
    }
    const first = [...this.#shown.keys()].flatMap((id) => this.switchboard.ringing.get(id) ?? [])[0];
    document.title = first ? `${t('calling', { name: this.#who(first) })} · ${TITLE}` : TITLE;
    document.getElementById('icon')?.setAttribute('href', first ? '/static/icon-ringing.svg' : '/static/icon.svg');
  }

  /** @param {Ringing} ringing */
  #overlay(ringing) {
    const { call } = ringing;
    const who = this.#who(ringing);
    const act = (/** @type {() => void} */ action) => ({ click: action });
    const words = h('h2', { tabIndex: -1, autofocus: true, dir: 'auto' }, who);
    const element = h('dialog', { class: 'incoming', test: 'incoming', role: 'alertdialog', 'aria-label': `${this.#kind(ringing)}: ${isolate(who)}` },
      h('div', { class: 'ring-face' }, avatar(who, call.caller_id, 'huge')), words,
      h('p', { class: 'ring-kind' }, icon(call.call_type === 'video' ? 'camera' : 'phone'), this.#kind(ringing)), this.#where(ringing),
      this.#recorded(ringing),
      h('div', { class: 'ring-actions' },
        action('decline', 'phone-down', t('decline'), 'bad', act(() => this.actions.decline(ringing))),
        call.call_type === 'video' ? action('accept-audio', 'phone', t('accept_audio'), 'plain', act(() => this.actions.accept(ringing, false))) : null,
        action('accept', call.call_type === 'video' ? 'camera' : 'phone', t('accept'), 'good', act(() => this.actions.accept(ringing, call.call_type === 'video')))));
    // Escape is not an answer: the ring becomes a banner and the tone stops.
    element.addEventListener('cancel', (event) => {
      event.preventDefault();
      if (!this.#shown.has(call.call_id)) return;
      element.close();
      element.remove();
      this.#shown.set(call.call_id, this.#banner(ringing));
      this.#update();
    });
    host().append(element);
    element.showModal();
    words.focus();
    return element;
  }

  /** @param {Ringing} ringing */
  #banner(ringing) {
    const video = ringing.call.call_type === 'video';
    const element = h('div', { class: 'ring-banner', role: 'group', test: 'incoming-banner', 'aria-label': this.#kind(ringing) },
      avatar(this.#who(ringing), ringing.call.caller_id, 'small'),
      h('span', { class: 'grow' }, h('strong', { dir: 'auto' }, this.#who(ringing)), h('span', { class: 'muted' }, this.#kind(ringing))),
      h('div', { class: 'ring-actions' },
        button('small', () => this.actions.decline(ringing), { test: 'decline' }, t('decline')),
        button('small good', () => this.actions.accept(ringing, video), { test: 'accept' },
          t(this.switchboard.active ? 'leave_and_accept' : 'accept'))), this.#recorded(ringing));
    (document.querySelector('.stage:not([hidden]) .toasts') ?? document.getElementById('toasts'))?.append(element);
    return element;
  }

  /** @param {Ringing} ringing */
  #who({ call }) {
    return nameIn(call, call.caller_id) ?? t('somebody');
  }

  /** @param {Ringing} ringing */
  #kind({ call }) {
    return t(call.call_type === 'video' ? 'incoming_video' : 'incoming_audio');
  }

  /** It may begin to be while it rings. @param {Ringing} ringing */
  #recorded({ call }) {
    const now = () => this.chats.find(call.conversation_id)?.live_call ?? call;
    return recordedNote(() => Boolean(now().recording), this.chats, this.#ends.get(call.call_id)?.signal);
  }

  /** Which conversation, where that says more than who. @param {Ringing} ringing */
  #where({ call }) {
    const conversation = this.chats.find(call.conversation_id);
    if (!conversation || (!conversation.title && conversation.participants.length < 3)) return null;
    return h('p', { class: 'muted', dir: 'auto' }, titleOf(conversation, this.chats.api.user?.user_id ?? ''));
  }
}

/** @param {string} test @param {import('../icons.js').IconName} name @param {string} label @param {string} mood @param {object} on */
function action(test, name, label, mood, on) {
  return h('button', { type: 'button', class: `ring-action ${mood}`, test, on }, h('span', { class: 'ring-disc' }, icon(name)), label);
}
