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

/** @param {Element} parent @param {Api} api @returns {Promise<User>} once somebody is signed in */
export function askToSignIn(parent, api) {
  return new Promise((resolve) => new SignIn(parent, api, resolve));
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

  /** @param {Element} parent @param {Api} api @param {(user: User) => void} done */
  constructor(parent, api, done) {
    this.api = api;
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
    this.#switch(false);
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
      const user = this.registering ? await this.api.register(email, password, this.name.input.value.trim(), browserId()) : await this.api.login(email, password, browserId());
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
