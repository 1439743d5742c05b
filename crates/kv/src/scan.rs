//! All rows of a table in key order, over all layers.

use bytes::Bytes;

use crate::error::KvError;
use crate::layers::{Table, View, read};

/// Rows taken from a layer at a time: bounds how long a table in memory is locked.
const PAGE_ROWS: usize = if cfg!(test) { 3 } else { 256 };

/// A row: key and value.
pub(crate) type Row = (Box<[u8]>, Bytes);

/// A merge of the layers, read in pages. A row written meanwhile may or may not be seen; rows that are not touched are
/// seen exactly once.
#[derive(Debug)]
pub(crate) struct Scan<'v> {
    view: &'v View,
    table: Table,
    to: Option<Vec<u8>>,
    layers: Vec<Layer>,
}

/// What is left of a layer's page, last row first, and where the next page starts.
#[derive(Debug)]
struct Layer {
    rows: Vec<(Box<[u8]>, Option<Bytes>)>,
    next: Option<Vec<u8>>,
}

impl<'v> Scan<'v> {
    /// Rows from a key on, up to another one.
    pub(crate) fn new(view: &'v View, table: Table, from: &[u8], to: Option<&[u8]>) -> Scan<'v> {
        let count = 1 + view.memories().count();
        let layers = (0..count).map(|_| Layer { rows: Vec::new(), next: Some(from.to_vec()) }).collect();
        Scan { view, table, to: to.map(<[u8]>::to_vec), layers }
    }

    /// The next row.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, KvError> {
        loop {
            for layer in 0..self.layers.len() {
                self.refill(layer)?;
            }
            let heads = self.layers.iter().filter_map(|layer| layer.rows.last());
            let Some(smallest) = heads.map(|(key, _)| key.clone()).min() else { return Ok(None) };
            let mut newest = None;
            for layer in &mut self.layers {
                if layer.rows.last().is_some_and(|(key, _)| *key == smallest) {
                    let row = layer.rows.pop();
                    newest = newest.or(row); // layers come newest first
                }
            }
            if let Some((key, Some(value))) = newest {
                return Ok(Some((key, value)));
            }
        }
    }

    fn refill(&mut self, layer: usize) -> Result<(), KvError> {
        if !self.layers[layer].rows.is_empty() {
            return Ok(());
        }
        let Some(from) = self.layers[layer].next.take() else { return Ok(()) };
        let to = self.to.as_deref();
        let mut rows = Vec::new();
        match self.view.memories().nth(layer) {
            Some(memory) => {
                let memory = read(memory);
                let page = memory.range(self.table, &from, to).take(PAGE_ROWS);
                rows.extend(page.map(|(key, value)| (key.clone(), value.clone())));
            }
            None => {
                for row in self.view.base.range(self.table, &from, to)?.take(PAGE_ROWS) {
                    let (key, value) = row?;
                    rows.push((key.value().into(), Some(Bytes::copy_from_slice(value.value()))));
                }
            }
        }
        if rows.len() == PAGE_ROWS {
            self.layers[layer].next = rows.last().map(|(key, _)| [key, &[0][..]].concat());
        }
        rows.reverse();
        self.layers[layer].rows = rows;
        Ok(())
    }
}
