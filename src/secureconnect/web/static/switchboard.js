/**
 * What rings and what runs: at most one call that this tab is in, and those that ring it.
 *
 * Called by main.js (which feeds it events) and by the views' buttons. Must not touch the document.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {CallRecord, Conversation, Frame} from '/sdk/shapes.js'
 * @import {TabCall} from './preferences.js'
 */
import { Call } from '/sdk/call.js';
import { LocalMedia } from '/sdk/media.js';
import { preferences, saveCall } from './preferences.js';

/** A push may be there before the frame that says the same. */
const SOON_MS = 800;

/**
 * @typedef {{call: CallRecord, waiting: boolean}} Ringing
 * @typedef {'answered_elsewhere'|'declined_elsewhere'|'cancelled'|'missed'|'ended'} RingEnd
 * @typedef {{call: Call, media: LocalMedia, heardBy: Set<string>}} Active  `heardBy`: users of whom a device shows the ring
 */

/**
 * Events: `ringing` ({ringing}), `silent` ({call, why}: it rings no more), `active` ({active}), `finished` ({active, reason}).
 */
export class Switchboard extends EventTarget {
  /** @type {Map<string, Ringing>} */ ringing = new Map();
  /** @type {Active|null} */ active = null;
  /** @type {Map<string, Set<string>>} by call, users of whom a device shows its ring: may be known before the call is begun here */ #heardBy = new Map();
  /** @type {Set<string>} calls that were answered or declined here */ #settled = new Set();

  /** @param {Api} api @param {string} deviceId */
  constructor(api, deviceId) {
    super();
    this.api = api;
    this.deviceId = deviceId;
  }

  /** One's own devices as they were chosen last. @param {boolean} video @param {Partial<TabCall>} [saved] @returns {LocalMedia} not opened yet */
  newMedia(video, saved) {
    const { microphone, camera } = preferences();
    return new LocalMedia({ microphone, camera, muted: saved?.muted ?? false, cameraWanted: saved?.camera_wanted ?? video });
  }

  /**
   * Ring everybody else in a conversation. @param {Conversation} conversation @param {'audio'|'video'} type @param {LocalMedia} media open or opening
   * @throws {import('/sdk/api.js').ApiError}
   */
  async start(conversation, type, media) {
    const others = conversation.participants.filter((one) => one.user_id !== this.api.user?.user_id).map((one) => one.user_id);
    const what = { call_type: type, conversation_id: conversation.conversation_id, callee_ids: others };
    await this.#enter(media, () => Call.initiate(this.api, what, media, this.deviceId));
  }

  /** Answer a call that rings, or join one that runs. @param {string} callId @param {LocalMedia} media open or opening @param {'move'} [mode] */
  async join(callId, media, mode) {
    this.#settled.add(callId);
    await this.#enter(media, () => Call.join(this.api, callId, media, this.deviceId, mode));
    this.ringing.delete(callId);
  }

  /** @param {string} callId */
  async decline(callId) {
    this.#settled.add(callId);
    const rang = this.ringing.get(callId);
    this.ringing.delete(callId);
    if (rang) this.#emit('silent', { call: rang.call, why: null });
    await this.api.decline(callId, { device_id: this.deviceId });
  }

  /** Come back into the call that this tab was in before it was reloaded. @param {TabCall} saved */
  restore(saved) {
    const media = this.newMedia(saved.camera_wanted, saved);
    void media.open();
    this.#run(Call.restore(this.api, saved, media), media);
  }

  async leave() {
    await this.active?.call.leave();
  }

  /** A frame of the events socket. @param {Frame} frame */
  event(frame) {
    const { call } = frame;
    if (frame.type === 'call.ringing') this.#heard(frame.call_id, frame.user_id);
    if (frame.type === 'call.incoming') this.#rings(call, frame.waiting);
    if (!call || frame.type === 'call.incoming') return;
    if (call.call_id === this.active?.call.callId) this.active?.call.observe(call);
    const ends = /** @type {Record<string, RingEnd>} */ ({
      'call.answered_elsewhere': 'answered_elsewhere', 'call.declined_elsewhere': 'declined_elsewhere', 'call.cancelled': 'cancelled',
      'call.missed': 'missed', 'call.ended': 'ended',
    });
    const why = ends[frame.type];
    const rang = this.ringing.get(call.call_id);
    if (!rang || !why) return;
    this.ringing.delete(call.call_id);
    this.#emit('silent', { call: rang.call, why });
  }

  /** Whether it was here that a call was answered or declined. @param {string} callId */
  hasSettled(callId) {
    return this.#settled.has(callId);
  }

  /** Whether a call rings here, now or in a moment. @param {string} callId @returns {Promise<boolean>} */
  async ringsSoon(callId) {
    if (this.ringing.has(callId) || this.#settled.has(callId)) return this.ringing.has(callId);
    const over = new AbortController();
    const rang = new Promise((resolve) => {
      this.addEventListener('ringing', (event) => { if (/** @type {CustomEvent} */ (event).detail.call.call_id === callId) resolve(null); }, { signal: over.signal });
    });
    await Promise.race([rang, new Promise((resolve) => { setTimeout(resolve, SOON_MS); })]);
    over.abort();
    return this.ringing.has(callId);
  }

  /** What rang may not ring any more; the server says again what does. */
  forgetRinging() {
    for (const { call } of this.ringing.values()) this.#emit('silent', { call, why: null });
    this.ringing.clear();
  }

  /** @param {string} callId @param {string} userId */
  #heard(callId, userId) {
    this.#heardIn(callId).add(userId);
    if (this.active?.call.callId === callId) this.active.call.dispatchEvent(new CustomEvent('change'));
  }

  /** @param {string} callId @returns {Set<string>} */
  #heardIn(callId) {
    const users = this.#heardBy.get(callId) ?? new Set();
    this.#heardBy.set(callId, users);
    return users;
  }

  /** @param {CallRecord} call @param {boolean} waiting */
  #rings(call, waiting) {
    if (call.call_id === this.active?.call.callId || this.ringing.has(call.call_id)) return;
    const ringing = { call, waiting: waiting || this.active !== null };
    this.ringing.set(call.call_id, ringing);
    this.#emit('ringing', ringing);
  }

  /** @param {LocalMedia} media @param {() => Promise<Call>} enter */
  async #enter(media, enter) {
    try {
      await this.leave();
      this.#run(await enter(), media);
    } catch (error) {
      media.close();
      throw error;
    }
  }

  /** @param {Call} call @param {LocalMedia} media */
  #run(call, media) {
    const active = { call, media, heardBy: this.#heardIn(call.callId) };
    this.active = active;
    const save = () => {
      const saved = call.saved();
      if (saved && this.active === active) saveCall({ ...saved, muted: media.muted, camera_wanted: media.cameraWanted });
    };
    call.signaling.addEventListener('frame', () => queueMicrotask(save));
    call.addEventListener('change', save);
    call.addEventListener('over', (event) => {
      media.close();
      saveCall(null);
      this.active = null;
      this.#emit('finished', { active, reason: /** @type {CustomEvent} */ (event).detail.reason });
    });
    this.#emit('active', active);
  }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
