//! Which line of a request belongs to which place of the source.
//!
//! The node counts the lines it is sent; people count lines of their file. Only what is in flight is remembered.

use std::collections::VecDeque;

use super::source::Place;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sent: u64,
    /// (first sent line it holds for, what to add to get the source's line).
    shifts: VecDeque<(u64, u64)>,
    /// (last sent line before it, the place).
    places: VecDeque<(u64, Place)>,
}

impl Ledger {
    /// A row with this number in the source is the next line of the request.
    pub(crate) fn sending(&mut self, source_line: u64) {
        self.sent += 1;
        assert!(source_line >= self.sent, "no more lines are sent than the source has had");
        let shift = source_line - self.sent;
        if self.shifts.back().is_none_or(|(_, last)| *last != shift) {
            self.shifts.push_back((self.sent, shift));
        }
    }

    /// Everything before this place has been handed over.
    pub(crate) fn reached(&mut self, place: Place) {
        debug_assert!(self.places.back().is_none_or(|(_, last)| *last <= place), "a source is read forward");
        if self.places.back().is_none_or(|(sent, _)| *sent != self.sent) {
            self.places.push_back((self.sent, place));
        }
    }

    /// The source's number of a line of the request.
    pub(crate) fn source_line(&self, sent: u64) -> u64 {
        let shift = self.shifts.iter().take_while(|(first, _)| *first <= sent).last();
        sent + shift.map_or(0, |(_, shift)| *shift)
    }

    /// So many lines of the request are durable: the last known place before which everything is.
    pub(crate) fn durable(&mut self, lines: u64) -> Option<Place> {
        let mut place = None;
        while self.places.front().is_some_and(|(sent, _)| *sent <= lines) {
            place = self.places.pop_front().map(|(_, place)| place);
        }
        while self.shifts.get(1).is_some_and(|(first, _)| *first <= lines) {
            self.shifts.pop_front();
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u64) -> Place {
        Place { line, offset: line * 10 }
    }

    #[test]
    fn lines_are_found_again_and_what_is_durable_is_forgotten() {
        let mut ledger = Ledger::default();
        for line in [3, 4, 7, 8, 9] {
            ledger.sending(line);
            if line != 8 {
                ledger.reached(place(line));
            }
        }
        assert_eq!((1..=5).map(|sent| ledger.source_line(sent)).collect::<Vec<_>>(), [3, 4, 7, 8, 9]);
        assert_eq!(ledger.durable(0), None);
        assert_eq!(ledger.durable(4), Some(place(7)));
        assert_eq!(ledger.source_line(4), 8);
        assert_eq!(ledger.durable(4), None);
        assert_eq!(ledger.durable(5), Some(place(9)));
        assert!(ledger.places.is_empty() && ledger.shifts.len() == 1);
    }
}
