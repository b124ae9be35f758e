//! What was meant by a name that does not exist.

/// One wrong character of so many, at least, is taken for a slip.
const CHARS_PER_SLIP: usize = 3;

/// ` (did you mean …?)` with the nearest of the names, the first if several are; nothing if none is near. O(names ×
/// length²).
#[must_use]
pub fn did_you_mean<'n>(said: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let near = |name: &&str| {
        let slips = strsim::damerau_levenshtein(said, name);
        let length = said.chars().count().max(name.chars().count());
        slips.saturating_mul(CHARS_PER_SLIP) <= length
    };
    let nearest = names.into_iter().filter(near).min_by_key(|name| strsim::damerau_levenshtein(said, name));
    nearest.map_or(String::new(), |name| format!(" (did you mean `{name}`?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_named_and_nothing_far_away() {
        let names = ["hotel", "swarm", "two-shops", "cut"];
        assert_eq!(did_you_mean("hotl", names), " (did you mean `hotel`?)");
        assert_eq!(did_you_mean("tow-shop", names), " (did you mean `two-shops`?)");
        assert_eq!(did_you_mean("cat", names), " (did you mean `cut`?)");
        assert_eq!(did_you_mean("cuddle", names), "");
        assert_eq!(did_you_mean("", names), "");
        assert_eq!(did_you_mean("swarm", []), "");
    }
}
