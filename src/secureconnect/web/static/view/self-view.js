/**
 * The own picture in a call: small, mirrored, in a corner of one's choosing.
 *
 * Called by stage.js.
 *
 * @import {LocalMedia} from '/sdk/media.js'
 */
import { icon } from '../icons.js';
import { t } from '../words.js';
import { avatar, h, setText, showTrack } from './element.js';
import { WEAK } from './tile.js';

/** Moves on the four corners: where an arrow key leads. @type {Record<string, [string, string]>} */
const ARROWS = { ArrowLeft: ['right', 'left'], ArrowRight: ['left', 'right'], ArrowUp: ['bottom', 'top'], ArrowDown: ['top', 'bottom'] };

export class SelfView {
  /** @param {LocalMedia} media @param {{user_id: string, display_name: string}} me */
  constructor(media, me) {
    this.media = media;
    this.video = h('video', { autoplay: true, playsInline: true, muted: true, class: 'mirrored' });
    this.mark = h('span', { class: 'tile-mark', hidden: true }, icon('microphone-off'));
    this.hand = h('span', { class: 'tile-hand', hidden: true }, icon('hand'));
    this.note = h('p', { class: 'tile-note', hidden: true, test: 'own-note' });
    this.element = h('div', { class: 'self-view', test: 'self-view', tabIndex: 0, role: 'group', 'aria-label': t('own_picture_move'), 'data-corner': 'bottom right' },
      this.video, avatar(me.display_name, me.user_id), this.hand,
      h('div', { class: 'tile-words' }, this.note, h('footer', { class: 'tile-foot' }, this.mark, h('span', { class: 'tile-name' }, t('you')))));
    this.element.addEventListener('pointerdown', (event) => this.#drag(event));
    this.element.addEventListener('keydown', (event) => this.#key(event));
    this.update(false, null);
  }

  /** @param {boolean} handRaised @param {number|null} level of one's own connection, null when nothing is known of it */
  update(handRaised, level) {
    const { tracks, audioMuted } = this.media;
    showTrack(this.video, tracks.camera);
    this.element.classList.toggle('has-picture', tracks.camera !== null);
    this.mark.hidden = !audioMuted;
    this.hand.hidden = !handRaised;
    this.note.hidden = level === null || level > WEAK;
    if (!this.note.hidden) setText(this.note, t('own_connection_weak'));
  }

  /** @param {boolean} speaking */
  hear(speaking) {
    this.element.classList.toggle('speaking', speaking);
  }

  /** @param {PointerEvent} start */
  #drag(start) {
    const { element } = this;
    element.setPointerCapture(start.pointerId);
    const move = (/** @type {PointerEvent} */ event) => {
      element.classList.add('dragging');
      element.style.translate = `${event.clientX - start.clientX}px ${event.clientY - start.clientY}px`;
    };
    const end = (/** @type {PointerEvent} */ event) => {
      element.removeEventListener('pointermove', move);
      element.style.translate = '';
      if (!element.classList.contains('dragging')) return;
      element.classList.remove('dragging');
      const vertical = event.clientY < innerHeight / 2 ? 'top' : 'bottom';
      element.dataset.corner = `${vertical} ${event.clientX < innerWidth / 2 ? 'left' : 'right'}`;
    };
    element.addEventListener('pointermove', move);
    element.addEventListener('pointerup', end, { once: true });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    this.element.dataset.corner = (this.element.dataset.corner ?? '').replace(arrow[0], arrow[1]);
  }
}
