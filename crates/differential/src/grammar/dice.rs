//! Chance, the same for the same seed.

/// A source of random choices.
#[derive(Debug)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u8) -> bool {
        self.0.u8(..100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.0.usize(..from.len())]
    }

    /// One of them.
    pub fn text(&mut self, from: &[&str]) -> String {
        (*self.pick(from)).to_owned()
    }

    /// One or two of them.
    pub fn texts(&mut self, from: &[&str]) -> Vec<String> {
        let count = self.between(1, 2);
        (0..count).map(|_| self.text(from)).collect()
    }

    /// In so many of a hundred cases one or two of them, otherwise none.
    pub fn maybe_texts(&mut self, percent: u8, from: &[&str]) -> Vec<String> {
        if self.chance(percent) {
            self.texts(from)
        } else {
            Vec::new()
        }
    }

    /// A number, both ends included.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        self.0.usize(least..=most)
    }

    /// In so many of a hundred cases something.
    pub fn maybe<T>(&mut self, percent: u8, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }

    /// Between `least` and `most` of something.
    pub fn several<T>(
        &mut self,
        least: usize,
        most: usize,
        mut make: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        (0..self.between(least, most)).map(|_| make(self)).collect()
    }
}
