/** The words of accounts: passwords, and signing out everywhere. */

/** @satisfies {Record<string, readonly [en: string, vi: string]>} */
export const ACCOUNTS = {
  change_password: ['Change password', 'Đổi mật khẩu'],
  change_password_hint: ['You stay signed in here. All other devices are signed out.', 'Bạn vẫn đăng nhập ở đây. Mọi thiết bị khác sẽ bị đăng xuất.'],
  current_password: ['Current password', 'Mật khẩu hiện tại'],
  new_password: ['New password', 'Mật khẩu mới'],
  new_password_again: ['New password again', 'Nhập lại mật khẩu mới'],
  passwords_differ: ['The two passwords are not the same.', 'Hai mật khẩu không giống nhau.'],
  password_changed: ['The password is changed. Other devices are signed out.', 'Đã đổi mật khẩu. Các thiết bị khác đã bị đăng xuất.'],
  choose_password: ['Choose a new password', 'Chọn mật khẩu mới'],
  choose_password_hint: ['All devices are signed out. You are then signed in here.', 'Mọi thiết bị sẽ bị đăng xuất. Sau đó bạn được đăng nhập ở đây.'],
  save_password: ['Save password', 'Lưu mật khẩu'],
  sign_out_everywhere: ['Sign out everywhere', 'Đăng xuất mọi nơi'],
  sign_out_everywhere_hint: ['All your devices are signed out within a second, this one too. Your calls end.', 'Mọi thiết bị của bạn sẽ bị đăng xuất trong một giây, kể cả thiết bị này. Các cuộc gọi của bạn sẽ kết thúc.'],
  problem_wrong_password: ['The current password is not right.', 'Mật khẩu hiện tại không đúng.'],
  problem_no_password: ['This account has no password here. Change it where you sign in.', 'Tài khoản này không có mật khẩu ở đây. Hãy đổi ở nơi bạn đăng nhập.'],
  problem_link_expired: ['This link has expired or was used. Ask for another.', 'Liên kết này đã hết hạn hoặc đã được dùng. Hãy yêu cầu liên kết khác.'],
  problem_account_disabled: ['This account is disabled. Ask the operator of this server.', 'Tài khoản này đã bị khóa. Hãy liên hệ người vận hành máy chủ này.'],
};
