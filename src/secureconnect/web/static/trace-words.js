/**
 * What became of a ring, as a person would tell it.
 *
 * Called by view/trace.js. Pure: a trace in, sentences out.
 *
 * @import {CalleeTrace, DeviceTrace, TraceEntry} from '/sdk/shapes.js'
 * @import {Key} from './words.js'
 */
import { listOf, seconds } from './format.js';
import { has, t } from './words.js';

/** Why it rang or did not, in a sentence or two. @param {CalleeTrace} callee @param {(device: DeviceTrace) => string} nameOf @returns {string} */
export function verdict(callee, nameOf) {
  if (callee.outcome === 'busy') return t('trace_busy');
  const words = [howItWent(callee, nameOf)];
  if (callee.waiting) words.unshift(t('trace_as_second'));
  return words.join(' ');
}

/** @param {CalleeTrace} callee @param {(device: DeviceTrace) => string} nameOf */
function howItWent({ devices, rang_at: rangAt }, nameOf) {
  const began = Date.parse(rangAt ?? '');
  const shown = devices.filter((one) => one.shown_at).sort((a, b) => (a.shown_at ?? '').localeCompare(b.shown_at ?? ''));
  if (shown.length) return t('trace_shown', { time: seconds(Date.parse(shown[0].shown_at ?? '') - began), device: listOf(shown.map(nameOf)) });
  const reached = devices.filter((one) => one.reached_at).length;
  if (reached) return t('trace_not_shown', { n: reached, m: devices.length });
  return t(devices.some((one) => one.events.some((entry) => entry.push === 'ring')) ? 'trace_reached_none' : 'trace_no_device');
}

/** How it ended for one person. @param {CalleeTrace} callee @returns {string} */
export function ending({ outcome, rang_at: rangAt, ended_at: endedAt, ring_deadline: deadline }) {
  if (!outcome) return t('trace_still_rings');
  if (outcome === 'busy') return t('call_busy');
  const end = outcome === 'timeout' ? deadline ?? endedAt : endedAt;
  return t(`trace_${outcome}`, { time: seconds(Date.parse(end ?? '') - Date.parse(rangAt ?? '')) });
}

/** @param {DeviceTrace} device @param {string[]} own ids of this browser @returns {string} */
export function deviceName(device, own) {
  if (device.device_id && own.includes(device.device_id)) return t('this_browser');
  return device.platform ? t(`platform_${device.platform}`) : t('platform_unknown');
}

/** @param {TraceEntry} entry @returns {string} */
export function entryWords(entry) {
  const { event, reason, attempt } = entry;
  const values = { push: word('push', entry.push), via: viaName(entry.via), detail: entry.detail ? ` (${entry.detail})` : '', n: attempt ?? 1 };
  if (event === 'sent' && (attempt ?? 1) > 1) return t('entry_sent_again', values);
  const exact = `entry_${event}_${reason}`;
  if (reason && has(exact)) return t(exact, values);
  const plain = `entry_${event}`;
  return has(plain) ? t(plain, values) : [event, reason].filter(Boolean).join(': ');
}

/** @param {string|null} provider @returns {string} its name as people know it */
export function viaName(provider) {
  return word('via', provider);
}

/** @param {'push'|'via'} kind @param {string|null} name @returns {string} itself, when it is newer than these words */
function word(kind, name) {
  const key = `${kind}_${name}`;
  return has(key) ? t(key) : name ?? '';
}
