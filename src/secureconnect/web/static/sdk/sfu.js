/**
 * One session's two connections to the SFU, for one epoch of the call's topology: one that sends, one that receives.
 *
 * Called by paths.js. The server speaks for the SFU (docs/protocol.md, "Through the SFU"); nothing here knows which SFU it is. Must not touch
 * the document.
 *
 * @import {Frame} from './shapes.js'
 * @import {Slot, Tracks} from './peer.js'
 * @import {Source} from './subscriber.js'
 */
import { newId } from './api.js';
import { Publisher } from './publisher.js';
import { Subscriber } from './subscriber.js';

/** The name of the SFU as a session, in both directions. */
export const SFU = 'sfu';

/** Events: `sources` (what is received changed), `state` (a connection's state changed). */
export class SfuLink extends EventTarget {
  /** @type {Subscriber|null} until the server offers */ subscriber = null;

  /**
   * @param {object} options
   * @param {number} options.epoch
   * @param {() => RTCConfiguration} options.configuration
   * @param {Tracks} options.tracks what to send from the start
   * @param {(frame: Frame) => void} options.send
   */
  constructor({ epoch, configuration, tracks, send }) {
    super();
    this.epoch = epoch;
    this.configuration = configuration;
    this.transmit = (/** @type {Frame} */ frame) => send({ ...frame, target_id: SFU, epoch });
    this.publisher = new Publisher({ connectionId: newId(), configuration: configuration(), tracks, send: this.transmit });
    this.publisher.addEventListener('state', () => this.dispatchEvent(new Event('state')));
  }

  /** What others send, by session. @returns {Map<string, Source>} */
  get sources() {
    return this.subscriber?.sources ?? new Map();
  }

  /** @returns {(Publisher|Subscriber)[]} */
  get connections() {
    return this.subscriber ? [this.publisher, this.subscriber] : [this.publisher];
  }

  /** A frame of the SFU, for this epoch. @param {Frame} frame */
  receive(frame) {
    if (frame.connection_id === this.publisher.connectionId) return this.publisher.receive(frame);
    if (frame.type === 'offer' && frame.connection_id !== this.subscriber?.connectionId) this.#subscribe(frame.connection_id);
    if (frame.connection_id === this.subscriber?.connectionId) this.subscriber?.receive(frame);
    return undefined;
  }

  /** The own devices changed. @param {Tracks} tracks */
  refill(tracks) {
    for (const slot of /** @type {Slot[]} */ (Object.keys(tracks))) {
      if (this.publisher.tracks[slot] !== tracks[slot]) void this.publisher.setTrack(slot, tracks[slot]);
    }
  }

  /** Seek the paths anew. @param {(one: Publisher|Subscriber) => boolean} [which] */
  restart(which = () => true) {
    for (const one of this.connections) if (which(one)) one.restart(this.configuration());
  }

  close() {
    for (const one of this.connections) one.close();
  }

  /** @param {string} connectionId in place of the one that was there */
  #subscribe(connectionId) {
    this.subscriber?.close();
    const subscriber = new Subscriber({ connectionId, configuration: this.configuration(), send: this.transmit });
    for (const type of ['sources', 'state']) subscriber.addEventListener(type, () => this.dispatchEvent(new Event(type)));
    this.subscriber = subscriber;
  }
}
