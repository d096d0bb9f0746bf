/**
 * When a lost path is given up and sought anew: the same for a direct connection and for those to the SFU.
 *
 * Called by peer.js, publisher.js and subscriber.js. Pure: time is handed in.
 */

/** How long a lost path may recover by itself, and how long a restart may take. */
const RECOVERY_MS = 2_500;
const RESTART_EVERY_MS = 7_000;
const FIRST_CONNECTION_MS = 12_000;

export class Recovery {
  /** When media could first flow, in ms since the epoch. @type {number|null} */ connectedAt = null;
  #troubleSince;
  #restartedAt = 0;

  /** @param {number} now ms since the epoch @param {boolean} [second] whether the other side has the first try */
  constructor(now, second = false) {
    this.#troubleSince = now;
    this.turn = second ? RESTART_EVERY_MS / 2 : 0;
  }

  /** @param {RTCPeerConnectionState} state the connection's new one @param {number} now */
  follow(state, now) {
    if (state === 'connected') this.connectedAt ??= now;
    if (state === 'disconnected' || state === 'failed') this.#troubleSince = now;
  }

  /** @param {number} now */
  restarted(now) {
    this.#restartedAt = now;
  }

  /** @param {RTCPeerConnectionState} state @param {number} now @returns {boolean} whether the path has been lost for so long that it wants a restart now */
  wantsRestart(state, now) {
    if (state === 'connected' || state === 'closed') return false;
    const patience = this.connectedAt ? RECOVERY_MS : FIRST_CONNECTION_MS;
    const lost = state === 'failed' || now - this.#troubleSince > patience + this.turn;
    return lost && now - this.#restartedAt > RESTART_EVERY_MS;
  }
}
