/**
 * Choosing devices: camera, microphone with a level that moves, speaker with a test sound.
 *
 * Called by the green room, the settings and the running call.
 *
 * @import {LocalMedia} from '/sdk/media.js'
 */
import { listDevices, watchDevices } from '/sdk/devices.js';
import { icon } from '../icons.js';
import { prefer, preferences } from '../preferences.js';
import { play } from '../tones.js';
import { t } from '../words.js';
import { button, fill, h } from './element.js';

/** Loudness that fills the meter. */
const FULL_LEVEL = 0.25;

/** @typedef {'videoinput'|'audioinput'|'audiooutput'} Kind */

/** The pickers; call `close` when they go away. */
export class Pickers {
  /** @param {LocalMedia} media what the choice is for @param {(deviceId: string) => void} [speakerChosen] */
  constructor(media, speakerChosen) {
    this.media = media;
    this.speakerChosen = speakerChosen;
    this.camera = this.#select('videoinput', t('camera'), (id) => this.#source('camera', id));
    this.microphone = this.#select('audioinput', t('microphone'), (id) => this.#source('microphone', id));
    this.speaker = this.#select('audiooutput', t('speaker'), (id) => this.#speaker(id));
    this.level = h('span', { class: 'meter', role: 'img', 'aria-label': t('level_hint') }, h('span', { class: 'meter-bar' }));
    const test = button('small', () => play('test', preferences().speaker), {}, icon('volume'), t('test_sound'));
    this.element = h('div', { class: 'pickers' },
      row('camera', this.camera), row('microphone', this.microphone, this.level), row('volume', this.speaker, test));
    this.refresh = () => void this.#list();
    this.unwatch = watchDevices(this.refresh);
    media.addEventListener('change', this.refresh);
    this.timer = setInterval(() => this.#showLevel(), 60);
    this.refresh();
  }

  close() {
    clearInterval(this.timer);
    this.unwatch();
    this.media.removeEventListener('change', this.refresh);
  }

  /** @param {'camera'|'microphone'} source @param {string} id */
  #source(source, id) {
    prefer({ [source]: id });
    void this.media.choose(source, id);
  }

  /** @param {string} id */
  #speaker(id) {
    prefer({ speaker: id });
    this.speakerChosen?.(id);
  }

  /** @param {Kind} kind @param {string} label @param {(id: string) => void} chosen */
  #select(kind, label, chosen) {
    const select = h('select', { 'aria-label': label, name: kind });
    select.addEventListener('change', () => chosen(select.value));
    return select;
  }

  async #list() {
    const devices = await listDevices();
    const { tracks, chosen } = this.media;
    fillSelect(this.camera, devices.videoinput, tracks.camera?.getSettings().deviceId ?? chosen.camera, t('no_camera'));
    fillSelect(this.microphone, devices.audioinput, tracks.microphone?.getSettings().deviceId ?? chosen.microphone, t('no_microphone'));
    fillSelect(this.speaker, devices.audiooutput, preferences().speaker, t('default_speaker'));
  }

  #showLevel() {
    this.level.style.setProperty('--level', String(Math.min(1, this.media.level() / FULL_LEVEL)));
  }
}

/** @param {import('../icons.js').IconName} name @param {HTMLSelectElement} select @param {HTMLElement} [extra] */
function row(name, select, extra) {
  return h('div', { class: 'picker' }, icon(name), select, extra);
}

/** @param {HTMLSelectElement} select @param {MediaDeviceInfo[]} devices @param {string|null} chosen @param {string} none */
function fillSelect(select, devices, chosen, none) {
  const signature = JSON.stringify([devices.map((one) => [one.deviceId, one.label]), chosen]);
  if (select.dataset.signature === signature) return;
  select.dataset.signature = signature;
  select.disabled = devices.length === 0;
  const options = devices.map((one, index) => h('option', { value: one.deviceId, selected: one.deviceId === chosen }, one.label || `${select.ariaLabel} ${index + 1}`));
  fill(select, ...(options.length ? options : [h('option', {}, none)]));
}
