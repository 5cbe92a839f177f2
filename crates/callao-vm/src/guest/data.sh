#!/bin/sh
# Puts one data file of the template in its place: data.sh FILE.

number=${1##*.}
for name in PATH OWNER PERMISSIONS OVERWRITE; do eval "data_$name=\$CALLAO_DATA_${number}_$name"; done
path=$CALLAO_ROOT$data_PATH
if [ -e "$path" ] && [ -z "$data_OVERWRITE" ]; then
  echo "$data_PATH is there already"
  exit 0
fi

# New directories are the owner's where the owner may make them, as in Lima.
directory=$(dirname "$path")
if [ ! -d "$directory" ]; then
  { command -v sudo >/dev/null && sudo -u "${data_OWNER%%:*}" mkdir -p "$directory"; } 2>/dev/null ||
    mkdir -p "$directory" || exit
fi
# Nobody reads it before it has its owner and its permissions.
new=$(mktemp "$directory/.callao.XXXXXX") || exit
cat "$1" >"$new" && chown "$data_OWNER" "$new" && chmod "$data_PERMISSIONS" "$new" && mv -f "$new" "$path" && exit
code=$?
rm -f "$new"
exit "$code"
