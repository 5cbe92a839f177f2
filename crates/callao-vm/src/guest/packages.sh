#!/bin/sh
# Installs what mounts and containerd need and the image lacks, from the guest's own package repositories, as Lima does.
# A template can forbid it (`skipDefaultDependencyResolution`). What is there is not touched, and needs no network.
#
# It never fails: without what is missing, the mount or containerd will say so, and perhaps they can do without.

[ -z "$LIMA_CIDATA_SKIP_DEFAULT_DEPENDENCY_RESOLUTION" ] || exit 0
export DEBIAN_FRONTEND=noninteractive

# The package that has a program, as this guest's package manager calls it.
package() {
  case $1:$2 in
    sshfs:dnf | sshfs:yum) echo fuse-sshfs ;;
    # A service of the user needs their own bus as well.
    newuidmap:apt-get) echo uidmap dbus-user-session ;;
    newuidmap:dnf | newuidmap:yum) echo shadow-utils ;;
    newuidmap:zypper | newuidmap:pacman) echo shadow ;;
    newuidmap:apk) echo shadow-subids ;;
    *) echo "$1" ;;
  esac
}

programs=
[ ! -e "$CALLAO_ROOT/run/callao/sshfs-wanted" ] || programs=sshfs
if [ -n "$LIMA_CIDATA_CONTAINERD_SYSTEM$LIMA_CIDATA_CONTAINERD_USER" ]; then
  programs="$programs tar gzip iptables"
fi
[ -z "$LIMA_CIDATA_CONTAINERD_USER" ] || programs="$programs newuidmap"

manager=
for manager in apt-get dnf yum zypper apk pacman none; do
  command -v $manager >/dev/null && break
done
packages=
for program in $programs; do
  PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || packages="$packages $(package "$program" "$manager")"
done
[ -n "$packages" ] || exit 0

echo "installing with $manager:$packages"
limit='timeout 600'
case $manager in
  apt-get)
    quick='-o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=120'
    $limit apt-get $quick -q update && $limit apt-get $quick install -q -y --no-install-recommends $packages
    ;;
  dnf) $limit dnf install -y --setopt=install_weak_deps=False $packages ;;
  yum) $limit yum install -y $packages ;;
  zypper) $limit zypper --non-interactive install --no-recommends $packages ;;
  apk) $limit apk add $packages ;;
  pacman) $limit pacman -Sy --noconfirm --needed $packages ;;
  none) echo "there is no package manager" && false ;;
esac || echo "not installed:$packages"
