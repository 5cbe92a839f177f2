//! Interleaved rounds: every variant once a round, in an order that is shuffled by a fixed seed.

use std::process::Command;

use crate::Outcome;
use crate::measure::{self, Cost};
use crate::scene::Scene;

/// Looks at what a command wrote to stdout.
type Check<'a> = Box<dyn Fn(&str) -> Outcome<()> + 'a>;

/// One way to do the job.
pub(crate) struct Variant<'a> {
    /// As the table shows it.
    pub(crate) name: &'static str,
    /// Untimed, before each run; everything that earlier runs wrote has been deleted and the disk is in sync.
    pub(crate) prepare: Box<dyn Fn() -> Outcome<()> + 'a>,
    /// The timed command.
    pub(crate) command: Box<dyn Fn() -> Command + 'a>,
    /// Untimed, after each run, with what it wrote to stdout: whether it did the job.
    pub(crate) check: Check<'a>,
    /// MiB that it works on, where variants of a row differ in this.
    pub(crate) mib: Option<f64>,
}

impl<'a> Variant<'a> {
    /// A variant without preparation and check.
    pub(crate) fn new(name: &'static str, command: impl Fn() -> Command + 'a) -> Self {
        Self {
            name,
            prepare: Box::new(|| Ok(())),
            command: Box::new(command),
            check: Box::new(|_| Ok(())),
            mib: None,
        }
    }

    /// With a preparation.
    pub(crate) fn prepared(self, prepare: impl Fn() -> Outcome<()> + 'a) -> Self {
        Self {
            prepare: Box::new(prepare),
            ..self
        }
    }

    /// With another size than the others of its row.
    pub(crate) fn sized(self, mib: f64) -> Self {
        Self {
            mib: Some(mib),
            ..self
        }
    }

    /// With a check.
    pub(crate) fn checked(self, check: impl Fn(&str) -> Outcome<()> + 'a) -> Self {
        Self {
            check: Box::new(check),
            ..self
        }
    }
}

/// What one variant cost, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    /// As the table shows it.
    pub(crate) name: &'static str,
    /// In the order of the rounds.
    pub(crate) costs: Vec<Cost>,
    /// MiB that it works on, where variants of a row differ in this.
    pub(crate) mib: Option<f64>,
}

impl Samples {
    /// The wall times.
    pub(crate) fn walls(&self) -> Vec<f64> {
        self.costs.iter().map(|cost| cost.wall).collect()
    }

    /// MiB per second, round by round, of `mib` MiB unless it has a size of its own.
    pub(crate) fn rates(&self, mib: f64) -> Vec<f64> {
        let mib = self.mib.unwrap_or(mib);
        self.walls().iter().map(|wall| mib / wall).collect()
    }

    /// How many times as fast as `other`, round by round, by MiB per second.
    pub(crate) fn times_the_rate_of(&self, other: &Self, mib: f64) -> Vec<f64> {
        let theirs = other.rates(mib);
        let pairs = self.rates(mib).into_iter().zip(theirs);
        pairs.map(|(mine, theirs)| mine / theirs).collect()
    }

    /// `self` in relation to `other`, round by round, by wall time.
    pub(crate) fn ratios(&self, other: &Self) -> Vec<f64> {
        self.walls()
            .iter()
            .zip(other.walls())
            .map(|(mine, theirs)| mine / theirs)
            .collect()
    }
}

/// Runs all variants `runs` times.
pub(crate) fn interleave(
    scene: &Scene,
    runs: usize,
    variants: &[Variant<'_>],
) -> Outcome<Vec<Samples>> {
    let mut samples: Vec<_> = variants
        .iter()
        .map(|variant| Samples {
            name: variant.name,
            costs: Vec::new(),
            mib: variant.mib,
        })
        .collect();
    let mut dice = Dice::fixed();
    for _ in 0..runs {
        let mut order: Vec<usize> = (0..variants.len()).collect();
        dice.shuffle(&mut order);
        for index in order {
            let variant = &variants[index];
            let within = |error| format!("{}: {error}", variant.name);
            scene.fresh()?;
            (variant.prepare)().map_err(within)?;
            rustix::fs::sync();
            let cost = measure::run(&mut (variant.command)(), scene.notes()).map_err(within)?;
            (variant.check)(&measure::stdout(scene.notes())?).map_err(within)?;
            samples[index].costs.push(cost);
        }
    }
    scene.fresh()?;
    Ok(samples)
}

/// The middle value; of an even number of values the mean of the two middle ones.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// Smallest and largest value.
pub(crate) fn extent(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        })
}

/// A small generator, so that every benchmark takes the same decisions.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The one of every benchmark.
    pub(crate) fn fixed() -> Self {
        Self::new(0x00ca_11a0)
    }

    /// From a seed other than 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Another order.
    pub(crate) fn shuffle(&mut self, order: &mut [usize]) {
        for index in (1..order.len()).rev() {
            order.swap(index, (self.next() % (index as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_extents() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(extent(&[2.0, 1.0, 3.0]), (1.0, 3.0));
    }

    #[test]
    fn shuffles_are_permutations_and_repeat() {
        let orders: Vec<_> = (0..2)
            .map(|_| {
                let (mut dice, mut order) = (Dice::new(1), vec![0, 1, 2, 3, 4]);
                dice.shuffle(&mut order);
                order
            })
            .collect();
        assert_eq!(orders[0], orders[1]);
        let mut sorted = orders[0].clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
    }
}
