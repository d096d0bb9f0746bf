/**
 * One peer connection to one other session: perfect negotiation, trickle ICE, and restarts when the path is lost.
 *
 * Called by call.js, which carries the frames. Three media lines from the start (microphone, camera, screen), each ready to send and to
 * receive: switching a camera or a screen on is `replaceTrack`, not a negotiation. Must not touch the socket or the document.
 *
 * The negotiation is W3C WebRTC 1.0, section 10.7 ("Perfect Negotiation Example"), with two additions: frames are worked off one
 * at a time, and the first offer of a polite side is withdrawn with its whole connection, because transceivers made by
 * `addTransceiver` do not pair with those of the other side's offer (RFC 9429, 5.10).
 *
 * @import {Frame} from './shapes.js'
 * @typedef {'microphone'|'camera'|'screen'} Slot
 * @typedef {Record<Slot, MediaStreamTrack|null>} Tracks
 */
import { Recovery } from './recovery.js';

/** @type {readonly ['audio'|'video', Slot][]} */
const LINES = [['audio', 'microphone'], ['video', 'camera'], ['video', 'screen']];

/**
 * Events: `tracks` (what is received changed), `state` (the connection's state changed).
 */
export class Peer extends EventTarget {
  way = /** @type {const} */ ('direct');
  /** @type {RTCPeerConnection} */ #pc;
  /** @type {Promise<void>} */ #work = Promise.resolve();
  /** @type {(RTCIceCandidateInit|null)[]} */ #candidates = [];
  #makingOffer = false;
  #ignoring = false;
  #lastAnswer = '';
  /** Name of the other side's connection, null until it spoke. @type {string|null} */ remoteId = null;
  /** @type {import('./quality.js').Sample|null} */ sample = null;

  /**
   * @param {object} options
   * @param {string} options.sessionId the other session
   * @param {string} options.connectionId names this connection to the other side
   * @param {boolean} options.polite whether this side gives way when both offer
   * @param {RTCConfiguration} options.configuration
   * @param {Tracks} options.tracks what to send from the start
   * @param {(frame: Frame) => void} options.send
   */
  constructor(options) {
    super();
    this.sessionId = options.sessionId;
    this.connectionId = options.connectionId;
    this.polite = options.polite;
    this.recovery = new Recovery(Date.now(), options.polite); // the impolite side has the first try
    this.configuration = options.configuration;
    this.tracks = { ...options.tracks };
    this.transmit = options.send;
    this.outgoing = new MediaStream(); // one stream for microphone and camera, so that receivers keep the lips in step
    this.#pc = this.#create();
  }

  /** @returns {RTCPeerConnectionState} */
  get state() {
    return this.#pc.connectionState;
  }

  /** When media could first flow, in ms since the epoch. @returns {number|null} */
  get connectedAt() {
    return this.recovery.connectedAt;
  }

  /** @returns {RTCPeerConnection} */
  get connection() {
    return this.#pc;
  }

  /** The tracks received, by slot; a slot that was not negotiated is null. @returns {Tracks} */
  get received() {
    const lines = this.#lines();
    return {
      microphone: lines.microphone?.receiver.track ?? null,
      camera: lines.camera?.receiver.track ?? null,
      screen: lines.screen?.receiver.track ?? null,
    };
  }

  /** What receives a slot. @param {Slot} slot @returns {RTCRtpReceiver|null} */
  receiver(slot) {
    return this.#lines()[slot]?.receiver ?? null;
  }

  /** Media line of a slot, as `mid` in statistics. @param {Slot} slot @returns {string|null} */
  mid(slot) {
    return this.#lines()[slot]?.mid ?? null;
  }

  /** How loud the other side is just now. @returns {number} 0 to 1 */
  loudness() {
    return this.#lines().microphone?.receiver.getSynchronizationSources()[0]?.audioLevel ?? 0;
  }

  /** Offer: the side that came last does it. */
  offer() {
    for (const [kind, slot] of LINES) {
      const transceiver = this.#pc.addTransceiver(kind, { direction: 'sendrecv', streams: slot === 'screen' ? [] : [this.outgoing] });
      if (this.tracks[slot]) void transceiver.sender.replaceTrack(this.tracks[slot]);
    }
  }

  /** Send another track, or nothing, in a slot. @param {Slot} slot @param {MediaStreamTrack|null} track */
  async setTrack(slot, track) {
    this.tracks[slot] = track;
    const transceiver = this.#lines()[slot];
    if (transceiver) await transceiver.sender.replaceTrack(track);
    else if (track && this.#pc.remoteDescription) this.#pc.addTransceiver(track, { direction: 'sendrecv' });
  }

  /** Upper bound for the camera. @param {number} bps */
  async limit(bps) {
    const sender = this.#lines().camera?.sender;
    const parameters = sender?.getParameters();
    const encoding = parameters?.encodings?.[0];
    if (!sender || !parameters || !encoding || encoding.maxBitrate === bps) return;
    encoding.maxBitrate = bps;
    await sender.setParameters(parameters).catch(() => {}); // refused while a negotiation runs; the next round sets it
  }

  /** An `offer`, `answer` or `ice_candidate` of the other side. @param {Frame} frame */
  receive(frame) {
    this.#work = this.#work.then(() => this.#handle(frame)).catch((error) => {
      if (!this.#ignoring) console.warn(`secureconnect: ${frame.type} not applied:`, error);
    });
    return this.#work;
  }

  /** Start over on the present path, with fresh candidates. @param {RTCConfiguration} [configuration] */
  restart(configuration) {
    this.recovery.restarted(Date.now());
    if (configuration) {
      this.configuration = configuration;
      this.#pc.setConfiguration(configuration);
    }
    this.#pc.restartIce();
  }

  /** Whether the path has been lost for so long that it wants a restart now. @param {number} now ms */
  wantsRestart(now) {
    return this.#pc.localDescription !== null && this.recovery.wantsRestart(this.state, now);
  }

  close() {
    this.#pc.close();
    this.dispatchEvent(new Event('state'));
  }

  /** @returns {RTCPeerConnection} */
  #create() {
    const pc = new RTCPeerConnection(this.configuration);
    pc.onnegotiationneeded = () => this.#negotiate(pc).catch((error) => console.warn('secureconnect: no offer:', error));
    pc.onicecandidate = ({ candidate }) => this.#send({ type: 'ice_candidate', candidate: candidate?.toJSON() ?? null });
    pc.ontrack = () => this.dispatchEvent(new Event('tracks'));
    pc.onconnectionstatechange = () => {
      if (pc !== this.#pc) return;
      this.recovery.follow(pc.connectionState, Date.now());
      this.dispatchEvent(new Event('state'));
    };
    return pc;
  }

  /** @param {RTCPeerConnection} pc */
  async #negotiate(pc) {
    if (pc !== this.#pc || pc.signalingState === 'closed') return;
    try {
      this.#makingOffer = true;
      await pc.setLocalDescription();
      if (pc === this.#pc) this.#send({ type: 'offer', sdp: pc.localDescription?.sdp });
    } finally {
      this.#makingOffer = false;
    }
  }

  /** @param {Frame} frame */
  async #handle(frame) {
    if (this.#pc.signalingState === 'closed') return;
    if (frame.type === 'offer') await this.#offered(frame.sdp);
    else if (frame.type === 'answer') await this.#answered(frame.sdp);
    else await this.#candidate(frame.candidate);
  }

  /** @param {string} sdp */
  async #offered(sdp) {
    const collision = this.#makingOffer || this.#pc.signalingState !== 'stable';
    this.#ignoring = collision && !this.polite;
    if (this.#ignoring) return;
    if (collision && !this.#pc.currentRemoteDescription) {
      this.#pc.close();
      this.#pc = this.#create();
      this.#makingOffer = false;
    }
    await this.#pc.setRemoteDescription({ type: 'offer', sdp });
    await this.#fillLines();
    await this.#pc.setLocalDescription();
    this.#send({ type: 'answer', sdp: this.#pc.localDescription?.sdp });
    await this.#flush();
  }

  /** @param {string} sdp */
  async #answered(sdp) {
    if (sdp === this.#lastAnswer || this.#pc.signalingState !== 'have-local-offer') return; // sent twice across a resume
    this.#lastAnswer = sdp;
    await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    await this.#flush();
    this.dispatchEvent(new Event('tracks'));
  }

  /** @param {RTCIceCandidateInit|null} candidate */
  async #candidate(candidate) {
    if (!this.#pc.remoteDescription) this.#candidates.push(candidate);
    else await this.#pc.addIceCandidate(candidate ?? undefined);
  }

  async #flush() {
    for (const candidate of this.#candidates.splice(0)) await this.#pc.addIceCandidate(candidate ?? undefined);
  }

  /** Put our tracks on the lines that the other side's offer made. */
  async #fillLines() {
    const lines = this.#lines();
    for (const [, slot] of LINES) {
      const line = lines[slot];
      if (!line) continue;
      if (line.direction !== 'sendrecv') {
        line.direction = 'sendrecv';
        if (slot !== 'screen') line.sender.setStreams?.(this.outgoing);
      }
      if (line.sender.track !== this.tracks[slot]) await line.sender.replaceTrack(this.tracks[slot]);
    }
  }

  /** Lines count by kind and order: the first video is the camera, the second the screen. @returns {Partial<Record<Slot, RTCRtpTransceiver>>} */
  #lines() {
    const all = this.#pc.getTransceivers().filter((one) => one.direction !== 'stopped');
    const videos = all.filter((one) => one.receiver.track.kind === 'video');
    return { microphone: all.find((one) => one.receiver.track.kind === 'audio'), camera: videos[0], screen: videos[1] };
  }

  /** @param {Frame} frame */
  #send(frame) {
    this.transmit({ ...frame, target_id: this.sessionId, connection_id: this.connectionId });
  }
}
