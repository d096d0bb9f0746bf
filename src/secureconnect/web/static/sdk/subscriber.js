/**
 * What one session gets from the SFU: one connection that carries everybody else.
 *
 * Called by sfu.js. Only the server offers here; each offer says which line carries whose microphone, camera or screen. Must not touch
 * the socket or the document.
 *
 * @import {Frame} from './shapes.js'
 * @import {Slot, Tracks} from './peer.js'
 */
import { Recovery } from './recovery.js';

const SLOTS = /** @type {const} */ (['microphone', 'camera', 'screen']);

/** What one other session sends, as it comes from the SFU: to a tile the same as a direct connection. */
export class Source {
  way = /** @type {const} */ ('sfu');
  /** @type {Partial<Record<Slot, RTCRtpTransceiver>>} */ lines = {};
  /** @type {import('./quality.js').Sample|null} */ sample = null;

  /** @param {string} sessionId @param {Subscriber} subscriber @param {number} since ms since the epoch */
  constructor(sessionId, subscriber, since) {
    this.sessionId = sessionId;
    this.subscriber = subscriber;
    this.since = since;
  }

  /** @returns {RTCPeerConnectionState} */
  get state() {
    return this.subscriber.state;
  }

  /** @returns {number|null} */
  get connectedAt() {
    const connectedAt = this.subscriber.recovery.connectedAt;
    return connectedAt && Math.max(connectedAt, this.since);
  }

  /** @returns {RTCPeerConnection} shared with all other sources */
  get connection() {
    return this.subscriber.connection;
  }

  /** @returns {Tracks} */
  get received() {
    const track = (/** @type {Slot} */ slot) => this.lines[slot]?.receiver.track ?? null;
    return { microphone: track('microphone'), camera: track('camera'), screen: track('screen') };
  }

  /** @param {Slot} slot @returns {RTCRtpReceiver|null} */
  receiver(slot) {
    return this.lines[slot]?.receiver ?? null;
  }

  /** @param {Slot} slot @returns {string|null} */
  mid(slot) {
    return this.lines[slot]?.mid ?? null;
  }

  /** @returns {number} 0 to 1; 0 when the SFU does not pass levels on: `speaker` frames tell then */
  loudness() {
    return this.lines.microphone?.receiver.getSynchronizationSources()[0]?.audioLevel ?? 0;
  }
}

/** Events: `sources` (somebody's lines changed), `state` (the connection's state changed). */
export class Subscriber extends EventTarget {
  /** @type {Map<string, Source>} by session */ sources = new Map();
  /** @type {Promise<void>} */ #work = Promise.resolve();
  /** @type {(RTCIceCandidateInit|null)[]} */ #candidates = [];
  /** @type {import('./quality.js').Sample|null} */ sample = null;

  /**
   * @param {object} options
   * @param {string} options.connectionId as the server names it
   * @param {RTCConfiguration} options.configuration
   * @param {(frame: Frame) => void} options.send
   */
  constructor({ connectionId, configuration, send }) {
    super();
    this.connectionId = connectionId;
    this.transmit = send;
    this.recovery = new Recovery(Date.now());
    this.connection = this.#create(configuration);
  }

  /** @returns {RTCPeerConnectionState} */
  get state() {
    return this.connection.connectionState;
  }

  /** @returns {number|null} */
  get connectedAt() {
    return this.recovery.connectedAt;
  }

  /** Statistics of the connection are those of all its lines. @returns {null} */
  mid() {
    return null;
  }

  /** An `offer` or `ice_candidate` of the SFU. @param {Frame} frame */
  receive(frame) {
    this.#work = this.#work.then(() => this.#handle(frame)).catch((error) => console.warn(`secureconnect: ${frame.type} of the SFU not applied:`, error));
  }

  /** Only the server can offer: it is asked to. @param {RTCConfiguration} [configuration] */
  restart(configuration) {
    this.recovery.restarted(Date.now());
    if (configuration) this.connection.setConfiguration(configuration);
    this.transmit({ type: 'ice_restart', connection_id: this.connectionId });
  }

  close() {
    this.connection.close();
  }

  /** @param {RTCConfiguration} configuration */
  #create(configuration) {
    const pc = new RTCPeerConnection(configuration);
    pc.onicecandidate = ({ candidate }) => this.transmit({ type: 'ice_candidate', connection_id: this.connectionId, candidate: candidate?.toJSON() ?? null });
    pc.onconnectionstatechange = () => {
      this.recovery.follow(pc.connectionState, Date.now());
      this.dispatchEvent(new Event('state'));
    };
    return pc;
  }

  /** @param {Frame} frame */
  async #handle({ type, sdp, streams, candidate }) {
    const pc = this.connection;
    if (pc.signalingState === 'closed') return;
    if (type === 'offer') {
      await pc.setRemoteDescription({ type, sdp });
      for (const one of this.#candidates.splice(0)) await pc.addIceCandidate(one ?? undefined);
      await pc.setLocalDescription();
      this.transmit({ type: 'answer', connection_id: this.connectionId, sdp: pc.localDescription?.sdp });
      this.#assign(streams ?? []);
    } else if (!pc.remoteDescription) this.#candidates.push(candidate);
    else await pc.addIceCandidate(candidate ?? undefined);
  }

  /** @param {{mid: string, session_id: string, source: Slot, active: boolean}[]} streams */
  #assign(streams) {
    const lines = new Map(this.connection.getTransceivers().map((line) => [line.mid, line]));
    const live = streams.filter((one) => one.active !== false && lines.has(one.mid) && SLOTS.includes(one.source));
    const sessions = new Set(live.map((one) => one.session_id));
    for (const id of this.sources.keys()) if (!sessions.has(id)) this.sources.delete(id);
    for (const id of sessions) {
      const source = this.sources.get(id) ?? new Source(id, this, Date.now());
      source.lines = Object.fromEntries(live.filter((one) => one.session_id === id).map((one) => [one.source, lines.get(one.mid)]));
      this.sources.set(id, source);
    }
    this.dispatchEvent(new Event('sources'));
  }
}
