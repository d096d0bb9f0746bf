/**
 * A moving picture whose source may change without going black: the next one takes its place once a frame of it is there.
 *
 * Called by tile.js.
 */
import { h, showTrack } from './element.js';

export class Picture {
  /** @type {MediaStreamTrack|null} */ #track = null;
  /** @type {HTMLVideoElement|null} on its way */ #next = null;

  /** @param {() => void} changed its size is known, or is another one */
  constructor(changed) {
    this.changed = changed;
    this.video = this.#make();
    this.element = h('div', { class: 'picture' }, this.video);
  }

  /** @param {MediaStreamTrack|null} track */
  show(track) {
    if (track === this.#track) return;
    this.#track = track;
    this.#next?.remove();
    this.#next = null;
    if (track && this.video.videoWidth > 0) this.#prepare(track);
    else showTrack(this.video, track);
  }

  /** @param {MediaStreamTrack} track */
  #prepare(track) {
    const next = this.#make();
    this.#next = next;
    showTrack(next, track);
    this.element.prepend(next); // beneath the one that plays
    next.requestVideoFrameCallback(() => {
      if (next !== this.#next) return;
      this.#next = null;
      this.video.remove();
      this.video.srcObject = null;
      this.video = next;
      this.changed();
    });
  }

  #make() {
    const video = h('video', { autoplay: true, playsInline: true, muted: true });
    for (const type of ['loadeddata', 'resize']) video.addEventListener(type, () => this.changed());
    return video;
  }
}
