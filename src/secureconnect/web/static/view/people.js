/**
 * Choosing people: for a new conversation, and to ring more of them into a call.
 *
 * Called by main.js.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {Call} from '/sdk/call.js'
 * @import {Conversation, Person} from '/sdk/shapes.js'
 */
import { icon } from '../icons.js';
import { problemText, t } from '../words.js';
import { toast } from './announce.js';
import { iconButton, openDialog } from './dialog.js';
import { avatar, bdi, button, fill, h } from './element.js';

/** A person stops typing for this long before the server is asked. */
const TYPING_MS = 180;

/** @param {Api} api @returns {Promise<Conversation|null>} null when it was closed */
export function newConversation(api) {
  return new Promise((resolve) => new NewConversation(api, resolve));
}

class NewConversation {
  /** @type {Map<string, Person>} */ chosen = new Map();
  /** @type {Conversation|null} */ made = null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ typing;
  asked = 0;

  /** @param {Api} api @param {(conversation: Conversation|null) => void} resolve */
  constructor(api, resolve) {
    this.api = api;
    this.search = h('input', { type: 'text', inputMode: 'search', placeholder: t('search_people'), 'aria-label': t('search_people'), autocomplete: 'off', test: 'user-search', on: { input: () => this.#typed() } });
    this.chips = h('div', { class: 'chips' });
    this.results = h('ul', { class: 'people', 'aria-live': 'polite' });
    this.name = h('input', { type: 'text', maxLength: 80, placeholder: t('group_name'), 'aria-label': t('group_name'), hidden: true, test: 'group-name' });
    this.button = button('primary wide', () => void this.#create(), { disabled: true, test: 'create-conversation' }, t('start_conversation'));
    this.dialog = openDialog({
      title: t('new_conversation'), test: 'new-conversation-dialog', closed: () => resolve(this.made),
      content: [h('div', { class: 'search-field' }, icon('search'), this.search), this.chips, this.results, this.name, this.button],
    });
    this.search.focus();
    this.#hint(t('search_people_hint'));
  }

  #typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => void this.#ask(), TYPING_MS);
  }

  async #ask() {
    const q = this.search.value.trim();
    const asked = ++this.asked;
    if (!q) return this.#hint(t('search_people_hint'));
    try {
      const users = await this.api.users(q);
      if (asked !== this.asked) return undefined;
      if (users.length === 0) return this.#hint(t('nobody_found', { q }));
      return fill(this.results, ...users.map((user) => h('li', {}, this.#option(user))));
    } catch (error) {
      return this.#hint(problemText(error));
    }
  }

  /** @param {Person} user */
  #option(user) {
    const chosen = this.chosen.has(user.user_id);
    return h('button', { type: 'button', class: 'person', 'aria-pressed': String(chosen), test: 'user-result', on: { click: () => this.#toggle(user) } },
      avatar(user.display_name, user.user_id), h('span', { class: 'grow' }, h('strong', {}, bdi(user.display_name))), chosen && icon('check'));
  }

  /** @param {Person} user */
  #toggle(user) {
    if (!this.chosen.delete(user.user_id)) this.chosen.set(user.user_id, user);
    fill(this.chips, ...[...this.chosen.values()].map((one) => h('span', { class: 'chip' }, bdi(one.display_name),
      iconButton('close', t('remove_person', { name: one.display_name }), () => this.#toggle(one), { class: 'tiny' }))));
    this.name.hidden = this.chosen.size < 2;
    this.button.disabled = this.chosen.size === 0;
    this.search.focus();
    void this.#ask();
  }

  async #create() {
    this.button.disabled = true;
    try {
      this.made = await this.api.createConversation([...this.chosen.keys()], this.name.hidden ? undefined : this.name.value.trim());
      this.dialog.close();
    } catch (error) {
      toast(problemText(error), 'bad');
      this.button.disabled = false;
    }
  }

  /** @param {string} text */
  #hint(text) {
    fill(this.results, h('li', { class: 'muted hint' }, text));
  }
}

/** Ring members of the conversation who are not in the call. @param {Call} call @param {Conversation} conversation */
export function inviteToCall(call, conversation) {
  const states = new Map(call.record.participants.map((one) => [one.user_id, one.state]));
  const rows = conversation.participants.filter((one) => one.user_id !== call.api.user?.user_id).map((one) => {
    const state = states.get(one.user_id);
    const there = state === 'joined' || state === 'reconnecting' || state === 'ringing';
    const ring = button('small', () => void invite(call, one.user_id, ring), {}, icon('phone'), t('ring'));
    return h('li', { class: 'person' }, avatar(one.display_name, one.user_id), h('span', { class: 'grow' }, h('strong', {}, bdi(one.display_name))),
      there ? h('span', { class: 'muted' }, t(state === 'ringing' ? 'state_ringing' : 'is_in_call')) : ring);
  });
  openDialog({ title: t('invite'), test: 'invite-dialog', content: [h('ul', { class: 'people' }, ...rows)] });
}

/** @param {Call} call @param {string} userId @param {HTMLButtonElement} ring */
async function invite(call, userId, ring) {
  ring.disabled = true;
  try {
    await call.invite([userId]);
    ring.replaceWith(h('span', { class: 'muted' }, t('state_ringing')));
  } catch (error) {
    ring.disabled = false;
    toast(problemText(error), 'bad');
  }
}
