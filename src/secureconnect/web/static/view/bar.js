/**
 * The bar at the bottom of a call: every switch of one's own, and the way out.
 *
 * Called by stage.js.
 *
 * @import {Call} from '/sdk/call.js'
 * @import {LocalMedia} from '/sdk/media.js'
 * @import {Layout} from './tiles.js'
 */
import { problemText, t } from '../words.js';
import { announce, toast } from './announce.js';
import { iconButton, menuOf, relabel } from './dialog.js';
import { h } from './element.js';
import { troubleSentence } from './green-room.js';
import { askToRecord } from './recording.js';

const EMOJI = ['👍', '❤️', '😂', '👏', '🎉', '🤔'];

/** @typedef {{layout: () => void, devices: () => void, details: () => void, invite: () => void, messages: () => void, react: (emoji: string) => void}} BarActions */

export class Bar {
  /** @type {Layout} */ layoutNow = 'grid';

  /** @param {Call} call @param {LocalMedia} media @param {BarActions} actions */
  constructor(call, media, actions) {
    this.call = call;
    this.media = media;
    this.actions = actions;
    this.mic = iconButton('microphone', t('mute'), () => this.toggleMicrophone(), { test: 'mic', class: 'round' });
    this.camera = iconButton('camera', t('camera_off'), () => this.toggleCamera(), { test: 'camera', class: 'round' });
    this.share = iconButton('share', t('share'), () => this.toggleShare(), { test: 'share', class: 'round', hidden: !canShare() });
    this.hand = iconButton('hand', t('raise_hand'), () => this.toggleHand(), { test: 'hand', class: 'round roomy' });
    this.layout = iconButton('grid', t('layout_is_grid'), actions.layout, { test: 'layout', class: 'round roomy' });
    const react = iconButton('smile', t('react'), () => {}, { test: 'react', class: 'round' });
    const more = iconButton('more', t('more'), () => {}, { test: 'more', class: 'round' });
    const leave = iconButton('phone-down', t('leave'), () => void call.leave(), { test: 'leave', class: 'round leave' });
    this.element = h('div', { class: 'bar', role: 'toolbar', 'aria-label': t('call_controls') },
      this.mic, this.camera, this.share, this.hand, react, this.#reactions(react), this.layout, more, menuOf(more, () => this.#more()), leave);
    this.update('grid');
  }

  /** @param {Layout} layout in use */
  update(layout) {
    this.layoutNow = layout;
    const { muted, tracks, trouble, opening } = this.media;
    const silent = muted || !tracks.microphone;
    const micTrouble = troubleSentence('microphone', trouble.microphone);
    const cameraTrouble = troubleSentence('camera', trouble.camera);
    relabel(this.mic, silent ? 'microphone-off' : 'microphone', micTrouble ?? `${t(silent ? 'unmute' : 'mute')} (M)`);
    relabel(this.camera, tracks.camera ? 'camera' : 'camera-off', cameraTrouble ?? `${t(tracks.camera ? 'camera_off' : 'camera_on')} (V)`);
    relabel(this.share, 'share', `${t(tracks.screen ? 'stop_sharing' : 'share')} (S)`);
    relabel(this.hand, 'hand', `${t(this.call.handRaised ? 'lower_hand' : 'raise_hand')} (H)`);
    relabel(this.layout, layout, `${t(`layout_is_${layout}`)} (L)`);
    this.mic.classList.toggle('off', silent && !opening);
    this.camera.classList.toggle('off', !tracks.camera && !opening);
    this.share.classList.toggle('on', tracks.screen !== null);
    this.hand.classList.toggle('on', this.call.handRaised);
    this.mic.setAttribute('aria-pressed', String(silent));
    this.camera.setAttribute('aria-pressed', String(!tracks.camera));
    this.share.setAttribute('aria-pressed', String(tracks.screen !== null));
    this.hand.setAttribute('aria-pressed', String(this.call.handRaised));
    this.mic.classList.toggle('trouble-dot', micTrouble !== null);
    this.camera.classList.toggle('trouble-dot', cameraTrouble !== null);
  }

  async toggleMicrophone() {
    await this.media.setMuted(this.media.tracks.microphone ? !this.media.muted : false);
    this.#say('microphone', this.media.audioMuted ? 'microphone_is_off' : 'microphone_is_on');
  }

  async toggleCamera() {
    await this.media.setCamera(!this.media.tracks.camera);
    this.#say('camera', this.media.videoMuted ? 'camera_is_off' : 'camera_is_on');
  }

  async toggleShare() {
    if (this.media.tracks.screen) this.media.stopSharing();
    else if (canShare()) await this.media.share();
  }

  toggleHand() {
    this.call.raiseHand(!this.call.handRaised);
    announce(t(this.call.handRaised ? 'hand_raised_own' : 'hand_lowered_own'));
  }

  /** @param {'microphone'|'camera'} source @param {import('../words.js').Key} words */
  #say(source, words) {
    const trouble = troubleSentence(source, this.media.trouble[source]);
    if (trouble) toast(trouble, 'bad');
    else announce(t(words));
  }

  /** @param {HTMLElement} button */
  #reactions(button) {
    const menu = h('div', { class: 'menu reactions', popover: 'auto', 'aria-label': t('react') }, ...EMOJI.map((emoji) => h('button', {
      type: 'button', class: 'reaction-button', on: { click: () => { menu.hidePopover(); this.call.react(emoji); this.actions.react(emoji); } },
    }, emoji)));
    button.addEventListener('click', () => {
      menu.togglePopover();
      const box = button.getBoundingClientRect();
      menu.style.left = `${Math.max(8, Math.min(box.left + box.width / 2 - menu.offsetWidth / 2, innerWidth - menu.offsetWidth - 8))}px`;
      menu.style.top = `${box.top - menu.offsetHeight - 12}px`;
      /** @type {HTMLElement|null} */ (menu.firstElementChild)?.focus();
    });
    return menu;
  }

  #more() {
    const { actions, call } = this;
    const narrow = matchMedia('(max-width: 560px)').matches;
    const host = call.record.caller_id === call.api.user?.user_id;
    return [
      ...(narrow ? [
        { icon: /** @type {const} */ ('hand'), label: t(call.handRaised ? 'lower_hand' : 'raise_hand'), act: () => this.toggleHand() },
        { icon: this.layoutNow, label: t(`layout_is_${this.layoutNow}`), act: actions.layout },
      ] : []),
      ...(call.record.answered_at ? [{ icon: /** @type {const} */ ('record'), label: t(call.recording ? 'record_stop' : 'record'), act: () => this.#record(), test: 'record' }] : []),
      { icon: /** @type {const} */ ('person-add'), label: t('invite'), act: actions.invite, test: 'invite' },
      { icon: /** @type {const} */ ('chat'), label: t('messages'), act: actions.messages },
      { icon: /** @type {const} */ ('settings'), label: t('devices'), act: actions.devices, test: 'devices' },
      { icon: /** @type {const} */ ('chart'), label: t('call_details'), act: actions.details, test: 'details' },
      ...(host ? [{ icon: /** @type {const} */ ('phone-down'), label: t('end_for_all'), act: () => void this.#try(call.end()), test: 'end-for-all', bad: true }] : []),
    ];
  }

  #record() {
    if (this.call.recording) void this.#try(this.call.stopRecording());
    else askToRecord(this.call);
  }

  /** @param {Promise<unknown>} deed */
  async #try(deed) {
    await deed.catch((error) => toast(problemText(error), 'bad'));
  }
}

function canShare() {
  return Boolean(navigator.mediaDevices && 'getDisplayMedia' in navigator.mediaDevices);
}
