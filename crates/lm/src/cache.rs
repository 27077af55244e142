//! The KV cache of one attention layer.

use burn::tensor::{Device, Tensor};

use crate::context::row_index;

/// The KV cache of one attention layer, preallocated and written in place.
///
/// The cache does not know how many tokens a row has: slots past that length hold old or padded values, and the caller
/// masks them. So a rollback costs nothing, and the next append overwrites the slots that were rolled back.
#[derive(Clone, Debug)]
pub(crate) struct KvCache {
    keys: Tensor<4>,
    values: Tensor<4>,
}

/// The keys and values that a call attends to: all rows of a batch, or some of them.
#[derive(Debug)]
pub(crate) struct KeysValues<'a> {
    /// `[batch, heads, capacity, d_head]` both.
    pub(crate) keys: Tensor<4>,
    pub(crate) values: Tensor<4>,
    /// The rows of the call. None if they are all rows, in order.
    pub(crate) rows: Option<&'a [usize]>,
    /// The number of slots that are read.
    pub(crate) slots: usize,
}

impl From<(Tensor<4>, Tensor<4>)> for KeysValues<'_> {
    /// All rows and slots.
    fn from((keys, values): (Tensor<4>, Tensor<4>)) -> Self {
        let slots = keys.dims()[2];
        Self { keys, values, rows: None, slots }
    }
}

impl KeysValues<'_> {
    /// The keys and values of the rows and slots that are read, `[rows, heads, slots, d_head]` both.
    pub(crate) fn selected(self) -> (Tensor<4>, Tensor<4>) {
        let index = self.rows.map(|rows| row_index(rows, &self.keys.device()));
        // The rows are selected first: `select` copies its input if that is not contiguous, as a narrowed tensor is.
        let select = |all: Tensor<4>| {
            let rows = match &index {
                Some(index) => all.select(0, index.clone()),
                None => all,
            };
            rows.narrow(2, 0, self.slots)
        };
        (select(self.keys), select(self.values))
    }
}

/// The part of a cache that a call extends and reads.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    pub(crate) cache: &'a mut KvCache,
    /// The rows of the call.
    pub(crate) rows: &'a [usize],
    /// Whether these are all rows of the cache, in order.
    pub(crate) whole: bool,
    /// The first slot of each row that is written.
    pub(crate) offsets: &'a [usize],
    /// The number of slots that are read.
    pub(crate) end: usize,
}

impl<'a> Slots<'a> {
    /// Appends keys and values, and returns those of all slots.
    ///
    /// # Shapes
    /// Keys and values: `[rows, heads, time, d_head]`.
    pub(crate) fn extend(self, (keys, values): (Tensor<4>, Tensor<4>)) -> KeysValues<'a> {
        self.cache.append(self.rows, self.offsets, keys, values);
        self.cache.view((!self.whole).then_some(self.rows), self.end)
    }
}

impl KvCache {
    /// An empty cache for `batch` rows.
    ///
    /// # Shapes
    /// Keys and values: `[batch, heads, capacity, d_head]`.
    pub(crate) fn new(batch: usize, heads: usize, capacity: usize, d_head: usize, device: &Device) -> Self {
        let shape = [batch, heads, capacity, d_head];
        Self { keys: Tensor::zeros(shape, device), values: Tensor::zeros(shape, device) }
    }

    /// The number of slots of each row.
    pub(crate) fn capacity(&self) -> usize {
        self.keys.dims()[2]
    }

    /// Writes the keys and values of some rows. Those of row `rows[i]` are written from slot `offsets[i]` on.
    ///
    /// Consecutive rows with the same offset are written together, so that a batch whose rows have the same length
    /// needs one write. If a write does not fit, the capacity is at least doubled.
    ///
    /// # Shapes
    /// `keys`, `values`: `[rows, heads, time, d_head]`.
    pub(crate) fn append(&mut self, rows: &[usize], offsets: &[usize], keys: Tensor<4>, values: Tensor<4>) {
        let [_, heads, time, d_head] = keys.dims();
        self.reserve(offsets.iter().copied().max().unwrap_or(0) + time);
        let mut start = 0;
        while start < rows.len() {
            let mut end = start + 1;
            while end < rows.len() && rows[end] == rows[end - 1] + 1 && offsets[end] == offsets[start] {
                end += 1;
            }
            let offset = offsets[start];
            let slot = [rows[start]..rows[end - 1] + 1, 0..heads, offset..offset + time, 0..d_head];
            let part = [start..end, 0..heads, 0..time, 0..d_head];
            self.keys.inplace(|cache| cache.slice_assign(slot.clone(), keys.clone().slice(part.clone())));
            self.values.inplace(|cache| cache.slice_assign(slot, values.clone().slice(part)));
            start = end;
        }
    }

    /// The first `slots` slots of all rows, or of `rows` if they are given.
    pub(crate) fn view<'a>(&self, rows: Option<&'a [usize]>, slots: usize) -> KeysValues<'a> {
        KeysValues { keys: self.keys.clone(), values: self.values.clone(), rows, slots }
    }

    /// Replaces the rows of the cache by the given ones, in that order.
    pub(crate) fn select_rows(&mut self, rows: &[usize]) {
        let index = row_index(rows, &self.keys.device());
        self.keys.inplace(|cache| cache.select(0, index.clone()));
        self.values.inplace(|cache| cache.select(0, index));
    }

    /// Adds the rows of another cache, if no row of the two uses more than `used` slots.
    ///
    /// The cache gets the capacity of the other one, or room for twice as many slots as are used if it had that before. It
    /// can become smaller: if long texts left, all later copies of the rows would carry their slots.
    pub(crate) fn append_rows(&mut self, mut other: Self, used: usize) {
        let capacity = other.capacity().max(self.capacity().min(2 * used));
        self.grow(capacity);
        other.grow(capacity);
        for (own, added) in [(&mut self.keys, other.keys), (&mut self.values, other.values)] {
            own.inplace(|own| Tensor::cat(vec![own.narrow(2, 0, capacity), added], 0));
        }
    }

    fn reserve(&mut self, needed: usize) {
        let capacity = self.capacity();
        if needed > capacity {
            self.grow(needed.max(2 * capacity));
        }
    }

    /// Adds empty slots to every row.
    fn grow(&mut self, grown: usize) {
        let capacity = self.capacity();
        if grown > capacity {
            for cache in [&mut self.keys, &mut self.values] {
                cache.inplace(|old| {
                    let [batch, heads, _, d_head] = old.dims();
                    let room = Tensor::zeros([batch, heads, grown - capacity, d_head], &old.device());
                    Tensor::cat(vec![old, room], 2)
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(rows: usize, time: usize, from: f32) -> Tensor<4> {
        let values: Vec<f32> = (0..rows * time).map(|i| from + i as f32).collect();
        Tensor::<1>::from_floats(values.as_slice(), &Device::default()).reshape([rows, 1, time, 1])
    }

    fn read(cache: &KvCache, rows: Option<&[usize]>, length: usize) -> Vec<f32> {
        cache.view(rows, length).selected().0.into_data().iter::<f32>().collect()
    }

    #[test]
    fn rows_are_written_at_their_own_offsets_and_the_cache_grows() {
        let mut cache = KvCache::new(3, 1, 2, 1, &Device::default());
        cache.append(&[0, 1, 2], &[0, 0, 0], numbered(3, 1, 1.0), numbered(3, 1, 1.0));
        cache.append(&[2, 0], &[1, 1], numbered(2, 2, 10.0), numbered(2, 2, 10.0));
        assert_eq!(cache.capacity(), 4);
        assert_eq!(read(&cache, None, 3), [1.0, 12.0, 13.0, 2.0, 0.0, 0.0, 3.0, 10.0, 11.0]);
        assert_eq!(read(&cache, Some(&[2]), 2), [3.0, 10.0]);
    }

    #[test]
    fn rolled_back_slots_are_overwritten() {
        let mut cache = KvCache::new(1, 1, 4, 1, &Device::default());
        cache.append(&[0], &[0], numbered(1, 3, 1.0), numbered(1, 3, 1.0));
        cache.append(&[0], &[1], numbered(1, 1, 9.0), numbered(1, 1, 9.0));
        assert_eq!(read(&cache, None, 2), [1.0, 9.0]);
    }

    #[test]
    fn rows_of_a_cache_of_another_capacity_can_be_added() {
        let numbered_cache = |rows, capacity, from| {
            let mut cache = KvCache::new(rows, 1, capacity, 1, &Device::default());
            cache.append(
                &(0..rows).collect::<Vec<_>>(),
                &vec![0; rows],
                numbered(rows, 1, from),
                numbered(rows, 1, from),
            );
            cache
        };
        for ([own, other, used], capacity) in [([2, 3, 2], 3), ([3, 2, 2], 3), ([9, 3, 1], 3), ([9, 2, 3], 6)] {
            let mut cache = numbered_cache(2, own, 1.0);
            cache.append_rows(numbered_cache(1, other, 7.0), used);
            assert_eq!(cache.capacity(), capacity);
            assert_eq!(read(&cache, None, 1), [1.0, 2.0, 7.0]);
        }
    }

    #[test]
    fn rows_can_be_dropped_and_reordered() {
        let mut cache = KvCache::new(3, 1, 1, 1, &Device::default());
        cache.append(&[0, 1, 2], &[0, 0, 0], numbered(3, 1, 1.0), numbered(3, 1, 1.0));
        cache.select_rows(&[2, 0]);
        assert_eq!(read(&cache, None, 1), [3.0, 1.0]);
    }
}
