/**
 * Passwords: changing one, choosing one by a one-time link; and signing out everywhere.
 *
 * Called by main.js and by the settings.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {User} from '/sdk/shapes.js'
 * @import {Field} from './field.js'
 */
import { ApiError } from '/sdk/api.js';
import { browserId } from '../preferences.js';
import { problemText, t } from '../words.js';
import { toast } from './announce.js';
import { openDialog } from './dialog.js';
import { button, fill, h } from './element.js';
import { complain, field } from './field.js';

/** @param {Api} api */
export function showPasswordChange(api) {
  const current = field('password', t('current_password'), { autocomplete: 'current-password', required: true, maxLength: 256, test: 'current-password' });
  const chosen = newPassword();
  const form = passwordForm([current, ...chosen], async () => {
    await api.changePassword(current.input.value, chosen[0].input.value);
    dialog.close();
    toast(t('password_changed'));
  }, { wrong_password: current });
  const dialog = openDialog({ title: t('change_password'), test: 'password-dialog', content: [h('p', { class: 'muted' }, t('change_password_hint')), form] });
}

/** @param {() => void} signOut once the person is sure */
export function showSignOutEverywhere(signOut) {
  const sure = button('primary wide', () => { dialog.close(); signOut(); }, { test: 'sign-out-everywhere-sure' }, t('sign_out_everywhere'));
  const dialog = openDialog({ title: t('sign_out_everywhere'), test: 'sign-out-everywhere-dialog', content: [h('p', { class: 'muted' }, t('sign_out_everywhere_hint')), sure] });
}

/**
 * The page of a one-time link.
 * @param {Element} parent @param {Api} api @param {string} token of the link
 * @returns {Promise<User|null>} the user, signed in; null when the person wants to sign in otherwise
 */
export function askForNewPassword(parent, api, token) {
  return new Promise((resolve) => {
    const chosen = newPassword();
    const form = passwordForm(chosen, async () => resolve(await api.resetPassword(token, chosen[0].input.value, browserId())));
    const other = h('button', { type: 'button', class: 'link', test: 'reset-sign-in', on: { click: () => resolve(null) } }, t('sign_in'));
    fill(parent, h('main', { class: 'sign-in-page' }, h('div', { class: 'card sign-in', test: 'reset-page' },
      h('img', { src: '/static/icon.svg', alt: '', width: 56, height: 56 }), h('h1', {}, t('choose_password')), h('p', { class: 'muted' }, t('choose_password_hint')), form, other)));
    chosen[0].input.focus();
  });
}

/** The new password, twice. @returns {[Field, Field]} */
function newPassword() {
  const properties = { autocomplete: 'new-password', required: true, minLength: 8, maxLength: 256 };
  return [
    field('password', t('new_password'), { ...properties, test: 'new-password' }),
    field('password', t('new_password_again'), { ...properties, test: 'new-password-again' }),
  ];
}

/**
 * @param {Field[]} fields the last two are the new password, twice
 * @param {() => Promise<void>} save @param {Record<string, Field>} [fieldOf] which field a problem belongs to, by its code
 */
function passwordForm(fields, save, fieldOf = {}) {
  const problem = h('p', { class: 'field-error', role: 'alert', test: 'password-problem' });
  const submit = h('button', { class: 'button primary wide', test: 'save-password' }, t('save_password'));
  const [chosen, again] = fields.slice(-2);
  /** @param {Event} event */
  const submitted = async (event) => {
    event.preventDefault();
    problem.textContent = '';
    for (const each of fields) complain(each, '');
    const missing = fields.find(({ input }) => !input.checkValidity());
    if (missing) return complain(missing, missing.input.validationMessage);
    if (chosen.input.value !== again.input.value) return complain(again, t('passwords_differ'));
    submit.disabled = true;
    try {
      await save();
    } catch (error) {
      const at = error instanceof ApiError ? fieldOf[error.code] : undefined;
      if (at) complain(at, problemText(error));
      else problem.textContent = problemText(error);
    }
    submit.disabled = false;
    return undefined;
  };
  return h('form', { class: 'password-form', noValidate: true, on: { submit: (/** @type {Event} */ event) => void submitted(event) } }, ...fields.map(({ label }) => label), problem, submit);
}
