/**
 * One's devices: which ring, and signing one out from afar.
 *
 * Called by settings.js.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {Device} from '/sdk/shapes.js'
 * @import {ClosedTab} from '../closed-tab.js'
 */
import { shortTime } from '../format.js';
import { icon } from '../icons.js';
import { browserId } from '../preferences.js';
import { viaName } from '../trace-words.js';
import { problemText, t } from '../words.js';
import { toast } from './announce.js';
import { button, fill, h } from './element.js';

/** @param {ClosedTab} closedTab @param {AbortSignal} closed @returns {HTMLElement} */
export function ownDevices(closedTab, closed) {
  const list = h('ul', { class: 'people own-devices', test: 'own-devices' });
  const load = async () => {
    try {
      fill(list, ...rows(await closedTab.api.devices(), closedTab.api, load));
    } catch (error) {
      fill(list, h('li', { class: 'field-error' }, problemText(error)));
    }
  };
  closedTab.addEventListener('state', () => void load(), { signal: closed });
  void load();
  return list;
}

/** @param {Device[]} devices one entry for each provider of a device @param {Api} api @param {() => Promise<void>} changed */
function rows(devices, api, changed) {
  /** @type {Map<string, Device[]>} */
  const byId = new Map();
  for (const one of devices) byId.set(one.device_id, [...(byId.get(one.device_id) ?? []), one]);
  if (byId.size === 0) return [h('li', { class: 'muted hint' }, t('no_own_devices'))];
  return [...byId].map(([id, entries]) => {
    const [first] = entries;
    const here = id === browserId();
    const name = here ? t('this_browser') : t(first.platform ? `platform_${first.platform}` : 'platform_signed_in');
    const via = entries.flatMap((one) => (one.provider ? [viaName(one.provider)] : [])).join(', ') || t('does_not_ring');
    const remove = button('small', async () => {
      remove.disabled = true;
      await api.removeDevice(id).catch((error) => toast(problemText(error), 'bad'));
      await changed();
    }, { 'aria-label': t('remove_device', { name }), test: 'remove-device' }, t('sign_out'));
    return h('li', { class: 'person' }, h('span', { class: 'call-line-icon' }, icon(first.platform === 'android' || first.platform === 'ios' ? 'phone' : 'share')),
      h('span', { class: 'grow' }, h('strong', {}, name), h('span', { class: 'muted' }, t('last_seen', { via, time: shortTime(first.seen_at) }))), !here && remove);
  });
}
