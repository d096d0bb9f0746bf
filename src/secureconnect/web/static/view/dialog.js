/**
 * Dialogs and menus. The browser's own `<dialog>` keeps the focus inside, closes on Escape and gives the focus back.
 *
 * Called by the other view files.
 *
 * @import {Child} from './element.js'
 * @import {IconName} from '../icons.js'
 */
import { icon } from '../icons.js';
import { t } from '../words.js';
import { h } from './element.js';

/**
 * @param {object} options
 * @param {string} options.title
 * @param {Child[]} options.content
 * @param {string} [options.style] class
 * @param {string} [options.test] data-testid
 * @param {() => void} [options.closed]
 * @returns {{element: HTMLDialogElement, close: () => void}}
 */
export function openDialog({ title, content, style = '', test, closed }) {
  const heading = h('h2', { tabIndex: -1, autofocus: true }, title);
  const dismiss = iconButton('close', t('close'), () => element.close(), { class: 'quiet' });
  const element = h('dialog', { class: `dialog ${style}`, test, 'aria-label': title },
    h('div', { class: 'dialog-body' }, h('header', { class: 'dialog-head' }, heading, dismiss), ...content));
  element.addEventListener('close', () => {
    element.remove();
    closed?.();
  });
  // A press that starts and ends on the backdrop closes; one that ends there after selecting text does not.
  element.addEventListener('mousedown', (event) => { if (event.target === element) element.close(); });
  host().append(element);
  element.showModal();
  heading.focus();
  return { element, close: () => element.close() };
}

/** Dialogs over a call are dark like the call. @returns {Element} */
export function host() {
  return document.querySelector('.stage:not([hidden])') ?? document.body;
}

/**
 * A button that is an icon, with its words for those who do not see it and as a tooltip.
 * @param {IconName} name @param {string} label @param {(event: MouseEvent) => void} clicked
 * @param {import('./element.js').Properties} [properties]
 */
export function iconButton(name, label, clicked, properties = {}) {
  return h('button', { type: 'button', ...properties, class: `icon-button ${properties.class ?? ''}`, 'aria-label': label, title: label, on: { click: clicked } }, icon(name));
}

/** @param {HTMLElement} button @param {IconName} name @param {string} label */
export function relabel(button, name, label) {
  if (button.title === label && button.dataset.icon === name) return;
  button.dataset.icon = name;
  button.title = label;
  button.setAttribute('aria-label', label);
  button.replaceChildren(icon(name));
}

/**
 * A menu above its button; arrow keys walk it, Escape and a click elsewhere close it.
 * @param {HTMLElement} button
 * @param {() => {icon: IconName, label: string, act: () => void, test?: string, bad?: boolean}[]} entries asked for at each opening
 * @returns {HTMLElement} to be put beside the button
 */
export function menuOf(button, entries) {
  const menu = h('div', { class: 'menu', popover: 'auto', role: 'menu' });
  button.setAttribute('aria-haspopup', 'menu');
  button.addEventListener('click', () => {
    menu.replaceChildren(...entries().map((entry) => h('button', {
      type: 'button', role: 'menuitem', test: entry.test, class: `menu-item ${entry.bad ? 'bad' : ''}`,
      on: { click: () => { menu.hidePopover(); entry.act(); } },
    }, icon(entry.icon), entry.label)));
    menu.togglePopover();
    place(menu, button);
    /** @type {HTMLElement|null} */ (menu.firstElementChild)?.focus();
  });
  menu.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const items = /** @type {HTMLElement[]} */ ([...menu.children]);
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    items[(at + step + items.length) % items.length]?.focus();
  });
  return menu;
}

/** Above the button where there is room, and inside the window. @param {HTMLElement} menu @param {HTMLElement} button */
function place(menu, button) {
  const box = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const above = box.top - height - 8;
  menu.style.left = `${Math.max(8, Math.min(box.left + box.width / 2 - width / 2, innerWidth - width - 8))}px`;
  menu.style.top = `${above > 8 ? above : Math.min(box.bottom + 8, innerHeight - height - 8)}px`;
}
