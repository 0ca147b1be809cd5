//! Finds the word that a mistyped word was meant to be.

/// The known word that is nearest to the typed one, if one is near enough: one letter in three may be added, removed,
/// replaced or swapped with the next one, or the word's end may be missing.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    let far = (lower.chars().count() / 3).max(1);
    let near = known.into_iter().filter_map(|word| {
        let cut = lower.chars().count() >= 3 && word.starts_with(&lower);
        let apart = if cut { 1 } else { strsim::osa_distance(&lower, &word.to_lowercase()) };
        (apart <= far).then_some((apart, word))
    });
    near.min_by_key(|(apart, _)| *apart).map(|(_, word)| word)
}

/// `; did you mean checkout?`, or an empty text.
pub fn meant<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, known).map_or_else(String::new, |word| format!("; did you mean {word}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["incident", "node-down", "calm", "why", "deploy"];
        for (typed, want) in [
            ("node-downn", Some("node-down")),
            ("nod-edown", Some("node-down")),
            ("wyh", Some("why")),
            ("Deply", Some("deploy")),
            ("inci", Some("incident")),
            ("xyz", None),
            ("storage", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), want, "{typed}");
        }
        assert_eq!(meant("clam", known), "; did you mean calm?");
        assert_eq!(meant("zzz", known), "");
    }
}
