//! How an attempt comes to a layout, and what changes when it does.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use callao_content::Cid;
use callao_content::layout::Layout;
use tokio::sync::mpsc;

use super::{Attempt, Mode, blocking};
use crate::error::Error;
use crate::event::Event;
use crate::layouts::BlockFinder;
use crate::limits::{FILE_BYTES_MAX, GRID_BYTES, REPEAT_RUN_BYTES_MIN, SOURCES_COUNT_MAX};
use crate::message::Message;
use crate::sink::Borders;
use crate::source::{Source, SourceId};

impl Attempt<'_> {
    /// Asks all sources that have blocks for the inner nodes, while others begin to send bytes.
    pub(super) fn search_layout(&mut self, root: Cid, more_to_come: bool) {
        let sources: Vec<Arc<dyn Source>> = self
            .entries
            .iter()
            .map(|entry| Arc::clone(&entry.source))
            .collect();
        let (late, more) = mpsc::channel(SOURCES_COUNT_MAX);
        self.layout_late = more_to_come.then_some(late);
        let (size, size_max) = (self.wanted.size, FILE_BYTES_MAX);
        let engine = self.to_engine.clone();
        self.searching = true;
        self.tasks.spawn(async move {
            let mut finder = BlockFinder::new(sources, more_to_come.then_some(more));
            let found = finder.layout(root, size, size_max).await;
            for refusal in std::mem::take(&mut finder.refusals) {
                let message = Message::BlockRefused {
                    source: refusal.source,
                    error: refusal.error,
                };
                engine.send(message).await.unwrap_or(());
            }
            let found = found.map(|found| (Arc::new(found.layout), found.source));
            // An error means that the attempt is over.
            engine.send(Message::Layout(found)).await.unwrap_or(());
        });
    }

    /// From now on every leaf is proven as it arrives.
    pub(super) async fn use_layout(
        &mut self,
        layout: Arc<Layout>,
        from: Option<SourceId>,
    ) -> Result<(), Error> {
        if self.plan.size().is_some_and(|size| size != layout.size()) {
            self.forget_other_file(layout.size());
        }
        if self.plan.size().is_none() {
            self.set_size(layout.size())?;
        }
        let leaves = layout.leaves().len();
        self.around.observer.event(Event::Layout {
            source: from,
            size: layout.size(),
            leaves,
        });
        self.around.staging.use_layout(Arc::clone(&layout))?;
        self.pipeline.use_layout(Arc::clone(&layout))?;
        self.pool.grow(layout.max_leaf() as usize);
        self.plan.set_borders(Borders::Leaves(Arc::clone(&layout)));
        self.layout = Some(Arc::clone(&layout));
        self.mode = Mode::Proving;
        self.rescan(&layout).await?;
        for (index, bytes) in layout.inline() {
            if let Ok(leaf) = layout.verify(index, bytes) {
                self.around.staging.write(leaf.offset(), bytes)?;
                self.around.staging.hold(&leaf);
                self.keep(leaf.offset()..leaf.offset() + bytes.len() as u64);
            }
        }
        self.withhold_repeats(&layout);
        let unproven: Vec<Range<u64>> = self
            .given_by
            .iter()
            .map(|(range, _)| range.clone())
            .collect();
        for range in unproven {
            self.prove_later(range);
        }
        if !fits_grid(&layout) {
            // Lanes that began before cut their chunks inside leaves: they begin again on borders.
            self.lanes.values().for_each(|lane| lane.cancel.cancel());
        }
        self.stop_overtaken();
        Ok(())
    }

    /// Keeps what an earlier run left: hashing it is faster than fetching it.
    async fn rescan(&mut self, layout: &Arc<Layout>) -> Result<(), Error> {
        if !self.around.staging.is_resumed() {
            return Ok(());
        }
        // What was taken for good as a whole is now looked at leaf by leaf.
        let prefix = std::mem::take(&mut self.prefix);
        self.resumed -= prefix.end - prefix.start;
        self.plan.lost(prefix.clone());
        self.done.remove(prefix);
        let (staging, table) = (Arc::clone(&self.around.staging), Arc::clone(layout));
        let before = self.plan.here().total();
        blocking(move || staging.rescan(&table, &|_| {})).await??;
        for (index, leaf) in layout.leaves().iter().enumerate() {
            if self.around.staging.is_held(index) {
                self.keep(leaf.offset..leaf.offset + u64::from(leaf.length));
            }
        }
        let kept = self.plan.here().total().saturating_sub(before);
        if kept > 0 {
            self.resumed += kept;
            self.around.observer.event(Event::Resumed { bytes: kept });
        }
        Ok(())
    }

    /// A range that is proven and on disk.
    fn keep(&mut self, range: Range<u64>) {
        self.plan.arrived(range.clone());
        self.done.insert(range);
    }

    /// Runs of leaves that occurred before are copied, not fetched.
    fn withhold_repeats(&mut self, layout: &Layout) {
        let mut runs: Vec<Vec<(usize, usize)>> = Vec::new();
        for (leaf, first) in layout.duplicates() {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|(last, _)| last + 1 == leaf) => {
                    run.push((leaf, first))
                }
                _ => runs.push(vec![(leaf, first)]),
            }
        }
        let mut repeats: HashMap<usize, Vec<usize>> = HashMap::new();
        for run in runs {
            let open = |leaf: usize| !self.around.staging.is_held(leaf);
            let bytes: u64 = run
                .iter()
                .map(|(leaf, _)| u64::from(layout.leaves()[*leaf].length))
                .sum();
            if bytes < REPEAT_RUN_BYTES_MIN {
                continue;
            }
            for (leaf, first) in run.into_iter().filter(|(leaf, _)| open(*leaf)) {
                let place = &layout.leaves()[leaf];
                self.plan
                    .withhold(place.offset..place.offset + u64::from(place.length));
                repeats.entry(first).or_default().push(leaf);
            }
        }
        let ready: Vec<usize> = repeats
            .keys()
            .copied()
            .filter(|first| self.around.staging.is_held(*first))
            .collect();
        for first in ready {
            if let Some(to) = repeats.remove(&first) {
                self.to_copy.push_back((first, to));
            }
        }
        self.repeats = repeats;
    }

    /// Queues the proof of bytes that are on disk; leaves that are there only in part come again.
    pub(super) fn prove_later(&mut self, range: Range<u64>) {
        let Some(layout) = self.layout.clone() else {
            return;
        };
        let leaves = layout.leaves_in(range.clone());
        let Some(last) = leaves.end.checked_sub(1).filter(|_| !leaves.is_empty()) else {
            self.plan.lost(range);
            return;
        };
        let inner_end = layout.leaves()[last].offset + u64::from(layout.leaves()[last].length);
        self.plan
            .lost(range.start..layout.leaves()[leaves.start].offset);
        self.plan.lost(inner_end..range.end);
        self.to_prove.push_back(leaves);
    }

    /// What came so far belongs to a file of another length.
    fn forget_other_file(&mut self, size: u64) {
        let all = 0..self.plan.size().unwrap_or(0).max(size);
        self.plan.lost(all);
        self.given_by.clear();
        for index in 0..self.entries.len() {
            let total = self.entries[index]
                .head
                .as_ref()
                .and_then(|head| head.total);
            if let Some(total) = total.filter(|total| *total != size) {
                let why = format!("its file is {total} bytes long, not {size}");
                self.drop_source(index, crate::source::SourceError::Protocol(why), false);
            }
        }
        self.plan = crate::plan::Plan::new(self.around.me);
        self.lanes.values().for_each(|lane| lane.cancel.cancel());
    }
}

/// Whether every chunk border of the grid is a leaf border.
fn fits_grid(layout: &Layout) -> bool {
    let mut borders = (1..)
        .map(|number| number * GRID_BYTES)
        .take_while(|border| *border < layout.size());
    borders.all(|border| layout.leaves()[layout.leaf_at(border)].offset == border)
}
