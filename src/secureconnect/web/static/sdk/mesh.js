/**
 * The peer connections of one session: one to each other session, opened, replaced, watched and closed.
 *
 * Called by call.js, which owns the socket and the snapshot. Must not touch the document.
 *
 * @import {Api} from './api.js'
 * @import {Slot, Tracks} from './peer.js'
 * @import {Sample} from './quality.js'
 * @import {Frame} from './shapes.js'
 */
import { newId } from './api.js';
import { Peer } from './peer.js';
import { sample, securityCode } from './quality.js';

/** Credentials of relays expire: older ones are fetched again before they are needed. */
const ICE_SERVERS_FRESH_MS = 300_000;
/** What the camera may send in all; in a mesh it is sent once to each. */
const CAMERA_BUDGET_BPS = 1_800_000;

/**
 * @typedef {object} PeerStatistics
 * @property {string} session_id @property {RTCPeerConnectionState} state
 * @property {{audio: Sample['audio'], video: Sample['video'], screen: Sample['screen']}} inbound
 * @property {number|null} rtt_ms @property {number} loss @property {number} jitter_ms @property {number} in_kbps @property {number} out_kbps
 * @property {string} path @property {boolean} relayed @property {string[]} codecs @property {string|null} security_code
 */

/** Events: `peer` ({session_id}): what that session sends, or its connection, changed. */
export class Mesh extends EventTarget {
  /** @type {Map<string, Peer>} by session */ peers = new Map();
  /** @type {Set<string>} connections that talk to one of ours that is gone */ #retired;
  /** @type {RTCIceServer[]} */ #iceServers = [];
  #iceServersAt = 0;

  /**
   * @param {object} options
   * @param {Api} options.api @param {string} options.callId
   * @param {(frame: Frame) => void} options.send
   * @param {() => Tracks} options.tracks what to send
   * @param {string[]} options.retired connections that an earlier page talked to
   */
  constructor({ api, callId, send, tracks, retired }) {
    super();
    this.api = api;
    this.callId = callId;
    this.transmit = send;
    this.tracks = tracks;
    this.#retired = new Set(retired);
  }

  /** Names of the other sides' connections, for `retired` of a later page. @returns {string[]} */
  get connections() {
    return [...this.#retired, ...[...this.peers.values()].flatMap((peer) => peer.remoteId ?? [])];
  }

  /**
   * The server knows nothing of what was negotiated. Media that flows goes on, with an offer that repeats its path, when the others
   * still know this session by its name; everything else is closed. What the others said to that may still be on its way, and is not
   * meant for what is offered next: it is passed over until `settle`.
   * @param {boolean} sameSession
   */
  startOver(sameSession) {
    for (const [id, peer] of this.peers) {
      if (sameSession && peer.state === 'connected') {
        peer.restart(this.#configuration());
        continue;
      }
      if (peer.remoteId) this.#retired.add(peer.remoteId);
      this.close(id);
    }
  }

  /** The server has heard of what this side offers now; whoever speaks from here on speaks to that. */
  settle() {
    this.#retired.clear();
  }

  /** @param {RTCIceServer[]} servers as the `welcome` brought them */
  useIceServers(servers) {
    this.#iceServers = servers;
    this.#iceServersAt = Date.now();
  }

  /** Offer to a session. @param {string} sessionId @param {string} ownId the own session */
  offer(sessionId, ownId) {
    this.#open(sessionId, ownId).offer();
  }

  /** An `offer`, `answer` or `ice_candidate`. @param {Frame} frame @param {string} ownId the own session */
  receive(frame, ownId) {
    const id = frame.connection_id ?? '';
    if (this.#retired.has(id)) return;
    const known = this.peers.get(frame.session_id);
    const renewed = known?.remoteId && id && known.remoteId !== id;
    if (frame.type !== 'offer' && (!known || renewed)) return; // speaks of a connection that is not there any more
    const peer = known && !renewed ? known : this.#open(frame.session_id, ownId);
    if (frame.type !== 'ice_candidate') peer.remoteId ??= id || null;
    void peer.receive(frame);
  }

  /** Close the peers of sessions that are not in `sessions`. @param {{has: (id: string) => boolean}} sessions */
  keep(sessions) {
    for (const id of [...this.peers.keys()]) if (!sessions.has(id)) this.close(id);
  }

  /** @param {string} sessionId */
  close(sessionId) {
    const peer = this.peers.get(sessionId);
    if (!peer) return;
    this.peers.delete(sessionId);
    peer.close();
  }

  closeAll() {
    this.keep(new Set());
  }

  /** The own devices changed. */
  refill() {
    const tracks = this.tracks();
    for (const peer of this.peers.values()) {
      for (const slot of /** @type {Slot[]} */ (Object.keys(tracks))) {
        if (peer.tracks[slot] !== tracks[slot]) void peer.setTrack(slot, tracks[slot]);
      }
    }
  }

  /** Read the counters of every peer and share the bandwidth. @returns {Promise<Peer[]>} */
  async measure() {
    const peers = [...this.peers.values()];
    for (const peer of peers) void peer.limit(Math.round(CAMERA_BUDGET_BPS / peers.length));
    await Promise.all(peers.map(async (peer) => { peer.sample = await sample(peer, peer.sample).catch(() => peer.sample); }));
    return peers;
  }

  /** Restart the paths that are lost. @param {(sessionId: string) => boolean} reachable whether the other side can answer just now */
  async mend(reachable) {
    const now = Date.now();
    for (const peer of this.peers.values()) {
      if (!peer.wantsRestart(now) || !reachable(peer.sessionId)) continue;
      if (now - this.#iceServersAt > ICE_SERVERS_FRESH_MS) {
        const answer = await this.api.iceServers(this.callId).catch(() => null);
        if (answer) this.useIceServers(answer.ice_servers);
      }
      if (peer.state !== 'closed') peer.restart(this.#configuration());
    }
  }

  /** @returns {Promise<PeerStatistics[]>} */
  async statistics() {
    return Promise.all([...this.peers.values()].map(async (peer) => {
      const now = await sample(peer, peer.sample);
      return {
        session_id: peer.sessionId, state: peer.state, inbound: { audio: now.audio, video: now.video, screen: now.screen },
        rtt_ms: now.rttMs, loss: now.loss, jitter_ms: now.jitterMs, in_kbps: now.inKbps, out_kbps: now.outKbps,
        path: now.path, relayed: now.relayed, codecs: now.codecs, security_code: await securityCode(peer.connection),
      };
    }));
  }

  /** @returns {RTCConfiguration} */
  #configuration() {
    return { iceServers: this.#iceServers, bundlePolicy: 'max-bundle' };
  }

  /** @param {string} sessionId @param {string} ownId @returns {Peer} in place of the one that was there */
  #open(sessionId, ownId) {
    this.close(sessionId);
    const peer = new Peer({
      sessionId, connectionId: newId(), polite: ownId < sessionId, tracks: this.tracks(), configuration: this.#configuration(), send: this.transmit,
    });
    this.peers.set(sessionId, peer);
    const tell = () => this.dispatchEvent(new CustomEvent('peer', { detail: { session_id: sessionId } }));
    peer.addEventListener('tracks', tell);
    peer.addEventListener('state', tell);
    return peer;
  }
}
