#!/bin/sh
# Made by callao: runs boot.sh of the seed volume, at every boot. `early`: what must run before the network.
seed=/mnt/lima-cidata
if [ ! -e "$seed/boot.sh" ]; then
  mkdir -p "$seed"
  for label in CIDATA cidata; do
    device=/dev/disk/by-label/$label
    [ -e "$device" ] || device=$(blkid -L $label 2>/dev/null || findfs LABEL=$label 2>/dev/null) || continue
    # Some kernels lack the character set that is the default.
    mount -t vfat -o ro,umask=0077 "$device" "$seed" 2>/dev/null ||
      mount -t vfat -o ro,umask=0077,iocharset=utf8 "$device" "$seed" && break
  done
fi
[ -e "$seed/boot.sh" ] || { echo "callao: no volume CIDATA with a boot.sh" >&2; exit 1; }
exec /bin/sh "$seed/boot.sh" "$@"
