/**
 * The running call on the screen: tiles, own picture, what state it is in, the bar.
 *
 * Called by main.js, once a call. Draws what the Call says; decides nothing about it.
 *
 * @import {Active} from '../switchboard.js'
 * @import {User} from '/sdk/shapes.js'
 */
import { nameIn } from '/sdk/roster.js';
import { duration } from '../format.js';
import { icon } from '../icons.js';
import { isolate } from '../isolate.js';
import { preferences } from '../preferences.js';
import { play } from '../tones.js';
import { t } from '../words.js';
import { announce, toast } from './announce.js';
import { Bar } from './bar.js';
import { protectionWords } from './call-details.js';
import { ringWords } from './call-entry.js';
import { button, h, setText } from './element.js';
import { recordingWords, startedWords } from './recording.js';
import { SelfView } from './self-view.js';
import { keyOf } from './tile.js';
import { Tiles } from './tiles.js';

const HIDE_AFTER_MS = 3_000;
const STOP_REASONS = new Set(['length', 'quota', 'disk', 'bit_rate']);
const REFRESH_MS = 200;
/** Loudness of one's own voice from which the page says that the microphone is off. */
const TALKING = 0.06;

/** @typedef {{messages: () => void, devices: () => void, details: () => void, invite: () => void}} StageActions */

export class Stage {
  /** @type {(() => void)|null} */ #ringback = null;
  /** @type {string|undefined} what was said to record; undefined before anything was */ #recorded;
  /** @type {'length'|'quota'|'disk'|'bit_rate'|null} the limit at which the server stopped the recording */ #stoppedFor = null;
  #hideAt = 0;
  #saidMutedAt = 0;
  #talkedTicks = 0;

  /** @param {Active} active @param {string} title of the conversation @param {User} me @param {StageActions} actions */
  constructor({ call, media, heardBy }, title, me, actions) {
    this.heardBy = heardBy;
    this.call = call;
    this.media = media;
    this.state = h('span', { class: 'stage-state ellipsis', test: 'state-text', role: 'status' });
    this.time = h('span', { class: 'stage-time', test: 'call-time' });
    this.protection = h('button', { type: 'button', class: 'chip', test: 'protection', on: { click: actions.details } });
    this.recordingWords = h('span', { class: 'ellipsis' });
    this.recording = h('p', { class: 'stage-recording', test: 'recording-badge', hidden: true }, h('strong', { 'aria-hidden': 'true' }, t('rec')), this.recordingWords);
    this.tiles = new Tiles(call);
    this.self = new SelfView(media, me);
    this.bar = new Bar(call, media, { ...actions, layout: () => this.#switchLayout(), react: (emoji) => this.#react(null, emoji) });
    this.sound = button('primary sound-on', () => this.#playAll(), { hidden: true }, icon('volume'), t('turn_sound_on'));
    this.top = h('header', { class: 'stage-top' },
      h('button', { type: 'button', class: 'icon-button', 'aria-label': t('back_to_messages'), title: t('back_to_messages'), test: 'to-messages', on: { click: actions.messages } }, icon('back')),
      h('div', { class: 'stage-title grow' }, h('h1', { class: 'ellipsis', dir: 'auto' }, title), this.state), this.time, this.recording, this.protection);
    this.element = h('section', { class: 'stage', test: 'stage', 'aria-label': t('call_with', { name: title }) },
      this.top, this.tiles.element, this.self.element, this.sound, this.bar.element, h('div', { class: 'toasts' }));
    this.stop = new AbortController();
    this.timer = setInterval(() => this.#refresh(), REFRESH_MS);
    this.#listen(this.stop.signal);
    this.#wake();
    this.#draw();
  }

  /** Take it off the screen for good. */
  close() {
    this.stop.abort();
    clearInterval(this.timer);
    this.tiles.close();
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
    on('reaction', ({ session_id: id, emoji, display_name: name }) => { this.#react(id, emoji); announce(`${isolate(name)}: ${emoji}`); });
    on('muted', (detail) => this.#silenced(detail));
    on('recording', ({ state, reason }) => { this.#stoppedFor = state === 'stopped' && STOP_REASONS.has(reason) ? reason : null; });
    on('problem', ({ detail }) => console.warn('secureconnect:', detail));
    this.media.addEventListener('lost', (event) => toast(t(`lost_${/** @type {'microphone'|'camera'} */ (/** @type {CustomEvent} */ (event).detail.source)}`), 'bad'), { signal });
    this.media.addEventListener('ended-share', () => announce(t('sharing_stopped')), { signal });
    for (const type of ['pointermove', 'pointerdown', 'focusin', 'keydown']) this.element.addEventListener(type, () => this.#wake(), { signal });
    document.addEventListener('keydown', (event) => this.#key(event), { signal });
    this.tiles.addEventListener('layout', () => {
      this.bar.update(this.tiles.layout);
      this.element.classList.toggle('paged', !this.tiles.pager.hidden);
    }, { signal });
  }

  #draw() {
    this.tiles.draw();
    this.element.classList.toggle('crowded', this.tiles.size > 2);
    this.self.update(this.call.handRaised, this.call.history.at(-1)?.level ?? null);
    this.bar.update(this.tiles.layout);
    this.#showState();
    this.#showRecording();
    this.#ring();
    this.#playAll();
  }

  /** @param {{session_id: string, by: string, kinds: ('audio'|'video')[], reason: string|null}} detail */
  #silenced({ session_id: id, by, kinds, reason }) {
    if (id !== this.call.sessionId) return;
    if (reason === 'bit_rate') {
      toast(t('silenced_bit_rate'), 'bad');
      return;
    }
    for (const kind of kinds) toast(t(kind === 'audio' ? 'muted_by' : 'camera_off_by', { name: nameIn(this.call.record, by) ?? '' }));
  }

  #switchLayout() {
    announce(t(`layout_is_${this.tiles.cycle()}`));
  }

  /** Five times a second: voices, clocks, the bar that hides. */
  #refresh() {
    const now = Date.now();
    this.tiles.hear(this.call.loudness(), now);
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

  /** Seen the whole time; said when it begins and ends, and to who comes into it. */
  #showRecording() {
    const { record, api, recording } = this.call;
    const ownId = api.user?.user_id;
    const now = recording?.recording_id ?? '';
    this.recording.hidden = !now;
    setText(this.recordingWords, recordingWords(record, ownId));
    this.element.classList.toggle('recorded', Boolean(now));
    const before = this.#recorded;
    this.#recorded = now;
    if (now === (before ?? '')) return;
    toast(!now ? t(this.#stoppedFor ? `recording_stopped_${this.#stoppedFor}` : 'recording_stopped') : before === undefined ? recordingWords(record, ownId) : startedWords(record, ownId));
  }

  #stateWords() {
    const { state } = this.call;
    const others = this.call.others();
    if (state === 'reconnecting') return t('state_lost', { n: Math.max(1, Math.round((Date.now() - (this.call.signaling.lostAt ?? Date.now())) / 1000)) });
    if (state === 'connecting') return t('state_connecting');
    if (state === 'ringing') return ringWords(this.call.record, this.heardBy);
    if (others.length === 0) return t('state_alone');
    const lost = others.find((other) => other.state === 'reconnecting');
    if (lost) return t('state_other_lost', { name: lost.display_name, n: Math.max(1, Math.round((Date.now() - (lost.lost_at ?? Date.now())) / 1000)) });
    if (!others.some((other) => other.peer?.connectedAt)) return t('state_connecting');
    const weak = others.find((other) => this.tiles.person(keyOf(other))?.weak);
    return weak ? t('connection_weak', { name: weak.display_name }) : t('state_active');
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
    for (const element of this.tiles.area.querySelectorAll('audio, video')) {
      const media = /** @type {HTMLMediaElement} */ (element);
      if (speaker && media.tagName === 'AUDIO' && 'setSinkId' in media && media.sinkId !== speaker) void media.setSinkId(speaker).catch(() => {}); // gone: the default one plays
      if (!media.paused || !media.srcObject) continue;
      media.play().then(() => { this.sound.hidden = true; }, (error) => { if (error.name === 'NotAllowedError') this.sound.hidden = false; });
    }
  }

  /** @param {string|null} sessionId null for one's own @param {string} emoji */
  #react(sessionId, emoji) {
    if (sessionId) return this.tiles.person(sessionId)?.react(emoji);
    const element = h('span', { class: 'reaction', 'aria-hidden': 'true' }, emoji);
    element.addEventListener('animationend', () => element.remove());
    return this.self.element.append(element);
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
      l: () => this.#switchLayout(), pageup: () => this.tiles.turn(-1), pagedown: () => this.tiles.turn(1),
    }[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    this.#wake();
    void act();
  }
}
