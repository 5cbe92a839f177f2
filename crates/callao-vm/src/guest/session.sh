#!/bin/sh
# Makes the user's sessions work: the home is theirs, services of theirs run without a login, and there is a password
# where sudo asks for one.

user=$LIMA_CIDATA_USER
home=$CALLAO_ROOT$LIMA_CIDATA_HOME

# Made by root, when something was mounted below it before there was a user.
if [ -d "$home" ] && [ "$(ls -ldn "$home" | awk '{print $3}')" != "$(id -u "$user")" ]; then
  chown "$user" "$home"
fi

# As Lima: a password that nobody knows beforehand, in a file that the user alone can read.
if [ -z "$LIMA_CIDATA_PASSWORDLESS_SUDO" ] && [ ! -e "$home/password" ]; then
  password=$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n')
  echo "$user:$password" | chpasswd || exit
  (umask 077 && echo "$password" >"$home/password") && chown "$user" "$home/password" || exit
fi

# Without systemd there are no services of users.
[ -d "$CALLAO_ROOT/run/systemd/system" ] && command -v loginctl >/dev/null || exit 0
loginctl enable-linger "$user" || exit

# Scripts of the user and rootless containerd talk to this; it is there within a second or two.
set -- "$LIMA_CIDATA_MNT"/provision.user.*
if [ -e "$1" ] || [ -n "$LIMA_CIDATA_CONTAINERD_USER" ]; then
  seconds=0
  until [ -e "/run/user/$LIMA_CIDATA_UID/systemd/private" ]; do
    [ "$seconds" -lt 90 ] || { echo "the user's systemd is not there after $seconds s"; exit 1; }
    sleep 1
    seconds=$((seconds + 1))
  done
fi
