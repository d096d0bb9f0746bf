/**
 * The icons: paths on a grid of 24, drawn with one stroke width.
 *
 * Called by the view files. Icons are decoration: the button that carries one has the words.
 */

const PATHS = {
  microphone: 'M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3z M5.5 11.5a6.5 6.5 0 0 0 13 0 M12 18v3',
  'microphone-off': 'M9 9v3a3 3 0 0 0 4.8 2.4 M15 11V6a3 3 0 0 0-5.8-1 M5.5 11.5a6.5 6.5 0 0 0 10.2 5.3 M18.3 13.5a6.5 6.5 0 0 0 .2-2 M12 18v3 M4 3l16 18',
  camera: 'M4.5 6.5h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2z M15.5 11l6-3.5v9l-6-3.5',
  'camera-off': 'M10 6.5h3.5a2 2 0 0 1 2 2v3l6-4v9l-2.5-1.5 M15.5 15.8a2 2 0 0 1-2 1.7h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2h1 M3 3l18 18',
  record: 'M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
  play: 'M8 5v14l11-7z',
  share: 'M4.5 4.5h15a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2v-9a2 2 0 0 1 2-2z M8 21h8 M12 14V8 M9.5 10.2 12 7.8l2.5 2.4',
  hand: 'M8 13V5.5a1.5 1.5 0 0 1 3 0V11 M11 10.5v-6a1.5 1.5 0 0 1 3 0V11 M14 11V6a1.5 1.5 0 0 1 3 0v8.5a6.5 6.5 0 0 1-6.5 6.5c-2.5 0-3.9-1-5.3-3.2L2.8 13.6a1.5 1.5 0 0 1 2.5-1.6L8 15',
  smile: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z M8.5 14.5c.8 1.3 2 2 3.5 2s2.7-.7 3.5-2 M9 9.5v.2 M15 9.5v.2',
  grid: 'M4 4h7v7H4z M13 4h7v7h-7z M4 13h7v7H4z M13 13h7v7h-7z',
  speaker: 'M3 4h18v11H3z M5 19h3 M10.5 19h3 M16 19h3',
  alone: 'M3 5h18v14H3z M12 9a2 2 0 1 0 0 4 2 2 0 0 0 0-4z M8 17c.6-1.6 2-2.5 4-2.5s3.4.9 4 2.5',
  pin: 'M9 4h6 M10 4v5.5L7.5 13v1.5h9V13L14 9.5V4 M12 14.5V20',
  forward: 'M9.5 5 16 12l-6.5 7',
  more: 'M5 11.2a.8.8 0 1 0 0 1.6.8.8 0 0 0 0-1.6z M12 11.2a.8.8 0 1 0 0 1.6.8.8 0 0 0 0-1.6z M19 11.2a.8.8 0 1 0 0 1.6.8.8 0 0 0 0-1.6z',
  phone: 'M5 4h4l2 5-2.5 1.8a12 12 0 0 0 5 5L15.5 13l5 2v4a2 2 0 0 1-2.2 2A16.5 16.5 0 0 1 3 6.2 2 2 0 0 1 5 4z',
  'phone-down': 'M3 14.5c0-1 .4-1.9 1.1-2.5a12 12 0 0 1 15.8 0c.7.6 1.1 1.5 1.1 2.5v1.3a1.2 1.2 0 0 1-1.5 1.2l-3-.8a1.2 1.2 0 0 1-.9-1.2v-1.7a13 13 0 0 0-7.2 0V15a1.2 1.2 0 0 1-.9 1.2l-3 .8A1.2 1.2 0 0 1 3 15.8z',
  plus: 'M12 5v14 M5 12h14',
  send: 'M4 12 20 4l-5 16-3.5-6.5z M11.5 13.5 20 4',
  back: 'M14.5 5 8 12l6.5 7',
  close: 'M6 6l12 12 M18 6 6 18',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14z M16 16l4.5 4.5',
  lock: 'M6 10.5h12a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-8a1 1 0 0 1 1-1z M8 10.5V8a4 4 0 0 1 8 0v2.5',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z M2.5 20a6.5 6.5 0 0 1 13 0 M15.5 4.3a3.5 3.5 0 0 1 0 6.4 M17.5 14a6.5 6.5 0 0 1 4 6',
  'person-add': 'M10 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z M3.5 20a6.5 6.5 0 0 1 13 0 M19 8v6 M16 11h6',
  settings: 'M4 7h9 M17 7h3 M15 5v4 M4 17h3 M11 17h9 M9 15v4',
  chart: 'M4 20V4 M4 20h16 M8 16l3.5-5 3 2.5L20 7',
  chat: 'M4 8a3 3 0 0 1 3-3h10a3 3 0 0 1 3 3v6a3 3 0 0 1-3 3h-5l-4.5 3.5V17H7a3 3 0 0 1-3-3z',
  check: 'M5 12.5l4.5 4.5L19 7',
  volume: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z M15.5 9a4.2 4.2 0 0 1 0 6 M18 6.5a8 8 0 0 1 0 11',
  info: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z M12 11v5.5 M12 7.6v.2',
  history: 'M4 12a8 8 0 1 1 2.6 5.9 M4 18.5v-4h4 M12 8v4.5l3 1.8',
  outgoing: 'M7 17 17 7 M9 7h8v8',
  incoming: 'M17 7 7 17 M15 17H7V9',
  bell: 'M6 10a6 6 0 0 1 12 0c0 5 2 6.5 2 6.5H4S6 15 6 10z M10 20h4',
  missed: 'M4 6l8 8 8-8 M4 12V6h6',
};

/** @typedef {keyof typeof PATHS} IconName */

/** @param {IconName} name @returns {SVGElement} */
export function icon(name) {
  return drawing({ class: 'icon', viewBox: '0 0 24 24' }, { d: PATHS[name] });
}

/** A drawing that says nothing to those who do not see it: words stand beside it. @param {Record<string, string>} attributes @param {...Record<string, string>} paths their attributes */
export function drawing(attributes, ...paths) {
  const element = make('svg', { ...attributes, 'aria-hidden': 'true' });
  element.append(...paths.map((path) => make('path', path)));
  return element;
}

/** @param {'svg'|'path'} tag @param {Record<string, string>} attributes */
function make(tag, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
