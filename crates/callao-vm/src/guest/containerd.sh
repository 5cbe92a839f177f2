#!/bin/sh
# Installs containerd from the archive that the host attached as a disk, and starts it: for all, for the user, or both.

[ -n "$LIMA_CIDATA_CONTAINERD_SYSTEM$LIMA_CIDATA_CONTAINERD_USER" ] || exit 0
prefix=$CALLAO_ROOT$LIMA_CIDATA_GUEST_INSTALL_PREFIX
stamp=$CALLAO_ROOT/var/lib/callao/containerd
units='containerd buildkit stargz-snapshotter'
fresh=

# The disk with the archive, by its serial number: udev need not have made a link yet, nor be there at all.
disk() {
  for file in "$CALLAO_ROOT"/sys/block/*/serial; do
    [ "$(cat "$file" 2>/dev/null)" = "$CALLAO_ARCHIVE_SERIAL" ] || continue
    file=${file%/serial}
    echo "$CALLAO_ROOT/dev/${file##*/}"
    return
  done
  return 1
}

has_systemd() {
  [ -d "$CALLAO_ROOT/run/systemd/system" ]
}

unpack() {
  [ "$(cat "$stamp" 2>/dev/null)" != "$CALLAO_ARCHIVE_IDENTITY" ] || return 0
  device=$(disk) || { echo "no disk with the serial number $CALLAO_ARCHIVE_SERIAL"; return 1; }
  if has_systemd; then
    # What runs is replaced; a first installation has nothing to stop.
    for unit in $units; do systemctl stop "$unit" 2>/dev/null; done
  fi
  # A disk has full sectors: only so much of it is the archive.
  mkdir -p "$prefix" "${stamp%/*}" && rm -f "$stamp" || return
  head -c "$CALLAO_ARCHIVE_BYTES" "$device" | tar -C "$prefix" -xzof - || return
  echo "$CALLAO_ARCHIVE_IDENTITY" >"$stamp" && fresh=fresh
}

# The units of the archive name /usr/local; another prefix needs its own.
install_units() {
  for unit in $units; do
    file=$prefix/lib/systemd/system/$unit.service
    [ -e "$file" ] || continue
    case $LIMA_CIDATA_GUEST_INSTALL_PREFIX in
      /usr | /usr/local) ;;
      *) sed "s|/usr/local/|$LIMA_CIDATA_GUEST_INSTALL_PREFIX/|g" "$file" >"$CALLAO_ROOT/etc/systemd/system/$unit.service" ;;
    esac
  done
  systemctl daemon-reload
}

configure() {
  file=$CALLAO_ROOT/etc/buildkit/buildkitd.toml
  if [ -e "$prefix/lib/systemd/system/buildkit.service" ] && [ ! -e "$file" ]; then
    mkdir -p "${file%/*}"
    # What is built can be run: buildkit uses containerd's images.
    printf '[worker.oci]\nenabled = false\n\n[worker.containerd]\nenabled = true\nnamespace = "default"\n' >"$file"
  fi
  file=$CALLAO_ROOT/etc/containerd/config.toml
  if [ -e "$prefix/bin/containerd-stargz-grpc" ] && [ ! -e "$file" ]; then
    mkdir -p "${file%/*}"
    printf '%s\n' 'version = 2' '[proxy_plugins.stargz]' 'type = "snapshot"' \
      'address = "/run/containerd-stargz-grpc/containerd-stargz-grpc.sock"' >"$file"
  fi
}

# The archive itself decides whether buildkit and the others are there.
start() {
  started=
  for unit in $units; do
    systemctl cat "$unit.service" >/dev/null 2>&1 && started="$started $unit"
  done
  [ -n "$started" ] || { echo "the archive has no unit of containerd"; return 1; }
  systemctl enable --now $started
}

[ -n "${CALLAO_ARCHIVE_SERIAL:-}" ] || { echo "no archive of containerd is attached"; exit 1; }
unpack || exit
has_systemd || { echo "containerd is unpacked, but this guest has no systemd to start it"; exit 1; }
code=0
install_units
if [ -n "$LIMA_CIDATA_CONTAINERD_SYSTEM" ]; then
  configure && start || code=$?
fi
if [ -n "$LIMA_CIDATA_CONTAINERD_USER" ]; then
  /bin/sh "$LIMA_CIDATA_MNT/rootless.sh" "$fresh" || code=$?
fi
exit "$code"
