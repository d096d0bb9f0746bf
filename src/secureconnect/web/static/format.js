/**
 * Times, lengths and names as the person's language writes them.
 *
 * Called by the view files.
 *
 * @import {Conversation} from '/sdk/shapes.js'
 */
import { isolate } from './isolate.js';
import { language, t } from './words.js';

/** @param {string} time RFC 3339 @returns {string} `14:02` */
export function clock(time) {
  return new Intl.DateTimeFormat(language(), { hour: '2-digit', minute: '2-digit' }).format(new Date(time));
}

/** @param {string} time RFC 3339 @returns {string} "Today", "Yesterday", or a date */
export function day(time) {
  const date = new Date(time);
  const days = Math.round((midnight(date) - midnight(new Date())) / 86_400_000);
  if (days > -2) {
    const word = new Intl.RelativeTimeFormat(language(), { numeric: 'auto' }).format(days, 'day');
    return word.charAt(0).toLocaleUpperCase(language()) + word.slice(1);
  }
  const year = date.getFullYear() === new Date().getFullYear() ? undefined : 'numeric';
  return new Intl.DateTimeFormat(language(), { weekday: 'long', day: 'numeric', month: 'long', year }).format(date);
}

/** @param {string} time @returns {string} the clock for today, otherwise a short date */
export function shortTime(time) {
  const date = new Date(time);
  if (midnight(date) === midnight(new Date())) return clock(time);
  return new Intl.DateTimeFormat(language(), { day: 'numeric', month: 'short' }).format(date);
}

/** @param {number} ms @returns {string} `2:05` or `1:02:05` */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, index) => (index ? String(part).padStart(2, '0') : String(part))).join(':');
}

/** A short span, exactly. @param {number} ms @returns {string} `0.04s`, `45s` */
export function seconds(ms) {
  const value = Math.max(0, ms) / 1000;
  return new Intl.NumberFormat(language(), { style: 'unit', unit: 'second', unitDisplay: 'narrow', maximumFractionDigits: value < 1 ? 2 : value < 10 ? 1 : 0 }).format(value);
}

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
export function number(value, options) {
  return new Intl.NumberFormat(language(), options).format(value);
}

/** @param {string[]} names @returns {string} "An, Bình and Chi" */
export function listOf(names) {
  return new Intl.ListFormat(language(), { type: 'conjunction' }).format(names.map(isolate));
}

/** What to call a conversation: its title, or the others in it. @param {Conversation} conversation @param {string} ownId @returns {string} */
export function titleOf(conversation, ownId) {
  if (conversation.title) return conversation.title;
  const names = conversation.participants.filter((one) => one.user_id !== ownId).map((one) => one.display_name);
  return names.length ? listOf(names) : t('only_you');
}

/** Whose colour a conversation has: the other person's, or its own when there are several. @param {Conversation} conversation @param {string} ownId @returns {string} */
export function faceOf(conversation, ownId) {
  const others = conversation.participants.filter((one) => one.user_id !== ownId);
  return others.length === 1 && !conversation.title ? others[0].user_id : conversation.conversation_id;
}

/** @param {Date} date */
function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
