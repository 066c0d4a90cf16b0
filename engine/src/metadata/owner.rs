//! Who reaches a node or a data block: what only one owner reaches is freed with it.
#![forbid(unsafe_code)]

/// Who reaches a node or a data block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(u32);

impl Owner {
    /// Nobody so far.
    pub(super) const NOBODY: Self = Self(0);
    /// Two or more.
    pub(super) const SEVERAL: Self = Self(1);

    /// The owner with this number.
    pub(super) fn number(number: usize) -> Self {
        Self(u32::try_from(number).map_or(u32::MAX, |number| number.saturating_add(2)))
    }

    /// Its number, when it is a single one.
    pub(super) fn single(self) -> Option<usize> {
        usize::try_from(self.0).ok()?.checked_sub(2)
    }

    /// Who it is that reaches what both reach.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NOBODY, other) | (other, Self::NOBODY) => other,
            (one, other) if one == other => one,
            _ => Self::SEVERAL,
        }
    }
}

/// Two answers to "who": the device, and the set of devices that are looked at as one.
pub(super) type Owners = [Owner; 2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_owners_are_several_and_several_stay_so() {
        let [one, other] = [Owner::number(0), Owner::number(1)];
        assert_eq!(Owner::NOBODY.and(one), one);
        assert_eq!(one.and(one), one);
        assert_eq!(one.and(other), Owner::SEVERAL);
        assert_eq!(Owner::SEVERAL.and(one), Owner::SEVERAL);
        assert_eq!((one.single(), Owner::SEVERAL.single()), (Some(0), None));
        assert_eq!((other.single(), Owner::NOBODY.single()), (Some(1), None));
    }
}
