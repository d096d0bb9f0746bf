/**
 * One conversation: its messages and calls, a line to write in, and the two call buttons.
 *
 * Called by home.js.
 *
 * @import {Chats, ShownMessage} from '../chats.js'
 * @import {Recordings} from '../recordings.js'
 * @import {Switchboard} from '../switchboard.js'
 * @import {Conversation, Message} from '/sdk/shapes.js'
 * @import {HomeActions} from './home.js'
 * @typedef {{key: string, day?: string, message?: ShownMessage, first?: boolean}} Line
 */
import { clock, day, duration, faceOf, listOf, titleOf } from '../format.js';
import { icon } from '../icons.js';
import { isolate } from '../isolate.js';
import { t } from '../words.js';
import { callWords, inCall, wasMissed } from './call-entry.js';
import { iconButton } from './dialog.js';
import { avatar, bdi, button, fill, h, reconcile, setText } from './element.js';
import { recordingLines } from './recording.js';

/** Messages of one person within this time stand together. */
const GROUP_MS = 300_000;
const NEAR_EDGE_PX = 120;

export class ThreadView {
  /** @type {Conversation|null} */ conversation = null;
  /** @type {string|null} */ id = null;

  /** @param {Chats} chats @param {Switchboard} switchboard @param {Recordings} recordings @param {HomeActions} actions */
  constructor(chats, switchboard, recordings, actions) {
    this.chats = chats;
    this.switchboard = switchboard;
    this.recordings = recordings;
    this.actions = actions;
    this.ownId = chats.api.user?.user_id ?? '';
    this.head = h('header', { class: 'thread-head' });
    this.live = h('div', { class: 'live-banner', hidden: true });
    this.lines = h('ol', { class: 'messages' });
    this.scroller = h('div', { class: 'scroller', tabIndex: 0, 'aria-label': t('messages'), on: { scroll: () => this.#scrolled() } }, this.lines);
    this.hint = h('p', { class: 'thread-hint' });
    this.input = h('textarea', { rows: 1, maxLength: 8000, placeholder: t('write_message'), 'aria-label': t('write_message'), test: 'message-input',
      on: { input: () => this.#grow(), keydown: (/** @type {KeyboardEvent} */ event) => this.#key(event) } });
    this.composer = h('form', { class: 'composer', on: { submit: (/** @type {Event} */ event) => this.#send(event) } }, this.input,
      h('button', { class: 'icon-button send', 'aria-label': t('send'), title: t('send'), test: 'message-send' }, icon('send')));
    this.nothing = h('div', { class: 'empty' }, h('span', { class: 'empty-art' }, icon('chat')), h('h2', {}, t('pick_conversation')), h('p', {}, t('pick_conversation_hint')));
    this.element = h('main', { class: 'thread' }, this.nothing);
    /** Whether a call was recorded is asked once it is seen: a thread may hold many. */
    this.seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        const { call = '', over } = /** @type {HTMLElement} */ (target).dataset;
        if (isIntersecting) recordings.look(call, over === 'true');
      }
    });
    chats.addEventListener('list', () => this.#render());
    recordings.addEventListener('change', () => this.#renderLines());
    chats.addEventListener('thread', (event) => { if (/** @type {CustomEvent} */ (event).detail.conversation_id === this.id) this.#renderLines(); });
    for (const type of ['active', 'finished']) switchboard.addEventListener(type, () => this.#render());
  }

  /** @param {string|null} id */
  async show(id) {
    const changed = id !== this.id;
    this.id = id;
    this.#render();
    if (changed) {
      fill(this.lines);
      this.#renderLines();
    }
    await this.chats.open(id);
    if (changed && id && matchMedia('(pointer: fine)').matches && !document.querySelector('dialog[open]')) this.input.focus();
  }

  #render() {
    this.conversation = this.chats.find(this.id);
    if (!this.conversation) {
      fill(this.element, this.nothing);
      return;
    }
    if (!this.head.isConnected) fill(this.element, this.head, this.live, this.scroller, this.composer);
    this.#renderHead(this.conversation);
  }

  /** @param {Conversation} conversation */
  #renderHead(conversation) {
    const alone = conversation.participants.length < 2;
    const running = Boolean(conversation.live_call) || alone;
    const signature = JSON.stringify([conversation.conversation_id, conversation.title, conversation.participants, running]);
    this.#renderLive(conversation);
    if (this.head.dataset.signature === signature) return;
    this.head.dataset.signature = signature;
    const title = titleOf(conversation, this.ownId);
    const others = conversation.participants.filter((one) => one.user_id !== this.ownId).map((one) => one.display_name);
    const call = (/** @type {'audio'|'video'} */ type) => () => { if (this.conversation) this.actions.call(this.conversation, type); };
    fill(this.head,
      h('a', { class: 'icon-button back', href: '#/', 'aria-label': t('back'), title: t('back') }, icon('back')),
      avatar(title, faceOf(conversation, this.ownId)),
      h('div', { class: 'grow thread-title' }, h('h2', { class: 'ellipsis' }, bdi(title)),
        conversation.title || others.length > 1 ? h('p', { class: 'muted ellipsis' }, conversation.title ? listOf(others) : t('n_people', { n: others.length + 1 })) : null),
      iconButton('phone', t('audio_call_start'), call('audio'), { test: 'call-audio', disabled: running, class: 'tinted' }),
      iconButton('camera', t('video_call_start'), call('video'), { test: 'call-video', disabled: running, class: 'tinted' }));
  }

  /** @param {Conversation} conversation */
  #renderLive(conversation) {
    const live = conversation.live_call;
    this.live.hidden = !live;
    if (!live) return;
    const here = live.call_id === this.switchboard.active?.call.callId;
    const words = t(live.status === 'ringing' ? 'state_ringing' : 'call_running_with', { n: inCall(live) });
    const join = () => { if (this.conversation) this.actions.join(this.conversation); };
    fill(this.live, h('span', { class: 'pulse' }), h('span', { class: 'grow' }, words),
      here ? h('a', { class: 'button small', href: '#/call' }, t('return_to_call')) : button('small live', join, { test: 'join-banner' }, t('join')));
  }

  #renderLines() {
    const { messages, loaded } = this.chats.thread(this.id ?? '');
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR_EDGE_PX;
    const firstBefore = this.lines.querySelector('.message, .call-line')?.getAttribute('data-key');
    reconcile(this.lines, linesOf(messages), (line) => line.key, () => h('li'), (element, line) => this.#line(element, line));
    if (loaded && messages.length === 0) {
      this.hint.textContent = t('first_message_hint');
      this.lines.append(this.hint);
    }
    const grewAbove = firstBefore && firstBefore !== messages[0]?.message_id && messages.some((one) => one.message_id === firstBefore) && scrollTop < NEAR_EDGE_PX;
    if (grewAbove) this.scroller.scrollTop = scrollTop + this.scroller.scrollHeight - scrollHeight;
    else if (atEnd || !firstBefore) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** @param {HTMLElement} element @param {Line} line */
  #line(element, line) {
    const signature = JSON.stringify([line, this.recordings.of(line.message?.call?.call_id ?? '')]);
    if (element.dataset.signature === signature) return;
    element.dataset.signature = signature;
    if (line.day) {
      element.className = 'day';
      setText(element, day(line.day));
    } else if (line.message?.call) this.#callLine(element, line.message, line.message.call);
    else if (line.message) this.#messageLine(element, line.message, Boolean(line.first));
  }

  /** @param {HTMLElement} element @param {ShownMessage} message @param {boolean} first of its group */
  #messageLine(element, message, first) {
    const own = message.sender_id === this.ownId;
    const sender = this.conversation?.participants.find((one) => one.user_id === message.sender_id)?.display_name ?? t('somebody');
    const group = (this.conversation?.participants.length ?? 0) > 2;
    element.className = `message ${own ? 'own' : ''} ${first ? 'first' : ''}`;
    const state = message.failed
      ? h('button', { type: 'button', class: 'link bad', on: { click: () => void this.chats.retry(message) } }, t('not_sent_retry'))
      : h('time', { class: 'muted' }, message.sending ? t('sending') : clock(message.created_at));
    fill(element,
      group && !own && (first ? avatar(sender, message.sender_id, 'small') : h('span', { class: 'avatar-space' })),
      h('div', { class: 'bubble-box' }, first && group && !own && h('span', { class: 'sender' }, bdi(sender)),
        h('span', { class: 'sr-only' }, `${own ? t('you') : isolate(sender)}: `), h('div', { class: 'bubble', dir: 'auto', test: 'message' }, ...linked(message.content)), state));
  }

  /** @param {HTMLElement} element @param {ShownMessage} message @param {NonNullable<Message['call']>} call */
  #callLine(element, message, call) {
    const missed = wasMissed(call, this.ownId);
    const live = call.status === 'ringing' || call.status === 'active';
    const length = call.answered_at && call.ended_at ? Date.parse(call.ended_at) - Date.parse(call.answered_at) : null;
    const details = [clock(message.created_at), length === null ? null : duration(length)].filter(Boolean).join(' · ');
    const again = () => { if (this.conversation) this.actions.call(this.conversation, call.call_type); };
    element.className = `call-line ${missed ? 'missed' : ''}`;
    fill(element, h('span', { class: 'call-line-icon' }, icon(missed ? 'missed' : call.call_type === 'video' ? 'camera' : 'phone')),
      h('span', { class: 'grow' }, h('strong', {}, callWords(call, this.ownId)), h('span', { class: 'muted' }, details)),
      iconButton('info', t(call.status === 'missed' ? 'trace_why' : 'trace'), () => this.actions.trace(call), { test: 'call-trace', class: 'quiet' }),
      !live && button('small', again, {}, t(missed ? 'call_back' : 'call_again')), h('div', { class: 'recordings' }, ...recordingLines(this.recordings, call.call_id)));
    Object.assign(element.dataset, { call: call.call_id, over: String(!live) });
    if (call.recorded) this.seen.observe(element);
  }

  #scrolled() {
    if (this.scroller.scrollTop < NEAR_EDGE_PX && this.id) void this.chats.loadOlder(this.id).catch(() => {}); // tried again by the next scroll
  }

  #grow() {
    this.input.style.height = 'auto';
    this.input.style.height = `${Math.min(this.input.scrollHeight, 160)}px`;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) this.#send(event);
  }

  /** @param {Event} event */
  #send(event) {
    event.preventDefault();
    const content = this.input.value.trim();
    if (!content || !this.id) return;
    this.input.value = '';
    this.#grow();
    void this.chats.send(this.id, content);
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}

/** @param {ShownMessage[]} messages @returns {Line[]} with a line for each day, and where each person's group begins */
function linesOf(messages) {
  /** @type {Line[]} */
  const lines = [];
  /** @type {ShownMessage|null} */
  let before = null;
  for (const message of messages) {
    const newDay = !before || new Date(before.created_at).toDateString() !== new Date(message.created_at).toDateString();
    if (newDay) lines.push({ key: `day ${new Date(message.created_at).toDateString()}`, day: message.created_at });
    const apart = !before || before.call || before.sender_id !== message.sender_id || Date.parse(message.created_at) - Date.parse(before.created_at) > GROUP_MS;
    lines.push({ key: message.message_id, message, first: newDay || Boolean(apart) });
    before = message;
  }
  return lines;
}

/** Text with its web addresses as links. @param {string} text @returns {(Node|string)[]} */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"']+)/).map((part, index) => (index % 2 ? h('a', { href: part, target: '_blank', rel: 'noopener noreferrer' }, part) : part));
}
