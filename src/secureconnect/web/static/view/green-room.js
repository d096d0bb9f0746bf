/**
 * The room before the call: see and hear oneself, choose devices, know who is in, and go.
 *
 * Called by main.js.
 *
 * @import {LocalMedia} from '/sdk/media.js'
 */
import { prefer, preferences } from '../preferences.js';
import { t } from '../words.js';
import { iconButton, openDialog, relabel } from './dialog.js';
import { button, fill, h, setText, showTrack } from './element.js';
import { Pickers } from './pickers.js';

/**
 * @param {object} options
 * @param {string} options.title whom or what one is about to call
 * @param {string} options.people who is in already, or who will be rung
 * @param {string} options.go the word on the button when all is well
 * @param {LocalMedia} options.media not opened yet
 * @param {() => void} options.callTest opens the test of devices and network
 * @param {HTMLElement} [options.note] what else is to be known before one goes in
 * @returns {Promise<boolean>} false when the person changed their mind; the media is open or opening then as well
 */
export function greenRoom(options) {
  void options.media.open();
  return new Promise((resolve) => new GreenRoom(options, resolve));
}

class GreenRoom {
  #went = false;

  /** @param {Parameters<typeof greenRoom>[0]} options @param {(go: boolean) => void} resolve */
  constructor({ title, people, go, media, callTest, note }, resolve) {
    this.media = media;
    this.go = go;
    this.video = h('video', { muted: true, autoplay: true, playsInline: true, class: 'mirrored', 'aria-label': t('own_picture') });
    this.face = h('div', { class: 'preview-face' });
    this.mic = iconButton('microphone', t('mute'), () => void media.setMuted(!media.muted), { class: 'round', test: 'preview-mic' });
    this.camera = iconButton('camera', t('camera_off'), () => void media.setCamera(!media.cameraWanted), { class: 'round', test: 'preview-camera' });
    this.trouble = h('div', { class: 'trouble', role: 'alert' });
    this.pickers = new Pickers(media);
    if (note) note.id = 'join-note';
    this.button = button('primary wide', () => this.#leave(true), { test: 'join-now', 'aria-describedby': 'join-note' });
    const skip = h('input', { type: 'checkbox', checked: preferences().skipGreenRoom, on: { change: () => prefer({ skipGreenRoom: skip.checked }) } });
    this.dialog = openDialog({
      title, style: 'green-room', test: 'green-room',
      content: [h('div', { class: 'green-room-columns' },
        h('div', { class: 'preview' }, this.video, this.face, h('div', { class: 'preview-buttons' }, this.mic, this.camera)),
        h('div', { class: 'green-room-side' }, h('p', { class: 'muted' }, people), note, this.pickers.element, this.trouble, this.button,
          button('small', callTest, { test: 'open-call-test' }, t('call_test')),
          h('label', { class: 'check' }, skip, t('skip_green_room'))))],
      closed: () => this.#closed(resolve),
    });
    this.update = () => this.#update();
    media.addEventListener('change', this.update);
    this.#update();
  }

  /** @param {boolean} go */
  #leave(go) {
    this.#went = go;
    this.dialog.close();
  }

  /** @param {(go: boolean) => void} resolve */
  #closed(resolve) {
    this.media.removeEventListener('change', this.update);
    this.pickers.close();
    this.video.srcObject = null;
    resolve(this.#went);
  }

  #update() {
    const { tracks, muted, cameraWanted, opening } = this.media;
    showTrack(this.video, tracks.camera);
    this.video.hidden = !tracks.camera;
    setText(this.face, tracks.camera ? '' : t(opening ? 'asking_devices' : cameraWanted ? 'no_picture' : 'camera_is_off'));
    relabel(this.mic, muted || !tracks.microphone ? 'microphone-off' : 'microphone', t(muted ? 'unmute' : 'mute'));
    relabel(this.camera, tracks.camera ? 'camera' : 'camera-off', t(tracks.camera ? 'camera_off' : 'camera_on'));
    this.mic.classList.toggle('off', muted || !tracks.microphone);
    this.camera.classList.toggle('off', !tracks.camera);
    this.#updateTrouble();
    setText(this.button, this.#word());
  }

  #updateTrouble() {
    const { trouble } = this.media;
    const sentences = /** @type {('microphone'|'camera')[]} */ (['microphone', 'camera']).flatMap((source) => troubleSentence(source, trouble[source]) ?? []);
    const signature = sentences.join();
    if (this.trouble.dataset.signature === signature) return;
    this.trouble.dataset.signature = signature;
    const again = button('small', () => void this.media.open(), {}, t('try_again'));
    fill(this.trouble, ...sentences.map((text) => h('p', {}, text)), sentences.length > 0 && again);
  }

  /** The word on the button says what one goes in with. */
  #word() {
    const { tracks, opening, cameraWanted } = this.media;
    if (opening || (tracks.microphone && (tracks.camera || !cameraWanted))) return this.go;
    if (tracks.microphone) return t('go_audio_only', { go: this.go });
    return t(tracks.camera ? 'go_no_microphone' : 'go_watch_only', { go: this.go });
  }
}

/** What is wrong with a device and what to do. @param {'microphone'|'camera'} source @param {string|undefined} reason @returns {string|null} */
export function troubleSentence(source, reason) {
  return reason ? t(/** @type {import('../words.js').Key} */ (`${source}_${reason}`)) : null;
}
