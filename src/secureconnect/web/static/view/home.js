/**
 * Home: the conversations on one side, the open one on the other.
 *
 * Called by main.js. Follows Chats and the Switchboard; the address of the page says which conversation is open.
 *
 * @import {Chats} from '../chats.js'
 * @import {CallHistory} from '../history.js'
 * @import {Recordings} from '../recordings.js'
 * @import {ClosedTab} from '../closed-tab.js'
 * @import {Switchboard} from '../switchboard.js'
 * @import {Conversation} from '/sdk/shapes.js'
 */
import { faceOf, shortTime, titleOf } from '../format.js';
import { icon } from '../icons.js';
import { t } from '../words.js';
import { callWords, inCall } from './call-entry.js';
import { closedTabOffer } from './closed-tab.js';
import { iconButton } from './dialog.js';
import { avatar, bdi, button, fill, h, reconcile, setText } from './element.js';
import { HistoryView } from './history.js';
import { ThreadView } from './thread.js';

/**
 * @typedef {object} HomeActions
 * @property {(conversation: Conversation, type: 'audio'|'video') => void} call
 * @property {(conversation: Conversation) => void} join
 * @property {() => void} newConversation
 * @property {(call: {call_id: string}) => void} trace what became of a call
 * @property {() => void} settings
 */

export class HomeView {
  /** @param {Element} parent @param {{chats: Chats, switchboard: Switchboard, closedTab: ClosedTab, history: CallHistory, recordings: Recordings}} models @param {HomeActions} actions */
  constructor(parent, { chats, switchboard, closedTab, history, recordings }, actions) {
    this.chats = chats;
    this.switchboard = switchboard;
    this.actions = actions;
    this.ownId = chats.api.user?.user_id ?? '';
    this.list = h('ul', { class: 'conversations' });
    this.status = h('p', { class: 'status-line', role: 'status', hidden: true });
    this.empty = h('div', { class: 'empty', hidden: true }, h('span', { class: 'empty-art' }, icon('chat')), h('h2', {}, t('no_conversations')), h('p', {}, t('no_conversations_hint')),
      button('primary', actions.newConversation, {}, icon('plus'), t('new_conversation')));
    this.returnBar = h('a', { class: 'return-bar', href: '#/call', hidden: true });
    this.offer = closedTabOffer(closedTab);
    this.callsLink = h('a', { class: 'icon-button', href: '#/calls', 'aria-label': t('calls'), title: t('calls'), test: 'calls' }, icon('history'));
    this.thread = new ThreadView(chats, switchboard, recordings, actions);
    this.history = new HistoryView(history, chats, actions);
    this.element = h('div', { class: 'home' }, this.returnBar, this.#sidebar(), this.thread.element);
    fill(parent, this.element);
    chats.addEventListener('list', () => this.#render());
    switchboard.addEventListener('active', () => this.#render());
    switchboard.addEventListener('finished', () => this.#render());
    this.#render();
  }

  /** @param {string|null} conversationId what the address says is open */
  async show(conversationId) {
    this.#pane(conversationId, this.thread.element);
    await this.thread.show(conversationId);
  }

  /** The calls that were, in place of a conversation. */
  async showCalls() {
    this.#pane(null, this.history.element);
    await Promise.all([this.thread.show(null), this.history.show()]);
  }

  /** @param {string|null} conversationId @param {HTMLElement} element beside the list, or instead of it on a narrow screen */
  #pane(conversationId, element) {
    const calls = element === this.history.element;
    this.open = conversationId;
    this.element.dataset.pane = conversationId || calls ? 'thread' : 'list';
    if (!element.isConnected) (calls ? this.thread : this.history).element.replaceWith(element);
    if (calls) this.callsLink.setAttribute('aria-current', 'page');
    else this.callsLink.removeAttribute('aria-current');
    this.#render();
  }

  /** What is wrong with the connection, or nothing. @param {string} text */
  tell(text) {
    this.status.hidden = !text;
    setText(this.status, text);
  }

  /** @param {string} text the time of the running call, empty without one */
  showReturn(text) {
    this.returnBar.hidden = !text;
    if (text) fill(this.returnBar, icon('phone'), text);
  }

  #sidebar() {
    const me = this.chats.api.user;
    return h('aside', { class: 'sidebar', 'aria-label': t('conversations') },
      h('header', { class: 'sidebar-head' },
        h('img', { src: '/static/icon.svg', alt: '', width: 32, height: 32 }), h('h1', {}, t('conversations')), this.callsLink,
        iconButton('plus', t('new_conversation'), this.actions.newConversation, { test: 'new-conversation', class: 'tinted' })),
      this.status, this.list, this.empty, this.offer,
      h('footer', { class: 'sidebar-foot' }, avatar(me?.display_name ?? '', this.ownId, 'small'),
        h('span', { class: 'grow ellipsis', test: 'own-name', title: me?.email ?? '' }, bdi(me?.display_name ?? '')), iconButton('settings', t('settings'), this.actions.settings, { test: 'settings' })));
  }

  #render() {
    this.empty.hidden = !this.chats.loaded || this.chats.list.length > 0;
    reconcile(this.list, this.chats.list, (one) => one.conversation_id, (one) => this.#item(one), (element, one) => this.#updateItem(element, one));
  }

  /** @param {Conversation} conversation @returns {HTMLLIElement} */
  #item(conversation) {
    const id = conversation.conversation_id;
    return h('li', { class: 'conversation' },
      h('a', { href: `#/c/${id}`, class: 'conversation-link', test: 'conversation-item', 'data-conversation': id },
        avatar(titleOf(conversation, this.ownId), faceOf(conversation, this.ownId)),
        h('span', { class: 'conversation-text' },
          h('span', { class: 'conversation-top' }, h('span', { class: 'conversation-title ellipsis', dir: 'auto' }), h('time', { class: 'muted' })),
          h('span', { class: 'conversation-bottom' }, h('span', { class: 'conversation-last ellipsis muted', dir: 'auto' }), h('span', { class: 'badge', hidden: true })))),
      button('live small', () => this.#join(id), { hidden: true, test: 'join-running' }));
  }

  /** @param {string} id */
  #join(id) {
    const conversation = this.chats.find(id);
    if (conversation) this.actions.join(conversation);
  }

  /** @param {HTMLElement} element @param {Conversation} conversation */
  #updateItem(element, conversation) {
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (element.querySelector(name));
    const { last_message: last, unread_count: unread, live_call: live } = conversation;
    const open = conversation.conversation_id === this.open;
    setText(part('.conversation-title'), titleOf(conversation, this.ownId));
    setText(part('time'), last ? shortTime(last.created_at) : '');
    setText(part('.conversation-last'), this.#preview(conversation));
    part('.badge').hidden = unread === 0;
    setText(part('.badge'), unread > 99 ? '99+' : String(unread));
    part('.badge').setAttribute('aria-label', t('unread', { n: unread }));
    element.classList.toggle('unread', unread > 0);
    element.classList.toggle('open', open);
    if (open) part('a').setAttribute('aria-current', 'true');
    else part('a').removeAttribute('aria-current');
    const here = live?.call_id === this.switchboard.active?.call.callId;
    const join = part('.live');
    join.hidden = !live || live.status !== 'active' || here;
    setText(join, live ? t('join_running', { n: inCall(live) }) : '');
  }

  /** @param {Conversation} conversation @returns {string} */
  #preview(conversation) {
    const last = conversation.last_message;
    if (!last) return t('no_messages');
    if (last.call) return callWords(last.call, this.ownId);
    const own = last.sender_id === this.ownId;
    return own ? t('you_said', { text: last.content }) : last.content;
  }
}
