/**
 * What one session sends to the SFU: one connection, with the camera in three sizes.
 *
 * Called by sfu.js. Only this side offers here, so there is no glare; switching a microphone or a camera is `replaceTrack`, a screen is
 * a further line and so a new offer. Must not touch the socket or the document.
 *
 * @import {Frame} from './shapes.js'
 * @import {Slot, Tracks} from './peer.js'
 */
import { Recovery } from './recovery.js';

/** The camera's three sizes, the largest first (the SFU's substreams 2, 1 and 0). A browser leaves out those that a small camera does not need. */
const SIZES = [
  { rid: 'h', maxBitrate: 1_500_000 },
  { rid: 'm', maxBitrate: 450_000, scaleResolutionDownBy: 2 },
  { rid: 'l', maxBitrate: 130_000, scaleResolutionDownBy: 4 },
];
const SCREEN_BPS = 2_000_000;

/** Events: `state` (the connection's state changed). */
export class Publisher extends EventTarget {
  /** @type {Partial<Record<Slot, RTCRtpTransceiver>>} */ #lines = {};
  /** @type {Promise<void>} */ #work = Promise.resolve();
  /** @type {(RTCIceCandidateInit|null)[]} */ #candidates = [];
  /** @type {import('./quality.js').Sample|null} */ sample = null;

  /**
   * @param {object} options
   * @param {string} options.connectionId
   * @param {RTCConfiguration} options.configuration
   * @param {Tracks} options.tracks what to send from the start
   * @param {(frame: Frame) => void} options.send
   */
  constructor({ connectionId, configuration, tracks, send }) {
    super();
    this.connectionId = connectionId;
    this.transmit = send;
    this.tracks = { ...tracks };
    this.recovery = new Recovery(Date.now());
    this.outgoing = new MediaStream(); // one stream for microphone and camera, so that receivers keep the lips in step
    this.connection = this.#create(configuration);
    this.#lines.microphone = this.#line('audio', tracks.microphone, [{}]);
    this.#lines.camera = this.#line('video', tracks.camera, SIZES);
    if (tracks.screen) this.#addScreen(tracks.screen);
  }

  /** @returns {RTCPeerConnectionState} */
  get state() {
    return this.connection.connectionState;
  }

  /** @returns {number|null} */
  get connectedAt() {
    return this.recovery.connectedAt;
  }

  /** Nothing is received here. @returns {null} */
  mid() {
    return null;
  }

  /** Send another track, or nothing, in a slot. @param {Slot} slot @param {MediaStreamTrack|null} track */
  async setTrack(slot, track) {
    this.tracks[slot] = track;
    const line = this.#lines[slot];
    if (!line) {
      if (track && slot === 'screen') this.#addScreen(track);
      return;
    }
    await line.sender.replaceTrack(track);
    if (slot === 'screen') line.direction = track ? 'sendonly' : 'inactive'; // a line that shows nothing is nobody's tile
  }

  /** An `answer` or `ice_candidate` of the SFU. @param {Frame} frame */
  receive(frame) {
    this.#work = this.#work.then(() => this.#handle(frame)).catch((error) => console.warn(`secureconnect: ${frame.type} of the SFU not applied:`, error));
  }

  /** Offer once more: the server does not know what was offered before. @param {RTCConfiguration} [configuration] */
  restart(configuration) {
    this.recovery.restarted(Date.now());
    if (configuration) this.connection.setConfiguration(configuration);
    if (this.connection.signalingState === 'have-local-offer') this.#offer();
    else this.connection.restartIce();
  }

  close() {
    this.connection.close();
  }

  /** @param {RTCConfiguration} configuration */
  #create(configuration) {
    const pc = new RTCPeerConnection(configuration);
    pc.onnegotiationneeded = () => void pc.setLocalDescription().then(() => this.#offer()).catch((error) => console.warn('secureconnect: no offer:', error));
    pc.onicecandidate = ({ candidate }) => this.transmit({ type: 'ice_candidate', connection_id: this.connectionId, candidate: candidate?.toJSON() ?? null });
    pc.onconnectionstatechange = () => {
      this.recovery.follow(pc.connectionState, Date.now());
      this.dispatchEvent(new Event('state'));
    };
    return pc;
  }

  /** @param {'audio'|'video'} kind @param {MediaStreamTrack|null} track @param {RTCRtpEncodingParameters[]} sendEncodings @returns {RTCRtpTransceiver} */
  #line(kind, track, sendEncodings) {
    const line = this.connection.addTransceiver(kind, { direction: 'sendonly', streams: [this.outgoing], sendEncodings });
    if (track) void line.sender.replaceTrack(track);
    return line;
  }

  /** @param {MediaStreamTrack} track */
  #addScreen(track) {
    this.#lines.screen = this.connection.addTransceiver(track, { direction: 'sendonly', sendEncodings: [{ maxBitrate: SCREEN_BPS }] });
  }

  #offer() {
    const tracks = Object.entries(this.#lines).flatMap(([source, line]) => (line.mid !== null && line.direction !== 'inactive' ? [{ mid: line.mid, source }] : []));
    this.transmit({ type: 'offer', connection_id: this.connectionId, sdp: this.connection.localDescription?.sdp, tracks });
  }

  /** @param {Frame} frame */
  async #handle({ type, sdp, candidate }) {
    const pc = this.connection;
    if (pc.signalingState === 'closed') return;
    if (type === 'answer') {
      if (pc.signalingState !== 'have-local-offer') return; // sent twice across a resume
      await pc.setRemoteDescription({ type, sdp });
      for (const one of this.#candidates.splice(0)) await pc.addIceCandidate(one ?? undefined);
    } else if (!pc.remoteDescription) this.#candidates.push(candidate);
    else await pc.addIceCandidate(candidate ?? undefined);
  }
}
