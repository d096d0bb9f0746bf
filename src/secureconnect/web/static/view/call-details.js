/**
 * What can be known of a running call: how it flows, which way it goes, and who could listen.
 *
 * Called by main.js (the dialog) and stage.js (the words on the chip).
 *
 * @import {Call} from '/sdk/call.js'
 * @import {Topology} from '/sdk/shapes.js'
 * @import {Recordings} from '../recordings.js'
 */
import { nameIn } from '/sdk/roster.js';
import { number } from '../format.js';
import { icon } from '../icons.js';
import { t } from '../words.js';
import { openDialog } from './dialog.js';
import { fill, h } from './element.js';
import { plot } from './plot.js';
import { recordingsOf } from './recording.js';

const REFRESH_MS = 2_000;

/** What is encrypted to whom. @param {Topology} topology @returns {{short: string, long: string}} */
export function protectionWords(topology) {
  if (topology === 'sfu') return { short: t('protection_sfu'), long: t('protection_sfu_long') };
  return { short: t(topology === 'mesh' ? 'protection_mesh' : 'protection_direct'), long: t('protection_direct_long') };
}

/** @param {Call} call @param {Recordings} recordings */
export function showDetails(call, recordings) {
  const words = protectionWords(call.snapshot.topology);
  const rows = h('div', { class: 'details' });
  const graph = h('div', { class: 'plot-box' });
  const closing = new AbortController();
  const refresh = async () => {
    fill(graph, call.history.length > 1 && plot(call.history));
    fill(rows, ...(await call.statistics()).map((one) => person(call, one)));
  };
  const timer = setInterval(() => void refresh(), REFRESH_MS);
  openDialog({
    title: t('call_details'), style: 'wide', test: 'details-dialog',
    content: [h('p', { class: 'notice' }, icon('lock'), h('span', {}, h('strong', {}, words.short), ' ', words.long)),
      recordingsOf(recordings, call.callId, closing.signal), graph, rows],
    closed: () => {
      clearInterval(timer);
      closing.abort();
    },
  });
  recordings.look(call.callId, false);
  void refresh();
}

/** @param {Call} call @param {Awaited<ReturnType<Call['statistics']>>[number]} one */
function person(call, one) {
  const name = nameIn(call.record, one.user_id) ?? '';
  const { video } = one.inbound;
  const facts = [
    [t('fact_path'), `${one.path || '–'}${one.relayed ? ` (${t('fact_relayed')})` : ''}`],
    [t('fact_rtt'), one.rtt_ms === null ? '–' : `${number(one.rtt_ms)} ms`],
    [t('fact_loss'), number(one.loss, { style: 'percent', maximumFractionDigits: 1 })],
    [t('fact_rate'), `↓ ${number(one.in_kbps)} · ↑ ${number(one.out_kbps)} kbit/s`],
    [t('fact_picture'), video.width ? `${video.width}×${video.height}, ${video.fps}/s` : '–'],
    [t('fact_codecs'), one.codecs.join(', ') || '–'],
    [t('fact_code'), one.security_code ?? '–'],
  ];
  return h('section', {}, h('h3', {}, name), h('dl', {}, ...facts.flatMap(([term, fact]) => [h('dt', {}, term), h('dd', {}, fact)])),
    one.security_code && h('p', { class: 'muted' }, t('code_hint')));
}
