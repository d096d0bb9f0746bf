/**
 * The peer connections of one session: one to each other session, opened, replaced, watched and closed.
 *
 * Called by paths.js, which knows when the direct way is taken. Must not touch the document.
 *
 * @import {IceServers} from './ice.js'
 * @import {Slot, Tracks} from './peer.js'
 * @import {Frame} from './shapes.js'
 */
import { newId } from './api.js';
import { Peer } from './peer.js';
import { sampleOf } from './quality.js';

/** What the camera may send in all; in a mesh it is sent once to each. */
const CAMERA_BUDGET_BPS = 1_800_000;

/** Events: `peer` ({session_id}): what that session sends, or its connection, changed. */
export class Mesh extends EventTarget {
  /** @type {Map<string, Peer>} by session */ peers = new Map();
  /** @type {Set<string>} connections that talk to one of ours that is gone */ #retired;

  /**
   * @param {object} options
   * @param {IceServers} options.ice
   * @param {(frame: Frame) => void} options.send
   * @param {() => Tracks} options.tracks what to send
   * @param {string[]} options.retired connections that an earlier page talked to
   */
  constructor({ ice, send, tracks, retired }) {
    super();
    this.ice = ice;
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
        peer.restart(this.ice.configuration);
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
    await Promise.all(peers.map(async (peer) => { peer.sample = await sampleOf(peer, peer.sample).catch(() => peer.sample); }));
    return peers;
  }

  /** Restart the paths that are lost. @param {(sessionId: string) => boolean} reachable whether the other side can answer just now */
  async mend(reachable) {
    const now = Date.now();
    for (const peer of this.peers.values()) {
      if (!peer.wantsRestart(now) || !reachable(peer.sessionId)) continue;
      await this.ice.refresh();
      if (peer.state !== 'closed') peer.restart(this.ice.configuration);
    }
  }

  /** @param {string} sessionId @param {string} ownId @returns {Peer} in place of the one that was there */
  #open(sessionId, ownId) {
    this.close(sessionId);
    const peer = new Peer({
      sessionId, connectionId: newId(), polite: ownId < sessionId, tracks: this.tracks(), configuration: this.ice.configuration, send: this.transmit,
    });
    this.peers.set(sessionId, peer);
    const tell = () => this.dispatchEvent(new CustomEvent('peer', { detail: { session_id: sessionId } }));
    peer.addEventListener('tracks', tell);
    peer.addEventListener('state', tell);
    return peer;
  }
}
