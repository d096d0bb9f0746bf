/**
 * Who this tab belongs to: the demo link, the session that the browser remembers, or nobody yet.
 *
 * Called by main.js.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {User} from '/sdk/shapes.js'
 * @import {Press} from './shared-store.js'
 */
import { ApiError } from '/sdk/api.js';
import { browserId, rememberUser, rememberedUser } from './preferences.js';
import { takePress } from './shared-store.js';
import { askToSwitch } from './view/sign-in.js';

const RETRY_MS = 1_500;

/**
 * Sign in without asking, where that is possible.
 * @param {Api} api @param {() => void} waiting called when the server cannot be reached; it is tried again until it can
 * @param {string|null} userId who is wanted, by default whoever was here last
 * @returns {Promise<User|null>}
 */
export async function signInSilently(api, waiting, userId = rememberedUser()) {
  const link = demoLink();
  for (;;) {
    try {
      const present = userId ? await resume(api, userId) : null;
      if (!link || !(await api.config()).demo) return present;
      if (present && (present.email === link.email || !(await askToSwitch(present, link.email)))) return present;
      return await api.login(link.email, link.password, browserId());
    } catch (error) {
      const isPassing = error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 500);
      if (!isPassing) return null;
      waiting();
      await new Promise((resolve) => { setTimeout(resolve, Math.max(RETRY_MS, (error.retryAfter ?? 0) * 1000)); });
    }
  }
}

/** @param {Api} api @param {string} userId @returns {Promise<User|null>} null when that sign-in has ended */
async function resume(api, userId) {
  try {
    return await api.resume(userId);
  } catch (error) {
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) return null;
    throw error;
  }
}

/** @param {Api} api */
export async function signOut(api) {
  rememberUser(null);
  await api.logout().catch(() => {}); // the token in memory is gone in any case
}

/** End all sign-ins of this person. @param {Api} api @throws {ApiError} */
export async function signOutEverywhere(api) {
  await api.logoutEverywhere();
  rememberUser(null);
}

/** `#reset=…` of a one-time link, taken out of the address at once so that it does not stay in the history. @returns {string|null} */
export function resetToken() {
  const token = location.hash.match(/^#reset=([\w-]+)$/)?.[1] ?? null;
  if (token) history.replaceState(null, '', location.pathname);
  return token;
}

/** What was pressed on the notification that opened this page: `#notice=…`, taken out of the address. @returns {Promise<Press|null>} */
export async function pressedNotice() {
  const id = location.hash.match(/^#notice=([\w-]+)$/)?.[1];
  if (!id) return null;
  history.replaceState(null, '', location.pathname);
  return takePress(id).catch(() => null); // nothing is kept here: then it is an ordinary visit
}

/** `#invitation=…` of a link that the operator made, taken out of the address. @returns {string|null} */
export function invitationLink() {
  const invitation = new URLSearchParams(location.hash.slice(1)).get('invitation');
  if (invitation) history.replaceState(null, '', location.pathname);
  return invitation;
}

/** `#email=…&password=…`, taken out of the address at once so that it does not stay in the history. @returns {{email: string, password: string}|null} */
function demoLink() {
  const values = new URLSearchParams(location.hash.slice(1));
  const [email, password] = [values.get('email'), values.get('password')];
  if (!email || !password) return null;
  history.replaceState(null, '', location.pathname);
  return { email, password };
}
