#!/bin/bash
# `make mutants`: takes the lines away that the promises stand on, one at a time, and sees that the named test fails.
# Works on the working tree, which must be clean, and puts each file back. Some twenty-five minutes; T=... takes only the
# lines whose name holds that.
set -euo pipefail
cd "$(dirname "$0")/../.."
git diff --quiet || { echo "the working tree has changes; commit or stash them first" >&2; exit 1; }
trap 'git checkout --quiet -- engine' EXIT
only=${T:-}
tried=0
survivors=()

# mutant NAME FILE PERL-SUBSTITUTION COMMAND...
mutant() {
    local name=$1 file=engine/src/$2 substitution=$3
    shift 3
    [[ $name == *"$only"* ]] || return 0
    tried=$((tried + 1))
    perl -0pi -e "$substitution" "$file"
    if git diff --quiet; then
        echo "$name: the line is not there any more; adapt $0" >&2
        exit 1
    fi
    # It must build: a test that cannot be built has noticed nothing.
    cargo test --quiet --package thinly-engine --lib --no-run
    [ "$1" = native ] || cargo test --quiet --package thinly-tests --no-run
    if "$@" >/dev/null 2>&1; then
        survivors+=("$name")
        printf '  \033[31m%-44s survives\033[0m  %s\n' "$name" "$*"
    else
        printf '  %-44s caught by  %s\n' "$name" "$*"
    fi
    git checkout --quiet -- engine
}
native() { cargo test --quiet --package thinly-engine --lib "$@"; }
# A guest that does not start has noticed nothing.
kernel() {
    local said
    said=$("$GUEST" test --package thinly-tests --filter "$1" 2>&1) || true
    ! grep ' FAIL \[' <<<"$said"
}

mutant 'status check after a message' plan/operations.rs \
    's/Step::CheckPool,\n(\s+Step::CreateDevice)/$1/' native plan::enumeration
mutant 'status check after a copy' plan/operations.rs \
    's/(Resume\(\*id\)\)\);\n)    steps\.push\(Step::CheckPool\);\n/$1/' native plan::enumeration
mutant 'status check after a delete' plan/operations.rs \
    's/(PoolMessage::Delete\(id\)\),\n)\s+Step::CheckPool,\n/$1/' native plan::enumeration
mutant 'proof read' plan/operations.rs \
    's/\n    steps\.push\(Step::Prove.*?\)\);//s' native plan::enumeration
mutant 'ready mark before hand-out' plan/operations.rs \
    's/(\s+Step::Commit\(Record::VolumeReady[^\n]*touched \}\),)(\s+Step::Resume\(id\),)/$2$1/' native plan::enumeration
mutant 'order of resumes' plan/operations.rs \
    's/active\.iter\(\)\.rev\(\)\.map/active.iter().map/' native plan::operations
mutant 'resumes after a failure' plan/unwind.rs \
    's/let mut steps = resumes\(done, culprit\);/let mut steps: Vec<Step> = Vec::new();/' native plan::enumeration
mutant 'clean mark taken back before a change' plan/step.rs \
    's/self\.steps\n\s+\.iter\(\)\n\s+\.any\(/self.steps.is_empty() && self.steps.iter().any(/' native plan::enumeration
mutant 'tombstone before reuse' catalogue/ids.rs \
    's/!catalogue\.knows\(\*id\)/(!catalogue.knows(*id) || catalogue.tombstones().contains_key(id))/' native catalogue::ids
mutant 'id in flight is not handed out' catalogue/ids.rs \
    's/ && !self\.in_flight\.contains\(id\)//' native plan::enumeration
mutant 'orphan is not handed out' catalogue/ids.rs \
    's/!catalogue\.knows\(\*id\)/(!catalogue.knows(*id) || catalogue.orphans().contains(id))/' native plan::enumeration
mutant 'tombstone of a rollback' catalogue/apply.rs \
    's/self\.bury\(uuid, TombstoneReason::RolledBack\);/let _ = TombstoneReason::RolledBack;/' native plan::enumeration
mutant 'status check after a message that failed' plan/unwind.rs \
    's/        steps\.push\(Step::CheckPool\);/        let _ = Step::CheckPool;/' native plan::unwind
mutant 'removal of what was not handed out' plan/unwind.rs \
    's/\n    steps\.extend\(removals\(done\)\);/\n    let _ = removals(done);/' native plan::enumeration
mutant 'poison after a failed swap of tables' plan/unwind.rs \
    's/Some\(Step::Resume\(_\) \| Step::Reload\(_\)\)/Some(Step::Resume(_))/' native plan::unwind
mutant 'poison after a failed resume' plan/unwind.rs \
    's/Some\(Step::Resume\(_\) \| Step::Reload\(_\)\)/Some(Step::Reload(_))/' native plan::unwind
mutant 'no announcement where no message is served' plan/epoch.rs \
    's/if !health\.serves_messages\(\) \{/if false {/' native plan::enumeration
mutant 'no release where no message is served' plan/epoch.rs \
    's/ if health\.serves_messages\(\) => \{/ if health <= Health::Failed => {/' native plan::enumeration
mutant 'checksum of the journal' journal/frame.rs \
    's/== crc_seed\.frame_crc\(offset, bytes\)/== crc_seed.frame_crc(offset, bytes) || offset > 0/' native journal::
mutant 'seed of the checksum' journal/frame.rs \
    's/\n        hasher\.update\(&epoch\.to_le_bytes\(\)\);/\n        let _ = epoch;/' native journal::
mutant 'flush of the journal' block_device.rs \
    's/\n\s+\.and_then\(\|\(\)\| self\.file\.sync_data\(\)\)//' kernel power_cut
mutant 'resume in the guard' pool/suspended.rs \
    's/if !self\.running \{/if !self.running \&\& self.device.as_str().is_empty() {/' kernel a_panic_while
mutant 'lock of the origin' pool/snapshots.rs \
    's/let \(_lock, volumes\) = self\.lock_all\(&origins\)/let (_, volumes) = self.lock_all(&origins)/' kernel two_snapshots_of_one_origin

[ "$tried" != 0 ] || { echo "no line is called $only" >&2; exit 1; }
if [ ${#survivors[@]} != 0 ]; then
    printf '\n\033[31m%d survive: %s\033[0m\n' "${#survivors[@]}" "${survivors[*]}"
    exit 1
fi
printf '\n\033[1;32mEvery line that was taken away was missed.\033[0m\n'
