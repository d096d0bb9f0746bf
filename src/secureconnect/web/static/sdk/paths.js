/**
 * The ways of the media in one call: direct connections (mesh.js), the SFU (sfu.js), and the move from one to the other without a gap.
 *
 * Called by call.js, which owns the socket and the snapshot. A session is shown by one way; when the call's topology changes, the new way
 * is opened beside the old one, is shown once frames of it were decoded, and the old one is closed when both sides show the new
 * (docs/protocol.md, "Through the SFU"). Must not touch the document.
 *
 * @import {Api} from './api.js'
 * @import {Peer, Slot, Tracks} from './peer.js'
 * @import {Publisher} from './publisher.js'
 * @import {Sample} from './quality.js'
 * @import {Source, Subscriber} from './subscriber.js'
 * @import {Frame, Topology} from './shapes.js'
 * @typedef {Peer|Source} MediaPath  what carries a session's media to here
 * @typedef {{camera: boolean, screen: boolean}} Expected  what a session says that it sends
 */
import { IceServers } from './ice.js';
import { Mesh } from './mesh.js';
import { Pulse } from './pulse.js';
import { bytesHeard, sampleOf, securityCode } from './quality.js';
import { SFU, SfuLink } from './sfu.js';

/** A decoder that has given so many frames goes on giving them: between the first and the second there may be a pause. */
const FRAMES = 3;
const PACKETS = 5;
const LOOK_EVERY_MS = 40;
/** A move that has not come to its end by then is ended. */
const MOVE_MS = 10_000;
/** The old way is kept for a moment after both have left it: a picture may still be on its way to the screen. */
const LINGER_MS = 400;
/** A path that carries sound is not silent for so long. */
const PULSE_MS = 400;

/**
 * @typedef {object} PeerStatistics
 * @property {string} session_id @property {RTCPeerConnectionState} state @property {'direct'|'sfu'} way
 * @property {{audio: Sample['audio'], video: Sample['video'], screen: Sample['screen']}} inbound
 * @property {number|null} rtt_ms @property {number} loss @property {number} jitter_ms @property {number} in_kbps @property {number} out_kbps
 * @property {string} path @property {boolean} relayed @property {string[]} codecs @property {string|null} security_code
 */

/**
 * Events: `path` ({session_id}): what carries that session, or what it carries, changed; `silent`: nothing is heard any more of somebody
 * who was heard.
 */
export class Paths extends EventTarget {
  /** @type {SfuLink[]} by epoch, the present one last */ #links = [];
  /** @type {Map<string, MediaPath>} by session */ #shown = new Map();
  /** @type {Set<string>} sessions that know that they are shown by the new way here */ #told = new Set();
  /** @type {Set<string>} sessions that show this one by the new way */ #heard = new Set();
  /** @type {Topology} */ #topology = 'p2p';
  /** @type {Map<string, Pulse>} by session */ #pulses = new Map();
  #epoch = 0;
  #movedAt = 0;
  #ownId = '';
  /** @type {Set<string>} the others in the call */ #sessions = new Set();
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #look;
  /** @type {WeakSet<object>} connections that are about to be closed */ #leaving = new WeakSet();

  /**
   * @param {object} options
   * @param {Api} options.api @param {string} options.callId
   * @param {(frame: Frame) => void} options.send
   * @param {() => Tracks} options.tracks what to send
   * @param {(sessionId: string) => Expected} options.expected
   * @param {string[]} options.retired connections that an earlier page talked to
   */
  constructor({ api, callId, send, tracks, expected, retired }) {
    super();
    this.transmit = send;
    this.tracks = tracks;
    this.expected = expected;
    this.ice = new IceServers(api, callId);
    this.mesh = new Mesh({ ice: this.ice, send, tracks, retired });
    this.mesh.addEventListener('peer', (event) => {
      this.#advance();
      this.#changed(/** @type {CustomEvent} */ (event).detail.session_id);
    });
  }

  /** Names of the other sides' connections, for `retired` of a later page. @returns {string[]} */
  get connections() {
    return this.mesh.connections;
  }

  /** What carries a session just now, or is about to. @param {string} sessionId @returns {MediaPath|null} */
  of(sessionId) {
    return this.#shown.get(sessionId) ?? this.#next(sessionId);
  }

  /**
   * Welcomed without a resume: the server knows nothing of what was negotiated.
   * @param {string} ownId the own session @param {boolean} sameSession whether the others still know this one by its name @param {number} epoch
   */
  startOver(ownId, sameSession, epoch) {
    this.#ownId = ownId;
    this.mesh.startOver(sameSession);
    if (!sameSession) for (const link of this.#links.splice(0)) link.close();
    else if (this.#link?.epoch === epoch) this.#link.restart();
  }

  /**
   * The call's topology, after each change of the snapshot.
   * @param {Topology} topology @param {number} epoch @param {Set<string>} sessions the others in the call
   */
  follow(topology, epoch, sessions) {
    this.#sessions = sessions;
    this.#forget(sessions);
    const moved = epoch !== this.#epoch || topology !== this.#topology;
    const before = this.#topology;
    this.#topology = topology;
    this.#epoch = epoch;
    if (moved) {
      this.#movedAt = Date.now();
      this.#told.clear();
      this.#heard.clear();
    }
    if (topology === SFU && this.#link?.epoch !== epoch) this.#publish(epoch);
    if (moved && topology !== SFU && before === SFU) this.#offerDirect();
    this.#advance();
  }

  /** @returns {boolean} whether connections to others are opened from here, rather than one to the SFU */
  get isDirect() {
    return this.#topology !== SFU;
  }

  /** An `offer`, `answer`, `ice_candidate` or `switched`. @param {Frame} frame */
  receive(frame) {
    const id = frame.session_id;
    if (frame.type === 'switched') {
      if (frame.epoch === this.#epoch) this.#heard.add(id);
      return this.#advance();
    }
    if (id === SFU) return this.#links.find((link) => link.epoch === frame.epoch)?.receive(frame);
    if (frame.type === 'offer' && !this.isDirect && !this.mesh.peers.has(id)) return undefined; // made before its sender knew of the move
    return this.mesh.receive(frame, this.#ownId);
  }

  /** Offer a direct connection. @param {string} sessionId */
  offer(sessionId) {
    this.mesh.offer(sessionId, this.#ownId);
  }

  /** A session has left. @param {string} sessionId */
  close(sessionId) {
    this.mesh.close(sessionId);
    this.#shown.delete(sessionId);
  }

  closeAll() {
    this.#sessions = new Set();
    this.#shown.clear();
    for (const link of this.#links.splice(0)) link.close();
    this.mesh.closeAll();
    clearTimeout(this.#look);
  }

  /** The own devices changed. */
  refill() {
    this.mesh.refill();
    this.#link?.refill(this.tracks());
  }

  /** Read the counters of every connection and share the bandwidth. @returns {Promise<(Peer|Publisher|Subscriber)[]>} */
  async measure() {
    const link = this.#link;
    const connections = [...(await this.mesh.measure()), ...(link?.connections ?? [])];
    await Promise.all((link?.connections ?? []).map(async (one) => { one.sample = await sampleOf(one, one.sample).catch(() => one.sample); }));
    return connections;
  }

  /** Restart the paths that are lost. @param {(sessionId: string) => boolean} reachable whether the other side can answer just now */
  async mend(reachable) {
    await this.mesh.mend(reachable);
    const link = this.#link;
    const lost = link?.connections.filter((one) => one.recovery.wantsRestart(one.state, Date.now())) ?? [];
    if (lost.length === 0) return;
    await this.ice.refresh();
    link?.restart((one) => lost.includes(one));
  }

  /** Called several times a second: somebody who is not heard any more may be lost, or may have pulled the microphone out. @param {number} now ms */
  listen(now) {
    for (const id of this.#pulses.keys()) if (!this.#shown.has(id)) this.#pulses.delete(id);
    for (const [id, path] of this.#shown) {
      const pulse = this.#pulses.get(id) ?? new Pulse();
      this.#pulses.set(id, pulse);
      const [heard] = path.receiver('microphone')?.getSynchronizationSources() ?? [];
      if (pulse.falls(heard?.timestamp ?? 0, now)) this.dispatchEvent(new Event('silent'));
    }
  }

  /** After the network may have changed: what nothing comes from any more is sought anew, at once. */
  async revive() {
    const before = await this.#heardBytes();
    await new Promise((resolve) => { setTimeout(resolve, PULSE_MS); });
    const after = await this.#heardBytes();
    for (const [one, bytes] of after) if (bytes === before.get(one) && one.state !== 'closed' && one.connectedAt) one.restart(this.ice.configuration);
  }

  /** @returns {Promise<Map<Peer|Publisher|Subscriber, number>>} */
  async #heardBytes() {
    const all = [...this.mesh.peers.values(), ...(this.#link?.connections ?? [])];
    return new Map(await Promise.all(all.map(async (one) => /** @type {const} */ ([one, await bytesHeard(one.connection)]))));
  }

  /** How loud each other session is just now, 0 to 1. @returns {Map<string, number>} */
  loudness() {
    return new Map([...this.#sessions].map((id) => [id, this.of(id)?.loudness() ?? 0]));
  }

  /** @returns {Promise<PeerStatistics[]>} one entry for each other session, of the way that is shown */
  async statistics() {
    const paths = [...this.#sessions].flatMap((id) => this.of(id) ?? []);
    return Promise.all(paths.map(async (path) => {
      const direct = path.way === 'direct';
      const now = await sampleOf(path, path.sample);
      const sent = direct ? now.outKbps : this.#link?.publisher.sample?.outKbps ?? 0;
      return {
        session_id: path.sessionId, state: path.state, way: path.way,
        inbound: { audio: now.audio, video: now.video, screen: now.screen },
        rtt_ms: now.rttMs, loss: now.loss, jitter_ms: now.jitterMs, in_kbps: now.inKbps, out_kbps: sent,
        path: now.path, relayed: now.relayed, codecs: now.codecs, security_code: direct ? await securityCode(path.connection) : null,
      };
    }));
  }

  /** The present connections to the SFU. @returns {SfuLink|undefined} */
  get #link() {
    return this.#links.at(-1);
  }

  /** What carries a session in the present topology. @param {string} id @returns {MediaPath|null} */
  #next(id) {
    return (this.isDirect ? this.mesh.peers.get(id) : this.#link?.sources.get(id)) ?? null;
  }

  /** @param {number} epoch */
  #publish(epoch) {
    const link = new SfuLink({ epoch, configuration: () => this.ice.configuration, tracks: this.tracks(), send: this.transmit });
    for (const type of ['sources', 'state']) {
      link.addEventListener(type, () => {
        this.#advance();
        for (const id of link.sources.keys()) this.#changed(id);
      });
    }
    this.#links.push(link);
  }

  /** From the SFU back to direct connections: of two, the one whose session is the larger offers. */
  #offerDirect() {
    for (const id of this.#sessions) if (this.#ownId > id && !this.mesh.peers.has(id)) this.offer(id);
  }

  /** @param {Set<string>} sessions that are there */
  #forget(sessions) {
    this.mesh.keep(sessions);
    for (const id of this.#shown.keys()) if (!sessions.has(id)) this.#shown.delete(id);
  }

  /** Show what can be shown, say so, close what is not needed, and look again while something is on its way. */
  #advance() {
    clearTimeout(this.#look);
    const late = Date.now() - this.#movedAt > MOVE_MS;
    for (const id of this.#sessions) {
      const next = this.#next(id);
      const shown = this.#shown.get(id);
      const nothingToLose = !shown?.connectedAt || shown.state === 'closed';
      if (next && next !== shown && (nothingToLose || (late && next.connectedAt))) this.#show(id, next);
      else if (!next && shown?.state === 'closed') this.#shown.delete(id);
      this.#tell(id);
    }
    this.#leaveDirect(late);
    this.#leaveLinks(late);
    if (this.#moving.length || this.#crowded) this.#look = setTimeout(() => void this.#prove(), LOOK_EVERY_MS);
  }

  /** Sessions whose new way is there and not yet shown. @returns {string[]} */
  get #moving() {
    return [...this.#sessions].filter((id) => {
      const next = this.#next(id);
      return next !== null && next !== this.#shown.get(id);
    });
  }

  /** Whether an old way is still open. */
  get #crowded() {
    return this.isDirect ? this.#links.length > 0 : this.mesh.peers.size > 0 || this.#links.length > 1;
  }

  async #prove() {
    for (const id of this.#moving) {
      const next = this.#next(id);
      if (next && (await carries(next, this.expected(id)).catch(() => false)) && next === this.#next(id)) this.#show(id, next);
    }
    this.#advance();
  }

  /** @param {string} id @param {MediaPath} path */
  #show(id, path) {
    this.#shown.set(id, path);
    this.#changed(id);
  }

  /** Say to a session that it is shown by the new way here, while there is an old one that it waits to close. @param {string} id */
  #tell(id) {
    const shown = this.#shown.get(id);
    const old = this.isDirect ? this.#links.length > 0 : this.mesh.peers.has(id);
    if (!old || this.#told.has(id) || !shown?.connectedAt || shown !== this.#next(id)) return;
    this.#told.add(id);
    this.transmit({ type: 'switched', target_id: id, epoch: this.#epoch });
  }

  /** @param {string} id @param {boolean} late */
  #moved(id, late) {
    return late || (this.#told.has(id) && this.#heard.has(id));
  }

  /** Close direct connections that the SFU has taken over. @param {boolean} late */
  #leaveDirect(late) {
    if (this.isDirect) return;
    for (const [id, peer] of this.mesh.peers) {
      const alone = this.#shown.get(id) === peer && peer.state === 'connected' && !this.#next(id)?.connectedAt; // better than nothing
      if (alone || !(this.#moved(id, late) || !peer.connectedAt)) continue;
      this.#soon(peer, () => { if (!this.isDirect && this.mesh.peers.get(id) === peer) this.mesh.close(id); });
    }
  }

  /** Close connections to the SFU that direct ones, or newer ones, have taken over. @param {boolean} late */
  #leaveLinks(late) {
    const shown = new Set([...this.#shown.values()].map((path) => path.connection));
    for (const link of this.#links) {
      const idle = this.isDirect ? [...this.#sessions].every((id) => this.#moved(id, late)) : !(link.subscriber && shown.has(link.subscriber.connection));
      if (this.#isPresent(link) || !(idle || late)) continue;
      this.#soon(link, () => {
        if (this.#isPresent(link)) return;
        this.#links = this.#links.filter((one) => one !== link);
        link.close();
      });
    }
  }

  /** @param {SfuLink} link */
  #isPresent(link) {
    return !this.isDirect && link === this.#link;
  }

  /** @param {object} what is left @param {() => void} close */
  #soon(what, close) {
    if (this.#leaving.has(what)) return;
    this.#leaving.add(what);
    setTimeout(() => {
      this.#leaving.delete(what);
      close();
    }, LINGER_MS);
  }

  /** @param {string} id */
  #changed(id) {
    this.dispatchEvent(new CustomEvent('path', { detail: { session_id: id } }));
  }
}

/**
 * Whether what a session sends comes by this way already: frames of each picture that it says it sends, else sound, else at least a connection.
 * @param {MediaPath} path @param {Expected} expected
 */
async function carries(path, expected) {
  if (path.state !== 'connected') return false;
  const slots = /** @type {Slot[]} */ (['camera', 'screen']).filter((slot) => expected[/** @type {keyof Expected} */ (slot)]);
  const seen = await Promise.all(slots.map(async (slot) => (await counted(path.receiver(slot), 'framesDecoded')) >= (slot === 'screen' ? 1 : FRAMES)));
  if (seen.length > 0) return seen.every(Boolean);
  return path.receiver('microphone') === null || (await counted(path.receiver('microphone'), 'packetsReceived')) >= PACKETS;
}

/** @param {RTCRtpReceiver|null} receiver @param {string} field @returns {Promise<number>} */
async function counted(receiver, field) {
  const report = receiver ? [...(await receiver.getStats()).values()] : [];
  return report.find((one) => one.type === 'inbound-rtp')?.[field] ?? 0;
}
