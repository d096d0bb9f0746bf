/**
 * The calls that were, with the way to call again and to see what became of each.
 *
 * Called by home.js. Follows CallHistory and Chats.
 *
 * @import {CallHistory} from '../history.js'
 * @import {Chats} from '../chats.js'
 * @import {CallRecord, Conversation} from '/sdk/shapes.js'
 */
import { day, clock, duration, faceOf, listOf, titleOf } from '../format.js';
import { partIn } from '../history.js';
import { icon } from '../icons.js';
import { problemText, t } from '../words.js';
import { toast } from './announce.js';
import { callWords } from './call-entry.js';
import { iconButton } from './dialog.js';
import { avatar, button, fill, h, reconcile } from './element.js';

/** @typedef {{call: (conversation: Conversation, type: 'audio'|'video') => void, trace: (call: CallRecord) => void}} HistoryActions */

export class HistoryView {
  /** @param {CallHistory} history @param {Chats} chats @param {HistoryActions} actions */
  constructor(history, chats, actions) {
    this.history = history;
    this.chats = chats;
    this.actions = actions;
    this.ownId = chats.api.user?.user_id ?? '';
    this.rows = h('ol', { class: 'history' });
    this.empty = h('div', { class: 'empty', hidden: true }, h('span', { class: 'empty-art' }, icon('phone')), h('h2', {}), h('p', {}));
    this.more = button('', () => void this.#try(() => history.more()), { hidden: true, test: 'history-more' }, t('show_more'));
    this.element = h('main', { class: 'thread', test: 'history', 'aria-label': t('calls') },
      h('header', { class: 'thread-head' }, h('a', { class: 'icon-button back', href: '#/', 'aria-label': t('back'), title: t('back') }, icon('back')),
        h('h2', { class: 'grow' }, t('calls')), this.#filter()),
      h('div', { class: 'scroller', tabIndex: 0, 'aria-label': t('calls') }, this.rows, this.empty, this.more));
    history.addEventListener('change', () => this.#render());
    chats.addEventListener('list', () => this.#render());
  }

  async show() {
    await this.#try(() => this.history.load());
  }

  #filter() {
    const choose = (/** @type {boolean} */ missed) => () => {
      for (const [one, on] of /** @type {[HTMLElement, boolean][]} */ ([[all, !missed], [only, missed]])) one.setAttribute('aria-pressed', String(on));
      void this.#try(() => this.history.filter(missed));
    };
    const all = h('button', { type: 'button', 'aria-pressed': 'true', on: { click: choose(false) } }, t('filter_all'));
    const only = h('button', { type: 'button', 'aria-pressed': 'false', test: 'filter-missed', on: { click: choose(true) } }, t('filter_missed'));
    return h('div', { class: 'segments', role: 'group', 'aria-label': t('filter_calls') }, all, only);
  }

  #render() {
    const { calls, loaded, missedOnly } = this.history;
    reconcile(this.rows, calls, (call) => call.call_id, () => h('li', { test: 'history-item' }), (element, call) => this.#row(element, call));
    this.more.hidden = !this.history.hasMore;
    this.empty.hidden = !loaded || calls.length > 0;
    fill(/** @type {Element} */ (this.empty.querySelector('h2')), t(missedOnly ? 'no_missed_calls' : 'no_calls'));
    fill(/** @type {Element} */ (this.empty.querySelector('p')), missedOnly ? '' : t('no_calls_hint'));
  }

  /** @param {HTMLElement} element @param {CallRecord} call */
  #row(element, call) {
    const conversation = this.chats.find(call.conversation_id);
    const signature = `${call.version} ${conversation?.title} ${Boolean(conversation)}`;
    if (element.dataset.signature === signature) return;
    element.dataset.signature = signature;
    const others = call.participants.filter((one) => one.user_id !== this.ownId);
    const title = conversation ? titleOf(conversation, this.ownId) : listOf(others.map((one) => one.display_name));
    const part = partIn(call, this.ownId);
    const length = call.answered_at && call.ended_at && part !== 'missed' ? duration(Date.parse(call.ended_at) - Date.parse(call.answered_at)) : null;
    const video = call.call_type === 'video';
    element.className = part === 'missed' ? 'missed' : '';
    fill(element,
      h('a', { class: 'history-link', href: `#/c/${call.conversation_id}` }, avatar(title, conversation ? faceOf(conversation, this.ownId) : call.conversation_id),
        h('span', { class: 'grow' }, h('strong', { class: 'ellipsis', dir: 'auto' }, title),
          h('span', { class: 'history-kind' }, icon(part === 'missed' ? 'missed' : part === 'outgoing' ? 'outgoing' : 'incoming'),
            h('span', { class: 'ellipsis' }, [historyWords(call, part, this.ownId), length].filter(Boolean).join(' · ')))),
        h('time', { class: 'muted', dateTime: call.created_at }, `${day(call.created_at)}, ${clock(call.created_at)}`)),
      iconButton('info', t(call.status === 'missed' ? 'trace_why' : 'trace'), () => this.actions.trace(call), { test: 'history-trace', class: 'quiet' }),
      iconButton(video ? 'camera' : 'phone', t(part === 'missed' ? 'call_back' : 'call_again'), () => { if (conversation) this.actions.call(conversation, call.call_type); },
        { test: 'history-call', class: 'tinted', disabled: !conversation || Boolean(conversation.live_call) }));
  }

  /** @param {() => Promise<void>} act */
  async #try(act) {
    await act().catch((error) => toast(problemText(error), 'bad'));
  }
}

/** A call in words, as it was to this person. @param {CallRecord} call @param {import('../history.js').Part} part @param {string} ownId @returns {string} */
function historyWords(call, part, ownId) {
  const video = call.call_type === 'video';
  if (part === 'missed') return t(video ? 'missed_video_call' : 'missed_audio_call');
  if (part === 'declined') return t('you_declined');
  if (call.status !== 'ended') return callWords(call, ownId);
  return t(part === 'outgoing' ? (video ? 'outgoing_video' : 'outgoing_audio') : (video ? 'received_video' : 'received_audio'));
}
