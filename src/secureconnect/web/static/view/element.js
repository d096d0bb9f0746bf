/**
 * Making and keeping elements: the few lines that a framework would be used for here.
 *
 * Called by the other view files. Text only ever becomes a text node: nothing here reads markup.
 */

/** @typedef {Node|string|null|undefined|false} Child */
/** @typedef {Record<string, any>} Properties  `on` holds listeners, `class` and names with a dash are attributes, the rest are properties */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Properties} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === 'on') for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name === 'test') element.dataset.testid = value;
    else if (name === 'class' || name === 'role' || name === 'for' || name === 'popover' || name.includes('-')) element.setAttribute(name, value);
    else Object.assign(element, { [name]: value });
  }
  fill(element, ...children);
  return element;
}

/** Text of a person, whose direction stays its own. @param {string} text */
export function bdi(text) {
  return h('bdi', {}, text);
}

/** A button with words. @param {string} style more of its class @param {() => void} clicked @param {Properties} properties @param {...Child} children */
export function button(style, clicked, properties, ...children) {
  return h('button', { type: 'button', ...properties, class: `button ${style}`, on: { click: clicked } }, ...children);
}

/** Put these in place of what is inside. @param {Element} element @param {...Child} children */
export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false).map((child) => /** @type {Node|string} */ (child)));
}

/** Set text only when it changed, so that screen readers and selections rest. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Make the children of `parent` match `items`: what stays keeps its element, and with it focus and video.
 * @template T
 * @template {HTMLElement} E
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => E} create
 * @param {(element: E, item: T) => void} [update]
 */
export function reconcile(parent, items, keyOf, create, update) {
  const known = new Map([...parent.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key, child]));
  /** @type {Element|null} */
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = /** @type {E|undefined} */ (known.get(key));
    known.delete(key);
    if (!element) {
      element = create(item);
      element.dataset.key = key;
    }
    update?.(element, item);
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  for (const element of known.values()) element.remove();
}

/** Play a track, or nothing. @param {HTMLMediaElement} element @param {MediaStreamTrack|null} track */
export function showTrack(element, track) {
  const shown = element.srcObject instanceof MediaStream ? element.srcObject.getTracks()[0] ?? null : null;
  if (shown !== track) element.srcObject = track ? new MediaStream([track]) : null;
}

/** A picture of somebody without one: initials on a colour that stays theirs. @param {string} name @param {string} id @param {string} [size] class */
export function avatar(name, id, size = '') {
  const hue = [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
  const element = h('span', { class: `avatar ${size}`, 'aria-hidden': 'true' }, initials(name));
  element.style.setProperty('--hue', String(hue));
  return element;
}

/** @param {string} name */
function initials(name) {
  const words = name.trim().split(/\s+/).filter((word) => /\p{L}|\p{N}/u.test(word));
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => [...word][0]).join('').toLocaleUpperCase() || '?';
}
