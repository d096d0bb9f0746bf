/**
 * Ringing while no tab is open, as people meet it: a quiet offer at home, a switch in the settings.
 *
 * Called by home.js and settings.js. Draws what ClosedTab says.
 *
 * @import {ClosedTab} from '../closed-tab.js'
 */
import { ApiError } from '/sdk/api.js';
import { icon } from '../icons.js';
import { prefer, preferences } from '../preferences.js';
import { problemText, t } from '../words.js';
import { toast } from './announce.js';
import { iconButton } from './dialog.js';
import { button, h, setText } from './element.js';

/** An offer to turn it on; gone once it is on, refused or put away. @param {ClosedTab} closedTab @returns {HTMLElement} */
export function closedTabOffer(closedTab) {
  const putAway = () => {
    prefer({ closedTabOffered: true });
    draw();
  };
  const element = h('div', { class: 'offer', role: 'group', 'aria-label': t('closed_tab_offer'), test: 'closed-tab-offer', hidden: true },
    h('span', { class: 'offer-icon' }, icon('bell')), h('strong', {}, t('closed_tab_offer')),
    iconButton('close', t('not_now'), putAway, { class: 'quiet', test: 'closed-tab-not-now' }), h('p', { class: 'muted' }, t('closed_tab_hint')),
    button('small', () => void turn(closedTab, true), { test: 'closed-tab-on' }, t('turn_on')));
  const draw = () => { element.hidden = closedTab.state !== 'off' || preferences().closedTabOffered; };
  closedTab.addEventListener('state', draw);
  draw();
  return element;
}

/** The switch, with why it cannot be turned where that is so. @param {ClosedTab} closedTab @param {AbortSignal} closed @returns {HTMLElement} */
export function closedTabSetting(closedTab, closed) {
  const box = h('input', { type: 'checkbox', test: 'closed-tab', on: { change: () => void turn(closedTab, box.checked).then(draw) } });
  const hint = h('p', { class: 'muted small-print' });
  const draw = () => {
    const { state } = closedTab;
    box.checked = state === 'on';
    box.disabled = state !== 'on' && state !== 'off';
    setText(hint, t(state === 'blocked' ? 'closed_tab_blocked' : state === 'unsupported' ? 'closed_tab_unsupported' : 'closed_tab_hint'));
  };
  closedTab.addEventListener('state', draw, { signal: closed });
  draw();
  return h('div', {}, h('label', { class: 'check' }, box, t('closed_tab')), hint);
}

/** @param {ClosedTab} closedTab @param {boolean} on */
async function turn(closedTab, on) {
  try {
    if (!on) return await closedTab.turnOff();
    await closedTab.turnOn();
    if (closedTab.state === 'on') toast(t('closed_tab_on'));
    if (closedTab.state === 'blocked') toast(t('closed_tab_blocked'), 'bad');
  } catch (error) {
    toast(error instanceof ApiError ? problemText(error) : t('closed_tab_failed'), 'bad');
  }
  return undefined;
}
