#!/bin/sh
# Puts callao's lines into /etc/environment and /etc/hosts, between two marks, and leaves the others alone.

changed=

# block FILE LINES
block() {
  file=$CALLAO_ROOT$1
  new=$CALLAO_ROOT/run/callao/block.new
  # Nothing to say, and nothing was said before.
  [ -s "$2" ] || grep -q '^# callao begin$' "$file" 2>/dev/null || return 0
  {
    [ ! -e "$file" ] || sed '/^# callao begin$/,/^# callao end$/d' "$file"
    echo '# callao begin'
    cat "$2"
    echo '# callao end'
  } >"$new" || return
  # Written in place: the file may be a mount of its own, and keeps its mode.
  if ! cmp -s "$new" "$file"; then
    cat "$new" >"$file" || return
    changed="$changed $1"
  fi
  rm -f "$new"
}

mkdir -p "$CALLAO_ROOT/etc"
block /etc/environment "$LIMA_CIDATA_MNT/etc_environment" && block /etc/hosts "$LIMA_CIDATA_MNT/etc_hosts" || exit

# Who logged in before has the old variables, and with them everybody who shares the host's one connection, and the
# services of the user: they begin anew, as in Lima.
case $changed in
  *environment*)
    [ -d "$CALLAO_ROOT/run/systemd/system" ] && loginctl terminate-user "$LIMA_CIDATA_USER" || exit 0
    # session.sh is to find their next systemd, not the one that ends.
    seconds=0
    while [ -e "$CALLAO_ROOT/run/user/$LIMA_CIDATA_UID/systemd/private" ] && [ "$seconds" -lt 30 ]; do
      sleep 1
      seconds=$((seconds + 1))
    done
    ;;
esac
