//! Lists and texts: elements in RGA order, with tombstones.
//!
//! Elements lie in blocks. A change of a hundred bytes may insert tens of thousands of elements wherever it likes, so
//! that neither finding a place nor making room there may cost what the sequence is long: an insertion moves at most a
//! block, and passes over blocks by their least ids, the far ones in a tree.

use std::collections::BTreeMap;
use std::slice;

use super::id::OpId;
use super::minima::Minima;
use super::ops::Ops;

/// Elements of a block, after which it is halved. Moving as many takes about as long as finding an element otherwise.
const BLOCK_ELEMS_MAX: usize = 256;
/// Elements that are looked for one after the other, before an index is made. Most changes name one or two places.
const SCANS_MAX: u32 = 8;

/// Blocks that are passed over one by one, before the tree is asked, and made.
const NEAR_BLOCKS: usize = 16;

/// An element of a sequence; a tombstone when it has no live operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Elem {
    pub(crate) id: OpId,
    pub(crate) ops: Ops,
}

impl Elem {
    fn is_shown(&self) -> bool {
        !self.ops.is_empty()
    }
}

/// Neighbours. Never none.
#[derive(Debug, Clone)]
struct Block {
    /// What the index calls it: its number in order of making.
    key: usize,
    elems: Vec<Elem>,
    least: OpId,
    /// How many of them are shown.
    shown: usize,
}

impl Block {
    fn new(key: usize, elems: Vec<Elem>) -> Self {
        let least = elems.iter().map(|elem| elem.id).min().unwrap_or(OpId::ROOT);
        let shown = elems.iter().filter(|elem| elem.is_shown()).count();
        Self { key, elems, least, shown }
    }

    fn position(&self, id: OpId) -> Option<usize> {
        self.elems.iter().position(|elem| elem.id == id)
    }
}

/// Which block an element is in, and where the blocks are.
#[derive(Debug, Clone)]
struct Index {
    blocks: BTreeMap<OpId, usize>,
    places: Vec<usize>,
}

/// A place: block, and element within.
type Place = (usize, usize);

/// A list or a text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seq {
    blocks: Vec<Block>,
    /// Where the last element was found or put: the next is most often beside it.
    hint: Place,
    /// How often it was not.
    scans: u32,
    index: Option<Index>,
    /// The blocks' least ids, once somebody wanted to pass over many. Void when a block is halved.
    minima: Option<Minima>,
}

impl PartialEq for Seq {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Seq {
    /// These elements in this order.
    pub(crate) fn new(elems: Vec<Elem>) -> Self {
        let (mut elems, mut blocks) = (elems.into_iter(), Vec::new());
        while elems.len() > 0 {
            let block = elems.by_ref().take(BLOCK_ELEMS_MAX / 2).collect();
            blocks.push(Block::new(blocks.len(), block));
        }
        Self { blocks, ..Self::default() }
    }

    /// All elements, tombstones too.
    pub(crate) fn iter(&self) -> Elems<'_> {
        Elems { blocks: self.blocks.iter(), elems: [].iter() }
    }

    /// How many those are.
    pub(crate) fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.elems.len()).sum()
    }

    /// The elements that are shown.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Elem> {
        self.iter().filter(|elem| elem.is_shown())
    }

    /// How many those are. O(blocks).
    pub(crate) fn shown_len(&self) -> usize {
        self.blocks.iter().map(|block| block.shown).sum()
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The elements that are shown, from an index on, and how many blocks and elements were passed on the way there.
    pub(crate) fn shown_from(&self, index: usize) -> (impl Iterator<Item = &Elem>, usize) {
        let mut left = index;
        let here = |block: &&Block| {
            let within = left < block.shown;
            left -= if within { 0 } else { block.shown };
            !within
        };
        let passed = self.blocks.iter().take_while(here).count();
        let from = Elems { blocks: self.blocks.get(passed..).unwrap_or_default().iter(), elems: [].iter() };
        (from.filter(|elem| elem.is_shown()).skip(left), passed + left)
    }

    /// Does something to the live operations of an element; `None`: there is no such element.
    pub(crate) fn edit<T>(&mut self, id: OpId, edit: impl FnOnce(&mut Ops) -> T) -> Option<T> {
        let (block, at) = self.find(id)?;
        let block = self.blocks.get_mut(block)?;
        let elem = block.elems.get_mut(at)?;
        let before = usize::from(elem.is_shown());
        let done = edit(&mut elem.ops);
        block.shown = block.shown + usize::from(elem.is_shown()) - before;
        debug_assert!(block.shown <= block.elems.len(), "no more are shown than are there");
        Some(done)
    }

    fn find(&mut self, id: OpId) -> Option<Place> {
        let (block, at) = self.hint;
        let is = |(block, at): Place| {
            self.blocks.get(block).and_then(|block| block.elems.get(at)).is_some_and(|elem| elem.id == id)
        };
        debug_assert_ne!(id, OpId::ROOT, "the place before the first is no element");
        let near = [(block, at), (block, at + 1), (block + 1, 0)].into_iter().find(|place| is(*place));
        let found = near.or_else(|| self.search(id))?;
        self.hint = found;
        Some(found)
    }

    fn search(&mut self, id: OpId) -> Option<Place> {
        self.scans = self.scans.saturating_add(1);
        if self.blocks.len() < 2 || self.scans < SCANS_MAX {
            let mut blocks = self.blocks.iter().enumerate();
            return blocks.find_map(|(at, block)| Some((at, block.position(id)?)));
        }
        let blocks = &self.blocks;
        let index = self.index.get_or_insert_with(|| {
            let ids = |block: &Block| block.elems.iter().map(|elem| (elem.id, block.key)).collect::<Vec<_>>();
            Index { blocks: blocks.iter().flat_map(ids).collect(), places: places(blocks) }
        });
        let place = *index.places.get(*index.blocks.get(&id)?)?;
        Some((place, blocks.get(place)?.position(id)?))
    }

    /// The RGA rule: after its reference, and after everything there that was inserted with a greater id.
    pub(crate) fn insert(&mut self, after: OpId, elem: Elem) -> bool {
        let (mut block, mut at) = match after {
            OpId::ROOT => (self.next_below(0, elem.id), 0),
            after => {
                let Some((block, at)) = self.find(after) else { return false };
                (block, at + 1)
            }
        };
        while let Some(here) = self.blocks.get(block) {
            at += here.elems.iter().skip(at).take_while(|there| there.id > elem.id).count();
            if at < here.elems.len() {
                break;
            }
            (block, at) = (self.next_below(block + 1, elem.id), 0);
        }
        if at == 0 && block > 0 {
            block -= 1;
            at = self.blocks.get(block).map_or(0, |block| block.elems.len());
        }
        self.put((block, at), elem);
        true
    }

    /// The first block from `from` on that has an element below `id`; their number if none has.
    fn next_below(&mut self, from: usize, id: OpId) -> usize {
        let blocks = &self.blocks;
        let mut near = blocks.iter().enumerate().skip(from).take(NEAR_BLOCKS);
        let found = near.find(|(_, block)| block.least < id).map(|(at, _)| at).or_else(|| {
            let far = from + NEAR_BLOCKS;
            let minima = || Minima::new(blocks.iter().map(|block| block.least));
            (far < blocks.len()).then(|| self.minima.get_or_insert_with(minima).first_below(far, id))?
        });
        let found = found.unwrap_or(self.blocks.len());
        debug_assert!((from.min(self.blocks.len())..=self.blocks.len()).contains(&found), "it looks forward");
        found
    }

    fn put(&mut self, place: Place, elem: Elem) {
        self.hint = place;
        let (id, (block, at)) = (elem.id, place);
        let Some(here) = self.blocks.get_mut(block) else {
            self.blocks.push(Block::new(self.blocks.len(), vec![elem]));
            return;
        };
        here.shown += usize::from(elem.is_shown());
        here.elems.insert(at, elem);
        here.least = here.least.min(id);
        if let Some(minima) = &mut self.minima {
            minima.add(block, id);
        }
        if let Some(index) = &mut self.index {
            index.blocks.insert(id, here.key);
        }
        debug_assert!(here.shown <= here.elems.len(), "no more are shown than are there");
        if here.elems.len() > BLOCK_ELEMS_MAX {
            self.halve(block);
        }
        debug_assert!(
            self.blocks.get(block).is_some_and(|block| block.elems.len() <= BLOCK_ELEMS_MAX),
            "blocks are small"
        );
    }

    fn halve(&mut self, block: usize) {
        self.minima = None;
        let key = self.blocks.len();
        let Some(here) = self.blocks.get_mut(block) else { return };
        let rest = here.elems.split_off(BLOCK_ELEMS_MAX / 2);
        *here = Block::new(here.key, std::mem::take(&mut here.elems));
        if let Some(beyond) = self.hint.1.checked_sub(here.elems.len()) {
            self.hint = (block + 1, beyond);
        }
        if let Some(index) = &mut self.index {
            index.blocks.extend(rest.iter().map(|elem| (elem.id, key)));
        }
        self.blocks.insert(block + 1, Block::new(key, rest));
        if let Some(index) = &mut self.index {
            index.places = places(&self.blocks);
        }
    }
}

/// Where each block is, by its key.
fn places(blocks: &[Block]) -> Vec<usize> {
    let mut places = vec![0; blocks.len()];
    for (place, block) in blocks.iter().enumerate() {
        if let Some(of_key) = places.get_mut(block.key) {
            *of_key = place;
        }
    }
    places
}

/// Elements in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Elems<'a> {
    blocks: slice::Iter<'a, Block>,
    elems: slice::Iter<'a, Elem>,
}

impl<'a> Iterator for Elems<'a> {
    type Item = &'a Elem;

    fn next(&mut self) -> Option<&'a Elem> {
        loop {
            if let Some(elem) = self.elems.next() {
                return Some(elem);
            }
            self.elems = self.blocks.next()?.elems.iter();
        }
    }
}
