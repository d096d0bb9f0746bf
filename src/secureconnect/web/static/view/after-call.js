/**
 * After a call: how long, with whom, how well, and the way back in.
 *
 * Called by main.js.
 *
 * @import {Call, OverReason} from '/sdk/call.js'
 * @import {Recordings} from '../recordings.js'
 */
import { duration, listOf } from '../format.js';
import { icon } from '../icons.js';
import { t } from '../words.js';
import { announce } from './announce.js';
import { callWords, inCall } from './call-entry.js';
import { openDialog } from './dialog.js';
import { avatar, button, h } from './element.js';
import { average, plot } from './plot.js';
import { recordingsOf } from './recording.js';
import { qualityKey } from './tile.js';

/** @param {Call} call @param {OverReason} reason @param {Recordings} recordings @param {() => void} again */
export function showAfterCall(call, reason, recordings, again) {
  const { record, history } = call;
  const ownId = call.api.user?.user_id ?? '';
  const goesOn = reason !== 'ended' && record.status === 'active' && inCall(record) > 2;
  const title = titleWords(call, reason, ownId);
  const others = record.participants.filter((one) => one.user_id !== ownId);
  const length = record.answered_at ? (record.ended_at ? Date.parse(record.ended_at) : Date.now()) - Date.parse(record.answered_at) : null;
  const names = listOf(others.filter((one) => one.joined_at || !record.answered_at).map((one) => one.display_name));
  const closing = new AbortController();
  announce(title);
  const dialog = openDialog({
    title, style: 'after-call', test: 'after-call', closed: () => closing.abort(),
    content: [
      h('div', { class: 'after-who' }, h('span', { class: 'faces' }, ...others.slice(0, 4).map((one) => avatar(one.display_name, one.user_id, 'large'))),
        h('p', {}, h('strong', {}, names)), h('p', { class: 'muted' }, [callKind(call), length === null ? null : duration(length)].filter(Boolean).join(' · '))),
      ...(history.length > 1 ? [h('p', { class: 'after-quality' }, t('quality_was'), ' ', h('strong', {}, t(qualityKey(average(history))))), plot(history)] : []),
      recordingsOf(recordings, call.callId, closing.signal),
      h('div', { class: 'buttons' },
        button('', () => dialog.close(), {}, t('close')),
        button('primary', () => { dialog.close(); again(); }, { test: 'call-again' },
          icon(record.call_type === 'video' ? 'camera' : 'phone'), t(goesOn ? 'rejoin' : 'call_again'))),
    ],
  });
  if (record.recorded) recordings.look(call.callId, false);
}

/** @param {Call} call @param {OverReason} reason @param {string} ownId */
function titleWords(call, reason, ownId) {
  const { record } = call;
  if (reason === 'gone') return t('call_gone');
  const [other, ...more] = record.participants.filter((one) => one.user_id !== ownId);
  const theirs = /** @type {const} */ ({ declined: 'they_declined', timeout: 'they_did_not_answer', busy: 'they_are_busy' });
  const why = record.end_reason;
  if (record.caller_id === ownId && !more.length && (why === 'declined' || why === 'timeout' || why === 'busy')) return t(theirs[why], { name: other.display_name });
  if (record.status === 'missed' || record.status === 'declined') return callWords(record, ownId);
  if (!record.answered_at) return t('call_cancelled');
  return t(reason === 'left' && record.status === 'active' && inCall(record) > 2 ? 'you_left' : 'call_ended');
}

/** @param {Call} call */
function callKind(call) {
  return t(call.record.call_type === 'video' ? 'video_call' : 'audio_call');
}
