//! How many photographs go through a network at once. In: a wish, and the device's refusals. Out: batches that its memory
//! holds.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::error::InferenceError;

/// The largest batch that has not been refused.
#[derive(Debug)]
pub(crate) struct BatchLimit {
    most: AtomicUsize,
    /// The size of the first batch that was refused, until somebody asks.
    refused: Mutex<Option<usize>>,
}

impl BatchLimit {
    /// Batches of at most so many; of one for 0.
    pub(crate) fn new(most: usize) -> Self {
        Self { most: AtomicUsize::new(most.max(1)), refused: Mutex::default() }
    }

    /// The largest batch.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Runs `run` on all items, batch by batch, and joins what it gives, one result an item. A batch that memory does not
    /// hold is halved and tried again, and no larger one is tried later.
    ///
    /// # Errors
    /// Those of `run`; lack of memory only when one item is too many.
    pub(crate) fn run_all<T, R>(
        &self,
        items: &[T],
        mut run: impl FnMut(&[T]) -> Result<Vec<R>, InferenceError>,
    ) -> Result<Vec<R>, InferenceError> {
        let mut results = Vec::with_capacity(items.len());
        let mut left = items;
        while !left.is_empty() {
            let (batch, after) = left.split_at(left.len().min(self.most()));
            match run(batch) {
                Ok(of_batch) => {
                    results.extend(of_batch);
                    left = after;
                }
                Err(error) if batch.len() > 1 && error.is_out_of_memory() => {
                    self.most.fetch_min(batch.len().div_ceil(2), Ordering::Relaxed);
                    self.refused().get_or_insert(batch.len());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }

    /// What a person should know, once after each time that the batches had to become smaller.
    pub(crate) fn take_note(&self, device: &str) -> Option<String> {
        let refused = self.refused().take()?;
        Some(format!(
            "the memory of {device} does not hold {refused} photographs at once; they are inspected in batches of {} from \
             here on",
            self.most()
        ))
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<usize>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use simplenet_model::ModelError;

    use super::*;

    fn full() -> InferenceError {
        ModelError::OutOfMemory { device: "a device".into(), said: "full".into() }.into()
    }

    /// Runs items through a device that holds `fits` at once; gives the sizes that were tried.
    fn sizes_tried(limit: &BatchLimit, items: usize, fits: usize) -> Result<Vec<usize>, InferenceError> {
        let items: Vec<usize> = (0..items).collect();
        let mut tried = vec![];
        let results = limit.run_all(&items, |batch| {
            tried.push(batch.len());
            if batch.len() > fits { Err(full()) } else { Ok(batch.iter().map(|item| 10 * item).collect()) }
        })?;
        let want: Vec<usize> = items.iter().map(|item| 10 * item).collect();
        assert_eq!(results, want, "in order, none twice");
        Ok(tried)
    }

    #[test]
    fn batches_are_halved_until_they_fit_and_stay_small() {
        for (most, items, fits, tried) in [
            (4, 10, 4, &[4, 4, 2][..]),
            (4, 10, 100, &[4, 4, 2]),
            (0, 2, 1, &[1, 1]),
            (16, 9, 5, &[9, 5, 4]),
            (16, 16, 3, &[16, 8, 4, 2, 2, 2, 2, 2, 2, 2, 2]),
            (3, 4, 1, &[3, 2, 1, 1, 1, 1]),
            (8, 0, 1, &[]),
        ] {
            let limit = BatchLimit::new(most);
            let got = sizes_tried(&limit, items, fits).unwrap();
            assert_eq!(got, tried, "{most} wanted, {items} items, {fits} fit");
        }
        let limit = BatchLimit::new(8);
        assert_eq!(sizes_tried(&limit, 8, 2).unwrap(), [8, 4, 2, 2, 2, 2]);
        assert_eq!(sizes_tried(&limit, 5, 100).unwrap(), [2, 2, 1], "no larger batch is tried again");
    }

    #[test]
    fn one_that_does_not_fit_and_other_errors_are_errors() {
        let limit = BatchLimit::new(4);
        assert!(sizes_tried(&limit, 4, 0).unwrap_err().is_out_of_memory());
        assert_eq!(limit.most(), 1);
        let limit = BatchLimit::new(4);
        let other = limit.run_all(&[1, 2], |_| Err::<Vec<()>, _>(InferenceError::NoActivationRanges));
        assert!(matches!(other, Err(InferenceError::NoActivationRanges)) && limit.most() == 4);
    }

    #[test]
    fn what_changed_is_said_once() {
        let limit = BatchLimit::new(8);
        sizes_tried(&limit, 8, 8).unwrap();
        assert_eq!(limit.take_note("a device"), None);
        sizes_tried(&limit, 8, 2).unwrap();
        let note = limit.take_note("a device").unwrap();
        assert!(note.contains("a device does not hold 8") && note.contains("batches of 2"), "{note}");
        sizes_tried(&limit, 8, 2).unwrap();
        assert_eq!(limit.take_note("a device"), None);
    }
}
