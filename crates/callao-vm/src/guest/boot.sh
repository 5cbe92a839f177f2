#!/bin/sh
# Sets the guest up, at every boot, as root. Everything here can run again and again.
#
#   boot.sh early    the `boot` scripts alone, before the network
#   boot.sh          all that has not run yet
#
# What the host reads (below /run/callao; each file appears whole, by rename):
#   mounts      one line for each mount: `TAG ok`, `TAG sshfs` (the host mounts it), or `TAG failed REASON`
#   boot-done   the exit code of the first script that failed, or 0; in the second line the script
# The log is /var/log/callao-boot.log; a line for each step goes to the console as well.
#
# A script that fails stops no other one. CALLAO_ROOT stands before every path, for tests.

CALLAO_ROOT=${CALLAO_ROOT:-}
LIMA_CIDATA_MNT=$(cd "$(dirname "$0")" && pwd) || exit 1
HOME=${HOME:-/root}
export CALLAO_ROOT LIMA_CIDATA_MNT HOME
set -a
. "$LIMA_CIDATA_MNT/guest.env"
. "$LIMA_CIDATA_MNT/param.env"
. "$LIMA_CIDATA_MNT/lima.env"
. "$LIMA_CIDATA_MNT/callao.env"
set +a

run=$CALLAO_ROOT/run/callao
log=$CALLAO_ROOT/var/log/callao-boot.log
mkdir -p "$run" "$CALLAO_ROOT/var/log"
chmod 755 "$run"
first_code=0
first_name=

# One line for those who read the log, one for those who see the console only.
say() {
  printf '%s callao: %s\n' "$(date '+%Y-%m-%dT%H:%M:%S%z')" "$*"
  { printf 'callao: %s\n' "$*" >"$CALLAO_ROOT/dev/console"; } 2>/dev/null
}

# step NAME COMMAND...
step() {
  name=$1
  shift
  say "$name"
  "$@" </dev/null
  code=$?
  [ "$code" = 0 ] && return
  say "$name failed with exit code $code"
  if [ "$first_code" = 0 ]; then
    first_code=$code
    first_name=$name
  fi
}

# Our own parts are read by the shell: they need no permission to run.
part() {
  step "$1" /bin/sh "$LIMA_CIDATA_MNT/$1.sh"
}

# scripts MODE [RUNNER...]: every script of a mode, in the order of the template.
scripts() {
  mode=$1
  shift
  for script in "$LIMA_CIDATA_MNT/provision.$mode".*; do
    [ -e "$script" ] || continue
    step "${script##*/}" "$@" "$script"
  done
}

publish() {
  chmod 644 "$1.new" && mv -f "$1.new" "$1"
}

if [ "${1:-}" = early ] || [ ! -e "$run/early" ]; then
  # The log is that of this boot. The user may read it, and nobody else: scripts may print what is secret.
  (umask 077 && : >"$log")
fi
exec >>"$log" 2>&1

if [ "${1:-}" = early ]; then
  scripts boot
  printf '%s\n%s\n' "$first_code" "$first_name" >"$run/early"
  exit 0
fi

rm -f "$run/mounts" "$run/sshfs-wanted" "$run/boot-done"
# The group of the user is known only now: at the first boot there was no user when the early scripts ran.
chgrp "$(id -g "$LIMA_CIDATA_USER")" "$log" && chmod 640 "$log"

part blocks
if [ -e "$run/early" ]; then
  { read -r first_code && read -r first_name; } <"$run/early"
  rm -f "$run/early"
else
  scripts boot
fi
part session
part mounts
scripts dependency
part packages
# Whether the guest has sshfs may be known only now.
[ -e "$run/mounts" ] || step mounts /bin/sh "$LIMA_CIDATA_MNT/mounts.sh" final
part containerd
scripts data /bin/sh "$LIMA_CIDATA_MNT/data.sh"
scripts system
scripts user /bin/sh "$LIMA_CIDATA_MNT/as-user.sh"

say "done with exit code $first_code"
printf '%s\n%s\n' "$first_code" "$first_name" >"$run/boot-done.new"
publish "$run/boot-done"
exit "$first_code"
