/**
 * Which sessions are connected, since when one is not, and which of them should have offered by now.
 *
 * Called by call.js. Knows no connection and no clock.
 *
 * @import {Other, SessionOf} from './roster.js'
 */

/** A session that should have offered and did not within this time gets an offer from here. */
const OFFER_OVERDUE_MS = 5_000;

export class Presence {
  /** @type {Map<string, number>} by session */ #lostAt = new Map();
  /** @type {Map<string, number>} by session */ #seenAt = new Map();

  /** @param {Map<string, SessionOf>} sessions of the call, as it is `now` (ms since the epoch) @param {number} now */
  follow(sessions, now) {
    for (const [id, session] of sessions) {
      if (session.connected) this.#lostAt.delete(id);
      else if (!this.#lostAt.has(id)) this.#lostAt.set(id, now);
    }
  }

  /** When this session was seen to be gone; null while it is there. @param {string} id @returns {number|null} */
  lostAt(id) {
    return this.#lostAt.get(id) ?? null;
  }

  /** Those with whom nothing was begun for too long: an offer may be lost with the page that owed it. @param {Other[]} others @param {number} now */
  overdue(others, now) {
    return others.flatMap(({ session_id: id, peer, state }) => {
      if (!id) return [];
      const since = peer || state === 'reconnecting' ? now : this.#seenAt.get(id) ?? now;
      this.#seenAt.set(id, since);
      return now - since > OFFER_OVERDUE_MS ? [id] : [];
    });
  }
}
