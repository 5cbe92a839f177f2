#!/bin/sh
# Runs one script as the user, in a login shell: as-user.sh SCRIPT.
#
# The user cannot read the seed, and /run may not be a place to run things from, so the script is copied into the home.

user=$LIMA_CIDATA_USER
directory=$(mktemp -d "$CALLAO_ROOT$LIMA_CIDATA_HOME/.callao-boot.XXXXXX") || exit
trap 'rm -rf "$directory"' EXIT
cp "$1" "$directory/script" || exit
{
  cat "$LIMA_CIDATA_MNT/guest.env" "$LIMA_CIDATA_MNT/param.env" "$LIMA_CIDATA_MNT/lima.env"
  echo "LIMA_CIDATA_MNT='$LIMA_CIDATA_MNT'"
  echo "HOME=\$LIMA_CIDATA_HOME"
  [ ! -d "/run/user/$LIMA_CIDATA_UID" ] || echo "XDG_RUNTIME_DIR=/run/user/$LIMA_CIDATA_UID"
} >"$directory/environment"
cat >"$directory/run" <<'END'
set -a
. "${0%/*}/environment"
set +a
cd "$HOME"
exec "${0%/*}/script"
END
chmod 500 "$directory/script" && chown -R "$user" "$directory" || exit
if command -v sudo >/dev/null; then
  sudo -u "$user" -i sh "$directory/run"
else
  su - "$user" -c "sh '$directory/run'"
fi
