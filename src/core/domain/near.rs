//! The word that somebody meant who typed another one.

/// How many letters have to be added, removed, replaced or swapped with the next one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut least =
                (at(&row, j) + usize::from(x != y)).min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

/// The known word that is nearest to what was typed, if one is near: a letter in three may differ, or its end is missing.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    let far = (lower.chars().count() / 3).max(1);
    let near = known.into_iter().filter_map(|word| {
        let cut = lower.chars().count() >= 3 && word.starts_with(&lower);
        let apart = if cut { 1 } else { distance(&lower, &word.to_lowercase()) };
        (apart <= far).then_some((apart, word))
    });
    near.min_by_key(|(apart, _)| *apart).map(|(_, word)| word)
}

/// `; did you mean checkout?`, or nothing.
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
