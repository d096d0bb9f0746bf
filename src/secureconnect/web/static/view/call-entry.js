/**
 * A call in words, as it stands in a thread, in the list of conversations and after it is over.
 *
 * Called by the home views and by the view after a call.
 *
 * @import {CallRecord, Message} from '/sdk/shapes.js'
 */
import { t } from '../words.js';

/** How many people are in it now. @param {CallRecord} call @returns {number} */
export function inCall(call) {
  return call.participants.filter((one) => one.state === 'joined' || one.state === 'reconnecting').length;
}

/** How far the ring has come: on its way, at a device, or beside another call. @param {CallRecord} call @param {Set<string>} heardBy users @returns {string} */
export function ringWords(call, heardBy) {
  const rung = call.participants.filter((one) => one.state === 'ringing');
  if (!rung.some((one) => heardBy.has(one.user_id))) return t('state_calling');
  return rung.length === 1 && rung[0].waiting ? t('ringing_busy', { name: rung[0].display_name }) : t('state_ringing');
}

/** @param {NonNullable<Message['call']>} call @param {string} ownId @returns {string} */
export function callWords(call, ownId) {
  const video = call.call_type === 'video';
  const own = call.caller_id === ownId;
  if (call.status === 'ringing' || call.status === 'active') return t(video ? 'video_call_running' : 'audio_call_running');
  if (call.status === 'ended') return t(video ? 'video_call' : 'audio_call');
  if (call.status === 'declined') return t(own ? 'call_declined' : 'you_declined');
  if (!own) return t(video ? 'missed_video_call' : 'missed_audio_call');
  if (call.end_reason === 'busy') return t('call_busy');
  return t(call.end_reason === 'cancelled' ? 'call_cancelled' : 'no_answer');
}

/** Whether somebody missed it, so that it wants attention. @param {NonNullable<Message['call']>} call @param {string} ownId */
export function wasMissed(call, ownId) {
  return call.status === 'missed' && call.caller_id !== ownId;
}
