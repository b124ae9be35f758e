//! The scenarios that come with the product.

/// Name and TOML of a scenario.
pub type Entry = (&'static str, &'static str);

const LIBRARY: &[Entry] = &[];

/// All of them, by name.
#[must_use]
pub const fn library() -> &'static [Entry] {
    LIBRARY
}

/// The TOML of one.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|(known, _)| *known == name).map(|(_, toml)| *toml)
}
