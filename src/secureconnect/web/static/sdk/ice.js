/**
 * The STUN and TURN servers of a call, and how old their credentials are.
 *
 * Called by mesh.js and paths.js. Must not touch the document.
 *
 * @import {Api} from './api.js'
 */

/** Credentials of relays expire: older ones are fetched again before they are needed. */
const FRESH_MS = 300_000;

export class IceServers {
  /** @type {RTCIceServer[]} */ #servers = [];
  #at = 0;

  /** @param {Api} api @param {string} callId */
  constructor(api, callId) {
    this.api = api;
    this.callId = callId;
  }

  /** @param {RTCIceServer[]} servers as the `welcome` brought them @param {number} now ms since the epoch */
  use(servers, now) {
    this.#servers = servers;
    this.#at = now;
  }

  /** Fetch new credentials when these are old; the old ones stay when that fails. */
  async refresh() {
    if (Date.now() - this.#at <= FRESH_MS) return;
    const answer = await this.api.iceServers(this.callId).catch(() => null);
    if (answer) this.use(answer.ice_servers, Date.now());
  }

  /** @returns {RTCConfiguration} */
  get configuration() {
    return { iceServers: this.#servers, bundlePolicy: 'max-bundle' };
  }
}
