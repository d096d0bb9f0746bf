/**
 * The quality of a call over its time, as a small drawing.
 *
 * Called by call-details.js and after-call.js.
 */
import { duration } from '../format.js';
import { t } from '../words.js';
import { h } from './element.js';
import { qualityKey } from './tile.js';

const WIDTH = 320;
const HEIGHT = 64;
const SVG = 'http://www.w3.org/2000/svg';

/**
 * @param {{at: number, level: number}[]} history two samples or more
 * @returns {HTMLElement}
 */
export function plot(history) {
  const start = history[0].at;
  const span = Math.max(1, history[history.length - 1].at - start);
  const points = history.map(({ at, level }) => `${(((at - start) / span) * WIDTH).toFixed(1)} ${(HEIGHT - 3 - (level / 4) * (HEIGHT - 6)).toFixed(1)}`);
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('class', 'plot');
  svg.append(path('plot-area', `M0 ${HEIGHT}L${points.join('L')}L${WIDTH} ${HEIGHT}z`), path('plot-line', `M${points.join('L')}`));
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', `${t('quality_over_time')}: ${t(qualityKey(average(history)))}`);
  return h('figure', {}, svg,
    h('figcaption', { class: 'muted' }, h('span', {}, '0:00'), h('span', {}, t('quality_over_time')), h('span', {}, duration(span))));
}

/** @param {{level: number}[]} history @returns {number} */
export function average(history) {
  return history.reduce((sum, one) => sum + one.level, 0) / Math.max(1, history.length);
}

/** @param {string} style @param {string} data */
function path(style, data) {
  const element = document.createElementNS(SVG, 'path');
  element.setAttribute('class', style);
  element.setAttribute('d', data);
  return element;
}
