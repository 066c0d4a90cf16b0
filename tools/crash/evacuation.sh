#!/bin/bash
# One of three disks is emptied while fio writes; in the middle of both the guest is cut off. Afterwards fio finds every
# block that it was told was written, the evacuation goes on from where it was, and fio finds them again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# A third of the data has to move: at this pace that takes any machine 15 seconds, and the cut finds it in the middle.
guest=$("$GUEST" up --disks '640M 640M 640M' --disks-write-at 20 --bin "$THINLY" --files "$here")
trap '"$GUEST" down --dir "$guest" >/dev/null 2>&1 || true' EXIT
inside() { "$GUEST" exec --dir "$guest" --log --timeout 300 -- "bash /opt/thinly/files/evacuation-inside.sh $*"; }

inside interrupted
"$GUEST" reboot --dir "$guest" >/dev/null
inside after
written=$(inside written)
echo "proof evacuation: resets=1 acknowledged=$written lost=0 leaked=0 suspended=0"
