/**
 * One's own microphone, camera and screen: which is open, which is muted, what to do when one is pulled out.
 *
 * Called by call.js, which sends whatever is here to everybody, and by the page, which switches it. Must not touch the document.
 *
 * @import {Tracks, Slot} from './peer.js'
 * @import {Source, Trouble} from './devices.js'
 */
import { LevelMeter, openDevices, watchDevices } from './devices.js';

/**
 * Events: `change` (anything a button shows), `lost` ({source}: a device was pulled out), `ended-share` (the browser's own button).
 */
export class LocalMedia extends EventTarget {
  /** @type {Tracks} */ tracks = { microphone: null, camera: null, screen: null };
  /** Whether the person wants to be silent; the microphone stays open. */ muted = false;
  /** Whether the person wants the camera; off means closed, and its light is out. */ cameraWanted = true;
  /** @type {Partial<Record<Source, Trouble>>} */ trouble = {};
  /** @type {{microphone: string|null, camera: string|null}} chosen device ids */ chosen;
  /** @type {LevelMeter|null} */ #meter = null;
  #closed = false;
  #opening = 0;

  /** @param {{microphone?: string|null, camera?: string|null, muted?: boolean, cameraWanted?: boolean}} [choice] */
  constructor(choice = {}) {
    super();
    this.chosen = { microphone: choice.microphone ?? null, camera: choice.camera ?? null };
    this.muted = choice.muted ?? false;
    this.cameraWanted = choice.cameraWanted ?? true;
    this.unwatch = watchDevices(() => this.#changed());
  }

  /** True while the person is being asked or a device starts. */
  get opening() {
    return this.#opening > 0;
  }

  /** What others are told: no sound comes from here. */
  get audioMuted() {
    return this.muted || !this.tracks.microphone;
  }

  get videoMuted() {
    return !this.tracks.camera;
  }

  /** Open the microphone and, when wanted, the camera. Never throws; see `trouble`. */
  async open() {
    await this.#open(this.cameraWanted ? ['microphone', 'camera'] : ['microphone']);
  }

  /** @param {boolean} muted */
  async setMuted(muted) {
    this.muted = muted;
    if (this.tracks.microphone) this.tracks.microphone.enabled = !muted;
    this.#changed();
    if (!muted && !this.tracks.microphone) await this.#open(['microphone']);
  }

  /** @param {boolean} wanted */
  async setCamera(wanted) {
    this.cameraWanted = wanted;
    delete this.trouble.camera;
    if (wanted && !this.tracks.camera) await this.#open(['camera']);
    if (!this.cameraWanted) this.#put('camera', null);
    this.#changed();
  }

  /** Use another device from now on. @param {Source} source @param {string} deviceId */
  async choose(source, deviceId) {
    this.chosen[source] = deviceId;
    if (source === 'camera' && !this.cameraWanted) return;
    this.#put(source, null); // some systems open a camera only once
    await this.#open([source]);
  }

  /** Ask for a screen, a window or a tab. @returns {Promise<boolean>} false when the person changed their mind */
  async share() {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: false }).catch(() => null);
    const track = stream?.getVideoTracks()[0];
    if (!track) return false;
    track.contentHint = 'detail';
    this.#put('screen', track);
    track.onended = () => {
      this.stopSharing();
      this.dispatchEvent(new Event('ended-share'));
    };
    this.#changed();
    return true;
  }

  stopSharing() {
    this.#put('screen', null);
    this.#changed();
  }

  /** Loudness of the own microphone, muted or not. @returns {number} 0 to 1 */
  level() {
    return this.#meter?.level() ?? 0;
  }

  /** Stop everything; the lights go out. */
  close() {
    this.#closed = true;
    this.unwatch();
    for (const slot of /** @type {Slot[]} */ (['microphone', 'camera', 'screen'])) this.#put(slot, null);
  }

  /** @param {Source[]} sources */
  async #open(sources) {
    this.#opening += 1;
    this.#changed();
    const wanted = Object.fromEntries(sources.map((source) => [source, this.chosen[source] ?? true]));
    const opened = await openDevices(wanted);
    this.#opening -= 1;
    for (const source of sources) {
      delete this.trouble[source];
      if (opened.trouble[source]) this.trouble[source] = opened.trouble[source];
      if (opened[source]) this.#arrived(source, opened[source]);
    }
    this.#changed();
  }

  /** @param {Source} source @param {MediaStreamTrack} track */
  #arrived(source, track) {
    if (this.#closed || (source === 'camera' && !this.cameraWanted)) {
      track.stop(); // the person moved on while the device was starting
      return;
    }
    this.#put(source, track);
    if (source === 'microphone') track.enabled = !this.muted;
    track.onended = () => this.#lost(source, track);
  }

  /** A device was pulled out: go on with the default one, if there is one. @param {Source} source @param {MediaStreamTrack} track */
  async #lost(source, track) {
    if (this.tracks[source] !== track) return;
    this.#put(source, null);
    this.chosen[source] = null;
    this.dispatchEvent(new CustomEvent('lost', { detail: { source } }));
    await this.#open([source]);
  }

  /** @param {Slot} slot @param {MediaStreamTrack|null} track */
  #put(slot, track) {
    const before = this.tracks[slot];
    if (before) {
      before.onended = null;
      before.stop();
    }
    this.tracks = { ...this.tracks, [slot]: track };
    if (slot !== 'microphone') return;
    this.#meter?.close();
    this.#meter = track ? new LevelMeter(track) : null;
  }

  #changed() {
    if (!this.#closed) this.dispatchEvent(new Event('change'));
  }
}
