/**
 * The quality of a call over its time: one small curve each for how a voice sounds, bitrate, round trip and loss.
 *
 * Called by call-details.js and after-call.js.
 *
 * @import {QualityReport} from '/sdk/shapes.js'
 */
import { duration, number } from '../format.js';
import { drawing } from '../icons.js';
import { t } from '../words.js';
import { h } from './element.js';
import { qualityKey } from './tile.js';

const WIDTH = 320;
const HEIGHT = 40;
const INSET = 3;

/**
 * @typedef {QualityReport & {at: number}} Moment
 * @typedef {object} Curve
 * @property {string} words what it shows
 * @property {(moment: Moment) => number|null|undefined} of its value, or nothing where that is unknown
 * @property {(value: number) => string} say
 * @property {number} floor what the top of the drawing is at least, so that a quiet network looks quiet
 * @property {number} [bottom] the value at the lower edge, 0 when absent
 */

/** @returns {Curve[]} in the order in which they are read */
function curves() {
  return [
    { words: t('fact_mos'), of: (one) => one.mos, say: (value) => number(value, { maximumFractionDigits: 1 }), floor: 4.5, bottom: 1 },
    { words: t('fact_rate'), of: (one) => one.bitrate_kbps, say: (value) => `${number(Math.round(value))} kbit/s`, floor: 500 },
    { words: t('fact_rtt'), of: (one) => one.rtt_ms, say: (value) => `${number(Math.round(value))} ms`, floor: 200 },
    { words: t('fact_loss'), of: (one) => one.loss, say: (value) => number(value, { style: 'percent', maximumFractionDigits: 1 }), floor: 0.05 },
  ];
}

/**
 * @param {Moment[]} history two moments or more
 * @returns {HTMLElement}
 */
export function plot(history) {
  const start = history[0].at;
  const span = Math.max(1, history[history.length - 1].at - start);
  const drawn = curves().flatMap((curve) => draw(curve, history, start, span) ?? []);
  return h('figure', { class: 'plots', 'aria-label': `${t('quality_over_time')}: ${t(qualityKey(average(history)))}` }, ...drawn,
    h('figcaption', { class: 'muted' }, h('span', {}, '0:00'), h('span', {}, t('quality_over_time')), h('span', {}, duration(span))));
}

/** @param {{level: number}[]} history @returns {number} */
export function average(history) {
  return history.reduce((sum, one) => sum + one.level, 0) / Math.max(1, history.length);
}

/** @param {Curve} curve @param {Moment[]} history @param {number} start @param {number} span @returns {HTMLElement|null} null when nothing of it is known */
function draw(curve, history, start, span) {
  const bottom = curve.bottom ?? 0;
  const known = history.flatMap((one) => { const value = curve.of(one); return value === null || value === undefined ? [] : [{ at: one.at, value }]; });
  if (known.length < 2) return null;
  const top = Math.max(curve.floor, ...known.map((one) => one.value));
  const points = known.map(({ at, value }) => {
    const height = (value - bottom) / (top - bottom);
    return `${(((at - start) / span) * WIDTH).toFixed(1)} ${(HEIGHT - INSET - height * (HEIGHT - 2 * INSET)).toFixed(1)}`;
  });
  const mean = known.reduce((sum, one) => sum + one.value, 0) / known.length;
  return h('div', { class: 'plot-row' }, h('span', { class: 'plot-name' }, curve.words, h('strong', {}, `⌀ ${curve.say(mean)}`)), picture(points, known.length));
}

/** @param {string[]} points @param {number} count */
function picture(points, count) {
  const [first] = points[0].split(' ');
  const [last] = points[count - 1].split(' ');
  return drawing({ class: 'plot', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none' },
    { class: 'plot-area', d: `M${first} ${HEIGHT}L${points.join('L')}L${last} ${HEIGHT}z` }, { class: 'plot-line', d: `M${points.join('L')}` });
}
