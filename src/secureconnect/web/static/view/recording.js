/**
 * That a call is recorded, as people meet it: asked before it begins, said while it lasts and before one joins, and what came of it.
 *
 * Called by the views of the call, before it, and after it.
 *
 * @import {Call} from '/sdk/call.js'
 * @import {CallRecord, Recording} from '/sdk/shapes.js'
 * @import {Recordings} from '../recordings.js'
 */
import { nameIn } from '/sdk/roster.js';
import { clock, duration, shortTime } from '../format.js';
import { icon } from '../icons.js';
import { has, problemText, t } from '../words.js';
import { toast } from './announce.js';
import { openDialog } from './dialog.js';
import { button, fill, h } from './element.js';

/** Who records, and since when; empty when nobody does. @param {CallRecord} call @param {string|undefined} ownId @returns {string} */
export function recordingWords(call, ownId) {
  const { recording } = call;
  if (!recording) return '';
  const time = clock(recording.started_at);
  return recording.started_by === ownId ? t('recording_own', { time }) : t('recording_by', { name: starter(call), time });
}

/** What is said when it begins. @param {CallRecord} call @param {string|undefined} ownId @returns {string} */
export function startedWords(call, ownId) {
  return t('recording_started', { name: call.recording?.started_by === ownId ? t('you') : starter(call) });
}

/** @param {CallRecord} call */
function starter(call) {
  return nameIn(call, call.recording?.started_by ?? null) ?? t('somebody');
}

/** Others will see it: that is said before. @param {Call} call */
export function askToRecord(call) {
  const start = button('primary', async () => {
    start.disabled = true;
    await call.startRecording().catch((error) => toast(problemText(error), 'bad'));
    dialog.close();
  }, { test: 'record-start' }, t('record'));
  const dialog = openDialog({
    title: t('record_call'), test: 'record-dialog',
    content: [h('p', {}, t('record_consent')), h('div', { class: 'buttons' }, button('', () => dialog.close(), {}, t('not_now')), start)],
  });
}

/**
 * For who is about to join, as soon and as long as the call is recorded: many places ask for their consent by law.
 * @param {() => boolean} isRecorded @param {EventTarget} chats says `list` when it may have changed @param {AbortSignal} [signal] once it is not shown any more
 * @returns {HTMLElement}
 */
export function recordedNote(isRecorded, chats, signal) {
  const words = h('span');
  const note = h('p', { class: 'notice recorded', role: 'status', test: 'recorded-note' }, icon('record'), words);
  const draw = () => {
    note.hidden = !isRecorded();
    words.textContent = note.hidden ? '' : t('is_recorded');
  };
  chats.addEventListener('list', draw, { signal });
  draw();
  return note;
}

/** What came of a call's recordings, for as long as it is on the screen. @param {Recordings} recordings @param {string} callId @param {AbortSignal} signal */
export function recordingsOf(recordings, callId, signal) {
  const element = h('div', { class: 'recordings', 'aria-live': 'polite' });
  const draw = () => fill(element, ...recordingLines(recordings, callId));
  recordings.addEventListener('change', draw, { signal });
  draw();
  return element;
}

/** @param {Recordings} recordings @param {string} callId @returns {HTMLElement[]} one line each */
export function recordingLines(recordings, callId) {
  return recordings.of(callId).map((one) => {
    const key = `recording_${one.status}`;
    const words = has(key) ? t(key, { time: duration((one.seconds ?? 0) * 1000) }) : one.status;
    const kept = one.url && one.kept_until ? t('recording_kept', { date: shortTime(one.kept_until) }) : null;
    return h('p', { test: 'recording', title: one.failure }, one.url ? film(recordings, one, one.url, words) : words, kept);
  });
}

/** A link to the film; one that is too old is asked for anew when it is followed. @param {Recordings} recordings @param {Recording} one @param {string} url @param {string} words */
function film(recordings, one, url, words) {
  const follow = (/** @type {MouseEvent} */ event) => {
    if (Date.parse(one.url_expires_at ?? '') > Date.now()) return;
    event.preventDefault();
    void followAnew(recordings, one);
  };
  const properties = { class: 'link', href: addressOf(recordings, url), target: '_blank', rel: 'noopener', test: 'recording-link', on: { click: follow } };
  return h('a', properties, icon('play'), words);
}

/** @param {Recordings} recordings @param {Recording} one */
async function followAnew(recordings, one) {
  const tab = window.open('about:blank'); // at once: after a wait it would not be the person's click any more
  const url = await recordings.link(one).catch((error) => toast(problemText(error), 'bad'));
  if (!url || !tab) return tab?.close();
  tab.opener = null;
  return tab.location.replace(addressOf(recordings, url));
}

/** @param {Recordings} recordings @param {string} url on this server, or in its object store */
function addressOf({ api }, url) {
  return new URL(url, api.origin).href;
}
