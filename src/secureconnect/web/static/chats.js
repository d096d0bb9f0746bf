/**
 * Conversations and messages: loaded, kept up to date by the events socket, sent.
 *
 * Called by main.js (which feeds it events) and by the home views. Must not touch the document.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {CallRecord, Conversation, Message} from '/sdk/shapes.js'
 * @typedef {Message & {sending?: boolean, failed?: boolean}} ShownMessage  a message of ours that is not stored yet has its key as id
 * @typedef {{messages: ShownMessage[], older: string|null, loaded: boolean}} Thread  oldest first; `older` is the cursor of what came before
 */
import { newId } from '/sdk/api.js';

/** Events: `list` (conversations changed), `thread` ({conversation_id}: its messages changed). */
export class Chats extends EventTarget {
  /** @type {Conversation[]} newest message first */ list = [];
  loaded = false;
  /** @type {Map<string, Thread>} */ #threads = new Map();
  /** @type {string|null} the conversation that is open */ #open = null;
  /** @type {Set<string>} conversations whose members are being fetched */ #loading = new Set();

  /** @param {Api} api @param {() => boolean} visible whether the person can see the page */
  constructor(api, visible) {
    super();
    this.api = api;
    this.visible = visible;
  }

  async load() {
    this.list = await this.api.conversations();
    this.loaded = true;
    this.#changed('list');
    for (const id of this.#threads.keys()) if (id !== this.#open) this.#threads.delete(id);
    if (this.#open) await this.#loadThread(this.#open);
  }

  /** @param {string|null} id @returns {Conversation|null} */
  find(id) {
    return this.list.find((one) => one.conversation_id === id) ?? null;
  }

  /** @param {string} id @returns {Thread} */
  thread(id) {
    return this.#threads.get(id) ?? { messages: [], older: null, loaded: false };
  }

  /** @param {string|null} id the conversation that is on the screen */
  async open(id) {
    this.#open = id;
    if (!id) return;
    void this.#loadMembers(id);
    if (!this.#threads.get(id)?.loaded) await this.#loadThread(id);
    this.read();
  }

  /** The open conversation has been seen, if the page is. */
  read() {
    const conversation = this.find(this.#open);
    if (!conversation?.unread_count || !this.visible()) return;
    const last = this.thread(conversation.conversation_id).messages.findLast((one) => !one.sending);
    if (!last) return;
    this.#replace({ ...conversation, unread_count: 0 });
    void this.api.markRead(conversation.conversation_id, last.message_id).catch(() => {}); // it stays unread on the server, and is tried with the next message
  }

  /** @param {string} id */
  async loadOlder(id) {
    const thread = this.#threads.get(id);
    if (!thread?.older) return;
    const page = await this.api.messages(id, thread.older);
    thread.messages = [...page.items.reverse(), ...thread.messages];
    thread.older = page.next_cursor;
    this.#changed('thread', id);
  }

  /** @param {string} id @param {string} content */
  async send(id, content) {
    const message = /** @type {ShownMessage} */ ({
      message_id: newId(), conversation_id: id, sender_id: this.api.user?.user_id ?? '', kind: 'text', content,
      created_at: new Date().toISOString(), call: null,
    });
    this.#threads.get(id)?.messages.push(message);
    await this.#deliver(message);
  }

  /** @param {ShownMessage} message one that failed */
  retry(message) {
    return this.#deliver(message);
  }

  /** @param {Message} message @param {string} [replaces] id of the message shown while this one was on its way */
  received(message, replaces) {
    const thread = this.#threads.get(message.conversation_id);
    if (thread?.loaded) {
      /** @type {ShownMessage[]} */
      const messages = [...thread.messages.filter((one) => one.message_id !== message.message_id && one.message_id !== replaces), message];
      const unsent = (/** @type {ShownMessage} */ one) => Number(Boolean(one.sending || one.failed));
      thread.messages = messages.sort((a, b) => unsent(a) - unsent(b) || a.created_at.localeCompare(b.created_at));
      this.#changed('thread', message.conversation_id);
    }
    const conversation = this.find(message.conversation_id);
    if (!conversation || replaces) return;
    const fresh = message.sender_id !== this.api.user?.user_id && message.message_id !== conversation.last_message?.message_id;
    this.#replace({ ...conversation, last_message: message, unread_count: conversation.unread_count + (fresh ? 1 : 0) }, true);
    this.read();
  }

  /** @param {string} id @param {Conversation|null} conversation null when one is not in it any more */
  conversationChanged(id, conversation) {
    if (conversation) this.#update(conversation);
    else this.list = this.list.filter((one) => one.conversation_id !== id);
    this.#changed('list');
  }

  /** @param {Conversation} conversation as an event carries it: of a large one, the first members only */
  #update(conversation) {
    const id = conversation.conversation_id;
    const known = this.find(id);
    const isKnown = known && !known.members_truncated && known.participants.length === conversation.member_count;
    if (!conversation.members_truncated || !isKnown) this.#replace(conversation, !known);
    else this.#replace({ ...conversation, participants: known.participants, members_truncated: false });
    if (id === this.#open) void this.#loadMembers(id);
  }

  /** Fetch the members of a large conversation, unless all are known. @param {string} id */
  async #loadMembers(id) {
    if (!this.find(id)?.members_truncated || this.#loading.has(id)) return;
    this.#loading.add(id);
    try {
      const { participants, member_count } = await this.api.conversation(id);
      const now = this.find(id);
      if (now) this.#replace({ ...now, participants, member_count, members_truncated: false });
    } catch { /* the first members stay on the screen; the next event, or opening it again, asks once more */ } finally {
      this.#loading.delete(id);
    }
  }

  /** @param {CallRecord} call */
  callChanged(call) {
    const thread = this.#threads.get(call.conversation_id);
    const entry = thread?.messages.find((one) => one.call?.call_id === call.call_id);
    const { call_id, call_type, status, end_reason, caller_id, created_at, answered_at, ended_at, recorded } = call;
    const line = { call_id, call_type, status, end_reason, caller_id, created_at, answered_at, ended_at, recorded };
    if (entry?.call) {
      entry.call = line;
      this.#changed('thread', call.conversation_id);
    }
    const conversation = this.find(call.conversation_id);
    if (!conversation) return;
    const { last_message: last, live_call: before } = conversation;
    if (before?.call_id === call_id && before.version > call.version) return;
    const lives = status === 'ringing' || status === 'active';
    this.#replace({
      ...conversation, last_message: last?.call?.call_id === call_id ? { ...last, call: line } : last,
      live_call: lives ? call : before?.call_id === call_id ? null : before,
    });
  }

  /** @param {string} id */
  async #loadThread(id) {
    const page = await this.api.messages(id);
    const unsent = this.thread(id).messages.filter((one) => one.sending || one.failed);
    this.#threads.set(id, { messages: [...page.items.reverse(), ...unsent], older: page.next_cursor, loaded: true });
    this.#changed('thread', id);
  }

  /** @param {ShownMessage} message */
  async #deliver(message) {
    message.sending = true;
    message.failed = false;
    this.#changed('thread', message.conversation_id);
    try {
      this.received(await this.api.sendMessage(message.conversation_id, message.content, message.message_id), message.message_id);
    } catch {
      message.sending = false;
      message.failed = true;
      this.#changed('thread', message.conversation_id);
    }
  }

  /** @param {Conversation} conversation @param {boolean} [first] */
  #replace(conversation, first = false) {
    const id = conversation.conversation_id;
    if (first) this.list = [conversation, ...this.list.filter((one) => one.conversation_id !== id)];
    else this.list = this.list.map((one) => (one.conversation_id === id ? conversation : one));
    this.#changed('list');
  }

  /** @param {'list'|'thread'} type @param {string} [id] */
  #changed(type, id) {
    this.dispatchEvent(new CustomEvent(type, { detail: { conversation_id: id } }));
  }
}
