/**
 * The first screen: sign in, or make an account.
 *
 * Called by main.js.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {User} from '/sdk/shapes.js'
 */
import { ApiError } from '/sdk/api.js';
import { browserId } from '../preferences.js';
import { problemText, t } from '../words.js';
import { openDialog } from './dialog.js';
import { button, fill, h } from './element.js';
import { complain, field } from './field.js';

/** Which field a problem belongs to; any other stands above the button. */
const FIELD_OF = /** @type {Record<string, 'email'|'password'>} */ ({ wrong_credentials: 'password', email_taken: 'email' });

/** @param {Element} parent @param {Api} api @param {string|null} invitation of the link that was opened @returns {Promise<User>} once someone is signed in */
export function askToSignIn(parent, api, invitation) {
  return new Promise((resolve) => new SignIn(parent, api, invitation, resolve));
}

/** A demo link names another account than the one that is signed in. @param {User} present @param {string} email @returns {Promise<boolean>} whether to switch */
export function askToSwitch(present, email) {
  return new Promise((resolve) => {
    let answer = false;
    const choose = (/** @type {boolean} */ value) => () => { answer = value; dialog.close(); };
    const dialog = openDialog({
      title: t('switch_account'), test: 'switch-account', closed: () => resolve(answer),
      content: [h('p', {}, t('switch_account_hint', { name: present.display_name, email })),
        h('div', { class: 'buttons' }, button('', choose(true), { test: 'switch-yes' }, t('switch_yes', { email })), button('primary', choose(false), { test: 'switch-no' }, t('switch_no', { name: present.display_name })))],
    });
  });
}

/** The sign-in has ended elsewhere. @returns {Promise<void>} once the person has read it */
export function saySignedOut() {
  return new Promise((resolve) => {
    const again = button('primary wide', () => dialog.close(), { test: 'sign-in-again' }, t('sign_in'));
    const dialog = openDialog({ title: t('signed_out'), test: 'signed-out', content: [again], closed: resolve });
  });
}

class SignIn {
  registering = false;

  /** @param {Element} parent @param {Api} api @param {string|null} invitation @param {(user: User) => void} done */
  constructor(parent, api, invitation, done) {
    this.api = api;
    this.invitation = invitation;
    this.done = done;
    this.name = field('text', t('your_name'), { autocomplete: 'name', maxLength: 80, test: 'sign-in-name' });
    this.email = field('email', t('email'), { autocomplete: 'username', required: true, test: 'sign-in-email' });
    this.password = field('password', t('password'), { autocomplete: 'current-password', required: true, minLength: 8, maxLength: 256, test: 'sign-in-password' });
    this.problem = h('p', { class: 'field-error', role: 'alert' });
    this.submit = h('button', { class: 'button primary wide', test: 'sign-in-submit' });
    this.toggle = h('button', { type: 'button', class: 'link', test: 'register-toggle', on: { click: () => this.#switch(!this.registering) } });
    this.heading = h('h1');
    const form = h('form', { class: 'card sign-in', noValidate: true, on: { submit: (/** @type {Event} */ event) => this.#submit(event) } },
      h('img', { src: '/static/icon.svg', alt: '', width: 56, height: 56 }), this.heading, h('p', { class: 'muted' }, t('sign_in_hint')),
      this.name.label, this.email.label, this.password.label, this.problem, this.submit, this.toggle);
    fill(parent, h('main', { class: 'sign-in-page' }, form));
    this.toggle.hidden = true;
    this.closed = h('p', { class: 'muted', hidden: true, test: 'registration-closed' });
    form.append(this.closed);
    this.#switch(false);
    void this.#offer();
  }

  /** Offer to register where the server allows it. */
  async #offer() {
    const { registration } = await this.api.config().catch(() => ({ registration: 'open' }));
    const may = registration === 'open' || (registration === 'invited' && Boolean(this.invitation));
    this.toggle.hidden = !may;
    this.closed.hidden = may;
    this.closed.textContent = t(registration === 'invited' ? 'registration_invited' : 'registration_off');
    if (may && this.invitation) this.#switch(true);
  }

  /** @param {boolean} registering */
  #switch(registering) {
    this.registering = registering;
    this.heading.textContent = t(registering ? 'register' : 'sign_in');
    this.submit.textContent = t(registering ? 'register' : 'sign_in');
    this.toggle.textContent = t(registering ? 'have_account' : 'no_account');
    this.name.label.hidden = !registering;
    this.name.input.required = registering;
    this.password.input.autocomplete = registering ? 'new-password' : 'current-password';
    this.#clear();
    (registering ? this.name : this.email).input.focus();
  }

  /** @param {Event} event */
  async #submit(event) {
    event.preventDefault();
    this.#clear();
    const missing = [this.name, this.email, this.password].find(({ input, label }) => !label.hidden && !input.checkValidity());
    if (missing) return complain(missing, missing.input.validationMessage);
    this.submit.disabled = true;
    this.submit.textContent = t('one_moment');
    try {
      const [email, password] = [this.email.input.value.trim(), this.password.input.value];
      const user = this.registering ? await this.api.register(email, password, this.name.input.value.trim(), browserId(), this.invitation ?? undefined) : await this.api.login(email, password, browserId());
      return this.done(user);
    } catch (error) {
      const at = error instanceof ApiError ? FIELD_OF[error.code] : undefined;
      if (at) complain(this[at], problemText(error));
      else this.problem.textContent = problemText(error);
    }
    this.submit.disabled = false;
    this.submit.textContent = t(this.registering ? 'register' : 'sign_in');
    return undefined;
  }

  #clear() {
    this.problem.textContent = '';
    for (const one of [this.name, this.email, this.password]) complain(one, '');
  }
}
