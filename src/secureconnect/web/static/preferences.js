/**
 * What a browser remembers. Of the person: language, theme, devices, the last account. Of a tab: its account, its device id and
 * the call it is in, so that a reload finds it again. Nothing of a call outlives its tab.
 *
 * Called by main.js, the switchboard and the settings.
 *
 * @import {SavedCall} from '/sdk/call.js'
 */
import { newId } from '/sdk/api.js';

/**
 * @typedef {object} Preferences
 * @property {string|null} language `en`, `vi`, or null for the browser's
 * @property {'light'|'dark'|null} theme null for the system's
 * @property {string|null} microphone @property {string|null} camera @property {string|null} speaker device ids
 * @property {boolean} skipGreenRoom
 * @property {boolean} closedTabOffered the offer to ring while no tab is open was seen and put away
 */

/** @type {Preferences} */
const DEFAULTS = { language: null, theme: null, microphone: null, camera: null, speaker: null, skipGreenRoom: false, closedTabOffered: false };
const PREFERENCES = 'secureconnect.preferences';
const LAST_USER = 'secureconnect.user';
const BROWSER = 'secureconnect.browser';
const TAB_USER = 'secureconnect.tab.user';
const TAB_DEVICE = 'secureconnect.tab.device';
const TAB_CALL = 'secureconnect.tab.call';
/** A reload frees its lock at once; a copy of the tab holds it for good. */
const LOCK_PATIENCE_MS = 700;

/** @returns {Preferences} */
export function preferences() {
  return { ...DEFAULTS, ...parse(localStorage.getItem(PREFERENCES)) };
}

/** @param {Partial<Preferences>} change */
export function prefer(change) {
  localStorage.setItem(PREFERENCES, JSON.stringify({ ...preferences(), ...change }));
}

/** Whom this tab belongs to; a new tab starts with the person who signed in last. @returns {string|null} */
export function rememberedUser() {
  return sessionStorage.getItem(TAB_USER) ?? localStorage.getItem(LAST_USER);
}

/** @param {string|null} userId */
export function rememberUser(userId) {
  if (userId) {
    sessionStorage.setItem(TAB_USER, userId);
    localStorage.setItem(LAST_USER, userId);
  } else {
    sessionStorage.removeItem(TAB_USER);
    localStorage.removeItem(LAST_USER);
  }
}

/** The id of this browser as a device: sign-ins name it, so that it can be signed out from another; it rings by it while no tab is open. @returns {string} */
export function browserId() {
  const id = localStorage.getItem(BROWSER) ?? newId();
  localStorage.setItem(BROWSER, id);
  return id;
}

/**
 * The id of this tab as a device. A duplicated tab brings a copy of the first one's storage: it finds the id locked, takes a new one and forgets the call.
 * @returns {Promise<string>}
 */
export async function claimDevice() {
  const known = sessionStorage.getItem(TAB_DEVICE);
  if (known && (await hold(known))) return known;
  const id = newId();
  sessionStorage.setItem(TAB_DEVICE, id);
  sessionStorage.removeItem(TAB_CALL);
  void hold(id);
  return id;
}

/** @param {string} id @returns {Promise<boolean>} held for as long as the page lives */
function hold(id) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const held = () => {
      resolve(true);
      return new Promise(() => {});
    };
    navigator.locks.request(`secureconnect.device.${id}`, { signal: AbortSignal.timeout(LOCK_PATIENCE_MS) }, held).catch(() => resolve(false));
  });
}

/**
 * @typedef {SavedCall & {muted: boolean, camera_wanted: boolean}} TabCall
 * @returns {TabCall|null}
 */
export function savedCall() {
  return parse(sessionStorage.getItem(TAB_CALL));
}

/** @param {TabCall|null} call */
export function saveCall(call) {
  if (call) sessionStorage.setItem(TAB_CALL, JSON.stringify(call));
  else sessionStorage.removeItem(TAB_CALL);
}

/** @param {string|null} text @returns {any} */
function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
