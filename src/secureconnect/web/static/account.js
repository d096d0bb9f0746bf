/**
 * Who this tab belongs to: the demo link, the session that the browser remembers, or nobody yet.
 *
 * Called by main.js.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {User} from '/sdk/shapes.js'
 */
import { ApiError } from '/sdk/api.js';
import { rememberUser, rememberedUser } from './preferences.js';

const RETRY_MS = 1_500;

/**
 * Sign in without asking, where that is possible.
 * @param {Api} api @param {() => void} waiting called when the server cannot be reached; it is tried again until it can
 * @returns {Promise<User|null>}
 */
export async function signInSilently(api, waiting) {
  const link = demoLink();
  const userId = rememberedUser();
  for (;;) {
    try {
      if (link) return await api.login(link.email, link.password);
      return userId ? await api.resume(userId) : null;
    } catch (error) {
      if (!(error instanceof ApiError) || (error.status !== 0 && error.status < 500)) return null;
      waiting();
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    }
  }
}

/** @param {Api} api */
export async function signOut(api) {
  rememberUser(null);
  await api.logout().catch(() => {}); // the token in memory is gone in any case
}

/** `#email=…&password=…`, taken out of the address at once so that it does not stay in the history. @returns {{email: string, password: string}|null} */
function demoLink() {
  const values = new URLSearchParams(location.hash.slice(1));
  const [email, password] = [values.get('email'), values.get('password')];
  if (!email || !password) return null;
  history.replaceState(null, '', location.pathname);
  return { email, password };
}
