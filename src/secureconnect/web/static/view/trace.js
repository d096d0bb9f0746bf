/**
 * "Why did it not ring?": what became of a call's rings, person by person and device by device, with the times; and how well who talked
 * was connected.
 *
 * Called by the history and the thread.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {CalleeTrace, DeviceTrace, SessionQuality, Trace} from '/sdk/shapes.js'
 * @typedef {{api: Api, own: string[]}} TraceSource  `own`: the ids by which this browser is known as a device
 */
import { clock, number, seconds } from '../format.js';
import { deviceName, ending, entryWords, verdict } from '../trace-words.js';
import { problemText, t } from '../words.js';
import { openDialog } from './dialog.js';
import { avatar, bdi, fill, h } from './element.js';

/** @param {TraceSource} source @param {{call_id: string}} call */
export async function showTrace({ api, own }, call) {
  const body = h('div', { class: 'trace', 'aria-busy': 'true' }, h('p', { class: 'muted' }, t('one_moment')));
  openDialog({ title: t('trace'), style: 'wide', test: 'trace-dialog', content: [body] });
  try {
    const trace = await api.trace(call.call_id);
    fill(body, ...people(trace, own), ...connections(trace, api.user?.user_id));
  } catch (error) {
    fill(body, h('p', { class: 'field-error' }, problemText(error)));
  }
  body.setAttribute('aria-busy', 'false');
}

/** @param {Trace} trace @param {string[]} own */
function people(trace, own) {
  if (trace.callees.length === 0) return [h('p', { class: 'muted' }, t('trace_none'))];
  return trace.callees.map((callee) => h('section', { test: 'trace-callee', 'data-user': callee.user_id },
    h('header', { class: 'person' }, avatar(callee.display_name, callee.user_id, 'small'),
      h('div', { class: 'grow' }, h('h3', {}, bdi(callee.display_name)), h('p', { class: 'muted' }, ending(callee))),
      callee.rang_at && h('time', { class: 'muted', dateTime: callee.rang_at }, clock(callee.rang_at))),
    h('p', { class: 'notice', test: 'trace-verdict' }, verdict(callee, (device) => deviceName(device, own))),
    ...callee.devices.map((one) => device(one, callee, own))));
}

/** @param {DeviceTrace} one @param {CalleeTrace} callee @param {string[]} own */
function device(one, callee, own) {
  const began = Date.parse(callee.rang_at ?? callee.ended_at ?? '');
  const lines = one.events.map((entry) => h('li', { 'data-event': entry.event },
    h('time', { dateTime: entry.at, title: clock(entry.at) }, `+${seconds(Date.parse(entry.at) - began)}`), h('span', {}, entryWords(entry))));
  return h('div', { test: 'trace-device' },
    h('h4', {}, deviceName(one, own), one.device && h('span', { class: 'muted' }, ` ${one.device}`)), h('ol', { class: 'timeline' }, ...lines));
}

/** @param {Trace} trace @param {string|undefined} ownId */
function connections({ callees, sessions }, ownId) {
  if (!sessions.length) return [];
  const name = (/** @type {string} */ id) => (id === ownId ? t('you') : callees.find((one) => one.user_id === id)?.display_name ?? t('trace_caller'));
  return [h('section', { class: 'details', test: 'trace-quality' }, h('h3', {}, t('trace_quality')),
    h('dl', {}, ...sessions.flatMap((one) => [h('dt', {}, name(one.user_id)), h('dd', {}, figures(one))])))];
}

/** @param {SessionQuality} one */
function figures({ mos, worst_mos: worst, rtt_ms: rtt, loss }) {
  const say = (/** @type {number|null} */ value, /** @type {Intl.NumberFormatOptions} */ options) => (value === null ? '–' : number(value, options));
  const score = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return t('trace_session', { mos: say(mos, score), worst: say(worst, score), rtt: say(rtt, { maximumFractionDigits: 0 }),
    loss: say(loss, { style: 'percent', maximumFractionDigits: 1 }) });
}
