/**
 * Web Push: this browser is rung while no page is open. The service worker that shows the ring is the page's own.
 *
 * Called by pages, and by service workers when the browser changes the subscription. Must not touch the document.
 *
 * @import {Api} from './api.js'
 */

/**
 * Subscribe at the browser's push service, or find the subscription that is there, and tell the server. Do it again at each start:
 * it costs little, and a subscription that was lost is found out.
 * @param {Api} api signed in @param {ServiceWorkerRegistration} registration @param {string} deviceId UUID, the browser's own
 * @throws {import('./api.js').ApiError} 404 when the server sends no Web Push, 422 when it does not know this browser's push service
 * @throws {DOMException} `NotAllowedError` without permission, `AbortError` when the push service cannot be reached
 */
export async function subscribe(api, registration, deviceId) {
  const { public_key: key } = await api.request('GET', '/v1/push/webpush-key');
  let subscription = await registration.pushManager.getSubscription();
  if (subscription && !isFor(subscription, key)) {
    await subscription.unsubscribe(); // the server has another key now
    subscription = null;
  }
  subscription ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  await api.registerDevice(deviceId, { platform: 'web', provider: 'webpush', subscription: subscription.toJSON() });
}

/** Be rung no more. @param {Api} api signed in @param {ServiceWorkerRegistration} registration @param {string} deviceId */
export async function unsubscribe(api, registration, deviceId) {
  const subscription = await registration.pushManager.getSubscription();
  await Promise.all([subscription?.unsubscribe(), api.removeDevice(deviceId, 'webpush')]);
}

/** @param {PushSubscription} subscription @param {string} key base64url */
function isFor(subscription, key) {
  const bytes = new Uint8Array(subscription.options.applicationServerKey ?? new ArrayBuffer(0));
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '') === key;
}
