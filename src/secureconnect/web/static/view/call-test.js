/**
 * The test before a call: camera, microphone, speaker, the way to the server and through each relay; and a report to send to whoever helps.
 *
 * Called by main.js (`#/test`), the green room and the settings.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {LocalMedia} from '/sdk/media.js'
 * @import {NetworkReport, RelayResult} from '/sdk/network-test.js'
 */
import { testNetwork } from '/sdk/network-test.js';
import { number } from '../format.js';
import { icon } from '../icons.js';
import { preferences } from '../preferences.js';
import { play } from '../tones.js';
import { problemText, t } from '../words.js';
import { announce } from './announce.js';
import { openDialog } from './dialog.js';
import { button, fill, h, setText, showTrack } from './element.js';
import { troubleSentence } from './green-room.js';
import { Pickers } from './pickers.js';
import { qualityKey } from './tile.js';

/** Loudness from which the microphone has heard something. */
const HEARD = 0.02;
const LISTEN_MS = 100;

/** @typedef {'waiting'|'good'|'bad'} Verdict */

/** @param {Api} api @param {LocalMedia} media opened here when it is not @param {() => void} [closed] */
export function showCallTest(api, media, closed) {
  new CallTest(api, media, closed);
}

class CallTest {
  /** @type {NetworkReport|null} */ #network = null;
  /** @type {string|null} */ #testing = null;
  /** @type {string} */ #problem = '';
  /** @type {boolean|null} the person's word for it */ #speakerHeard = null;
  #loudest = 0;

  /** @param {Api} api @param {LocalMedia} media @param {() => void} [closed] */
  constructor(api, media, closed) {
    this.api = api;
    this.media = media;
    this.stop = new AbortController();
    this.video = h('video', { muted: true, autoplay: true, playsInline: true, class: 'mirrored', 'aria-label': t('own_picture') });
    this.pickers = new Pickers(media);
    this.camera = line(t('camera'));
    this.microphone = line(t('microphone'));
    this.speaker = line(t('speaker'));
    this.heard = h('div', { class: 'test-answer' }, ...[true, false].map((heard) => (
      button('small', () => this.#answer(heard), { test: heard ? 'speaker-heard' : 'speaker-silent' }, t(heard ? 'test_heard' : 'test_not_heard')))));
    this.server = line(t('test_server'));
    this.relays = h('ul', { class: 'test-lines', test: 'test-relays', 'aria-live': 'polite' });
    this.again = button('small', () => void this.#run(), {}, t('test_again'));
    const copy = button('primary', () => void this.#copy(), { test: 'test-copy' }, t('test_copy'));
    this.save = h('a', { class: 'button', download: 'call-test.txt', test: 'test-save' }, t('test_save'));
    this.element = openDialog({
      title: t('call_test'), style: 'call-test', test: 'call-test', closed: () => this.#close(closed),
      content: [
        h('div', { class: 'green-room-columns' },
          h('div', { class: 'green-room-side' }, h('div', { class: 'preview' }, this.video), this.pickers.element),
          h('div', { class: 'green-room-side' },
            h('ul', { class: 'test-lines' }, this.camera, this.microphone, this.speaker), this.heard,
            h('h3', {}, t('test_network')), h('ul', { class: 'test-lines' }, this.server), this.relays,
            h('div', { class: 'test-answer' }, copy, this.save, this.again))),
      ],
    }).element;
    this.update = () => this.#update();
    media.addEventListener('change', this.update);
    this.timer = setInterval(() => this.#listen(), LISTEN_MS);
    if (!media.tracks.microphone && !media.tracks.camera && !media.opening) void media.open();
    play('test', preferences().speaker);
    this.#update();
    void this.#run();
  }

  /** @param {(() => void)|undefined} closed */
  #close(closed) {
    this.stop.abort();
    clearInterval(this.timer);
    URL.revokeObjectURL(this.save.href);
    this.media.removeEventListener('change', this.update);
    this.pickers.close();
    this.video.srcObject = null;
    closed?.();
  }

  async #run() {
    this.again.disabled = true;
    this.#network = null;
    this.#problem = '';
    try {
      this.#network = await testNetwork(this.api, (report, testing) => {
        this.#network = report;
        this.#testing = testing;
        this.#update();
      }, this.stop.signal);
    } catch (error) {
      this.#problem = problemText(error);
    }
    if (this.stop.signal.aborted) return;
    this.again.disabled = false;
    this.#testing = null;
    this.element.dataset.done = 'true';
    this.#update();
    announce(t('test_done'));
  }

  #listen() {
    const level = this.media.level();
    const heard = this.#loudest > HEARD;
    this.#loudest = Math.max(this.#loudest, level);
    if (!heard && this.#loudest > HEARD) this.#update();
  }

  /** @param {boolean} heard */
  #answer(heard) {
    this.#speakerHeard = heard;
    if (!heard) play('test', preferences().speaker);
    this.#update();
  }

  #update() {
    const { tracks, trouble, opening } = this.media;
    showTrack(this.video, tracks.camera);
    const settings = tracks.camera?.getSettings();
    say(this.camera, tracks.camera ? 'good' : opening ? 'waiting' : 'bad',
      tracks.camera ? t('test_camera_works', { width: settings?.width ?? '?', height: settings?.height ?? '?' }) : troubleSentence('camera', trouble.camera) ?? t(opening ? 'asking_devices' : 'camera_is_off'));
    const heard = this.#loudest > HEARD;
    say(this.microphone, heard ? 'good' : tracks.microphone || opening ? 'waiting' : 'bad',
      heard ? t('test_microphone_works') : troubleSentence('microphone', trouble.microphone) ?? t(tracks.microphone ? 'test_say_something' : 'asking_devices'));
    say(this.speaker, this.#speakerHeard === null ? 'waiting' : this.#speakerHeard ? 'good' : 'bad',
      t(this.#speakerHeard === null ? 'test_did_you_hear' : this.#speakerHeard ? 'test_speaker_works' : 'test_speaker_silent'));
    this.#updateNetwork();
    URL.revokeObjectURL(this.save.href);
    this.save.href = URL.createObjectURL(new Blob([this.report()], { type: 'text/plain' }));
  }

  #updateNetwork() {
    const server = this.#network?.server_ms;
    const reached = server !== null && server !== undefined;
    say(this.server, this.#problem ? 'bad' : reached ? 'good' : this.#network ? 'bad' : 'waiting',
      this.#problem || (reached ? t('test_round_trip', { n: number(server) }) : t(this.#network ? 'problem_offline' : 'test_trying')));
    const rows = (this.#network?.relays ?? []).map(relayLine);
    if (this.#testing) rows.push(relayTrying(this.#testing));
    if (this.#network && !this.#testing && rows.length === 0 && !this.again.disabled) rows.push(h('li', { class: 'muted' }, t('test_no_relay')));
    fill(this.relays, ...rows);
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.report());
      announce(t('test_copied'));
    } catch {
      this.save.click(); // no clipboard on this page: the file does
    }
  }

  /** What one sends to whoever helps: in English, without names, addresses or credentials. @returns {string} */
  report() {
    const { tracks, trouble } = this.media;
    const settings = tracks.camera?.getSettings();
    const relays = (this.#network?.relays ?? []).map((one) => `${one.transport.padEnd(10)} ${one.url}: ${one.ok
      ? `works, connected in ${one.connect_ms} ms, round trip ${one.rtt_ms} ms, jitter ${one.jitter_ms} ms, loss ${Math.round((one.loss ?? 0) * 100)} %` : `nothing passes (${one.error})`}`);
    return [
      'SecureConnect call test', `time       ${new Date().toISOString()}`, `server     ${this.api.origin}`, `browser    ${navigator.userAgent}`,
      `camera     ${tracks.camera ? `works, ${settings?.width}x${settings?.height}` : trouble.camera ?? 'off'}`,
      `microphone ${this.#loudest > HEARD ? 'works' : tracks.microphone ? 'open, nothing heard' : trouble.microphone ?? 'off'}`,
      `speaker    ${this.#speakerHeard === null ? 'not answered' : this.#speakerHeard ? 'heard' : 'not heard'}`,
      `request    ${this.#network?.server_ms ?? '-'} ms${this.#problem ? ` (${this.#problem})` : ''}`,
      ...(relays.length ? relays : ['relay      none configured or not tested']), '',
    ].join('\n');
  }
}

/** @param {string} name */
function line(name) {
  return h('li', { class: 'test-line', 'data-verdict': 'waiting' }, h('span', { class: 'test-mark' }), h('strong', {}, name), h('span', { class: 'test-words' }));
}

/** @param {HTMLElement} element @param {Verdict} verdict @param {string} words */
function say(element, verdict, words) {
  const mark = /** @type {HTMLElement} */ (element.firstElementChild);
  if (element.dataset.verdict !== verdict || !mark.firstChild) fill(mark, verdict === 'waiting' ? '…' : icon(verdict === 'good' ? 'check' : 'close'));
  element.dataset.verdict = verdict;
  setText(/** @type {Element} */ (element.lastElementChild), words);
}

/** @param {RelayResult} result */
function relayLine(result) {
  const element = line(t(`test_relay_${result.transport}`));
  element.title = result.url;
  element.dataset.transport = result.transport;
  const loss = number(result.loss ?? 0, { style: 'percent', maximumFractionDigits: 0 });
  say(element, result.ok ? 'good' : 'bad', result.ok
    ? t('test_relay_works', { n: number(result.rtt_ms ?? 0), loss, quality: t(qualityKey(result.level)) })
    : t('test_relay_blocked', { why: result.error ?? '' }));
  return element;
}

/** @param {string} url */
function relayTrying(url) {
  const element = line(url);
  say(element, 'waiting', t('test_trying'));
  return element;
}
