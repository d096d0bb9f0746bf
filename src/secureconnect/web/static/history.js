/**
 * The calls that were: loaded page by page, kept up to date by the events socket.
 *
 * Called by main.js (which feeds it events) and by the history view. Must not touch the document.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {CallRecord} from '/sdk/shapes.js'
 */

/** Pages asked for at once when a filter leaves nothing of them. */
const PAGES_AT_ONCE = 5;

/** What a call was to one person: theirs, or how it met them. @typedef {'outgoing'|'received'|'missed'|'declined'} Part */

/** @param {CallRecord} call @param {string} ownId @returns {Part} */
export function partIn(call, ownId) {
  if (call.caller_id === ownId) return 'outgoing';
  const own = call.participants.find((one) => one.user_id === ownId);
  if (own?.joined_at) return 'received';
  if (own?.state === 'declined') return 'declined';
  return own?.state === 'missed' || own?.state === 'cancelled' || own?.state === 'busy' ? 'missed' : 'received';
}

/** Event: `change`. */
export class CallHistory extends EventTarget {
  /** @type {CallRecord[]} newest first */ #calls = [];
  /** @type {string|null} */ #cursor = null;
  loaded = false;
  missedOnly = false;

  /** @param {Api} api */
  constructor(api) {
    super();
    this.api = api;
  }

  /** @returns {CallRecord[]} those of the filter, newest first */
  get calls() {
    const ownId = this.api.user?.user_id ?? '';
    return this.missedOnly ? this.#calls.filter((call) => partIn(call, ownId) === 'missed') : this.#calls;
  }

  get hasMore() {
    return this.#cursor !== null;
  }

  /** Load from the start again: what was missed while the page was away is in it. @throws {import('/sdk/api.js').ApiError} */
  async load() {
    const page = await this.api.calls();
    [this.#calls, this.#cursor, this.loaded] = [page.items, page.next_cursor, true];
    await this.#fill(0);
  }

  /** @throws {import('/sdk/api.js').ApiError} */
  async more() {
    await this.#fill(this.calls.length);
  }

  /** @param {boolean} missedOnly @throws {import('/sdk/api.js').ApiError} */
  async filter(missedOnly) {
    this.missedOnly = missedOnly;
    await this.#fill(0);
  }

  /** @param {CallRecord} call news of the events socket; of members who have nothing to do with a call, too */
  callChanged(call) {
    const ownId = this.api.user?.user_id;
    if (!this.loaded || !call.participants.some((one) => one.user_id === ownId)) return;
    const known = this.#calls.find((one) => one.call_id === call.call_id);
    if (known && known.version > call.version) return;
    this.#calls = [call, ...this.#calls.filter((one) => one !== known)].sort((a, b) => b.created_at.localeCompare(a.created_at));
    this.dispatchEvent(new Event('change'));
  }

  /** Ask for pages until there are more than so many to show. @param {number} shown */
  async #fill(shown) {
    this.dispatchEvent(new Event('change'));
    for (let page = 0; page < PAGES_AT_ONCE && this.#cursor && this.calls.length <= shown; page += 1) {
      const answer = await this.api.calls(this.#cursor);
      const known = new Set(this.#calls.map((one) => one.call_id));
      this.#calls = [...this.#calls, ...answer.items.filter((/** @type {CallRecord} */ one) => !known.has(one.call_id))];
      this.#cursor = answer.next_cursor;
      this.dispatchEvent(new Event('change'));
    }
  }
}
