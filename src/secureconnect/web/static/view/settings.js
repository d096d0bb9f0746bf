/**
 * Settings: language, look, devices, the account. And the device pickers alone, for a running call.
 *
 * Called by main.js.
 *
 * @import {LocalMedia} from '/sdk/media.js'
 * @import {User} from '/sdk/shapes.js'
 * @import {ClosedTab} from '../closed-tab.js'
 */
import { prefer, preferences } from '../preferences.js';
import { language, t } from '../words.js';
import { closedTabSetting } from './closed-tab.js';
import { openDialog } from './dialog.js';
import { avatar, bdi, button, h } from './element.js';
import { ownDevices } from './own-devices.js';
import { showSignOutEverywhere } from './password.js';
import { Pickers } from './pickers.js';

/**
 * @param {{me: User, closedTab: ClosedTab, media: LocalMedia, signOut: () => void, signOutEverywhere: () => void, changePassword: () => void, callTest: (media: LocalMedia) => void}} options the media is opened
 *   here for the level meter, and closed after
 */
export function showSettings({ me, closedTab, media, signOut, signOutEverywhere, changePassword, callTest }) {
  const pickers = new Pickers(media);
  const closing = new AbortController();
  const { theme, skipGreenRoom } = preferences();
  const words = choice(t('language'), [['en', 'English'], ['vi', 'Tiếng Việt']], language(), (value) => {
    prefer({ language: value });
    location.reload();
  }, 'language');
  const look = choice(t('theme'), [['', t('theme_system')], ['light', t('theme_light')], ['dark', t('theme_dark')]], theme ?? '', (value) => {
    prefer({ theme: value === 'light' || value === 'dark' ? value : null });
    applyTheme();
  }, 'theme');
  const room = h('input', { type: 'checkbox', checked: !skipGreenRoom, on: { change: () => prefer({ skipGreenRoom: !room.checked }) } });
  const test = button('small', () => void media.open(), {}, t('try_devices'));
  const whole = button('small', () => callTest(media), { test: 'open-call-test' }, t('call_test'));
  openDialog({
    title: t('settings'), test: 'settings-dialog',
    content: [
      h('div', { class: 'person' }, avatar(me.display_name, me.user_id), h('span', { class: 'grow' }, h('strong', {}, bdi(me.display_name)), h('span', { class: 'muted' }, me.email ?? '')),
        button('small', signOut, { test: 'sign-out' }, t('sign_out'))),
      h('div', { class: 'account-actions' }, me.email && button('small', changePassword, { test: 'change-password' }, t('change_password')),
        button('small', () => showSignOutEverywhere(signOutEverywhere), { test: 'sign-out-everywhere' }, t('sign_out_everywhere'))),
      words, look, closedTabSetting(closedTab, closing.signal),
      h('h3', {}, t('own_devices')), ownDevices(closedTab, closing.signal), h('h3', {}, t('devices')), pickers.element, h('div', { class: 'test-answer' }, test, whole), h('label', { class: 'check' }, room, t('show_green_room')),
    ],
    closed: () => {
      closing.abort();
      pickers.close();
      media.close();
    },
  });
}

/** @param {LocalMedia} media of the running call @param {() => void} speakerChosen */
export function showDevices(media, speakerChosen) {
  const pickers = new Pickers(media, speakerChosen);
  openDialog({ title: t('devices'), test: 'devices-dialog', content: [pickers.element], closed: () => pickers.close() });
}

/** Make the page light or dark as the person wants it. */
export function applyTheme() {
  document.documentElement.dataset.theme = preferences().theme ?? '';
}

/** @param {string} label @param {[string, string][]} options @param {string} now @param {(value: string) => void} chosen @param {string} test */
function choice(label, options, now, chosen, test) {
  const select = h('select', { test, on: { change: () => chosen(select.value) } }, ...options.map(([value, text]) => h('option', { value, selected: value === now }, text)));
  return h('label', { class: 'setting' }, h('span', {}, label), select);
}
