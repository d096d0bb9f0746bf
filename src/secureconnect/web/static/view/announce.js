/**
 * Saying things: to the screen reader in a polite live region, and to everybody in a toast.
 *
 * Called by the other view files.
 */
import { h } from './element.js';

const TOAST_MS = 4_500;

/** @param {string} text */
export function announce(text) {
  const region = document.getElementById('announcements');
  if (!region) return;
  region.append(h('p', {}, text));
  while (region.childElementCount > 5) region.firstElementChild?.remove();
}

/** @param {string} text shown for a while, and announced @param {'plain'|'bad'} [mood] */
export function toast(text, mood = 'plain') {
  announce(text);
  const element = h('div', { class: `toast ${mood}`, 'aria-hidden': 'true' }, text);
  const parent = document.querySelector('.stage:not([hidden]) .toasts') ?? document.getElementById('toasts');
  if ([...(parent?.children ?? [])].some((child) => child.textContent === text)) return;
  parent?.append(element);
  setTimeout(() => element.remove(), TOAST_MS);
}
