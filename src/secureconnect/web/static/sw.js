/**
 * The service worker: rings while no page is open. A push becomes a notification, its buttons decline or open a page.
 *
 * Registered by closed-tab.js. Keeps nothing in a cache: pages load as if it were not there.
 *
 * @import {Push, Notice} from '/static/notices.js'
 * @import {Press} from '/static/shared-store.js'
 * @import {Reply} from '/static/closed-tab.js'
 * @typedef {Event & {waitUntil: (work: Promise<unknown>) => void}} Extendable
 * @typedef {Extendable & {data: {json: () => any}|null}} PushEvent
 * @typedef {Extendable & {notification: Notification, action: string}} PressEvent
 * @typedef {{url: string, visibilityState: string, focus: () => Promise<unknown>, postMessage: (message: object, ports?: Transferable[]) => void}} Tab
 * @typedef {{matchAll: (options: object) => Promise<Tab[]>, claim: () => Promise<void>, openWindow: (url: string) => Promise<unknown>}} Tabs
 * @typedef {EventTarget & {registration: ServiceWorkerRegistration, clients: Tabs, location: Location, skipWaiting: () => Promise<void>}} Worker
 */
import { Api, newId } from '/sdk/api.js';
import { subscribe } from '/sdk/webpush.js';
import { missedNotice, pressOf, ringNotice, settledNotice } from '/static/notices.js';
import { browserDevice, keepPress } from '/static/shared-store.js';

const worker = /** @type {Worker} */ (/** @type {unknown} */ (self));
/** A page that is there answers at once; one that the browser has frozen never does. */
const ANSWER_MS = 1_200;
const SETTLED_SHOWN_MS = 10_000;
/** No ring is longer (docs/api.md), whatever the two clocks say. */
const LONGEST_RING_MS = 180_000;
const ATTEMPTS = 4;

on('install', () => worker.skipWaiting());
on('activate', () => worker.clients.claim());
on('push', async (event) => {
  const { data } = /** @type {PushEvent} */ (event);
  if (data) await pushed(data.json());
});
on('notificationclick', (event) => pressed(/** @type {PressEvent} */ (event)));
on('pushsubscriptionchange', () => subscribeAgain());

/** @param {string} type @param {(event: Event) => Promise<unknown>} act */
function on(type, act) {
  worker.addEventListener(type, (event) => /** @type {Extendable} */ (event).waitUntil(act(event)));
}

/** @param {Push} push */
async function pushed(push) {
  if (push.type === 'call.incoming') return ring(push);
  if (push.type === 'call.missed') return show(missedNotice(push, await language()));
  return settle(push);
}

/** Ring, unless a page does that before the person's eyes; and never longer than the call does. @param {Push} push */
async function ring(push) {
  const visible = (await windows()).filter((tab) => tab.visibilityState === 'visible');
  if ((await ask(push, visible)).some((reply) => reply.rings)) return;
  await show(ringNotice(push, await language()));
  const left = Date.parse(push.expires_at) - Date.now();
  await Promise.all([send(push, 'shown'), sleep(Math.min(Math.max(left, 0) + 1_000, LONGEST_RING_MS))]);
  // What ended the ring did not arrive: this browser was offline. Then it stops by itself.
  const [shown] = await notices(push.call_id);
  if (shown?.data.type === 'call.incoming') await show(missedNotice({ ...push, type: 'call.missed', reason: 'timeout' }, await language()));
}

/** Answered or declined elsewhere: say so where it rang, and nothing where a page has shown it or has done it. @param {Push} push */
async function settle(push) {
  const tabs = await windows();
  if ((await ask(push, tabs)).some((reply) => reply.settled)) return;
  if ((await notices(push.call_id)).length === 0 && tabs.some((tab) => tab.visibilityState === 'visible')) return;
  await show(settledNotice(push, await language()));
  await sleep(SETTLED_SHOWN_MS);
  for (const notice of await notices(push.call_id)) if (notice.data.type === push.type) notice.close();
}

/** @param {PressEvent} event */
async function pressed({ notification, action }) {
  /** @type {Push} */
  const push = notification.data;
  notification.close();
  if (action === 'decline') return send(push, 'decline');
  const press = pressOf(push, action, Date.now());
  const there = (await ask(push, await windows())).find((reply) => reply.mine);
  if (there) {
    await there.tab.focus();
    return there.tab.postMessage({ type: 'press', press });
  }
  // Not in the address: there it would let a link of anybody's answer a call with the camera on.
  const id = newId();
  await keepPress(id, press);
  return worker.clients.openWindow(`/#notice=${id}`);
}

/** Say something of this call with the token that came with its ring, for this browser. @param {Push} push @param {'shown'|'decline'} what */
async function send(push, what) {
  const device = await browserDevice().catch(() => null);
  const body = device?.user_id === push.user_id ? { device_id: device.device_id } : {};
  const headers = { authorization: `Bearer ${push.ring_token}`, 'content-type': 'application/json' };
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const answer = await fetch(`/v1/calls/${push.call_id}/${what}`, { method: 'POST', headers, body: JSON.stringify(body) }).catch(() => null);
    if (answer && answer.status < 500) return;
    await sleep(attempt * 500);
  }
}

/** The browser made another subscription; the server must know it, or nothing rings here any more. */
async function subscribeAgain() {
  const device = await browserDevice();
  if (!device) return;
  const api = new Api();
  await api.resume(device.user_id);
  await subscribe(api, worker.registration, device.device_id);
}

/** What each page says of itself and of this call. @param {Push} push @param {Tab[]} tabs @returns {Promise<(Reply & {tab: Tab})[]>} */
async function ask(push, tabs) {
  const asked = tabs.map((tab) => new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = (event) => resolve({ ...event.data, tab });
    tab.postMessage({ type: 'ask', user_id: push.user_id, call_id: push.call_id, rings: push.type === 'call.incoming' }, [port2]);
    setTimeout(() => resolve({ mine: false, rings: false, settled: false, tab }), ANSWER_MS);
  }));
  return Promise.all(asked);
}

/** @returns {Promise<Tab[]>} pages of the client, other pages of this server left out */
async function windows() {
  const all = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  return all.filter((tab) => new URL(tab.url).pathname === '/');
}

/** @param {string} callId */
function notices(callId) {
  return worker.registration.getNotifications({ tag: callId });
}

/** @param {Notice} notice */
function show({ title, options }) {
  return worker.registration.showNotification(title, options);
}

/** The person's choice, or else the browser's. @returns {Promise<'en'|'vi'>} */
async function language() {
  const device = await browserDevice().catch(() => null);
  return device?.language ?? (navigator.language.startsWith('vi') ? 'vi' : 'en');
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}
