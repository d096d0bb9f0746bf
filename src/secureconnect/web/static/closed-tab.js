/**
 * Ringing while no page is open: whether this browser does, turning it on and off, and the page's half of the talk with the
 * service worker.
 *
 * Called by main.js. Must not touch the document.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {Press} from './shared-store.js'
 * @typedef {'unknown'|'unsupported'|'blocked'|'off'|'on'} ClosedTabState
 * @typedef {{mine: boolean, rings: boolean, settled: boolean}} Reply  whether the page is of that person; whether it shows that
 *   ring before their eyes; whether it was there that the call was answered or declined
 */
import { ApiError } from '/sdk/api.js';
import { subscribe, unsubscribe } from '/sdk/webpush.js';
import { browserId } from './preferences.js';
import { browserDevice, keepBrowserDevice } from './shared-store.js';
import { language } from './words.js';

const WORKER = '/sw.js';

/** Events: `state`, and `press` (a Press, in `detail`: a button of a notification was pressed and meant this page). */
export class ClosedTab extends EventTarget {
  /** @type {ClosedTabState} */ state = 'unknown';

  /** @param {Api} api signed in @param {(callId: string, rings: boolean) => Promise<{rings: boolean, settled: boolean}>} known what this page knows of a call, which a push just said to ring or not */
  constructor(api, known) {
    super();
    this.api = api;
    this.known = known;
    navigator.serviceWorker?.addEventListener('message', (event) => void this.#told(event));
  }

  /** Find out how it stands, and renew what is on: a browser may lose a subscription without a word. */
  async start() {
    if (!('serviceWorker' in navigator) || !('PushManager' in window) || !('Notification' in window)) return this.#become('unsupported');
    if (Notification.permission === 'denied') return this.#become('blocked');
    const device = await browserDevice().catch(() => null);
    const own = device?.user_id === this.api.user?.user_id;
    if (!device || !own || Notification.permission !== 'granted') return this.#become((await this.#offered()) ? 'off' : 'unsupported');
    try {
      await keepBrowserDevice({ ...device, language: language() });
      await subscribe(this.api, await this.#worker(), device.device_id);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 0)) return this.#become('off');
    }
    return this.#become('on');
  }

  /**
   * In a click: browsers ask for one before they ask the person.
   * @throws {ApiError}
   * @throws {DOMException} when the browser's push service cannot be reached
   */
  async turnOn() {
    const answer = await Notification.requestPermission();
    if (answer !== 'granted') return this.#become(answer === 'denied' ? 'blocked' : 'off');
    const userId = this.api.user?.user_id ?? '';
    const device = { user_id: userId, device_id: browserId(), language: language() };
    await subscribe(this.api, await this.#worker(), device.device_id);
    await keepBrowserDevice(device);
    return this.#become('on');
  }

  /** Also before signing out. Another person's ringing in this browser stays on. @throws {ApiError} */
  async turnOff() {
    const device = await browserDevice().catch(() => null);
    if (device?.user_id !== this.api.user?.user_id || !device) return;
    await keepBrowserDevice(null);
    try {
      const registration = await navigator.serviceWorker.getRegistration(WORKER);
      if (registration) await unsubscribe(this.api, registration, device.device_id);
    } finally {
      this.#become('off');
    }
  }

  /** This page deals with the call: its ring need not stand beside. @param {string} callId */
  async clearRing(callId) {
    await this.#close((notice) => notice.data?.call_id === callId);
  }

  /** What has been in the notices of a conversation is seen now. @param {string} conversationId */
  async clearSeen(conversationId) {
    await this.#close(({ data }) => data?.conversation_id === conversationId && data.type !== 'call.incoming');
  }

  /** @param {(notice: Notification) => boolean} which */
  async #close(which) {
    const registration = await navigator.serviceWorker?.getRegistration(WORKER);
    for (const notice of (await registration?.getNotifications()) ?? []) if (which(notice)) notice.close();
  }

  /** @returns {Promise<ServiceWorkerRegistration>} with an active worker */
  async #worker() {
    await navigator.serviceWorker.register(WORKER, { type: 'module', updateViaCache: 'none' });
    return navigator.serviceWorker.ready;
  }

  async #offered() {
    return this.api.request('GET', '/v1/push/webpush-key').then(() => true, () => false);
  }

  /** @param {MessageEvent} event */
  async #told({ data, ports }) {
    const mine = (data.user_id ?? data.press?.user_id) === this.api.user?.user_id;
    if (data.type === 'press' && mine) this.dispatchEvent(new CustomEvent('press', { detail: data.press }));
    if (data.type !== 'ask') return;
    const known = mine ? await this.known(data.call_id, data.rings) : { rings: false, settled: false };
    ports[0]?.postMessage(/** @type {Reply} */ ({ mine, ...known }));
  }

  /** @param {ClosedTabState} state */
  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event('state'));
  }
}
