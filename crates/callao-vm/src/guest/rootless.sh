#!/bin/sh
# Containerd for the user alone, without root: what it needs of the system, and then its service.
# `rootless.sh fresh`: the archive was unpacked just now, and what runs is older.
#
# nerdctl's archive brings a tool that makes the service. Without it the service is made here.

user=$LIMA_CIDATA_USER
home=$LIMA_CIDATA_HOME
prefix=$LIMA_CIDATA_GUEST_INSTALL_PREFIX
runtime=/run/user/$LIMA_CIDATA_UID
path=$prefix/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unit=$home/.config/systemd/user/containerd.service

as_user() {
  sudo -u "$user" -i env "XDG_RUNTIME_DIR=$runtime" "PATH=$path" "$@"
}

# IDs for the users of containers. systemd wants them from 524288 on.
first=524288
[ "$LIMA_CIDATA_UID" -lt "$first" ] || first=$((LIMA_CIDATA_UID + 1))
for file in /etc/subuid /etc/subgid; do
  grep -q "^$user:" "$file" 2>/dev/null || echo "$user:$first:1073741824" >>"$file"
done

# Cgroups that the user's services may divide further.
delegate=/etc/systemd/system/user@.service.d/callao.conf
if [ ! -e "$delegate" ]; then
  mkdir -p "${delegate%/*}"
  printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$delegate"
  systemctl daemon-reload
fi

# Ports below 1024, ping, and namespaces without root.
sysctl=/etc/sysctl.d/99-callao-rootless.conf
if [ ! -e "$sysctl" ]; then
  printf '%s\n' 'net.ipv4.ping_group_range = 0 2147483647' 'net.ipv4.ip_unprivileged_port_start = 0' >"$sysctl"
  [ ! -e /proc/sys/kernel/unprivileged_userns_clone ] || echo 'kernel.unprivileged_userns_clone = 1' >>"$sysctl"
  sysctl -q -p "$sysctl"
fi

# Ubuntu lets only named programs have namespaces without root.
profile=/etc/apparmor.d/callao.rootlesskit
if [ -e /proc/sys/kernel/apparmor_restrict_unprivileged_userns ] && [ -e /etc/apparmor.d/abi/4.0 ] &&
  [ ! -e "$profile" ] && [ -e "$prefix/bin/rootlesskit" ]; then
  printf '%s\n' 'abi <abi/4.0>,' 'include <tunables/global>' \
    "profile callao.rootlesskit $prefix/bin/rootlesskit flags=(unconfined) {" '  userns,' '}' >"$profile"
  apparmor_parser -r "$profile"
fi

# A login shell of the user finds what lives in sbin, such as iptables.
printf '%s\n' 'case :$PATH: in *:/usr/sbin:*) ;; *) PATH=$PATH:/usr/sbin:/sbin ;; esac' >/etc/profile.d/callao.sh

# What an earlier boot has set up was started together with the user's systemd.
if [ -e "$unit" ] && { [ ! -e "$prefix/bin/buildkitd" ] || [ -e "${unit%/*}/default-buildkit.service" ]; }; then
  [ -z "${1:-}" ] && verb=start || verb=restart
  as_user systemctl --user $verb containerd.service
  exit
fi

if [ -e "$prefix/bin/containerd-rootless-setuptool.sh" ]; then
  as_user containerd-rootless-setuptool.sh install || exit
  [ ! -e "$prefix/bin/buildkitd" ] ||
    as_user CONTAINERD_NAMESPACE=default containerd-rootless-setuptool.sh install-buildkit-containerd
  exit
fi

for program in containerd rootlesskit slirp4netns newuidmap; do
  PATH=$path command -v $program >/dev/null || { echo "rootless containerd needs $program"; exit 1; }
done
mkdir -p /usr/local/libexec
cat >/usr/local/libexec/callao-containerd-rootless <<'END'
#!/bin/sh
# Made by callao. Outside of rootlesskit it starts itself inside; there it starts containerd, on the user's directories.
if [ "${1:-}" != inside ]; then
  state=$XDG_RUNTIME_DIR/containerd-rootless
  mkdir -p "$state"
  exec rootlesskit --state-dir="$state" --net=slirp4netns --mtu=65520 --disable-host-loopback --port-driver=builtin \
    --copy-up=/etc --copy-up=/run --copy-up=/var/lib --propagation=rslave "$0" inside
fi
data=${XDG_DATA_HOME:-$HOME/.local/share}/containerd
mkdir -p "$data" "$XDG_RUNTIME_DIR/containerd"
# Links to the directories of root, which rootlesskit copied up.
rm -f /run/containerd /run/xtables.lock /var/lib/containerd
mkdir -p /run/containerd /var/lib/containerd
mount --bind "$XDG_RUNTIME_DIR/containerd" /run/containerd && mount --bind "$data" /var/lib/containerd || exit
exec containerd
END
chmod 755 /usr/local/libexec/callao-containerd-rootless
as_user mkdir -p "${unit%/*}" || exit
as_user tee "$unit" >/dev/null <<END
[Unit]
Description=containerd (rootless)
[Service]
Environment=PATH=$path
ExecStart=/usr/local/libexec/callao-containerd-rootless
Delegate=yes
KillMode=mixed
Restart=always
RestartSec=2
Type=simple
[Install]
WantedBy=default.target
END
as_user systemctl --user daemon-reload
as_user systemctl --user enable --now containerd.service
