//! What a failed step asks for: every frozen device runs again first, then what may have been left
//! behind in the pool is recorded before anything else can be allocated.
#![forbid(unsafe_code)]

use super::operations::bury;
use super::step::{Failure, Plan, Step};
use crate::catalogue::Record;
use crate::dm::PoolMessage;
use crate::units::ThinId;

/// The steps that undo a plan that failed part-way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwinding {
    /// What to do, in order; all of them are tried, whatever happens to one.
    pub steps: Vec<Step>,
    /// Whether the handle must refuse further changes until it is opened and reconciled anew. A
    /// failing step of the unwinding poisons as well.
    pub poison: bool,
}

/// Decides how to undo `plan`, whose step `failed` did not succeed.
pub fn unwind(plan: &Plan, failed: usize, failure: Failure) -> Unwinding {
    let (done, rest) = plan.steps.split_at(failed.min(plan.steps.len()));
    let culprit = rest.first();
    let mut steps = resumes(done, culprit);
    steps.extend(removals(done));
    let poison = match failure {
        Failure::Journal | Failure::NotProven => true,
        Failure::Degraded(health) => !health.serves_messages(),
        Failure::Unknown => matches!(culprit, Some(Step::Resume(_) | Step::Reload(_))),
        Failure::Exists | Failure::Rejected => false,
    };
    if failure == Failure::Journal {
        // Nothing can be recorded any more: recovery finds the ids by their epoch.
        return Unwinding { steps, poison };
    }
    let committed = done.iter().any(|step| matches!(step, Step::Commit(_)));
    if !committed {
        steps.extend(done.iter().filter_map(created).map(|id| Step::Commit(bury(id))));
        if let Some(id) = culprit.and_then(created) {
            match failure {
                Failure::Exists => steps.push(Step::Commit(Record::Orphaned { thin_id: id })),
                Failure::Rejected => {}
                _ => steps.push(Step::Commit(bury(id))),
            }
        }
    }
    if failure == Failure::Unknown && matches!(culprit, Some(Step::Message(_))) {
        steps.push(Step::CheckPool);
    }
    Unwinding { steps, poison }
}

/// Resumes, in reverse, whatever was suspended and not yet resumed. A suspend that failed counts:
/// resuming a device that runs does nothing.
fn resumes(done: &[Step], culprit: Option<&Step>) -> Vec<Step> {
    let mut frozen: Vec<ThinId> = Vec::new();
    for step in done.iter().chain(culprit) {
        match step {
            Step::Suspend(id) => frozen.push(*id),
            // A resume that failed is tried once more.
            Step::Resume(id) if Some(step) != culprit => frozen.retain(|other| other != id),
            Step::Reload(id) if Some(step) == culprit => frozen.push(*id),
            _ => {}
        }
    }
    frozen.into_iter().rev().map(Step::Resume).collect()
}

/// Removes the devices that the plan made; they are not handed out yet.
fn removals(done: &[Step]) -> impl Iterator<Item = Step> {
    done.iter().filter_map(|step| match step {
        Step::CreateDevice { id, .. } => Some(Step::RemoveDevice(*id)),
        _ => None,
    })
}

fn created(step: &Step) -> Option<ThinId> {
    match step {
        Step::Message(PoolMessage::CreateThin(id) | PoolMessage::CreateSnap { id, .. }) => {
            Some(*id)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::mode::Health;
    use super::super::operations::{Access, SnapshotRequest, activate_pending, refresh, snapshot};
    use super::*;
    use crate::catalogue::{SnapshotMember, Timestamp, VolumeName};
    use crate::units::Sectors;

    fn id(n: u32) -> ThinId {
        ThinId::new(n).unwrap()
    }

    fn group() -> Plan {
        let member = |n: u32| SnapshotMember {
            uuid: Uuid::from_u128(u128::from(n)),
            name: VolumeName::new(&format!("s{n}")).unwrap(),
            origin: Uuid::from_u128(99),
            thin_id: id(n),
        };
        snapshot(&SnapshotRequest {
            group: None,
            created_at: Timestamp(0),
            members: vec![(member(10), id(2), true), (member(11), id(1), true)],
        })
    }

    const FAILURES: [Failure; 7] = [
        Failure::Exists,
        Failure::Rejected,
        Failure::Unknown,
        Failure::Degraded(Health::NeedsCheck),
        Failure::Degraded(Health::OutOfDataSpace),
        Failure::NotProven,
        Failure::Journal,
    ];

    /// For every step that can fail and every way to fail: nothing stays frozen, every resume comes
    /// before anything is written, and every id that may exist is recorded or the handle poisoned.
    #[test]
    fn no_failure_leaves_a_frozen_device_or_an_unrecorded_id() {
        for plan in
            [group(), activate_pending(Uuid::nil(), id(5), Sectors::new(8), Access::FirstTouch)]
        {
            for failed in 0..plan.steps.len() {
                for failure in FAILURES {
                    check(&plan, failed, failure);
                }
            }
        }
    }

    fn check(plan: &Plan, failed: usize, failure: Failure) {
        let undo = unwind(plan, failed, failure);
        let mut frozen: Vec<ThinId> = Vec::new();
        let attempted = &plan.steps[..=failed];
        for (index, step) in attempted.iter().enumerate() {
            match step {
                Step::Suspend(id) => frozen.push(*id),
                Step::Resume(id) if index < failed => frozen.retain(|other| other != id),
                _ => {}
            }
        }
        for step in &undo.steps {
            match step {
                Step::Resume(id) => frozen.retain(|other| other != id),
                Step::Commit(_) => assert!(frozen.is_empty(), "{failed} {failure:?}: {undo:?}"),
                _ => {}
            }
        }
        assert!(frozen.is_empty(), "{failed} {failure:?} leaves {frozen:?}: {undo:?}");
        let committed = plan.steps[..failed].iter().any(|step| matches!(step, Step::Commit(_)));
        for step in &plan.steps[..failed] {
            let Some(id) = created(step) else { continue };
            let buried = undo.steps.contains(&Step::Commit(bury(id)));
            assert!(buried || committed || undo.poison, "{failed} {failure:?} forgets {id}");
        }
    }

    /// A device that may not run, or have either table, is for the next open to put in order; whether a pool still
    /// serves after a message without an answer, only its status tells.
    #[test]
    fn what_leaves_a_device_in_doubt_poisons_and_an_unanswered_message_is_looked_into() {
        let swap = refresh(id(5), Sectors::new(8), false);
        assert_eq!(swap.steps[1], Step::Reload(id(5)));
        let undo = unwind(&swap, 1, Failure::Unknown);
        assert_eq!((undo.steps, undo.poison), (vec![Step::Resume(id(5))], true));
        let plan = group();
        for (index, step) in plan.steps.iter().enumerate() {
            let undo = unwind(&plan, index, Failure::Unknown);
            match step {
                Step::Resume(_) => assert!(undo.poison, "{undo:?}"),
                Step::Message(_) => assert_eq!(undo.steps.last(), Some(&Step::CheckPool)),
                _ => assert!(!undo.poison, "{step:?}: {undo:?}"),
            }
        }
    }

    #[test]
    fn an_id_that_exists_already_becomes_an_orphan_not_a_tombstone() {
        let plan = activate_pending(Uuid::nil(), id(5), Sectors::new(8), Access::FirstTouch);
        let undo = unwind(&plan, 0, Failure::Exists);
        assert_eq!(undo.steps, [Step::Commit(Record::Orphaned { thin_id: id(5) })]);
        assert!(!undo.poison);
    }
}
