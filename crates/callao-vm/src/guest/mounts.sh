#!/bin/sh
# Mounts what the host offers, and tells the host what came of it. `final`: nothing will be installed any more.
#
# A mount that fails is no failure of the boot: the host knows, and says so. Where sshfs would help and is not here, the
# host is not told before packages.sh had its turn.

run=$CALLAO_ROOT/run/callao
sshfs_wanted=

# Makes a mount point. What is new below the user's home is the user's.
make_dir() (
  [ -d "$1" ] && exit
  make_dir "$(dirname "$1")" && mkdir "$1" || exit
  case $1/ in
    "$CALLAO_ROOT$LIMA_CIDATA_HOME"/*) chown "$LIMA_CIDATA_USER" "$1" ;;
  esac
)

# The result of one mount, as the host reads it.
result() {
  tag=$1 type=$2 options=$3 point=$CALLAO_ROOT$4
  if [ "$type" = sshfs ]; then
    command -v sshfs >/dev/null && echo "$tag sshfs" || echo "$tag failed sshfs is not installed in the guest"
    return
  fi
  # From an earlier run in this boot.
  if grep -q "^$tag [^ ]* $type " "$CALLAO_ROOT/proc/mounts"; then
    echo "$tag ok"
    return
  fi
  modules=$type
  [ "$type" != 9p ] || modules='9pnet_virtio 9p'
  for module in $modules; do modprobe "$module" 2>/dev/null; done
  if ! grep -qw "$type" "$CALLAO_ROOT/proc/filesystems"; then
    echo "$tag failed the guest's kernel has no $type"
  elif error=$(make_dir "$point" 2>&1 && mount -t "$type" -o "$options" "$tag" "$point" 2>&1); then
    echo "$tag ok"
  else
    echo "$tag failed $(echo "$error" | tr -s '\n\t ' ' ' | cut -c1-300)"
  fi
}

number=0
while [ "$number" -lt "$CALLAO_MOUNTS" ]; do
  for name in TAG TYPE OPTIONS POINT SSHFS; do eval "$name=\$CALLAO_MOUNT_${number}_$name"; done
  line=$(result "$TAG" "$TYPE" "$OPTIONS" "$POINT")
  case $line in
    "$TAG failed"*) [ -z "$SSHFS" ] || command -v sshfs >/dev/null || sshfs_wanted=1 ;;
  esac
  echo "$line"
  number=$((number + 1))
done >"$run/mounts.new"
cat "$run/mounts.new"
if [ -n "$sshfs_wanted" ] && [ "${1:-}" != final ]; then
  : >"$run/sshfs-wanted"
else
  chmod 644 "$run/mounts.new" && mv -f "$run/mounts.new" "$run/mounts"
fi
