//! Entities: one row each, opaque here.

use std::ops::ControlFlow;

use super::batch::Batch;
use super::error::StoreError;
use super::layout::{Table, beyond, entity, successor};
use super::reading::Reading;

/// Collection and id in a key.
fn names(key: &[u8]) -> Result<(&str, &str), StoreError> {
    let wrong =
        || StoreError::corrupt_at(Table::Entities.name(), key, "the key is not a space, a collection and an id");
    let names = key.get(4..).ok_or_else(wrong)?;
    let zero = names.iter().position(|byte| *byte == 0).ok_or_else(wrong)?;
    let (collection, id) = names.split_at(zero);
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| wrong());
    Ok((text(collection)?, text(id.get(1..).unwrap_or_default())?))
}

impl Reading {
    /// An entity's row as it was put: checking it is up to its decoder.
    pub fn row(&self, space_no: u32, collection: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.get_raw(Table::Entities, &entity(space_no, collection, id), |row| Ok(row.to_vec()))
    }

    /// An entity's row as [`Reading::row`] gives it, if it has at most `most` bytes; else how many it has.
    pub fn row_within(
        &self,
        space_no: u32,
        collection: &str,
        id: &str,
        most: usize,
    ) -> Result<Option<Result<Vec<u8>, usize>>, StoreError> {
        self.get_raw(Table::Entities, &entity(space_no, collection, id), |row| {
            Ok(if row.len() <= most { Ok(row.to_vec()) } else { Err(row.len()) })
        })
    }

    /// Visits entities in order of collection and id (bytes): of one collection or of all, whose id starts with
    /// `prefix`, behind `after`. Copies nothing.
    pub fn visit_rows(
        &self,
        space_no: u32,
        collection: Option<&str>,
        prefix: &str,
        after: Option<(&str, &str)>,
        mut visit: impl FnMut(&str, &str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let within = match collection {
            Some(collection) => entity(space_no, collection, prefix),
            None => space_no.to_be_bytes().to_vec(),
        };
        let behind = after.map(|(collection, id)| successor(entity(space_no, collection, id)));
        let until = beyond(&within);
        let from = behind.map_or_else(|| within.clone(), |behind| behind.max(within.clone()));
        self.scan_raw(Table::Entities, &from, until.as_deref(), &mut |key, row| {
            let (collection, id) = names(key)?;
            Ok(if id.starts_with(prefix) { visit(collection, id, row) } else { ControlFlow::Continue(()) })
        })
    }

    /// A page of what [`Reading::visit_rows`] visits: at most `limit` of (collection, id, row).
    pub fn rows(
        &self,
        space_no: u32,
        collection: Option<&str>,
        prefix: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<(String, String, Vec<u8>)>, StoreError> {
        let mut out = Vec::new();
        if limit == 0 {
            return Ok(out);
        }
        self.visit_rows(space_no, collection, prefix, after, |collection, id, row| {
            out.push((collection.to_owned(), id.to_owned(), row.to_vec()));
            if out.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(out)
    }

    /// Names of the collections that have rows, in order. One seek per collection.
    pub fn collections(&self, space_no: u32) -> Result<Vec<String>, StoreError> {
        let mut out: Vec<String> = Vec::new();
        let until = beyond(&space_no.to_be_bytes());
        let mut from = space_no.to_be_bytes().to_vec();
        loop {
            let mut found = None;
            self.scan_raw(Table::Entities, &from, until.as_deref(), &mut |key, _| {
                found = Some(names(key)?.0.to_owned());
                Ok(ControlFlow::Break(()))
            })?;
            let Some(collection) = found else { return Ok(out) };
            // 01 in the place of the zero byte: behind every id of the collection.
            from = [space_no.to_be_bytes().as_slice(), collection.as_bytes(), &[1]].concat();
            out.push(collection);
        }
    }
}

impl Batch<'_> {
    /// Writes an entity's row. The names must have passed `crdt::names`.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: they have not.
    pub fn put_row(&mut self, space_no: u32, collection: &str, id: &str, row: Vec<u8>) -> Result<(), StoreError> {
        if collection.contains('\0') {
            return Err(StoreError::Defect("a collection name that was not checked".to_owned()));
        }
        self.put_raw(Table::Entities, entity(space_no, collection, id), row);
        Ok(())
    }

    /// Removes an entity's row, as rebuilding it does.
    ///
    /// # Errors
    /// None at present.
    pub fn remove_row(&mut self, space_no: u32, collection: &str, id: &str) -> Result<(), StoreError> {
        self.remove(Table::Entities, entity(space_no, collection, id));
        Ok(())
    }
}
