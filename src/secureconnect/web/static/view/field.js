/**
 * A labelled input with room for what is wrong with it.
 *
 * Called by the other view files.
 */
import { h } from './element.js';

/** @typedef {{label: HTMLElement, input: HTMLInputElement, error: HTMLElement}} Field */

/** @param {string} type @param {string} label @param {import('./element.js').Properties} properties @returns {Field} */
export function field(type, label, properties) {
  const id = `field-${properties.test}`;
  const error = h('span', { class: 'field-error', id: `${id}-error`, role: 'alert' });
  const input = h('input', { type, id, 'aria-describedby': `${id}-error`, ...properties });
  return { input, error, label: h('div', { class: 'field' }, h('label', { for: id }, label), input, error) };
}

/** @param {Field} at @param {string} text empty for none */
export function complain(at, text) {
  at.error.textContent = text;
  at.input.setAttribute('aria-invalid', String(Boolean(text)));
  if (text) at.input.focus();
}
