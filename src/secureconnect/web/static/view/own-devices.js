/**
 * One's devices that ring, and taking one out.
 *
 * Called by settings.js.
 *
 * @import {Device} from '/sdk/shapes.js'
 * @import {ClosedTab} from '../closed-tab.js'
 */
import { shortTime } from '../format.js';
import { icon } from '../icons.js';
import { viaName } from '../trace-words.js';
import { problemText, t } from '../words.js';
import { toast } from './announce.js';
import { fill, h } from './element.js';

/** @param {ClosedTab} closedTab @param {AbortSignal} closed @returns {HTMLElement} */
export function ownDevices(closedTab, closed) {
  const list = h('ul', { class: 'people own-devices', test: 'own-devices' });
  const load = async () => {
    try {
      const [devices, here] = await Promise.all([closedTab.api.devices(), closedTab.deviceId()]);
      fill(list, ...rows(devices, here, closedTab, load));
    } catch (error) {
      fill(list, h('li', { class: 'field-error' }, problemText(error)));
    }
  };
  closedTab.addEventListener('state', () => void load(), { signal: closed });
  void load();
  return list;
}

/** @param {Device[]} devices one entry for each provider of a device @param {string|null} here @param {ClosedTab} closedTab @param {() => Promise<void>} changed */
function rows(devices, here, closedTab, changed) {
  /** @type {Map<string, Device[]>} */
  const byId = new Map();
  for (const one of devices) byId.set(one.device_id, [...(byId.get(one.device_id) ?? []), one]);
  if (byId.size === 0) return [h('li', { class: 'muted hint' }, t('no_own_devices'))];
  return [...byId].map(([id, [first, ...others]]) => {
    const name = id === here ? t('this_browser') : t(`platform_${first.platform}`);
    const via = [first, ...others].map((one) => viaName(one.provider)).join(', ');
    const remove = h('button', { type: 'button', class: 'button small', 'aria-label': t('remove_device', { name }), test: 'remove-device', on: { click: async () => {
      remove.disabled = true;
      await (id === here ? closedTab.turnOff() : closedTab.api.removeDevice(id)).catch((error) => toast(problemText(error), 'bad'));
      await changed();
    } } }, t('remove'));
    return h('li', { class: 'person' }, h('span', { class: 'call-line-icon' }, icon(first.platform === 'web' || first.platform === 'desktop' ? 'share' : 'phone')),
      h('span', { class: 'grow' }, h('strong', {}, name), h('span', { class: 'muted' }, t('last_seen', { via, time: shortTime(first.seen_at) }))), remove);
  });
}
