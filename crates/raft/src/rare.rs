//! State that an idle replica does not have, so that a hundred thousand of them fit in memory.

use std::ops::{Deref, DerefMut};

/// Something that is nearly always at its default, and then weighs one pointer.
///
/// It is made when it is first written to, and stays until [`Rare::relax`] finds it at its default again, so that a
/// busy replica does not allocate for each use.
#[derive(Clone, Debug)]
pub(crate) struct Rare<T: Empty>(Option<Box<T>>);

/// What a [`Rare`] holds.
pub(crate) trait Empty: Default + 'static {
    /// What is read where nothing was written.
    fn empty() -> &'static Self;

    /// Whether nothing is lost by forgetting this.
    fn is_empty(&self) -> bool;
}

impl<T: Empty> Rare<T> {
    /// Gives the memory back, where nothing is in it.
    pub(crate) fn relax(&mut self) {
        if self.0.as_ref().is_some_and(|held| held.is_empty()) {
            self.0 = None;
        }
    }
}

impl<T: Empty> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| T::empty())
    }
}

impl<T: Empty> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Empty + PartialEq> PartialEq for Rare<T> {
    fn eq(&self, other: &Rare<T>) -> bool {
        **self == **other
    }
}

impl<T: Empty + Eq> Eq for Rare<T> {}

impl<T: Empty + std::hash::Hash> std::hash::Hash for Rare<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// An identity that may be missing, in the space of one: no member's is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Optional(u64);

impl Optional {
    /// From a number that is never zero.
    pub(crate) fn new(value: Option<u64>) -> Optional {
        assert_ne!(value, Some(0), "zero is nobody's number");
        Optional(value.unwrap_or(0))
    }

    pub(crate) fn get(self) -> Option<u64> {
        (self.0 != 0).then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Numbers {
        numbers: Vec<u64>,
    }

    impl Empty for Numbers {
        fn empty() -> &'static Numbers {
            const { &Numbers { numbers: Vec::new() } }
        }

        fn is_empty(&self) -> bool {
            self.numbers.is_empty()
        }
    }

    #[test]
    fn what_is_empty_weighs_a_pointer() {
        assert_eq!(size_of::<Rare<Numbers>>(), size_of::<usize>());
        let mut rare = Rare::<Numbers>::default();
        assert!(rare.numbers.is_empty());
        assert!(rare.0.is_none(), "reading makes nothing");
        rare.numbers.push(1);
        rare.relax();
        assert_eq!(rare.numbers, [1]);
        rare.numbers.clear();
        assert_eq!(rare, Rare::default());
        rare.relax();
        assert!(rare.0.is_none());
    }

    #[test]
    fn an_optional_number_is_one_or_none() {
        assert_eq!(Optional::new(None).get(), None);
        assert_eq!(Optional::new(Some(7)).get(), Some(7));
    }
}
