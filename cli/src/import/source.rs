//! Rows from a file or pipe: format and compression are found out from the first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::elements::{ELEMENT_BYTES_MAX, ElementError, Elements};

const BUFFER: usize = 256 * 1024;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];
const _: () = assert!(GZIP[0] != BOM[0] && GZIP[0] != b'[' && GZIP[0] != b'{', "the first byte tells the format");

/// A place between two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Lines (of NDJSON) or elements (of an array) before it.
    pub(crate) line: u64,
    /// Bytes before it, uncompressed.
    pub(crate) offset: u64,
}

/// Why there are no more rows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// Reading failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
    /// The array is malformed.
    #[error("after element {after}: {source}")]
    Array {
        /// Elements before it.
        after: u64,
        /// What is wrong.
        source: ElementError,
    },
    /// A line over the limit.
    #[error("line {line} is longer than {ELEMENT_BYTES_MAX} bytes")]
    TooLong {
        /// The number of the line, from 1.
        line: u64,
    },
}

enum Shape {
    Lines,
    Array(Elements),
}

/// A stream of rows.
pub(crate) struct Source {
    input: Tally,
    shape: Shape,
    line: u64,
    raw: Arc<AtomicU64>,
}

impl Source {
    /// Rows of a file.
    pub(crate) fn file(path: &Path) -> Result<Self, SourceError> {
        Self::new(File::open(path)?)
    }

    /// Rows of stdin.
    pub(crate) fn stdin() -> Result<Self, SourceError> {
        Self::new(io::stdin())
    }

    /// Rows of anything.
    pub(crate) fn new(input: impl Read + Send + 'static) -> Result<Self, SourceError> {
        let raw = Arc::new(AtomicU64::new(0));
        let mut input = BufReader::with_capacity(BUFFER, Counted { input, count: raw.clone() });
        let inner: Box<dyn Read + Send> =
            if is_gzip(&mut input)? { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) };
        let mut source = Self {
            input: Tally { input: BufReader::with_capacity(BUFFER, inner), read: 0 },
            shape: Shape::Lines,
            line: 0,
            raw,
        };
        source.find_shape()?;
        Ok(source)
    }

    /// Bytes read from the file so far, as they stand in the file: for progress.
    pub(crate) fn raw_bytes(&self) -> Arc<AtomicU64> {
        self.raw.clone()
    }

    /// `line` or `element`.
    pub(crate) fn unit(&self) -> &'static str {
        match self.shape {
            Shape::Lines => "line",
            Shape::Array(_) => "element",
        }
    }

    /// Where the next row begins.
    pub(crate) fn place(&self) -> Place {
        Place { line: self.line, offset: self.input.read }
    }

    /// Goes on from a place that an earlier reading of the same content has been at.
    pub(crate) fn skip_to(&mut self, place: Place) -> Result<(), SourceError> {
        let skip = place.offset.saturating_sub(self.input.read);
        io::copy(&mut (&mut self.input).take(skip), &mut io::sink())?;
        self.line = place.line;
        if let Shape::Array(elements) = &mut self.shape {
            *elements = if place.line == 0 { Elements::Begin } else { Elements::Between };
        }
        Ok(())
    }

    /// Whether the next row would have to be waited for.
    pub(crate) fn is_drained(&self) -> bool {
        self.input.input.buffer().is_empty()
    }

    /// Appends the next row, without a line end; answers its number (from 1), or `None` at the end. Empty lines are
    /// left out but counted.
    pub(crate) fn next(&mut self, row: &mut Vec<u8>) -> Result<Option<u64>, SourceError> {
        let begin = row.len();
        match &mut self.shape {
            Shape::Array(elements) => {
                let after = self.line;
                let more =
                    elements.next(&mut self.input, row).map_err(|source| SourceError::Array { after, source })?;
                self.line += u64::from(more);
                Ok(more.then_some(self.line))
            }
            Shape::Lines => loop {
                let read = (&mut self.input).take(ELEMENT_BYTES_MAX as u64).read_until(b'\n', row)?;
                if read == 0 {
                    return Ok(None);
                }
                self.line += 1;
                if row.last() != Some(&b'\n') && read == ELEMENT_BYTES_MAX {
                    return Err(SourceError::TooLong { line: self.line });
                }
                while row.len() > begin && matches!(row.last(), Some(b'\n' | b'\r' | b' ' | b'\t')) {
                    row.pop();
                }
                if row.len() > begin {
                    debug_assert!(!row[begin..].contains(&b'\n'), "a row is one line");
                    return Ok(Some(self.line));
                }
            },
        }
    }

    /// An array begins with `[`; everything else is taken for lines, and the node says what is wrong with them.
    fn find_shape(&mut self) -> Result<(), SourceError> {
        if self.input.fill_buf()?.first() == BOM.first() {
            let mut bom = [0; BOM.len()];
            self.input.read_exact(&mut bom)?;
        }
        loop {
            match self.input.fill_buf()?.first() {
                Some(b'\n') => self.line += 1,
                Some(byte) if byte.is_ascii_whitespace() => (),
                Some(b'[') => {
                    self.input.consume(1);
                    self.line = 0;
                    self.shape = Shape::Array(Elements::Begin);
                    return Ok(());
                }
                _ => return Ok(()),
            }
            self.input.consume(1);
        }
    }
}

fn is_gzip(input: &mut impl BufRead) -> io::Result<bool> {
    // One byte may come alone from a pipe; JSON never begins with the first of gzip's two.
    Ok(input.fill_buf()?.first() == GZIP.first())
}

/// Counts what is read below.
struct Counted<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Counts what is consumed above.
struct Tally {
    input: BufReader<Box<dyn Read + Send>>,
    read: u64,
}

impl Read for Tally {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

impl BufRead for Tally {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.read += amount as u64;
        self.input.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    fn rows(source: &mut Source) -> Vec<(u64, String)> {
        let mut rows = Vec::new();
        loop {
            let mut row = Vec::new();
            match source.next(&mut row).expect("reads") {
                Some(line) => rows.push((line, String::from_utf8(row).expect("text"))),
                None => return rows,
            }
        }
    }

    fn of(text: &[u8]) -> Source {
        Source::new(Cursor::new(text.to_vec())).expect("opens")
    }

    #[test]
    fn lines_keep_their_numbers() {
        let mut source = of(b"\xef\xbb\xbf\n{\"a\":1}\r\n\n  \n{\"a\":2}");
        assert_eq!(rows(&mut source), [(2, "{\"a\":1}".to_owned()), (5, "{\"a\":2}".to_owned())]);
        assert_eq!(rows(&mut of(b"")), []);
        assert_eq!(rows(&mut of(b"nonsense\n")), [(1, "nonsense".to_owned())]);
    }

    #[test]
    fn arrays_count_elements() {
        let mut source = of(b" [ {\"a\":\n1}, {\"a\":2} ]\n");
        assert_eq!(source.unit(), "element");
        assert_eq!(rows(&mut source), [(1, "{\"a\": 1}".to_owned()), (2, "{\"a\":2}".to_owned())]);
    }

    #[test]
    fn gzip_is_recognised() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"{\"a\":1}\n{\"a\":2}\n").expect("writes");
        assert_eq!(rows(&mut of(&encoder.finish().expect("ends"))).len(), 2);
    }

    #[test]
    fn every_place_can_be_gone_on_from() {
        for text in [&b"[{\"a\":1}, {\"a\":2} ,{\"a\":3}]"[..], b"\n{\"a\":1}\n\n{\"a\":2}\n{\"a\":3}"] {
            let all = rows(&mut of(text));
            let mut reader = of(text);
            for taken in 0..=all.len() {
                let mut again = of(text);
                again.skip_to(reader.place()).expect("skips");
                assert_eq!(rows(&mut again), all[taken..], "after {taken}");
                reader.next(&mut Vec::new()).expect("reads");
            }
        }
    }
}
