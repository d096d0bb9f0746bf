/**
 * What a push looks like as a notification. All notices of a call have its id as tag, so that what ends a ring replaces it.
 *
 * Called by sw.js. Pure: a push and a language in, a notification out.
 *
 * @import {Press} from './shared-store.js'
 * @typedef {object} Push  docs/push.md
 * @property {'call.incoming'|'call.answered_elsewhere'|'call.declined_elsewhere'|'call.missed'} type
 * @property {string} call_id @property {string} conversation_id @property {string} user_id whose device this is
 * @property {'audio'|'video'} call_type @property {string} caller_name @property {string} created_at RFC 3339 @property {string} expires_at
 * @property {'true'|'false'} [waiting] @property {'cancelled'|'timeout'} [reason] @property {string} [ring_token]
 * @typedef {{title: string, options: NotificationOptions & {actions?: {action: string, title: string}[], renotify?: boolean, timestamp?: number, vibrate?: number[]}}} Notice
 */
import { isolate } from './isolate.js';
import { say } from './words.js';

const ICON = '/static/icon-192.png';
const BADGE = '/static/badge-96.png';
/** Two long pulls and a rest, as a telephone. */
const VIBRATION = [600, 300, 600, 1_000, 600, 300, 600, 1_000, 600, 300, 600];

/** A call that rings. @param {Push} push @param {'en'|'vi'} language @returns {Notice} */
export function ringNotice(push, language) {
  const video = push.call_type === 'video';
  const kind = say(language, video ? 'incoming_video' : 'incoming_audio');
  return {
    title: say(language, 'calling', { name: push.caller_name || say(language, 'somebody') }),
    options: {
      ...common(push, language), body: push.waiting === 'true' ? `${kind} · ${say(language, 'notice_waiting')}` : kind,
      requireInteraction: true, renotify: true, vibrate: VIBRATION,
      actions: [{ action: 'answer', title: say(language, 'accept') }, { action: 'decline', title: say(language, 'decline') }],
    },
  };
}

/** A ring that another device has settled: words, no sound. @param {Push} push @param {'en'|'vi'} language @returns {Notice} */
export function settledNotice(push, language) {
  const how = push.type === 'call.declined_elsewhere' ? 'ring_declined_elsewhere' : 'ring_answered_elsewhere';
  return { title: say(language, how), options: { ...common(push, language), body: isolate(push.caller_name), silent: true } };
}

/** A call that was missed, with the way to call back. @param {Push} push @param {'en'|'vi'} language @returns {Notice} */
export function missedNotice(push, language) {
  const time = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' }).format(new Date(push.created_at));
  return {
    title: say(language, push.call_type === 'video' ? 'missed_video_call' : 'missed_audio_call'),
    options: {
      ...common(push, language), body: `${isolate(push.caller_name)} · ${time}`, silent: push.reason === 'timeout',
      actions: [{ action: 'call', title: say(language, 'call_back') }],
    },
  };
}

/** @param {Push} push @param {'en'|'vi'} language @returns {NotificationOptions} */
function common(push, language) {
  return {
    tag: push.call_id, lang: language, icon: ICON, badge: BADGE, data: push,
    .../** @type {object} */ ({ timestamp: Date.parse(push.created_at) }),
  };
}

/** What pressing a notice means for a page. @param {Push} push @param {string} action @param {number} now ms @returns {Press} */
export function pressOf(push, action, now) {
  const { user_id, call_id, conversation_id, call_type } = push;
  return { action: action === 'answer' || action === 'call' ? action : 'show', user_id, call_id, conversation_id, call_type, at: now };
}
